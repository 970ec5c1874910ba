/* The gallery on a real LMDB directory: storing, searching, and what damage and concurrency do. */
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
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
#include "whorl/secret.h"

#define TWO_FINGERS (1u << 2 | 1u << 7)

static char dir[64];
static struct gallery *gallery;
static struct whorl_fault fault;

static void setup(void)
{
    people_mkdir(dir);
    people_open(&gallery, dir);
}

static void teardown(void)
{
    gallery_close(gallery);
    gallery = NULL;
    people_rmdir(dir);
}

static void put_range(unsigned from, unsigned to, unsigned fingers)
{
    unsigned count = to - from;
    struct test_person *people = calloc(count, sizeof *people);
    struct gallery_person *list = calloc(count, sizeof *list);
    for (unsigned i = 0; i < count; i++) {
        people_make(&people[i], from + i, fingers);
        list[i] = people[i].person;
    }
    size_t added = 0;
    ck_assert_msg(gallery_put(gallery, list, count, &added, &fault), "%s %s", fault.where,
                  fault.text);
    free(people);
    free(list);
}

static void remove_person(unsigned n)
{
    char id[32];
    const char *ids[] = {id};
    size_t removed;
    snprintf(id, sizeof id, "P%06u", n);
    ck_assert(gallery_remove(gallery, ids, 1, &removed, &fault));
    ck_assert_uint_eq(removed, 1);
}

static void print_problem(void *ctx, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%s\n", text);
}

static void assert_sound(void)
{
    size_t problems = 0;
    ck_assert_msg(gallery_check(gallery, print_problem, NULL, &problems, &fault), "%s", fault.text);
    ck_assert_uint_eq(problems, 0);
}

static struct gallery_counts counts(void)
{
    struct gallery_counts c;
    ck_assert(gallery_count(gallery, &c, &fault));
    return c;
}

/* ------------------------------------------------------------------ storing */

/* Templates too. */
static void assert_same(const struct gallery_person *a, const struct gallery_person *b)
{
    people_assert_same(a, b);
    for (size_t i = 0; i < a->print_count; i++) {
        ck_assert_uint_eq(a->prints[i].len, b->prints[i].len);
        ck_assert_mem_eq(a->prints[i].packed, b->prints[i].packed, a->prints[i].len);
    }
}

START_TEST(who_was_enrolled_again_is_not_removed_as_expired)
{
    const int64_t now = 1800000000;
    const int64_t expires[] = {now, now + 1, 0, now - 1};
    struct test_person people[4];
    const char *ids[5] = {"nobody"};
    size_t removed = 9;
    for (unsigned i = 0; i < 4; i++) {
        people_make(&people[i], i, TWO_FINGERS);
        people[i].person.expires = now;
        ck_assert(gallery_put(gallery, &people[i].person, 1, NULL, &fault));
        ids[i + 1] = people[i].person.id;
    }
    /* Between the listing of the ids and their removal. */
    for (unsigned i = 0; i < 4; i++) {
        people[i].person.expires = expires[i];
        ck_assert(gallery_put(gallery, &people[i].person, 1, NULL, &fault));
    }
    ck_assert(gallery_remove_expired(gallery, ids, 5, now, &removed, &fault));
    ck_assert_uint_eq(removed, 2);
    for (unsigned i = 0; i < 4; i++) {
        struct gallery_person *person;
        ck_assert(gallery_get(gallery, ids[i + 1], true, &person, &fault));
        ck_assert_int_eq(person != NULL, i == 1 || i == 2);
        gallery_person_free(person);
    }
    assert_sound();
}
END_TEST

struct removing {
    atomic_bool stop;
    unsigned back; /* how often the removed person was there again */
};

static void *put_and_remove(void *arg)
{
    struct removing *removing = arg;
    struct test_person person;
    struct gallery_person *found;
    struct whorl_fault why;
    const char *ids[] = {person.id};
    people_make(&person, 1, TWO_FINGERS);
    for (unsigned i = 0; i < 30; i++) {
        if (!gallery_put(gallery, &person.person, 1, NULL, &why) ||
            !gallery_remove(gallery, ids, 1, NULL, &why) ||
            !gallery_get(gallery, person.id, false, &found, &why)) {
            removing->back = 1000;
            break;
        }
        removing->back += found != NULL;
        gallery_person_free(found);
    }
    atomic_store(&removing->stop, true);
    return NULL;
}

START_TEST(who_is_removed_while_being_withdrawn_does_not_come_back)
{
    struct removing removing = {.back = 0};
    pthread_t thread;
    bool found;
    put_range(2, 5, TWO_FINGERS);
    ck_assert(gallery_withdraw(gallery, "P000003", 1800000000, &found, &fault) && found);
    ck_assert(gallery_withdraw(gallery, "P000001", 1800000000, &found, &fault) && !found);
    ck_assert_int_eq(pthread_create(&thread, NULL, put_and_remove, &removing), 0);
    while (!atomic_load(&removing.stop)) {
        ck_assert_msg(gallery_withdraw(gallery, "P000001", 1800000000, &found, &fault), "%s",
                      fault.text);
    }
    pthread_join(thread, NULL);
    ck_assert_uint_eq(removing.back, 0);
    struct gallery_person *person;
    ck_assert(gallery_get(gallery, "P000003", true, &person, &fault));
    ck_assert_int_eq(person->expires, 1800000000);
    gallery_person_free(person);
    ck_assert_uint_eq(counts().people, 3);
    assert_sound();
}
END_TEST

