/* msgpack-RPC over real sockets on loopback: what a client sees, however it behaves. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_fixture.h"

#define PING "\x94\x00\x07\xa4ping\x90"
#define PONG "\x94\x01\x07\xc0\xa4pong"
#define PING_LEN 9
#define PONG_LEN 9

static struct server server;
static struct client client;

static void setup(void)
{
    server_prepare(&server);
}

static void begin(void)
{
    server_start(&server);
    client = client_connect(server_port(&server, "plain"));
}

static void end(void)
{
    client_close(&client);
    server_stop(&server);
}

static void exchange(const char *request, size_t len, const char *reply, size_t reply_len)
{
    client_send(&client, request, len);
    client_expect(&client, reply, reply_len);
}

START_TEST(every_kind_of_integer_id_comes_back_as_it_was_sent)
{
    static const struct {
        const char *id;
        size_t len;
    } ids[] = {{"\x00", 1},
               {"\x7f", 1},
               {"\xff", 1},
               {"\xe0", 1},
               {"\xcc\x05", 2},
               {"\xcd\x00\x05", 3},
               {"\xce\xff\xff\xff\xff", 5},
               {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9},
               {"\xd0\x80", 2},
               {"\xd1\x80\x00", 3},
               {"\xd2\x80\x00\x00\x00", 5},
               {"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9}};
    begin();
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char request[32] = "\x94\x00", reply[32] = "\x94\x01";
        memcpy(request + 2, ids[i].id, ids[i].len);
        memcpy(request + 2 + ids[i].len, "\xa4ping\x90", 6);
        memcpy(reply + 2, ids[i].id, ids[i].len);
        memcpy(reply + 2 + ids[i].len, "\xc0\xa4pong", 6);
        exchange(request, 8 + ids[i].len, reply, 8 + ids[i].len);
    }
    end();
}
END_TEST

START_TEST(methods_may_be_str_or_bin_and_heads_of_any_width)
{
    begin();
    exchange("\x94\x00\x07\xc4\x04ping\x90", 10, PONG, PONG_LEN);
    exchange("\x94\x00\x07\xc5\x00\x04ping\x90", 11, PONG, PONG_LEN);
    exchange("\x94\x00\x07\xc6\x00\x00\x00\x04ping\x90", 13, PONG, PONG_LEN);
    exchange("\x94\x00\x07\xd9\x04ping\x90", 10, PONG, PONG_LEN);
    exchange("\x94\x00\x07\xda\x00\x04ping\x90", 11, PONG, PONG_LEN);
    exchange("\x94\x00\x07\xdb\x00\x00\x00\x04ping\x90", 13, PONG, PONG_LEN);
    exchange("\xdc\x00\x04\xcc\x00\x07\xa4ping\xdc\x00\x00", 14, PONG, PONG_LEN);
    exchange("\xdd\x00\x00\x00\x04\xd0\x00\x07\xa4ping\xdd\x00\x00\x00\x00", 18, PONG, PONG_LEN);
    exchange("\x94\x00\x07\xa6params\x93\x01\xa1x\x80", 15, "\x94\x01\x07\xc0\x93\x01\xa1x\x80", 9);
    end();
}
END_TEST

START_TEST(errors_are_maps_and_notifications_reach_the_client)
{
    static const char boom[] = "\x94\x01\x07\x83\xa4"
                               "code\xa7invalid\xa7message\xa8is wrong\xa5where\xa3"
                               "a.b\xc0";
    static const char unknown[] = "\x94\x01\x07\x82\xa4"
                                  "code\xaeunknown_method\xa7message\xa3"
                                  "foo\xc0";
    static const char note[] = "\x93\x02\xd9\x08progress\x91\x07\x94\x01\x07\xc0\xc3";
    begin();
    exchange("\x94\x00\x07\xa4"
             "boom\x90",
             9, boom, sizeof boom - 1);
    exchange("\x94\x00\x07\xa3"
             "foo\x90",
             8, unknown, sizeof unknown - 1);
    exchange("\x94\x00\x07\xa4note\x90", 9, note, sizeof note - 1);
    ck_assert_str_eq(server.device, "workbench");
    ck_assert_int_eq(strncmp(server.address, "127.0.0.1:", 10), 0);
    ck_assert(!server.tls);
    end();
}
END_TEST

START_TEST(responses_and_notifications_from_a_client_have_no_effect)
{
    begin();
    client_send(&client, "\x93\x02\xa4ping\x90", 8);
    client_send(&client, "\x94\x01\x03\xc0\xc0", 5);
    client_ping(&client);
    ck_assert_uint_eq(server.requests, 1);
    end();
}
END_TEST

START_TEST(a_request_may_arrive_in_any_pieces)
{
    static const char request[] = "\x94\x00\xcd\x01\x02\xa6params\x92\xda\x00\x05hello\x81\x01\x02";
    static const char reply[] = "\x94\x01\xcd\x01\x02\xc0\x92\xda\x00\x05hello\x81\x01\x02";
    size_t len = sizeof request - 1;
    begin();
    for (size_t cut = 1; cut < len; cut++) {
        client_send(&client, request, cut);
        usleep(2000);
        exchange(request + cut, len - cut, reply, sizeof reply - 1);
    }
    for (size_t i = 0; i < len; i++) {
        client_send(&client, request + i, 1);
        usleep(1000);
    }
    client_expect(&client, reply, sizeof reply - 1);
    /* A piece that ends one request and begins the next. */
    client_send(&client, request, 5);
    usleep(2000);
    client_send(&client, request + 5, len - 5);
    client_send(&client, request, len);
    client_send(&client, request, 7);
    usleep(2000);
    client_send(&client, request + 7, len - 7);
    for (int i = 0; i < 3; i++) {
        client_expect(&client, reply, sizeof reply - 1);
    }
    end();
}
END_TEST

