/* The statistics of unusual activity, against values that are known in closed form or from the
 * papers, and against samples that were drawn with known parameters. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "report/stats.h"
#include "run_suite.h"

static uint64_t state;

/* SplitMix64. */
static double uniform(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
}

/* Draws by inverting the distribution. */
static uint32_t draw_nb(double mean, double size)
{
    double u = uniform(), p = pow(size / (size + mean), size), sum = p;
    uint32_t y = 0;
    while (sum < u && y < 10000) {
        p *= (size + y) / (y + 1.0) * mean / (mean + size);
        sum += p;
        y++;
    }
    return y;
}

static double draw_normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
}

static uint32_t draw_binomial(uint32_t of, double share)
{
    uint32_t hits = 0;
    for (uint32_t i = 0; i < of; i++) {
        hits += uniform() < share;
    }
    return hits;
}

static void expect_near(double value, double expected)
{
    ck_assert_msg(fabs(value - expected) <= 1e-6 * fabs(expected), "%.10g is not %.10g", value,
                  expected);
}

START_TEST(negative_binomial_tails_are_those_of_the_closed_forms)
{
    /* size 1 is geometric: q^y; size 2: q^y (1 + y p) */
    static const uint32_t counts[] = {1, 2, 5, 10, 60, 400};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        double y = counts[i];
        expect_near(stats_nb_tail(counts[i], 4, 1), pow(0.8, y));
        expect_near(stats_nb_tail(counts[i], 3, 2), pow(0.6, y) * (1 + y * 0.4));
    }
    ck_assert_double_eq(stats_nb_tail(0, 3, 2), 1);
    ck_assert_double_eq(stats_nb_tail(3, 0, 2), 0);
}
END_TEST

START_TEST(without_dispersion_it_is_a_poisson)
{
    expect_near(stats_nb_tail(5, 1, 1e9), 0.003659846827);
    expect_near(stats_nb_tail(1, 2, 1e9), 1 - exp(-2));
    expect_near(stats_nb_tail(20, 5, 1e9), 3.452135e-7);
    /* and with dispersion its tail is heavier */
    ck_assert(stats_nb_tail(20, 5, 2) > 1000 * stats_nb_tail(20, 5, 1e9));
}
END_TEST

START_TEST(a_limit_is_the_first_count_whose_tail_is_small_enough)
{
    static const double sizes[] = {0.05, 0.5, 2, 30, 1e9};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (double mean = 0.01; mean < 200; mean *= 3) {
            uint32_t limit = stats_nb_limit(mean, sizes[i], 1e-4);
            ck_assert(stats_nb_tail(limit, mean, sizes[i]) <= 1e-4);
            ck_assert(limit == 1 || stats_nb_tail(limit - 1, mean, sizes[i]) > 1e-4);
        }
    }
}
END_TEST

/* Counts of mean 2 x expected and size 1.5; every so many is what is looked for. */
static void draw_counts(struct stats_count *counts, size_t n, size_t every)
{
    state = 7;
    for (size_t i = 0; i < n; i++) {
        counts[i].expected = 0.05 + 2 * uniform();
        counts[i].count = draw_nb(2 * counts[i].expected, 1.5);
        if (every > 0 && i % every == 0) {
            counts[i].count += 60;
        }
    }
}

START_TEST(a_fit_finds_what_counts_were_drawn_with)
{
    static struct stats_count counts[40000];
    struct stats_nb fit;
    draw_counts(counts, 40000, 0);
    ck_assert(stats_nb_fit(counts, 40000, 0.001, &fit));
    ck_assert_double_lt(fabs(fit.rate - 2), 0.06);
    ck_assert_double_lt(fabs(fit.size - 1.5), 0.1);
}
END_TEST

START_TEST(what_is_looked_for_does_not_hide_itself)
{
    static struct stats_count counts[40000];
    struct stats_nb fit;
    draw_counts(counts, 40000, 400);
    ck_assert(stats_nb_fit(counts, 40000, 0.001, &fit));
    ck_assert_double_lt(fabs(fit.rate - 2), 0.08);
    ck_assert_double_lt(fabs(fit.size - 1.5), 0.2);
}
END_TEST

START_TEST(a_fit_to_nothing_expects_little)
{
    struct stats_count counts[100];
    struct stats_nb fit;
    for (size_t i = 0; i < 100; i++) {
        counts[i] = (struct stats_count){.expected = 1, .count = 0};
    }
    ck_assert(stats_nb_fit(counts, 100, 0.01, &fit));
    ck_assert_double_lt(fit.rate, 0.01);
    ck_assert(stats_nb_fit(counts, 0, 0.01, &fit));
}
END_TEST

START_TEST(shares_without_dispersion_are_binomial)
{
    struct stats_funnel funnel = {.mean = 0.5};
    expect_near(stats_share_tail(&(struct stats_share){10, 10}, &funnel, true), 1.0 / 1024);
    expect_near(stats_share_tail(&(struct stats_share){8, 10}, &funnel, true), 56.0 / 1024);
    expect_near(stats_share_tail(&(struct stats_share){2, 10}, &funnel, false), 56.0 / 1024);
}
END_TEST

