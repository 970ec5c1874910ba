/* The sift: what it counts, that probes do not disturb one another, and that every variant of its
 * code scores alike. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../afis/match/internal.h"
#include "../../afis/match/sift.h"
#include "minutiae.h"
#include "run_suite.h"

#define PRINTS 77u /* no multiple of a block */

static uint64_t words[PRINTS][AFIS_SIEVE_WORDS] __attribute__((aligned(64)));
static struct afis_sieve sieves[AFIS_SIFT_PROBES];
static struct afis_sift_scratch *scratch;
static uint64_t state = 88172645463325252u;

static uint64_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void *allocate(size_t size)
{
    void *p = aligned_alloc(64, (size + 63) & ~(size_t)63);
    if (!p) {
        abort();
    }
    memset(p, 0xa5, size); /* nothing may depend on what was there */
    return p;
}

static void seek(struct afis_sieve *sieve, const struct afis_template *tmpl)
{
    static struct afis_finger finger;
    ck_assert_int_eq(afis_finger_prepare(tmpl, &finger), AFIS_OK);
    afis_sieve_init(sieve, &finger);
}

static struct afis_sift *tables(unsigned first, unsigned probes)
{
    const struct afis_sieve *list[AFIS_SIFT_PROBES];
    struct afis_sift *sift = allocate(afis_sift_size(probes));
    for (unsigned i = 0; i < probes; i++) {
        list[i] = &sieves[first + i];
    }
    afis_sift_init(sift, list, probes);
    return sift;
}

/* What the header says, word by word. */
static int16_t expected(const struct afis_sieve *sieve, const uint64_t *print)
{
    int32_t sum = 0;
    for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
        for (unsigned l = 0; l < SIFT_LANES; l++) {
            const uint64_t apart = print[k] ^ sieve->lane[l];
            const int distance = __builtin_popcountll(apart);
            bool met = false;
            for (unsigned t = 0; t < SIFT_PIECES; t++) {
                const uint64_t piece = apart >> (t * SIFT_BITS) & (SIFT_CELLS - 1);
                met = met || __builtin_popcountll(piece) <= (int)SIFT_REACH;
            }
            if ((sieve->used >> SIEVE_BIT(l) & 1u) && met &&
                __builtin_popcountll(apart >> 32) <= (int)SIFT_HIGH && distance <= (int)SIFT_NEAR) {
                sum += sieve->worth[distance] + SIFT_MISSED;
            }
        }
    }
    return (int16_t)(sum < INT16_MAX ? sum : INT16_MAX);
}

/* Probes of 0 to 64 minutiae, some of them alike; words at random, equal and near. */
static void draw_all(unsigned seed)
{
    for (unsigned i = 0; i < AFIS_SIFT_PROBES; i++) {
        const unsigned count = i == 3 ? 0 : (seed * 7 + i * 5) % 65;
        const struct afis_template t = minutiae_template(i < 9 ? 100 * seed + i : seed, count);
        seek(&sieves[i], &t);
    }
    for (unsigned p = 0; p < PRINTS; p++) {
        for (unsigned w = 0; w < AFIS_SIEVE_WORDS; w++) {
            const uint64_t lane = sieves[draw() % AFIS_SIFT_PROBES].lane[draw() % SIEVE_LANES];
            const uint64_t noise = p % 4 == 0   ? draw()
                                   : p % 4 == 1 ? draw() & draw() & draw()
                                   : p % 4 == 2 ? draw() & draw()
                                                : 0;
            words[p][w] = (p == 11 ? sieves[8].lane[0] : lane) ^ noise;
        }
    }
}

START_TEST(each_probe_scores_as_the_definition_says_alone_and_among_others)
{
    draw_all((unsigned)_i);
    const unsigned probes = 2 + (unsigned)_i % (AFIS_SIFT_PROBES - 1);
    int16_t *alone = allocate(PRINTS * sizeof *alone),
            *together = allocate(PRINTS * probes * sizeof *together);
    struct afis_sift *many = tables(0, probes);
    afis_sift_scan(many, scratch, words[0], PRINTS, together);
    for (unsigned i = 0; i < probes; i++) {
        struct afis_sift *one = tables(i, 1);
        afis_sift_scan(one, scratch, words[0], PRINTS, alone);
        for (unsigned p = 0; p < PRINTS; p++) {
            ck_assert_int_eq(alone[p], expected(&sieves[i], words[p]));
            ck_assert_int_eq(together[i * PRINTS + p], alone[p]);
        }
        free(one);
    }
    free(many);
    free(alone);
    free(together);
}
END_TEST

