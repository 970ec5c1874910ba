/* Decoding images: what a PNG may hold becomes grey, and hostile bytes become one clear status. */
#include <check.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "afis/image.h"
#include "counting_memory.h"
#include "run_suite.h"

#define SIDE 24u

struct bytes {
    uint8_t data[65536];
    size_t len;
};

static void append(png_structp png, png_bytep from, size_t len)
{
    struct bytes *bytes = png_get_io_ptr(png);
    ck_assert_uint_le(bytes->len + len, sizeof bytes->data);
    memcpy(bytes->data + bytes->len, from, len);
    bytes->len += len;
}

/* The test's own writer: SIDE x SIDE pixels of any colour type and depth. */
static void write_png(struct bytes *bytes, int type, int depth, int interlace, const uint8_t *rows,
                      size_t row_bytes)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    bytes->len = 0;
    ck_assert_int_eq(setjmp(png_jmpbuf(png)), 0);
    png_set_write_fn(png, bytes, append, NULL);
    png_set_IHDR(png, info, SIDE, SIDE, depth, type, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    const png_color palette[3] = {{0, 0, 0}, {255, 255, 255}, {100, 100, 100}};
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 3);
    }
    png_write_info(png, info);
    int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < SIDE; y++) {
            png_write_row(png, rows + y * row_bytes);
        }
    }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
}

/* Grey value at (x, y) of the pattern that most tests write. */
static uint8_t pattern(size_t x, size_t y)
{
    return (uint8_t)((x * 10 + y * 3) % 256);
}

static struct bytes grey_png(int interlace)
{
    uint8_t rows[SIDE * SIDE];
    struct bytes bytes;
    for (size_t i = 0; i < sizeof rows; i++) {
        rows[i] = pattern(i % SIDE, i / SIDE);
    }
    write_png(&bytes, PNG_COLOR_TYPE_GRAY, 8, interlace, rows, SIDE);
    return bytes;
}

static enum afis_status decode(const struct bytes *bytes, struct afis_image *out)
{
    memset(out, 0, sizeof *out);
    return afis_image_from_png(bytes->data, bytes->len, 500, &afis_memory_heap, out);
}

static void assert_pattern(const struct bytes *bytes)
{
    struct afis_image image;
    ck_assert_int_eq(decode(bytes, &image), AFIS_OK);
    ck_assert_uint_eq(image.width, SIDE);
    ck_assert_uint_eq(image.height, SIDE);
    ck_assert_uint_eq(image.dpi, 500);
    for (size_t i = 0; i < (size_t)SIDE * SIDE; i++) {
        ck_assert_int_le(abs(image.pixels[i] - pattern(i % SIDE, i / SIDE)), 1);
    }
    afis_image_release(&image, &afis_memory_heap);
    ck_assert_ptr_null(image.pixels);
}

START_TEST(grey_comes_out_as_it_went_in)
{
    struct bytes plain = grey_png(PNG_INTERLACE_NONE);
    struct bytes interlaced = grey_png(PNG_INTERLACE_ADAM7);
    assert_pattern(&plain);
    assert_pattern(&interlaced);
}
END_TEST

START_TEST(sixteen_bits_become_eight)
{
    uint8_t rows[SIDE * SIDE * 2];
    struct bytes bytes;
    for (size_t i = 0; i < (size_t)SIDE * SIDE; i++) {
        rows[2 * i] = rows[2 * i + 1] = pattern(i % SIDE, i / SIDE);
    }
    write_png(&bytes, PNG_COLOR_TYPE_GRAY, 16, PNG_INTERLACE_NONE, rows, (size_t)SIDE * 2);
    assert_pattern(&bytes);
}
END_TEST

START_TEST(colour_becomes_grey_and_transparency_white)
{
    uint8_t rows[SIDE * SIDE * 4];
    struct bytes bytes;
    struct afis_image image;
    for (size_t i = 0; i < (size_t)SIDE * SIDE; i++) {
        memset(rows + 4 * i, pattern(i % SIDE, i / SIDE), 3);
        rows[4 * i + 3] = 255;
    }
    write_png(&bytes, PNG_COLOR_TYPE_RGB_ALPHA, 8, PNG_INTERLACE_ADAM7, rows, (size_t)SIDE * 4);
    assert_pattern(&bytes);
    memset(rows, 0, sizeof rows); /* black, but nothing of it is there */
    write_png(&bytes, PNG_COLOR_TYPE_RGB_ALPHA, 8, PNG_INTERLACE_NONE, rows, (size_t)SIDE * 4);
    ck_assert_int_eq(decode(&bytes, &image), AFIS_OK);
    ck_assert_uint_eq(image.pixels[0], 255);
    afis_image_release(&image, &afis_memory_heap);
}
END_TEST

