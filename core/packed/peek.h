/* Looking into a packed message where it lies, for whoever needs a word or two of it and no tree.
 * The message must be one that whorl_msg_walk has found whole; bytes are bounded all the same. Pure
 * functions. */
#ifndef CORE_PACKED_PEEK_H
#define CORE_PACKED_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum peek_kind { PEEK_NONE, PEEK_STR, PEEK_ARRAY, PEEK_MAP, PEEK_OTHER };

struct peek {
    enum peek_kind kind;
    const uint8_t *body; /* a str's bytes; the first object of an array, the first key of a map */
    uint32_t count;      /* bytes of a str, objects of an array, pairs of a map */
    const uint8_t *end;  /* of the message */
};

/* The object at `at`; PEEK_NONE: none is there. */
struct peek peek_read(const uint8_t *at, const uint8_t *end);
/* What follows the object, and all that is in it; NULL: no whole object is there. */
const uint8_t *peek_skip(const uint8_t *at, const uint8_t *end);
/* The values of these keys, each of the first pair with it, in values; PEEK_NONE where there is no
 * such pair, or the object is no map. */
void peek_find(const struct peek *map, const char *const *keys, size_t count, struct peek *values);
bool peek_is(const struct peek *object, const char *text);

#endif
