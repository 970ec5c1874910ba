/* What a search knows of people stays in no memory when it has ended. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "gallery/search.h"
#include "gallery_people.h"
#include "run_suite.h"
#include "search_state.h"
#include "whorl/secret.h"

static unsigned mallocs;
static const uint8_t *watched; /* must be zeros when it is given back */
static size_t watched_size, left_over;
static bool given_back;

/* Sanitizers have functions of their own. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define INTERPOSED 1
#define EXPORT __attribute__((visibility("default")))
extern void *__libc_malloc(size_t size);
extern void __libc_free(void *p);
EXPORT void *malloc(size_t size);
EXPORT void free(void *p);

void *malloc(size_t size)
{
    mallocs++;
    return __libc_malloc(size);
}

void free(void *p)
{
    if (p && p == watched) {
        given_back = true;
        for (size_t i = 0; i < watched_size; i++) {
            left_over += watched[i] != 0;
        }
        watched = NULL;
    }
    __libc_free(p);
}
#else
#define INTERPOSED 0
#endif

static void watch(const void *p, size_t size)
{
    watched = p;
    watched_size = size;
    left_over = 0;
    given_back = false;
}

START_TEST(arrays_of_any_size_are_wiped)
{
    static const size_t sizes[] = {100, 3000, 1 << 20};
    struct array_pool pool;
    array_pool_init(&pool);
    uint8_t *array = array_take(&pool, sizes[_i]);
    memset(array, 0x55, sizes[_i]);
    watch(array, sizes[_i]);
    array_give(&pool, array, sizes[_i]);
    ck_assert(given_back == INTERPOSED);
    ck_assert_uint_eq(left_over, 0);
    array_give(&pool, NULL, sizes[_i]);
    array_pool_release(&pool);
}
END_TEST

static void fill_hits(struct gallery_search *search, unsigned scores)
{
    for (size_t i = 0; i < search->hit_count; i++) {
        struct hit *hit = &search->hits[i];
        hit->score = (float)((unsigned)rand() % scores);
        hit->id_len = (uint8_t)snprintf(hit->id, sizeof hit->id, "P%u", (unsigned)i * 7919 % 5003);
    }
}

START_TEST(candidates_are_sorted_where_they_lie)
{
    static const size_t counts[] = {0, 1, 2, 3, 15, 100, 4095, HITS_MAX};
    struct gallery_search *search = calloc(1, sizeof *search);
    search->hits = calloc(HITS_MAX, sizeof *search->hits);
    search->hit_count = counts[_i];
    srand((unsigned)_i);
    fill_hits(search, 1 + (unsigned)counts[_i] / 3);
    const unsigned before = mallocs;
    search_sort_hits(search);
    ck_assert_uint_eq(mallocs, before);
    for (size_t i = 1; i < search->hit_count; i++) {
        const struct hit *a = &search->hits[i - 1], *b = &search->hits[i];
        ck_assert(a->score > b->score || (a->score == b->score && strcmp(a->id, b->id) < 0));
    }
    free(search->hits);
    free(search);
}
END_TEST

START_TEST(the_candidates_of_a_search_are_wiped)
{
    char dir[64];
    struct gallery *gallery = NULL;
    struct whorl_fault fault;
    struct afis_template tmpl;
    struct test_person *person = malloc(sizeof *person);
    struct afis_finger *finger = aligned_alloc(64, (afis_finger_size() + 63) & ~(size_t)63);
    void *scratch = whorl_secret_alloc(gallery_search_scratch_size());
    people_mkdir(dir);
    people_open(&gallery, dir);
    people_make(person, 3, 1u << 2);
    ck_assert_msg(gallery_put(gallery, &person->person, 1, NULL, &fault), "%s", fault.text);
    people_finger(people_seed(3, 2), 1, 2, &tmpl);
    ck_assert_int_eq(afis_finger_prepare(&tmpl, finger), AFIS_OK);
    struct gallery_probe probe = {finger, 2};
    struct gallery_search_params params = {.probes = &probe,
                                           .probe_count = 1,
                                           .match_fpir = 0.001,
                                           .possible_fpir = 0.05,
                                           .max_candidates = 10,
                                           .now = 1800000000};
    struct gallery_search *search = gallery_search_begin(gallery, &params, &fault);
    ck_assert_msg(search != NULL, "%s", fault.text);
    while (gallery_search_step(search, scratch) == GALLERY_STEP_MORE) {
    }
    ck_assert_uint_eq(search->hit_count, 1);
    ck_assert_str_eq(search->hits[0].id, person->id);
    watch(search->hits, sizeof *search->hits);
    gallery_search_free(search);
    ck_assert(given_back == INTERPOSED);
    ck_assert_uint_eq(left_over, 0);
    whorl_secret_free(scratch, gallery_search_scratch_size());
    gallery_close(gallery);
    people_rmdir(dir);
    free(finger);
    free(person);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("search memory");
    TCase *tcase = tcase_create("search memory");
    tcase_add_loop_test(tcase, arrays_of_any_size_are_wiped, 0, 3);
    tcase_add_loop_test(tcase, candidates_are_sorted_where_they_lie, 0, 8);
    tcase_add_test(tcase, the_candidates_of_a_search_are_wiped);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
