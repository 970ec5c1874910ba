/* Slaps made of artificial fingers: how many there are, which, and where. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "afis/extract.h"
#include "afis/match.h"
#include "afis/slap.h"
#include "afis/synth.h"
#include "run_suite.h"

#define WIDTH 1600u
#define HEIGHT 1000u
#define FINGERS 4u

static struct afis_image prints[FINGERS];
static uint8_t pixels[WIDTH * HEIGHT];
static struct afis_image slap_image = {WIDTH, HEIGHT, 500, pixels};

/* Grows the fingers once; Check's processes share them. */
static void grow(void)
{
    for (unsigned i = 0; i < FINGERS; i++) {
        struct afis_synth_master master;
        struct afis_synth_condition condition;
        uint64_t seed = afis_synth_seed(2026, i + 1, 0);
        ck_assert_int_eq(afis_synth_finger(seed, AFIS_SYNTH_RIGHT_LOOP, &afis_memory_heap, &master),
                         AFIS_OK);
        afis_synth_draw_condition(seed, AFIS_SYNTH_CLEAN, &condition);
        condition.dx = condition.dy = condition.rotation = 0;
        ck_assert_int_eq(
            afis_synth_impression(&master, seed, &condition, &afis_memory_heap, &prints[i]),
            AFIS_OK);
        afis_synth_master_release(&master, &afis_memory_heap);
    }
}

static void clear(void)
{
    memset(pixels, 250, sizeof pixels);
}

/* Where a finger was put: its centre. */
static struct {
    uint32_t x, y;
} put_at[FINGERS];

static void put(unsigned finger, uint32_t x, uint32_t y)
{
    const struct afis_image *print = &prints[finger];
    for (uint32_t v = 0; v < print->height && y + v < HEIGHT; v++) {
        for (uint32_t u = 0; u < print->width && x + u < WIDTH; u++) {
            uint8_t *to = &pixels[(size_t)(y + v) * WIDTH + x + u];
            uint8_t grey = print->pixels[(size_t)v * print->width + u];
            *to = grey < *to ? grey : *to;
        }
    }
    put_at[finger].x = x + print->width / 2;
    put_at[finger].y = y + print->height / 2;
}

static struct afis_slap *segment(unsigned position, uint16_t missing)
{
    struct afis_slap *slap = NULL;
    ck_assert_int_eq(afis_slap_segment(&slap_image, position, missing, &afis_memory_heap, &slap),
                     AFIS_OK);
    return slap;
}

/* Finger `index` of the slap is artificial finger `finger`, at the position given. */
static void check_finger(const struct afis_slap *slap, unsigned index, unsigned finger,
                         unsigned position)
{
    const struct afis_slap_finger *box = afis_slap_finger(slap, index);
    ck_assert_uint_eq(box->position, position);
    ck_assert_msg(box->left < put_at[finger].x && put_at[finger].x < box->right &&
                      box->top < put_at[finger].y && put_at[finger].y < box->bottom,
                  "finger %u: %u %u to %u %u", index, box->left, box->top, box->right, box->bottom);
    ck_assert_uint_lt(box->right - box->left, 400);
}

START_TEST(four_fingers_are_numbered_by_hand)
{
    static const struct {
        unsigned hand;
        uint8_t positions[4];
    } hands[] = {{AFIS_SLAP_RIGHT_FOUR, {2, 3, 4, 5}}, {AFIS_SLAP_LEFT_FOUR, {10, 9, 8, 7}}};
    clear();
    put(0, 100, 300);
    put(1, 480, 100);
    put(2, 860, 150);
    put(3, 1240, 420);
    for (unsigned h = 0; h < 2; h++) {
        struct afis_slap *slap = segment(hands[h].hand, 0);
        ck_assert_uint_eq(afis_slap_count(slap), 4);
        for (unsigned i = 0; i < 4; i++) {
            check_finger(slap, i, i, hands[h].positions[i]);
        }
        afis_slap_release(slap, &afis_memory_heap);
    }
}
END_TEST

