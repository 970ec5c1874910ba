/* The forms are those of the MessagePack specification. */
#include "core/packed/peek.h"

#include <string.h>

/* How an object with first byte c0 to df goes on: a length field of `width` bytes, then `fixed`
 * bytes, and what the length says. All others carry their length in themselves. */
static const struct form {
    uint8_t kind, width, fixed;
} forms[32] = {
    {PEEK_OTHER, 0, 0}, {PEEK_NONE, 0, 0},   {PEEK_OTHER, 0, 0}, {PEEK_OTHER, 0, 0},
    {PEEK_OTHER, 1, 0}, {PEEK_OTHER, 2, 0},  {PEEK_OTHER, 4, 0}, /* bin */
    {PEEK_OTHER, 1, 1}, {PEEK_OTHER, 2, 1},  {PEEK_OTHER, 4, 1}, /* ext */
    {PEEK_OTHER, 0, 4}, {PEEK_OTHER, 0, 8},                      /* float */
    {PEEK_OTHER, 0, 1}, {PEEK_OTHER, 0, 2},  {PEEK_OTHER, 0, 4}, {PEEK_OTHER, 0, 8},
    {PEEK_OTHER, 0, 1}, {PEEK_OTHER, 0, 2},  {PEEK_OTHER, 0, 4}, {PEEK_OTHER, 0, 8},
    {PEEK_OTHER, 0, 2}, {PEEK_OTHER, 0, 3},  {PEEK_OTHER, 0, 5}, /* fixext */
    {PEEK_OTHER, 0, 9}, {PEEK_OTHER, 0, 17}, {PEEK_STR, 1, 0},   {PEEK_STR, 2, 0},
    {PEEK_STR, 4, 0},   {PEEK_ARRAY, 2, 0},  {PEEK_ARRAY, 4, 0}, {PEEK_MAP, 2, 0},
    {PEEK_MAP, 4, 0},
};

/* An object's head, read. */
struct head {
    enum peek_kind kind;
    uint32_t count;  /* as peek.count */
    size_t len;      /* bytes before the body */
    size_t inside;   /* bytes of the body, without contained objects */
    uint64_t within; /* objects that it contains */
};

static struct head short_head(uint8_t first)
{
    if (first < 0x80 || first >= 0xe0) {
        return (struct head){PEEK_OTHER, 0, 1, 0, 0};
    }
    if (first < 0x90) {
        return (struct head){PEEK_MAP, first & 0x0fu, 1, 0, UINT64_C(2) * (first & 0x0fu)};
    }
    return first < 0xa0 ? (struct head){PEEK_ARRAY, first & 0x0fu, 1, 0, first & 0x0fu}
                        : (struct head){PEEK_STR, first & 0x1fu, 1, first & 0x1fu, 0};
}

/* PEEK_NONE: no object begins there, or it is cut short. */
static inline struct head head_at(const uint8_t *at, const uint8_t *end)
{
    const struct head none = {PEEK_NONE, 0, 0, 0, 0};
    if (at >= end) {
        return none;
    }
    size_t left = (size_t)(end - at);
    struct head head = {.len = 1};
    if (*at < 0xc0 || *at >= 0xe0) {
        head = short_head(*at);
    } else {
        struct form form = forms[*at - 0xc0];
        head = (struct head){form.kind, 0, 1u + form.width, form.fixed, 0};
        for (size_t i = 1; i <= form.width && i < left; i++) {
            head.count = head.count << 8 | at[i];
        }
        head.inside += form.kind == PEEK_STR || form.kind == PEEK_OTHER ? head.count : 0;
        head.within = form.kind == PEEK_ARRAY ? head.count
                      : form.kind == PEEK_MAP ? 2 * (uint64_t)head.count
                                              : 0;
    }
    return head.len <= left && head.inside <= left - head.len ? head : none;
}

struct peek peek_read(const uint8_t *at, const uint8_t *end)
{
    struct head head = head_at(at, end);
    return (struct peek){head.kind, at + head.len, head.count, end};
}

const uint8_t *peek_skip(const uint8_t *at, const uint8_t *end)
{
    for (uint64_t need = 1; need > 0; need--) {
        struct head head = head_at(at, end);
        if (head.kind == PEEK_NONE) {
            return NULL;
        }
        at += head.len + head.inside;
        need += head.within;
    }
    return at;
}

bool peek_is(const struct peek *object, const char *text)
{
    uint32_t at = 0;
    if (object->kind != PEEK_STR) {
        return false;
    }
    /* Most differ in their first byte: a call for each would take longer. */
    while (at < object->count && text[at] != '\0' && object->body[at] == (uint8_t)text[at]) {
        at++;
    }
    return at == object->count && text[at] == '\0';
}

void peek_find(const struct peek *map, const char *const *keys, size_t count, struct peek *values)
{
    const uint8_t *at = map->body, *end = map->end;
    uint32_t pairs = map->kind == PEEK_MAP ? map->count : 0;
    size_t left = count;
    memset(values, 0, count * sizeof *values);
    for (; pairs > 0 && left > 0 && at != NULL; pairs--) {
        struct peek key = peek_read(at, end);
        at = peek_skip(at, end);
        for (size_t i = 0; at != NULL && key.kind == PEEK_STR && i < count; i++) {
            if (values[i].kind == PEEK_NONE && peek_is(&key, keys[i])) {
                values[i] = peek_read(at, end);
                left--;
                break;
            }
        }
        at = at != NULL ? peek_skip(at, end) : NULL;
    }
}
