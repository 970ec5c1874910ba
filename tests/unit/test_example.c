/* The example backend in the real host: every answer it can give. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf_folder.h"
#include "core/host/host.h"
#include "run_suite.h"

static struct conf_folder folder;
static uv_loop_t loop;
static struct log *logger;
static struct host *host;
static struct backend *backend;

struct seen {
    bool ended;
    enum backend_end end;
    unsigned reports;
    uint8_t answer[512];
    size_t len;
};

static void on_progress(void *ctx, const char *stage, double fraction)
{
    struct seen *seen = ctx;
    ck_assert(strcmp(stage, "waiting") == 0 || strcmp(stage, "searching") == 0);
    ck_assert(fraction >= 0 && fraction <= 1);
    seen->reports++;
}

static void on_ended(void *ctx, enum backend_end end, const uint8_t *answer, size_t len)
{
    struct seen *seen = ctx;
    seen->ended = true;
    seen->end = end;
    seen->len = len;
    ck_assert_uint_le(len, sizeof seen->answer);
    if (len > 0) {
        memcpy(seen->answer, answer, len);
    }
}

static void plugins_with_delay(unsigned delay_ms)
{
    conf_folder_write(
        &folder, "plugins.conf",
        "plugin finder {\n"
        "    module = \"" EXAMPLE "\"\n"
        "    settings {\n"
        "        people = {\"E-1=open sesame\", \"E-2=swordfish\", \"E-3=swordfish\"}\n"
        "        delay_ms = %u\n"
        "    }\n"
        "}\n"
        "plugin keeper {\n"
        "    module = \"" TEST_PLUGINS "/test-sink.so\"\n"
        "    settings { word = kept }\n"
        "}\n",
        delay_ms);
}

static void start(unsigned delay_ms)
{
    struct whorl_fault fault = {"", ""};
    plugins_with_delay(delay_ms);
    struct conf *conf = conf_folder_read(&folder);
    ck_assert_msg(conf != NULL, "%s", folder.complaints);
    backend = backend_start(host, conf, conf_find_plugin(conf, "finder"), &fault);
    ck_assert_msg(backend != NULL, "%s", fault.text);
    conf_unref(conf);
}

static void setup(void)
{
    struct whorl_fault fault;
    conf_folder_make(&folder);
    conf_folder_fill(&folder);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    logger = log_new(STDERR_FILENO, WHORL_LOG_ERROR);
    host = host_new(&loop, 2, logger, &fault);
    ck_assert_ptr_nonnull(host);
    backend = NULL;
}

static void teardown(void)
{
    backend_unref(backend);
    uv_run(&loop, UV_RUN_DEFAULT);
    host_close(host);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    log_free(logger);
    conf_folder_remove(&folder);
}

static uint64_t search(const char *const *texts, size_t count, struct seen *seen)
{
    struct whorl_secret message = {NULL, 0, 0};
    struct backend_listener listener = {on_progress, on_ended, seen};
    msgpack_packer pk;
    memset(seen, 0, sizeof *seen);
    msgpack_packer_init(&pk, &message, whorl_secret_write);
    msgpack_pack_map(&pk, 2);
    whorl_put_str(&pk, "op", "search");
    whorl_put_key(&pk, "samples");
    msgpack_pack_array(&pk, count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_map(&pk, 2);
        whorl_put_int(&pk, "index", (int64_t)i);
        whorl_put_bin(&pk, "data", texts[i], strlen(texts[i]));
    }
    uv_update_time(&loop);
    return backend_call(backend, &message, 20000, &listener);
}

static void expect(const struct seen *seen, const char *class, size_t candidates)
{
    struct whorl_msg msg;
    struct whorl_fault fault;
    while (!seen->ended) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(seen->end, BACKEND_ANSWERED);
    ck_assert_msg(whorl_msg_parse(seen->answer, seen->len, &msg, &fault), "%s", fault.text);
    ck_assert(whorl_str_is(whorl_map_get(&msg.root, "class"), class));
    const msgpack_object *list = whorl_map_get(&msg.root, "candidates");
    ck_assert_uint_eq(list ? list->via.array.size : 0, candidates);
    const msgpack_object *people = whorl_map_get(whorl_map_get(&msg.root, "searched"), "people");
    ck_assert(strcmp(class, "not_searched") == 0 || (people && people->via.u64 == 3));
    if (candidates > 0) {
        const msgpack_object *ref = whorl_map_get(&list->via.array.ptr[0], "ref");
        ck_assert(whorl_str_is(ref, candidates == 1 ? "E-1" : "E-2"));
    }
    whorl_msg_release(&msg);
}

START_TEST(texts_are_found_as_the_readme_says)
{
    struct seen seen;
    const char *const texts[] = {"open sesame", "swordfish", "nobody"};
    start(0);
    search(&texts[0], 1, &seen);
    expect(&seen, "match", 1);
    search(&texts[1], 1, &seen);
    expect(&seen, "possible", 2);
    search(&texts[2], 1, &seen);
    expect(&seen, "no_match", 0);
    search(NULL, 0, &seen);
    expect(&seen, "not_searched", 0);
}
END_TEST

START_TEST(waiting_is_reported)
{
    struct seen seen;
    const char *const text = "open sesame";
    start(400);
    search(&text, 1, &seen);
    expect(&seen, "match", 1);
    ck_assert_uint_ge(seen.reports, 2);
}
END_TEST

START_TEST(a_cancelled_search_ends_and_lets_the_backend_stop)
{
    struct seen seen;
    const char *const text = "open sesame";
    start(1000);
    uint64_t call = search(&text, 1, &seen);
    uv_run(&loop, UV_RUN_NOWAIT);
    backend_cancel(backend, call);
    ck_assert(seen.ended);
    ck_assert_int_eq(seen.end, BACKEND_CANCELLED);
}
END_TEST

START_TEST(an_entry_without_text_is_refused_where_it_stands)
{
    conf_folder_write(&folder, "plugins.conf",
                      "plugin finder {\n"
                      "    module = \"" EXAMPLE "\"\n"
                      "    settings {\n"
                      "        people = {\"E-1=fine\", \"E-2=\"}\n"
                      "    }\n"
                      "}\n"
                      "plugin keeper {\n"
                      "    module = \"" TEST_PLUGINS "/test-sink.so\"\n"
                      "    settings { word = kept }\n"
                      "}\n");
    ck_assert_ptr_null(conf_folder_read(&folder));
    ck_assert_str_eq(folder.complaints,
                     "plugins.conf:4: plugin finder: people: entry 2 must be \"REF=TEXT\", with 1 "
                     "to 32 bytes of REF\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("example");
    TCase *tests = tcase_create("example");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, texts_are_found_as_the_readme_says);
    tcase_add_test(tests, waiting_is_reported);
    tcase_add_test(tests, a_cancelled_search_ends_and_lets_the_backend_stop);
    tcase_add_test(tests, an_entry_without_text_is_refused_where_it_stands);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