START_TEST(a_person_comes_back_as_put)
{
    struct test_person person;
    struct gallery_person *back;
    people_make(&person, 7, 0x7ff);
    person.person.expires = 4000000000;
    ck_assert(gallery_put(gallery, &person.person, 1, NULL, &fault));
    ck_assert(gallery_get(gallery, "P000007", true, &back, &fault));
    ck_assert_ptr_nonnull(back);
    assert_same(&person.person, back);
    gallery_person_free(back);
    ck_assert(gallery_get(gallery, "P000007", false, &back, &fault));
    ck_assert_ptr_null(back->prints[0].packed);
    ck_assert_uint_eq(back->print_count, 11);
    gallery_person_free(back);
    ck_assert(gallery_get(gallery, "P000008", true, &back, &fault));
    ck_assert_ptr_null(back);
    assert_sound();
}
END_TEST

START_TEST(what_is_put_survives_closing)
{
    put_range(0, 100, TWO_FINGERS);
    gallery_close(gallery);
    gallery = gallery_open(dir, WHORL_STORE_READ, &fault);
    ck_assert_msg(gallery != NULL, "%s", fault.text);
    ck_assert_uint_eq(counts().people, 100);
    ck_assert_uint_eq(counts().prints, 200);
    assert_sound();
}
END_TEST

START_TEST(replacing_and_removing_keep_the_counts)
{
    struct gallery_person *person;
    put_range(0, 200, TWO_FINGERS);
    ck_assert_uint_ge(counts().blocks, 3);
    put_range(50, 100, 0x7fe); /* more fingers: they outgrow their blocks */
    ck_assert_uint_eq(counts().people, 200);
    ck_assert_uint_eq(counts().prints, 150 * 2 + 50 * 10);
    assert_sound();
    put_range(80, 120, 1u << 4);
    for (unsigned i = 0; i < 200; i += 2) {
        remove_person(i);
    }
    ck_assert_uint_eq(counts().people, 100);
    ck_assert(gallery_get(gallery, "P000081", true, &person, &fault));
    ck_assert_uint_eq(person->print_count, 1);
    gallery_person_free(person);
    ck_assert(gallery_get(gallery, "P000080", true, &person, &fault));
    ck_assert_ptr_null(person);
    assert_sound();
}
END_TEST

START_TEST(a_gallery_can_be_emptied_and_filled_again)
{
    put_range(0, 150, TWO_FINGERS);
    for (unsigned i = 0; i < 150; i++) {
        remove_person(i);
    }
    ck_assert_uint_eq(counts().people, 0);
    ck_assert_uint_eq(counts().blocks, 0);
    put_range(0, 150, TWO_FINGERS);
    ck_assert_uint_eq(counts().people, 150);
    assert_sound();
}
END_TEST

/* Random puts, replacements and removals against a plain list of who should be there. */
START_TEST(random_changes_agree_with_a_model)
{
    unsigned model[60] = {0};
    srand(5);
    for (unsigned round = 0; round < 60; round++) {
        unsigned from = (unsigned)rand() % 50, to = from + 1 + (unsigned)rand() % 10;
        unsigned fingers = ((unsigned)rand() % 2047) + 1;
        if (rand() % 3 == 0) {
            for (unsigned i = from; i < to; i++) {
                if (model[i]) {
                    remove_person(i);
                    model[i] = 0;
                }
            }
        } else {
            put_range(from, to, fingers);
            for (unsigned i = from; i < to; i++) {
                model[i] = fingers;
            }
        }
    }
    uint64_t people = 0, prints = 0;
    for (unsigned i = 0; i < 60; i++) {
        struct test_person expected;
        struct gallery_person *person;
        people_make(&expected, i, model[i]);
        ck_assert(gallery_get(gallery, expected.id, true, &person, &fault));
        ck_assert_int_eq(person != NULL, model[i] != 0);
        if (!person) {
            continue;
        }
        assert_same(&expected.person, person);
        people++;
        prints += person->print_count;
        gallery_person_free(person);
    }
    ck_assert_uint_eq(counts().people, people);
    ck_assert_uint_eq(counts().prints, prints);
    assert_sound();
}
END_TEST

static bool count_visit(void *ctx, const struct gallery_person *person)
{
    unsigned *n = ctx;
    char expected[32];
    snprintf(expected, sizeof expected, "P%06u", (*n)++);
    ck_assert_str_eq(person->id, expected);
    return *n < 290;
}

START_TEST(everyone_is_visited_in_order_until_enough)
{
    unsigned n = 0;
    put_range(0, 300, 1u << 2);
    ck_assert(gallery_each(gallery, count_visit, &n, &fault));
    ck_assert_uint_eq(n, 290);
}
END_TEST

