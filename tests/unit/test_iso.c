/* Minutiae records of ISO/IEC 19794-2:2005 and ANSI INCITS 378-2004. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "afis/template.h"
#include "data_dir.h"
#include "run_suite.h"

typedef enum afis_status (*write_fn)(const struct afis_template *tmpl, uint8_t *bytes, size_t cap,
                                     size_t *len);

static const struct {
    write_fn write;
    unsigned angles; /* units of a full turn */
} forms[] = {{afis_template_to_iso, 256}, {afis_template_to_ansi378, 180}};
#define FORMS (sizeof forms / sizeof *forms)

static uint32_t random_state;

static unsigned draw(unsigned below)
{
    random_state = random_state * 1664525 + 1013904223;
    return (unsigned)((uint64_t)random_state * below >> 32);
}

/* A template that the standard can hold without loss: whole pixels, whole units of angle. */
static void make_template(uint32_t seed, unsigned count, unsigned angles,
                          struct afis_template *tmpl)
{
    random_state = seed;
    *tmpl = (struct afis_template){.width = (uint16_t)(100 + draw(1500)),
                                   .height = (uint16_t)(100 + draw(1500)),
                                   .position = (uint8_t)draw(11),
                                   .quality = (uint8_t)draw(101),
                                   .count = (uint16_t)count};
    for (unsigned i = 0; i < count; i++) {
        uint32_t unit = draw(angles);
        tmpl->minutiae[i] = (struct afis_minutia){
            .x = (int16_t)(draw(tmpl->width) * 16),
            .y = (int16_t)(draw(tmpl->height) * 16),
            .angle = (uint16_t)((unit * 65536 + angles / 2) / angles),
            .type = (uint8_t)draw(3),
            .quality = (uint8_t)draw(101),
        };
    }
}

START_TEST(template_is_read_back_exactly_and_written_to_the_same_bytes)
{
    for (uint32_t seed = 1; seed <= 200; seed++) {
        struct afis_template tmpl, again;
        uint8_t bytes[AFIS_RECORD_MAX], copy[AFIS_RECORD_MAX];
        size_t len, copy_len;
        make_template(seed, seed == 1 ? 0 : seed == 2 ? 255 : draw(256), forms[_i].angles, &tmpl);
        ck_assert_int_eq(forms[_i].write(&tmpl, bytes, sizeof bytes, &len), AFIS_OK);
        ck_assert_uint_eq(afis_template_views(bytes, len), 1);
        ck_assert_int_eq(afis_template_from_iso(bytes, len, 0, &again), AFIS_OK);
        ck_assert_mem_eq(&tmpl, &again, sizeof tmpl);
        ck_assert_int_eq(forms[_i].write(&again, copy, sizeof copy, &copy_len), AFIS_OK);
        ck_assert_uint_eq(len, copy_len);
        ck_assert_mem_eq(bytes, copy, len);
    }
}
END_TEST

START_TEST(every_truncation_and_every_cap_is_refused)
{
    struct afis_template tmpl, out;
    uint8_t bytes[AFIS_RECORD_MAX];
    size_t len, unused;
    make_template(7, 20, forms[_i].angles, &tmpl);
    ck_assert_int_eq(forms[_i].write(&tmpl, bytes, sizeof bytes, &len), AFIS_OK);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, bytes, cut);
        ck_assert_int_eq(afis_template_from_iso(copy, cut, 0, &out), AFIS_BAD_FORMAT);
        ck_assert_int_eq(forms[_i].write(&tmpl, copy, cut, &unused), AFIS_TOO_LARGE);
        free(copy);
    }
}
END_TEST

START_TEST(angle_of_each_unit_survives_the_other_standard_within_half_a_unit)
{
    struct afis_template tmpl = {.width = 10, .height = 10, .count = 1};
    for (unsigned angle = 0; angle < 65536; angle++) {
        struct afis_template again;
        uint8_t bytes[AFIS_RECORD_MAX];
        size_t len;
        tmpl.minutiae[0].angle = (uint16_t)angle;
        ck_assert_int_eq(forms[_i].write(&tmpl, bytes, sizeof bytes, &len), AFIS_OK);
        ck_assert_int_eq(afis_template_from_iso(bytes, len, 0, &again), AFIS_OK);
        int off = (int16_t)(uint16_t)(again.minutiae[0].angle - angle);
        ck_assert_int_le(abs(off), 65536 / 2 / (int)forms[_i].angles + 1);
    }
}
END_TEST

