/* The audit plugin: calls that wait share a transaction, and what is acknowledged is durable. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit_record.h"
#include "plugin_host.h"
#include "plugins/audit/proof.h"
#include "run_suite.h"
#include "whorl/store.h"

#define ORIGIN "test.example/log"
#define BYTES(literal) literal, sizeof(literal) - 1

static char dir[64];
static struct whorl_fault fault;
extern const struct whorl_plugin whorl_plugin;

static void make_folder(void)
{
    snprintf(dir, sizeof(dir), "/tmp/whorl-audit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    memset(&fault, 0, sizeof(fault));
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static struct audit_report verify_intact(void)
{
    struct audit_report report;
    enum audit_verdict verdict = audit_verify(dir, NULL, NULL, NULL, &report, &fault);
    ck_assert_msg(verdict == AUDIT_INTACT, "%s %s", report.what, fault.text);
    return report;
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static struct plugin_host *host;

static void start_plugin(void)
{
    make_folder();
    host = calloc(1, sizeof(*host));
    host->text = ORIGIN;
    ck_assert_msg(plugin_host_start(host, &whorl_plugin, dir, &fault), "%s", fault.text);
}

static void stop_plugin(void)
{
    plugin_host_stop(host);
    free(host);
    verify_intact();
    remove_folder();
}

static msgpack_sbuffer message_of(unsigned records, size_t size)
{
    msgpack_sbuffer out;
    msgpack_packer pk;
    msgpack_sbuffer_init(&out);
    msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 4);
    whorl_put_str(&pk, "op", "record");
    whorl_put_str(&pk, "transaction", "t");
    whorl_put_int(&pk, "deadline_ms", 1000);
    whorl_put_key(&pk, "records");
    msgpack_pack_array(&pk, records);
    for (unsigned i = 0; i < records; i++) {
        msgpack_sbuffer record = audit_record_of(i, size);
        msgpack_pack_bin_with_body(&pk, record.data, record.size);
        msgpack_sbuffer_destroy(&record);
    }
    return out;
}

static void send_call(uint64_t id, const msgpack_sbuffer *message)
{
    whorl_plugin.call(host->instance, id, (const uint8_t *)message->data, message->size);
}

static bool stored(uint64_t id, int64_t *position)
{
    struct whorl_msg msg = plugin_host_answer(host, id);
    bool ok = whorl_map_get(&msg.root, "stored")->via.boolean;
    const msgpack_object *at = whorl_map_get(&msg.root, "position");
    const msgpack_object *hash = whorl_map_get(&msg.root, "hash");
    const msgpack_object *reason = whorl_map_get(&msg.root, "reason");
    ck_assert(ok == (at != NULL) && ok == (hash != NULL) && ok == (reason == NULL));
    if (ok) {
        ck_assert_uint_eq(hash->via.bin.size, 32);
        *position = at->via.i64;
    }
    whorl_msg_release(&msg);
    return ok;
}

static uint64_t transactions(struct whorl_store *store)
{
    MDB_txn *txn = whorl_store_read(store, &fault);
    ck_assert_ptr_nonnull(txn);
    uint64_t id = mdb_txn_id(txn);
    whorl_store_done(store, txn);
    return id;
}

struct hold {
    atomic_bool inside, release;
    struct whorl_store *store;
};

static int hold_inside(MDB_txn *txn, void *arg)
{
    struct hold *hold = arg;
    (void)txn;
    atomic_store(&hold->inside, true);
    while (!atomic_load(&hold->release))
        usleep(1000);
    return 0;
}

static void *hold_store(void *arg)
{
    struct hold *hold = arg;
    ck_assert(whorl_store_write(hold->store, hold_inside, hold, &fault));
    return NULL;
}

START_TEST(calls_that_wait_share_one_transaction)
{
    enum { CALLS = 300 };
    struct hold hold = {.store =
                            whorl_store_open(dir, WHORL_STORE_WRITE, 3, "whorl-audit", 2, &fault)};
    pthread_t holder;
    int64_t position = -1, last = -1;
    msgpack_sbuffer message = message_of(2, 10);
    uint64_t before = transactions(hold.store);
    ck_assert_int_eq(pthread_create(&holder, NULL, hold_store, &hold), 0);
    while (!atomic_load(&hold.inside))
        usleep(1000);
    for (uint64_t i = 0; i < CALLS; i++)
        send_call(i, &message);
    atomic_store(&hold.release, true);
    pthread_join(holder, NULL);
    plugin_host_wait(host, CALLS);
    /* One for what the writer had taken before it was held up, one for all the rest. (The one
     * that held it up wrote nothing and so does not count.) */
    ck_assert_uint_le(transactions(hold.store) - before, 2);
    for (uint64_t i = 0; i < CALLS; i++) {
        ck_assert(stored(i, &position));
        ck_assert_int_eq(position, last + 2);
        last = position;
    }
    whorl_store_close(hold.store);
    msgpack_sbuffer_destroy(&message);
}
END_TEST