START_TEST(an_unsound_person_is_refused_and_named)
{
    struct test_person p;
    people_make(&p, 3, TWO_FINGERS);
    p.person.born = "1980-02-30";
    ck_assert(!gallery_put(gallery, &p.person, 1, NULL, &fault));
    ck_assert_str_eq(fault.where, "P000003");
    ck_assert_ptr_nonnull(strstr(fault.text, "born"));
    people_make(&p, 3, TWO_FINGERS);
    p.prints[1].position = 2;
    ck_assert(!gallery_put(gallery, &p.person, 1, NULL, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "position 2"));
    people_make(&p, 3, TWO_FINGERS);
    p.names[0].family = "new\nline";
    ck_assert(!gallery_put(gallery, &p.person, 1, NULL, &fault));
    people_make(&p, 3, TWO_FINGERS);
    p.names[0].family = "bad \xc3( utf8";
    ck_assert(!gallery_put(gallery, &p.person, 1, NULL, &fault));
    people_make(&p, 3, 0);
    ck_assert(!gallery_put(gallery, &p.person, 1, NULL, &fault));
    ck_assert_uint_eq(counts().people, 0);
}
END_TEST

START_TEST(one_unsound_person_stops_the_whole_batch)
{
    struct test_person a, b;
    people_make(&a, 1, TWO_FINGERS);
    people_make(&b, 2, TWO_FINGERS);
    b.person.sex = "x";
    struct gallery_person list[] = {a.person, b.person};
    ck_assert(!gallery_put(gallery, list, 2, NULL, &fault));
    ck_assert_uint_eq(counts().people, 0);
}
END_TEST

/* ------------------------------------------------------------------ searching */

struct probes {
    struct gallery_probe list[GALLERY_PROBES_MAX];
    size_t count;
};

static void add_probe(struct probes *probes, uint64_t seed, unsigned impression, uint8_t position)
{
    struct afis_template tmpl;
    struct afis_finger *finger = aligned_alloc(64, (afis_finger_size() + 63) & ~(size_t)63);
    people_finger(seed, impression, position, &tmpl);
    ck_assert_int_eq(afis_finger_prepare(&tmpl, finger), AFIS_OK);
    probes->list[probes->count++] = (struct gallery_probe){finger, position};
}

static void free_probes(struct probes *probes)
{
    for (size_t i = 0; i < probes->count; i++) {
        free((void *)(uintptr_t)probes->list[i].finger);
    }
    probes->count = 0;
}

static struct gallery_search_params params_of(const struct probes *probes)
{
    return (struct gallery_search_params){.probes = probes->list,
                                          .probe_count = probes->count,
                                          .match_fpir = 0.001,
                                          .possible_fpir = 0.05,
                                          .max_candidates = 10,
                                          .now = 1800000000};
}

static void *new_scratch(void)
{
    void *scratch = whorl_secret_alloc(gallery_search_scratch_size());
    ck_assert_ptr_nonnull(scratch);
    return scratch;
}

/* Searches with one thread. */
static enum gallery_finish run(const struct gallery_search_params *params,
                               struct gallery_result *result)
{
    struct gallery_search *search = gallery_search_begin(gallery, params, &fault);
    ck_assert_msg(search != NULL, "%s", fault.text);
    void *scratch = new_scratch();
    enum gallery_finish finish;
    do {
        enum gallery_step step;
        while ((step = gallery_search_step(search, scratch)) == GALLERY_STEP_MORE) {
        }
        finish = gallery_search_finish(search, scratch, result, &fault);
    } while (finish == GALLERY_FINISH_AGAIN);
    whorl_secret_free(scratch, gallery_search_scratch_size());
    gallery_search_free(search);
    return finish;
}

static void search_for(unsigned n, const uint8_t *positions, size_t count, bool known,
                       struct gallery_result *result)
{
    struct probes probes = {.count = 0};
    for (size_t i = 0; i < count; i++) {
        add_probe(&probes, people_seed(n, positions[i]), 3, known ? positions[i] : 0);
    }
    struct gallery_search_params params = params_of(&probes);
    ck_assert_int_eq(run(&params, result), GALLERY_FINISH_DONE);
    free_probes(&probes);
}

static void assert_found(const struct gallery_result *result, unsigned n)
{
    char id[32];
    snprintf(id, sizeof id, "P%06u", n);
    ck_assert(result->complete);
    ck_assert_uint_ge(result->candidate_count, 1);
    ck_assert_str_eq(result->candidates[0].person->id, id);
    ck_assert_float_ge(result->candidates[0].score, result->match_threshold);
}

static const uint8_t both[] = {2, 7};

START_TEST(two_fingers_of_known_position_find_their_person)
{
    struct gallery_result result;
    put_range(0, 300, TWO_FINGERS);
    search_for(123, both, 2, true, &result);
    assert_found(&result, 123);
    ck_assert_uint_eq(result.people, 300);
    ck_assert_uint_eq(result.of, 300);
    ck_assert_uint_eq(result.comparable, 300);
    gallery_result_release(&result);
}
END_TEST

START_TEST(fingers_of_unknown_position_find_their_person)
{
    struct gallery_result result;
    put_range(0, 60, 0x7fe);
    const uint8_t some[] = {9, 4};
    search_for(17, some, 2, false, &result);
    assert_found(&result, 17);
    gallery_result_release(&result);
}
END_TEST

