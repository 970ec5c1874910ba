/* whorl/line.h against a server whose methods misbehave: what each call ends with, and that each
 * ends once. */
#include <check.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "loopback.h"
#include "run_suite.h"
#include "whorl/line.h"

enum { PATIENCE_MS = 30000, CONNECTIONS = 64, CALLS = 400 };

/* --- looking names up: as the system does it, or not until it may --- */

static atomic_bool stuck;
static atomic_uint looking, looked;

__attribute__((visibility("default"))) int getaddrinfo(const char *host, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **list)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    bool name = !(hints->ai_flags & AI_NUMERICHOST);
    atomic_fetch_add(&looking, name);
    while (name && atomic_load(&stuck)) {
        usleep(1000);
    }
    bool two = strcmp(host, "two.example") == 0; /* addresses, and nothing answers at the first */
    int rc = next(name && two ? LOOPBACK_DEAD : host, service, hints, list);
    if (rc == 0 && two) {
        rc = next("127.0.0.1", service, hints, &(*list)->ai_next);
    }
    atomic_fetch_add(&looked, name);
    return rc;
}

/* --- the server: a thread for its listener, one for each connection --- */

static struct {
    int listener, fds[CONNECTIONS];
    uint16_t port;
    pthread_t accepting, threads[CONNECTIONS];
    atomic_uint connections, requests, busy;
    atomic_bool mute;  /* answers not even a ping */
    atomic_bool brief; /* answers a ping and hangs up in one breath */
} server;

static void say(int fd, const char *bytes, size_t len)
{
    (void)!send(fd, bytes, len, MSG_NOSIGNAL);
}

/* [1, id, nil, argument] or [1, id, {code}, nil]. */
static void reply(int fd, uint64_t id, const msgpack_object *argument, const char *code)
{
    msgpack_sbuffer packed;
    msgpack_packer pk;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_int(&pk, 1);
    msgpack_pack_uint64(&pk, id);
    if (code) {
        msgpack_pack_map(&pk, 2);
        whorl_put_str(&pk, "code", code);
        whorl_put_int(&pk, "retry_ms", 5);
        msgpack_pack_nil(&pk);
    } else {
        msgpack_pack_nil(&pk);
        msgpack_pack_object(&pk, *argument);
    }
    say(fd, packed.data, packed.size);
    msgpack_sbuffer_destroy(&packed);
}

/* echo; hold: no answer; die: closes; dies: closes the first two connections that it comes on;
 * busy, draining: once, then echo; garbage; note: a notification, then echo; word: the connection's
 * last; later: echo after the next request. false: the connection is over. */
static bool serve(int fd, size_t connection, uint64_t id, const msgpack_object *method,
                  const msgpack_object *argument)
{
    static const char note[] = "\x93\x02\xa8progress\x91\x81\xa5stage\xa9searching";
    static const char word[] = "\x93\x02\xa5"
                               "error\x91\x81\xa4"
                               "code\xa4"
                               "busy";
    static const char brief[] = "\x94\x01\x00\xc0\xc0" /* the ping's answer, and a last word */
                                "\x93\x02\xa5"
                                "error\x91\x81\xa4"
                                "code\xa4"
                                "busy";
    atomic_fetch_add(&server.requests, 1);
    if (atomic_load(&server.brief)) {
        say(fd, brief, sizeof brief - 1);
        return false;
    }
    if (atomic_load(&server.mute) || whorl_str_is(method, "hold")) {
        return true;
    }
    if (whorl_str_is(method, "die") || (whorl_str_is(method, "dies") && connection < 2)) {
        return false;
    }
    if (whorl_str_is(method, "busy") && atomic_fetch_add(&server.busy, 1) == 0) {
        reply(fd, id, NULL, "busy");
    } else if (whorl_str_is(method, "draining") && connection == 0) {
        reply(fd, id, NULL, "draining");
    } else if (whorl_str_is(method, "refuse")) {
        reply(fd, id, NULL, "invalid");
    } else if (whorl_str_is(method, "garbage")) {
        say(fd, "\xc1\xc1\xc1", 3);
    } else if (whorl_str_is(method, "word")) {
        say(fd, word, sizeof word - 1);
    } else {
        if (whorl_str_is(method, "note")) {
            say(fd, note, sizeof note - 1);
        }
        reply(fd, id, argument, NULL);
    }
    return true;
}

