/* WSQ decoding: the file as a whole. */
#include <math.h>
#include <string.h>

#include "afis/image.h"
#include "image_bounds.h"
#include "wsq/internal.h"

/* Markers up to the first block: what the picture needs to be laid out. */
static enum afis_status read_until(struct wsq_reader *r, struct wsq_tables *tables,
                                   unsigned *marker)
{
    for (;;) {
        *marker = wsq_u16(r);
        if (r->short_of) {
            return AFIS_BAD_FORMAT;
        }
        if (*marker == WSQ_SOB || *marker == WSQ_EOI) {
            return AFIS_OK;
        }
        enum afis_status status = wsq_read_table(r, *marker, tables);
        if (status != AFIS_OK) {
            return status;
        }
    }
}

static enum afis_status read_blocks(struct wsq_reader *r, struct wsq_tables *tables,
                                    int16_t *coefficients, size_t count)
{
    size_t done = 0;
    unsigned marker = WSQ_SOB;
    while (marker == WSQ_SOB) {
        unsigned length = wsq_u16(r), id = wsq_u8(r);
        if (length != 3 || id >= WSQ_HUFFMAN_TABLES || !tables->huffman[id].defined) {
            return AFIS_BAD_FORMAT;
        }
        enum afis_status status =
            wsq_read_block(r, &tables->huffman[id], coefficients, count, &done);
        /* Sizes must not change between blocks: the coefficients are laid out already. */
        struct wsq_tables later = *tables;
        if (status == AFIS_OK) {
            status = read_until(r, &later, &marker);
        }
        if (status != AFIS_OK) {
            return status;
        }
        memcpy(tables->huffman, later.huffman, sizeof tables->huffman);
    }
    return done == count ? AFIS_OK : AFIS_BAD_FORMAT;
}

static void to_pixels(const struct wsq_tables *tables, const float *plane, uint8_t *pixels)
{
    size_t count = (size_t)tables->width * tables->height;
    for (size_t i = 0; i < count; i++) {
        float value = plane[i] * tables->scale + tables->shift + 0.5f;
        pixels[i] = value >= 255.0f ? 255 : value > 0.0f ? (uint8_t)value : 0;
    }
}

/* One piece of working memory for all that the picture needs besides its pixels. */
static enum afis_status decode(struct wsq_reader *r, struct wsq_tables *tables, uint8_t *pixels,
                               const struct afis_memory *memory)
{
    size_t count = wsq_coefficient_count(tables);
    size_t area = (size_t)tables->width * tables->height;
    size_t longest = tables->width > tables->height ? tables->width : tables->height;
    size_t floats = area + WSQ_LANES * (longest + WSQ_FILTER_MAX);
    size_t size = floats * sizeof(float) + count * sizeof(int16_t);
    if (count == 0) {
        return AFIS_BAD_FORMAT;
    }
    float *plane = memory->alloc(memory->ctx, size);
    if (!plane) {
        return AFIS_NO_MEMORY;
    }
    int16_t *coefficients = (int16_t *)(plane + floats);
    enum afis_status status = read_blocks(r, tables, coefficients, count);
    if (status == AFIS_OK) {
        wsq_reconstruct(tables, coefficients, plane, plane + area);
        to_pixels(tables, plane, pixels);
    }
    memory->release(memory->ctx, plane, size);
    return status;
}

enum afis_status afis_image_from_wsq(const uint8_t *bytes, size_t len, uint32_t dpi,
                                     const struct afis_memory *memory, struct afis_image *out)
{
    struct wsq_reader reader = {.at = bytes, .end = bytes + len};
    struct wsq_tables tables = {0};
    unsigned marker = 0;
    if (wsq_u16(&reader) != WSQ_SOI) {
        return AFIS_BAD_FORMAT;
    }
    enum afis_status status = read_until(&reader, &tables, &marker);
    if (status != AFIS_OK) {
        return status;
    }
    if (marker != WSQ_SOB || !tables.width || !tables.transform || !tables.quantization) {
        return AFIS_BAD_FORMAT;
    }
    status = afis_image_bounds(tables.width, tables.height, dpi);
    if (status != AFIS_OK) {
        return status;
    }
    struct afis_image image = {.width = tables.width, .height = tables.height, .dpi = dpi};
    size_t area = (size_t)image.width * image.height;
    image.pixels = memory->alloc(memory->ctx, area);
    if (!image.pixels) {
        return AFIS_NO_MEMORY;
    }
    status = decode(&reader, &tables, image.pixels, memory);
    if (status == AFIS_OK) {
        *out = image;
    } else {
        memory->release(memory->ctx, image.pixels, area);
    }
    return status;
}
