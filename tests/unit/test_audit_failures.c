/* The audit log with each call that it makes failing once: every failure is told, and none loses a
 * record, damages the log, or is taken for a broken one. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failing.h"
#include "plugins/audit/entry.h"
#include "plugins/audit/witness.h"
#include "run_suite.h"
#include "whorl/msg.h"

#define ORIGIN "test.example/log"
#define WITNESS "witness.example/w1"
#define APPENDED 20u

static char dir[64], log_dir[96], out_dir[96], witness_dir[96], witness_vkey[AUDIT_VKEY_CAP];
static struct whorl_fault fault;
static struct audit_log *opened;
static struct audit_checkpoint checkpoint;
static char request[AUDIT_REQUEST_CAP], reply[AUDIT_LINE_CAP];

/* What the deeds found; it is looked at with nothing failing, since a check allocates, too. */
static struct audit_report report;
static enum audit_verdict verdict;
static uint64_t seen;
static struct audit_proof proof;
static uint8_t first_root[AUDIT_HASH], second_root[AUDIT_HASH];

static const uint8_t empty_map[] = {0x80};

static void shell(const char *format, const char *path)
{
    char command[256];
    snprintf(command, sizeof command, format, path);
    ck_assert_int_eq(system(command), 0);
}

static void append(struct audit_log *log, unsigned count)
{
    struct audit_head head;
    const struct audit_record record = {.bytes = empty_map, .len = sizeof empty_map};
    for (unsigned i = 0; i < count; i++)
        ck_assert_msg(audit_log_append(log, &record, 1, &head, &fault), "%s", fault.text);
}

static void fill(unsigned count)
{
    struct audit_head heads[300];
    struct audit_record records[300];
    for (unsigned i = 0; i < count; i++)
        records[i] = (struct audit_record){.bytes = empty_map, .len = sizeof empty_map};
    struct audit_log *log = audit_log_open(log_dir, ORIGIN, NULL, &fault);
    ck_assert_msg(log != NULL, "%s", fault.text);
    ck_assert_msg(audit_log_append(log, records, count, heads, &fault), "%s", fault.text);
    ck_assert_msg(audit_log_checkpoint(log, &fault), "%s", fault.text);
    audit_log_close(log);
    ck_assert_msg(audit_checkpoint_read(log_dir, NULL, &checkpoint, &fault), "%s", fault.text);
}

static void make_folder(void)
{
    snprintf(dir, sizeof dir, "%s/whorl-audit-XXXXXX", failing_folder());
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(log_dir, sizeof log_dir, "%s/log", dir);
    snprintf(out_dir, sizeof out_dir, "%s/out", dir);
    snprintf(witness_dir, sizeof witness_dir, "%s/witness", dir);
}

static void remove_folder(void)
{
    shell("rm -rf '%s'", dir);
}

/* What the log says of itself, with nothing failing. */
static uint64_t intact(void)
{
    struct audit_report now;
    struct whorl_fault told = {"", ""};
    enum audit_verdict found = audit_verify(log_dir, NULL, NULL, NULL, &now, &told);
    ck_assert_msg(found == AUDIT_INTACT, "%s %s", told.text, now.what);
    return now.head.count;
}

/* One thing that can be done with a log of so many records. */
struct deed {
    unsigned records;
    struct failing_deed deed;
};

static void nothing(void)
{
}

static void keeps_all(bool done)
{
    (void)done;
    ck_assert_uint_eq(intact(), checkpoint.count);
}

static bool open_it(void)
{
    struct audit_log *log = audit_log_open(log_dir, ORIGIN, NULL, &fault);
    if (log != NULL)
        audit_log_close(log);
    return log != NULL;
}

static void remove_it(void)
{
    shell("rm -rf '%s'", log_dir);
}

/* Half a log would be in the way of the next start. */
static void can_be_made_again(bool done)
{
    (void)done;
    ck_assert_msg(open_it(), "%s", fault.text);
    ck_assert_uint_eq(intact(), 0);
}

static void open_before(void)
{
    opened = audit_log_open(log_dir, ORIGIN, NULL, &fault);
    ck_assert_ptr_nonnull(opened);
}

/* What another process writes that erases. */
static int count_erasure(MDB_txn *txn, void *arg)
{
    MDB_dbi meta;
    MDB_val key = {6, "erased"}, value = {8, "another"};
    (void)arg;
    int rc = mdb_dbi_open(txn, "whorl-store", 0, &meta);
    return rc != 0 ? rc : mdb_put(txn, meta, &key, &value, 0);
}

