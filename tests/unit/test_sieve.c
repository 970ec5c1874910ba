/* The sieve: what it ranks by, and that every variant of its code ranks alike. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../afis/match/internal.h"
#include "../../afis/match/sieve.h"
#include "minutiae.h"
#include "run_suite.h"

#define PRINTS 40u

static uint64_t words[PRINTS][AFIS_SIEVE_WORDS] __attribute__((aligned(64)));
static struct afis_sieve sieve;
static uint64_t state = 88172645463325252u;

static uint64_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void words_of(const struct afis_template *tmpl, uint64_t out[AFIS_SIEVE_WORDS])
{
    uint8_t packed[AFIS_PACKED_MAX], places[AFIS_SIEVE_PLACES];
    size_t len;
    ck_assert_int_eq(afis_template_pack(tmpl, packed, sizeof packed, &len), AFIS_OK);
    ck_assert_int_eq(afis_sieve_words(packed, len, out, places), AFIS_OK);
}

static void seek(const struct afis_template *tmpl)
{
    static struct afis_finger finger;
    ck_assert_int_eq(afis_finger_prepare(tmpl, &finger), AFIS_OK);
    afis_sieve_init(&sieve, &finger);
}

START_TEST(the_same_print_ranks_far_above_others)
{
    int16_t scores[PRINTS];
    for (unsigned k = 0; k < PRINTS; k++) {
        const struct afis_template t = minutiae_template(500 + k, 20 + k);
        words_of(&t, words[k]);
    }
    for (unsigned k = 0; k < PRINTS; k++) {
        const struct afis_template t = minutiae_template(500 + k, 20 + k);
        seek(&t);
        afis_sieve_scan(&sieve, words[0], PRINTS, scores);
        for (unsigned i = 0; i < PRINTS; i++) {
            ck_assert(i == k || scores[i] + 20 * AFIS_SIEVE_UNIT < scores[k]);
        }
    }
}
END_TEST

/* Probes of 0 to 64 minutiae; words at random, equal and near. */
START_TEST(every_variant_returns_the_same_scores)
{
    int16_t expected[PRINTS], scores[PRINTS];
    const struct afis_template t = minutiae_template(77, (unsigned)_i);
    seek(&t);
    for (unsigned k = 0; k < PRINTS; k++) {
        for (unsigned w = 0; w < AFIS_SIEVE_WORDS; w++) {
            uint64_t noise = k % 4 == 0 ? draw() : k % 4 == 1 ? draw() & draw() & draw() : 0;
            words[k][w] = sieve.lane[draw() % SIEVE_LANES] ^ noise;
        }
    }
    afis_sieve_scan_portable(&sieve, words[0], NULL, PRINTS, expected);
    afis_sieve_scan(&sieve, words[0], PRINTS, scores);
    ck_assert_mem_eq(scores, expected, sizeof expected);
#ifdef AFIS_HAVE_MATCH_KERNELS
    if (afis_match_ops_best() != &afis_match_ops_portable) {
        afis_sieve_scan_avx2(&sieve, words[0], NULL, PRINTS, scores);
        ck_assert_mem_eq(scores, expected, sizeof expected);
    }
#endif
    uint16_t rows[PRINTS];
    for (unsigned k = 0; k < PRINTS; k++) {
        rows[k] = (uint16_t)(k * 7 % PRINTS);
    }
    afis_sieve_scan_rows(&sieve, words[0], rows, PRINTS, scores);
    for (unsigned k = 0; k < PRINTS; k++) {
        ck_assert_int_eq(scores[k], expected[rows[k]]);
    }
    if (_i == 0) {
        ck_assert_int_eq(expected[0], 0);
    }
}
END_TEST

START_TEST(prints_of_few_minutiae_rank_by_those)
{
    int16_t score;
    const struct afis_template few = minutiae_template(9, 3), none = minutiae_template(9, 0);
    words_of(&few, words[0]);
    for (unsigned w = 3; w < AFIS_SIEVE_WORDS; w++) {
        ck_assert_uint_eq(words[0][w], words[0][w - 3]);
    }
    seek(&few);
    afis_sieve_scan(&sieve, words[0], 1, &score);
    ck_assert_int_eq(score, 3 * sieve.worth[0]);
    words_of(&none, words[0]);
    seek(&none);
    afis_sieve_scan(&sieve, words[0], 1, &score);
    ck_assert_int_eq(score, 0);
}
END_TEST

START_TEST(a_damaged_template_has_no_words)
{
    uint8_t packed[AFIS_PACKED_MAX], places[AFIS_SIEVE_PLACES];
    size_t len;
    const struct afis_template t = minutiae_template(3, 30);
    ck_assert_int_eq(afis_template_pack(&t, packed, sizeof packed, &len), AFIS_OK);
    for (size_t at = 0; at < len; at += 7) {
        packed[at] ^= 4;
        ck_assert_int_ne(afis_sieve_words(packed, len, words[0], places), AFIS_OK);
        packed[at] ^= 4;
        ck_assert_int_ne(afis_sieve_words(packed, at, words[0], places), AFIS_OK);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sieve");
    TCase *tcase = tcase_create("sieve");
    tcase_add_test(tcase, the_same_print_ranks_far_above_others);
    tcase_add_loop_test(tcase, every_variant_returns_the_same_scores, 0, 65);
    tcase_add_test(tcase, prints_of_few_minutiae_rank_by_those);
    tcase_add_test(tcase, a_damaged_template_has_no_words);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
