/* The server of connections and the device's client with each call failing once: a connection may
 * be lost, but it is answered or closed, never left to wait; and the next one is served. */
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/net/frame.h"
#include "core/net/tls.h"
#include "core/net/tls_context.h"
#include "core/net/tls_sessions.h"
#include "failing.h"
#include "net_fixture.h"
#include "run_suite.h"
#include "whorl/client.h"
#include "whorl/line.h"

static struct server server;
static struct pki pki;
static struct whorl_fault fault;

static void setup(void)
{
    pki_make(&pki);
    server_prepare(&server);
    server.listeners[1] = pki_listener(&pki);
    server.conf.listener_count = 2;
    server_start(&server);
}

static void teardown(void)
{
    server_stop(&server);
    pki_remove(&pki);
}

/* What a connection that may be lost has ended with. */
enum ending { ANSWERED, CLOSED, WAITING };

/* A notification, which has no effect, and a ping, cut in two so that its beginning is kept. */
static enum ending try_plain(void)
{
    static const char bytes[] = "\x93\x02\xa1n\x90\x94\x00\x05\xa4ping\x90";
    struct timeval patience = {5, 0};
    char reply[9];
    const uint16_t port = server_port(&server, "plain");
    failing_on_in(server.thread); /* from here on: how soon the server accepts is chance */
    struct client client = client_connect(port);
    setsockopt(client.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    bool sent = send(client.fd, bytes, 8, MSG_NOSIGNAL) == 8;
    usleep(2000);
    sent = sent && send(client.fd, bytes + 8, sizeof bytes - 9, MSG_NOSIGNAL) > 0;
    ssize_t n = recv(client.fd, reply, sizeof reply, MSG_WAITALL);
    client_close(&client);
    return n == (ssize_t)sizeof reply               ? ANSWERED
           : n >= 0 || !sent || errno == ECONNRESET ? CLOSED
                                                    : WAITING;
}

static enum ending try_tls(void)
{
    const uint16_t port = server_port(&server, "tls");
    failing_on_in(server.thread);
    struct client client = client_connect(port);
    bool done = client_secure(&client, pki.device);
    bool waited = !done && errno == EAGAIN;
    client_close(&client);
    return done ? ANSWERED : waited ? WAITING : CLOSED;
}

static void serves_on(void)
{
    struct client client = client_connect(server_port(&server, "plain"));
    client_ping(&client);
    client_close(&client);
    client = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&client, pki.device));
    client_close(&client);
}

static void each_of(enum ending (*attempt)(void))
{
    unsigned rounds = 0;
    for (; failing_again(rounds == 0); rounds++) {
        enum ending end = attempt();
        const char *failed = failing_off();
        ck_assert_msg(end != WAITING, "%s: neither answered nor closed", failed);
        ck_assert_msg(end == ANSWERED || failed != NULL, "closed for nothing");
        serves_on();
    }
    ck_assert_uint_gt(rounds, 5);
}

START_TEST(a_plain_connection_is_answered_or_closed)
{
    each_of(try_plain);
}
END_TEST

START_TEST(a_secured_connection_is_answered_or_closed)
{
    each_of(try_tls);
}
END_TEST

struct listening {
    bool done;
    struct whorl_fault fault;
};

static void listen_again(struct server *serving, void *arg)
{
    struct listening *listening = arg;
    failing_on_in(serving->thread);
    struct listeners_ahead *ahead = listeners_ahead(&serving->conf, &listening->fault);
    listening->done =
        ahead != NULL && rpc_listen(serving->rpc, &serving->conf, ahead, &listening->fault);
    listeners_forgo(ahead);
}

/* Doors that could not all be opened leave those open that were. */
START_TEST(listeners_are_all_replaced_or_none)
{
    unsigned rounds = 0;
    server.listeners[2] = server.listeners[1];
    server.listeners[2].name = "second";
    for (; failing_again(rounds == 0); rounds++) {
        struct listening listening = {.fault = {"", ""}};
        server.conf.listener_count = 3;
        server_do(&server, listen_again, &listening);
        const char *failed = failing_off();
        ck_assert_msg(listening.done || listening.fault.text[0] != '\0', "%s in silence", failed);
        ck_assert_msg(listening.done || failed != NULL, "%s", listening.fault.text);
        serves_on();
        server.conf.listener_count = 2;
        ck_assert_msg(server_listen(&server, &fault), "%s", fault.text);
        serves_on();
    }
    ck_assert_uint_gt(rounds, 5);
}
END_TEST

