/* Extraction, on ridge patterns with minutiae planted at known places: a plane wave whose phase
 * winds once around a point has exactly one ridge more on one side of it. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "afis/extract.h"
#include "counting_memory.h"
#include "extract/stages.h"
#include "run_suite.h"

#define WIDTH 320
#define HEIGHT 352
#define PERIOD 9.0     /* pixels at 500 dpi */
#define CENTRE_X 160.0 /* of the arches */
#define CENTRE_Y 420.0

struct planted {
    double x, y;
    int winding;
};

static const struct planted planted[] = {{100, 90, 1},  {200, 80, -1}, {150, 150, 1},
                                         {230, 160, 1}, {90, 190, -1}, {180, 215, -1},
                                         {130, 250, 1}, {225, 245, -1}};
#define PLANTED (sizeof planted / sizeof *planted)

static const struct afis_memory *heap = &afis_memory_heap;

/* Calls of malloc, whoever makes them, but for sanitizers, which have one of their own. */
static unsigned mallocs;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EXPORT __attribute__((visibility("default")))
extern void *__libc_malloc(size_t size);
EXPORT void *malloc(size_t size);

void *malloc(size_t size)
{
    mallocs++;
    return __libc_malloc(size);
}
#endif

/* Grey at a place in pixels of 500 dpi: arches in an oval on white. */
static double ridge_grey(double x, double y)
{
    double phase = 2 * M_PI / PERIOD * hypot(x - CENTRE_X, y - CENTRE_Y);
    for (size_t i = 0; i < PLANTED; i++) {
        phase += planted[i].winding * atan2(y - planted[i].y, x - planted[i].x);
    }
    double oval = hypot((x - 160) / 140, (y - 172) / 160);
    double inside = oval < 0.95 ? 1 : oval > 1 ? 0 : (1 - oval) / 0.05;
    return 255 - inside * (115 + 100 * cos(phase));
}

