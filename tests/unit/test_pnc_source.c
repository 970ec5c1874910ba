/* The PNC backend with source = "postgresql", over a real PostgreSQL (tests/e2e/with_postgres.py).
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "plugins/pnc/keeper.h"
#include "pnc_world.h"
#include "run_suite.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define LONG_LIVED                                                                                 \
    "cache", "circulations=9999", "cache", "bail=9999", "cache", "disqualified=9999", "cache",     \
        "warnings=9999", "cache", "markers=9999", "cache", "details=9999"
#define NEVER_CACHED "cache", "circulations=0"

static struct pnc_world world;
static const char *const long_lived[] = {LONG_LIVED, NULL};
static const char *const never_cached[] = {NEVER_CACHED, NULL};
/* Nothing listens on port 1. */
static const char *const out_of_reach[] = {"database", "host=127.0.0.1 port=1 dbname=x user=x",
                                           "database_ca", "", NULL};

static void setup(void)
{
    world_make(&world);
}

static void teardown(void)
{
    world_remove(&world);
}

static struct answered by_pncid(unsigned i)
{
    char id[PNC_ID_CAP];
    struct asked asked = {.pncid = world_pncid(i, id)};
    return world_ask(&world, &asked);
}

static void expect(const struct answered *found, const char *class, const char *part)
{
    ck_assert_msg(strcmp(found->class, class) == 0, "%s (%s)", found->class, found->reason);
    ck_assert_msg(strstr(found->reason, part) != NULL || strstr(found->details, part) != NULL,
                  "%s %s", found->reason, found->details);
}

/* ------------------------------------------------------------------ finding */

START_TEST(a_person_is_found_by_each_key)
{
    char id[PNC_ID_CAP], cro[PNC_ID_CAP];
    const struct asked ways[] = {{.pncid = world_pncid(7, id)},
                                 {.cro = world_cro(7, cro)},
                                 {.family = "f7", .given = "G7 Other", .born = "1970-01-01"},
                                 {.family = "A-7", .given = "g7", .born = "1970-01-01"}};
    world_start(&world, never_cached);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        struct answered found = world_ask(&world, &ways[i]);
        expect(&found, i < 2 ? "match" : "possible", "[first]");
        expect(&found, i < 2 ? "match" : "possible", "[VIOLENT]");
        ck_assert_uint_eq(found.candidates, 1);
        ck_assert_str_eq(found.ref, id);
        ck_assert_int_eq(found.age, 0);
    }
}
END_TEST

START_TEST(nobody_is_no_match_once_the_database_has_said_so)
{
    const struct asked ways[] = {{.pncid = "2000/0999999E"},
                                 {.cro = "999999/00E"},
                                 {.family = "Nobody", .given = "G7", .born = "1970-01-01"}};
    char id[PNC_ID_CAP];
    ck_assert_str_eq(world_pncid(999999, id), ways[0].pncid);
    world_start(&world, NULL);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT_OF(ways); i++) {
            struct answered found = world_ask(&world, &ways[i]);
            expect(&found, "no_match", "");
            ck_assert_int_ge(found.age, 0);
        }
    }
}
END_TEST

START_TEST(a_table_without_rows_is_unavailable)
{
    world_sql(&world, "DELETE FROM whorl.pnc_people");
    world_start(&world, NULL);
    struct answered found = by_pncid(1);
    expect(&found, "unavailable", "holds no PNC records");
}
END_TEST

START_TEST(more_people_than_can_be_shown_are_said_to_be_more)
{
    world_sql(&world, "UPDATE whorl.pnc_people SET details = jsonb_set(details, '{name}', "
                      "'{\"family\": \"Same\", \"given\": \"Name\"}')");
    world_start(&world, never_cached);
    struct asked asked = {.family = "Same", .given = "Name", .born = "1970-01-01"};
    struct answered found = world_ask(&world, &asked);
    expect(&found, "possible", "more records were found than can be shown");
    ck_assert_uint_eq(found.candidates, 20);
}
END_TEST

/* ------------------------------------------------------------------ freshness */

START_TEST(what_is_young_enough_is_answered_without_asking)
{
    char id[PNC_ID_CAP], cro[PNC_ID_CAP];
    const struct asked ways[] = {{.pncid = world_pncid(3, id)},
                                 {.cro = world_cro(3, cro)},
                                 {.family = "F3", .given = "G3", .born = "1970-01-01"}};
    world_start(&world, long_lived);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        world_ask(&world, &ways[i]);
    }
    world_wait_cached(&world, id);
    world_stop(&world); /* writes what is left */
    world_sql(&world, "DELETE FROM whorl.pnc_people");
    world_start(&world, long_lived);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        struct answered found = world_ask(&world, &ways[i]);
        expect(&found, i < 2 ? "match" : "possible", "[first]");
        ck_assert_int_ge(found.age, 0);
    }
}
END_TEST

