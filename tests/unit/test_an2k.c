/* ANSI/NIST-ITL transactions: written and read back, NIST's reference files, hostile ones. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "afis/an2k.h"
#include "afis/match.h"
#include "an2k_file.h"
#include "data_dir.h"
#include "run_suite.h"

static struct an2k_file file;
static struct afis_an2k an2k;
static struct afis_an2k_fault fault;

/* Reads an exact copy, so that a sanitizer sees the first byte read past the end. */
static enum afis_status read_copy(const uint8_t *bytes, size_t len)
{
    static uint8_t *copy;
    free(copy);
    copy = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, len);
    return afis_an2k_read(copy, len, &an2k, &fault);
}

static void read_file(void)
{
    enum afis_status status = read_copy(file.bytes, file.len);
    ck_assert_msg(status == AFIS_OK, "%s", fault.what);
}

/* What each_finger found. */
#define FOUND_MAX 40
static struct afis_an2k_finger found[FOUND_MAX];
static struct afis_template templates[FOUND_MAX]; /* of those with minutiae, or extracted */
static unsigned found_count;
static bool extracting;

static bool keep(void *ctx, const struct afis_an2k_finger *finger)
{
    (void)ctx;
    ck_assert_uint_lt(found_count, FOUND_MAX);
    found[found_count] = *finger;
    if (finger->status != AFIS_OK) {
        ck_assert_uint_gt(strlen(finger->what), 0);
    } else {
        ck_assert_int_ne(finger->image != NULL, finger->tmpl != NULL);
    }
    if (finger->tmpl || (finger->image && extracting)) {
        ck_assert_int_eq(afis_an2k_minutiae(finger, &afis_memory_heap, &templates[found_count]),
                         AFIS_OK);
        ck_assert_uint_eq(templates[found_count].position, finger->position);
    }
    found_count++;
    return true;
}

static void find_fingers(void)
{
    found_count = 0;
    ck_assert_int_eq(afis_an2k_each_finger(&an2k, &afis_memory_heap, keep, NULL), AFIS_OK);
}

static const struct afis_an2k_header header = {"TEST", "20260102", "TO", "FROM", "TCN1", "words"};

static void make_image(uint32_t width, uint32_t height, uint8_t *pixels, struct afis_image *image)
{
    for (uint32_t i = 0; i < width * height; i++) {
        pixels[i] = (uint8_t)(i * 7 + i / width * 13);
    }
    *image = (struct afis_image){width, height, 500, pixels};
}

static void make_template(uint8_t position, struct afis_template *tmpl)
{
    *tmpl = (struct afis_template){
        .width = 300, .height = 400, .position = position, .quality = 80, .count = 60};
    for (unsigned i = 0; i < tmpl->count; i++) {
        tmpl->minutiae[i] = (struct afis_minutia){
            .x = (int16_t)(i * 4 * 16),
            .y = (int16_t)(i * 6 * 16),
            .angle = (uint16_t)((i * 3 % 180 * 65536 + 90) / 180),
            .type = (uint8_t)(i % 3),
            .quality = (uint8_t)(i + 1),
        };
    }
}

static void write_and_read(const struct afis_an2k_sample *samples, size_t count)
{
    uint8_t *bytes;
    size_t len;
    ck_assert_int_eq(afis_an2k_write(&header, samples, count, &afis_memory_heap, &bytes, &len),
                     AFIS_OK);
    ck_assert(afis_an2k_probable(bytes, len));
    enum afis_status status = read_copy(bytes, len);
    ck_assert_msg(status == AFIS_OK, "%s", fault.what);
    afis_memory_heap.release(NULL, bytes, len);
}

static void check_field(unsigned record, unsigned field, const char *expected)
{
    size_t len;
    const uint8_t *value = afis_an2k_field(&an2k, record, field, &len);
    ck_assert_ptr_nonnull(value);
    ck_assert_uint_eq(len, strlen(expected));
    ck_assert_mem_eq(value, expected, len);
}

