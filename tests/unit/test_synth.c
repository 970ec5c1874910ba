/* The synthetic fingerprint generator: what it promises whatever the picture looks like. */
#include <check.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "afis/extract.h"
#include "afis/match.h"
#include "afis/synth.h"
#include "run_suite.h"

#define CLASSES 5

int cmd_synth(int argc, char **argv); /* linked from cli/, which has no library */

static struct afis_synth_master grow(uint64_t seed, enum afis_synth_class class)
{
    struct afis_synth_master master = {0};
    ck_assert_int_eq(afis_synth_finger(seed, class, &afis_memory_heap, &master), AFIS_OK);
    return master;
}

static struct afis_image take(const struct afis_synth_master *master, uint64_t seed,
                              const struct afis_synth_condition *condition)
{
    struct afis_image image = {0};
    ck_assert_int_eq(afis_synth_impression(master, seed, condition, &afis_memory_heap, &image),
                     AFIS_OK);
    return image;
}

/* A finger put down straight, in the middle, and neither dry nor wet. */
static struct afis_synth_condition plain(void)
{
    return (struct afis_synth_condition){.width = AFIS_SYNTH_WIDTH, .height = AFIS_SYNTH_HEIGHT};
}

static bool same_image(const struct afis_image *a, const struct afis_image *b)
{
    return a->width == b->width && a->height == b->height && a->dpi == b->dpi &&
           memcmp(a->pixels, b->pixels, (size_t)a->width * a->height) == 0;
}

START_TEST(test_same_seed_gives_same_bytes)
{
    struct afis_synth_master a = grow(7, AFIS_SYNTH_WHORL), b = grow(7, AFIS_SYNTH_WHORL);
    size_t count = (size_t)a.width * a.height;
    ck_assert_mem_eq(a.orientation, b.orientation, count);
    ck_assert_mem_eq(a.period, b.period, count);
    ck_assert_mem_eq(a.ridge, b.ridge, count);
    ck_assert_mem_eq(a.pores, b.pores, count);
    ck_assert_mem_eq(a.creases, b.creases, count);
    for (unsigned kind = 0; kind < AFIS_SYNTH_KINDS; kind++) {
        struct afis_synth_condition how;
        afis_synth_draw_condition(kind, (enum afis_synth_kind)kind, &how);
        struct afis_image first = take(&a, 3, &how), again = take(&b, 3, &how);
        ck_assert(same_image(&first, &again));
        afis_image_release(&first, &afis_memory_heap);
        afis_image_release(&again, &afis_memory_heap);
    }
    afis_synth_master_release(&a, &afis_memory_heap);
    afis_synth_master_release(&b, &afis_memory_heap);
}
END_TEST

/* Fraction of pixels that are ridge in one master and valley in the other: half, for strangers. */
START_TEST(test_other_seed_gives_another_finger)
{
    struct afis_synth_master a = grow(7, AFIS_SYNTH_LEFT_LOOP), b = grow(8, AFIS_SYNTH_LEFT_LOOP);
    size_t count = (size_t)a.width * a.height, differ = 0;
    for (size_t i = 0; i < count; i++) {
        differ += (a.ridge[i] > 0) != (b.ridge[i] > 0);
    }
    ck_assert_uint_gt(differ, count * 4 / 10);
    ck_assert_uint_lt(differ, count * 6 / 10);
    struct afis_synth_condition how = plain();
    struct afis_image first = take(&a, 1, &how), second = take(&a, 2, &how);
    ck_assert(!same_image(&first, &second));
    afis_image_release(&first, &afis_memory_heap);
    afis_image_release(&second, &afis_memory_heap);
    afis_synth_master_release(&a, &afis_memory_heap);
    afis_synth_master_release(&b, &afis_memory_heap);
}
END_TEST

