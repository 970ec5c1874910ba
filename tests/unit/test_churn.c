/* People who are replaced and removed all over a gallery: that the next search sees it, that blocks
 * stay filled, that a crash leaves one moment, and that erasing leaves nothing. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "afis/match.h"
#include "gallery/copy.h"
#include "gallery/gallery.h"
#include "gallery/search.h"
#include "gallery_people.h"
#include "run_suite.h"
#include "store.h"
#include "whorl/secret.h"

#define TWO_FINGERS (1u << 2 | 1u << 7)

enum { PEOPLE = 600, BATCH = 40 };

static char dir[64];
static struct gallery *gallery;
static struct whorl_fault fault;

static void reopen(void)
{
    people_open(&gallery, dir);
}

static void setup(void)
{
    people_mkdir(dir);
    reopen();
}

static void teardown(void)
{
    gallery_close(gallery);
    gallery = NULL;
    people_rmdir(dir);
}

static void name_person(char id[32], unsigned n)
{
    (void)snprintf(id, 32, "P%06u", n);
}

/* Puts people with the fingers of others: person whom[i] with those of fingers_of[i]. */
static void put_as(const unsigned *whom, const unsigned *fingers_of, unsigned count)
{
    struct test_person *people = calloc(count, sizeof *people);
    struct gallery_person *list = calloc(count, sizeof *list);
    for (unsigned i = 0; i < count; i++) {
        people_make(&people[i], fingers_of[i], TWO_FINGERS);
        name_person(people[i].id, whom[i]);
        list[i] = people[i].person;
    }
    ck_assert_msg(gallery_put(gallery, list, count, NULL, &fault), "%s", fault.text);
    free(people);
    free(list);
}

static void fill(void)
{
    for (unsigned from = 0; from < PEOPLE; from += BATCH) {
        unsigned whom[BATCH];
        for (unsigned i = 0; i < BATCH; i++) {
            whom[i] = from + i;
        }
        put_as(whom, whom, BATCH);
    }
}

static void take_out(const unsigned *whom, unsigned count)
{
    char ids[BATCH][32];
    const char *list[BATCH];
    size_t removed;
    for (unsigned i = 0; i < count; i++) {
        name_person(ids[i], whom[i]);
        list[i] = ids[i];
    }
    ck_assert_msg(gallery_remove(gallery, list, count, &removed, &fault), "%s", fault.text);
    ck_assert_uint_eq(removed, count);
}

static void print_problem(void *ctx, const char *text)
{
    (void)ctx;
    (void)fprintf(stderr, "%s\n", text);
}

static void assert_sound(void)
{
    size_t problems = 0;
    ck_assert_msg(gallery_check(gallery, print_problem, NULL, &problems, &fault), "%s", fault.text);
    ck_assert_uint_eq(problems, 0);
}

static struct gallery_counts counts(void)
{
    struct gallery_counts counts;
    ck_assert(gallery_count(gallery, &counts, &fault));
    return counts;
}

static struct afis_finger *finger_of(unsigned n, uint8_t position)
{
    struct afis_template tmpl;
    struct afis_finger *finger = aligned_alloc(64, (afis_finger_size() + 63) & ~(size_t)63);
    people_finger(people_seed(n, position), 3, position, &tmpl);
    ck_assert_int_eq(afis_finger_prepare(&tmpl, finger), AFIS_OK);
    return finger;
}

/* Searches with the fingers of person n. `between`, if any, is called before each of its rounds. */
static void run_search(unsigned n, void (*between)(unsigned round), struct gallery_result *result)
{
    struct afis_finger *fingers[2];
    struct gallery_probe probes[2];
    enum gallery_finish finish;
    unsigned round = 0;
    for (unsigned f = 0; f < 2; f++) {
        const uint8_t position = f == 0 ? 2 : 7;
        fingers[f] = finger_of(n, position);
        probes[f] = (struct gallery_probe){fingers[f], position};
    }
    const struct gallery_search_params params = {.probes = probes,
                                                 .probe_count = 2,
                                                 .match_fpir = 0.001,
                                                 .possible_fpir = 0.05,
                                                 .max_candidates = 2,
                                                 .now = 1800000000};
    struct gallery_search *search = gallery_search_begin(gallery, &params, &fault);
    ck_assert_msg(search != NULL, "%s", fault.text);
    void *scratch = whorl_secret_alloc(gallery_search_scratch_size());
    do {
        if (between) {
            between(round++);
        }
        while (gallery_search_step(search, scratch) == GALLERY_STEP_MORE) {
        }
        finish = gallery_search_finish(search, scratch, result, &fault);
    } while (finish == GALLERY_FINISH_AGAIN);
    ck_assert_int_eq(finish, GALLERY_FINISH_DONE);
    ck_assert_msg(result->complete, "%s", result->trouble.text);
    ck_assert_uint_eq(result->people, result->of);
    ck_assert_uint_eq(result->of, counts().people);
    ck_assert_uint_le(result->candidate_count, 1);
    whorl_secret_free(scratch, gallery_search_scratch_size());
    gallery_search_free(search);
    free(fingers[0]);
    free(fingers[1]);
}

