/* The operator's socket: who is heard, what is answered, and that one that fails leaves it open to
 * the next. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/control/control.h"
#include "failing.h"
#include "run_suite.h"

static char dir[64], runtime[96];
static struct whorl_fault fault;
static uv_loop_t loop;
static uv_async_t leaving;
static pthread_t thread;
static struct control *control;
static struct control_call *held;

static void remove_runtime(void)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'", runtime);
    ck_assert_int_eq(system(command), 0);
}

static void on_leave(uv_async_t *async)
{
    if (held != NULL) {
        control_reply(held, json_object());
    }
    held = NULL;
    control_close(control);
    uv_close((uv_handle_t *)async, NULL);
}

/* "echo" is sent back, "large" is more than an answer may be, "hold" is answered at the end, and
 * what can't be put into JSON is an answer that can't be sent. */
static void answer(void *ctx, struct control_call *call, const json_t *request)
{
    const char *what = json_string_value(json_object_get(request, "ask"));
    (void)ctx;
    if (what != NULL && strcmp(what, "large") == 0) {
        char *text = malloc((32u << 20) + 1);
        memset(text, 'x', 32u << 20);
        text[32u << 20] = '\0';
        control_reply(call, json_pack("{s:o}", "text", json_string_nocheck(text)));
        free(text);
    } else if (what != NULL && strcmp(what, "hold") == 0) {
        held = call;
    } else if (what != NULL && strcmp(what, "list") == 0) {
        control_reply(call, json_array());
    } else {
        control_reply(call, json_deep_copy(request));
    }
}

static void *run(void *arg)
{
    (void)arg;
    uv_run(&loop, UV_RUN_DEFAULT);
    return NULL;
}