START_TEST(search_request_reads_back_identically)
{
    static uint8_t pixels[100 * 90];
    struct afis_image image, again;
    struct afis_template tmpl, tmpl_again;
    make_image(100, 90, pixels, &image);
    make_template(7, &tmpl);
    const struct afis_an2k_sample sample = {&image, &tmpl, 7, 0,
                                            _i == 0 ? AFIS_AN2K_RAW : AFIS_AN2K_PNG};
    write_and_read(&sample, 1);
    ck_assert_uint_eq(an2k.count, 4); /* Types 1, 2, 9, 14 */
    check_field(0, 4, "TEST");
    check_field(0, 5, "20260102");
    check_field(0, 7, "TO");
    check_field(0, 8, "FROM");
    check_field(0, 9, "TCN1");
    check_field(1, 3, "words");
    ck_assert_int_eq(afis_an2k_template(&an2k, 2, &tmpl_again), AFIS_OK);
    ck_assert_mem_eq(&tmpl, &tmpl_again, sizeof tmpl);
    ck_assert_uint_eq(an2k.records[3].picture.position, 7);
    ck_assert_uint_eq(an2k.records[3].idc, an2k.records[2].idc);
    ck_assert_int_eq(afis_an2k_image(&an2k, 3, &afis_memory_heap, &again), AFIS_OK);
    ck_assert_uint_eq(again.width, 100);
    ck_assert_uint_eq(again.height, 90);
    ck_assert_uint_eq(again.dpi, 500);
    ck_assert_mem_eq(again.pixels, pixels, sizeof pixels);
    afis_image_release(&again, &afis_memory_heap);
    find_fingers();
    ck_assert_uint_eq(found_count, 1); /* the picture's, once */
    ck_assert_uint_eq(found[0].position, 7);
}
END_TEST

START_TEST(templates_alone_are_an_exchange_file)
{
    struct afis_template tmpl[10];
    struct afis_an2k_sample samples[10];
    for (unsigned i = 0; i < 10; i++) {
        make_template((uint8_t)(i + 1), &tmpl[i]);
        tmpl[i].count = (uint16_t)(i * 5); /* the first has none */
        memset(&tmpl[i].minutiae[tmpl[i].count], 0, (60 - i * 5) * sizeof(struct afis_minutia));
        samples[i] = (struct afis_an2k_sample){.tmpl = &tmpl[i], .position = (uint8_t)(i + 1)};
    }
    write_and_read(samples, 10);
    find_fingers();
    ck_assert_uint_eq(found_count, 10);
    for (unsigned i = 0; i < 10; i++) {
        ck_assert_mem_eq(&templates[i], &tmpl[i], sizeof tmpl[i]);
    }
}
END_TEST

START_TEST(writer_refuses_what_the_standard_has_no_room_for)
{
    struct afis_template tmpl;
    static uint8_t pixels[100 * 90];
    struct afis_image image;
    uint8_t *bytes;
    size_t len;
    make_template(7, &tmpl);
    make_image(100, 90, pixels, &image);
    struct afis_an2k_header bad = header;
    const struct afis_an2k_sample good = {.tmpl = &tmpl, .position = 7};
    bad.origin = "two\x1d"
                 "fields";
    ck_assert_int_eq(afis_an2k_write(&bad, &good, 1, &afis_memory_heap, &bytes, &len),
                     AFIS_BAD_FORMAT);
    bad = header;
    bad.date = "2026-1-2";
    ck_assert_int_eq(afis_an2k_write(&bad, &good, 1, &afis_memory_heap, &bytes, &len),
                     AFIS_BAD_FORMAT);
    const struct afis_an2k_sample other_finger = {.tmpl = &tmpl, .position = 6};
    ck_assert_int_eq(afis_an2k_write(&header, &other_finger, 1, &afis_memory_heap, &bytes, &len),
                     AFIS_BAD_FORMAT);
    const struct afis_an2k_sample nothing = {.position = 6};
    ck_assert_int_eq(afis_an2k_write(&header, &nothing, 1, &afis_memory_heap, &bytes, &len),
                     AFIS_BAD_FORMAT);
    const struct afis_an2k_sample wsq = {.image = &image, .position = 7, .coding = AFIS_AN2K_WSQ20};
    ck_assert_int_eq(afis_an2k_write(&header, &wsq, 1, &afis_memory_heap, &bytes, &len),
                     AFIS_UNSUPPORTED);
}
END_TEST

/* A transaction with everything that is read: Type-4 and Type-14 pictures, three sorts of
 * minutiae, a slap, and records that are passed over. */
