/* Witnesses: what is cosigned, and what is refused. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugins/audit/witness.h"
#include "run_suite.h"
#include "whorl/msg.h"

#define ORIGIN "test.example/log"
#define NAME "witness.example/w1"
#define AT 1700000000u

static char dir[64], witness[96], key[96], witness_vkey[AUDIT_VKEY_CAP];
static struct whorl_fault fault;

static void make_folder(void)
{
    snprintf(dir, sizeof(dir), "/tmp/whorl-witness-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(witness, sizeof(witness), "%s/witness", dir);
    snprintf(key, sizeof(key), "%s/log.key", dir);
    memset(&fault, 0, sizeof(fault));
}

static void shell(const char *format)
{
    char command[256];
    snprintf(command, sizeof(command), format, dir, dir);
    ck_assert_int_eq(system(command), 0);
}

static void remove_folder(void)
{
    shell("rm -rf '%s'");
}

/* A log's folder below ours; all logs have one key. */
static const char *log_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void fill(const char *name, unsigned count)
{
    static const uint8_t map[] = {0x80};
    const struct audit_record record = {.bytes = map, .len = sizeof(map)};
    struct audit_head head;
    struct audit_log *log = audit_log_open(log_dir(name), ORIGIN, key, &fault);
    ck_assert_msg(log != NULL, "%s", fault.text);
    for (unsigned i = 0; i < count; i++)
        ck_assert(audit_log_append(log, &record, 1, &head, &fault));
    ck_assert(audit_log_checkpoint(log, &fault));
    audit_log_close(log);
}

static struct audit_checkpoint checkpoint_of(const char *name)
{
    struct audit_checkpoint checkpoint;
    ck_assert_msg(audit_checkpoint_read(log_dir(name), NULL, &checkpoint, &fault), "%s",
                  fault.text);
    return checkpoint;
}

static void make_witness(void)
{
    struct audit_checkpoint checkpoint = checkpoint_of("log");
    ck_assert_msg(audit_witness_make(witness, NAME, checkpoint.vkey, witness_vkey, &fault), "%s",
                  fault.text);
}

static void make_log_and_witness(void)
{
    make_folder();
    fill("log", 5);
    make_witness();
}

static const char *request_of(const char *name, uint64_t old)
{
    static char request[AUDIT_REQUEST_CAP];
    struct audit_checkpoint checkpoint = checkpoint_of(name);
    ck_assert_msg(audit_witness_request(log_dir(name), &checkpoint, old, request, &fault), "%s",
                  fault.text);
    return request;
}

static char reply[AUDIT_LINE_CAP];

static void expect(enum audit_witnessed expected, const char *request, const char *why)
{
    enum audit_witnessed how = audit_witness_answer(witness, request, AT, reply, &fault);
    ck_assert_msg(how == expected, "%d: %s", how, fault.text);
    ck_assert_msg(strstr(fault.text, why) != NULL, "%s", fault.text);
}

/* The whole way: asks, lets it be cosigned, takes the reply. */
static void witness_log(const char *name, uint64_t count)
{
    uint64_t cosigned, time;
    expect(AUDIT_WITNESSED, request_of(name, UINT64_MAX), "");
    ck_assert_msg(
        audit_witness_reply(log_dir(name), NULL, witness_vkey, reply, &cosigned, &time, &fault),
        "%s", fault.text);
    ck_assert_uint_eq(cosigned, count);
    ck_assert_uint_eq(time, AT);
}

static void expect_verdict(enum audit_verdict expected, const char *what)
{
    struct audit_report report;
    const struct audit_trust trust = {.witness = witness_vkey};
    enum audit_verdict verdict = audit_verify(log_dir("log"), &trust, NULL, NULL, &report, &fault);
    ck_assert_msg(verdict == expected, "%d: %s %s", verdict, report.what, fault.text);
    ck_assert_msg(strstr(report.what, what) != NULL, "%s", report.what);
}

/* Others are shown what the exported tiles reach, and no more. */
START_TEST(a_cosigned_checkpoint_goes_with_an_export_that_reaches_it)
{
    char out[160], path[192];
    struct audit_checkpoint early = checkpoint_of("log");
    fill("log", 3);
    witness_log("log", 8);
    snprintf(out, sizeof(out), "%s/out", dir);
    snprintf(path, sizeof(path), "%s/checkpoint.cosigned", out);
    ck_assert_msg(audit_export(log_dir("log"), &early, out, &fault), "%s", fault.text);
    ck_assert_int_ne(access(path, F_OK), 0);
    struct audit_checkpoint now = checkpoint_of("log");
    ck_assert_msg(audit_export(log_dir("log"), &now, out, &fault), "%s", fault.text);
    ck_assert_int_eq(access(path, F_OK), 0);
    ck_assert(!audit_prove_inclusion(log_dir("log"), &early, 5, now.root, &(struct audit_proof){0},
                                     &fault));
}
END_TEST

