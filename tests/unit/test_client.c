/* libwhorl-client against servers that misbehave: each does what a script says, on one thread. */
#include <check.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loopback.h"
#include "run_suite.h"
#include "sdk/client/src/backoff.h"
#include "whorl/client.h"

enum { STEPS = 8, PATIENCE_MS = 30000 };

/* What a server does with one connection, after it has read the request. */
struct step {
    const char *bytes; /* to send */
    size_t len;
    bool keep;  /* reads on until the client hangs up, else closes */
    bool flood; /* says it again and again until the client hangs up */
};

struct script {
    struct step steps[STEPS];
    size_t count, connections;
    int listener;
    char address[32];
    pthread_t thread;
    struct whorl_client *client;
};

#define SAY(text) .bytes = (text), .len = sizeof(text) - 1

/* Reads until there is a whole message or the end. */
static void read_request(int fd)
{
    uint8_t bytes[4096];
    size_t len = 0, used;
    ssize_t n = 1;
    while (n > 0 && len < sizeof bytes &&
           whorl_msg_walk(bytes, len, sizeof bytes, &used, NULL) == WHORL_MSG_MORE) {
        n = read(fd, bytes + len, sizeof bytes - len);
        len += n > 0 ? (size_t)n : 0;
    }
}

static void *serve(void *arg)
{
    struct script *script = arg;
    char byte;
    for (size_t i = 0; i < script->count; i++) {
        const struct step *step = &script->steps[i];
        int fd = accept(script->listener, NULL, NULL);
        script->connections += fd >= 0;
        read_request(fd);
        ck_assert_int_eq(send(fd, step->bytes, step->len, MSG_NOSIGNAL), (ssize_t)step->len);
        while (step->flood && send(fd, step->bytes, step->len, MSG_NOSIGNAL) > 0) {
        }
        while (step->keep && read(fd, &byte, 1) > 0) {
        }
        close(fd);
    }
    return NULL;
}

static void start(struct script *script)
{
    uint16_t port = 0;
    script->listener = loopback_listen(&port);
    snprintf(script->address, sizeof script->address, "127.0.0.1:%u", port);
    while (script->count < STEPS && script->steps[script->count].bytes) {
        script->count++;
    }
    ck_assert_int_eq(pthread_create(&script->thread, NULL, serve, script), 0);
    const struct whorl_client_options options = {.size = sizeof options,
                                                 .server = script->address,
                                                 .max_reply = 4096,
                                                 .backoff_ms = 1,
                                                 .backoff_max_ms = 4};
    script->client = whorl_client_new(&options, NULL);
    ck_assert_ptr_nonnull(script->client);
}

/* How many connections there were. */
static size_t stop(struct script *script)
{
    whorl_client_free(script->client);
    ck_assert_int_eq(pthread_join(script->thread, NULL), 0);
    close(script->listener);
    return script->connections;
}

static bool call(struct script *script, bool repeatable, uint64_t deadline_ms,
                 const struct whorl_client_listener *listener, struct whorl_client_reply *reply,
                 struct whorl_fault *fault)
{
    const struct whorl_client_request request = {.size = sizeof request,
                                                 .repeatable = repeatable,
                                                 .method = "ping",
                                                 .argument = (const uint8_t *)"\xc0",
                                                 .argument_len = 1,
                                                 .deadline_ms = deadline_ms,
                                                 .listener = listener};
    *reply = (struct whorl_client_reply){0};
    *fault = (struct whorl_fault){"", ""};
    return whorl_client_call(script->client, &request, reply, fault);
}

#define PONG(id) "\x94\x01" id "\xc0\xa4pong"
#define BUSY(id)                                                                                   \
    "\x94\x01" id "\x82\xa4"                                                                       \
    "code\xa4"                                                                                     \
    "busy\xa8retry_ms\x05\xc0"
#define PROGRESS "\x93\x02\xa8progress\x91\x81\xa5stage\xa9searching"

static struct whorl_client_reply reply;
static struct whorl_fault fault;

