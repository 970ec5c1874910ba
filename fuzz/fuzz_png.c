/* Any bytes as a PNG, and what decodes through the extractor.
 *
 * Beyond not crashing: what decodes has the size that its header states, encodes again to the same
 * pixels, and yields a template that packs and unpacks. */
#include <string.h>

#include "afis/extract.h"
#include "afis/image.h"
#include "afis/template.h"
#include "fuzz.h"

#define PIXELS_MAX 40000u /* extracted; larger ones are only decoded, or fuzzing would crawl */

static void check_round_trip(const struct afis_image *image)
{
    const struct afis_memory *heap = &afis_memory_heap;
    struct afis_image again = {0};
    uint8_t *bytes;
    size_t len;
    FUZZ_CHECK(afis_image_to_png(image, heap, &bytes, &len) == AFIS_OK);
    FUZZ_CHECK(afis_image_from_png(bytes, len, image->dpi, heap, &again) == AFIS_OK);
    FUZZ_CHECK(again.width == image->width && again.height == image->height);
    FUZZ_CHECK(memcmp(again.pixels, image->pixels, (size_t)image->width * image->height) == 0);
    afis_image_release(&again, heap);
    heap->release(heap->ctx, bytes, len);
}

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
    struct afis_image image = {0};
    uint32_t dpi = size > 40 ? 250 + data[size - 1] * 3u : 500;
    if (afis_image_from_png(data, size, dpi, heap, &image) != AFIS_OK) {
        FUZZ_CHECK(image.pixels == NULL);
        return 0;
    }
    FUZZ_CHECK(image.width <= AFIS_IMAGE_MAX_SIDE && image.height <= AFIS_IMAGE_MAX_SIDE);
    if ((uint64_t)image.width * image.height <= PIXELS_MAX) {
        struct afis_template tmpl;
        check_round_trip(&image);
        if (afis_extract(&image, heap, &tmpl, NULL) == AFIS_OK) {
            check_template(&tmpl);
        }
    }
    afis_image_release(&image, heap);
    return 0;
}
