/* PNC records and the look-up backend, over real LMDB. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "plugin_host.h"
#include "plugins/pnc/people.h"
#include "run_suite.h"

#define YEAR 2026
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static char dir[64];
static struct whorl_fault fault;
extern const struct whorl_plugin whorl_plugin;

/* Everything that a record may hold; the PNCID written short, in lower case. */
static const char full[] =
    "{\"pncid\":\"88/12345g\",\"cro\":\"12345/88R\",\"name\":{\"family\":\"O'Brien\",\"given\":"
    "\"Se\\u00e1n Patrick\"},\"aliases\":[{\"family\":\"Brennan\",\"given\":\"John\"},{\"family\":"
    "\"Walsh\",\"given\":\"Jack\",\"born\":\"1971-02-03\"}],\"born\":\"1970-01-31\",\"birth_"
    "place\":"
    "\"Leeds\",\"sex\":\"male\",\"nationality\":\"Irish\",\"description\":\"1.80 m, scar on left "
    "hand\",\"warnings\":[\"VIOLENT\",\"XX\"],\"markers\":[\"Artificial limb\"],\"addresses\":[\"1 "
    "High Street, Leeds\"],\"driver_number\":\"OBRIE701310SP9AB\",\"circulations\":[{\"kind\":"
    "\"wanted\",\"force\":\"West Yorkshire\",\"reference\":\"WY/123/26\",\"date\":\"2026-01-05\","
    "\"reason\":\"Failed to appear\"}],\"disqualified\":{\"court\":\"Leeds Magistrates\",\"order\":"
    "\"12 months\",\"expires\":\"2199-01-01\"},\"bail\":[{\"condition\":\"Not to enter "
    "Bradford\",\"until\":\"2198-01-01\",\"force\":\"West Yorkshire\"}]}";

/* Another person of the same name and birth date, one with an alias of that, and one apart. */
static const char twin[] = "{\"pncid\":\"2011/0000777L\",\"name\":{\"family\":\"OBRIEN\",\"given\":"
                           "\"sean\"},\"born\":\"1970-01-31\"}";
static const char apart[] =
    "{\"pncid\":\"1999/0031337T\",\"cro\":\"31337/99G\",\"name\":{\"family\":\"Smith\",\"given\":"
    "\"Anna\"},\"born\":\"1999-09-09\",\"disqualified\":{\"court\":\"York\",\"order\":\"6 months\","
    "\"expires\":\"2001-01-01\"}}";

