/* The message forms are those of the msgpack-RPC specification: [0, id, method, params],
 * [1, id, error, result], [2, method, params]. */
#include "core/net/frame.h"

#include <string.h>

/* A partial message up to this size keeps its memory until the next trim, so that a busy
 * connection need not map and lock pages for every read. */
#define KEEP (64u << 10)

/* One object of a message. */
struct part {
    const uint8_t *bytes;
    size_t len;
};

/* Cuts the next object off; the whole has been walked, so there is one. */
static struct part next_part(const uint8_t **at, const uint8_t *end)
{
    struct part part = {*at, 0};
    if (whorl_msg_walk(*at, (size_t)(end - *at), (size_t)(end - *at), &part.len, NULL) !=
        WHORL_MSG_WHOLE) {
        part.len = 0;
    }
    *at += part.len;
    return part;
}

static uint64_t big_endian(const uint8_t *bytes, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static bool is_integer(struct part part)
{
    return part.len > 0 && (part.bytes[0] < 0x80 || part.bytes[0] >= 0xe0 ||
                            (part.bytes[0] >= 0xcc && part.bytes[0] <= 0xd3));
}

/* The message type, or something that is none. */
static uint64_t read_type(struct part part)
{
    if (!is_integer(part)) {
        return UINT64_MAX;
    }
    return part.len == 1 ? part.bytes[0] : big_endian(part.bytes + 1, part.len - 1);
}

/* Elements of the array whose head is at bytes, and the length of that head; 0 for no array. */
static size_t array_head(const uint8_t *bytes, size_t len, size_t *head)
{
    *head = 1;
    if (len > 0 && (bytes[0] & 0xf0) == 0x90) {
        return bytes[0] & 0x0fu;
    }
    if (len == 0 || (bytes[0] & 0xfe) != 0xdc) {
        return 0;
    }
    size_t width = bytes[0] == 0xdc ? 2 : 4;
    *head = 1 + width;
    return big_endian(bytes + 1, width);
}

static bool is_array(struct part part)
{
    return part.len > 0 && ((part.bytes[0] & 0xf0) == 0x90 || (part.bytes[0] & 0xfe) == 0xdc);
}

/* Length of the head of a str or bin; 0 for anything else. */
static size_t text_head(struct part part)
{
    if (part.len == 0) {
        return 0;
    }
    switch (part.bytes[0]) {
    case 0xc4: /* bin 8 */
    case 0xd9: /* str 8 */
        return 2;
    case 0xc5:
    case 0xda:
        return 3;
    case 0xc6:
    case 0xdb:
        return 5;
    default:
        return (part.bytes[0] & 0xe0) == 0xa0 ? 1 : 0;
    }
}

static bool read_method(struct part part, struct frame *frame, struct whorl_fault *fault)
{
    size_t head = text_head(part);
    if (head == 0) {
        return whorl_fail(fault, "method", "must be a str or bin");
    }
    frame->method = (const char *)part.bytes + head;
    frame->method_len = part.len - head;
    if (frame->method_len > FRAME_METHOD_MAX) {
        return whorl_fail(fault, "method", "must have at most %u bytes, not %zu", FRAME_METHOD_MAX,
                          frame->method_len);
    }
    if (!whorl_text_is_clean(frame->method, frame->method_len)) {
        return whorl_fail(fault, "method", "must be UTF-8 without control characters");
    }
    return true;
}

static bool read_params(struct part part, struct frame *frame, struct whorl_fault *fault)
{
    if (!is_array(part)) {
        return whorl_fail(fault, "params", "must be an array");
    }
    frame->params = part.bytes;
    frame->params_len = part.len;
    return true;
}

bool frame_read(const uint8_t *bytes, size_t len, struct frame *frame, struct whorl_fault *fault)
{
    *frame = (struct frame){0};
    size_t head = 0;
    size_t count = array_head(bytes, len, &head);
    const uint8_t *at = bytes + head;
    const uint8_t *end = bytes + len;
    uint64_t type = count == 3 || count == 4 ? read_type(next_part(&at, end)) : UINT64_MAX;
    if (!(count == 4 && type <= FRAME_RESPONSE) && !(count == 3 && type == FRAME_NOTIFICATION)) {
        return whorl_fail(fault, "",
                          "the message is neither [0, id, method, params] nor "
                          "[1, id, error, result] nor [2, method, params]");
    }
    frame->type = (enum frame_type)type;
    if (frame->type != FRAME_NOTIFICATION) {
        struct part id = next_part(&at, end);
        if (!is_integer(id)) {
            return whorl_fail(fault, "id", "must be an integer");
        }
        frame->id = id.bytes;
        frame->id_len = id.len;
    }
    if (frame->type == FRAME_RESPONSE) {
        return true;
    }
    return read_method(next_part(&at, end), frame, fault) &&
           read_params((struct part){at, (size_t)(end - at)}, frame, fault);
}

/* --- The stream ----------------------------------------------------------------------------- */

/* What the bytes at hand hold next: a whole message of *used bytes, taken apart, or less. */
static enum whorl_msg_walk next_frame(struct frame_reader *reader, const uint8_t *bytes, size_t len,
                                      size_t max, size_t *used, struct frame *frame,
                                      struct whorl_fault *fault)
{
    enum whorl_msg_walk got = whorl_msg_walk_on(&reader->walker, bytes, len, max, used, fault);
    if (got == WHORL_MSG_WHOLE) {
        reader->walker = (struct whorl_msg_walker){0};
        if (!frame_read(bytes, *used, frame, fault)) {
            return WHORL_MSG_BAD;
        }
    }
    return got;
}

/* Completes the message that has begun with no more bytes than it needs; what is left of them stays
 * in *bytes. */
static enum frame_end feed_rest(struct frame_reader *reader, const uint8_t **bytes, size_t *len,
                                size_t max, bool (*take)(void *ctx, const struct frame *frame),
                                void *ctx, struct whorl_fault *fault)
{
    struct whorl_secret *rest = &reader->rest;
    struct frame frame;
    size_t used = 0;
    for (;;) {
        switch (next_frame(reader, rest->bytes, rest->len, max, &used, &frame, fault)) {
        case WHORL_MSG_BAD:
            return FRAME_BAD;
        case WHORL_MSG_WHOLE: {
            bool go_on = take(ctx, &frame);
            whorl_secret_consume(rest, rest->len);
            if (rest->cap > KEEP) {
                whorl_secret_release(rest);
            }
            return go_on ? FRAME_FED : FRAME_STOPPED;
        }
        case WHORL_MSG_MORE:
            break;
        }
        if (*len == 0) {
            return FRAME_FED;
        }
        size_t n = used - rest->len < *len ? used - rest->len : *len;
        if (whorl_secret_write(rest, (const char *)*bytes, n) != 0) {
            return FRAME_NO_MEMORY;
        }
        *bytes += n;
        *len -= n;
    }
}

enum frame_end frame_feed(struct frame_reader *reader, const uint8_t *bytes, size_t len, size_t max,
                          bool (*take)(void *ctx, const struct frame *frame), void *ctx,
                          struct whorl_fault *fault)
{
    if (reader->rest.len > 0) {
        enum frame_end end = feed_rest(reader, &bytes, &len, max, take, ctx, fault);
        if (end != FRAME_FED) {
            return end;
        }
    }
    while (len > 0) {
        struct frame frame;
        size_t used = 0;
        switch (next_frame(reader, bytes, len, max, &used, &frame, fault)) {
        case WHORL_MSG_BAD:
            return FRAME_BAD;
        case WHORL_MSG_MORE:
            return whorl_secret_write(&reader->rest, (const char *)bytes, len) == 0
                       ? FRAME_FED
                       : FRAME_NO_MEMORY;
        case WHORL_MSG_WHOLE:
            break;
        }
        if (!take(ctx, &frame)) {
            return FRAME_STOPPED;
        }
        bytes += used;
        len -= used;
    }
    return FRAME_FED;
}

bool frame_reader_waits(const struct frame_reader *reader)
{
    return reader->rest.len > 0;
}

void frame_reader_trim(struct frame_reader *reader)
{
    if (reader->rest.len == 0) {
        whorl_secret_release(&reader->rest);
    }
}

void frame_reader_release(struct frame_reader *reader)
{
    whorl_secret_release(&reader->rest);
    reader->walker = (struct whorl_msg_walker){0};
}

/* --- Writing -------------------------------------------------------------------------------- */

size_t frame_error_head(uint8_t to[FRAME_HEAD_MAX], const uint8_t *id, size_t id_len)
{
    to[0] = 0x94;
    to[1] = FRAME_RESPONSE;
    memcpy(to + 2, id, id_len);
    return 2 + id_len;
}

size_t frame_result_head(uint8_t to[FRAME_HEAD_MAX], const uint8_t *id, size_t id_len)
{
    size_t len = frame_error_head(to, id, id_len);
    to[len] = 0xc0; /* no error */
    return len + 1;
}

size_t frame_notification_head(uint8_t to[FRAME_HEAD_MAX], const char *method, size_t method_len)
{
    size_t len = 0;
    to[len++] = 0x93;
    to[len++] = FRAME_NOTIFICATION;
    to[len++] = 0xd9; /* str 8 */
    to[len++] = (uint8_t)method_len;
    memcpy(to + len, method, method_len);
    len += method_len;
    to[len++] = 0x91;
    return len;
}