static int compare_seeds(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

START_TEST(test_every_impression_has_a_seed_of_its_own)
{
    enum { SEEDS = 4, FINGERS = 100, IMPRESSIONS = 20, ALL = SEEDS * FINGERS * IMPRESSIONS };
    static uint64_t seeds[ALL];
    uint32_t n = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        for (uint32_t finger = 0; finger < FINGERS; finger++) {
            for (uint32_t i = 0; i < IMPRESSIONS; i++) {
                seeds[n++] = afis_synth_seed(seed, finger, i);
            }
        }
    }
    qsort(seeds, ALL, sizeof seeds[0], compare_seeds);
    for (n = 1; n < ALL; n++) {
        ck_assert_uint_ne(seeds[n - 1], seeds[n]);
    }
}
END_TEST

/* Turns of the ridge direction, in half turns, on the way round a block. */
static int poincare_index(const struct afis_synth_master *m, uint32_t x, uint32_t y, uint32_t side)
{
    int turned = 0;
    uint8_t before = m->orientation[(size_t)y * m->width + x];
    for (uint32_t i = 1; i <= 4 * side; i++) {
        uint32_t leg = i / side, at = i % side, u = x, v = y;
        /* counter-clockwise as seen: down the left side, along the bottom, up, back */
        if (leg == 0) {
            v += at;
        } else if (leg == 1) {
            u += at, v += side;
        } else if (leg == 2) {
            u += side, v += side - at;
        } else if (leg == 3) {
            u += side - at;
        }
        uint8_t now = m->orientation[(size_t)v * m->width + u];
        int step = now - before;
        turned += step > 128 ? step - 256 : step < -128 ? step + 256 : step;
        before = now;
    }
    return turned / 256;
}

static bool has_point_near(const struct afis_synth_master *m, bool delta, float x, float y)
{
    for (uint32_t i = 0; i < m->point_count; i++) {
        if (m->points[i].delta == delta && fabsf(m->points[i].x - x) < 9 &&
            fabsf(m->points[i].y - y) < 9) {
            return true;
        }
    }
    return false;
}

START_TEST(test_class_has_its_singular_points)
{
    static const unsigned expected[CLASSES] = {0, 1, 1, 1, 2}; /* cores, and as many deltas */
    enum { BLOCK = 8 };
    enum afis_synth_class class = (enum afis_synth_class)_i;
    for (uint64_t seed = 0; seed < 3; seed++) {
        struct afis_synth_master m = grow(seed + 20, class);
        unsigned cores = 0, deltas = 0;
        for (uint32_t y = 0; y + BLOCK < m.height; y += BLOCK) {
            for (uint32_t x = 0; x + BLOCK < m.width; x += BLOCK) {
                int index = poincare_index(&m, x, y, BLOCK);
                if (index == 0) {
                    continue;
                }
                ck_assert(has_point_near(&m, index < 0, (float)x + BLOCK / 2.0f,
                                         (float)y + BLOCK / 2.0f));
                cores += index == 1;
                deltas += index == -1;
            }
        }
        ck_assert_uint_eq(cores, expected[class]);
        ck_assert_uint_eq(deltas, expected[class]);
        ck_assert_uint_eq(m.point_count, cores + deltas);
        if (class == AFIS_SYNTH_LEFT_LOOP) {
            ck_assert_float_gt(m.points[1].x, m.points[0].x);
        }
        if (class == AFIS_SYNTH_RIGHT_LOOP) {
            ck_assert_float_lt(m.points[1].x, m.points[0].x);
        }
        afis_synth_master_release(&m, &afis_memory_heap);
    }
}
END_TEST

/* Ridges crossed on a straight way of 2 * REACH pixels across them, from a pixel. */
#define REACH 30
static unsigned crossings(const struct afis_synth_master *m, uint32_t x, uint32_t y)
{
    double angle = m->orientation[(size_t)y * m->width + x] * (3.14159265 / 256);
    unsigned count = 0;
    bool before = false;
    for (int i = -REACH; i <= REACH; i++) {
        long u = lround((double)x + i * sin(angle)), v = lround((double)y + i * cos(angle));
        bool now = m->ridge[(size_t)v * m->width + (size_t)u] > 0;
        count += i > -REACH && now != before;
        before = now;
    }
    return count;
}

