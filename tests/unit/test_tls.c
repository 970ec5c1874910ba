/* The same door with TLS 1.3: who is let in, who is not, and what a reload changes. */
#include <check.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "loopback.h"
#include "net_fixture.h"
#include "run_suite.h"

static struct server server;
static struct pki pki;
static atomic_llong skew; /* seconds */

/* Everybody's clock, OpenSSL's too. */
WHORL_EXPORT time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time_t moment = now.tv_sec + (time_t)skew;
    if (at != NULL) {
        *at = moment;
    }
    return moment;
}

static void setup(void)
{
    skew = 0;
    pki_make(&pki);
    server_prepare(&server);
    server.listeners[0] = pki_listener(&pki);
}

static void teardown(void)
{
    pki_remove(&pki);
}

static bool enters(SSL_CTX *context)
{
    struct client client = client_connect(server_port(&server, "tls"));
    bool in = client_secure(&client, context);
    client_close(&client);
    return in;
}

START_TEST(a_device_is_known_by_the_digest_of_its_certificate)
{
    server_start(&server);
    struct client client = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&client, pki.device));
    ck_assert_str_eq(SSL_get_version(client.ssl), "TLSv1.3");
    ck_assert(server.tls);
    ck_assert_mem_eq(server.certificate, pki.device_digest, 32);
    ck_assert_str_eq(server.device, "(null)");
    client_ping(&client);
    client_close(&client);
    ck_assert(enters(pki.second));
    ck_assert_mem_ne(server.certificate, pki.device_digest, 32);
    server_stop(&server);
}
END_TEST

START_TEST(wrong_expired_and_missing_certificates_are_refused)
{
    server_start(&server);
    ck_assert(!enters(pki.stranger));
    ck_assert(!enters(pki.expired));
    ck_assert(!enters(pki.anonymous));
    ck_assert_uint_eq(server.requests, 0);
    ck_assert(enters(pki.revoked)); /* no list is configured */
    ck_assert(enters(pki.device));
    ck_assert_uint_eq(wait_for(&server.gone, 2), 2); /* those that never entered are not told of */
    server_stop(&server);
}
END_TEST

START_TEST(older_versions_are_refused)
{
    server_start(&server);
    SSL_CTX_set_max_proto_version(pki.device, TLS1_2_VERSION);
    ck_assert(!enters(pki.device));
    SSL_CTX_set_max_proto_version(pki.device, TLS1_3_VERSION);
    ck_assert(enters(pki.device));
    server_stop(&server);
}
END_TEST

/* Whether a connection that was open is answered still; else it must have ended without a word. */
static bool goes_on(struct client *client)
{
    char answer[9];
    ck_assert_int_gt(SSL_write(client->ssl, "\x94\x00\x05\xa4ping\x90", 9), 0);
    return SSL_read(client->ssl, answer, sizeof answer) == (int)sizeof answer;
}

/* --- Strangers who take up room ------------------------------------------------------------- */

enum { ROOM = 20 };

static int strangers[ROOM];
static atomic_bool strangers_go;

static void connect_strangers(uint16_t port)
{
    for (size_t i = 0; i < ROOM; i++) {
        strangers[i] = loopback_connect(port);
        ck_assert_int_ge(strangers[i], 0);
    }
}

static void close_strangers(void)
{
    for (size_t i = 0; i < ROOM; i++) {
        close(strangers[i]);
    }
}

