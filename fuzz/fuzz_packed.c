/* Packed templates, and the matcher behind them: the bytes are tried as they are, then taken as the
 * fields of a template, because no fuzzer finds the checksum. */
#include <math.h>
#include <string.h>

#include "afis/match.h"
#include "afis/memory.h"
#include "fuzz.h"

enum { MINUTIA_BYTES = 8 };

static struct afis_template from_bytes(const uint8_t *bytes, size_t len)
{
    struct afis_template t = {.width = 300, .height = 400};
    while (len >= MINUTIA_BYTES && t.count < AFIS_MINUTIAE_MAX) {
        struct afis_minutia *m = &t.minutiae[t.count++];
        memcpy(&m->x, bytes, 2);
        memcpy(&m->y, bytes + 2, 2);
        memcpy(&m->angle, bytes + 4, 2);
        m->x = (int16_t)(m->x & 4095);
        m->y = (int16_t)(m->y & 4095);
        m->type = bytes[6] % 4; /* 3 is none */
        m->quality = bytes[7] % 102;
        bytes += MINUTIA_BYTES;
        len -= MINUTIA_BYTES;
    }
    return t;
}

/* A template that packs is read back, and scores the same from either form. */
static void check_template(const struct afis_template *t)
{
    const struct afis_memory *memory = &afis_memory_heap;
    uint8_t packed[AFIS_PACKED_MAX], again[AFIS_PACKED_MAX];
    size_t len, again_len;
    struct afis_template u;
    struct afis_finger *a = memory->alloc(NULL, afis_finger_size());
    struct afis_finger *b = memory->alloc(NULL, afis_finger_size());
    struct afis_matcher *m = memory->alloc(NULL, afis_matcher_size());
    if (a != NULL && b != NULL && m != NULL &&
        afis_template_pack(t, packed, sizeof packed, &len) == AFIS_OK) {
        FUZZ_CHECK(afis_template_unpack(packed, len, &u) == AFIS_OK);
        FUZZ_CHECK(afis_template_pack(&u, again, sizeof again, &again_len) == AFIS_OK);
        FUZZ_CHECK(again_len == len);
        FUZZ_CHECK(afis_finger_prepare(t, a) == AFIS_OK);
        FUZZ_CHECK(afis_finger_prepare_packed(packed, len, b) == AFIS_OK);
        float score = afis_compare(m, a, b);
        FUZZ_CHECK(isfinite(score) && score >= 0);
        FUZZ_CHECK(score == afis_compare(m, a, a) && score == afis_compare(m, b, b));
    }
    memory->release(NULL, m, afis_matcher_size());
    memory->release(NULL, b, afis_finger_size());
    memory->release(NULL, a, afis_finger_size());
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct afis_template t;
    if (afis_template_unpack(bytes, len, &t) == AFIS_OK) {
        check_template(&t);
    }
    t = from_bytes(bytes, len);
    check_template(&t);
    return 0;
}
