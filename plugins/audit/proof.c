/* Proofs and export. */
#include "plugins/audit/proof.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/audit/reader.h"
#include "plugins/audit/witness.h"
#include "whorl/msg.h"

#define PATH_BELOW 128 /* room for a tile's path below the directory that it is exported to */
#define ENTRY_BYTES (2u + AUDIT_HASH) /* in an entry bundle: big-endian length, data */

bool audit_vkey_of(const char *dir, char vkey[AUDIT_VKEY_CAP], struct whorl_fault *fault)
{
    int there = audit_file_read(dir, "checkpoint.vkey", vkey, AUDIT_VKEY_CAP, fault);
    if (there == 0) {
        whorl_fail(fault, "", "%s holds no checkpoint.vkey", dir);
    }
    if (there == 1) {
        vkey[strcspn(vkey, "\n")] = '\0';
    }
    return there == 1;
}

bool audit_checkpoint_read(const char *dir, const char *vkey, struct audit_checkpoint *checkpoint,
                           struct whorl_fault *fault)
{
    struct audit_signer signer;
    int there =
        audit_file_read(dir, "checkpoint", checkpoint->note, sizeof(checkpoint->note), fault);
    if (there == 0) {
        whorl_fail(fault, "", "%s holds no checkpoint", dir);
    }
    if (there != 1) {
        return false;
    }
    if (vkey != NULL) {
        snprintf(checkpoint->vkey, sizeof(checkpoint->vkey), "%s", vkey);
    } else if (!audit_vkey_of(dir, checkpoint->vkey, fault)) {
        return false;
    }
    return audit_vkey_read(checkpoint->vkey, &signer, fault) &&
           audit_note_verify(&signer, checkpoint->note, &checkpoint->count, checkpoint->root,
                             fault);
}

/* ------------------------------------------------------------------ proofs */

static bool proved(const char *dir, int rc, struct whorl_fault *fault)
{
    return rc == 0 || whorl_fail(fault, "", "cannot prove from the audit log in %s: %s", dir,
                                 mdb_strerror(rc));
}

static int read_commitment(const struct audit_tree *tree, uint64_t position,
                           uint8_t commitment[AUDIT_HASH])
{
    struct audit_entry entry;
    MDB_val key = {.mv_size = sizeof(position), .mv_data = &position}, value;
    int rc = mdb_get(tree->txn, tree->entries, &key, &value);
    if (rc == 0 && !audit_entry_read(value.mv_data, value.mv_size, &entry)) {
        rc = MDB_CORRUPTED;
    }
    if (rc == 0) {
        memcpy(commitment, entry.commitment, AUDIT_HASH);
    }
    return rc;
}

/* A proof that does not lead to the checkpoint helps nobody, and says nothing to who hands it on.
 */
static bool leads_there(const char *dir, bool holds, struct whorl_fault *fault)
{
    return holds || whorl_fail(fault, "",
                               "cannot prove from the audit log in %s: it is not what its "
                               "checkpoint says; see whorl audit verify",
                               dir);
}

bool audit_inclusion_holds(const struct audit_proof *proof, uint64_t position, uint64_t count,
                           const uint8_t commitment[AUDIT_HASH], const uint8_t root[AUDIT_HASH])
{
    uint8_t hash[AUDIT_HASH];
    uint64_t fn = position, sn = count - 1;
    EVP_MD_CTX *ctx = position < count ? EVP_MD_CTX_new() : NULL;
    bool ok = ctx != NULL && audit_leaf_hash(ctx, commitment, hash);
    for (size_t i = 0; ok && i < proof->count; i++) {
        bool left = (fn & 1) != 0 || fn == sn;
        ok = sn != 0 && audit_node_hash(ctx, left ? proof->hashes[i] : hash,
                                        left ? hash : proof->hashes[i], hash);
        while (left && (fn & 1) == 0 && fn != 0) {
            fn >>= 1;
            sn >>= 1;
        }
        fn >>= 1;
        sn >>= 1;
    }
    EVP_MD_CTX_free(ctx);
    return ok && sn == 0 && memcmp(hash, root, AUDIT_HASH) == 0;
}

