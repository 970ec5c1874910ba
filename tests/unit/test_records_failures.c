/* Devices, officers and PNC records with each call failing once that the code makes on its way to
 * them: every failure is told, a reader is never told "there is none", and a writer has written all
 * or nothing. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/registry/registry.h"
#include "failing.h"
#include "plugins/pnc/people.h"
#include "run_suite.h"
#include "whorl/msg.h"

static char dir[64], data_dir[96];
static struct whorl_fault fault;
static struct registry *registry;
static struct pnc_people *people;
static struct pnc_record records[3];
static enum registry_found found;
static size_t count;

static void make_folder(void)
{
    snprintf(dir, sizeof dir, "%s/whorl-records-XXXXXX", failing_folder());
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(data_dir, sizeof data_dir, "%s/data", dir);
}

static void remove_data(void)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'", data_dir);
    ck_assert_int_eq(system(command), 0);
}

static void remove_folder(void)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static void nothing(void)
{
}

/* ------------------------------------------------------------------ the registry */

static const struct registry_device phone = {
    .id = "phone-1", .force = "WMP", .state = REGISTRY_ACTIVE, .certificate = {7}};
static const struct registry_device other = {
    .id = "phone-2", .force = "WMP", .state = REGISTRY_ACTIVE, .certificate = {8}};
static const struct registry_officer officer = {.id = "WMP1234",
                                                .force = "WMP",
                                                .state = REGISTRY_ACTIVE,
                                                .valid_until = 4000000000,
                                                .entitlement_count = 1,
                                                .entitlements = {"pnc"}};

static bool open_registry(void)
{
    registry = registry_open(data_dir, WHORL_STORE_WRITE, &fault);
    return registry != NULL;
}

static void close_registry(bool done)
{
    if (done)
        registry_close(registry);
    ck_assert_msg(open_registry(), "%s", fault.text);
    registry_close(registry);
}

static void fill_registry(void)
{
    ck_assert_msg(open_registry(), "%s", fault.text);
    ck_assert(registry_put_device(registry, &phone, true, &fault));
    ck_assert(registry_put_officer(registry, &officer, true, &fault));
}

static bool renew_officer(void)
{
    return registry_put_officer(registry, &officer, true, &fault);
}

static void never_active(bool done)
{
    struct registry_officer out;
    (void)done;
    ck_assert_int_eq(registry_officer(registry, officer.id, &out, &fault), REGISTRY_PRESENT);
    ck_assert_int_ne(out.state, REGISTRY_ACTIVE);
    registry_close(registry);
    remove_data();
}

static void revoke_officer(void)
{
    fill_registry();
    ck_assert(registry_set_officer_state(registry, officer.id, REGISTRY_REVOKED, &fault));
}

static void only_close(bool done)
{
    (void)done;
    registry_close(registry);
}

static bool put_device(void)
{
    return registry_put_device(registry, &other, false, &fault);
}

/* By its id and by its certificate, or by neither. */
static void put_or_not(bool done)
{
    struct registry_device out;
    enum registry_found wanted = done ? REGISTRY_PRESENT : REGISTRY_ABSENT;
    ck_assert_int_eq(registry_device(registry, other.id, &out, &fault), wanted);
    ck_assert_int_eq(registry_device_of(registry, other.certificate, &out, &fault), wanted);
    ck_assert_int_eq(registry_device(registry, phone.id, &out, &fault), REGISTRY_PRESENT);
    registry_close(registry);
    remove_data();
}

static bool replace_device(void)
{
    struct registry_device renewed = phone;
    renewed.certificate[0] = 9;
    return registry_put_device(registry, &renewed, true, &fault);
}

/* The old certificate is good for nothing once the new one is. */
static void replaced_or_not(bool done)
{
    struct registry_device out;
    const uint8_t fresh[32] = {9};
    ck_assert_int_eq(registry_device_of(registry, phone.certificate, &out, &fault),
                     done ? REGISTRY_ABSENT : REGISTRY_PRESENT);
    ck_assert_int_eq(registry_device_of(registry, fresh, &out, &fault),
                     done ? REGISTRY_PRESENT : REGISTRY_ABSENT);
    registry_close(registry);
    remove_data();
}

