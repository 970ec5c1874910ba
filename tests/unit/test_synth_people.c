/* Made-up people: that they follow from seed and number, are what galleries take, and have the
 * statistics of prints. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "afis/match.h"
#include "afis/memory.h"
#include "cli/synth/synth_fill.h"
#include "gallery_people.h"
#include "run_suite.h"

enum { SAMPLE = 200 };

static char dir[64];
static struct gallery *gallery;
static struct whorl_fault fault;
static const struct synth_population two_fingers = {
    .seed = 5, .fingers_least = 2, .fingers_most = 2, .mixed = true};

static void setup(void)
{
    people_mkdir(dir);
    gallery = gallery_open(dir, WHORL_STORE_WRITE, &fault);
    ck_assert_msg(gallery != NULL, "%s", fault.text);
}

static void teardown(void)
{
    gallery_close(gallery);
    people_rmdir(dir);
}

/* ------------------------------------------------------------------ the model */

START_TEST(a_template_follows_from_its_seed_and_impression)
{
    struct afis_template a, b;
    afis_synth_template(77, 2, AFIS_SYNTH_OPTICAL, 0, &a);
    afis_synth_template(77, 2, AFIS_SYNTH_OPTICAL, 0, &b);
    ck_assert_mem_eq(&a, &b, sizeof a);
    afis_synth_template(77, 2, AFIS_SYNTH_OPTICAL, 1, &b);
    ck_assert_mem_ne(&a, &b, sizeof a);
    afis_synth_template(78, 2, AFIS_SYNTH_OPTICAL, 0, &b);
    ck_assert_mem_ne(&a, &b, sizeof a);
}
END_TEST

START_TEST(every_template_can_be_packed_and_compared)
{
    struct afis_finger *finger = afis_memory_heap.alloc(NULL, afis_finger_size());
    for (unsigned k = 0; k < SAMPLE * AFIS_SYNTH_SENSORS; k++) {
        struct afis_template t;
        uint8_t packed[AFIS_PACKED_MAX];
        size_t len;
        afis_synth_template(k, k % 11, (enum afis_synth_sensor)(k % AFIS_SYNTH_SENSORS), k / 100,
                            &t);
        ck_assert_uint_eq(t.position, k % 11);
        ck_assert_int_eq(afis_template_pack(&t, packed, sizeof packed, &len), AFIS_OK);
        ck_assert_int_eq(afis_finger_prepare_packed(packed, len, finger), AFIS_OK);
    }
    afis_memory_heap.release(NULL, finger, afis_finger_size());
}
END_TEST

struct moments {
    double count, mean, squares;
};

static void add(struct moments *m, double value)
{
    m->count++;
    m->mean += (value - m->mean) / m->count;
    m->squares += value * value;
}

static double deviation(const struct moments *m)
{
    return sqrt(m->squares / m->count - m->mean * m->mean);
}

/* Of each sensor's real prints: 43, 52, 39 and 37 minutiae, deviations 14, 10, 12 and 8. */
START_TEST(fingers_have_as_many_minutiae_as_prints_have)
{
    for (unsigned sensor = 0; sensor < AFIS_SYNTH_SENSORS; sensor++) {
        struct moments count = {0}, quality = {0}, bifurcations = {0};
        for (unsigned k = 0; k < SAMPLE; k++) {
            struct afis_template t;
            afis_synth_template(k, 1 + k % 10, (enum afis_synth_sensor)sensor, 0, &t);
            add(&count, t.count);
            for (unsigned i = 0; i < t.count; i++) {
                add(&quality, t.minutiae[i].quality);
                add(&bifurcations, t.minutiae[i].type == AFIS_MINUTIA_BIFURCATION);
            }
        }
        ck_assert_double_ge(count.mean, 24);
        ck_assert_double_le(count.mean, 60);
        ck_assert_double_ge(deviation(&count), 6);
        ck_assert_double_le(deviation(&count), 25);
        ck_assert_double_ge(quality.mean, 45);
        ck_assert_double_le(quality.mean, 80);
        ck_assert_double_ge(bifurcations.mean, 0.3);
        ck_assert_double_le(bifurcations.mean, 0.55);
    }
}
END_TEST

