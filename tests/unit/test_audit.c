/* The audit log: what is acknowledged stays, and what is tampered with is found. */
#include <check.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "audit_record.h"
#include "plugins/audit/proof.h"
#include "run_suite.h"
#include "whorl/msg.h"
#include "whorl/store.h"

#define FIXED 65u /* form, commitment, chain */
#define MANY 40u
#define ORIGIN "test.example/log"

static char dir[64];
static struct whorl_fault fault;

static void make_folder(void)
{
    snprintf(dir, sizeof(dir), "/tmp/whorl-audit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    memset(&fault, 0, sizeof(fault));
}

static void shell(const char *format)
{
    char command[256];
    snprintf(command, sizeof(command), format, dir, dir);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static void remove_folder(void)
{
    shell("rm -rf '%s'");
}

static bool append_one(struct audit_log *log, unsigned n, size_t size, struct audit_head *head)
{
    msgpack_sbuffer bytes = audit_record_of(n, size);
    struct audit_record record = {.bytes = (const uint8_t *)bytes.data, .len = bytes.size};
    bool ok = audit_log_append(log, &record, 1, head, &fault);
    msgpack_sbuffer_destroy(&bytes);
    return ok;
}

static struct audit_log *open_log(void)
{
    struct audit_log *log = audit_log_open(dir, ORIGIN, NULL, &fault);
    ck_assert_msg(log != NULL, "%s", fault.text);
    return log;
}

static void fill(unsigned from, unsigned count)
{
    struct audit_head head;
    struct audit_log *log = open_log();
    for (unsigned i = 0; i < count; i++) {
        ck_assert_msg(append_one(log, from + i, 10, &head), "%s", fault.text);
        ck_assert_uint_eq(head.count, from + i + 1);
    }
    ck_assert(audit_log_checkpoint(log, &fault));
    audit_log_close(log);
}

static struct audit_report verify(enum audit_verdict expected)
{
    struct audit_report report;
    enum audit_verdict verdict = audit_verify(dir, NULL, NULL, NULL, &report, &fault);
    ck_assert_msg(verdict == expected, "verdict %d, %s (record %lu), %s", verdict, report.what,
                  (unsigned long)report.position, fault.text);
    return report;
}

static void expect_broken(uint64_t position, const char *what)
{
    struct audit_report report = verify(AUDIT_BROKEN);
    ck_assert_msg(strstr(report.what, what) != NULL, "%s, not %s", report.what, what);
    ck_assert_uint_eq(report.position, position);
}

/* ------------------------------------------------------------------ tampering by hand */

struct tamper {
    MDB_dbi entries, state;
    int (*with)(MDB_txn *txn, struct tamper *tamper);
    uint64_t a, b;
    size_t offset;
};

static int run_tamper(MDB_txn *txn, void *arg)
{
    struct tamper *tamper = arg;
    return tamper->with(txn, tamper);
}

static void tamper_with(int (*with)(MDB_txn *, struct tamper *), uint64_t a, uint64_t b,
                        size_t offset)
{
    struct tamper tamper = {.with = with, .a = a, .b = b, .offset = offset};
    struct whorl_store *store =
        whorl_store_open(dir, WHORL_STORE_WRITE, 3, "whorl-audit", 2, &fault);
    ck_assert_msg(store != NULL, "%s", fault.text);
    ck_assert(whorl_store_db(store, "entries", MDB_INTEGERKEY, &tamper.entries, &fault));
    ck_assert(whorl_store_db(store, "state", 0, &tamper.state, &fault));
    ck_assert_msg(whorl_store_write(store, run_tamper, &tamper, &fault), "%s", fault.text);
    whorl_store_close(store);
}

struct copy {
    uint8_t bytes[4096];
    size_t len;
};

static int get(MDB_txn *txn, struct tamper *t, uint64_t position, struct copy *copy)
{
    MDB_val key = {.mv_size = 8, .mv_data = &position}, value;
    int rc = mdb_get(txn, t->entries, &key, &value);
    if (rc == 0) {
        memcpy(copy->bytes, value.mv_data, value.mv_size);
        copy->len = value.mv_size;
    }
    return rc;
}

static int put(MDB_txn *txn, struct tamper *t, uint64_t position, struct copy *copy)
{
    MDB_val key = {.mv_size = 8, .mv_data = &position},
            value = {.mv_size = copy->len, .mv_data = copy->bytes};
    return mdb_put(txn, t->entries, &key, &value, 0);
}

static int del(MDB_txn *txn, struct tamper *t, uint64_t position)
{
    MDB_val key = {.mv_size = 8, .mv_data = &position};
    return mdb_del(txn, t->entries, &key, NULL);
}

static int edit_byte(MDB_txn *txn, struct tamper *t)
{
    struct copy copy;
    ck_assert_int_eq(get(txn, t, t->a, &copy), 0);
    copy.bytes[t->offset < copy.len ? t->offset : copy.len - 1] ^= 1;
    return put(txn, t, t->a, &copy);
}

static void sha(uint8_t domain, const uint8_t *first, const uint8_t *second, size_t len,
                uint8_t *out)
{
    uint8_t all[4096];
    all[0] = domain;
    memcpy(all + 1, first, 32);
    memcpy(all + 33, second, len);
    ck_assert_int_eq(EVP_Digest(all, 33 + len, out, NULL, EVP_sha256(), NULL), 1);
}

static int edit_and_commit(MDB_txn *txn, struct tamper *t)
{
    struct copy copy;
    ck_assert_int_eq(get(txn, t, t->a, &copy), 0);
    copy.bytes[copy.len - 1] ^= 1;
    sha(2, copy.bytes + FIXED, copy.bytes + FIXED + 32, copy.len - FIXED - 32, copy.bytes + 1);
    return put(txn, t, t->a, &copy);
}

/* The most that somebody with the database can do to one record: edit it, commit anew, and chain
 * it and all after it anew, without touching the head. */
static int rewrite_from(MDB_txn *txn, struct tamper *t)
{
    struct copy copy;
    uint8_t before[32];
    int rc = edit_and_commit(txn, t);
    ck_assert_int_eq(get(txn, t, t->a - 1, &copy), 0);
    memcpy(before, copy.bytes + 33, 32);
    for (uint64_t i = t->a; rc == 0 && get(txn, t, i, &copy) == 0; i++) {
        sha(3, before, copy.bytes + 1, 32, copy.bytes + 33);
        memcpy(before, copy.bytes + 33, 32);
        rc = put(txn, t, i, &copy);
    }
    return rc;
}

static int set_head(MDB_txn *txn, struct tamper *t, uint64_t count)
{
    struct copy last = {0};
    uint8_t head[40];
    ck_assert_int_eq(get(txn, t, count - 1, &last), 0);
    memcpy(head, &count, 8);
    memcpy(head + 8, last.bytes + 33, 32);
    MDB_val key = {.mv_size = 4, .mv_data = "head"}, value = {.mv_size = 40, .mv_data = head};
    return mdb_put(txn, t->state, &key, &value, 0);
}

static int rewrite_with_head(MDB_txn *txn, struct tamper *t)
{
    int rc = rewrite_from(txn, t);
    return rc != 0 ? rc : set_head(txn, t, MANY);
}

static int remove_one(MDB_txn *txn, struct tamper *t)
{
    return del(txn, t, t->a);
}

static int remove_and_close_up(MDB_txn *txn, struct tamper *t)
{
    struct copy copy;
    for (uint64_t i = t->a; i + 1 < MANY; i++) {
        ck_assert_int_eq(get(txn, t, i + 1, &copy), 0);
        ck_assert_int_eq(put(txn, t, i, &copy), 0);
    }
    return del(txn, t, MANY - 1);
}

static int insert_one(MDB_txn *txn, struct tamper *t)
{
    struct copy copy;
    for (uint64_t i = MANY; i > t->a; i--) {
        ck_assert_int_eq(get(txn, t, i - 1, &copy), 0);
        ck_assert_int_eq(put(txn, t, i, &copy), 0);
    }
    copy.bytes[copy.len - 1] ^= 1;
    sha(2, copy.bytes + FIXED, copy.bytes + FIXED + 32, copy.len - FIXED - 32, copy.bytes + 1);
    return put(txn, t, t->a, &copy);
}

static int add_at_end(MDB_txn *txn, struct tamper *t)
{
    struct copy copy;
    ck_assert_int_eq(get(txn, t, MANY - 1, &copy), 0);
    return put(txn, t, MANY, &copy);
}

static int swap_two(MDB_txn *txn, struct tamper *t)
{
    struct copy a, b;
    ck_assert_int_eq(get(txn, t, t->a, &a), 0);
    ck_assert_int_eq(get(txn, t, t->b, &b), 0);
    ck_assert_int_eq(put(txn, t, t->a, &b), 0);
    return put(txn, t, t->b, &a);
}

static int cut_short(MDB_txn *txn, struct tamper *t)
{
    for (uint64_t i = t->a; i < MANY; i++)
        ck_assert_int_eq(del(txn, t, i), 0);
    return t->b != 0 ? set_head(txn, t, t->a) : 0;
}

static int erase_one(MDB_txn *txn, struct tamper *t)
{
    struct copy copy;
    ck_assert_int_eq(get(txn, t, t->a, &copy), 0);
    copy.bytes[0] = 2;
    copy.len = FIXED;
    return put(txn, t, t->a, &copy);
}

/* ------------------------------------------------------------------ the log */

START_TEST(an_empty_log_is_intact_and_zero)
{
    audit_log_close(open_log());
    struct audit_report report = verify(AUDIT_INTACT);
    ck_assert_uint_eq(report.head.count, 0);
}
END_TEST

START_TEST(no_log_is_a_failure_and_not_intact)
{
    verify(AUDIT_FAILED);
    ck_assert_ptr_nonnull(strstr(fault.text, "holds no store yet"));
}
END_TEST

START_TEST(records_survive_reopening_and_verify)
{
    fill(0, 25);
    fill(25, 15);
    struct audit_report report = verify(AUDIT_INTACT);
    ck_assert_uint_eq(report.head.count, 40);
    ck_assert_uint_eq(report.erased, 0);
}
END_TEST

static bool check_hashes(void *ctx, uint64_t position, const struct audit_record *record)
{
    msgpack_sbuffer expected = audit_record_of((unsigned)position, 10);
    ck_assert_uint_eq(record->len, expected.size);
    ck_assert_mem_eq(record->bytes, expected.data, expected.size);
    msgpack_sbuffer_destroy(&expected);
    uint8_t *chain = ctx, commitment[32];
    sha(2, record->bytes - 32, record->bytes, record->len, commitment);
    sha(3, chain, commitment, 32, chain);
    return true;
}

START_TEST(hashes_are_those_of_the_documented_formulas)
{
    uint8_t chain[32] = {0};
    fill(0, 12);
    ck_assert(audit_each(dir, check_hashes, chain, &fault));
    ck_assert_mem_eq(verify(AUDIT_INTACT).head.hash, chain, 32);
}
END_TEST

START_TEST(equal_records_have_different_commitments)
{
    struct audit_head heads[2];
    msgpack_sbuffer bytes = audit_record_of(7, 10);
    struct audit_record records[2] = {{(const uint8_t *)bytes.data, bytes.size},
                                      {(const uint8_t *)bytes.data, bytes.size}};
    struct audit_log *log = open_log();
    ck_assert(audit_log_append(log, records, 2, heads, &fault));
    ck_assert_uint_eq(heads[0].count, 1);
    ck_assert_uint_eq(heads[1].count, 2);
    ck_assert_mem_ne(heads[0].hash, heads[1].hash, 32);
    audit_log_close(log);
    msgpack_sbuffer_destroy(&bytes);
    verify(AUDIT_INTACT);
}
END_TEST

START_TEST(an_edited_record_is_found_wherever_the_edit_is)
{
    fill(0, MANY);
    for (size_t offset = 0; offset < 130; offset++) {
        tamper_with(edit_byte, 17, 0, offset);
        expect_broken(17, "edited");
        tamper_with(edit_byte, 17, 0, offset);
    }
    verify(AUDIT_INTACT);
}
END_TEST

START_TEST(an_edited_record_with_a_new_commitment_is_found)
{
    fill(0, MANY);
    tamper_with(edit_and_commit, 17, 0, 0);
    expect_broken(17, "edited");
}
END_TEST

START_TEST(a_log_rewritten_from_a_record_on_does_not_agree_with_its_heads)
{
    fill(0, MANY);
    tamper_with(rewrite_from, 34, 0, 0);
    expect_broken(MANY - 1, "rewritten: the checkpoint");
    tamper_with(rewrite_with_head, 35, 0, 0);
    expect_broken(MANY - 1, "rewritten: the checkpoint");
    tamper_with(rewrite_with_head, 17, 0, 0); /* a complete subtree: 16 to 31 */
    expect_broken(31, "rewritten: the tree");
}
END_TEST

START_TEST(a_removed_record_is_found)
{
    fill(0, MANY);
    tamper_with(remove_one, 9, 0, 0);
    expect_broken(9, "removed");
}
END_TEST

START_TEST(a_removed_record_is_found_when_the_rest_closes_up)
{
    fill(0, MANY);
    tamper_with(remove_and_close_up, 9, 0, 0);
    expect_broken(9, "removed");
}
END_TEST

START_TEST(an_inserted_record_is_found)
{
    fill(0, MANY);
    tamper_with(insert_one, 9, 0, 0);
    expect_broken(9, "added");
}
END_TEST

START_TEST(a_record_added_at_the_end_is_found)
{
    fill(0, MANY);
    tamper_with(add_at_end, 0, 0, 0);
    expect_broken(MANY, "added");
}
END_TEST

START_TEST(swapped_records_are_found)
{
    fill(0, MANY);
    tamper_with(swap_two, 5, 30, 0);
    expect_broken(5, "swapped with record 30");
    tamper_with(swap_two, 5, 30, 0);
    tamper_with(swap_two, 11, 12, 0);
    expect_broken(11, "swapped with record 12");
    tamper_with(swap_two, 11, 12, 0);
    tamper_with(swap_two, 0, MANY - 1, 0);
    expect_broken(0, "swapped with record 39");
}
END_TEST

START_TEST(a_log_cut_short_is_found_and_not_opened)
{
    fill(0, MANY);
    tamper_with(cut_short, 30, 0, 0);
    expect_broken(30, "removed");
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, NULL, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "does not end in what its head says"));
}
END_TEST