START_TEST(replies_to_one_read_leave_in_one_write_and_in_order)
{
    char requests[100 * 11], replies[100 * 11 + 1];
    size_t at = 0, want = 0;
    begin();
    for (unsigned i = 0; i < 100; i++) {
        memcpy(requests + at, "\x94\x00\xcc", 3);
        requests[at + 3] = (char)i;
        memcpy(requests + at + 4, "\xa4ping\x90", 6);
        at += 10;
        want += 10;
    }
    client_send(&client, requests, at);
    struct pollfd poll_for = {client.fd, POLLIN, 0};
    ck_assert_int_eq(poll(&poll_for, 1, 10000), 1);
    ck_assert_int_eq(recv(client.fd, replies, sizeof replies, 0), (ssize_t)want);
    for (unsigned i = 0; i < 100; i++) {
        ck_assert_uint_eq((uint8_t)replies[i * 10 + 3], i);
    }
    end();
}
END_TEST

START_TEST(what_is_answered_when_a_read_has_been_dealt_with_leaves_in_the_same_write)
{
    char requests[11 * 9], replies[11 * 9];
    begin();
    for (size_t i = 0; i < 11; i++) {
        memcpy(requests + 9 * i, i < 10 ? "\x94\x00\x07\xa4late\x90" : PING, 9);
    }
    client_send(&client, requests, sizeof requests);
    struct pollfd poll_for = {client.fd, POLLIN, 0};
    ck_assert_int_eq(poll(&poll_for, 1, 10000), 1);
    ck_assert_int_eq(recv(client.fd, replies, sizeof replies, 0), PONG_LEN + 10 * 5);
    ck_assert_mem_eq(replies, PONG, PONG_LEN);
    for (size_t i = 0; i < 10; i++) {
        ck_assert_mem_eq(replies + PONG_LEN + 5 * i, "\x94\x01\x07\xc0\x2a", 5);
    }
    ck_assert_uint_eq(atomic_load(&server.reads), 1);
    end();
}
END_TEST