START_TEST(each_class_is_asked_for_again_after_its_own_lifetime)
{
    static const char *const lives[] = {"cache", "circulations=1",    "cache", "bail=9999",
                                        "cache", "disqualified=9999", "cache", "warnings=1",
                                        "cache", "markers=9999",      "cache", "details=9999",
                                        NULL};
    char id[PNC_ID_CAP];
    struct answered found;
    struct timespec nap = {0, 50000000};
    world_start(&world, lives);
    found = by_pncid(5);
    ck_assert_ptr_null(strstr(found.details, "WY/1"));
    world_wait_cached(&world, world_pncid(5, id));
    world_sql(&world,
              "UPDATE whorl.pnc_people SET circulations = '[{\"kind\": \"wanted\", \"force\": "
              "\"WYP\", \"reference\": \"WY/1\", \"date\": \"2026-01-05\"}]', warnings = NULL, "
              "markers = '[\"newer\"]', details = jsonb_set(details, '{description}', "
              "'\"second\"') WHERE pncid = '%s'",
              id);
    do {
        nanosleep(&nap, NULL);
        found = by_pncid(5);
        expect(&found, "match", "[first]");
        ck_assert_ptr_null(strstr(found.details, "newer"));
    } while (strstr(found.details, "WY/1") == NULL);
    ck_assert_ptr_null(strstr(found.details, "VIOLENT"));
    ck_assert_int_ge(found.age, 1); /* the details' */
}
END_TEST

START_TEST(who_is_gone_from_the_database_is_gone_after_the_shortest_lifetime)
{
    static const char *const lives[] = {"cache", "circulations=1", NULL};
    char id[PNC_ID_CAP];
    world_start(&world, lives);
    struct answered found = by_pncid(5);
    expect(&found, "match", "");
    world_wait_cached(&world, world_pncid(5, id));
    world_sql(&world, "DELETE FROM whorl.pnc_people WHERE pncid = '%s'", id);
    struct asked asked = {.pncid = id};
    world_ask_until(&world, &asked, "no_match");
}
END_TEST

START_TEST(who_is_new_in_the_database_is_found_after_the_shortest_lifetime)
{
    static const char *const lives[] = {"cache", "circulations=1", NULL};
    char id[PNC_ID_CAP];
    struct asked asked = {.pncid = world_pncid(900, id)};
    world_start(&world, lives);
    struct answered found = world_ask(&world, &asked);
    expect(&found, "no_match", "");
    world_sql(&world, "UPDATE whorl.pnc_people SET pncid = '%s' WHERE cro = '000001/00A'", id);
    world_ask_until(&world, &asked, "match");
}
END_TEST

/* ------------------------------------------------------------------ without the database */

/* Fills the cache with person i and the key that leads there, and that nobody is called Nobody. */
static void fill_cache(unsigned i)
{
    char id[PNC_ID_CAP], cro[PNC_ID_CAP];
    struct asked by_cro = {.cro = world_cro(i, cro)},
                 nobody = {.family = "Nobody", .given = "G", .born = "1970-01-01"};
    world_start(&world, NULL);
    struct answered found = world_ask(&world, &by_cro);
    expect(&found, "match", "");
    found = world_ask(&world, &nobody);
    expect(&found, "no_match", "");
    world_wait_cached(&world, world_pncid(i, id));
    world_stop(&world);
}

START_TEST(without_the_database_the_cache_answers_with_its_age_and_nothing_is_no_match)
{
    static const char *const settings[] = {
        "database", "host=127.0.0.1 port=1 dbname=x user=x", "database_ca", "", NEVER_CACHED, NULL};
    char id[PNC_ID_CAP], cro[PNC_ID_CAP];
    struct timespec nap = {1, 100000000};
    fill_cache(4);
    nanosleep(&nap, NULL);
    world_start(&world, settings);
    const struct asked there[] = {{.pncid = world_pncid(4, id)}, {.cro = world_cro(4, cro)}};
    for (size_t i = 0; i < COUNT_OF(there); i++) {
        struct answered found = world_ask(&world, &there[i]);
        expect(&found, "match", "[first]");
        ck_assert_int_ge(found.age, 1);
    }
    const struct asked absent[] = {{.pncid = world_pncid(6, id)},
                                   {.cro = world_cro(6, cro)},
                                   {.family = "F4", .given = "G4", .born = "1970-01-01"},
                                   {.family = "Nobody", .given = "G", .born = "1970-01-01"}};
    for (size_t i = 0; i < COUNT_OF(absent); i++) {
        struct answered found = world_ask(&world, &absent[i]);
        expect(&found, "unavailable", "the database x at 127.0.0.1:1");
    }
}
END_TEST

START_TEST(a_cached_key_leads_to_nobody_who_has_lost_it_since)
{
    static const char *const renewed[] = {NEVER_CACHED, "cache", "details=0", NULL};
    static const char *const settings[] = {
        "database", "host=127.0.0.1 port=1 dbname=x user=x", "database_ca", "", NEVER_CACHED, NULL};
    char id[PNC_ID_CAP], cro[PNC_ID_CAP];
    fill_cache(4);
    world_start(&world, renewed);
    world_sql(&world, "UPDATE whorl.pnc_people SET cro = NULL WHERE pncid = '%s'",
              world_pncid(4, id));
    struct answered found = by_pncid(4);
    expect(&found, "match", "[first]");
    world_stop(&world); /* what was to be cached is */
    world_start(&world, settings);
    const struct asked by_cro = {.cro = world_cro(4, cro)};
    found = world_ask(&world, &by_cro);
    expect(&found, "unavailable", "the database x at 127.0.0.1:1");
}
END_TEST

