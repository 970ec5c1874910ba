/* Suppression of small numbers, against readers who try everything. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "report/suppress.h"
#include "run_suite.h"

#define ROWS 5
#define THRESHOLD 5

static uint32_t state;

static uint32_t random_below(uint32_t below)
{
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)state * below) >> 32);
}

/* What a reader has seen of each row's values in some table that agrees with the publication. */
struct seen {
    int64_t least_uses[ROWS], most_uses[ROWS], least_id[ROWS], most_id[ROWS];
    int64_t least_other[ROWS], most_other[ROWS];
    long tables;
};

struct attack {
    const struct suppress_row *rows;
    size_t count;
    int64_t uses[ROWS], id[ROWS];
    struct seen seen;
};

static void note(int64_t value, int64_t *least, int64_t *most)
{
    *least = value < *least ? value : *least;
    *most = value > *most ? value : *most;
}

/* Enumerates every table of whole numbers that agrees with what is published: the totals (left),
 * and the rows as their states show them. */
static void try_row(struct attack *attack, size_t row, int64_t left_id, int64_t left_other)
{
    if (row == attack->count) {
        if (left_id != 0 || left_other != 0) {
            return;
        }
        attack->seen.tables++;
        for (size_t i = 0; i < attack->count; i++) {
            note(attack->uses[i], &attack->seen.least_uses[i], &attack->seen.most_uses[i]);
            note(attack->id[i], &attack->seen.least_id[i], &attack->seen.most_id[i]);
            note(attack->uses[i] - attack->id[i], &attack->seen.least_other[i],
                 &attack->seen.most_other[i]);
        }
        return;
    }
    const struct suppress_row *r = &attack->rows[row];
    for (int64_t id = 0; id <= left_id; id++) {
        for (int64_t other = 0; other <= left_other; other++) {
            int64_t least = r->least > 1 ? r->least : 1;
            bool fits = r->state == SUPPRESS_HIDDEN  ? id + other >= least
                        : r->state == SUPPRESS_SPLIT ? id + other == r->uses
                                                     : id == r->identified && id + other == r->uses;
            if (fits) {
                attack->id[row] = id;
                attack->uses[row] = id + other;
                try_row(attack, row + 1, left_id - id, left_other - other);
            }
        }
    }
}

static void attack_table(struct attack *attack, const struct suppress_row *rows, size_t count)
{
    int64_t id = 0, other = 0;
    memset(attack, 0, sizeof *attack);
    attack->rows = rows;
    attack->count = count;
    for (size_t i = 0; i < count; i++) {
        id += rows[i].identified;
        other += rows[i].uses - rows[i].identified;
        attack->seen.least_uses[i] = attack->seen.least_id[i] = attack->seen.least_other[i] =
            INT64_MAX;
    }
    try_row(attack, 0, id, other);
}

static bool sensitive(int64_t value)
{
    return value > 0 && value < THRESHOLD;
}

static void check_hidden(int64_t value, int64_t least, int64_t most)
{
    if (sensitive(value)) {
        ck_assert_int_le(least, 1);
        ck_assert_int_ge(most, THRESHOLD);
    }
}

static void check_against_every_table(const struct suppress_row *rows, size_t count)
{
    struct attack attack;
    attack_table(&attack, rows, count);
    ck_assert_int_ge(attack.seen.tables, 1);
    for (size_t i = 0; i < count; i++) {
        struct suppress_range uses = suppress_uses(rows, count, i);
        struct suppress_range id = suppress_identified(rows, count, i);
        ck_assert_int_eq(uses.least, attack.seen.least_uses[i]);
        ck_assert_int_eq(uses.most, attack.seen.most_uses[i]);
        ck_assert_int_eq(id.least, attack.seen.least_id[i]);
        ck_assert_int_eq(id.most, attack.seen.most_id[i]);
        check_hidden(rows[i].uses, uses.least, uses.most);
        check_hidden(rows[i].identified, id.least, id.most);
        check_hidden(rows[i].uses - rows[i].identified, attack.seen.least_other[i],
                     attack.seen.most_other[i]);
    }
}

/* As in an open list: rows with names have many uses, and everybody knows. */
static void name_row(struct suppress_row *row)
{
    if (row->uses >= THRESHOLD && random_below(2) == 0) {
        row->least = THRESHOLD;
    }
}

/* Small numbers, so that every table can be tried; totals of both parts as they must be. */
static size_t draw_table(struct suppress_row rows[ROWS])
{
    while (true) {
        int64_t id = 0, other = 0;
        size_t count = 2 + random_below(ROWS - 2);
        memset(rows, 0, ROWS * sizeof *rows);
        for (size_t i = 0; i < count; i++) {
            int64_t a = random_below(random_below(4) == 0 ? 12 : 5), b = random_below(8);
            rows[i] = (struct suppress_row){.uses = a + b, .identified = a};
            name_row(&rows[i]);
            id += a;
            other += b;
        }
        if (suppress_safe(id, THRESHOLD) && suppress_safe(other, THRESHOLD) && id + other > 0) {
            return count;
        }
    }
}

