/* The host of the plugins, with real modules: what it refuses to load, and how calls end whatever
 * a plugin does. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_folder.h"
#include "core/host/host.h"
#include "core/module/module.h"
#include "run_suite.h"

enum { CALLS = 2000 };

static struct conf_folder folder;
static uv_loop_t loop;
static struct log *logger;
static FILE *log_file;
static struct host *host;
static struct conf *conf;
static struct backend *backend;
static struct whorl_fault fault;
static uv_timer_t ticking;

/* What a call's listener has seen. */
struct seen {
    unsigned ended, progress;
    enum backend_end end;
    size_t len;
    double fraction;
    char stages[64];
    struct backend *unref; /* at the end */
};

static void on_progress(void *ctx, const char *stage, double fraction)
{
    struct seen *seen = ctx;
    ck_assert_uint_eq(seen->ended, 0);
    seen->progress++;
    seen->fraction = fraction;
    if (!strstr(seen->stages, stage)) {
        strcat(seen->stages, stage);
        strcat(seen->stages, " ");
    }
}

static void on_ended(void *ctx, enum backend_end end, const uint8_t *answer, size_t len)
{
    struct seen *seen = ctx;
    ck_assert(end == BACKEND_ANSWERED ? answer != NULL : answer == NULL);
    seen->ended++;
    seen->end = end;
    seen->len = len;
    backend_unref(seen->unref);
}

static uint64_t call_for(const char *act, uint64_t deadline_ms, struct seen *seen)
{
    struct whorl_secret message = {NULL, 0, 0};
    struct backend_listener listener = {on_progress, on_ended, seen};
    ck_assert_int_eq(whorl_secret_write(&message, act, strlen(act)), 0);
    uv_update_time(&loop); /* a test may have come here without running it */
    uint64_t id = backend_call(backend, &message, deadline_ms, &listener);
    ck_assert_ptr_null(message.bytes);
    return id;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer; /* only there so that uv_run(…ONCE) comes back */
}

