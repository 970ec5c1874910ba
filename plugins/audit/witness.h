/* Witnesses: a second key, on another host, that cosigns the log's checkpoints. It remembers the
 * last one, and cosigns only what continues it: so a log that was rolled back, or that shows others
 * another history, gets no cosignature, whoever has its key.
 *
 * The messages are those of C2SP tlog-witness (add-checkpoint), whatever carries them: the witness
 * here reads a request and writes a reply, so `ssh` does, and a witness that somebody runs over
 * HTTP takes the same request. */
#ifndef PLUGINS_AUDIT_WITNESS_H
#define PLUGINS_AUDIT_WITNESS_H

#include "plugins/audit/proof.h"

#define AUDIT_REQUEST_CAP 8192u
#define AUDIT_WITNESS_PROOF_MAX 63u /* hashes in a request */

/* Whether the proof shows that the tree of `first` leaves is the beginning of that of `second`:
 * RFC 9162, section 2.1.4.2. With first == 0 or first == second the proof must be empty. Pure
 * function. */
bool audit_consistency_holds(const struct audit_proof *proof, uint64_t first, uint64_t second,
                             const uint8_t first_root[AUDIT_HASH],
                             const uint8_t second_root[AUDIT_HASH]);

/* ------------------------------------------------------------------ the log's side */

/* Writes the request that the checkpoint be cosigned, with the proof that it continues its first
 * `old` records, and keeps the checkpoint in the log's folder for the reply. old: as many as the
 * witness has cosigned; UINT64_MAX: as the folder's cosigned checkpoint says, 0 without one. false
 * with *fault. */
bool audit_witness_request(const char *dir, const struct audit_checkpoint *checkpoint, uint64_t old,
                           char request[AUDIT_REQUEST_CAP], struct whorl_fault *fault);

/* Takes the witness's reply to the last request: its cosignature is verified with its verifier key,
 * and the cosigned checkpoint stored in the folder (AUDIT_COSIGNED). *count, *time: what was
 * cosigned, as of when. false with *fault, also when the reply is the size that the witness has
 * cosigned last: then it says what to do. */
bool audit_witness_reply(const char *dir, const char *vkey, const char *witness_vkey,
                         const char *reply, uint64_t *count, uint64_t *time,
                         struct whorl_fault *fault);

/* ------------------------------------------------------------------ the witness's side */

/* A request taken apart; note points into its text. */
struct audit_request {
    uint64_t old; /* the size that it continues */
    struct audit_proof proof;
    const char *note;
};

/* Reads a request up to its note, which is not looked at. false with *fault. Pure function. */
bool audit_request_read(const char *text, struct audit_request *request, struct whorl_fault *fault);

/* Makes a witness in directory `dir` (created when missing) for the log of that verifier key: its
 * key, and the state of having cosigned nothing. vkey becomes its own verifier key. false with
 * *fault, also when there is one already. */
bool audit_witness_make(const char *dir, const char *name, const char *log_vkey,
                        char vkey[AUDIT_VKEY_CAP], struct whorl_fault *fault);

enum audit_witnessed {
    AUDIT_WITNESSED, /* reply is the cosignature; the checkpoint is durably remembered */
    AUDIT_STALE,     /* the request continues an older checkpoint; reply is the size of the last */
    AUDIT_CONTRARY,  /* signed by the log, but against what was cosigned: kept as evidence */
    AUDIT_REFUSED,   /* malformed, of another log, or not signed by it */
    AUDIT_BROKEN_WITNESS /* its own state can't be read, is damaged, or can't be written */
};

/* Answers one request at the time `now` (seconds since 1970). Everything but AUDIT_WITNESSED sets
 * *fault. A checkpoint that contradicts what was cosigned is kept: the first of the same size with
 * another root as the file "contrary-fork" (both signed by the log, they are evidence against it),
 * the last longer one without a proof that holds as "contrary-unproved", the last rollback as
 * "contrary-rollback". Blocks for the disk; one at a time by a lock. */
enum audit_witnessed audit_witness_answer(const char *dir, const char *request, uint64_t now,
                                          char reply[AUDIT_LINE_CAP], struct whorl_fault *fault);

#endif
