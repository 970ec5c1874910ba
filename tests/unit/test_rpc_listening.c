/* The RPC server's listeners: where it listens, how that changes, and how it ends. */
#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loopback.h"
#include "rpc_case.h"

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
    ck_assert_int_eq(loopback_connect(second), -1);
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

static void inherit(struct server *at, void *arg)
{
    const char *name = at->listeners[1].name;
    struct whorl_fault fault;
    ck_assert(rpc_inherit(at->rpc, *(int *)arg, name, &fault));
    ck_assert(!rpc_inherit(at->rpc, STDIN_FILENO, name, &fault));
    ck_assert_str_eq(fault.text, "it is no listening socket");
}

START_TEST(a_socket_that_was_handed_over_is_used)
{
    struct whorl_fault fault;
    uint16_t ports[3] = {0, 0, 0};
    int fds[3];
    begin();
    for (int i = 0; i < 3; i++) {
        fds[i] = loopback_listen(&ports[i]); /* of somebody else, who has bound it */
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
    ck_assert_int_eq(loopback_connect(ports[2]), -1);
    end();
}
END_TEST

static void inherit_many(struct server *at, void *arg)
{
    struct whorl_fault fault = {"", ""};
    const int *fds = arg;
    for (size_t i = 0; i < LISTENERS_INHERITED_MAX; i++)
        ck_assert(rpc_inherit(at->rpc, fds[i], "some", &fault));
    ck_assert(!rpc_inherit(at->rpc, fds[LISTENERS_INHERITED_MAX], "some", &fault));
    ck_assert_str_eq(fault.text, "there are more than 16");
}

START_TEST(sockets_past_the_bound_are_refused_as_such)
{
    enum { COUNT = LISTENERS_INHERITED_MAX + 1 };
    struct whorl_fault fault;
    uint16_t ports[COUNT];
    int fds[COUNT];
    begin();
    for (size_t i = 0; i < COUNT; i++)
        fds[i] = loopback_listen(&ports[i]);
    server_do(&server, inherit_many, fds);
    close(fds[COUNT - 1]);
    ck_assert_msg(server_listen(&server, &fault), "%s", fault.text); /* nobody wants the others */
    client_ping(&client);
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

static int option_of(int fd, int level, int option)
{
    int value = 0;
    socklen_t len = sizeof value;
    ck_assert_int_eq(getsockopt(fd, level, option, &value, &len), 0);
    return value;
}

/* The server's end of the client's connection, which is in the same process. */
static int other_end(int fd)
{
    struct sockaddr_in mine, theirs;
    socklen_t len = sizeof mine;
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&mine, &len), 0);
    for (int other = 0; other < 256; other++) {
        len = sizeof theirs;
        if (getpeername(other, (struct sockaddr *)&theirs, &len) == 0 &&
            theirs.sin_family == AF_INET && theirs.sin_port == mine.sin_port) {
            return other;
        }
    }
    ck_abort_msg("the server's end was not found");
}

START_TEST(what_is_accepted_sends_at_once_and_notices_a_dead_peer)
{
    begin();
    client_ping(&client);
    int fd = other_end(client.fd);
    ck_assert_int_ne(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    ck_assert_int_ne(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    end();
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, plain_tcp_is_refused_off_loopback);
    tcase_add_test(tc, ipv6_loopback_serves_too);
    tcase_add_test(tc, what_is_accepted_sends_at_once_and_notices_a_dead_peer);
    tcase_add_test(tc, listening_again_opens_keeps_and_closes);
    tcase_add_test(tc, a_listener_may_change_its_address_and_keep_its_port);
    tcase_add_test(tc, a_socket_that_was_handed_over_is_used);
    tcase_add_test(tc, sockets_past_the_bound_are_refused_as_such);
    tcase_add_test(tc, draining_closes_the_door_and_goes_on_with_those_inside);
}

int main(void)
{
    return rpc_case_run("rpc_listening", add_tests);
}