/* Those who are in are served, and newcomers wait. */
START_TEST(who_cannot_be_let_in_waits_and_holds_up_nobody)
{
    const uint16_t port = server_port(&server, "plain");
    struct client inside = client_connect(port);
    client_ping(&inside);
    failing_every_in(server.thread, "accept4");
    struct client outside = client_connect(port);
    client_send(&outside, "\x94\x00\x01\xa4ping\x90", 9);
    for (unsigned i = 0; i < 30; i++) {
        client_ping(&inside);
        usleep(10000);
    }
    ck_assert_str_eq(failing_off(), "accept4");
    client_expect(&outside, "\x94\x01\x01\xc0\xa4pong", 9);
    client_close(&outside);
    client_close(&inside);
}
END_TEST

/* One after the other, and all at once. */
START_TEST(connections_that_are_refused_without_memory_leave_no_listener_deaf)
{
    enum { AT_ONCE = 20 };
    struct client clients[AT_ONCE];
    char byte;
    server.conf.core.max_connections = 0;
    ck_assert(server_listen(&server, &fault));
    const uint16_t port = server_port(&server, "plain");
    failing_every_in(server.thread, "malloc");
    for (size_t round = 0; round < 3; round++) {
        size_t count = round < 2 ? 1 : AT_ONCE;
        for (size_t i = 0; i < count; i++)
            clients[i] = client_connect(port);
        for (size_t i = 0; i < count; i++) {
            ck_assert_uint_eq(client_read_all(&clients[i], &byte, 1), 0);
            client_close(&clients[i]);
        }
    }
    (void)failing_off();
    server.conf.core.max_connections = 2000;
    ck_assert(server_listen(&server, &fault));
    serves_on();
}
END_TEST

static void read_stats(struct server *at, void *arg)
{
    rpc_stats(at->rpc, arg);
}

START_TEST(who_is_turned_away_without_memory_is_counted_so)
{
    static const char *const calls[] = {"strdup", "uv_tcp_init", "uv_tcp_open", "uv_read_start"};
    enum { CALLS = sizeof calls / sizeof *calls };
    const uint16_t port = server_port(&server, "plain");
    struct rpc_stats stats;
    char byte;
    for (size_t i = 0; i < CALLS; i++) {
        failing_every_in(server.thread, calls[i]);
        struct client client = client_connect(port);
        ck_assert_uint_eq(client_read_all(&client, &byte, 1), 0);
        ck_assert_str_eq(failing_off(), calls[i]);
        client_close(&client);
    }
    server_do(&server, read_stats, &stats);
    ck_assert_uint_eq(stats.busy[RPC_BUSY_MEMORY], CALLS);
    ck_assert_uint_eq(stats.busy[RPC_BUSY_CONNECTIONS], 0);
    ck_assert_uint_eq(stats.connections, 0);
    serves_on();
}
END_TEST

/* --- Sessions ------------------------------------------------------------------------------- */

enum { SEEN_MAX = 8 };

static struct {
    SSL_SESSION *session; /* with a reference */
    unsigned removed;
} seen[SEEN_MAX];
static size_t seen_count;
static int (*sessions_new)(SSL *ssl, SSL_SESSION *session);
static void (*sessions_removed)(SSL_CTX *ctx, SSL_SESSION *session);

static int see_new(SSL *ssl, SSL_SESSION *session)
{
    if (seen_count < SEEN_MAX && SSL_SESSION_up_ref(session) == 1)
        seen[seen_count++].session = session;
    return sessions_new(ssl, session);
}

static void see_removed(SSL_CTX *ctx, SSL_SESSION *session)
{
    for (size_t i = 0; i < seen_count; i++)
        seen[i].removed += seen[i].session == session;
    sessions_removed(ctx, session);
}

static void shake_hands(SSL_CTX *door)
{
    BIO *ends[2];
    char byte;
    SSL *inside = SSL_new(door), *outside = SSL_new(pki.device);
    ck_assert_int_eq(BIO_new_bio_pair(&ends[0], 1 << 16, &ends[1], 1 << 16), 1);
    SSL_set_bio(inside, ends[0], ends[0]);
    SSL_set_bio(outside, ends[1], ends[1]);
    SSL_set_accept_state(inside);
    SSL_set_connect_state(outside);
    for (unsigned i = 0; i < 10; i++) {
        (void)SSL_read(outside, &byte, 1);
        (void)SSL_read(inside, &byte, 1);
    }
    ck_assert(SSL_is_init_finished(inside));
    SSL_set_shutdown(inside, SSL_SENT_SHUTDOWN); /* else its session would go with it */
    SSL_free(inside);
    SSL_free(outside);
}