START_TEST(a_cosigned_checkpoint_that_was_altered_is_not_exported)
{
    char out[160];
    witness_log("log", 5);
    snprintf(out, sizeof(out), "%s/out", dir);
    shell("sed -i 's/^5$/6/' '%s/log/checkpoint.cosigned'");
    struct audit_checkpoint now = checkpoint_of("log");
    ck_assert(!audit_export(log_dir("log"), &now, out, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "not signed"));
}
END_TEST

START_TEST(a_log_that_grows_is_cosigned_again_and_again)
{
    static const unsigned more[] = {0, 1, 2, 11, 13, 224, 1, 300};
    uint64_t count = 5;
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        fill("log", more[i]);
        count += more[i];
        witness_log("log", count);
        expect_verdict(AUDIT_INTACT, "");
    }
}
END_TEST

struct asking {
    const struct audit_checkpoint *checkpoint;
    unsigned failed;
};

static void *ask_on(void *arg)
{
    struct asking *asking = arg;
    char request[AUDIT_REQUEST_CAP], path[128];
    struct whorl_fault ignored;
    snprintf(path, sizeof(path), "%s/log", dir);
    for (unsigned i = 0; i < 100; i++)
        asking->failed += !audit_witness_request(path, asking->checkpoint, 0, request, &ignored);
    return NULL;
}

START_TEST(two_may_ask_at_the_same_time)
{
    struct audit_checkpoint checkpoint = checkpoint_of("log");
    struct asking asking[2] = {{&checkpoint, 0}, {&checkpoint, 0}};
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_on, &asking[i]), 0);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_eq(asking[i].failed, 0);
    }
    witness_log("log", 5);
}
END_TEST

START_TEST(a_log_without_records_is_cosigned_too)
{
    fill("empty", 0);
    witness_log("empty", 0);
}
END_TEST

START_TEST(a_rollback_is_refused_and_kept_as_evidence)
{
    shell("cp -r '%s/log' '%s/old'");
    fill("log", 5);
    witness_log("log", 10);
    expect(AUDIT_CONTRARY, request_of("old", UINT64_MAX), "rollback: 10 records are cosigned");
    ck_assert_str_eq(reply, "10\n");
    shell("cmp '%s/witness/contrary-rollback' '%s/old/checkpoint'");
    uint64_t count, time;
    ck_assert(
        !audit_witness_reply(log_dir("old"), NULL, witness_vkey, reply, &count, &time, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "rolled back"));
}
END_TEST

START_TEST(a_fork_of_the_same_size_is_refused)
{
    witness_log("log", 5);
    fill("fork", 5);
    expect(AUDIT_CONTRARY, request_of("fork", 5), "fork: of 5 records another root");
    shell("cmp '%s/witness/contrary-fork' '%s/fork/checkpoint'");
}
END_TEST

START_TEST(the_first_proof_of_a_fork_is_never_replaced)
{
    shell("cp -r '%s/log' '%s/old'");
    fill("log", 5);
    witness_log("log", 10);
    fill("fork", 10);
    fill("third", 10);
    expect(AUDIT_CONTRARY, request_of("fork", 10), "fork: of 10 records another root");
    expect(AUDIT_CONTRARY, request_of("third", 10), "fork: of 10 records another root");
    expect(AUDIT_CONTRARY, request_of("old", UINT64_MAX), "rollback: 10 records are cosigned");
    shell("cmp '%s/witness/contrary-fork' '%s/fork/checkpoint'");
}
END_TEST

START_TEST(a_longer_fork_is_refused)
{
    witness_log("log", 5);
    fill("fork", 9);
    expect(AUDIT_CONTRARY, request_of("fork", 5), "fork: no proof that these 9 records");
    shell("cmp '%s/witness/contrary-unproved' '%s/fork/checkpoint'");
    /* And nothing that it says of the past helps it. */
    expect(AUDIT_STALE, request_of("fork", 0), "5 records are cosigned");
}
END_TEST

/* A right checkpoint with a wrong proof is no fork, and must not keep the next one from being kept.
 */
START_TEST(a_wrong_proof_takes_the_place_of_no_fork)
{
    char request[AUDIT_REQUEST_CAP];
    witness_log("log", 5);
    fill("log", 3);
    snprintf(request, sizeof(request), "%s", request_of("log", 5));
    char *proof = strchr(request, '\n') + 1;
    proof[0] = proof[0] == 'A' ? 'B' : 'A';
    expect(AUDIT_CONTRARY, request, "no proof that these 8 records");
    shell("test ! -e '%s/witness/contrary-fork'");
    shell("cmp '%s/witness/contrary-unproved' '%s/log/checkpoint'");
    witness_log("log", 8);
    fill("fork", 8);
    expect(AUDIT_CONTRARY, request_of("fork", 8), "fork: of 8 records another root");
    shell("cmp '%s/witness/contrary-fork' '%s/fork/checkpoint'");
}
END_TEST

