/* What stands beneath the RPC server: the reader of frames, the map of ids, the log. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log/log.h"
#include "core/net/frame.h"
#include "core/net/idmap.h"
#include "run_suite.h"

#define MAX (1u << 20)

/* --- Frames --------------------------------------------------------------------------------- */

struct heard {
    unsigned count, stop_after;
    size_t params;
};

static bool hear(void *ctx, const struct frame *frame)
{
    struct heard *heard = ctx;
    heard->count++;
    heard->params += frame->params_len;
    return heard->count != heard->stop_after;
}

START_TEST(frames_are_heard_alike_however_they_are_cut)
{
    static const uint8_t stream[] = "\x94\x00\x01\xa1"
                                    "a\x92\x01\xa3xyz\x93\x02\xc4\x01n\x90\x94\x01\x05\xc0\x81\x01"
                                    "\x02\x94\x00\xcd\x01\x02\xd9\x01q\xdc\x00\x02\xc0\xc3";
    size_t len = sizeof stream - 1;
    struct heard whole = {0};
    struct frame_reader reader = {0};
    ck_assert_int_eq(frame_feed(&reader, stream, len, MAX, hear, &whole, NULL), FRAME_FED);
    ck_assert_uint_eq(whole.count, 4);
    ck_assert(!frame_reader_waits(&reader));
    ck_assert_ptr_null(reader.rest.bytes); /* nothing had to be kept */
    for (size_t a = 0; a <= len; a++) {
        for (size_t b = a; b <= len; b++) {
            struct heard parts = {0};
            ck_assert_int_eq(frame_feed(&reader, stream, a, MAX, hear, &parts, NULL), FRAME_FED);
            ck_assert_int_eq(frame_feed(&reader, stream + a, b - a, MAX, hear, &parts, NULL),
                             FRAME_FED);
            ck_assert_int_eq(frame_feed(&reader, stream + b, len - b, MAX, hear, &parts, NULL),
                             FRAME_FED);
            ck_assert_uint_eq(parts.count, whole.count);
            ck_assert_uint_eq(parts.params, whole.params);
            ck_assert(!frame_reader_waits(&reader));
        }
    }
    frame_reader_trim(&reader);
    ck_assert_ptr_null(reader.rest.bytes);
}
END_TEST

START_TEST(a_kept_beginning_is_wiped_when_its_message_is_done)
{
    struct frame_reader reader = {0};
    struct heard heard = {0};
    const uint8_t *bytes = (const uint8_t *)"\x94\x00\x01\xa1m\x91\xc4\x06secret";
    ck_assert_int_eq(frame_feed(&reader, bytes, 12, MAX, hear, &heard, NULL), FRAME_FED);
    ck_assert(frame_reader_waits(&reader));
    frame_reader_trim(&reader);
    ck_assert_uint_eq(reader.rest.len, 12);
    ck_assert_int_eq(frame_feed(&reader, bytes + 12, 2, MAX, hear, &heard, NULL), FRAME_FED);
    ck_assert_uint_eq(heard.count, 1);
    for (size_t i = 0; i < reader.rest.cap; i++) {
        ck_assert_uint_eq(reader.rest.bytes[i], 0);
    }
    frame_reader_release(&reader);
}
END_TEST

/* Integers begin with 00 to 7f, cc to d3 and e0 to ff; the others are other things, or nothing. */
START_TEST(an_id_is_an_integer_whatever_byte_it_begins_with)
{
    for (unsigned first = 0; first <= 0xff; first++) {
        static const uint8_t width[8] = {1, 2, 4, 8, 1, 2, 4, 8};
        uint8_t bytes[32] = {0x94, 0x00, (uint8_t)first};
        struct frame frame;
        struct whorl_fault fault = {"", ""};
        bool small = first < 0x80 || first >= 0xe0, wide = first >= 0xcc && first <= 0xd3;
        size_t len = 3u + (wide ? width[first - 0xcc] : 0);
        memcpy(bytes + len, "\xa1p\x90", 3);
        bool good = frame_read(bytes, len + 3, &frame, &fault);
        ck_assert_msg(good == (small || wide), "%02x", first);
        ck_assert_str_eq(fault.where, good ? "" : "id");
        ck_assert(!good || frame.id_len == len - 2);
    }
}
END_TEST

START_TEST(a_listener_that_stops_hears_no_more)
{
    struct frame_reader reader = {0};
    struct heard heard = {.stop_after = 2};
    const uint8_t *three = (const uint8_t *)"\x93\x02\xa1n\x90\x93\x02\xa1n\x90\x93\x02\xa1n\x90";
    ck_assert_int_eq(frame_feed(&reader, three, 15, MAX, hear, &heard, NULL), FRAME_STOPPED);
    ck_assert_uint_eq(heard.count, 2);
    heard = (struct heard){.stop_after = 1};
    ck_assert_int_eq(frame_feed(&reader, three, 3, MAX, hear, &heard, NULL), FRAME_FED);
    ck_assert_int_eq(frame_feed(&reader, three + 3, 12, MAX, hear, &heard, NULL), FRAME_STOPPED);
    ck_assert_uint_eq(heard.count, 1);
    frame_reader_release(&reader);
}
END_TEST