START_TEST(test_ridges_are_as_far_apart_as_human_ones)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct afis_synth_master m = grow(seed, AFIS_SYNTH_RIGHT_LOOP);
        unsigned crossed = 0, ways = 0;
        for (uint32_t y = 40; y < m.height - 40; y += 11) {
            for (uint32_t x = 40; x < m.width - 40; x += 11, ways++) {
                crossed += crossings(&m, x, y);
            }
        }
        double period = 2.0 * (2 * REACH) * ways / crossed, planned = 0;
        size_t count = (size_t)m.width * m.height;
        for (size_t i = 0; i < count; i++) {
            double here = m.period[i] / 16.0;
            ck_assert_double_ge(here, 7);
            ck_assert_double_le(here, 13);
            planned += here / (double)count;
        }
        ck_assert_double_gt(period, 7);
        ck_assert_double_lt(period, 12);
        ck_assert_double_lt(fabs(period / planned - 1), 0.12);
        afis_synth_master_release(&m, &afis_memory_heap);
    }
}
END_TEST

/* Correlation of the pixels of a with those of b that lie where `turn` (half a turn) and a shift
 * by (dx, dy) would put them, over the middle of the image. */
static double correlation(const struct afis_image *a, const struct afis_image *b, bool turn, int dx,
                          int dy)
{
    double n = 0, sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
    int w = (int)a->width, h = (int)a->height;
    for (int y = 60; y < h - 60; y++) {
        for (int x = 60; x < w - 60; x++) {
            int u = (turn ? w - x : x) + dx, v = (turn ? h - y : y) + dy;
            double p = a->pixels[y * w + x], q = b->pixels[v * w + u];
            n++;
            sa += p;
            sb += q;
            saa += p * p;
            sbb += q * q;
            sab += p * q;
        }
    }
    return (sab / n - sa / n * sb / n) /
           sqrt((saa / n - sa / n * sa / n) * (sbb / n - sb / n * sb / n));
}

START_TEST(test_placement_moves_and_turns_the_print)
{
    struct afis_synth_master m = grow(5, AFIS_SYNTH_LEFT_LOOP);
    struct afis_synth_condition how = plain(), moved = plain(), turned = plain();
    moved.dx = 20;
    moved.dy = -15;
    turned.rotation = 180;
    struct afis_image a = take(&m, 1, &how), b = take(&m, 2, &moved), c = take(&m, 3, &turned);
    ck_assert_double_gt(correlation(&a, &b, false, 20, -15), 0.7);
    ck_assert_double_lt(correlation(&a, &b, false, 0, 0), 0.5);
    ck_assert_double_gt(correlation(&a, &c, true, 0, 0), 0.7);
    ck_assert_double_lt(correlation(&a, &c, false, 0, 0), 0.5);
    afis_image_release(&a, &afis_memory_heap);
    afis_image_release(&b, &afis_memory_heap);
    afis_image_release(&c, &afis_memory_heap);
    afis_synth_master_release(&m, &afis_memory_heap);
}
END_TEST

START_TEST(test_distortion_moves_skin_by_no_more_than_asked)
{
    struct afis_synth_master m = grow(5, AFIS_SYNTH_RIGHT_LOOP);
    struct afis_synth_condition how = plain(), pulled = plain();
    pulled.pull_x = 3;
    struct afis_image a = take(&m, 1, &how), b = take(&m, 2, &pulled);
    double best = -1;
    for (int dx = -3; dx <= 3; dx++) {
        double at = correlation(&a, &b, false, dx, 0);
        best = at > best ? at : best;
    }
    ck_assert_double_gt(best, 0.6);
    afis_image_release(&a, &afis_memory_heap);
    afis_image_release(&b, &afis_memory_heap);
    afis_synth_master_release(&m, &afis_memory_heap);
}
END_TEST