/* Whose it was can't be told then; nothing may point to it any more all the same. */
START_TEST(a_session_that_goes_while_memory_is_short_is_removed_once)
{
    const struct tls_files files = {pki.server, pki.server_key, pki.ca, ""};
    struct tls_context *context = tls_context_new(&files, &fault);
    ck_assert_msg(context != NULL, "%s: %s", fault.where, fault.text);
    sessions_new = SSL_CTX_sess_get_new_cb(context->ssl);
    sessions_removed = SSL_CTX_sess_get_remove_cb(context->ssl);
    SSL_CTX_sess_set_new_cb(context->ssl, see_new);
    SSL_CTX_sess_set_remove_cb(context->ssl, see_removed);
    shake_hands(context->ssl);
    ck_assert_uint_ge(seen_count, 1);
    failing_every("X509_digest");
    for (size_t i = 0; i < seen_count; i++)
        SSL_CTX_remove_session(context->ssl, seen[i].session);
    (void)failing_off();
    size_t gone = seen_count;
    for (unsigned i = 0; i < TLS_SESSIONS_OF_DEVICE + 1; i++)
        shake_hands(context->ssl);
    tls_context_unref(context);
    for (size_t i = 0; i < gone; i++)
        ck_assert_uint_eq(seen[i].removed, 1);
    for (size_t i = 0; i < seen_count; i++)
        SSL_SESSION_free(seen[i].session);
}
END_TEST

/* --- Frames --------------------------------------------------------------------------------- */

static bool count_frame(void *ctx, const struct frame *frame)
{
    (void)frame;
    ++*(unsigned *)ctx;
    return true;
}

/* A message's beginning, and what is missing of it, need memory that is locked. */
START_TEST(a_message_in_pieces_without_memory_for_it_is_refused)
{
    static const uint8_t bytes[] = "\x94\x00\x05\xa4ping\x91\xdb\x00\x02\x00\x00";
    static uint8_t rest[0x20000];
    struct frame_reader reader = {0};
    unsigned count = 0;
    failing_every("mlock2");
    enum frame_end end =
        frame_feed(&reader, bytes, sizeof bytes - 1, 1 << 20, count_frame, &count, &fault);
    (void)failing_off();
    ck_assert_int_eq(end, FRAME_NO_MEMORY);
    frame_reader_release(&reader);
    end = frame_feed(&reader, bytes, sizeof bytes - 1, 1 << 20, count_frame, &count, &fault);
    ck_assert_int_eq(end, FRAME_FED);
    failing_every("mremap");
    end = frame_feed(&reader, rest, sizeof rest, 1 << 20, count_frame, &count, &fault);
    (void)failing_off();
    ck_assert_int_eq(end, FRAME_NO_MEMORY);
    ck_assert_uint_eq(count, 0);
    frame_reader_release(&reader);
}
END_TEST

/* --- The device's client -------------------------------------------------------------------- */

static char device_pem[160], device_key[160], address[32];

/* The files of the device's certificate, as its client reads them. */
static void write_device(void)
{
    snprintf(device_pem, sizeof device_pem, "%s/device.pem", pki.dir);
    snprintf(device_key, sizeof device_key, "%s/device.key", pki.dir);
    FILE *file = fopen(device_pem, "w");
    ck_assert_int_eq(PEM_write_X509(file, SSL_CTX_get0_certificate(pki.device)), 1);
    fclose(file);
    file = fopen(device_key, "w");
    ck_assert_int_eq(
        PEM_write_PrivateKey(file, SSL_CTX_get0_privatekey(pki.device), NULL, NULL, 0, NULL, NULL),
        1);
    fclose(file);
    snprintf(address, sizeof address, "127.0.0.1:%u", server_port(&server, "tls"));
}

static struct whorl_client_options device_options(void)
{
    return (struct whorl_client_options){.size = sizeof(struct whorl_client_options),
                                         .server = address,
                                         .certificate = device_pem,
                                         .key = device_key,
                                         .ca = pki.ca,
                                         .backoff_ms = 1,
                                         .backoff_max_ms = 2};
}