START_TEST(prints_enrolled_without_position_are_compared_with_any)
{
    struct gallery_result result;
    put_range(0, 60, 1u);
    search_for(40, both, 2, true, &result); /* finger 2 is there, without its position */
    assert_found(&result, 40);
    ck_assert_uint_eq(result.comparable, 60);
    gallery_result_release(&result);
}
END_TEST

START_TEST(a_stranger_finds_nobody)
{
    struct gallery_result result;
    put_range(0, 300, TWO_FINGERS);
    search_for(5000, both, 2, true, &result);
    ck_assert(result.complete);
    ck_assert_uint_eq(result.above_match, 0);
    ck_assert_uint_eq(result.people, 300);
    gallery_result_release(&result);
}
END_TEST

START_TEST(people_without_the_finger_count_as_read_but_not_as_comparable)
{
    struct gallery_result result;
    const uint8_t one[] = {2};
    put_range(0, 20, 1u << 2);
    put_range(20, 50, 1u << 5);
    search_for(30, one, 1, true, &result);
    ck_assert_uint_eq(result.people, 50);
    ck_assert_uint_eq(result.comparable, 20);
    ck_assert_uint_eq(result.candidate_count, 0);
    gallery_result_release(&result);
}
END_TEST

START_TEST(expired_people_are_not_found)
{
    struct gallery_result result;
    struct test_person person;
    put_range(0, 20, TWO_FINGERS);
    people_make(&person, 12, TWO_FINGERS);
    person.person.expires = 1800000000; /* the moment of the search */
    ck_assert(gallery_put(gallery, &person.person, 1, NULL, &fault));
    search_for(12, both, 2, true, &result);
    ck_assert_uint_eq(result.candidate_count, 0);
    ck_assert_uint_eq(result.people, 20);
    ck_assert_uint_eq(result.comparable, 19);
    gallery_result_release(&result);
    person.person.expires++;
    ck_assert(gallery_put(gallery, &person.person, 1, NULL, &fault));
    search_for(12, both, 2, true, &result);
    assert_found(&result, 12);
    gallery_result_release(&result);
}
END_TEST

START_TEST(changes_are_seen_by_the_next_search)
{
    struct gallery_result result;
    put_range(0, 50, TWO_FINGERS);
    search_for(60, both, 2, true, &result);
    ck_assert_uint_eq(result.candidate_count, 0);
    gallery_result_release(&result);
    put_range(60, 61, TWO_FINGERS);
    search_for(60, both, 2, true, &result);
    assert_found(&result, 60);
    gallery_result_release(&result);
    remove_person(60);
    search_for(60, both, 2, true, &result);
    ck_assert_uint_eq(result.candidate_count, 0);
    gallery_result_release(&result);
}
END_TEST

START_TEST(an_empty_gallery_has_nobody_to_search)
{
    struct gallery_result result;
    search_for(1, both, 2, true, &result);
    ck_assert(result.complete);
    ck_assert_uint_eq(result.of, 0);
    gallery_result_release(&result);
}
END_TEST

/* Every score of a search with the threshold at nought against comparing one by one. */
START_TEST(the_ranking_agrees_with_comparing_one_by_one)
{
    enum { PEOPLE = 20 };
    struct gallery_result result;
    struct probes probes = {.count = 0};
    put_range(0, PEOPLE, TWO_FINGERS);
    add_probe(&probes, people_seed(11, 2), 4, 2);
    add_probe(&probes, people_seed(13, 7), 4, 7);
    struct gallery_search_params params = params_of(&probes);
    params.match_fpir = params.possible_fpir = 1 - 1e-12; /* a threshold of next to nothing */
    params.max_candidates = GALLERY_CANDIDATES_MAX;
    ck_assert_int_eq(run(&params, &result), GALLERY_FINISH_DONE);
    struct afis_matcher *matcher = whorl_secret_alloc(afis_matcher_size());
    struct afis_finger *finger = whorl_secret_alloc(afis_finger_size());
    size_t expected = 0;
    for (unsigned n = 0; n < PEOPLE; n++) {
        struct test_person person;
        float scores[2];
        people_make(&person, n, TWO_FINGERS);
        for (unsigned k = 0; k < 2; k++) {
            ck_assert_int_eq(
                afis_finger_prepare_packed(person.packed[k], person.prints[k].len, finger),
                AFIS_OK);
            scores[k] = afis_compare(matcher, probes.list[k].finger, finger);
        }
        float fused = afis_fuse(scores, 2);
        expected += fused >= result.possible_threshold;
        for (size_t i = 0; i < result.candidate_count; i++) {
            if (strcmp(result.candidates[i].person->id, person.id) == 0) {
                ck_assert_float_eq(result.candidates[i].score, fused);
            }
        }
    }
    ck_assert_uint_eq(result.above_possible, expected);
    ck_assert_uint_eq(result.candidate_count, expected);
    for (size_t i = 1; i < result.candidate_count; i++) {
        ck_assert_float_ge(result.candidates[i - 1].score, result.candidates[i].score);
    }
    gallery_result_release(&result);
    whorl_secret_free(matcher, afis_matcher_size());
    whorl_secret_free(finger, afis_finger_size());
    free_probes(&probes);
}
END_TEST