/* Runs the loop until a call has ended. */
static void await(const struct seen *seen)
{
    while (seen->ended == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void on_timer(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void run_for(uint64_t milliseconds)
{
    uv_timer_t timer;
    bool over = false;
    uv_timer_init(&loop, &timer);
    timer.data = &over;
    uv_timer_start(&timer, on_timer, milliseconds, 0);
    while (!over) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static bool logged(const char *text)
{
    static char all[1 << 20];
    ssize_t len = pread(fileno(log_file), all, sizeof all - 1, 0);
    ck_assert_int_ge(len, 0);
    all[len] = '\0';
    return strstr(all, text) != NULL;
}

static void setup_as(const char *isolation)
{
    conf_folder_make(&folder);
    folder.isolation = isolation;
    conf_folder_fill(&folder);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &ticking);
    uv_timer_start(&ticking, on_tick, 5, 5);
    log_file = tmpfile();
    ck_assert_ptr_nonnull(log_file);
    logger = log_new(fileno(log_file), WHORL_LOG_DEBUG);
    host = host_new(&loop, 3, logger, &fault);
    ck_assert_msg(host != NULL, "%s", fault.text);
    conf = conf_folder_read(&folder);
    ck_assert_msg(conf != NULL, "%s", folder.complaints);
    backend = backend_start(host, conf, conf_find_plugin(conf, "finder"), &fault);
    ck_assert_msg(backend != NULL, "%s", fault.text);
}

static void setup(void)
{
    setup_as("in_process");
}

static void setup_isolated(void)
{
    setup_as("process");
}

/* Everything must end by itself: a loop that stays alive hangs the test. */
static void teardown(void)
{
    uv_close((uv_handle_t *)&ticking, NULL);
    backend_unref(backend);
    conf_unref(conf);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(host_running(host), 0);
    host_close(host);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ck_assert(logged("\"down\""));
    log_free(logger);
    fclose(log_file);
    conf_folder_remove(&folder);
}

START_TEST(a_call_is_answered_once)
{
    struct seen seen = {0};
    call_for("answer", 5000, &seen);
    ck_assert_uint_eq(seen.ended, 0); /* never before the call returns */
    await(&seen);
    ck_assert_int_eq(seen.end, BACKEND_ANSWERED);
    ck_assert_uint_eq(seen.len, 16);
}
END_TEST

START_TEST(a_second_answer_is_ignored_and_logged)
{
    struct seen seen = {0};
    call_for("twice", 5000, &seen);
    await(&seen);
    run_for(10);
    ck_assert_uint_eq(seen.ended, 1);
    ck_assert(logged("completed a call that it doesn't have, or a second time: ignored"));
}
END_TEST

START_TEST(an_answer_to_a_call_that_never_was_is_ignored)
{
    struct seen seen = {0};
    call_for("foreign", 5000, &seen);
    await(&seen);
    ck_assert_uint_eq(seen.ended, 1);
    ck_assert(logged("a call that it doesn't have"));
}
END_TEST

START_TEST(a_call_that_is_never_answered_times_out_and_may_be_answered_late)
{
    struct seen held = {0}, seen = {0};
    call_for("hold", 20, &held);
    await(&held);
    ck_assert_int_eq(held.end, BACKEND_TIMED_OUT);
    call_for("release", 5000, &seen);
    await(&seen);
    ck_assert_int_eq(seen.end, BACKEND_ANSWERED);
    ck_assert_uint_eq(held.ended, 1);
    ck_assert(logged("had been given up"));
}
END_TEST

START_TEST(garbage_is_no_answer)
{
    static const char *const acts[] = {"garbage bomb", "garbage list", "garbage tail",
                                       "garbage cut", "garbage nothing"};
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        struct seen seen = {0};
        call_for(acts[i], 5000, &seen);
        await(&seen);
        ck_assert_int_eq(seen.end, BACKEND_MALFORMED);
        ck_assert_uint_eq(seen.len, 0);
    }
}
END_TEST

START_TEST(answers_may_come_from_any_thread)
{
    struct seen seen[20] = {0};
    for (size_t i = 0; i < 20; i++) {
        call_for("thread", 5000, &seen[i]);
    }
    for (size_t i = 0; i < 20; i++) {
        await(&seen[i]);
        ck_assert_int_eq(seen[i].end, BACKEND_ANSWERED);
    }
}
END_TEST

START_TEST(jobs_run_on_workers_and_report_progress)
{
    struct seen seen[20] = {0};
    for (size_t i = 0; i < 20; i++) {
        call_for("jobs", 20000, &seen[i]);
    }
    for (size_t i = 0; i < 20; i++) {
        await(&seen[i]);
        ck_assert_int_eq(seen[i].end, BACKEND_ANSWERED);
        ck_assert_uint_ge(seen[i].progress, 1);
        ck_assert_str_eq(seen[i].stages, "working ");
    }
}
END_TEST

START_TEST(reports_that_follow_quickly_are_merged_and_bad_ones_dropped)
{
    struct seen seen = {0};
    call_for("progress", 5000, &seen);
    await(&seen);
    ck_assert_str_eq(seen.stages, "extracting searching ");
    ck_assert_uint_eq(seen.progress, 2);
}
END_TEST

START_TEST(a_cancelled_call_ends_at_once_and_its_plugin_hears_of_it)
{
    struct seen seen = {0};
    uint64_t id = call_for("until cancelled", 60000, &seen);
    run_for(10);
    backend_cancel(backend, id);
    ck_assert_uint_eq(seen.ended, 1);
    ck_assert_int_eq(seen.end, BACKEND_CANCELLED);
    backend_cancel(backend, id);
    backend_cancel(backend, 12345);
    backend_cancel(backend, UINT64_MAX);
    ck_assert_uint_eq(seen.ended, 1);
}
END_TEST

START_TEST(plugins_may_wait_on_timers)
{
    struct seen seen = {0};
    call_for("wait", 5000, &seen);
    await(&seen);
    ck_assert_int_eq(seen.end, BACKEND_ANSWERED);
}
END_TEST

START_TEST(a_message_buffer_that_comes_back_is_empty_and_wiped)
{
    struct seen seen = {0};
    call_for("answer", 5000, &seen);
    await(&seen);
    struct whorl_secret buffer = backend_buffer(backend);
    ck_assert_uint_eq(buffer.len, 0);
    ck_assert_uint_gt(buffer.cap, 0); /* that of the call */
    for (size_t i = 0; i < buffer.cap; i++) {
        ck_assert_uint_eq(buffer.bytes[i], 0);
    }
    struct whorl_secret other = backend_buffer(backend);
    ck_assert_ptr_null(other.bytes); /* it was the only one */
    whorl_secret_release(&buffer);
}
END_TEST

START_TEST(what_is_answered_at_once_is_reported_when_the_calls_have_been_made)
{
    struct seen seen[60] = {0};
    host_gather(host);
    for (size_t i = 0; i < 60; i++) {
        call_for("answer", 5000, &seen[i]);
        ck_assert_uint_eq(seen[i].ended, 0);
    }
    host_settle(host); /* the loop has not run */
    for (size_t i = 0; i < 60; i++) {
        ck_assert_uint_eq(seen[i].ended, 1);
        ck_assert_int_eq(seen[i].end, BACKEND_ANSWERED);
        ck_assert_uint_eq(seen[i].len, 16);
    }
    struct backend_stats stats;
    backend_stats(backend, &stats);
    ck_assert_uint_eq(stats.in_flight, 0);
    ck_assert_uint_eq(stats.ends[BACKEND_ANSWERED], 60);
    ck_assert_uint_eq(stats.latency.count, 60);
}
END_TEST

/* Asks again as soon as it is answered. */
struct chain {
    unsigned left;
};

static void ask_again(void *ctx, enum backend_end end, const uint8_t *answer, size_t len)
{
    struct chain *chain = ctx;
    struct whorl_secret message = backend_buffer(backend);
    struct backend_listener listener = {on_progress, ask_again, chain};
    (void)answer, (void)len;
    ck_assert_int_eq(end, BACKEND_ANSWERED);
    if (--chain->left > 0) {
        ck_assert_int_eq(whorl_secret_write(&message, "answer", 6), 0);
        backend_call(backend, &message, 5000, &listener);
    }
    whorl_secret_release(&message);
}

START_TEST(answers_that_bring_calls_that_are_answered_at_once_hold_up_nobody)
{
    struct chain chain = {1001};
    host_gather(host);
    ask_again(&chain, BACKEND_ANSWERED, NULL, 0);
    host_settle(host);
    ck_assert_uint_gt(chain.left, 900);
    for (unsigned rounds = 0; chain.left > 0; rounds++) {
        ck_assert_uint_lt(rounds, 1000);
        uv_run(&loop, UV_RUN_ONCE);
    }
}
END_TEST

START_TEST(a_report_of_a_call_that_has_ended_is_not_taken_for_the_next_ones)
{
    struct seen first = {0}, second = {0};
    host_gather(host);
    call_for("report and answer", 5000, &first);
    host_settle(host);
    ck_assert_uint_eq(first.ended, 1);
    uint64_t id = call_for("until cancelled", 60000, &second); /* in the same place */
    run_for(20);
    ck_assert_uint_eq(second.progress, 0);
    backend_cancel(backend, id);
    ck_assert_uint_eq(second.ended, 1);
    ck_assert_uint_eq(first.progress, 0);
}
END_TEST

START_TEST(more_calls_than_allowed_are_turned_away_at_once)
{
    struct seen held[64] = {0}, seen = {0};
    for (size_t i = 0; i < 64; i++) {
        call_for("until cancelled", 30, &held[i]);
    }
    call_for("answer", 5000, &seen);
    ck_assert_uint_eq(seen.ended, 1);
    ck_assert_int_eq(seen.end, BACKEND_BUSY);
    for (size_t i = 0; i < 64; i++) {
        await(&held[i]);
        ck_assert_int_eq(held[i].end, BACKEND_TIMED_OUT);
    }
}
END_TEST

static void fail_calls(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct seen seen = {0};
        call_for("garbage bomb", 60000, &seen);
        await(&seen);
        ck_assert_int_eq(seen.end, BACKEND_MALFORMED);
    }
}

START_TEST(a_backend_that_fails_in_a_row_is_cut_off_and_answers_again_when_it_is_well)
{
    struct backend_stats stats;
    struct seen seen = {0}, off = {0};
    uint64_t wait_ms = 0;
    fail_calls(4);
    call_for("answer", 60000, &seen);
    await(&seen); /* one success, and the count begins anew */
    fail_calls(4);
    ck_assert(!backend_is_cut_off(backend, &wait_ms));
    fail_calls(1);
    ck_assert(backend_is_cut_off(backend, &wait_ms));
    call_for("answer", 60000, &off);
    ck_assert_uint_eq(off.ended, 1); /* at once */
    ck_assert_int_eq(off.end, BACKEND_CUT_OFF);
    ck_assert(logged("a backend is cut off"));
    while (off.end == BACKEND_CUT_OFF) {
        run_for(100);
        off = (struct seen){0};
        call_for("answer", 60000, &off);
        await(&off);
    }
    ck_assert_int_eq(off.end, BACKEND_ANSWERED);
    ck_assert(!backend_is_cut_off(backend, &wait_ms));
    ck_assert(logged("a backend is let in again"));
    backend_stats(backend, &stats);
    ck_assert_uint_eq(stats.ends[BACKEND_MALFORMED], 9);
    ck_assert_uint_eq(stats.ends[BACKEND_ANSWERED], 2);
    ck_assert_uint_eq(stats.latency.count, 11);
    ck_assert_uint_eq(stats.breaker_opened, 1);
    ck_assert_uint_eq(stats.in_flight, 0);
}
END_TEST

START_TEST(a_deadline_that_the_caller_shortened_does_not_cut_the_backend_off)
{
    struct seen seen[20] = {0};
    uint64_t wait_ms = 0;
    for (unsigned i = 0; i < 20; i++) {
        call_for("until cancelled", 5, &seen[i]);
    }
    for (unsigned i = 0; i < 20; i++) {
        await(&seen[i]);
        ck_assert_int_eq(seen[i].end, BACKEND_TIMED_OUT);
    }
    ck_assert(!backend_is_cut_off(backend, &wait_ms));
}
END_TEST

START_TEST(no_call_is_lost_while_another_instance_takes_over)
{
    struct seen seen = {0}, last = {0};
    last.unref = backend; /* the only reference goes when the call ends */
    call_for("jobs", 20000, &seen);
    call_for("wait", 20000, &last);
    backend = backend_start(host, conf, conf_find_plugin(conf, "finder"), &fault);
    ck_assert_ptr_nonnull(backend);
    ck_assert_uint_eq(host_running(host), 2);
    struct seen here = {0};
    call_for("answer", 5000, &here);
    await(&here);
    await(&seen);
    await(&last);
    ck_assert_int_eq(seen.end, BACKEND_ANSWERED);
    ck_assert_int_eq(last.end, BACKEND_ANSWERED);
    run_for(50);
    ck_assert_uint_eq(host_running(host), 1);
}
END_TEST

START_TEST(many_calls_in_any_order_each_end_once)
{
    static const char *const acts[] = {
        "answer", "thread", "jobs", "twice", "wait", "garbage bomb", "until cancelled", "progress"};
    static struct seen seen[CALLS];
    uint64_t ids[CALLS];
    unsigned busy = 0;
    memset(seen, 0, sizeof seen);
    for (unsigned i = 0; i < CALLS; i++) {
        ids[i] = call_for(acts[i * 7 % 8], 1 + i % 50, &seen[i]);
        if (i % 3 == 0) {
            backend_cancel(backend, ids[i / 2]);
        }
        busy += seen[i].ended && seen[i].end == BACKEND_BUSY;
        uv_run(&loop, UV_RUN_NOWAIT);
        if (i % 32 == 0) {
            run_for(20); /* calls that were given up still hold their places */
        }
    }
    for (unsigned i = 0; i < CALLS; i++) {
        await(&seen[i]);
        ck_assert_uint_eq(seen[i].ended, 1);
    }
    ck_assert_uint_lt(busy, CALLS);
}
END_TEST

START_TEST(a_plugins_folder_is_its_own)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/var/finder", folder.dir);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777u, 0700);
    ck_assert_int_eq(chmod(path, 0755), 0);
    struct backend *again = backend_start(host, conf, conf_find_plugin(conf, "finder"), &fault);
    ck_assert_ptr_nonnull(again);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777u, 0700);
    backend_unref(again);
    snprintf(path, sizeof path, "%s/var/keeper", folder.dir);
    ck_assert_int_eq(symlink("/tmp", path), 0);
    ck_assert_ptr_null(backend_start(host, conf, conf_find_plugin(conf, "keeper"), &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "must be a directory, and no link to one"));
}
END_TEST