START_TEST(test_condition_out_of_range_is_clamped)
{
    struct afis_synth_master m = grow(5, AFIS_SYNTH_ARCH);
    static const float wild[] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f};
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) {
        float x = wild[i];
        struct afis_synth_condition how = {x, x, x, x, x,          x,          x,   x,  x,
                                           x, x, x, x, UINT32_MAX, UINT32_MAX, 200, 150};
        struct afis_image image = take(&m, i, &how);
        ck_assert_uint_eq(image.width, 200);
        ck_assert_uint_eq(image.height, 150);
        ck_assert_uint_eq(image.dpi, AFIS_SYNTH_DPI);
        afis_image_release(&image, &afis_memory_heap);
    }
    struct afis_synth_condition nothing = plain();
    nothing.pressure = nothing.dx = nothing.noise = NAN;
    struct afis_image with = take(&m, 1, &nothing);
    nothing.pressure = nothing.dx = nothing.noise = 0;
    struct afis_image without = take(&m, 1, &nothing);
    ck_assert(same_image(&with, &without));
    afis_image_release(&with, &afis_memory_heap);
    afis_image_release(&without, &afis_memory_heap);
    afis_synth_master_release(&m, &afis_memory_heap);
}
END_TEST

START_TEST(test_window_sizes_are_bounded)
{
    struct afis_synth_master m = grow(5, AFIS_SYNTH_ARCH);
    struct afis_image untouched = {0}, image = {0};
    static const struct {
        uint32_t w, h;
        enum afis_status status;
    } cases[] = {
        {AFIS_SYNTH_SIDE_MIN - 1, 300, AFIS_TOO_SMALL},      {300, 0, AFIS_TOO_SMALL},
        {AFIS_SYNTH_SIDE_MAX + 1, 300, AFIS_TOO_LARGE},      {300, UINT32_MAX, AFIS_TOO_LARGE},
        {AFIS_SYNTH_SIDE_MIN, AFIS_SYNTH_SIDE_MAX, AFIS_OK}, {AFIS_SYNTH_SIDE_MAX, 101, AFIS_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct afis_synth_condition how = plain();
        how.width = cases[i].w;
        how.height = cases[i].h;
        ck_assert_int_eq(afis_synth_impression(&m, 1, &how, &afis_memory_heap, &image),
                         cases[i].status);
        if (cases[i].status != AFIS_OK) {
            ck_assert_ptr_null(image.pixels);
            ck_assert_uint_eq(image.width, 0);
        } else {
            ck_assert_uint_eq(image.width, cases[i].w);
        }
        afis_image_release(&image, &afis_memory_heap);
        image = untouched;
    }
    afis_synth_master_release(&m, &afis_memory_heap);
}
END_TEST

/* The heap, but the allocation after `left` more fails; counts what is not given back. */
struct meagre {
    unsigned left, held;
};

static void *meagre_alloc(void *ctx, size_t size)
{
    struct meagre *heap = ctx;
    if (heap->left == 0) {
        return NULL;
    }
    heap->left--;
    heap->held++;
    return afis_memory_heap.alloc(afis_memory_heap.ctx, size);
}

static void meagre_release(void *ctx, void *p, size_t size)
{
    struct meagre *heap = ctx;
    heap->held -= p != NULL;
    afis_memory_heap.release(afis_memory_heap.ctx, p, size);
}

START_TEST(test_every_failed_allocation_is_reported_and_leaks_nothing)
{
    struct meagre heap = {0, 0};
    const struct afis_memory memory = {meagre_alloc, meagre_release, &heap};
    struct afis_synth_master m = {0};
    enum afis_status status = AFIS_NO_MEMORY;
    unsigned finger = 0, impression = 0;
    for (; status == AFIS_NO_MEMORY; finger++) {
        ck_assert_ptr_null(m.ridge);
        ck_assert_uint_eq(m.width, 0);
        heap.left = finger;
        status = afis_synth_finger(1, AFIS_SYNTH_WHORL, &memory, &m);
        ck_assert_uint_eq(heap.held, status == AFIS_OK ? 5 : 0);
    }
    ck_assert_int_eq(status, AFIS_OK);
    ck_assert_uint_gt(finger, 6);
    struct afis_synth_condition how = plain();
    struct afis_image image = {0};
    for (status = AFIS_NO_MEMORY; status == AFIS_NO_MEMORY; impression++) {
        ck_assert_ptr_null(image.pixels);
        heap.left = impression;
        status = afis_synth_impression(&m, 1, &how, &memory, &image);
        ck_assert_uint_eq(heap.held, status == AFIS_OK ? 6 : 5);
    }
    ck_assert_int_eq(status, AFIS_OK);
    ck_assert_uint_gt(impression, 2);
    afis_image_release(&image, &memory);
    afis_synth_master_release(&m, &memory);
    ck_assert_uint_eq(heap.held, 0);
}
END_TEST

START_TEST(test_classes_come_in_natural_proportion)
{
    enum { DRAWS = 20000 };
    unsigned drawn[3][CLASSES] = {{0}};
    static const unsigned positions[3] = {0, 2, 7};
    for (int p = 0; p < 3; p++) {
        for (uint64_t seed = 0; seed < DRAWS; seed++) {
            drawn[p][afis_synth_draw_class(seed, positions[p])]++;
        }
    }
    static const double natural[CLASSES] = {0.037, 0.029, 0.3275, 0.3275, 0.279};
    for (int class = 0; class < CLASSES; class ++) {
        ck_assert_double_lt(fabs((double)drawn[0][class] / DRAWS - natural[class]), 0.012);
    }
    ck_assert_uint_gt(drawn[1][AFIS_SYNTH_RIGHT_LOOP], drawn[1][AFIS_SYNTH_LEFT_LOOP]);
    ck_assert_uint_lt(drawn[2][AFIS_SYNTH_RIGHT_LOOP], drawn[2][AFIS_SYNTH_LEFT_LOOP]);
}
END_TEST

/* Share of dark pixels in the middle of a print: ridges of a dry finger leave less, of a wet one
 * more; a smudge lowers the contrast between neighbours. */
static void measure(const struct afis_image *image, double *dark, double *contrast)
{
    unsigned count = 0, below = 0;
    double steps = 0;
    for (uint32_t y = 120; y < 280; y++) {
        for (uint32_t x = 90; x < 210; x++, count++) {
            const uint8_t *p = image->pixels + (size_t)y * image->width + x;
            below += *p < 128;
            steps += abs(p[5] - p[0]) + abs(p[(size_t)5 * image->width] - p[0]);
        }
    }
    *dark = (double)below / count;
    *contrast = steps / count;
}

START_TEST(test_kinds_look_like_their_names)
{
    struct afis_synth_master m = grow(9, AFIS_SYNTH_RIGHT_LOOP);
    double dark[AFIS_SYNTH_KINDS] = {0}, contrast[AFIS_SYNTH_KINDS] = {0};
    enum { TAKES = 6 };
    for (unsigned kind = 0; kind < AFIS_SYNTH_KINDS; kind++) {
        for (uint64_t seed = 0; seed < TAKES; seed++) {
            struct afis_synth_condition how;
            double d, c;
            afis_synth_draw_condition(seed, (enum afis_synth_kind)kind, &how);
            struct afis_image image = take(&m, seed, &how);
            measure(&image, &d, &c);
            dark[kind] += d / TAKES;
            contrast[kind] += c / TAKES;
            afis_image_release(&image, &afis_memory_heap);
        }
    }
    ck_assert_double_lt(dark[AFIS_SYNTH_DRY], 0.8 * dark[AFIS_SYNTH_CLEAN]);
    ck_assert_double_gt(dark[AFIS_SYNTH_WET], 1.2 * dark[AFIS_SYNTH_CLEAN]);
    ck_assert_double_lt(contrast[AFIS_SYNTH_SMUDGED], 0.7 * contrast[AFIS_SYNTH_CLEAN]);
    afis_synth_master_release(&m, &afis_memory_heap);
}
END_TEST

/* Templates of IMPRESSIONS prints of each of FINGERS fingers, by the engine's own extractor. */
#define FINGERS 8
#define IMPRESSIONS 2
#define PRINTS (FINGERS * IMPRESSIONS)

static void extract_prints(struct afis_template templates[PRINTS])
{
    for (uint32_t finger = 0; finger < FINGERS; finger++) {
        uint64_t seed = afis_synth_seed(77, finger, 0);
        struct afis_synth_master m = grow(seed, afis_synth_draw_class(seed, 2));
        for (uint32_t i = 0; i < IMPRESSIONS; i++) {
            struct afis_synth_condition how;
            seed = afis_synth_seed(77, finger, 1 + i);
            afis_synth_draw_condition(seed, AFIS_SYNTH_CLEAN, &how);
            struct afis_image image = take(&m, seed, &how);
            ck_assert_int_eq(
                afis_extract(&image, &afis_memory_heap, &templates[finger * IMPRESSIONS + i], NULL),
                AFIS_OK);
            afis_image_release(&image, &afis_memory_heap);
        }
        afis_synth_master_release(&m, &afis_memory_heap);
    }
}

START_TEST(test_prints_of_one_finger_score_above_those_of_two)
{
    static struct afis_template templates[PRINTS];
    extract_prints(templates);
    const struct afis_memory *heap = &afis_memory_heap;
    struct afis_finger *fingers[PRINTS];
    struct afis_matcher *matcher = heap->alloc(heap->ctx, afis_matcher_size());
    for (int i = 0; i < PRINTS; i++) {
        fingers[i] = heap->alloc(heap->ctx, afis_finger_size());
        ck_assert_int_eq(afis_finger_prepare(&templates[i], fingers[i]), AFIS_OK);
    }
    float least_genuine = INFINITY, most_impostor = 0;
    for (int i = 0; i < PRINTS; i++) {
        for (int j = i + 1; j < PRINTS; j++) {
            float score = afis_compare(matcher, fingers[i], fingers[j]);
            if (i / IMPRESSIONS == j / IMPRESSIONS) {
                least_genuine = fminf(least_genuine, score);
            } else {
                most_impostor = fmaxf(most_impostor, score);
            }
        }
    }
    ck_assert_float_gt(least_genuine, most_impostor + 10);
    for (int i = 0; i < PRINTS; i++) {
        heap->release(heap->ctx, fingers[i], afis_finger_size());
    }
    heap->release(heap->ctx, matcher, afis_matcher_size());
}
END_TEST

/* Real prints of this window's size hold some 25 to 65 minutiae (0.2 a square millimetre). */
START_TEST(test_prints_have_as_many_minutiae_as_real_ones)
{
    static struct afis_template templates[PRINTS];
    extract_prints(templates);
    unsigned sum = 0;
    for (int i = 0; i < PRINTS; i++) {
        ck_assert_uint_ge(templates[i].count, 20);
        ck_assert_uint_le(templates[i].count, 90);
        sum += templates[i].count;
    }
    ck_assert_uint_ge(sum / PRINTS, 30);
    ck_assert_uint_le(sum / PRINTS, 60);
}
END_TEST

static char directory[] = "/tmp/test_synth_XXXXXX";

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static void make_directory(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void remove_directory(void)
{
    ck_assert_int_eq(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* Runs the command with -o directory/sub and up to six more words. */
static int run(const char *sub, const char *const words[6])
{
    char path[64], name[] = "synth", output[] = "-o", copies[6][32];
    char *argv[10] = {name, output, path};
    int argc = 3;
    snprintf(path, sizeof path, "%s/%s", directory, sub);
    for (int i = 0; i < 6 && words[i] != NULL; i++, argc++) {
        snprintf(copies[i], sizeof copies[i], "%s", words[i]);
        argv[argc] = copies[i];
    }
    return cmd_synth(argc, argv);
}

/* The bytes of directory/name, to be freed; NULL if there is no such file. */
static char *contents(const char *name, size_t *len)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    *len = 0;
    if (file == NULL) {
        return NULL;
    }
    char *bytes = calloc(1, 1 << 20);
    *len = fread(bytes, 1, (1 << 20) - 1, file);
    fclose(file);
    return bytes;
}

START_TEST(test_a_finger_is_the_same_however_many_are_made)
{
    ck_assert_int_eq(run("few", (const char *[6]){"--fingers=1", "--impressions=2"}), 0);
    ck_assert_int_eq(run("more", (const char *[6]){"--fingers=2", "--impressions=3"}), 0);
    ck_assert_int_eq(run("other", (const char *[6]){"--fingers=1", "--seed=2"}), 0);
    size_t a_len, b_len, c_len;
    char *a = contents("few/1_2.png", &a_len), *b = contents("more/1_2.png", &b_len);
    char *c = contents("other/1_1.png", &c_len);
    ck_assert_uint_eq(a_len, b_len);
    ck_assert_mem_eq(a, b, a_len);
    ck_assert(a_len != c_len || memcmp(a, c, a_len) != 0);
    free(a);
    free(b);
    free(c);
    ck_assert_ptr_nonnull(b = contents("more/2_3.png", &b_len));
    free(b);
    ck_assert_ptr_null(contents("few/2_1.png", &a_len));
}
END_TEST

START_TEST(test_people_come_with_a_manifest)
{
    ck_assert_int_eq(run("people", (const char *[6]){"--people=2", "--positions=7,2"}), 0);
    size_t len;
    char *manifest = contents("people/manifest.csv", &len);
    ck_assert_str_eq(manifest, "person,position,impression,file\n"
                               "p0001,7,1,p0001_07_1.png\np0001,2,1,p0001_02_1.png\n"
                               "p0002,7,1,p0002_07_1.png\np0002,2,1,p0002_02_1.png\n");
    free(manifest);
    char *png = contents("people/p0002_07_1.png", &len);
    struct afis_image image = {0};
    ck_assert_int_eq(afis_image_from_png((const uint8_t *)png, len, 500, &afis_memory_heap, &image),
                     AFIS_OK);
    ck_assert_uint_eq(image.width, AFIS_SYNTH_WIDTH);
    ck_assert_uint_eq(image.height, AFIS_SYNTH_HEIGHT);
    afis_image_release(&image, &afis_memory_heap);
    free(png);
}
END_TEST

static const char *const misuse[][6] = {
    {"--fingers=0"},     {"--fingers=-1"},      {"--fingers=1", "--people=1"},
    {"--seed=x"},        {"--positions=2,11"},  {"--positions=2,2"},
    {"--positions=2,"},  {"--condition=funny"}, {"--width=20"},
    {"--height=100000"}, {"--output="},         {"--seed=18446744073709551616"},
    {"stray"},
};
#define MISUSES ((int)(sizeof misuse / sizeof misuse[0]))

START_TEST(test_misuse_exits_with_2)
{
    exit(run("misuse", misuse[_i]));
}
END_TEST

START_TEST(test_a_folder_that_cannot_be_made_is_a_failure)
{
    ck_assert_int_eq(run("no/such/folder", (const char *[6]){"--fingers=1"}), 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("synth");
    TCase *tests = tcase_create("synth");
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, test_same_seed_gives_same_bytes);
    tcase_add_test(tests, test_other_seed_gives_another_finger);
    tcase_add_test(tests, test_every_impression_has_a_seed_of_its_own);
    tcase_add_loop_test(tests, test_class_has_its_singular_points, 0, CLASSES);
    tcase_add_test(tests, test_ridges_are_as_far_apart_as_human_ones);
    tcase_add_test(tests, test_placement_moves_and_turns_the_print);
    tcase_add_test(tests, test_distortion_moves_skin_by_no_more_than_asked);
    tcase_add_test(tests, test_condition_out_of_range_is_clamped);
    tcase_add_test(tests, test_window_sizes_are_bounded);
    tcase_add_test(tests, test_every_failed_allocation_is_reported_and_leaks_nothing);
    tcase_add_test(tests, test_classes_come_in_natural_proportion);
    tcase_add_test(tests, test_kinds_look_like_their_names);
    tcase_add_test(tests, test_prints_of_one_finger_score_above_those_of_two);
    tcase_add_test(tests, test_prints_have_as_many_minutiae_as_real_ones);
    suite_add_tcase(suite, tests);
    TCase *command = tcase_create("command");
    tcase_set_timeout(command, 300);
    tcase_add_unchecked_fixture(command, make_directory, remove_directory);
    tcase_add_test(command, test_a_finger_is_the_same_however_many_are_made);
    tcase_add_test(command, test_people_come_with_a_manifest);
    tcase_add_loop_exit_test(command, test_misuse_exits_with_2, 2, 0, MISUSES);
    tcase_add_test(command, test_a_folder_that_cannot_be_made_is_a_failure);
    suite_add_tcase(suite, command);
    return run_suite(suite);
}