static void *talk(void *arg)
{
    size_t connection = (size_t)arg, len = 0, used;
    int fd = server.fds[connection];
    static _Thread_local uint8_t bytes[1 << 20];
    bool on = true;
    for (ssize_t n; on && (n = recv(fd, bytes + len, sizeof bytes - len, 0)) > 0;) {
        len += (size_t)n;
        while (on && whorl_msg_walk(bytes, len, sizeof bytes, &used, NULL) == WHORL_MSG_WHOLE) {
            struct whorl_msg msg;
            ck_assert(whorl_msg_parse(bytes, used, &msg, NULL));
            const msgpack_object *part = msg.root.via.array.ptr;
            on = serve(fd, connection, part[1].via.u64, &part[2], &part[3].via.array.ptr[0]);
            whorl_msg_release(&msg);
            memmove(bytes, bytes + used, len -= used);
        }
    }
    shutdown(fd, SHUT_RDWR);
    return NULL;
}

static void *accept_all(void *arg)
{
    int listener = *(int *)arg;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        size_t number = atomic_load(&server.connections);
        ck_assert_uint_lt(number, CONNECTIONS);
        server.fds[number] = fd;
        ck_assert_int_eq(pthread_create(&server.threads[number], NULL, talk, (void *)number), 0);
        atomic_store(&server.connections, (unsigned)number + 1);
    }
    return NULL;
}

static void server_open(void)
{
    server.listener = loopback_listen(&server.port);
    ck_assert_int_eq(pthread_create(&server.accepting, NULL, accept_all, &server.listener), 0);
}

/* Closes the listener and every connection. */
static void server_close(void)
{
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.accepting, NULL);
    close(server.listener);
    for (unsigned i = 0; i < atomic_load(&server.connections); i++) {
        if (server.fds[i] >= 0) {
            shutdown(server.fds[i], SHUT_RDWR);
            pthread_join(server.threads[i], NULL);
            close(server.fds[i]);
            server.fds[i] = -1;
        }
    }
}

/* --- the line --- */

/* What a call ended with. */
struct ending {
    atomic_uint times;
    bool answered;
    int64_t number; /* of the result */
    char code[32], why[256];
    uint8_t argument[16];
};

static struct whorl_line *line;
static struct ending endings[CALLS];
static atomic_uint ended_calls, notes, ups, downs;

static void on_ended(void *ctx, const struct whorl_client_reply *got, const struct whorl_fault *why)
{
    struct ending *ending = ctx;
    ending->answered = got != NULL;
    if (got && got->error) {
        whorl_str_copy(whorl_map_get(got->error, "code"), ending->code, sizeof ending->code);
    } else if (got) {
        ending->number = got->result->via.i64;
    } else {
        snprintf(ending->why, sizeof ending->why, "%s", why->text);
    }
    atomic_fetch_add(&ending->times, 1);
    atomic_fetch_add(&ended_calls, 1);
}

static void on_notified(void *ctx, const char *method, const msgpack_object *argument)
{
    (void)ctx;
    ck_assert_str_eq(method, "progress");
    ck_assert(whorl_str_is(whorl_map_get(argument, "stage"), "searching"));
    atomic_fetch_add(&notes, 1);
}

static void on_changed(void *ctx, const struct whorl_fault *why, uint64_t wait_ms)
{
    (void)ctx;
    ck_assert_uint_le(wait_ms, 20);
    atomic_fetch_add(why ? &downs : &ups, 1);
}

static void line_open(uint32_t connect_ms, uint32_t max_calls)
{
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", server.port);
    const struct whorl_client_options client = {.size = sizeof client,
                                                .server = address,
                                                .max_reply = 4096,
                                                .connect_ms = connect_ms,
                                                .backoff_ms = 2,
                                                .backoff_max_ms = 20};
    const struct whorl_line_options options = {.size = sizeof options,
                                               .max_calls = max_calls,
                                               .client = &client,
                                               .notified = on_notified,
                                               .changed = on_changed};
    line = whorl_line_new(&options, NULL);
    ck_assert_ptr_nonnull(line);
}

static void set_up(void)
{
    server_open();
    line_open(PATIENCE_MS, 64);
}

