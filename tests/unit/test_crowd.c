/* Searches that wait together: that company changes nothing of what one finds, also when others are
 * cancelled or the gallery is written to meanwhile. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "gallery/gallery.h"
#include "gallery/search.h"
#include "gallery_people.h"
#include "run_suite.h"
#include "search_state.h"
#include "whorl/secret.h"

#define TWO_FINGERS (1u << 2 | 1u << 7)
#define SOME_HAVE_MORE (1u << 2 | 1u << 7 | 1u << 3 | 1u) /* one of unknown position */

enum { PEOPLE = 1100, TOGETHER = 20, THREADS = 3, IMPRESSIONS = 3 };

static char dir[64];
static struct gallery *gallery;
static struct whorl_fault fault;

static void setup(void)
{
    enum { AT_ONCE = 100 };
    struct test_person *people = calloc(AT_ONCE, sizeof *people);
    struct gallery_person list[AT_ONCE];
    people_mkdir(dir);
    people_open(&gallery, dir);
    for (unsigned from = 0; from < PEOPLE; from += AT_ONCE) {
        for (unsigned k = 0; k < AT_ONCE; k++) {
            /* blocks where everybody has the same fingers, and others */
            people_make(&people[k], from + k,
                        from + k > 900 && k % 9 == 0 ? SOME_HAVE_MORE : TWO_FINGERS);
            list[k] = people[k].person;
        }
        ck_assert_msg(gallery_put(gallery, list, AT_ONCE, NULL, &fault), "%s", fault.text);
    }
    free(people);
}

static void teardown(void)
{
    gallery_close(gallery);
    gallery = NULL;
    people_rmdir(dir);
}

/* --- one search --- */

struct member {
    struct afis_finger *finger[IMPRESSIONS];
    struct gallery_probe probes[IMPRESSIONS];
    size_t probe_count;
    atomic_int patience; /* how often it may be asked whether it was cancelled; < 0: for ever */

    struct gallery_search *search;
    unsigned inside; /* threads in a step */
    bool drained, given_up;
    struct gallery_result result;
};

static bool cancelled(void *ctx)
{
    struct member *m = ctx;
    return atomic_load(&m->patience) >= 0 && atomic_fetch_sub(&m->patience, 1) <= 0;
}

static void add_probe(struct member *m, unsigned person, uint8_t position, unsigned impression,
                      uint8_t stated)
{
    struct afis_template tmpl;
    struct afis_finger *finger = aligned_alloc(64, (afis_finger_size() + 63) & ~(size_t)63);
    people_finger(people_seed(person, position), impression, position, &tmpl);
    ck_assert_int_eq(afis_finger_prepare(&tmpl, finger), AFIS_OK);
    m->finger[m->probe_count] = finger;
    m->probes[m->probe_count++] = (struct gallery_probe){finger, stated};
}

/* People who are there and who are not; one finger, two, two impressions of one, unknown ones. */
static void make_member(struct member *m, unsigned seed)
{
    const unsigned person = seed * 53 % (PEOPLE + PEOPLE / 2);
    memset(m, 0, sizeof *m);
    atomic_init(&m->patience, -1);
    add_probe(m, person, 2, 3, seed % 7 == 5 ? 0 : 2);
    if (seed % 5 != 4) {
        add_probe(m, person, 7, 3, 7);
    }
    if (seed % 6 == 1) {
        add_probe(m, person, 7, 4, 7);
    }
}

static void begin(struct member *m)
{
    const struct gallery_search_params params = {.probes = m->probes,
                                                 .probe_count = m->probe_count,
                                                 .match_fpir = 0.001,
                                                 .possible_fpir = 0.5,
                                                 .max_candidates = 10,
                                                 .thorough = m->probe_count != 2,
                                                 .now = 1800000000,
                                                 .cancelled = cancelled,
                                                 .ctx = m};
    m->drained = m->given_up = false;
    m->search = gallery_search_begin(gallery, &params, &fault);
    ck_assert_msg(m->search != NULL, "%s", fault.text);
}

static void drop_member(struct member *m)
{
    for (size_t k = 0; k < m->probe_count; k++) {
        free(m->finger[k]);
    }
}