static bool ask(void)
{
    const struct whorl_client_options options = device_options();
    const struct whorl_client_request request = {.size = sizeof request,
                                                 .method = "ping",
                                                 .argument = (const uint8_t *)"\xc0",
                                                 .argument_len = 1,
                                                 .deadline_ms = 10000};
    struct whorl_client_reply reply = {0};
    struct whorl_client *client = whorl_client_new(&options, &fault);
    bool done = client != NULL && whorl_client_connect(client, &fault) &&
                whorl_client_call(client, &request, &reply, &fault);
    done = done && whorl_str_is(reply.result, "pong");
    whorl_client_reply_release(&reply);
    whorl_client_free(client);
    return done;
}

START_TEST(a_client_gets_its_answer_or_is_told_why_not)
{
    unsigned rounds = 0;
    write_device();
    for (; failing_again(rounds == 0); rounds++) {
        fault = (struct whorl_fault){"", ""};
        failing_on_in(pthread_self());
        bool done = ask();
        const char *failed = failing_off();
        ck_assert_msg(done || fault.text[0] != '\0', "%s in silence", failed);
        ck_assert_msg(done || failed != NULL, "%s: %s", fault.where, fault.text);
    }
    ck_assert_uint_gt(rounds, 5);
}
END_TEST

/* ------------------------------------------------------------------ a line of many calls */

struct ending_of {
    sem_t ended;
    unsigned times;
    bool answered;
    char why[256];
};

static void on_ended(void *ctx, const struct whorl_client_reply *reply,
                     const struct whorl_fault *why)
{
    struct ending_of *ending = ctx;
    ending->times++;
    ending->answered = reply != NULL && whorl_str_is(reply->result, "pong");
    if (reply == NULL)
        snprintf(ending->why, sizeof ending->why, "%s", why->text);
    sem_post(&ending->ended);
}

static bool start_call(struct whorl_line *line, struct ending_of *ending)
{
    const struct whorl_line_call call = {.size = sizeof call,
                                         .repeatable = true,
                                         .method = "ping",
                                         .argument = (const uint8_t *)"\xc0",
                                         .argument_len = 1,
                                         .deadline_ms = 10000,
                                         .ctx = ending,
                                         .ended = on_ended};
    bool started = whorl_line_call(line, &call) != 0;
    if (started)
        sem_wait(&ending->ended);
    return started;
}

START_TEST(a_line_ends_each_call_once_with_its_answer_or_with_a_word_why)
{
    unsigned rounds = 0;
    write_device();
    for (; failing_again(rounds == 0); rounds++) {
        const struct whorl_client_options client = device_options();
        const struct whorl_line_options options = {.size = sizeof options, .client = &client};
        struct ending_of endings[2] = {{.times = 0}, {.times = 0}};
        bool started[2] = {false, false};
        sem_init(&endings[0].ended, 0, 0);
        sem_init(&endings[1].ended, 0, 0);
        fault = (struct whorl_fault){"", ""};
        failing_on_but(server.thread);
        struct whorl_line *line = whorl_line_new(&options, &fault);
        for (size_t i = 0; line != NULL && i < 2; i++)
            started[i] = start_call(line, &endings[i]);
        whorl_line_free(line);
        const char *failed = failing_off();
        ck_assert_msg(line != NULL || fault.text[0] != '\0', "%s in silence", failed);
        for (size_t i = 0; i < 2; i++) {
            ck_assert_msg(endings[i].times == started[i], "%s: ended %u times", failed,
                          endings[i].times);
            ck_assert_msg(failed != NULL || endings[i].answered, "not answered: %s",
                          endings[i].why);
            ck_assert_msg(!started[i] || endings[i].answered || endings[i].why[0] != '\0',
                          "%s in silence", failed);
            sem_destroy(&endings[i].ended);
        }
    }
    ck_assert_uint_gt(rounds, 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("serving_failures");
    TCase *tests = tcase_create("failures");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 200);
    tcase_add_test(tests, a_plain_connection_is_answered_or_closed);
    tcase_add_test(tests, a_secured_connection_is_answered_or_closed);
    tcase_add_test(tests, listeners_are_all_replaced_or_none);
    tcase_add_test(tests, who_cannot_be_let_in_waits_and_holds_up_nobody);
    tcase_add_test(tests, who_is_turned_away_without_memory_is_counted_so);
    tcase_add_test(tests, connections_that_are_refused_without_memory_leave_no_listener_deaf);
    tcase_add_test(tests, a_session_that_goes_while_memory_is_short_is_removed_once);
    tcase_add_test(tests, a_message_in_pieces_without_memory_for_it_is_refused);
    tcase_add_test(tests, a_client_gets_its_answer_or_is_told_why_not);
    tcase_add_test(tests, a_line_ends_each_call_once_with_its_answer_or_with_a_word_why);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