static void make_folder(void)
{
    snprintf(dir, sizeof(dir), "/tmp/whorl-pnc-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    memset(&fault, 0, sizeof(fault));
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static bool read_json(const char *line, struct pnc_record *record)
{
    return pnc_record_from_json(line, strlen(line), YEAR, record, &fault);
}

/* ------------------------------------------------------------------ records */

START_TEST(a_full_record_is_read_and_its_identifiers_made_canonical)
{
    struct pnc_record record, again;
    ck_assert_msg(read_json(full, &record), "%s: %s", fault.where, fault.text);
    ck_assert_str_eq(record.pncid, "1988/0012345G");
    ck_assert_str_eq(record.cro, "012345/88R");
    ck_assert(whorl_str_is(whorl_map_get(&record.msg.root, "pncid"), "1988/0012345G"));
    ck_assert(pnc_record_from_bytes(record.bytes, record.len, &again, &fault));
    ck_assert_str_eq(again.pncid, record.pncid);
    pnc_record_release(&again);
    pnc_record_release(&record);
}
END_TEST

static const struct {
    const char *find, *put, *where, *what;
} slips[] = {
    {"88/12345g", "88/12345h", "pncid", "check letter"},
    {"88/12345g", "hello", "pncid", "form"},
    {"\"88/12345g\"", "5", "pncid", "string"},
    {"12345/88R", "12345/88S", "cro", "check letter"},
    {"\"12345/88R\"", "null", "cro", "string"},
    {"\"given\":\"John\"", "\"given\":\"\"", "aliases[0].given", "1 to 100"},
    {"\"given\":\"John\"", "\"middle\":\"John\"", "aliases[0].middle", "unknown field"},
    {",\"given\":\"John\"", "", "aliases[0].given", "missing"},
    {"1971-02-03", "1971-02-30", "aliases[1].born", "date"},
    {"1971-02-03", "03/02/1971", "aliases[1].born", "date"},
    {"\"born\":\"1970-01-31\"", "\"born\":\"1970-13-31\"", "born", "date"},
    {"\"born\":\"1970-01-31\"", "\"born\":19700131", "born", "string"},
    {"\"male\"", "\"MALE\"", "sex", "\"male\", \"female\", \"unknown\""},
    {"\"VIOLENT\"", "\"violent\"", "warnings[0]", "capital letters"},
    {"\"XX\"", "[\"XX\"]", "warnings[1]", "string"},
    {"[\"VIOLENT\",\"XX\"]", "\"VIOLENT\"", "warnings", "list of at most 32"},
    {"\"wanted\"", "\"hunted\"", "circulations[0].kind", "\"wanted\", \"missing\", \"locate\""},
    {",\"reference\":\"WY/123/26\"", "", "circulations[0].reference", "missing"},
    {"2026-01-05", "2026-1-5", "circulations[0].date", "date"},
    {"12 months", "12\\u0007months", "disqualified.order", "control characters"},
    {"\"driver_number\"", "\"licence\"", "licence", "unknown field"},
    {"{\"family\":\"O'Brien\",\"given\":\"Se\\u00e1n Patrick\"}", "\"O'Brien\"", "name", "object"},
    {"\"Leeds\",\"sex\"", "\"Leeds\",\"born\":\"1970-01-31\",\"sex\"", "", "not valid JSON"},
    {"\"Not to", "[[[\"Not to", "", "not valid JSON"},
    {"\"Artificial limb\"", "[[[[\"deep\"]]]]", "", "nest too deep"},
};

START_TEST(every_slip_in_a_record_is_named_by_field_and_without_its_value)
{
    for (size_t i = 0; i < COUNT_OF(slips); i++) {
        char line[4096];
        struct pnc_record record;
        const char *at = strstr(full, slips[i].find);
        ck_assert_ptr_nonnull(at);
        snprintf(line, sizeof(line), "%.*s%s%s", (int)(at - full), full, slips[i].put,
                 at + strlen(slips[i].find));
        ck_assert_msg(!read_json(line, &record), "%s", slips[i].put);
        ck_assert_str_eq(fault.where, slips[i].where);
        ck_assert_msg(strstr(fault.text, slips[i].what) != NULL, "%s: %s", slips[i].put,
                      fault.text);
        ck_assert_ptr_null(strstr(fault.text, "Brien"));
    }
}
END_TEST

START_TEST(lines_that_are_no_record_are_refused)
{
    static const char *const bad[] = {"",  "x",        "[]",     "5",
                                      "{", "\"text\"", "{} {} ", "{\"pncid\":\"88/12345g\"}"};
    struct pnc_record record;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        ck_assert_msg(!read_json(bad[i], &record), "%s", bad[i]);
    }
    char *long_line = malloc(PNC_LINE_MAX + 2);
    memset(long_line, ' ', PNC_LINE_MAX + 1);
    long_line[PNC_LINE_MAX + 1] = '\0';
    ck_assert(!read_json(long_line, &record));
    ck_assert_ptr_nonnull(strstr(fault.text, "longer than"));
    free(long_line);
}
END_TEST

START_TEST(stored_bytes_cut_anywhere_are_refused)
{
    struct pnc_record record, cut;
    ck_assert(read_json(full, &record));
    for (size_t len = 0; len < record.len; len++) {
        ck_assert(!pnc_record_from_bytes(record.bytes, len, &cut, &fault));
    }
    pnc_record_release(&record);
}
END_TEST

START_TEST(dates_are_those_of_the_calendar)
{
    static const char *const good[] = {"2000-02-29", "2024-02-29", "1999-12-31", "1850-01-01"};
    static const char *const bad[] = {"1900-02-29", "2023-02-29",  "1999-11-31", "1849-12-31",
                                      "2200-01-01", "2000-00-10",  "2000-01-00", "2000-01-1",
                                      "2000/01/01", "2000-01-01 ", "+200-01-01", ""};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        ck_assert_msg(pnc_date_valid(good[i]), "%s", good[i]);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        ck_assert_msg(!pnc_date_valid(bad[i]), "%s", bad[i]);
    }
}
END_TEST