static bool say_yes(void *ctx)
{
    (void)ctx;
    return true;
}

START_TEST(a_cancelled_search_stops_and_has_no_result)
{
    struct gallery_result result;
    struct probes probes = {.count = 0};
    put_range(0, 100, TWO_FINGERS);
    add_probe(&probes, people_seed(1, 2), 4, 2);
    struct gallery_search_params params = params_of(&probes);
    params.cancelled = say_yes;
    struct gallery_search *search = gallery_search_begin(gallery, &params, &fault);
    void *scratch = new_scratch();
    ck_assert_int_eq(gallery_search_step(search, scratch), GALLERY_STEP_CANCELLED);
    uint64_t people, of;
    gallery_search_progress(search, &people, &of);
    ck_assert_uint_eq(people, 0);
    ck_assert_uint_eq(of, 100);
    ck_assert_int_ne(gallery_search_finish(search, scratch, &result, &fault), GALLERY_FINISH_DONE);
    gallery_search_free(search);
    whorl_secret_free(scratch, gallery_search_scratch_size());
    free_probes(&probes);
}
END_TEST

/* ------------------------------------------------------------------ damage */

struct damage {
    MDB_dbi blocks;
    size_t at;
    uint32_t from, count;
};

static int flip_one(MDB_txn *txn, const struct damage *damage, uint32_t number)
{
    MDB_val key = {sizeof number, &number}, value;
    int rc = mdb_get(txn, damage->blocks, &key, &value);
    if (rc != 0) {
        return rc;
    }
    uint8_t *copy = malloc(value.mv_size);
    memcpy(copy, value.mv_data, value.mv_size);
    copy[damage->at] ^= 0x40;
    value.mv_data = copy;
    rc = mdb_put(txn, damage->blocks, &key, &value, 0);
    free(copy);
    return rc;
}

/* Changes one bit of each of these blocks. */
static int flip(MDB_txn *txn, void *arg)
{
    const struct damage *damage = arg;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < damage->count; i++) {
        rc = flip_one(txn, damage, damage->from + i);
    }
    return rc;
}

static void damage_blocks(size_t at, uint32_t from, uint32_t count)
{
    struct damage damage = {.at = at, .from = from, .count = count};
    struct whorl_store *store =
        whorl_store_open(dir, WHORL_STORE_WRITE, 4, "whorl-gallery", 1, &fault);
    ck_assert_ptr_nonnull(store);
    ck_assert(whorl_store_db(store, "blocks", MDB_INTEGERKEY, &damage.blocks, &fault));
    ck_assert(whorl_store_write(store, flip, &damage, &fault));
    whorl_store_close(store);
}

/* In every field of the header, in an entry, in a template. */
static const size_t places[] = {0, 4, 8, 12, 16, 24, 28, 32, 36, 40, 41, 43, 48, 60, 1000, 60000};

START_TEST(a_damaged_block_makes_the_search_incomplete_and_is_found_by_the_check)
{
    struct gallery_result result;
    put_range(0, 120, TWO_FINGERS);
    damage_blocks(places[_i], 2, 1);
    search_for(1, both, 2, true, &result);
    ck_assert(!result.complete);
    ck_assert_uint_lt(result.people, result.of);
    ck_assert_uint_eq(result.of, 120);
    ck_assert_ptr_nonnull(strstr(result.trouble.text, "block 2"));
    gallery_result_release(&result);
    size_t problems = 0;
    ck_assert(gallery_check(gallery, print_problem, NULL, &problems, &fault));
    ck_assert_uint_ge(problems, 1);
}
END_TEST

static int lose_listing(MDB_txn *txn, void *arg)
{
    uint32_t number = 2;
    MDB_val key = {sizeof number, &number};
    return mdb_del(txn, *(MDB_dbi *)arg, &key, NULL);
}

START_TEST(a_block_that_the_index_has_lost_makes_the_search_incomplete)
{
    struct gallery_result result;
    MDB_dbi index;
    put_range(0, 120, TWO_FINGERS);
    struct whorl_store *store =
        whorl_store_open(dir, WHORL_STORE_WRITE, 4, "whorl-gallery", 1, &fault);
    ck_assert_ptr_nonnull(store);
    ck_assert(whorl_store_db(store, "index", MDB_INTEGERKEY, &index, &fault));
    ck_assert(whorl_store_write(store, lose_listing, &index, &fault));
    whorl_store_close(store);
    search_for(1, both, 2, true, &result);
    ck_assert(!result.complete);
    ck_assert_uint_lt(result.people, 120);
    ck_assert_uint_eq(result.of, 120);
    ck_assert_msg(strstr(result.trouble.text, "the gallery counts 120") != NULL, "%s",
                  result.trouble.text);
    gallery_result_release(&result);
}
END_TEST

