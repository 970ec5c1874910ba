/* The finger search plugins as the server runs them: the real modules on the real host, with a
 * gallery on disk and messages as the core sends them. */
#include <check.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "afis/extract.h"
#include "afis/image.h"
#include "afis/synth.h"
#include "conf_folder.h"
#include "core/host/host.h"
#include "data_dir.h"
#include "finger_request.h"
#include "gallery/gallery.h"
#include "gallery_people.h"
#include "run_suite.h"

#define TWO_FINGERS (1u << 2 | 1u << 7)

static struct conf_folder folder;
static uv_loop_t loop;
static struct log *logger;
static struct host *host;
static struct conf *conf;
static struct backend *ident1, *immigration;
static struct whorl_fault fault;

/* ------------------------------------------------------------------ the server's side */

static struct backend *start(const char *name)
{
    struct backend *backend = backend_start(host, conf, conf_find_plugin(conf, name), &fault);
    ck_assert_msg(backend != NULL, "%s", fault.text);
    return backend;
}

static const char *isolation = "process";

static void write_plugins(void)
{
    conf_folder_write(&folder, "fingers.conf",
                      "plugin \"ident1\" {\n    module = \"" TEST_MODULES "/whorl-ident1.so\"\n"
                      "    isolation = %s\n}\n"
                      "plugin \"immigration\" {\n"
                      "    module = \"" TEST_MODULES "/whorl-immigration.so\"\n"
                      "    settings {\n"
                      "        contact = \"Ring the unit\"\n"
                      "        force \"MPS\" {\n            contact = \"Ring Met CC\"\n        }\n"
                      "    }\n"
                      "}\n",
                      isolation);
}

static void setup(void)
{
    conf_folder_make(&folder);
    conf_folder_fill(&folder);
    write_plugins();
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    logger = log_new(STDERR_FILENO, WHORL_LOG_ERROR);
    host = host_new(&loop, 3, logger, &fault);
    ck_assert_msg(host != NULL, "%s", fault.text);
    conf = conf_folder_read(&folder);
    ck_assert_msg(conf != NULL, "%s", folder.complaints);
    ident1 = start("ident1");
    immigration = start("immigration");
}

/* Everything must end by itself: a loop that stays alive hangs the test. */
static void teardown(void)
{
    backend_unref(ident1);
    backend_unref(immigration);
    conf_unref(conf);
    uv_run(&loop, UV_RUN_DEFAULT);
    host_close(host);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    log_free(logger);
    conf_folder_remove(&folder);
}

static struct gallery *open_gallery(const char *name)
{
    char dir[160];
    snprintf(dir, sizeof dir, "%s/var/%s", folder.dir, name);
    struct gallery *gallery = gallery_open(dir, WHORL_STORE_WRITE, &fault);
    ck_assert_msg(gallery != NULL, "%s", fault.text);
    return gallery;
}

static void enrol(const char *name, const struct gallery_person *person)
{
    struct gallery *gallery = open_gallery(name);
    ck_assert_msg(gallery_put(gallery, person, 1, NULL, &fault), "%s", fault.text);
    gallery_close(gallery);
}

static void enrol_range(const char *name, unsigned from, unsigned to)
{
    for (unsigned n = from; n < to; n++) {
        struct test_person person;
        people_make(&person, n, TWO_FINGERS);
        enrol(name, &person.person);
    }
}

/* ------------------------------------------------------------------ a call */

struct sample {
    const char *format;
    int position; /* < 0: not sent */
    uint32_t dpi, width, height;
    const uint8_t *bytes;
    size_t len;
};

static void pack_sample(msgpack_packer *pk, const struct sample *sample, int64_t index)
{
    bool raw = strcmp(sample->format, "raw") == 0;
    int optional = (sample->position >= 0) + (sample->dpi > 0) + (raw ? 2 : 0);
    msgpack_pack_map(pk, 5u + (unsigned)optional);
    whorl_put_int(pk, "index", index);
    whorl_put_str(pk, "modality", "finger");
    whorl_put_str(pk, "format", sample->format);
    whorl_put_bin(pk, "data", sample->bytes, sample->len);
    whorl_put_str(pk, "from_a_newer_host", "ignored");
    if (sample->position >= 0) {
        whorl_put_int(pk, "position", sample->position);
    }
    if (sample->dpi > 0) {
        whorl_put_int(pk, "dpi", sample->dpi);
    }
    if (raw) {
        whorl_put_int(pk, "width", sample->width);
        whorl_put_int(pk, "height", sample->height);
    }
}