static void tear_down(void)
{
    whorl_line_free(line);
    server_close();
    for (size_t i = 0; i < CALLS; i++) {
        ck_assert_uint_le(atomic_load(&endings[i].times), 1);
    }
}

/* Calls the method with the number as argument. */
static uint64_t call_for(size_t number, const char *method, bool repeatable, uint64_t deadline_ms)
{
    struct ending *ending = &endings[number];
    ending->argument[0] = 0xcd;
    ending->argument[1] = (uint8_t)(number >> 8);
    ending->argument[2] = (uint8_t)number;
    const struct whorl_line_call call = {.size = sizeof call,
                                         .repeatable = repeatable,
                                         .method = method,
                                         .argument = ending->argument,
                                         .argument_len = 3,
                                         .deadline_ms = deadline_ms,
                                         .ctx = ending,
                                         .ended = on_ended};
    return whorl_line_call(line, &call);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void await(const atomic_uint *counter, unsigned least)
{
    for (int i = 0; i < PATIENCE_MS && atomic_load(counter) < least; i++) {
        pause_ms(1);
    }
    ck_assert_uint_ge(atomic_load(counter), least);
}

static const struct ending *end_of(size_t number)
{
    await(&endings[number].times, 1);
    return &endings[number];
}

static void assert_echo(size_t number)
{
    const struct ending *ending = end_of(number);
    ck_assert_msg(ending->answered, "%zu: %s", number, ending->why);
    ck_assert_str_eq(ending->code, "");
    ck_assert_int_eq(ending->number, (int64_t)number);
}

/* --- tests --- */

static void *call_some(void *arg)
{
    size_t first = (size_t)arg;
    for (size_t i = first; i < CALLS; i += 4) {
        ck_assert_uint_ne(call_for(i, "echo", true, PATIENCE_MS), 0);
    }
    return NULL;
}

START_TEST(calls_of_many_threads_share_one_connection_and_each_gets_its_answer)
{
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_some, (void *)i), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < CALLS; i++) {
        assert_echo(i);
    }
    ck_assert_uint_eq(atomic_load(&server.connections), 1);
}
END_TEST

START_TEST(a_call_without_an_answer_holds_up_nobody_and_ends_at_its_deadline)
{
    call_for(0, "hold", true, 200);
    call_for(1, "echo", true, PATIENCE_MS);
    assert_echo(1);
    ck_assert(!end_of(0)->answered);
    ck_assert_str_eq(end_of(0)->why, "the server did not answer in time");
    call_for(2, "echo", true, PATIENCE_MS);
    assert_echo(2);
    ck_assert_uint_eq(atomic_load(&server.connections), 1);
}
END_TEST

START_TEST(past_the_bound_calls_wait_for_others_to_end)
{
    whorl_line_free(line);
    line_open(PATIENCE_MS, 2);
    uint64_t first = call_for(0, "hold", true, PATIENCE_MS);
    call_for(1, "hold", true, PATIENCE_MS);
    call_for(2, "echo", true, PATIENCE_MS);
    call_for(3, "echo", true, 50);
    ck_assert(!end_of(3)->answered);
    ck_assert_uint_eq(atomic_load(&endings[2].times), 0);
    whorl_line_cancel(line, first);
    assert_echo(2);
    ck_assert_str_eq(end_of(0)->why, "the call was given up");
}
END_TEST

START_TEST(an_error_is_an_answer)
{
    call_for(0, "refuse", true, PATIENCE_MS);
    ck_assert(end_of(0)->answered);
    ck_assert_str_eq(end_of(0)->code, "invalid");
}
END_TEST

START_TEST(notifications_are_told)
{
    call_for(0, "note", true, PATIENCE_MS);
    assert_echo(0);
    ck_assert_uint_eq(atomic_load(&notes), 1);
}
END_TEST

START_TEST(a_lost_connection_is_made_anew_and_what_was_under_way_sent_again)
{
    call_for(0, "dies", true, PATIENCE_MS);
    assert_echo(0);
    ck_assert_uint_eq(atomic_load(&server.connections), 3);
}
END_TEST

START_TEST(what_may_not_be_repeated_is_not)
{
    call_for(0, "dies", false, PATIENCE_MS);
    ck_assert(!end_of(0)->answered);
    call_for(1, "echo", false, PATIENCE_MS);
    assert_echo(1);
}
END_TEST

