/* PNC identifiers and CRO numbers: the published examples, and that every slip of a pen is seen. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/pnc/identifiers.h"
#include "run_suite.h"

#define YEAR 2026
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static char id[PNC_ID_CAP];
static struct whorl_fault fault;

static const struct {
    const char *text, *canonical;
} pncids[] = {
    {"2008/0056560Z", "2008/0056560Z"}, {"79/163001B", "1979/0163001B"},
    {"1979/0163001B", "1979/0163001B"}, {"03/3Y", "2003/0000003Y"},
    {"2003/0000003Y", "2003/0000003Y"}, {"1981/0154257C", "1981/0154257C"},
    {"20080056560Z", "2008/0056560Z"},  {"79163001B", "1979/0163001B"},
    {"033Y", "2003/0000003Y"},          {"2008/0056560z", "2008/0056560Z"},
    {"1979/163001b", "1979/0163001B"},  {"2003/3Y", "2003/0000003Y"},
};

static const struct {
    const char *text, *canonical;
} cros[] = {
    {"265416/21G", "265416/21G"},     {"65656/91H", "065656/91H"},
    {"065656/91H", "065656/91H"},     {"SF05/482703J", "SF05/482703J"},
    {"sf05/482703j", "SF05/482703J"}, {"65656/91h", "065656/91H"},
};

START_TEST(published_pncids_are_read_into_canonical_form)
{
    for (size_t i = 0; i < COUNT_OF(pncids); i++) {
        ck_assert_msg(pnc_pncid_read(pncids[i].text, YEAR, id, &fault), "%s: %s", pncids[i].text,
                      fault.text);
        ck_assert_str_eq(id, pncids[i].canonical);
    }
}
END_TEST

START_TEST(published_cro_numbers_are_read_into_canonical_form)
{
    for (size_t i = 0; i < COUNT_OF(cros); i++) {
        ck_assert_msg(pnc_cro_read(cros[i].text, id, &fault), "%s: %s", cros[i].text, fault.text);
        ck_assert_str_eq(id, cros[i].canonical);
    }
}
END_TEST

START_TEST(published_bad_ones_are_refused)
{
    static const char *const bad[] = {"2003/0011985Z", "2001/0171310S"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        ck_assert(!pnc_pncid_read(bad[i], YEAR, id, &fault));
        ck_assert_ptr_nonnull(strstr(fault.text, "check letter"));
        ck_assert_str_eq(id, "");
    }
    ck_assert(!pnc_cro_read("85227/65G", id, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "check letter"));
    ck_assert_str_eq(id, "");
}
END_TEST

START_TEST(a_two_digit_year_is_of_this_century_up_to_this_year)
{
    /* The letter depends on the last two digits only. */
    ck_assert(pnc_pncid_read("03/3Y", 2003, id, &fault));
    ck_assert_str_eq(id, "2003/0000003Y");
    ck_assert(pnc_pncid_read("03/3Y", 2002, id, &fault));
    ck_assert_str_eq(id, "1903/0000003Y");
    ck_assert(pnc_pncid_read("79/163001B", 2078, id, &fault));
    ck_assert_str_eq(id, "1979/0163001B");
    ck_assert(pnc_pncid_read("79/163001B", 2079, id, &fault));
    ck_assert_str_eq(id, "2079/0163001B");
}
END_TEST

START_TEST(a_year_to_come_or_before_1900_is_refused)
{
    ck_assert(!pnc_pncid_read("2008/0056560Z", 2007, id, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "1900 to 2007"));
    ck_assert(!pnc_pncid_read("1808/0056560Z", 2007, id, &fault));
}
END_TEST