static struct whorl_secret message_of(const struct sample *samples, size_t count, const char *force)
{
    struct whorl_secret message = {NULL, 0, 0};
    msgpack_packer pk;
    msgpack_packer_init(&pk, &message, whorl_secret_write);
    msgpack_pack_map(&pk, 5);
    whorl_put_str(&pk, "op", "search");
    whorl_put_str(&pk, "transaction", "t");
    whorl_put_str(&pk, "force", force);
    whorl_put_int(&pk, "deadline_ms", 20000);
    whorl_put_key(&pk, "samples");
    msgpack_pack_array(&pk, count);
    for (size_t i = 0; i < count; i++) {
        pack_sample(&pk, &samples[i], (int64_t)i);
    }
    return message;
}

struct answer {
    bool ended;
    enum backend_end end;
    uint8_t *bytes;
    struct whorl_msg msg;
    unsigned extracting, searching;
    double fraction;
};

static void on_progress(void *ctx, const char *stage, double fraction)
{
    struct answer *answer = ctx;
    ck_assert(fraction >= 0 && fraction <= 1);
    answer->extracting += strcmp(stage, "extracting") == 0;
    answer->searching += strcmp(stage, "searching") == 0;
    answer->fraction = fraction;
}

static void on_ended(void *ctx, enum backend_end end, const uint8_t *bytes, size_t len)
{
    struct answer *answer = ctx;
    answer->ended = true;
    answer->end = end;
    if (!bytes) {
        return;
    }
    answer->bytes = malloc(len);
    memcpy(answer->bytes, bytes, len);
    ck_assert(whorl_msg_parse(answer->bytes, len, &answer->msg, &fault));
}

static void ask(struct backend *backend, const struct sample *samples, size_t count,
                const char *force, struct answer *answer)
{
    struct whorl_secret message = message_of(samples, count, force);
    struct backend_listener listener = {on_progress, on_ended, answer};
    *answer = (struct answer){.ended = false};
    backend_call(backend, &message, 60000, &listener);
    while (!answer->ended) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(answer->end, BACKEND_ANSWERED);
}

static void release(struct answer *answer)
{
    whorl_msg_release(&answer->msg);
    free(answer->bytes);
}

static const msgpack_object *get(const struct answer *answer, const char *key)
{
    return whorl_map_get(&answer->msg.root, key);
}

static const char *text(const msgpack_object *object)
{
    static char copies[8][512];
    static unsigned next;
    char *copy = copies[next++ % 8];
    if (!whorl_str_copy(object, copy, sizeof copies[0])) {
        strcpy(copy, "(none)");
    }
    return copy;
}

#define assert_class(answer, class)                                                                \
    ck_assert_msg(whorl_str_is(get(answer, "class"), class), "%s: %s", text(get(answer, "class")), \
                  text(get(answer, "reason")))

static void assert_reason(const struct answer *answer, const char *part)
{
    ck_assert_msg(strstr(text(get(answer, "reason")), part) != NULL, "\"%s\" lacks \"%s\"",
                  text(get(answer, "reason")), part);
}

static void assert_searched(const struct answer *answer, int64_t people, int64_t of)
{
    const msgpack_object *searched = get(answer, "searched");
    ck_assert_int_eq(whorl_map_get(searched, "people")->via.i64, people);
    ck_assert_int_eq(whorl_map_get(searched, "of")->via.i64, of);
}

static const msgpack_object *candidate(const struct answer *answer, uint32_t i, uint32_t of)
{
    const msgpack_object *candidates = get(answer, "candidates");
    ck_assert_ptr_nonnull(candidates);
    ck_assert_uint_eq(candidates->via.array.size, of);
    return &candidates->via.array.ptr[i];
}

