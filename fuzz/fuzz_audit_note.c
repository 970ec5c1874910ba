/* Checkpoints and verifier keys: nothing that is not signed verifies, and a key that is read is
 * written the same again. */
#include <stdlib.h>
#include <string.h>

#include "plugins/audit/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    /* A key whose private half nobody kept. */
    static const char vkey[] = "test.example/log+64acce56+"
                               "Af/Q/8QsSFMtNWfeNzUTwugMBnzSDg1yvLNH8oArQOcq";
    struct audit_signer signer;
    struct whorl_fault fault;
    uint8_t root[AUDIT_HASH];
    uint64_t count;
    char again[AUDIT_VKEY_CAP], *text = malloc(len + 1);
    if (text == NULL)
        return 0;
    if (len > 0)
        memcpy(text, bytes, len);
    text[len] = '\0';
    if (audit_vkey_read(text, &signer, &fault)) {
        audit_vkey_write(&signer, again);
        if (strcmp(again, text) != 0)
            abort();
    }
    if (!audit_vkey_read(vkey, &signer, &fault) ||
        audit_note_verify(&signer, text, &count, root, &fault))
        abort();
    free(text);
    return 0;
}
