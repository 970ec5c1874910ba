/* Sockets of tests that play a server or a device: on 127.0.0.1, at ports that the system gives. */
#ifndef TESTS_LOOPBACK_H
#define TESTS_LOOPBACK_H

#include <arpa/inet.h>
#include <check.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static inline struct sockaddr_in loopback_address(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A socket that listens at *port, or with 0 at a free one, which *port then is. */
static inline int loopback_listen(uint16_t *port)
{
    struct sockaddr_in at = loopback_address(*port);
    socklen_t len = sizeof at;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

/* A connection, which waits 20 s at most for a word; -1 with errno: nobody listens. */
static inline int loopback_connect(uint16_t port)
{
    struct sockaddr_in to = loopback_address(port);
    struct timeval patience = {20, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
        return fd;
    }
    (void)close(fd);
    return -1;
}

#define LOOPBACK_DEAD "127.0.0.2"

/* An address where nothing answers, neither yes nor no: a queue of connections that is full. */
struct loopback_dead {
    int listener, waiting[4];
};

/* That there is one at LOOPBACK_DEAD, at this port. */
static inline void loopback_die(struct loopback_dead *dead, uint16_t port)
{
    struct sockaddr_in at = loopback_address(port);
    inet_pton(AF_INET, LOOPBACK_DEAD, &at.sin_addr);
    dead->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(dead->listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(dead->listener, 0), 0);
    for (size_t i = 0; i < sizeof dead->waiting / sizeof *dead->waiting; i++) {
        dead->waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(dead->waiting[i], (struct sockaddr *)&at, sizeof at);
    }
}

static inline void loopback_bury(struct loopback_dead *dead)
{
    for (size_t i = 0; i < sizeof dead->waiting / sizeof *dead->waiting; i++) {
        (void)close(dead->waiting[i]);
    }
    (void)close(dead->listener);
}

#endif