START_TEST(what_is_older_than_the_limit_is_unavailable)
{
    static const char *const settings[] = {"database",    "host=127.0.0.1 port=1 dbname=x user=x",
                                           "database_ca", "",
                                           "stale_limit", "1",
                                           "cache",       "circulations=0",
                                           "cache",       "bail=0",
                                           "cache",       "disqualified=0",
                                           "cache",       "warnings=0",
                                           "cache",       "markers=0",
                                           "cache",       "details=0",
                                           NULL};
    char id[PNC_ID_CAP];
    struct asked asked = {.pncid = world_pncid(4, id)};
    fill_cache(4);
    world_start(&world, settings);
    world_ask_until(&world, &asked, "unavailable");
}
END_TEST

START_TEST(a_call_that_is_given_up_is_unavailable)
{
    char id[PNC_ID_CAP];
    struct asked asked = {.pncid = world_pncid(4, id)};
    world_start(&world, out_of_reach);
    world.host->given_up = true;
    struct answered found = world_ask(&world, &asked);
    expect(&found, "unavailable", "given up");
}
END_TEST

/* Asks for everybody many times over while the database's connections are ended again and again.
 * Whoever is asked for is there: any other answer than that or `unavailable` is wrong. */
START_TEST(connections_that_are_lost_lose_no_call_and_make_nobody_no_match)
{
    unsigned calls[3000], matches = 0;
    world_start(&world, never_cached);
    by_pncid(0);
    for (unsigned i = 0; i < COUNT_OF(calls); i++) {
        char id[PNC_ID_CAP];
        struct asked asked = {.pncid = world_pncid(i % WORLD_PEOPLE, id)};
        calls[i] = world_call(&world, &asked, 10000);
        if (i % 250 == 100) {
            world_sql(&world, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                              "WHERE usename = 'reader'");
        }
    }
    plugin_host_wait(world.host, world.calls);
    for (unsigned i = 0; i < COUNT_OF(calls); i++) {
        char id[PNC_ID_CAP];
        struct answered found = world_answer(&world, calls[i]);
        if (strcmp(found.class, "unavailable") == 0) {
            continue;
        }
        ck_assert_str_eq(found.class, "match");
        ck_assert_str_eq(found.ref, world_pncid(i % WORLD_PEOPLE, id));
        matches++;
    }
    ck_assert_uint_gt(matches, 0);
    struct asked asked = {.cro = "000001/00A"};
    world_ask_until(&world, &asked, "match");
}
END_TEST

START_TEST(a_question_in_flight_is_asked_again_on_the_next_connection)
{
    char id[PNC_ID_CAP];
    struct asked asked = {.pncid = world_pncid(9, id)};
    world_start(&world, never_cached);
    by_pncid(0);
    /* The row waits for a lock on the table; then its connection is ended, and the lock given up.
     */
    world_sql(&world, "BEGIN; LOCK TABLE whorl.pnc_people");
    unsigned call = world_call(&world, &asked, 10000);
    struct timespec nap = {0, 300000000};
    nanosleep(&nap, NULL);
    world_sql(&world, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                      "WHERE usename = 'reader'");
    world_sql(&world, "COMMIT");
    plugin_host_wait(world.host, world.calls);
    struct answered found = world_answer(&world, call);
    expect(&found, "match", "[first]");
}
END_TEST

START_TEST(a_statement_that_takes_too_long_is_answered_from_the_cache)
{
    char id[PNC_ID_CAP];
    fill_cache(4);
    world_start(&world, never_cached);
    by_pncid(0);
    world_sql(&world, "BEGIN; LOCK TABLE whorl.pnc_people");
    struct asked there = {.pncid = world_pncid(4, id)}, absent = {.cro = "000009/00J"};
    unsigned first = world_call(&world, &there, 10000), second = world_call(&world, &absent, 10000);
    plugin_host_wait(world.host, world.calls);
    world_sql(&world, "COMMIT");
    struct answered found = world_answer(&world, first);
    expect(&found, "match", "[first]");
    found = world_answer(&world, second);
    expect(&found, "unavailable", "");
}
END_TEST

/* ------------------------------------------------------------------ rows that can't be believed */

