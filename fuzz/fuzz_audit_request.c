/* What a witness is asked: a request that is read is the one text of its size and its hashes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/audit/witness.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct audit_request request;
    struct whorl_fault fault;
    char again[AUDIT_REQUEST_CAP], *text = malloc(len + 1);
    if (text == NULL) {
        return 0;
    }
    if (len > 0) {
        memcpy(text, bytes, len);
    }
    text[len] = '\0';
    if (audit_request_read(text, &request, &fault)) {
        int at = snprintf(again, sizeof(again), "old %" PRIu64 "\n", request.old);
        for (size_t i = 0; i < request.proof.count; i++) {
            EVP_EncodeBlock((uint8_t *)again + at, request.proof.hashes[i], AUDIT_HASH);
            at += 44;
            again[at++] = '\n';
        }
        again[at++] = '\n';
        if (request.note != text + at || memcmp(again, text, (size_t)at) != 0) {
            abort();
        }
    }
    free(text);
    return 0;
}