/* Say nothing, and come again when they are hung up on. */
static void *come_again(void *arg)
{
    const uint16_t port = *(uint16_t *)arg;
    char byte;
    for (size_t i = 0; !strangers_go; i = (i + 1) % ROOM) {
        if (recv(strangers[i], &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN) {
            close(strangers[i]);
            strangers[i] = loopback_connect(port);
        }
        usleep(10000);
    }
    return NULL;
}

static void read_stats(struct server *at, void *arg)
{
    rpc_stats(at->rpc, arg);
}

START_TEST(who_says_nothing_keeps_no_device_out)
{
    struct rpc_stats stats;
    pthread_t thread;
    server.conf.core.max_connections = ROOM;
    server_start(&server);
    uint16_t port = server_port(&server, "tls");
    struct client inside = client_connect(port);
    ck_assert(client_secure(&inside, pki.device));
    connect_strangers(port);
    strangers_go = false;
    ck_assert_int_eq(pthread_create(&thread, NULL, come_again, &port), 0);
    do {
        ck_assert(enters(pki.second));
        client_ping(&inside);
        server_do(&server, read_stats, &stats);
        ck_assert_uint_le(stats.connections, ROOM);
    } while (stats.dropped[RPC_DROP_HANDSHAKE_TIMEOUT] < 2 * ROOM);
    ck_assert_uint_eq(stats.busy[RPC_BUSY_CONNECTIONS], 0);
    strangers_go = true;
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    close_strangers();
    client_close(&inside);
    server_stop(&server);
}
END_TEST

/* What failed is told so for as long as two seconds, if there is room for that. */
START_TEST(who_talks_nonsense_keeps_no_device_out)
{
    struct rpc_stats stats;
    server.conf.core.max_connections = ROOM;
    server_start(&server);
    connect_strangers(server_port(&server, "tls"));
    for (size_t i = 0; i < ROOM; i++) {
        char alert;
        ck_assert_int_eq(send(strangers[i], "nonsense", 8, MSG_NOSIGNAL), 8);
        ck_assert_int_ge(recv(strangers[i], &alert, 1, 0), 0);
    }
    ck_assert(enters(pki.device));
    server_do(&server, read_stats, &stats);
    ck_assert_uint_eq(stats.dropped[RPC_DROP_HANDSHAKE], ROOM);
    ck_assert_uint_eq(stats.dropped[RPC_DROP_HANDSHAKE_TIMEOUT], 0);
    close_strangers();
    server_stop(&server);
}
END_TEST

START_TEST(who_was_let_in_gives_no_place_away)
{
    enum { DEVICES = 5 };
    struct client devices[DEVICES];
    struct rpc_stats stats;
    char byte;
    server.conf.core.max_connections = DEVICES;
    server_start(&server);
    for (size_t i = 0; i < DEVICES; i++) {
        devices[i] = client_connect(server_port(&server, "tls"));
        ck_assert(client_secure(&devices[i], pki.device));
    }
    struct client late = client_connect(server_port(&server, "tls"));
    ck_assert_uint_eq(client_read_all(&late, &byte, 1), 0);
    client_close(&late);
    for (size_t i = 0; i < DEVICES; i++) {
        client_ping(&devices[i]);
        client_close(&devices[i]);
    }
    server_do(&server, read_stats, &stats);
    ck_assert_uint_eq(stats.busy[RPC_BUSY_CONNECTIONS], 1);
    ck_assert_uint_eq(stats.dropped[RPC_DROP_HANDSHAKE_TIMEOUT], 0);
    server_stop(&server);
}
END_TEST

START_TEST(a_revoked_device_is_refused_after_the_list_is_loaded)
{
    struct whorl_fault fault;
    server_start(&server);
    struct client inside = client_connect(server_port(&server, "tls"));
    struct client other = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&inside, pki.revoked));
    ck_assert(client_secure(&other, pki.device));
    server.listeners[0].crl = pki.empty_crl;
    ck_assert(server_listen(&server, &fault));
    ck_assert(enters(pki.revoked));
    ck_assert(goes_on(&inside));
    unsigned requests = server.requests;
    server.listeners[0].crl = pki.crl;
    ck_assert(server_listen(&server, &fault));
    ck_assert(!enters(pki.revoked));
    ck_assert(enters(pki.device));
    ck_assert(!goes_on(&inside));
    ck_assert_uint_eq(server.requests, requests + 1); /* of the device that entered */
    ck_assert(goes_on(&other));
    client_close(&inside);
    client_close(&other);
    server_stop(&server);
}
END_TEST

START_TEST(a_connection_ends_with_the_authority_that_let_it_in)
{
    struct whorl_fault fault;
    server_start(&server);
    struct client idle = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&idle, pki.device));
    server.listeners[0].client_ca = pki.other_ca;
    ck_assert(server_listen(&server, &fault));
    /* Whatever comes back before it speaks again: that is what counts. */
    server.listeners[0].client_ca = pki.ca;
    ck_assert(server_listen(&server, &fault));
    ck_assert(goes_on(&idle));
    server.listeners[0].client_ca = pki.other_ca;
    ck_assert(server_listen(&server, &fault));
    ck_assert(!goes_on(&idle));
    client_close(&idle);
    server_stop(&server);
}
END_TEST

