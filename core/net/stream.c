#include "core/net/stream.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "whorl/secret.h"

#define READ_SIZE (64u << 10)
#define RECORD_SIZE (16u << 10)   /* the most that a TLS record holds */
#define BUFFER_SMALLEST 2048u     /* bytes */
#define SPARE_LARGEST (64u << 10) /* of a buffer that is kept */
#define SPARE_MAX 64u             /* buffers */
#define CLOSING_MS 2000u
#define KEEPALIVE_S 60     /* of silence, until the peer is asked whether it is there */
#define KEEPALIVE_NEXT_S 1 /* until it is asked again, so often: */
#define KEEPALIVE_TRIES 10
#define WARM_MAX 256u /* streams that keep OpenSSL's buffers: 9 MB of them */

struct stream_buffer {
    struct stream_buffer *next;
    size_t len, cap;
    char bytes[];
};

enum stream_state {
    STREAM_HANDSHAKE,
    STREAM_OPEN,
    STREAM_CLOSING,   /* sends what is queued */
    STREAM_LINGERING, /* has said that it ends, waits for the peer to do so */
    STREAM_CLOSED     /* waits for the loop to let go of it */
};

struct stream {
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct stream_group *group;
    const struct stream_events *events;
    void *ctx;
    struct tls *tls;               /* NULL: plain */
    struct stream_buffer *clear;   /* with TLS: what is not yet encrypted */
    struct stream_buffer *out;     /* what the socket is given next */
    struct stream_buffer *sending; /* what the socket has been given, while `write` is under way */
    enum stream_state state;
    bool reading, busy, linger, eof, broken, said_goodbye;
    bool dirty;
    bool warm, heard;           /* keeps OpenSSL's buffers; has been read since the last tick */
    struct stream *next, *prev; /* in group->dirty */
    struct stream *rest_next, **rest_link; /* in group->resting; link NULL: it does not rest */
    uint64_t rested;                       /* when it is read again */
    uint64_t since;                        /* it began, or began to close */
    uint64_t moved;                        /* when bytes of `sending` last left */
    size_t left;                           /* of `sending`, at that time */
    size_t counted;                        /* of its bytes in group->queued */
};

/* --- Buffers -------------------------------------------------------------------------------- */

static struct stream_buffer *buffer_get(struct stream_group *group)
{
    struct stream_buffer *buffer = group->spare;
    if (buffer != NULL) {
        group->spare = buffer->next;
        group->spare_count--;
        return buffer;
    }
    buffer = malloc(sizeof *buffer + BUFFER_SMALLEST);
    if (buffer != NULL) {
        buffer->len = 0;
        buffer->cap = BUFFER_SMALLEST;
    }
    return buffer;
}

static void buffer_give(struct stream_group *group, struct stream_buffer **place)
{
    struct stream_buffer *buffer = *place;
    *place = NULL;
    if (buffer == NULL) {
        return;
    }
    explicit_bzero(buffer->bytes, buffer->len); /* of answers, which are about people */
    if (group->spare_count >= SPARE_MAX || buffer->cap > SPARE_LARGEST) {
        free(buffer);
        return;
    }
    buffer->len = 0;
    buffer->next = group->spare;
    group->spare = buffer;
    group->spare_count++;
}

/* Not by realloc(), which leaves what was there behind. */
static bool buffer_grow(struct stream_buffer **place, size_t needed)
{
    struct stream_buffer *small = *place;
    size_t cap = small->cap;
    while (cap < needed) {
        cap *= 2;
    }
    struct stream_buffer *larger = malloc(sizeof *larger + cap);
    if (larger == NULL) {
        return false;
    }
    larger->cap = cap;
    larger->len = small->len;
    memcpy(larger->bytes, small->bytes, small->len);
    explicit_bzero(small->bytes, small->len);
    free(small);
    *place = larger;
    return true;
}

/* Makes the buffer so much longer, and it if there is none. Returns where the bytes go. */
static char *buffer_extend(struct stream_group *group, struct stream_buffer **place, size_t len)
{
    if (*place == NULL) {
        *place = buffer_get(group);
        if (*place == NULL) {
            return NULL;
        }
    }
    size_t needed = (*place)->len + len;
    if (needed > (*place)->cap && !buffer_grow(place, needed)) {
        return NULL;
    }
    char *at = (*place)->bytes + (*place)->len;
    (*place)->len = needed;
    return at;
}

static size_t buffer_len(const struct stream_buffer *buffer)
{
    return buffer == NULL ? 0 : buffer->len;
}

