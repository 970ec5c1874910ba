/* What bounds callers and cuts off failing backends: buckets, quotas, breakers, histograms. Clocks
 * and chance are the tests' own. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/breaker.h"
#include "core/limit/quota.h"
#include "core/metrics/histogram.h"
#include "run_suite.h"

START_TEST(a_bucket_gives_its_burst_at_once_and_then_its_rate)
{
    const struct bucket_limits limits = {.rate = 10, .burst = 5};
    struct bucket bucket = {0};
    unsigned wait = 0;
    for (int i = 0; i < 5; i++) {
        ck_assert(bucket_take(&bucket, &limits, 1000, &wait));
    }
    ck_assert(!bucket_take(&bucket, &limits, 1000, &wait));
    ck_assert_uint_eq(wait, 100);
    ck_assert(!bucket_take(&bucket, &limits, 1099, &wait));
    ck_assert_uint_eq(wait, 1);
    ck_assert(bucket_take(&bucket, &limits, 1100, &wait));
    ck_assert(!bucket_take(&bucket, &limits, 1150, &wait));
    ck_assert_uint_eq(wait, 50);
}
END_TEST

START_TEST(whoever_waits_as_told_is_served)
{
    const struct bucket_limits limits = {.rate = 0.7, .burst = 3};
    struct bucket bucket = {0};
    uint64_t now = 5;
    unsigned served = 0;
    for (int i = 0; i < 1000; i++) {
        unsigned wait = 0;
        if (bucket_take(&bucket, &limits, now, &wait)) {
            served++;
            continue;
        }
        ck_assert_uint_gt(wait, 0);
        now += wait;
        ck_assert(bucket_take(&bucket, &limits, now, &wait));
        served++;
    }
    /* no more than burst and rate allow */
    ck_assert_double_le(served, 3 + (double)now * 0.7 / 1000 + 1);
}
END_TEST

START_TEST(a_bucket_fills_up_to_its_burst_and_no_further)
{
    const struct bucket_limits limits = {.rate = 1000, .burst = 2};
    struct bucket bucket = {0};
    unsigned wait;
    ck_assert(bucket_is_full(&bucket, &limits, 0));
    ck_assert(bucket_take(&bucket, &limits, 0, &wait));
    ck_assert(!bucket_is_full(&bucket, &limits, 0));
    ck_assert(bucket_is_full(&bucket, &limits, 1));
    ck_assert(bucket_take(&bucket, &limits, 1000000, &wait));
    ck_assert(bucket_take(&bucket, &limits, 1000000, &wait));
    ck_assert(!bucket_take(&bucket, &limits, 1000000, &wait));
}
END_TEST

START_TEST(without_a_rate_there_is_no_bound)
{
    const struct bucket_limits limits = {.rate = 0, .burst = 1};
    struct bucket bucket = {0};
    unsigned wait;
    for (int i = 0; i < 100; i++) {
        ck_assert(bucket_take(&bucket, &limits, 0, &wait));
    }
    ck_assert(bucket_is_full(&bucket, &limits, 0));
}
END_TEST

START_TEST(a_quota_is_found_again_and_forgotten_when_nothing_is_left_to_remember)
{
    const struct bucket_limits limits = {.rate = 1, .burst = 1};
    struct quotas quotas = {0};
    struct quota *held = quotas_get(&quotas, "held", 4);
    struct quota *spent = quotas_get(&quotas, "spent", 5);
    unsigned wait;
    held->holders = 1;
    ck_assert(bucket_take(&spent->calls, &limits, 0, &wait));
    ck_assert_ptr_eq(quotas_get(&quotas, "held", 4), held);
    ck_assert_ptr_ne(quotas_get(&quotas, "hel", 3), held);
    ck_assert_ptr_ne(quotas_get(&quotas, "help", 4), held);
    ck_assert_uint_eq(quotas.count, 4);
    quotas_sweep(&quotas, &limits, 500);
    ck_assert_uint_eq(quotas.count, 2);
    ck_assert_ptr_eq(quotas_get(&quotas, "held", 4), held);
    ck_assert_ptr_eq(quotas_get(&quotas, "spent", 5), spent);
    quotas_sweep(&quotas, &limits, 1000);
    ck_assert_uint_eq(quotas.count, 1);
    quotas_release(&quotas);
    ck_assert_uint_eq(quotas.count, 0);
}
END_TEST

START_TEST(thousands_of_quotas_are_kept_apart)
{
    struct quotas quotas = {0};
    const struct bucket_limits limits = {.rate = 1, .burst = 1};
    for (unsigned i = 0; i < 5000; i++) {
        struct quota *quota = quotas_get(&quotas, &i, sizeof i);
        ck_assert_uint_eq(quota->holders, 0);
        quota->holders = i + 1;
    }
    for (unsigned i = 0; i < 5000; i++) {
        struct quota *quota = quotas_get(&quotas, &i, sizeof i);
        ck_assert_uint_eq(quota->holders, i + 1);
        quota->holders = i % 2;
    }
    quotas_sweep(&quotas, &limits, 0);
    ck_assert_uint_eq(quotas.count, 2500);
    quotas_release(&quotas);
}
END_TEST

