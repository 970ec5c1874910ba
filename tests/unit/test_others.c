/* What other systems say: rosters, identities and positions. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report/others.h"
#include "report/period.h"
#include "run_suite.h"

#define HOUR INT64_C(3600000)

static char path[] = "/tmp/whorl-others-XXXXXX";
static struct names known;
static struct others others;
static struct whorl_fault fault;

static void put(const char *text)
{
    FILE *out = fopen(path, "w");
    ck_assert_ptr_nonnull(out);
    ck_assert_int_ge(fputs(text, out), 0);
    ck_assert_int_eq(fclose(out), 0);
}

static void set_up(void)
{
    static const char *const names[] = {"A1", "B2", "ident1/K7"};
    period_use_uk_time();
    strcpy(path + strlen(path) - 6, "XXXXXX");
    ck_assert_int_ge(close(mkstemp(path)), 0);
    known = (struct names){.most = 10};
    for (size_t i = 0; i < 3; i++) {
        names_add(&known, names[i], strlen(names[i]));
    }
    others = (struct others){0};
}

static void tear_down(void)
{
    unlink(path);
    others_release(&others);
    names_release(&known);
}

static void refused(const char *text, const char *where, const char *why)
{
    char expected[300];
    put(text);
    ck_assert(!others_roster(&others, path, &known, &fault));
    snprintf(expected, sizeof expected, "%s%s", path, where);
    ck_assert_str_eq(fault.where, expected);
    ck_assert_msg(strstr(fault.text, why) != NULL, "%s", fault.text);
}

START_TEST(a_roster_is_sorted_and_others_officers_are_left_out)
{
    int64_t away;
    put("officer,from,until,duty\n"
        "B2,2026-11-03T23:00,2026-11-04T07:00,night\n"
        "ZZ,2026-11-03T07:00,2026-11-03T15:00,early\n"
        "A1,2026-11-05T07:00,2026-11-05T15:00,early\r\n"
        "A1,2026-11-04T07:00,2026-11-04T15:00,\"early, town\"\n");
    ck_assert(others_roster(&others, path, &known, &fault));
    ck_assert_uint_eq(others.duty_count, 3);
    ck_assert_uint_eq(others_duties_of(&others, 1), 2);
    ck_assert_str_eq(others.labels.texts[others.duties[0].label], "early, town");
    const struct duty *duty =
        others_nearest(&others, 0, 2, others.duties[0].until + 2 * HOUR, &away);
    ck_assert_ptr_eq(duty, &others.duties[0]);
    ck_assert_int_eq(away, 2 * HOUR + 1);
    ck_assert_ptr_eq(others_nearest(&others, 0, 2, others.duties[1].from, &away),
                     &others.duties[1]);
    ck_assert_int_eq(away, 0);
    ck_assert_ptr_null(others_nearest(&others, 3, 3, 0, &away));
}
END_TEST

START_TEST(times_are_those_of_the_clock_on_the_wall)
{
    int64_t utc;
    put("officer,from,until,duty\n"
        "A1,2026-07-01T07:00,2026-07-01T15:00,early\n"   /* 06:00 UTC */
        "A1,2026-10-25T00:30,2026-10-25T08:30,night\n"   /* the clocks go back in it */
        "A1,2026-03-29T00:30,2026-03-29T08:30,night\n"); /* and forward */
    ck_assert(others_roster(&others, path, &known, &fault));
    ck_assert(period_read_time("2026-03-29T00:30:00.000Z", &utc));
    ck_assert_int_eq(others.duties[0].from, utc);
    ck_assert_int_eq(others.duties[0].until - utc, 7 * HOUR);
    ck_assert(period_read_time("2026-07-01T06:00:00.000Z", &utc));
    ck_assert_int_eq(others.duties[1].from, utc);
    ck_assert(period_read_time("2026-10-24T23:30:00.000Z", &utc));
    ck_assert_int_eq(others.duties[2].from, utc);
    ck_assert_int_eq(others.duties[2].until - utc, 9 * HOUR);
}
END_TEST

