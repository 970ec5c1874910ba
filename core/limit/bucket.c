#include "core/limit/bucket.h"

#include <math.h>

static double spent_at(const struct bucket *bucket, const struct bucket_limits *limits,
                       uint64_t now)
{
    double back = (double)(now - bucket->at) * limits->rate / 1000;
    return bucket->spent > back ? bucket->spent - back : 0;
}

bool bucket_take(struct bucket *bucket, const struct bucket_limits *limits, uint64_t now,
                 unsigned *wait_ms)
{
    if (limits->rate <= 0) {
        return true;
    }
    bucket->spent = spent_at(bucket, limits, now);
    bucket->at = now;
    double missing = bucket->spent + 1 - limits->burst;
    if (missing <= 0) {
        bucket->spent += 1;
        return true;
    }
    *wait_ms = (unsigned)fmin(ceil(missing * 1000 / limits->rate), 3600000);
    return false;
}

bool bucket_is_full(const struct bucket *bucket, const struct bucket_limits *limits, uint64_t now)
{
    return limits->rate <= 0 || spent_at(bucket, limits, now) <= 0;
}