/* --- breakers --- */

static const struct breaker_limits limits = {.failures = 3, .wait_ms = 1000, .max_wait_ms = 3000};
#define LEAST 0u           /* of the part that is left to chance */
#define MOST UINT32_C(500) /* for a wait of 1000 */

/* Fails calls until it is open; returns the breaker. */
static struct breaker opened_at(uint64_t now, uint32_t chance)
{
    struct breaker breaker = {0};
    bool probe;
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(breaker_admit(&breaker, &limits, now, &probe));
        ck_assert(!probe);
        ck_assert_int_eq(breaker_failed(&breaker, &limits, probe, now, chance), i == 2);
    }
    ck_assert_int_eq(breaker.state, BREAKER_OPEN);
    return breaker;
}

START_TEST(so_many_failures_in_a_row_open_it_and_fewer_do_not)
{
    struct breaker breaker = {0};
    for (unsigned round = 0; round < 5; round++) {
        ck_assert(!breaker_failed(&breaker, &limits, false, 0, 0));
        ck_assert(!breaker_failed(&breaker, &limits, false, 0, 0));
        ck_assert(!breaker_undecided(&breaker, false)); /* says nothing either way */
        ck_assert(!breaker_succeeded(&breaker, false));
        ck_assert_int_eq(breaker.state, BREAKER_CLOSED);
        ck_assert_uint_eq(breaker_wait(&breaker, 0), 0);
    }
    breaker = opened_at(100, LEAST);
    ck_assert_uint_eq(breaker.opened, 1);
}
END_TEST

START_TEST(nothing_passes_until_the_wait_is_over_and_then_one_call_does)
{
    bool probe;
    struct breaker breaker = opened_at(100, LEAST);
    ck_assert_uint_eq(breaker_wait(&breaker, 100), 500);
    ck_assert(!breaker_admit(&breaker, &limits, 599, &probe));
    ck_assert(!probe);
    ck_assert(breaker_admit(&breaker, &limits, 600, &probe));
    ck_assert(probe);
    ck_assert_int_eq(breaker.state, BREAKER_HALF_OPEN);
    ck_assert(!breaker_admit(&breaker, &limits, 100000, &probe));
    ck_assert(!probe);
}
END_TEST

START_TEST(a_probe_that_succeeds_closes_it)
{
    bool probe;
    struct breaker breaker = opened_at(100, LEAST);
    ck_assert(breaker_admit(&breaker, &limits, 600, &probe));
    ck_assert(breaker_succeeded(&breaker, probe));
    ck_assert_int_eq(breaker.state, BREAKER_CLOSED);
    /* and it takes as many failures as ever to open it again */
    ck_assert(!breaker_failed(&breaker, &limits, false, 700, 0));
    ck_assert(!breaker_failed(&breaker, &limits, false, 700, 0));
    ck_assert(breaker_failed(&breaker, &limits, false, 700, 0));
    ck_assert_uint_eq(breaker.opened, 2);
    ck_assert_uint_eq(breaker_wait(&breaker, 700), 500);
}
END_TEST

START_TEST(each_probe_that_fails_doubles_the_wait_up_to_its_bound)
{
    static const uint64_t waits[] = {1000, 1500, 1500, 1500};
    bool probe;
    struct breaker breaker = opened_at(0, LEAST);
    uint64_t now = 500;
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        ck_assert(breaker_admit(&breaker, &limits, now, &probe));
        ck_assert(probe);
        ck_assert(breaker_failed(&breaker, &limits, probe, now, LEAST));
        ck_assert_int_eq(breaker.state, BREAKER_OPEN);
        ck_assert_uint_eq(breaker_wait(&breaker, now), waits[i]);
        now += waits[i];
    }
    ck_assert_uint_eq(breaker.opened, 1);
    for (unsigned i = 0; i < 100; i++) { /* a backend that is never well again */
        ck_assert(breaker_admit(&breaker, &limits, now, &probe));
        ck_assert(breaker_failed(&breaker, &limits, probe, now, UINT32_MAX));
        uint64_t wait = breaker_wait(&breaker, now);
        ck_assert_uint_ge(wait, 1500);
        ck_assert_uint_le(wait, 3000);
        now += wait;
    }
}
END_TEST

START_TEST(half_of_a_wait_is_left_to_chance)
{
    struct breaker breaker = opened_at(0, MOST);
    ck_assert_uint_eq(breaker_wait(&breaker, 0), 1000);
    breaker = opened_at(0, MOST + 1); /* it wraps round */
    ck_assert_uint_eq(breaker_wait(&breaker, 0), 500);
    breaker = opened_at(0, 123);
    ck_assert_uint_eq(breaker_wait(&breaker, 0), 623);
}
END_TEST

