/* What is remembered of each device, or of each officer, to bound what they may take. */
#ifndef CORE_LIMIT_QUOTA_H
#define CORE_LIMIT_QUOTA_H

#include <stddef.h>
#include <stdint.h>

#include "core/limit/bucket.h"

#define QUOTA_KEY_MAX 64u /* bytes */

struct quota {
    uint8_t key[QUOTA_KEY_MAX];
    size_t key_len;
    struct bucket calls;
    unsigned holders; /* e.g. open connections; while there are any it is not forgotten */
    struct quota *next;
};

/* All zero is valid and empty. */
struct quotas {
    void *tree; /* tsearch(3) */
    struct quota *first;
    size_t count;
};

/* The quota of a key of at most QUOTA_KEY_MAX bytes, made when there is none. NULL: out of memory.
 */
struct quota *quotas_get(struct quotas *quotas, const void *key, size_t key_len);

/* Forgets those that nobody holds and whose bucket is full, so that the table is no larger than
 * what was lately used. */
void quotas_sweep(struct quotas *quotas, const struct bucket_limits *limits, uint64_t now);

/* Forgets all. */
void quotas_release(struct quotas *quotas);

#endif