START_TEST(waits_double_up_to_a_bound_and_half_is_chance)
{
    for (uint32_t i = 1; i < 80; i++) {
        uint64_t full = i < 7 ? 100ull << (i - 1) : 5000;
        ck_assert_uint_eq(backoff_wait(i, 100, 5000, 0), full - full / 2);
        ck_assert_uint_le(backoff_wait(i, 100, 5000, UINT32_MAX), full);
        ck_assert_uint_ge(backoff_wait(i, 100, 5000, UINT32_MAX), full - 1);
    }
    ck_assert_uint_le(backoff_wait(UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX), UINT32_MAX);
    ck_assert_uint_le(backoff_wait(1, 100, 7, UINT32_MAX), 7);
}
END_TEST

static void count_progress(void *ctx, const char *method, const msgpack_object *argument)
{
    ck_assert_str_eq(method, "progress");
    ck_assert(whorl_str_is(whorl_map_get(argument, "stage"), "searching"));
    ++*(int *)ctx;
}

START_TEST(progress_is_told_and_then_the_answer_given)
{
    int seen = 0;
    const struct whorl_client_listener listener = {.ctx = &seen, .notified = count_progress};
    struct script script = {.steps = {{SAY(PROGRESS PROGRESS PONG("\x01")), .keep = true}}};
    start(&script);
    ck_assert(call(&script, false, PATIENCE_MS, &listener, &reply, &fault));
    ck_assert(whorl_str_is(reply.result, "pong"));
    ck_assert_ptr_null(reply.error);
    ck_assert_uint_eq(reply.attempts, 1);
    ck_assert_int_eq(seen, 2);
    whorl_client_reply_release(&reply);
    ck_assert_uint_eq(stop(&script), 1);
}
END_TEST

START_TEST(what_may_be_repeated_is_repeated_after_a_lost_connection)
{
    struct script script = {
        .steps = {
            {SAY("")}, {SAY("\x94\x01")}, {SAY(PROGRESS)}, {SAY(PONG("\x04")), .keep = true}}};
    start(&script);
    ck_assert_msg(call(&script, true, PATIENCE_MS, NULL, &reply, &fault), "%s", fault.text);
    ck_assert(whorl_str_is(reply.result, "pong"));
    ck_assert_uint_eq(reply.attempts, 4);
    whorl_client_reply_release(&reply);
    ck_assert_uint_eq(stop(&script), 4);
}
END_TEST

START_TEST(what_may_not_be_repeated_is_sent_once)
{
    struct script script = {.steps = {{SAY("")}}};
    start(&script);
    ck_assert(!call(&script, false, PATIENCE_MS, NULL, &reply, &fault));
    ck_assert_str_eq(fault.text, "the server closed the connection");
    ck_assert_ptr_null(reply.result);
    whorl_client_reply_release(&reply);
    ck_assert_uint_eq(stop(&script), 1);
}
END_TEST

static void count_retries(void *ctx, const struct whorl_fault *why, uint64_t wait_ms)
{
    ck_assert_str_eq(why->text, "the server is busy");
    ck_assert_uint_ge(wait_ms, 5);
    ++*(int *)ctx;
}

START_TEST(busy_is_tried_again_no_sooner_than_the_server_says)
{
    int seen = 0;
    const struct whorl_client_listener listener = {.ctx = &seen, .retrying = count_retries};
    /* The last word of a connection comes without an id, and the connection is gone. */
    struct script script = {.steps = {{SAY("\x93\x02\xa5"
                                           "error\x91\x82\xa4"
                                           "code\xa4"
                                           "busy\xa8retry_ms\x05")},
                                      {SAY(BUSY("\x02") PONG("\x03")), .keep = true}}};
    start(&script);
    ck_assert_msg(call(&script, false, PATIENCE_MS, &listener, &reply, &fault), "%s", fault.text);
    ck_assert(whorl_str_is(reply.result, "pong"));
    ck_assert_uint_eq(reply.attempts, 3);
    ck_assert_int_eq(seen, 2);
    whorl_client_reply_release(&reply);
    ck_assert_uint_eq(stop(&script), 2);
}
END_TEST