START_TEST(a_request_that_continues_an_older_size_is_told_the_last)
{
    uint64_t count, time;
    fill("log", 3);
    witness_log("log", 8);
    fill("log", 4);
    expect(AUDIT_STALE, request_of("log", 5), "8 records are cosigned, the request continues 5");
    ck_assert_str_eq(reply, "8\n");
    ck_assert(
        !audit_witness_reply(log_dir("log"), NULL, witness_vkey, reply, &count, &time, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "--old 8"));
    expect(AUDIT_WITNESSED, request_of("log", 8), "");
}
END_TEST

START_TEST(an_altered_request_is_refused_wherever_it_is_altered)
{
    char request[AUDIT_REQUEST_CAP], altered[AUDIT_REQUEST_CAP];
    witness_log("log", 5);
    fill("log", 16);
    snprintf(request, sizeof(request), "%s", request_of("log", 5));
    for (size_t i = 0; i < strlen(request); i++) {
        memcpy(altered, request, sizeof(request));
        altered[i] ^= 1;
        ck_assert_int_ne(audit_witness_answer(witness, altered, AT, reply, &fault),
                         AUDIT_WITNESSED);
        altered[i] = '\0';
        ck_assert_int_ne(audit_witness_answer(witness, altered, AT, reply, &fault),
                         AUDIT_WITNESSED);
    }
    expect(AUDIT_WITNESSED, request, "");
}
END_TEST

START_TEST(a_checkpoint_of_another_key_is_refused)
{
    snprintf(key, sizeof(key), "%s/other.key", dir);
    fill("forged", 7);
    expect(AUDIT_REFUSED, request_of("forged", 0), "not signed by " ORIGIN);
    ck_assert_str_eq(reply, "");
}
END_TEST

START_TEST(a_witness_that_lost_or_damaged_its_state_cosigns_nothing)
{
    witness_log("log", 5);
    shell("mv '%s/witness/latest' '%s/witness/kept'");
    expect(AUDIT_BROKEN_WITNESS, request_of("log", 0), "latest is missing");
    shell("sed 's/^5$/4/' '%s/witness/kept' > '%s/witness/latest'");
    expect(AUDIT_BROKEN_WITNESS, request_of("log", 5), "not signed by");
    shell("head -4 '%s/witness/kept' > '%s/witness/latest'");
    expect(AUDIT_BROKEN_WITNESS, request_of("log", 5), "not signed by");
    shell("head -5 '%s/witness/kept' > '%s/witness/latest'");
    expect(AUDIT_BROKEN_WITNESS, request_of("log", 5), "not cosigned by");
    shell("cp '%s/log.key' '%s/witness/witness.key'");
    expect(AUDIT_BROKEN_WITNESS, request_of("log", 5), "is not the key of");
}
END_TEST

START_TEST(a_witness_is_made_once)
{
    struct audit_checkpoint checkpoint = checkpoint_of("log");
    char again[AUDIT_VKEY_CAP];
    ck_assert(!audit_witness_make(witness, NAME, checkpoint.vkey, again, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "holds a witness already"));
}
END_TEST

START_TEST(verifying_demands_the_cosignature_of_the_right_witness)
{
    char right[AUDIT_VKEY_CAP];
    expect_verdict(AUDIT_BROKEN, "not witnessed: no checkpoint");
    witness_log("log", 5);
    expect_verdict(AUDIT_INTACT, "");
    fill("log", 5); /* what came since needs none */
    expect_verdict(AUDIT_INTACT, "");
    memcpy(right, witness_vkey, sizeof(right));
    shell("mv '%s/witness' '%s/first'");
    make_witness(); /* of the same name, with another key */
    ck_assert_str_ne(right, witness_vkey);
    expect_verdict(AUDIT_BROKEN, "not witnessed: the checkpoint is not cosigned by " NAME);
    memcpy(witness_vkey, right, sizeof(right));
    shell("sed -i 's/^5$/4/' '%s/log/checkpoint.cosigned'");
    expect_verdict(AUDIT_BROKEN, "not witnessed: the checkpoint is not signed by");
}
END_TEST