START_TEST(an_instance_that_does_not_start_says_why)
{
    conf_folder_write(&folder, "plugins.conf",
                      "plugin \"finder\" {\n    module = \"" TEST_PLUGINS "/test-acts.so\"\n"
                      "    settings { word = \"refuse\" }\n}\n"
                      "plugin \"keeper\" {\n    module = \"" TEST_PLUGINS "/test-sink.so\"\n"
                      "    settings { word = \"x\" }\n}\n"
                      "plugin \"idle\" { enabled = no module = \"x.so\" }\n");
    struct conf *other = conf_folder_read(&folder);
    ck_assert_msg(other != NULL, "%s", folder.complaints);
    ck_assert_ptr_null(backend_start(host, other, conf_find_plugin(other, "finder"), &fault));
    ck_assert_str_eq(fault.where, "word");
    ck_assert_str_eq(fault.text, "plugin finder did not start: word: was told to refuse");
    ck_assert_ptr_null(backend_start(host, other, conf_find_plugin(other, "idle"), &fault));
    ck_assert_str_eq(fault.text, "plugin idle is disabled");
    conf_unref(other);
}
END_TEST

static const struct {
    const char *field, *text;
} refusals[] = {
    {"whorl_plugin", "must export the symbol whorl_plugin, found none: it is no Whorl plugin"},
    {"magic", "magic must be 0x57484f52, found 0x12345678"},
    {"abi_major", "abi_major must be 1, found 2"},
    {"size", "size must be at least 136, that of ABI 1.0, found 64"},
    {"call", "call must be a function, found NULL"},
    {"role", "role must be 1 (search), 2 (look-up) or 3 (sink), found 9"},
    {"modalities", "modalities must hold at least one word for this role, found none"},
    {"formats", "formats must hold words of small letters, digits and . _ - (1 to 32), entry 2 is "
                "none"},
    {"settings", "setting bad must have a type from 1 to 5, found 77"},
    {"settings", "setting bad must have flags within 0xf, found 0x100000"},
    {"settings", "setting bad must have min <= max, found 5 and 4"},
    {"settings", "setting good is there twice"},
    {"settings", "setting 3 must have a name of small letters, digits and _, other than force"},
    {"size", "size must be that of whorl_plugin, 136, found 4096"},
    {"setting_size", "setting_size must be at least 48, that of ABI 1.0, found 8"},
    {"title", "title must be a text of 1 to 100 bytes of UTF-8"},
    {"settings", "settings must be a list of 3, found NULL"},
    {"version", "version must be a text of 1 to 100 bytes of UTF-8"},
    {"title", "title must be a text of 1 to 100 bytes of UTF-8"},
    {"title", "title must be a text of 1 to 100 bytes of UTF-8"},
    {"title", "title must be a text of 1 to 100 bytes of UTF-8"},
    {"entitlement", "entitlement must be NULL or a word of small letters, digits and . _ -"},
    {"flags", "flags must be 0 in ABI 1.1, found 0x1"},
    {"start", "start must be a function, found NULL"},
    {"stop", "stop must be a function, found NULL"},
    {"settings", "setting 3 must have a name of small letters, digits and _, other than force"},
    {"settings", "setting 3 must have a name of small letters, digits and _, other than force"},
    {"settings", "setting 3 must have a name of small letters, digits and _, other than force"},
    {"settings", "setting 3 must have a name of small letters, digits and _, other than force"},
    {"settings", "setting bad is a path and must be of type 1 (string), found 2"},
    {"settings", "setting bad is a source and must be of type 1 (string) and not per force"},
    {"settings", "setting bad is a source and must be of type 1 (string) and not per force"},
    {"settings", "setting bad is a second source"},
    {"settings", "setting bad must have min <= max, found -inf and 0"},
    {"settings", "setting bad must have min <= max, found 0 and inf"},
    {"setting_size", "setting_size must be at least 48, that of ABI 1.0, found 52"},
    {"modalities", "modalities must hold at most 32 words and end with NULL"},
    {"formats", "formats must hold words of small letters, digits and . _ - (1 to 32), entry 2 is "
                "none"},
    {"formats", "formats must hold words of small letters, digits and . _ - (1 to 32), entry 2 is "
                "none"},
    {"formats", "formats must hold words of small letters, digits and . _ - (1 to 32), entry 2 is "
                "none"},
    {"settings", "setting bad must have flags within 0x7, found 0x8"},
    {"keys", "keys must hold words of small letters, digits and . _ - (1 to 32), entry 2 is none"},
    {"setting_count", "setting_count must be at most 256, found 1000"},
    {"size", "whorl_plugin must be a struct of 136 bytes, found 4"},
    {"settings", "setting bad must have a fallback and an about that are NULL or a line of at most "
                 "1000 bytes of UTF-8"},
    {"settings", "setting bad must have a fallback and an about that are NULL or a line of at most "
                 "1000 bytes of UTF-8"},
    {"title", "title must be a text of 1 to 100 bytes of UTF-8"},
};

