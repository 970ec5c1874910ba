/* What each stage of a search loses of mates that the whole matcher would put first, among
 * impostors as hard as real ones of the same sensor: prints of the same set.
 *
 * Impostors of one probe are too few to see where the best thousandth of a gallery begins. So a
 * probe's values are scaled by the mean and deviation of its own impostors, and those of all probes
 * together give the cut for each share. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "afis/sift.h"
#include "gallery/impression.h"
#include "search_bench.h"

enum { FINGERS = 2 * PEOPLE_A_SET, PRINTS = FINGERS * IMPRESSIONS, SHARES = 8, KINDS = 2 };
enum { SIFT, RANK, GLANCE, STAGES };
#define NATIONAL 9e6
#define RECORD_MAX (1l << 20)

static const char *const stage_names[STAGES] = {"the sift", "rank", "the glance"};
static const char *const kind_names[KINDS] = {"our templates", "other vendors' records"};

/* Shares of everyone; the one that searches keep (gallery/search.c) is the fourth. */
enum { USED = 3 };
static const double shares[STAGES][SHARES] = {
    {0.02, 0.05, 0.06, 0.07, 0.08, 0.1, 0.2, 0.5},
    {0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1},
    {0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.005}};

/* Of a probe's print (first) and a gallery's. */
struct table {
    int16_t sift[PRINTS][PRINTS], sieve[PRINTS][PRINTS];
    float glance[PRINTS][PRINTS], score[PRINTS][PRINTS];
};

struct side {
    struct afis_finger *finger;
    uint8_t packed[AFIS_PACKED_MAX];
    size_t len;
};

struct mate {
    unsigned set;
    double z[STAGES];
};

/* Of probes of one finger, or of two. */
struct losses {
    struct numbers impostors[STAGES]; /* scaled */
    struct mate *mates;
    size_t count, room, pairs; /* mates that the matcher would find, of so many */
    size_t found[SETS];
};

/* --- the values --- */

static void read_record(const char *folder, unsigned set, unsigned print, struct side *side)
{
    char path[4096];
    uint8_t *bytes = must_alloc(RECORD_MAX);
    struct afis_template tmpl;
    snprintf(path, sizeof path, "%s/%s/%u_%u.iso", folder, set_names[set],
             101 + print / IMPRESSIONS, 1 + print % IMPRESSIONS);
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        die("cannot be read", path);
    }
    const size_t len = fread(bytes, 1, RECORD_MAX, file);
    fclose(file);
    enum afis_status status = afis_template_from_iso(bytes, len, 0, &tmpl);
    if (status == AFIS_OK) {
        status = afis_template_pack(&tmpl, side->packed, sizeof side->packed, &side->len);
    }
    if (status == AFIS_OK) {
        status = afis_finger_prepare(&tmpl, side->finger);
    }
    if (status != AFIS_OK) {
        die(afis_status_text(status), path);
    }
    free(bytes);
}

/* Of prints of our own making, or of another vendor's. */
static struct side *load_sides(unsigned kind, unsigned set, const char *records)
{
    struct side *sides = must_alloc(PRINTS * sizeof *sides);
    for (unsigned i = 0; i < PRINTS; i++) {
        sides[i].finger = must_alloc(afis_finger_size());
        if (kind == 1) {
            read_record(records, set, i, &sides[i]);
            continue;
        }
        const struct real_print *print = print_of(set, i / IMPRESSIONS, i % IMPRESSIONS);
        memcpy(sides[i].packed, print->packed, print->len);
        sides[i].len = print->len;
        if (afis_finger_prepare(&print->tmpl, sides[i].finger) != AFIS_OK) {
            die("a template cannot be prepared", set_names[set]);
        }
    }
    return sides;
}

