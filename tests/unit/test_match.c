/* Comparing templates, and what scores mean. */
#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../../afis/match/internal.h"
#include "../../afis/match/packed.h"
#include "minutiae.h"
#include "run_suite.h"

static struct afis_finger probe, gallery;
static struct afis_matcher matcher;

static float compare(const struct afis_template *a, const struct afis_template *b)
{
    ck_assert_int_eq(afis_finger_prepare(a, &probe), AFIS_OK);
    ck_assert_int_eq(afis_finger_prepare(b, &gallery), AFIS_OK);
    return afis_compare(&matcher, &probe, &gallery);
}

/* The same finger laid down again: turned, moved, and with every third minutia lost. */
static struct afis_template moved(const struct afis_template *t, double degrees, double dx,
                                  double dy, unsigned lost_of_3)
{
    struct afis_template out = *t;
    const double c = cos(degrees * M_PI / 180), s = sin(degrees * M_PI / 180);
    out.count = 0;
    out.width = out.height = 900;
    for (unsigned i = 0; i < t->count; i++) {
        struct afis_minutia m = t->minutiae[i];
        double x = m.x / 16.0 - 150, y = m.y / 16.0 - 200;
        m.x = (int16_t)lrint((450 + dx + c * x + s * y) * 16);
        m.y = (int16_t)lrint((450 + dy - s * x + c * y) * 16);
        m.angle = (uint16_t)(m.angle + (int)lrint(degrees / 360 * 65536));
        if (i % 3 >= lost_of_3) {
            out.minutiae[out.count++] = m;
        }
    }
    return out;
}

START_TEST(a_finger_matches_itself_wherever_it_lies)
{
    for (unsigned k = 0; k < 12; k++) {
        const struct afis_template t = minutiae_template(100 + k, 40);
        const struct afis_template u = moved(&t, 7.0 * k - 40, 3.0 * k, 40 - 5.0 * k, 1);
        ck_assert_float_gt(compare(&t, &u), 40);
    }
}
END_TEST

START_TEST(other_fingers_score_far_less_than_the_same)
{
    float same = 1e9f, other = 0;
    for (unsigned k = 0; k < 30; k++) {
        const struct afis_template t = minutiae_template(200 + k, 40);
        const struct afis_template u = moved(&t, 20, 10, -10, 1),
                                   v = minutiae_template(300 + k, 40);
        same = fminf(same, compare(&t, &u));
        other = fmaxf(other, compare(&t, &v));
    }
    ck_assert_float_gt(same, other + 20);
}
END_TEST

START_TEST(scores_hardly_depend_on_which_is_the_probe)
{
    for (unsigned k = 0; k < 10; k++) {
        const struct afis_template t = minutiae_template(400 + k, 45);
        const struct afis_template u = moved(&t, -15, 20, 20, 1);
        float there = compare(&t, &u), back = compare(&u, &t);
        ck_assert_float_le(fabsf(there - back), 0.15f * (there + back));
    }
}
END_TEST

/* As records come that report no quality of minutiae, after the first `rated` of them. */
static struct afis_template without_quality(const struct afis_template *t, unsigned rated)
{
    struct afis_template out = *t;
    for (unsigned i = rated; i < out.count; i++) {
        out.minutiae[i].quality = 0;
    }
    return out;
}

/* What one variant of the kernel makes of two templates must be what the portable one does. */
static void same_bits(const struct match_ops *ops, const struct afis_template *t,
                      const struct afis_template *u)
{
    static struct afis_finger p[2], g[2];
    static struct afis_matcher m[2];
    const struct match_ops *plain = &afis_match_ops_portable;
    ck_assert_int_eq(afis_finger_prepare(t, &p[0]), AFIS_OK);
    ck_assert_int_eq(afis_finger_prepare(u, &g[0]), AFIS_OK);
    p[1] = p[0];
    g[1] = g[0];
    ops->place(&p[0]);
    ops->cover(&p[0]);
    ops->place(&g[0]);
    ops->cover(&g[0]);
    plain->place(&p[1]);
    plain->cover(&p[1]);
    plain->place(&g[1]);
    plain->cover(&g[1]);
    ck_assert_mem_eq(&p[0], &p[1], sizeof p[0]);
    ck_assert_int_eq(ops->compare(&m[0], &p[0], &g[0]), plain->compare(&m[1], &p[1], &g[1]));
    ck_assert_mem_eq(m[0].features, m[1].features, sizeof m[0].features);
    p[0].covered = g[0].covered = false; /* as from the packed form: made when it is needed */
    ops->compare(&m[0], &p[0], &g[0]);
    ck_assert_mem_eq(m[0].features, m[1].features, sizeof m[0].features);
}

