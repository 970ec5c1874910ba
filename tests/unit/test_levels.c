/* Counting levels: that a cut is the one which counting everybody gives, whatever was given up. */
#include <check.h>
#include <stdlib.h>

#include "levels.h"
#include "run_suite.h"

enum { PEOPLE = 40000, LOWEST = 1 };

static uint16_t list[PEOPLE];
static uint64_t state = 88172645463325252u;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % below;
}

/* About normal, some nobody, some beyond what there can be. */
static void draw_levels(void)
{
    for (unsigned i = 0; i < PEOPLE; i++) {
        const uint32_t level = 8000 + draw(400) + draw(400) + draw(400) + draw(400);
        list[i] = (uint16_t)(draw(50) == 0 ? draw(2) : draw(500) == 0 ? UINT16_MAX : level);
    }
}

static int higher(const void *a, const void *b)
{
    return (int)*(const uint16_t *)b - (int)*(const uint16_t *)a;
}

static uint32_t expected(uint64_t wanted)
{
    static uint16_t sorted[PEOPLE];
    for (unsigned i = 0; i < PEOPLE; i++) {
        sorted[i] = list[i];
    }
    qsort(sorted, PEOPLE, sizeof *sorted, higher);
    const uint32_t level = wanted <= PEOPLE ? sorted[wanted - 1] : 0;
    return level > LOWEST ? level : LOWEST;
}

/* In pieces of any size; true: levels were given up. */
static bool add_all(struct levels *l, uint64_t wanted, bool narrow)
{
    for (uint32_t at = 0, n; at < PEOPLE; at += n) {
        n = 1 + draw(200);
        n = n < PEOPLE - at ? n : PEOPLE - at;
        levels_add(l, list + at, n);
        if (narrow) {
            levels_narrow(l, wanted, PEOPLE);
        }
    }
    return l->floor > LOWEST + 1;
}

START_TEST(cuts_are_the_same_when_low_levels_are_given_up)
{
    static const uint64_t wanted[] = {1, 50, 600, 4000, 15000, 25000, PEOPLE, PEOPLE + 1};
    struct levels l;
    unsigned given_up = 0;
    ck_assert(levels_init(&l, LOWEST));
    for (unsigned round = 0; round < 5; round++) {
        draw_levels();
        for (unsigned k = 0; k < sizeof wanted / sizeof *wanted; k++) {
            uint32_t cut = 0;
            levels_clear(&l);
            given_up += add_all(&l, wanted[k], true);
            ck_assert(levels_cut(&l, wanted[k], &cut));
            ck_assert_uint_eq(cut, expected(wanted[k]));
            ck_assert(levels_cut(&l, 1, &cut)); /* and higher ones */
            ck_assert_uint_eq(cut, UINT16_MAX);
        }
    }
    ck_assert_uint_gt(given_up, 0);
    levels_free(&l);
}
END_TEST

/* The best come first, so that a sample of those promises too much. */
START_TEST(a_cut_among_those_given_up_is_refused)
{
    struct levels l;
    uint32_t cut;
    ck_assert(levels_init(&l, LOWEST));
    draw_levels();
    qsort(list, PEOPLE, sizeof *list, higher);
    ck_assert(add_all(&l, 4000, true));
    ck_assert(!levels_cut(&l, 4000, &cut));
    levels_clear(&l);
    ck_assert(!add_all(&l, 4000, false));
    ck_assert(levels_cut(&l, 4000, &cut));
    ck_assert_uint_eq(cut, expected(4000));
    levels_free(&l);
}
END_TEST

START_TEST(the_top_is_the_highest_level)
{
    static const uint16_t some[] = {3, 0, 65535, 7};
    ck_assert_uint_eq(levels_top(some, 0), 0);
    ck_assert_uint_eq(levels_top(some, 2), 3);
    ck_assert_uint_eq(levels_top(some, 4), 65535);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("levels");
    TCase *tcase = tcase_create("levels");
    tcase_add_test(tcase, cuts_are_the_same_when_low_levels_are_given_up);
    tcase_add_test(tcase, a_cut_among_those_given_up_is_refused);
    tcase_add_test(tcase, the_top_is_the_highest_level);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