static void make_file(void)
{
    static uint8_t pixels[64 * 40];
    struct afis_image image;
    make_image(64, 40, pixels, &image);
    an2k_file_begin(&file);
    an2k_file_type4(&file, 1, 2, 64, 40, 0, pixels, sizeof pixels);
    an2k_file_tagged(&file, 14, 2, an2k_file_type14(64, 40, "NONE", 11), pixels, sizeof pixels);
    an2k_file_tagged(&file, 14, 3, an2k_file_type14(64, 40, "NONE", 13), pixels, sizeof pixels);
    an2k_file_tagged(&file, 14, 4, an2k_file_type14(64, 40, "JP2", 3), pixels, 10);
    an2k_file_tagged(&file, 14, 5, an2k_file_type14(64, 40, "WSQ20", 4), pixels, 10);
    an2k_file_tagged(&file, 16, 6, "16.003:anything", pixels, 100);
    an2k_file_tagged(&file, 9, 7,
                     "9.003:0|9.004:S|9.005:X~M|9.006:05|9.007:T~LS|9.010:2|9.011:0|"
                     "9.012:001~10002000090~02~A~033,04^002~20001000350~63~B",
                     NULL, 0);
    an2k_file_tagged(&file, 9, 8,
                     "9.003:0|9.004:U|9.014:05|9.015:2|"
                     "9.023:001~10000000270~02~A~03304^002~20001000170~63~B",
                     NULL, 0);
    an2k_file_tagged(
        &file, 9, 9,
        "9.003:0|9.004:U|9.126:0~0|9.128:500|9.129:300|9.130:1|9.131:500|9.132:500|"
        "9.133:0|9.134:5|9.135:60~0~0|9.136:2|9.137:1~197~0~135~1~100^2~394~197~85~2~1",
        NULL, 0);
    an2k_file_end(&file);
}

START_TEST(each_record_says_what_it_is)
{
    make_file();
    read_file();
    ck_assert_uint_eq(an2k.count, 11);
    size_t at = 0;
    for (unsigned i = 0; i < an2k.count; i++) { /* located end to end */
        ck_assert_uint_eq(an2k.records[i].at, at);
        at += an2k.records[i].len;
        ck_assert_int_eq(an2k.records[i].status, AFIS_OK);
    }
    ck_assert_uint_eq(at, file.len);
    find_fingers();
    static const struct {
        enum afis_status status;
        uint8_t position;
    } expected[] = {
        {AFIS_OK, 2},          {AFIS_OK, 1}, /* the plain right thumb */
        {AFIS_TOO_SMALL, 0},                 /* a slap of 64 x 40 pixels */
        {AFIS_UNSUPPORTED, 3}, {AFIS_BAD_FORMAT, 4}, {AFIS_OK, 5}, {AFIS_OK, 5}, {AFIS_OK, 5},
    };
    ck_assert_uint_eq(found_count, sizeof expected / sizeof *expected);
    for (unsigned i = 0; i < found_count; i++) {
        ck_assert_msg(found[i].status == expected[i].status, "finger %u: %u %s", i, found[i].status,
                      found[i].what);
        ck_assert_uint_eq(found[i].position, expected[i].position);
    }
}
END_TEST

/* The three forms of Type-9 above state the same two minutiae: the first at 10 mm from the left
 * edge and on the upper one, the standard form's angle turned round and its y counted from the
 * bottom. */
START_TEST(three_forms_of_minutiae_agree)
{
    make_file();
    read_file();
    find_fingers();
    for (unsigned i = 5; i < 8; i++) {
        const struct afis_template *t = &templates[i];
        ck_assert_uint_eq(t->count, 2);
        static const struct {
            int x, y, degrees;
            unsigned type, quality;
        } expected[2] = {{197, 0, 270, AFIS_MINUTIA_ENDING, 100},
                         {394, 197, 170, AFIS_MINUTIA_BIFURCATION, 1}};
        for (unsigned k = 0; k < 2; k++) {
            const struct afis_minutia *m = &t->minutiae[k];
            ck_assert_int_le(abs(m->x - expected[k].x * 16), 8);
            ck_assert_int_le(abs(m->y - expected[k].y * 16), 8);
            ck_assert_int_le(abs(m->angle * 360 / 65536 - expected[k].degrees), 1);
            ck_assert_uint_eq(m->type, expected[k].type);
            ck_assert_uint_eq(m->quality, expected[k].quality);
        }
    }
}
END_TEST

START_TEST(every_truncation_is_refused)
{
    make_file();
    for (size_t len = 0; len < file.len; len++) {
        ck_assert_int_eq(read_copy(file.bytes, len), AFIS_BAD_FORMAT);
        ck_assert_uint_eq(an2k.count, 0);
        ck_assert_ptr_nonnull(fault.what);
    }
}
END_TEST