static void look_at(const struct side *sides, struct table *t)
{
    struct afis_sieve *sieve = must_alloc(afis_sieve_size());
    struct afis_sift *sift = must_alloc(afis_sift_size(1));
    struct afis_sift_scratch *scratch = must_alloc(afis_sift_scratch_size());
    struct afis_matcher *matcher = must_alloc(afis_matcher_size());
    uint8_t *places = must_alloc((size_t)PRINTS * AFIS_SIEVE_PLACES);
    uint16_t rows[PRINTS];
    uint64_t *words = must_alloc((size_t)PRINTS * AFIS_SIEVE_WORDS * sizeof *words);
    const struct afis_sieve *const list[] = {sieve};
    for (unsigned i = 0; i < PRINTS; i++) {
        if (afis_sieve_words(sides[i].packed, sides[i].len, words + (size_t)i * AFIS_SIEVE_WORDS,
                             places + (size_t)i * AFIS_SIEVE_PLACES) != AFIS_OK) {
            die("a template cannot be read", "words");
        }
        rows[i] = (uint16_t)i;
    }
    for (unsigned a = 0; a < PRINTS; a++) {
        afis_sieve_init(sieve, sides[a].finger);
        afis_sift_init(sift, list, 1);
        afis_sieve_scan(sieve, words, PRINTS, t->sieve[a]);
        afis_sift_scan(sift, scratch, words, PRINTS, t->sift[a]);
        afis_glance(matcher, sieve, words, places, rows, PRINTS, t->glance[a]);
        for (unsigned b = 0; b < PRINTS; b++) {
            t->score[a][b] = afis_compare(matcher, sides[a].finger, sides[b].finger);
        }
    }
    free(sieve);
    free(sift);
    free(scratch);
    free(matcher);
    free(places);
    free(words);
}

/* What the stages find of a person with prints g[] for a probe with prints p[]; returns the
 * score. */
static double judge(const struct table *t, const unsigned *p, const unsigned *g, unsigned fingers,
                    double value[STAGES])
{
    int sift = 0, sieve = 0;
    float impression = 0, score[2];
    for (unsigned f = 0; f < fingers; f++) {
        sift += t->sift[p[f]][g[f]];
        sieve += t->sieve[p[f]][g[f]];
        impression += t->glance[p[f]][g[f]];
        score[f] = t->score[p[f]][g[f]];
    }
    const int rank = sieve + sift / 2;
    impression += impression_of_rank((float)rank);
    value[SIFT] = sift;
    value[RANK] = rank;
    value[GLANCE] = (double)impression;
    return (double)afis_fuse(score, fingers);
}

/* --- mates and impostors --- */

/* The impostors of a probe: other fingers, in the same impression where they are two. Keeps their
 * mean and deviation. */
static void add_impostors(struct losses *l, const struct table *t, const unsigned *p,
                          unsigned fingers, double mean[STAGES], double deviation[STAGES])
{
    struct numbers values[STAGES] = {0};
    double sum[STAGES] = {0}, squares[STAGES] = {0};
    for (unsigned x = 0; x < PRINTS; x++) {
        for (unsigned y = 0; y < (fingers == 2 ? FINGERS : 1); y++) {
            const unsigned g[2] = {x, y * IMPRESSIONS + x % IMPRESSIONS};
            bool other = true;
            for (unsigned f = 0; f < fingers; f++) {
                other = other && g[f] / IMPRESSIONS != p[0] / IMPRESSIONS &&
                        (fingers == 1 || g[f] / IMPRESSIONS != p[1] / IMPRESSIONS);
            }
            if (!other || (fingers == 2 && g[0] == g[1])) {
                continue;
            }
            double value[STAGES];
            judge(t, p, g, fingers, value);
            for (unsigned s = 0; s < STAGES; s++) {
                numbers_add(&values[s], value[s]);
                sum[s] += value[s];
                squares[s] += value[s] * value[s];
            }
        }
    }
    for (unsigned s = 0; s < STAGES; s++) {
        const double n = (double)values[s].count;
        mean[s] = sum[s] / n;
        deviation[s] = sqrt(squares[s] / n - mean[s] * mean[s]);
        for (size_t i = 0; i < values[s].count; i++) {
            numbers_add(&l->impostors[s], (values[s].values[i] - mean[s]) / deviation[s]);
        }
        numbers_free(&values[s]);
    }
}

/* A probe, against the same fingers in all other impressions and against impostors. */
static void add_probe(struct losses *l, const struct table *t, unsigned set, const unsigned *p,
                      unsigned fingers)
{
    double mean[STAGES], deviation[STAGES];
    add_impostors(l, t, p, fingers, mean, deviation);
    for (unsigned k = 0; k < IMPRESSIONS; k++) {
        if (k == p[0] % IMPRESSIONS) {
            continue;
        }
        const unsigned g[2] = {p[0] - p[0] % IMPRESSIONS + k, p[1] - p[1] % IMPRESSIONS + k};
        struct mate mate = {.set = set};
        l->pairs++;
        if (judge(t, p, g, fingers, mate.z) < (double)afis_threshold(0.5, NATIONAL)) {
            continue;
        }
        for (unsigned s = 0; s < STAGES; s++) {
            mate.z[s] = (mate.z[s] - mean[s]) / deviation[s];
        }
        if (l->count == l->room) {
            l->room = l->room != 0 ? 2 * l->room : 1024;
            l->mates = realloc(l->mates, l->room * sizeof *l->mates);
            if (l->mates == NULL) {
                die("out of memory", "mates");
            }
        }
        l->found[set]++;
        l->mates[l->count++] = mate;
    }
}