START_TEST(a_log_cut_short_with_its_head_is_found_and_not_opened)
{
    fill(0, MANY);
    tamper_with(cut_short, 30, 1, 0);
    expect_broken(30, "rolled back or cut short");
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, NULL, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "30 records, its checkpoint says 40"));
}
END_TEST

/* Records that the checkpoint does not reach yet: the writer appends, and is stopped before the
 * file follows. */
static void fill_unpublished(unsigned from, unsigned count)
{
    struct audit_head head;
    struct audit_log *log = open_log();
    for (unsigned i = 0; i < count; i++)
        ck_assert_msg(append_one(log, from + i, 10, &head), "%s", fault.text);
    audit_log_close(log);
}

START_TEST(records_cut_off_beyond_the_checkpoint_are_found_too)
{
    fill(0, 30);
    fill_unpublished(30, 10);
    verify(AUDIT_INTACT);
    tamper_with(cut_short, 35, 1, 0);
    expect_broken(35, "removed: the head's signature knows it");
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, NULL, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "not signed as far as its head says"));
}
END_TEST

START_TEST(records_rewritten_beyond_the_checkpoint_are_found_too)
{
    fill(0, 30);
    fill_unpublished(30, 10);
    tamper_with(rewrite_with_head, 35, 0, 0);
    expect_broken(MANY - 1, "rewritten: the head's signature");
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, NULL, &fault));
}
END_TEST