/* More of them than are read in one step. */
START_TEST(a_gallery_with_many_damaged_blocks_gets_ready_and_finds_the_others)
{
    struct gallery_result result;
    put_range(0, 12000, TWO_FINGERS);
    damage_blocks(1000, 3, 120);
    gallery_close(gallery);
    gallery = gallery_open(dir, WHORL_STORE_WRITE, &fault);
    ck_assert(gallery && gallery_prepare(gallery, &fault));
    search_for(1, both, 2, true, &result);
    ck_assert(!result.complete);
    ck_assert_str_eq(result.candidates[0].person->id, "P000001");
    gallery_result_release(&result);
}
END_TEST

struct copying {
    MDB_dbi people;
    size_t id_len;
};

/* Gives P000001's record to somebody else, whose id has so many bytes, too. */
static int copy_record(MDB_txn *txn, void *arg)
{
    const struct copying *copying = arg;
    char id[400];
    uint8_t copy[4096];
    MDB_val key = {7, "P000001"}, value;
    int rc = mdb_get(txn, copying->people, &key, &value);
    if (rc != 0 || value.mv_size > sizeof copy) {
        return rc != 0 ? rc : MDB_BAD_VALSIZE;
    }
    memset(id, 'Q', sizeof id);
    memcpy(copy, value.mv_data, value.mv_size);
    key = (MDB_val){copying->id_len, id};
    value.mv_data = copy;
    return mdb_put(txn, copying->people, &key, &value, 0);
}

START_TEST(a_record_of_nobody_in_a_block_is_named_with_what_is_wrong)
{
    struct copying copying = {.id_len = _i == 0 ? 5 : 400};
    struct gallery_person *people[8];
    size_t count;
    put_range(0, 3, TWO_FINGERS);
    struct whorl_store *store =
        whorl_store_open(dir, WHORL_STORE_WRITE, 4, "whorl-gallery", 1, &fault);
    ck_assert_ptr_nonnull(store);
    ck_assert(whorl_store_db(store, "people", 0, &copying.people, &fault));
    ck_assert(whorl_store_write(store, copy_record, &copying, &fault));
    whorl_store_close(store);
    ck_assert(!gallery_next(gallery, "", people, 8, &count, &fault));
    ck_assert_uint_eq(count, 3);
    ck_assert(strncmp(fault.where, "QQQQQ", 5) == 0);
    ck_assert_msg(
        strstr(fault.text, _i == 0 ? "has no entry for this person" : "fails its checksum") != NULL,
        "%s", fault.text);
    for (size_t i = 0; i < count; i++) {
        gallery_person_free(people[i]);
    }
    size_t problems = 0;
    ck_assert(gallery_check(gallery, print_problem, NULL, &problems, &fault));
    ck_assert_uint_ge(problems, 1);
}
END_TEST

/* --- a cursor that fails --- */

#define EXPORT __attribute__((visibility("default")))
EXPORT int mdb_txn_commit(MDB_txn *txn);
EXPORT int mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor);
EXPORT int mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op);

static int open_fails, get_fails, commit_fails; /* with that code */

int mdb_txn_commit(MDB_txn *txn)
{
    int (*real)(MDB_txn *) = (int (*)(MDB_txn *))dlsym(RTLD_NEXT, "mdb_txn_commit");
    if (commit_fails != 0) {
        mdb_txn_abort(txn);
        return commit_fails;
    }
    return real(txn);
}

int mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor)
{
    int (*real)(MDB_txn *, MDB_dbi, MDB_cursor **) =
        (int (*)(MDB_txn *, MDB_dbi, MDB_cursor **))dlsym(RTLD_NEXT, "mdb_cursor_open");
    return open_fails != 0 ? open_fails : real(txn, dbi, cursor);
}

int mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op)
{
    int (*real)(MDB_cursor *, MDB_val *, MDB_val *, MDB_cursor_op) =
        (int (*)(MDB_cursor *, MDB_val *, MDB_val *, MDB_cursor_op))dlsym(RTLD_NEXT,
                                                                          "mdb_cursor_get");
    return get_fails != 0 ? get_fails : real(cursor, key, value, op);
}

START_TEST(a_gallery_that_cannot_be_listed_says_so)
{
    struct gallery_person *people[8];
    size_t count;
    unsigned visited = 0;
    put_range(0, 3, TWO_FINGERS);
    open_fails = _i == 0 ? ENOMEM : 0;
    get_fails = _i == 1 ? MDB_CORRUPTED : 0;
    fault = (struct whorl_fault){"", ""};
    ck_assert(!gallery_next(gallery, "", people, 8, &count, &fault));
    ck_assert_msg(strstr(fault.text, "cannot read the gallery") != NULL, "%s", fault.text);
    fault = (struct whorl_fault){"", ""};
    ck_assert(!gallery_each(gallery, count_visit, &visited, &fault));
    ck_assert_msg(strstr(fault.text, "cannot read the gallery") != NULL, "%s", fault.text);
    ck_assert_uint_eq(visited, 0);
    open_fails = get_fails = 0;
}
END_TEST

