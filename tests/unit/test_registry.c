/* The registry, on a real LMDB in a temporary directory. */
#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/registry/registry.h"
#include "run_suite.h"
#include "whorl/msg.h"

static char dir[64];
static struct registry *registry;
static struct whorl_fault fault;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void set_up(void)
{
    strcpy(dir, "/tmp/whorl-registry-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    registry = registry_open(dir, WHORL_STORE_WRITE, &fault);
    ck_assert_msg(registry != NULL, "%s", fault.text);
}

static void tear_down(void)
{
    registry_close(registry);
    ck_assert_int_eq(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static struct registry_device device_of(const char *id, uint8_t seed)
{
    struct registry_device device = {.state = REGISTRY_ACTIVE, .added = 1700000000};
    snprintf(device.id, sizeof device.id, "%s", id);
    strcpy(device.force, "WMP");
    strcpy(device.note, "spare");
    memset(device.certificate, seed, sizeof device.certificate);
    return device;
}

static struct registry_officer officer_of(const char *id)
{
    struct registry_officer officer = {.state = REGISTRY_ACTIVE,
                                       .added = 1700000000,
                                       .valid_from = 1,
                                       .valid_until = 4000000000,
                                       .entitlement_count = 2};
    snprintf(officer.id, sizeof officer.id, "%s", id);
    strcpy(officer.force, "MPS");
    strcpy(officer.name, "A. Nother");
    strcpy(officer.entitlements[0], "pnc");
    strcpy(officer.entitlements[1], "immigration");
    return officer;
}

START_TEST(a_device_is_found_by_its_id_and_by_its_certificate)
{
    struct registry_device device = device_of("phone-1", 7);
    struct registry_device found;
    ck_assert(registry_put_device(registry, &device, false, &fault));
    ck_assert_int_eq(registry_device(registry, "phone-1", &found, &fault), REGISTRY_PRESENT);
    ck_assert_mem_eq(&found, &device, sizeof device);
    ck_assert_int_eq(registry_device_of(registry, device.certificate, &found, &fault),
                     REGISTRY_PRESENT);
    ck_assert_mem_eq(&found, &device, sizeof device);
    uint8_t other[32] = {7};
    ck_assert_int_eq(registry_device_of(registry, other, &found, &fault), REGISTRY_ABSENT);
    ck_assert_int_eq(registry_device(registry, "phone-2", &found, &fault), REGISTRY_ABSENT);
    ck_assert_int_eq(registry_device(registry, "", &found, &fault), REGISTRY_ABSENT);
}
END_TEST

START_TEST(an_id_or_a_certificate_is_registered_once)
{
    struct registry_device device = device_of("phone-1", 7);
    struct registry_device thief = device_of("phone-2", 7);
    struct registry_device again = device_of("phone-1", 8);
    struct registry_device found;
    ck_assert(registry_put_device(registry, &device, false, &fault));
    ck_assert(!registry_put_device(registry, &thief, false, &fault));
    ck_assert_str_eq(fault.where, "certificate");
    ck_assert_ptr_nonnull(strstr(fault.text, "phone-1"));
    ck_assert(!registry_put_device(registry, &thief, true, &fault));
    ck_assert(!registry_put_device(registry, &again, false, &fault));
    ck_assert_str_eq(fault.where, "id");
    ck_assert_int_eq(registry_device_of(registry, again.certificate, &found, &fault),
                     REGISTRY_ABSENT);
    ck_assert_int_eq(registry_device(registry, "phone-2", &found, &fault), REGISTRY_ABSENT);
}
END_TEST

START_TEST(a_replaced_device_has_its_new_certificate_only)
{
    struct registry_device device = device_of("phone-1", 7);
    struct registry_device renewed = device_of("phone-1", 8);
    struct registry_device found;
    ck_assert(registry_put_device(registry, &device, false, &fault));
    ck_assert(registry_put_device(registry, &renewed, true, &fault));
    ck_assert_int_eq(registry_device_of(registry, device.certificate, &found, &fault),
                     REGISTRY_ABSENT);
    ck_assert_int_eq(registry_device_of(registry, renewed.certificate, &found, &fault),
                     REGISTRY_PRESENT);
    struct registry_device heir = device_of("phone-2", 7);
    ck_assert(registry_put_device(registry, &heir, false, &fault));
}
END_TEST

START_TEST(an_officer_is_read_back_whole)
{
    struct registry_officer officer = officer_of("MPS0001");
    struct registry_officer found;
    ck_assert(registry_put_officer(registry, &officer, false, &fault));
    ck_assert(!registry_put_officer(registry, &officer, false, &fault));
    ck_assert_int_eq(registry_officer(registry, "MPS0001", &found, &fault), REGISTRY_PRESENT);
    ck_assert_mem_eq(&found, &officer, sizeof officer);
    ck_assert(registry_officer_has(&found, "pnc"));
    ck_assert(!registry_officer_has(&found, "pn"));
    officer.entitlement_count = 0;
    memset(officer.entitlements, 0, sizeof officer.entitlements);
    ck_assert(registry_put_officer(registry, &officer, true, &fault));
    ck_assert_int_eq(registry_officer(registry, "MPS0001", &found, &fault), REGISTRY_PRESENT);
    ck_assert_mem_eq(&found, &officer, sizeof officer);
}
END_TEST

START_TEST(replacing_an_entry_does_not_lift_its_suspension)
{
    struct registry_device device = device_of("phone-1", 7), renewed = device_of("phone-1", 8), as;
    struct registry_officer officer = officer_of("MPS0001"), who;
    ck_assert(registry_put_device(registry, &device, true, &fault));
    ck_assert(registry_put_officer(registry, &officer, true, &fault));
    ck_assert(registry_set_device_state(registry, "phone-1", REGISTRY_REVOKED, &fault));
    ck_assert(registry_set_officer_state(registry, "MPS0001", REGISTRY_SUSPENDED, &fault));
    officer.entitlement_count = 0;
    ck_assert(registry_put_device(registry, &renewed, true, &fault));
    ck_assert(registry_put_officer(registry, &officer, true, &fault));
    ck_assert_int_eq(registry_device(registry, "phone-1", &as, &fault), REGISTRY_PRESENT);
    ck_assert_int_eq(registry_officer(registry, "MPS0001", &who, &fault), REGISTRY_PRESENT);
    ck_assert_int_eq(as.certificate[0], 8);
    ck_assert_int_eq(as.state, REGISTRY_REVOKED);
    ck_assert_uint_eq(who.entitlement_count, 0);
    ck_assert_int_eq(who.state, REGISTRY_SUSPENDED);
}
END_TEST

START_TEST(what_could_not_be_stored_is_told_before)
{
    struct registry_device device = device_of("phone-1", 7), twin = device_of("phone-2", 7);
    struct registry_officer officer = officer_of("MPS0001"), odd = officer_of("\x1b[2J");
    ck_assert(registry_check_device(registry, &device, false, &fault));
    ck_assert(registry_put_device(registry, &device, false, &fault));
    ck_assert(!registry_check_device(registry, &device, false, &fault));
    ck_assert_str_eq(fault.text, "there is a device phone-1 already (--replace replaces it)");
    ck_assert(registry_check_device(registry, &device, true, &fault));
    ck_assert(!registry_check_device(registry, &twin, true, &fault));
    ck_assert_str_eq(fault.where, "certificate");
    ck_assert(registry_check_officer(registry, &officer, false, &fault));
    ck_assert(registry_put_officer(registry, &officer, false, &fault));
    ck_assert(!registry_check_officer(registry, &officer, false, &fault));
    ck_assert(registry_check_officer(registry, &officer, true, &fault));
    ck_assert(!registry_check_officer(registry, &odd, true, &fault));
    ck_assert_str_eq(fault.where, "id");
}
END_TEST

START_TEST(a_state_is_changed_and_an_unknown_id_is_a_fault)
{
    struct registry_device device = device_of("phone-1", 7);
    struct registry_officer officer = officer_of("MPS0001");
    ck_assert(registry_put_device(registry, &device, false, &fault));
    ck_assert(registry_put_officer(registry, &officer, false, &fault));
    ck_assert(registry_set_device_state(registry, "phone-1", REGISTRY_REVOKED, &fault));
    ck_assert(registry_set_officer_state(registry, "MPS0001", REGISTRY_SUSPENDED, &fault));
    ck_assert_int_eq(registry_device_of(registry, device.certificate, &device, &fault),
                     REGISTRY_PRESENT);
    ck_assert_int_eq(registry_officer(registry, "MPS0001", &officer, &fault), REGISTRY_PRESENT);
    ck_assert_int_eq(device.state, REGISTRY_REVOKED);
    ck_assert_int_eq(officer.state, REGISTRY_SUSPENDED);
    ck_assert(!registry_set_device_state(registry, "phone-9", REGISTRY_REVOKED, &fault));
    ck_assert(!registry_set_officer_state(registry, "nobody", REGISTRY_REVOKED, &fault));
    ck_assert_str_eq(fault.text, "there is no officer nobody");
}
END_TEST

/* Two processes at once, each with many changes of its own part of an entry. */
START_TEST(changes_of_states_by_two_processes_lose_none)
{
    enum { TIMES = 300 };
    struct registry_device one = device_of("phone-1", 7), found;
    ck_assert(registry_put_device(registry, &one, false, &fault));
    registry_close(registry);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    struct registry *mine = registry_open(dir, WHORL_STORE_WRITE, &fault);
    bool good = mine != NULL;
    for (int i = 0; good && i < TIMES; i++) {
        if (pid == 0) {
            good = registry_set_device_state(mine, "phone-1", i % 2, &fault);
        } else { /* a new certificate each time: what was written must stay what it was */
            memset(one.certificate, i % 100 + 1, sizeof one.certificate);
            good = registry_put_device(mine, &one, true, &fault) && usleep(2000) == 0 &&
                   registry_device(mine, "phone-1", &found, &fault) == REGISTRY_PRESENT &&
                   memcmp(found.certificate, one.certificate, 32) == 0;
        }
    }
    if (pid == 0) {
        _exit(good ? 0 : 1);
    }
    int status;
    registry = mine;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(good, "%s", fault.text);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(ids_that_could_harm_a_terminal_or_a_path_are_refused)
{
    static const char *const bad[] = {"",     ".hidden",  "-x",  "a b",
                                      "a\nb", "a\x1b[0m", "a;b", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct registry_device device = device_of(bad[i], 1);
        struct registry_officer officer = officer_of(bad[i]);
        ck_assert(!registry_put_device(registry, &device, false, &fault));
        ck_assert(!registry_put_officer(registry, &officer, false, &fault));
    }
    ck_assert(registry_id_valid("phone-1.b_c@x/y", 32));
    ck_assert(registry_id_valid("12345678901234567890123456789012", 32));
    ck_assert(!registry_id_valid("123456789012345678901234567890123", 32));
}
END_TEST

static void collect_device(void *ctx, const struct registry_device *device)
{
    strcat(ctx, device->id);
    strcat(ctx, " ");
}

static void collect_officer(void *ctx, const struct registry_officer *officer)
{
    strcat(ctx, officer->id);
    strcat(ctx, " ");
}

START_TEST(entries_are_listed_in_order)
{
    const char *const ids[] = {"b", "a", "c"};
    for (uint8_t i = 0; i < 3; i++) {
        struct registry_device device = device_of(ids[i], i);
        struct registry_officer officer = officer_of(ids[i]);
        ck_assert(registry_put_device(registry, &device, false, &fault));
        ck_assert(registry_put_officer(registry, &officer, false, &fault));
    }
    char devices[32] = "";
    char officers[32] = "";
    ck_assert(registry_each_device(registry, collect_device, devices, &fault));
    ck_assert(registry_each_officer(registry, collect_officer, officers, &fault));
    ck_assert_str_eq(devices, "a b c ");
    ck_assert_str_eq(officers, "a b c ");
}
END_TEST

/* `whorl officer add` is another process than the server. */
START_TEST(what_another_process_writes_is_seen_by_the_next_look_up)
{
    struct registry_officer found;
    ck_assert_int_eq(registry_officer(registry, "MPS0001", &found, &fault), REGISTRY_ABSENT);
    registry_close(registry);
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char byte;
        struct registry_officer officer = officer_of("MPS0001");
        bool good = read(ready[0], &byte, 1) == 1;
        struct registry *mine = registry_open(dir, WHORL_STORE_WRITE, &fault);
        good = good && mine != NULL && registry_put_officer(mine, &officer, false, &fault);
        _exit(good ? 0 : 1);
    }
    registry = registry_open(dir, WHORL_STORE_WRITE, &fault);
    ck_assert_ptr_nonnull(registry);
    ck_assert_int_eq(registry_officer(registry, "MPS0001", &found, &fault), REGISTRY_ABSENT);
    ck_assert_int_eq(write(ready[1], "x", 1), 1);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(registry_officer(registry, "MPS0001", &found, &fault), REGISTRY_PRESENT);
    close(ready[0]);
    close(ready[1]);
}
END_TEST

static struct {
    MDB_dbi dbi;
    const char *key, *value;
    size_t len;
} damage;

static int write_damage(MDB_txn *txn, void *arg)
{
    (void)arg;
    MDB_val key = {strlen(damage.key), (void *)damage.key};
    MDB_val value = {damage.len, (void *)damage.value};
    return mdb_put(txn, damage.dbi, &key, &value, 0);
}

START_TEST(a_damaged_record_is_a_fault_and_never_an_entry)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"", 0},
               {"\xc1", 1},
               {"\x80", 1},
               {"\xdf\xff", 2},
               {"\xa5hello", 6},
               {"\x81\xa5"
                "force\x01",
                8}};
    char path[96];
    snprintf(path, sizeof path, "%s/registry", dir);
    struct whorl_store *store =
        whorl_store_open(path, WHORL_STORE_WRITE, 4, "whorl-registry", 1, &fault);
    ck_assert_msg(store != NULL, "%s", fault.text);
    const char *const names[] = {"devices", "officers"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (size_t j = 0; j < 2; j++) {
            ck_assert(whorl_store_db(store, names[j], 0, &damage.dbi, &fault));
            damage.key = "x";
            damage.value = bad[i].bytes;
            damage.len = bad[i].len;
            ck_assert(whorl_store_write(store, write_damage, NULL, &fault));
        }
        struct registry_device device;
        struct registry_officer officer;
        ck_assert_int_eq(registry_device(registry, "x", &device, &fault), REGISTRY_FAILED);
        ck_assert_ptr_nonnull(strstr(fault.text, "damaged"));
        ck_assert_int_eq(registry_officer(registry, "x", &officer, &fault), REGISTRY_FAILED);
        ck_assert(!registry_each_officer(registry, collect_officer, NULL, &fault));
    }
    whorl_store_close(store);
}
END_TEST

