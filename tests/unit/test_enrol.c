/* Manifests and enrolment into a real gallery, with minutiae records as files. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "afis/an2k.h"
#include "cli/enrol/enrol.h"
#include "csv.h"
#include "data_dir.h"
#include "gallery_people.h"
#include "run_suite.h"
#include "whorl/msg.h"

static char dir[64], gallery_dir[96];
static struct gallery *gallery;
static struct whorl_fault fault;
static struct enrol_totals totals;
static char said[65536];

static void setup(void)
{
    people_mkdir(dir);
    snprintf(gallery_dir, sizeof gallery_dir, "%s/gallery", dir);
    gallery = gallery_open(gallery_dir, WHORL_STORE_WRITE, &fault);
    ck_assert_msg(gallery != NULL, "%s", fault.text);
}

static void teardown(void)
{
    gallery_close(gallery);
    people_rmdir(dir);
}

__attribute__((format(printf, 2, 3))) static void write_file(const char *name, const char *format,
                                                             ...)
{
    char path[160];
    va_list args;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    ck_assert_int_eq(fclose(file), 0);
}

static void write_record(const char *name, unsigned n, uint8_t position)
{
    struct afis_template tmpl;
    uint8_t bytes[2048];
    char path[160];
    size_t len;
    people_finger(people_seed(n, position), 0, position, &tmpl);
    ck_assert_int_eq(afis_template_to_iso(&tmpl, bytes, sizeof bytes, &len), AFIS_OK);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
}

/* A transaction with the minutiae of a person's fingers, each in two impressions. */
static void write_transaction(const char *name, unsigned n, const uint8_t *positions, size_t count)
{
    static const struct afis_an2k_header header = {"TEST", "20260101", "TO", "FROM", "1", NULL};
    struct afis_template tmpl[AFIS_AN2K_SAMPLES_MAX];
    struct afis_an2k_sample samples[AFIS_AN2K_SAMPLES_MAX];
    uint8_t *bytes;
    size_t len;
    char path[160];
    for (size_t i = 0; i < 2 * count; i++) {
        uint8_t position = positions[i % count];
        people_finger(people_seed(n, position), i < count ? 0 : 1, position, &tmpl[i]);
        samples[i] = (struct afis_an2k_sample){.tmpl = &tmpl[i], .position = position};
    }
    ck_assert_int_eq(afis_an2k_write(&header, samples, 2 * count, &afis_memory_heap, &bytes, &len),
                     AFIS_OK);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
    afis_memory_heap.release(NULL, bytes, len);
}

static void say(void *ctx, const char *text)
{
    (void)ctx;
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s\n", text);
}

static void show(void *ctx, const struct enrol_totals *so_far, double fraction)
{
    (void)ctx;
    (void)so_far;
    ck_assert(fraction >= 0 && fraction <= 1);
}

/* What was recorded before people were put: "+p1 " for somebody new, "*p1 " for a change. */
static char recorded[65536];
static bool record_fails;

static bool record(void *ctx, const struct changed_person *people, size_t count,
                   struct whorl_fault *why)
{
    (void)ctx;
    for (size_t i = 0; i < count; i++) {
        struct gallery_person *there;
        size_t used = strlen(recorded);
        ck_assert(gallery_get(gallery, people[i].id, false, &there, why));
        ck_assert(people[i].known == (there != NULL)); /* nobody new is there yet */
        gallery_person_free(there);
        ck_assert_str_ne(people[i].source, "");
        snprintf(recorded + used, sizeof recorded - used, "%c%s ", people[i].known ? '*' : '+',
                 people[i].id);
    }
    return !record_fails || whorl_fail(why, "", "the log is full");
}

/* The linker has these two stand in for the search (see meson.build). */
bool __real_enrol_duplicates_of(struct gallery *in, const struct gallery_person *person, char *text,
                                size_t cap, struct whorl_fault *why);
bool __wrap_enrol_duplicates_of(struct gallery *in, const struct gallery_person *person, char *text,
                                size_t cap, struct whorl_fault *why);
static bool search_fails;

bool __wrap_enrol_duplicates_of(struct gallery *in, const struct gallery_person *person, char *text,
                                size_t cap, struct whorl_fault *why)
{
    return search_fails ? whorl_fail(why, "", "the search failed")
                        : __real_enrol_duplicates_of(in, person, text, cap, why);
}