/* Whom the fingers of person n find; "" = nobody. */
static void search_for(unsigned n, char found[GALLERY_ID_MAX + 1])
{
    struct gallery_result result;
    run_search(n, NULL, &result);
    (void)snprintf(found, GALLERY_ID_MAX + 1, "%s",
                   result.candidate_count > 0 ? result.candidates[0].person->id : "");
    gallery_result_release(&result);
}

static void assert_finds(unsigned fingers_of, const unsigned *whom)
{
    char found[GALLERY_ID_MAX + 1], expected[32] = "";
    if (whom) {
        name_person(expected, *whom);
    }
    search_for(fingers_of, found);
    ck_assert_str_eq(found, expected);
}

/* Every seventh changes fingers with the next seventh, every eleventh leaves; the index was written
 * before, or after the first half, or never. */
static void change_all_over(unsigned half)
{
    for (unsigned first = half * 20; first < half * 20 + 20; first += 2) {
        const unsigned a = first * 14 + 3, b = a + 7, pair[] = {a, b}, swapped[] = {b, a};
        put_as(pair, swapped, 2);
        take_out(&(unsigned){a + 1}, 1);
    }
}

static void assert_changed(unsigned half)
{
    for (unsigned first = half * 20; first < half * 20 + 20; first += 6) {
        const unsigned a = first * 14 + 3, b = a + 7, same = a + 2;
        assert_finds(a, &b);
        assert_finds(b, &a);
        assert_finds(a + 1, NULL);
        assert_finds(same, &same);
    }
}

START_TEST(whoever_is_replaced_or_removed_anywhere_is_so_for_the_next_search)
{
    bool in_use;
    fill();
    if (_i == 0) {
        ck_assert(gallery_index(gallery, 0, &in_use, &fault));
    }
    ck_assert(gallery_prepare(gallery, &fault));
    change_all_over(0);
    assert_changed(0);
    if (_i == 1) {
        ck_assert(gallery_index(gallery, 0, &in_use, &fault));
    }
    change_all_over(1);
    assert_changed(1);
    assert_sound();
    reopen();
    assert_changed(0);
    assert_changed(1);
}
END_TEST

static unsigned mate, leaves_in; /* the round in which he leaves */

/* Some leave in all rounds, also from one block in several. */
static void some_leave(unsigned round)
{
    const unsigned whom[] = {10 + round, 200 + 7 * round, 399 - round, 590 - round};
    take_out(whom, sizeof whom / sizeof *whom);
    if (round == leaves_in) {
        take_out(&mate, 1);
    }
}

/* From an index file, and from chunks in memory. */
START_TEST(who_leaves_while_a_search_runs_is_not_in_its_result)
{
    enum { ROUNDS = 5 };
    struct gallery_result during, after;
    bool in_use;
    fill();
    if (_i >= ROUNDS) {
        ck_assert(gallery_index(gallery, 0, &in_use, &fault));
    }
    ck_assert(gallery_prepare(gallery, &fault));
    mate = 300;
    leaves_in = (unsigned)_i % ROUNDS;
    run_search(mate, some_leave, &during);
    run_search(mate, NULL, &after);
    ck_assert_uint_eq(during.candidate_count, after.candidate_count);
    ck_assert_uint_eq(during.comparable, after.comparable);
    ck_assert_uint_eq(during.above_match, after.above_match);
    ck_assert(_i % ROUNDS > 1 || after.candidate_count == 0);
    gallery_result_release(&during);
    gallery_result_release(&after);
    assert_sound();
}
END_TEST

