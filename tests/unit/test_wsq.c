/* WSQ: the reference images, files made by hand, and everything that can be wrong with a file. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "afis/image.h"
#include "data_dir.h"
#include "run_suite.h"
#include "wsq_file.h"

static struct wsq_file file;

static enum afis_status decode(const uint8_t *bytes, size_t len, struct afis_image *image)
{
    /* An exact copy, so that a sanitizer sees the first byte read past the end. */
    uint8_t *copy = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(copy);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    enum afis_status status = afis_image_from_wsq(copy, len, 500, &afis_memory_heap, image);
    free(copy);
    return status;
}

/* A file of 100 x 75 pixels with something in every band. */
static void make_busy_file(void)
{
    size_t count = wsq_file_count(100, 75);
    int16_t *coefficients = calloc(count, sizeof *coefficients);
    ck_assert_ptr_nonnull(coefficients);
    for (size_t i = 0; i < count;
         i += 1 + i % 7 + (i % 1000 > 900 ? 150 : 0) + (i == 4000 ? 300 : 0)) {
        coefficients[i] = (int16_t)(i % 11 == 0 ? -300 : i % 5 == 0 ? 200 : (int)(i % 90) - 45);
    }
    wsq_file_make(&file, 100, 75, coefficients, count);
    free(coefficients);
    ck_assert_uint_lt(file.len, WSQ_FILE_MAX);
}

static enum afis_status decode_file(void)
{
    struct afis_image image = {0};
    enum afis_status status = decode(file.bytes, file.len, &image);
    afis_image_release(&image, &afis_memory_heap);
    return status;
}

static void check_reference(const char *name)
{
    char path[32];
    size_t len, raw_len;
    snprintf(path, sizeof path, "wsq/%s.wsq", name);
    uint8_t *wsq = data_read(path, &len);
    snprintf(path, sizeof path, "wsq/%s.raw", name);
    uint8_t *raw = data_read(path, &raw_len);
    if (!wsq || !raw) {
        printf("skipped: wsq/%s.wsq is not in WHORL_DATA\n", name);
        free(wsq);
        free(raw);
        return;
    }
    struct afis_image image = {0};
    ck_assert_int_eq(decode(wsq, len, &image), AFIS_OK);
    ck_assert_uint_eq((size_t)image.width * image.height, raw_len);
    for (size_t i = 0; i < raw_len; i++) {
        ck_assert_msg(abs(image.pixels[i] - raw[i]) <= 1, "%s: pixel %zu is %u, not %u", name, i,
                      image.pixels[i], raw[i]);
    }
    afis_image_release(&image, &afis_memory_heap);
    free(wsq);
    free(raw);
}

START_TEST(reference_images_are_within_one_grey_level)
{
    check_reference("a");
    check_reference("b");
    check_reference("c");
}
END_TEST

/* Five levels of low-pass filters of gain sqrt(2) along both axes multiply an even grey by 32. */
START_TEST(lowest_band_alone_is_an_even_grey)
{
    static const unsigned sides[][2] = {{64, 64}, {100, 75}, {33, 47}, {131, 64}};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        unsigned width = sides[i][0], height = sides[i][1];
        size_t count = wsq_file_count(width, height);
        size_t lowest = (size_t)wsq_file_lowest(width) * wsq_file_lowest(height);
        int16_t *coefficients = calloc(count, sizeof *coefficients);
        ck_assert_ptr_nonnull(coefficients);
        for (size_t k = 0; k < lowest; k++) {
            coefficients[k] = -32 * 50;
        }
        wsq_file_make(&file, width, height, coefficients, count);
        free(coefficients);
        struct afis_image image = {0};
        ck_assert_int_eq(decode(file.bytes, file.len, &image), AFIS_OK);
        ck_assert_uint_eq(image.width, width);
        ck_assert_uint_eq(image.height, height);
        for (size_t k = 0; k < (size_t)width * height; k++) {
            ck_assert_int_le(abs(image.pixels[k] - 78), 1);
        }
        afis_image_release(&image, &afis_memory_heap);
    }
}
END_TEST

START_TEST(every_escape_and_run_is_read)
{
    make_busy_file();
    ck_assert_int_eq(decode_file(), AFIS_OK);
}
END_TEST