START_TEST(a_probe_that_decides_nothing_makes_the_next_call_a_probe)
{
    bool probe;
    struct breaker breaker = opened_at(0, LEAST);
    ck_assert(breaker_admit(&breaker, &limits, 500, &probe));
    ck_assert(breaker_undecided(&breaker, probe));
    ck_assert_int_eq(breaker.state, BREAKER_OPEN);
    ck_assert(breaker_admit(&breaker, &limits, 500, &probe));
    ck_assert(probe);
    ck_assert_int_eq(breaker.state, BREAKER_HALF_OPEN);
}
END_TEST

START_TEST(calls_from_before_it_opened_neither_close_it_nor_lengthen_the_wait)
{
    bool probe;
    struct breaker breaker = opened_at(0, LEAST);
    ck_assert(!breaker_succeeded(&breaker, false));
    ck_assert(!breaker_failed(&breaker, &limits, false, 400, MOST));
    ck_assert_int_eq(breaker.state, BREAKER_OPEN);
    ck_assert_uint_eq(breaker_wait(&breaker, 400), 100);
    ck_assert(breaker_admit(&breaker, &limits, 500, &probe));
    ck_assert(!breaker_succeeded(&breaker, false));
    ck_assert(!breaker_failed(&breaker, &limits, false, 500, 0));
    ck_assert_int_eq(breaker.state, BREAKER_HALF_OPEN);
}
END_TEST

START_TEST(with_no_number_of_failures_it_never_opens)
{
    const struct breaker_limits never = {.failures = 0, .wait_ms = 1, .max_wait_ms = 1};
    struct breaker breaker = {0};
    bool probe;
    for (int i = 0; i < 100; i++) {
        ck_assert(breaker_admit(&breaker, &never, 0, &probe));
        ck_assert(!breaker_failed(&breaker, &never, probe, 0, 0));
    }
    ck_assert_str_eq(breaker_state_name(breaker.state), "closed");
    ck_assert_str_eq(breaker_state_name(BREAKER_OPEN), "open");
    ck_assert_str_eq(breaker_state_name(BREAKER_HALF_OPEN), "half_open");
}
END_TEST

/* --- histograms --- */

START_TEST(durations_fall_into_the_bucket_that_bounds_them)
{
    struct histogram histogram = {0};
    ck_assert_uint_eq(histogram_quantile(&histogram, 0.5), 0);
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        histogram_add(&histogram, histogram_bounds[i]);
        histogram_add(&histogram, histogram_bounds[i] + 1);
    }
    ck_assert_uint_eq(histogram.buckets[0], 1);
    for (size_t i = 1; i < HISTOGRAM_BUCKETS; i++) {
        ck_assert_uint_gt(histogram_bounds[i], histogram_bounds[i - 1]);
        ck_assert_uint_eq(histogram.buckets[i], 2);
    }
    ck_assert_uint_eq(histogram.count, 2 * HISTOGRAM_BUCKETS);
    ck_assert_uint_eq(histogram_quantile(&histogram, 0.01), histogram_bounds[0]);
    ck_assert_uint_eq(histogram_quantile(&histogram, 0.5), histogram_bounds[8]);
    ck_assert_uint_eq(histogram_quantile(&histogram, 1), UINT64_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limits");
    TCase *tc = tcase_create("limits");
    tcase_add_test(tc, a_bucket_gives_its_burst_at_once_and_then_its_rate);
    tcase_add_test(tc, whoever_waits_as_told_is_served);
    tcase_add_test(tc, a_bucket_fills_up_to_its_burst_and_no_further);
    tcase_add_test(tc, without_a_rate_there_is_no_bound);
    tcase_add_test(tc, a_quota_is_found_again_and_forgotten_when_nothing_is_left_to_remember);
    tcase_add_test(tc, thousands_of_quotas_are_kept_apart);
    tcase_add_test(tc, so_many_failures_in_a_row_open_it_and_fewer_do_not);
    tcase_add_test(tc, nothing_passes_until_the_wait_is_over_and_then_one_call_does);
    tcase_add_test(tc, a_probe_that_succeeds_closes_it);
    tcase_add_test(tc, each_probe_that_fails_doubles_the_wait_up_to_its_bound);
    tcase_add_test(tc, half_of_a_wait_is_left_to_chance);
    tcase_add_test(tc, a_probe_that_decides_nothing_makes_the_next_call_a_probe);
    tcase_add_test(tc, calls_from_before_it_opened_neither_close_it_nor_lengthen_the_wait);
    tcase_add_test(tc, with_no_number_of_failures_it_never_opens);
    tcase_add_test(tc, durations_fall_into_the_bucket_that_bounds_them);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
