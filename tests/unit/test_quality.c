/* Print quality: made fingers taken well and badly, and things that are no fingers. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "afis/extract.h"
#include "afis/synth.h"
#include "data_dir.h"
#include "run_suite.h"

#define FINGERS 6u
#define WIDTH 300u
#define HEIGHT 400u
#define SIZE (WIDTH * HEIGHT)
#define MIN_QUALITY 15u /* the plugins' default */
#define GOOD 60u        /* from here on no advice */

static const struct afis_memory *heap = &afis_memory_heap;
static struct afis_synth_master masters[FINGERS];

static void grow(void)
{
    for (uint32_t i = 0; i < FINGERS; i++) {
        uint64_t seed = afis_synth_seed(4711, i, 0);
        ck_assert_int_eq(afis_synth_finger(seed, afis_synth_draw_class(seed, 0), heap, &masters[i]),
                         AFIS_OK);
    }
}

static void release(void)
{
    for (uint32_t i = 0; i < FINGERS; i++) {
        afis_synth_master_release(&masters[i], heap);
    }
}

static struct afis_image take(uint32_t finger, uint32_t impression, enum afis_synth_kind kind)
{
    uint64_t seed = afis_synth_seed(4711, finger, impression);
    struct afis_synth_condition condition;
    struct afis_image image = {0};
    afis_synth_draw_condition(seed, kind, &condition);
    ck_assert_int_eq(afis_synth_impression(&masters[finger], seed, &condition, heap, &image),
                     AFIS_OK);
    ck_assert_uint_eq(image.width, WIDTH);
    ck_assert_uint_eq(image.height, HEIGHT);
    return image;
}

static struct afis_template judge(const struct afis_image *image)
{
    struct afis_template tmpl;
    ck_assert_int_eq(afis_extract(image, heap, &tmpl, NULL), AFIS_OK);
    ck_assert_uint_le(tmpl.quality, 100);
    ck_assert_int_eq(tmpl.reasons != 0, tmpl.quality < GOOD);
    ck_assert_int_eq(afis_quality_advice(tmpl.reasons)[0] != '\0', tmpl.quality < GOOD);
    return tmpl;
}

/* A fixed sequence, the same everywhere: 0 <= x < 1. */
static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 40) / (1 << 24);
}

static double normal(uint64_t *state)
{
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        sum += uniform(state);
    }
    return sum;
}

static uint8_t clip(double grey)
{
    return (uint8_t)(grey < 0 ? 0 : grey > 255 ? 255 : grey + 0.5);
}

/* Along one axis or, with dy, another: a Gaussian of that deviation. */
static void smooth(double *plane, int dx, int dy, double sigma)
{
    double *old = malloc(SIZE * sizeof *old);
    memcpy(old, plane, SIZE * sizeof *old);
    int radius = (int)ceil(2.5 * sigma);
    for (int y = 0; y < (int)HEIGHT; y++) {
        for (int x = 0; x < (int)WIDTH; x++) {
            double sum = 0;
            double all = 0;
            for (int i = -radius; i <= radius; i++) {
                int px = x + i * dx;
                int py = y + i * dy;
                if (px >= 0 && py >= 0 && px < (int)WIDTH && py < (int)HEIGHT) {
                    double weight = exp(-i * i / (2 * sigma * sigma));
                    sum += weight * old[py * (int)WIDTH + px];
                    all += weight;
                }
            }
            plane[y * (int)WIDTH + x] = sum / all;
        }
    }
    free(old);
}

/* Ways to spoil a print; level 0 leaves it as it is. */
static void blur(double *plane, double level, uint64_t *state)
{
    (void)state;
    if (level > 0) {
        smooth(plane, 1, 0, level);
        smooth(plane, 0, 1, level);
    }
}

static void slide(double *plane, double level, uint64_t *state)
{
    if (level > 0) {
        smooth(plane, 1, uniform(state) < 0.5 ? 1 : -1, level);
    }
}

static void add_noise(double *plane, double level, uint64_t *state)
{
    for (size_t i = 0; i < SIZE; i++) {
        plane[i] += level * normal(state);
    }
}