static void open_before_erasure(void)
{
    open_before();
    struct whorl_store *store =
        whorl_store_open(log_dir, WHORL_STORE_WRITE, AUDIT_DBS, AUDIT_KIND, AUDIT_VERSION, &fault);
    ck_assert_ptr_nonnull(store);
    ck_assert_msg(whorl_store_write(store, count_erasure, NULL, &fault), "%s", fault.text);
    whorl_store_close(store);
}

static bool append_some(void)
{
    struct audit_head heads[APPENDED];
    struct audit_record records[APPENDED];
    for (unsigned i = 0; i < APPENDED; i++)
        records[i] = (struct audit_record){.bytes = empty_map, .len = sizeof empty_map};
    return audit_log_append(opened, records, APPENDED, heads, &fault);
}

/* All or none are there; and the log goes on. */
static void all_or_none(bool done)
{
    uint64_t expected = checkpoint.count + (done ? APPENDED : 0);
    append(opened, 1);
    ck_assert_msg(audit_log_checkpoint(opened, &fault), "%s", fault.text);
    audit_log_close(opened);
    ck_assert_uint_eq(intact(), expected + 1);
    ck_assert_msg(audit_checkpoint_read(log_dir, NULL, &checkpoint, &fault), "%s", fault.text);
    remove_it();
    fill(250);
}

static bool sign_checkpoint(void)
{
    return audit_log_checkpoint(opened, &fault);
}

static void close_and_keep(bool done)
{
    audit_log_close(opened);
    keeps_all(done);
}

static bool verify(void)
{
    verdict = audit_verify(log_dir, NULL, NULL, NULL, &report, &fault);
    return verdict != AUDIT_FAILED;
}

/* A failure is no broken log. */
static void not_broken(bool done)
{
    ck_assert_msg(verdict != AUDIT_BROKEN, "%s", report.what);
    keeps_all(done);
}

static bool count_one(void *ctx, uint64_t position, const struct audit_record *record)
{
    (void)position, (void)record;
    ++*(uint64_t *)ctx;
    return true;
}

static bool read_each(void)
{
    seen = 0;
    return audit_each(log_dir, count_one, &seen, &fault);
}

static void all_seen(bool done)
{
    ck_assert(!done || seen == checkpoint.count);
}

static bool is_even(void *ctx, uint64_t position, const struct audit_record *record)
{
    (void)ctx, (void)record;
    return position % 2 == 0;
}

static bool erase(void)
{
    uint64_t erased = 0;
    return audit_erase(log_dir, is_even, NULL, &erased, &fault);
}

/* Called again, it goes on where it was. */
static void erased_in_the_end(bool done)
{
    uint64_t left = 0;
    (void)done;
    ck_assert_msg(erase(), "%s", fault.text);
    ck_assert_uint_eq(intact(), checkpoint.count);
    ck_assert(audit_each(log_dir, count_one, &left, &fault));
    ck_assert_uint_eq(left, checkpoint.count / 2);
    remove_it();
    fill(40);
}

static bool prove_inclusion(void)
{
    uint8_t commitment[AUDIT_HASH];
    return audit_prove_inclusion(log_dir, &checkpoint, 17, commitment, &proof, &fault);
}

static uint64_t first_size(void)
{
    return checkpoint.count > 37 ? 37 : 1;
}

static bool prove_consistency(void)
{
    return audit_prove_consistency(log_dir, &checkpoint, first_size(), checkpoint.count, first_root,
                                   second_root, &proof, &fault);
}

static void holds_if_given(bool done)
{
    ck_assert(!done || audit_consistency_holds(&proof, first_size(), checkpoint.count, first_root,
                                               second_root));
}

static bool read_checkpoint(void)
{
    struct audit_checkpoint again;
    return audit_checkpoint_read(log_dir, NULL, &again, &fault);
}

static void remove_export(void)
{
    shell("rm -rf '%s'", out_dir);
}

static bool export_it(void)
{
    return audit_export(log_dir, &checkpoint, out_dir, &fault);
}

/* The checkpoint is written last: where it is, all is. */
static void whole_if_there(bool done)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/checkpoint", out_dir);
    ck_assert_int_eq(stat(path, &st) == 0, done);
    ck_assert_msg(export_it(), "%s", fault.text);
    snprintf(path, sizeof path, "%s/tile/0/001.p/9", out_dir);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_size, 9 * AUDIT_HASH);
}

static void remove_witness(void)
{
    shell("rm -rf '%s'", witness_dir);
}

static bool make_witness(void)
{
    return audit_witness_make(witness_dir, WITNESS, checkpoint.vkey, witness_vkey, &fault);
}

