/* The message forms are those of the msgpack-RPC specification: [0, id, method, params],
 * [1, id, error, result], [2, method, params]. */
#include "core/net/frame.h"

#include <string.h>

/* A partial message up to this size keeps its memory until the next trim, so that a busy
 * connection need not map and lock pages for every read. */
#define KEEP (64u << 10)

/* What of a message has not been read yet. It has been walked: heads and lengths are right. */
struct cursor {
    const uint8_t *at, *end;
};

static uint64_t big_endian(const uint8_t *bytes, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* The length of the integer that begins with this byte; 0 if none does. */
static size_t integer_len(uint8_t first)
{
    if (first < 0x80 || first >= 0xe0) {
        return 1;
    }
    /* cc to cf and d0 to d3: 1, 2, 4 or 8 bytes follow. */
    return first >= 0xcc && first <= 0xd3 ? 1 + ((size_t)1 << (first & 3)) : 0;
}

/* Length of the head of the str or bin that begins with this byte; 0 if none does. */
static size_t text_head(uint8_t first)
{
    switch (first) {
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
        return (first & 0xe0) == 0xa0 ? 1 : 0;
    }
}

static bool is_array(uint8_t first)
{
    return (first & 0xf0) == 0x90 || (first & 0xfe) == 0xdc;
}

/* Steps over the head of the array that is the message; its count, or 0 for no array. */
static uint64_t read_count(struct cursor *cursor)
{
    uint8_t first = *cursor->at++;
    if ((first & 0xf0) == 0x90) {
        return first & 0x0fu;
    }
    if (!is_array(first)) {
        return 0;
    }
    size_t width = first == 0xdc ? 2 : 4;
    cursor->at += width;
    return big_endian(cursor->at - width, width);
}

/* The message's type; anything that is none is not below 3. */
static uint64_t read_type(struct cursor *cursor)
{
    uint8_t first = *cursor->at;
    size_t len = integer_len(first);
    cursor->at += len;
    if (len == 0) {
        return UINT64_MAX;
    }
    return len == 1 ? first : big_endian(cursor->at - len + 1, len - 1);
}

static bool read_id(struct cursor *cursor, struct frame *frame, struct whorl_fault *fault)
{
    frame->id = cursor->at;
    frame->id_len = integer_len(*cursor->at);
    cursor->at += frame->id_len;
    return frame->id_len > 0 || whorl_fail(fault, "id", "must be an integer");
}

static bool read_method(struct cursor *cursor, struct frame *frame, struct whorl_fault *fault)
{
    uint8_t first = *cursor->at;
    size_t head = text_head(first);
    if (head == 0) {
        return whorl_fail(fault, "method", "must be a str or bin");
    }
    frame->method_len = head == 1 ? first & 0x1fu : big_endian(cursor->at + 1, head - 1);
    frame->method = (const char *)cursor->at + head;
    cursor->at += head + frame->method_len;
    if (frame->method_len > FRAME_METHOD_MAX) {
        return whorl_fail(fault, "method", "must have at most %u bytes, not %zu", FRAME_METHOD_MAX,
                          frame->method_len);
    }
    if (!whorl_text_is_clean(frame->method, frame->method_len)) {
        return whorl_fail(fault, "method", "must be UTF-8 without control characters");
    }
    return true;
}

static bool read_params(const struct cursor *cursor, struct frame *frame, struct whorl_fault *fault)
{
    frame->params = cursor->at;
    frame->params_len = (size_t)(cursor->end - cursor->at);
    return is_array(*cursor->at) || whorl_fail(fault, "params", "must be an array");
}

bool frame_read(const uint8_t *bytes, size_t len, struct frame *frame, struct whorl_fault *fault)
{
    *frame = (struct frame){0};
    struct cursor cursor = {bytes, bytes + len};
    uint64_t count = read_count(&cursor);
    uint64_t type = count == 3 || count == 4 ? read_type(&cursor) : UINT64_MAX;
    if (!(count == 4 && type <= FRAME_RESPONSE) && !(count == 3 && type == FRAME_NOTIFICATION)) {
        return whorl_fail(fault, "",
                          "the message is neither [0, id, method, params] nor "
                          "[1, id, error, result] nor [2, method, params]");
    }
    frame->type = (enum frame_type)type;
    if (frame->type != FRAME_NOTIFICATION && !read_id(&cursor, frame, fault)) {
        return false;
    }
    if (frame->type == FRAME_RESPONSE) {
        return true;
    }
    return read_method(&cursor, frame, fault) && read_params(&cursor, frame, fault);
}

/* --- The stream ----------------------------------------------------------------------------- */

/* What the bytes at hand hold next: a whole message of *used bytes, taken apart, or less. */
static enum whorl_msg_walk next_frame(struct frame_reader *reader, const uint8_t *bytes, size_t len,
                                      size_t max, size_t *used, struct frame *frame,
                                      struct whorl_fault *fault)
{
    enum whorl_msg_walk got = whorl_msg_walk_on(&reader->walker, bytes, len, max, used, fault);
    if (got == WHORL_MSG_WHOLE) {
        whorl_msg_walker_reset(&reader->walker);
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
        enum whorl_msg_walk got =
            next_frame(reader, rest->bytes, rest->len, max, &used, &frame, fault);
        if (got == WHORL_MSG_BAD) {
            return FRAME_BAD;
        }
        if (got == WHORL_MSG_WHOLE) {
            bool go_on = take(ctx, &frame);
            whorl_secret_consume(rest, rest->len);
            if (rest->cap > KEEP) {
                whorl_secret_release(rest);
            }
            return go_on ? FRAME_FED : FRAME_STOPPED;
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
        enum whorl_msg_walk got = next_frame(reader, bytes, len, max, &used, &frame, fault);
        if (got == WHORL_MSG_BAD) {
            return FRAME_BAD;
        }
        if (got == WHORL_MSG_MORE) {
            return whorl_secret_write(&reader->rest, (const char *)bytes, len) == 0
                       ? FRAME_FED
                       : FRAME_NO_MEMORY;
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
    whorl_msg_walker_reset(&reader->walker);
}

/* --- Writing -------------------------------------------------------------------------------- */

size_t frame_error_head(uint8_t *to, const uint8_t *id, size_t id_len)
{
    to[0] = 0x94;
    to[1] = FRAME_RESPONSE;
    memcpy(to + 2, id, id_len);
    return 2 + id_len;
}

size_t frame_result_head(uint8_t *to, const uint8_t *id, size_t id_len)
{
    size_t len = frame_error_head(to, id, id_len);
    to[len] = 0xc0; /* no error */
    return len + 1;
}

size_t frame_notification_head(uint8_t to[FRAME_NOTIFICATION_HEAD], const char *method,
                               size_t method_len)
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
