/* The request decoders: whatever msgpack a device sends, they take it or name a field, and what
 * they took keeps within its bounds. */
#include <string.h>

#include "core/identify/decode.h"
#include "fuzz.h"

static void check_identify(const msgpack_object *argument)
{
    struct decoded_identify request;
    struct whorl_fault fault = {0};
    uint8_t digest[32];
    static const uint8_t key[32];
    bool good = decode_identify(argument, &request, &fault);
    FUZZ_CHECK(strnlen(request.officer, sizeof request.officer) < sizeof request.officer);
    if (!good) {
        FUZZ_CHECK(fault.text[0] != '\0');
        return;
    }
    FUZZ_CHECK(strlen(request.request_id) >= 8);
    FUZZ_CHECK(request.sample_count <= DECODE_SAMPLES_MAX);
    FUZZ_CHECK(request.checks[request.check_count] == NULL);
    FUZZ_CHECK(request.subject.born[0] == '\0' || decode_date_valid(request.subject.born));
    FUZZ_CHECK(decode_present(&request, "basis"));
    FUZZ_CHECK(decode_digest(&request, key, digest));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct whorl_msg msg;
    struct whorl_fault fault = {0};
    if (!whorl_msg_parse(data, size, &msg, &fault)) {
        return 0;
    }
    struct decoded_outcome outcome;
    char officer[REGISTRY_OFFICER_MAX + 1];
    check_identify(&msg.root);
    decode_outcome(&msg.root, &outcome, &fault);
    decode_capabilities(&msg.root, officer, &fault);
    whorl_msg_release(&msg);
    return 0;
}
