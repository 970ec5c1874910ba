/* PNG by libpng, fenced in: sizes are read and bounded before libpng sees a byte, every allocation
 * of libpng and zlib comes from the caller's memory, and chunks that could make it allocate more
 * (text, profiles) are skipped. */
#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "afis/image.h"
#include "image_bounds.h"

/* libpng frees without naming the size, so each block carries it in a prefix; 64 keeps alignment.
 */
#define PREFIX ((size_t)64)
/* A PNG's largest honest need beside the pixels: zlib's window and two rows of 8-byte pixels. */
#define PNG_MEMORY_MAX ((png_alloc_size_t)1 << 20)

struct reader {
    const uint8_t *bytes;
    size_t len, at;
};

struct writer {
    const struct afis_memory *memory;
    uint8_t *bytes;
    size_t len, cap;
};

/* What must survive a longjmp out of libpng. */
struct job {
    const struct afis_memory *memory;
    bool no_memory;
};

static png_voidp job_alloc(png_structp png, png_alloc_size_t size)
{
    struct job *job = png_get_mem_ptr(png);
    if (size > PNG_MEMORY_MAX) {
        return NULL;
    }
    uint8_t *p = job->memory->alloc(job->memory->ctx, PREFIX + size);
    if (p == NULL) {
        job->no_memory = true;
        return NULL;
    }
    memcpy(p, &size, sizeof size);
    return p + PREFIX;
}

static void job_release(png_structp png, png_voidp block)
{
    struct job *job = png_get_mem_ptr(png);
    if (block != NULL) {
        uint8_t *p = (uint8_t *)block - PREFIX;
        png_alloc_size_t size;
        memcpy(&size, p, sizeof size);
        job->memory->release(job->memory->ctx, p, PREFIX + size);
    }
}

/* libpng would print; a library must not. png_error's contract is that this does not return. */
static void on_error(png_structp png, png_const_charp text)
{
    (void)text;
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep to, size_t want)
{
    struct reader *reader = png_get_io_ptr(png);
    if (want > reader->len - reader->at) {
        png_error(png, "truncated");
    }
    memcpy(to, reader->bytes + reader->at, want);
    reader->at += want;
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Reads the size out of IHDR, which must be the first chunk. */
static enum afis_status read_header(const uint8_t *bytes, size_t len, uint32_t dpi,
                                    struct afis_image *image)
{
    static const uint8_t start[16] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n',
                                      0,    0,   0,   13,  'I',  'H',  'D',  'R'};
    if (len < 33 || memcmp(bytes, start, sizeof start) != 0) {
        return AFIS_BAD_FORMAT;
    }
    *image = (struct afis_image){big_endian(bytes + 16), big_endian(bytes + 20), dpi, NULL};
    if (image->width == 0 || image->height == 0) {
        return AFIS_BAD_FORMAT; /* the PNG specification forbids it */
    }
    return afis_image_bounds(image->width, image->height, dpi);
}

/* Any colour type and depth becomes 8-bit grey on white. */
static void ask_for_grey(png_structp png, png_infop info)
{
    png_byte type = png_get_color_type(png, info);
    bool alpha = (type & PNG_COLOR_MASK_ALPHA) != 0 || png_get_valid(png, info, PNG_INFO_tRNS) != 0;
    png_set_expand(png);
    png_set_scale_16(png);
    if ((type & PNG_COLOR_MASK_COLOR) != 0) {
        png_set_rgb_to_gray(png, PNG_ERROR_ACTION_NONE, PNG_RGB_TO_GRAY_DEFAULT,
                            PNG_RGB_TO_GRAY_DEFAULT);
    }
    if (alpha) {
        png_color_16 white = {.red = 255, .green = 255, .blue = 255, .gray = 255};
        png_set_background(png, &white, PNG_BACKGROUND_GAMMA_SCREEN, 0, 1.0);
    }
}

/* The part that libpng may leave by longjmp: it owns nothing. */
static void decode(png_structp png, png_infop info, struct reader *reader,
                   const struct afis_image *image)
{
    png_set_user_limits(png, AFIS_IMAGE_MAX_SIDE, AFIS_IMAGE_MAX_SIDE);
    png_set_chunk_cache_max(png, 16);
    png_set_chunk_malloc_max(png, 65536);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_WARN_DISCARD);
    png_set_read_fn(png, reader, read_bytes);
    png_read_info(png, info);
    ask_for_grey(png, info);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != image->width) {
        png_error(png, "not reduced to grey");
    }
    for (int pass = 0; pass < passes; pass++) {
        for (uint32_t y = 0; y < image->height; y++) {
            png_read_row(png, image->pixels + (size_t)y * image->width, NULL);
        }
    }
    png_read_end(png, NULL);
}