/* Corrects the group's sum by what has happened to the stream's buffers. */
static void recount(struct stream *stream)
{
    size_t bytes =
        buffer_len(stream->clear) + buffer_len(stream->out) + buffer_len(stream->sending);
    stream->group->queued += bytes - stream->counted;
    stream->counted = bytes;
}

/* --- Ending --------------------------------------------------------------------------------- */

static void set_dirty(struct stream *stream, bool dirty)
{
    if (stream->dirty == dirty) {
        return;
    }
    stream->dirty = dirty;
    struct stream_group *group = stream->group;
    if (dirty) {
        stream->prev = NULL;
        stream->next = group->dirty;
        if (group->dirty != NULL) {
            group->dirty->prev = stream;
        }
        group->dirty = stream;
        return;
    }
    if (stream->prev != NULL) {
        stream->prev->next = stream->next;
    } else {
        group->dirty = stream->next;
    }
    if (stream->next != NULL) {
        stream->next->prev = stream->prev;
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;
    struct stream_group *group = stream->group;
    tls_free(stream->tls);
    buffer_give(group, &stream->clear);
    buffer_give(group, &stream->out);
    buffer_give(group, &stream->sending);
    recount(stream);
    stream->events->closed(stream->ctx);
    free(stream);
    stream_group_drop(group);
}

static void end_rest(struct stream *stream)
{
    struct stream_group *group = stream->group;
    if (stream->rest_link == NULL) {
        return;
    }
    *stream->rest_link = stream->rest_next;
    if (stream->rest_next != NULL) {
        stream->rest_next->rest_link = stream->rest_link;
    } else {
        group->resting_last = stream->rest_link;
    }
    stream->rest_link = NULL;
    group->rest_count--;
}

static void set_warm(struct stream *stream, bool warm)
{
    stream->warm = warm;
    stream->group->warm += warm ? 1u : -1u;
    tls_keep_buffers(stream->tls, warm);
}

void stream_drop(struct stream *stream)
{
    if (stream->state == STREAM_CLOSED) {
        return;
    }
    stream->state = STREAM_CLOSED;
    set_dirty(stream, false);
    end_rest(stream);
    if (stream->warm) {
        set_warm(stream, false);
    }
    uv_close((uv_handle_t *)&stream->tcp, on_closed);
}

static void start_closing(struct stream *stream, bool linger)
{
    if (stream->state >= STREAM_CLOSING) {
        return;
    }
    stream->state = STREAM_CLOSING;
    stream->linger = linger;
    stream->since = uv_now(stream->group->loop);
    set_dirty(stream, true);
}

/* Tells the owner, unless it is the owner who ended it. */
static void tell_ended(struct stream *stream, enum stream_end end, const char *reason)
{
    if (stream->state < STREAM_CLOSING) {
        stream->events->ended(stream->ctx, end, reason);
    }
}

static void lose_by(struct stream *stream, enum stream_end end, const char *reason)
{
    tell_ended(stream, end, reason);
    stream_drop(stream);
}

static void lose(struct stream *stream, const char *reason)
{
    lose_by(stream, STREAM_END_ERROR, reason);
}

void stream_close(struct stream *stream, bool linger)
{
    start_closing(stream, linger);
}

/* --- Writing -------------------------------------------------------------------------------- */

static void flush(struct stream *stream);

static void on_written(uv_write_t *write, int status)
{
    struct stream *stream = write->data;
    buffer_give(stream->group, &stream->sending);
    if (stream->state == STREAM_CLOSED) {
        return;
    }
    if (status < 0) {
        lose(stream, uv_strerror(status));
        return;
    }
    flush(stream);
}

/* Gives the socket what is in `out`; what it does not take at once waits in `sending`. */
static bool send_out(struct stream *stream)
{
    struct stream_buffer *out = stream->out;
    uv_buf_t buf = uv_buf_init(out->bytes, (unsigned)out->len);
    int n = uv_try_write((uv_stream_t *)&stream->tcp, &buf, 1);
    if (n < 0 && n != UV_EAGAIN) {
        lose(stream, uv_strerror(n));
        return false;
    }
    size_t taken = n < 0 ? 0 : (size_t)n;
    if (taken == out->len) {
        buffer_give(stream->group, &stream->out);
        return true;
    }
    buf = uv_buf_init(out->bytes + taken, (unsigned)(out->len - taken));
    n = uv_write(&stream->write, (uv_stream_t *)&stream->tcp, &buf, 1, on_written);
    if (n < 0) {
        lose(stream, uv_strerror(n));
        return false;
    }
    stream->sending = out;
    stream->out = NULL;
    stream->moved = uv_now(stream->group->loop);
    stream->left = buf.len;
    return true;
}

static bool encrypt(struct stream *stream)
{
    if (stream->clear != NULL) {
        if (!tls_write(stream->tls, (const uint8_t *)stream->clear->bytes, stream->clear->len)) {
            lose(stream, "TLS can't encrypt");
            return false;
        }
        buffer_give(stream->group, &stream->clear);
    }
    if (stream->state == STREAM_CLOSING && !stream->said_goodbye) {
        stream->said_goodbye = true;
        tls_finish(stream->tls);
    }
    return true;
}

static void on_shut_down(uv_shutdown_t *shutdown, int status)
{
    struct stream *stream = shutdown->data;
    if (stream->state == STREAM_CLOSED) {
        return;
    }
    if (status < 0 || stream->eof) {
        stream_drop(stream);
    }
}

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);