START_TEST(mutations_never_break_the_reader)
{
    make_file();
    uint32_t random = 1;
    unsigned read = 0;
    for (unsigned round = 0; round < 20000; round++) {
        static uint8_t bytes[AN2K_FILE_MAX];
        memcpy(bytes, file.bytes, file.len);
        for (unsigned k = 0; k <= round % 3; k++) {
            random = random * 1664525 + 1013904223;
            bytes[(random >> 8) % file.len] =
                (uint8_t)("0123456789|:.\x1c\x1d\x1e\x1f"[random % 17]);
        }
        if (read_copy(bytes, file.len) == AFIS_OK) {
            find_fingers();
            read++;
        }
    }
    ck_assert_uint_gt(read, 1000); /* both sides of the check were reached */
    ck_assert_uint_lt(read, 20000);
}
END_TEST

/* Replaces a text in the file by one of the same length. */
static void replace(const char *from, const char *to)
{
    uint8_t *at = memmem(file.bytes, file.len, from, strlen(from));
    ck_assert_ptr_nonnull(at);
    for (size_t i = 0; to[i] != '\0'; i++) {
        at[i] = (uint8_t)to[i];
    }
}

START_TEST(transactions_that_contradict_themselves_are_refused)
{
    static const struct {
        const char *from, *to;
    } wrongs[] = {
        {"1.003:1\x1f"
         "10",
         "1.003:1\x1f"
         "09"}, /* counts fewer than it lists */
        {"1.003:1\x1f"
         "10",
         "1.003:1\x1f"
         "11"},
        {"1.003:1\x1f"
         "10",
         "1.003:2\x1f"
         "10"},
        {"1.003:1\x1f"
         "10",
         "1.004:1\x1f"
         "10"}, /* no list at all */
        {"\x1e"
         "16\x1f"
         "06",
         "\x1e"
         "15\x1f"
         "06"}, /* another type than there is */
        {"\x1e"
         "16\x1f"
         "06",
         "\x1e"
         "16\x1f"
         "16"}, /* another IDC */
        {"16.001:", "16.002:"},
        {"2.001:", "3.001:"},
        {"1.001:", "1.001;"},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        make_file();
        replace(wrongs[i].from, wrongs[i].to);
        ck_assert_msg(read_copy(file.bytes, file.len) == AFIS_BAD_FORMAT, "case %zu", i);
    }
    make_file();
    file.bytes[file.len++] = 0x1c;
    ck_assert_int_eq(read_copy(file.bytes, file.len), AFIS_BAD_FORMAT);
    ck_assert_str_eq(fault.what, "bytes after the last record");
}
END_TEST

START_TEST(more_records_than_can_be_listed_are_refused)
{
    an2k_file_begin(&file);
    for (unsigned i = 0; i < 256; i++) {
        an2k_file_tagged(&file, 2, 0, "2.003:x", NULL, 0);
    }
    an2k_file_end(&file);
    ck_assert_int_eq(read_copy(file.bytes, file.len), AFIS_TOO_LARGE);
}
END_TEST

/* A wrong field makes its own record unusable, names the field, and leaves the others alone. */
START_TEST(wrong_fields_spoil_their_record_alone)
{
    static const struct {
        const char *from, *to, *what;
    } wrongs[] = {
        {"14.003:0", "14.003:x", "14.003"},
        {"14.006:64", "14.006:-1", "14.006"},
        {"14.006:64", "14.006:00", "size"},
        {"14.007:40", "14.007: 4", "14.006 (HLL) or 14.007"},
        {"14.008:1", "14.008:0", "14.008"},
        {"14.009:500", "14.009:400", "14.008"},
        {"14.011:NONE", "14.011:GIFF", "14.011"},
        {"14.012:8", "14.012:1", "14.012"},
        {"14.013:11", "14.013:21", "14.013"},
        {"14.999:", "14.998:", "14.999"},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        make_file();
        replace(wrongs[i].from, wrongs[i].to);
        read_file();
        ck_assert_int_ne(an2k.records[3].status, AFIS_OK);
        ck_assert_msg(strstr(an2k.records[3].what, wrongs[i].what), "%s", an2k.records[3].what);
        ck_assert_int_eq(an2k.records[2].status, AFIS_OK);
        ck_assert_int_eq(an2k.records[4].status, AFIS_OK);
        struct afis_image image;
        ck_assert_int_ne(afis_an2k_image(&an2k, 3, &afis_memory_heap, &image), AFIS_OK);
    }
}
END_TEST

