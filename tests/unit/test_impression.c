/* What glances at a person's fingers say together. */
#include <check.h>
#include <stdlib.h>

#include "impression.h"
#include "run_suite.h"

START_TEST(a_stranger_at_the_nearest_finger_spares_the_others)
{
    struct impression i = impression_begin(0);
    ck_assert(impression_doubtful(&i)); /* somebody has to be first */
    impression_add(&i, IMPRESSION_DOUBTFUL - 0.01f);
    ck_assert(!impression_doubtful(&i));
    impression_skip(&i);
    ck_assert(!impression_doubtful(&i));
    ck_assert_float_eq_tol(i.sum, IMPRESSION_DOUBTFUL - 0.01f + IMPRESSION_STRANGE, 1e-5f);
}
END_TEST

START_TEST(a_doubtful_finger_has_the_next_one_glanced_at)
{
    struct impression i = impression_begin(0);
    impression_add(&i, IMPRESSION_DOUBTFUL);
    ck_assert(impression_doubtful(&i));
    impression_add(&i, 2);
    ck_assert_float_eq_tol(i.sum, IMPRESSION_DOUBTFUL + 2, 1e-5f);
}
END_TEST

START_TEST(of_equal_impressions_the_higher_rank_is_compared_first)
{
    struct impression low = impression_begin(-500), high = impression_begin(300);
    impression_add(&low, -1);
    impression_add(&high, -1);
    ck_assert_float_gt(high.sum, low.sum);
    /* ... but no rank outweighs what glances see: a finger's words are worth 3,072 at most. */
    struct impression mate = impression_begin(-1000);
    impression_add(&mate, 8);
    ck_assert_float_gt(mate.sum, impression_begin(3072).sum + IMPRESSION_DOUBTFUL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("impression");
    TCase *cases = tcase_create("impression");
    suite_add_tcase(suite, cases);
    tcase_add_test(cases, a_stranger_at_the_nearest_finger_spares_the_others);
    tcase_add_test(cases, a_doubtful_finger_has_the_next_one_glanced_at);
    tcase_add_test(cases, of_equal_impressions_the_higher_rank_is_compared_first);
    return run_suite(suite);
}