START_TEST(a_call_that_ends_every_connection_is_sent_three_times_and_others_are_answered)
{
    call_for(0, "die", true, PATIENCE_MS);
    ck_assert(!end_of(0)->answered);
    ck_assert_uint_ge(atomic_load(&server.connections), 3);
    call_for(1, "echo", true, PATIENCE_MS);
    assert_echo(1);
    ck_assert_uint_eq(atomic_load(&server.connections), 4);
}
END_TEST

START_TEST(busy_and_draining_are_asked_again)
{
    call_for(0, "busy", false, PATIENCE_MS);
    assert_echo(0);
    ck_assert_uint_eq(atomic_load(&server.connections), 1);
    call_for(1, "draining", false, PATIENCE_MS);
    assert_echo(1);
    ck_assert_uint_eq(atomic_load(&server.connections), 2);
}
END_TEST

START_TEST(bytes_that_are_no_answer_never_become_one)
{
    call_for(0, "garbage", true, PATIENCE_MS);
    ck_assert(!end_of(0)->answered);
    call_for(1, "word", true, PATIENCE_MS);
    ck_assert_str_eq(end_of(1)->why, "the server ended the connection: busy");
    call_for(2, "echo", true, PATIENCE_MS);
    assert_echo(2);
}
END_TEST

START_TEST(a_server_that_is_gone_costs_calls_nothing_and_is_found_again)
{
    call_for(0, "echo", true, PATIENCE_MS);
    assert_echo(0);
    call_for(1, "hold", true, PATIENCE_MS);
    await(&server.requests, 3);
    server_close();
    ck_assert(!end_of(1)->answered);
    for (size_t i = 2; i < 100; i++) {
        call_for(i, "echo", true, PATIENCE_MS);
        ck_assert_msg(strstr(end_of(i)->why, "cannot connect") != NULL, "%s", endings[i].why);
    }
    await(&downs, 3);
    server_open();
    await(&ups, 2);
    call_for(100, "echo", true, PATIENCE_MS);
    assert_echo(100);
}
END_TEST

START_TEST(a_server_that_hangs_up_after_the_ping_is_not_called_in_a_loop)
{
    atomic_store(&server.brief, true);
    call_for(0, "echo", true, 40); /* it is called every 2 ms at the most */
    ck_assert(!end_of(0)->answered);
    ck_assert_uint_ge(atomic_load(&server.connections), 2);
    ck_assert_uint_le(atomic_load(&server.connections), 25);
    atomic_store(&server.brief, false);
    call_for(1, "echo", true, PATIENCE_MS);
    assert_echo(1);
}
END_TEST

START_TEST(a_server_that_says_nothing_is_down)
{
    whorl_line_free(line);
    atomic_store(&server.mute, true);
    line_open(50, 64);
    call_for(0, "echo", true, PATIENCE_MS);
    ck_assert(!end_of(0)->answered);
    ck_assert_str_eq(end_of(0)->why, "the server does not answer");
    call_for(1, "echo", true, PATIENCE_MS);
    ck_assert(!end_of(1)->answered);
    atomic_store(&server.mute, false);
    unsigned before = atomic_load(&ups);
    await(&ups, before + 1);
    call_for(2, "echo", true, PATIENCE_MS);
    assert_echo(2);
}
END_TEST

static struct whorl_line *line_to(const char *host, uint32_t connect_ms)
{
    char server_name[64];
    snprintf(server_name, sizeof server_name, "%s:%u", host, (unsigned)server.port);
    const struct whorl_client_options client = {
        .size = sizeof client, .server = server_name, .connect_ms = connect_ms};
    const struct whorl_line_options options = {.size = sizeof options, .client = &client};
    struct whorl_fault fault;
    struct whorl_line *named = whorl_line_new(&options, &fault);
    ck_assert_msg(named != NULL, "%s", fault.text);
    return named;
}

START_TEST(a_host_may_be_a_name)
{
    whorl_line_free(line);
    line = line_to("localhost", 0);
    call_for(0, "echo", true, PATIENCE_MS);
    assert_echo(0);
}
END_TEST

START_TEST(an_address_that_does_not_answer_leaves_time_for_the_next)
{
    struct loopback_dead dead;
    loopback_die(&dead, server.port);
    whorl_line_free(line);
    line = line_to("two.example", 2000);
    call_for(0, "echo", true, PATIENCE_MS);
    assert_echo(0);
    loopback_bury(&dead);
}
END_TEST