static void set_reading(struct stream *stream, bool reading)
{
    if (stream->reading == reading || stream->eof) {
        return;
    }
    stream->reading = reading;
    if (!reading) {
        uv_read_stop((uv_stream_t *)&stream->tcp);
        return;
    }
    int n = uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_read);
    if (n < 0) {
        lose(stream, uv_strerror(n));
    }
}

/* All is sent: the last step of closing. */
static void end_writing(struct stream *stream)
{
    if (!stream->linger || stream->eof) {
        stream_drop(stream); /* the system sends what it has, and the end */
        return;
    }
    stream->state = STREAM_LINGERING;
    stream->shutdown.data = stream;
    if (uv_shutdown(&stream->shutdown, (uv_stream_t *)&stream->tcp, on_shut_down) < 0) {
        stream_drop(stream);
        return;
    }
    set_reading(stream, true);
}

/* A peer that asks and does not read is no longer listened to, until half of what waits for it has
 * gone; nor is one that rests. */
static void hold_back(struct stream *stream)
{
    if (stream->state <= STREAM_OPEN) {
        size_t bound = stream->group->limits.max_queue;
        set_reading(stream, stream->rest_link == NULL &&
                                stream_queued(stream) <= (stream->reading ? bound : bound / 2));
    }
}

static void read_again(struct stream *stream)
{
    end_rest(stream);
    hold_back(stream);
}

static void on_rested(uv_timer_t *timer)
{
    struct stream_group *group = timer->data;
    uint64_t now = uv_now(group->loop);
    while (group->resting != NULL && group->resting->rested <= now) {
        read_again(group->resting);
    }
    if (group->resting != NULL) {
        uv_timer_start(timer, on_rested, group->resting->rested - now, 0);
    }
}

void stream_rest(struct stream *stream)
{
    struct stream_group *group = stream->group;
    if (stream->rest_link != NULL || stream->state > STREAM_OPEN) {
        return;
    }
    stream->rested = uv_now(group->loop) + STREAM_REST_MS;
    stream->rest_next = NULL;
    stream->rest_link = group->resting_last;
    *group->resting_last = stream;
    group->resting_last = &stream->rest_next;
    group->rest_count++;
    if (group->resting == stream) {
        uv_timer_start(&group->rest, on_rested, STREAM_REST_MS, 0);
    }
    hold_back(stream);
}

static void push(struct stream *stream)
{
    if (stream->state == STREAM_CLOSED) {
        return;
    }
    if (stream->sending != NULL) {
        hold_back(stream);
        return;
    }
    if (stream->broken) {
        lose(stream, "out of memory");
        return;
    }
    if (stream->tls != NULL && tls_is_open(stream->tls) && !encrypt(stream)) {
        return;
    }
    if (stream->out != NULL && !send_out(stream)) {
        return;
    }
    if (stream->state == STREAM_CLOSING) {
        if (stream->sending == NULL) {
            end_writing(stream);
        }
    } else {
        hold_back(stream);
    }
}

static void flush(struct stream *stream)
{
    set_dirty(stream, false);
    push(stream);
    recount(stream);
}

void *stream_append(struct stream *stream, size_t len)
{
    if (stream->state >= STREAM_CLOSING || stream->broken) {
        return NULL;
    }
    struct stream_buffer **place = stream->tls != NULL ? &stream->clear : &stream->out;
    char *at = buffer_extend(stream->group, place, len);
    /* Whoever asks is in the middle of something: it learns of a failure from the next flush. */
    stream->broken = at == NULL;
    stream->counted += at != NULL ? len : 0;
    stream->group->queued += at != NULL ? len : 0;
    if (!stream->busy) {
        set_dirty(stream, true);
    }
    return at;
}