/* Until nobody is left in some blocks, and with a new index on the way. */
START_TEST(people_leave_a_block_one_after_the_other)
{
    const unsigned stays = 99, first = 100, last = 170;
    struct gallery_result result;
    bool in_use;
    fill();
    if (_i == 1) {
        ck_assert(gallery_index(gallery, 0, &in_use, &fault));
    }
    for (unsigned n = first; n < last; n++) {
        take_out(&n, 1);
        assert_finds(n, NULL);
        run_search(stays, NULL, &result);
        ck_assert_uint_eq(result.candidate_count, 1);
        ck_assert_uint_eq(result.comparable, counts().people);
        gallery_result_release(&result);
        if (n % 16 == 0) {
            assert_finds(n + 1, &(unsigned){n + 1});
        }
        if (_i == 1 && n == first + 10) {
            ck_assert(gallery_index(gallery, 0, &in_use, &fault));
            assert_finds(n, NULL);
        }
    }
    ck_assert(gallery_index(gallery, 0, &in_use, &fault));
    assert_finds(first, NULL);
    assert_finds(last, &last);
    assert_sound();
}
END_TEST

/* In one transaction each batch, one each person, and where the first half of all blocks is gone.
 */
START_TEST(blocks_stay_filled_when_people_are_replaced_at_random)
{
    fill();
    const uint64_t before = counts().blocks;
    srand(7);
    for (unsigned first = 0; _i == 2 && first < PEOPLE / 2; first += BATCH / 2) {
        unsigned whom[BATCH];
        for (unsigned i = 0; i < BATCH / 2; i++) {
            whom[i] = first + i;
        }
        take_out(whom, BATCH / 2);
    }
    for (unsigned round = 0; round < 100; round++) {
        unsigned whom[BATCH];
        const unsigned step = 1 + (unsigned)rand() % 14, from = (unsigned)rand() % PEOPLE;
        for (unsigned i = 0; i < BATCH; i++) {
            whom[i] = (from + i * step) % PEOPLE;
        }
        put_as(whom, whom, _i == 1 ? 1 : BATCH);
    }
    ck_assert_uint_eq(counts().people, PEOPLE);
    ck_assert_uint_le(counts().blocks, before + before / 4 + 2); /* 8/7, and what is being filled */
    assert_sound();
}
END_TEST

START_TEST(who_is_added_takes_the_room_of_those_who_left)
{
    fill();
    const uint64_t before = counts().blocks;
    for (unsigned first = 0; first < PEOPLE; first += 2 * BATCH) {
        unsigned whom[BATCH];
        unsigned count = 0;
        for (unsigned n = first; n < first + 2 * BATCH && n < PEOPLE; n += 2) {
            whom[count++] = n;
        }
        take_out(whom, count);
    }
    ck_assert_uint_le(counts().blocks, before);
    for (unsigned n = PEOPLE; n < PEOPLE + PEOPLE / 2; n++) {
        put_as(&n, &n, 1);
    }
    ck_assert_uint_eq(counts().people, PEOPLE);
    ck_assert_uint_le(counts().blocks, before + 1);
    assert_sound();
}
END_TEST

START_TEST(few_who_leave_a_block_do_not_have_it_written_anew)
{
    struct index_entry before, after;
    fill();
    MDB_txn *txn = whorl_store_read(gallery->store, &fault);
    ck_assert_int_eq(index_read(gallery, txn, 2, &before), 0);
    whorl_store_done(gallery->store, txn);
    take_out((unsigned[]){80, 82}, 2);
    put_as((unsigned[]){81}, (unsigned[]){81}, 1);
    txn = whorl_store_read(gallery->store, &fault);
    ck_assert_int_eq(index_read(gallery, txn, 2, &after), 0);
    ck_assert_uint_eq(after.written, before.written);
    ck_assert_uint_eq(after.gone, 3);
    ck_assert_uint_eq(after.people, before.people - 3);
    ck_assert_uint_gt(after.stamp, before.stamp);
    whorl_store_done(gallery->store, txn);
    assert_sound();
}
END_TEST

/* --- getting ready --- */