/* An impression of a person's finger as a minutiae record. */
struct record {
    uint8_t bytes[2048];
    struct sample sample;
};

static void make_record(struct record *record, unsigned n, uint8_t position, unsigned impression,
                        int as)
{
    struct afis_template tmpl;
    people_finger(people_seed(n, position), impression, position, &tmpl);
    record->sample = (struct sample){.format = "iso19794-2", .position = as};
    record->sample.bytes = record->bytes;
    ck_assert_int_eq(
        afis_template_to_iso(&tmpl, record->bytes, sizeof record->bytes, &record->sample.len),
        AFIS_OK);
}

static void ask_for(struct backend *backend, unsigned n, const char *force, struct answer *answer)
{
    struct record right, left;
    make_record(&right, n, 2, 5, 2);
    make_record(&left, n, 7, 5, 7);
    struct sample samples[] = {right.sample, left.sample};
    ask(backend, samples, 2, force, answer);
}

/* ------------------------------------------------------------------ answers */

START_TEST(ident1_shows_who_a_known_person_is)
{
    struct answer answer;
    enrol_range("ident1", 0, 40);
    ask_for(ident1, 17, "WMP", &answer);
    assert_class(&answer, "match");
    assert_searched(&answer, 40, 40);
    const msgpack_object *found = candidate(&answer, 0, 1);
    ck_assert_str_eq(text(whorl_map_get(found, "ref")), "P000017");
    ck_assert_str_eq(text(whorl_map_get(found, "born")), "1917-09-17");
    ck_assert_str_eq(text(whorl_map_get(whorl_map_get(found, "identifiers"), "pncid")),
                     "2017/0000017X");
    const msgpack_object *names = whorl_map_get(found, "names");
    ck_assert_uint_eq(names->via.array.size, 2);
    ck_assert_str_eq(text(whorl_map_get(&names->via.array.ptr[0], "given")), "Jean-Aimé");
    ck_assert_uint_eq(whorl_map_get(found, "details")->via.array.size, 2);
    ck_assert_double_gt(whorl_map_get(found, "score")->via.f64, 30);
    ck_assert_uint_ge(answer.extracting + answer.searching, 1); /* the host merges quick reports */
    release(&answer);
}
END_TEST

START_TEST(immigration_shows_a_reference_and_whom_to_contact_and_nothing_else)
{
    static const char *const forces[] = {"WMP", "MPS"};
    static const char *const contacts[] = {"Ring the unit", "Ring Met CC"};
    enrol_range("immigration", 0, 20);
    for (int i = 0; i < 2; i++) {
        struct answer answer;
        ask_for(immigration, 3, forces[i], &answer);
        assert_class(&answer, "match");
        const msgpack_object *found = candidate(&answer, 0, 1);
        ck_assert_uint_eq(found->via.map.size, 3); /* ref, score, details */
        ck_assert_str_eq(text(whorl_map_get(found, "ref")), "P000003");
        const msgpack_object *details = whorl_map_get(found, "details");
        ck_assert_uint_eq(details->via.array.size, 2);
        const msgpack_object *meaning = &details->via.array.ptr[0];
        const msgpack_object *contact = &details->via.array.ptr[1];
        ck_assert_ptr_nonnull(strstr(text(whorl_map_get(meaning, "value")), "not an offence"));
        ck_assert_str_eq(text(whorl_map_get(contact, "value")), contacts[i]);
        ck_assert_str_eq(text(whorl_map_get(contact, "level")), "info");
        release(&answer);
    }
}
END_TEST

START_TEST(a_stranger_is_no_match_after_a_whole_search)
{
    struct answer answer;
    enrol_range("ident1", 0, 40);
    ask_for(ident1, 4000, "WMP", &answer);
    assert_class(&answer, "no_match");
    assert_searched(&answer, 40, 40);
    ck_assert_ptr_null(get(&answer, "candidates"));
    release(&answer);
}
END_TEST

START_TEST(an_empty_gallery_is_unavailable)
{
    struct answer answer;
    ask_for(ident1, 1, "WMP", &answer);
    assert_class(&answer, "unavailable");
    assert_reason(&answer, "the gallery is empty");
    release(&answer);
}
END_TEST