static void search_alone(struct member *m, void *scratch)
{
    enum gallery_finish finish;
    begin(m);
    do {
        while (gallery_search_step(m->search, scratch) == GALLERY_STEP_MORE) {
        }
        finish = gallery_search_finish(m->search, scratch, &m->result, &fault);
    } while (finish == GALLERY_FINISH_AGAIN);
    ck_assert_int_eq(finish, GALLERY_FINISH_DONE);
    gallery_search_free(m->search);
}

static void assert_same(const struct gallery_result *a, const struct gallery_result *b)
{
    ck_assert(a->complete && b->complete);
    ck_assert_uint_eq(a->people, b->people);
    ck_assert_uint_eq(a->comparable, b->comparable);
    ck_assert_uint_eq(a->above_possible, b->above_possible);
    ck_assert_uint_eq(a->above_match, b->above_match);
    ck_assert_uint_eq(a->candidate_count, b->candidate_count);
    for (size_t i = 0; i < a->candidate_count; i++) {
        ck_assert_str_eq(a->candidates[i].person->id, b->candidates[i].person->id);
        ck_assert(a->candidates[i].score == b->candidates[i].score);
    }
}

/* --- many on some threads --- */

static struct member *members;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* With the lock held; true: another round of the search's steps may begin. */
static void settle(struct member *m, void *scratch)
{
    if (m->given_up) {
        gallery_search_free(m->search);
        m->search = NULL;
        return;
    }
    switch (gallery_search_finish(m->search, scratch, &m->result, &fault)) {
    case GALLERY_FINISH_AGAIN:
        m->drained = false;
        return;
    case GALLERY_FINISH_CANCELLED:
        m->given_up = true;
        break;
    case GALLERY_FINISH_DONE:
        break;
    default:
        abort();
    }
    gallery_search_free(m->search);
    m->search = NULL;
}