/* All files of the log are older copies that agree with one another: only the witness knows. */
START_TEST(a_log_rolled_back_with_all_its_files_is_found_by_the_witness_s_copy)
{
    struct audit_report report;
    char latest[128];
    struct audit_trust trust = {.witness = witness_vkey};
    witness_log("log", 5);
    shell("cp -r '%s/log' '%s/old'");
    fill("log", 5);
    witness_log("log", 10);
    shell("rm -r '%s/log'");
    shell("mv '%s/old' '%s/log'");
    expect_verdict(AUDIT_INTACT, "");
    snprintf(latest, sizeof(latest), "%s/latest", witness);
    trust.cosigned = latest;
    ck_assert_int_eq(audit_verify(log_dir("log"), &trust, NULL, NULL, &report, &fault),
                     AUDIT_BROKEN);
    ck_assert_ptr_nonnull(strstr(report.what, "removed: the witness cosigned it; rolled back"));
    ck_assert_uint_eq(report.position, 5);
}
END_TEST

/* The log's own key signs another history of the same length: the witness's copy tells. */
START_TEST(a_log_rewritten_with_its_own_key_is_found_by_the_witness_s_copy)
{
    struct audit_report report;
    char latest[128];
    struct audit_trust trust = {.witness = witness_vkey};
    witness_log("log", 5);
    shell("rm -r '%s/log'");
    fill("log", 7);
    snprintf(latest, sizeof(latest), "%s/latest", witness);
    trust.cosigned = latest;
    ck_assert_int_eq(audit_verify(log_dir("log"), &trust, NULL, NULL, &report, &fault),
                     AUDIT_BROKEN);
    ck_assert_ptr_nonnull(strstr(report.what, "rewritten: the witness cosigned other records"));
}
END_TEST

START_TEST(altered_cosignatures_do_not_verify_wherever_they_are_altered)
{
    struct audit_signer signer;
    char note[AUDIT_NOTE_CAP + AUDIT_LINE_CAP];
    uint64_t time;
    struct audit_checkpoint checkpoint = checkpoint_of("log");
    expect(AUDIT_WITNESSED, request_of("log", 0), "");
    ck_assert(audit_witness_vkey_read(witness_vkey, &signer, &fault));
    ck_assert(!audit_witness_vkey_read(checkpoint.vkey, &signer, &fault));
    ck_assert(!audit_vkey_read(witness_vkey, &signer, &fault));
    ck_assert(audit_witness_vkey_read(witness_vkey, &signer, &fault));
    int len = snprintf(note, sizeof(note), "%s%s", checkpoint.note, reply);
    ck_assert(audit_note_cosigned(&signer, note, &time, &fault));
    for (int i = 0; i < len - 1; i++) {
        size_t own = strcspn(checkpoint.note, "\xe2");
        if ((size_t)i >= own && (size_t)i < strlen(checkpoint.note))
            continue; /* the log's own signature is not cosigned */
        note[i] ^= 1;
        ck_assert_msg(!audit_note_cosigned(&signer, note, &time, &fault), "byte %d", i);
        note[i] ^= 1;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit_witness");
    TCase *tests = tcase_create("witness");
    tcase_add_checked_fixture(tests, make_log_and_witness, remove_folder);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_cosigned_checkpoint_goes_with_an_export_that_reaches_it);
    tcase_add_test(tests, a_cosigned_checkpoint_that_was_altered_is_not_exported);
    tcase_add_test(tests, a_log_that_grows_is_cosigned_again_and_again);
    tcase_add_test(tests, two_may_ask_at_the_same_time);
    tcase_add_test(tests, a_log_without_records_is_cosigned_too);
    tcase_add_test(tests, a_rollback_is_refused_and_kept_as_evidence);
    tcase_add_test(tests, a_fork_of_the_same_size_is_refused);
    tcase_add_test(tests, the_first_proof_of_a_fork_is_never_replaced);
    tcase_add_test(tests, a_longer_fork_is_refused);
    tcase_add_test(tests, a_wrong_proof_takes_the_place_of_no_fork);
    tcase_add_test(tests, a_request_that_continues_an_older_size_is_told_the_last);
    tcase_add_test(tests, an_altered_request_is_refused_wherever_it_is_altered);
    tcase_add_test(tests, a_checkpoint_of_another_key_is_refused);
    tcase_add_test(tests, a_witness_that_lost_or_damaged_its_state_cosigns_nothing);
    tcase_add_test(tests, a_witness_is_made_once);
    tcase_add_test(tests, verifying_demands_the_cosignature_of_the_right_witness);
    tcase_add_test(tests, a_log_rolled_back_with_all_its_files_is_found_by_the_witness_s_copy);
    tcase_add_test(tests, a_log_rewritten_with_its_own_key_is_found_by_the_witness_s_copy);
    tcase_add_test(tests, altered_cosignatures_do_not_verify_wherever_they_are_altered);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