static void add_set(struct losses losses[2], const struct table *t, unsigned set)
{
    for (unsigned a = 0; a < PRINTS; a++) {
        const unsigned one[2] = {a, a};
        add_probe(&losses[0], t, set, one, 1);
        for (unsigned f = a / IMPRESSIONS + 1; f < FINGERS; f++) {
            const unsigned two[2] = {a, f * IMPRESSIONS + a % IMPRESSIONS};
            add_probe(&losses[1], t, set, two, 2);
        }
    }
}

/* --- the report --- */

/* The share of the mates of a set (SETS: of all) that fall below the cut of any of the stages. */
static double lost(struct losses *l, unsigned set, const double share[STAGES])
{
    double cut[STAGES];
    size_t below = 0;
    for (unsigned s = 0; s < STAGES; s++) {
        cut[s] = share[s] < 1 ? numbers_at(&l->impostors[s], 1 - share[s]) : -INFINITY;
    }
    for (size_t i = 0; i < l->count; i++) {
        const struct mate *m = &l->mates[i];
        const bool any =
            m->z[SIFT] < cut[SIFT] || m->z[RANK] < cut[RANK] || m->z[GLANCE] < cut[GLANCE];
        below += any && (set == SETS || m->set == set);
    }
    const size_t of = set == SETS ? l->count : l->found[set];
    return of > 0 ? 100 * (double)below / (double)of : NAN;
}

static void print_stage(struct losses losses[KINDS][2], unsigned stage)
{
    printf("\n| kept by %s, of everyone |", stage_names[stage]);
    for (unsigned i = 0; i < SHARES; i++) {
        printf(i == USED ? " **%g %%** |" : " %g %% |", 100 * shares[stage][i]);
    }
    printf("\n| --- |");
    for (unsigned i = 0; i < SHARES; i++) {
        printf(" --- |");
    }
    for (unsigned kind = 0; kind < KINDS; kind++) {
        printf("\n| %s, one / two fingers |", kind_names[kind]);
        for (unsigned i = 0; i < SHARES; i++) {
            double share[STAGES] = {1, 1, 1};
            share[stage] = shares[stage][i];
            printf(i == USED ? " **%.2f / %.2f** |" : " %.2f / %.2f |",
                   lost(&losses[kind][0], SETS, share), lost(&losses[kind][1], SETS, share));
        }
    }
    printf("\n");
}

static void print_all(struct losses losses[KINDS][2])
{
    const double used[STAGES] = {shares[SIFT][USED], shares[RANK][USED], shares[GLANCE][USED]};
    printf("\n| all stages |");
    for (unsigned set = 0; set < SETS; set++) {
        printf(" %s |", set_names[set]);
    }
    printf(" all | mates found, of pairs |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (unsigned f = 0; f < 2; f++) {
            struct losses *l = &losses[kind][f];
            printf("| %s, %s |", kind_names[kind], f == 0 ? "one finger" : "two fingers");
            for (unsigned set = 0; set <= SETS; set++) {
                printf(" %.2f |", lost(l, set, used));
            }
            printf(" %zu of %zu |\n", l->count, l->pairs);
        }
    }
}

void measure_losses(const char *records)
{
    static struct losses losses[KINDS][2];
    struct table *t = must_alloc(sizeof *t);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (unsigned set = 0; set < SETS; set++) {
            struct side *sides = load_sides(kind, set, records);
            look_at(sides, t);
            add_set(losses[kind], t, set);
            for (unsigned i = 0; i < PRINTS; i++) {
                free(sides[i].finger);
            }
            free(sides);
        }
    }
    printf("Lost, in per cent of the mates that the matcher would put first among %g people.\n",
           NATIONAL);
    for (unsigned stage = 0; stage < STAGES; stage++) {
        print_stage(losses, stage);
    }
    print_all(losses);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (unsigned f = 0; f < 2; f++) {
            for (unsigned s = 0; s < STAGES; s++) {
                numbers_free(&losses[kind][f].impostors[s]);
            }
            free(losses[kind][f].mates);
        }
    }
    free(t);
}
