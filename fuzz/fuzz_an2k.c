/* ANSI/NIST-ITL transactions: records lie end to end, fields within their records, and minutiae
 * that were read are written and read back to the same. */
#include <string.h>

#include "afis/an2k.h"
#include "fuzz.h"

#define PIXELS_MAX (1u << 18) /* of all pictures; larger ones are only slower */

static void check_records(const struct afis_an2k *an2k)
{
    size_t at = 0;
    for (unsigned i = 0; i < an2k->count; i++) {
        const struct afis_an2k_record *r = &an2k->records[i];
        FUZZ_CHECK(r->at == at && r->len > 0);
        at += r->len;
        for (unsigned field = 1; field < 30; field++) {
            size_t len;
            const uint8_t *value = afis_an2k_field(an2k, i, field, &len);
            FUZZ_CHECK(value == NULL || (value >= an2k->bytes + r->at &&
                                         value + len <= an2k->bytes + r->at + r->len));
        }
    }
    FUZZ_CHECK(at == an2k->len);
}

static void check_template(const struct afis_template *tmpl)
{
    static const struct afis_an2k_header header = {"TEST", "20260101", "TO", "FROM", "1", NULL};
    const struct afis_an2k_sample sample = {.tmpl = tmpl, .position = tmpl->position};
    struct afis_template once, twice;
    const struct afis_template *from[] = {tmpl, &once};
    struct afis_template *to[] = {&once, &twice};
    for (unsigned i = 0; i < 2; i++) {
        struct afis_an2k_sample s = sample;
        struct afis_an2k again;
        uint8_t *bytes;
        size_t len;
        s.tmpl = from[i];
        FUZZ_CHECK(afis_an2k_write(&header, &s, 1, &afis_memory_heap, &bytes, &len) == AFIS_OK);
        FUZZ_CHECK(afis_an2k_read(bytes, len, &again, NULL) == AFIS_OK);
        FUZZ_CHECK(afis_an2k_template(&again, 2, to[i]) == AFIS_OK);
        afis_memory_heap.release(NULL, bytes, len);
    }
    /* The first writing rounds to whole pixels and units of two degrees, the second nothing. */
    FUZZ_CHECK(memcmp(&once, &twice, sizeof once) == 0);
}

static bool check_finger(void *ctx, const struct afis_an2k_finger *finger)
{
    (void)ctx;
    FUZZ_CHECK(finger->position <= 10);
    FUZZ_CHECK(finger->status == AFIS_OK ? (finger->image != NULL) != (finger->tmpl != NULL)
                                         : finger->what[0] != '\0');
    if (finger->tmpl != NULL) {
        check_template(finger->tmpl);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct afis_an2k an2k;
    struct afis_an2k_fault fault = {0};
    uint64_t pixels = 0;
    if (afis_an2k_read(bytes, len, &an2k, &fault) != AFIS_OK) {
        FUZZ_CHECK(fault.what != NULL && fault.at <= len);
        return 0;
    }
    check_records(&an2k);
    for (unsigned i = 0; i < an2k.count; i++) {
        const struct afis_an2k_picture *p = &an2k.records[i].picture;
        pixels += (uint64_t)p->width * p->height;
    }
    if (pixels <= PIXELS_MAX) {
        FUZZ_CHECK(afis_an2k_each_finger(&an2k, &afis_memory_heap, check_finger, NULL) == AFIS_OK);
    }
    return 0;
}
