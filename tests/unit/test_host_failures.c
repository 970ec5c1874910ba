/* Reading a configuration, starting a backend and calling it, in the server's process and in one of
 * its own, with each call failing once: a clear sentence or an end of the call, and the next goes
 * through. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf_folder.h"
#include "core/host/host.h"
#include "failing.h"
#include "run_suite.h"

static struct conf_folder folder;
static uv_loop_t loop;
static uv_timer_t ticking;
static struct log *logger;
static struct whorl_fault fault;
static struct conf *conf;
static struct host *host;
static struct backend *backend;
static int nowhere;

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void set_up_as(const char *isolation)
{
    conf_folder_make(&folder);
    folder.isolation = isolation;
    conf_folder_fill(&folder);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &ticking);
    uv_timer_start(&ticking, on_tick, 5, 5);
    nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    logger = log_new(nowhere, WHORL_LOG_ERROR);
    conf = conf_folder_read(&folder);
    ck_assert_msg(conf != NULL, "%s", folder.complaints);
}

static void set_up(void)
{
    set_up_as("in_process");
}

static void set_up_isolated(void)
{
    set_up_as("process");
}

static void tear_down(void)
{
    uv_close((uv_handle_t *)&ticking, NULL);
    conf_unref(conf);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    log_free(logger);
    close(nowhere);
    conf_folder_remove(&folder);
}

/* ------------------------------------------------------------------ the configuration */

static struct conf *again;

static void nothing(void)
{
}

static bool read_conf(void)
{
    again = conf_folder_read(&folder);
    snprintf(fault.text, sizeof fault.text, "%.200s", folder.complaints);
    return again != NULL;
}

static void release_conf(bool done)
{
    if (done) {
        ck_assert_str_eq(folder.complaints, "");
        conf_unref(again);
    }
}

static const struct failing_deed reading = {"read the configuration", nothing, read_conf,
                                            release_conf, "stat realpath poll"};

START_TEST(a_configuration_is_read_whole_or_its_fault_is_told)
{
    failing_try(&reading, &fault);
}
END_TEST

/* ------------------------------------------------------------------ starting */

static bool start(void)
{
    host = host_new(&loop, 2, logger, &fault);
    backend = host ? backend_start(host, conf, conf_find_plugin(conf, "finder"), &fault) : NULL;
    return backend != NULL;
}

static void end(bool done)
{
    (void)done;
    if (backend)
        backend_unref(backend);
    while (host && host_running(host) > 0)
        uv_run(&loop, UV_RUN_ONCE);
    if (host)
        host_close(host);
    for (int i = 0; i < 3; i++)
        uv_run(&loop, UV_RUN_ONCE);
    backend = NULL;
    host = NULL;
}

static const struct failing_deed starting = {"start a backend", nothing, start, end, "poll"};

START_TEST(a_backend_starts_or_its_fault_is_told)
{
    failing_try(&starting, &fault);
}
END_TEST

/* ------------------------------------------------------------------ calling */

struct seen {
    unsigned ended;
    enum backend_end end;
};

static void on_progress(void *ctx, const char *stage, double fraction)
{
    (void)ctx, (void)stage, (void)fraction;
}

static void on_ended(void *ctx, enum backend_end how, const uint8_t *answer, size_t len)
{
    struct seen *seen = ctx;
    (void)answer, (void)len;
    seen->ended++;
    seen->end = how;
}

static bool send_call(const char *act, struct seen *seen)
{
    struct backend_listener listener = {on_progress, on_ended, seen};
    struct whorl_secret message = backend_buffer(backend);
    *seen = (struct seen){0};
    uv_update_time(&loop);
    if (whorl_secret_write(&message, act, strlen(act)) != 0) {
        whorl_secret_release(&message);
        return false;
    }
    backend_call(backend, &message, 2000, &listener);
    return true;
}

static void await(const struct seen *seen)
{
    while (seen->ended == 0)
        uv_run(&loop, UV_RUN_ONCE);
}

