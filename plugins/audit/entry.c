/* The stored form of the audit log's entries and heads. */
#include "plugins/audit/entry.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "whorl/msg.h"

#define COMMITMENT_DOMAIN 0x02
#define CHAIN_DOMAIN 0x03

bool audit_entry_read(const uint8_t *bytes, size_t len, struct audit_entry *entry)
{
    if (len < AUDIT_ENTRY_FIXED || (bytes[0] != AUDIT_WHOLE && bytes[0] != AUDIT_ERASED)) {
        return false;
    }
    *entry = (struct audit_entry){.form = (enum audit_form)bytes[0],
                                  .commitment = bytes + 1,
                                  .chain = bytes + 1 + AUDIT_HASH};
    if (entry->form == AUDIT_ERASED) {
        return len == AUDIT_ENTRY_FIXED;
    }
    if (len <= AUDIT_ENTRY_FIXED + AUDIT_SALT ||
        len > AUDIT_ENTRY_FIXED + AUDIT_SALT + AUDIT_RECORD_MAX) {
        return false;
    }
    entry->salt = bytes + AUDIT_ENTRY_FIXED;
    entry->record = entry->salt + AUDIT_SALT;
    entry->record_len = len - AUDIT_ENTRY_FIXED - AUDIT_SALT;
    return true;
}

bool audit_digest_begin(EVP_MD_CTX *ctx)
{
    const EVP_MD *again = EVP_MD_CTX_get0_md(ctx);
    return EVP_DigestInit_ex(ctx, again != NULL ? NULL : EVP_sha256(), NULL) == 1;
}

/* Each update costs more than hashing a few bytes: what is short goes in one. */
static bool hash(EVP_MD_CTX *ctx, uint8_t domain, const uint8_t first[32], const uint8_t *second,
                 size_t len, uint8_t out[AUDIT_HASH])
{
    uint8_t start[1 + 32 + AUDIT_HASH] = {domain};
    size_t here = len <= AUDIT_HASH ? len : 0;
    memcpy(start + 1, first, 32);
    memcpy(start + 1 + 32, second, here);
    return audit_digest_begin(ctx) && EVP_DigestUpdate(ctx, start, 1 + 32 + here) == 1 &&
           (here == len || EVP_DigestUpdate(ctx, second, len) == 1) &&
           EVP_DigestFinal_ex(ctx, out, NULL) == 1;
}

bool audit_commit(EVP_MD_CTX *ctx, const uint8_t salt[AUDIT_SALT], const uint8_t *record,
                  size_t len, uint8_t commitment[AUDIT_HASH])
{
    return hash(ctx, COMMITMENT_DOMAIN, salt, record, len, commitment);
}

bool audit_chain(EVP_MD_CTX *ctx, const uint8_t before[AUDIT_HASH],
                 const uint8_t commitment[AUDIT_HASH], uint8_t chain[AUDIT_HASH])
{
    return hash(ctx, CHAIN_DOMAIN, before, commitment, AUDIT_HASH, chain);
}

/* ------------------------------------------------------------------ the head in the database */

static MDB_val head_key(void)
{
    static char name[] = "head";
    return (MDB_val){.mv_size = sizeof(name) - 1, .mv_data = name};
}

static MDB_val note_key(void)
{
    static char name[] = "note";
    return (MDB_val){.mv_size = sizeof(name) - 1, .mv_data = name};
}

int audit_head_get(MDB_txn *txn, MDB_dbi state, struct audit_head *head)
{
    MDB_val key = head_key(), value;
    int rc = mdb_get(txn, state, &key, &value);
    if (rc != 0) {
        return rc;
    }
    if (value.mv_size != AUDIT_HEAD_BYTES) {
        return MDB_CORRUPTED;
    }
    uint64_t count;
    memcpy(&count, value.mv_data, sizeof(count));
    head->count = le64toh(count);
    memcpy(head->hash, (const uint8_t *)value.mv_data + sizeof(count), AUDIT_HASH);
    return 0;
}

