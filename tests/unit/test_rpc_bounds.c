/* What one client, or all of them, may take of the RPC server, and what happens past it. */
#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/net/stream.h"
#include "rpc_case.h"

START_TEST(calls_past_the_bound_are_told_to_come_again)
{
    static const char busy[] = "\x94\x01\x07\x83\xa4"
                               "code\xa4"
                               "busy\xa7message";
    server.conf.core.max_calls_per_connection = 3;
    begin();
    for (int i = 0; i < 4; i++) {
        client_send(&client, "\x94\x00\x07\xa4hold\x90", 9);
    }
    char rest[128];
    client_expect(&client, busy, sizeof busy - 1);
    client_read(&client, rest, 1);
    size_t text = rest[0] == '\xd9' ? 0 : (uint8_t)rest[0] & 0x1f;
    if (text == 0) {
        client_read(&client, rest, 1);
        text = (uint8_t)rest[0];
    }
    client_read(&client, rest, text);
    client_expect(&client, "\xa8retry_ms\xcc\xfa\xc0", 12);
    /* Another connection has calls of its own. */
    struct client other = client_connect(server_port(&server, "plain"));
    client_ping(&other);
    client_close(&other);
    server_do(&server, release_held, NULL);
    for (int i = 0; i < 3; i++) {
        client_expect(&client, "\x94\x01\x07\xc0\xa4held", 9);
    }
    client_ping(&client);
    end();
}
END_TEST

START_TEST(connections_past_the_bound_are_closed_at_once)
{
    char byte = 0;
    server.conf.core.max_connections = 2;
    begin();
    struct client second = client_connect(server_port(&server, "plain"));
    client_ping(&client);
    client_ping(&second);
    struct client third = client_connect(server_port(&server, "plain"));
    ck_assert_uint_eq(client_read_all(&third, &byte, 1), 0);
    client_close(&third);
    client_close(&second);
    wait_for(&server.gone, 1);
    usleep(50000);
    second = client_connect(server_port(&server, "plain"));
    client_ping(&second);
    client_close(&second);
    end();
}
END_TEST

START_TEST(a_client_that_does_not_read_is_held_back_and_every_call_is_answered)
{
    enum { REQUESTS = 4000 };
    begin();
    client_take_little(&client);
    pid_t sender = fork();
    ck_assert_int_ge(sender, 0);
    if (sender == 0) {
        for (int i = 0; i < REQUESTS; i++) {
            client_send(&client,
                        "\x94\x00\x07\xa3"
                        "big\x91\xcd\x27\x10",
                        11);
        }
        _exit(0);
    }
    unsigned before = 0, now = 0;
    do { /* until it makes no more answers */
        before = now;
        usleep(300000);
        now = server.requests;
    } while (now != before || now == 0);
    ck_assert_uint_lt(now, REQUESTS); /* 40 MB are more than the system takes */
    ck_assert_uint_ge(client_count_results(&client, REQUESTS), now);
    client_ping(&client);
    end();
}
END_TEST

START_TEST(a_client_that_never_reads_is_dropped)
{
    server.conf.core.stall_timeout_s = 1;
    server.conf.core.max_write_queue = 32u << 20;
    begin();
    client_take_little(&client);
    for (int i = 0; i < 100; i++) { /* 20 MB of answers: more than a socket takes */
        client_send(&client,
                    "\x94\x00\x07\xa3"
                    "big\x91\xce\x00\x03\x0d\x40",
                    13);
    }
    ck_assert_uint_eq(wait_for(&server.gone, 1), 1);
    end();
}
END_TEST

static void take_stats(struct server *at, void *arg)
{
    rpc_stats(at->rpc, arg);
}

static struct rpc_stats stats_now(void)
{
    struct rpc_stats stats;
    server_do(&server, take_stats, &stats);
    return stats;
}

START_TEST(calls_past_the_bound_of_all_connections_are_told_to_come_again)
{
    server.conf.core.max_calls = 3;
    begin();
    struct client other = client_connect(server_port(&server, "plain"));
    for (int i = 0; i < 3; i++) {
        client_send(i < 2 ? &client : &other, "\x94\x00\x07\xa4hold\x90", 9);
    }
    ck_assert_uint_eq(wait_for(&server.held_count, 3), 3);
    client_send(&other, PING, PING_LEN);
    ck_assert_uint_eq(client_count_results(&other, 1), 0);
    ck_assert_uint_eq(stats_now().busy[RPC_BUSY_CALLS], 1);
    server_do(&server, release_held, NULL);
    ck_assert_uint_eq(client_count_results(&client, 2), 2);
    ck_assert_uint_eq(client_count_results(&other, 1), 1);
    client_ping(&other);
    client_close(&other);
    end();
}
END_TEST

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