START_TEST(nobody_waits_for_a_name_that_is_being_looked_up)
{
    atomic_store(&stuck, true);
    whorl_line_free(line);
    line = line_to("localhost", 200);
    call_for(0, "echo", true, PATIENCE_MS);
    ck_assert_str_eq(end_of(0)->why, "could not be looked up in time");
    whorl_line_free(line);
    line = line_to("localhost", PATIENCE_MS);
    call_for(1, "echo", true, PATIENCE_MS);
    await(&looking, 2);
    whorl_line_free(line);
    line = NULL;
    ck_assert(!endings[1].answered);
    ck_assert_uint_eq(atomic_load(&looked), 0);
    atomic_store(&stuck, false);
    await(&looked, atomic_load(&looking));
}
END_TEST

START_TEST(without_a_certificate_nothing_is_sent_to_another_machine)
{
    const struct whorl_client_options client = {.size = sizeof client,
                                                .server = "192.0.2.77:7443",
                                                .connect_ms = PATIENCE_MS,
                                                .backoff_ms = 2,
                                                .backoff_max_ms = 20};
    const struct whorl_line_options options = {.size = sizeof options, .client = &client};
    whorl_line_free(line);
    line = whorl_line_new(&options, NULL);
    ck_assert_ptr_nonnull(line);
    call_for(0, "echo", true, PATIENCE_MS);
    ck_assert_str_eq(end_of(0)->why, "cannot connect to port 7443: plain TCP is for loopback "
                                     "addresses only; a certificate is missing");
}
END_TEST

static atomic_uint taken, refused;

/* Calls again whenever a call has failed. */
static void call_again(void *ctx, const struct whorl_client_reply *got,
                       const struct whorl_fault *why)
{
    const struct whorl_line_call *call = ctx;
    (void)got;
    (void)why;
    atomic_fetch_add(&ended_calls, 1);
    atomic_fetch_add(whorl_line_call(line, call) != 0 ? &taken : &refused, 1);
}

START_TEST(a_line_that_is_being_closed_takes_no_call_that_it_would_not_end)
{
    struct whorl_line_call call = {.size = sizeof call,
                                   .method = "hold",
                                   .argument = (const uint8_t *)"\xc0",
                                   .argument_len = 1,
                                   .deadline_ms = PATIENCE_MS,
                                   .ctx = &call,
                                   .ended = call_again};
    ck_assert_uint_ne(whorl_line_call(line, &call), 0);
    await(&server.requests, 2); /* the ping is one */
    whorl_line_free(line);
    line = NULL;
    ck_assert_uint_eq(atomic_load(&ended_calls), 1 + atomic_load(&taken));
    ck_assert_uint_eq(atomic_load(&refused), 1);
}
END_TEST

START_TEST(closing_the_line_ends_every_call)
{
    for (size_t i = 0; i < 100; i++) {
        call_for(i, i % 2 == 0 ? "hold" : "echo", true, PATIENCE_MS);
    }
    whorl_line_free(line);
    line = NULL;
    ck_assert_uint_eq(atomic_load(&ended_calls), 100);
    for (size_t i = 0; i < 100; i += 2) {
        ck_assert(!endings[i].answered);
    }
}
END_TEST

START_TEST(options_that_are_ill_formed_are_refused_with_a_word)
{
    static const struct {
        struct whorl_client_options client;
        const char *where, *text;
    } cases[] = {
        {{.size = 0, .server = "a:1"}, "", "the options have no size or no server"},
        {{.size = sizeof cases[0].client}, "", "the options have no size or no server"},
        {{.size = sizeof cases[0].client, .server = "nowhere"},
         "server",
         "expected HOST:PORT, found \"nowhere\""},
        {{.size = sizeof cases[0].client, .server = "[]:1"},
         "server",
         "expected HOST:PORT, found \"[]:1\""},
        {{.size = sizeof cases[0].client, .server = "a:65537"},
         "server",
         "expected HOST:PORT, found \"a:65537\""},
        {{.size = sizeof cases[0].client, .server = "a:1", .certificate = "c", .ca = "a"},
         "",
         "a certificate needs a key and a ca"},
        {{.size = sizeof cases[0].client, .server = "a:1", .certificate = "c", .key = "k"},
         "",
         "a certificate needs a key and a ca"},
    };
    struct whorl_fault fault;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct whorl_line_options options = {.size = sizeof options,
                                                   .client = &cases[i].client};
        ck_assert_ptr_null(whorl_line_new(&options, &fault));
        ck_assert_str_eq(fault.where, cases[i].where);
        ck_assert_str_eq(fault.text, cases[i].text);
    }
    const struct whorl_line_options old = {.size = 8, .client = &cases[2].client};
    ck_assert_ptr_null(whorl_line_new(&old, &fault));
    const struct whorl_line_options none = {.size = sizeof none};
    ck_assert_ptr_null(whorl_line_new(&none, &fault));
    ck_assert_str_eq(fault.text, "the options have no size or no server");
}
END_TEST