static void expect_key(const char *family, const char *given, const char *expected)
{
    char key[PNC_KEY_CAP];
    pnc_name_key(family, given, "1970-01-31", key);
    ck_assert_str_eq(key, expected);
}

START_TEST(names_are_folded_as_people_write_them)
{
    expect_key("O'Brien", "Se\xc3\xa1n Patrick", "OBRIEN|SEAN|1970-01-31");
    expect_key("O BRIEN", "sean", "OBRIEN|SEAN|1970-01-31");
    expect_key("M\xc3\xbcller-L\xc3\xbc"
               "denscheidt",
               "J\xc3\xb8rgen", "MULLERLUDENSCHEIDT|JORGEN|1970-01-31");
    expect_key("Stra\xc3\x9f", "\xc3\x86thel", "STRASS|AETHEL|1970-01-31");
    expect_key("Wa\xc5\x82\xc4\x99sa", "Jean-Luc", "WALESA|JEAN|1970-01-31");
    expect_key("\xd0\x98\xd0\xb2", "\xe6\x9d\x8e", "\xd0\x98\xd0\xb2|\xe6\x9d\x8e|1970-01-31");
    expect_key("--", "Anna", "");
    expect_key("Smith", " .", "");
}
END_TEST

START_TEST(the_longest_names_still_make_different_keys)
{
    char family[101], given[101], one[PNC_KEY_CAP], other[PNC_KEY_CAP];
    for (size_t i = 0; i < 100; i += 2) {
        memcpy(family + i, "\xc3\x86", 2); /* two letters each when folded */
        memcpy(given + i, "\xc3\x86", 2);
    }
    family[100] = given[100] = '\0';
    pnc_name_key(family, given, "1970-01-31", one);
    pnc_name_key(family, given, "1970-02-01", other);
    ck_assert_str_ne(one, other);
    ck_assert_ptr_nonnull(strstr(one, "|1970-01-31"));
}
END_TEST

/* ------------------------------------------------------------------ the store */

static struct pnc_people *open_people(void)
{
    struct pnc_people *people = pnc_people_open(dir, WHORL_STORE_WRITE, &fault);
    ck_assert_msg(people != NULL, "%s", fault.text);
    return people;
}

static enum pnc_put put(struct pnc_people *people, const char *line)
{
    enum pnc_put done;
    struct pnc_record record;
    ck_assert_msg(read_json(line, &record), "%s: %s", fault.where, fault.text);
    ck_assert_msg(pnc_people_put(people, &record, 1, &done, &fault), "%s", fault.text);
    pnc_record_release(&record);
    return done;
}

static size_t count_found(struct pnc_people *people, enum pnc_key by, const char *key)
{
    char found[8][PNC_ID_CAP];
    size_t count;
    MDB_txn *txn = pnc_people_read(people, &fault);
    ck_assert(pnc_people_find(people, txn, by, key, found, 8, &count, &fault));
    pnc_people_done(people, txn);
    return count;
}

START_TEST(a_person_is_found_by_every_identifier_and_name)
{
    struct pnc_people *people = open_people();
    ck_assert_int_eq(put(people, full), PNC_ADDED);
    ck_assert_uint_eq(count_found(people, PNC_BY_PNCID, "1988/0012345G"), 1);
    ck_assert_uint_eq(count_found(people, PNC_BY_CRO, "012345/88R"), 1);
    ck_assert_uint_eq(count_found(people, PNC_BY_NAME, "OBRIEN|SEAN|1970-01-31"), 1);
    ck_assert_uint_eq(count_found(people, PNC_BY_NAME, "BRENNAN|JOHN|1970-01-31"), 1);
    ck_assert_uint_eq(count_found(people, PNC_BY_NAME, "WALSH|JACK|1971-02-03"), 1);
    ck_assert_uint_eq(count_found(people, PNC_BY_NAME, "WALSH|JACK|1970-01-31"), 0);
    ck_assert_uint_eq(count_found(people, PNC_BY_PNCID, "1988/0012346H"), 0);
    pnc_people_close(people);
}
END_TEST