START_TEST(cut_fingers_match_their_own)
{
    struct afis_matcher *matcher = afis_memory_heap.alloc(NULL, afis_matcher_size());
    struct afis_finger *whole[FINGERS], *cut = afis_memory_heap.alloc(NULL, afis_finger_size());
    struct afis_template tmpl;
    clear();
    for (unsigned i = 0; i < FINGERS; i++) {
        put(i, 60 + 380 * i, 200 + 60 * i);
        whole[i] = afis_memory_heap.alloc(NULL, afis_finger_size());
        ck_assert_int_eq(afis_extract(&prints[i], &afis_memory_heap, &tmpl, NULL), AFIS_OK);
        ck_assert_int_eq(afis_finger_prepare(&tmpl, whole[i]), AFIS_OK);
    }
    struct afis_slap *slap = segment(AFIS_SLAP_RIGHT_FOUR, 0);
    ck_assert_uint_eq(afis_slap_count(slap), FINGERS);
    for (unsigned i = 0; i < FINGERS; i++) {
        struct afis_image image;
        ck_assert_int_eq(afis_slap_cut(slap, i, &slap_image, &afis_memory_heap, &image), AFIS_OK);
        ck_assert_uint_eq(image.dpi, 500);
        ck_assert_int_eq(afis_extract(&image, &afis_memory_heap, &tmpl, NULL), AFIS_OK);
        ck_assert_int_eq(afis_finger_prepare(&tmpl, cut), AFIS_OK);
        for (unsigned k = 0; k < FINGERS; k++) {
            float own = afis_compare(matcher, cut, whole[i]);
            float other = afis_compare(matcher, cut, whole[k]);
            ck_assert_msg(k == i || own > other, "%u and %u: %f, %f", i, k, (double)own,
                          (double)other);
        }
        afis_image_release(&image, &afis_memory_heap);
    }
    afis_slap_release(slap, &afis_memory_heap);
    for (unsigned i = 0; i < FINGERS; i++) {
        afis_memory_heap.release(NULL, whole[i], afis_finger_size());
    }
    afis_memory_heap.release(NULL, cut, afis_finger_size());
    afis_memory_heap.release(NULL, matcher, afis_matcher_size());
}
END_TEST

/* Without the room that the images leave beside the finger. */
START_TEST(fingers_held_together_are_parted)
{
    clear();
    for (unsigned i = 0; i < FINGERS; i++) {
        put(i, 100 + 245 * i, 200 + 40 * (i % 2));
    }
    struct afis_slap *slap = segment(AFIS_SLAP_RIGHT_FOUR, 0);
    ck_assert_uint_eq(afis_slap_count(slap), 4);
    for (unsigned i = 0; i < 4; i++) {
        check_finger(slap, i, i, i + 2);
    }
    afis_slap_release(slap, &afis_memory_heap);
}
END_TEST

START_TEST(missing_finger_that_is_stated_keeps_the_others_numbered)
{
    clear();
    put(0, 100, 300);
    put(1, 480, 100);
    put(3, 1240, 420);
    struct afis_slap *slap = segment(AFIS_SLAP_RIGHT_FOUR, 1u << 4);
    ck_assert_uint_eq(afis_slap_count(slap), 3);
    check_finger(slap, 0, 0, 2);
    check_finger(slap, 1, 1, 3);
    check_finger(slap, 2, 3, 5);
    afis_slap_release(slap, &afis_memory_heap);
}
END_TEST

START_TEST(missing_finger_that_nobody_states_leaves_all_unnumbered)
{
    clear();
    put(0, 100, 300);
    put(1, 480, 100);
    put(3, 1240, 420);
    struct afis_slap *slap = segment(AFIS_SLAP_RIGHT_FOUR, 0);
    ck_assert_uint_eq(afis_slap_count(slap), 3);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(afis_slap_finger(slap, i)->position, 0);
    }
    afis_slap_release(slap, &afis_memory_heap);
}
END_TEST

START_TEST(one_thumb_alone_is_told_by_its_half)
{
    clear();
    put(0, 1100, 300);
    struct afis_slap *slap = segment(AFIS_SLAP_THUMBS, 0);
    ck_assert_uint_eq(afis_slap_count(slap), 1);
    check_finger(slap, 0, 0, 1);
    afis_slap_release(slap, &afis_memory_heap);
    put(1, 200, 300);
    slap = segment(AFIS_SLAP_THUMBS, 0);
    ck_assert_uint_eq(afis_slap_count(slap), 2);
    check_finger(slap, 0, 1, 6);
    check_finger(slap, 1, 0, 1);
    afis_slap_release(slap, &afis_memory_heap);
}
END_TEST

START_TEST(further_phalanges_and_lines_are_no_fingers)
{
    clear();
    put(0, 500, 20);
    put(1, 500, 560);                       /* below it: the same finger's next phalanx */
    for (uint32_t y = 0; y < HEIGHT; y++) { /* a printed frame and lines */
        for (uint32_t x = 0; x < WIDTH; x++) {
            if (y % 480 < 4 || x % 800 < 4) {
                pixels[(size_t)y * WIDTH + x] = 0;
            }
        }
    }
    struct afis_slap *slap = segment(AFIS_SLAP_LEFT_FOUR, 1u << 10 | 1u << 9 | 1u << 8);
    ck_assert_uint_eq(afis_slap_count(slap), 1);
    check_finger(slap, 0, 0, 7);
    afis_slap_release(slap, &afis_memory_heap);
}
END_TEST

