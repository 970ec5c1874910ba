/* The PNC plugin over a real PostgreSQL. */
#include "pnc_world.h"

#include <check.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/pnc/schema.h"

extern const struct whorl_plugin whorl_plugin;
static const char letters[] = "ZABCDEFGHJKLMNPQRTUVWXY";
static msgpack_sbuffer *messages[HOST_CALLS];

static void nap(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

const char *world_pncid(unsigned i, char text[PNC_ID_CAP])
{
    snprintf(text, PNC_ID_CAP, "2000/%07u%c", i % 10000000u, letters[i % 23]);
    return text;
}

const char *world_cro(unsigned i, char text[PNC_ID_CAP])
{
    snprintf(text, PNC_ID_CAP, "%06u/00%c", i % 1000000u, letters[i % 23]);
    return text;
}

/* ------------------------------------------------------------------ the database */

static void run(struct pnc_world *world, const char *sql)
{
    PGresult *result = PQexec(world->owner, sql);
    ExecStatusType status = PQresultStatus(result);
    ck_assert_msg(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s\n%s", sql,
                  PQerrorMessage(world->owner));
    PQclear(result);
}

void world_sql(struct pnc_world *world, const char *format, ...)
{
    char sql[8192];
    va_list args;
    va_start(args, format);
    ck_assert_int_lt(vsnprintf(sql, sizeof(sql), format, args), (int)sizeof(sql));
    va_end(args);
    run(world, sql);
}

static void ignore(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

void world_make(struct pnc_world *world)
{
    memset(world, 0, sizeof(*world));
    memset(messages, 0, sizeof(messages));
    snprintf(world->dir, sizeof(world->dir), "/tmp/whorl-pnc-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(world->dir));
    world->owner = PQconnectdb(getenv("TEST_PG_OWNER"));
    ck_assert_msg(PQstatus(world->owner) == CONNECTION_OK, "%s", PQerrorMessage(world->owner));
    PQsetNoticeProcessor(world->owner, ignore, NULL);
    run(world, "DROP SCHEMA IF EXISTS whorl CASCADE; CREATE SCHEMA whorl");
    run(world, pnc_schema_sql);
    world_sql(world,
              "INSERT INTO whorl.pnc_people (pncid, cro, details, warnings) SELECT '2000/' || "
              "lpad(i::text, 7, '0') || c, lpad(i::text, 6, '0') || '/00' || c, "
              "jsonb_build_object('name', jsonb_build_object('family', 'F' || i, 'given', 'G' || "
              "i), 'aliases', jsonb_build_array(jsonb_build_object('family', 'A' || i, 'given', "
              "'G' || i)), 'born', '1970-01-01', 'description', 'first'), '[\"VIOLENT\"]' "
              "FROM generate_series(0, %u) AS i, substr('%s', i %% 23 + 1, 1) AS c",
              WORLD_PEOPLE - 1, letters);
    run(world, "GRANT USAGE ON SCHEMA whorl TO reader, writer; "
               "GRANT SELECT ON whorl.pnc_people TO reader");
}

void world_remove(struct pnc_world *world)
{
    char command[128];
    world_stop(world);
    PQfinish(world->owner);
    for (size_t i = 0; i < HOST_CALLS; i++) {
        if (messages[i] != NULL) {
            msgpack_sbuffer_free(messages[i]);
        }
    }
    snprintf(command, sizeof(command), "rm -rf '%s'", world->dir);
    ck_assert_int_eq(system(command), 0);
}

/* ------------------------------------------------------------------ the plugin */

void world_start(struct pnc_world *world, const char *const *more)
{
    static const char *pairs[64];
    const char *const last[] = {"source",
                                "postgresql",
                                "database",
                                getenv("TEST_PG_READER"),
                                "password_file",
                                getenv("TEST_PG_PASSWORD"),
                                "database_ca",
                                getenv("TEST_PG_CA"),
                                NULL};
    struct whorl_fault fault;
    size_t count = 0;
    for (size_t i = 0; more != NULL && more[i] != NULL; i++) {
        pairs[count++] = more[i];
    }
    for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++) {
        pairs[count++] = last[i];
    }
    world->host = calloc(1, sizeof(*world->host));
    world->host->pairs = pairs;
    world->calls = 0;
    ck_assert_msg(plugin_host_start(world->host, &whorl_plugin, world->dir, &fault), "%s: %s",
                  fault.where, fault.text);
}

void world_stop(struct pnc_world *world)
{
    if (world->host == NULL) {
        return;
    }
    plugin_host_stop(world->host);
    free(world->host);
    world->host = NULL;
}

/* ------------------------------------------------------------------ calls */

static void pack_person(msgpack_packer *pk, const struct asked *asked)
{
    if (asked->family != NULL) {
        msgpack_pack_map(pk, 3);
        whorl_put_str(pk, "family", asked->family);
        whorl_put_str(pk, "given", asked->given);
        whorl_put_str(pk, "born", asked->born);
        return;
    }
    msgpack_pack_map(pk, 1);
    whorl_put_key(pk, "identifiers");
    msgpack_pack_map(pk, 1);
    if (asked->pncid != NULL) {
        whorl_put_str(pk, "pncid", asked->pncid);
    } else {
        whorl_put_str(pk, "cro", asked->cro);
    }
}

unsigned world_call(struct pnc_world *world, const struct asked *asked, unsigned deadline_ms)
{
    msgpack_packer pk;
    unsigned id = world->calls++;
    ck_assert_uint_lt(id, HOST_CALLS);
    if (messages[id] != NULL) {
        msgpack_sbuffer_free(messages[id]);
    }
    messages[id] = msgpack_sbuffer_new();
    msgpack_packer_init(&pk, messages[id], msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 3);
    whorl_put_str(&pk, "op", "lookup");
    whorl_put_int(&pk, "deadline_ms", deadline_ms);
    whorl_put_key(&pk, "people");
    msgpack_pack_array(&pk, 1);
    pack_person(&pk, asked);
    whorl_plugin.call(world->host->instance, id, (const uint8_t *)messages[id]->data,
                      messages[id]->size);
    return id;
}

static void read_details(const msgpack_object *details, struct answered *to)
{
    for (uint32_t i = 0; i < details->via.array.size; i++) {
        char value[700];
        size_t used = strlen(to->details);
        whorl_str_copy(whorl_map_get(&details->via.array.ptr[i], "value"), value, sizeof(value));
        snprintf(to->details + used, sizeof(to->details) - used, "[%s]", value);
    }
}

struct answered world_answer(struct pnc_world *world, unsigned call)
{
    struct answered to = {.age = -1};
    struct whorl_msg msg = plugin_host_answer(world->host, call);
    const msgpack_object *list = whorl_map_get(&msg.root, "candidates"),
                         *age = whorl_map_get(&msg.root, "age");
    whorl_str_copy(whorl_map_get(&msg.root, "class"), to.class, sizeof(to.class));
    whorl_str_copy(whorl_map_get(&msg.root, "reason"), to.reason, sizeof(to.reason));
    if (age != NULL) {
        to.age = age->via.i64;
    }
    if (list != NULL) {
        to.candidates = list->via.array.size;
        whorl_str_copy(whorl_map_get(&list->via.array.ptr[0], "ref"), to.ref, sizeof(to.ref));
        read_details(whorl_map_get(&list->via.array.ptr[0], "details"), &to);
    }
    whorl_msg_release(&msg);
    return to;
}

struct answered world_ask(struct pnc_world *world, const struct asked *asked)
{
    unsigned call = world_call(world, asked, 10000);
    plugin_host_wait(world->host, world->calls);
    return world_answer(world, call);
}

struct answered world_ask_until(struct pnc_world *world, const struct asked *asked,
                                const char *class)
{
    for (;;) {
        struct answered found = world_ask(world, asked);
        if (strcmp(found.class, class) == 0) {
            return found;
        }
        nap(20);
    }
}

void world_wait_cached(struct pnc_world *world, const char *pncid)
{
    struct whorl_fault fault;
    struct pnc_moment asked[PNC_CLASSES];
    struct pnc_record record;
    struct pnc_cache *cache = pnc_cache_open(world->dir, &fault);
    for (bool there = false; !there; nap(5)) {
        MDB_txn *txn = pnc_cache_read(cache, &fault);
        ck_assert_ptr_nonnull(txn);
        there = pnc_cache_record(cache, txn, pncid, &record, asked);
        pnc_cache_done(cache, txn);
        if (there) {
            pnc_record_release(&record);
        }
    }
    pnc_cache_close(cache);
}