START_TEST(a_connection_ends_with_its_certificate)
{
    server_start(&server);
    struct client client = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&client, pki.device));
    skew = 364L * 86400;
    ck_assert(goes_on(&client));
    skew = 366L * 86400;
    ck_assert(!goes_on(&client));
    client_close(&client);
    server_stop(&server);
}
END_TEST

/* Asks for a session of `from` and comes back as `as` with it. Whether it was resumed. */
static bool comes_back(SSL_CTX *from, SSL_CTX *as, bool *entered)
{
    struct client first = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&first, from));
    SSL_SESSION *session = SSL_get1_session(first.ssl);
    ck_assert(SSL_SESSION_is_resumable(session));
    SSL_shutdown(first.ssl);
    client_close(&first);
    struct client again = client_connect(server_port(&server, "tls"));
    again.ssl = SSL_new(as);
    SSL_set_fd(again.ssl, again.fd);
    SSL_set_session(again.ssl, session);
    *entered = SSL_connect(again.ssl) == 1;
    bool resumed = SSL_session_reused(again.ssl) == 1;
    if (*entered) {
        client_ping(&again);
    }
    SSL_SESSION_free(session);
    client_close(&again);
    return resumed;
}

START_TEST(a_session_is_resumed_as_the_same_device)
{
    bool entered = false;
    server_start(&server);
    ck_assert(comes_back(pki.device, pki.device, &entered));
    ck_assert(entered);
    ck_assert_mem_eq(server.certificate, pki.device_digest, 32);
    /* Whoever holds the session is the device that began it, whatever certificate it has. */
    ck_assert(comes_back(pki.second, pki.device, &entered));
    ck_assert_mem_ne(server.certificate, pki.device_digest, 32);
    server_stop(&server);
}
END_TEST

START_TEST(a_session_from_before_a_change_of_the_list_is_not_resumed)
{
    struct whorl_fault fault;
    server_start(&server);
    struct client first = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&first, pki.revoked));
    SSL_SESSION *session = SSL_get1_session(first.ssl);
    client_close(&first);
    server.listeners[0].crl = pki.crl;
    ck_assert(server_listen(&server, &fault));
    struct client again = client_connect(server_port(&server, "tls"));
    SSL_CTX_set_session_cache_mode(pki.revoked, SSL_SESS_CACHE_OFF);
    again.ssl = SSL_new(pki.revoked);
    SSL_set_fd(again.ssl, again.fd);
    SSL_set_session(again.ssl, session);
    char byte = 0;
    size_t used = 0;
    ck_assert(SSL_connect(again.ssl) != 1 ||
              SSL_write_ex(again.ssl, "\x94\x00\x01\xa4ping\x90", 9, &used) != 1 ||
              SSL_read_ex(again.ssl, &byte, 1, &used) != 1);
    ck_assert_int_eq(SSL_session_reused(again.ssl), 0);
    SSL_SESSION_free(session);
    client_close(&again);
    server_stop(&server);
}
END_TEST

/* A session of a device that has gone; to be resumed once. */
static SSL_SESSION *leave_session(SSL_CTX *device)
{
    struct client client = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&client, device));
    client_ping(&client);
    SSL_SESSION *session = SSL_get1_session(client.ssl);
    SSL_shutdown(client.ssl);
    client_close(&client);
    return session;
}

/* Whether a new connection, which works, resumes a session. */
static bool resumes(SSL_SESSION *session)
{
    struct client client = client_connect(server_port(&server, "tls"));
    client.ssl = SSL_new(pki.device);
    SSL_set_fd(client.ssl, client.fd);
    SSL_set_session(client.ssl, session);
    ck_assert_int_eq(SSL_connect(client.ssl), 1);
    client_ping(&client);
    bool resumed = SSL_session_reused(client.ssl) == 1;
    SSL_SESSION_free(session);
    client_close(&client);
    return resumed;
}