static int unsign_head(MDB_txn *txn, struct tamper *t)
{
    MDB_val key = {.mv_size = 4, .mv_data = "note"};
    return mdb_del(txn, t->state, &key, NULL);
}

START_TEST(a_head_without_its_signature_is_found_and_not_opened)
{
    fill(0, MANY);
    tamper_with(unsign_head, 0, 0, 0);
    expect_broken(MANY - 1, "forged: the head's signature");
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, NULL, &fault));
}
END_TEST

START_TEST(an_older_copy_of_the_database_is_found)
{
    fill(0, 10);
    shell("cp '%s/data.mdb' '%s/old'");
    fill(10, 10);
    shell("cp '%s/old' '%s/data.mdb'");
    expect_broken(10, "rolled back");
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, NULL, &fault));
}
END_TEST

START_TEST(a_missing_or_cut_checkpoint_is_found)
{
    fill(0, 10);
    shell("mv '%s/checkpoint' '%s/kept'");
    expect_broken(0, "checkpoint is missing");
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, NULL, &fault));
    shell("head -c 40 '%s/kept' > '%s/checkpoint'");
    expect_broken(0, "forged: the checkpoint is malformed");
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, NULL, &fault));
    shell("mv '%s/kept' '%s/checkpoint'");
    verify(AUDIT_INTACT);
    audit_log_close(open_log());
}
END_TEST

