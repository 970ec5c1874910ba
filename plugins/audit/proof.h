/* What proves the log to others: inclusion and consistency proofs against the signed checkpoint,
 * and an export that holds commitments only. */
#ifndef PLUGINS_AUDIT_PROOF_H
#define PLUGINS_AUDIT_PROOF_H

#include "plugins/audit/note.h"
#include "plugins/audit/tree.h"

/* The checkpoint of the log in dir: the note as it is, and what it says. The signature is verified
 * with vkey, or checkpoint.vkey when NULL. false with *fault. */
struct audit_checkpoint {
    char note[AUDIT_NOTE_CAP];
    char vkey[AUDIT_VKEY_CAP];
    uint64_t count;
    uint8_t root[AUDIT_HASH];
};
bool audit_checkpoint_read(const char *dir, const char *vkey, struct audit_checkpoint *checkpoint,
                           struct whorl_fault *fault);

/* The verifier key in dir's checkpoint.vkey, worth as much as the folder's own safety. */
bool audit_vkey_of(const char *dir, char vkey[AUDIT_VKEY_CAP], struct whorl_fault *fault);

/* Whether the proof shows that the leaf of that commitment is the one at position in the tree of
 * `count` leaves: RFC 9162, section 2.1.3.2. Pure function. */
bool audit_inclusion_holds(const struct audit_proof *proof, uint64_t position, uint64_t count,
                           const uint8_t commitment[AUDIT_HASH], const uint8_t root[AUDIT_HASH]);

/* Proves that the record at position is in the tree of the checkpoint. commitment: its leaf data.
 * false with *fault, also when the checkpoint does not reach it, and when what the log holds does
 * not lead to the checkpoint: what is given always verifies. */
bool audit_prove_inclusion(const char *dir, const struct audit_checkpoint *checkpoint,
                           uint64_t position, uint8_t commitment[AUDIT_HASH],
                           struct audit_proof *proof, struct whorl_fault *fault);

/* Proves that the tree of the first `first` records is the beginning of that of `second`; both
 * within the checkpoint. What is given always verifies, as above. */
bool audit_prove_consistency(const char *dir, const struct audit_checkpoint *checkpoint,
                             uint64_t first, uint64_t second, uint8_t first_root[AUDIT_HASH],
                             uint8_t second_root[AUDIT_HASH], struct audit_proof *proof,
                             struct whorl_fault *fault);

/* Writes the tree of the checkpoint to the directory out, in C2SP tlog-tiles layout: checkpoint,
 * checkpoint.vkey, tile/LEVEL/…, tile/entries/…, and the cosigned checkpoint if there is one that
 * the tiles reach. The entries are the commitments: nothing personal
 * leaves the log. Full tiles that are there already are left alone; the checkpoint is written last.
 */
bool audit_export(const char *dir, const struct audit_checkpoint *checkpoint, const char *out,
                  struct whorl_fault *fault);

#endif