START_TEST(amputations_and_the_senders_segments_are_read)
{
    static uint8_t pixels[64 * 40];
    char fields[512];
    struct afis_image image;
    make_image(64, 40, pixels, &image);
    an2k_file_begin(&file);
    snprintf(fields, sizeof fields, "%s|14.018:9~XX^7~UP|14.021:10~0~9~0~39^8~20~63~5~30",
             an2k_file_type14(64, 40, "NONE", 14));
    an2k_file_tagged(&file, 14, 1, fields, pixels, sizeof pixels);
    snprintf(fields, sizeof fields, "%s|14.021:10~0~64~0~39", an2k_file_type14(64, 40, "NONE", 14));
    an2k_file_tagged(&file, 14, 2, fields, pixels, sizeof pixels);
    an2k_file_end(&file);
    read_file();
    ck_assert_uint_eq(an2k.records[2].picture.missing, 1u << 9 | 1u << 7);
    find_fingers();
    ck_assert_uint_eq(found_count, 3);
    ck_assert_uint_eq(found[0].position, 10);
    ck_assert_uint_eq(found[1].position, 8);
    ck_assert(found[0].segmented && found[1].segmented);
    ck_assert_int_eq(found[2].status, AFIS_BAD_FORMAT); /* beyond the picture's edge */
    ck_assert_ptr_nonnull(strstr(found[2].what, "14.021"));
}
END_TEST

START_TEST(minutiae_beyond_their_bounds_are_refused)
{
    static const struct {
        const char *from, *to;
        unsigned record;
    } wrongs[] = {
        {"9.012:001\x1f"
         "10002000090",
         "9.012:001\x1f"
         "10002000390",
         8}, /* 390 degrees */
        {"9.010:2", "9.010:3", 8},
        {"9.010:2", "9.010:1", 8},
        {"9.006:05", "9.006:13", 8},
        {"9.015:2", "9.015:9", 9},
        {"9.137:1\x1f"
         "197",
         "9.137:1\x1f"
         "500",
         10}, /* outside the image */
        {"9.136:2", "9.136:1", 10},
        {"9.131:500", "9.131:100", 10},
        {"\x1f"
         "135\x1f"
         "1\x1f",
         "\x1f"
         "180\x1f"
         "1\x1f",
         10}, /* 360 degrees */
        {"9.130:1", "9.130:0", 10},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        struct afis_template tmpl;
        make_file();
        replace(wrongs[i].from, wrongs[i].to);
        read_file();
        ck_assert_msg(afis_an2k_template(&an2k, wrongs[i].record, &tmpl) != AFIS_OK, "case %zu", i);
    }
}
END_TEST

/* --- NIST's reference files --- */

static bool read_reference(const char *name)
{
    char path[100];
    size_t len;
    snprintf(path, sizeof path, "an2k/%s", name);
    uint8_t *bytes = data_read(path, &len);
    if (!bytes) {
        printf("skipped: %s is not in WHORL_DATA\n", path);
        return false;
    }
    enum afis_status status = read_copy(bytes, len);
    ck_assert_msg(status == AFIS_OK, "%s: %s", name, fault.what);
    free(bytes);
    return true;
}

START_TEST(reference_minutiae_agree_in_all_forms)
{
    static const char *const names[] = {"type-9-14-std.an2", "type-9-4-iafis.an2",
                                        "type-9-14-m1.an2"};
    struct afis_template t[3];
    for (unsigned i = 0; i < 3; i++) {
        if (!read_reference(names[i])) {
            return;
        }
        ck_assert_int_eq(afis_an2k_template(&an2k, 2, &t[i]), AFIS_OK);
        ck_assert_uint_eq(t[i].count, 48);
        ck_assert_uint_eq(t[i].position, 8);
    }
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < 48; k++) {
            const struct afis_minutia *a = &t[i].minutiae[k], *b = &t[2].minutiae[k];
            ck_assert_int_le(abs(a->x - b->x), 8);
            ck_assert_int_le(abs(a->y - b->y), 8);
            ck_assert_int_le(abs((int16_t)(uint16_t)(a->angle - b->angle)), 2 * 65536 / 360);
        }
    }
}
END_TEST