/* Blocks that were emptied are chosen to be filled again, though a template in them is damaged. */
START_TEST(a_full_disk_is_not_called_damage_because_a_block_is_damaged)
{
    struct test_person people[40];
    struct gallery_person list[40];
    put_range(0, 300, TWO_FINGERS);
    for (unsigned n = 0; n < 45; n++) {
        remove_person(n);
    }
    damage_blocks(1000, 1, 1);
    for (unsigned i = 0; i < 40; i++) {
        people_make(&people[i], 300 + i, 0x7fe);
        list[i] = people[i].person;
    }
    commit_fails = ENOSPC;
    ck_assert(!gallery_put(gallery, list, 40, NULL, &fault));
    commit_fails = 0;
    ck_assert_msg(strstr(fault.text, "the disk is full") != NULL, "%s", fault.text);
}
END_TEST

/* ------------------------------------------------------------------ concurrency */

/* Two blocks of people and one who is moved to and fro between them, by being replaced with more
 * fingers (he goes to the tail) and removed and put again. A search must see him exactly once. */
struct mover {
    struct gallery *gallery;
    atomic_bool stop;
    unsigned moves;
};

static void *move_about(void *arg)
{
    struct mover *mover = arg;
    struct test_person *many = malloc(sizeof *many), *filler = malloc(sizeof *filler);
    struct whorl_fault why;
    for (unsigned i = 0; !atomic_load(&mover->stop); i++, mover->moves++) {
        people_make(many, 37, i % 2 ? 0x7fe : TWO_FINGERS);
        people_make(filler, 40 + i % 20, 0x7fe);
        snprintf(filler->id, sizeof filler->id, "F%u", i % 50);
        struct gallery_person list[] = {many->person, filler->person};
        ck_assert(gallery_put(mover->gallery, list, 2, NULL, &why));
    }
    free(many);
    free(filler);
    return NULL;
}

START_TEST(a_person_who_is_moved_during_the_search_is_found_once)
{
    struct mover mover = {.gallery = gallery};
    pthread_t thread;
    put_range(0, 100, TWO_FINGERS);
    ck_assert_int_eq(pthread_create(&thread, NULL, move_about, &mover), 0);
    for (unsigned i = 0; i < 12; i++) {
        struct gallery_result result;
        search_for(37, both, 2, true, &result);
        assert_found(&result, 37);
        ck_assert_uint_eq(result.above_match, 1);
        ck_assert_uint_eq(result.people, result.of);
        ck_assert_uint_ge(result.people, 100);
        gallery_result_release(&result);
    }
    atomic_store(&mover.stop, true);
    pthread_join(thread, NULL);
    ck_assert_uint_gt(mover.moves, 0);
    assert_sound();
}
END_TEST

/* In each transaction exactly one of two people holds the finger: whatever the search's moment,
 * it must find one of them, never none and never both. */
static void *swap_about(void *arg)
{
    struct mover *mover = arg;
    struct test_person *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    struct whorl_fault why;
    for (unsigned i = 0; !atomic_load(&mover->stop); i++, mover->moves++) {
        people_make(a, i % 2 ? 3 : 201, TWO_FINGERS);
        people_make(b, i % 2 ? 202 : 3, TWO_FINGERS);
        strcpy(a->id, "FIRST");
        strcpy(b->id, "LAST");
        struct gallery_person list[] = {a->person, b->person};
        ck_assert(gallery_put(mover->gallery, list, 2, NULL, &why));
    }
    free(a);
    free(b);
    return NULL;
}

START_TEST(a_search_sees_one_moment_only)
{
    struct mover mover = {.gallery = gallery};
    pthread_t thread;
    struct test_person ends[2];
    people_make(&ends[0], 3, TWO_FINGERS);
    strcpy(ends[0].id, "FIRST");
    ck_assert(gallery_put(gallery, &ends[0].person, 1, NULL, &fault));
    put_range(100, 200, TWO_FINGERS);
    people_make(&ends[1], 202, TWO_FINGERS);
    strcpy(ends[1].id, "LAST");
    ck_assert(gallery_put(gallery, &ends[1].person, 1, NULL, &fault));
    ck_assert_int_eq(pthread_create(&thread, NULL, swap_about, &mover), 0);
    for (unsigned i = 0; i < 12; i++) {
        struct gallery_result result;
        search_for(3, both, 2, true, &result);
        ck_assert_uint_eq(result.above_match, 1);
        ck_assert_uint_eq(result.people, 102);
        gallery_result_release(&result);
    }
    atomic_store(&mover.stop, true);
    pthread_join(thread, NULL);
}
END_TEST

struct stepper {
    struct gallery_search *search;
    unsigned steps;
};

static void *step_on(void *arg)
{
    struct stepper *stepper = arg;
    void *scratch = new_scratch();
    while (gallery_search_step(stepper->search, scratch) == GALLERY_STEP_MORE) {
        stepper->steps++;
    }
    whorl_secret_free(scratch, gallery_search_scratch_size());
    return NULL;
}

START_TEST(several_threads_share_one_search)
{
    struct gallery_result result;
    struct probes probes = {.count = 0};
    put_range(0, 250, TWO_FINGERS);
    add_probe(&probes, people_seed(231, 2), 4, 0);
    add_probe(&probes, people_seed(231, 7), 4, 0);
    struct gallery_search_params params = params_of(&probes);
    struct stepper stepper = {gallery_search_begin(gallery, &params, &fault), 0};
    struct stepper steppers[4] = {stepper, stepper, stepper, stepper};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, step_on, &steppers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    void *scratch = new_scratch();
    ck_assert_int_eq(gallery_search_finish(stepper.search, scratch, &result, &fault),
                     GALLERY_FINISH_DONE);
    assert_found(&result, 231);
    ck_assert_uint_eq(result.people, 250);
    gallery_result_release(&result);
    whorl_secret_free(scratch, gallery_search_scratch_size());
    gallery_search_free(stepper.search);
    free_probes(&probes);
}
END_TEST