/* Comes back with a session and leaves the one that it is given then in its place. */
static bool resumes_again(SSL_SESSION **session)
{
    struct client client = client_connect(server_port(&server, "tls"));
    client.ssl = SSL_new(pki.device);
    SSL_set_fd(client.ssl, client.fd);
    SSL_set_session(client.ssl, *session);
    ck_assert_int_eq(SSL_connect(client.ssl), 1);
    client_ping(&client);
    bool resumed = SSL_session_reused(client.ssl) == 1;
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(client.ssl);
    SSL_shutdown(client.ssl);
    client_close(&client);
    return resumed;
}

START_TEST(a_device_proves_itself_every_hour_however_often_it_resumes)
{
    server_start(&server);
    SSL_SESSION *session = leave_session(pki.device);
    for (int hour = 0; hour < 3; hour++) {
        for (int i = 0; i < 3; i++) {
            skew += 1190;
            ck_assert_msg(resumes_again(&session), "hour %d, %d", hour, i);
        }
        skew += 1190;
        ck_assert(!resumes_again(&session));
    }
    SSL_SESSION_free(session);
    server_stop(&server);
}
END_TEST

START_TEST(no_session_outlives_the_list)
{
    server.listeners[0].crl = pki.empty_crl;
    server_start(&server);
    skew = 180L * 86400 - 1800;
    SSL_SESSION *session = leave_session(pki.device);
    skew += 1000;
    ck_assert(resumes_again(&session));
    skew += 1000; /* within the hour, but the list has ended */
    struct client client = client_connect(server_port(&server, "tls"));
    client.ssl = SSL_new(pki.device);
    SSL_set_fd(client.ssl, client.fd);
    SSL_set_session(client.ssl, session);
    ck_assert(SSL_connect(client.ssl) != 1 || SSL_session_reused(client.ssl) == 0);
    ck_assert(!enters(pki.device));
    SSL_SESSION_free(session);
    client_close(&client);
    server_stop(&server);
}
END_TEST

START_TEST(a_session_outlives_a_reload_that_changes_no_certificate)
{
    struct whorl_fault fault;
    server_start(&server);
    SSL_SESSION *session = leave_session(pki.device);
    server.conf.core.idle_timeout_s++;
    ck_assert(server_listen(&server, &fault));
    ck_assert(resumes(session));
    session = leave_session(pki.device);
    server.listeners[0].crl = pki.crl; /* now a list counts */
    ck_assert(server_listen(&server, &fault));
    ck_assert(!resumes(session));
    server_stop(&server);
}
END_TEST

START_TEST(a_device_has_two_sessions_the_newest_however_often_it_begins)
{
    SSL_SESSION *sessions[20];
    server_start(&server);
    SSL_SESSION *others = leave_session(pki.second);
    for (size_t i = 0; i < 20; i++) {
        sessions[i] = leave_session(pki.device);
    }
    ck_assert(resumes(sessions[18])); /* which leaves one, too */
    ck_assert(resumes(sessions[19]));
    for (size_t i = 0; i < 18; i++) {
        ck_assert(!resumes(sessions[i]));
    }
    ck_assert(resumes(others));
    server_stop(&server);
}
END_TEST

START_TEST(records_of_every_size_and_large_messages_pass)
{
    server_start(&server);
    struct client client = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&client, pki.device));
    for (size_t cut = 1; cut < 9; cut++) {
        client_send(&client, "\x94\x00\x05\xa4ping\x90", cut);
        client_send(&client, &"\x94\x00\x05\xa4ping\x90"[cut], 9 - cut);
        client_expect(&client, "\x94\x01\x05\xc0\xa4pong", 9);
    }
    size_t len = 700000;
    char *request = calloc(1, len + 16), *reply = malloc(len + 16);
    const char head[] = {'\xc6', 0, (char)(len >> 16), (char)(len >> 8), (char)len};
    memcpy(request, "\x94\x00\x07\xa6params\x91", 11);
    memcpy(request + 11, head, 5);
    for (size_t i = 0; i < len; i++) {
        request[16 + i] = (char)(i * 13 + (i >> 10));
    }
    for (int round = 0; round < 2; round++) {
        client_send(&client, request, len + 16);
        client_read(&client, reply, len + 10);
        ck_assert(memcmp(reply + 5, request + 11, len + 5) == 0);
    }
    for (int i = 0; i < 200; i++) {
        client_send(&client, "\x94\x00\x05\xa4ping\x90", 9);
    }
    for (int i = 0; i < 200; i++) {
        client_expect(&client, "\x94\x01\x05\xc0\xa4pong", 9);
    }
    free(request);
    free(reply);
    client_close(&client);
    server_stop(&server);
}
END_TEST