bool audit_prove_inclusion(const char *dir, const struct audit_checkpoint *checkpoint,
                           uint64_t position, uint8_t commitment[AUDIT_HASH],
                           struct audit_proof *proof, struct whorl_fault *fault)
{
    struct audit_reader reader;
    if (position >= checkpoint->count) {
        return whorl_fail(fault, "",
                          "record %" PRIu64 " is not among the %" PRIu64 " of the checkpoint",
                          position, checkpoint->count);
    }
    if (!audit_reader_open(&reader, dir, fault)) {
        return false;
    }
    MDB_txn *txn = whorl_store_read(reader.store, fault);
    bool ok = txn != NULL;
    if (ok) {
        struct audit_tree tree = audit_reader_tree(&reader, txn);
        int rc = audit_tree_inclusion(&tree, position, checkpoint->count, proof);
        if (rc == 0) {
            rc = read_commitment(&tree, position, commitment);
        }
        whorl_store_done(reader.store, txn);
        ok = proved(dir, rc, fault) &&
             leads_there(dir,
                         audit_inclusion_holds(proof, position, checkpoint->count, commitment,
                                               checkpoint->root),
                         fault);
    }
    audit_reader_close(&reader);
    return ok;
}

bool audit_prove_consistency(const char *dir, const struct audit_checkpoint *checkpoint,
                             uint64_t first, uint64_t second, uint8_t first_root[AUDIT_HASH],
                             uint8_t second_root[AUDIT_HASH], struct audit_proof *proof,
                             struct whorl_fault *fault)
{
    struct audit_reader reader;
    struct audit_proof rest; /* from `second` on to the checkpoint */
    if (first == 0 || first > second || second > checkpoint->count) {
        return whorl_fail(fault, "",
                          "expected 1 <= M <= N <= %" PRIu64 ", the size in the checkpoint",
                          checkpoint->count);
    }
    if (!audit_reader_open(&reader, dir, fault)) {
        return false;
    }
    MDB_txn *txn = whorl_store_read(reader.store, fault);
    bool ok = txn != NULL;
    if (ok) {
        struct audit_tree tree = audit_reader_tree(&reader, txn);
        int rc = audit_tree_consistency(&tree, first, second, proof);
        if (rc == 0) {
            rc = audit_tree_root(&tree, first, first_root);
        }
        if (rc == 0) {
            rc = audit_tree_root(&tree, second, second_root);
        }
        if (rc == 0) {
            rc = audit_tree_consistency(&tree, second, checkpoint->count, &rest);
        }
        whorl_store_done(reader.store, txn);
        ok = proved(dir, rc, fault) &&
             leads_there(dir,
                         audit_consistency_holds(proof, first, second, first_root, second_root) &&
                             audit_consistency_holds(&rest, second, checkpoint->count, second_root,
                                                     checkpoint->root),
                         fault);
    }
    audit_reader_close(&reader);
    return ok;
}

/* ------------------------------------------------------------------ export */

struct exporting {
    const struct audit_reader *reader;
    const char *out;
};

/* The path of a tile: its number in groups of three digits, all but the last with an x before; a
 * partial one below a directory of its own. */
static void tile_path(char *path, size_t cap, const char *out, const char *kind, uint64_t index,
                      unsigned width)
{
    char number[48], group[8];
    snprintf(number, sizeof(number), "%03u", (unsigned)(index % 1000));
    for (uint64_t rest = index / 1000; rest > 0; rest /= 1000) {
        char longer[48];
        snprintf(group, sizeof(group), "x%03u", (unsigned)(rest % 1000));
        snprintf(longer, sizeof(longer), "%.6s/%.40s", group, number);
        memcpy(number, longer, sizeof(number));
    }
    if (width < AUDIT_TILE) {
        snprintf(path, cap, "%s/tile/%s/%s.p/%u", out, kind, number, width);
    } else {
        snprintf(path, cap, "%s/tile/%s/%s", out, kind, number);
    }
}