/* Without an index, with one of everybody, and with one of half of them. */
START_TEST(before_a_large_gallery_is_ready_a_search_says_how_far_it_is)
{
    enum { LARGE = 2000, PRINTS = 20 };
    struct test_person *one = malloc(sizeof *one);
    struct gallery_person *list = calloc(LARGE, sizeof *list);
    char(*ids)[32] = calloc(LARGE, sizeof *ids), text[120];
    struct afis_finger *finger = finger_of(4, 2);
    const struct gallery_probe probe = {finger, 2};
    uint64_t people, of, last = 0;
    unsigned steps = 0;
    bool in_use;
    people_make(one, 3, TWO_FINGERS);
    for (unsigned i = 2; i < PRINTS; i++) { /* many prints: many blocks of few people */
        one->prints[i] = one->prints[i % 2];
        one->prints[i].impression = (uint8_t)i;
    }
    for (unsigned i = 0; i < LARGE; i++) {
        name_person(ids[i], i);
        list[i] = one->person;
        list[i].id = ids[i];
        list[i].print_count = PRINTS;
    }
    const unsigned before = _i == 2 ? LARGE / 2 : LARGE; /* ... the index is written */
    ck_assert_msg(gallery_put(gallery, list, before, NULL, &fault), "%s", fault.text);
    ck_assert(_i == 0 || gallery_index(gallery, 0, &in_use, &fault));
    ck_assert(before == LARGE || gallery_put(gallery, list + before, LARGE - before, NULL, &fault));
    reopen();
    const struct gallery_search_params params = {.probes = &probe,
                                                 .probe_count = 1,
                                                 .match_fpir = 0.001,
                                                 .possible_fpir = 0.05,
                                                 .max_candidates = 1};
    for (; gallery_prepare_step(gallery, &people, &of, &fault) == GALLERY_PREPARING; steps++) {
        struct gallery_search *search = gallery_search_begin(gallery, &params, &fault);
        if (search) { /* all of it has been read, and is only not listed yet */
            gallery_search_free(search);
            continue;
        }
        (void)snprintf(text, sizeof text, "not ready to be searched: %llu of %d people",
                       (unsigned long long)people, LARGE);
        ck_assert_msg(strstr(fault.text, text) != NULL, "%s, not %s", fault.text, text);
        ck_assert_uint_eq(of, LARGE);
        ck_assert_uint_ge(people, last);
        last = people;
    }
    ck_assert_uint_ge(steps, 2);
    ck_assert_uint_gt(last, 0);
    free(finger);
    free(one);
    free(list);
    free(ids);
}
END_TEST

/* --- erasing --- */

static bool store_holds(const void *bytes, size_t len)
{
    char file[160];
    (void)snprintf(file, sizeof file, "%s/data.mdb", dir);
    FILE *f = fopen(file, "rb");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    const size_t size = (size_t)ftell(f);
    uint8_t *all = malloc(size);
    rewind(f);
    ck_assert_uint_eq(fread(all, 1, size, f), size);
    (void)fclose(f);
    const bool found = memmem(all, size, bytes, len) != NULL;
    free(all);
    return found;
}

START_TEST(erasing_leaves_nothing_of_those_who_left_a_block)
{
    struct test_person *removed = malloc(sizeof *removed), *replaced = malloc(sizeof *replaced);
    struct whorl_store_erased erased;
    fill();
    people_make(removed, 80, TWO_FINGERS);
    people_make(replaced, 200, TWO_FINGERS);
    take_out((unsigned[]){80}, 1);
    put_as((unsigned[]){200}, (unsigned[]){PEOPLE + 5}, 1);
    ck_assert(store_holds(removed->packed[0], removed->prints[0].len));
    ck_assert(store_holds(replaced->packed[1], replaced->prints[1].len));
    ck_assert_msg(gallery_erase(gallery, &erased, &fault), "%s", fault.text);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert(!store_holds(removed->packed[i], removed->prints[i].len));
        ck_assert(!store_holds(replaced->packed[i], replaced->prints[i].len));
    }
    assert_sound();
    assert_finds(80, NULL);
    assert_finds(81, &(unsigned){81});
    assert_finds(PEOPLE + 5, &(unsigned){200});
    free(removed);
    free(replaced);
}
END_TEST

START_TEST(erasing_does_not_make_a_copy_look_changed_by_others)
{
    struct gallery_mark before, after, now;
    struct whorl_store_erased erased;
    const char *ids[] = {"P000080"};
    fill();
    ck_assert(gallery_mark_read(gallery, &before, &fault));
    const struct gallery_change change = {.ids = ids,
                                          .id_count = 1,
                                          .before = &before,
                                          .mark = (const uint8_t *)"so far",
                                          .mark_len = 6};
    ck_assert_int_eq(gallery_apply(gallery, &change, &after, &fault), GALLERY_APPLIED);
    ck_assert_msg(gallery_erase(gallery, &erased, &fault), "%s", fault.text);
    ck_assert(gallery_mark_read(gallery, &now, &fault));
    ck_assert(now.untouched);
    ck_assert(now.len == 6 && memcmp(now.bytes, "so far", 6) == 0);
    ck_assert_uint_gt(now.stamp, after.stamp);
    gallery_mark_release(&now);
    take_out((unsigned[]){81}, 1);
    ck_assert_msg(gallery_erase(gallery, &erased, &fault), "%s", fault.text);
    ck_assert(gallery_mark_read(gallery, &now, &fault));
    ck_assert(!now.untouched);
    gallery_mark_release(&before);
    gallery_mark_release(&after);
    gallery_mark_release(&now);
}
END_TEST