/* Leaves an oval, smaller with every level. */
static void crop(double *plane, double level, uint64_t *state)
{
    (void)state;
    for (size_t i = 0; i < SIZE; i++) {
        double x = (double)(i % WIDTH) - WIDTH / 2.0;
        double y = (double)(i / WIDTH) - HEIGHT / 2.0;
        if (hypot(x, y * 0.8) > 200 - level) {
            plane[i] = 250;
        }
    }
}

/* Dry skin touches in spots. */
static void dry(double *plane, double level, uint64_t *state)
{
    double *spots = malloc(SIZE * sizeof *spots);
    for (size_t i = 0; i < SIZE; i++) {
        spots[i] = normal(state);
    }
    smooth(spots, 1, 0, 2);
    smooth(spots, 0, 1, 2);
    for (size_t i = 0; i < SIZE; i++) {
        plane[i] = spots[i] * 7 < level - 2 ? 245 : plane[i];
    }
    free(spots);
}

/* Wet valleys are filled: dark spreads over `level` pixels and runs. */
static void wet(double *plane, double level, uint64_t *state)
{
    double *old = malloc(SIZE * sizeof *old);
    memcpy(old, plane, SIZE * sizeof *old);
    int radius = (int)level;
    for (int y = 0; y < (int)HEIGHT; y++) {
        for (int x = 0; x < (int)WIDTH; x++) {
            double darkest = 255;
            for (int i = -radius; i <= radius; i++) {
                for (int j = -radius; j <= radius; j++) {
                    if (y + i >= 0 && x + j >= 0 && y + i < (int)HEIGHT && x + j < (int)WIDTH) {
                        darkest = fmin(darkest, old[(y + i) * (int)WIDTH + x + j]);
                    }
                }
            }
            plane[y * (int)WIDTH + x] = darkest;
        }
    }
    free(old);
    blur(plane, level / 2, state);
    add_noise(plane, 2, state);
}

typedef void (*spoil)(double *plane, double level, uint64_t *state);

static struct afis_template judge_spoilt(uint32_t finger, spoil how, double level)
{
    uint64_t state = 99 + finger;
    struct afis_image image = take(finger, 1, AFIS_SYNTH_CLEAN);
    double *plane = malloc(SIZE * sizeof *plane);
    for (size_t i = 0; i < SIZE; i++) {
        plane[i] = image.pixels[i];
    }
    how(plane, level, &state);
    for (size_t i = 0; i < SIZE; i++) {
        image.pixels[i] = clip(plane[i]);
    }
    free(plane);
    struct afis_template tmpl = judge(&image);
    afis_image_release(&image, heap);
    return tmpl;
}

/* The mean over the fingers never rises with the level by more than `slack`, and ends low. */
static void assert_falls(spoil how, const double *levels, size_t count, double slack)
{
    double previous = 101;
    double first = 0;
    for (size_t k = 0; k < count; k++) {
        double sum = 0;
        for (uint32_t i = 0; i < FINGERS; i++) {
            sum += judge_spoilt(i, how, levels[k]).quality;
        }
        ck_assert_double_le(sum / FINGERS, previous + slack);
        previous = sum / FINGERS;
        first = k == 0 ? previous : first;
    }
    ck_assert_double_ge(first, GOOD);
    ck_assert_double_lt(previous, MIN_QUALITY);
}

START_TEST(falls_with_blur)
{
    const double levels[] = {0, 2, 3, 4, 6};
    assert_falls(blur, levels, 5, 0);
}
END_TEST

START_TEST(falls_with_noise)
{
    const double levels[] = {0, 60, 120, 200, 400, 1000};
    assert_falls(add_noise, levels, 6, 2);
}
END_TEST

START_TEST(falls_with_less_finger)
{
    const double levels[] = {0, 100, 130, 150, 165, 178};
    assert_falls(crop, levels, 6, 2);
}
END_TEST