/* Makes the directories above a path and writes the file, which appears whole or not at all. */
static bool write_whole(char *path, const void *bytes, size_t len, struct whorl_fault *fault)
{
    char fresh[PATH_MAX + 8];
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = mkdir(path, 0755) != 0 && errno != EEXIST ? errno : 0;
        if (rc != 0) {
            return whorl_fail(fault, "", "cannot make %s: %s", path, strerror(rc));
        }
        *slash = '/';
    }
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return whorl_fail(fault, "", "cannot make %s: %s", fresh, strerror(errno));
    }
    ssize_t written = write(fd, bytes, len);
    int error = written < 0 ? errno : (size_t)written < len ? ENOSPC : 0;
    bool closed = close(fd) == 0;
    if (error == 0 && (!closed || rename(fresh, path) != 0)) {
        error = errno;
    }
    return error == 0 || whorl_fail(fault, "", "cannot write %s: %s", path, strerror(error));
}

/* One tile of hashes, or with level -1 one bundle of entries. */
static bool export_tile(const struct exporting *to, int level, uint64_t index, unsigned width,
                        struct whorl_fault *fault)
{
    char path[PATH_MAX], kind[16];
    uint8_t bytes[AUDIT_TILE * ENTRY_BYTES];
    size_t step = level < 0 ? ENTRY_BYTES : AUDIT_HASH;
    snprintf(kind, sizeof(kind), "%d", level);
    tile_path(path, sizeof(path), to->out, level < 0 ? "entries" : kind, index, width);
    struct stat
        file; /* a whole tile never changes; one that a power cut took bytes of is no tile */
    if (width == AUDIT_TILE && stat(path, &file) == 0 && file.st_size == (off_t)(width * step)) {
        return true;
    }
    MDB_txn *txn = whorl_store_read(to->reader->store, fault);
    if (txn == NULL) {
        return false;
    }
    struct audit_tree tree = audit_reader_tree(to->reader, txn);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < width; i++) {
        uint8_t *at = bytes + i * step;
        uint64_t n = index * AUDIT_TILE + i;
        if (level < 0) {
            at[0] = 0;
            at[1] = AUDIT_HASH;
            rc = read_commitment(&tree, n, at + 2);
        } else {
            rc = audit_tree_node(&tree, 8u * (unsigned)level, n, at);
        }
    }
    whorl_store_done(to->reader->store, txn);
    return proved(to->reader->dir, rc, fault) && write_whole(path, bytes, width * step, fault);
}

/* All tiles of a level that has `count` hashes. */
static bool export_level(const struct exporting *to, int level, uint64_t count,
                         struct whorl_fault *fault)
{
    for (uint64_t index = 0; index * AUDIT_TILE < count; index++) {
        uint64_t left = count - index * AUDIT_TILE;
        unsigned width = left < AUDIT_TILE ? (unsigned)left : AUDIT_TILE;
        if (!export_tile(to, level, index, width, fault)) {
            return false;
        }
    }
    return true;
}

/* The cosigned checkpoint, unless it is newer than what was exported. */
static bool export_cosigned(const char *dir, const struct audit_checkpoint *checkpoint,
                            const char *out, struct whorl_fault *fault)
{
    struct audit_signer signer;
    char note[AUDIT_NOTE_CAP], path[PATH_MAX];
    uint8_t root[AUDIT_HASH];
    uint64_t count;
    int there = audit_file_read(dir, AUDIT_COSIGNED, note, sizeof(note), fault);
    if (there <= 0) {
        return there == 0;
    }
    if (!audit_vkey_read(checkpoint->vkey, &signer, fault) ||
        !audit_note_verify(&signer, note, &count, root, fault)) {
        return false;
    }
    snprintf(path, sizeof(path), "%s/" AUDIT_COSIGNED, out);
    return count > checkpoint->count || write_whole(path, note, strlen(note), fault);
}