START_TEST(resolution_is_bounded_as_for_every_image)
{
    struct afis_image image = {0};
    make_busy_file();
    ck_assert_int_eq(afis_image_from_wsq(file.bytes, file.len, 100, &afis_memory_heap, &image),
                     AFIS_BAD_DPI);
    ck_assert_ptr_null(image.pixels);
}
END_TEST

START_TEST(every_truncation_is_refused)
{
    make_busy_file();
    size_t whole = file.len;
    for (file.len = 0; file.len < whole; file.len++) {
        ck_assert_msg(decode_file() == AFIS_BAD_FORMAT, "%zu of %zu bytes", file.len, whole);
    }
}
END_TEST

START_TEST(mutations_never_break_the_decoder)
{
    make_busy_file();
    static struct wsq_file good;
    good = file;
    uint32_t random = 1;
    for (unsigned round = 0; round < 4000; round++) {
        file = good;
        for (unsigned k = 0; k <= round % 4; k++) {
            random = random * 1664525 + 1013904223;
            /* Every second one in the headers, which are a small part of the file. */
            size_t range = round % 2 ? WSQ_FILE_SOB : file.len;
            size_t at = (random >> 8) % range;
            /* Not the picture's size: that only makes the test slow. */
            if (at < WSQ_FILE_SOF + 6 || at >= WSQ_FILE_SOF + 10) {
                file.bytes[at] ^= (uint8_t)(1u << (random & 7));
            }
        }
        decode_file();
    }
}
END_TEST

static void set16(size_t at, unsigned value)
{
    file.bytes[at] = (uint8_t)(value >> 8);
    file.bytes[at + 1] = (uint8_t)value;
}

START_TEST(impossible_sizes_are_refused)
{
    static const struct {
        unsigned width, height;
        enum afis_status status;
    } sizes[] = {
        {0, 75, AFIS_TOO_SMALL},        {100, 0, AFIS_TOO_SMALL},
        {0, 0, AFIS_TOO_SMALL},         {31, 75, AFIS_TOO_SMALL},
        {65535, 65535, AFIS_TOO_LARGE}, {65535, 1, AFIS_TOO_LARGE},
        {4096, 4096, AFIS_TOO_LARGE},   {4097, 100, AFIS_TOO_LARGE},
        {100, 76, AFIS_BAD_FORMAT}, /* more coefficients than there are */
        {100, 74, AFIS_BAD_FORMAT}, /* fewer */
    };
    make_busy_file();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        set16(WSQ_FILE_SOF + 6, sizes[i].height);
        set16(WSQ_FILE_SOF + 8, sizes[i].width);
        ck_assert_msg(decode_file() == sizes[i].status, "%u x %u", sizes[i].width, sizes[i].height);
    }
}
END_TEST

/* The file without the bytes from `from` to `to`. */
static void cut(size_t from, size_t to)
{
    memmove(file.bytes + from, file.bytes + to, file.len - to);
    file.len -= to - from;
}

START_TEST(missing_tables_are_refused)
{
    static const size_t at[] = {WSQ_FILE_DTT, WSQ_FILE_DQT, WSQ_FILE_SOF, WSQ_FILE_DHT,
                                WSQ_FILE_SOB};
    for (size_t i = 0; i + 1 < sizeof at / sizeof *at; i++) {
        make_busy_file();
        cut(at[i], at[i + 1]);
        ck_assert_msg(decode_file() == AFIS_BAD_FORMAT, "without segment %zu", i);
    }
    make_busy_file();
    cut(WSQ_FILE_SOB, file.len - 2); /* no block at all */
    ck_assert_int_eq(decode_file(), AFIS_BAD_FORMAT);
}
END_TEST

START_TEST(segment_lengths_are_checked)
{
    static const size_t at[] = {WSQ_FILE_DTT, WSQ_FILE_DQT, WSQ_FILE_SOF, WSQ_FILE_DHT,
                                WSQ_FILE_SOB};
    static const unsigned lengths[] = {0, 1, 2, 5, 65535};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            make_busy_file();
            set16(at[i] + 2, lengths[k]);
            ck_assert_msg(decode_file() != AFIS_OK, "segment %zu, length %u", i, lengths[k]);
        }
    }
}
END_TEST