START_TEST(a_broken_descriptor_is_refused_naming_the_field)
{
    char path[512], expected[512];
    snprintf(path, sizeof path, "%s/test-broken-%d.so", TEST_PLUGINS, _i + 1);
    ck_assert_ptr_null(module_load(path, &fault));
    snprintf(expected, sizeof expected, "test-broken-%d.so: %s", _i + 1, refusals[_i].text);
    ck_assert_str_eq(fault.where, refusals[_i].field);
    ck_assert_msg(strstr(fault.text, expected) != NULL, "got %s", fault.text);
    size_t len = strlen(fault.text), tail = strlen(expected);
    ck_assert_str_eq(fault.text + len - tail, expected);
}
END_TEST

START_TEST(a_file_that_is_no_module_is_refused)
{
    ck_assert_ptr_null(module_load("/nowhere/x.so", &fault));
    ck_assert_str_eq(fault.text, "/nowhere/x.so: can't be found: No such file or directory");
    ck_assert_ptr_null(module_load("/tmp", &fault));
    ck_assert_str_eq(fault.text, "/tmp: must be a regular file");
    struct conf_folder other;
    char path[128];
    conf_folder_make(&other);
    conf_folder_write(&other, "x.so", "not a module");
    snprintf(path, sizeof path, "%s/x.so", other.dir);
    ck_assert_ptr_null(module_load(path, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "x.so: can't be loaded: "));
    ck_assert_int_eq(chmod(path, 0666), 0);
    ck_assert_ptr_null(module_load(path, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "can be changed by everybody"));
    conf_folder_remove(&other);
}
END_TEST