START_TEST(the_handshake_may_arrive_byte_by_byte)
{
    server_start(&server);
    struct client client = client_connect(server_port(&server, "tls"));
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    client.ssl = SSL_new(pki.device);
    SSL_set_bio(client.ssl, in, out);
    SSL_set_connect_state(client.ssl);
    int done = -1;
    for (int turn = 0; done != 1 && turn < 10000; turn++) {
        char byte = 0, block[4096];
        done = SSL_do_handshake(client.ssl);
        while (BIO_read(out, &byte, 1) == 1) {
            ck_assert_int_eq(write(client.fd, &byte, 1), 1);
        }
        if (done != 1) {
            ssize_t n = read(client.fd, block, sizeof block);
            ck_assert_int_gt(n, 0);
            BIO_write(in, block, (int)n);
        }
    }
    ck_assert_int_eq(done, 1);
    SSL_set_fd(client.ssl, client.fd);
    client_ping(&client);
    client_close(&client);
    server_stop(&server);
}
END_TEST

START_TEST(a_bad_frame_is_explained_over_tls_and_the_goodbye_is_said)
{
    char got[512];
    server_start(&server);
    struct client client = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&client, pki.device));
    client_send(&client, "\xc1", 1);
    size_t n = client_read_all(&client, got, sizeof got);
    ck_assert_uint_gt(n, 20);
    ck_assert_mem_eq(got,
                     "\x93\x02\xd9\x05"
                     "error",
                     9);
    ck_assert_int_eq(SSL_get_shutdown(client.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    client_close(&client);
    server_stop(&server);
}
END_TEST

START_TEST(a_tls_client_that_does_not_read_is_held_back_and_every_call_is_answered)
{
    enum { REQUESTS = 200 };
    server_start(&server);
    struct client client = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&client, pki.device));
    client_take_little(&client);
    for (int i = 0; i < REQUESTS; i++) {
        client_send(&client,
                    "\x94\x00\x07\xa3"
                    "big\x91\xce\x00\x03\x0d\x40",
                    13);
    }
    usleep(300000);
    unsigned before = server.requests;
    ck_assert_uint_lt(before, REQUESTS);
    ck_assert_uint_ge(client_count_results(&client, REQUESTS) + 1, before);
    client_ping(&client);
    client_close(&client);
    server_stop(&server);
}
END_TEST

START_TEST(damaged_records_end_the_connection)
{
    char got[64];
    server_start(&server);
    struct client client = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&client, pki.device));
    ck_assert_int_eq(send(client.fd,
                          "\x17\x03\x03\x00\x14"
                          "01234567890123456789",
                          25, MSG_NOSIGNAL),
                     25);
    ck_assert_uint_eq(client_read_all(&client, got, sizeof got), 0);
    ck_assert_uint_eq(wait_for(&server.gone, 1), 1);
    client_close(&client);
    ck_assert(enters(pki.device));
    server_stop(&server);
}
END_TEST

START_TEST(garbage_and_silence_instead_of_a_handshake_end)
{
    char got[64];
    server.conf.core.handshake_timeout_s = 1;
    server_start(&server);
    struct client silent = client_connect(server_port(&server, "tls"));
    struct client noisy = client_connect(server_port(&server, "tls"));
    client_send(&noisy, "\x94\x00\x05\xa4ping\x90", 9);
    client_read_all(&noisy, got, sizeof got);
    ck_assert_uint_eq(client_read_all(&silent, got, sizeof got), 0);
    ck_assert(enters(pki.device));
    client_close(&silent);
    client_close(&noisy);
    server_stop(&server);
}
END_TEST