START_TEST(who_asks_on_after_busy_is_read_now_and_then_until_there_is_room)
{
    enum { REFUSED = 10 };
    server.conf.core.max_calls = 1;
    begin();
    struct client other = client_connect(server_port(&server, "plain"));
    client_send(&other, "\x94\x00\x07\xa4hold\x90", 9);
    ck_assert_uint_eq(wait_for(&server.held_count, 1), 1);
    uint64_t began = now_ms();
    unsigned before = server.reads;
    for (int i = 0; i < REFUSED; i++) {
        client_send(&client, PING, PING_LEN);
        ck_assert_uint_eq(client_count_results(&client, 1), 0);
    }
    /* A bound from above, which holds however slow the machine is; half, since the loop's clock
     * stands still while it works. */
    ck_assert_uint_le(server.reads - before, 2 + 2 * (now_ms() - began) / STREAM_REST_MS);
    while (stats_now().resting == 0) {
        client_send(&client, PING, PING_LEN);
        ck_assert_uint_eq(client_count_results(&client, 1), 0);
    }
    client_send(&client, PING, PING_LEN); /* waits unread */
    server_do(&server, release_held, NULL);
    ck_assert_uint_eq(client_count_results(&other, 1), 1);
    (void)client_count_results(&client, 1);
    client_ping(&client);
    while (stats_now().resting > 0) {
        usleep(1000);
    }
    client_send(&other, "\x94\x00\x07\xa4hold\x90", 9);
    ck_assert_uint_eq(wait_for(&server.held_count, 1), 1);
    client_send(&client, PING, PING_LEN);
    ck_assert_uint_eq(client_count_results(&client, 1), 0);
    client_close(&client); /* while it rests, or soon after */
    ck_assert_uint_ge(wait_for(&server.gone, 1), 1);
    ck_assert_uint_eq(stats_now().resting, 0);
    client = other;
    server_do(&server, release_held, NULL);
    ck_assert_uint_eq(client_count_results(&client, 1), 1);
    end();
}
END_TEST

START_TEST(those_told_busy_are_read_again_when_others_have_been_answered)
{
    server.conf.core.max_calls = 1;
    begin();
    struct client other = client_connect(server_port(&server, "plain"));
    do { /* until its rest ends before it would have by itself */
        client_send(&other, "\x94\x00\x07\xa4hold\x90", 9);
        ck_assert_uint_eq(wait_for(&server.held_count, 1), 1);
        client_send(&client, PING, PING_LEN);
        ck_assert_uint_eq(client_count_results(&client, 1), 0);
        server_do(&server, release_held, NULL);
        ck_assert_uint_eq(client_count_results(&other, 1), 1);
        for (int i = 0; i < 16; i++) {
            client_ping(&other);
        }
    } while (stats_now().resting > 0);
    client_ping(&client);
    client_close(&other);
    end();
}
END_TEST

START_TEST(a_device_that_calls_too_often_is_told_to_wait_and_others_are_served)
{
    server.conf.core.device_rate = 0.001;
    server.conf.core.device_burst = 20;
    server.listeners[1] =
        (struct conf_listener){.name = "other", .address = "127.0.0.1", .device = "another"};
    server.conf.listener_count = 2;
    begin();
    struct client second = client_connect(server_port(&server, "plain"));
    struct client other = client_connect(server_port(&server, "other"));
    for (int i = 0; i < 15; i++) {
        client_ping(&client);
    }
    for (int i = 0; i < 10; i++) {
        client_send(&second, PING, PING_LEN);
    }
    ck_assert_uint_eq(client_count_results(&second, 10),
                      5); /* the device's, not the connection's */
    client_close(&second);
    second = client_connect(server_port(&server, "plain"));
    client_send(&second, PING, PING_LEN); /* and not forgotten with it */
    ck_assert_uint_eq(client_count_results(&second, 1), 0);
    client_ping(&other);
    ck_assert_uint_eq(stats_now().busy[RPC_BUSY_DEVICE_RATE], 6);
    client_close(&second);
    client_close(&other);
    end();
}
END_TEST

