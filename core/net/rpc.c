#include "core/net/rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/net/frame.h"
#include "core/net/idmap.h"
#include "core/net/listener.h"
#include "core/net/stream.h"

#define SWEEP_MS 250u       /* how often connections are looked at for what takes too long */
#define RETRY_MS 250        /* what a refused caller is told to wait */
#define ZONE_CHUNK 8192u    /* bytes; the tree of any usual request fits */
#define REFUSALS_LOGGED 10u /* a second: a flood of bad clients must not fill the disk */

struct connection;

struct call {
    uint64_t id;
    struct connection *connection;
    struct call *next, *prev; /* of the same connection; or next in rpc->spare_calls */
    uint8_t wire_id[FRAME_ID_MAX];
    uint8_t wire_id_len;
};

struct connection {
    uint64_t id;
    struct rpc *rpc;
    struct stream *stream;
    struct connection *next, *prev;
    struct rpc_peer peer;
    char *device; /* what peer.device points to */
    struct frame_reader reader;
    struct call *calls;
    unsigned call_count;
    bool opened;    /* the peer is known */
    bool gone;      /* takes and gives nothing more */
    uint64_t heard; /* when bytes last came, or a call last ended */
    uint64_t begun; /* when the message that waits for its end began */
    uint64_t frames;
};

