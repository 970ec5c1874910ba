/* Any bytes as a PNG. Beyond not crashing: what decodes is within the bounds and encodes again to
 * the same pixels. */
#include <string.h>

#include "afis/image.h"
#include "afis/memory.h"
#include "fuzz.h"

#define PIXELS_MAX 40000u /* larger ones are not encoded again, or fuzzing would crawl */

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
        check_round_trip(&image);
    }
    afis_image_release(&image, heap);
    return 0;
}