START_TEST(fingers_that_nobody_has_enrolled_are_unavailable)
{
    struct answer answer;
    struct record ring;
    enrol_range("ident1", 0, 5);
    make_record(&ring, 1, 4, 1, 4);
    ask(ident1, &ring.sample, 1, "WMP", &answer);
    assert_class(&answer, "unavailable");
    assert_reason(&answer, "nobody in the gallery has a print");
    assert_searched(&answer, 5, 5);
    release(&answer);
}
END_TEST

START_TEST(two_people_with_the_same_fingers_are_possible)
{
    struct answer answer;
    struct test_person twin;
    enrol_range("ident1", 0, 20);
    people_make(&twin, 8, TWO_FINGERS);
    strcpy(twin.id, "TWIN");
    enrol("ident1", &twin.person);
    ask_for(ident1, 8, "WMP", &answer);
    assert_class(&answer, "possible");
    ck_assert_str_eq(text(whorl_map_get(candidate(&answer, 0, 2), "ref")), "P000008");
    ck_assert_str_eq(text(whorl_map_get(candidate(&answer, 1, 2), "ref")), "TWIN");
    release(&answer);
}
END_TEST

START_TEST(two_people_with_the_same_fingers_are_possible_where_only_one_is_shown)
{
    struct answer answer;
    struct test_person twin;
    enrol_range("ident1", 0, 20);
    people_make(&twin, 8, TWO_FINGERS);
    strcpy(twin.id, "TWIN");
    enrol("ident1", &twin.person);
    struct conf *before = conf;
    conf_folder_write(&folder, "fingers.conf",
                      "plugin \"ident1\" {\n    module = \"" TEST_MODULES "/whorl-ident1.so\"\n"
                      "    isolation = process\n"
                      "    settings {\n        max_candidates = 1\n    }\n}\n");
    conf = conf_folder_read(&folder);
    ck_assert_msg(conf != NULL, "%s", folder.complaints);
    backend_unref(ident1);
    ident1 = start("ident1");
    ask_for(ident1, 8, "WMP", &answer);
    assert_class(&answer, "possible");
    ck_assert_str_eq(text(whorl_map_get(candidate(&answer, 0, 1), "ref")), "P000008");
    assert_reason(&answer, "1 more candidates are not shown");
    release(&answer);
    ask_for(ident1, 9, "WMP", &answer);
    assert_class(&answer, "match");
    release(&answer);
    conf_unref(before);
}
END_TEST

START_TEST(a_finger_without_position_is_compared_with_all)
{
    struct answer answer;
    struct record finger;
    enrol_range("ident1", 0, 20);
    make_record(&finger, 6, 7, 2, -1);
    finger.bytes[28] = 0; /* the record's own position */
    ask(ident1, &finger.sample, 1, "WMP", &answer);
    assert_class(&answer, "match");
    ck_assert_str_eq(text(whorl_map_get(candidate(&answer, 0, 1), "ref")), "P000006");
    release(&answer);
}
END_TEST

/* ------------------------------------------------------------------ samples */

/* A PNG that says it is 60,000 by 60,000: signature and header alone are enough to say so. */
static const uint8_t huge_png[] = {0x89, 'P',  'N', 'G', '\r', '\n', 0x1a, '\n', 0,    0,    0,
                                   13,   'I',  'H', 'D', 'R',  0,    0,    0xea, 0x60, 0,    0,
                                   0xea, 0x60, 8,   0,   0,    0,    0,    0xe9, 0x0d, 0x51, 0x3c};
static const uint8_t black[300 * 300];