struct rpc {
    uv_loop_t *loop;
    struct rpc_handler handler;
    struct log *log;
    struct conf_core limits;
    struct stream_group streams;
    struct listeners listeners;
    uv_timer_t sweep;
    struct connection *connections;
    unsigned connection_count;
    uint64_t last_connection, last_call;
    struct idmap calls, ids; /* by id: calls, connections */
    struct call *spare_calls;
    msgpack_zone zone; /* of the request at hand */
    char method[FRAME_METHOD_MAX + 1];
    uint64_t refusals_since;
    unsigned refusals;
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* --- Calls ---------------------------------------------------------------------------------- */

static struct call *add_call(struct connection *connection, const struct frame *frame)
{
    struct rpc *rpc = connection->rpc;
    struct call *call = rpc->spare_calls;
    if (call != NULL) {
        rpc->spare_calls = call->next;
    } else {
        call = malloc(sizeof *call);
    }
    if (call == NULL || !idmap_put(&rpc->calls, rpc->last_call + 1, call)) {
        free(call);
        return NULL;
    }
    call->id = ++rpc->last_call;
    call->connection = connection;
    call->wire_id_len = (uint8_t)frame->id_len;
    memcpy(call->wire_id, frame->id, frame->id_len);
    call->prev = NULL;
    call->next = connection->calls;
    if (call->next != NULL) {
        call->next->prev = call;
    }
    connection->calls = call;
    connection->call_count++;
    return call;
}

/* Takes a call out of everything; its memory may be used again at once. */
static void end_call(struct rpc *rpc, struct call *call)
{
    struct connection *connection = call->connection;
    if (call->prev != NULL) {
        call->prev->next = call->next;
    } else {
        connection->calls = call->next;
    }
    if (call->next != NULL) {
        call->next->prev = call->prev;
    }
    connection->call_count--;
    connection->heard = uv_now(rpc->loop);
    call->next = rpc->spare_calls;
    rpc->spare_calls = call;
}

static void write_result(struct connection *connection, const struct call *call,
                         const uint8_t *result, size_t len)
{
    uint8_t head[FRAME_REPLY_HEAD];
    size_t head_len = frame_result_head(head, call->wire_id, call->wire_id_len);
    stream_write(connection->stream, head, head_len);
    stream_write(connection->stream, result, len);
}

/* Packs an ERROR map, see docs/protocol.md. */
static void pack_error(msgpack_packer *pk, const char *code, const char *where, const char *message)
{
    bool located = where != NULL && where[0] != '\0';
    bool busy = strcmp(code, "busy") == 0;
    msgpack_pack_map(pk, 2u + (located ? 1u : 0u) + (busy ? 1u : 0u));
    whorl_put_str(pk, "code", code);
    whorl_put_str(pk, "message", message);
    if (located) {
        whorl_put_str(pk, "where", where);
    }
    if (busy) {
        whorl_put_int(pk, "retry_ms", RETRY_MS);
    }
}

/* Sends head, an ERROR map, and after. */
static void write_error(struct connection *connection, const uint8_t *head, size_t head_len,
                        const char *code, const char *where, const char *message, const char *after)
{
    msgpack_sbuffer map;
    msgpack_packer pk;
    msgpack_sbuffer_init(&map);
    msgpack_packer_init(&pk, &map, msgpack_sbuffer_write);
    pack_error(&pk, code, where, message);
    stream_write(connection->stream, head, head_len);
    stream_write(connection->stream, map.data, map.size);
    stream_write(connection->stream, after, strlen(after));
    msgpack_sbuffer_destroy(&map);
}

/* Answers a request with an error. */
static void refuse_request(struct connection *connection, const uint8_t *id, size_t id_len,
                           const char *code, const char *where, const char *message)
{
    uint8_t head[FRAME_REPLY_HEAD];
    write_error(connection, head, frame_error_head(head, id, id_len), code, where, message, "\xc0");
}

void rpc_result(struct rpc *rpc, uint64_t call, const uint8_t *result, size_t len)
{
    struct call *open = idmap_take(&rpc->calls, call);
    if (open != NULL) {
        write_result(open->connection, open, result, len);
        end_call(rpc, open);
    }
}

void rpc_error(struct rpc *rpc, uint64_t call, const char *code, const char *where,
               const char *message)
{
    struct call *open = idmap_take(&rpc->calls, call);
    if (open != NULL) {
        refuse_request(open->connection, open->wire_id, open->wire_id_len, code, where, message);
        end_call(rpc, open);
    }
}

void rpc_notify(struct rpc *rpc, uint64_t connection, const char *method, const uint8_t *argument,
                size_t len)
{
    struct connection *to = idmap_get(&rpc->ids, connection);
    size_t method_len = strlen(method);
    if (to == NULL || method_len > FRAME_METHOD_MAX ||
        stream_queued(to->stream) + FRAME_NOTIFICATION_HEAD + len > rpc->limits.max_write_queue) {
        return;
    }
    uint8_t head[FRAME_NOTIFICATION_HEAD];
    stream_write(to->stream, head, frame_notification_head(head, method, method_len));
    stream_write(to->stream, argument, len);
}

size_t rpc_open_calls(const struct rpc *rpc)
{
    return rpc->calls.count;
}

/* --- Connections ---------------------------------------------------------------------------- */

/* Says why a client was turned away, but not more than a few times a second. */
static void tell_refusal(struct rpc *rpc, const struct rpc_peer *peer, const char *reason)
{
    uint64_t now = uv_now(rpc->loop);
    if (now - rpc->refusals_since >= 1000) {
        rpc->refusals_since = now;
        rpc->refusals = 0;
    }
    if (rpc->refusals++ < REFUSALS_LOGGED) {
        log_line(rpc->log, WHORL_LOG_INFO, "turned a client away", "address", peer->address,
                 "reason", reason, NULL);
    }
}

/* Forgets its calls and tells the handler. Its stream is closing or about to be closed. */
static void end_connection(struct connection *connection, const char *reason)
{
    struct rpc *rpc = connection->rpc;
    if (connection->gone) {
        return;
    }
    connection->gone = true;
    idmap_take(&rpc->ids, connection->id);
    while (connection->calls != NULL) {
        struct call *call = connection->calls;
        idmap_take(&rpc->calls, call->id);
        end_call(rpc, call);
    }
    log_line(rpc->log, WHORL_LOG_DEBUG, "connection ended", "address", connection->peer.address,
             "reason", reason, NULL);
    if (connection->opened) {
        rpc->handler.gone(rpc->handler.ctx, connection->id);
    }
}

/* Ends a connection whose bytes can't be understood, or not be kept, and says why. */
static void reject_bytes(struct connection *connection, const char *code,
                         const struct whorl_fault *fault)
{
    uint8_t head[FRAME_NOTIFICATION_HEAD];
    write_error(connection, head, frame_notification_head(head, "error", strlen("error")), code,
                fault->where, fault->text, "");
    tell_refusal(connection->rpc, &connection->peer, fault->text);
    end_connection(connection, fault->text);
    stream_close(connection->stream, true);
}

/* Builds the tree of the params in rpc->zone. */
static bool build_params(struct rpc *rpc, const struct frame *frame, msgpack_object *params)
{
    if (frame->params_len == 1) { /* an empty array: nothing to build */
        *params = (msgpack_object){.type = MSGPACK_OBJECT_ARRAY};
        return true;
    }
    msgpack_zone_clear(&rpc->zone);
    return whorl_msg_build(frame->params, frame->params_len, &rpc->zone, params, NULL);
}

static void on_request(struct connection *connection, const struct frame *frame)
{
    struct rpc *rpc = connection->rpc;
    if (connection->call_count >= rpc->limits.max_calls_per_connection) {
        refuse_request(connection, frame->id, frame->id_len, "busy", "",
                       "as many calls are open on this connection as it may have");
        return;
    }
    if (stream_queued(connection->stream) > rpc->limits.max_write_queue) {
        /* One read may bring thousands of requests; their answers must not pile up. */
        refuse_request(connection, frame->id, frame->id_len, "busy", "",
                       "as many answers wait on this connection as may");
        return;
    }
    msgpack_object params;
    struct call *call = build_params(rpc, frame, &params) ? add_call(connection, frame) : NULL;
    if (call == NULL) {
        refuse_request(connection, frame->id, frame->id_len, "busy", "", "out of memory");
        return;
    }
    memcpy(rpc->method, frame->method, frame->method_len);
    rpc->method[frame->method_len] = '\0';
    const struct rpc_call name = {connection->id, call->id, &connection->peer};
    rpc->handler.request(rpc->handler.ctx, &name, rpc->method, &params);
}

static bool on_frame(void *ctx, const struct frame *frame)
{
    struct connection *connection = ctx;
    connection->frames++;
    /* A client has nothing to answer, and no method works without an answer: responses and
     * notifications are well-formed and of no effect. */
    if (frame->type == FRAME_REQUEST) {
        on_request(connection, frame);
    }
    return !connection->gone;
}

static void on_open(void *ctx)
{
    struct connection *connection = ctx;
    connection->heard = uv_now(connection->rpc->loop);
    connection->opened = stream_peer_digest(connection->stream, connection->peer.certificate);
    if (!connection->opened) {
        end_connection(connection, "its certificate can't be digested");
        stream_close(connection->stream, false);
    }
}

static void on_bytes(void *ctx, const uint8_t *bytes, size_t len)
{
    struct connection *connection = ctx;
    struct rpc *rpc = connection->rpc;
    struct whorl_fault fault;
    uint64_t frames = connection->frames;
    bool waited = frame_reader_waits(&connection->reader);
    connection->heard = uv_now(rpc->loop);
    switch (frame_feed(&connection->reader, bytes, len, rpc->limits.max_frame, on_frame, connection,
                       &fault)) {
    case FRAME_STOPPED:
        return;
    case FRAME_BAD:
        reject_bytes(connection, "bad_frame", &fault);
        return;
    case FRAME_NO_MEMORY:
        whorl_fail(&fault, "", "no locked memory is left for a message this large");
        reject_bytes(connection, "busy", &fault);
        return;
    case FRAME_FED:
        break;
    }
    if (!waited || connection->frames != frames) {
        connection->begun = connection->heard;
    }
}

static void on_ended(void *ctx, const char *reason)
{
    struct connection *connection = ctx;
    if (!connection->opened) {
        tell_refusal(connection->rpc, &connection->peer, reason);
    }
    end_connection(connection, reason);
}

static void stop_handles(struct rpc *rpc);

static void on_stream_closed(void *ctx)
{
    struct connection *connection = ctx;
    struct rpc *rpc = connection->rpc;
    if (connection->prev != NULL) {
        connection->prev->next = connection->next;
    } else {
        rpc->connections = connection->next;
    }
    if (connection->next != NULL) {
        connection->next->prev = connection->prev;
    }
    frame_reader_release(&connection->reader);
    free(connection->device);
    free(connection);
    if (--rpc->connection_count == 0) {
        uv_timer_stop(&rpc->sweep);
        if (rpc->closing) {
            stop_handles(rpc);
        }
    }
}

static const struct stream_events stream_events = {
    .open = on_open, .bytes = on_bytes, .ended = on_ended, .closed = on_stream_closed};

/* --- Time ----------------------------------------------------------------------------------- */

/* What is the matter with a connection that takes too long, or NULL. */
static const char *overdue(const struct connection *connection, uint64_t now)
{
    uint64_t patience = UINT64_C(1000) * connection->rpc->limits.idle_timeout_s;
    if (frame_reader_waits(&connection->reader) && now - connection->begun >= patience) {
        return "a message was not sent to its end in time";
    }
    if (connection->call_count == 0 && stream_queued(connection->stream) == 0 &&
        now - connection->heard >= patience) {
        return "idle";
    }
    return NULL;
}

static void on_sweep(uv_timer_t *timer)
{
    struct rpc *rpc = timer->data;
    uint64_t now = uv_now(rpc->loop);
    /* Connections leave the list in a later callback, never during this walk. */
    for (struct connection *at = rpc->connections; at != NULL; at = at->next) {
        frame_reader_trim(&at->reader);
        const char *reason = at->gone || !at->opened ? NULL : overdue(at, now);
        if (reason != NULL) {
            end_connection(at, reason);
            stream_close(at->stream, false);
        }
        stream_tick(at->stream, now);
    }
}

/* --- Arrival -------------------------------------------------------------------------------- */

static struct connection *new_connection(struct rpc *rpc, const char *device)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        return NULL;
    }
    if (device != NULL) {
        connection->device = strdup(device);
        if (connection->device == NULL) {
            free(connection);
            return NULL;
        }
    }
    connection->rpc = rpc;
    connection->id = rpc->last_connection + 1;
    connection->peer.device = connection->device;
    connection->heard = uv_now(rpc->loop);
    return connection;
}