START_TEST(what_storing_would_do_is_told_before)
{
    struct pnc_record records[4];
    enum pnc_put will[4], done[4];
    static const char *const other =
        "{\"pncid\": \"1988/12345G\", \"name\": {\"family\": \"Roe\", \"given\": \"Ann\"}}";
    struct pnc_people *people = open_people();
    ck_assert_msg(read_json(other, &records[0]), "%s: %s", fault.where, fault.text);
    ck_assert(read_json(full, &records[1]) && read_json(full, &records[2]) &&
              read_json(other, &records[3]));
    ck_assert(pnc_people_compare(people, records, 4, will, &fault));
    ck_assert_int_eq(will[0], PNC_ADDED);
    ck_assert_int_eq(will[1], PNC_REPLACED);
    ck_assert_int_eq(will[2], PNC_UNCHANGED);
    ck_assert_uint_eq(count_found(people, PNC_BY_PNCID, "1988/0012345G"), 0);
    ck_assert(pnc_people_put(people, records, 4, done, &fault));
    ck_assert_mem_eq(will, done, sizeof will);
    ck_assert(pnc_people_compare(people, &records[1], 1, will, &fault));
    ck_assert_int_eq(will[0], PNC_REPLACED);
    ck_assert(pnc_people_compare(people, &records[3], 1, will, &fault));
    ck_assert_int_eq(will[0], PNC_UNCHANGED);
    for (size_t i = 0; i < 4; i++) {
        pnc_record_release(&records[i]);
    }
    pnc_people_close(people);
}
END_TEST

START_TEST(a_replaced_record_leaves_no_trace_in_the_indexes)
{
    struct pnc_people *people = open_people();
    put(people, full);
    ck_assert_int_eq(put(people, full), PNC_UNCHANGED);
    ck_assert_int_eq(put(people, "{\"pncid\":\"1988/0012345G\",\"name\":{\"family\":\"New\","
                                 "\"given\":\"Name\"},\"born\":\"1970-01-31\"}"),
                     PNC_REPLACED);
    ck_assert_uint_eq(count_found(people, PNC_BY_PNCID, "1988/0012345G"), 1);
    ck_assert_uint_eq(count_found(people, PNC_BY_CRO, "012345/88R"), 0);
    ck_assert_uint_eq(count_found(people, PNC_BY_NAME, "OBRIEN|SEAN|1970-01-31"), 0);
    ck_assert_uint_eq(count_found(people, PNC_BY_NAME, "WALSH|JACK|1971-02-03"), 0);
    ck_assert_uint_eq(count_found(people, PNC_BY_NAME, "NEW|NAME|1970-01-31"), 1);
    pnc_people_close(people);
}
END_TEST

/* ------------------------------------------------------------------ the plugin */

static struct plugin_host *host;
static const char *const signals[] = {"VIOLENT=Violent", NULL};

static void start_plugin(void)
{
    make_folder();
    host = calloc(1, sizeof(*host));
    host->list = signals;
    ck_assert_msg(plugin_host_start(host, &whorl_plugin, dir, &fault), "%s", fault.text);
}

static void load(void)
{
    struct pnc_people *people = open_people();
    put(people, full);
    put(people, twin);
    put(people, apart);
    pnc_people_close(people);
}

static void start_loaded(void)
{
    start_plugin();
    load();
}

static void stop_plugin(void)
{
    plugin_host_stop(host);
    free(host);
    remove_folder();
}

/* One of the people asked for; NULL leaves a field out. */
struct asked {
    const char *pncid, *cro, *family, *given, *born, *ref;
};