START_TEST(answers_name_position_and_chain_hash)
{
    msgpack_sbuffer message = message_of(3, 10);
    send_call(0, &message);
    plugin_host_wait(host, 1);
    struct whorl_msg msg = plugin_host_answer(host, 0);
    struct audit_report report = verify_intact();
    ck_assert_int_eq(whorl_map_get(&msg.root, "position")->via.i64, 2);
    ck_assert_mem_eq(whorl_map_get(&msg.root, "hash")->via.bin.ptr, report.head.hash, 32);
    whorl_msg_release(&msg);
    msgpack_sbuffer_destroy(&message);
}
END_TEST

START_TEST(the_checkpoint_follows_when_nothing_waits)
{
    struct audit_checkpoint checkpoint = {.count = 0};
    msgpack_sbuffer message = message_of(1, 10);
    for (uint64_t i = 0; i < HOST_CALLS; i++)
        send_call(i, &message);
    plugin_host_wait(host, HOST_CALLS);
    while (checkpoint.count < HOST_CALLS) {
        ck_assert_msg(audit_checkpoint_read(dir, NULL, &checkpoint, &fault), "%s", fault.text);
        usleep(1000);
    }
    msgpack_sbuffer_destroy(&message);
}
END_TEST

static bool logged(const char *text)
{
    pthread_mutex_lock(&host->mutex);
    bool found = strstr(host->log, text) != NULL;
    pthread_mutex_unlock(&host->mutex);
    return found;
}

/* A folder in its place keeps the file from being written. */
START_TEST(a_checkpoint_that_could_not_be_written_follows_without_another_call)
{
    struct audit_checkpoint checkpoint;
    char fresh[128];
    msgpack_sbuffer message = message_of(1, 10);
    snprintf(fresh, sizeof(fresh), "%s/checkpoint.new", dir);
    ck_assert_int_eq(mkdir(fresh, 0700), 0);
    for (uint64_t i = 0; i < 3; i++) {
        send_call(i, &message);
        plugin_host_wait(host, (unsigned)i + 1);
        usleep(100000); /* longer than a lull */
    }
    ck_assert(audit_checkpoint_read(dir, NULL, &checkpoint, &fault));
    ck_assert_uint_eq(checkpoint.count, 0);
    ck_assert_int_eq(rmdir(fresh), 0);
    for (unsigned i = 0; i < 3000 && checkpoint.count < 3; i++) {
        ck_assert(audit_checkpoint_read(dir, NULL, &checkpoint, &fault));
        usleep(1000);
    }
    ck_assert_uint_eq(checkpoint.count, 3);
    while (!logged("has caught up"))
        usleep(1000);
    const char *lags = strstr(host->log, "lags behind");
    ck_assert_ptr_nonnull(lags);
    ck_assert_ptr_null(strstr(lags + 1, "lags behind"));
    msgpack_sbuffer_destroy(&message);
}
END_TEST

