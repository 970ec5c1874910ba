/* Templates: interchange records and the packed form. */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "minutiae.h"
#include "run_suite.h"

enum { RECORD_CAP = 2048 };

static struct afis_template whole_pixels(uint64_t seed, unsigned count)
{
    struct afis_template t = minutiae_template(seed, count);
    for (unsigned i = 0; i < t.count; i++) {
        t.minutiae[i].x &= ~15;
        t.minutiae[i].y &= ~15;
        t.minutiae[i].angle &= 0xff00;
    }
    return t;
}

static void same_template(const struct afis_template *a, const struct afis_template *b)
{
    ck_assert_uint_eq(a->width, b->width);
    ck_assert_uint_eq(a->height, b->height);
    ck_assert_uint_eq(a->position, b->position);
    ck_assert_uint_eq(a->quality, b->quality);
    ck_assert_uint_eq(a->count, b->count);
    for (unsigned i = 0; i < a->count; i++) {
        ck_assert_int_eq(a->minutiae[i].x, b->minutiae[i].x);
        ck_assert_int_eq(a->minutiae[i].y, b->minutiae[i].y);
        ck_assert_uint_eq(a->minutiae[i].angle, b->minutiae[i].angle);
        ck_assert_uint_eq(a->minutiae[i].type, b->minutiae[i].type);
        ck_assert_uint_eq(a->minutiae[i].quality, b->minutiae[i].quality);
    }
}

START_TEST(iso_round_trip_is_exact)
{
    for (unsigned count = 0; count <= AFIS_MINUTIAE_MAX; count += 17) {
        struct afis_template in = whole_pixels(count, count), out;
        uint8_t bytes[RECORD_CAP], again[RECORD_CAP];
        size_t len, len2;
        ck_assert_int_eq(afis_template_to_iso(&in, bytes, sizeof bytes, &len), AFIS_OK);
        ck_assert_uint_eq(len, 30 + 6 * count);
        ck_assert_int_eq(afis_template_from_iso(bytes, len, 0, &out), AFIS_OK);
        same_template(&in, &out);
        ck_assert_int_eq(afis_template_to_iso(&out, again, sizeof again, &len2), AFIS_OK);
        ck_assert_uint_eq(len, len2);
        ck_assert_mem_eq(bytes, again, len);
    }
}
END_TEST

START_TEST(iso_writer_says_when_the_buffer_is_too_small)
{
    struct afis_template t = whole_pixels(1, 30);
    uint8_t bytes[RECORD_CAP];
    size_t len;
    ck_assert_int_eq(afis_template_to_iso(&t, bytes, 30 + 6 * 30 - 1, &len), AFIS_TOO_LARGE);
    ck_assert_int_eq(afis_template_to_iso(&t, bytes, 30 + 6 * 30, &len), AFIS_OK);
    t.minutiae[3].quality = 101;
    ck_assert_int_eq(afis_template_to_iso(&t, bytes, sizeof bytes, &len), AFIS_BAD_FORMAT);
}
END_TEST

START_TEST(iso_cut_anywhere_is_bad_format)
{
    struct afis_template t = whole_pixels(2, 12), out;
    uint8_t bytes[RECORD_CAP];
    size_t len;
    ck_assert_int_eq(afis_template_to_iso(&t, bytes, sizeof bytes, &len), AFIS_OK);
    for (size_t cut = 0; cut < len; cut++) {
        ck_assert_int_eq(afis_template_from_iso(bytes, cut, 0, &out), AFIS_BAD_FORMAT);
    }
    bytes[len] = 0; /* and a byte too many */
    ck_assert_int_eq(afis_template_from_iso(bytes, len + 1, 0, &out), AFIS_BAD_FORMAT);
    ck_assert_int_eq(afis_template_from_iso(bytes, len, 1, &out), AFIS_BAD_FORMAT);
}
END_TEST

/* Whatever was read can be used: written, packed, and found valid again. */
static void usable(const struct afis_template *t)
{
    uint8_t bytes[RECORD_CAP];
    size_t len;
    struct afis_template out;
    ck_assert_int_eq(afis_template_to_iso(t, bytes, sizeof bytes, &len), AFIS_OK);
    ck_assert_int_eq(afis_template_pack(t, bytes, sizeof bytes, &len), AFIS_OK);
    ck_assert_int_eq(afis_template_unpack(bytes, len, &out), AFIS_OK);
}

START_TEST(iso_with_any_bit_flipped_is_refused_or_usable)
{
    struct afis_template t = whole_pixels(3, 9);
    uint8_t bytes[RECORD_CAP];
    size_t len;
    ck_assert_int_eq(afis_template_to_iso(&t, bytes, sizeof bytes, &len), AFIS_OK);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        struct afis_template out;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum afis_status status = afis_template_from_iso(bytes, len, 0, &out);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (status == AFIS_OK) {
            usable(&out);
        } else {
            ck_assert(status == AFIS_BAD_FORMAT || status == AFIS_BAD_DPI ||
                      status == AFIS_UNSUPPORTED);
        }
    }
}
END_TEST