static const struct enrol_options usual = {
    .threads = 3, .source = "made up", .never = true, .record = record};

static void enrol(const char *name, bool find_duplicates)
{
    char path[160];
    struct enrol_options options = usual;
    options.find_duplicates = find_duplicates;
    recorded[0] = '\0';
    snprintf(path, sizeof path, "%s/%s", dir, name);
    memset(&totals, 0, sizeof totals);
    said[0] = '\0';
    struct manifest *manifest = manifest_open(path, &fault);
    ck_assert_msg(manifest != NULL, "%s: %s", fault.where, fault.text);
    ck_assert_msg(enrol_run(gallery, manifest, &options, say, show, NULL, &totals, &fault), "%s",
                  fault.text);
    manifest_close(manifest);
}

static struct gallery_person *person_of(const char *id)
{
    struct gallery_person *person;
    ck_assert(gallery_get(gallery, id, true, &person, &fault));
    ck_assert_ptr_nonnull(person);
    return person;
}

static void assert_said(const char *part)
{
    ck_assert_msg(strstr(said, part) != NULL, "\"%s\" is not in:\n%s", part, said);
}

/* ------------------------------------------------------------------ CSV */

static bool split(const char *text, char *fields[CSV_FIELDS_MAX], size_t *count)
{
    static char line[256];
    strcpy(line, text);
    return csv_split(line, strlen(text), fields, count, &fault);
}

START_TEST(csv_fields_are_unquoted)
{
    char *fields[CSV_FIELDS_MAX];
    size_t count;
    ck_assert(split("a,,\"b, \"\"c\"\"\",d\r\n", fields, &count));
    ck_assert_uint_eq(count, 4);
    ck_assert_str_eq(fields[0], "a");
    ck_assert_str_eq(fields[1], "");
    ck_assert_str_eq(fields[2], "b, \"c\"");
    ck_assert_str_eq(fields[3], "d");
    ck_assert(split("\"\",\n", fields, &count));
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(fields[0], "");
    ck_assert_str_eq(fields[1], "");
}
END_TEST

START_TEST(malformed_csv_is_refused)
{
    static const char *const bad[] = {"\"a", "\"a\"b,c", "a\"b\"", "x,\"y\" ,z"};
    char *fields[CSV_FIELDS_MAX], line[CSV_FIELDS_MAX + 2], nul[] = "a\0b";
    size_t count;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert(!split(bad[i], fields, &count));
    }
    memset(line, ',', sizeof line);
    line[CSV_FIELDS_MAX] = '\0';
    ck_assert(!csv_split(line, CSV_FIELDS_MAX, fields, &count, &fault));
    ck_assert(!csv_split(nul, 3, fields, &count, &fault));
}
END_TEST

/* ------------------------------------------------------------------ enrolling */

START_TEST(a_csv_manifest_fills_the_gallery_with_all_it_says)
{
    write_record("a.iso", 1, 2);
    write_record("b.iso", 1, 7);
    write_record("c.iso", 2, 2);
    write_file("manifest.csv",
               "person,position,impression,file,family,given,aliases,born,sex,source,expires,"
               "pncid,cro,reference,detail:marks\n"
               "p1,2,1,a.iso,DOE,Jane,ROE/J;POE,1980-02-29,female,custody,2030-01-01,"
               "08/56560Z,265416/21G,R1,\"scar, left\"\n"
               "p1,7,2,b.iso,,,,,,,,,,,\n"
               "\n"
               "p2,0,,c.iso,,,,,,,,,,,\n");
    enrol("", false);
    ck_assert_str_eq(said, "");
    ck_assert_uint_eq(totals.people_added, 2);
    ck_assert_uint_eq(totals.prints_added, 3);
    struct gallery_person *p = person_of("p1");
    ck_assert_uint_eq(p->print_count, 2);
    ck_assert_uint_eq(p->prints[1].position, 7);
    ck_assert_uint_eq(p->prints[1].impression, 2);
    ck_assert_uint_eq(p->name_count, 3);
    ck_assert_str_eq(p->names[1].family, "ROE");
    ck_assert_str_eq(p->names[1].given, "J");
    ck_assert_str_eq(p->names[2].family, "POE");
    ck_assert_str_eq(p->born, "1980-02-29");
    ck_assert_str_eq(p->identifiers[0].value, "2008/0056560Z"); /* canonical */
    ck_assert_uint_eq(p->identifier_count, 3);
    ck_assert_str_eq(p->details[0].label, "marks");
    ck_assert_str_eq(p->details[0].value, "scar, left");
    ck_assert_int_eq(p->expires, 1893456000);
    ck_assert_int_gt(p->enrolled, 1700000000);
    gallery_person_free(p);
}
END_TEST