START_TEST(a_large_request_and_a_large_answer_pass_whole)
{
    size_t len = (1u << 20) - 20;
    char *request = malloc(len + 20), *reply = malloc(len + 20);
    const char head[] = {'\xc6', (char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len};
    begin();
    memcpy(request, "\x94\x00\x07\xa6params\x91", 11);
    memcpy(request + 11, head, 5);
    for (size_t i = 0; i < len - 4; i++) {
        request[16 + i] = (char)(i * 31 + (i >> 9));
    }
    memcpy(request + 11, (char[]){head[0], head[1], head[2], head[3], (char)(len - 4)}, 5);
    ck_assert_uint_eq((len - 4) >> 8, len >> 8);
    for (int round = 0; round < 3; round++) {
        client_send(&client, request, 16 + len - 4);
        client_read(&client, reply, 5 + 5 + len - 4);
        ck_assert_mem_eq(reply, "\x94\x01\x07\xc0\x91", 5);
        ck_assert(memcmp(reply + 5, request + 11, 5 + len - 4) == 0);
    }
    free(request);
    free(reply);
    end();
}
END_TEST

/* The last thing on a connection that sent these bytes is an error notification with this code. */
static void assert_rejected(const char *bytes, size_t len, const char *code)
{
    char got[2048];
    struct client hostile = client_connect(server_port(&server, "plain"));
    client_send(&hostile, PING, PING_LEN);
    client_send(&hostile, bytes, len);
    size_t n = client_read_all(&hostile, got, sizeof got);
    ck_assert_uint_gt(n, PONG_LEN + 10);
    ck_assert_mem_eq(got, PONG, PONG_LEN);
    struct whorl_msg msg;
    struct whorl_fault fault = {0};
    ck_assert_msg(whorl_msg_parse((uint8_t *)got + PONG_LEN, n - PONG_LEN, &msg, &fault), "%s",
                  fault.text);
    ck_assert_uint_eq(msg.root.via.array.size, 3);
    const msgpack_object *parts = msg.root.via.array.ptr;
    ck_assert_uint_eq(parts[0].via.u64, 2);
    ck_assert(whorl_str_is(&parts[1], "error"));
    const msgpack_object *error = &parts[2].via.array.ptr[0];
    ck_assert(whorl_str_is(whorl_map_get(error, "code"), code));
    ck_assert_ptr_nonnull(whorl_map_get(error, "message"));
    whorl_msg_release(&msg);
    client_close(&hostile);
}

START_TEST(hostile_frames_end_their_connection_with_a_reason)
{
    static const struct {
        const char *bytes;
        size_t len;
    } frames[] = {
        {"\xc1", 1},
        {"\xc0", 1},
        {"\x90", 1},
        {"\x80", 1},
        {"GET / HTTP/1.1\r\n\r\n", 18},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11},
        {"\x94\x03\x07\xa4ping\x90", 9},
        {"\x94\x02\x07\xa4ping\x90", 9},
        {"\x93\x00\xa4ping\x90", 8},
        {"\x95\x00\x07\xa4ping\x90\xc0", 10},
        {"\x94\xff\x07\xa4ping\x90", 9},
        {"\x94\xc0\x07\xa4ping\x90", 9},
        {"\x94\xcf\x01\x00\x00\x00\x00\x00\x00\x00\x07\xa4ping\x90", 17},
        {"\x94\x00\xc0\xa4ping\x90", 9},
        {"\x94\x00\xa1x\xa4ping\x90", 10},
        {"\x94\x00\xcb\0\0\0\0\0\0\0\0\xa4ping\x90", 17},
        {"\x94\x00\x07\x05\x90", 5},
        {"\x94\x00\x07\xc0\x90", 5},
        {"\x94\x00\x07\xc7\x04\x01ping\x90", 11},
        {"\x94\x00\x07\xa5ping\x00\x90", 10},
        {"\x94\x00\x07\xa4pin\xff\x90", 9},
        {"\x94\x00\x07\xa4ping\x80", 9},
        {"\x94\x00\x07\xa4ping\xc0", 9},
        {"\x94\x00\x07\xa4ping\xa1x", 10},
        {"\x93\x02\x07\x90", 4},
        {"\x93\x02\xa4ping\x05", 8},
        {"\x94\x01\xc0\xc0\xc0", 5},
        {"\xdd\x07\xff\xff\xff", 5},
        {"\x94\x00\x07\xa4ping\xdd\xff\xff\xff\xff", 13},
        {"\x94\x00\x07\xa4ping\xdf\x7f\xff\xff\xff", 13},
        {"\x94\x00\x07\xdb\xff\xff\xff\xff", 8},
        {"\x94\x00\x07\xa4ping\x91\xc6\x00\x10\x00\x00", 14},
    };
    begin();
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        assert_rejected(frames[i].bytes, frames[i].len, "bad_frame");
    }
    char nest[64], method[120];
    memset(nest, 0x91, sizeof nest);
    assert_rejected(nest, sizeof nest, "bad_frame");
    memcpy(method, "\x94\x00\x07\xd9\x65", 5);
    memset(method + 5, 'm', 101);
    method[106] = '\x90';
    assert_rejected(method, 107, "bad_frame");
    client_ping(&client); /* the others are served on */
    wait_for(&server.gone, sizeof frames / sizeof frames[0] + 2);
    ck_assert_uint_eq(server.gone, sizeof frames / sizeof frames[0] + 2);
    end();
}
END_TEST

