/* Are made-up people as hard to tell from real prints as other real people are? For each sensor its
 * real prints are compared with one another (different fingers) and with made-up prints of the same
 * sensor; equal distributions lie on the diagonal of a quantile-quantile plot.
 *
 * Real comparisons are few and dependent: 45 pairs of fingers, 64 impressions each. Their intervals
 * come from resampling fingers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "afis/sift.h"
#include "search_bench.h"

enum { FINGERS = 2 * PEOPLE_A_SET, PRINTS = FINGERS * IMPRESSIONS, RESAMPLES = 1000 };
#define THRESHOLDS 3

static const double thresholds[THRESHOLDS] = {5, 10, 20}; /* dB */

/* What is glanced at (gallery/search.c), of a gallery of how many people. */
#define KEPT 0.015
#define NATIONAL 9e6

/* Where the sieve's cut lies for a share of the made-up people, and where for the same share of
 * real impostors; and which mates fall below. */
struct loss {
    struct numbers mates, impostors; /* in deviations of made-up people */
    double cut;                      /* of made-up people, sum over probes */
    double probes;
};

struct comparison {
    struct numbers real, made;                 /* scores, dB */
    double pair[FINGERS][FINGERS][THRESHOLDS]; /* real comparisons at or above, of 64 */
    struct loss loss[2];                       /* of one finger, of two */
};

/* Words of prints: the real ones of a set, then made-up ones. */
struct sieve_side {
    uint64_t *words;
    size_t count;
};

/* --- the matcher --- */

static void compare_real(struct comparison *c, unsigned set, struct afis_matcher *matcher)
{
    for (unsigned a = 0; a < PRINTS; a++) {
        for (unsigned b = 0; b < PRINTS; b++) {
            const unsigned fa = a / IMPRESSIONS, fb = b / IMPRESSIONS;
            if (fa == fb) {
                continue;
            }
            float score = afis_compare(matcher, print_of(set, fa, a % IMPRESSIONS)->finger,
                                       print_of(set, fb, b % IMPRESSIONS)->finger);
            numbers_add(&c->real, (double)score);
            for (unsigned t = 0; t < THRESHOLDS; t++) {
                c->pair[fa][fb][t] += (double)score >= thresholds[t];
            }
        }
    }
}

static void compare_made(struct comparison *c, unsigned set, const struct afis_template *made,
                         uint32_t people, struct afis_matcher *matcher)
{
    struct afis_finger *finger = must_alloc(afis_finger_size());
    for (uint32_t i = 0; i < people; i++) {
        if (afis_finger_prepare(&made[i], finger) != AFIS_OK) {
            die("the model made an invalid template", set_names[set]);
        }
        for (unsigned a = 0; a < PRINTS; a++) {
            const struct real_print *print = print_of(set, a / IMPRESSIONS, a % IMPRESSIONS);
            numbers_add(&c->made, (double)afis_compare(matcher, print->finger, finger));
        }
    }
    free(finger);
}

/* --- the sieve --- */

static uint64_t *words_of(const struct afis_template *tmpl, size_t count)
{
    uint64_t *words = must_alloc(count * AFIS_SIEVE_WORDS * sizeof *words);
    for (size_t i = 0; i < count; i++) {
        uint8_t packed[AFIS_PACKED_MAX], places[AFIS_SIEVE_PLACES];
        size_t len;
        if (afis_template_pack(&tmpl[i], packed, sizeof packed, &len) != AFIS_OK ||
            afis_sieve_words(packed, len, words + i * AFIS_SIEVE_WORDS, places) != AFIS_OK) {
            die("a template cannot be packed", "sieve");
        }
    }
    return words;
}

/* Scores of one probe, of one finger or of two, with everybody. */
struct sums {
    double real[PRINTS]; /* of one finger: each print; of two: of a person, at his first finger's */
    double *made;
    uint32_t people;
};

/* A mate that the matcher would rank first among so many people. */
static bool findable(unsigned set, unsigned a, unsigned b, unsigned fingers,
                     struct afis_matcher *matcher)
{
    float score[2];
    for (unsigned f = 0; f < fingers; f++) {
        score[f] =
            afis_compare(matcher, print_of(set, a / IMPRESSIONS + f, a % IMPRESSIONS)->finger,
                         print_of(set, b / IMPRESSIONS + f, b % IMPRESSIONS)->finger);
    }
    return afis_fuse(score, fingers) >= afis_threshold(0.5, NATIONAL);
}