START_TEST(a_transaction_enrols_all_its_fingers)
{
    static const uint8_t positions[] = {1, 2, 7, 10};
    write_transaction("J-42.an2", 3, positions, 4);
    enrol("J-42.an2", false);
    ck_assert_str_eq(said, "");
    ck_assert_uint_eq(totals.people_added, 1);
    ck_assert_uint_eq(totals.prints_added, 8);
    struct gallery_person *p = person_of("J-42");
    ck_assert_uint_eq(p->print_count, 8);
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_uint_eq(p->prints[i].position, positions[i % 4]);
        ck_assert_uint_eq(p->prints[i].impression, 1 + i / 4);
    }
    gallery_person_free(p);
    enrol("J-42.an2", false); /* known by their digests */
    ck_assert_uint_eq(totals.people_same, 1);
    ck_assert_uint_eq(totals.prints_added + totals.prints_replaced, 0);
}
END_TEST

START_TEST(a_manifest_takes_all_or_one_finger_of_a_transaction)
{
    static const uint8_t positions[] = {1, 2, 7};
    write_transaction("a.an2", 3, positions, 3);
    write_transaction("b.an2", 3, positions, 3);
    write_file("cut.an2", "1.001:200\x1d"
                          "1.002:0500\x1d");
    write_file("manifest.csv", "person,position,impression,file\n"
                               "p1,7,1,a.an2\n"
                               "p2,0,1,a.an2\n"
                               "p2,0,2,b.an2\n"
                               "p3,5,1,a.an2\n"
                               "p4,0,1,cut.an2\n");
    enrol("", false);
    assert_said("manifest.csv:5: a.an2: the transaction holds no right little finger");
    assert_said("manifest.csv:6: cut.an2: ANSI/NIST-ITL: record 0, at byte 0: ");
    ck_assert_uint_eq(totals.people_added, 2);
    ck_assert_uint_eq(totals.people_skipped, 2);
    struct gallery_person *p = person_of("p1");
    ck_assert_uint_eq(p->print_count, 2);
    ck_assert_uint_eq(p->prints[0].position, 7);
    gallery_person_free(p);
    p = person_of("p2"); /* none of one file takes the place of one of the other */
    ck_assert_uint_eq(p->print_count, 12);
    gallery_person_free(p);
}
END_TEST