static void pack_asked(msgpack_packer *pk, const struct asked *asked)
{
    bool ids = asked->pncid != NULL || asked->cro != NULL;
    msgpack_pack_map(pk, (asked->ref != NULL) + (ids ? 1u : 0u) + (asked->family != NULL) +
                             (asked->given != NULL) + (asked->born != NULL));
    if (asked->ref != NULL) {
        whorl_put_key(pk, "found_for");
        msgpack_pack_map(pk, 2);
        whorl_put_str(pk, "backend", "ident1");
        whorl_put_str(pk, "ref", asked->ref);
    }
    if (ids) {
        whorl_put_key(pk, "identifiers");
        msgpack_pack_map(pk, asked->pncid != NULL && asked->cro != NULL ? 2 : 1);
        if (asked->pncid != NULL) {
            whorl_put_str(pk, "pncid", asked->pncid);
        }
        if (asked->cro != NULL) {
            whorl_put_str(pk, "cro", asked->cro);
        }
    }
    if (asked->family != NULL) {
        whorl_put_str(pk, "family", asked->family);
    }
    if (asked->given != NULL) {
        whorl_put_str(pk, "given", asked->given);
    }
    if (asked->born != NULL) {
        whorl_put_str(pk, "born", asked->born);
    }
}

/* Asks for people and returns the parsed answer. */
static struct whorl_msg ask(const struct asked *asked, size_t count)
{
    static unsigned id; /* a fresh process per test: starts at 0 */
    msgpack_sbuffer out;
    msgpack_packer pk;
    msgpack_sbuffer_init(&out);
    msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 4);
    whorl_put_str(&pk, "op", "lookup");
    whorl_put_str(&pk, "force", "WMP");
    whorl_put_str(&pk, "officer", "1234");
    whorl_put_key(&pk, "people");
    msgpack_pack_array(&pk, count);
    for (size_t i = 0; i < count; i++) {
        pack_asked(&pk, &asked[i]);
    }
    whorl_plugin.call(host->instance, id, (const uint8_t *)out.data, out.size);
    plugin_host_wait(host, id + 1);
    msgpack_sbuffer_destroy(&out);
    return plugin_host_answer(host, id++);
}

/* Asks and checks class, number of candidates and, unless NULL, a part of the reason. */
static struct whorl_msg expect(const struct asked *asked, size_t count, const char *class,
                               size_t candidates, const char *reason)
{
    char text[512] = "", found_class[32] = "";
    struct whorl_msg msg = ask(asked, count);
    const msgpack_object *list = whorl_map_get(&msg.root, "candidates");
    whorl_str_copy(whorl_map_get(&msg.root, "reason"), text, sizeof(text));
    whorl_str_copy(whorl_map_get(&msg.root, "class"), found_class, sizeof(found_class));
    ck_assert_msg(strcmp(found_class, class) == 0, "%s (%s)", found_class, text);
    ck_assert_uint_eq(list != NULL ? list->via.array.size : 0, candidates);
    if (reason != NULL) {
        ck_assert_msg(strstr(text, reason) != NULL, "%s", text);
    } else {
        ck_assert_str_eq(text, "");
    }
    return msg;
}

static const msgpack_object *candidate(const struct whorl_msg *msg, unsigned i)
{
    return &whorl_map_get(&msg->root, "candidates")->via.array.ptr[i];
}

static void expect_detail(const msgpack_object *of, unsigned i, const char *label,
                          const char *value, const char *level)
{
    const msgpack_object *details = whorl_map_get(of, "details");
    ck_assert_uint_lt(i, details->via.array.size);
    const msgpack_object *detail = &details->via.array.ptr[i];
    ck_assert_msg(whorl_str_is(whorl_map_get(detail, "label"), label), "%u: not %s", i, label);
    ck_assert_msg(whorl_str_is(whorl_map_get(detail, "value"), value), "%u: not %s", i, value);
    ck_assert_msg(whorl_str_is(whorl_map_get(detail, "level"), level), "%u: not %s", i, level);
}