START_TEST(a_bad_roster_is_refused_by_file_and_line)
{
    refused("", "", "is empty");
    refused("officer,from,until\n", ":1", "expected the header");
    refused("officer,from,until,duty,duty2\n", ":1", "expected the header");
    refused("officer,from,until,duty\nA1,2026-11-03T07:00,2026-11-03T15:00\n", ":2", "4 fields");
    refused("officer,from,until,duty\nA1,2026-11-03 07:00,2026-11-03T15:00,early\n", ":2",
            "YYYY-MM-DDTHH:MM");
    refused("officer,from,until,duty\nA1,2026-11-31T07:00,2026-12-01T15:00,early\n", ":2",
            "YYYY-MM-DDTHH:MM");
    refused("officer,from,until,duty\nA1,2026-11-03T24:00,2026-11-04T15:00,early\n", ":2",
            "YYYY-MM-DDTHH:MM");
    refused("officer,from,until,duty\nA1,2026-11-03T07:00,2026-11-03T07:00,early\n", ":2",
            "ends after");
    refused("officer,from,until,duty\nA1,2026-11-03T07:00,2026-11-08T07:00,early\n", ":2",
            "48 hours");
    refused("officer,from,until,duty\nA1,2026-11-03T07:00,2026-11-03T15:00,a\x1b[31m\n", ":2",
            "no clean text");
    refused("officer,from,until,duty\nA1,,2026-11-03T15:00,early\n", ":2", "empty");
}
END_TEST

START_TEST(of_identities_only_those_that_were_found_are_kept)
{
    put("officer,backend,reference\nA1,ident1,K7\nB2,ident1,K8\nB2,immigration,K7\n");
    ck_assert(others_identities(&others, path, &known, &fault));
    ck_assert_uint_eq(others.identity_count, 1);
    ck_assert_uint_eq(others.identities[0].reference, 2);
    ck_assert_str_eq(others.staff.texts[others.identities[0].owner], "A1");
}
END_TEST

START_TEST(a_device_is_where_its_last_line_says)
{
    put("device,from,latitude,longitude\n"
        "A1,2026-11-03T18:00,52.5,-1.9\n"
        "A1,2026-11-01T00:00,51.5074,-0.1278\n"
        "B2,2026-11-01T00:00,48.8566,2.3522\n");
    ck_assert(others_positions(&others, path, &known, &fault));
    const struct position *a = others_where(&others, 0, period_day_start(2026, 11, 2));
    const struct position *b = others_where(&others, 1, period_day_start(2026, 11, 30));
    ck_assert_double_eq(a->latitude, 51.5074);
    ck_assert_double_eq(others_where(&others, 0, period_day_start(2026, 11, 4))->latitude, 52.5);
    ck_assert_ptr_null(others_where(&others, 0, period_day_start(2026, 10, 31)));
    ck_assert_ptr_null(others_where(&others, 2, period_day_start(2026, 11, 30)));
    ck_assert_double_lt(fabs(others_km(a, b) - 343.6), 0.5); /* London to Paris */
    put("device,from,latitude,longitude\nA1,2026-11-03T18:00,91,0\n");
    ck_assert(!others_positions(&others, path, &known, &fault));
    put("device,from,latitude,longitude\nA1,2026-11-03T18:00,nan,0\n");
    ck_assert(!others_positions(&others, path, &known, &fault));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("others");
    TCase *tcase = tcase_create("others");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_roster_is_sorted_and_others_officers_are_left_out);
    tcase_add_test(tcase, times_are_those_of_the_clock_on_the_wall);
    tcase_add_test(tcase, a_bad_roster_is_refused_by_file_and_line);
    tcase_add_test(tcase, of_identities_only_those_that_were_found_are_kept);
    tcase_add_test(tcase, a_device_is_where_its_last_line_says);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