START_TEST(a_certificate_that_leads_to_the_device_of_another_is_a_fault)
{
    struct registry_device device = device_of("phone-1", 7), other = device_of("phone-2", 8);
    struct registry_device found;
    char path[96], hash[33] = {0};
    snprintf(path, sizeof path, "%s/registry", dir);
    memcpy(hash, other.certificate, 32);
    ck_assert(registry_put_device(registry, &device, false, &fault));
    struct whorl_store *store =
        whorl_store_open(path, WHORL_STORE_WRITE, 4, "whorl-registry", 1, &fault);
    ck_assert_msg(store != NULL, "%s", fault.text);
    ck_assert(whorl_store_db(store, "certificates", 0, &damage.dbi, &fault));
    damage.key = hash;
    damage.value = device.id;
    damage.len = strlen(device.id);
    ck_assert(whorl_store_write(store, write_damage, NULL, &fault));
    whorl_store_close(store);
    fault = (struct whorl_fault){0};
    ck_assert_int_eq(registry_device_of(registry, other.certificate, &found, &fault),
                     REGISTRY_FAILED);
    ck_assert_str_eq(fault.text, "the record of device phone-1 has another certificate");
}
END_TEST

START_TEST(a_text_that_could_not_be_read_back_is_not_stored)
{
    static const char *const unclean[] = {"Ann\r", "a\tb", "Jos\xe9", "\x7f", "\x1b[2J"};
    for (size_t i = 0; i < sizeof unclean / sizeof *unclean; i++) {
        struct registry_device note = device_of("phone-1", 7), force = note;
        struct registry_officer name = officer_of("MPS0001"), of_force = name, entitled = name;
        strcpy(note.note, unclean[i]);
        strcpy(force.force, unclean[i]);
        strcpy(name.name, unclean[i]);
        strcpy(of_force.force, unclean[i]);
        strcpy(entitled.entitlements[1], unclean[i]);
        ck_assert(!registry_check_device(registry, &note, true, &fault));
        ck_assert_str_eq(fault.where, "note");
        ck_assert(!registry_put_device(registry, &note, true, &fault));
        ck_assert(!registry_put_device(registry, &force, true, &fault));
        ck_assert(!registry_check_officer(registry, &name, true, &fault));
        ck_assert_str_eq(fault.where, "name");
        ck_assert(!registry_put_officer(registry, &name, true, &fault));
        ck_assert(!registry_put_officer(registry, &of_force, true, &fault));
        ck_assert(!registry_put_officer(registry, &entitled, true, &fault));
    }
    struct registry_officer nowhere = officer_of("MPS0001"), found;
    nowhere.force[0] = '\0';
    ck_assert(!registry_put_officer(registry, &nowhere, true, &fault));
    ck_assert_int_eq(registry_officer(registry, "MPS0001", &found, &fault), REGISTRY_ABSENT);
}
END_TEST

