/* Any bytes as grey pixels, through the extractor: the first two choose width and resolution, the
 * rest is repeated until the picture is full.
 *
 * Beyond not crashing: minutiae lie inside the print, both builds of the pixel loops agree, and the
 * template packs and unpacks. */
#include <string.h>

#include "afis/extract.h"
#include "afis/template.h"
#include "extract/stages.h"
#include "fuzz.h"

#define PIXELS_MAX 16384u /* more would make fuzzing crawl */

static void check_template(const struct afis_template *tmpl)
{
    uint8_t packed[AFIS_PACKED_MAX];
    struct afis_template again;
    size_t len;
    FUZZ_CHECK(tmpl->count <= AFIS_MINUTIAE_MAX && tmpl->quality <= 100);
    for (size_t i = 0; i < tmpl->count; i++) {
        const struct afis_minutia *m = &tmpl->minutiae[i];
        FUZZ_CHECK(m->x >= 0 && m->x < 16 * tmpl->width && m->y >= 0 && m->y < 16 * tmpl->height);
        FUZZ_CHECK(m->quality >= 1 && m->quality <= 100);
    }
    FUZZ_CHECK(afis_template_pack(tmpl, packed, sizeof packed, &len) == AFIS_OK);
    FUZZ_CHECK(afis_template_unpack(packed, len, &again) == AFIS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct afis_memory *heap = &afis_memory_heap;
    static uint8_t pixels[PIXELS_MAX];
    if (size < 3) {
        return 0;
    }
    struct afis_image image = {
        .width = 64 + data[0] % 65u, .dpi = 250 + data[1] * 3u, .pixels = pixels};
    image.height = PIXELS_MAX / image.width;
    for (size_t i = 0; i < PIXELS_MAX; i++) {
        pixels[i] = data[2 + i % (size - 2)];
    }
    struct afis_template tmpl;
    struct afis_template portable;
    enum afis_status status = afis_extract(&image, heap, &tmpl, NULL);
    FUZZ_CHECK(afis_extract_with(&afis_pixel_ops_portable, &image, heap, &portable, NULL) ==
               status);
    if (status == AFIS_OK) {
        check_template(&tmpl);
        FUZZ_CHECK(memcmp(&tmpl, &portable, sizeof tmpl) == 0);
    }
    return 0;
}