START_TEST(iso_coordinates_are_scaled_to_500_dpi)
{
    struct afis_template t = whole_pixels(4, 5), out;
    uint8_t bytes[RECORD_CAP];
    size_t len;
    ck_assert_int_eq(afis_template_to_iso(&t, bytes, sizeof bytes, &len), AFIS_OK);
    bytes[18] = bytes[20] = 394 >> 8; /* pixels per cm: 1000 dpi */
    bytes[19] = bytes[21] = 394 & 255;
    ck_assert_int_eq(afis_template_from_iso(bytes, len, 0, &out), AFIS_OK);
    for (unsigned i = 0; i < t.count; i++) {
        ck_assert_int_le(abs(2 * out.minutiae[i].x - t.minutiae[i].x), 8);
        ck_assert_int_le(abs(2 * out.minutiae[i].y - t.minutiae[i].y), 8);
        ck_assert_uint_eq(out.minutiae[i].angle, t.minutiae[i].angle);
    }
    ck_assert_int_le(abs(out.width - 150), 1);
    bytes[18] = 2; /* 658 pixels per cm */
    ck_assert_int_eq(afis_template_from_iso(bytes, len, 0, &out), AFIS_BAD_DPI);
}
END_TEST

/* An ANSI INCITS 378 record of two views with one minutia each and extended data after the first;
 * `wide` uses the six-byte length. */
static size_t ansi_record(uint8_t *p, bool wide)
{
    static const uint8_t rest[] = {
        0,    0x42, 0,  0x11, 0,   0,                 /* CBEFF product, equipment */
        1,    44,   1,  144,  0,   197, 0, 197, 2, 0, /* 300 x 400, 197 pixels per cm, two views */
        7,    0,    80, 1,                            /* view 0: left index finger, one minutia */
        0x40, 100,  0,  50,   45,  60,  0, 3,   9, 9, 9, /* and three bytes of extended data */
        2,    0x10, 70, 1,                               /* view 1 */
        0x80, 120,  0,  60,   179, 0,   0, 0};
    size_t len = 8 + (wide ? 6u : 2u) + sizeof rest;
    memcpy(p, "FMR\0 20", 8);
    memset(p + 8, 0, 6);
    p[wide ? 13 : 9] = (uint8_t)len;
    memcpy(p + (wide ? 14 : 10), rest, sizeof rest);
    return len;
}

START_TEST(ansi_378_is_read_with_both_length_fields_and_all_views)
{
    for (unsigned wide = 0; wide < 2; wide++) {
        uint8_t bytes[RECORD_CAP];
        struct afis_template t;
        size_t len = ansi_record(bytes, wide != 0);
        ck_assert_int_eq(afis_template_from_iso(bytes, len, 0, &t), AFIS_OK);
        ck_assert_uint_eq(t.position, 7);
        ck_assert_uint_eq(t.count, 1);
        ck_assert_int_eq(t.minutiae[0].x, 100 * 16);
        ck_assert_int_eq(t.minutiae[0].y, 50 * 16);
        ck_assert_uint_eq(t.minutiae[0].angle, 16384); /* 45 units of 2 degrees */
        ck_assert_uint_eq(t.minutiae[0].type, AFIS_MINUTIA_ENDING);
        ck_assert_int_eq(afis_template_from_iso(bytes, len, 1, &t), AFIS_OK);
        ck_assert_uint_eq(t.position, 2);
        ck_assert_uint_eq(t.minutiae[0].quality, 0);
        ck_assert_int_eq(afis_template_from_iso(bytes, len, 2, &t), AFIS_BAD_FORMAT);
        bytes[len - 4] = 180; /* no such angle */
        ck_assert_int_eq(afis_template_from_iso(bytes, len, 0, &t), AFIS_BAD_FORMAT);
    }
}
END_TEST

START_TEST(a_later_version_is_unsupported)
{
    uint8_t bytes[64] = "FMR\0"
                        "030";
    struct afis_template t;
    ck_assert_int_eq(afis_template_from_iso(bytes, sizeof bytes, 0, &t), AFIS_UNSUPPORTED);
}
END_TEST

START_TEST(packing_keeps_every_field_of_up_to_64_minutiae)
{
    for (unsigned count = 0; count <= 64; count += 8) {
        struct afis_template in = whole_pixels(count + 50, count), out;
        in.reasons = AFIS_REASON_TOO_DRY;
        uint8_t bytes[AFIS_PACKED_MAX], again[AFIS_PACKED_MAX];
        size_t len, len2;
        ck_assert_int_eq(afis_template_pack(&in, bytes, sizeof bytes, &len), AFIS_OK);
        ck_assert_uint_eq(len, 16 + 14 * count);
        ck_assert_int_eq(afis_template_unpack(bytes, len, &out), AFIS_OK);
        same_template(&in, &out);
        ck_assert_uint_eq(out.reasons, AFIS_REASON_TOO_DRY);
        ck_assert_int_eq(afis_template_pack(&out, again, sizeof again, &len2), AFIS_OK);
        ck_assert_uint_eq(len, len2);
        ck_assert_mem_eq(bytes, again, len);
    }
}
END_TEST