/* Puts a copy of a module in the place of whatever file has that name. */
static void put_module(const char *from, const char *path)
{
    static char bytes[8 << 20];
    char other[300];
    FILE *in = fopen(from, "r");
    ck_assert_ptr_nonnull(in);
    size_t len = fread(bytes, 1, sizeof bytes, in);
    ck_assert_int_eq(fclose(in), 0);
    snprintf(other, sizeof other, "%s.new", path);
    FILE *out = fopen(other, "w");
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(fwrite(bytes, 1, len, out), len);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_int_eq(rename(other, path), 0);
}

START_TEST(a_file_put_in_a_modules_place_is_loaded_beside_it)
{
    struct conf_folder other;
    char path[256];
    conf_folder_make(&other);
    snprintf(path, sizeof path, "%s/x.so", other.dir);
    put_module(TEST_PLUGINS "/test-acts.so", path);
    const struct whorl_plugin *first = module_load(path, &fault);
    ck_assert_msg(first != NULL, "%s", fault.text);
    ck_assert_uint_eq(first->role, WHORL_ROLE_SEARCH);
    ck_assert_ptr_eq(module_load(path, &fault), first);
    put_module(TEST_PLUGINS "/test-acts.so", path); /* the same again: it is known */
    ck_assert_ptr_eq(module_load(path, &fault), first);
    put_module(TEST_PLUGINS "/test-sink.so", path);
    const struct whorl_plugin *second = module_load(path, &fault);
    ck_assert_msg(second != NULL, "%s", fault.text);
    ck_assert_uint_eq(second->role, WHORL_ROLE_SINK);
    ck_assert_uint_eq(first->role, WHORL_ROLE_SEARCH); /* and is still there */
    put_module(TEST_PLUGINS "/test-acts.so", path);
    ck_assert_ptr_eq(module_load(path, &fault), first);
    conf_folder_remove(&other);
}
END_TEST