/* Many people with the ten fingers of one, who is none of those searched for. */
static void put_alike(unsigned from, unsigned to)
{
    struct test_person *person = malloc(sizeof *person);
    struct gallery_person *list = calloc(to - from, sizeof *list);
    char(*ids)[16] = calloc(to - from, sizeof *ids);
    people_make(person, 999, 0x7fe);
    for (unsigned i = 0; i < to - from; i++) {
        snprintf(ids[i], sizeof ids[i], "P%06u", from + i);
        list[i] = person->person;
        list[i].id = ids[i];
    }
    ck_assert(gallery_put(gallery, list, to - from, NULL, &fault));
    free(person);
    free(list);
    free(ids);
}

START_TEST(another_process_adds_people_and_grows_the_map)
{
    struct gallery_result result;
    put_range(0, 10, TWO_FINGERS);
    gallery_close(gallery); /* LMDB must not be carried over a fork */
    gallery = NULL;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        gallery = gallery_open(dir, WHORL_STORE_WRITE, &fault);
        if (!gallery) {
            _exit(1);
        }
        for (unsigned i = 0; i < 10; i++) {
            put_alike(100 + 1000 * i, 100 + 1000 * (i + 1));
        }
        gallery_close(gallery);
        _exit(0);
    }
    gallery = gallery_open(dir, WHORL_STORE_WRITE, &fault);
    ck_assert_ptr_nonnull(gallery);
    const uint8_t one[] = {2};
    for (int i = 0; i < 5; i++) {
        search_for(4, one, 1, true, &result);
        assert_found(&result, 4);
        gallery_result_release(&result);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_uint_eq(counts().people, 10010);
    struct gallery_person *person;
    ck_assert(gallery_get(gallery, "P010099", true, &person, &fault));
    ck_assert_ptr_nonnull(person);
    gallery_person_free(person);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("gallery");
    TCase *tcase = tcase_create("gallery");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 280);
    tcase_add_test(tcase, who_was_enrolled_again_is_not_removed_as_expired);
    tcase_add_test(tcase, who_is_removed_while_being_withdrawn_does_not_come_back);
    tcase_add_test(tcase, a_person_comes_back_as_put);
    tcase_add_test(tcase, what_is_put_survives_closing);
    tcase_add_test(tcase, replacing_and_removing_keep_the_counts);
    tcase_add_test(tcase, a_gallery_can_be_emptied_and_filled_again);
    tcase_add_test(tcase, random_changes_agree_with_a_model);
    tcase_add_test(tcase, everyone_is_visited_in_order_until_enough);
    tcase_add_test(tcase, an_unsound_person_is_refused_and_named);
    tcase_add_test(tcase, one_unsound_person_stops_the_whole_batch);
    tcase_add_test(tcase, two_fingers_of_known_position_find_their_person);
    tcase_add_test(tcase, fingers_of_unknown_position_find_their_person);
    tcase_add_test(tcase, prints_enrolled_without_position_are_compared_with_any);
    tcase_add_test(tcase, a_stranger_finds_nobody);
    tcase_add_test(tcase, people_without_the_finger_count_as_read_but_not_as_comparable);
    tcase_add_test(tcase, expired_people_are_not_found);
    tcase_add_test(tcase, changes_are_seen_by_the_next_search);
    tcase_add_test(tcase, an_empty_gallery_has_nobody_to_search);
    tcase_add_test(tcase, the_ranking_agrees_with_comparing_one_by_one);
    tcase_add_test(tcase, a_cancelled_search_stops_and_has_no_result);
    tcase_add_loop_test(tcase,
                        a_damaged_block_makes_the_search_incomplete_and_is_found_by_the_check, 0,
                        sizeof places / sizeof places[0]);
    tcase_add_test(tcase, a_block_that_the_index_has_lost_makes_the_search_incomplete);
    tcase_add_test(tcase, a_gallery_with_many_damaged_blocks_gets_ready_and_finds_the_others);
    tcase_add_loop_test(tcase, a_record_of_nobody_in_a_block_is_named_with_what_is_wrong, 0, 2);
    tcase_add_test(tcase, a_full_disk_is_not_called_damage_because_a_block_is_damaged);
    tcase_add_loop_test(tcase, a_gallery_that_cannot_be_listed_says_so, 0, 2);
    tcase_add_test(tcase, a_person_who_is_moved_during_the_search_is_found_once);
    tcase_add_test(tcase, a_search_sees_one_moment_only);
    tcase_add_test(tcase, several_threads_share_one_search);
    tcase_add_test(tcase, another_process_adds_people_and_grows_the_map);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    people_warm(300, TWO_FINGERS);
    people_warm(60, 0x7fe);
    return run_suite(suite());
}