START_TEST(busy_for_longer_than_there_is_time_is_the_answer)
{
    struct script script = {.steps = {{SAY("\x94\x01\x01\x82\xa4"
                                           "code\xa4"
                                           "busy\xa8retry_ms\xce\x7f\xff\xff\xff\xc0"),
                                       .keep = true}}};
    start(&script);
    ck_assert(call(&script, true, PATIENCE_MS, NULL, &reply, &fault));
    ck_assert(whorl_str_is(whorl_map_get(reply.error, "code"), "busy"));
    whorl_client_reply_release(&reply);
    ck_assert_uint_eq(stop(&script), 1);
}
END_TEST

START_TEST(a_deadline_ends_a_call_that_nobody_answers)
{
    struct script script = {.steps = {{SAY(PROGRESS), .keep = true}}};
    start(&script);
    ck_assert(!call(&script, true, 100, NULL, &reply, &fault));
    ck_assert_str_eq(fault.text, "the server does not answer");
    whorl_client_reply_release(&reply);
    ck_assert_uint_eq(stop(&script), 1);
}
END_TEST

/* Counts this process's connections to a port whose silence the system watches over. */
static void count_watched(void *ctx, const char *method, const msgpack_object *argument)
{
    uint16_t *port_and_count = ctx;
    (void)method;
    (void)argument;
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_in peer = {.sin_port = 0};
        socklen_t size = sizeof peer, int_size = sizeof(int);
        int alive = 0, idle = 0, dead = 0;
        if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0 ||
            ntohs(peer.sin_port) != port_and_count[0]) {
            continue;
        }
        getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &alive, &int_size);
        getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &int_size);
        getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead, &int_size);
        if (alive && idle <= 15 && dead > 0 && dead <= 30000) {
            port_and_count[1]++;
        }
    }
}

/* Nobody says so when a device has left its network; its call would wait for all of its time. */
START_TEST(a_connection_that_falls_silent_is_noticed_by_the_system)
{
    struct script script = {.steps = {{SAY(PROGRESS PONG("\x01")), .keep = true}}};
    uint16_t port_and_count[2] = {0, 0};
    const struct whorl_client_listener listener = {.ctx = port_and_count,
                                                   .notified = count_watched};
    start(&script);
    port_and_count[0] = (uint16_t)atoi(strchr(script.address, ':') + 1);
    ck_assert(call(&script, false, PATIENCE_MS, &listener, &reply, &fault));
    ck_assert_uint_eq(port_and_count[1], 1);
    whorl_client_reply_release(&reply);
    ck_assert_uint_eq(stop(&script), 1);
}
END_TEST

#define PROGRESS_10                                                                                \
    PROGRESS PROGRESS PROGRESS PROGRESS PROGRESS PROGRESS PROGRESS PROGRESS PROGRESS PROGRESS

/* So much that there is always more to be read. */
START_TEST(a_deadline_ends_a_call_whose_server_never_stops_talking)
{
    struct script script = {
        .steps = {{SAY(PROGRESS_10 PROGRESS_10 PROGRESS_10 PROGRESS_10), .flood = true}}};
    start(&script);
    uint64_t began = backoff_now();
    ck_assert(!call(&script, true, 300, NULL, &reply, &fault));
    ck_assert_uint_lt(backoff_now() - began, 5000);
    ck_assert_str_eq(fault.text, "the server does not answer");
    whorl_client_reply_release(&reply);
    ck_assert_uint_eq(stop(&script), 1);
}
END_TEST

