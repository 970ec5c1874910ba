/* The audit log: append-only, each record committed to with a salt and chained to all before it.
 *
 * Stored in LMDB (kind "whorl-audit"), database "entries", by position from 0:
 *
 *     form (1 byte) | commitment (32) | chain (32) | salt (32) | record (the bytes as they came)
 *
 *     commitment_n = SHA-256(0x02 | salt_n | record_n)
 *     chain_n      = SHA-256(0x03 | chain_n-1 | commitment_n),  chain_-1 = 32 zero bytes
 *
 * The leading bytes keep the two apart from each other and from the leaf (0x00) and node (0x01)
 * hashes of RFC 6962, whose Merkle tree has the commitments as its leaf data: the chain finds the
 * first bad record here, the tree proves records to others. Because of the salt, a commitment tells
 * nothing of its record once salt and record are erased, and everything that commits to it still
 * holds.
 *
 * With the entries, in the same transaction, the head is stored (count and last chain hash) and a
 * signed note over count and root of the tree (note.h): no record is ever without a signature. A
 * little later the note is copied to the file "checkpoint" beside the database. A database that was
 * cut short or rewritten no longer agrees with its note, and one that was rolled back to an older
 * copy no longer with the file. */
#ifndef PLUGINS_AUDIT_LOG_H
#define PLUGINS_AUDIT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/plugin.h"

#define AUDIT_HASH 32u
#define AUDIT_SALT 32u
#define AUDIT_RECORD_MAX ((size_t)1 << 20) /* bytes in one record */

struct audit_log;

struct audit_head {
    uint64_t count;           /* records in the log; the next one's position */
    uint8_t hash[AUDIT_HASH]; /* the last record's chain hash; zeros when count is 0 */
};

struct audit_record {
    const uint8_t *bytes;
    size_t len;
};

/* Opens the log in directory `dir` for appending, makes it when missing, and compares its end with
 * its head and its checkpoint (not the whole log: audit_verify does that). Checkpoints are signed
 * by the Ed25519 key in the file key_path (NULL: checkpoint.key in dir), which a new log makes when
 * it is missing, under the name `origin`; its verifier key is written to checkpoint.vkey. NULL with
 * *fault when the log can't be opened or does not agree. May be opened twice in a process. Any
 * thread. */
struct audit_log *audit_log_open(const char *dir, const char *origin, const char *key_path,
                                 struct whorl_fault *fault);
void audit_log_close(struct audit_log *log);

/* Whether a record may be appended: one whole msgpack map of at most AUDIT_RECORD_MAX bytes. Pure
 * function. */
bool audit_record_check(const uint8_t *bytes, size_t len, struct whorl_fault *fault);

/* Appends records in one transaction; they are durable when it returns true. heads[i] becomes the
 * head after record i. On false none of them is stored. Blocks for the disk. Any thread. */
bool audit_log_append(struct audit_log *log, const struct audit_record *records, size_t count,
                      struct audit_head *heads, struct whorl_fault *fault);

/* Copies the newest signed note to the file "checkpoint", atomically replaced and fsynced. Blocks.
 * Any thread, any process. */
bool audit_log_checkpoint(struct audit_log *log, struct whorl_fault *fault);

enum audit_verdict {
    AUDIT_INTACT,
    AUDIT_BROKEN, /* report says where and what */
    AUDIT_FAILED  /* could not be read: *fault */
};

struct audit_report {
    struct audit_head head;   /* what was verified */
    uint8_t root[AUDIT_HASH]; /* AUDIT_INTACT: of the Merkle tree over all of it */
    uint64_t erased;          /* entries whose record was erased; their commitments still hold */
    uint64_t position;        /* AUDIT_BROKEN: the first bad record */
    char what[160];           /* AUDIT_BROKEN: what is wrong with it */
    uint64_t cosigned;        /* with a witness: the first so many records are cosigned, */
    uint64_t cosigned_time;   /* as of then, in seconds since 1970 */
};

/* Whose word counts. All may be NULL. */
struct audit_trust {
    const char *vkey;    /* the verifier key that the checkpoint must be signed by; NULL: the one in
                          * checkpoint.vkey, which is worth as much as the folder's own safety */
    const char *witness; /* a witness's verifier key: its cosigned checkpoint must be there */
    const char *cosigned; /* and is read from this file; NULL: the one beside the log */
};

/* Reads the whole log, in short transactions, as it was when the call began; may run beside a
 * process that appends. progress (or NULL) is called now and then. Any thread. */
enum audit_verdict audit_verify(const char *dir, const struct audit_trust *trust,
                                void (*progress)(void *ctx, uint64_t done, uint64_t of), void *ctx,
                                struct audit_report *report, struct whorl_fault *fault);

/* Calls each(ctx, position, record) for every record that is not erased, in order, until it
 * returns false. The bytes live until each returns. false with *fault when the log cannot be read,
 * and, after all others, when an entry was damaged, so that no record is missed in silence. */
bool audit_each(const char *dir,
                bool (*each)(void *ctx, uint64_t position, const struct audit_record *record),
                void *ctx, struct whorl_fault *fault);

/* Erases the records for which due(ctx, position, record) says so, with their salts: commitments
 * and chain stay, so the log and every proof of it still hold. Then overwrites what the file no
 * longer uses (whorl_store_erase). due may be asked about a record again. *erased: how many were.
 * May run beside a process that appends, which waits meanwhile. On false with *fault some may have
 * been erased; calling it again goes on. Blocks. Any thread. */
bool audit_erase(const char *dir,
                 bool (*due)(void *ctx, uint64_t position, const struct audit_record *record),
                 void *ctx, uint64_t *erased, struct whorl_fault *fault);

#endif
