/* msgpack-RPC over real sockets on loopback: what a client sees, however it behaves. */
#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc_case.h"

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
    tcase_add_test(tc, an_answer_to_a_connection_that_is_gone_does_nothing);
    tcase_add_test(tc, late_answers_reach_their_own_calls);
    tcase_add_test(tc, many_connections_are_served_at_once);
    tcase_add_test(tc, closing_sends_what_is_queued_first);
}

int main(void)
{
    return rpc_case_run("rpc", add_tests);
}