/* ... and of a packed template. */
static bool same_fields(const struct match_ops *ops, const uint8_t *bytes, size_t len)
{
    static struct afis_finger f[2];
    memset(f, 0, sizeof f);
    for (unsigned k = 0; k < 2; k++) {
        f[k].width = f[k].height = 900;
        f[k].count = bytes[11];
    }
    const bool sound = ops->unpack(&f[0], bytes, len);
    ck_assert(afis_match_ops_portable.unpack(&f[1], bytes, len) == sound);
    if (sound) {
        ck_assert_mem_eq(&f[0], &f[1], sizeof f[0]);
    }
    return sound;
}

static void same_descriptors(const struct describe_ops *ops, const struct afis_template *t)
{
    static struct afis_finger f[2];
    ck_assert_int_eq(afis_finger_prepare(t, &f[0]), AFIS_OK);
    f[1] = f[0];
    memset(f[0].descriptor, 0, sizeof f[0].descriptor);
    ops->describe(&f[0]);
    ck_assert_mem_eq(f[0].descriptor, f[1].descriptor, sizeof f[0].descriptor);
}

START_TEST(every_variant_describes_with_the_same_bits)
{
    for (unsigned k = 0; k < 60; k++) {
        const struct afis_template t = minutiae_template(900 + k, k + 5);
        same_descriptors(&afis_describe_ops_portable, &t);
#ifdef AFIS_HAVE_MATCH_KERNELS
        if (afis_match_ops_best() == &afis_match_ops_avx512) {
            same_descriptors(&afis_describe_ops_avx2, &t);
        }
#endif
    }
}
END_TEST

START_TEST(every_variant_of_the_kernel_returns_the_same_bits)
{
    const struct match_ops *best = afis_match_ops_best();
    for (unsigned k = 0; k < 120; k++) {
        const struct afis_template t = minutiae_template(500 + k, k % 65);
        const struct afis_template u =
            k % 2 ? moved(&t, k, k, -(double)k, 1) : minutiae_template(700 + k, 64 - k % 50);
        const struct afis_template bare = without_quality(&t, 0);
        same_bits(best, &t, &u);
        same_bits(best, &bare, &u);
#ifdef AFIS_HAVE_MATCH_KERNELS
        if (best == &afis_match_ops_avx512) {
            same_bits(&afis_match_ops_avx2, &t, &u);
            same_bits(&afis_match_ops_avx2, &bare, &u);
        }
#endif
    }
}
END_TEST

