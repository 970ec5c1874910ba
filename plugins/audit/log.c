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
    struct whorl_fault bad;
    struct whorl_msg msg;
    if (len == 0 || len > AUDIT_RECORD_MAX)
        return whorl_fail(fault, "", "a record must have 1 to %zu bytes, this one has %zu",
                          AUDIT_RECORD_MAX, len);
    if (!whorl_msg_parse(bytes, len, &msg, &bad))
        return whorl_fail(fault, "", "a record must be one msgpack map: %.150s", bad.text);
    bool map = msg.root.type == MSGPACK_OBJECT_MAP;
    whorl_msg_release(&msg);
    return map || whorl_fail(fault, "", "a record must be a msgpack map");
}

/* ------------------------------------------------------------------ appending */

struct appending {
    const struct audit_log *log;
    const struct audit_record *records;
    size_t count;
    const uint8_t *salts;
    struct audit_head *heads;
    EVP_MD_CTX *ctx;
};

/* Puts one entry after `head` and moves head onto it. */
static int put_entry(MDB_txn *txn, struct appending *work, size_t i, struct audit_head *head)
{
    const struct audit_record *record = &work->records[i];
    const uint8_t *salt = work->salts + i * AUDIT_SALT;
    uint8_t commitment[AUDIT_HASH], chain[AUDIT_HASH];
    if (!audit_commit(work->ctx, salt, record->bytes, record->len, commitment) ||
        !audit_chain(work->ctx, head->hash, commitment, chain))
        return ENOMEM;
    uint64_t position = head->count;
    MDB_val key = {.mv_size = sizeof(position), .mv_data = &position};
    MDB_val value = {.mv_size = AUDIT_ENTRY_FIXED + AUDIT_SALT + record->len};
    int rc =
        mdb_put(txn, work->log->entries, &key, &value, MDB_RESERVE | MDB_APPEND | MDB_NOOVERWRITE);
    if (rc != 0)
        return rc;
    uint8_t *to = value.mv_data;
    *to++ = AUDIT_WHOLE;
    memcpy(to, commitment, AUDIT_HASH);
    memcpy(to + AUDIT_HASH, chain, AUDIT_HASH);
    memcpy(to + 2 * AUDIT_HASH, salt, AUDIT_SALT);
    memcpy(to + 2 * AUDIT_HASH + AUDIT_SALT, record->bytes, record->len);
    head->count++;
    memcpy(head->hash, chain, AUDIT_HASH);
    return 0;
}

/* In a write transaction; may run again from its start. */
static int append_all(MDB_txn *txn, void *arg)
{
    struct appending *work = arg;
    struct audit_head head;
    int rc = audit_head_get(txn, work->log->state, &head);
    struct audit_tree tree = {
        .txn = txn, .entries = work->log->entries, .tree = work->log->tree, .ctx = work->ctx};
    for (size_t i = 0; rc == 0 && i < work->count; i++) {
        rc = put_entry(txn, work, i, &head);
        work->heads[i] = head;
        if (rc == 0 && head.count % AUDIT_STORED == 0)
            rc = audit_tree_complete(&tree, head.count);
    }
    return rc != 0 ? rc : audit_head_put(txn, work->log->state, &head);
}

bool audit_log_append(struct audit_log *log, const struct audit_record *records, size_t count,
                      struct audit_head *heads, struct whorl_fault *fault)
{
    uint8_t *salts = malloc(count * AUDIT_SALT);
    struct appending work = {.log = log,
                             .records = records,
                             .count = count,
                             .salts = salts,
                             .heads = heads,
                             .ctx = EVP_MD_CTX_new()};
    bool ok = salts != NULL && work.ctx != NULL && count <= INT32_MAX / AUDIT_SALT &&
              RAND_bytes(salts, (int)(count * AUDIT_SALT)) == 1;
    if (!ok)
        whorl_fail(fault, "", "no memory or no randomness for %zu records", count);
    else
        ok = whorl_store_write(log->store, append_all, &work, fault);
    EVP_MD_CTX_free(work.ctx);
    free(salts);
    return ok;
}