static struct member *enter(unsigned *at, bool *any)
{
    struct member *found = NULL;
    pthread_mutex_lock(&lock);
    *any = false;
    for (unsigned k = 0; k < TOGETHER && !found; k++) {
        struct member *m = &members[(*at + k) % TOGETHER];
        *any = *any || m->search != NULL;
        if (m->search && !m->drained) {
            found = m;
            m->inside++;
            *at = (*at + k + 1) % TOGETHER;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void *work(void *arg)
{
    unsigned at = *(unsigned *)arg;
    void *scratch = whorl_secret_alloc(gallery_search_scratch_size());
    for (bool any = true; any;) {
        struct member *m = enter(&at, &any);
        if (!m) {
            continue;
        }
        const enum gallery_step step = gallery_search_step(m->search, scratch);
        pthread_mutex_lock(&lock);
        m->inside--;
        m->drained = m->drained || step != GALLERY_STEP_MORE;
        m->given_up = m->given_up || step == GALLERY_STEP_CANCELLED;
        if (m->drained && m->inside == 0 && m->search) {
            settle(m, scratch);
        }
        pthread_mutex_unlock(&lock);
    }
    whorl_secret_free(scratch, gallery_search_scratch_size());
    return NULL;
}

/* Puts the same people again and again: the gallery's blocks change, what it holds does not. */
static atomic_bool enough;

static void *write_on(void *arg)
{
    struct test_person *person = arg;
    while (!atomic_load(&enough)) {
        struct whorl_fault own;
        if (!gallery_put(gallery, &person->person, 1, NULL, &own)) {
            abort();
        }
    }
    return NULL;
}

static void search_together(bool written)
{
    pthread_t threads[THREADS], writer;
    unsigned starts[THREADS];
    struct test_person *person = malloc(sizeof *person);
    people_make(person, 17, TWO_FINGERS);
    atomic_store(&enough, false);
    for (unsigned k = 0; k < TOGETHER; k++) {
        begin(&members[k]);
    }
    if (written) {
        pthread_create(&writer, NULL, write_on, person);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        starts[i] = i * 7;
        pthread_create(&threads[i], NULL, work, &starts[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_store(&enough, true);
    if (written) {
        pthread_join(writer, NULL);
    }
    free(person);
}

/* Loop 0: undisturbed; 1: every third is cancelled sooner or later; 2: that, and a writer. */
START_TEST(searches_together_find_what_they_find_alone)
{
    void *scratch = whorl_secret_alloc(gallery_search_scratch_size());
    members = calloc(TOGETHER, sizeof *members);
    struct gallery_result *alone = calloc(TOGETHER, sizeof *alone);
    for (unsigned k = 0; k < TOGETHER; k++) {
        make_member(&members[k], k + 20 * (unsigned)_i);
        search_alone(&members[k], scratch);
        alone[k] = members[k].result;
        if (_i > 0 && k % 3 == 0) {
            atomic_store(&members[k].patience, (int)k);
        }
    }
    search_together(_i == 2);
    for (unsigned k = 0; k < TOGETHER; k++) {
        struct member *m = &members[k];
        ck_assert_int_eq(m->given_up, _i > 0 && k % 3 == 0);
        if (!m->given_up) {
            assert_same(&m->result, &alone[k]);
            gallery_result_release(&m->result);
        }
        gallery_result_release(&alone[k]);
        drop_member(m);
    }
    free(members);
    free(alone);
    whorl_secret_free(scratch, gallery_search_scratch_size());
}
END_TEST

/* Brings all chunks through the stage that the search is at. */
static void drain(struct gallery_search *search, void *scratch)
{
    while (gallery_search_step(search, scratch) == GALLERY_STEP_MORE) {
    }
}

static uint16_t *copy_of(const uint16_t *levels)
{
    uint16_t *copy = malloc(PEOPLE * sizeof *copy);
    memcpy(copy, levels, PEOPLE * sizeof *copy);
    return copy;
}

/* Who has no levels of `alone` has no search either. */
static void release_all(struct member *list, uint16_t **alone, unsigned count, void *scratch)
{
    for (unsigned k = 0; k < count; k++) {
        if (alone[k]) {
            gallery_search_free(list[k].search);
        }
        free(alone[k]);
        drop_member(&list[k]);
    }
    free(list);
    whorl_secret_free(scratch, gallery_search_scratch_size());
}

/* Everybody's level after the first stage, one thread. */
START_TEST(every_level_is_the_same_in_company)
{
    enum { MANY = 7 };
    void *scratch = whorl_secret_alloc(gallery_search_scratch_size());
    struct member *list = calloc(MANY, sizeof *list);
    uint16_t *alone[MANY];
    for (unsigned k = 0; k < MANY; k++) {
        make_member(&list[k], k);
        begin(&list[k]);
        drain(list[k].search, scratch);
        alone[k] = copy_of(list[k].search->ranks);
        gallery_search_free(list[k].search);
    }
    for (unsigned k = 0; k < MANY; k++) {
        begin(&list[k]);
    }
    for (unsigned k = 0; k < MANY; k++) { /* the first of them does most of the work */
        uint64_t people, of;
        drain(list[k].search, scratch);
        gallery_search_progress(list[k].search, &people, &of);
        ck_assert_uint_eq(people, PEOPLE);
        ck_assert_uint_eq(of, PEOPLE);
        if (k == 0) {
            gallery_search_progress(list[MANY - 1].search, &people, &of);
            ck_assert_uint_gt(people, 0); /* done for it */
            ck_assert_uint_lt(people, PEOPLE);
        }
    }
    for (unsigned k = 0; k < MANY; k++) {
        ck_assert_mem_eq(list[k].search->ranks, alone[k], PEOPLE * sizeof *alone[k]);
    }
    release_all(list, alone, MANY, scratch);
}
END_TEST

/* Takes a search to the glance; false: it ends before. */
static bool reach_glance(struct member *m, void *scratch)
{
    begin(m);
    while (m->search->stage != STAGE_GLANCE) {
        drain(m->search, scratch);
        if (gallery_search_finish(m->search, scratch, &m->result, &fault) != GALLERY_FINISH_AGAIN) {
            gallery_result_release(&m->result);
            gallery_search_free(m->search);
            return false;
        }
    }
    return true;
}

/* What each finds by glancing, one thread: together, those of unknown fingers too. */
START_TEST(every_impression_is_the_same_in_company)
{
    enum { MANY = 18 };
    void *scratch = whorl_secret_alloc(gallery_search_scratch_size());
    struct member *list = calloc(MANY, sizeof *list);
    uint16_t *alone[MANY] = {NULL};
    unsigned there = 0, joined = 0, done_for = 0;
    for (unsigned k = 0; k < MANY; k++) {
        make_member(&list[k], k + 20);
        if (reach_glance(&list[k], scratch)) {
            drain(list[k].search, scratch);
            alone[k] = copy_of(list[k].search->impressions);
            gallery_search_free(list[k].search);
        }
    }
    for (unsigned k = 0; k < MANY; k++) {
        there += alone[k] && reach_glance(&list[k], scratch);
    }
    for (unsigned k = 0; k < MANY; k++) {
        joined += alone[k] && list[k].search->joined;
        done_for += alone[k] && list[k].search->joined && list[k].search->left == 0;
        if (alone[k]) {
            drain(list[k].search, scratch);
            ck_assert_mem_eq(list[k].search->impressions, alone[k], PEOPLE * sizeof *alone[k]);
        }
    }
    ck_assert_uint_eq(there, joined);
    ck_assert_uint_gt(joined, 4);
    ck_assert_uint_ge(done_for, joined - 1);
    release_all(list, alone, MANY, scratch);
}
END_TEST

/* Before each stage a block changes: in those that compare it cannot be read until the search
 * follows, and all others are done by then. */
START_TEST(everybody_is_counted_once_also_where_the_gallery_has_changed)
{
    void *scratch = whorl_secret_alloc(gallery_search_scratch_size());
    struct test_person *person = malloc(sizeof *person);
    struct member m;
    unsigned counted = 0, followed = 0;
    people_make(person, 400, TWO_FINGERS);
    make_member(&m, 4); /* thorough */
    begin(&m);
    for (enum gallery_finish finish = GALLERY_FINISH_AGAIN; finish == GALLERY_FINISH_AGAIN;) {
        const enum stage stage = m.search->stage;
        ck_assert(gallery_put(gallery, &person->person, 1, NULL, &fault));
        drain(m.search, scratch);
        if (search_by_words(stage)) {
            ck_assert_uint_eq(m.search->view->people, PEOPLE);
            ck_assert_uint_eq(m.search->levels.people, m.search->view->rows);
            counted++;
        }
        finish = gallery_search_finish(m.search, scratch, &m.result, &fault);
        if (finish == GALLERY_FINISH_AGAIN && m.search->stage == stage) {
            followed++;
            drain(m.search, scratch);
            finish = gallery_search_finish(m.search, scratch, &m.result, &fault);
        }
        ck_assert_int_ne(finish, GALLERY_FINISH_FAILED);
    }
    ck_assert_uint_eq(counted, 3);
    ck_assert_uint_gt(followed, 0);
    gallery_result_release(&m.result);
    gallery_search_free(m.search);
    drop_member(&m);
    free(person);
    whorl_secret_free(scratch, gallery_search_scratch_size());
}
END_TEST

/* How many have left of those whose levels the search knows. None may have one. */
static unsigned count_gone(const struct gallery_search *search)
{
    unsigned count = 0;
    for (size_t i = 0; i < search->view->count; i++) {
        const struct view_chunk *chunk = &search->view->chunks[i];
        if (!chunk->gone || search->states[i].stage == STAGE_NONE) {
            continue;
        }
        for (uint32_t k = 0; k < chunk->gone->count; k++) {
            const uint64_t row = chunk->before + chunk->gone->people[k];
            ck_assert_uint_eq(search->ranks[row], RANK_NOBODY);
            ck_assert_uint_eq(search->impressions[row], RANK_NOBODY);
        }
        count += chunk->gone->count;
    }
    return count;
}

/* A block that is written anew before each round has the search follow the gallery while it is
 * under way, in which others have left whose levels it knows. */
START_TEST(who_leaves_has_no_level_in_a_search_under_way)
{
    void *scratch = whorl_secret_alloc(gallery_search_scratch_size());
    struct test_person *person = malloc(sizeof *person);
    struct member m;
    unsigned gone = 0, round = 0;
    people_make(person, 400, TWO_FINGERS);
    make_member(&m, 4); /* thorough */
    begin(&m);
    for (enum gallery_finish finish = GALLERY_FINISH_AGAIN; finish == GALLERY_FINISH_AGAIN;) {
        char id[16];
        drain(m.search, scratch);
        ck_assert(gallery_put(gallery, &person->person, 1, NULL, &fault));
        (void)snprintf(id, sizeof id, "P%06u", 100 + 7 * round++);
        ck_assert(gallery_remove(gallery, (const char *const[]){id}, 1, NULL, &fault));
        finish = gallery_search_finish(m.search, scratch, &m.result, &fault);
        ck_assert_int_ne(finish, GALLERY_FINISH_FAILED);
        gone += finish == GALLERY_FINISH_AGAIN ? count_gone(m.search) : 0;
    }
    ck_assert_uint_gt(gone, 0);
    ck_assert_uint_eq(m.result.comparable, m.result.of);
    gallery_result_release(&m.result);
    gallery_search_free(m.search);
    drop_member(&m);
    free(person);
    whorl_secret_free(scratch, gallery_search_scratch_size());
}
END_TEST

/* One that nobody steps, and one that is freed half way, are no burden to the others. */
START_TEST(nobody_waits_for_others)
{
    void *scratch = whorl_secret_alloc(gallery_search_scratch_size());
    struct member idle, freed, working[3];
    make_member(&idle, 2);
    make_member(&freed, 3);
    begin(&idle);
    begin(&freed);
    gallery_search_step(freed.search, scratch);
    gallery_search_free(freed.search);
    for (unsigned k = 0; k < 3; k++) {
        make_member(&working[k], 7 + k);
        search_alone(&working[k], scratch);
        ck_assert(working[k].result.complete);
        gallery_result_release(&working[k].result);
        drop_member(&working[k]);
    }
    gallery_search_free(idle.search);
    drop_member(&idle);
    drop_member(&freed);
    whorl_secret_free(scratch, gallery_search_scratch_size());
}
END_TEST

/* --- arrays that are kept between searches --- */

START_TEST(an_array_that_was_given_back_comes_back_empty)
{
    enum { SIZE = 5 << 20, OTHER = 9 << 20 };
    struct array_pool pool;
    array_pool_init(&pool);
    uint8_t *first = array_take(&pool, SIZE);
    ck_assert_ptr_nonnull(first);
    memset(first, 0xff, SIZE);
    array_give(&pool, first, SIZE);
    uint8_t *larger = array_take(&pool, OTHER);
    ck_assert_ptr_ne(larger, first);
    uint8_t *again = array_take(&pool, SIZE - 100); /* as many huge pages */
    ck_assert_ptr_eq(again, first);
    for (size_t i = 0; i < SIZE - 100; i++) {
        ck_assert_uint_eq(again[i], 0);
    }
    array_give(&pool, again, SIZE - 100);
    array_give(&pool, larger, OTHER);
    array_pool_release(&pool);
}
END_TEST

START_TEST(no_more_arrays_are_kept_than_may_be)
{
    enum { SIZE = 4 << 20, MANY = ARRAYS_KEPT + 5 };
    struct array_pool pool;
    void *arrays[MANY];
    array_pool_init(&pool);
    for (size_t i = 0; i < MANY; i++) {
        arrays[i] = array_take(&pool, SIZE);
        ck_assert_ptr_nonnull(arrays[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        array_give(&pool, arrays[i], SIZE);
    }
    ck_assert_uint_eq(pool.count, ARRAYS_KEPT);
    for (size_t i = 0; i < ARRAYS_KEPT; i++) { /* the latest */
        ck_assert_ptr_eq(pool.kept[i].array, arrays[MANY - ARRAYS_KEPT + i]);
    }
    array_pool_release(&pool);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crowd");
    TCase *tcase = tcase_create("crowd");
    people_warm(PEOPLE, TWO_FINGERS);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, searches_together_find_what_they_find_alone, 0, 3);
    tcase_add_test(tcase, every_level_is_the_same_in_company);
    tcase_add_test(tcase, every_impression_is_the_same_in_company);
    tcase_add_test(tcase, everybody_is_counted_once_also_where_the_gallery_has_changed);
    tcase_add_test(tcase, who_leaves_has_no_level_in_a_search_under_way);
    tcase_add_test(tcase, nobody_waits_for_others);
    tcase_add_test(tcase, an_array_that_was_given_back_comes_back_empty);
    tcase_add_test(tcase, no_more_arrays_are_kept_than_may_be);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
