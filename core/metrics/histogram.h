/* Counts of durations in fixed buckets, as Prometheus wants them. One thread. */
#ifndef CORE_METRICS_HISTOGRAM_H
#define CORE_METRICS_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 17

/* Upper bounds of the buckets, in nanoseconds, from 100 us to 60 s; what is longer is in the count
 * alone. */
extern const uint64_t histogram_bounds[HISTOGRAM_BUCKETS];

/* All zero is empty. */
struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS]; /* not cumulative */
    uint64_t count, sum_ns;
};

void histogram_add(struct histogram *histogram, uint64_t ns);

/* An upper bound of the share's quantile (0 < share <= 1), in nanoseconds: the bound of the bucket
 * that it falls into. 0 when empty, UINT64_MAX past the last bound. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
