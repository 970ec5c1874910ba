#include "core/metrics/histogram.h"

#define MS(n) ((n)*UINT64_C(1000000))

const uint64_t histogram_bounds[HISTOGRAM_BUCKETS] = {
    MS(1) / 10, MS(1) / 4, MS(1) / 2, MS(1),    MS(5) / 2, MS(5),    MS(10),    MS(25),    MS(50),
    MS(100),    MS(250),   MS(500),   MS(1000), MS(2500),  MS(5000), MS(10000), MS(60000),
};

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    size_t i = 0;
    while (i < HISTOGRAM_BUCKETS && ns > histogram_bounds[i]) {
        i++;
    }
    if (i < HISTOGRAM_BUCKETS) {
        histogram->buckets[i]++;
    }
    histogram->count++;
    histogram->sum_ns += ns;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    double wanted = share * (double)histogram->count;
    uint64_t seen = 0;
    if (histogram->count == 0) {
        return 0;
    }
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if ((double)seen >= wanted) {
            return histogram_bounds[i];
        }
    }
    return UINT64_MAX;
}
