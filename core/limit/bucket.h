/* A token bucket: a rate with room for bursts. The clock comes from outside. */
#ifndef CORE_LIMIT_BUCKET_H
#define CORE_LIMIT_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket_limits {
    double rate;    /* tokens a second; 0: no limit */
    unsigned burst; /* tokens that it holds when full, at least 1 */
};

/* All zero is a full bucket of any size. */
struct bucket {
    double spent; /* tokens that are missing from a full one */
    uint64_t at;  /* ms */
};

/* Takes a token at `now` (ms, of a clock that never jumps). false: there is none, and *wait_ms says
 * in how many milliseconds there will be one. */
bool bucket_take(struct bucket *bucket, const struct bucket_limits *limits, uint64_t now,
                 unsigned *wait_ms);

/* Whether it is full again, so that nothing need be remembered of it. */
bool bucket_is_full(const struct bucket *bucket, const struct bucket_limits *limits, uint64_t now);

#endif
