/* The glance: that it sees who lies alike, and that every variant of its code sees the same. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../afis/match/internal.h"
#include "../../afis/match/sieve.h"
#include "minutiae.h"
#include "run_suite.h"

#define PRINTS 40u

static uint64_t words[PRINTS][AFIS_SIEVE_WORDS] __attribute__((aligned(64)));
static uint8_t places[PRINTS][AFIS_SIEVE_PLACES];
static struct afis_sieve sieve;
static struct afis_matcher matcher;
static uint64_t state = 4711;

static void keep(const struct afis_template *tmpl, unsigned k)
{
    uint8_t packed[AFIS_PACKED_MAX];
    size_t len;
    ck_assert_int_eq(afis_template_pack(tmpl, packed, sizeof packed, &len), AFIS_OK);
    ck_assert_int_eq(afis_sieve_words(packed, len, words[k], places[k]), AFIS_OK);
}

static void seek(const struct afis_template *tmpl)
{
    static struct afis_finger finger;
    ck_assert_int_eq(afis_finger_prepare(tmpl, &finger), AFIS_OK);
    afis_sieve_init(&sieve, &finger);
}

static void glance_at(uint16_t first, unsigned count, float *impressions)
{
    uint16_t rows[PRINTS];
    for (unsigned i = 0; i < count; i++) {
        rows[i] = (uint16_t)(first + i);
    }
    afis_glance(&matcher, &sieve, words[0], places[0], rows, count, impressions);
}

/* The same print on a larger sensor, turned by `degrees` and put elsewhere. */
static struct afis_template turned(const struct afis_template *of, double degrees)
{
    struct afis_template t = *of;
    const double c = cos(degrees * M_PI / 180), s = sin(degrees * M_PI / 180);
    t.width = t.height = 900;
    for (unsigned i = 0; i < t.count; i++) {
        const double x = of->minutiae[i].x - 2400.0, y = of->minutiae[i].y - 3200.0;
        t.minutiae[i].x = (int16_t)lrint(c * x + s * y + 7000);
        t.minutiae[i].y = (int16_t)lrint(c * y - s * x + 6000);
        t.minutiae[i].angle =
            (uint16_t)(of->minutiae[i].angle + (unsigned)lrint(degrees * 65536 / 360 + 65536));
    }
    return t;
}

START_TEST(the_same_print_turned_and_moved_makes_an_impression)
{
    float impressions[PRINTS];
    for (unsigned k = 0; k < PRINTS; k++) {
        const struct afis_template t = minutiae_template(500 + k, 20 + k);
        keep(&t, k);
    }
    for (unsigned k = 0; k < PRINTS; k++) {
        const struct afis_template t = minutiae_template(500 + k, 20 + k),
                                   probe = turned(&t, 10.0 * _i);
        seek(&probe);
        glance_at(0, PRINTS, impressions);
        for (unsigned i = 0; i < PRINTS; i++) {
            ck_assert(i == k || impressions[i] + 2 < impressions[k]);
        }
    }
}
END_TEST

START_TEST(the_same_minutiae_elsewhere_make_none)
{
    float impressions[2];
    const struct afis_template t = minutiae_template(7, 40), other = minutiae_template(8, 40);
    keep(&other, 1);
    keep(&t, 0);
    memcpy(words[1], words[0], sizeof words[0]);
    seek(&t);
    glance_at(0, 2, impressions);
    ck_assert_float_gt(impressions[0], 6);
    ck_assert_float_lt(impressions[1], 3);
}
END_TEST

START_TEST(a_print_of_few_or_no_minutiae_makes_little)
{
    float impressions[2];
    const struct afis_template one = minutiae_template(9, 1), none = minutiae_template(9, 0);
    keep(&one, 0);
    keep(&none, 1);
    seek(&one);
    glance_at(0, 1, impressions);
    ck_assert_float_lt(impressions[0], 2);
    seek(&none);
    glance_at(0, 2, impressions);
    ck_assert_float_eq(impressions[0], 0);
    ck_assert_float_eq(impressions[1], 0);
}
END_TEST