int audit_head_put(MDB_txn *txn, MDB_dbi state, const struct audit_head *head)
{
    uint8_t bytes[AUDIT_HEAD_BYTES];
    uint64_t count = htole64(head->count);
    memcpy(bytes, &count, sizeof(count));
    memcpy(bytes + sizeof(count), head->hash, AUDIT_HASH);
    MDB_val key = head_key(), value = {.mv_size = sizeof(bytes), .mv_data = bytes};
    return mdb_put(txn, state, &key, &value, 0);
}

int audit_note_get(MDB_txn *txn, MDB_dbi state, char note[AUDIT_NOTE_CAP])
{
    MDB_val key = note_key(), value;
    int rc = mdb_get(txn, state, &key, &value);
    if (rc != 0) {
        return rc;
    }
    if (value.mv_size >= AUDIT_NOTE_CAP || memchr(value.mv_data, '\0', value.mv_size) != NULL) {
        return MDB_CORRUPTED;
    }
    memcpy(note, value.mv_data, value.mv_size);
    note[value.mv_size] = '\0';
    return 0;
}

int audit_note_put(MDB_txn *txn, MDB_dbi state, char *note)
{
    MDB_val key = note_key(), value = {.mv_size = strlen(note), .mv_data = note};
    return mdb_put(txn, state, &key, &value, 0);
}

/* ------------------------------------------------------------------ files beside it */

int audit_file_read(const char *dir, const char *name, char *text, size_t cap,
                    struct whorl_fault *fault)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s%s%s", dir != NULL ? dir : "", dir != NULL ? "/" : "", name);
    FILE *file = fopen(path, "re");
    if (file == NULL && errno == ENOENT) {
        return 0;
    }
    size_t len = file != NULL ? fread(text, 1, cap, file) : 0;
    bool failed = file == NULL || ferror(file) != 0;
    int error = errno;
    if (file != NULL) {
        fclose(file);
    }
    text[len < cap ? len : cap - 1] = '\0';
    if (failed) {
        whorl_fail(fault, "", "cannot read %s: %s", path, strerror(error));
        return -1;
    }
    if (len == cap || strlen(text) != len) {
        whorl_fail(fault, "", "cannot read %s: malformed", path);
        return -2;
    }
    return 1;
}

/* Writes and fsyncs a file of its own; 0 or errno. */
static int write_file(int dir_fd, const char *name, const char *text)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    size_t len = strlen(text);
    ssize_t written = write(fd, text, len);
    int rc = written < 0 ? errno : (size_t)written != len ? ENOSPC : 0;
    if (rc == 0 && fsync(fd) != 0) {
        rc = errno;
    }
    if (close(fd) != 0 && rc == 0) {
        rc = errno;
    }
    return rc;
}

bool audit_file_replace(const char *dir, const char *name, const char *text,
                        struct whorl_fault *fault)
{
    char fresh[64];
    snprintf(fresh, sizeof(fresh), "%s.new", name);
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = dir_fd < 0 ? errno : write_file(dir_fd, fresh, text);
    if (rc == 0 && renameat(dir_fd, fresh, dir_fd, name) != 0) {
        rc = errno;
    }
    if (rc == 0 && fsync(dir_fd) != 0) {
        rc = errno;
    }
    if (dir_fd >= 0) {
        close(dir_fd);
    }
    return rc == 0 || whorl_fail(fault, "", "cannot write %s/%s: %s", dir, name, strerror(rc));
}

bool audit_file_replace_alone(const char *dir, const char *name, const char *text,
                              struct whorl_fault *fault)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && flock(fd, LOCK_EX) == 0;
    ok = ok ? audit_file_replace(dir, name, text, fault)
            : whorl_fail(fault, "", "cannot lock %s: %s", dir, strerror(errno));
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

int audit_name_sync(const char *path)
{
    char *copy = strdup(path); /* dirname writes in it */
    int fd = copy != NULL ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int rc = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    free(copy);
    return rc;
}