static struct afis_image draw(uint32_t dpi, const struct afis_memory *memory)
{
    double scale = dpi / 500.0;
    struct afis_image image = {(uint32_t)(WIDTH * scale), (uint32_t)(HEIGHT * scale), dpi, NULL};
    image.pixels = memory->alloc(memory->ctx, (size_t)image.width * image.height);
    ck_assert_ptr_nonnull(image.pixels);
    for (uint32_t y = 0; y < image.height; y++) {
        for (uint32_t x = 0; x < image.width; x++) {
            image.pixels[(size_t)y * image.width + x] =
                (uint8_t)ridge_grey((x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5);
        }
    }
    return image;
}

/* The direction back along the line that ends at a planted place, y up, radians. */
static double planted_direction(const struct planted *p)
{
    double nx = (p->x - CENTRE_X) / hypot(p->x - CENTRE_X, p->y - CENTRE_Y);
    double ny = (p->y - CENTRE_Y) / hypot(p->x - CENTRE_X, p->y - CENTRE_Y);
    /* Along the ridges is (-ny, nx); the extra line lies on its negative side. */
    return atan2(-p->winding * -nx, p->winding * ny);
}

static size_t found(const struct afis_template *tmpl, double tolerance)
{
    size_t count = 0;
    for (size_t i = 0; i < PLANTED; i++) {
        for (size_t k = 0; k < tmpl->count; k++) {
            const struct afis_minutia *m = &tmpl->minutiae[k];
            double turn = m->angle * (2 * M_PI / 65536) - planted_direction(&planted[i]);
            if (hypot(m->x / 16.0 - planted[i].x, m->y / 16.0 - planted[i].y) < tolerance &&
                cos(turn) > cos(M_PI / 8)) {
                count++;
                break;
            }
        }
    }
    return count;
}

static struct afis_template extract(const struct afis_image *image)
{
    struct afis_template tmpl;
    ck_assert_int_eq(afis_extract(image, heap, &tmpl, NULL), AFIS_OK);
    return tmpl;
}

START_TEST(every_planted_minutia_is_found_in_place_and_direction)
{
    struct afis_image image = draw(500, heap);
    struct afis_template tmpl = extract(&image);
    ck_assert_uint_eq(found(&tmpl, 7), PLANTED);
    ck_assert_uint_le(tmpl.count, PLANTED + 6);
    ck_assert_uint_eq(tmpl.reasons & AFIS_REASON_NOT_A_FINGER, 0);
    ck_assert_uint_eq(tmpl.width, WIDTH);
    ck_assert_uint_eq(tmpl.height, HEIGHT);
    for (size_t i = 0; i < tmpl.count; i++) {
        ck_assert_uint_ge(tmpl.minutiae[i].quality, 1);
        ck_assert_uint_le(tmpl.minutiae[i].quality, 100);
    }
    afis_image_release(&image, heap);
}
END_TEST

/* A child's finger, whose ridges lie closer: the same picture, smaller, and noise on it. */
START_TEST(narrow_ridges_show_their_minutiae)
{
    static const uint32_t smaller[] = {380, 340, 300}; /* of 500 */
    for (size_t i = 0; i < sizeof smaller / sizeof *smaller; i++) {
        struct afis_image image = draw(smaller[i], heap);
        uint32_t state = 7;
        for (size_t k = 0; k < (size_t)image.width * image.height; k++) {
            state = state * 1664525u + 1013904223u;
            int grey = image.pixels[k] + (int)(state >> 26) - 32;
            image.pixels[k] = (uint8_t)(grey < 0 ? 0 : grey > 255 ? 255 : grey);
        }
        image.dpi = 500;
        struct afis_template tmpl = extract(&image);
        for (size_t k = 0; k < tmpl.count; k++) {
            tmpl.minutiae[k].x = (int16_t)(tmpl.minutiae[k].x * 500 / (int)smaller[i]);
            tmpl.minutiae[k].y = (int16_t)(tmpl.minutiae[k].y * 500 / (int)smaller[i]);
        }
        ck_assert_uint_eq(found(&tmpl, 9), PLANTED);
        ck_assert_uint_le(tmpl.count, PLANTED + 6);
        afis_image_release(&image, heap);
    }
}
END_TEST

START_TEST(the_resolution_stated_makes_no_difference)
{
    static const uint32_t dpi[] = {250, 333, 569, 750, 1000};
    for (size_t i = 0; i < sizeof dpi / sizeof *dpi; i++) {
        struct afis_image image = draw(dpi[i], heap);
        struct afis_template tmpl = extract(&image);
        ck_assert_int_le(abs(tmpl.width - WIDTH), 2);
        ck_assert_int_le(abs(tmpl.height - HEIGHT), 2);
        ck_assert_uint_eq(found(&tmpl, 9), PLANTED);
        afis_image_release(&image, heap);
    }
}
END_TEST

static void assert_same(const struct pixel_ops *ops, const struct afis_image *image)
{
    struct afis_template portable;
    struct afis_template fast;
    struct afis_overlay a;
    struct afis_overlay b;
    ck_assert_int_eq(afis_extract_with(&afis_pixel_ops_portable, image, heap, &portable, &a),
                     AFIS_OK);
    ck_assert_int_eq(afis_extract_with(ops, image, heap, &fast, &b), AFIS_OK);
    ck_assert_mem_eq(&portable, &fast, sizeof fast);
    ck_assert_mem_eq(a.ridges, b.ridges, (size_t)a.width * a.height);
    ck_assert_mem_eq(a.quality, b.quality, (size_t)a.width * a.height);
    afis_overlay_release(&a, heap);
    afis_overlay_release(&b, heap);
}

static void assert_same_everywhere(const struct afis_image *image)
{
    assert_same(afis_pixel_ops_best(), image);
#ifdef AFIS_HAVE_PIXEL_OPS
    if (__builtin_cpu_supports("avx2")) {
        assert_same(&afis_pixel_ops_avx2, image);
    }
#endif
}

static struct afis_image noise(uint32_t width, uint32_t height)
{
    struct afis_image image = {width, height, 500, NULL};
    uint32_t state = 12345;
    image.pixels = heap->alloc(heap->ctx, (size_t)width * height);
    ck_assert_ptr_nonnull(image.pixels);
    for (size_t i = 0; i < (size_t)width * height; i++) {
        state = state * 1664525u + 1013904223u;
        image.pixels[i] = (uint8_t)(state >> 24);
    }
    return image;
}

/* Weak ridges with noise, and with an offset for each column or row. */
static struct afis_image draw_striped(int columns, int rows)
{
    struct afis_image image = draw(500, heap);
    uint32_t state = 99;
    int offset[2][HEIGHT + WIDTH];
    for (int i = 0; i < HEIGHT + WIDTH; i++) {
        for (int k = 0; k < 2; k++) {
            state = state * 1664525u + 1013904223u;
            offset[k][i] = (int)(state >> 24) % 25 - 12;
        }
    }
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        int striped = columns * offset[0][i % WIDTH] + rows * offset[1][i / WIDTH];
        state = state * 1664525u + 1013904223u;
        image.pixels[i] =
            (uint8_t)(180 + (image.pixels[i] - 200) / 8 + striped + (int)(state >> 24) % 3);
    }
    return image;
}