START_TEST(shares_with_dispersion_are_beta_binomial)
{
    /* a = b = 1: every number of hits is as likely; a = 2, b = 3: P(0 of 10) = 12 / 182 */
    struct stats_funnel flat = {.mean = 0.5, .below = 1.0 / 3, .above = 1.0 / 3},
                        skewed = {.mean = 0.4, .below = 1.0 / 6};
    for (uint32_t hits = 0; hits <= 10; hits++) {
        expect_near(stats_share_tail(&(struct stats_share){hits, 10}, &flat, true),
                    (11 - hits) / 11.0);
    }
    expect_near(stats_share_tail(&(struct stats_share){0, 10}, &skewed, false), 12.0 / 182);
    double below, above;
    stats_share_limits(10, &flat, 0.2, &below, &above);
    expect_near(below, 0.1); /* 2 of 11 */
    expect_near(above, 0.9);
    stats_share_limits(10, &flat, 0.01, &below, &above);
    ck_assert(below < 0 && above > 1);
}
END_TEST

static void draw_shares(struct stats_share *shares, size_t n, double spread, size_t every)
{
    state = 11;
    for (size_t i = 0; i < n; i++) {
        double share = fmin(fmax(0.4 + spread * draw_normal(), 0), 1);
        shares[i].of = 20 + (uint32_t)(80 * uniform());
        shares[i].hits = draw_binomial(shares[i].of, share);
        if (every > 0 && i % every == 0) {
            shares[i].hits = shares[i].of;
        }
    }
}

START_TEST(a_funnel_finds_how_much_officers_differ)
{
    static struct stats_share shares[4000];
    struct stats_funnel funnel;
    draw_shares(shares, 4000, 0, 0);
    ck_assert(stats_funnel_fit(shares, 4000, 10, &funnel));
    ck_assert_double_lt(fabs(funnel.mean - 0.4), 0.005);
    ck_assert_double_lt(funnel.above, 0.002);
    ck_assert_double_lt(funnel.below, 0.002);
    draw_shares(shares, 4000, 0.1, 400); /* with some whose every use hits */
    ck_assert(stats_funnel_fit(shares, 4000, 10, &funnel));
    ck_assert_double_lt(fabs(sqrt(funnel.above * 0.24) - 0.1), 0.015);
    ck_assert_double_lt(stats_share_tail(&(struct stats_share){60, 60}, &funnel, true), 1e-5);
    ck_assert_double_gt(stats_share_tail(&(struct stats_share){36, 60}, &funnel, true), 0.01);
}
END_TEST

START_TEST(shares_that_are_all_the_same_flag_nobody)
{
    struct stats_share shares[20];
    struct stats_funnel funnel;
    for (size_t i = 0; i < 20; i++) {
        shares[i] = (struct stats_share){0, 30};
    }
    ck_assert(stats_funnel_fit(shares, 20, 10, &funnel));
    ck_assert_double_eq(stats_share_tail(&shares[0], &funnel, true), 1);
    ck_assert(stats_funnel_fit(shares, 0, 10, &funnel));
}
END_TEST

START_TEST(adjusted_values_are_those_of_benjamini_and_hochberg)
{
    /* Table of their paper's section 4: at 0.05 the first four are rejected. */
    static const double p[] = {0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
                               0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000};
    double q[15], shuffled[15], back[15];
    ck_assert(stats_bh(p, 15, q));
    expect_near(q[0], 0.0015);
    expect_near(q[3], 0.035625);
    expect_near(q[4], 0.0603);
    expect_near(q[5], 0.0638571428571);
    expect_near(q[6], 0.0638571428571); /* 0.0298 x 15 / 7: that of 0.0344 is larger */
    for (size_t i = 0; i < 15; i++) {
        shuffled[(i * 7) % 15] = p[i];
    }
    ck_assert(stats_bh(shuffled, 15, back));
    for (size_t i = 0; i < 15; i++) {
        ck_assert_double_eq(back[(i * 7) % 15], q[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stats");
    TCase *tcase = tcase_create("stats");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, negative_binomial_tails_are_those_of_the_closed_forms);
    tcase_add_test(tcase, without_dispersion_it_is_a_poisson);
    tcase_add_test(tcase, a_limit_is_the_first_count_whose_tail_is_small_enough);
    tcase_add_test(tcase, a_fit_finds_what_counts_were_drawn_with);
    tcase_add_test(tcase, what_is_looked_for_does_not_hide_itself);
    tcase_add_test(tcase, a_fit_to_nothing_expects_little);
    tcase_add_test(tcase, shares_without_dispersion_are_binomial);
    tcase_add_test(tcase, shares_with_dispersion_are_beta_binomial);
    tcase_add_test(tcase, a_funnel_finds_how_much_officers_differ);
    tcase_add_test(tcase, shares_that_are_all_the_same_flag_nobody);
    tcase_add_test(tcase, adjusted_values_are_those_of_benjamini_and_hochberg);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