START_TEST(falls_with_movement)
{
    const double levels[] = {0, 2, 3, 4, 6};
    assert_falls(slide, levels, 5, 0);
}
END_TEST

/* Most fingers spoilt that way are below GOOD, and all of these are told that reason alone. */
static void assert_told(spoil how, double level, uint8_t reason)
{
    uint32_t low = 0;
    for (uint32_t i = 0; i < FINGERS; i++) {
        struct afis_template tmpl = judge_spoilt(i, how, level);
        if (tmpl.quality < GOOD) {
            low++;
            ck_assert_uint_eq(tmpl.reasons, reason);
        }
    }
    ck_assert_uint_gt(low, FINGERS / 2);
}

START_TEST(advice_fits_what_went_wrong)
{
    assert_told(crop, 150, AFIS_REASON_TOO_LITTLE_FINGER);
    assert_told(slide, 4, AFIS_REASON_MOVED);
    assert_told(dry, 2.5, AFIS_REASON_TOO_DRY);
    assert_told(wet, 2, AFIS_REASON_TOO_WET);
}
END_TEST

START_TEST(usable_prints_pass_and_smudged_ones_do_not)
{
    double mean[AFIS_SYNTH_KINDS] = {0};
    uint32_t moved = 0;
    for (unsigned kind = 0; kind < AFIS_SYNTH_KINDS; kind++) {
        bool usable = kind == AFIS_SYNTH_CLEAN || kind == AFIS_SYNTH_TYPICAL ||
                      kind == AFIS_SYNTH_DRY || kind == AFIS_SYNTH_WET;
        for (uint32_t i = 0; i < 2 * FINGERS; i++) {
            struct afis_image image = take(i / 2, 1 + i % 2, (enum afis_synth_kind)kind);
            struct afis_template tmpl = judge(&image);
            ck_assert_uint_eq(tmpl.reasons & AFIS_REASON_NOT_A_FINGER, 0);
            ck_assert(!usable || tmpl.quality >= MIN_QUALITY);
            mean[kind] += tmpl.quality / (2.0 * FINGERS);
            moved += kind == AFIS_SYNTH_SMUDGED && (tmpl.reasons & AFIS_REASON_MOVED) != 0;
            afis_image_release(&image, heap);
        }
    }
    ck_assert_double_gt(mean[AFIS_SYNTH_CLEAN], mean[AFIS_SYNTH_TYPICAL]);
    ck_assert_double_gt(mean[AFIS_SYNTH_TYPICAL], mean[AFIS_SYNTH_HARD]);
    ck_assert_double_gt(mean[AFIS_SYNTH_CLEAN], mean[AFIS_SYNTH_DRY]);
    ck_assert_double_gt(mean[AFIS_SYNTH_CLEAN], mean[AFIS_SYNTH_WET]);
    ck_assert_double_gt(mean[AFIS_SYNTH_CLEAN], mean[AFIS_SYNTH_PARTIAL]);
    ck_assert_double_lt(mean[AFIS_SYNTH_SMUDGED], MIN_QUALITY);
    ck_assert_uint_ge(moved, 2 * FINGERS - 3);
}
END_TEST

static void assert_no_finger(double *plane, const char *what, double size)
{
    struct afis_image image = {WIDTH, HEIGHT, 500, NULL};
    image.pixels = heap->alloc(heap->ctx, SIZE);
    ck_assert_ptr_nonnull(image.pixels);
    for (size_t i = 0; i < SIZE; i++) {
        image.pixels[i] = clip(plane[i]);
    }
    struct afis_template tmpl = judge(&image);
    ck_assert_msg(tmpl.reasons == AFIS_REASON_NOT_A_FINGER && tmpl.quality == 0 && tmpl.count == 0,
                  "%s of %g: reasons %u, quality %u", what, size, tmpl.reasons, tmpl.quality);
    afis_image_release(&image, heap);
}

enum pattern {
    WAVES,
    BARS,
    RINGS,
    SQUARES,
    SLOPE,
    FLAT,
    DOTS,
    BENT_DOTS,
    HALFTONE,
    GRID,
    BENT_GRID
};

