/* Reading and writing the messages that cross the wire and the plugin ABI: msgpack, but never
 * trusted.
 *
 * msgpack-c believes the counts that a header claims (5 bytes can make it reserve gigabytes), so
 * bytes are walked here first. Then msgpack-c builds the object tree, whose strings and binaries
 * point into the bytes that were read: keep those alive. The pointer of an empty one may be NULL.
 */
#ifndef WHORL_MSG_H
#define WHORL_MSG_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/api.h"
#include "whorl/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WHORL_MSG_MAX_DEPTH 32u      /* arrays and maps inside one another */
#define WHORL_MSG_MAX_OBJECTS 65536u /* objects in one message */

enum whorl_msg_walk {
    WHORL_MSG_BAD = -1,  /* can never become a message: fault says why, at which byte */
    WHORL_MSG_MORE = 0,  /* a message's beginning: more bytes are needed */
    WHORL_MSG_WHOLE = 1, /* *used bytes are one whole message */
};

/* Walks one object at the head of bytes without allocating. max: the largest size a message may
 * have; one that announces more is BAD at once. *used: the message's size when WHOLE; when MORE,
 * a size below which it is pointless to ask again (lets the caller avoid quadratic re-walking).
 * Pure function. */
WHORL_API enum whorl_msg_walk whorl_msg_walk(const uint8_t *bytes, size_t len, size_t max,
                                             size_t *used, struct whorl_fault *fault);

/* The same walk in steps, for a message that arrives in pieces: each byte is looked at once,
 * however small the pieces. All zero is the start of a message. */
struct whorl_msg_walker {
    size_t at;        /* whole objects end here */
    uint32_t objects; /* so many of them */
    uint32_t need;    /* objects that must still follow for those that were opened */
    uint32_t depth;
    uint32_t left[WHORL_MSG_MAX_DEPTH]; /* objects still to come in each open array or map */
};

/* Ready for the next message. */
static inline void whorl_msg_walker_reset(struct whorl_msg_walker *walker)
{
    walker->at = 0;
    walker->objects = walker->need = walker->depth = 0;
}

/* Goes on where the last step stopped; bytes are the message from its first byte on, at least as
 * many as then. Results as whorl_msg_walk; after WHOLE or BAD reset the walker. */
WHORL_API enum whorl_msg_walk whorl_msg_walk_on(struct whorl_msg_walker *walker,
                                                const uint8_t *bytes, size_t len, size_t max,
                                                size_t *used, struct whorl_fault *fault);

/* Builds the tree of exactly one object of len bytes that a walk has found WHOLE, in a zone that
 * the caller owns (and may msgpack_zone_clear for the next one). Strings and binaries point into
 * bytes. false with *fault when out of memory. */
WHORL_API bool whorl_msg_build(const uint8_t *bytes, size_t len, msgpack_zone *zone,
                               msgpack_object *root, struct whorl_fault *fault);

/* A parsed message. Release with whorl_msg_release; the bytes must outlive it. */
struct whorl_msg {
    msgpack_zone *zone;
    msgpack_object root;
};

/* Walks and parses exactly one object of len bytes. false with *fault set when malformed, when
 * bytes are left over, or out of memory. */
WHORL_API bool whorl_msg_parse(const uint8_t *bytes, size_t len, struct whorl_msg *out,
                               struct whorl_fault *fault);
WHORL_API void whorl_msg_release(struct whorl_msg *msg);

enum whorl_field_type {
    WHORL_FIELD_STR,  /* valid UTF-8 without control characters; min..max bytes */
    WHORL_FIELD_BIN,  /* min..max bytes; a str counts too, and via.bin reads either */
    WHORL_FIELD_INT,  /* min..max */
    WHORL_FIELD_REAL, /* integers count too; finite; min..max */
    WHORL_FIELD_BOOL,
    WHORL_FIELD_MAP,  /* min..max pairs */
    WHORL_FIELD_ARRAY /* min..max elements */
};

#define WHORL_FIELDS_MAX 64u /* fields in one table */

/* One field that a map may hold. */
struct whorl_field {
    const char *name;
    enum whorl_field_type type;
    bool required;
    double min, max; /* inclusive; what they bound depends on the type */
    const msgpack_object
        *value; /* set by whorl_fields_read; NULL when absent (nil counts as absent) */
};

/* Sorts a map's pairs into fields. An unknown, repeated, missing or ill-typed field gives false,
 * and fault->where is its full name, e.g. "samples[1].position". path: the map's own name, "" for
 * the outermost. */
WHORL_API bool whorl_fields_read(const msgpack_object *map, const char *path,
                                 struct whorl_field *fields, size_t count,
                                 struct whorl_fault *fault);

/* The same for a message of a newer peer: unknown fields are ignored. */
WHORL_API bool whorl_fields_read_lenient(const msgpack_object *map, const char *path,
                                         struct whorl_field *fields, size_t count,
                                         struct whorl_fault *fault);

/* Whether len bytes are UTF-8 (RFC 3629) without control characters (U+0000–1F, U+007F–9F). */
WHORL_API bool whorl_text_is_clean(const char *text, size_t len);

/* The value under key, or NULL; no type is checked. map may be of any type. */
WHORL_API const msgpack_object *whorl_map_get(const msgpack_object *map, const char *key);

/* Whether a str object has exactly this text. NULL object: false. */
WHORL_API bool whorl_str_is(const msgpack_object *object, const char *text);

/* Copies a str object into a NUL-terminated buffer; NULL or longer than cap - 1: false and "". */
WHORL_API bool whorl_str_copy(const msgpack_object *object, char *text, size_t cap);

/* Puts "where" and a printf-formatted text into fault; returns false, so that one can
 * `return whorl_fail(...)`. fault may be NULL. */
WHORL_API bool whorl_fail(struct whorl_fault *fault, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What compilers then know, too: no branch is made for a failure that succeeds. */
#define whorl_fail(...) __extension__({ (void)(whorl_fail)(__VA_ARGS__), false; })

/* Writers: pack the key, then the value. text NULL packs nil. */
WHORL_API void whorl_put_str(msgpack_packer *pk, const char *key, const char *text);
WHORL_API void whorl_put_int(msgpack_packer *pk, const char *key, int64_t value);
WHORL_API void whorl_put_real(msgpack_packer *pk, const char *key, double value);
WHORL_API void whorl_put_bool(msgpack_packer *pk, const char *key, bool value);
WHORL_API void whorl_put_bin(msgpack_packer *pk, const char *key, const void *bytes, size_t len);
WHORL_API void whorl_put_object(msgpack_packer *pk, const char *key, const msgpack_object *value);
/* The key alone; the caller packs the value. */
WHORL_API void whorl_put_key(msgpack_packer *pk, const char *key);

#ifdef __cplusplus
}
#endif

#endif