START_TEST(a_ten_print_card_enrols_twenty_prints)
{
    size_t len;
    char path[160];
    uint8_t *card = data_read("an2k/type-14-tpcard-nqm.an2", &len);
    if (!card) {
        printf("skipped: an2k/type-14-tpcard-nqm.an2 is not in WHORL_DATA\n");
        return;
    }
    snprintf(path, sizeof path, "%s/card.an2", dir);
    FILE *file = fopen(path, "w");
    ck_assert_uint_eq(fwrite(card, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
    free(card);
    enrol("card.an2", false);
    ck_assert_str_eq(said, "");
    struct gallery_person *p = person_of("card");
    unsigned of_position[11] = {0};
    for (size_t i = 0; i < p->print_count; i++) {
        of_position[p->prints[i].position]++;
    }
    for (unsigned position = 1; position <= 10; position++) {
        ck_assert_uint_eq(of_position[position], 2); /* rolled and plain */
    }
    gallery_person_free(p);
}
END_TEST

START_TEST(json_lines_say_the_same)
{
    write_record("a.iso", 1, 2);
    write_record("b.iso", 1, 7);
    write_file("people.jsonl", "%s",
               "{\"person\":\"p1\",\"identifiers\":{\"pncid\":\"2008/0056560Z\",\"visa\":\"V1\"},"
               "\"names\":[{\"family\":\"DOE\",\"given\":\"Jane\"}],\"born\":\"1980-02-29\","
               "\"details\":[{\"label\":\"marks\",\"value\":\"scar\",\"level\":\"warning\"}],"
               "\"fingers\":[{\"position\":2,\"file\":\"a.iso\"},{\"position\":7,\"file\":"
               "\"b.iso\",\"impression\":4}]}\n");
    enrol("people.jsonl", false);
    ck_assert_str_eq(said, "");
    struct gallery_person *p = person_of("p1");
    ck_assert_uint_eq(p->print_count, 2);
    ck_assert_uint_eq(p->prints[1].impression, 4);
    ck_assert_str_eq(p->identifiers[1].key, "visa");
    ck_assert_str_eq(p->details[0].level, "warning");
    gallery_person_free(p);
}
END_TEST

START_TEST(bad_lines_and_files_are_named_and_the_rest_goes_on)
{
    write_record("a.iso", 1, 2);
    write_file("short.iso", "FMR");
    write_file("text.txt", "no finger");
    write_file("manifest.csv",
               "person,position,file,born,pncid,expires\n"
               "p1,11,a.iso,,,\n"             /* 2 */
               "p2,2,missing.iso,,,\n"        /* 3 */
               "p3,2,a.iso,1980-02-30,,\n"    /* 4 */
               "p4,2,a.iso,,2003/0011985Z,\n" /* 5 */
               "p5,2,short.iso,,,\n"          /* 6 */
               "p6,2,text.txt,,,\n"           /* 7 */
               "p7,2\n"                       /* 8 */
               "p8,x,a.iso,,,\n"              /* 9 */
               ",2,a.iso,,,\n"                /* 10 */
               "good,2,a.iso,,,\n"            /* 11 */
               "good,2,a.iso,,,\n"            /* 12: the same place again */
               "good,7,a.iso,1990-01-01,,\n"  /* 13: says something else of the person */
               "p9,2,a\x1b[2J.iso,,,\n"       /* 14: would clear a terminal */
               "p10,2,a.iso,,,2030- 1-01\n"   /* 15: a blank */
               "p11,2,a.iso,,,2030-02-30\n" /* 16 */);
    enrol("manifest.csv", false);
    assert_said("manifest.csv:2: position: ");
    assert_said("manifest.csv:3: missing.iso: ");
    assert_said("manifest.csv:4: born: ");
    assert_said("manifest.csv:5: pncid: ");
    assert_said("manifest.csv:6: short.iso: ");
    assert_said("manifest.csv:7: text.txt: ");
    assert_said("manifest.csv:8: has 2 fields");
    assert_said("manifest.csv:9: position: ");
    assert_said("manifest.csv:10: person: ");
    assert_said("manifest.csv:12: impression: ");
    assert_said("manifest.csv:13: born: differs from line 11");
    assert_said("manifest.csv:14: file: must be UTF-8");
    assert_said("manifest.csv:15: expires: must be a date");
    assert_said("manifest.csv:16: expires: must be a date");
    ck_assert_uint_eq(totals.people_added, 1);
    ck_assert_uint_eq(totals.bad_files, 3);
    ck_assert_uint_eq(totals.people_skipped, 3);
    ck_assert_uint_eq(totals.bad_lines, 11);
    gallery_person_free(person_of("good"));
}
END_TEST

START_TEST(bad_json_lines_are_named)
{
    write_record("a.iso", 1, 2);
    write_file("m.jsonl", "%s",
               "{\"person\":\"p\",\n"
               "{\"person\":\"p\",\"fingers\":[]}\n"
               "{\"person\":\"p\",\"fingers\":[{\"position\":2,\"file\":\"a.iso\",\"dip\":1}]}\n"
               "{\"person\":\"p\",\"colour\":1,\"fingers\":[{\"position\":2,\"file\":\"a.iso\"}]}\n"
               "{\"person\":\"p\",\"fingers\":[{\"position\":2,\"file\":\"a.iso\"}]}\n");
    enrol("m.jsonl", false);
    assert_said("m.jsonl:1: column");
    assert_said("m.jsonl:2: fingers: ");
    assert_said("m.jsonl:3: fingers: there is no field \"dip\"");
    assert_said("m.jsonl:4: there is no field \"colour\"");
    ck_assert_uint_eq(totals.bad_lines, 4);
    ck_assert_uint_eq(totals.people_added, 1);
}
END_TEST

START_TEST(enrolling_again_changes_nothing_and_new_content_is_reported)
{
    write_record("a.iso", 1, 2);
    write_record("b.iso", 1, 7);
    write_file("manifest.csv", "person,position,file,family\np1,2,a.iso,DOE\np1,7,b.iso,\n");
    enrol("manifest.csv", false);
    ck_assert_uint_eq(totals.people_added, 1);
    enrol("manifest.csv", false);
    ck_assert_uint_eq(totals.people_same, 1);
    ck_assert_uint_eq(totals.people_added + totals.people_changed, 0);
    write_record("a.iso", 5, 2);
    write_record("d.iso", 1, 3);
    write_file("more.csv", "person,position,file\np1,2,a.iso\np1,3,d.iso\n");
    enrol("more.csv", false);
    ck_assert_uint_eq(totals.people_changed, 1);
    ck_assert_uint_eq(totals.prints_replaced, 1);
    ck_assert_uint_eq(totals.prints_added, 1);
    assert_said("more.csv:2: person p1: 1 prints replaced");
    struct gallery_person *p = person_of("p1");
    ck_assert_uint_eq(p->print_count, 3); /* finger 7 stays */
    ck_assert_str_eq(p->names[0].family, "DOE");
    gallery_person_free(p);
}
END_TEST

START_TEST(who_is_enrolled_or_changed_is_recorded_first_and_who_stays_as_before_is_not)
{
    write_record("a.iso", 1, 2);
    write_record("b.iso", 2, 2);
    write_file("one.csv", "person,position,file,source\np1,2,a.iso,custody\np2,2,b.iso,\n");
    write_file("two.csv", "person,position,file,sex\np1,2,a.iso,female\np2,2,b.iso,\n");
    enrol("one.csv", false);
    ck_assert_ptr_nonnull(strstr(recorded, "+p1 "));
    ck_assert_ptr_nonnull(strstr(recorded, "+p2 "));
    enrol("two.csv", false);
    ck_assert_str_eq(recorded, "*p1 ");
    enrol("two.csv", false);
    ck_assert_str_eq(recorded, "");
}
END_TEST

START_TEST(nobody_is_enrolled_who_could_not_be_recorded)
{
    char path[160];
    struct gallery_person *person;
    write_record("a.iso", 1, 2);
    write_file("one.csv", "person,position,file\np1,2,a.iso\n");
    snprintf(path, sizeof path, "%s/one.csv", dir);
    struct manifest *manifest = manifest_open(path, &fault);
    memset(&totals, 0, sizeof totals);
    recorded[0] = '\0';
    record_fails = true;
    ck_assert(!enrol_run(gallery, manifest, &usual, say, show, NULL, &totals, &fault));
    record_fails = false;
    manifest_close(manifest);
    ck_assert_str_eq(fault.text, "the log is full");
    ck_assert_str_eq(recorded, "+p1 ");
    ck_assert_uint_eq(totals.people_added, 0);
    ck_assert(gallery_get(gallery, "p1", false, &person, &fault));
    ck_assert_ptr_null(person);
}
END_TEST

START_TEST(rows_of_a_person_that_stand_apart_are_brought_together)
{
    write_record("a.iso", 1, 2);
    write_record("b.iso", 2, 2);
    write_record("c.iso", 1, 7);
    write_file("manifest.csv", "person,position,file\np1,2,a.iso\np2,2,b.iso\np1,7,c.iso\n");
    enrol("manifest.csv", false);
    struct gallery_person *p = person_of("p1");
    ck_assert_uint_eq(p->print_count, 2);
    gallery_person_free(p);
}
END_TEST

START_TEST(many_people_fill_several_transactions)
{
    enum { PEOPLE = 700 };
    char path[160];
    write_record("a.iso", 1, 2);
    snprintf(path, sizeof path, "%s/many.csv", dir);
    FILE *file = fopen(path, "w");
    fputs("person,position,file\n", file);
    for (int i = 0; i < PEOPLE; i++) {
        fprintf(file, "q%d,2,a.iso\n", i);
    }
    ck_assert_int_eq(fclose(file), 0);
    enrol("many.csv", false);
    ck_assert_uint_eq(totals.people_added, PEOPLE);
    struct gallery_counts counts;
    ck_assert(gallery_count(gallery, &counts, &fault));
    ck_assert_uint_eq(counts.people, PEOPLE);
}
END_TEST

START_TEST(the_same_fingers_under_two_ids_are_found)
{
    write_record("a.iso", 1, 2);
    write_record("b.iso", 2, 2);
    write_file("manifest.csv", "person,position,file\np1,2,a.iso\np2,2,b.iso\n");
    enrol("manifest.csv", true);
    ck_assert_uint_eq(totals.duplicates, 0);
    write_file("again.csv", "person,position,file\nother,2,a.iso\n");
    enrol("again.csv", true);
    ck_assert_uint_eq(totals.duplicates, 1);
    assert_said("person other has the fingers of p1");
}
END_TEST

START_TEST(who_is_in_the_gallery_is_counted_when_a_search_for_duplicates_fails)
{
    char path[160];
    struct gallery_counts counts;
    struct enrol_options options = usual;
    options.find_duplicates = true;
    write_record("a.iso", 1, 2);
    write_record("b.iso", 2, 2);
    write_record("c.iso", 3, 2);
    write_file("manifest.csv", "person,position,file\np1,2,a.iso\np2,2,b.iso\np3,2,c.iso\n");
    snprintf(path, sizeof path, "%s/manifest.csv", dir);
    struct manifest *manifest = manifest_open(path, &fault);
    memset(&totals, 0, sizeof totals);
    search_fails = true;
    ck_assert(!enrol_run(gallery, manifest, &options, say, show, NULL, &totals, &fault));
    search_fails = false;
    manifest_close(manifest);
    ck_assert_str_eq(fault.text, "the search failed");
    ck_assert(gallery_count(gallery, &counts, &fault));
    ck_assert_uint_ge(counts.people, 1);
    ck_assert_uint_eq(totals.people_added, counts.people);
    ck_assert_uint_eq(totals.prints_added, counts.prints);
}
END_TEST

START_TEST(a_header_must_be_sound)
{
    static const char *const headers[] = {"person,position\n", "person,position,file,file\n",
                                          "person,position,file,colour\n", "\"person\n", ""};
    static const char *const says[] = {"file is missing", "twice", "colour", "quote", "empty"};
    for (size_t i = 0; i < 5; i++) {
        char path[160];
        write_file("m.csv", "%s", headers[i]);
        snprintf(path, sizeof path, "%s/m.csv", dir);
        ck_assert_ptr_null(manifest_open(path, &fault));
        ck_assert_msg(strstr(fault.text, says[i]) != NULL, "%s", fault.text);
    }
    ck_assert_ptr_null(manifest_open("/nonexistent.csv", &fault));
    ck_assert_ptr_null(manifest_open(gallery_dir, &fault));
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("enrol");
    TCase *tcase = tcase_create("enrol");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, csv_fields_are_unquoted);
    tcase_add_test(tcase, malformed_csv_is_refused);
    tcase_add_test(tcase, a_csv_manifest_fills_the_gallery_with_all_it_says);
    tcase_add_test(tcase, a_transaction_enrols_all_its_fingers);
    tcase_add_test(tcase, a_manifest_takes_all_or_one_finger_of_a_transaction);
    tcase_add_test(tcase, a_ten_print_card_enrols_twenty_prints);
    tcase_add_test(tcase, json_lines_say_the_same);
    tcase_add_test(tcase, bad_lines_and_files_are_named_and_the_rest_goes_on);
    tcase_add_test(tcase, bad_json_lines_are_named);
    tcase_add_test(tcase, enrolling_again_changes_nothing_and_new_content_is_reported);
    tcase_add_test(tcase,
                   who_is_enrolled_or_changed_is_recorded_first_and_who_stays_as_before_is_not);
    tcase_add_test(tcase, nobody_is_enrolled_who_could_not_be_recorded);
    tcase_add_test(tcase, rows_of_a_person_that_stand_apart_are_brought_together);
    tcase_add_test(tcase, many_people_fill_several_transactions);
    tcase_add_test(tcase, the_same_fingers_under_two_ids_are_found);
    tcase_add_test(tcase, who_is_in_the_gallery_is_counted_when_a_search_for_duplicates_fails);
    tcase_add_test(tcase, a_header_must_be_sound);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return run_suite(suite());
}