static bool suspend_device(void)
{
    return registry_set_device_state(registry, phone.id, REGISTRY_SUSPENDED, &fault);
}

static void suspended_or_not(bool done)
{
    struct registry_device out;
    ck_assert_int_eq(registry_device(registry, phone.id, &out, &fault), REGISTRY_PRESENT);
    ck_assert_int_eq(out.state, done ? REGISTRY_SUSPENDED : REGISTRY_ACTIVE);
    registry_close(registry);
    remove_data();
}

static bool put_officer(void)
{
    struct registry_officer renewed = officer;
    strcpy(renewed.name, "A. Nother");
    return registry_put_officer(registry, &renewed, true, &fault) &&
           registry_set_officer_state(registry, officer.id, REGISTRY_REVOKED, &fault);
}

static bool find_device(void)
{
    struct registry_device out;
    found = registry_device(registry, phone.id, &out, &fault);
    return found != REGISTRY_FAILED;
}

static bool find_device_of(void)
{
    struct registry_device out;
    found = registry_device_of(registry, phone.certificate, &out, &fault);
    return found != REGISTRY_FAILED;
}

static bool find_officer(void)
{
    struct registry_officer out;
    found = registry_officer(registry, officer.id, &out, &fault);
    return found != REGISTRY_FAILED;
}

static void never_absent(bool done)
{
    (void)done;
    ck_assert_int_ne(found, REGISTRY_ABSENT);
    registry_close(registry);
}

static void count_device(void *ctx, const struct registry_device *device)
{
    (void)device;
    ++*(size_t *)ctx;
}

static void count_officer(void *ctx, const struct registry_officer *one)
{
    (void)one;
    ++*(size_t *)ctx;
}

static bool list(void)
{
    count = 0;
    return registry_each_device(registry, count_device, &count, &fault) &&
           registry_each_officer(registry, count_officer, &count, &fault);
}

static void both_listed(bool done)
{
    ck_assert(!done || count == 2);
    registry_close(registry);
}

static const struct failing_deed registry_deeds[] = {
    {"make the registry", remove_data, open_registry, close_registry, NULL},
    {"open the registry", nothing, open_registry, close_registry, NULL},
    {"put a device", fill_registry, put_device, put_or_not, NULL},
    /* An entry that can't be read is replaced as one that is damaged. */
    {"replace a device", fill_registry, replace_device, replaced_or_not,
     "msgpack_zone_new msgpack_unpack"},
    {"suspend a device", fill_registry, suspend_device, suspended_or_not, NULL},
    {"put an officer", fill_registry, put_officer, only_close, "msgpack_zone_new msgpack_unpack"},
    {"replace an officer who is revoked", revoke_officer, renew_officer, never_active,
     "msgpack_zone_new msgpack_unpack"},
    {"find a device", fill_registry, find_device, never_absent, NULL},
    {"find a device by certificate", fill_registry, find_device_of, never_absent, NULL},
    {"find an officer", fill_registry, find_officer, never_absent, NULL},
    {"list them", fill_registry, list, both_listed, NULL},
};

START_TEST(a_failure_on_the_way_to_the_registry_is_told)
{
    failing_try(&registry_deeds[_i], &fault);
}
END_TEST

/* ------------------------------------------------------------------ PNC records */

static const char *const lines[] = {
    "{\"pncid\":\"88/12345g\",\"cro\":\"12345/88R\",\"name\":{\"family\":\"O'Brien\",\"given\":"
    "\"Sean\"},\"aliases\":[{\"family\":\"Brennan\",\"given\":\"John\"}],\"born\":\"1970-01-31\"}",
    "{\"pncid\":\"2011/0000777L\",\"name\":{\"family\":\"OBRIEN\",\"given\":\"sean\"},\"born\":"
    "\"1970-01-31\"}",
    "{\"pncid\":\"1999/0031337T\",\"name\":{\"family\":\"Smith\",\"given\":\"Anna\"}}",
};
enum { LINES = sizeof lines / sizeof lines[0] };