START_TEST(messages_that_break_a_bound_end_the_call_at_once)
{
    static const struct step bad[] = {
        {SAY("\xdd\x07\xff\xff\xff"), .keep = true},     /* an array of 134 million */
        {SAY("\xc6\x00\x00\x10\x01"), .keep = true},     /* a bin beyond max_reply */
        {SAY("\xc1"), .keep = true},                     /* no msgpack */
        {SAY("\x94\x01\x02\xc0\xc0"), .keep = true},     /* the answer to something else */
        {SAY("\x94\x00\x01\xa4ping\x90"), .keep = true}, /* a request */
        {SAY("\x93\x02\xc0\x90"), .keep = true},         /* a notification without a name */
        {SAY("\xa4pong"), .keep = true},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct script script = {.steps = {bad[i]}};
        start(&script);
        ck_assert_msg(!call(&script, true, PATIENCE_MS, NULL, &reply, &fault), "%zu", i);
        ck_assert_str_ne(fault.text, "");
        ck_assert_str_ne(fault.text, "the server does not answer");
        whorl_client_reply_release(&reply);
        ck_assert_uint_eq(stop(&script), 1);
    }
}
END_TEST

/* Two addresses for two.example: a dead one, which a full queue of connections makes, and the
 * script's. */
__attribute__((visibility("default"))) int getaddrinfo(const char *host, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **list)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(host, "two.example") != 0) {
        return next(host, service, hints, list);
    }
    int rc = next(LOOPBACK_DEAD, service, hints, list);
    return rc == 0 ? next("127.0.0.1", service, hints, &(*list)->ai_next) : rc;
}

START_TEST(an_address_that_does_not_answer_leaves_time_for_the_next)
{
    struct script script = {.steps = {{SAY(PONG("\x01")), .keep = true}}};
    struct loopback_dead dead;
    char server[32];
    start(&script);
    loopback_die(&dead, (uint16_t)atoi(strchr(script.address, ':') + 1));
    snprintf(server, sizeof server, "two.example%s", strchr(script.address, ':'));
    const struct whorl_client_options options = {
        .size = sizeof options, .server = server, .connect_ms = 2000};
    whorl_client_free(script.client);
    script.client = whorl_client_new(&options, &fault);
    ck_assert_ptr_nonnull(script.client);
    ck_assert_msg(whorl_client_connect(script.client, &fault), "%s", fault.text);
    ck_assert_msg(call(&script, false, PATIENCE_MS, NULL, &reply, &fault), "%s", fault.text);
    ck_assert(whorl_str_is(reply.result, "pong"));
    whorl_client_reply_release(&reply);
    loopback_bury(&dead);
    ck_assert_uint_eq(stop(&script), 1);
}
END_TEST

START_TEST(a_connection_that_went_away_between_calls_is_made_again)
{
    struct script script = {.steps = {{SAY(PONG("\x01"))}, {SAY(PONG("\x02")), .keep = true}}};
    start(&script);
    for (int i = 0; i < 2; i++) {
        ck_assert_msg(call(&script, false, PATIENCE_MS, NULL, &reply, &fault), "%s", fault.text);
        ck_assert_uint_eq(reply.attempts, 1);
        whorl_client_reply_release(&reply);
        usleep(200000); /* for the server to hang up */
    }
    ck_assert_uint_eq(stop(&script), 2);
}
END_TEST

START_TEST(addresses_and_arguments_are_checked)
{
    static const char *const bad[] = {"", "host", ":1", "host:", "[]:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct whorl_client_options options = {.size = sizeof options, .server = bad[i]};
        ck_assert_ptr_null(whorl_client_new(&options, &fault));
        ck_assert_str_eq(fault.where, "server");
    }
    const struct whorl_client_options options = {.size = sizeof options, .server = "127.0.0.1:1"};
    struct whorl_client *client = whorl_client_new(&options, &fault);
    struct whorl_client_request request = {.size = sizeof request,
                                           .method = "ping",
                                           .argument = (const uint8_t *)"\xc0\xc0",
                                           .argument_len = 2,
                                           .deadline_ms = 1000};
    reply = (struct whorl_client_reply){0};
    ck_assert(!whorl_client_call(client, &request, &reply, &fault));
    ck_assert_str_eq(fault.where, "argument");
    request.argument_len = 0;
    ck_assert(!whorl_client_call(client, &request, &reply, &fault));
    ck_assert_str_eq(fault.where, "argument");
    whorl_client_free(client);
}
END_TEST

