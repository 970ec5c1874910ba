/* WSQ pictures: whatever is decoded has the size it says, and is decoded alike again. */
#include <string.h>

#include "afis/image.h"
#include "fuzz.h"

#define PIXELS_MAX (1u << 18) /* larger ones are only slower */

/* The size in the frame header, wherever a decoder would find it; 0 if there is none. */
static uint32_t stated_pixels(const uint8_t *bytes, size_t len)
{
    static const uint8_t frame[] = {0xff, 0xa2, 0x00, 0x11};
    const uint8_t *at = memmem(bytes, len, frame, sizeof frame);
    if (at == NULL || bytes + len - at < 10) {
        return 0;
    }
    return (uint32_t)(at[6] << 8 | at[7]) * (uint32_t)(at[8] << 8 | at[9]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct afis_image image = {0}, again = {0};
    if (stated_pixels(bytes, len) > PIXELS_MAX) {
        return 0;
    }
    if (afis_image_from_wsq(bytes, len, 500, &afis_memory_heap, &image) == AFIS_OK) {
        FUZZ_CHECK(image.width >= 32 && image.height >= 32);
        FUZZ_CHECK(afis_image_from_wsq(bytes, len, 500, &afis_memory_heap, &again) == AFIS_OK);
        FUZZ_CHECK(memcmp(image.pixels, again.pixels, (size_t)image.width * image.height) == 0);
    }
    afis_image_release(&again, &afis_memory_heap);
    afis_image_release(&image, &afis_memory_heap);
    return 0;
}