static void expect_refusal(uint64_t id, const void *bytes, size_t len, const char *why)
{
    whorl_plugin.call(host->instance, id, bytes, len);
    plugin_host_wait(host, (unsigned)id + 1);
    struct whorl_msg msg = plugin_host_answer(host, id);
    char reason[512] = "";
    ck_assert(!whorl_map_get(&msg.root, "stored")->via.boolean);
    ck_assert(whorl_str_copy(whorl_map_get(&msg.root, "reason"), reason, sizeof(reason)));
    ck_assert_msg(strstr(reason, why) != NULL, "%s", reason);
    whorl_msg_release(&msg);
}

START_TEST(malformed_messages_are_refused_by_name_and_hurt_nobody_else)
{
    int64_t position;
    msgpack_sbuffer good = message_of(1, 10), none = message_of(0, 0);
    expect_refusal(0, BYTES("\x81\xa7records"), "byte");
    expect_refusal(1, BYTES("\x01"), "map");
    expect_refusal(2, none.data, none.size, "records");
    expect_refusal(3, BYTES("\x82\xa2op\xa6record\xa7records\x91\xc4\x01\x05"), "records[0]");
    expect_refusal(4, BYTES("\x82\xa2op\xa6record\xa7records\x91\x05"), "records[0]");
    expect_refusal(5, BYTES("\x82\xa2op\xa6lookup\xa7records\x91\xc4\x01\x80"), "op");
    send_call(6, &good);
    plugin_host_wait(host, 7);
    ck_assert(stored(6, &position));
    ck_assert_int_eq(position, 0);
    msgpack_sbuffer_destroy(&good);
    msgpack_sbuffer_destroy(&none);
}
END_TEST

START_TEST(a_full_disk_refuses_calls_until_there_is_room_again)
{
    int64_t position;
    msgpack_sbuffer small = message_of(1, 10), large = message_of(8, 200000);
    send_call(0, &small);
    plugin_host_wait(host, 1);
    limit_files(256 * 1024);
    send_call(1, &large);
    plugin_host_wait(host, 2);
    send_call(2, &large);
    plugin_host_wait(host, 3);
    limit_files(RLIM_INFINITY);
    send_call(3, &large);
    plugin_host_wait(host, 4);
    ck_assert(stored(0, &position));
    ck_assert(!stored(1, &position));
    ck_assert(!stored(2, &position));
    ck_assert(stored(3, &position));
    ck_assert_int_eq(position, 8);
    const char *first = strstr(host->log, "can't be stored");
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(strstr(first + 1, "can't be stored"));
    ck_assert_ptr_nonnull(strstr(host->log, "stored again"));
    msgpack_sbuffer_destroy(&small);
    msgpack_sbuffer_destroy(&large);
}
END_TEST

START_TEST(a_second_instance_appends_beside_the_first)
{
    struct plugin_host *second = calloc(1, sizeof(*second));
    second->text = ORIGIN;
    int64_t position;
    msgpack_sbuffer message = message_of(1, 10);
    ck_assert_msg(plugin_host_start(second, &whorl_plugin, dir, &fault), "%s", fault.text);
    for (uint64_t i = 0; i < 20; i++) {
        send_call(i, &message);
        whorl_plugin.call(second->instance, i, (const uint8_t *)message.data, message.size);
    }
    plugin_host_wait(host, 20);
    plugin_host_wait(second, 20);
    for (uint64_t i = 0; i < 20; i++)
        ck_assert(stored(i, &position));
    plugin_host_stop(second);
    free(second);
    ck_assert_uint_eq(verify_intact().head.count, 40);
    msgpack_sbuffer_destroy(&message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit_plugin");
    TCase *tests = tcase_create("plugin");
    tcase_add_checked_fixture(tests, start_plugin, stop_plugin);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, calls_that_wait_share_one_transaction);
    tcase_add_test(tests, answers_name_position_and_chain_hash);
    tcase_add_test(tests, the_checkpoint_follows_when_nothing_waits);
    tcase_add_test(tests, a_checkpoint_that_could_not_be_written_follows_without_another_call);
    tcase_add_test(tests, malformed_messages_are_refused_by_name_and_hurt_nobody_else);
    tcase_add_test(tests, a_full_disk_refuses_calls_until_there_is_room_again);
    tcase_add_test(tests, a_second_instance_appends_beside_the_first);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