static void set_up(void)
{
    snprintf(dir, sizeof dir, "/tmp/whorl-control-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(runtime, sizeof runtime, "%s/run", dir);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    (void)signal(SIGPIPE, SIG_IGN); /* as the server does */
}

static void serve(void)
{
    control = control_open(&loop, runtime, answer, NULL, &fault);
    ck_assert_msg(control != NULL, "%s", fault.text);
    ck_assert_int_eq(uv_async_init(&loop, &leaving, on_leave), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
}

static void leave(void)
{
    uv_async_send(&leaving);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static void tear_down(void)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    remove_runtime();
    ck_assert_int_eq(rmdir(dir), 0);
}

static json_t *ask(const char *what)
{
    fault = (struct whorl_fault){"", ""};
    return control_ask(runtime, json_pack("{s:s}", "ask", what), 10, &fault);
}

static void expect_echo(void)
{
    json_t *reply = ask("echo");
    ck_assert_msg(reply != NULL, "%s", fault.text);
    ck_assert_str_eq(json_string_value(json_object_get(reply, "ask")), "echo");
    json_decref(reply);
}

START_TEST(a_request_is_answered_and_nobody_else_may_enter)
{
    char path[128];
    struct stat st;
    serve();
    expect_echo();
    ck_assert_int_eq(stat(runtime, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    snprintf(path, sizeof path, "%s/control", runtime);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    leave();
    ck_assert_int_ne(stat(path, &st), 0); /* the name went with it */
    ck_assert_ptr_null(ask("echo"));
    ck_assert_ptr_nonnull(strstr(fault.text, "no server can be reached"));
}
END_TEST

START_TEST(a_folder_that_others_can_write_in_is_refused)
{
    ck_assert_int_eq(mkdir(runtime, 0700), 0);
    ck_assert_int_eq(chmod(runtime, 0770), 0);
    ck_assert_ptr_null(control_open(&loop, runtime, answer, NULL, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "nobody else may write in it (mode is 0770)"));
    remove_runtime();
    FILE *file = fopen(runtime, "w"); /* no folder at all */
    fclose(file);
    ck_assert_ptr_null(control_open(&loop, runtime, answer, NULL, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "can't be opened"));
    ck_assert_int_eq(unlink(runtime), 0);
    ck_assert_ptr_null(control_open(&loop, "/nowhere/at/all", answer, NULL, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "can't be made"));
}
END_TEST

/* The name is the newer server's, which took it over: the older leaves it alone. */
START_TEST(a_server_that_ends_leaves_its_successor_s_socket)
{
    struct control *older = control_open(&loop, runtime, answer, NULL, &fault);
    ck_assert_msg(older != NULL, "%s", fault.text);
    control = control_open(&loop, runtime, answer, NULL, &fault);
    ck_assert_msg(control != NULL, "%s", fault.text);
    control_close(older);
    uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(uv_async_init(&loop, &leaving, on_leave), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
    expect_echo();
    leave();
}
END_TEST

/* The name is the older one's still, but another server is about to take it. */
START_TEST(a_server_that_ends_leaves_a_name_that_is_being_taken)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/control", runtime);
    for (int taking = 1; taking >= 0; taking--) {
        control = control_open(&loop, runtime, answer, NULL, &fault);
        ck_assert_msg(control != NULL, "%s", fault.text);
        int other = open(runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ck_assert_int_eq(flock(other, taking ? LOCK_EX : LOCK_UN), 0);
        control_close(control);
        ck_assert_int_eq(stat(path, &st) == 0, taking);
        close(other);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
}
END_TEST

START_TEST(who_holds_the_directory_s_lock_keeps_no_server_from_starting)
{
    ck_assert_int_eq(mkdir(runtime, 0700), 0);
    int other = open(runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(flock(other, LOCK_EX), 0);
    serve();
    expect_echo();
    leave();
    close(other);
}
END_TEST

START_TEST(an_answer_that_is_none_is_told)
{
    serve();
    ck_assert_ptr_null(ask("list"));
    ck_assert_str_eq(fault.text, "the server's answer can't be understood: it is no object");
    ck_assert_ptr_null(ask("large"));
    ck_assert_ptr_nonnull(strstr(fault.text, "the server gave no answer"));
    fault = (struct whorl_fault){"", ""};
    ck_assert_ptr_null(control_ask(runtime, json_pack("{s:s}", "ask", "hold"), 1, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "the server gave no answer: "));
    expect_echo();
    leave(); /* the one that is held is answered with its caller gone */
}
END_TEST

/* Sends bytes as they are and reads what comes until the end; its length. */
static ssize_t say(const char *bytes, size_t len, char *reply, size_t cap)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n, all = 0;
    snprintf(address.sun_path, sizeof address.sun_path, "%s/control", runtime);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    (void)!send(fd, bytes, len, MSG_NOSIGNAL);
    while ((n = read(fd, reply + all, cap - 1 - (size_t)all)) > 0) {
        all += n;
    }
    reply[all] = '\0';
    close(fd);
    return all;
}

START_TEST(what_is_no_request_is_refused_or_hung_up_on)
{
    static char flood[1 << 20], reply[4096];
    static const char none[] = "[1]\n", broken[] = "{\"ask\":\n";
    serve();
    ck_assert_int_gt(say(none, sizeof none - 1, reply, sizeof reply), 0);
    ck_assert_ptr_nonnull(strstr(reply, "the request is no JSON object"));
    ck_assert_int_gt(say(broken, sizeof broken - 1, reply, sizeof reply), 0);
    ck_assert_ptr_nonnull(strstr(reply, "the request is no JSON object"));
    memset(flood, 'x', sizeof flood); /* a line without an end */
    ck_assert_int_eq(say(flood, sizeof flood, reply, sizeof reply), 0);
    expect_echo();
    leave();
}
END_TEST

START_TEST(what_comes_after_the_request_does_not_cost_the_answer)
{
    static const char request[] = "{\"ask\":\"hold\"}\n";
    static char more[3 * 4096];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char reply[8] = "";
    serve();
    snprintf(address.sun_path, sizeof address.sun_path, "%s/control", runtime);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    expect_echo(); /* so the request was read */
    memset(more, '\n', sizeof more);
    ck_assert_int_eq(send(fd, more, sizeof more, MSG_NOSIGNAL), sizeof more);
    expect_echo();
    leave(); /* which answers it */
    ck_assert_int_eq(read(fd, reply, sizeof reply), 2);
    ck_assert_str_eq(reply, "{}");
    close(fd);
}
END_TEST

/* ------------------------------------------------------------------ failing calls */

static void nothing(void)
{
}

static bool open_it(void)
{
    control = control_open(&loop, runtime, answer, NULL, &fault);
    return control != NULL;
}

static void close_it(bool done)
{
    if (done) {
        control_close(control);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    remove_runtime();
}

/* "open" is also of the descriptor in reserve, which is made when next it is wanted; "flock" also
 * unlocks, as does the end of the directory's descriptor. */
static const struct failing_deed opening = {"open the socket", nothing, open_it, close_it,
                                            "open flock"};

START_TEST(a_socket_opens_or_its_fault_is_told)
{
    failing_try(&opening, &fault);
}
END_TEST

START_TEST(a_caller_gets_an_answer_or_is_told_that_there_is_none)
{
    unsigned rounds = 0;
    serve();
    for (; failing_again(rounds == 0); rounds++) {
        failing_on();
        json_t *reply = control_ask(runtime, json_object(), 2, &fault);
        const char *failed = failing_off();
        ck_assert_msg(reply != NULL || fault.text[0] != '\0', "%s in silence", failed);
        ck_assert_msg(reply != NULL || failed != NULL, "%s", fault.text);
        json_decref(reply);
        expect_echo();
    }
    ck_assert_uint_gt(rounds, 3);
    leave();
}
END_TEST

START_TEST(callers_wait_while_none_can_be_let_in)
{
    serve();
    failing_every_in(thread, "accept4");
    fault = (struct whorl_fault){"", ""};
    ck_assert_ptr_null(control_ask(runtime, json_pack("{s:s}", "ask", "echo"), 1, &fault));
    ck_assert_str_eq(failing_off(), "accept4");
    ck_assert_ptr_nonnull(strstr(fault.text, "the server gave no answer: "));
    expect_echo();
    leave();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control");
    TCase *tests = tcase_create("control");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_request_is_answered_and_nobody_else_may_enter);
    tcase_add_test(tests, a_folder_that_others_can_write_in_is_refused);
    tcase_add_test(tests, a_server_that_ends_leaves_its_successor_s_socket);
    tcase_add_test(tests, a_server_that_ends_leaves_a_name_that_is_being_taken);
    tcase_add_test(tests, who_holds_the_directory_s_lock_keeps_no_server_from_starting);
    tcase_add_test(tests, an_answer_that_is_none_is_told);
    tcase_add_test(tests, what_is_no_request_is_refused_or_hung_up_on);
    tcase_add_test(tests, what_comes_after_the_request_does_not_cost_the_answer);
    tcase_add_test(tests, a_socket_opens_or_its_fault_is_told);
    tcase_add_test(tests, a_caller_gets_an_answer_or_is_told_that_there_is_none);
    tcase_add_test(tests, callers_wait_while_none_can_be_let_in);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