START_TEST(a_device_has_no_more_connections_than_it_may)
{
    char got[256];
    server.conf.core.max_connections_per_device = 2;
    begin();
    struct client second = client_connect(server_port(&server, "plain"));
    client_ping(&client);
    client_ping(&second);
    struct client third = client_connect(server_port(&server, "plain"));
    size_t len = client_read_all(&third, got, sizeof got);
    ck_assert_uint_gt(len, 9);
    ck_assert_mem_eq(got,
                     "\x93\x02\xd9\x05"
                     "error",
                     9);
    ck_assert_ptr_nonnull(memmem(got, len,
                                 "\xa4"
                                 "busy",
                                 5));
    ck_assert_ptr_nonnull(memmem(got, len, "retry_ms", 8));
    client_close(&third);
    client_close(&second);
    wait_for(&server.gone, 1);
    third = client_connect(server_port(&server, "plain"));
    client_ping(&third);
    ck_assert_uint_eq(server.gone, 1); /* what was never let in has not gone */
    client_close(&third);
    end();
}
END_TEST

START_TEST(messages_that_wait_for_their_end_are_bounded_together)
{
    enum { HALVES = 6, HALF = 300 << 10 };
    struct client halves[HALVES];
    char *half = calloc(1, HALF), got[256];
    unsigned refused = 0;
    memcpy(half, "\x94\x00\x07\xa6params\x91\xc6\x00\x08\x00\x00", 16);
    server.conf.core.max_buffered = 1u << 20;
    begin();
    for (int i = 0; i < HALVES; i++) {
        halves[i] = client_connect(server_port(&server, "plain"));
        client_send(&halves[i], half, HALF);
    }
    while (stats_now().busy[RPC_BUSY_BUFFERED] == 0) {
        usleep(1000);
    }
    ck_assert_uint_le(stats_now().bytes_begun, 1u << 20);
    client_ping(&client); /* whoever asks for little is served */
    refused = (unsigned)stats_now().busy[RPC_BUSY_BUFFERED];
    ck_assert_uint_lt(refused, HALVES);
    unsigned told = 0;
    for (int i = 0; i < HALVES; i++) {
        struct pollfd poll_for = {halves[i].fd, POLLIN, 0};
        if (poll(&poll_for, 1, 0) == 1) {
            size_t len = client_read_all(&halves[i], got, sizeof got);
            told += memmem(got, len, "retry_ms", 8) != NULL;
        }
        client_close(&halves[i]);
    }
    ck_assert_uint_gt(told, 0);
    while (stats_now().connections > 1) {
        usleep(1000);
    }
    ck_assert_uint_eq(stats_now().bytes_begun, 0);
    ck_assert_uint_eq(stats_now().bytes_to_send, 0);
    free(half);
    end();
}
END_TEST

START_TEST(what_waits_to_be_sent_is_counted_and_given_back)
{
    server.conf.core.max_write_queue = 32u << 20;
    begin();
    for (int i = 0; i < 100; i++) { /* 20 MB: more than the system takes */
        client_send(&client,
                    "\x94\x00\x07\xa3"
                    "big\x91\xce\x00\x03\x0d\x40",
                    13);
    }
    while (stats_now().bytes_to_send < 100000) {
        usleep(1000);
    }
    ck_assert_uint_eq(client_count_results(&client, 100), 100);
    while (stats_now().bytes_to_send > 0) {
        usleep(1000);
    }
    ck_assert_uint_eq(stats_now().requests, 100);
    end();
}
END_TEST

START_TEST(silent_and_dawdling_clients_are_dropped)
{
    char byte = 0;
    server.conf.core.idle_timeout_s = 1;
    server.conf.core.message_timeout_s = 1;
    begin();
    struct client dawdler = client_connect(server_port(&server, "plain"));
    struct client waiting = client_connect(server_port(&server, "plain"));
    client_send(&waiting, "\x94\x00\x07\xa4hold\x90", 9);
    static const char request[] = "\x94\x00\x07\xa6params\x91\xc4\x20                ";
    for (size_t i = 0; i < 16 && server.gone < 2; i++) {
        (void)send(dawdler.fd, request + i, 1, MSG_NOSIGNAL);
        usleep(150000);
    }
    ck_assert_uint_eq(client_read_all(&client, &byte, 1), 0);
    ck_assert_uint_eq(client_read_all(&dawdler, &byte, 1), 0);
    /* One whose call is open is not idle. */
    server_do(&server, release_held, NULL);
    client_expect(&waiting, "\x94\x01\x07\xc0\xa4held", 9);
    client_close(&dawdler);
    client_close(&waiting);
    end();
}
END_TEST

