/* msgpack-RPC over TCP, with TLS 1.3 or, on loopback, without.
 *
 * Turns bytes into calls and replies into bytes; knows nothing of what a method means. A call is
 * named by an id: to reply to one whose connection has gone is a no-op. Loop thread only.
 *
 * Replies to what one read brought leave in one write. A connection above max_write_queue is not
 * read until the peer has taken half of it, and what was read already gets `busy` answers, as do
 * requests above max_calls_per_connection; one above max_connections is closed at once. Dropped
 * are: a handshake that takes longer than handshake_timeout_s; and after idle_timeout_s a peer that
 * is silent with no call open, that has not sent a message to its end, or that takes nothing of
 * what is sent. */
#ifndef CORE_RPC_H
#define CORE_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/conf/conf.h"
#include "core/log/log.h"
#include "whorl/msg.h"

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

struct rpc_handler {
    /* A request. The method is NUL-terminated, at most 100 bytes. params points into bytes that
     * live until the return: copy what is needed longer. Must be answered once, now or later, by
     * rpc_result or rpc_error. */
    void (*request)(void *ctx, const struct rpc_call *call, const char *method,
                    const msgpack_object *params);
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

/* Makes the listening sockets match conf: opens new ones, replaces certificates (for new
 * connections), closes those that are gone, leaves the rest alone, takes the new limits. On a
 * failure nothing changes: false with *fault. Plain TCP on anything but a loopback address is
 * refused. */
bool rpc_listen(struct rpc *rpc, struct conf *conf, struct whorl_fault *fault);

/* The port that the named listener is bound to; 0 if there is none. */
uint16_t rpc_port(const struct rpc *rpc, const char *listener);

/* result: one packed msgpack object. The bytes are copied. */
void rpc_result(struct rpc *rpc, uint64_t call, const uint8_t *result, size_t len);
/* An error map {code, message, where}; where "" = none. With code "busy" retry_ms is added. */
void rpc_error(struct rpc *rpc, uint64_t call, const char *code, const char *where,
               const char *message);
/* Sends [2, method, [argument]]. Dropped when the connection's write queue is full. */
void rpc_notify(struct rpc *rpc, uint64_t connection, const char *method, const uint8_t *argument,
                size_t len);

size_t rpc_open_calls(const struct rpc *rpc);

/* Closes the listeners; open connections go on. */
void rpc_drain(struct rpc *rpc);
/* Closes everything once what is queued has been sent (bounded by 2 s); closed(ctx) comes when all
 * handles are closed, then rpc_free may be called. */
void rpc_close(struct rpc *rpc, void (*closed)(void *ctx), void *ctx);
void rpc_free(struct rpc *rpc);

#endif
