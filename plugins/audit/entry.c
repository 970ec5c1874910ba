/* The stored form of the audit log's entries and heads. */
#include "plugins/audit/entry.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "whorl/msg.h"

#define COMMITMENT_DOMAIN 0x02
#define CHAIN_DOMAIN 0x03
#define HEAD_FILE_TITLE "whorl-audit-head 1"

bool audit_entry_read(const uint8_t *bytes, size_t len, struct audit_entry *entry)
{
    if (len < AUDIT_ENTRY_FIXED || (bytes[0] != AUDIT_WHOLE && bytes[0] != AUDIT_ERASED))
        return false;
    *entry = (struct audit_entry){.form = (enum audit_form)bytes[0],
                                  .commitment = bytes + 1,
                                  .chain = bytes + 1 + AUDIT_HASH};
    if (entry->form == AUDIT_ERASED)
        return len == AUDIT_ENTRY_FIXED;
    if (len <= AUDIT_ENTRY_FIXED + AUDIT_SALT ||
        len > AUDIT_ENTRY_FIXED + AUDIT_SALT + AUDIT_RECORD_MAX)
        return false;
    entry->salt = bytes + AUDIT_ENTRY_FIXED;
    entry->record = entry->salt + AUDIT_SALT;
    entry->record_len = len - AUDIT_ENTRY_FIXED - AUDIT_SALT;
    return true;
}

static bool hash(EVP_MD_CTX *ctx, uint8_t domain, const uint8_t first[32], const uint8_t *second,
                 size_t len, uint8_t out[AUDIT_HASH])
{
    return EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
           EVP_DigestUpdate(ctx, &domain, 1) == 1 && EVP_DigestUpdate(ctx, first, 32) == 1 &&
           EVP_DigestUpdate(ctx, second, len) == 1 && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
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

int audit_head_get(MDB_txn *txn, MDB_dbi state, struct audit_head *head)
{
    MDB_val key = head_key(), value;
    int rc = mdb_get(txn, state, &key, &value);
    if (rc != 0)
        return rc;
    if (value.mv_size != AUDIT_HEAD_BYTES)
        return MDB_CORRUPTED;
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

/* ------------------------------------------------------------------ the head file */

void audit_hex(const uint8_t *bytes, size_t len, char *text)
{
    for (size_t i = 0; i < len; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
}

static bool unhex(const char *text, uint8_t *bytes, size_t len)
{
    if (strlen(text) != 2 * len || strspn(text, "0123456789abcdef") != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        sscanf(text + 2 * i, "%2x", &byte);
        bytes[i] = (uint8_t)byte;
    }
    return true;
}

int audit_head_file_read(const char *dir, struct audit_head *head, struct whorl_fault *fault)
{
    char path[PATH_MAX], text[256], title[32], hex[2 * AUDIT_HASH + 2];
    snprintf(path, sizeof(path), "%s/head", dir);
    FILE *file = fopen(path, "re");
    if (file == NULL && errno == ENOENT)
        return 0;
    if (file == NULL) {
        whorl_fail(fault, "", "cannot read %s: %s", path, strerror(errno));
        return -1;
    }
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    int end = -1;
    sscanf(text, "%31[^\n]\n%" SCNu64 "\n%65[^\n]\n%n", title, &head->count, hex, &end);
    if (end < 0 || (size_t)end != len || strcmp(title, HEAD_FILE_TITLE) != 0 ||
        !unhex(hex, head->hash, AUDIT_HASH)) {
        whorl_fail(fault, "", "%s: not a head file (expected \"%s\", a count and a hash)", path,
                   HEAD_FILE_TITLE);
        return -1;
    }
    return 1;
}

/* Writes and fsyncs a file of its own; 0 or errno. */
static int write_file(int dir_fd, const char *name, const char *text)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    size_t len = strlen(text);
    ssize_t written = write(fd, text, len);
    int rc = written < 0 ? errno : (size_t)written != len ? ENOSPC : 0;
    if (rc == 0 && fsync(fd) != 0)
        rc = errno;
    if (close(fd) != 0 && rc == 0)
        rc = errno;
    return rc;
}

bool audit_head_file_write(const char *dir, const struct audit_head *head,
                           struct whorl_fault *fault)
{
    char text[160], hex[2 * AUDIT_HASH + 1];
    audit_hex(head->hash, AUDIT_HASH, hex);
    snprintf(text, sizeof(text), "%s\n%" PRIu64 "\n%s\n", HEAD_FILE_TITLE, head->count, hex);
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = dir_fd < 0 ? errno : write_file(dir_fd, "head.new", text);
    if (rc == 0 && renameat(dir_fd, "head.new", dir_fd, "head") != 0)
        rc = errno;
    if (rc == 0 && fsync(dir_fd) != 0)
        rc = errno;
    if (dir_fd >= 0)
        close(dir_fd);
    return rc == 0 || whorl_fail(fault, "", "cannot write %s/head: %s", dir, strerror(rc));
}