void stream_write(struct stream *stream, const void *bytes, size_t len)
{
    void *at = stream_append(stream, len);
    if (at != NULL) {
        memcpy(at, bytes, len);
    }
}

size_t stream_queued(const struct stream *stream)
{
    return buffer_len(stream->clear) + buffer_len(stream->out) +
           uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp);
}

/* What TLS wants sent, from within its functions. */
static bool take_cipher(void *ctx, const uint8_t *bytes, size_t len)
{
    struct stream *stream = ctx;
    char *at = buffer_extend(stream->group, &stream->out, len);
    if (at == NULL) {
        return false;
    }
    memcpy(at, bytes, len);
    return true;
}

/* --- Reading -------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct stream *stream = handle->data;
    *buf = uv_buf_init((char *)stream->group->in, READ_SIZE);
}

/* The peer will send no more. */
static void read_ended(struct stream *stream, const char *reason)
{
    stream->eof = true;
    if (stream->state == STREAM_LINGERING) {
        stream_drop(stream);
        return;
    }
    tell_ended(stream, STREAM_END_PEER, reason);
    start_closing(stream, false);
}

/* Decrypts and hands on what was read. */
static void read_tls(struct stream *stream, size_t len)
{
    struct stream_group *group = stream->group;
    struct whorl_fault fault;
    char reason[sizeof fault.where + sizeof fault.text + 8];
    stream->heard = true;
    if (!stream->warm && group->warm < WARM_MAX) {
        set_warm(stream, true);
    }
    tls_feed(stream->tls, group->in, len);
    while (stream->state < STREAM_CLOSING) {
        size_t used = 0;
        switch (tls_read(stream->tls, group->plain, RECORD_SIZE, &used, &fault)) {
        case TLS_DATA:
            if (stream->state == STREAM_HANDSHAKE) {
                stream->state = STREAM_OPEN;
                stream->events->open(stream->ctx);
            } else {
                stream->events->bytes(stream->ctx, group->plain, used);
                explicit_bzero(group->plain, used);
            }
            if (tls_has_more(stream->tls)) {
                continue;
            }
            break;
        case TLS_WANT:
            break;
        case TLS_CLOSED:
            read_ended(stream, "closed by the device");
            break;
        case TLS_FAILED:
            snprintf(reason, sizeof reason, "TLS: %s%s%s", fault.where,
                     fault.where[0] == '\0' ? "" : ": ", fault.text);
            tell_ended(stream,
                       stream->state == STREAM_HANDSHAKE ? STREAM_END_HANDSHAKE : STREAM_END_ERROR,
                       reason);
            start_closing(stream, true);
            break;
        }
        break;
    }
    tls_feed(stream->tls, NULL, 0);
}

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
    struct stream *stream = tcp->data;
    if (n == 0) {
        return; /* nothing there after all */
    }
    if (n < 0) {
        if (n == UV_EOF) {
            read_ended(stream, "closed by the device");
        } else {
            lose(stream, uv_strerror((int)n));
        }
        return;
    }
    if (stream->state < STREAM_CLOSING) {
        stream->busy = true;
        if (stream->tls != NULL) {
            read_tls(stream, (size_t)n);
        } else {
            stream->events->bytes(stream->ctx, (const uint8_t *)buf->base, (size_t)n);
        }
        stream->busy = false;
        flush(stream);
    }
    explicit_bzero(buf->base, (size_t)n);
}

/* --- Time ----------------------------------------------------------------------------------- */

void stream_tick(struct stream *stream, uint64_t now)
{
    const struct stream_limits *limits = &stream->group->limits;
    if (stream->state == STREAM_CLOSED) {
        return;
    }
    if (stream->warm && !stream->heard) {
        set_warm(stream, false);
    }
    stream->heard = false;
    if (stream->state >= STREAM_CLOSING) {
        if (now - stream->since >= CLOSING_MS) {
            stream_drop(stream);
        }
        return;
    }
    if (stream->state == STREAM_HANDSHAKE && now - stream->since >= limits->handshake_ms) {
        lose_by(stream, STREAM_END_LATE, "no handshake in time");
        return;
    }
    if (stream->sending == NULL) {
        return;
    }
    size_t left = uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp);
    if (left < stream->left) {
        stream->left = left;
        stream->moved = now;
    } else if (now - stream->moved >= limits->stall_ms) {
        lose_by(stream, STREAM_END_STALLED, "does not read what is sent");
    }
}

/* --- Beginning ------------------------------------------------------------------------------ */

static void on_never_opened(uv_handle_t *handle)
{
    struct stream *stream = handle->data;
    struct stream_group *group = stream->group;
    tls_free(stream->tls);
    free(stream);
    stream_group_drop(group);
}

