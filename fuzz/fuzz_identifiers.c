/* PNC identifiers: whatever is read is canonical, and canonical stays as it is. */
#include <stdlib.h>
#include <string.h>

#include "plugins/pnc/identifiers.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char id[PNC_ID_CAP], again[PNC_ID_CAP];
    struct whorl_fault fault;
    char *text = malloc(len + 1);
    if (text == NULL) {
        return 0;
    }
    if (len > 0) {
        memcpy(text, bytes, len);
    }
    text[len] = '\0';
    if (pnc_pncid_read(text, 2026, id, &fault) &&
        (!pnc_pncid_read(id, 2026, again, &fault) || strcmp(id, again) != 0)) {
        abort();
    }
    if (pnc_cro_read(text, id, &fault) &&
        (!pnc_cro_read(id, again, &fault) || strcmp(id, again) != 0)) {
        abort();
    }
    free(text);
    return 0;
}