static const struct bad {
    struct sample sample;
    const char *says;
} bad_samples[] = {
    {{"png", 2, 500, 0, 0, (const uint8_t *)"\x89PNG\r\n\x1a\nxxxx", 12}, "PNG: "},
    {{"png", 2, 500, 0, 0, (const uint8_t *)"no picture", 10}, "PNG: "},
    {{"png", 2, 500, 0, 0, huge_png, sizeof huge_png}, "PNG: "},
    {{"raw", 2, 500, 0, 0, black, 1}, "raw image: "},
    {{"raw", 2, 500, 300, 299, black, sizeof black}, "raw image: "},
    {{"raw", 2, 500, 60000, 60000, black, sizeof black}, "raw image: "},
    {{"raw", 2, 5000, 300, 300, black, sizeof black}, "raw image: "},
    {{"raw", 2, 500, 300, 300, black, sizeof black}, ""},
    {{"raw", 11, 500, 300, 300, black, sizeof black}, "position 11"},
    {{"wsq", 2, 500, 0, 0, (const uint8_t *)"\xff\xa0\xff\xa4", 4}, "WSQ: "},
    {{"wsq", 2, 500, 0, 0, (const uint8_t *)"\x89PNG\r\n\x1a\nxxxx", 12}, "WSQ: "},
    {{"iso19794-2", 2, 0, 0, 0, (const uint8_t *)"FMR\0 20\0", 8}, "ISO/IEC 19794-2 record: "},
};

START_TEST(a_sample_that_cannot_be_used_is_poor_quality_and_named)
{
    struct answer answer;
    const struct bad *bad = &bad_samples[_i];
    enrol_range("ident1", 0, 3);
    ask(ident1, &bad->sample, 1, "WMP", &answer);
    assert_class(&answer, "poor_quality");
    assert_reason(&answer, "samples[0]");
    assert_reason(&answer, bad->says);
    ck_assert_ptr_null(get(&answer, "searched"));
    const msgpack_object *samples = get(&answer, "samples");
    ck_assert_uint_eq(samples->via.array.size, 1);
    ck_assert_ptr_nonnull(whorl_map_get(&samples->via.array.ptr[0], "advice"));
    release(&answer);
}
END_TEST

START_TEST(a_wsq_picture_is_searched_with)
{
    struct answer answer;
    size_t len;
    uint8_t *bytes = data_read("wsq/b.wsq", &len);
    if (!bytes) {
        printf("skipped: wsq/b.wsq is not in WHORL_DATA\n");
        return;
    }
    enrol_range("ident1", 0, 3);
    ask(ident1, &(struct sample){"wsq", 2, 500, 0, 0, bytes, len}, 1, "WMP", &answer);
    assert_class(&answer, "no_match");
    assert_searched(&answer, 3, 3);
    release(&answer);
    free(bytes);
}
END_TEST

START_TEST(a_record_cut_anywhere_is_never_no_match)
{
    struct record record;
    enrol_range("ident1", 0, 3);
    make_record(&record, 2, 2, 1, 2);
    size_t whole = record.sample.len;
    for (record.sample.len = 1; record.sample.len < whole; record.sample.len += 7) {
        struct answer answer;
        ask(ident1, &record.sample, 1, "WMP", &answer);
        assert_class(&answer, "poor_quality");
        release(&answer);
    }
}
END_TEST

START_TEST(the_search_is_made_with_the_samples_that_can_be_used)
{
    struct answer answer;
    struct record right;
    enrol_range("ident1", 0, 20);
    make_record(&right, 9, 2, 4, 2);
    struct sample samples[] = {bad_samples[7].sample, right.sample};
    samples[0].position = 7;
    ask(ident1, samples, 2, "WMP", &answer);
    assert_class(&answer, "match");
    assert_reason(&answer, "samples[0] (left index finger)");
    ck_assert_uint_eq(get(&answer, "samples")->via.array.size, 2);
    release(&answer);
}
END_TEST

/* ------------------------------------------------------------------ images */

static void make_impression(const struct afis_synth_master *master, uint64_t seed,
                            struct afis_image *image)
{
    struct afis_synth_condition condition;
    afis_synth_draw_condition(seed, AFIS_SYNTH_CLEAN, &condition);
    ck_assert_int_eq(afis_synth_impression(master, seed, &condition, &afis_memory_heap, image),
                     AFIS_OK);
}