START_TEST(a_forged_checkpoint_is_found)
{
    fill(0, 10);
    shell("sed 's/^10$/9/' '%s/checkpoint' > '%s/new'");
    shell("mv '%s/new' '%s/checkpoint'");
    expect_broken(0, "forged: the checkpoint is not signed by " ORIGIN);
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, NULL, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "not signed by"));
}
END_TEST

static struct audit_signer forger;

/* Signs what is left of the log with the forger's key. */
static int sign_head_again(MDB_txn *txn, struct tamper *t)
{
    uint8_t root[AUDIT_HASH];
    char note[AUDIT_NOTE_CAP];
    struct audit_tree tree = {.txn = txn, .entries = t->entries, .ctx = EVP_MD_CTX_new()};
    ck_assert_int_eq(mdb_dbi_open(txn, "tree", MDB_INTEGERKEY, &tree.tree), 0);
    ck_assert_int_eq(audit_tree_root(&tree, t->a, root), 0);
    EVP_MD_CTX_free(tree.ctx);
    ck_assert(audit_note_sign(&forger, t->a, root, note, &fault));
    MDB_val key = {.mv_size = 4, .mv_data = "note"},
            value = {.mv_size = strlen(note), .mv_data = note};
    return mdb_put(txn, t->state, &key, &value, 0);
}