/* Any number of minutiae; any bit changed, with the checksum of that. */
START_TEST(every_variant_unpacks_and_refuses_the_same)
{
    const struct match_ops *list[] = {afis_match_ops_best(),
#ifdef AFIS_HAVE_MATCH_KERNELS
                                      &afis_match_ops_avx2
#endif
    };
    const size_t variants = list[0] == &afis_match_ops_portable ? 1 : sizeof list / sizeof list[0];
    unsigned refused = 0;
    for (unsigned k = 0; k <= FINGER_MINUTIAE; k++) {
        const struct afis_template made = minutiae_template(40 + k, k),
                                   t = moved(&made, 1, 5, 5, 0);
        uint8_t bytes[AFIS_PACKED_MAX];
        size_t len;
        ck_assert_int_eq(afis_template_pack(&t, bytes, sizeof bytes, &len), AFIS_OK);
        for (size_t v = 0; v < variants; v++) {
            ck_assert(same_fields(list[v], bytes, len));
            for (size_t bit = 16 * 8; bit < len * 8; bit += 5) {
                bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
                ck_assert(!same_fields(list[v], bytes, len));
                const uint32_t sum = checksum_end(checksum_begin(bytes), bytes, 16, len),
                               old = (uint32_t)load_bytes(bytes + 12, 4);
                memcpy(bytes + 12, &sum, sizeof sum); /* x86 alone has variants */
                refused += !same_fields(list[v], bytes, len);
                memcpy(bytes + 12, &old, sizeof old);
                bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
        }
    }
    ck_assert_uint_gt(refused, 100); /* fields out of range */
}
END_TEST

START_TEST(a_finger_is_bare_when_half_its_minutiae_report_no_quality)
{
    const struct afis_template t = minutiae_template(1300, 40), empty = minutiae_template(1301, 0);
    static const struct {
        unsigned rated;
        bool bare;
    } cases[] = {{40, false}, {21, false}, {20, true}, {0, true}};
    for (unsigned k = 0; k < sizeof cases / sizeof *cases; k++) {
        const struct afis_template u = without_quality(&t, cases[k].rated);
        ck_assert_int_eq(afis_finger_prepare(&u, &probe), AFIS_OK);
        ck_assert_int_eq(afis_finger_prepare(&t, &gallery), AFIS_OK);
        ck_assert_uint_eq(afis_bare_sides(&probe, &gallery), cases[k].bare);
        ck_assert_uint_eq(afis_bare_sides(&gallery, &probe), cases[k].bare);
        ck_assert_uint_eq(afis_bare_sides(&probe, &probe), 2 * cases[k].bare);
    }
    ck_assert_int_eq(afis_finger_prepare(&empty, &probe), AFIS_OK);
    ck_assert_uint_eq(afis_bare_sides(&probe, &probe), 0);
}
END_TEST

START_TEST(the_same_evidence_is_worth_less_without_qualities)
{
    for (unsigned k = 0; k < 20; k++) {
        const struct afis_template t = minutiae_template(1400 + k, 40);
        const struct afis_template u =
            k % 2 ? moved(&t, 2.0 * k, 3, -3, 1) : minutiae_template(1500 + k, 40);
        compare(&t, &u);
        const bool aligned = matcher.features[FEATURE_MATCHED] > 0;
        float rated = afis_score(matcher.features, aligned, 0);
        float mixed = afis_score(matcher.features, aligned, 1);
        float score = compare(&t, &u);
        ck_assert_mem_eq(&rated, &score, sizeof score);
        if (k % 2) { /* a mate: in the tail; elsewhere the three differ by rounding */
            ck_assert_float_gt(rated, 40);
            ck_assert_float_gt(rated, mixed + 1);
        }
        ck_assert_float_gt(mixed, 0);
    }
}
END_TEST

START_TEST(every_calibration_rises_with_the_evidence)
{
    for (unsigned bare = 0; bare <= 2; bare++) {
        float features[FEATURE_COUNT] = {0}, last = 0;
        for (int support = -60; support <= 120; support++) { /* of which all models think well */
            features[FEATURE_SUPPORT] = (float)support / 4;
            float score = afis_score(features, true, bare);
            ck_assert_float_gt(score, last);
            last = score;
        }
        ck_assert_float_gt(last, 60);
    }
}
END_TEST

/* The same record, made from a picture that was drawn out to 4/3 of its height. */
static struct afis_template stretched(const struct afis_template *t)
{
    struct afis_template out = *t;
    out.height = (uint16_t)(t->height * 4 / 3);
    for (unsigned i = 0; i < t->count; i++) {
        const double a = t->minutiae[i].angle * (2 * M_PI / 65536);
        out.minutiae[i].y = (int16_t)(t->minutiae[i].y * 4 / 3);
        out.minutiae[i].angle = (uint16_t)lrint(atan2(sin(a) * 4 / 3, cos(a)) / (2 * M_PI) * 65536);
    }
    return out;
}

START_TEST(records_of_stretched_pictures_still_match_when_turned)
{
    float rated = 0, bare = 0;
    for (unsigned k = 0; k < 10; k++) {
        const struct afis_template t = minutiae_template(1600 + k, 20);
        const struct afis_template u = moved(&t, 35, 0, 0, 0), a = stretched(&t), b = stretched(&u);
        const struct afis_template c = without_quality(&a, 0), d = without_quality(&b, 0);
        compare(&a, &b);
        rated += matcher.features[FEATURE_MATCHED];
        compare(&c, &d);
        bare += matcher.features[FEATURE_MATCHED];
    }
    ck_assert_float_ge(bare, 180); /* of 200 */
    ck_assert_float_gt(bare, rated + 20);
}
END_TEST

START_TEST(packed_and_template_give_the_same_score)
{
    for (unsigned k = 0; k < 10; k++) {
        const struct afis_template t = minutiae_template(800 + k, 30 + 10 * k);
        const struct afis_template u = moved(&t, 10, 5, 5, 1);
        uint8_t bytes[AFIS_PACKED_MAX];
        size_t len;
        float direct = compare(&t, &u);
        ck_assert_int_eq(afis_template_pack(&u, bytes, sizeof bytes, &len), AFIS_OK);
        ck_assert_int_eq(afis_finger_prepare_packed(bytes, len, &gallery), AFIS_OK);
        float packed = afis_compare(&matcher, &probe, &gallery);
        ck_assert_mem_eq(&direct, &packed, sizeof direct);
        bytes[len / 2] ^= 1;
        ck_assert_int_eq(afis_finger_prepare_packed(bytes, len, &gallery), AFIS_BAD_FORMAT);
    }
}
END_TEST

START_TEST(what_was_compared_before_leaves_no_trace_in_a_score)
{
    const struct afis_template t = minutiae_template(900, 50), u = moved(&t, 30, 0, 0, 1);
    const struct afis_template other = minutiae_template(901, 64);
    float first = compare(&t, &u);
    for (unsigned k = 0; k < 5; k++) {
        compare(&other, &t);
        float again = compare(&t, &u);
        ck_assert_mem_eq(&first, &again, sizeof first);
    }
}
END_TEST

START_TEST(hostile_templates_score_without_harm)
{
    struct afis_template t[5] = {minutiae_template(1000, 0), minutiae_template(1001, 1),
                                 minutiae_template(1002, 2), minutiae_template(1003, 255),
                                 minutiae_template(1004, 255)};
    for (unsigned i = 0; i < t[4].count; i++) {
        t[4].minutiae[i] = t[4].minutiae[0]; /* all in one place */
    }
    for (unsigned a = 0; a < 5; a++) {
        for (unsigned b = 0; b < 5; b++) {
            float score = compare(&t[a], &t[b]);
            ck_assert(isfinite(score) && score >= 0);
        }
    }
    t[1].minutiae[0].type = 7;
    ck_assert_int_eq(afis_finger_prepare(&t[1], &probe), AFIS_BAD_FORMAT);
}
END_TEST

START_TEST(scores_of_impostors_hardly_ever_tie)
{
    float scores[200];
    unsigned ties = 0;
    const struct afis_template t = minutiae_template(1100, 40);
    for (unsigned k = 0; k < 200; k++) {
        const struct afis_template u = minutiae_template(1200 + k, 40);
        scores[k] = compare(&t, &u);
        for (unsigned l = 0; l < k; l++) {
            ties += scores[k] == scores[l];
        }
    }
    ck_assert_uint_lt(ties, 20); /* of 19,900 */
}
END_TEST

START_TEST(fusing_keeps_the_unit_and_the_order)
{
    const float one[] = {17}, zeros[] = {0, 0, 0};
    ck_assert_float_eq_tol(afis_fuse(one, 1), 17, 1e-4f);
    ck_assert_float_eq_tol(afis_fuse(zeros, 3), 0, 1e-4f);
    ck_assert_float_eq(afis_fuse(one, 0), 0);
    float last = -1;
    for (unsigned k = 0; k <= 100; k++) {
        const float scores[] = {20, (float)k};
        float fused = afis_fuse(scores, 2);
        ck_assert_float_gt(fused, last);
        ck_assert_float_le(fused, 20 + (float)k);
        last = fused;
    }
    /* Two rates of one in a hundred: p (1 - ln p) of their product, 1.02e-3. */
    const float two[] = {20, 20};
    ck_assert_float_eq_tol(afis_fuse(two, 2), 29.91f, 0.01f);
}
END_TEST

START_TEST(thresholds_grow_with_the_gallery_and_with_caution)
{
    ck_assert_float_eq_tol(afis_threshold(0.01, 1), 20, 1e-3f);
    ck_assert_float_eq_tol(afis_threshold(0.001, 9e6), 99.54f, 0.01f);
    ck_assert_float_gt(afis_threshold(0.01, 20), afis_threshold(0.01, 10));
    ck_assert_float_gt(afis_threshold(0.001, 10), afis_threshold(0.01, 10));
}
END_TEST

/* --- what stays --- */

enum { STACK = 512 << 10 };

static struct {
    struct afis_template tmpl;
    struct afis_finger finger;
    struct afis_matcher matcher;
    float score;
} comparing;

static void *compare_it(void *arg)
{
    (void)arg;
    ck_assert_int_eq(afis_finger_prepare(&comparing.tmpl, &comparing.finger), AFIS_OK);
    comparing.score = afis_compare(&comparing.matcher, &comparing.finger, &comparing.finger);
    return NULL;
}

/* Of a probe that was prepared and compared on a thread: its minutiae's places, four together. */
START_TEST(nothing_of_a_probe_stays_on_the_stack)
{
    pthread_attr_t attr;
    pthread_t thread;
    uint8_t *stack = aligned_alloc(4096, STACK);
    comparing.tmpl = minutiae_template(7, 40);
    memset(stack, 0, STACK);
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstack(&attr, stack, STACK), 0);
    ck_assert_int_eq(pthread_create(&thread, &attr, compare_it, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_float_gt(comparing.score, 30);
    const struct alignment *best = comparing.matcher.best;
    ck_assert_uint_ge(best->matched, 8);
    for (unsigned k = 0; k + 4 <= best->matched; k++) {
        float x[4], y[4];
        for (unsigned l = 0; l < 4; l++) {
            x[l] = best->qx[best->i[k + l]];
            y[l] = best->qy[best->i[k + l]];
        }
        ck_assert_ptr_null(memmem(stack, STACK, x, sizeof x));
        ck_assert_ptr_null(memmem(stack, STACK, y, sizeof y));
    }
    pthread_attr_destroy(&attr);
    free(stack);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("match");
    TCase *tests = tcase_create("match");
    tcase_add_test(tests, a_finger_matches_itself_wherever_it_lies);
    tcase_add_test(tests, other_fingers_score_far_less_than_the_same);
    tcase_add_test(tests, scores_hardly_depend_on_which_is_the_probe);
    tcase_add_test(tests, every_variant_describes_with_the_same_bits);
    tcase_add_test(tests, every_variant_of_the_kernel_returns_the_same_bits);
    tcase_add_test(tests, every_variant_unpacks_and_refuses_the_same);
    tcase_add_test(tests, a_finger_is_bare_when_half_its_minutiae_report_no_quality);
    tcase_add_test(tests, the_same_evidence_is_worth_less_without_qualities);
    tcase_add_test(tests, every_calibration_rises_with_the_evidence);
    tcase_add_test(tests, records_of_stretched_pictures_still_match_when_turned);
    tcase_add_test(tests, packed_and_template_give_the_same_score);
    tcase_add_test(tests, what_was_compared_before_leaves_no_trace_in_a_score);
    tcase_add_test(tests, hostile_templates_score_without_harm);
    tcase_add_test(tests, scores_of_impostors_hardly_ever_tie);
    tcase_add_test(tests, fusing_keeps_the_unit_and_the_order);
    tcase_add_test(tests, thresholds_grow_with_the_gallery_and_with_caution);
    tcase_add_test(tests, nothing_of_a_probe_stays_on_the_stack);
    tcase_set_timeout(tests, 240);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