START_TEST(a_picture_of_an_enrolled_finger_matches_as_png_and_as_raw)
{
    struct afis_synth_master master;
    struct afis_image first, second;
    struct test_person person;
    struct afis_template tmpl;
    uint8_t *png;
    size_t len;
    ck_assert_int_eq(afis_synth_finger(11, AFIS_SYNTH_WHORL, &afis_memory_heap, &master), AFIS_OK);
    make_impression(&master, 1, &first);
    make_impression(&master, 2, &second);
    enrol_range("ident1", 0, 10);
    people_make(&person, 500, 1u << 2);
    ck_assert_int_eq(afis_extract(&first, &afis_memory_heap, &tmpl, NULL), AFIS_OK);
    ck_assert_int_eq(afis_template_pack(&tmpl, person.packed[0], AFIS_PACKED_MAX, &len), AFIS_OK);
    person.prints[0].len = (uint16_t)len;
    enrol("ident1", &person.person);
    ck_assert_int_eq(afis_image_to_png(&second, &afis_memory_heap, &png, &len), AFIS_OK);
    struct sample samples[] = {{"png", 2, 0, 0, 0, png, len},
                               {"raw", 2, 500, second.width, second.height, second.pixels,
                                (size_t)second.width * second.height}};
    for (int i = 0; i < 2; i++) {
        struct answer answer;
        ask(ident1, &samples[i], 1, "WMP", &answer);
        assert_class(&answer, "match");
        ck_assert_str_eq(text(whorl_map_get(candidate(&answer, 0, 1), "ref")), "P000500");
        release(&answer);
    }
    afis_memory_heap.release(afis_memory_heap.ctx, png, len);
    afis_image_release(&first, &afis_memory_heap);
    afis_image_release(&second, &afis_memory_heap);
    afis_synth_master_release(&master, &afis_memory_heap);
}
END_TEST

/* ------------------------------------------------------------------ the rest of a call's life */

START_TEST(cancelled_calls_end_at_once_and_leave_nothing_behind)
{
    struct answer answers[20];
    struct record right;
    enrol_range("ident1", 0, 40);
    make_record(&right, 9, 2, 4, 0);
    for (int i = 0; i < 20; i++) {
        struct whorl_secret message = message_of(&right.sample, 1, "WMP");
        struct backend_listener listener = {on_progress, on_ended, &answers[i]};
        answers[i] = (struct answer){.ended = false};
        uint64_t call = backend_call(ident1, &message, 60000, &listener);
        for (int k = 0; k < i % 4; k++) {
            uv_run(&loop, UV_RUN_NOWAIT);
        }
        backend_cancel(ident1, call);
        ck_assert(answers[i].ended);
        if (answers[i].end == BACKEND_ANSWERED) {
            release(&answers[i]);
        } else {
            ck_assert_int_eq(answers[i].end, BACKEND_CANCELLED);
        }
    }
}
END_TEST

START_TEST(many_searches_at_once_each_find_their_own)
{
    enum { MANY = 16 };
    struct answer answers[MANY];
    enrol_range("ident1", 0, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        struct record right;
        make_record(&right, i, 2, 4, 2);
        struct whorl_secret message = message_of(&right.sample, 1, "WMP");
        struct backend_listener listener = {on_progress, on_ended, &answers[i]};
        answers[i] = (struct answer){.ended = false};
        backend_call(ident1, &message, 60000, &listener);
    }
    for (unsigned i = 0; i < MANY; i++) {
        char ref[32];
        while (!answers[i].ended) {
            uv_run(&loop, UV_RUN_ONCE);
        }
        snprintf(ref, sizeof ref, "P%06u", i);
        assert_class(&answers[i], "match");
        ck_assert_str_eq(text(whorl_map_get(candidate(&answers[i], 0, 1), "ref")), ref);
        release(&answers[i]);
    }
}
END_TEST

/* ------------------------------------------------------------------ too little locked memory */

/* Threads that are made from now on may not lock more than the limit, whoever runs the test. */
static void setup_limited(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[2];
    ck_assert_int_eq(syscall(SYS_capget, &head, caps), 0);
    caps[0].effective &= ~(1u << CAP_IPC_LOCK);
    ck_assert_int_eq(syscall(SYS_capset, &head, caps), 0);
    isolation = "in_process"; /* the limit is this process's */
    setup();
}