START_TEST(a_damaged_entry_is_repaired_by_replacing_it)
{
    struct registry_device lost = device_of("phone-1", 7), same = lost, other = device_of("x", 9);
    struct registry_device found;
    struct registry_officer officer = officer_of("phone-1"), who;
    const char *const names[] = {"devices", "officers"};
    char path[96];
    snprintf(path, sizeof path, "%s/registry", dir);
    ck_assert(registry_put_device(registry, &lost, false, &fault));
    ck_assert(registry_put_device(registry, &other, false, &fault));
    struct whorl_store *store =
        whorl_store_open(path, WHORL_STORE_WRITE, 4, "whorl-registry", 1, &fault);
    ck_assert_msg(store != NULL, "%s", fault.text);
    for (size_t i = 0; i < 2; i++) {
        ck_assert(whorl_store_db(store, names[i], 0, &damage.dbi, &fault));
        damage.key = "phone-1";
        damage.value = "\xc1";
        damage.len = 1;
        ck_assert(whorl_store_write(store, write_damage, NULL, &fault));
    }
    whorl_store_close(store);
    ck_assert_int_eq(registry_device(registry, "phone-1", &found, &fault), REGISTRY_FAILED);
    ck_assert(!registry_check_device(registry, &same, false, &fault));
    ck_assert_str_eq(fault.text, "there is a device phone-1 already (--replace replaces it)");
    same.certificate[0] = 8;
    ck_assert(registry_check_device(registry, &same, true, &fault));
    ck_assert(registry_put_device(registry, &same, true, &fault));
    ck_assert_int_eq(registry_device(registry, "phone-1", &found, &fault), REGISTRY_PRESENT);
    same.state = REGISTRY_SUSPENDED; /* it may have been revoked */
    ck_assert_mem_eq(&found, &same, sizeof same);
    ck_assert_int_eq(registry_device_of(registry, lost.certificate, &found, &fault),
                     REGISTRY_ABSENT);
    ck_assert_int_eq(registry_device_of(registry, other.certificate, &found, &fault),
                     REGISTRY_PRESENT);
    ck_assert(registry_check_officer(registry, &officer, true, &fault));
    ck_assert(registry_put_officer(registry, &officer, true, &fault));
    ck_assert_int_eq(registry_officer(registry, "phone-1", &who, &fault), REGISTRY_PRESENT);
    ck_assert_int_eq(who.state, REGISTRY_SUSPENDED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("registry");
    TCase *entries = tcase_create("entries");
    tcase_add_checked_fixture(entries, set_up, tear_down);
    tcase_add_test(entries, a_device_is_found_by_its_id_and_by_its_certificate);
    tcase_add_test(entries, an_id_or_a_certificate_is_registered_once);
    tcase_add_test(entries, a_replaced_device_has_its_new_certificate_only);
    tcase_add_test(entries, an_officer_is_read_back_whole);
    tcase_add_test(entries, replacing_an_entry_does_not_lift_its_suspension);
    tcase_add_test(entries, what_could_not_be_stored_is_told_before);
    tcase_add_test(entries, a_state_is_changed_and_an_unknown_id_is_a_fault);
    tcase_add_test(entries, changes_of_states_by_two_processes_lose_none);
    tcase_add_test(entries, ids_that_could_harm_a_terminal_or_a_path_are_refused);
    tcase_add_test(entries, entries_are_listed_in_order);
    tcase_add_test(entries, what_another_process_writes_is_seen_by_the_next_look_up);
    tcase_add_test(entries, a_damaged_record_is_a_fault_and_never_an_entry);
    tcase_add_test(entries, a_certificate_that_leads_to_the_device_of_another_is_a_fault);
    tcase_add_test(entries, a_text_that_could_not_be_read_back_is_not_stored);
    tcase_add_test(entries, a_damaged_entry_is_repaired_by_replacing_it);
    suite_add_tcase(suite, entries);
    return run_suite(suite);
}