static const struct {
    const char *change, *reason;
} hostile[] = {
    {"details = details || '{\"sex\": \"SECRET\"}'", "sex: must be one of"},
    {"details = details || '{\"born\": \"SECRET\"}'", "born: must be a date"},
    {"details = details || '{\"pncid\": \"2000/0000001A\"}'", "details: must hold no field"},
    {"details = details || '{\"warnings\": [\"SECRET\"]}'", "details: must hold no field"},
    {"details = details - 'name'", "name: is missing"},
    {"details = '\"SECRET\"'", "details: must be an object"},
    {"details = '[[[[[[\"SECRET\"]]]]]]'", "details: must be an object"},
    {"details = details || jsonb_build_object('description', repeat('SECRET', 20000))",
     "details: is longer"},
    {"details = details || jsonb_build_object('description', E'SECRET\\u0001')",
     "description: must be UTF-8"},
    {"warnings = '[\"secret\"]'", "warnings[0]: must be of capital"},
    {"warnings = '\"SECRET\"'", "warnings: must be a list"},
    {"warnings = 'null'", "warnings: must be a list"},
    {"markers = '[[[[[[\"SECRET\"]]]]]]'", "markers: lists and objects nest"},
    {"circulations = '[{\"kind\": \"SECRET\"}]'", "circulations[0].kind: must be one of"},
    {"circulations = '[{\"kind\": \"wanted\"}]'", "circulations[0].force: is missing"},
    {"bail = '[{\"condition\": \"x\", \"SECRET\\u0007\": \"x\"}]'", "bail[0].?: unknown field"},
    {"disqualified = '{}'", "disqualified.court: is missing"},
    {"cro = 'SECRET'", "cro: "},
    {"pncid = '2000/0000001B'", "pncid: the check letter"},
    {"pncid = 'SECRET'", "pncid: "},
    {"pncid = NULL", "pncid: is missing"},
    {"name_keys = '{F2|G2|1970-01-01}'", "name_keys: the row is not of the key"},
};

START_TEST(a_row_that_is_not_valid_is_unavailable_and_no_value_of_it_is_told)
{
    static const char *const settings[] = {"records_table", "whorl.hostile", NEVER_CACHED, NULL};
    world_sql(&world, "CREATE TABLE whorl.hostile AS SELECT * FROM whorl.pnc_people; "
                      "GRANT SELECT ON whorl.hostile TO reader");
    world_start(&world, settings);
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        struct asked asked = {.family = "F1", .given = "G1", .born = "1970-01-01"};
        if (strncmp(hostile[i].change, "name_keys", 9) == 0) {
            asked = (struct asked){.family = "F2", .given = "G2", .born = "1970-01-01"};
        }
        world_sql(&world,
                  "TRUNCATE whorl.hostile; INSERT INTO whorl.hostile SELECT * FROM "
                  "whorl.pnc_people WHERE cro = '000001/00A'; "
                  "UPDATE whorl.hostile SET %s",
                  hostile[i].change);
        struct answered found = world_ask(&world, &asked);
        ck_assert_msg(strcmp(found.class, "unavailable") == 0, "%s", hostile[i].change);
        ck_assert_msg(strstr(found.reason, hostile[i].reason) != NULL, "%s: %s", hostile[i].change,
                      found.reason);
        ck_assert_ptr_null(strstr(found.reason, "SECRET"));
    }
    world_stop(&world);
}
END_TEST

START_TEST(a_log_line_names_key_and_field_and_never_the_value)
{
    static const char *const settings[] = {NEVER_CACHED, NULL};
    world_sql(&world, "UPDATE whorl.pnc_people SET warnings = '[\"secret\"]'");
    world_start(&world, settings);
    by_pncid(1);
    ck_assert_msg(strstr(world.host->log, "asked for by pncid, is not valid: warnings[0]") != NULL,
                  "%s", world.host->log);
    ck_assert_ptr_null(strstr(world.host->log, "secret"));
}
END_TEST

START_TEST(two_rows_of_one_person_are_unavailable)
{
    static const char *const settings[] = {"records_table", "whorl.twice", NEVER_CACHED, NULL};
    world_sql(&world, "CREATE VIEW whorl.twice AS SELECT * FROM whorl.pnc_people UNION ALL "
                      "SELECT * FROM whorl.pnc_people WHERE cro = '000003/00C'; "
                      "GRANT SELECT ON whorl.twice TO reader");
    world_start(&world, settings);
    struct answered found = by_pncid(3);
    expect(&found, "unavailable", "several rows of one PNCID");
    found = by_pncid(4);
    expect(&found, "match", "");
}
END_TEST

/* A table of which one row, person 8's, is an error. */
static void make_moody(void)
{
    char id[PNC_ID_CAP];
    world_sql(&world,
              "CREATE VIEW whorl.moody AS SELECT pncid, cro, CASE WHEN pncid = '%s' THEN "
              "to_jsonb(1 / (length(pncid) - 13)) ELSE details END AS details, "
              "circulations, bail, disqualified, warnings, markers, name_keys "
              "FROM whorl.pnc_people; GRANT SELECT ON whorl.moody TO reader",
              world_pncid(8, id));
}

START_TEST(a_statement_that_fails_spoils_no_other_in_flight)
{
    static const char *const settings[] = {"records_table", "whorl.moody", NEVER_CACHED, NULL};
    unsigned calls[400];
    make_moody();
    world_start(&world, settings);
    by_pncid(0);
    for (unsigned i = 0; i < COUNT_OF(calls); i++) {
        char other[PNC_ID_CAP];
        struct asked asked = {.pncid = world_pncid(i % 10, other)};
        calls[i] = world_call(&world, &asked, 10000);
    }
    plugin_host_wait(world.host, world.calls);
    for (unsigned i = 0; i < COUNT_OF(calls); i++) {
        struct answered found = world_answer(&world, calls[i]);
        if (i % 10 == 8) {
            expect(&found, "unavailable", "SQLSTATE 22012");
        } else {
            expect(&found, "match", "[first]");
        }
    }
}
END_TEST