START_TEST(calls_that_are_ill_formed_are_not_taken)
{
    struct whorl_line_call call = {.size = sizeof call,
                                   .method = "echo",
                                   .argument = (const uint8_t *)"\x92\xc0",
                                   .argument_len = 2,
                                   .deadline_ms = 1000,
                                   .ended = on_ended};
    ck_assert_uint_eq(whorl_line_call(line, &call), 0);
    call.argument_len = 0;
    ck_assert_uint_eq(whorl_line_call(line, &call), 0);
    call.argument = (const uint8_t *)"\xc0";
    call.argument_len = 1;
    call.method = "";
    ck_assert_uint_eq(whorl_line_call(line, &call), 0);
    call.method = NULL;
    ck_assert_uint_eq(whorl_line_call(line, &call), 0);
    char name[102] = "";
    memset(name, 'm', sizeof name - 1);
    call.method = name;
    ck_assert_uint_eq(whorl_line_call(line, &call), 0);
    call.method = "echo";
    call.deadline_ms = 0;
    ck_assert_uint_eq(whorl_line_call(line, &call), 0);
    call.deadline_ms = 1000;
    call.argument = (const uint8_t *)"\xc0\xc0";
    call.argument_len = 2;
    ck_assert_uint_eq(whorl_line_call(line, &call), 0);
    call.argument_len = 1;
    call.ended = NULL;
    ck_assert_uint_eq(whorl_line_call(line, &call), 0);
    call.ended = on_ended;
    call.size = 8;
    ck_assert_uint_eq(whorl_line_call(line, &call), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("line");
    TCase *cases = tcase_create("calls");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, calls_of_many_threads_share_one_connection_and_each_gets_its_answer);
    tcase_add_test(cases, a_call_without_an_answer_holds_up_nobody_and_ends_at_its_deadline);
    tcase_add_test(cases, past_the_bound_calls_wait_for_others_to_end);
    tcase_add_test(cases, an_error_is_an_answer);
    tcase_add_test(cases, notifications_are_told);
    tcase_add_test(cases, a_lost_connection_is_made_anew_and_what_was_under_way_sent_again);
    tcase_add_test(cases, what_may_not_be_repeated_is_not);
    tcase_add_test(cases,
                   a_call_that_ends_every_connection_is_sent_three_times_and_others_are_answered);
    tcase_add_test(cases, busy_and_draining_are_asked_again);
    tcase_add_test(cases, bytes_that_are_no_answer_never_become_one);
    tcase_add_test(cases, a_server_that_is_gone_costs_calls_nothing_and_is_found_again);
    tcase_add_test(cases, a_server_that_hangs_up_after_the_ping_is_not_called_in_a_loop);
    tcase_add_test(cases, a_server_that_says_nothing_is_down);
    tcase_add_test(cases, a_host_may_be_a_name);
    tcase_add_test(cases, an_address_that_does_not_answer_leaves_time_for_the_next);
    tcase_add_test(cases, nobody_waits_for_a_name_that_is_being_looked_up);
    tcase_add_test(cases, without_a_certificate_nothing_is_sent_to_another_machine);
    tcase_add_test(cases, a_line_that_is_being_closed_takes_no_call_that_it_would_not_end);
    tcase_add_test(cases, closing_the_line_ends_every_call);
    tcase_add_test(cases, options_that_are_ill_formed_are_refused_with_a_word);
    tcase_add_test(cases, calls_that_are_ill_formed_are_not_taken);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
