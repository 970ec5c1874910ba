/* Requests that may be repeated: those in flight, and answers kept for a while. Bounded; what is
 * evicted is wiped. Loop thread only. */
#ifndef CORE_REPEAT_H
#define CORE_REPEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/identify/stamp.h"

#define REPEAT_BYTES_MAX (64u << 20) /* of all kept answers */
#define REPEAT_ANSWERS_MAX 65536u

struct repeats;

/* How a request ended. */
struct repeat_reply {
    uint8_t *result; /* packed; NULL: an error */
    size_t len;
    char code[32], where[96], message[256];
};

struct repeat {
    uint8_t name[32];   /* keyed SHA-256 of device and request id */
    uint8_t digest[32]; /* keyed SHA-256 of the content (decode_digest) */
    char transaction[STAMP_UUID_LEN + 1];
    char *rights; /* who may have the reply; for the caller to judge */
    void *flow;   /* in flight; NULL: the reply is kept */
    struct repeat_reply reply;
    uint64_t kept_since; /* ms, flow_now's clock */
    struct repeat *chain, *newer;
    uint32_t cell; /* that its request id falls into */
};

/* key: 32 random bytes of this process, so that nobody outside can choose where entries fall. */
struct repeats *repeats_new(const uint8_t key[32]);
void repeats_free(struct repeats *repeats); /* wipes */

/* The entry of this device's request; NULL if there is none. */
struct repeat *repeat_find(struct repeats *repeats, const char *device, const char *request_id);

/* Whether some device's entry may have this request id; false: none has. Costs a few nanoseconds
 * where finding an entry costs a digest. */
bool repeats_may_hold(const struct repeats *repeats, const char *request_id, size_t len);

/* A new entry, in flight, which takes over rights (malloc). NULL: out of memory. */
struct repeat *repeat_add(struct repeats *repeats, const char *device, const char *request_id,
                          const uint8_t digest[32], const char *transaction, char *rights,
                          void *flow);

/* The flow has ended: keeps its reply, whose result now belongs to the entry, and evicts the oldest
 * past the bounds. May evict this one: don't touch it afterwards. */
void repeat_keep(struct repeats *repeats, struct repeat *entry, struct repeat_reply *reply,
                 uint64_t now);

/* Evicts what has been kept for that long, under whatever configuration it came to be kept. */
void repeats_expire(struct repeats *repeats, uint64_t now, uint64_t keep_ms);

/* How many answers are kept, and their bytes. */
void repeats_count(const struct repeats *repeats, size_t *answers, size_t *bytes);

/* Gives memory that many answers took back to the system, once most of them are gone: else what a
 * busy minute took would be held for good. To be called now and then. */
void repeats_trim(struct repeats *repeats);

#endif