START_TEST(huffman_tables_that_overflow_are_refused)
{
    const size_t counts = WSQ_FILE_DHT + 5; /* of the lengths 1 to 16 */
    make_busy_file();
    file.bytes[counts] = 3; /* three codes of one bit */
    ck_assert_int_eq(decode_file(), AFIS_BAD_FORMAT);
    make_busy_file();
    file.bytes[counts + 6] = 128; /* the codes of 7 bits leave none for those of 8 */
    ck_assert_int_eq(decode_file(), AFIS_BAD_FORMAT);
    make_busy_file();
    file.bytes[counts + 15] = 255; /* more symbols than a table can hold */
    ck_assert_int_eq(decode_file(), AFIS_BAD_FORMAT);
    make_busy_file();
    memset(file.bytes + counts, 0, 16); /* no symbol */
    ck_assert_int_eq(decode_file(), AFIS_BAD_FORMAT);
    make_busy_file();
    file.bytes[WSQ_FILE_DHT + 4] = 8; /* there are eight tables, from 0 */
    ck_assert_int_eq(decode_file(), AFIS_BAD_FORMAT);
}
END_TEST

START_TEST(even_filters_are_named_unsupported)
{
    make_busy_file();
    file.bytes[WSQ_FILE_DTT + 4] = 8;
    ck_assert_int_eq(decode_file(), AFIS_UNSUPPORTED);
    make_busy_file();
    file.bytes[WSQ_FILE_DTT + 5] = 33;
    ck_assert_int_eq(decode_file(), AFIS_BAD_FORMAT);
}
END_TEST

START_TEST(filters_longer_than_the_picture_are_decoded)
{
    make_busy_file();
    file.bytes[WSQ_FILE_DTT + 4] = 31;
    ck_assert_int_eq(decode_file(), AFIS_BAD_FORMAT); /* the taps are not there */
    size_t count = wsq_file_count(32, 32);
    int16_t *coefficients = calloc(count, sizeof *coefficients);
    ck_assert_ptr_nonnull(coefficients);
    wsq_file_make(&file, 32, 32, coefficients, count);
    free(coefficients);
    const size_t more = (size_t)6 * (16 + 16 - 9);
    memmove(file.bytes + WSQ_FILE_DQT + more, file.bytes + WSQ_FILE_DQT, file.len - WSQ_FILE_DQT);
    memset(file.bytes + WSQ_FILE_DQT, 0, more);
    file.len += more;
    file.bytes[WSQ_FILE_DTT + 3] = (uint8_t)(58 + more);
    file.bytes[WSQ_FILE_DTT + 4] = file.bytes[WSQ_FILE_DTT + 5] = 31;
    ck_assert_int_eq(decode_file(), AFIS_OK);
}
END_TEST

/* An allocator that fails at its n-th call. */
static void *failing_alloc(void *ctx, size_t size)
{
    unsigned *left = ctx;
    return (*left)-- == 0 ? NULL : afis_memory_heap.alloc(NULL, size);
}

START_TEST(exhausted_memory_is_reported)
{
    make_busy_file();
    for (unsigned n = 0; n < 2; n++) {
        unsigned left = n;
        struct afis_memory memory = {failing_alloc, afis_memory_heap.release, &left};
        struct afis_image image = {0};
        ck_assert_int_eq(afis_image_from_wsq(file.bytes, file.len, 500, &memory, &image),
                         AFIS_NO_MEMORY);
        ck_assert_ptr_null(image.pixels);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wsq");
    TCase *tc = tcase_create("decode");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, reference_images_are_within_one_grey_level);
    tcase_add_test(tc, lowest_band_alone_is_an_even_grey);
    tcase_add_test(tc, every_escape_and_run_is_read);
    tcase_add_test(tc, resolution_is_bounded_as_for_every_image);
    tcase_add_test(tc, every_truncation_is_refused);
    tcase_add_test(tc, mutations_never_break_the_decoder);
    tcase_add_test(tc, impossible_sizes_are_refused);
    tcase_add_test(tc, missing_tables_are_refused);
    tcase_add_test(tc, segment_lengths_are_checked);
    tcase_add_test(tc, huffman_tables_that_overflow_are_refused);
    tcase_add_test(tc, even_filters_are_named_unsupported);
    tcase_add_test(tc, filters_longer_than_the_picture_are_decoded);
    tcase_add_test(tc, exhausted_memory_is_reported);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