/* --- crashes --- */

/* Batch k gives BATCH people all over the gallery, always the same, the fingers of others: those of
 * number PEOPLE + k % 4 * BATCH + i. The number of each batch that has come back is written out. */
static void replace_for_ever(int out)
{
    for (unsigned k = 1;; k++) {
        unsigned whom[BATCH], fingers_of[BATCH];
        for (unsigned i = 0; i < BATCH; i++) {
            whom[i] = i * (PEOPLE / BATCH) + 3;
            fingers_of[i] = PEOPLE + k % 4 * BATCH + i;
        }
        put_as(whom, fingers_of, BATCH);
        if (write(out, &k, sizeof k) != (ssize_t)sizeof k) {
            _exit(1);
        }
    }
}

/* Which batch a person's fingers are of. */
static unsigned batch_of(unsigned i)
{
    struct test_person *expected = malloc(sizeof *expected);
    struct gallery_person *person;
    char id[32];
    unsigned batch = 0;
    name_person(id, i * (PEOPLE / BATCH) + 3);
    ck_assert(gallery_get(gallery, id, true, &person, &fault));
    ck_assert_ptr_nonnull(person);
    for (; batch < 4; batch++) {
        people_make(expected, PEOPLE + batch * BATCH + i, TWO_FINGERS);
        if (person->prints[0].len == expected->prints[0].len &&
            memcmp(person->prints[0].packed, expected->packed[0], person->prints[0].len) == 0) {
            break;
        }
    }
    ck_assert_uint_lt(batch, 4);
    gallery_person_free(person);
    free(expected);
    return batch;
}

START_TEST(a_crash_while_people_are_replaced_leaves_what_was_acknowledged)
{
    int ends[2];
    unsigned last = 0, k;
    fill();
    gallery_close(gallery); /* not to be carried over a fork */
    gallery = NULL;
    ck_assert_int_eq(pipe(ends), 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(ends[0]);
        reopen();
        replace_for_ever(ends[1]);
    }
    close(ends[1]);
    while (last < 5u + 7u * (unsigned)_i && read(ends[0], &k, sizeof k) == (ssize_t)sizeof k) {
        last = k;
    }
    usleep(500u * (unsigned)_i);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    while (read(ends[0], &k, sizeof k) == (ssize_t)sizeof k) {
        last = k;
    }
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    reopen();
    assert_sound();
    ck_assert_uint_eq(counts().people, PEOPLE);
    const unsigned batch = batch_of(0);
    ck_assert(batch == last % 4 || batch == (last + 1) % 4); /* the last may not have been told */
    for (unsigned i = 1; i < BATCH; i++) {
        ck_assert_uint_eq(batch_of(i), batch);
    }
    assert_finds(PEOPLE + batch * BATCH + 7, &(unsigned){7 * (PEOPLE / BATCH) + 3});
}
END_TEST

int main(void)
{
    people_warm(PEOPLE, TWO_FINGERS);
    Suite *suite = suite_create("churn");
    TCase *tcase = tcase_create("churn");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 280);
    tcase_add_loop_test(tcase, whoever_is_replaced_or_removed_anywhere_is_so_for_the_next_search, 0,
                        3);
    tcase_add_loop_test(tcase, blocks_stay_filled_when_people_are_replaced_at_random, 0, 3);
    tcase_add_loop_test(tcase, who_leaves_while_a_search_runs_is_not_in_its_result, 0, 10);
    tcase_add_loop_test(tcase, people_leave_a_block_one_after_the_other, 0, 2);
    tcase_add_test(tcase, who_is_added_takes_the_room_of_those_who_left);
    tcase_add_test(tcase, few_who_leave_a_block_do_not_have_it_written_anew);
    tcase_add_loop_test(tcase, before_a_large_gallery_is_ready_a_search_says_how_far_it_is, 0, 3);
    tcase_add_test(tcase, erasing_leaves_nothing_of_those_who_left_a_block);
    tcase_add_test(tcase, erasing_does_not_make_a_copy_look_changed_by_others);
    tcase_add_loop_test(tcase, a_crash_while_people_are_replaced_leaves_what_was_acknowledged, 0,
                        4);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