START_TEST(portable_and_fast_loops_agree_bit_for_bit)
{
    struct afis_image pattern = draw(569, heap);
    struct afis_image odd = noise(323, 257);
    struct afis_image striped = draw_striped(1, 1);
    assert_same_everywhere(&pattern);
    assert_same_everywhere(&striped);
    assert_same_everywhere(&odd);
    afis_image_release(&pattern, heap);
    afis_image_release(&odd, heap);
    afis_image_release(&striped, heap);
}
END_TEST

START_TEST(twice_gives_the_same)
{
    struct afis_image image = draw(500, heap);
    struct afis_template first = extract(&image);
    struct afis_template second = extract(&image);
    ck_assert_mem_eq(&first, &second, sizeof first);
    afis_image_release(&image, heap);
}
END_TEST

/* The shares of minutiae of a that b shows within 2 pixels and 10 degrees, as the other type. */
static double shown_as_other_type(const struct afis_template *a, const struct afis_template *b)
{
    size_t count = 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct afis_minutia *p = &a->minutiae[i];
        for (size_t k = 0; k < b->count; k++) {
            const struct afis_minutia *q = &b->minutiae[k];
            int turn = abs((int16_t)(p->angle - q->angle));
            if (hypot(p->x - q->x, p->y - q->y) < 2 * 16 && turn < 65536 / 36 &&
                p->type != q->type) {
                count++;
                break;
            }
        }
    }
    return (double)count / a->count;
}

START_TEST(light_ridges_give_the_same_minutiae_of_the_other_type)
{
    struct afis_image image = draw(500, heap);
    struct afis_template dark = extract(&image);
    for (size_t i = 0; i < (size_t)image.width * image.height; i++) {
        image.pixels[i] = 255 - image.pixels[i];
    }
    struct afis_template light = extract(&image);
    ck_assert_uint_eq(found(&light, 7), PLANTED);
    ck_assert_double_ge(shown_as_other_type(&dark, &light), 0.75);
    ck_assert_uint_eq(light.reasons & AFIS_REASON_NOT_A_FINGER, 0);
    afis_image_release(&image, heap);
}
END_TEST

START_TEST(stripes_of_the_sensor_are_taken_away)
{
    for (int kind = 1; kind < 4; kind++) {
        struct afis_image image = draw_striped(kind & 1, kind >> 1);
        struct afis_template tmpl = extract(&image);
        ck_assert_uint_eq(found(&tmpl, 9), PLANTED);
        ck_assert_uint_le(tmpl.count, PLANTED + 12);
        afis_image_release(&image, heap);
    }
}
END_TEST

static void assert_no_finger(const struct afis_image *image)
{
    struct afis_template tmpl = extract(image);
    ck_assert_uint_eq(tmpl.reasons, AFIS_REASON_NOT_A_FINGER);
    ck_assert_uint_eq(tmpl.quality, 0);
    ck_assert_uint_eq(tmpl.count, 0);
}