/* *same: whether the first `count` records of the log have that root. */
static bool begins_with(const struct audit_reader *reader, uint64_t count,
                        const uint8_t expected[AUDIT_HASH], bool *same, struct whorl_fault *fault)
{
    uint8_t root[AUDIT_HASH];
    MDB_txn *txn = whorl_store_read(reader->store, fault);
    if (txn == NULL) {
        return false;
    }
    struct audit_tree tree = audit_reader_tree(reader, txn);
    int rc = audit_tree_root(&tree, count, root);
    whorl_store_done(reader->store, txn);
    *same = rc == 0 && memcmp(root, expected, AUDIT_HASH) == 0;
    return proved(reader->dir, rc, fault);
}

/* Whether what an earlier export left there is of the beginning of this log. Whole tiles are not
 * written again, so they must be; and a log that was rolled back must not take away what shows it.
 * An empty file is what a power cut left. */
static bool continues(const struct audit_reader *reader, const struct audit_checkpoint *checkpoint,
                      const char *out, struct whorl_fault *fault)
{
    struct audit_signer signer;
    struct whorl_fault bad = {{0}, {0}};
    char note[AUDIT_NOTE_CAP];
    uint8_t there_root[AUDIT_HASH];
    uint64_t count;
    bool same;
    int there = audit_file_read(out, "checkpoint", note, sizeof(note), fault);
    if (there == 0 || (there == 1 && note[0] == '\0')) {
        return true;
    }
    if (there != 1 || !audit_vkey_read(checkpoint->vkey, &signer, fault)) {
        return false;
    }
    if (!audit_note_verify(&signer, note, &count, there_root, &bad)) {
        return whorl_fail(fault, "", "%s holds another export: %s", out, bad.text);
    }
    if (count > checkpoint->count) {
        return whorl_fail(fault, "",
                          "%s holds an export of %" PRIu64 " records and the checkpoint is of "
                          "%" PRIu64 ": the log was rolled back or cut short",
                          out, count, checkpoint->count);
    }
    return begins_with(reader, count, there_root, &same, fault) &&
           (same ||
            whorl_fail(fault, "", "%s holds an export of %" PRIu64 " other records than this log's",
                       out, count));
}

bool audit_export(const char *dir, const struct audit_checkpoint *checkpoint, const char *out,
                  struct whorl_fault *fault)
{
    struct audit_reader reader;
    char path[PATH_MAX], vkey[AUDIT_VKEY_CAP + 1];
    if (strlen(out) > PATH_MAX - PATH_BELOW) {
        return whorl_fail(fault, "", "the path to export to is too long");
    }
    if (!audit_reader_open(&reader, dir, fault)) {
        return false;
    }
    struct exporting to = {.reader = &reader, .out = out};
    bool ok = continues(&reader, checkpoint, out, fault) &&
              export_level(&to, -1, checkpoint->count, fault);
    uint64_t count = checkpoint->count;
    for (int level = 0; ok && count > 0; level++, count /= AUDIT_TILE) {
        ok = export_level(&to, level, count, fault);
    }
    audit_reader_close(&reader);
    snprintf(path, sizeof(path), "%s/checkpoint.vkey", out);
    snprintf(vkey, sizeof(vkey), "%s\n", checkpoint->vkey);
    ok = ok && write_whole(path, vkey, strlen(vkey), fault) &&
         export_cosigned(dir, checkpoint, out, fault);
    snprintf(path, sizeof(path), "%s/checkpoint", out);
    return ok && write_whole(path, checkpoint->note, strlen(checkpoint->note), fault);
}