START_TEST(a_client_that_ends_its_side_gets_what_was_answered)
{
    char got[64];
    begin();
    client_send(&client, PING PING, 2 * PING_LEN);
    shutdown(client.fd, SHUT_WR);
    ck_assert_uint_eq(client_read_all(&client, got, sizeof got), 2 * PONG_LEN);
    ck_assert_mem_eq(got, PONG PONG, 2 * PONG_LEN);
    ck_assert_uint_eq(wait_for(&server.gone, 1), 1);
    end();
}
END_TEST

/* Closes with a reset instead of a goodbye. */
static void reset(struct client *rude)
{
    struct linger at_once = {1, 0};
    setsockopt(rude->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    client_close(rude);
}

START_TEST(connections_that_are_reset_end_and_nothing_else_does)
{
    begin();
    uint16_t port = server_port(&server, "plain");
    struct client waiting = client_connect(port);
    client_send(&waiting, "\x94\x00\x07\xa4hold\x90", 9);
    ck_assert_uint_eq(wait_for(&server.held_count, 1), 1);
    reset(&waiting);
    struct client stalled = client_connect(port);
    for (int i = 0; i < 100; i++) {
        client_send(&stalled,
                    "\x94\x00\x07\xa3"
                    "big\x91\xce\x00\x03\x0d\x40",
                    13);
    }
    usleep(100000); /* answers are under way by now */
    reset(&stalled);
    ck_assert_uint_eq(wait_for(&server.gone, 2), 2);
    server_do(&server, release_held, NULL);
    client_ping(&client);
    end();
}
END_TEST

START_TEST(a_rejected_client_that_stays_is_dropped)
{
    begin();
    struct client stayer = client_connect(server_port(&server, "plain"));
    client_send(&stayer, "\xc1", 1);
    for (int i = 0; i < 100; i++) { /* it goes on sending until it is cut off, after 2 s */
        usleep(50000);
        if (send(stayer.fd, "x", 1, MSG_NOSIGNAL) < 0) {
            break;
        }
        ck_assert_int_lt(i, 99);
    }
    client_close(&stayer);
    client_ping(&client);
    end();
}
END_TEST

static void notify_much(struct server *at, void *arg)
{
    static uint8_t argument[1005] = "\xc5\x03\xea";
    unsigned *times = arg;
    for (unsigned i = 0; i < *times; i++) {
        rpc_notify(at->rpc, at->last_connection, "progress", argument, sizeof argument);
    }
    rpc_notify(at->rpc, at->last_connection + 1000, "progress", argument, sizeof argument);
}

START_TEST(notifications_are_dropped_when_the_queue_is_full)
{
    unsigned times = 1000;
    char *got = malloc(2 << 20);
    begin();
    client_ping(&client);
    server_do(&server, notify_much, &times);
    client_send(&client, "\x94\x00\x05\xa4ping\x90", 9);
    shutdown(client.fd, SHUT_WR);
    size_t n = client_read_all(&client, got, 2 << 20);
    ck_assert_uint_gt(n, 30000);
    ck_assert_uint_le(n, (64u << 10) + 9);
    ck_assert_mem_eq(got + n - 9, "\x94\x01\x05\xc0\xa4pong", 9); /* answers are not */
    free(got);
    end();
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, calls_past_the_bound_are_told_to_come_again);
    tcase_add_test(tc, connections_past_the_bound_are_closed_at_once);
    tcase_add_test(tc, a_client_that_does_not_read_is_held_back_and_every_call_is_answered);
    tcase_add_test(tc, a_client_that_never_reads_is_dropped);
    tcase_add_test(tc, calls_past_the_bound_of_all_connections_are_told_to_come_again);
    tcase_add_test(tc, who_asks_on_after_busy_is_read_now_and_then_until_there_is_room);
    tcase_add_test(tc, those_told_busy_are_read_again_when_others_have_been_answered);
    tcase_add_test(tc, a_device_that_calls_too_often_is_told_to_wait_and_others_are_served);
    tcase_add_test(tc, a_device_has_no_more_connections_than_it_may);
    tcase_add_test(tc, messages_that_wait_for_their_end_are_bounded_together);
    tcase_add_test(tc, what_waits_to_be_sent_is_counted_and_given_back);
    tcase_add_test(tc, silent_and_dawdling_clients_are_dropped);
    tcase_add_test(tc, a_client_that_ends_its_side_gets_what_was_answered);
    tcase_add_test(tc, connections_that_are_reset_end_and_nothing_else_does);
    tcase_add_test(tc, a_rejected_client_that_stays_is_dropped);
    tcase_add_test(tc, notifications_are_dropped_when_the_queue_is_full);
}

int main(void)
{
    return rpc_case_run("rpc_bounds", add_tests);
}