START_TEST(one_person_found_by_pncid_is_a_match_with_all_that_an_officer_needs_in_order)
{
    struct asked asked = {.pncid = "1988/0012345G", .ref = "P-17"};
    struct whorl_msg msg = expect(&asked, 1, "match", 1, NULL);
    const msgpack_object *person = candidate(&msg, 0);
    const msgpack_object *names = whorl_map_get(person, "names");
    const msgpack_object *ids = whorl_map_get(person, "identifiers");
    const msgpack_object *found_for = whorl_map_get(person, "found_for");
    ck_assert(whorl_str_is(whorl_map_get(person, "ref"), "1988/0012345G"));
    ck_assert(whorl_str_is(whorl_map_get(ids, "pncid"), "1988/0012345G"));
    ck_assert(whorl_str_is(whorl_map_get(ids, "cro"), "012345/88R"));
    ck_assert(whorl_str_is(whorl_map_get(person, "born"), "1970-01-31"));
    ck_assert(whorl_str_is(whorl_map_get(person, "found_by"), "pncid"));
    ck_assert(whorl_str_is(whorl_map_get(found_for, "ref"), "P-17"));
    ck_assert_uint_eq(names->via.array.size, 3);
    ck_assert(whorl_str_is(whorl_map_get(&names->via.array.ptr[0], "family"), "O'Brien"));
    ck_assert(whorl_str_is(whorl_map_get(&names->via.array.ptr[2], "given"), "Jack"));
    expect_detail(person, 0, "Wanted",
                  "West Yorkshire, reference WY/123/26, circulated 2026-01-05: Failed to appear",
                  "alert");
    expect_detail(person, 1, "Disqualified driver",
                  "Leeds Magistrates, 12 months, until 2199-01-01", "warning");
    expect_detail(person, 2, "Bail condition",
                  "Not to enter Bradford, until 2198-01-01, West Yorkshire", "warning");
    expect_detail(person, 3, "Warning signal", "Violent", "warning");
    expect_detail(person, 4, "Warning signal", "XX", "warning");
    expect_detail(person, 5, "Information marker", "Artificial limb", "info");
    expect_detail(person, 6, "Description", "1.80 m, scar on left hand", "info");
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(identifiers_in_any_form_lead_to_the_same_person_once)
{
    struct asked asked[] = {{.pncid = "88/12345g", .cro = "12345/88R", .ref = "A"},
                            {.cro = "012345/88R", .ref = "B"}};
    struct whorl_msg msg = expect(asked, 2, "match", 1, NULL);
    ck_assert(
        whorl_str_is(whorl_map_get(whorl_map_get(candidate(&msg, 0), "found_for"), "ref"), "A"));
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(a_disqualification_that_has_run_out_is_told_as_history)
{
    struct asked asked = {.cro = "31337/99G"};
    struct whorl_msg msg = expect(&asked, 1, "match", 1, NULL);
    ck_assert(whorl_str_is(whorl_map_get(candidate(&msg, 0), "found_by"), "cro"));
    expect_detail(candidate(&msg, 0), 0, "Former disqualification",
                  "York, 6 months, expired 2001-01-01", "info");
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(name_and_birth_date_are_only_ever_possible)
{
    struct asked one = {.family = "smith", .given = "Anna Maria", .born = "1999-09-09"};
    struct asked two = {.family = "O BRIEN", .given = "Sean", .born = "1970-01-31"};
    struct asked alias = {.family = "Walsh", .given = "Jack", .born = "1971-02-03"};
    struct whorl_msg msg = expect(&one, 1, "possible", 1, NULL);
    ck_assert(whorl_str_is(whorl_map_get(candidate(&msg, 0), "found_by"), "name"));
    ck_assert_ptr_null(whorl_map_get(candidate(&msg, 0), "found_for"));
    whorl_msg_release(&msg);
    msg = expect(&two, 1, "possible", 2, NULL);
    whorl_msg_release(&msg);
    msg = expect(&alias, 1, "possible", 1, NULL);
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(two_people_are_possible_and_the_identified_one_comes_first)
{
    struct asked asked[] = {{.family = "Smith", .given = "Anna", .born = "1999-09-09"},
                            {.pncid = "2011/0000777L", .ref = "P-1"}};
    struct whorl_msg msg = expect(asked, 2, "possible", 2, NULL);
    ck_assert(whorl_str_is(whorl_map_get(candidate(&msg, 0), "ref"), "2011/0000777L"));
    ck_assert(whorl_str_is(whorl_map_get(candidate(&msg, 1), "ref"), "1999/0031337T"));
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(no_match_is_said_only_when_all_was_searched)
{
    struct asked unknown = {.pncid = "03/3Y"};
    struct asked stranger = {.family = "Nobody", .given = "At All", .born = "1990-01-01"};
    struct asked half[] = {{.pncid = "03/3Y"}, {.pncid = "2003/0011985Z"}};
    struct asked blank[] = {{.pncid = "03/3Y"}, {.family = "Smith"}};
    struct asked malformed = {.pncid = "2003/0011985Z"};
    struct asked bad_date = {.family = "Smith", .given = "Anna", .born = "1999-09-31"};
    struct whorl_msg msg = expect(&unknown, 1, "no_match", 0, NULL);
    whorl_msg_release(&msg);
    msg = expect(&stranger, 1, "no_match", 0, NULL);
    whorl_msg_release(&msg);
    msg = expect(half, 2, "unavailable", 0, "only a part");
    whorl_msg_release(&msg);
    msg = expect(blank, 2, "unavailable", 0, "only a part could be looked up (a person: has no");
    whorl_msg_release(&msg);
    msg = expect(&malformed, 1, "not_searched", 0, "pncid: the check letter");
    whorl_msg_release(&msg);
    msg = expect(&bad_date, 1, "not_searched", 0, "born");
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(a_find_beside_something_unreadable_is_no_match_for_sure)
{
    struct asked asked[] = {{.pncid = "88/12345G"}, {.cro = "85227/65G"}};
    struct whorl_msg msg = expect(asked, 2, "possible", 1, "cro: the check letter");
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(nothing_to_look_up_by_is_not_searched)
{
    struct asked nameless = {.family = "Smith", .born = "1999-09-09"}, nothing = {.ref = "P-1"};
    struct whorl_msg msg = expect(&nameless, 1, "not_searched", 0, "nothing to look up by");
    whorl_msg_release(&msg);
    msg = expect(&nothing, 1, "not_searched", 0, "nothing to look up by");
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(an_empty_store_is_unavailable)
{
    struct asked asked = {.pncid = "88/12345G"};
    struct whorl_msg msg = expect(&asked, 1, "unavailable", 0, "no PNC records are loaded");
    whorl_msg_release(&msg);
}
END_TEST

struct spoil {
    MDB_dbi dbi;
    const char *key, *value;
};

static int spoil(MDB_txn *txn, void *arg)
{
    struct spoil *what = arg;
    MDB_val key = {.mv_size = strlen(what->key), .mv_data = (void *)(uintptr_t)what->key};
    MDB_val value = {.mv_size = strlen(what->value), .mv_data = (void *)(uintptr_t)what->value};
    return mdb_put(txn, what->dbi, &key, &value, 0);
}

START_TEST(a_spoilt_record_is_unavailable)
{
    struct spoil what = {.key = "1988/0012345G", .value = "spoilt"};
    struct asked asked[] = {{.pncid = "1999/0031337T"}, {.pncid = "88/12345G"}};
    struct whorl_store *store = whorl_store_open(dir, WHORL_STORE_WRITE, 3, "whorl-pnc", 1, &fault);
    ck_assert(whorl_store_db(store, "people", 0, &what.dbi, &fault));
    ck_assert(whorl_store_write(store, spoil, &what, &fault));
    whorl_store_close(store);
    struct whorl_msg msg = expect(asked, 2, "unavailable", 0, "malformed");
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(a_malformed_call_is_unavailable)
{
    static const uint8_t bad[] = {0x81, 0xa2, 'o'};
    struct whorl_msg msg = expect(NULL, 0, "unavailable", 0, "people");
    whorl_msg_release(&msg);
    whorl_plugin.call(host->instance, 100, bad, sizeof(bad));
    plugin_host_wait(host, 2);
    msg = plugin_host_answer(host, 100);
    ck_assert(whorl_str_is(whorl_map_get(&msg.root, "class"), "unavailable"));
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(many_look_ups_run_side_by_side)
{
    static const uint8_t message[] = "\x82\xa2op\xa6lookup\xa6people\x91\x81\xabidentifiers\x81\xa5"
                                     "pncid\xad"
                                     "1988/0012345G";
    for (uint64_t id = 0; id < 200; id++) {
        whorl_plugin.call(host->instance, id, message, sizeof(message) - 1);
    }
    plugin_host_wait(host, 200);
    for (uint64_t id = 0; id < 200; id++) {
        struct whorl_msg msg = plugin_host_answer(host, id);
        ck_assert(whorl_str_is(whorl_map_get(&msg.root, "class"), "match"));
        whorl_msg_release(&msg);
    }
    ck_assert_str_eq(host->log, "");
}
END_TEST

static const char *const bad_signals[][3] = {
    {"VIOLENT", NULL},
    {"=Violent", NULL},
    {"violent=Violent", NULL},
    {"VIOLENT=", NULL},
    {"VI OLENT=Violent", NULL},
    {"A=One", "A=Two", NULL},
    {"ABCDEFGHIJKLMNOPQ=Long", NULL},
};

START_TEST(the_table_of_warning_signals_is_checked)
{
    for (size_t i = 0; i < COUNT_OF(bad_signals); i++) {
        host->list = bad_signals[i];
        ck_assert_int_eq(whorl_plugin.check(&host->settings, &fault), -1);
        ck_assert_str_eq(fault.where, "warning_signals");
    }
    host->list = signals;
    ck_assert_int_eq(whorl_plugin.check(&host->settings, &fault), 0);
}
END_TEST

static TCase *record_tests(void)
{
    TCase *tests = tcase_create("records");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, a_full_record_is_read_and_its_identifiers_made_canonical);
    tcase_add_test(tests, every_slip_in_a_record_is_named_by_field_and_without_its_value);
    tcase_add_test(tests, lines_that_are_no_record_are_refused);
    tcase_add_test(tests, stored_bytes_cut_anywhere_are_refused);
    tcase_add_test(tests, dates_are_those_of_the_calendar);
    tcase_add_test(tests, names_are_folded_as_people_write_them);
    tcase_add_test(tests, the_longest_names_still_make_different_keys);
    tcase_add_test(tests, a_person_is_found_by_every_identifier_and_name);
    tcase_add_test(tests, what_storing_would_do_is_told_before);
    tcase_add_test(tests, a_replaced_record_leaves_no_trace_in_the_indexes);
    return tests;
}

static TCase *plugin_tests(void)
{
    TCase *tests = tcase_create("plugin");
    tcase_add_checked_fixture(tests, start_loaded, stop_plugin);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests,
                   one_person_found_by_pncid_is_a_match_with_all_that_an_officer_needs_in_order);
    tcase_add_test(tests, identifiers_in_any_form_lead_to_the_same_person_once);
    tcase_add_test(tests, a_disqualification_that_has_run_out_is_told_as_history);
    tcase_add_test(tests, name_and_birth_date_are_only_ever_possible);
    tcase_add_test(tests, two_people_are_possible_and_the_identified_one_comes_first);
    tcase_add_test(tests, no_match_is_said_only_when_all_was_searched);
    tcase_add_test(tests, a_find_beside_something_unreadable_is_no_match_for_sure);
    tcase_add_test(tests, nothing_to_look_up_by_is_not_searched);
    tcase_add_test(tests, a_spoilt_record_is_unavailable);
    tcase_add_test(tests, a_malformed_call_is_unavailable);
    tcase_add_test(tests, many_look_ups_run_side_by_side);
    tcase_add_test(tests, the_table_of_warning_signals_is_checked);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("pnc");
    TCase *empty = tcase_create("empty");
    tcase_add_checked_fixture(empty, start_plugin, stop_plugin);
    tcase_add_test(empty, an_empty_store_is_unavailable);
    suite_add_tcase(suite, record_tests());
    suite_add_tcase(suite, plugin_tests());
    suite_add_tcase(suite, empty);
    return run_suite(suite);
}
