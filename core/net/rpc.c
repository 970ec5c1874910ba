#include "core/net/rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/limit/quota.h"
#include "core/net/frame.h"
#include "core/net/idmap.h"
#include "core/net/listener.h"
#include "core/net/stream.h"
#include "whorl/msg.h"

#define SWEEP_MS 250u       /* how often connections are looked at for what takes too long */
#define RETRY_MS 250u       /* what a refused caller is told to wait if nobody knows better */
#define FORGET_MS 1000u     /* how often devices are looked at for what may be forgotten of them */
#define RELIEF_CALLS 8u     /* answered, for each connection that may be read again */
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
    struct connection *younger, *older; /* of those who wait */
    struct rpc_peer peer;
    char *device;        /* what peer.device points to */
    struct quota *quota; /* the device's, once it is known */
    struct frame_reader reader;
    size_t counted; /* of the reader's bytes in rpc->begun */
    struct call *calls;
    unsigned call_count;
    bool opened;    /* the peer is known */
    bool waits;     /* to be let in: a newcomer may take its place */
    bool outdone;   /* by a newcomer: its socket is closed */
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
    struct connection *oldest, *youngest; /* of those who wait: handshakes, and refusals told */
    unsigned outdone_count;
    struct quotas devices;
    struct bucket_limits device_limits;
    size_t begun; /* bytes of messages that wait for their end, of all connections */
    struct rpc_stats stats;
    uint64_t forgot;
    struct idmap calls, ids; /* by id: calls, connections */
    struct call *spare_calls;
    unsigned answered; /* since a connection was last read again for it */
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
    const uint64_t id = call == NULL ? 0 : idmap_add(&rpc->calls, call);
    if (id == 0) {
        free(call);
        return NULL;
    }
    call->id = id;
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
    uint8_t *at = stream_append(connection->stream, 3u + call->wire_id_len + len);
    if (at != NULL) {
        memcpy(at + frame_result_head(at, call->wire_id, call->wire_id_len), result, len);
    }
}

static int write_packed(void *stream, const char *bytes, size_t len)
{
    stream_write(stream, bytes,
                 len); /* a stream that is out of memory is ended, not half written */
    return 0;
}

/* Sends an ERROR map, see docs/protocol.md. */
static void write_error(struct stream *stream, const char *code, const char *where,
                        const char *message, unsigned retry_ms)
{
    bool located = where != NULL && where[0] != '\0';
    bool busy = strcmp(code, "busy") == 0;
    msgpack_packer pk;
    msgpack_packer_init(&pk, stream, write_packed);
    msgpack_pack_map(&pk, 2u + (located ? 1u : 0u) + (busy ? 1u : 0u));
    whorl_put_str(&pk, "code", code);
    whorl_put_str(&pk, "message", message);
    if (located) {
        whorl_put_str(&pk, "where", where);
    }
    if (busy) {
        whorl_put_int(&pk, "retry_ms", retry_ms == 0 ? RETRY_MS : retry_ms);
    }
}

/* Answers a request with an error. One that is told to come again is not heard for a moment, so
 * that a flood is read and refused by the dozen. */
static void refuse_request(struct connection *connection, const uint8_t *id, size_t id_len,
                           const char *code, const char *where, const char *message,
                           unsigned retry_ms)
{
    uint8_t head[FRAME_REPLY_HEAD];
    struct stream *stream = connection->stream;
    stream_write(stream, head, frame_error_head(head, id, id_len));
    write_error(stream, code, where, message, retry_ms);
    stream_write(stream, "\xc0", 1);
    if (strcmp(code, "busy") == 0) {
        stream_rest(stream);
    }
}

/* A call that was taken is answered. Those who were told to come again need not wait until their
 * rest is over when there is room for them. */
static void count_answered(struct rpc *rpc)
{
    if (++rpc->answered >= RELIEF_CALLS) {
        rpc->answered = 0;
        stream_group_relieve(&rpc->streams);
    }
}