/* ------------------------------------------------------------------ checkpoints */

static struct audit_tree tree_of(const struct audit_log *log, MDB_txn *txn, EVP_MD_CTX *ctx)
{
    return (struct audit_tree){.txn = txn, .entries = log->entries, .tree = log->tree, .ctx = ctx};
}

static bool unreadable(const struct audit_log *log, int rc, struct whorl_fault *fault)
{
    return whorl_fail(fault, "", "cannot read the audit log in %s: %s", log->dir, mdb_strerror(rc));
}

/* The root of the whole log as it is. */
static bool read_root(struct audit_log *log, uint64_t *count, uint8_t root[AUDIT_HASH],
                      struct whorl_fault *fault)
{
    struct audit_head head = {0};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    MDB_txn *txn = ctx != NULL ? whorl_store_read(log->store, fault) : NULL;
    int rc = ENOMEM;
    if (txn != NULL) {
        struct audit_tree tree = tree_of(log, txn, ctx);
        rc = audit_head_get(txn, log->state, &head);
        if (rc == 0)
            rc = audit_tree_root(&tree, head.count, root);
        whorl_store_done(log->store, txn);
    }
    EVP_MD_CTX_free(ctx);
    *count = head.count;
    return rc == 0 || (txn != NULL || ctx == NULL ? unreadable(log, rc, fault) : false);
}

static bool sign_and_write(struct audit_log *log, struct whorl_fault *fault)
{
    char note[AUDIT_NOTE_CAP];
    uint8_t root[AUDIT_HASH];
    uint64_t count;
    return read_root(log, &count, root, fault) &&
           audit_note_sign(&log->signer, count, root, note, fault) &&
           audit_file_replace(log->dir, "checkpoint", note, fault);
}