START_TEST(every_variant_returns_the_same_scores)
{
    draw_all((unsigned)_i);
    const unsigned probes = 1 + (unsigned)_i % AFIS_SIFT_PROBES;
    const size_t size = PRINTS * probes * sizeof(int16_t);
    int16_t *wanted = allocate(size), *scores = allocate(size);
    struct afis_sift *sift = tables(0, probes);
    afis_sift_scan_portable(sift, scratch, words[0], PRINTS, wanted);
    afis_sift_scan(sift, scratch, words[0], PRINTS, scores);
    ck_assert_mem_eq(scores, wanted, size);
#ifdef AFIS_HAVE_MATCH_KERNELS
    if (afis_match_ops_best() != &afis_match_ops_portable) {
        afis_sift_scan_avx2(sift, scratch, words[0], PRINTS, scores);
        ck_assert_mem_eq(scores, wanted, size);
    }
#endif
    free(sift);
    free(wanted);
    free(scores);
}
END_TEST

/* As many minutiae in one place as there can be, and a score beyond what its type holds. */
START_TEST(minutiae_that_are_all_the_same_have_room)
{
    int16_t scores[AFIS_SIFT_PROBES], alone;
    for (unsigned i = 0; i < AFIS_SIFT_PROBES; i++) {
        const struct afis_template t = minutiae_template(5, 60);
        seek(&sieves[i], &t);
        for (unsigned k = 0; k < SIEVE_LANES; k++) {
            sieves[i].lane[k] = 0x123456789abcdefu;
        }
    }
    for (unsigned w = 0; w < AFIS_SIEVE_WORDS; w++) {
        words[0][w] = 0x123456789abcdefu;
    }
    struct afis_sift *sift = tables(0, AFIS_SIFT_PROBES), *one = tables(0, 1);
    afis_sift_scan(sift, scratch, words[0], 1, scores);
    afis_sift_scan(one, scratch, words[0], 1, &alone);
    ck_assert_int_eq(alone, INT16_MAX);
    for (unsigned i = 0; i < AFIS_SIFT_PROBES; i++) {
        ck_assert_int_eq(scores[i], INT16_MAX);
    }
    free(sift);
    free(one);
}
END_TEST

START_TEST(the_same_print_scores_far_above_others)
{
    enum { OTHERS = 40 };
    int16_t scores[OTHERS];
    for (unsigned k = 0; k < OTHERS; k++) {
        uint8_t packed[AFIS_PACKED_MAX], places[AFIS_SIEVE_PLACES];
        size_t len;
        const struct afis_template t = minutiae_template(500 + k, 20 + k);
        ck_assert_int_eq(afis_template_pack(&t, packed, sizeof packed, &len), AFIS_OK);
        ck_assert_int_eq(afis_sieve_words(packed, len, words[k], places), AFIS_OK);
    }
    for (unsigned k = 0; k < OTHERS; k++) {
        const struct afis_template t = minutiae_template(500 + k, 20 + k);
        seek(&sieves[0], &t);
        struct afis_sift *sift = tables(0, 1);
        afis_sift_scan(sift, scratch, words[0], OTHERS, scores);
        for (unsigned i = 0; i < OTHERS; i++) {
            ck_assert(i == k || scores[i] * 2 < scores[k]);
        }
        free(sift);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sift");
    TCase *tcase = tcase_create("sift");
    scratch = allocate(afis_sift_scratch_size());
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, each_probe_scores_as_the_definition_says_alone_and_among_others, 0,
                        30);
    tcase_add_loop_test(tcase, every_variant_returns_the_same_scores, 0, 32);
    tcase_add_test(tcase, minutiae_that_are_all_the_same_have_room);
    tcase_add_test(tcase, the_same_print_scores_far_above_others);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