static double pattern_grey(enum pattern pattern, double x, double y, double size)
{
    double along = 2 * M_PI * (0.8 * x + 0.6 * y) / size;
    double across = 2 * M_PI * (0.8 * y - 0.6 * x) / size;
    double bend = sin((x - 150) / 60) + cos((y - 200) / 70);
    double wave = sin(along);
    switch (pattern) {
    case DOTS:
        return 128 + 60 * (cos(along) + cos(across));
    case BENT_DOTS:
        return 128 + 60 * (cos(along + bend) + cos(across + bend));
    case HALFTONE:
        return cos(along) + cos(across) > 4 * (x / WIDTH - 0.5) ? 20 : 235;
    case GRID:
        return cos(along) > 0.6 || cos(across) > 0.6 ? 20 : 235;
    case BENT_GRID:
        return cos(along + 3 * bend) > 0.6 || cos(across - 3 * bend) > 0.6 ? 20 : 235;
    case WAVES:
        return 128 + 100 * wave;
    case BARS:
        return wave > 0 ? 230 : 20;
    case RINGS:
        return 128 + 100 * sin(2 * M_PI * hypot(x - 150, y - 200) / size);
    case SQUARES:
        return ((int)(x / size) + (int)(y / size)) % 2 == 0 ? 230 : 20;
    case SLOPE:
        return (0.8 * x + 0.6 * y) * size / 500;
    case FLAT:
        break;
    }
    return size;
}

static void assert_pattern(enum pattern pattern, const char *what, const double *sizes,
                           size_t count)
{
    double *plane = malloc(SIZE * sizeof *plane);
    for (size_t k = 0; k < count; k++) {
        for (size_t i = 0; i < SIZE; i++) {
            plane[i] = pattern_grey(pattern, (double)(i % WIDTH), (double)(i / WIDTH), sizes[k]);
        }
        assert_no_finger(plane, what, sizes[k]);
    }
    free(plane);
}

START_TEST(patterns_are_no_finger)
{
    const double greys[] = {0, 128, 255};
    const double slopes[] = {50, 255, 510};
    const double periods[] = {6, 8, 9, 10, 12, 16};
    const double squares[] = {4, 8, 10, 16, 32};
    assert_pattern(FLAT, "one grey", greys, 3);
    assert_pattern(SLOPE, "slope", slopes, 3);
    assert_pattern(WAVES, "waves", periods, 6);
    assert_pattern(BARS, "bars", periods, 6);
    assert_pattern(RINGS, "rings", periods, 6);
    assert_pattern(SQUARES, "squares", squares, 5);
}
END_TEST

START_TEST(lines_that_cross_are_no_finger)
{
    const double sizes[] = {6, 7.5, 9, 10, 12, 14, 16, 20};
    assert_pattern(DOTS, "dots", sizes, 8);
    assert_pattern(BENT_DOTS, "bent dots", sizes, 8);
    assert_pattern(HALFTONE, "halftone", sizes, 8);
    assert_pattern(GRID, "grid", sizes, 8);
    assert_pattern(BENT_GRID, "bent grid", sizes, 8);
}
END_TEST

START_TEST(noise_is_no_finger)
{
    const double sigmas[] = {0, 1, 2, 3, 4, 6, 10, 20};
    uint64_t state = 7;
    double *plane = malloc(SIZE * sizeof *plane);
    for (size_t k = 0; k < sizeof sigmas / sizeof *sigmas; k++) {
        double power = 0;
        for (size_t i = 0; i < SIZE; i++) {
            plane[i] = normal(&state);
        }
        blur(plane, sigmas[k], &state);
        for (size_t i = 0; i < SIZE; i++) {
            power += plane[i] * plane[i] / SIZE;
        }
        for (size_t i = 0; i < SIZE; i++) {
            plane[i] = 128 + 60 * plane[i] / sqrt(power);
        }
        assert_no_finger(plane, "noise", sigmas[k]);
    }
    free(plane);
}
END_TEST