/* The first questions wait for the connection and are sent together: the one by CRO number comes
 * behind an error, and so does the statement that it needs. */
START_TEST(a_statement_that_was_skipped_is_prepared_again)
{
    static const char *const settings[] = {"records_table", "whorl.moody", NEVER_CACHED, NULL};
    char id[PNC_ID_CAP], cro[PNC_ID_CAP];
    make_moody();
    world_start(&world, settings);
    const struct asked bad = {.pncid = world_pncid(8, id)}, good = {.cro = world_cro(3, cro)};
    unsigned first = world_call(&world, &bad, 10000), second = world_call(&world, &good, 10000);
    plugin_host_wait(world.host, world.calls);
    struct answered found = world_answer(&world, first);
    expect(&found, "unavailable", "SQLSTATE 22012");
    found = world_answer(&world, second);
    expect(&found, "match", "[first]");
    found = world_ask(&world, &good);
    expect(&found, "match", "[first]");
}
END_TEST

/* ------------------------------------------------------------------ who may do what */

START_TEST(a_role_that_may_write_is_refused)
{
    static const char *const grants[] = {"INSERT ON whorl.pnc_people",
                                         "UPDATE (warnings) ON whorl.pnc_people",
                                         "DELETE ON whorl.pnc_people"};
    const char *const settings[] = {"database", getenv("TEST_PG_WRITER"), NULL};
    world_sql(&world, "GRANT SELECT ON whorl.pnc_people TO writer");
    for (size_t i = 0; i < COUNT_OF(grants); i++) {
        world_sql(&world, "GRANT %s TO writer", grants[i]);
        world_start(&world, settings);
        struct answered found = by_pncid(1);
        expect(&found, "unavailable", "its role may write");
        world_stop(&world);
        world_sql(&world, "REVOKE %s FROM writer", grants[i]);
    }
    world_start(&world, settings);
    struct answered found = by_pncid(1);
    expect(&found, "match", "");
}
END_TEST

START_TEST(a_superuser_is_refused)
{
    const char *const settings[] = {
        "database", getenv("TEST_PG_OWNER"), "password_file", "", "database_ca", "", NULL};
    world_start(&world, settings);
    struct answered found = by_pncid(1);
    expect(&found, "unavailable", "superuser");
}
END_TEST

START_TEST(a_role_that_may_not_read_is_told_what_it_lacks)
{
    world_sql(&world, "REVOKE SELECT ON whorl.pnc_people FROM reader");
    world_start(&world, NULL);
    struct answered found = by_pncid(1);
    expect(&found, "unavailable", "lacks SELECT");
}
END_TEST

START_TEST(rows_that_a_policy_hides_are_not_nobody)
{
    world_sql(&world, "CREATE POLICY part ON whorl.pnc_people TO reader USING (cro < '000005'); "
                      "ALTER TABLE whorl.pnc_people ENABLE ROW LEVEL SECURITY");
    world_start(&world, NULL);
    struct answered found = by_pncid(7);
    expect(&found, "unavailable", "");
}
END_TEST

START_TEST(a_wrong_password_or_authority_is_told_without_the_password)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/password", world.dir);
    FILE *file = fopen(path, "w");
    fputs("hunter-two\n", file);
    fclose(file);
    chmod(path, 0600);
    const char *const settings[] = {"password_file", path, NULL};
    world_start(&world, settings);
    struct answered found = by_pncid(1);
    expect(&found, "unavailable", "password_file");
    ck_assert_ptr_null(strstr(found.reason, "hunter"));
    ck_assert_ptr_null(strstr(world.host->log, "hunter"));
    world_stop(&world);
    snprintf(path, sizeof(path), "%s/other.pem", world.dir);
    char command[400];
    snprintf(command, sizeof(command),
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=Other "
             "-keyout '%s/other.key' -out '%s' 2>/dev/null",
             world.dir, path);
    ck_assert_int_eq(system(command), 0);
    const char *const other[] = {"database_ca", path, NULL};
    world_start(&world, other);
    found = by_pncid(1);
    expect(&found, "unavailable", "database_ca must name the authority");
}
END_TEST

/* ------------------------------------------------------------------ somebody else's table */