START_TEST(isolated_finger_keeps_its_pixels_and_loses_the_card)
{
    struct afis_image alone;
    clear();
    put(0, 500, 300);
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = 0; x < WIDTH; x++) {
            if (y % 480 < 4 || x % 800 < 4) {
                pixels[(size_t)y * WIDTH + x] = 0;
            }
        }
    }
    ck_assert_int_eq(afis_slap_isolate(&slap_image, &afis_memory_heap, &alone), AFIS_OK);
    ck_assert_uint_eq(alone.width, WIDTH);
    ck_assert_uint_eq(alone.height, HEIGHT);
    for (uint32_t y = 0; y < 60; y++) { /* the middle of the finger as it was */
        const size_t at = (size_t)(put_at[0].y - 30 + y) * WIDTH + put_at[0].x - 30;
        ck_assert_mem_eq(alone.pixels + at, pixels + at, 60);
    }
    for (uint32_t y = 0; y < HEIGHT; y++) { /* the frame's left line is gone */
        ck_assert_uint_eq(alone.pixels[(size_t)y * WIDTH], 255);
    }
    afis_image_release(&alone, &afis_memory_heap);
    memset(pixels, 0, sizeof pixels); /* no finger: nothing is taken away */
    ck_assert_int_eq(afis_slap_isolate(&slap_image, &afis_memory_heap, &alone), AFIS_OK);
    ck_assert_mem_eq(alone.pixels, pixels, sizeof pixels);
    afis_image_release(&alone, &afis_memory_heap);
}
END_TEST

START_TEST(empty_and_odd_images_have_no_finger)
{
    struct afis_slap *slap = NULL;
    clear();
    ck_assert_int_eq(afis_slap_segment(&slap_image, 13, 0, &afis_memory_heap, &slap),
                     AFIS_NOT_A_FINGER);
    memset(pixels, 0, sizeof pixels);
    ck_assert_int_eq(afis_slap_segment(&slap_image, 14, 0, &afis_memory_heap, &slap),
                     AFIS_NOT_A_FINGER);
    ck_assert_int_eq(afis_slap_segment(&slap_image, 2, 0, &afis_memory_heap, &slap),
                     AFIS_UNSUPPORTED);
    struct afis_image small = {100, 100, 500, pixels};
    ck_assert_int_eq(afis_slap_segment(&small, 13, 0, &afis_memory_heap, &slap), AFIS_TOO_SMALL);
    ck_assert_ptr_null(slap);
}
END_TEST

START_TEST(noise_of_any_size_and_resolution_is_survived)
{
    uint32_t random = 7;
    for (size_t i = 0; i < sizeof pixels; i++) {
        random = random * 1664525 + 1013904223;
        pixels[i] = (uint8_t)(random >> 24);
    }
    static const struct afis_image images[] = {{1600, 1000, 500, pixels},  {4096, 390, 250, pixels},
                                               {390, 4096, 1000, pixels},  {701, 503, 333, pixels},
                                               {1000, 1600, 1000, pixels}, {3, 2, 250, pixels}};
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        struct afis_slap *slap = NULL;
        enum afis_status status =
            afis_slap_segment(&images[i], 13 + (unsigned)i % 3, 0, &afis_memory_heap, &slap);
        for (unsigned k = 0; status == AFIS_OK && k < afis_slap_count(slap); k++) {
            struct afis_image cut;
            ck_assert_int_eq(afis_slap_cut(slap, k, &images[i], &afis_memory_heap, &cut), AFIS_OK);
            afis_image_release(&cut, &afis_memory_heap);
        }
        afis_slap_release(slap, &afis_memory_heap);
        struct afis_image alone;
        ck_assert_int_eq(afis_slap_isolate(&images[i], &afis_memory_heap, &alone), AFIS_OK);
        afis_image_release(&alone, &afis_memory_heap);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slap");
    TCase *tc = tcase_create("segment");
    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, grow, NULL);
    tcase_add_test(tc, four_fingers_are_numbered_by_hand);
    tcase_add_test(tc, cut_fingers_match_their_own);
    tcase_add_test(tc, fingers_held_together_are_parted);
    tcase_add_test(tc, missing_finger_that_is_stated_keeps_the_others_numbered);
    tcase_add_test(tc, missing_finger_that_nobody_states_leaves_all_unnumbered);
    tcase_add_test(tc, one_thumb_alone_is_told_by_its_half);
    tcase_add_test(tc, further_phalanges_and_lines_are_no_fingers);
    tcase_add_test(tc, isolated_finger_keeps_its_pixels_and_loses_the_card);
    tcase_add_test(tc, empty_and_odd_images_have_no_finger);
    tcase_add_test(tc, noise_of_any_size_and_resolution_is_survived);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