START_TEST(a_palette_of_few_bits_is_looked_up)
{
    uint8_t rows[SIDE * SIDE / 4];
    struct bytes bytes;
    struct afis_image image;
    memset(rows, 0x18, sizeof rows); /* 0, 1, 2, 0 */
    write_png(&bytes, PNG_COLOR_TYPE_PALETTE, 2, PNG_INTERLACE_NONE, rows, SIDE / 4);
    ck_assert_int_eq(decode(&bytes, &image), AFIS_OK);
    ck_assert_uint_eq(image.pixels[0], 0);
    ck_assert_uint_eq(image.pixels[1], 255);
    ck_assert_uint_eq(image.pixels[2], 100);
    afis_image_release(&image, &afis_memory_heap);
}
END_TEST

static void set_size(struct bytes *bytes, uint32_t width, uint32_t height)
{
    for (int i = 0; i < 4; i++) {
        bytes->data[16 + i] = (uint8_t)(width >> (24 - 8 * i));
        bytes->data[20 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
}

START_TEST(a_huge_size_is_refused_before_anything_is_allocated)
{
    static const uint32_t size[][2] = {
        {60000, 60000},           {4097, 1},         {1, 4097}, {4000, 4000},
        {0xffffffff, 0xffffffff}, {0x10000, 0x10000}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        struct counting_memory state = {0};
        struct afis_memory memory = counting_memory(&state);
        struct bytes bytes = grey_png(PNG_INTERLACE_NONE);
        struct afis_image image = {0};
        set_size(&bytes, size[i][0], size[i][1]);
        ck_assert_int_eq(afis_image_from_png(bytes.data, bytes.len, 500, &memory, &image),
                         AFIS_TOO_LARGE);
        ck_assert_uint_eq(state.calls, 0);
        ck_assert_ptr_null(image.pixels);
    }
}
END_TEST

START_TEST(a_size_of_zero_or_of_a_lie_is_bad_format)
{
    struct afis_image image;
    struct bytes bytes = grey_png(PNG_INTERLACE_NONE);
    set_size(&bytes, 0, 0);
    ck_assert_int_eq(decode(&bytes, &image), AFIS_BAD_FORMAT);
    set_size(&bytes, SIDE, SIDE + 1); /* and the header's checksum no longer fits */
    ck_assert_int_eq(decode(&bytes, &image), AFIS_BAD_FORMAT);
}
END_TEST

START_TEST(a_png_cut_anywhere_is_bad_format_and_leaks_nothing)
{
    struct bytes whole = grey_png(PNG_INTERLACE_NONE);
    for (size_t len = 0; len < whole.len; len++) {
        struct counting_memory state = {0};
        struct afis_memory memory = counting_memory(&state);
        struct afis_image image = {0};
        uint8_t *exact = malloc(len + 1);
        memcpy(exact, whole.data, len);
        ck_assert_int_eq(afis_image_from_png(exact, len, 500, &memory, &image), AFIS_BAD_FORMAT);
        ck_assert_uint_eq(state.out, 0);
        ck_assert_uint_eq(state.wrong, 0);
        free(exact);
    }
}
END_TEST

START_TEST(a_flipped_bit_never_yields_other_pixels)
{
    struct bytes whole = grey_png(PNG_INTERLACE_NONE);
    struct afis_image right;
    ck_assert_int_eq(decode(&whole, &right), AFIS_OK);
    for (size_t i = 0; i < whole.len * 8; i++) {
        struct bytes bytes = whole;
        struct afis_image image;
        bytes.data[i / 8] ^= (uint8_t)(1 << i % 8);
        if (decode(&bytes, &image) == AFIS_OK) { /* a chunk type that may be skipped */
            ck_assert_mem_eq(image.pixels, right.pixels, (size_t)SIDE * SIDE);
            afis_image_release(&image, &afis_memory_heap);
        }
    }
    afis_image_release(&right, &afis_memory_heap);
}
END_TEST

START_TEST(an_allocator_that_runs_dry_is_reported_at_every_call)
{
    struct bytes bytes = grey_png(PNG_INTERLACE_ADAM7);
    enum afis_status status = AFIS_NO_MEMORY;
    for (size_t call = 1; status != AFIS_OK; call++) {
        struct counting_memory state = {.fail_at = call};
        struct afis_memory memory = counting_memory(&state);
        struct afis_image image = {0};
        ck_assert_uint_lt(call, 100);
        status = afis_image_from_png(bytes.data, bytes.len, 500, &memory, &image);
        ck_assert(status == AFIS_OK || status == AFIS_NO_MEMORY);
        afis_image_release(&image, &memory);
        ck_assert_uint_eq(state.out, 0);
        ck_assert_uint_eq(state.wrong, 0);
    }
}
END_TEST

START_TEST(raw_pixels_must_be_as_many_as_the_size_says)
{
    uint8_t pixels[12] = {1, 2, 3};
    struct afis_image image = {0};
    const struct afis_memory *heap = &afis_memory_heap;
    ck_assert_int_eq(afis_image_from_raw(pixels, 12, 4, 3, 500, heap, &image), AFIS_OK);
    ck_assert_mem_eq(image.pixels, pixels, 12);
    afis_image_release(&image, heap);
    ck_assert_int_eq(afis_image_from_raw(pixels, 11, 4, 3, 500, heap, &image), AFIS_BAD_FORMAT);
    ck_assert_int_eq(afis_image_from_raw(pixels, 12, 4, 4, 500, heap, &image), AFIS_BAD_FORMAT);
    ck_assert_int_eq(afis_image_from_raw(pixels, 0, 0, 0, 500, heap, &image), AFIS_TOO_SMALL);
    ck_assert_int_eq(afis_image_from_raw(pixels, 12, 4, 3, 249, heap, &image), AFIS_BAD_DPI);
    ck_assert_int_eq(afis_image_from_raw(pixels, 12, 4, 3, 1001, heap, &image), AFIS_BAD_DPI);
    ck_assert_int_eq(afis_image_from_raw(pixels, 12, 0x80000000, 0x80000000, 500, heap, &image),
                     AFIS_TOO_LARGE);
}
END_TEST

START_TEST(what_is_encoded_decodes_to_the_same)
{
    struct counting_memory state = {0};
    struct afis_memory memory = counting_memory(&state);
    struct bytes bytes = grey_png(PNG_INTERLACE_NONE);
    struct afis_image image = {0};
    struct afis_image again = {0};
    uint8_t *encoded;
    size_t len;
    ck_assert_int_eq(afis_image_from_png(bytes.data, bytes.len, 1000, &memory, &image), AFIS_OK);
    ck_assert_int_eq(afis_image_to_png(&image, &memory, &encoded, &len), AFIS_OK);
    ck_assert_int_eq(afis_image_from_png(encoded, len, 1000, &memory, &again), AFIS_OK);
    ck_assert_mem_eq(image.pixels, again.pixels, (size_t)SIDE * SIDE);
    memory.release(memory.ctx, encoded, len);
    afis_image_release(&image, &memory);
    afis_image_release(&again, &memory);
    ck_assert_uint_eq(state.out, 0);
    ck_assert_uint_eq(state.wrong, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image");
    TCase *tests = tcase_create("decode");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, grey_comes_out_as_it_went_in);
    tcase_add_test(tests, sixteen_bits_become_eight);
    tcase_add_test(tests, colour_becomes_grey_and_transparency_white);
    tcase_add_test(tests, a_palette_of_few_bits_is_looked_up);
    tcase_add_test(tests, a_huge_size_is_refused_before_anything_is_allocated);
    tcase_add_test(tests, a_size_of_zero_or_of_a_lie_is_bad_format);
    tcase_add_test(tests, a_png_cut_anywhere_is_bad_format_and_leaks_nothing);
    tcase_add_test(tests, a_flipped_bit_never_yields_other_pixels);
    tcase_add_test(tests, an_allocator_that_runs_dry_is_reported_at_every_call);
    tcase_add_test(tests, raw_pixels_must_be_as_many_as_the_size_says);
    tcase_add_test(tests, what_is_encoded_decodes_to_the_same);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
