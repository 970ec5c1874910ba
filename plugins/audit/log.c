/* Appending to the audit log. */
#include "plugins/audit/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "plugins/audit/note.h"
#include "plugins/audit/tree.h"
#include "whorl/msg.h"

struct audit_log {
    struct whorl_store *store;
    char *dir;
    MDB_dbi entries, state, tree;
    struct audit_signer signer;
};

bool audit_record_check(const uint8_t *bytes, size_t len, struct whorl_fault *fault)
{
    struct whorl_fault bad = {{0}, {0}};
    size_t used = 0;
    if (len == 0 || len > AUDIT_RECORD_MAX) {
        return whorl_fail(fault, "", "a record must have 1 to %zu bytes, this one has %zu",
                          AUDIT_RECORD_MAX, len);
    }
    if (whorl_msg_walk(bytes, len, len, &used, &bad) != WHORL_MSG_WHOLE) {
        return whorl_fail(fault, "", "a record must be one msgpack map: %.150s", bad.text);
    }
    if (used != len) {
        return whorl_fail(fault, "", "a record must be one msgpack map; bytes follow at %zu", used);
    }
    bool map = (bytes[0] & 0xf0) == 0x80 || bytes[0] == 0xde || bytes[0] == 0xdf;
    return map || whorl_fail(fault, "", "a record must be a msgpack map");
}

/* ------------------------------------------------------------------ appending */

/* What is computed for a record before the transaction, where it keeps nobody waiting. */
struct prepared {
    const uint8_t *salt;
    uint8_t commitment[AUDIT_HASH], leaf[AUDIT_HASH];
};

struct appending {
    const struct audit_log *log;
    const struct audit_record *records;
    const struct prepared *prepared;
    size_t count;
    struct audit_head *heads;
    EVP_MD_CTX *ctx;
};

static struct audit_tree tree_of(const struct audit_log *log, MDB_txn *txn, EVP_MD_CTX *ctx)
{
    return (struct audit_tree){.txn = txn, .entries = log->entries, .tree = log->tree, .ctx = ctx};
}

/* Puts one entry after `head` and moves head onto it. */
static int put_entry(MDB_cursor *cursor, const struct appending *work, size_t i,
                     struct audit_head *head)
{
    const struct audit_record *record = &work->records[i];
    const struct prepared *prepared = &work->prepared[i];
    uint64_t position = head->count;
    MDB_val key = {.mv_size = sizeof(position), .mv_data = &position};
    MDB_val value = {.mv_size = AUDIT_ENTRY_FIXED + AUDIT_SALT + record->len};
    if (!audit_chain(work->ctx, head->hash, prepared->commitment, head->hash)) {
        return ENOMEM;
    }
    int rc = mdb_cursor_put(cursor, &key, &value, MDB_RESERVE | MDB_APPEND);
    if (rc != 0) {
        return rc;
    }
    uint8_t *to = value.mv_data;
    *to++ = AUDIT_WHOLE;
    memcpy(to, prepared->commitment, AUDIT_HASH);
    memcpy(to + AUDIT_HASH, head->hash, AUDIT_HASH);
    to += (size_t)2 * AUDIT_HASH;
    memcpy(to, prepared->salt, AUDIT_SALT);
    memcpy(to + AUDIT_SALT, record->bytes, record->len);
    head->count++;
    return 0;
}

/* Appends the entries, and the tree's hashes that become complete with them. */
static int append_entries(const struct audit_tree *tree, const struct appending *work,
                          struct audit_head *head)
{
    uint8_t run[AUDIT_STORED][AUDIT_HASH];
    MDB_cursor *cursor;
    int rc = audit_tree_run(tree, head->count, run);
    if (rc == 0) {
        rc = mdb_cursor_open(tree->txn, tree->entries, &cursor);
    }
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < work->count; i++) {
        memcpy(run[head->count % AUDIT_STORED], work->prepared[i].leaf, AUDIT_HASH);
        rc = put_entry(cursor, work, i, head);
        work->heads[i] = *head;
        if (rc == 0 && head->count % AUDIT_STORED == 0) {
            rc = audit_tree_complete(tree, head->count, run);
        }
    }
    mdb_cursor_close(cursor);
    return rc;
}

/* Signs the log as the transaction has it, so that not one record stands there unsigned. */
static int sign_head(const struct audit_log *log, const struct audit_tree *tree,
                     const struct audit_head *head)
{
    struct whorl_fault ignored;
    uint8_t root[AUDIT_HASH];
    char note[AUDIT_NOTE_CAP];
    int rc = audit_tree_root(tree, head->count, root);
    if (rc == 0 && !audit_note_sign(&log->signer, head->count, root, note, &ignored)) {
        rc = ENOMEM;
    }
    return rc != 0 ? rc : audit_note_put(tree->txn, log->state, note);
}