/* Characters as scanners see them: a few strokes each, words, lines. */
static void draw_text(double *plane, uint32_t height, uint64_t *state)
{
    for (size_t i = 0; i < SIZE; i++) {
        plane[i] = 245;
    }
    uint32_t width = height * 6 / 10;
    for (uint32_t top = 2; top + height < HEIGHT; top += height * 14 / 10) {
        for (uint32_t left = 2; left + width < WIDTH; left += width + height / 5) {
            bool space = uniform(state) < 0.17;
            for (int stroke = 0; stroke < 3 && !space; stroke++) {
                bool upright = uniform(state) < 0.6;
                uint32_t at = (uint32_t)(uniform(state) * 3);
                uint32_t length = upright ? height : width;
                uint32_t thick = height / 8 + 1;
                for (uint32_t i = 0; i < length * thick; i++) {
                    uint32_t along = i % length;
                    uint32_t across = i / length + at * ((upright ? width : height) - thick) / 2;
                    uint32_t x = left + (upright ? across : along);
                    uint32_t y = top + (upright ? along : across);
                    plane[y * WIDTH + x] = 20;
                }
            }
        }
    }
}

START_TEST(text_is_never_searched)
{
    const uint32_t heights[] = {8, 10, 12, 16, 24, 40};
    uint64_t state = 11;
    double *plane = malloc(SIZE * sizeof *plane);
    for (size_t k = 0; k < sizeof heights / sizeof *heights; k++) {
        struct afis_image image = {WIDTH, HEIGHT, 500, NULL};
        image.pixels = heap->alloc(heap->ctx, SIZE);
        draw_text(plane, heights[k], &state);
        for (size_t i = 0; i < SIZE; i++) {
            image.pixels[i] = clip(plane[i]);
        }
        struct afis_template tmpl = judge(&image);
        ck_assert_msg(tmpl.quality < MIN_QUALITY, "letters of %u: quality %u", heights[k],
                      tmpl.quality);
        afis_image_release(&image, heap);
    }
    free(plane);
}
END_TEST

START_TEST(real_prints_pass)
{
    const struct {
        const char *set;
        uint32_t dpi;
    } sets[] = {{"DB1_B", 500}, {"DB2_B", 569}, {"DB3_B", 500}, {"DB4_B", 500}};
    char name[64];
    for (int i = 0; i < 4 * 80; i++) {
        snprintf(name, sizeof name, "fvc2002/%s/%d_%d.png", sets[i / 80].set, 101 + i % 80 / 8,
                 1 + i % 8);
        size_t len;
        uint8_t *bytes = data_read(name, &len);
        if (bytes == NULL) {
            printf("real_prints_pass: skipped, %s is not there\n", name);
            return;
        }
        struct afis_image image = {0};
        ck_assert_int_eq(afis_image_from_png(bytes, len, sets[i / 80].dpi, heap, &image), AFIS_OK);
        struct afis_template tmpl = judge(&image);
        ck_assert_msg(tmpl.quality >= MIN_QUALITY, "%s: quality %u", name, tmpl.quality);
        afis_image_release(&image, heap);
        free(bytes);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quality");
    TCase *made = tcase_create("made fingers");
    TCase *others = tcase_create("others");
    tcase_set_timeout(made, 240);
    tcase_set_timeout(others, 240);
    tcase_add_unchecked_fixture(made, grow, release);
    tcase_add_test(made, usable_prints_pass_and_smudged_ones_do_not);
    tcase_add_test(made, falls_with_blur);
    tcase_add_test(made, falls_with_noise);
    tcase_add_test(made, falls_with_less_finger);
    tcase_add_test(made, falls_with_movement);
    tcase_add_test(made, advice_fits_what_went_wrong);
    tcase_add_test(others, patterns_are_no_finger);
    tcase_add_test(others, lines_that_cross_are_no_finger);
    tcase_add_test(others, noise_is_no_finger);
    tcase_add_test(others, text_is_never_searched);
    tcase_add_test(others, real_prints_pass);
    suite_add_tcase(suite, made);
    suite_add_tcase(suite, others);
    return run_suite(suite);
}
