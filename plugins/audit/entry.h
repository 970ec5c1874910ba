/* Inside the audit log: the stored form of entries and heads. log.h describes it. */
#ifndef PLUGINS_AUDIT_ENTRY_H
#define PLUGINS_AUDIT_ENTRY_H

#include <openssl/evp.h>
#include <stdio.h>

#include "plugins/audit/log.h"
#include "whorl/store.h"

#define AUDIT_KIND "whorl-audit"
#define AUDIT_VERSION 2u
#define AUDIT_DBS 3u
#define AUDIT_ENTRIES "entries" /* MDB_INTEGERKEY: position -> entry */
#define AUDIT_STATE "state"     /* "head" -> count (8, little-endian) | chain hash; "note" */
#define AUDIT_NOTE_CAP 1024u    /* room for a signed note and its NUL */
#define AUDIT_ENTRY_FIXED (1u + 2u * AUDIT_HASH)
#define AUDIT_HEAD_BYTES (8u + AUDIT_HASH)

enum audit_form { AUDIT_WHOLE = 1, AUDIT_ERASED = 2 /* without salt and record */ };

/* A stored entry taken apart; the pointers are into the stored bytes. */
struct audit_entry {
    enum audit_form form;
    const uint8_t *commitment, *chain;
    const uint8_t *salt, *record; /* NULL when erased */
    size_t record_len;
};

/* Whether the bytes have the form of an entry. Pure function. */
bool audit_entry_read(const uint8_t *bytes, size_t len, struct audit_entry *entry);

/* The two hashes; ctx is reused between calls. false when OpenSSL fails. */
bool audit_commit(EVP_MD_CTX *ctx, const uint8_t salt[AUDIT_SALT], const uint8_t *record,
                  size_t len, uint8_t commitment[AUDIT_HASH]);
bool audit_chain(EVP_MD_CTX *ctx, const uint8_t before[AUDIT_HASH],
                 const uint8_t commitment[AUDIT_HASH], uint8_t chain[AUDIT_HASH]);

/* The head as the database has it: MDB_NOTFOUND when there is none, MDB_CORRUPTED when malformed.
 */
int audit_head_get(MDB_txn *txn, MDB_dbi state, struct audit_head *head);
int audit_head_put(MDB_txn *txn, MDB_dbi state, const struct audit_head *head);

/* The signed note (note.h) over the log as far as the head, as the same transaction left it.
 * MDB_NOTFOUND when there is none, MDB_CORRUPTED when it is no text of that size. */
int audit_note_get(MDB_txn *txn, MDB_dbi state, char note[AUDIT_NOTE_CAP]);
int audit_note_put(MDB_txn *txn, MDB_dbi state, char *note);

/* Begins a SHA-256; a context that is used again costs no look-up of the algorithm. */
bool audit_digest_begin(EVP_MD_CTX *ctx);

/* Beside the database: the last checkpoint that a witness cosigned, with its cosignature. */
#define AUDIT_COSIGNED "checkpoint.cosigned"

/* Reads the small text file `name` of directory dir (NULL: name is its path): 1 read, 0 none there,
 * -1 unreadable, -2 not text or longer than cap - 1 (*fault). */
int audit_file_read(const char *dir, const char *name, char *text, size_t cap,
                    struct whorl_fault *fault);
/* Replaces it: a temporary file is fsynced, renamed over it, and the directory fsynced. The caller
 * keeps others from doing the same at the same time. */
bool audit_file_replace(const char *dir, const char *name, const char *text,
                        struct whorl_fault *fault);
/* The same under the directory's lock, which keeps others out meanwhile. */
bool audit_file_replace_alone(const char *dir, const char *name, const char *text,
                              struct whorl_fault *fault);

/* Makes the name of a file or folder durable: fsyncs the folder that it stands in. 0 or errno. */
int audit_name_sync(const char *path);

#endif