START_TEST(a_rejected_client_that_keeps_sending_still_learns_why)
{
    char *flood = calloc(1, 1u << 20);
    char got[512];
    begin();
    client_send(&client, flood, 1u << 20);
    size_t n = client_read_all(&client, got, sizeof got);
    ck_assert_uint_gt(n, 10);
    ck_assert_mem_eq(got,
                     "\x93\x02\xd9\x05"
                     "error",
                     9);
    free(flood);
    end();
}
END_TEST

START_TEST(a_method_of_the_longest_name_reaches_the_handler)
{
    char request[120] = "\x94\x00\x07\xd9\x64", reply[16];
    memset(request + 5, 'm', 100);
    request[105] = '\x90';
    begin();
    client_send(&client, request, 106);
    client_read(&client, reply, 3);
    ck_assert_mem_eq(reply, "\x94\x01\x07", 3);
    end();
}
END_TEST

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

static void count_open(struct server *at, void *arg)
{
    *(size_t *)arg = rpc_open_calls(at->rpc);
}

START_TEST(an_answer_to_a_connection_that_is_gone_does_nothing)
{
    size_t open = 0;
    begin();
    for (int i = 0; i < 20; i++) {
        client_send(&client, "\x94\x00\x07\xa4hold\x90", 9);
    }
    ck_assert_uint_eq(wait_for(&server.held_count, 20), 20);
    server_do(&server, count_open, &open);
    ck_assert_uint_eq(open, 20);
    client_close(&client);
    ck_assert_uint_eq(wait_for(&server.gone, 1), 1);
    server_do(&server, count_open, &open);
    ck_assert_uint_eq(open, 0);
    server_do(&server, release_held, NULL);
    client = client_connect(server_port(&server, "plain"));
    client_ping(&client);
    ck_assert_uint_eq(server.gone, 1);
    end();
}
END_TEST

START_TEST(late_answers_reach_their_own_calls)
{
    enum { CLIENTS = 50 };
    struct client clients[CLIENTS];
    begin();
    for (int i = 0; i < CLIENTS; i++) {
        char request[] = "\x94\x00\x07\xa4hold\x90";
        request[2] = (char)i;
        clients[i] = client_connect(server_port(&server, "plain"));
        client_send(&clients[i], request, 9);
    }
    ck_assert_uint_eq(wait_for(&server.held_count, CLIENTS), CLIENTS);
    for (int i = 0; i < CLIENTS; i += 2) {
        client_close(&clients[i]);
    }
    wait_for(&server.gone, CLIENTS / 2);
    server_do(&server, release_held, NULL);
    for (int i = 1; i < CLIENTS; i += 2) {
        char reply[] = "\x94\x01\x07\xc0\xa4held";
        reply[2] = (char)i;
        client_expect(&clients[i], reply, 9);
        client_close(&clients[i]);
    }
    end();
}
END_TEST

START_TEST(many_connections_are_served_at_once)
{
    enum { CLIENTS = 500 };
    static struct client clients[CLIENTS];
    begin();
    uint16_t port = server_port(&server, "plain");
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = client_connect(port);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < CLIENTS; i++) {
            client_send(&clients[i], PING PING, 2 * PING_LEN);
        }
        for (int i = 0; i < CLIENTS; i++) {
            client_expect(&clients[i], PONG PONG, 2 * PONG_LEN);
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        client_close(&clients[i]);
    }
    ck_assert_uint_eq(wait_for(&server.gone, CLIENTS), CLIENTS);
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

/* --- Listening ------------------------------------------------------------------------------ */

START_TEST(plain_tcp_is_refused_off_loopback)
{
    static const char *const refused[] = {"0.0.0.0", "192.0.2.1", "::", "::ffff:127.0.0.1",
                                          "128.0.0.1"};
    struct whorl_fault fault;
    begin();
    uint16_t port = server_port(&server, "plain");
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        server.listeners[0].address = refused[i];
        ck_assert(!server_listen(&server, &fault));
        ck_assert_str_eq(fault.where, "listener \"plain\"");
        ck_assert_ptr_nonnull(strstr(fault.text, "loopback"));
    }
    server.listeners[0].address = "localhost";
    ck_assert(!server_listen(&server, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "no numeric address"));
    ck_assert_uint_eq(server_port(&server, "plain"), port);
    client_ping(&client);
    server.listeners[0].address = "127.9.9.9";
    ck_assert(server_listen(&server, &fault));
    end();
}
END_TEST