bool audit_log_checkpoint(struct audit_log *log, struct whorl_fault *fault)
{
    /* The lock keeps two instances, or two processes, from replacing a newer one by an older. */
    int fd = open(log->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && flock(fd, LOCK_EX) == 0;
    ok = ok ? sign_and_write(log, fault)
            : whorl_fail(fault, "", "cannot lock %s: %s", log->dir, strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok;
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
    if (head->count == 0)
        return 0;
    uint64_t position = head->count - 1;
    MDB_val key = {.mv_size = sizeof(position), .mv_data = &position}, value;
    int rc = mdb_get(txn, entries, &key, &value);
    if (rc == 0)
        *agrees = audit_entry_read(value.mv_data, value.mv_size, &entry) &&
                  memcmp(entry.chain, head->hash, AUDIT_HASH) == 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int start_empty(MDB_txn *txn, void *arg)
{
    const struct audit_log *log = arg;
    struct audit_head head = {0};
    MDB_stat stat;
    int rc = audit_head_get(txn, log->state, &head);
    if (rc != MDB_NOTFOUND)
        return rc;
    memset(&head, 0, sizeof(head));
    rc = mdb_stat(txn, log->entries, &stat);
    if (rc == 0 && stat.ms_entries > 0)
        rc = MDB_CORRUPTED;
    return rc != 0 ? rc : audit_head_put(txn, log->state, &head);
}

/* Reads, in one transaction, what the log says against head and checkpoint. */
static int compare(struct audit_log *log, MDB_txn *txn, const struct filed *filed,
                   struct audit_head *head, bool *head_agrees, bool *filed_agrees)
{
    uint8_t root[AUDIT_HASH];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    struct audit_tree tree = tree_of(log, txn, ctx);
    int rc = ctx != NULL ? audit_head_get(txn, log->state, head) : ENOMEM;
    if (rc == 0)
        rc = ends_in(txn, log->entries, head, head_agrees);
    if (rc == 0 && filed->there && filed->count <= head->count) {
        rc = audit_tree_root(&tree, filed->count, root);
        *filed_agrees = rc == 0 && memcmp(root, filed->root, AUDIT_HASH) == 0;
        if (rc == MDB_NOTFOUND || rc == MDB_CORRUPTED)
            rc = 0;
    }
    EVP_MD_CTX_free(ctx);
    return rc;
}

static bool check_heads(struct audit_log *log, const struct filed *filed, struct whorl_fault *fault)
{
    struct audit_head head;
    bool head_agrees = false, filed_agrees = false;
    MDB_txn *txn = whorl_store_read(log->store, fault);
    if (txn == NULL)
        return false;
    int rc = compare(log, txn, filed, &head, &head_agrees, &filed_agrees);
    whorl_store_done(log->store, txn);
    if (rc != 0)
        return unreadable(log, rc, fault);
    if (!head_agrees)
        return whorl_fail(fault, "", "the audit log in %s does not end in what its head says",
                          log->dir);
    if (!filed->there && head.count > 0)
        return whorl_fail(fault, "", "%s/checkpoint is missing beside a log of %" PRIu64 " records",
                          log->dir, head.count);
    if (filed->there && filed->count > head.count)
        return whorl_fail(fault, "",
                          "the audit log in %s was rolled back or cut short: %" PRIu64
                          " records, its checkpoint says %" PRIu64,
                          log->dir, head.count, filed->count);
    if (filed->there && !filed_agrees)
        return whorl_fail(fault, "", "the audit log in %s is not the one of its checkpoint",
                          log->dir);
    return true;
}

/* Opens the signing key, and with it reads the checkpoint. Only a log without a checkpoint may get
 * a new key. */
static bool read_checkpoint(struct audit_log *log, const char *origin, const char *key_path,
                            struct filed *filed, struct whorl_fault *fault)
{
    char note[AUDIT_NOTE_CAP], vkey[AUDIT_VKEY_CAP + 1], path[PATH_MAX];
    int there = audit_file_read(log->dir, "checkpoint", note, sizeof(note), fault);
    if (key_path == NULL) {
        snprintf(path, sizeof(path), "%s/checkpoint.key", log->dir);
        key_path = path;
    }
    if (there < 0 || !audit_signer_open(key_path, origin, there == 0, &log->signer, fault))
        return false;
    filed->there = there == 1;
    if (filed->there && !audit_note_verify(&log->signer, note, &filed->count, filed->root, fault))
        return false;
    audit_vkey_write(&log->signer, vkey);
    strcat(vkey, "\n");
    return audit_file_replace(log->dir, "checkpoint.vkey", vkey, fault);
}

static bool open_parts(struct audit_log *log, const char *origin, const char *key_path,
                       struct whorl_fault *fault)
{
    struct filed filed = {0};
    log->store =
        whorl_store_open(log->dir, WHORL_STORE_WRITE, AUDIT_DBS, AUDIT_KIND, AUDIT_VERSION, fault);
    /* The file before the database: whoever appends meanwhile only makes that the newer one. */
    return log->store != NULL &&
           whorl_store_db(log->store, AUDIT_ENTRIES, MDB_INTEGERKEY, &log->entries, fault) &&
           whorl_store_db(log->store, AUDIT_STATE, 0, &log->state, fault) &&
           whorl_store_db(log->store, AUDIT_TREE, MDB_INTEGERKEY, &log->tree, fault) &&
           read_checkpoint(log, origin, key_path, &filed, fault) &&
           whorl_store_write(log->store, start_empty, log, fault) &&
           check_heads(log, &filed, fault) && audit_log_checkpoint(log, fault);
}

struct audit_log *audit_log_open(const char *dir, const char *origin, const char *key_path,
                                 struct whorl_fault *fault)
{
    struct audit_log *log = calloc(1, sizeof(*log));
    if (log != NULL)
        log->dir = strdup(dir);
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
    if (log == NULL)
        return;
    whorl_store_close(log->store);
    EVP_PKEY_free(log->signer.key);
    free(log->dir);
    free(log);
}