/* From now on so much more may be locked than is. */
static void leave_lockable(size_t bytes)
{
    char line[128];
    struct rlimit limit;
    unsigned long locked = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (fgets(line, sizeof line, status) && sscanf(line, "VmLck: %lu", &locked) != 1) {
    }
    fclose(status);
    getrlimit(RLIMIT_MEMLOCK, &limit);
    limit.rlim_cur = locked * 1024 + bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
}

static bool nobody_cancels(const struct whorl_host *of, uint64_t call)
{
    (void)of;
    (void)call;
    return false;
}

START_TEST(who_lacks_memory_that_another_has_given_back_since_begins_again)
{
    const struct whorl_host quiet = {.cancelled = nobody_cancels};
    struct finger_instance instance = {.host = &quiet, .mutex = PTHREAD_MUTEX_INITIALIZER};
    struct finger_request *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    a->instance = b->instance = &instance;
    finger_wait_enter(a);
    finger_wait_enter(b); /* now both take memory, and neither enough */
    ck_assert_int_eq(finger_wait_park(a), FINGER_WAIT_PARKED);
    ck_assert_int_eq(finger_wait_park(b), FINGER_WAIT_AGAIN);
    ck_assert_int_eq(finger_wait_park(b), FINGER_WAIT_ALONE);
    ck_assert_ptr_eq(finger_wait_next(&instance, true), a);
    ck_assert_int_eq(finger_wait_park(a), FINGER_WAIT_ALONE);
    free(a);
    free(b);
}
END_TEST

enum { CROWD = 48 };

/* So many calls at once, of which every third is then given up. Returns how many matched. */
static unsigned ask_crowd(struct answer *answers, bool give_up, const char *otherwise)
{
    uint64_t calls[CROWD];
    struct whorl_secret messages[CROWD];
    unsigned matched = 0;
    for (unsigned i = 0; i < CROWD; i++) { /* it takes longer than searching */
        struct record right;
        make_record(&right, i % 8, 2, 4, 2);
        messages[i] = message_of(&right.sample, 1, "WMP");
    }
    for (unsigned i = 0; i < CROWD; i++) {
        struct backend_listener listener = {on_progress, on_ended, &answers[i]};
        answers[i] = (struct answer){.ended = false};
        calls[i] = backend_call(ident1, &messages[i], 60000, &listener);
    }
    for (unsigned i = 0; give_up && i < CROWD; i += 3) {
        backend_cancel(ident1, calls[i]);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        while (!answers[i].ended) {
            uv_run(&loop, UV_RUN_ONCE);
        }
        if (answers[i].end == BACKEND_ANSWERED &&
            whorl_str_is(get(&answers[i], "class"), "match")) {
            matched++;
        } else if (answers[i].end == BACKEND_ANSWERED) {
            assert_class(&answers[i], "unavailable");
            assert_reason(&answers[i], otherwise);
        }
        release(&answers[i]);
    }
    return matched;
}

START_TEST(searches_wait_for_locked_memory)
{
    struct answer answers[CROWD];
    enrol_range("ident1", 0, 8);
    leave_lockable(_i == 0 ? 2u << 20 : 3u << 20);
    ck_assert_uint_eq(ask_crowd(answers, false, "none was given up"), CROWD);
    ck_assert_uint_ge(ask_crowd(answers, true, "given up"), CROWD - CROWD / 3);
}
END_TEST

START_TEST(a_search_for_which_there_is_never_enough_locked_memory_ends)
{
    struct answer answers[CROWD];
    enrol_range("ident1", 0, 8);
    leave_lockable(CROWD * 4096u + 65536u);
    ck_assert_uint_eq(ask_crowd(answers, false, "not enough locked memory"), 0);
}
END_TEST

static int spoil(MDB_txn *txn, void *arg)
{
    uint32_t number = 1;
    uint8_t junk[100] = {0};
    MDB_val key = {sizeof number, &number}, value = {sizeof junk, junk};
    return mdb_put(txn, *(MDB_dbi *)arg, &key, &value, 0);
}