START_TEST(no_sensitive_count_can_be_solved_for)
{
    struct suppress_row rows[ROWS];
    int published = 0, withheld = 0, complementary = 0;
    state = 1;
    for (int round = 0; round < 1500; round++) {
        size_t count = draw_table(rows);
        if (!suppress_table(rows, count, true, THRESHOLD)) {
            withheld++;
            continue;
        }
        published++;
        for (size_t i = 0; i < count; i++) {
            complementary += rows[i].state != SUPPRESS_SHOWN && !sensitive(rows[i].uses) &&
                             !sensitive(rows[i].identified) &&
                             !sensitive(rows[i].uses - rows[i].identified);
        }
        check_against_every_table(rows, count);
    }
    ck_assert_int_gt(published, 1000);
    ck_assert_int_gt(complementary, 100);
    ck_assert_int_lt(withheld, published);
}
END_TEST

START_TEST(a_table_of_uses_alone_hides_what_its_total_would_tell)
{
    struct suppress_row rows[ROWS];
    state = 7;
    for (int round = 0; round < 1500; round++) {
        size_t count = 2 + random_below(ROWS - 2);
        memset(rows, 0, sizeof rows);
        for (size_t i = 0; i < count; i++) {
            rows[i].uses = random_below(14);
            name_row(&rows[i]);
        }
        if (suppress_table(rows, count, false, THRESHOLD)) {
            check_against_every_table(rows, count);
        }
    }
}
END_TEST

START_TEST(safe_tables_are_published_whole_and_zeros_stay)
{
    struct suppress_row rows[] = {
        {.uses = 50, .identified = 20}, {.uses = 0}, {.uses = 5, .identified = 5}, {.uses = 12}};
    ck_assert(suppress_table(rows, 4, true, THRESHOLD));
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(rows[i].state, SUPPRESS_SHOWN);
    }
}
END_TEST

START_TEST(one_small_row_takes_the_smallest_other_with_it)
{
    struct suppress_row rows[] = {{.uses = 3}, {.uses = 900}, {.uses = 40}, {.uses = 0}};
    ck_assert(suppress_table(rows, 4, false, THRESHOLD));
    ck_assert_int_eq(rows[0].state, SUPPRESS_HIDDEN);
    ck_assert_int_eq(rows[1].state, SUPPRESS_SHOWN);
    ck_assert_int_eq(rows[2].state, SUPPRESS_HIDDEN);
    ck_assert_int_eq(rows[3].state, SUPPRESS_SHOWN);
}
END_TEST

/* Three rows of one use each: their sum would give them all away. */
START_TEST(rows_that_their_sum_gives_away_need_another)
{
    struct suppress_row rows[] = {{.uses = 1}, {.uses = 1}, {.uses = 1}, {.uses = 60}};
    ck_assert(suppress_table(rows, 4, false, THRESHOLD));
    ck_assert_int_eq(rows[3].state, SUPPRESS_HIDDEN);
}
END_TEST

/* 50, 5 and 1: of 6 uses, a named row has 5 at least, which leaves 1 to the other. */
START_TEST(a_row_that_is_known_to_be_large_hides_no_small_one)
{
    struct suppress_row rows[] = {{.uses = 50, .least = 5}, {.uses = 5, .least = 5}, {.uses = 1}};
    ck_assert(suppress_table(rows, 3, false, THRESHOLD));
    ck_assert_int_eq(rows[0].state, SUPPRESS_HIDDEN);
    struct suppress_range range = suppress_uses(rows, 3, 2);
    ck_assert_int_eq(range.least, 1);
    ck_assert_int_eq(range.most, 46);
    struct suppress_row two[] = {{.uses = 5, .least = 5}, {.uses = 1}};
    ck_assert(!suppress_table(two, 2, false, THRESHOLD));
}
END_TEST

START_TEST(a_row_known_from_elsewhere_is_no_cover)
{
    struct suppress_row rows[] = {{.uses = 7, .fixed = true}, {.uses = 3}, {.uses = 60}};
    ck_assert(suppress_table(rows, 3, false, THRESHOLD));
    ck_assert_int_eq(rows[0].state, SUPPRESS_SHOWN);
    ck_assert_int_eq(rows[2].state, SUPPRESS_HIDDEN);
    struct suppress_row alone[] = {{.uses = 7, .fixed = true}, {.uses = 3}};
    ck_assert(!suppress_table(alone, 2, false, THRESHOLD));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("report_suppress");
    TCase *tcase = tcase_create("suppress");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, no_sensitive_count_can_be_solved_for);
    tcase_add_test(tcase, a_table_of_uses_alone_hides_what_its_total_would_tell);
    tcase_add_test(tcase, safe_tables_are_published_whole_and_zeros_stay);
    tcase_add_test(tcase, one_small_row_takes_the_smallest_other_with_it);
    tcase_add_test(tcase, rows_that_their_sum_gives_away_need_another);
    tcase_add_test(tcase, a_row_that_is_known_to_be_large_hides_no_small_one);
    tcase_add_test(tcase, a_row_known_from_elsewhere_is_no_cover);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
