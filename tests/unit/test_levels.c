/* Counting levels: that a cut is the one which counting everybody gives, whatever was given up. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

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

/* Whoever left is a chunk of nobody, and a gallery may have no others. */
START_TEST(where_there_is_nobody_nothing_is_narrowed)
{
    struct levels l;
    ck_assert(levels_init(&l, LOWEST));
    levels_narrow(&l, 5000, 0);
    ck_assert(!l.narrowed);
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

/* Of 0 to 79 people: raised, counted and flattened as one by one, and nobody beyond is touched. */
START_TEST(levels_change_as_one_by_one)
{
    enum { BEGIN = 8192, GUARD = 4711 };
    static const uint32_t bounds[] = {1, 2, 8192, 8800, 9000, 65535, LEVELS, 70000};
    const unsigned people = (unsigned)_i;
    uint16_t *levels = malloc((people + 1) * sizeof *levels),
             *same = malloc((people + 1) * sizeof *same);
    int16_t *scores = malloc(people * sizeof *scores + 1); /* to the byte: reads no further */
    draw_levels();
    for (unsigned k = 0; k < sizeof bounds / sizeof *bounds; k++) {
        uint32_t there = 0;
        uint16_t highest = 0;
        levels[people] = same[people] = GUARD;
        for (unsigned i = 0; i < people; i++) {
            levels[i] = same[i] = draw(4) == 0 ? 0 : list[(k * 80 + i) % PEOPLE];
            scores[i] = (int16_t)draw(draw(9) == 0 ? 32768 : 600);
        }
        levels_raise(levels, scores, people, BEGIN);
        levels_portable.raise(same, scores, people, BEGIN);
        for (unsigned i = 0; i < people; i++) {
            ck_assert_uint_ge(levels[i], (uint16_t)scores[i]);
            ck_assert_uint_eq(levels[i], same[i]);
            levels[i] = same[i] = draw(3) == 0 ? 0 : levels[i];
            there += levels[i] != 0;
            highest = levels[i] > highest ? levels[i] : highest;
        }
        ck_assert_uint_eq(levels_count(levels, people), there);
        ck_assert_uint_eq(levels_portable.count(levels, people), there);
        ck_assert_uint_eq(levels_top(levels, people), highest);
        ck_assert_uint_eq(levels_portable.top(levels, people), highest);
        levels_flatten(levels, people, bounds[k]);
        for (unsigned i = 0; i < people; i++) {
            ck_assert_uint_eq(levels[i], same[i] != 0 && same[i] < bounds[k]);
        }
        levels_portable.flatten(same, people, bounds[k]);
        ck_assert_mem_eq(levels, same, people * sizeof *levels);
        ck_assert(levels[people] == GUARD && same[people] == GUARD);
    }
    free(levels);
    free(same);
    free(scores);
}
END_TEST

/* Of 0 to 79 people, with bounds that nobody reaches, all do, and between. */
START_TEST(who_has_a_level_between_two_is_listed_in_order)
{
    static const uint32_t bounds[] = {0, 1, 2, 8000, 8700, 8800, 9000, 40000, 65535, LEVELS, 70000};
    const unsigned count = sizeof bounds / sizeof *bounds, people = (unsigned)_i;
    uint16_t *levels = malloc(people * sizeof *levels + 1), /* to the byte: reads no further */
        *picked = malloc((people + LEVELS_SLACK) * sizeof *picked),
             *same = malloc((people + LEVELS_SLACK) * sizeof *same);
    draw_levels();
    for (unsigned i = 0; i < people; i++) {
        levels[i] = list[i];
    }
    for (unsigned k = 0; k < count * count; k++) {
        const uint32_t from = bounds[k / count], to = bounds[k % count];
        const uint32_t found = levels_pick(levels, people, from, to, picked);
        uint32_t next = 0;
        for (unsigned i = 0; i < people; i++) {
            if (levels[i] >= from && levels[i] < to) {
                ck_assert_uint_lt(next, found);
                ck_assert_uint_eq(picked[next++], i);
            }
        }
        ck_assert_uint_eq(next, found);
        ck_assert_uint_eq(levels_portable.pick(levels, people, from, to, same), found);
        ck_assert(found == 0 || memcmp(same, picked, found * sizeof *same) == 0);
    }
    free(levels);
    free(picked);
    free(same);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("levels");
    TCase *tcase = tcase_create("levels");
    tcase_set_timeout(tcase, 60); /* on a busy machine */
    tcase_add_test(tcase, cuts_are_the_same_when_low_levels_are_given_up);
    tcase_add_test(tcase, a_cut_among_those_given_up_is_refused);
    tcase_add_test(tcase, where_there_is_nobody_nothing_is_narrowed);
    tcase_add_test(tcase, the_top_is_the_highest_level);
    tcase_add_loop_test(tcase, levels_change_as_one_by_one, 0, 80);
    tcase_add_loop_test(tcase, who_has_a_level_between_two_is_listed_in_order, 0, 80);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