START_TEST(a_gallery_that_cannot_be_read_whole_is_unavailable)
{
    struct answer answer;
    char dir[160];
    MDB_dbi dbi;
    enrol_range("ident1", 0, 70);
    snprintf(dir, sizeof dir, "%s/var/ident1", folder.dir);
    struct whorl_store *store =
        whorl_store_open(dir, WHORL_STORE_WRITE, 4, "whorl-gallery", 1, &fault);
    ck_assert_ptr_nonnull(store);
    ck_assert(whorl_store_db(store, "blocks", MDB_INTEGERKEY, &dbi, &fault));
    ck_assert(whorl_store_write(store, spoil, &dbi, &fault));
    whorl_store_close(store);
    ask_for(ident1, 65, "WMP", &answer); /* he is in the block that can be read */
    assert_class(&answer, "unavailable");
    assert_reason(&answer, "of 70 people could be searched: block 1");
    ck_assert_ptr_null(get(&answer, "candidates"));
    release(&answer);
}
END_TEST

START_TEST(a_call_without_sound_samples_is_unavailable)
{
    struct answer answer;
    ask(ident1, NULL, 0, "WMP", &answer);
    assert_class(&answer, "unavailable");
    assert_reason(&answer, "samples");
    release(&answer);
}
END_TEST

START_TEST(thresholds_the_wrong_way_round_are_refused_with_their_place)
{
    conf_folder_write(&folder, "fingers.conf",
                      "plugin \"ident1\" {\n    module = \"" TEST_MODULES "/whorl-ident1.so\"\n"
                      "    settings {\n        match_fpir = 0.1\n        possible_fpir = 0.01\n"
                      "    }\n}\n");
    ck_assert_ptr_null(conf_folder_read(&folder));
    ck_assert_ptr_nonnull(strstr(folder.complaints, "possible_fpir"));
    ck_assert_ptr_nonnull(strstr(folder.complaints, "fingers.conf:"));
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("finger search");
    TCase *tcase = tcase_create("finger search");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, ident1_shows_who_a_known_person_is);
    tcase_add_test(tcase, immigration_shows_a_reference_and_whom_to_contact_and_nothing_else);
    tcase_add_test(tcase, a_stranger_is_no_match_after_a_whole_search);
    tcase_add_test(tcase, an_empty_gallery_is_unavailable);
    tcase_add_test(tcase, fingers_that_nobody_has_enrolled_are_unavailable);
    tcase_add_test(tcase, two_people_with_the_same_fingers_are_possible);
    tcase_add_test(tcase, two_people_with_the_same_fingers_are_possible_where_only_one_is_shown);
    tcase_add_test(tcase, a_finger_without_position_is_compared_with_all);
    tcase_add_loop_test(tcase, a_sample_that_cannot_be_used_is_poor_quality_and_named, 0,
                        sizeof bad_samples / sizeof bad_samples[0]);
    tcase_add_test(tcase, a_wsq_picture_is_searched_with);
    tcase_add_test(tcase, a_record_cut_anywhere_is_never_no_match);
    tcase_add_test(tcase, the_search_is_made_with_the_samples_that_can_be_used);
    tcase_add_test(tcase, a_picture_of_an_enrolled_finger_matches_as_png_and_as_raw);
    tcase_add_test(tcase, cancelled_calls_end_at_once_and_leave_nothing_behind);
    tcase_add_test(tcase, many_searches_at_once_each_find_their_own);
    tcase_add_test(tcase, a_gallery_that_cannot_be_read_whole_is_unavailable);
    tcase_add_test(tcase, a_call_without_sound_samples_is_unavailable);
    tcase_add_test(tcase, thresholds_the_wrong_way_round_are_refused_with_their_place);
    suite_add_tcase(suite, tcase);
    TCase *limited = tcase_create("too little locked memory");
    tcase_add_checked_fixture(limited, setup_limited, teardown);
    tcase_set_timeout(limited, 120);
    tcase_add_test(limited, who_lacks_memory_that_another_has_given_back_since_begins_again);
    tcase_add_loop_test(limited, searches_wait_for_locked_memory, 0, 2);
    tcase_add_test(limited, a_search_for_which_there_is_never_enough_locked_memory_ends);
    suite_add_tcase(suite, limited);
    return suite;
}

int main(void)
{
    return run_suite(suite());
}