START_TEST(without_lockable_memory_a_message_in_pieces_is_refused)
{
    pid_t child = fork();
    if (child == 0) {
        struct frame_reader reader = {0};
        struct heard heard = {0};
        struct rlimit none = {0, 0};
        const uint8_t *bytes = (const uint8_t *)"\x93\x02\xa1n\x90\x93\x02\xa1n\x90";
        if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 ||
            (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)) {
            _exit(99);
        }
        /* Whole ones need no memory. */
        bool whole = frame_feed(&reader, bytes, 10, MAX, hear, &heard, NULL) == FRAME_FED;
        bool part = frame_feed(&reader, bytes, 8, MAX, hear, &heard, NULL) == FRAME_NO_MEMORY;
        _exit(whole && part && heard.count == 3 ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* --- Ids ------------------------------------------------------------------------------------ */

START_TEST(the_map_of_ids_agrees_with_a_list)
{
    enum { THINGS = 20000 };
    static uint64_t ids[THINGS];
    static bool there[THINGS];
    struct idmap map = {0};
    size_t count = 0;
    uint32_t dice = 12345;
    ck_assert_ptr_null(idmap_get(&map, 7));
    ck_assert_ptr_null(idmap_take(&map, 7));
    for (size_t thing = 0; thing < THINGS; thing++) {
        ids[thing] = idmap_add(&map, &there[thing]);
        ck_assert_uint_ne(ids[thing], 0);
        there[thing] = true;
        count++;
        for (int i = 0; i < 2; i++) {
            dice = dice * 1664525u + 1013904223u;
            size_t other = dice % (thing + 1);
            if (other % 16 != 0) { /* some stay for long, as connections do */
                void *taken = idmap_take(&map, ids[other]);
                ck_assert_ptr_eq(taken, there[other] ? (void *)&there[other] : NULL);
                count -= there[other] ? 1 : 0;
                there[other] = false;
            }
        }
        ck_assert_uint_eq(map.count, count);
    }
    /* Nobody has the id of one before, nor is one found by its next id. */
    for (size_t thing = 0; thing < THINGS; thing++) {
        ck_assert_ptr_eq(idmap_get(&map, ids[thing]), there[thing] ? (void *)&there[thing] : NULL);
        ck_assert_ptr_null(idmap_get(&map, ids[thing] + (UINT64_C(1) << 60)));
    }
    ck_assert_uint_lt(map.cap, THINGS); /* cells are used again */
    ck_assert_ptr_null(idmap_get(&map, 0));
    ck_assert_ptr_null(idmap_get(&map, UINT64_MAX));
    idmap_release(&map);
}
END_TEST

/* --- The log -------------------------------------------------------------------------------- */

static json_t *read_line(int fd)
{
    char line[1024];
    ssize_t n = read(fd, line, sizeof line - 1);
    ck_assert_int_gt(n, 0);
    ck_assert_int_eq(line[n - 1], '\n');
    line[n] = '\0';
    ck_assert_ptr_eq(strchr(line, '\n'), line + n - 1);
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(json);
    return json;
}

static const char *text_of(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

START_TEST(a_log_line_is_one_json_object_whatever_it_holds)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    struct log *log = log_new(ends[1], WHORL_LOG_INFO);
    log_line(log, WHORL_LOG_DEBUG, "not written", NULL);
    log_line(log, WHORL_LOG_WARNING, "two\nlines \"quoted\"", "left_out", (const char *)NULL, "bad",
             "\xff\xfe x", "good", "Ñ", NULL);
    json_t *json = read_line(ends[0]);
    ck_assert_str_eq(text_of(json, "level"), "warning");
    ck_assert_str_eq(text_of(json, "text"), "two\nlines \"quoted\"");
    ck_assert_str_eq(text_of(json, "bad"), "?? x");
    ck_assert_str_eq(text_of(json, "good"), "Ñ");
    ck_assert_ptr_null(json_object_get(json, "left_out"));
    int year = 0, millis = 0;
    ck_assert_int_eq(
        sscanf(text_of(json, "time"), "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%3dZ", &year, &millis), 2);
    ck_assert_int_ge(year, 2024);
    json_decref(json);
    log_set_level(log, WHORL_LOG_DEBUG);
    log_line(log, WHORL_LOG_DEBUG, "written", NULL);
    json = read_line(ends[0]);
    ck_assert_str_eq(text_of(json, "text"), "written");
    json_decref(json);
    log_free(log);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(levels_have_names)
{
    enum whorl_log_level level = WHORL_LOG_DEBUG;
    ck_assert(log_level_from_name("warning", &level));
    ck_assert_int_eq(level, WHORL_LOG_WARNING);
    ck_assert(log_level_from_name("error", &level));
    ck_assert(!log_level_from_name("loud", &level));
    ck_assert_int_eq(level, WHORL_LOG_ERROR);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_parts");
    TCase *tc = tcase_create("net_parts");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, frames_are_heard_alike_however_they_are_cut);
    tcase_add_test(tc, a_kept_beginning_is_wiped_when_its_message_is_done);
    tcase_add_test(tc, an_id_is_an_integer_whatever_byte_it_begins_with);
    tcase_add_test(tc, a_listener_that_stops_hears_no_more);
    tcase_add_test(tc, without_lockable_memory_a_message_in_pieces_is_refused);
    tcase_add_test(tc, the_map_of_ids_agrees_with_a_list);
    tcase_add_test(tc, a_log_line_is_one_json_object_whatever_it_holds);
    tcase_add_test(tc, levels_have_names);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