START_TEST(what_holds_no_ridges_is_no_finger)
{
    struct afis_image image = noise(388, 374);
    assert_no_finger(&image);
    size_t size = (size_t)image.width * image.height;
    memset(image.pixels, 0, size);
    assert_no_finger(&image);
    memset(image.pixels, 255, size);
    assert_no_finger(&image);
    for (size_t i = 0; i < size; i++) { /* a slope */
        image.pixels[i] = (uint8_t)(i % image.width * 255 / image.width);
    }
    assert_no_finger(&image);
    for (size_t i = 0; i < size; i++) { /* soft blobs, as of a face */
        double x = (double)(i % image.width);
        double y = (double)(i / image.width);
        image.pixels[i] = (uint8_t)(127 + 60 * sin(x / 23) * cos(y / 31) + 50 * sin((x + y) / 40));
    }
    assert_no_finger(&image);
    for (size_t i = 0; i < size; i++) { /* a ruling */
        image.pixels[i] = i / image.width % 9 < 4 ? 20 : 230;
    }
    assert_no_finger(&image);
    afis_image_release(&image, heap);
}
END_TEST

START_TEST(a_corner_of_a_finger_is_too_little)
{
    struct afis_image image = draw(500, heap);
    for (uint32_t y = 0; y < image.height; y++) {
        for (uint32_t x = 0; x < image.width; x++) {
            if (x > 130 || y > 190 || y < 50) {
                image.pixels[(size_t)y * image.width + x] = 255;
            }
        }
    }
    struct afis_template tmpl = extract(&image);
    ck_assert_uint_lt(tmpl.quality, 45);
    ck_assert_uint_ne(tmpl.reasons & AFIS_REASON_TOO_LITTLE_FINGER, 0);
    afis_image_release(&image, heap);
}
END_TEST

