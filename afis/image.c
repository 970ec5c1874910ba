#include "afis/image.h"

#include <string.h>

#include "image_bounds.h"

enum afis_status afis_image_bounds(uint64_t width, uint64_t height, uint32_t dpi)
{
    if (dpi < AFIS_DPI_MIN || dpi > AFIS_DPI_MAX) {
        return AFIS_BAD_DPI;
    }
    if (width == 0 || height == 0) {
        return AFIS_TOO_SMALL;
    }
    if (width > AFIS_IMAGE_MAX_SIDE || height > AFIS_IMAGE_MAX_SIDE ||
        width * height > AFIS_IMAGE_MAX_PIXELS) {
        return AFIS_TOO_LARGE;
    }
    return AFIS_OK;
}

enum afis_status afis_image_from_raw(const uint8_t *bytes, size_t len, uint32_t width,
                                     uint32_t height, uint32_t dpi,
                                     const struct afis_memory *memory, struct afis_image *out)
{
    enum afis_status status = afis_image_bounds(width, height, dpi);
    if (status != AFIS_OK) {
        return status;
    }
    size_t size = (size_t)width * height;
    if (len != size) {
        return AFIS_BAD_FORMAT;
    }
    uint8_t *pixels = memory->alloc(memory->ctx, size);
    if (pixels == NULL) {
        return AFIS_NO_MEMORY;
    }
    memcpy(pixels, bytes, size);
    *out = (struct afis_image){.width = width, .height = height, .dpi = dpi, .pixels = pixels};
    return AFIS_OK;
}

enum afis_status afis_image_crop(const struct afis_image *image, uint32_t left, uint32_t top,
                                 uint32_t right, uint32_t bottom, const struct afis_memory *memory,
                                 struct afis_image *out)
{
    if (left >= right || top >= bottom || right > image->width || bottom > image->height) {
        return AFIS_BAD_FORMAT;
    }
    struct afis_image part = {right - left, bottom - top, image->dpi, NULL};
    part.pixels = memory->alloc(memory->ctx, (size_t)part.width * part.height);
    if (part.pixels == NULL) {
        return AFIS_NO_MEMORY;
    }
    for (uint32_t y = 0; y < part.height; y++) {
        memcpy(part.pixels + (size_t)y * part.width,
               image->pixels + (size_t)(top + y) * image->width + left, part.width);
    }
    *out = part;
    return AFIS_OK;
}

void afis_image_release(struct afis_image *image, const struct afis_memory *memory)
{
    if (image->pixels != NULL) {
        memory->release(memory->ctx, image->pixels, (size_t)image->width * image->height);
    }
    memset(image, 0, sizeof *image);
}