/* In a write transaction; may run again from its start. */
static int append_all(MDB_txn *txn, void *arg)
{
    const struct appending *work = arg;
    const struct audit_log *log = work->log;
    struct audit_tree tree = tree_of(log, txn, work->ctx);
    struct audit_head head;
    int rc = audit_head_get(txn, log->state, &head);
    if (rc == 0) {
        rc = append_entries(&tree, work, &head);
    }
    if (rc == 0) {
        rc = audit_head_put(txn, log->state, &head);
    }
    return rc != 0 ? rc : sign_head(log, &tree, &head);
}

/* Commitments and leaf hashes; salts: random bytes for all records, asked for at once because each
 * asking costs more than hashing a record. */
static bool prepare(const struct audit_record *records, size_t count, const uint8_t *salts,
                    EVP_MD_CTX *ctx, struct prepared *prepared)
{
    for (size_t i = 0; i < count; i++) {
        prepared[i].salt = salts + i * AUDIT_SALT;
        if (!audit_commit(ctx, prepared[i].salt, records[i].bytes, records[i].len,
                          prepared[i].commitment) ||
            !audit_leaf_hash(ctx, prepared[i].commitment, prepared[i].leaf)) {
            return false;
        }
    }
    return true;
}

bool audit_log_append(struct audit_log *log, const struct audit_record *records, size_t count,
                      struct audit_head *heads, struct whorl_fault *fault)
{
    struct prepared *prepared = calloc(count, sizeof(*prepared));
    uint8_t *salts = malloc(count * AUDIT_SALT);
    struct appending work = {.log = log,
                             .records = records,
                             .prepared = prepared,
                             .count = count,
                             .heads = heads,
                             .ctx = EVP_MD_CTX_new()};
    bool ok = prepared != NULL && salts != NULL && work.ctx != NULL &&
              count <= INT32_MAX / AUDIT_SALT &&
              RAND_bytes(salts, (int)(count * AUDIT_SALT)) == 1 &&
              prepare(records, count, salts, work.ctx, prepared);
    if (!ok) {
        whorl_fail(fault, "", "no memory or no randomness for %zu records", count);
    } else {
        ok = whorl_store_write(log->store, append_all, &work, fault);
    }
    EVP_MD_CTX_free(work.ctx);
    free(salts);
    free(prepared);
    return ok;
}

/* ------------------------------------------------------------------ checkpoints */

static bool unreadable(const struct audit_log *log, int rc, struct whorl_fault *fault)
{
    return whorl_fail(fault, "", "cannot read the audit log in %s: %s", log->dir, mdb_strerror(rc));
}

/* Puts the note that the last transaction signed beside the database. */
static bool publish(struct audit_log *log, struct whorl_fault *fault)
{
    char note[AUDIT_NOTE_CAP];
    MDB_txn *txn = whorl_store_read(log->store, fault);
    if (txn == NULL) {
        return false;
    }
    int rc = audit_note_get(txn, log->state, note);
    whorl_store_done(log->store, txn);
    return rc == 0 ? audit_file_replace(log->dir, "checkpoint", note, fault)
                   : unreadable(log, rc, fault);
}

/* Writes a file beside the database alone: the lock keeps two instances, or two processes, from
 * replacing a newer one by an older, and from writing its successor at the same time. */