START_TEST(sizes_and_resolutions_out_of_bounds_are_refused)
{
    static uint8_t pixels[2100 * 2100];
    struct counting_memory state = {0};
    struct afis_memory memory = counting_memory(&state);
    struct afis_template tmpl;
    static const struct {
        uint32_t width, height, dpi;
        enum afis_status status;
    } cases[] = {{63, 400, 500, AFIS_TOO_SMALL},    {0, 0, 500, AFIS_TOO_SMALL},
                 {100, 100, 1000, AFIS_TOO_SMALL},  {400, 400, 249, AFIS_BAD_DPI},
                 {400, 400, 1001, AFIS_BAD_DPI},    {2048, 400, 500, AFIS_TOO_LARGE},
                 {1100, 1100, 250, AFIS_TOO_LARGE}, {0xffffffff, 400, 500, AFIS_TOO_LARGE},
                 {400, 60000, 1000, AFIS_TOO_LARGE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct afis_image image = {cases[i].width, cases[i].height, cases[i].dpi, pixels};
        ck_assert_int_eq(afis_extract(&image, &memory, &tmpl, NULL), cases[i].status);
        ck_assert_uint_eq(state.calls, 0);
    }
    struct afis_image least = {64, 64, 500, pixels};
    ck_assert_int_eq(afis_extract(&least, &memory, &tmpl, NULL), AFIS_OK);
}
END_TEST

/* The print in the corner of a frame that is larger than any finger, on a table with some dirt. */
static struct afis_image surround(uint32_t dpi, uint32_t left, uint32_t top)
{
    struct afis_image print = draw(dpi, heap);
    struct afis_image frame = {1200 * dpi / 500, 1000 * dpi / 500, dpi, NULL};
    frame.pixels = heap->alloc(heap->ctx, (size_t)frame.width * frame.height);
    for (uint32_t y = 0; y < frame.height; y++) {
        for (uint32_t x = 0; x < frame.width; x++) {
            bool inside = x >= left && x - left < print.width && y >= top && y - top < print.height;
            frame.pixels[(size_t)y * frame.width + x] =
                inside ? print.pixels[(size_t)(y - top) * print.width + (x - left)]
                       : (uint8_t)(250 + (x * 7 + y * 13) % 5);
        }
    }
    afis_image_release(&print, heap);
    return frame;
}

START_TEST(a_finger_anywhere_in_a_large_frame_is_found_there)
{
    static const uint32_t dpi[] = {250, 500};
    static const uint32_t corner[][2] = {{0, 0}, {700, 0}, {0, 560}, {320, 300}, {750, 600}};
    for (size_t d = 0; d < 2; d++) {
        for (size_t i = 0; i < sizeof corner / sizeof *corner; i++) {
            uint32_t left = corner[i][0] * dpi[d] / 500, top = corner[i][1] * dpi[d] / 500;
            struct afis_image frame = surround(dpi[d], left, top);
            struct afis_template tmpl = extract(&frame);
            ck_assert_uint_eq(tmpl.width, 1200);
            ck_assert_uint_eq(tmpl.height, 1000);
            for (size_t m = 0; m < tmpl.count; m++) {
                tmpl.minutiae[m].x = (int16_t)(tmpl.minutiae[m].x - (int)corner[i][0] * 16);
                tmpl.minutiae[m].y = (int16_t)(tmpl.minutiae[m].y - (int)corner[i][1] * 16);
            }
            ck_assert_uint_eq(found(&tmpl, 9), PLANTED);
            afis_image_release(&frame, heap);
        }
    }
}
END_TEST

/* However large the frame, the work is bounded: by memory here, which goes with time. */
START_TEST(the_work_on_a_frame_full_of_ridges_is_bounded)
{
    struct counting_memory state = {.fail_at = 0};
    struct afis_memory memory = counting_memory(&state);
    struct afis_image frame = {1600, 1600, 500, NULL};
    frame.pixels = heap->alloc(heap->ctx, (size_t)frame.width * frame.height);
    for (uint32_t i = 0; i < frame.width * frame.height; i++) {
        double r = hypot((double)(i % frame.width), (double)(i / frame.width) - 4000);
        frame.pixels[i] = (uint8_t)(128 + 100 * cos(r * 2 * M_PI / PERIOD));
    }
    struct afis_template tmpl;
    ck_assert_int_eq(afis_extract(&frame, &memory, &tmpl, NULL), AFIS_OK);
    ck_assert_uint_lt(state.peak, (size_t)12 << 20);
    afis_image_release(&frame, heap);
}
END_TEST

/* Arches with ten times ten minutiae: so many that no sort keeps them on the stack. */
static struct afis_image draw_many(void)
{
    struct afis_image image = {400, 400, 500, heap->alloc(heap->ctx, (size_t)400 * 400)};
    ck_assert_ptr_nonnull(image.pixels);
    for (size_t i = 0; i < (size_t)400 * 400; i++) {
        const double x = (double)(i % 400), y = (double)(i / 400);
        double phase = 2 * M_PI / PERIOD * hypot(x - 200, y - 460);
        for (int k = 0; k < 100; k++) {
            const int row = k / 10, col = k % 10;
            const double turn = atan2(y - 25.3 - row * 36, x - 25.3 - col * 36);
            phase += row % 2 != 0 ? turn : -turn;
        }
        image.pixels[i] = (uint8_t)(128 + 100 * cos(phase));
    }
    return image;
}

/* The C library does not take any for its own use, either. */
START_TEST(no_memory_is_used_but_the_callers)
{
    struct afis_image image = draw_many();
    struct afis_template tmpl;
    const unsigned before = mallocs;
    const enum afis_status status = afis_extract(&image, heap, &tmpl, NULL);
    const unsigned after = mallocs;
    ck_assert_int_eq(status, AFIS_OK);
    ck_assert_uint_gt(tmpl.count, 50);
    ck_assert_uint_eq(before, after);
    for (unsigned i = 1; i < tmpl.count; i++) {
        ck_assert_uint_le(tmpl.minutiae[i].quality, tmpl.minutiae[i - 1].quality);
    }
    afis_image_release(&image, heap);
}
END_TEST

static void run_dry(struct afis_image image)
{
    enum afis_status status = AFIS_NO_MEMORY;
    for (size_t call = 1; status != AFIS_OK; call++) {
        struct counting_memory state = {.fail_at = call};
        struct afis_memory memory = counting_memory(&state);
        struct afis_template tmpl;
        struct afis_template before;
        struct afis_overlay overlay = {0};
        memset(&tmpl, 0x55, sizeof tmpl);
        before = tmpl;
        ck_assert_uint_lt(call, 20);
        status = afis_extract(&image, &memory, &tmpl, &overlay);
        ck_assert(status == AFIS_OK || status == AFIS_NO_MEMORY);
        if (status != AFIS_OK) {
            ck_assert_mem_eq(&tmpl, &before, sizeof tmpl);
            ck_assert_ptr_null(overlay.ridges);
        }
        afis_overlay_release(&overlay, &memory);
        ck_assert_uint_eq(state.out, 0);
        ck_assert_uint_eq(state.wrong, 0);
    }
    afis_image_release(&image, heap);
}

START_TEST(an_allocator_that_runs_dry_is_reported_at_every_call)
{
    run_dry(draw(569, heap));
    run_dry(surround(250, 100, 100));
}
END_TEST

START_TEST(the_overlay_of_a_large_frame_lies_over_the_print)
{
    struct afis_image frame = surround(500, 600, 500);
    struct afis_template tmpl;
    struct afis_overlay overlay;
    ck_assert_int_eq(afis_extract(&frame, heap, &tmpl, &overlay), AFIS_OK);
    ck_assert_uint_eq(overlay.width, 1200);
    ck_assert_uint_eq(overlay.height, 1000);
    ck_assert_uint_eq(overlay.quality[0], 0);
    ck_assert_uint_gt(overlay.quality[(size_t)(500 + 172) * 1200 + 600 + 160], 50);
    afis_overlay_release(&overlay, heap);
    afis_image_release(&frame, heap);
}
END_TEST

START_TEST(the_overlay_shows_ridges_inside_the_print_only)
{
    struct afis_image image = draw(500, heap);
    struct afis_template tmpl;
    struct afis_overlay overlay;
    ck_assert_int_eq(afis_extract(&image, heap, &tmpl, &overlay), AFIS_OK);
    ck_assert_uint_eq(overlay.width, WIDTH);
    ck_assert_uint_eq(overlay.height, HEIGHT);
    size_t ridge = 0;
    for (size_t i = 0; i < (size_t)WIDTH * HEIGHT; i++) {
        ck_assert_uint_le(overlay.ridges[i], 1);
        ck_assert_uint_le(overlay.quality[i], 100);
        ck_assert(overlay.ridges[i] == 0 || overlay.quality[i] > 0);
        ridge += overlay.ridges[i];
    }
    ck_assert_uint_gt(ridge, (size_t)(0.5 * WIDTH * HEIGHT / PERIOD * 0.5));
    ck_assert_uint_eq(overlay.quality[0], 0);
    ck_assert_uint_gt(overlay.quality[(size_t)172 * WIDTH + 160], 50);
    afis_overlay_release(&overlay, heap);
    ck_assert_ptr_null(overlay.ridges);
    afis_image_release(&image, heap);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("extract");
    TCase *tests = tcase_create("extract");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, every_planted_minutia_is_found_in_place_and_direction);
    tcase_add_test(tests, the_resolution_stated_makes_no_difference);
    tcase_add_test(tests, narrow_ridges_show_their_minutiae);
    tcase_add_test(tests, portable_and_fast_loops_agree_bit_for_bit);
    tcase_add_test(tests, twice_gives_the_same);
    tcase_add_test(tests, light_ridges_give_the_same_minutiae_of_the_other_type);
    tcase_add_test(tests, stripes_of_the_sensor_are_taken_away);
    tcase_add_test(tests, what_holds_no_ridges_is_no_finger);
    tcase_add_test(tests, a_corner_of_a_finger_is_too_little);
    tcase_add_test(tests, sizes_and_resolutions_out_of_bounds_are_refused);
    tcase_add_test(tests, no_memory_is_used_but_the_callers);
    tcase_add_test(tests, an_allocator_that_runs_dry_is_reported_at_every_call);
    tcase_add_test(tests, a_finger_anywhere_in_a_large_frame_is_found_there);
    tcase_add_test(tests, the_work_on_a_frame_full_of_ridges_is_bounded);
    tcase_add_test(tests, the_overlay_of_a_large_frame_lies_over_the_print);
    tcase_add_test(tests, the_overlay_shows_ridges_inside_the_print_only);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