static void add_probe(struct loss *loss, unsigned set, unsigned a, unsigned fingers,
                      const struct sums *sums, struct afis_matcher *matcher)
{
    struct numbers made = {0};
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < sums->people; i++) {
        numbers_add(&made, sums->made[i]);
        sum += sums->made[i];
        squares += sums->made[i] * sums->made[i];
    }
    const double mean = sum / sums->people;
    const double deviation = sqrt(squares / sums->people - mean * mean);
    loss->cut += (numbers_at(&made, 1 - KEPT) - mean) / deviation;
    loss->probes++;
    for (unsigned b = 0; b < PRINTS; b++) {
        const double z = (sums->real[b] - mean) / deviation;
        if (b / IMPRESSIONS % fingers != 0) {
            continue; /* the second finger of somebody */
        }
        if (b / IMPRESSIONS != a / IMPRESSIONS) {
            numbers_add(&loss->impostors, z);
        } else if (a != b && findable(set, a, b, fingers, matcher)) {
            numbers_add(&loss->mates, z);
        }
    }
    numbers_free(&made);
}

static double share_below(const struct numbers *numbers, double cut)
{
    double below = 0;
    for (size_t i = 0; i < numbers->count; i++) {
        below += numbers->values[i] < cut;
    }
    return numbers->count > 0 ? below / (double)numbers->count : NAN;
}

static void print_loss(struct loss *loss)
{
    printf(" %.2f / %.2f %% of %zu |", 100 * share_below(&loss->mates, loss->cut / loss->probes),
           100 * share_below(&loss->mates, numbers_at(&loss->impostors, 1 - KEPT)),
           loss->mates.count);
    numbers_free(&loss->mates);
    numbers_free(&loss->impostors);
}

/* What a search ranks by: the sieve, and half of what the sift says (gallery/rank.c). */
static void scan(const struct sieve_side *side, unsigned set, unsigned print, int16_t *scores)
{
    struct afis_sieve *sieve = must_alloc(afis_sieve_size());
    struct afis_sift *sift = must_alloc(afis_sift_size(1));
    struct afis_sift_scratch *scratch = must_alloc(afis_sift_scratch_size());
    int16_t *sifted = must_alloc(side->count * sizeof *sifted);
    const struct afis_sieve *const list[] = {sieve};
    afis_sieve_init(sieve, print_of(set, print / IMPRESSIONS, print % IMPRESSIONS)->finger);
    afis_sift_init(sift, list, 1);
    afis_sieve_scan(sieve, side->words, side->count, scores);
    afis_sift_scan(sift, scratch, side->words, side->count, sifted);
    for (size_t i = 0; i < side->count; i++) {
        scores[i] = (int16_t)(scores[i] + sifted[i] / 2);
    }
    free(sieve);
    free(sift);
    free(scratch);
    free(sifted);
}

/* Sums over the fingers of the probe that begins with print `a`. */
static void sum_up(const struct sieve_side *side, unsigned set, unsigned a, unsigned fingers,
                   struct sums *sums)
{
    int16_t *scores = must_alloc(side->count * sizeof *scores);
    sums->people = (uint32_t)(side->count - PRINTS) / fingers;
    memset(sums->real, 0, sizeof sums->real);
    memset(sums->made, 0, sums->people * sizeof *sums->made);
    for (unsigned f = 0; f < fingers; f++) {
        scan(side, set, a + f * IMPRESSIONS, scores);
        for (unsigned b = 0; b + f * IMPRESSIONS < PRINTS; b++) {
            sums->real[b] += scores[b + f * IMPRESSIONS];
        }
        for (uint32_t i = 0; i < sums->people; i++) {
            sums->made[i] += scores[PRINTS + i * fingers + f];
        }
    }
    free(scores);
}

static void compare_sieve(struct comparison *c, unsigned set, const struct afis_template *made,
                          uint32_t count)
{
    struct afis_template *all = must_alloc((PRINTS + count) * sizeof *all);
    struct afis_matcher *matcher = must_alloc(afis_matcher_size());
    for (unsigned a = 0; a < PRINTS; a++) {
        all[a] = print_of(set, a / IMPRESSIONS, a % IMPRESSIONS)->tmpl;
    }
    memcpy(all + PRINTS, made, count * sizeof *all);
    const struct sieve_side side = {words_of(all, PRINTS + count), PRINTS + count};
    struct sums sums = {.made = must_alloc(count * sizeof *sums.made)};
    for (unsigned fingers = 1; fingers <= 2; fingers++) {
        struct loss *loss = &c->loss[fingers - 1];
        for (unsigned a = 0; a < PRINTS; a++) {
            if (a / IMPRESSIONS % fingers == 0) {
                sum_up(&side, set, a, fingers, &sums);
                add_probe(loss, set, a, fingers, &sums, matcher);
            }
        }
    }
    free(side.words);
    free(sums.made);
    free(all);
    free(matcher);
}

/* --- the report --- */

static double share_above(const struct numbers *scores, double threshold)
{
    double above = 0;
    for (size_t i = 0; i < scores->count; i++) {
        above += scores->values[i] >= threshold;
    }
    return above / (double)scores->count;
}

