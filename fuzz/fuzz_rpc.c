/* The way from a connection's bytes to requests, without the socket. The first byte says how the
 * rest is cut into reads; however that is, the same messages must come out. */
#include <stdlib.h>
#include <string.h>

#include "core/net/frame.h"
#include "core/packed/peek.h"
#include "fuzz.h"

#define MAX (256u << 10)

struct heard {
    msgpack_zone *zone;
    uint64_t digest; /* of all that was heard, in order */
    unsigned requests;
};

static void mix(struct heard *heard, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < len; i++) {
        heard->digest = (heard->digest ^ at[i]) * UINT64_C(1099511628211); /* FNV-1a */
    }
}

/* What is seen of the parameters where they lie is what their tree says. */
static void peek_at(const struct frame *frame, const msgpack_object *params)
{
    static const char *const keys[] = {"request_id", "samples"};
    const uint8_t *end = frame->params + frame->params_len;
    struct peek found[2];
    struct peek list = peek_read(frame->params, end);
    FUZZ_CHECK(peek_skip(frame->params, end) == end);
    FUZZ_CHECK(list.kind == PEEK_ARRAY && list.count == params->via.array.size);
    if (list.count == 0) {
        return;
    }
    const msgpack_object *first = &params->via.array.ptr[0];
    struct peek argument = peek_read(list.body, list.end);
    peek_find(&argument, keys, 2, found);
    for (size_t i = 0; i < 2; i++) {
        const msgpack_object *value = whorl_map_get(first, keys[i]);
        FUZZ_CHECK((value != NULL) == (found[i].kind != PEEK_NONE));
        FUZZ_CHECK(value == NULL ||
                   (value->type == MSGPACK_OBJECT_STR) == (found[i].kind == PEEK_STR));
    }
}

static bool hear(void *ctx, const struct frame *frame)
{
    struct heard *heard = ctx;
    mix(heard, &frame->type, sizeof frame->type);
    mix(heard, frame->id, frame->id_len);
    if (frame->type == FRAME_RESPONSE) {
        return true;
    }
    FUZZ_CHECK(frame->method_len <= FRAME_METHOD_MAX);
    FUZZ_CHECK(memchr(frame->method, '\0', frame->method_len) == NULL);
    mix(heard, frame->method, frame->method_len);
    mix(heard, frame->params, frame->params_len);
    msgpack_object params;
    FUZZ_CHECK(whorl_msg_build(frame->params, frame->params_len, heard->zone, &params, NULL));
    FUZZ_CHECK(params.type == MSGPACK_OBJECT_ARRAY);
    peek_at(frame, &params);
    msgpack_zone_clear(heard->zone);
    if (frame->type == FRAME_REQUEST) {
        uint8_t head[FRAME_REPLY_HEAD];
        FUZZ_CHECK(frame->id_len >= 1 && frame->id_len <= FRAME_ID_MAX);
        FUZZ_CHECK(frame_result_head(head, frame->id, frame->id_len) <= sizeof head);
        heard->requests++;
    }
    return true;
}

static enum frame_end feed(struct heard *heard, const uint8_t *bytes, size_t len, size_t piece)
{
    struct frame_reader reader = {0};
    struct whorl_fault fault = {0};
    enum frame_end end = FRAME_FED;
    while (len > 0 && end == FRAME_FED) {
        size_t n = piece < len ? piece : len;
        /* A block of its own, so that a sanitizer sees what reads past it. */
        uint8_t *block = malloc(n);
        memcpy(block, bytes, n);
        end = frame_feed(&reader, block, n, MAX, hear, heard, &fault);
        free(block);
        bytes += n;
        len -= n;
        FUZZ_CHECK(reader.rest.len <= MAX);
    }
    FUZZ_CHECK(end != FRAME_BAD || fault.text[0] != '\0');
    frame_reader_release(&reader);
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len == 0) {
        return 0;
    }
    struct heard whole = {.zone = msgpack_zone_new(2048)}, pieces = {.zone = whole.zone};
    enum frame_end one = feed(&whole, bytes + 1, len - 1, len);
    enum frame_end other = feed(&pieces, bytes + 1, len - 1, 1u + bytes[0]);
    /* Only when a bad frame is noticed may differ: in pieces, it may be before its last byte. */
    FUZZ_CHECK(one == other);
    FUZZ_CHECK(whole.digest == pieces.digest && whole.requests == pieces.requests);
    msgpack_zone_free(whole.zone);
    return 0;
}