/* Whether the directions of neighbours lie along one line: by chance a third would. */
START_TEST(neighbours_lie_along_the_same_ridges)
{
    double near = 0, along = 0, far = 0, along_far = 0;
    for (unsigned k = 0; k < SAMPLE; k++) {
        struct afis_template t;
        afis_synth_template(k, 2, AFIS_SYNTH_OPTICAL, 0, &t);
        for (unsigned i = 0; i < t.count; i++) {
            for (unsigned j = 0; j < i; j++) {
                const struct afis_minutia *a = &t.minutiae[i], *b = &t.minutiae[j];
                const double d = hypot(a->x - b->x, a->y - b->y) / 16;
                const int turn = (int16_t)(uint16_t)(2 * (a->angle - b->angle)); /* mod 180 */
                const bool parallel = abs(turn) < 65536 / 6;
                near += d < 30;
                along += d < 30 && parallel;
                far += d > 120;
                along_far += d > 120 && parallel;
            }
        }
    }
    ck_assert_double_gt(along / near, 0.8);
    ck_assert_double_lt(along_far / far, 0.6);
}
END_TEST

/* Chen and Moon (2007): neither are minutiae a Poisson process, nor is their number. */
START_TEST(true_minutiae_keep_their_distance)
{
    double rings[2] = {0};
    for (unsigned k = 0; k < SAMPLE; k++) {
        struct afis_template t;
        afis_synth_template(k, 2, AFIS_SYNTH_OPTICAL, 0, &t);
        for (unsigned i = 0; i < t.count; i++) {
            for (unsigned j = 0; j < i; j++) {
                const struct afis_minutia *a = &t.minutiae[i], *b = &t.minutiae[j];
                const double d = hypot(a->x - b->x, a->y - b->y) / 16;
                if (a->quality > 60 && b->quality > 60) {
                    rings[0] += d >= 4 && d < 8;
                    rings[1] += d >= 28 && d < 32;
                }
            }
        }
    }
    const double areas[2] = {8 * 8 - 4 * 4, 32 * 32 - 28 * 28};
    ck_assert_double_lt(rings[0] / areas[0], 0.9 * rings[1] / areas[1]);
}
END_TEST

START_TEST(another_impression_matches_and_another_finger_does_not)
{
    struct afis_finger *a = afis_memory_heap.alloc(NULL, afis_finger_size());
    struct afis_finger *b = afis_memory_heap.alloc(NULL, afis_finger_size());
    struct afis_matcher *matcher = afis_memory_heap.alloc(NULL, afis_matcher_size());
    unsigned mates = 0, strangers = 0;
    for (unsigned k = 0; k < SAMPLE; k++) {
        struct afis_template t, u, v;
        const enum afis_synth_sensor sensor = (enum afis_synth_sensor)(k % AFIS_SYNTH_SENSORS);
        afis_synth_template(k, 2, sensor, 0, &t);
        afis_synth_template(k, 2, sensor, 1, &u);
        afis_synth_template(k + 1000, 2, sensor, 0, &v);
        ck_assert_int_eq(afis_finger_prepare(&t, a), AFIS_OK);
        ck_assert_int_eq(afis_finger_prepare(&u, b), AFIS_OK);
        mates += afis_compare(matcher, a, b) > 35;
        ck_assert_int_eq(afis_finger_prepare(&v, b), AFIS_OK);
        strangers += afis_compare(matcher, a, b) > 35;
    }
    ck_assert_uint_ge(mates, SAMPLE * 9 / 10);
    ck_assert_uint_eq(strangers, 0);
    afis_memory_heap.release(NULL, a, afis_finger_size());
    afis_memory_heap.release(NULL, b, afis_finger_size());
    afis_memory_heap.release(NULL, matcher, afis_matcher_size());
}
END_TEST

/* ------------------------------------------------------------------ galleries */

static void problem(void *ctx, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%s\n", text);
}