/* Cuts the log short and signs a new checkpoint with a key of one's own: seen by whoever knows the
 * right verifier key. */
START_TEST(a_checkpoint_of_another_key_is_found_by_who_knows_the_right_one)
{
    struct audit_report report;
    struct audit_checkpoint checkpoint;
    fill(0, MANY);
    ck_assert(audit_checkpoint_read(dir, NULL, &checkpoint, &fault));
    tamper_with(cut_short, 30, 1, 0);
    shell("rm '%s/checkpoint' '%s/checkpoint.key'");
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, NULL, &fault));
    char path[96], note[AUDIT_NOTE_CAP], vkey[AUDIT_VKEY_CAP];
    snprintf(path, sizeof(path), "%s/checkpoint.key", dir);
    ck_assert(audit_signer_open(path, ORIGIN, true, &forger, &fault));
    audit_vkey_write(&forger, vkey);
    ck_assert_str_ne(vkey, checkpoint.vkey);
    EVP_Digest("", 0, checkpoint.root, NULL, EVP_sha256(), NULL);
    ck_assert(audit_note_sign(&forger, 0, checkpoint.root, note, &fault));
    snprintf(path, sizeof(path), "%s/checkpoint", dir);
    FILE *file = fopen(path, "w");
    fputs(note, file);
    fclose(file);
    tamper_with(sign_head_again, 30, 0, 0);
    EVP_PKEY_free(forger.key);
    struct audit_trust trust = {.vkey = vkey};
    ck_assert_int_eq(audit_verify(dir, &trust, NULL, NULL, &report, &fault), AUDIT_INTACT);
    trust.vkey = checkpoint.vkey;
    ck_assert_int_eq(audit_verify(dir, &trust, NULL, NULL, &report, &fault), AUDIT_BROKEN);
    ck_assert_ptr_nonnull(strstr(report.what, "not signed by"));
}
END_TEST