void rpc_result(struct rpc *rpc, uint64_t call, const uint8_t *result, size_t len)
{
    struct call *open = idmap_take(&rpc->calls, call);
    if (open != NULL && len == 0) {
        refuse_request(open->connection, open->wire_id, open->wire_id_len, "internal", "",
                       "the answer could not be packed: out of memory", 0);
        end_call(rpc, open);
    } else if (open != NULL) {
        write_result(open->connection, open, result, len);
        end_call(rpc, open);
        count_answered(rpc);
    }
}

void rpc_error(struct rpc *rpc, uint64_t call, const char *code, const char *where,
               const char *message, unsigned retry_ms)
{
    struct call *open = idmap_take(&rpc->calls, call);
    if (open != NULL) {
        refuse_request(open->connection, open->wire_id, open->wire_id_len, code, where, message,
                       retry_ms);
        end_call(rpc, open);
    }
}

void rpc_notify(struct rpc *rpc, uint64_t connection, const char *method, const uint8_t *argument,
                size_t len)
{
    struct connection *to = idmap_get(&rpc->ids, connection);
    size_t method_len = strlen(method);
    if (to == NULL || len == 0 || method_len > FRAME_METHOD_MAX ||
        stream_queued(to->stream) + FRAME_NOTIFICATION_HEAD + len > rpc->limits.max_write_queue ||
        rpc->streams.queued + rpc->begun + len > rpc->limits.max_buffered) {
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

/* Whose sockets are open. */
static unsigned held_connections(const struct rpc *rpc)
{
    return rpc->connection_count - rpc->outdone_count;
}

void rpc_stats(const struct rpc *rpc, struct rpc_stats *stats)
{
    *stats = rpc->stats;
    stats->connections = held_connections(rpc);
    stats->resting = rpc->streams.rest_count;
    stats->calls = rpc->calls.count;
    stats->devices = rpc->devices.count;
    stats->bytes_to_send = rpc->streams.queued;
    stats->bytes_begun = rpc->begun;
}

const char *rpc_busy_name(enum rpc_busy reason)
{
    static const char *const names[RPC_BUSY_REASONS] = {"max_calls_per_connection",
                                                        "max_calls",
                                                        "max_write_queue",
                                                        "max_buffered",
                                                        "device_rate",
                                                        "max_connections_per_device",
                                                        "max_connections",
                                                        "memory"};
    return names[reason];
}

const char *rpc_drop_name(enum rpc_drop reason)
{
    static const char *const names[RPC_DROP_REASONS] = {
        "handshake", "handshake_timeout", "idle", "message_timeout", "stalled", "bad_frame"};
    return names[reason];
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
    if (connection->quota != NULL) {
        connection->quota->holders--;
        connection->quota = NULL;
    }
    if (connection->opened) {
        rpc->handler.gone(rpc->handler.ctx, connection->id);
    }
}

/* Counts what the connection keeps of a message that waits for its end. */
static void count_begun(struct connection *connection)
{
    size_t bytes = connection->reader.rest.cap;
    connection->rpc->begun += bytes - connection->counted;
    connection->counted = bytes;
}

/* Ends a connection whose bytes can't be understood, or not be kept, and says why. */
static void reject_bytes(struct connection *connection, const char *code,
                         const struct whorl_fault *fault)
{
    uint8_t head[FRAME_NOTIFICATION_HEAD];
    stream_write(connection->stream, head, frame_notification_head(head, "error", strlen("error")));
    write_error(connection->stream, code, fault->where, fault->text, 0);
    tell_refusal(connection->rpc, &connection->peer, fault->text);
    end_connection(connection, fault->text);
    frame_reader_release(&connection->reader);
    count_begun(connection);
    stream_close(connection->stream, true);
}

/* Which bound a request would pass; RPC_BUSY_NONE: none. */
static enum rpc_busy bound_passed(struct connection *connection, unsigned *retry_ms)
{
    struct rpc *rpc = connection->rpc;
    const struct conf_core *limits = &rpc->limits;
    if (!bucket_take(&connection->quota->calls, &rpc->device_limits, uv_now(rpc->loop), retry_ms)) {
        return RPC_BUSY_DEVICE_RATE;
    }
    if (connection->call_count >= limits->max_calls_per_connection) {
        return RPC_BUSY_CALLS_OF_CONNECTION;
    }
    if (rpc->calls.count >= limits->max_calls) {
        return RPC_BUSY_CALLS;
    }
    if (stream_queued(connection->stream) > limits->max_write_queue) {
        /* One read may bring thousands of requests; their answers must not pile up. */
        return RPC_BUSY_WRITE_QUEUE;
    }
    return rpc->streams.queued + rpc->begun > limits->max_buffered ? RPC_BUSY_BUFFERED
                                                                   : RPC_BUSY_NONE;
}

static void refuse_busy(struct connection *connection, const struct frame *frame,
                        enum rpc_busy reason, unsigned retry_ms)
{
    static const char *const words[RPC_BUSY_REASONS] = {
        [RPC_BUSY_CALLS_OF_CONNECTION] = "as many calls are open on this connection as it may have",
        [RPC_BUSY_CALLS] = "as many calls are open as the server takes",
        [RPC_BUSY_WRITE_QUEUE] = "as many answers wait on this connection as may",
        [RPC_BUSY_BUFFERED] = "as much waits to be sent and received as the server keeps",
        [RPC_BUSY_DEVICE_RATE] = "this device calls more often than it may",
        [RPC_BUSY_MEMORY] = "out of memory",
    };
    connection->rpc->stats.busy[reason]++;
    refuse_request(connection, frame->id, frame->id_len, "busy", "", words[reason], retry_ms);
}

static void on_request(struct connection *connection, const struct frame *frame)
{
    struct rpc *rpc = connection->rpc;
    unsigned retry_ms = 0;
    enum rpc_busy bound = bound_passed(connection, &retry_ms);
    rpc->stats.requests++;
    if (bound != RPC_BUSY_NONE) {
        refuse_busy(connection, frame, bound, retry_ms);
        return;
    }
    struct call *call = add_call(connection, frame);
    if (call == NULL) {
        refuse_busy(connection, frame, RPC_BUSY_MEMORY, 0);
        return;
    }
    memcpy(rpc->method, frame->method, frame->method_len);
    rpc->method[frame->method_len] = '\0';
    const struct rpc_call name = {connection->id, call->id, &connection->peer};
    const struct rpc_params params = {frame->params, frame->params_len};
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

static void start_waiting(struct connection *connection)
{
    struct rpc *rpc = connection->rpc;
    connection->waits = true;
    connection->older = rpc->youngest;
    if (rpc->youngest != NULL) {
        rpc->youngest->younger = connection;
    } else {
        rpc->oldest = connection;
    }
    rpc->youngest = connection;
}

static void stop_waiting(struct connection *connection)
{
    struct rpc *rpc = connection->rpc;
    if (!connection->waits) {
        return;
    }
    connection->waits = false;
    if (connection->older != NULL) {
        connection->older->younger = connection->younger;
    } else {
        rpc->oldest = connection->younger;
    }
    if (connection->younger != NULL) {
        connection->younger->older = connection->older;
    } else {
        rpc->youngest = connection->older;
    }
}

/* Now that the device is known: may it have one more connection? false: it is being told. */
static bool admit_device(struct connection *connection)
{
    struct rpc *rpc = connection->rpc;
    const struct rpc_peer *peer = &connection->peer;
    struct whorl_fault fault;
    struct quota *quota =
        peer->tls ? quotas_get(&rpc->devices, peer->certificate, sizeof peer->certificate)
                  : quotas_get(&rpc->devices, peer->device, strnlen(peer->device, QUOTA_KEY_MAX));
    bool full = quota != NULL && quota->holders >= rpc->limits.max_connections_per_device;
    if (quota != NULL && !full) {
        quota->holders++;
        connection->quota = quota;
        stop_waiting(connection);
        return true;
    }
    rpc->stats.busy[full ? RPC_BUSY_DEVICE_CONNECTIONS : RPC_BUSY_MEMORY]++;
    connection->opened = false; /* it was not let in */
    whorl_fail(&fault, "",
               full ? "this device has as many connections as it may" : "out of memory");
    reject_bytes(connection, "busy", &fault);
    return false;
}

static void on_open(void *ctx)
{
    struct connection *connection = ctx;
    connection->heard = uv_now(connection->rpc->loop);
    connection->opened = stream_peer_digest(connection->stream, connection->peer.certificate);
    if (!connection->opened) {
        end_connection(connection, "its certificate can't be digested");
        stream_close(connection->stream, false);
    } else {
        admit_device(connection);
    }
}

/* Hands the requests on that these bytes bring. */
static enum frame_end feed(struct connection *connection, const uint8_t *bytes, size_t len,
                           struct whorl_fault *fault)
{
    struct rpc *rpc = connection->rpc;
    if (rpc->handler.begin != NULL) {
        rpc->handler.begin(rpc->handler.ctx);
    }
    enum frame_end end = frame_feed(&connection->reader, bytes, len, rpc->limits.max_frame,
                                    on_frame, connection, fault);
    if (rpc->handler.done != NULL) {
        rpc->handler.done(rpc->handler.ctx);
    }
    return end;
}

static void on_bytes(void *ctx, const uint8_t *bytes, size_t len)
{
    struct connection *connection = ctx;
    struct rpc *rpc = connection->rpc;
    struct whorl_fault fault;
    uint64_t frames = connection->frames;
    bool waited = frame_reader_waits(&connection->reader);
    connection->heard = uv_now(rpc->loop);
    switch (feed(connection, bytes, len, &fault)) {
    case FRAME_STOPPED:
        return;
    case FRAME_BAD:
        rpc->stats.dropped[RPC_DROP_BAD_FRAME]++;
        reject_bytes(connection, "bad_frame", &fault);
        return;
    case FRAME_NO_MEMORY:
        rpc->stats.busy[RPC_BUSY_MEMORY]++;
        whorl_fail(&fault, "", "no locked memory is left for a message this large");
        reject_bytes(connection, "busy", &fault);
        return;
    case FRAME_FED:
        break;
    }
    count_begun(connection);
    if (frame_reader_waits(&connection->reader) &&
        rpc->begun + rpc->streams.queued > rpc->limits.max_buffered) {
        rpc->stats.busy[RPC_BUSY_BUFFERED]++;
        whorl_fail(&fault, "", "as much waits to be sent and received as the server keeps");
        reject_bytes(connection, "busy", &fault);
        return;
    }
    if (!waited || connection->frames != frames) {
        connection->begun = connection->heard;
    }
}

static void on_ended(void *ctx, enum stream_end end, const char *reason)
{
    struct connection *connection = ctx;
    struct rpc_stats *stats = &connection->rpc->stats;
    stats->dropped[RPC_DROP_HANDSHAKE] += end == STREAM_END_HANDSHAKE;
    stats->dropped[RPC_DROP_HANDSHAKE_TIMEOUT] += end == STREAM_END_LATE;
    stats->dropped[RPC_DROP_STALLED] += end == STREAM_END_STALLED;
    if (!connection->opened) {
        tell_refusal(connection->rpc, &connection->peer, reason);
    }
    end_connection(connection, reason);
}

static void stop_handles(struct rpc *rpc);

static void unlink_connection(struct connection *connection)
{
    struct rpc *rpc = connection->rpc;
    if (connection->prev != NULL) {
        connection->prev->next = connection->next;
    } else {
        rpc->connections = connection->next;
    }
    if (connection->next != NULL) {
        connection->next->prev = connection->prev;
    }
    rpc->connection_count--;
    rpc->outdone_count -= connection->outdone;
    stop_waiting(connection);
}

static void free_connection(struct connection *connection)
{
    free(connection->device);
    free(connection);
}

static void on_stream_closed(void *ctx)
{
    struct connection *connection = ctx;
    struct rpc *rpc = connection->rpc;
    unlink_connection(connection);
    frame_reader_release(&connection->reader);
    count_begun(connection);
    free_connection(connection);
    if (rpc->connection_count == 0) {
        uv_timer_stop(&rpc->sweep);
        if (rpc->closing) {
            stop_handles(rpc);
        }
    }
}

static const struct stream_events stream_events = {
    .open = on_open, .bytes = on_bytes, .ended = on_ended, .closed = on_stream_closed};

/* --- Time ----------------------------------------------------------------------------------- */

/* What is the matter with a connection that takes too long; RPC_DROP_NONE: nothing. */
static enum rpc_drop overdue(const struct connection *connection, uint64_t now)
{
    const struct conf_core *limits = &connection->rpc->limits;
    if (frame_reader_waits(&connection->reader) &&
        now - connection->begun >= UINT64_C(1000) * limits->message_timeout_s) {
        return RPC_DROP_MESSAGE_TIMEOUT;
    }
    if (connection->call_count == 0 && stream_queued(connection->stream) == 0 &&
        now - connection->heard >= UINT64_C(1000) * limits->idle_timeout_s) {
        return RPC_DROP_IDLE;
    }
    return RPC_DROP_NONE;
}

static void drop_overdue(struct connection *connection, enum rpc_drop reason)
{
    connection->rpc->stats.dropped[reason]++;
    end_connection(connection, rpc_drop_name(reason));
    stream_close(connection->stream, false);
}

static void on_sweep(uv_timer_t *timer)
{
    struct rpc *rpc = timer->data;
    uint64_t now = uv_now(rpc->loop);
    /* Connections leave the list in a later callback, never during this walk. */
    for (struct connection *at = rpc->connections; at != NULL; at = at->next) {
        frame_reader_trim(&at->reader);
        count_begun(at);
        enum rpc_drop reason = at->gone || !at->opened ? RPC_DROP_NONE : overdue(at, now);
        if (reason != RPC_DROP_NONE) {
            drop_overdue(at, reason);
        }
        stream_tick(at->stream, now);
    }
    if (now - rpc->forgot >= FORGET_MS) {
        rpc->forgot = now;
        quotas_sweep(&rpc->devices, &rpc->device_limits, now);
    }
}

/* --- Arrival -------------------------------------------------------------------------------- */

static struct connection *new_connection(struct rpc *rpc, const char *device)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        return NULL;
    }
    connection->device = device != NULL ? strdup(device) : NULL;
    if (device == NULL || connection->device != NULL) {
        connection->id = idmap_add(&rpc->ids, connection);
    }
    if (connection->id == 0) {
        free_connection(connection);
        return NULL;
    }
    connection->rpc = rpc;
    connection->peer.device = connection->device;
    connection->heard = uv_now(rpc->loop);
    return connection;
}

static void link_connection(struct rpc *rpc, struct connection *connection)
{
    connection->next = rpc->connections;
    if (connection->next != NULL) {
        connection->next->prev = connection;
    }
    rpc->connections = connection;
    if (rpc->connection_count++ == 0) {
        uv_timer_start(&rpc->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    }
}

/* A newcomer takes the place of whoever has waited longest to be let in, for a device needs a
 * moment for its handshake, and who only wants to hold places all the time there is. false: all are
 * in. */
static bool make_way(struct rpc *rpc)
{
    static const char reason[] = "the handshake took longest, and others wanted its place";
    struct connection *oldest = rpc->oldest;
    if (oldest == NULL) {
        return false;
    }
    stop_waiting(oldest);
    oldest->outdone = true;
    rpc->outdone_count++;
    if (!oldest->gone) {
        rpc->stats.dropped[RPC_DROP_HANDSHAKE_TIMEOUT]++;
        tell_refusal(rpc, &oldest->peer, reason);
        end_connection(oldest, reason);
    }
    stream_drop(oldest->stream);
    return true;
}

/* Whether there is room for one more. */
static bool make_room(struct rpc *rpc)
{
    while (held_connections(rpc) >= rpc->limits.max_connections) {
        if (!make_way(rpc)) {
            return false;
        }
    }
    return true;
}

/* One whose socket is closed already. */
static void count_refusal(struct rpc *rpc, enum rpc_busy bound, const char *reason)
{
    static const struct rpc_peer nobody = {.address = ""};
    rpc->stats.busy[bound]++;
    tell_refusal(rpc, &nobody, reason);
}

/* A connection over this socket, which is closed where there is no memory: NULL. */
static struct connection *take_in(struct rpc *rpc, int fd, struct tls_context *tls,
                                  const char *device)
{
    struct connection *connection = new_connection(rpc, device);
    if (connection == NULL) {
        close(fd);
        return NULL;
    }
    connection->stream = stream_accept(&rpc->streams, fd, tls, &stream_events, connection);
    if (connection->stream == NULL) {
        idmap_take(&rpc->ids, connection->id);
        free_connection(connection);
        return NULL;
    }
    return connection;
}

static void on_arrival(void *ctx, int fd, struct tls_context *tls, const char *device)
{
    struct rpc *rpc = ctx;
    if (!make_room(rpc)) {
        close(fd);
        count_refusal(rpc, RPC_BUSY_CONNECTIONS, "too many connections");
        return;
    }
    struct connection *connection = take_in(rpc, fd, tls, device);
    if (connection == NULL) {
        count_refusal(rpc, RPC_BUSY_MEMORY, "out of memory");
        return;
    }
    connection->peer.tls = tls != NULL;
    connection->opened = tls == NULL;
    stream_address(connection->stream, connection->peer.address, sizeof connection->peer.address);
    link_connection(rpc, connection);
    start_waiting(connection);
    rpc->stats.connections_accepted++;
    if (connection->opened) {
        admit_device(connection);
    }
}

/* --- The whole ------------------------------------------------------------------------------ */

static void take_limits(struct rpc *rpc, const struct conf *conf)
{
    rpc->limits = conf->core;
    rpc->streams.limits = (struct stream_limits){
        .max_queue = conf->core.max_write_queue,
        .handshake_ms = UINT64_C(1000) * conf->core.handshake_timeout_s,
        .stall_ms = UINT64_C(1000) * conf->core.stall_timeout_s,
    };
    rpc->device_limits = (struct bucket_limits){conf->core.device_rate, conf->core.device_burst};
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
    if (!stream_group_init(&rpc->streams, loop, on_all_closed, rpc)) {
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

bool rpc_inherit(struct rpc *rpc, int fd, const char *name, struct whorl_fault *fault)
{
    return listeners_inherit(&rpc->listeners, fd, name, fault);
}

bool rpc_listen(struct rpc *rpc, struct conf *conf, struct listeners_ahead *ahead,
                struct whorl_fault *fault)
{
    if (!listeners_match(&rpc->listeners, conf, ahead, fault)) {
        return false;
    }
    take_limits(rpc, conf);
    return true;
}

uint16_t rpc_port(const struct rpc *rpc, const char *listener)
{
    return listeners_port(&rpc->listeners, listener);
}

int64_t rpc_end(const struct rpc *rpc, const char *listener, enum tls_file file)
{
    return listeners_end(&rpc->listeners, listener, file);
}

void rpc_drain(struct rpc *rpc)
{
    listeners_close(&rpc->listeners);
}

bool rpc_is_quiet(const struct rpc *rpc, uint64_t ms)
{
    uint64_t now = uv_now(rpc->loop);
    for (const struct connection *at = rpc->connections; at != NULL; at = at->next) {
        if (!at->gone && (!at->opened || now - at->heard < ms)) {
            return false;
        }
    }
    return true;
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
    quotas_release(&rpc->devices);
    idmap_release(&rpc->calls);
    idmap_release(&rpc->ids);
    free(rpc);
}