static void read_lines(void)
{
    for (size_t i = 0; i < LINES; i++)
        ck_assert_msg(pnc_record_from_json(lines[i], strlen(lines[i]), 2026, &records[i], &fault),
                      "%s", fault.text);
}

static void release_lines(void)
{
    for (size_t i = 0; i < LINES; i++)
        pnc_record_release(&records[i]);
}

static struct pnc_record one_line;

static bool read_line(void)
{
    return pnc_record_from_json(lines[0], strlen(lines[0]), 2026, &one_line, &fault);
}

static void release_line(bool done)
{
    if (done)
        pnc_record_release(&one_line);
}

static bool open_people(void)
{
    people = pnc_people_open(data_dir, WHORL_STORE_WRITE, &fault);
    return people != NULL;
}

static void close_people(bool done)
{
    if (done)
        pnc_people_close(people);
    ck_assert_msg(open_people(), "%s", fault.text);
    pnc_people_close(people);
}

static void empty_people(void)
{
    remove_data();
    ck_assert_msg(open_people(), "%s", fault.text);
}

static bool put_people(void)
{
    enum pnc_put put[LINES];
    return pnc_people_put(people, records, LINES, put, &fault);
}

static void all_or_none(bool done)
{
    uint64_t there = 0;
    MDB_txn *txn = pnc_people_read(people, &fault);
    ck_assert_ptr_nonnull(txn);
    ck_assert(pnc_people_count(people, txn, &there, &fault));
    ck_assert_uint_eq(there, done ? LINES : 0);
    pnc_people_done(people, txn);
    pnc_people_close(people);
}

static void fill_people(void)
{
    empty_people();
    ck_assert_msg(put_people(), "%s", fault.text);
}

static bool put_again(void)
{
    return put_people();
}

static void still_all(bool done)
{
    (void)done;
    all_or_none(true);
}

static bool find_people(void)
{
    static char ids[4][PNC_ID_CAP];
    struct pnc_record record;
    uint64_t there;
    char key[PNC_KEY_CAP];
    pnc_name_key("O'Brien", "Sean", "1970-01-31", key);
    count = 0;
    MDB_txn *txn = pnc_people_read(people, &fault);
    bool done = txn != NULL && pnc_people_count(people, txn, &there, &fault) &&
                pnc_people_find(people, txn, PNC_BY_NAME, key, ids, 4, &count, &fault) &&
                pnc_people_get(people, txn, ids[0], &record, &fault);
    if (done)
        pnc_record_release(&record);
    pnc_people_done(people, txn);
    return done;
}

static void two_found(bool done)
{
    ck_assert(!done || count == 2);
    pnc_people_close(people);
}

static const struct failing_deed pnc_deeds[] = {
    {"read a line", nothing, read_line, release_line, NULL},
    {"make the people", remove_data, open_people, close_people, NULL},
    {"open the people", nothing, open_people, close_people, NULL},
    {"put people", empty_people, put_people, all_or_none, NULL},
    {"put them again", fill_people, put_again, still_all, NULL},
    {"find people", fill_people, find_people, two_found, NULL},
};

START_TEST(a_failure_on_the_way_to_a_pnc_record_is_told)
{
    read_lines();
    failing_try(&pnc_deeds[_i], &fault);
    release_lines();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("records_failures");
    TCase *tests = tcase_create("failures");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, a_failure_on_the_way_to_the_registry_is_told, 0,
                        sizeof registry_deeds / sizeof registry_deeds[0]);
    tcase_add_loop_test(tests, a_failure_on_the_way_to_a_pnc_record_is_told, 0,
                        sizeof pnc_deeds / sizeof pnc_deeds[0]);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