static bool count_each(void *ctx, uint64_t position, const struct audit_record *record)
{
    (void)position;
    (void)record;
    ++*(unsigned *)ctx;
    return true;
}

START_TEST(an_erased_record_is_gone_and_the_chain_still_holds)
{
    unsigned listed = 0;
    fill(0, MANY);
    tamper_with(erase_one, 3, 0, 0);
    tamper_with(erase_one, MANY - 1, 0, 0);
    ck_assert_uint_eq(verify(AUDIT_INTACT).erased, 2);
    ck_assert(audit_each(dir, count_each, &listed, &fault));
    ck_assert_uint_eq(listed, MANY - 2);
    fill(MANY, 3);
    verify(AUDIT_INTACT);
}
END_TEST

/* So many records of one text in one transaction. */
static void append_texts(struct audit_log *log, const char *text, size_t count)
{
    msgpack_sbuffer bytes;
    msgpack_packer pk;
    struct audit_record *records = calloc(count, sizeof(*records));
    struct audit_head *heads = calloc(count, sizeof(*heads));
    msgpack_sbuffer_init(&bytes);
    msgpack_packer_init(&pk, &bytes, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 1);
    whorl_put_str(&pk, "text", text);
    for (size_t i = 0; i < count; i++)
        records[i] = (struct audit_record){(const uint8_t *)bytes.data, bytes.size};
    ck_assert_msg(audit_log_append(log, records, count, heads, &fault), "%s", fault.text);
    msgpack_sbuffer_destroy(&bytes);
    free(records);
    free(heads);
}

static bool is_due(void *ctx, uint64_t position, const struct audit_record *record)
{
    (void)ctx, (void)record;
    return position < 500;
}

/* What a writer has in memory may be older than what was erased beside it. */
START_TEST(an_erased_record_does_not_come_back_with_what_is_written_after_it)
{
    int begin[2], done[2], status;
    char word[480] = "";
    ck_assert(pipe(begin) == 0 && pipe(done) == 0);
    pid_t pid = fork(); /* before LMDB is open here */
    if (pid == 0) {
        uint64_t erased;
        bool ok =
            read(begin[0], &status, 1) == 1 && audit_erase(dir, is_due, NULL, &erased, &fault);
        _exit(ok && erased == 500 && write(done[1], "", 1) == 1 ? 0 : 1);
    }
    struct audit_log *log = open_log();
    while (strlen(word) + 20 < sizeof(word))
        strcat(word, "whom-it-is-about ");
    append_texts(log, word, 500);
    append_texts(log, "another", 10);
    shell("grep -q whom-it-is-about '%s/data.mdb'");
    ck_assert_int_eq(write(begin[1], "", 1), 1);
    ck_assert_int_eq(read(done[0], &status, 1), 1);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    shell("! grep -q whom-it-is-about '%s/data.mdb'");
    memset(word, 'x', sizeof(word) - 1);
    append_texts(log, word, 500);
    append_texts(log, word, 1);
    shell("! grep -q whom-it-is-about '%s/data.mdb'");
    ck_assert(audit_log_checkpoint(log, &fault));
    audit_log_close(log);
    ck_assert_uint_eq(verify(AUDIT_INTACT).head.count, 1011);
}
END_TEST

START_TEST(what_is_no_map_is_no_record)
{
    static const uint8_t number[] = {0x01}, cut[] = {0x81, 0xa1}, two[] = {0x80, 0x80};
    static const uint8_t map[] = {0x80};
    ck_assert(!audit_record_check(number, sizeof(number), &fault));
    ck_assert(!audit_record_check(cut, sizeof(cut), &fault));
    ck_assert(!audit_record_check(two, sizeof(two), &fault));
    ck_assert(!audit_record_check(map, 0, &fault));
    ck_assert(audit_record_check(map, sizeof(map), &fault));
}
END_TEST

