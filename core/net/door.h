/* A listening socket in the loop's hands: accepts whoever comes, and goes on when descriptors or
 * memory have run out. libuv's own uv_listen does not: it has one descriptor in reserve, and where
 * another thread takes that in the wrong moment, its loop asks for connections for ever. Loop
 * thread only. */
#ifndef CORE_DOOR_H
#define CORE_DOOR_H

#include <stdint.h>
#include <uv.h>

struct door_events {
    /* Somebody has come: his socket, which does not block and is closed on exec, is the callee's.
     * Closes no door. */
    void (*arrived)(void *ctx, int fd);
    /* Somebody can't be let in; comes once a second at most. NULL: nobody wants to know. */
    void (*kept_out)(void *ctx, const char *reason);
    /* After door_close: the last event; the door may be freed. */
    void (*closed)(void *ctx);
};

struct door {
    int fd;    /* listens */
    int spare; /* in reserve: let go of to take and refuse who waits; -1: there is none */
    uv_poll_t poll;
    uv_timer_t again; /* runs while nobody is let in */
    unsigned handles; /* not yet closed */
    uint64_t told;    /* until when kept_out does not come again */
    const struct door_events *events;
    void *ctx;
};

/* Takes over fd, which listens already. 0, or an error of libuv's: then fd is the caller's still,
 * and the door none. */
int door_open(struct door *door, uv_loop_t *loop, int fd, const struct door_events *events,
              void *ctx);
/* Closes the socket at once. */
void door_close(struct door *door);

#endif