static void link_connection(struct rpc *rpc, struct connection *connection)
{
    rpc->last_connection = connection->id;
    connection->next = rpc->connections;
    if (connection->next != NULL) {
        connection->next->prev = connection;
    }
    rpc->connections = connection;
    if (rpc->connection_count++ == 0) {
        uv_timer_start(&rpc->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    }
}

static void on_arrival(void *ctx, uv_stream_t *server, struct tls_context *tls, const char *device)
{
    struct rpc *rpc = ctx;
    struct connection *connection = NULL;
    if (rpc->connection_count < rpc->limits.max_connections) {
        connection = new_connection(rpc, device);
    }
    if (connection == NULL) {
        static const struct rpc_peer nobody = {.address = ""};
        stream_refuse(&rpc->streams, server);
        tell_refusal(rpc, &nobody, "too many connections");
        return;
    }
    if (!idmap_put(&rpc->ids, connection->id, connection)) {
        stream_refuse(&rpc->streams, server);
        free(connection->device);
        free(connection);
        return;
    }
    connection->stream = stream_accept(&rpc->streams, server, tls, &stream_events, connection);
    if (connection->stream == NULL) {
        idmap_take(&rpc->ids, connection->id);
        free(connection->device);
        free(connection);
        return;
    }
    connection->peer.tls = tls != NULL;
    connection->opened = tls == NULL;
    stream_address(connection->stream, connection->peer.address, sizeof connection->peer.address);
    link_connection(rpc, connection);
}

/* --- The whole ------------------------------------------------------------------------------ */

static void take_limits(struct rpc *rpc, const struct conf *conf)
{
    rpc->limits = conf->core;
    rpc->streams.limits = (struct stream_limits){
        .max_queue = conf->core.max_write_queue,
        .handshake_ms = UINT64_C(1000) * conf->core.handshake_timeout_s,
        .stall_ms = UINT64_C(1000) * conf->core.idle_timeout_s,
    };
}

static void on_all_closed(void *ctx)
{
    struct rpc *rpc = ctx;
    rpc->closed(rpc->closed_ctx);
}

struct rpc *rpc_new(uv_loop_t *loop, struct conf *conf, const struct rpc_handler *handler,
                    struct log *log)
{
    struct rpc *rpc = calloc(1, sizeof *rpc);
    if (rpc == NULL) {
        return NULL;
    }
    rpc->loop = loop;
    rpc->handler = *handler;
    rpc->log = log;
    if (!msgpack_zone_init(&rpc->zone, ZONE_CHUNK)) {
        free(rpc);
        return NULL;
    }
    if (!stream_group_init(&rpc->streams, loop, on_all_closed, rpc)) {
        msgpack_zone_destroy(&rpc->zone);
        free(rpc);
        return NULL;
    }
    uv_timer_init(loop, &rpc->sweep);
    rpc->sweep.data = rpc;
    stream_group_hold(&rpc->streams);
    listeners_init(&rpc->listeners, &rpc->streams, log, on_arrival, rpc);
    take_limits(rpc, conf);
    return rpc;
}

bool rpc_listen(struct rpc *rpc, struct conf *conf, struct whorl_fault *fault)
{
    if (!listeners_match(&rpc->listeners, conf, fault)) {
        return false;
    }
    take_limits(rpc, conf);
    return true;
}

uint16_t rpc_port(const struct rpc *rpc, const char *listener)
{
    return listeners_port(&rpc->listeners, listener);
}

void rpc_drain(struct rpc *rpc)
{
    listeners_close(&rpc->listeners);
}

static void on_timer_closed(uv_handle_t *handle)
{
    stream_group_drop(handle->data);
}

/* The last of closing, once there are no connections. */
static void stop_handles(struct rpc *rpc)
{
    rpc->sweep.data = &rpc->streams;
    uv_close((uv_handle_t *)&rpc->sweep, on_timer_closed);
    stream_group_close(&rpc->streams);
}

void rpc_close(struct rpc *rpc, void (*closed)(void *ctx), void *ctx)
{
    rpc->closing = true;
    rpc->closed = closed;
    rpc->closed_ctx = ctx;
    listeners_close(&rpc->listeners);
    for (struct connection *at = rpc->connections; at != NULL; at = at->next) {
        end_connection(at, "the server stops");
        stream_close(at->stream, false);
    }
    if (rpc->connection_count == 0) {
        stop_handles(rpc);
    }
}

void rpc_free(struct rpc *rpc)
{
    if (rpc == NULL) {
        return;
    }
    while (rpc->spare_calls != NULL) {
        struct call *call = rpc->spare_calls;
        rpc->spare_calls = call->next;
        free(call);
    }
    idmap_release(&rpc->calls);
    idmap_release(&rpc->ids);
    msgpack_zone_destroy(&rpc->zone);
    free(rpc);
}