/* The 95 % interval of the real rate: fingers drawn with replacement. */
static void interval(const struct comparison *c, unsigned t, double *low, double *high)
{
    struct numbers rates = {0};
    uint64_t state = 1;
    for (unsigned r = 0; r < RESAMPLES; r++) {
        unsigned drawn[FINGERS];
        double above = 0, of = 0;
        for (unsigned k = 0; k < FINGERS; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            drawn[k] = (unsigned)(state >> 33) % FINGERS;
        }
        for (unsigned i = 0; i < FINGERS; i++) {
            for (unsigned j = 0; j < FINGERS; j++) {
                if (drawn[i] != drawn[j]) {
                    above += c->pair[drawn[i]][drawn[j]][t];
                    of += IMPRESSIONS * IMPRESSIONS;
                }
            }
        }
        numbers_add(&rates, of > 0 ? above / of : 0);
    }
    *low = numbers_at(&rates, 0.025);
    *high = numbers_at(&rates, 0.975);
    numbers_free(&rates);
}

static void print_row(unsigned set, struct comparison *c)
{
    printf("| %s |", set_names[set]);
    for (unsigned t = 0; t < THRESHOLDS; t++) {
        double low, high;
        interval(c, t, &low, &high);
        printf(" %.4f (%.4f-%.4f) / %.4f |", share_above(&c->real, thresholds[t]), low, high,
               share_above(&c->made, thresholds[t]));
    }
    double sum = 0, squares = 0;
    const struct numbers *z = &c->loss[0].impostors;
    for (size_t i = 0; i < z->count; i++) {
        sum += z->values[i];
        squares += z->values[i] * z->values[i];
    }
    const double mean = sum / (double)z->count;
    printf(" %+.2f, %.2f |", mean, sqrt(squares / (double)z->count - mean * mean));
    print_loss(&c->loss[1]);
    print_loss(&c->loss[0]);
    printf("\n");
}

static void draw(struct comparison *all, const char *folder)
{
    enum { POINTS = 300 };
    struct plot_line lines[SETS];
    char path[4096];
    for (unsigned set = 0; set < SETS; set++) {
        double *x = must_alloc(POINTS * sizeof *x), *y = must_alloc(POINTS * sizeof *y);
        for (unsigned i = 0; i < POINTS; i++) { /* denser to the top */
            const double share = 1 - pow(1 - (i + 0.5) / POINTS, 3);
            x[i] = numbers_at(&all[set].real, share);
            y[i] = numbers_at(&all[set].made, share);
        }
        lines[set] = (struct plot_line){set_names[set], x, y, POINTS};
    }
    snprintf(path, sizeof path, "%s/people-qq.svg", folder);
    plot_equal(path, "Impostor scores (dB), quantile against quantile",
               "real prints against real prints of the same sensor",
               "real prints against made-up ones", lines, SETS);
    for (unsigned set = 0; set < SETS; set++) {
        free((void *)(uintptr_t)lines[set].x);
        free((void *)(uintptr_t)lines[set].y);
    }
}

void compare_population(const struct synth_population *population, uint32_t people,
                        const char *plots)
{
    struct afis_matcher *matcher = must_alloc(afis_matcher_size());
    struct comparison *all = must_alloc(SETS * sizeof *all);
    printf("Impostors of real prints: real ones of the same sensor (95 %% interval by resampling "
           "fingers)\n/ %u made-up prints. Sieve: mean and deviation of real impostors' scores, in "
           "deviations of\nmade-up ones. Lost: mates of %g dB and more below the best %g %% of "
           "made-up people / of real\nimpostors.\n\n| set | FMR at %g dB | at %g dB | at %g dB | "
           "sieve | lost, two fingers | lost, one |\n| --- | --- | --- | --- | --- | --- | --- |\n",
           people, (double)afis_threshold(0.5, NATIONAL), 100 * KEPT, thresholds[0], thresholds[1],
           thresholds[2]);
    for (unsigned set = 0; set < SETS; set++) {
        struct synth_population same = *population;
        struct afis_template *made = must_alloc(people * sizeof *made);
        same.mixed = false;
        same.sensor = (enum afis_synth_sensor)set;
        for (uint32_t i = 0; i < people; i++) {
            synth_person_capture(&same, i + 1, 1 + i % 10, 0, &made[i]);
        }
        compare_real(&all[set], set, matcher);
        compare_made(&all[set], set, made, people, matcher);
        compare_sieve(&all[set], set, made, people);
        print_row(set, &all[set]);
        free(made);
    }
    if (plots != NULL) {
        draw(all, plots);
    }
    for (unsigned set = 0; set < SETS; set++) {
        numbers_free(&all[set].real);
        numbers_free(&all[set].made);
    }
    free(all);
    free(matcher);
}