START_TEST(ipv6_loopback_serves_too)
{
    server.listeners[0].address = "::1";
    server_start(&server);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                   .sin6_port = htons(server_port(&server, "plain")),
                                   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    client = (struct client){socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), NULL};
    ck_assert_int_eq(connect(client.fd, (struct sockaddr *)&address, sizeof address), 0);
    client_ping(&client);
    ck_assert_int_eq(strncmp(server.address, "[::1]:", 6), 0);
    end();
}
END_TEST

START_TEST(listening_again_opens_keeps_and_closes)
{
    struct whorl_fault fault;
    begin();
    uint16_t port = server_port(&server, "plain");
    server.listeners[1] = server.listeners[0];
    server.listeners[1].name = "second";
    server.listeners[1].device = "other";
    server.conf.listener_count = 2;
    ck_assert(server_listen(&server, &fault));
    ck_assert_uint_eq(server_port(&server, "plain"), port);
    uint16_t second = server_port(&server, "second");
    ck_assert_uint_ne(second, 0);
    ck_assert_uint_eq(server_port(&server, "third"), 0);
    struct client other = client_connect(second);
    client_ping(&other);
    ck_assert_str_eq(server.device, "other");
    /* A port in use fails the whole and changes nothing. */
    server.listeners[2] = server.listeners[0];
    server.listeners[2].name = "third";
    server.listeners[2].port = second;
    server.conf.listener_count = 3;
    server.conf.core.max_calls_per_connection = 0;
    ck_assert(!server_listen(&server, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "address already in use"));
    server.conf.core.max_calls_per_connection = 100;
    client_ping(&client);
    /* One is taken away; its connections go on. */
    server.conf.listener_count = 1;
    ck_assert(server_listen(&server, &fault));
    ck_assert_uint_eq(server_port(&server, "second"), 0);
    client_ping(&other);
    struct client late = {socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), NULL};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(second),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(connect(late.fd, (struct sockaddr *)&address, sizeof address), -1);
    client_close(&late);
    client_close(&other);
    end();
}
END_TEST

START_TEST(a_listener_may_change_its_address_and_keep_its_port)
{
    struct whorl_fault fault;
    begin();
    server.listeners[0].port = server_port(&server, "plain");
    server.listeners[0].address = "127.0.0.2";
    ck_assert_msg(server_listen(&server, &fault), "%s", fault.text);
    server.listeners[0].address = "127.0.0.1";
    ck_assert_msg(server_listen(&server, &fault), "%s", fault.text);
    server.listeners[0].address = "::1";
    ck_assert_msg(server_listen(&server, &fault), "%s", fault.text);
    server.listeners[0].address = "127.0.0.1";
    ck_assert_msg(server_listen(&server, &fault), "%s", fault.text);
    struct client again = client_connect(server_port(&server, "plain"));
    client_ping(&again);
    client_ping(&client);
    client_close(&again);
    end();
}
END_TEST

/* A listening socket of somebody else, who has bound it to loopback. */
static int listening_socket(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 10), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void inherit(struct server *at, void *arg)
{
    const char *name = at->listeners[1].name;
    ck_assert(rpc_inherit(at->rpc, *(int *)arg, name));
    ck_assert(!rpc_inherit(at->rpc, STDIN_FILENO, name)); /* no listening socket */
}

START_TEST(a_socket_that_was_handed_over_is_used)
{
    struct whorl_fault fault;
    uint16_t ports[3];
    int fds[3];
    begin();
    for (int i = 0; i < 3; i++) {
        fds[i] = listening_socket(&ports[i]);
        server.listeners[1].name = i == 1 ? "named" : "some";
        server_do(&server, inherit, &fds[i]);
    }
    struct client early = client_connect(ports[0]); /* waits in the socket's queue */
    for (int i = 1; i < 3; i++) {
        server.listeners[i] = server.listeners[0];
        server.listeners[i].name = i == 1 ? "by-port" : "named";
        server.listeners[i].port = i == 1 ? ports[0] : 0;
    }
    server.conf.listener_count = 3;
    ck_assert_msg(server_listen(&server, &fault), "%s", fault.text);
    ck_assert_uint_eq(server_port(&server, "by-port"), ports[0]);
    ck_assert_uint_eq(server_port(&server, "named"), ports[1]);
    client_ping(&early);
    struct client late = client_connect(ports[1]);
    client_ping(&late);
    client_close(&early);
    client_close(&late);
    /* The one that nobody wanted is closed. */
    struct client none = {socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), NULL};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(ports[2]),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(connect(none.fd, (struct sockaddr *)&address, sizeof address), -1);
    client_close(&none);
    end();
}
END_TEST