static void fresh_witness(void)
{
    remove_witness();
    ck_assert_msg(make_witness(), "%s", fault.text);
}

static void witness_asked(void)
{
    fresh_witness();
    ck_assert_msg(audit_witness_request(log_dir, &checkpoint, 0, request, &fault), "%s",
                  fault.text);
}

static void witness_answered(void)
{
    witness_asked();
    ck_assert_int_eq(audit_witness_answer(witness_dir, request, 1700000000, reply, &fault),
                     AUDIT_WITNESSED);
}

static bool ask_witness(void)
{
    return audit_witness_request(log_dir, &checkpoint, 0, request, &fault);
}

static bool witness_answers(void)
{
    return audit_witness_answer(witness_dir, request, 1700000000, reply, &fault) == AUDIT_WITNESSED;
}

/* What it did not remember it has not given away; so it may be asked again. */
static void answers_in_the_end(bool done)
{
    if (!done) {
        enum audit_witnessed got =
            audit_witness_answer(witness_dir, request, 1700000000, reply, &fault);
        ck_assert_msg(got == AUDIT_WITNESSED || got == AUDIT_STALE, "%s", fault.text);
    }
}

static bool take_reply(void)
{
    uint64_t count, time;
    return audit_witness_reply(log_dir, checkpoint.vkey, witness_vkey, reply, &count, &time,
                               &fault);
}

static bool verify_cosigned(void)
{
    const struct audit_trust trust = {.vkey = checkpoint.vkey, .witness = witness_vkey};
    verdict = audit_verify(log_dir, &trust, NULL, NULL, &report, &fault);
    return verdict != AUDIT_FAILED;
}

static void cosigned(void)
{
    witness_answered();
    ck_assert_msg(take_reply(), "%s", fault.text);
}

static const struct deed deeds[] = {
    {40, {"open", nothing, open_it, keeps_all, NULL}},
    {0, {"make", remove_it, open_it, can_be_made_again, NULL}},
    {250, {"append", open_before, append_some, all_or_none, NULL}},
    {250, {"append after an erasure", open_before_erasure, append_some, all_or_none, NULL}},
    {40, {"sign", open_before, sign_checkpoint, close_and_keep, NULL}},
    {40, {"verify", nothing, verify, not_broken, NULL}},
    {40, {"read", nothing, read_each, all_seen, NULL}},
    {40, {"erase", nothing, erase, erased_in_the_end, NULL}},
    {265, {"prove inclusion", nothing, prove_inclusion, keeps_all, NULL}},
    {265, {"prove consistency", nothing, prove_consistency, holds_if_given, NULL}},
    {3, {"prove consistency of few", nothing, prove_consistency, holds_if_given, NULL}},
    {40, {"read the checkpoint", nothing, read_checkpoint, keeps_all, NULL}},
    {265, {"export", remove_export, export_it, whole_if_there, "stat"}},
    {40, {"make a witness", remove_witness, make_witness, keeps_all, NULL}},
    {40, {"ask a witness", fresh_witness, ask_witness, keeps_all, NULL}},
    {40, {"witness", witness_asked, witness_answers, answers_in_the_end, NULL}},
    {40, {"take the reply", witness_answered, take_reply, keeps_all, NULL}},
    {40, {"verify what is cosigned", cosigned, verify_cosigned, not_broken, NULL}},
    {265, {"export what is cosigned", cosigned, export_it, keeps_all, "stat"}},
};

START_TEST(a_call_that_fails_is_told_and_loses_nothing)
{
    fill(deeds[_i].records);
    failing_try(&deeds[_i].deed, &fault);
}
END_TEST

START_TEST(no_proof_holds_that_could_not_be_hashed)
{
    uint8_t commitment[AUDIT_HASH];
    unsigned rounds = 0;
    fill(265);
    ck_assert(audit_prove_inclusion(log_dir, &checkpoint, 17, commitment, &proof, &fault));
    for (; failing_again(rounds == 0); rounds++) {
        failing_on();
        bool holds =
            audit_inclusion_holds(&proof, 17, checkpoint.count, commitment, checkpoint.root);
        ck_assert(holds == (failing_off() == NULL));
    }
    ck_assert_uint_gt(rounds, proof.count);
}
END_TEST

int main(void)
{
    failing_often(12); /* one place in the store's code is where all reading begins */
    Suite *suite = suite_create("audit_failures");
    TCase *tests = tcase_create("failures");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, a_call_that_fails_is_told_and_loses_nothing, 0,
                        sizeof deeds / sizeof deeds[0]);
    tcase_add_test(tests, no_proof_holds_that_could_not_be_hashed);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