START_TEST(a_module_that_was_written_over_while_in_use_is_refused)
{
    struct conf_folder other;
    char path[256];
    conf_folder_make(&other);
    snprintf(path, sizeof path, "%s/x.so", other.dir);
    put_module(TEST_PLUGINS "/test-acts.so", path);
    ck_assert_ptr_nonnull(module_load(path, &fault));
    FILE *file = fopen(path, "a"); /* the end of the file is no code that runs */
    fputc('x', file);
    fclose(file);
    ck_assert_ptr_null(module_load(path, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "was written over while it is in use"));
    conf_folder_remove(&other);
}
END_TEST

/* What holds wherever the plugin runs. */
static TCase *make_case(const char *name, void (*before)(void))
{
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, before, teardown);
    tcase_add_test(tests, a_call_is_answered_once);
    tcase_add_test(tests, a_second_answer_is_ignored_and_logged);
    tcase_add_test(tests, an_answer_to_a_call_that_never_was_is_ignored);
    tcase_add_test(tests, a_call_that_is_never_answered_times_out_and_may_be_answered_late);
    tcase_add_test(tests, garbage_is_no_answer);
    tcase_add_test(tests, answers_may_come_from_any_thread);
    tcase_add_test(tests, jobs_run_on_workers_and_report_progress);
    tcase_add_test(tests, reports_that_follow_quickly_are_merged_and_bad_ones_dropped);
    tcase_add_test(tests, a_cancelled_call_ends_at_once_and_its_plugin_hears_of_it);
    tcase_add_test(tests, plugins_may_wait_on_timers);
    tcase_add_test(tests, a_message_buffer_that_comes_back_is_empty_and_wiped);
    tcase_add_test(tests, more_calls_than_allowed_are_turned_away_at_once);
    tcase_add_test(tests,
                   a_backend_that_fails_in_a_row_is_cut_off_and_answers_again_when_it_is_well);
    tcase_add_test(tests, a_deadline_that_the_caller_shortened_does_not_cut_the_backend_off);
    tcase_add_test(tests, no_call_is_lost_while_another_instance_takes_over);
    tcase_add_test(tests, many_calls_in_any_order_each_end_once);
    tcase_add_test(tests, a_plugins_folder_is_its_own);
    tcase_add_test(tests, an_instance_that_does_not_start_says_why);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("host");
    suite_add_tcase(suite, make_case("in_process", setup));
    suite_add_tcase(suite, make_case("process", setup_isolated));
    TCase *at_once = tcase_create("at once");
    tcase_add_checked_fixture(at_once, setup, teardown);
    tcase_add_test(at_once, what_is_answered_at_once_is_reported_when_the_calls_have_been_made);
    tcase_add_test(at_once, answers_that_bring_calls_that_are_answered_at_once_hold_up_nobody);
    tcase_add_test(at_once, a_report_of_a_call_that_has_ended_is_not_taken_for_the_next_ones);
    suite_add_tcase(suite, at_once);
    TCase *modules = tcase_create("modules");
    tcase_add_loop_test(modules, a_broken_descriptor_is_refused_naming_the_field, 0,
                        sizeof refusals / sizeof refusals[0]);
    tcase_add_test(modules, a_file_that_is_no_module_is_refused);
    tcase_add_test(modules, a_file_put_in_a_modules_place_is_loaded_beside_it);
    tcase_add_test(modules, a_module_that_was_written_over_while_in_use_is_refused);
    suite_add_tcase(suite, modules);
    return run_suite(suite);
}