static void calls_end_once(const char *act)
{
    ck_assert_msg(start(), "%s", fault.text);
    unsigned rounds = 0;
    for (; failing_again(rounds == 0); rounds++) {
        struct seen seen;
        failing_on_in(pthread_self());
        bool sent = send_call(act, &seen);
        while (sent && seen.ended == 0)
            uv_run(&loop, UV_RUN_ONCE);
        const char *failed = failing_off();
        ck_assert(!sent || seen.ended == 1);
        ck_assert_msg(failed != NULL || seen.end == BACKEND_ANSWERED, "%s",
                      backend_end_name(seen.end));
        /* It may be that its process has to be made anew first. */
        for (unsigned tries = 0; seen.end != BACKEND_ANSWERED || !sent || tries == 0; tries++) {
            ck_assert_uint_lt(tries, 400);
            sent = send_call("answer", &seen);
            await(&seen);
            if (seen.end != BACKEND_ANSWERED)
                usleep(10000);
        }
    }
    ck_assert_uint_gt(rounds, 1);
    end(true);
}

START_TEST(a_call_ends_once_and_the_next_is_answered)
{
    static const char *const acts[] = {"answer", "twice", "foreign"};
    calls_end_once(acts[_i]);
}
END_TEST

/* ------------------------------------------------------------------ in the plugin's process */

static bool ended_with(const char *act, unsigned tries)
{
    struct seen seen = {0, BACKEND_FAILED};
    for (; tries > 0; tries--) {
        if (send_call(act, &seen))
            await(&seen);
        if (seen.end == BACKEND_ANSWERED)
            return true;
        usleep(10000);
    }
    return false;
}

/* What it may not do is noted where it can be told, and it starts all the same. */
START_TEST(a_plugins_process_starts_or_its_fault_is_told)
{
    unsigned rounds = 0;
    for (; failing_again(rounds == 0); rounds++) {
        fault = (struct whorl_fault){"", ""};
        failing_on_in_guests();
        bool done = start();
        const char *failed = failing_off();
        ck_assert_msg(done || (failed != NULL && fault.text[0] != '\0'), "%s in silence", failed);
        ck_assert_msg(!done || ended_with("answer", 1), "%s: it does not answer", failed);
        end(done);
    }
    ck_assert_uint_gt(rounds, 20);
}
END_TEST

/* A process that is short of something may lose a call, never answer it wrongly or twice; it or the
 * next one goes on. */
START_TEST(a_plugins_process_answers_or_is_replaced)
{
    static const char *const acts[] = {"answer", "twice", "progress", "jobs", "wait", "thread"};
    ck_assert_msg(start(), "%s", fault.text);
    unsigned rounds = 0;
    for (; failing_again(rounds == 0); rounds++) {
        struct seen seen = {0, BACKEND_FAILED};
        failing_on_in_guests();
        bool sent = send_call(acts[_i], &seen);
        if (sent)
            await(&seen);
        const char *failed = failing_off();
        ck_assert(!sent || seen.ended == 1);
        ck_assert_msg(failed != NULL || seen.end == BACKEND_ANSWERED, "%s",
                      backend_end_name(seen.end));
        ck_assert_msg(ended_with("answer", 400), "%s: nobody answers any more", failed);
    }
    end(true);
}
END_TEST

static void add_all(Suite *suite, const char *name, void (*begin)(void))
{
    TCase *tests = tcase_create(name);
    tcase_add_checked_fixture(tests, begin, tear_down);
    tcase_set_timeout(tests, 200);
    tcase_add_test(tests, a_configuration_is_read_whole_or_its_fault_is_told);
    tcase_add_test(tests, a_backend_starts_or_its_fault_is_told);
    tcase_add_loop_test(tests, a_call_ends_once_and_the_next_is_answered, 0, 3);
    suite_add_tcase(suite, tests);
}

int main(void)
{
    Suite *suite = suite_create("host_failures");
    add_all(suite, "in the server's process", set_up);
    add_all(suite, "in a process of its own", set_up_isolated);
    TCase *guests = tcase_create("a plugin's process");
    tcase_add_checked_fixture(guests, set_up_isolated, tear_down);
    tcase_set_timeout(guests, 200);
    tcase_add_test(guests, a_plugins_process_starts_or_its_fault_is_told);
    tcase_add_loop_test(guests, a_plugins_process_answers_or_is_replaced, 0, 6);
    suite_add_tcase(suite, guests);
    return run_suite(suite);
}
