/* A TCP connection of a device, with TLS or without: reads, batches what is written, holds back a
 * peer that does not read, ends politely. Knows nothing of messages. Loop thread only.
 *
 * What the owner writes leaves in one piece when the read that caused it has been dealt with, or
 * before the loop next waits. No function here calls the owner back, except the loop's callbacks
 * and stream_tick. */
#ifndef CORE_STREAM_H
#define CORE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/net/tls.h"

struct stream;
struct stream_buffer;

struct stream_limits {
    size_t max_queue; /* bytes to be sent; above it nothing more is read */
    uint64_t handshake_ms;
    uint64_t stall_ms; /* for which the peer may take nothing of what is sent */
};

/* What the streams of one server share. */
struct stream_group {
    uv_loop_t *loop;
    struct stream_limits limits;
    uint8_t *in;    /* what the socket gave; locked, wiped after each read */
    uint8_t *plain; /* the same, decrypted */
    struct stream_buffer *spare;
    unsigned spare_count;
    struct stream *dirty; /* with something to send */
    unsigned warm;        /* that keep OpenSSL's buffers */
    size_t queued;        /* bytes to be sent, of all */
    uv_prepare_t prepare;
    struct stream *resting, **resting_last; /* in the order in which they are read again */
    size_t rest_count;
    unsigned relieved; /* that may be read again before their time */
    uv_timer_t rest;
    unsigned handles; /* of libuv, not yet closed */
    void (*closed)(void *ctx);
    void *ctx;
};

/* closed(ctx) comes when stream_group_close was called and the last handle is closed. */
bool stream_group_init(struct stream_group *group, uv_loop_t *loop, void (*closed)(void *ctx),
                       void *ctx);
/* Once there are no streams. */
void stream_group_close(struct stream_group *group);
/* There is room for more than there was: the stream that has rested longest is read again when the
 * loop next waits. */
void stream_group_relieve(struct stream_group *group);
/* Others whose handles must be closed before `closed` may come count them in and out here. */
void stream_group_hold(struct stream_group *group);
void stream_group_drop(struct stream_group *group);

/* Why a connection has ended. */
enum stream_end {
    STREAM_END_PEER,      /* closed it */
    STREAM_END_HANDSHAKE, /* is not who may connect, or speaks no TLS 1.3 */
    STREAM_END_LATE,      /* did not finish the handshake in time */
    STREAM_END_STALLED,   /* takes nothing of what is sent */
    STREAM_END_ERROR,     /* of the network, or of memory */
};

struct stream_events {
    /* The handshake is done and the peer proven. Without TLS it does not come: bytes may flow at
     * once. */
    void (*open)(void *ctx);
    /* The bytes live until the return, and are then wiped. */
    void (*bytes)(void *ctx, const uint8_t *bytes, size_t len);
    /* The connection has ended without stream_close; at most once. */
    void (*ended)(void *ctx, enum stream_end end, const char *reason);
    /* The last event; the stream is gone. */
    void (*closed)(void *ctx);
};

/* Sets up a listening socket: what is accepted from it has the same options (on Linux, see
 * tcp(7)), which saves each connection five system calls. */
void stream_prepare(int listening);
/* Takes over an accepted socket; tls NULL: plain. NULL, and the connection dropped, when memory is
 * short. */
struct stream *stream_accept(struct stream_group *group, int fd, struct tls_context *tls,
                             const struct stream_events *events, void *ctx);

/* Queues; the bytes are copied. Ignored when closing. */
void stream_write(struct stream *stream, const void *bytes, size_t len);
/* Queues so many bytes, which the caller is to put there before it calls anything else. NULL when
 * closing, or out of memory. */
void *stream_append(struct stream *stream, size_t len);
/* Bytes queued and not yet taken by the system. */
size_t stream_queued(const struct stream *stream);

/* Nothing more is read for so long, or until stream_group_relieve says so: what the peer sends
 * meanwhile is then read, and answered, together. No effect on one that rests already. */
#define STREAM_REST_MS 100u
void stream_rest(struct stream *stream);

/* Sends what is queued, within 2 s, then closes. linger: first waits for the peer to close, lest
 * the bytes that it is still sending make the system throw away what was sent. */
void stream_close(struct stream *stream, bool linger);

/* Closes at once, whatever waits to be sent; `closed` alone comes still. */
void stream_drop(struct stream *stream);

/* To be called now and then with uv_now: ends those that take too long over something. */
void stream_tick(struct stream *stream, uint64_t now);

/* "ADDRESS:PORT" */
void stream_address(const struct stream *stream, char *text, size_t cap);
/* As tls_peer_digest; false without TLS. */
bool stream_peer_digest(const struct stream *stream, uint8_t digest[32]);

#endif