/* However large a print is, its minutiae fit: to a step of four pixels, or more of the largest. */
START_TEST(places_tell_where_minutiae_lie)
{
    const double step_least = 4;
    struct afis_template t = minutiae_template(11, 24);
    uint8_t packed[AFIS_PACKED_MAX];
    struct afis_finger f;
    size_t len;
    t.width = t.height = (uint16_t)(700 << _i / 2);
    for (unsigned i = 0; i < t.count; i++) { /* best first */
        t.minutiae[i].x = (int16_t)(t.minutiae[i].x * (_i + 1) / 2);
        t.minutiae[i].y = (int16_t)(t.minutiae[i].y * (_i + 1) / 2);
        t.minutiae[i].quality = (uint8_t)(90 - i);
    }
    keep(&t, 0);
    ck_assert_int_eq(afis_template_pack(&t, packed, sizeof packed, &len), AFIS_OK);
    ck_assert_int_eq(afis_finger_prepare_packed(packed, len, &f), AFIS_OK);
    const double step = (double)(1u << places[0][PLACE_STEP]) / AFIS_SUBPIXEL;
    ck_assert(step >= step_least && step <= 4 * step_least);
    double x[AFIS_SIEVE_WORDS], y[AFIS_SIEVE_WORDS];
    for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
        uint32_t v = 0;
        for (unsigned b = 0; b < 3; b++) {
            v |= (uint32_t)places[0][k * PLACE_BITS / 8 + b] << (8 * b);
        }
        v >>= k * PLACE_BITS % 8;
        x[k] = (v & 127) * step;
        y[k] = (v >> 7 & 127) * step;
        ck_assert_uint_eq(f.descriptor[k], words[0][k]);
        ck_assert_double_le(fabs(x[k] - x[0] - (double)(f.px[k] - f.px[0])), step);
        ck_assert_double_le(fabs(y[k] - y[0] - (double)(f.py[k] - f.py[0])), step);
        const int off = (int16_t)(uint16_t)(f.angle[k] - ((v >> 14 & 63) << 10));
        ck_assert_int_le(abs(off), 512);
    }
}
END_TEST

/* Probes of 0 to 64 minutiae; words at random, equal and near; places that are no print's too. */
START_TEST(every_variant_returns_the_same_impressions)
{
    float expected[PRINTS], impressions[PRINTS];
    const struct afis_template t = minutiae_template(77, (unsigned)_i);
    seek(&t);
    for (unsigned k = 0; k < PRINTS; k++) {
        const struct afis_template other = k % 3 == 0 ? t : minutiae_template(k, 30);
        keep(&other, k);
        for (unsigned w = 0; w < AFIS_SIEVE_WORDS; w++) {
            const uint64_t at = minutiae_random(&state, SIEVE_LANES);
            const uint64_t noise = (uint64_t)1 << minutiae_random(&state, 64) |
                                   (uint64_t)1 << minutiae_random(&state, 64);
            words[k][w] = k % 4 == 0 ? sieve.lane[at] ^ noise : words[k][w];
        }
        for (unsigned b = 0; b < AFIS_SIEVE_PLACES && k % 5 == 1; b++) {
            places[k][b] = (uint8_t)minutiae_random(&state, 256);
        }
        expected[k] = afis_match_ops_portable.glance(&matcher, &sieve, words[k], places[k]);
        ck_assert(isfinite(expected[k]) && expected[k] >= 0);
    }
    glance_at(0, PRINTS, impressions);
    ck_assert_mem_eq(impressions, expected, sizeof expected);
#ifdef AFIS_HAVE_MATCH_KERNELS
    for (unsigned k = 0; k < PRINTS && afis_match_ops_best() != &afis_match_ops_portable; k++) {
        const float own = afis_match_ops_avx2.glance(&matcher, &sieve, words[k], places[k]);
        ck_assert_mem_eq(&own, &expected[k], sizeof own);
    }
#endif
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("glance");
    TCase *tcase = tcase_create("glance");
    tcase_add_loop_test(tcase, the_same_print_turned_and_moved_makes_an_impression, -4, 5);
    tcase_add_test(tcase, the_same_minutiae_elsewhere_make_none);
    tcase_add_test(tcase, a_print_of_few_or_no_minutiae_makes_little);
    tcase_add_loop_test(tcase, places_tell_where_minutiae_lie, 1, 6);
    tcase_add_loop_test(tcase, every_variant_returns_the_same_impressions, 0, 65);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