START_TEST(a_mapping_fits_another_schema)
{
    static const char *const settings[] = {"records_table", "rms.Nominals",
                                           "columns",       "pncid=Nominal",
                                           "columns",       "cro=cro_ref",
                                           "columns",       "name_keys=Names",
                                           "columns",       "details=about",
                                           "columns",       "warnings=ws",
                                           "columns",       "markers=ms",
                                           "columns",       "bail=conditions",
                                           "columns",       "circulations=c",
                                           "columns",       "disqualified=d",
                                           NEVER_CACHED,    NULL};
    world_sql(&world,
              "DROP SCHEMA IF EXISTS rms CASCADE; CREATE SCHEMA rms; "
              "CREATE VIEW rms.\"Nominals\" AS SELECT pncid AS \"Nominal\", cro AS cro_ref, "
              "ARRAY[whorl.pnc_name_key(details->'name'->>'family', "
              "details->'name'->>'given', details->>'born')] AS \"Names\", "
              "details::json AS about, warnings AS ws, markers AS ms, bail AS conditions, "
              "NULL::text AS c, disqualified AS d FROM whorl.pnc_people; "
              "GRANT USAGE ON SCHEMA rms TO reader; "
              "GRANT SELECT ON rms.\"Nominals\" TO reader; "
              "REVOKE SELECT ON whorl.pnc_people FROM reader");
    world_start(&world, settings);
    const struct asked ways[] = {{.pncid = "2000/0000007G"},
                                 {.cro = "000007/00G"},
                                 {.family = "f7", .given = "g7", .born = "1970-01-01"}};
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        struct answered found = world_ask(&world, &ways[i]);
        expect(&found, i < 2 ? "match" : "possible", "[VIOLENT]");
        ck_assert_str_eq(found.ref, ways[0].pncid);
    }
}
END_TEST

static const struct {
    const char *const settings[6];
    const char *where, *what;
} mistakes[] = {
    {{"source", "oracle"}, "source", "lmdb, postgresql or upstream"},
    {{"database", ""}, "database", "is missing"},
    {{"database", "host=localhost dbname=x user=x password=hunter"}, "database", "no password"},
    {{"database", "host=localhost dbname=x user=x password='hun"}, "database", "single quotes"},
    {{"database", "host=localhost dbname=x user=x sslmode=disable"}, "database", "sslmode"},
    {{"database", "host=localhost dbname=x user=x options=-cfsync=off"}, "database", "options"},
    {{"database", "host=localhost user=x"}, "database", "dbname= is missing"},
    {{"database", "host=localhost dbname=x"}, "database", "user= is missing"},
    {{"database", "dbname=x user=x"}, "database", "host= is missing"},
    {{"database", "host=db.example dbname=x user=x", "database_ca", ""}, "database_ca", "missing"},
    {{"database", "host=127.0.0.1,db.example dbname=x user=x", "database_ca", ""},
     "database_ca",
     "missing"},
    {{"password_file", "/nonexistent"}, "password_file", "No such file"},
    {{"password_file", "/etc/passwd"}, "password_file", "chmod 600"},
    {{"database_key", "/etc/passwd"}, "database_key", "chmod 600"},
    {{"database_certificate", "/etc/passwd"}, "database_key", "go together"},
    {{"records_table", "people"}, "records_table", "schema.table"},
    {{"records_table", "a.b.c"}, "records_table", "schema.table"},
    {{"records_table", "a.\"b"}, "records_table", "schema.table"},
    {{"records_table", "a.b; DROP TABLE x"}, "records_table", "schema.table"},
    {{"columns", "details=x\" FROM y--"}, "columns", "entry 1"},
    {{"columns", "hobbies=x"}, "columns", "entry 1 must begin"},
    {{"columns", "cro=a", "columns", "cro=b"}, "columns", "entry 2 names cro again"},
    {{"cache", "details"}, "cache", "entry 1"},
    {{"cache", "details=-1"}, "cache", "details=SECONDS"},
    {{"cache", "details=99999999"}, "cache", "details=SECONDS"},
    {{"cache", "wanted=5"}, "cache", "circulations="},
    {{"cache", "bail=5", "cache", "bail=6"}, "cache", "entry 2 names bail again"},
};

START_TEST(every_mistake_in_the_settings_is_named)
{
    extern const struct whorl_plugin whorl_plugin;
    world_start(&world, NULL);
    const char *const *good = world.host->pairs;
    for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
        const char *pairs[32];
        size_t count = 0;
        struct whorl_fault fault = {{0}, {0}};
        for (size_t k = 0; k < 6 && mistakes[i].settings[k] != NULL; k++) {
            pairs[count++] = mistakes[i].settings[k];
        }
        for (size_t k = 0; good[k] != NULL; k++) {
            pairs[count++] = good[k];
        }
        pairs[count] = NULL;
        world.host->pairs = pairs;
        ck_assert_int_eq(whorl_plugin.check(&world.host->settings, &fault), -1);
        ck_assert_msg(strcmp(fault.where, mistakes[i].where) == 0 &&
                          strstr(fault.text, mistakes[i].what) != NULL,
                      "%zu: %s: %s", i, fault.where, fault.text);
        ck_assert_ptr_null(strstr(fault.text, "hun"));
    }
    world.host->pairs = good;
}
END_TEST

/* ------------------------------------------------------------------ names in SQL */