static void *append_on(void *arg)
{
    struct audit_head head;
    struct audit_log *log = arg;
    for (unsigned i = 0; i < 200; i++)
        ck_assert_msg(append_one(log, i, 100, &head), "%s", fault.text);
    ck_assert(audit_log_checkpoint(log, &fault));
    return NULL;
}

START_TEST(verifying_beside_writers_is_never_wrong)
{
    pthread_t threads[2];
    struct audit_log *logs[2] = {open_log(), open_log()};
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, append_on, logs[i]), 0);
    uint64_t seen = 0;
    while (seen < 300) {
        uint64_t count = verify(AUDIT_INTACT).head.count;
        ck_assert_uint_ge(count, seen);
        seen = count;
    }
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        audit_log_close(logs[i]);
    }
    ck_assert_uint_eq(verify(AUDIT_INTACT).head.count, 400);
}
END_TEST

START_TEST(what_was_acknowledged_survives_a_kill)
{
    for (int round = 0; round < 5; round++) {
        int ends[2], status;
        uint64_t acknowledged = 0, count;
        ck_assert_int_eq(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0) {
            struct audit_log *log = audit_log_open(dir, ORIGIN, NULL, &fault);
            struct audit_head head;
            while (log != NULL && append_one(log, 0, 3000, &head)) {
                if (write(ends[1], &head.count, sizeof(head.count)) < 0)
                    break;
            }
            _exit(1);
        }
        close(ends[1]);
        for (int i = 0; i < 20 + 7 * round; i++)
            ck_assert_int_eq(read(ends[0], &acknowledged, sizeof(acknowledged)), 8);
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        while (read(ends[0], &count, sizeof(count)) == sizeof(count))
            acknowledged = count;
        close(ends[0]);
        ck_assert_uint_ge(verify(AUDIT_INTACT).head.count, acknowledged);
    }
}
END_TEST

static TCase *log_tests(void)
{
    TCase *tests = tcase_create("log");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, an_empty_log_is_intact_and_zero);
    tcase_add_test(tests, no_log_is_a_failure_and_not_intact);
    tcase_add_test(tests, records_survive_reopening_and_verify);
    tcase_add_test(tests, hashes_are_those_of_the_documented_formulas);
    tcase_add_test(tests, equal_records_have_different_commitments);
    tcase_add_test(tests, an_edited_record_is_found_wherever_the_edit_is);
    tcase_add_test(tests, an_edited_record_with_a_new_commitment_is_found);
    tcase_add_test(tests, a_log_rewritten_from_a_record_on_does_not_agree_with_its_heads);
    tcase_add_test(tests, a_removed_record_is_found);
    tcase_add_test(tests, a_removed_record_is_found_when_the_rest_closes_up);
    tcase_add_test(tests, an_inserted_record_is_found);
    tcase_add_test(tests, a_record_added_at_the_end_is_found);
    tcase_add_test(tests, swapped_records_are_found);
    tcase_add_test(tests, a_log_cut_short_is_found_and_not_opened);
    tcase_add_test(tests, a_log_cut_short_with_its_head_is_found_and_not_opened);
    tcase_add_test(tests, records_cut_off_beyond_the_checkpoint_are_found_too);
    tcase_add_test(tests, records_rewritten_beyond_the_checkpoint_are_found_too);
    tcase_add_test(tests, a_head_without_its_signature_is_found_and_not_opened);
    tcase_add_test(tests, an_older_copy_of_the_database_is_found);
    tcase_add_test(tests, a_missing_or_cut_checkpoint_is_found);
    tcase_add_test(tests, a_forged_checkpoint_is_found);
    tcase_add_test(tests, a_checkpoint_of_another_key_is_found_by_who_knows_the_right_one);
    tcase_add_test(tests, an_erased_record_is_gone_and_the_chain_still_holds);
    tcase_add_test(tests, an_erased_record_does_not_come_back_with_what_is_written_after_it);
    tcase_add_test(tests, what_is_no_map_is_no_record);
    tcase_add_test(tests, verifying_beside_writers_is_never_wrong);
    tcase_add_test(tests, what_was_acknowledged_survives_a_kill);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("audit");
    suite_add_tcase(suite, log_tests());
    return run_suite(suite);
}