START_TEST(other_forms_are_refused)
{
    static const char *const bad[] = {"",
                                      "/",
                                      "Z",
                                      "2008",
                                      "2008/",
                                      "2008/Z",
                                      "2008/00565600Z",
                                      "200/56560Z",
                                      "2/56560Z",
                                      "2008//56560Z",
                                      "2008/0056560",
                                      "2008/0056560ZZ",
                                      " 2008/0056560Z",
                                      "2008/0056560Z ",
                                      "2008-0056560Z",
                                      "2008/005 560Z",
                                      "2008/0056560\xc3\x96",
                                      "2008/-056560Z",
                                      "99999999999999999999999Z",
                                      "2008005656Z",
                                      "2008/0056560Z/"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        ck_assert_msg(!pnc_pncid_read(bad[i], YEAR, id, &fault), "%s", bad[i]);
        ck_assert_msg(!pnc_cro_read(bad[i], id, &fault), "%s", bad[i]);
    }
    static const char *const bad_cros[] = {
        "265416/2021G", "265416/2G", "2654161/21G",   "SF5/482703J", "SF05482703J", "SF05/J",
        "S05/482703J",  "265416/21", "SF05/4827031J", "26541621G",   "SF",          "SF05/"};
    for (size_t i = 0; i < COUNT_OF(bad_cros); i++) {
        ck_assert_msg(!pnc_cro_read(bad_cros[i], id, &fault), "%s", bad_cros[i]);
    }
}
END_TEST

START_TEST(one_wrong_digit_is_always_seen)
{
    /* 23 is prime and no digit's weight is a multiple of it. */
    for (size_t i = 0; i < COUNT_OF(pncids); i++) {
        char text[32];
        for (size_t at = 0; at < strlen(pncids[i].canonical) - 1; at++) {
            for (char digit = '0'; digit <= '9'; digit++) {
                strcpy(text, pncids[i].canonical);
                if (at < 2 || text[at] == '/' || text[at] == digit) {
                    continue; /* the century is not part of the letter */
                }
                text[at] = digit;
                ck_assert_msg(!pnc_pncid_read(text, 2099, id, &fault), "%s", text);
            }
        }
    }
}
END_TEST

START_TEST(exactly_one_letter_fits_and_never_i_o_or_s)
{
    for (unsigned n = 0; n < 2000; n++) {
        unsigned fitting = 0;
        for (char letter = 'A'; letter <= 'Z'; letter++) {
            char text[32];
            snprintf(text, sizeof(text), "%02u/%u%c", n % 27, n * 4999 % 10000000, letter);
            if (pnc_pncid_read(text, YEAR, id, &fault)) {
                char again[PNC_ID_CAP];
                fitting++;
                ck_assert(strchr("IOS", letter) == NULL);
                ck_assert(pnc_pncid_read(id, YEAR, again, &fault));
                ck_assert_str_eq(id, again);
            }
        }
        ck_assert_uint_eq(fitting, 1);
    }
}
END_TEST

START_TEST(a_fault_never_repeats_the_identifier)
{
    ck_assert(!pnc_pncid_read("2003/0011985Z", YEAR, id, &fault));
    ck_assert_ptr_null(strstr(fault.text, "11985"));
    ck_assert(!pnc_cro_read("85227/65G", id, &fault));
    ck_assert_ptr_null(strstr(fault.text, "85227"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("identifiers");
    TCase *tests = tcase_create("identifiers");
    tcase_add_test(tests, published_pncids_are_read_into_canonical_form);
    tcase_add_test(tests, published_cro_numbers_are_read_into_canonical_form);
    tcase_add_test(tests, published_bad_ones_are_refused);
    tcase_add_test(tests, a_two_digit_year_is_of_this_century_up_to_this_year);
    tcase_add_test(tests, a_year_to_come_or_before_1900_is_refused);
    tcase_add_test(tests, other_forms_are_refused);
    tcase_add_test(tests, one_wrong_digit_is_always_seen);
    tcase_add_test(tests, exactly_one_letter_fits_and_never_i_o_or_s);
    tcase_add_test(tests, a_fault_never_repeats_the_identifier);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