/* A made-up name: letters of all kinds, marks and spaces. */
static void make_name(char *text, size_t cap)
{
    static const char *const marks[] = {" ", "-",  ".",  ",", "'", "`",
                                        "(", "\"", "\\", "/", "0", "_"};
    size_t used = 0;
    for (long parts = random() % 12; parts >= 0 && used + 4 < cap; parts--) {
        unsigned wide = 0xc0u + (unsigned)random() % 0xc0u;
        switch (random() % 4) {
        case 0:
            used += (size_t)snprintf(text + used, cap - used, "%s", marks[random() % 12]);
            break;
        case 1:
            used += (size_t)snprintf(text + used, cap - used, "%c%c", 0xc0 | (int)(wide >> 6),
                                     0x80 | (int)(wide & 0x3f));
            break;
        case 2:
            used += (size_t)snprintf(text + used, cap - used, random() % 8 == 0 ? "Ж" : "ß");
            break;
        default:
            used += (size_t)snprintf(text + used, cap - used, "%c", "abcxyzABCXYZ"[random() % 12]);
        }
    }
}

START_TEST(the_databases_name_keys_are_ours)
{
    srandom(7);
    for (unsigned i = 0; i < 3000; i++) {
        char family[64] = "", given[64] = "", key[PNC_KEY_CAP];
        make_name(family, sizeof(family));
        make_name(given, sizeof(given));
        const char *const values[] = {family, given, "1970-01-01"};
        pnc_name_key(family, given, "1970-01-01", key);
        PGresult *result = PQexecParams(world.owner, "SELECT whorl.pnc_name_key($1, $2, $3)", 3,
                                        NULL, values, NULL, NULL, 0);
        ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQerrorMessage(world.owner));
        ck_assert_msg(strcmp(PQgetvalue(result, 0, 0), key) == 0, "%s, %s: %s, not %s", family,
                      given, PQgetvalue(result, 0, 0), key);
        PQclear(result);
    }
}
END_TEST

/* ------------------------------------------------------------------ the cache */

START_TEST(no_clock_that_is_set_makes_anything_younger)
{
    struct pnc_moment then = {1000000, 5000, 1}, now = {1003000, 8000, 1};
    ck_assert_int_eq(pnc_age_ms(&then, &now), 3000);
    now.wall_ms = 2000000; /* set forward */
    ck_assert_int_eq(pnc_age_ms(&then, &now), 1000000);
    now.wall_ms = 0; /* set back */
    ck_assert_int_eq(pnc_age_ms(&then, &now), 3000);
    now.boot_ms = 4000;
    ck_assert_int_eq(pnc_age_ms(&then, &now), PNC_AGE_UNKNOWN);
    now = (struct pnc_moment){1003000, 10, 2}; /* another boot */
    ck_assert_int_eq(pnc_age_ms(&then, &now), 3000);
    now.wall_ms = 999999;
    ck_assert_int_eq(pnc_age_ms(&then, &now), PNC_AGE_UNKNOWN);
}
END_TEST

/* News of a person, asked for at a moment. */
static struct pnc_news *news_of(unsigned i, const struct pnc_moment *asked)
{
    char line[600], id[PNC_ID_CAP];
    struct whorl_fault fault;
    struct pnc_news *news = pnc_news_new(PNC_BY_PNCID, world_pncid(i, id), 1);
    snprintf(line, sizeof(line),
             "{\"pncid\":\"%s\",\"name\":{\"family\":\"F\",\"given\":\"G\"},"
             "\"description\":\"%0400d\"}",
             id, 0);
    ck_assert(pnc_record_from_json(line, strlen(line), 2026, &news->records[0], &fault));
    news->count = 1;
    for (size_t part = 0; part < PNC_CLASSES; part++) {
        news->asked[part] = *asked;
    }
    return news;
}

static bool is_cached(struct pnc_cache *cache, unsigned i)
{
    char id[PNC_ID_CAP];
    struct whorl_fault fault;
    struct pnc_moment asked[PNC_CLASSES];
    struct pnc_record record;
    MDB_txn *txn = pnc_cache_read(cache, &fault);
    bool there = pnc_cache_record(cache, txn, world_pncid(i, id), &record, asked);
    pnc_cache_done(cache, txn);
    if (there) {
        pnc_record_release(&record);
    }
    return there;
}

static void write_news(struct pnc_cache *cache, struct pnc_news *news, uint64_t max_bytes)
{
    struct whorl_fault fault;
    ck_assert_msg(pnc_cache_write(cache, news, max_bytes, &fault), "%s", fault.text);
    while (news != NULL) {
        struct pnc_news *next = news->next;
        pnc_news_free(news);
        news = next;
    }
}

START_TEST(the_cache_stays_within_its_size_and_the_oldest_goes)
{
    struct whorl_fault fault;
    struct pnc_cache *cache = pnc_cache_open(world.dir, &fault);
    struct pnc_moment now = pnc_cache_now(cache);
    for (unsigned i = 0; i < 2000; i++) {
        struct pnc_news *again = i % 10 == 0 && i > 0 ? news_of(0, &now) : NULL,
                        *news = news_of(i, &now);
        news->next = again; /* person 0 is asked for again and again */
        write_news(cache, news, 256 << 10);
    }
    ck_assert(is_cached(cache, 1999));
    ck_assert(is_cached(cache, 0));
    ck_assert(!is_cached(cache, 1));
    ck_assert(!is_cached(cache, 1000));
    pnc_cache_close(cache);
}
END_TEST