START_TEST(every_reference_file_is_read)
{
    static const struct {
        const char *name;
        unsigned records, usable, unusable;
    } files[] = {
        {"rec01_rec02_rec16.nst.an2", 3, 0, 0}, {"type-10-sap10.an2", 3, 0, 0},
        {"type-14-amp-nqm-utf8.an2", 5, 9, 0},  {"type-14-tip-eji-wsq.an2", 7, 0, 5},
        {"type-14-tpcard-nqm.an2", 16, 20, 0},  {"type-4-14-slaps.an2", 5, 10, 0},
        {"type-4-slaps.an2", 6, 10, 0},         {"type-4-tpcard.an2", 16, 20, 0},
        {"type-9-10-14.an2", 5, 1, 0},          {"type-9-14-m1.an2", 4, 1, 0},
        {"type-9-14-std.an2", 4, 1, 0},         {"type-9-4-iafis.an2", 4, 1, 0},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (!read_reference(files[i].name)) {
            return;
        }
        ck_assert_uint_eq(an2k.count, files[i].records);
        find_fingers();
        unsigned usable = 0;
        for (unsigned k = 0; k < found_count; k++) {
            usable += found[k].status == AFIS_OK;
        }
        ck_assert_msg(usable == files[i].usable && found_count - usable == files[i].unusable,
                      "%s: %u of %u", files[i].name, usable, found_count);
    }
}
END_TEST

/* The rolled fingers of a card are named; those that its slaps are cut into must be the same ones.
 * The best rolled finger for each must be its own. */
static void check_slaps(const char *name)
{
    if (!read_reference(name)) {
        return;
    }
    extracting = true;
    find_fingers();
    ck_assert_uint_eq(found_count, 20);
    struct afis_finger *rolled[11] = {NULL};
    struct afis_finger *probe = afis_memory_heap.alloc(NULL, afis_finger_size());
    struct afis_matcher *matcher = afis_memory_heap.alloc(NULL, afis_matcher_size());
    for (unsigned i = 0; i < 10; i++) {
        ck_assert_uint_eq(found[i].position, i + 1);
        rolled[i + 1] = afis_memory_heap.alloc(NULL, afis_finger_size());
        ck_assert_int_eq(afis_finger_prepare(&templates[i], rolled[i + 1]), AFIS_OK);
    }
    unsigned right = 0;
    for (unsigned i = 10; i < 20; i++) {
        unsigned best = 1;
        float scores[11];
        ck_assert_int_eq(afis_finger_prepare(&templates[i], probe), AFIS_OK);
        for (unsigned k = 1; k <= 10; k++) {
            scores[k] = afis_compare(matcher, probe, rolled[k]);
            best = scores[k] > scores[best] ? k : best;
        }
        right += best == found[i].position;
        printf("%s: slap finger %u is most like rolled finger %u (%.0f dB)\n", name,
               found[i].position, best, (double)scores[best]);
    }
    ck_assert_uint_ge(right, 9);
    for (unsigned i = 1; i <= 10; i++) {
        afis_memory_heap.release(NULL, rolled[i], afis_finger_size());
    }
    afis_memory_heap.release(NULL, probe, afis_finger_size());
    afis_memory_heap.release(NULL, matcher, afis_matcher_size());
}

START_TEST(slap_fingers_of_a_card_are_its_rolled_fingers)
{
    check_slaps("type-14-tpcard-nqm.an2");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("an2k");
    TCase *tc = tcase_create("transactions");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, search_request_reads_back_identically, 0, 2);
    tcase_add_test(tc, templates_alone_are_an_exchange_file);
    tcase_add_test(tc, writer_refuses_what_the_standard_has_no_room_for);
    tcase_add_test(tc, each_record_says_what_it_is);
    tcase_add_test(tc, three_forms_of_minutiae_agree);
    tcase_add_test(tc, every_truncation_is_refused);
    tcase_add_test(tc, mutations_never_break_the_reader);
    tcase_add_test(tc, transactions_that_contradict_themselves_are_refused);
    tcase_add_test(tc, more_records_than_can_be_listed_are_refused);
    tcase_add_test(tc, wrong_fields_spoil_their_record_alone);
    tcase_add_test(tc, amputations_and_the_senders_segments_are_read);
    tcase_add_test(tc, minutiae_beyond_their_bounds_are_refused);
    tcase_add_test(tc, reference_minutiae_agree_in_all_forms);
    tcase_add_test(tc, every_reference_file_is_read);
    tcase_add_test(tc, slap_fingers_of_a_card_are_its_rolled_fingers);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