enum afis_status afis_image_from_png(const uint8_t *bytes, size_t len, uint32_t dpi,
                                     const struct afis_memory *memory, struct afis_image *out)
{
    struct afis_image image;
    enum afis_status status = read_header(bytes, len, dpi, &image);
    if (status != AFIS_OK) {
        return status;
    }
    struct job job = {memory, false};
    struct reader reader = {bytes, len, 0};
    image.pixels = memory->alloc(memory->ctx, (size_t)image.width * image.height);
    if (image.pixels == NULL) {
        return AFIS_NO_MEMORY;
    }
    png_infop info = NULL;
    png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, NULL, on_error, on_warning,
                                               &job, job_alloc, job_release);
    volatile bool done = false;
    if (png != NULL && (info = png_create_info_struct(png)) != NULL &&
        setjmp(png_jmpbuf(png)) == 0) {
        decode(png, info, &reader, &image);
        done = true;
    }
    png_destroy_read_struct(&png, &info, NULL);
    if (done) {
        *out = image;
        return AFIS_OK;
    }
    afis_image_release(&image, memory);
    return job.no_memory ? AFIS_NO_MEMORY : AFIS_BAD_FORMAT;
}

/* The buffer has the final size's upper bound from the start, so that nothing is ever copied. */
static void write_bytes(png_structp png, png_bytep from, size_t len)
{
    struct writer *writer = png_get_io_ptr(png);
    if (len > writer->cap - writer->len) {
        png_error(png, "buffer full");
    }
    memcpy(writer->bytes + writer->len, from, len);
    writer->len += len;
}

static void flush_nothing(png_structp png)
{
    (void)png;
}

static void encode(png_structp png, png_infop info, struct writer *writer,
                   const struct afis_image *image)
{
    png_set_write_fn(png, writer, write_bytes, flush_nothing);
    png_set_IHDR(png, info, image->width, image->height, 8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    uint32_t per_metre = (uint32_t)((double)image->dpi / 0.0254 + 0.5);
    png_set_pHYs(png, info, per_metre, per_metre, PNG_RESOLUTION_METER);
    png_write_info(png, info);
    for (uint32_t y = 0; y < image->height; y++) {
        png_write_row(png, image->pixels + (size_t)y * image->width);
    }
    png_write_end(png, info);
}

/* Moves what was written into a block of exactly its size: the caller releases by size. */
static enum afis_status hand_over(struct writer *writer, uint8_t **bytes, size_t *len)
{
    const struct afis_memory *memory = writer->memory;
    uint8_t *exact = memory->alloc(memory->ctx, writer->len);
    if (exact != NULL) {
        memcpy(exact, writer->bytes, writer->len);
        *bytes = exact;
        *len = writer->len;
    }
    memory->release(memory->ctx, writer->bytes, writer->cap);
    return exact != NULL ? AFIS_OK : AFIS_NO_MEMORY;
}

enum afis_status afis_image_to_png(const struct afis_image *image, const struct afis_memory *memory,
                                   uint8_t **bytes, size_t *len)
{
    enum afis_status status = afis_image_bounds(image->width, image->height, image->dpi);
    if (status != AFIS_OK) {
        return status;
    }
    struct job job = {memory, false};
    size_t raw = ((size_t)image->width + 1) * image->height;
    struct writer writer = {.memory = memory, .cap = raw + raw / 8 + 4096};
    writer.bytes = memory->alloc(memory->ctx, writer.cap);
    if (writer.bytes == NULL) {
        return AFIS_NO_MEMORY;
    }
    png_infop info = NULL;
    png_structp png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, NULL, on_error, on_warning,
                                                &job, job_alloc, job_release);
    volatile bool done = false;
    if (png != NULL && (info = png_create_info_struct(png)) != NULL &&
        setjmp(png_jmpbuf(png)) == 0) {
        encode(png, info, &writer, image);
        done = true;
    }
    png_destroy_write_struct(&png, &info);
    if (!done) {
        memory->release(memory->ctx, writer.bytes, writer.cap);
        return job.no_memory ? AFIS_NO_MEMORY : AFIS_BAD_FORMAT;
    }
    return hand_over(&writer, bytes, len);
}