START_TEST(news_of_an_older_question_replace_no_newer)
{
    struct whorl_fault fault;
    struct pnc_cache *cache = pnc_cache_open(world.dir, &fault);
    struct pnc_moment now = pnc_cache_now(cache), before = now;
    before.boot_ms -= 1000;
    before.wall_ms -= 1000;
    write_news(cache, news_of(1, &now), 1 << 30);
    char id[PNC_ID_CAP];
    struct pnc_news *gone = pnc_news_new(PNC_BY_CRO, "000001/00A", 0);
    for (size_t part = 0; part < PNC_CLASSES; part++) {
        gone->asked[part] = before;
    }
    write_news(cache, gone, 1 << 30);
    write_news(cache, news_of(1, &before), 1 << 30);
    struct pnc_moment asked[PNC_CLASSES];
    struct pnc_record record;
    MDB_txn *txn = pnc_cache_read(cache, &fault);
    ck_assert(pnc_cache_record(cache, txn, world_pncid(1, id), &record, asked));
    pnc_cache_done(cache, txn);
    ck_assert_int_eq(asked[0].boot_ms, now.boot_ms);
    pnc_record_release(&record);
    pnc_cache_close(cache);
}
END_TEST

START_TEST(a_cache_of_the_future_is_emptied)
{
    struct whorl_fault fault;
    struct pnc_cache *cache = pnc_cache_open(world.dir, &fault);
    struct pnc_moment future = pnc_cache_now(cache);
    write_news(cache, news_of(1, &future), 1 << 30);
    future.wall_ms += 3600000;
    future.boot++;
    write_news(cache, news_of(2, &future), 1 << 30);
    pnc_cache_close(cache);
    cache = pnc_cache_open(world.dir, &fault);
    ck_assert(!is_cached(cache, 1));
    ck_assert(!is_cached(cache, 2));
    pnc_cache_close(cache);
}
END_TEST

static TCase *group(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("pnc_source");
    TCase *tests = group(suite, "finding");
    tcase_add_test(tests, a_person_is_found_by_each_key);
    tcase_add_test(tests, nobody_is_no_match_once_the_database_has_said_so);
    tcase_add_test(tests, a_table_without_rows_is_unavailable);
    tcase_add_test(tests, more_people_than_can_be_shown_are_said_to_be_more);
    tests = group(suite, "freshness");
    tcase_add_test(tests, what_is_young_enough_is_answered_without_asking);
    tcase_add_test(tests, each_class_is_asked_for_again_after_its_own_lifetime);
    tcase_add_test(tests, who_is_gone_from_the_database_is_gone_after_the_shortest_lifetime);
    tcase_add_test(tests, who_is_new_in_the_database_is_found_after_the_shortest_lifetime);
    tests = group(suite, "without");
    tcase_add_test(tests,
                   without_the_database_the_cache_answers_with_its_age_and_nothing_is_no_match);
    tcase_add_test(tests, what_is_older_than_the_limit_is_unavailable);
    tcase_add_test(tests, a_cached_key_leads_to_nobody_who_has_lost_it_since);
    tcase_add_test(tests, a_call_that_is_given_up_is_unavailable);
    tcase_add_test(tests, connections_that_are_lost_lose_no_call_and_make_nobody_no_match);
    tcase_add_test(tests, a_question_in_flight_is_asked_again_on_the_next_connection);
    tcase_add_test(tests, a_statement_that_takes_too_long_is_answered_from_the_cache);
    tests = group(suite, "rows");
    tcase_add_test(tests, a_row_that_is_not_valid_is_unavailable_and_no_value_of_it_is_told);
    tcase_add_test(tests, a_log_line_names_key_and_field_and_never_the_value);
    tcase_add_test(tests, two_rows_of_one_person_are_unavailable);
    tcase_add_test(tests, a_statement_that_fails_spoils_no_other_in_flight);
    tcase_add_test(tests, a_statement_that_was_skipped_is_prepared_again);
    tests = group(suite, "rights");
    tcase_add_test(tests, a_role_that_may_write_is_refused);
    tcase_add_test(tests, a_superuser_is_refused);
    tcase_add_test(tests, a_role_that_may_not_read_is_told_what_it_lacks);
    tcase_add_test(tests, rows_that_a_policy_hides_are_not_nobody);
    tcase_add_test(tests, a_wrong_password_or_authority_is_told_without_the_password);
    tests = group(suite, "mapping");
    tcase_add_test(tests, a_mapping_fits_another_schema);
    tcase_add_test(tests, every_mistake_in_the_settings_is_named);
    tcase_add_test(tests, the_databases_name_keys_are_ours);
    tests = group(suite, "cache");
    tcase_add_test(tests, no_clock_that_is_set_makes_anything_younger);
    tcase_add_test(tests, the_cache_stays_within_its_size_and_the_oldest_goes);
    tcase_add_test(tests, news_of_an_older_question_replace_no_newer);
    tcase_add_test(tests, a_cache_of_the_future_is_emptied);
    return run_suite(suite);
}