static bool write_alone(struct audit_log *log,
                        bool (*write)(struct audit_log *log, struct whorl_fault *fault),
                        struct whorl_fault *fault)
{
    int fd = open(log->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && flock(fd, LOCK_EX) == 0;
    ok = ok ? write(log, fault)
            : whorl_fail(fault, "", "cannot lock %s: %s", log->dir, strerror(errno));
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

bool audit_log_checkpoint(struct audit_log *log, struct whorl_fault *fault)
{
    return write_alone(log, publish, fault);
}

/* ------------------------------------------------------------------ opening */

/* What the checkpoint file says; there: whether there is one. */
struct filed {
    bool there;
    uint64_t count;
    uint8_t root[AUDIT_HASH];
};

/* Whether the last entry is the one that the head tells of. */
static int ends_in(MDB_txn *txn, MDB_dbi entries, const struct audit_head *head, bool *agrees)
{
    static const uint8_t zeros[AUDIT_HASH];
    struct audit_entry entry;
    *agrees = head->count == 0 && memcmp(head->hash, zeros, AUDIT_HASH) == 0;
    if (head->count == 0) {
        return 0;
    }
    uint64_t position = head->count - 1;
    MDB_val key = {.mv_size = sizeof(position), .mv_data = &position}, value;
    int rc = mdb_get(txn, entries, &key, &value);
    if (rc == 0) {
        *agrees = audit_entry_read(value.mv_data, value.mv_size, &entry) &&
                  memcmp(entry.chain, head->hash, AUDIT_HASH) == 0;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Whether the log was ever begun. Asked first, since to write may be to wait for another process.
 */
static bool is_begun(struct audit_log *log, bool *begun, struct whorl_fault *fault)
{
    struct audit_head head;
    MDB_txn *txn = whorl_store_read(log->store, fault);
    if (txn == NULL) {
        return false;
    }
    int rc = audit_head_get(txn, log->state, &head);
    whorl_store_done(log->store, txn);
    *begun = rc == 0;
    return rc == 0 || rc == MDB_NOTFOUND || unreadable(log, rc, fault);
}

static int start_empty(MDB_txn *txn, void *arg)
{
    const struct audit_log *log = arg;
    struct audit_head head = {0};
    MDB_stat stat;
    int rc = audit_head_get(txn, log->state, &head);
    if (rc != MDB_NOTFOUND) {
        return rc;
    }
    memset(&head, 0, sizeof(head));
    rc = mdb_stat(txn, log->entries, &stat);
    if (rc == 0 && stat.ms_entries > 0) {
        rc = MDB_CORRUPTED;
    }
    if (rc == 0) {
        rc = audit_head_put(txn, log->state, &head);
    }
    struct audit_tree tree = tree_of(log, txn, NULL);
    return rc != 0 ? rc : sign_head(log, &tree, &head);
}

/* Whether the note in the database is the signer's, over the log as far as its head. */
static int signed_head(const struct audit_log *log, const struct audit_tree *tree,
                       const struct audit_head *head, bool *agrees)
{
    char note[AUDIT_NOTE_CAP];
    struct whorl_fault ignored;
    uint64_t count;
    uint8_t said[AUDIT_HASH], root[AUDIT_HASH];
    int rc = audit_note_get(tree->txn, log->state, note);
    *agrees = rc == 0 && audit_note_verify(&log->signer, note, &count, said, &ignored) &&
              count == head->count && (rc = audit_tree_root(tree, count, root)) == 0 &&
              memcmp(said, root, AUDIT_HASH) == 0;
    return rc == MDB_NOTFOUND || rc == MDB_CORRUPTED ? 0 : rc;
}

/* Reads, in one transaction, what the log says against head and checkpoint. */
static int compare(struct audit_log *log, MDB_txn *txn, const struct filed *filed,
                   struct audit_head *head, bool *head_agrees, bool *filed_agrees,
                   bool *note_agrees)
{
    uint8_t root[AUDIT_HASH];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    struct audit_tree tree = tree_of(log, txn, ctx);
    int rc = ctx != NULL ? audit_head_get(txn, log->state, head) : ENOMEM;
    if (rc == 0) {
        rc = ends_in(txn, log->entries, head, head_agrees);
    }
    if (rc == 0 && filed->there && filed->count <= head->count) {
        rc = audit_tree_root(&tree, filed->count, root);
        *filed_agrees = rc == 0 && memcmp(root, filed->root, AUDIT_HASH) == 0;
        if (rc == MDB_NOTFOUND || rc == MDB_CORRUPTED) {
            rc = 0;
        }
    }
    if (rc == 0 && *head_agrees) {
        rc = signed_head(log, &tree, head, note_agrees);
    }
    EVP_MD_CTX_free(ctx);
    return rc;
}

static bool check_heads(struct audit_log *log, const struct filed *filed, struct whorl_fault *fault)
{
    struct audit_head head;
    bool head_agrees = false, filed_agrees = false, note_agrees = false;
    MDB_txn *txn = whorl_store_read(log->store, fault);
    if (txn == NULL) {
        return false;
    }
    int rc = compare(log, txn, filed, &head, &head_agrees, &filed_agrees, &note_agrees);
    whorl_store_done(log->store, txn);
    if (rc != 0) {
        return unreadable(log, rc, fault);
    }
    if (!head_agrees) {
        return whorl_fail(fault, "", "the audit log in %s does not end in what its head says",
                          log->dir);
    }
    if (!filed->there && head.count > 0) {
        return whorl_fail(fault, "", "%s/checkpoint is missing beside a log of %" PRIu64 " records",
                          log->dir, head.count);
    }
    if (filed->there && filed->count > head.count) {
        return whorl_fail(fault, "",
                          "the audit log in %s was rolled back or cut short: %" PRIu64
                          " records, its checkpoint says %" PRIu64,
                          log->dir, head.count, filed->count);
    }
    if (filed->there && !filed_agrees) {
        return whorl_fail(fault, "", "the audit log in %s is not the one of its checkpoint",
                          log->dir);
    }
    if (!note_agrees) {
        return whorl_fail(fault, "",
                          "the audit log in %s is not signed as far as its head says: it was cut "
                          "short or rewritten",
                          log->dir);
    }
    return true;
}

/* Opens the signing key, and with it reads the checkpoint. Only a log that was never begun may get
 * a new key: with another, nothing of it can be verified. */
static bool read_checkpoint(struct audit_log *log, const char *origin, const char *key_path,
                            bool begun, struct filed *filed, struct whorl_fault *fault)
{
    char note[AUDIT_NOTE_CAP], path[PATH_MAX];
    int there = audit_file_read(log->dir, "checkpoint", note, sizeof(note), fault);
    if (key_path == NULL) {
        snprintf(path, sizeof(path), "%s/checkpoint.key", log->dir);
        key_path = path;
    }
    bool make = there == 0 && !begun;
    if (there < 0 || !audit_signer_open(key_path, origin, make, &log->signer, fault)) {
        return false;
    }
    filed->there = there == 1;
    if (filed->there && !audit_note_verify(&log->signer, note, &filed->count, filed->root, fault)) {
        return false;
    }
    return true;
}

/* Puts the verifier key beside the database, unless it is there. */
static bool publish_key(struct audit_log *log, struct whorl_fault *fault)
{
    char vkey[AUDIT_VKEY_CAP], line[AUDIT_VKEY_CAP + 1], known[AUDIT_VKEY_CAP + 1];
    audit_vkey_write(&log->signer, vkey);
    snprintf(line, sizeof(line), "%s\n", vkey);
    int there = audit_file_read(log->dir, "checkpoint.vkey", known, sizeof(known), fault);
    if (there == -1 || (there == 1 && strcmp(known, line) == 0)) {
        return there == 1;
    }
    return audit_file_replace(log->dir, "checkpoint.vkey", line, fault);
}

/* A log that was never begun. The folder's own name is made durable with it: else a power cut could
 * take away the whole folder, with all that was acknowledged. */
static bool begin_log(struct audit_log *log, struct whorl_fault *fault)
{
    int rc = audit_name_sync(log->dir);
    return rc != 0 ? whorl_fail(fault, "", "cannot make the folder of %s durable: %s", log->dir,
                                strerror(rc))
                   : whorl_store_write(log->store, start_empty, log, fault);
}

static bool open_store(struct audit_log *log, struct whorl_fault *fault)
{
    log->store =
        whorl_store_open(log->dir, WHORL_STORE_WRITE, AUDIT_DBS, AUDIT_KIND, AUDIT_VERSION, fault);
    return log->store != NULL &&
           whorl_store_db(log->store, AUDIT_ENTRIES, MDB_INTEGERKEY, &log->entries, fault) &&
           whorl_store_db(log->store, AUDIT_STATE, 0, &log->state, fault) &&
           whorl_store_db(log->store, AUDIT_TREE, MDB_INTEGERKEY, &log->tree, fault);
}

static bool open_parts(struct audit_log *log, const char *origin, const char *key_path,
                       struct whorl_fault *fault)
{
    struct filed filed = {0};
    bool begun = false;
    /* The file before the database: whoever appends meanwhile only makes that the newer one. The
     * verifier key last: of a log that does not agree, the one that is there is evidence. */
    return open_store(log, fault) && is_begun(log, &begun, fault) &&
           read_checkpoint(log, origin, key_path, begun, &filed, fault) &&
           (begun || begin_log(log, fault)) && check_heads(log, &filed, fault) &&
           write_alone(log, publish_key, fault) && audit_log_checkpoint(log, fault);
}

struct audit_log *audit_log_open(const char *dir, const char *origin, const char *key_path,
                                 struct whorl_fault *fault)
{
    struct audit_log *log = calloc(1, sizeof(*log));
    if (log != NULL) {
        log->dir = strdup(dir);
    }
    if (log == NULL || log->dir == NULL) {
        whorl_fail(fault, "", "out of memory");
        free(log);
        return NULL;
    }
    if (!open_parts(log, origin, key_path, fault)) {
        audit_log_close(log);
        return NULL;
    }
    return log;
}

void audit_log_close(struct audit_log *log)
{
    if (log == NULL) {
        return;
    }
    whorl_store_close(log->store);
    EVP_PKEY_free(log->signer.key);
    free(log->dir);
    free(log);
}
