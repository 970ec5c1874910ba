#include "whorl/answer.h"

#include <stdlib.h>
#include <string.h>

#include "whorl/msg.h"

enum {
    REASON_MAX = 250,
    FIRST = 1000, /* bytes; msgpack-c would begin with 8 KB, which is far more to ask of malloc */
};

static int append(void *data, const char *bytes, size_t len)
{
    struct whorl_answer *answer = data;
    msgpack_sbuffer *to = &answer->bytes;
    if (to->alloc == 0) {
        to->data = malloc(FIRST);
        to->alloc = to->data != NULL ? FIRST : 0;
        answer->failed = answer->failed || to->data == NULL;
    }
    if (answer->failed || msgpack_sbuffer_write(&answer->bytes, bytes, len) != 0) {
        answer->failed = true;
        return -1;
    }
    return 0;
}

void whorl_answer_begin(struct whorl_answer *answer)
{
    answer->failed = false;
    msgpack_sbuffer_init(&answer->bytes);
    msgpack_packer_init(&answer->pk, answer, append);
}

void whorl_answer_again(struct whorl_answer *answer)
{
    msgpack_sbuffer_clear(&answer->bytes);
    answer->failed = false;
}

void whorl_answer_append(struct whorl_answer *answer, struct whorl_answer *part)
{
    answer->failed = answer->failed || part->failed;
    (void)append(answer, part->bytes.data, part->bytes.size);
    whorl_answer_drop(part);
}

void whorl_answer_drop(struct whorl_answer *answer)
{
    msgpack_sbuffer_destroy(&answer->bytes);
}

void whorl_answer_give(struct whorl_answer *answer, const struct whorl_host *host, uint64_t call,
                       enum whorl_role role)
{
    if (answer->failed) {
        whorl_answer_refuse(host, call, role, "out of memory");
    } else {
        host->complete(host, call, (const uint8_t *)answer->bytes.data, answer->bytes.size);
    }
    whorl_answer_again(answer);
}

/* A fixed place for a short answer, with the shape of a packer's target. */
struct small {
    size_t len;
    uint8_t bytes[REASON_MAX + 64];
};

static int small_write(void *data, const char *bytes, size_t len)
{
    struct small *small = data;
    if (len > sizeof small->bytes - small->len) {
        return -1;
    }
    memcpy(small->bytes + small->len, bytes, len);
    small->len += len;
    return 0;
}

/* As much of a text as fits without cutting a character in two. */
static size_t clipped(const char *text)
{
    size_t len = strnlen(text, REASON_MAX + 1);
    if (len > REASON_MAX) {
        len = REASON_MAX;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    return len;
}

void whorl_answer_refuse(const struct whorl_host *host, uint64_t call, enum whorl_role role,
                         const char *reason)
{
    struct small small = {.len = 0};
    msgpack_packer pk;
    size_t len = clipped(reason);
    msgpack_packer_init(&pk, &small, small_write);
    msgpack_pack_map(&pk, 2);
    if (role == WHORL_ROLE_SINK) {
        whorl_put_bool(&pk, "stored", false);
    } else {
        whorl_put_str(&pk, "class", "unavailable");
    }
    whorl_put_key(&pk, "reason");
    msgpack_pack_str(&pk, len);
    msgpack_pack_str_body(&pk, reason, len);
    host->complete(host, call, small.bytes, small.len);
}
