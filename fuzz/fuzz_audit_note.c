/* Checkpoints, cosignatures and verifier keys: nothing that is not signed verifies, and a key that
 * is read is written the same again. */
#include <stdlib.h>
#include <string.h>

#include "plugins/audit/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    /* Keys whose private halves nobody kept. */
    static const char vkey[] = "test.example/log+64acce56+"
                               "Af/Q/8QsSFMtNWfeNzUTwugMBnzSDg1yvLNH8oArQOcq";
    static const char witness_vkey[] = "test.example/witness+a07cbe3a+"
                                       "BNURM5zO8ndS+cVBnJ3EPDfCkwg1DimTpVyog5Xiyfe6";
    struct audit_signer signer;
    struct whorl_fault fault;
    uint8_t root[AUDIT_HASH];
    uint64_t count, time;
    char again[AUDIT_VKEY_CAP], *text = malloc(len + 1);
    if (text == NULL) {
        return 0;
    }
    if (len > 0) {
        memcpy(text, bytes, len);
    }
    text[len] = '\0';
    if (audit_vkey_read(text, &signer, &fault) || audit_witness_vkey_read(text, &signer, &fault)) {
        audit_vkey_write(&signer, again);
        if (strcmp(again, text) != 0) {
            abort();
        }
    }
    if (!audit_vkey_read(vkey, &signer, &fault) ||
        audit_note_verify(&signer, text, &count, root, &fault)) {
        abort();
    }
    if (!audit_witness_vkey_read(witness_vkey, &signer, &fault) ||
        audit_note_cosigned(&signer, text, &time, &fault)) {
        abort();
    }
    free(text);
    return 0;
}