/* rpc_listen refuses, and the words are in its fault; the old settings go on. */
static void assert_fault(const char *words)
{
    struct whorl_fault fault = {0};
    ck_assert(!server_listen(&server, &fault));
    ck_assert_str_eq(fault.where, "listener \"tls\"");
    ck_assert_msg(strstr(fault.text, words) != NULL, "%s", fault.text);
    ck_assert(enters(pki.device));
    server.listeners[0] = pki_listener(&pki);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    fputs(text, file);
    fclose(file);
}

START_TEST(files_that_were_read_ahead_are_not_needed_any_more)
{
    char list[96];
    struct whorl_fault fault;
    snprintf(list, sizeof list, "%s/list.pem", pki.dir);
    server_start(&server);
    ck_assert(enters(pki.revoked));
    server.listeners[0].crl = list;
    ck_assert_int_eq(link(pki.crl, list), 0);
    struct listeners_ahead *ahead = listeners_ahead(&server.conf, &fault);
    ck_assert_ptr_nonnull(ahead);
    unlink(list);
    ck_assert(server_listen_ahead(&server, ahead, &fault));
    ck_assert(!enters(pki.revoked));
    ck_assert(enters(pki.device));
    ck_assert(!server_listen(&server, &fault)); /* whoever reads now finds none */
    ck_assert(!enters(pki.revoked));
    server_stop(&server);
}
END_TEST

/* Appends what is in one file to another. */
static void append_file(const char *to, const char *from)
{
    char text[4096];
    FILE *in = fopen(from, "re"), *out = fopen(to, "ae");
    size_t len = fread(text, 1, sizeof text, in);
    ck_assert_uint_gt(len, 0);
    ck_assert_uint_eq(fwrite(text, 1, len, out), len);
    fclose(in);
    fclose(out);
}

/* Whether the listener's file says that it ends so many days from now. */
static bool ends_in(enum tls_file file, int days)
{
    int64_t end = rpc_end(server.rpc, "tls", file), expected = (int64_t)time(NULL) + days * 86400L;
    return end > expected - 600 && end <= expected;
}

START_TEST(the_first_end_of_what_a_file_holds_is_known)
{
    char lists[96];
    struct whorl_fault fault;
    snprintf(lists, sizeof lists, "%s/lists.pem", pki.dir);
    server_start(&server);
    ck_assert(ends_in(TLS_FILE_CERTIFICATE, 365));
    ck_assert(ends_in(TLS_FILE_CLIENT_CA, 365));
    ck_assert_int_eq(rpc_end(server.rpc, "tls", TLS_FILE_CRL), 0);
    ck_assert_int_eq(rpc_end(server.rpc, "none", TLS_FILE_CERTIFICATE), 0);
    server.listeners[0].crl = lists;
    append_file(lists, pki.crl);
    ck_assert(server_listen(&server, &fault));
    ck_assert(ends_in(TLS_FILE_CRL, 365));
    append_file(lists, pki.empty_crl);
    ck_assert(server_listen(&server, &fault));
    ck_assert(ends_in(TLS_FILE_CRL, 180));
    server_stop(&server);
}
END_TEST

START_TEST(faults_in_the_files_are_named)
{
    char broken[96], missing[96];
    snprintf(broken, sizeof broken, "%s/broken.pem", pki.dir);
    snprintf(missing, sizeof missing, "%s/missing.pem", pki.dir);
    server_start(&server);
    struct conf_listener *tls = &server.listeners[0];
    tls->certificate = missing;
    assert_fault("certificate: ");
    tls->key = missing;
    assert_fault("missing.pem: No such file");
    tls->client_ca = missing;
    assert_fault("client_ca: ");
    tls->crl = missing;
    assert_fault("crl: ");
    write_file(broken, "-----BEGIN NONSENSE-----\n");
    chmod(broken, 0600);
    tls->certificate = broken;
    assert_fault("holds no certificate in PEM form");
    tls->key = broken;
    assert_fault("holds no private key in PEM form");
    tls->client_ca = broken;
    assert_fault("holds no certificate in PEM form");
    tls->crl = broken;
    assert_fault("holds no revocation list in PEM form");
    tls->crl = pki.late_crl;
    assert_fault("list 1 is out of date");
    tls->client_ca = pki.other_ca;
    tls->crl = pki.crl;
    assert_fault("has no list that /CN=Other CA signed");
    tls->certificate = pki.ca;
    assert_fault("does not belong to the certificate");
    server_stop(&server);
}
END_TEST