START_TEST(without_a_certificate_nothing_is_sent_to_another_machine)
{
    static const char *const elsewhere[] = {"192.0.2.77:7443", "[2001:db8::77]:7443"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        const struct whorl_client_options options = {
            .size = sizeof options, .server = elsewhere[i], .connect_ms = 200};
        struct whorl_client *client = whorl_client_new(&options, &fault);
        ck_assert_ptr_nonnull(client);
        ck_assert(!whorl_client_connect(client, &fault));
        ck_assert_str_eq(fault.text, "cannot connect to port 7443: plain TCP is for loopback "
                                     "addresses only; a certificate is missing");
        whorl_client_free(client);
    }
}
END_TEST

static bool refuses(struct whorl_client *client, const struct whorl_client_request *request)
{
    fault = (struct whorl_fault){"", ""};
    bool refused = !whorl_client_call(client, request, &reply, &fault);
    return refused &&
           strcmp(fault.text, "the call has no size, method or deadline, or its reply is not "
                              "empty") == 0;
}

START_TEST(options_and_calls_that_are_ill_formed_are_refused_with_a_word)
{
    static const struct whorl_client_options bad[] = {
        {.size = 8, .server = "127.0.0.1:1"},
        {.size = sizeof bad[0]},
        {.size = sizeof bad[0], .server = "127.0.0.1:1", .certificate = "c", .ca = "a"},
        {.size = sizeof bad[0], .server = "127.0.0.1:1", .certificate = "c", .key = "k"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_ptr_null(whorl_client_new(&bad[i], &fault));
        ck_assert_str_eq(fault.text, i < 2 ? "the options have no size or no server"
                                           : "a certificate needs a key and a ca");
    }
    const struct whorl_client_options options = {.size = sizeof options, .server = "127.0.0.1:1"};
    struct whorl_client *client = whorl_client_new(&options, &fault);
    const struct whorl_client_request good = {.size = sizeof good,
                                              .method = "ping",
                                              .argument = (const uint8_t *)"\xc0",
                                              .argument_len = 1,
                                              .deadline_ms = 1000};
    struct whorl_client_request request = good;
    char name[128] = "";
    memset(name, 'm', sizeof name - 1);
    reply = (struct whorl_client_reply){0};
    request.size = 8;
    ck_assert(refuses(client, &request));
    request = good;
    request.method = NULL;
    ck_assert(refuses(client, &request));
    request.method = "";
    ck_assert(refuses(client, &request));
    request.method = name;
    ck_assert(refuses(client, &request));
    request = good;
    request.deadline_ms = 0;
    ck_assert(refuses(client, &request));
    ck_assert_int_eq(whorl_secret_write(&reply.bytes, "x", 1), 0);
    ck_assert(refuses(client, &good));
    whorl_secret_release(&reply.bytes);
    whorl_client_free(client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client");
    TCase *tc = tcase_create("client");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, waits_double_up_to_a_bound_and_half_is_chance);
    tcase_add_test(tc, progress_is_told_and_then_the_answer_given);
    tcase_add_test(tc, what_may_be_repeated_is_repeated_after_a_lost_connection);
    tcase_add_test(tc, what_may_not_be_repeated_is_sent_once);
    tcase_add_test(tc, busy_is_tried_again_no_sooner_than_the_server_says);
    tcase_add_test(tc, busy_for_longer_than_there_is_time_is_the_answer);
    tcase_add_test(tc, a_deadline_ends_a_call_that_nobody_answers);
    tcase_add_test(tc, a_deadline_ends_a_call_whose_server_never_stops_talking);
    tcase_add_test(tc, a_connection_that_falls_silent_is_noticed_by_the_system);
    tcase_add_test(tc, messages_that_break_a_bound_end_the_call_at_once);
    tcase_add_test(tc, an_address_that_does_not_answer_leaves_time_for_the_next);
    tcase_add_test(tc, a_connection_that_went_away_between_calls_is_made_again);
    tcase_add_test(tc, addresses_and_arguments_are_checked);
    tcase_add_test(tc, without_a_certificate_nothing_is_sent_to_another_machine);
    tcase_add_test(tc, options_and_calls_that_are_ill_formed_are_refused_with_a_word);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