START_TEST(forty_minutiae_pack_into_600_bytes)
{
    struct afis_template t = minutiae_template(6, 40);
    uint8_t bytes[600];
    size_t len;
    ck_assert_int_eq(afis_template_pack(&t, bytes, sizeof bytes, &len), AFIS_OK);
    ck_assert_int_eq(afis_template_pack(&t, bytes, len - 1, &len), AFIS_TOO_LARGE);
}
END_TEST

START_TEST(packing_keeps_the_most_reliable)
{
    struct afis_template t = minutiae_template(7, 200), out;
    unsigned good = 0;
    for (unsigned i = 0; i < t.count; i++) {
        t.minutiae[i].quality = i % 5 == 0 ? 90 : 30;
    }
    uint8_t bytes[AFIS_PACKED_MAX];
    size_t len;
    ck_assert_int_eq(afis_template_pack(&t, bytes, sizeof bytes, &len), AFIS_OK);
    ck_assert_int_eq(afis_template_unpack(bytes, len, &out), AFIS_OK);
    for (unsigned i = 0; i < out.count; i++) {
        good += out.minutiae[i].quality == 90;
    }
    ck_assert_uint_eq(good, 40);
    ck_assert_uint_eq(out.count, 64);
}
END_TEST

START_TEST(a_very_large_print_packs_at_half_precision)
{
    struct afis_template t = minutiae_template(8, 20), out;
    t.width = t.height = 2000;
    t.minutiae[0].x = t.minutiae[0].y = 1999 * 16 + 1;
    uint8_t bytes[AFIS_PACKED_MAX];
    size_t len;
    ck_assert_int_eq(afis_template_pack(&t, bytes, sizeof bytes, &len), AFIS_OK);
    ck_assert_int_eq(afis_template_unpack(bytes, len, &out), AFIS_OK);
    ck_assert_int_eq(out.minutiae[0].x, 1999 * 16);
}
END_TEST

START_TEST(packed_bytes_cut_or_changed_anywhere_are_refused)
{
    struct afis_template t = minutiae_template(9, 21), out;
    uint8_t bytes[AFIS_PACKED_MAX];
    size_t len;
    ck_assert_int_eq(afis_template_pack(&t, bytes, sizeof bytes, &len), AFIS_OK);
    for (size_t cut = 0; cut < len; cut++) {
        ck_assert_int_eq(afis_template_unpack(bytes, cut, &out), AFIS_BAD_FORMAT);
    }
    for (size_t bit = 0; bit < 8 * len; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum afis_status status = afis_template_unpack(bytes, len, &out);
        ck_assert(status == AFIS_BAD_FORMAT || (bit / 8 == 2 && status == AFIS_UNSUPPORTED));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

START_TEST(templates_with_fields_out_of_range_are_not_packed)
{
    const struct afis_template good = minutiae_template(10, 10);
    struct afis_template bad[6];
    for (unsigned k = 0; k < 6; k++) {
        bad[k] = good;
    }
    bad[0].count = AFIS_MINUTIAE_MAX + 1;
    bad[1].minutiae[2].x = -1;
    bad[2].minutiae[2].y = 400 * 16;
    bad[3].minutiae[2].type = 3;
    bad[4].position = 11;
    bad[5].width = 0;
    uint8_t bytes[AFIS_PACKED_MAX];
    size_t len;
    for (unsigned k = 0; k < 6; k++) {
        ck_assert_int_eq(afis_template_pack(&bad[k], bytes, sizeof bytes, &len), AFIS_BAD_FORMAT);
    }
}
END_TEST

START_TEST(advice_is_given_for_the_lowest_reason)
{
    ck_assert_str_eq(afis_quality_advice(0), "");
    ck_assert_ptr_nonnull(strstr(afis_quality_advice(AFIS_REASON_TOO_DRY), "dry"));
    ck_assert_ptr_nonnull(
        strstr(afis_quality_advice(AFIS_REASON_MOVED | AFIS_REASON_TOO_WET), "wet"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("template");
    TCase *tests = tcase_create("template");
    tcase_add_test(tests, iso_round_trip_is_exact);
    tcase_add_test(tests, iso_writer_says_when_the_buffer_is_too_small);
    tcase_add_test(tests, iso_cut_anywhere_is_bad_format);
    tcase_add_test(tests, iso_with_any_bit_flipped_is_refused_or_usable);
    tcase_add_test(tests, iso_coordinates_are_scaled_to_500_dpi);
    tcase_add_test(tests, ansi_378_is_read_with_both_length_fields_and_all_views);
    tcase_add_test(tests, a_later_version_is_unsupported);
    tcase_add_test(tests, packing_keeps_every_field_of_up_to_64_minutiae);
    tcase_add_test(tests, forty_minutiae_pack_into_600_bytes);
    tcase_add_test(tests, packing_keeps_the_most_reliable);
    tcase_add_test(tests, a_very_large_print_packs_at_half_precision);
    tcase_add_test(tests, packed_bytes_cut_or_changed_anywhere_are_refused);
    tcase_add_test(tests, templates_with_fields_out_of_range_are_not_packed);
    tcase_add_test(tests, advice_is_given_for_the_lowest_reason);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