static uint32_t fill(const struct synth_population *population, uint32_t people)
{
    const struct synth_fill order = {.population = *population, .people = people, .threads = 3};
    uint32_t added = 0;
    size_t problems = 0;
    ck_assert_msg(synth_fill(gallery, &order, &added, &fault), "%s", fault.text);
    ck_assert(gallery_check(gallery, problem, NULL, &problems, &fault));
    ck_assert_uint_eq(problems, 0);
    return added;
}

/* The stored person is the one that his number alone gives. */
static void same_as_alone(const struct synth_population *population, uint32_t number)
{
    struct synth_person *made = malloc(sizeof *made);
    struct gallery_person *stored;
    synth_person_make(population, number, made);
    ck_assert(gallery_get(gallery, made->id, true, &stored, &fault));
    ck_assert_ptr_nonnull(stored);
    ck_assert_uint_eq(stored->print_count, made->person.print_count);
    ck_assert_ptr_nonnull(strstr(stored->source, "synthetic"));
    for (size_t i = 0; i < stored->print_count; i++) {
        ck_assert_uint_eq(stored->prints[i].position, made->prints[i].position);
        ck_assert_uint_eq(stored->prints[i].len, made->prints[i].len);
        ck_assert_mem_eq(stored->prints[i].packed, made->prints[i].packed, made->prints[i].len);
    }
    gallery_person_free(stored);
    free(made);
}

START_TEST(a_gallery_grows_to_the_same_people)
{
    struct gallery_counts counts;
    ck_assert_uint_eq(fill(&two_fingers, 50), 50);
    ck_assert_uint_eq(fill(&two_fingers, 2500), 2450);
    ck_assert_uint_eq(fill(&two_fingers, 100), 0); /* has them already */
    ck_assert(gallery_count(gallery, &counts, &fault));
    ck_assert_uint_eq(counts.people, 2500);
    ck_assert_uint_eq(counts.prints, 5000);
    same_as_alone(&two_fingers, 1);
    same_as_alone(&two_fingers, 51);
    same_as_alone(&two_fingers, 2500);
}
END_TEST

START_TEST(people_have_as_many_fingers_as_are_asked_for)
{
    const struct synth_population some = {
        .seed = 9, .fingers_least = 2, .fingers_most = 10, .sensor = AFIS_SYNTH_CAPACITIVE};
    struct synth_person *person = malloc(sizeof *person);
    unsigned seen = 0;
    for (uint32_t k = 1; k <= 60; k++) {
        synth_person_make(&some, k, person);
        ck_assert_uint_ge(person->person.print_count, 2);
        ck_assert_uint_le(person->person.print_count, 10);
        seen |= 1u << person->person.print_count;
        ck_assert(gallery_person_valid(&person->person, &fault));
    }
    ck_assert_uint_eq(seen, 0x7fc);
    free(person);
}
END_TEST

START_TEST(a_gallery_of_others_is_left_alone)
{
    struct synth_population other = two_fingers;
    uint32_t added;
    fill(&two_fingers, 20);
    other.seed++;
    const struct synth_fill order = {.population = other, .people = 40, .threads = 1};
    ck_assert(!synth_fill(gallery, &order, &added, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "other people"));
    ck_assert_uint_eq(added, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("synth_people");
    TCase *model = tcase_create("model"), *filled = tcase_create("galleries");
    tcase_set_timeout(model, 120);
    tcase_add_test(model, a_template_follows_from_its_seed_and_impression);
    tcase_add_test(model, every_template_can_be_packed_and_compared);
    tcase_add_test(model, fingers_have_as_many_minutiae_as_prints_have);
    tcase_add_test(model, neighbours_lie_along_the_same_ridges);
    tcase_add_test(model, true_minutiae_keep_their_distance);
    tcase_add_test(model, another_impression_matches_and_another_finger_does_not);
    suite_add_tcase(suite, model);
    tcase_add_checked_fixture(filled, setup, teardown);
    tcase_set_timeout(filled, 120);
    tcase_add_test(filled, a_gallery_grows_to_the_same_people);
    tcase_add_test(filled, people_have_as_many_fingers_as_are_asked_for);
    tcase_add_test(filled, a_gallery_of_others_is_left_alone);
    suite_add_tcase(suite, filled);
    return suite;
}

int main(void)
{
    return run_suite(suite());
}
