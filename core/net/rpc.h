/* msgpack-RPC over TCP, with TLS 1.3 or, on loopback, without.
 *
 * Turns bytes into calls and replies into bytes; knows nothing of what a method means. A call is
 * named by an id: to reply to one whose connection has gone is a no-op. Loop thread only.
 *
 * Replies to what one read brought leave in one write. A connection above max_write_queue is not
 * read until the peer has taken half of it, and what was read already gets `busy` answers, as do
 * requests above max_calls_per_connection, max_calls, max_buffered and the device's rate. After a
 * `busy` answer its connection is not read for STREAM_REST_MS (stream.h). A connection above
 * max_connections takes the place of the oldest that has not been let in, or is closed at once when
 * all have; one above max_connections_per_device is closed as soon as the device is known, and one
 * whose message would need more than max_buffered when that shows; these two are told `busy` first.
 * Dropped are: a handshake that takes longer than handshake_timeout_s, a message longer than
 * message_timeout_s, a peer that is silent with no call open for idle_timeout_s, and one that takes
 * nothing of what is sent for stall_timeout_s.
 *
 * A device is a client certificate, or what a listener without TLS stands for. */
#ifndef CORE_RPC_H
#define CORE_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/conf/conf.h"
#include "core/log/log.h"
#include "core/net/tls.h"
#include "whorl/plugin.h"

struct rpc;

/* Who is at the other end. */
struct rpc_peer {
    bool tls;
    uint8_t certificate[32]; /* SHA-256 of the client certificate (DER); zero without TLS */
    const char *device;      /* conf_listener.device, without TLS; else NULL. Lives until `gone` */
    char address[64];        /* numeric, for the log */
};

struct rpc_call {
    uint64_t connection; /* never reused */
    uint64_t id;         /* names the call; never reused */
    const struct rpc_peer *peer;
};

/* The parameters of a request as they came: one packed array, which whorl_msg_walk has found whole.
 */
struct rpc_params {
    const uint8_t *bytes;
    size_t len;
};

struct rpc_handler {
    /* A request. The method is NUL-terminated, at most 100 bytes. The bytes of params live until
     * the return: copy what is needed longer. Must be answered once, now or later, by rpc_result or
     * rpc_error. */
    void (*request)(void *ctx, const struct rpc_call *call, const char *method,
                    const struct rpc_params *params);
    /* Before the requests that one read brought, and after them: what is answered in between, and
     * in `done`, leaves in one write. May be NULL. */
    void (*begin)(void *ctx);
    void (*done)(void *ctx);
    /* A connection has ended; its calls need no answer. Comes once for each whose peer was let in.
     */
    void (*gone)(void *ctx, uint64_t connection);
    void *ctx;
};

/* Limits come from conf->core. The process must ignore SIGPIPE: a peer may be gone before what is
 * sent to it. NULL when memory, or lockable memory, is short. To be ended by
 * rpc_close, then rpc_free. */
struct rpc *rpc_new(uv_loop_t *loop, struct conf *conf, const struct rpc_handler *handler,
                    struct log *log);

/* As listeners_inherit: before the first rpc_listen. */
bool rpc_inherit(struct rpc *rpc, int fd, const char *name, struct whorl_fault *fault);

/* Makes the listening sockets match conf, whose files were read ahead (listener.h): opens new ones,
 * replaces certificates (for new connections), closes those that are gone, leaves the rest alone,
 * takes the new limits. On a failure nothing changes: false with *fault. Plain TCP on anything but
 * a loopback address is refused. */
struct listeners_ahead;
bool rpc_listen(struct rpc *rpc, struct conf *conf, struct listeners_ahead *ahead,
                struct whorl_fault *fault);

/* The port that the named listener is bound to; 0 if there is none. */
uint16_t rpc_port(const struct rpc *rpc, const char *listener);

/* When what the named listener's file holds ends first; see listeners_end. */
int64_t rpc_end(const struct rpc *rpc, const char *listener, enum tls_file file);

/* result: one packed msgpack object. The bytes are copied. None at all (len 0: there was no memory
 * to pack it) is answered as `internal`. */
void rpc_result(struct rpc *rpc, uint64_t call, const uint8_t *result, size_t len);
/* An error map {code, message, where}; where "" = none. With code "busy" retry_ms is added, a usual
 * time if it is 0. */
void rpc_error(struct rpc *rpc, uint64_t call, const char *code, const char *where,
               const char *message, unsigned retry_ms);
/* Sends [2, method, [argument]]. Dropped when the connection's write queue is full. */
void rpc_notify(struct rpc *rpc, uint64_t connection, const char *method, const uint8_t *argument,
                size_t len);

size_t rpc_open_calls(const struct rpc *rpc);

/* Why a request, or a whole connection, was told to come again. */
enum rpc_busy {
    RPC_BUSY_CALLS_OF_CONNECTION,
    RPC_BUSY_CALLS,
    RPC_BUSY_WRITE_QUEUE,
    RPC_BUSY_BUFFERED,
    RPC_BUSY_DEVICE_RATE,
    RPC_BUSY_DEVICE_CONNECTIONS,
    RPC_BUSY_CONNECTIONS,
    RPC_BUSY_MEMORY,
    RPC_BUSY_NONE,
};
enum { RPC_BUSY_REASONS = RPC_BUSY_NONE };
const char *rpc_busy_name(enum rpc_busy reason);

/* Why a connection was ended from this side. */
enum rpc_drop {
    RPC_DROP_HANDSHAKE,         /* failed */
    RPC_DROP_HANDSHAKE_TIMEOUT, /* never finished, or not before others needed its place */
    RPC_DROP_IDLE,
    RPC_DROP_MESSAGE_TIMEOUT,
    RPC_DROP_STALLED,
    RPC_DROP_BAD_FRAME,
    RPC_DROP_NONE,
};
enum { RPC_DROP_REASONS = RPC_DROP_NONE };
const char *rpc_drop_name(enum rpc_drop reason);

struct rpc_stats {
    uint64_t connections_accepted, requests; /* so far */
    uint64_t busy[RPC_BUSY_REASONS], dropped[RPC_DROP_REASONS];
    size_t connections, calls;         /* open now */
    size_t resting;                    /* connections that are not read after a `busy` answer */
    size_t devices;                    /* remembered for their rates */
    size_t bytes_to_send, bytes_begun; /* of answers; of messages that wait for their end */
};
void rpc_stats(const struct rpc *rpc, struct rpc_stats *stats);

/* Closes the listeners; open connections go on. */
void rpc_drain(struct rpc *rpc);
/* Whether no handshake is under way and no connection has had anything to say for so long. */
bool rpc_is_quiet(const struct rpc *rpc, uint64_t ms);
/* Closes everything once what is queued has been sent (bounded by 2 s); closed(ctx) comes when all
 * handles are closed, then rpc_free may be called. */
void rpc_close(struct rpc *rpc, void (*closed)(void *ctx), void *ctx);
void rpc_free(struct rpc *rpc);

#endif