/* Views, minutiae and how many extended bytes there are: of NIST's conformance samples. */
static void check_sample(const char *path, write_fn write)
{
    size_t len;
    uint8_t *bytes = data_read(path, &len);
    if (!bytes) {
        printf("skipped: %s is not in WHORL_DATA\n", path);
        return;
    }
    unsigned views = afis_template_views(bytes, len);
    ck_assert_uint_gt(views, 0);
    for (unsigned view = 0; view < views; view++) {
        struct afis_template tmpl, again;
        uint8_t ours[AFIS_RECORD_MAX];
        size_t ours_len;
        ck_assert_int_eq(afis_template_from_iso(bytes, len, view, &tmpl), AFIS_OK);
        ck_assert_uint_gt(tmpl.count, 0);
        ck_assert_int_eq(write(&tmpl, ours, sizeof ours, &ours_len), AFIS_OK);
        ck_assert_int_eq(afis_template_from_iso(ours, ours_len, 0, &again), AFIS_OK);
        ck_assert_mem_eq(&tmpl, &again, sizeof tmpl);
    }
    struct afis_template none;
    ck_assert_int_eq(afis_template_from_iso(bytes, len, views, &none), AFIS_BAD_FORMAT);
    free(bytes);
}

START_TEST(conformance_samples_round_trip_exactly)
{
    check_sample("iso19794-2/fmr.iso2005", afis_template_to_iso);
    check_sample("iso19794-2/fmr.ansi2004", afis_template_to_ansi378);
    check_sample("iso19794-2/fvc2002/DB1_B/101_1.iso", afis_template_to_iso);
    check_sample("iso19794-2/fvc2002/DB3_B/104_5.iso", afis_template_to_iso);
}
END_TEST

START_TEST(later_version_is_named_unsupported)
{
    size_t len;
    uint8_t *bytes = data_read("iso19794-2/fmr.ansi2007", &len);
    if (!bytes) {
        printf("skipped: iso19794-2/fmr.ansi2007 is not in WHORL_DATA\n");
        return;
    }
    struct afis_template tmpl;
    ck_assert_int_eq(afis_template_from_iso(bytes, len, 0, &tmpl), AFIS_UNSUPPORTED);
    free(bytes);
}
END_TEST

/* --- what stays --- */

enum { STACK = 256 << 10 };
static struct {
    uint8_t bytes[AFIS_RECORD_MAX];
    size_t len;
    struct afis_template out;
    enum afis_status status;
} reading;

static void *read_it(void *arg)
{
    (void)arg;
    reading.status = afis_template_from_iso(reading.bytes, reading.len, 0, &reading.out);
    return NULL;
}

/* A probe's minutiae, four together, on the stack of the thread that read them. */
START_TEST(nothing_of_a_record_stays_on_the_stack)
{
    struct afis_template tmpl;
    pthread_attr_t attr;
    pthread_t thread;
    uint8_t *stack = aligned_alloc(4096, STACK);
    make_template(7, 60, 256, &tmpl);
    ck_assert_int_eq(afis_template_to_iso(&tmpl, reading.bytes, sizeof reading.bytes, &reading.len),
                     AFIS_OK);
    if (_i == 1) { /* damaged behind the minutiae */
        reading.bytes[--reading.len] = 9;
        reading.bytes[11]--;
    }
    memset(stack, 0, STACK);
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstack(&attr, stack, STACK), 0);
    ck_assert_int_eq(pthread_create(&thread, &attr, read_it, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(reading.status, _i == 0 ? AFIS_OK : AFIS_BAD_FORMAT);
    for (unsigned i = 0; i + 4 <= tmpl.count; i++) {
        ck_assert_ptr_null(memmem(stack, STACK, &tmpl.minutiae[i], 4 * sizeof tmpl.minutiae[i]));
    }
    pthread_attr_destroy(&attr);
    free(stack);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("iso");
    TCase *tc = tcase_create("records");
    tcase_add_loop_test(tc, template_is_read_back_exactly_and_written_to_the_same_bytes, 0, FORMS);
    tcase_add_loop_test(tc, every_truncation_and_every_cap_is_refused, 0, FORMS);
    tcase_add_loop_test(tc, angle_of_each_unit_survives_the_other_standard_within_half_a_unit, 0,
                        FORMS);
    tcase_add_test(tc, conformance_samples_round_trip_exactly);
    tcase_add_test(tc, later_version_is_named_unsupported);
    tcase_add_loop_test(tc, nothing_of_a_record_stays_on_the_stack, 0, 2);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