static void drain(struct server *at, void *arg)
{
    (void)arg;
    rpc_drain(at->rpc);
}

START_TEST(draining_closes_the_door_and_goes_on_with_those_inside)
{
    begin();
    client_send(&client, "\x94\x00\x07\xa4hold\x90", 9);
    ck_assert_uint_eq(wait_for(&server.held_count, 1), 1);
    server_do(&server, drain, NULL);
    ck_assert_uint_eq(server_port(&server, "plain"), 0);
    client_ping(&client);
    server_do(&server, release_held, NULL);
    client_expect(&client, "\x94\x01\x07\xc0\xa4held", 9);
    end();
}
END_TEST

START_TEST(closing_sends_what_is_queued_first)
{
    char *got = malloc(300000);
    begin();
    client_send(&client,
                "\x94\x00\x07\xa3"
                "big\x91\xce\x00\x03\x0d\x40",
                13);
    ck_assert_uint_eq(wait_for(&server.requests, 1), 1);
    server_stop(&server);
    ck_assert_uint_eq(client_read_all(&client, got, 300000), 9 + 200000);
    ck_assert_uint_eq(server.gone, 1);
    client_close(&client);
    free(got);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, every_kind_of_integer_id_comes_back_as_it_was_sent);
    tcase_add_test(tc, methods_may_be_str_or_bin_and_heads_of_any_width);
    tcase_add_test(tc, errors_are_maps_and_notifications_reach_the_client);
    tcase_add_test(tc, responses_and_notifications_from_a_client_have_no_effect);
    tcase_add_test(tc, a_request_may_arrive_in_any_pieces);
    tcase_add_test(tc, replies_to_one_read_leave_in_one_write_and_in_order);
    tcase_add_test(tc, what_is_answered_when_a_read_has_been_dealt_with_leaves_in_the_same_write);
    tcase_add_test(tc, a_large_request_and_a_large_answer_pass_whole);
    tcase_add_test(tc, hostile_frames_end_their_connection_with_a_reason);
    tcase_add_test(tc, a_rejected_client_that_keeps_sending_still_learns_why);
    tcase_add_test(tc, a_method_of_the_longest_name_reaches_the_handler);
    tcase_add_test(tc, calls_past_the_bound_are_told_to_come_again);
    tcase_add_test(tc, an_answer_to_a_connection_that_is_gone_does_nothing);
    tcase_add_test(tc, late_answers_reach_their_own_calls);
    tcase_add_test(tc, many_connections_are_served_at_once);
    tcase_add_test(tc, connections_past_the_bound_are_closed_at_once);
    tcase_add_test(tc, a_client_that_does_not_read_is_held_back_and_every_call_is_answered);
    tcase_add_test(tc, a_client_that_never_reads_is_dropped);
    tcase_add_test(tc, calls_past_the_bound_of_all_connections_are_told_to_come_again);
    tcase_add_test(tc, a_device_that_calls_too_often_is_told_to_wait_and_others_are_served);
    tcase_add_test(tc, a_device_has_no_more_connections_than_it_may);
    tcase_add_test(tc, messages_that_wait_for_their_end_are_bounded_together);
    tcase_add_test(tc, what_waits_to_be_sent_is_counted_and_given_back);
    tcase_add_test(tc, silent_and_dawdling_clients_are_dropped);
    tcase_add_test(tc, a_client_that_ends_its_side_gets_what_was_answered);
    tcase_add_test(tc, connections_that_are_reset_end_and_nothing_else_does);
    tcase_add_test(tc, a_rejected_client_that_stays_is_dropped);
    tcase_add_test(tc, notifications_are_dropped_when_the_queue_is_full);
    tcase_add_test(tc, plain_tcp_is_refused_off_loopback);
    tcase_add_test(tc, ipv6_loopback_serves_too);
    tcase_add_test(tc, listening_again_opens_keeps_and_closes);
    tcase_add_test(tc, a_listener_may_change_its_address_and_keep_its_port);
    tcase_add_test(tc, a_socket_that_was_handed_over_is_used);
    tcase_add_test(tc, draining_closes_the_door_and_goes_on_with_those_inside);
    tcase_add_test(tc, closing_sends_what_is_queued_first);
}

int main(void)
{
    Suite *suite = suite_create("rpc");
    TCase *tc = tcase_create("rpc");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_set_timeout(tc, 60);
    add_tests(tc);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