void stream_prepare(int listening)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_NEXT_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_TRIES},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        (void)setsockopt(listening, options[i].level, options[i].name, &options[i].value,
                         sizeof options[i].value);
    }
}

/* Gives the stream its socket, or closes that. */
static bool take_socket(struct stream *stream, int fd)
{
    if (uv_tcp_open(&stream->tcp, fd) != 0) {
        close(fd);
        return false;
    }
    stream->reading = true;
    return uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_read) == 0;
}

struct stream *stream_accept(struct stream_group *group, int fd, struct tls_context *tls,
                             const struct stream_events *events, void *ctx)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL || uv_tcp_init(group->loop, &stream->tcp) < 0) {
        free(stream);
        close(fd);
        return NULL;
    }
    stream->tcp.data = stream;
    stream->write.data = stream;
    stream->group = group;
    stream->events = events;
    stream->ctx = ctx;
    stream->since = uv_now(group->loop);
    stream->state = tls != NULL ? STREAM_HANDSHAKE : STREAM_OPEN;
    stream_group_hold(group);
    stream->tls = tls != NULL ? tls_new(tls, take_cipher, stream) : NULL;
    if (!take_socket(stream, fd) || (tls != NULL && stream->tls == NULL)) {
        uv_close((uv_handle_t *)&stream->tcp, on_never_opened);
        return NULL;
    }
    return stream;
}

void stream_address(const struct stream *stream, char *text, size_t cap)
{
    struct sockaddr_storage address;
    int len = (int)sizeof address;
    char name[INET6_ADDRSTRLEN] = "?";
    text[0] = '\0';
    if (uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)&address, &len) < 0) {
        return;
    }
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address;
        uv_ip6_name(six, name, sizeof name);
        snprintf(text, cap, "[%s]:%u", name, (unsigned)ntohs(six->sin6_port));
    } else {
        const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
        uv_ip4_name(four, name, sizeof name);
        snprintf(text, cap, "%s:%u", name, (unsigned)ntohs(four->sin_port));
    }
}

bool stream_peer_digest(const struct stream *stream, uint8_t digest[32])
{
    return stream->tls != NULL && tls_peer_digest(stream->tls, digest);
}

/* --- The group ------------------------------------------------------------------------------ */

static void on_prepare(uv_prepare_t *prepare)
{
    struct stream_group *group = prepare->data;
    for (; group->relieved > 0 && group->resting != NULL; group->relieved--) {
        read_again(group->resting);
    }
    group->relieved = 0;
    while (group->dirty != NULL) {
        flush(group->dirty);
    }
}

bool stream_group_init(struct stream_group *group, uv_loop_t *loop, void (*closed)(void *ctx),
                       void *ctx)
{
    *group = (struct stream_group){.loop = loop, .closed = closed, .ctx = ctx};
    group->in = whorl_secret_alloc(READ_SIZE);
    group->plain = whorl_secret_alloc(RECORD_SIZE);
    if (group->in == NULL || group->plain == NULL || uv_prepare_init(loop, &group->prepare) < 0) {
        whorl_secret_free(group->in, READ_SIZE);
        whorl_secret_free(group->plain, RECORD_SIZE);
        return false;
    }
    group->prepare.data = group;
    uv_prepare_start(&group->prepare, on_prepare);
    uv_unref((uv_handle_t *)&group->prepare);
    stream_group_hold(group);
    group->resting_last = &group->resting;
    uv_timer_init(loop, &group->rest);
    group->rest.data = group;
    stream_group_hold(group);
    return true;
}

void stream_group_relieve(struct stream_group *group)
{
    group->relieved++;
}

static void on_group_closed(uv_handle_t *handle)
{
    stream_group_drop(handle->data);
}

void stream_group_close(struct stream_group *group)
{
    if (!uv_is_closing((uv_handle_t *)&group->prepare)) {
        uv_close((uv_handle_t *)&group->prepare, on_group_closed);
        uv_close((uv_handle_t *)&group->rest, on_group_closed);
    }
}

void stream_group_hold(struct stream_group *group)
{
    group->handles++;
}

void stream_group_drop(struct stream_group *group)
{
    if (--group->handles > 0) {
        return;
    }
    while (group->spare != NULL) {
        struct stream_buffer *buffer = group->spare;
        group->spare = buffer->next;
        free(buffer);
    }
    group->spare_count = 0;
    whorl_secret_free(group->in, READ_SIZE);
    whorl_secret_free(group->plain, RECORD_SIZE);
    group->in = NULL;
    group->plain = NULL;
    group->closed(group->ctx);
}