START_TEST(a_private_key_that_others_can_read_is_refused)
{
    static const mode_t open_to_others[] = {0604, 0602, 0601, 0620};
    server_start(&server);
    for (size_t i = 0; i < sizeof open_to_others / sizeof open_to_others[0]; i++) {
        ck_assert_int_eq(chmod(pki.server_key, open_to_others[i]), 0);
        assert_fault("must be readable by its owner alone");
    }
    ck_assert_int_eq(chmod(pki.server_key, 0640), 0);
    if (geteuid() == 0) {
        struct whorl_fault fault;
        ck_assert(server_listen(&server, &fault)); /* root may lend it to a group */
        ck_assert_int_eq(chown(pki.server_key, 65534, 65534), 0);
    }
    assert_fault("must be readable by its owner alone");
    ck_assert_int_eq(chmod(pki.server_key, 0400), 0);
    struct whorl_fault fault;
    ck_assert(server_listen(&server, &fault));
    ck_assert(enters(pki.device));
    server_stop(&server);
}
END_TEST

START_TEST(many_reloads_leave_connections_alone)
{
    struct whorl_fault fault;
    server_start(&server);
    struct client client = client_connect(server_port(&server, "tls"));
    ck_assert(client_secure(&client, pki.device));
    for (int i = 0; i < 200; i++) {
        ck_assert_msg(server_listen(&server, &fault), "%s", fault.text);
        client_ping(&client);
    }
    ck_assert(enters(pki.device));
    client_close(&client);
    server_stop(&server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls");
    TCase *tc = tcase_create("tls");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_device_is_known_by_the_digest_of_its_certificate);
    tcase_add_test(tc, wrong_expired_and_missing_certificates_are_refused);
    tcase_add_test(tc, older_versions_are_refused);
    tcase_add_test(tc, who_says_nothing_keeps_no_device_out);
    tcase_add_test(tc, who_talks_nonsense_keeps_no_device_out);
    tcase_add_test(tc, who_was_let_in_gives_no_place_away);
    tcase_add_test(tc, a_revoked_device_is_refused_after_the_list_is_loaded);
    tcase_add_test(tc, a_connection_ends_with_the_authority_that_let_it_in);
    tcase_add_test(tc, a_connection_ends_with_its_certificate);
    tcase_add_test(tc, a_session_is_resumed_as_the_same_device);
    tcase_add_test(tc, a_device_proves_itself_every_hour_however_often_it_resumes);
    tcase_add_test(tc, no_session_outlives_the_list);
    tcase_add_test(tc, a_session_from_before_a_change_of_the_list_is_not_resumed);
    tcase_add_test(tc, a_device_has_two_sessions_the_newest_however_often_it_begins);
    tcase_add_test(tc, a_session_outlives_a_reload_that_changes_no_certificate);
    tcase_add_test(tc, records_of_every_size_and_large_messages_pass);
    tcase_add_test(tc, the_handshake_may_arrive_byte_by_byte);
    tcase_add_test(tc, a_bad_frame_is_explained_over_tls_and_the_goodbye_is_said);
    tcase_add_test(tc, a_tls_client_that_does_not_read_is_held_back_and_every_call_is_answered);
    tcase_add_test(tc, damaged_records_end_the_connection);
    tcase_add_test(tc, garbage_and_silence_instead_of_a_handshake_end);
    tcase_add_test(tc, files_that_were_read_ahead_are_not_needed_any_more);
    tcase_add_test(tc, the_first_end_of_what_a_file_holds_is_known);
    tcase_add_test(tc, faults_in_the_files_are_named);
    tcase_add_test(tc, a_private_key_that_others_can_read_is_refused);
    tcase_add_test(tc, many_reloads_leave_connections_alone);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
