#include "report/stats.h"

#include <math.h>
#include <stdlib.h>

#define POISSON_SIZE 1e6 /* from here on a negative binomial is a Poisson */
#define LIMIT_MOST 1000000u
#define TERMS_MOST 1000000u
#define WINSOR 200u /* one in so many on either side */
#define BINS 1024u  /* of expected values, 5 % apart */
#define BIN_RATIO 1.05
#define COUNTS_MOST 1024u /* larger counts are one class */

/* ------------------------------------------------------------------ negative binomial */

static double nb_log(uint32_t count, double mean, double size)
{
    double y = count;
    if (size >= POISSON_SIZE) {
        return y * log(mean) - mean - lgamma(y + 1);
    }
    return lgamma(size + y) - lgamma(size) - lgamma(y + 1) - size * log1p(mean / size) +
           y * (log(mean) - log(size + mean));
}

/* The probability of one more, in that of `count`. */
static double nb_step(uint32_t count, double mean, double size)
{
    if (size >= POISSON_SIZE) {
        return mean / (count + 1.0);
    }
    return (size + count) / (count + 1.0) * (mean / (mean + size));
}

/* P(count <= most). */
static double nb_body(uint32_t most, double mean, double size)
{
    double term = exp(nb_log(0, mean, size)), sum = term;
    for (uint32_t i = 0; i < most; i++) {
        term *= nb_step(i, mean, size);
        sum += term;
    }
    return fmin(sum, 1);
}

double stats_nb_tail(uint32_t count, double mean, double size)
{
    if (count == 0) {
        return 1;
    }
    if (!(mean > 0)) {
        return 0;
    }
    if (count <= mean) {
        return fmax(0, 1 - nb_body(count - 1, mean, size));
    }
    /* Upwards from here, so that small tails keep their digits. */
    double term = exp(nb_log(count, mean, size)), sum = term;
    for (uint32_t i = count; i < count + TERMS_MOST && term > sum * 1e-16; i++) {
        term *= nb_step(i, mean, size);
        sum += term;
    }
    return fmin(sum, 1);
}

uint32_t stats_nb_limit(double mean, double size, double p)
{
    uint32_t low = 0, high = 1;
    while (high < LIMIT_MOST && stats_nb_tail(high, mean, size) > p) {
        low = high;
        high *= 2;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (stats_nb_tail(middle, mean, size) > p) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return high;
}

/* Counts by what is expected of them: what a fit needs to know of any number of them. */
struct bin {
    double expected; /* the mean of its members */
    uint64_t by_count[COUNTS_MOST + 1], members;
    uint32_t most; /* counts above are not fitted */
};

struct bins {
    struct bin *bins;
    size_t count;
};

static bool sort_in(const struct stats_count *counts, size_t n, struct bins *bins)
{
    bins->bins = calloc(BINS, sizeof *bins->bins);
    bins->count = 0;
    if (bins->bins == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        double place = floor(log(counts[i].expected) / log(BIN_RATIO)) + BINS / 2.0;
        struct bin *bin = &bins->bins[(size_t)fmin(fmax(place, 0), BINS - 1.0)];
        bin->expected += counts[i].expected;
        bin->by_count[counts[i].count < COUNTS_MOST ? counts[i].count : COUNTS_MOST]++;
        bin->members++;
        bin->most = counts[i].count > bin->most ? counts[i].count : bin->most;
        bin->most = bin->most > COUNTS_MOST ? COUNTS_MOST : bin->most < 2 ? 2 : bin->most;
    }
    for (size_t i = 0; i < BINS; i++) {
        if (bins->bins[i].members > 0) {
            bins->bins[bins->count] = bins->bins[i];
            bins->bins[bins->count++].expected /= (double)bins->bins[i].members;
        }
    }
    return true;
}

static double likelihood(const struct bins *bins, double rate, double size)
{
    double sum = 0;
    for (size_t b = 0; b < bins->count; b++) {
        const struct bin *bin = &bins->bins[b];
        double mean = rate * bin->expected, here = nb_log(0, mean, size);
        double term = here, body = exp(here);
        uint64_t members = bin->by_count[0];
        sum += (double)bin->by_count[0] * here;
        for (uint32_t y = 1; y <= bin->most; y++) {
            term += log(nb_step(y - 1, mean, size));
            body += exp(term);
            members += bin->by_count[y];
            sum += (double)bin->by_count[y] * term;
        }
        /* Given that it is in the body. */
        sum -= (double)members * log(fmin(body, 1));
    }
    /* Where hardly anything happens, the counts don't tell the size: then it is about 1, lognormal
     * with a spread of 1. */
    return sum - log(size) * log(size) / 2;
}

/* The best rate for a size: the likelihood is unimodal in its logarithm. */
static double best_rate(const struct bins *bins, double around, double size, double *value)
{
    static const double golden = 0.6180339887498949;
    double low = log(around / 30), high = log(around * 30);
    double a = high - golden * (high - low), b = low + golden * (high - low);
    double at_a = likelihood(bins, exp(a), size), at_b = likelihood(bins, exp(b), size);
    while (high - low > 1e-4) {
        if (at_a < at_b) {
            low = a;
            a = b;
            at_a = at_b;
            b = low + golden * (high - low);
            at_b = likelihood(bins, exp(b), size);
        } else {
            high = b;
            b = a;
            at_b = at_a;
            a = high - golden * (high - low);
            at_a = likelihood(bins, exp(a), size);
        }
    }
    *value = likelihood(bins, exp((low + high) / 2), size);
    return exp((low + high) / 2);
}

/* Sizes are tried on a grid, then on a finer one. */
static struct stats_nb best_fit(const struct bins *bins, double around)
{
    struct stats_nb best = {around, POISSON_SIZE};
    double most = -INFINITY, value, centre = log(3.0), step = log(3.0);
    for (unsigned level = 0; level < 3; level++) {
        double from = centre;
        for (int i = level == 0 ? -8 : -4; i <= (level == 0 ? 11 : 4); i++) {
            double size = exp(from + i * step);
            double rate = best_rate(bins, around, size, &value);
            if (value > most) {
                most = value;
                best = (struct stats_nb){rate, size};
                centre = from + i * step;
            }
        }
        step /= 5;
    }
    return best;
}

bool stats_nb_fit(const struct stats_count *counts, size_t n, double beyond, struct stats_nb *fit)
{
    struct bins bins;
    double sum = 0, expected = 0;
    for (size_t i = 0; i < n; i++) {
        sum += counts[i].count;
        expected += counts[i].expected;
    }
    /* Nothing happened: half of one might have. */
    *fit = (struct stats_nb){expected > 0 ? 0.5 / expected : 1, POISSON_SIZE};
    if (sum < 1) {
        return true;
    }
    if (!sort_in(counts, n, &bins)) {
        return false;
    }
    *fit = best_fit(&bins, sum / expected);
    for (unsigned round = 0; round < 3; round++) {
        for (size_t b = 0; b < bins.count; b++) {
            uint32_t limit = stats_nb_limit(fit->rate * bins.bins[b].expected, fit->size, beyond);
            bins.bins[b].most = limit < 3 ? 2 : limit > COUNTS_MOST ? COUNTS_MOST - 1 : limit - 1;
        }
        *fit = best_fit(&bins, sum / expected);
    }
    free(bins.bins);
    return true;
}

/* ------------------------------------------------------------------ shares */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The mean of the squares of winsorised scores: the outermost on either side count as what stands
 * at their edge. Spiegelhalter takes a tenth off, of a few dozen hospitals; of hundreds of officers
 * a tenth may well have a trade of their own, so it is half a per cent here, and one at least.
 * Divided by what that leaves of a
 * standard normal's variance, so that it is 1 where there is no more than chance. */
static double dispersion(const double *z, size_t n, bool below, bool above)
{
    static const double left = 0.982;
    size_t off = n >= 2 * WINSOR ? n / WINSOR : n > 2, count = 0;
    double low = z[off], high = z[n - 1 - off], sum = 0;
    for (size_t i = 0; i < n; i++) {
        double value = fmin(fmax(z[i], low), high);
        if (z[i] > 0 ? above : below) {
            sum += value * value;
            count++;
        }
    }
    return count > 0 ? sum / (double)count / left : 1;
}

/* tau^2 of the random effect, in the unit of mean (1 - mean). */
static double excess(double phi, double n, double of, double squares)
{
    double weights = of - squares / of;
    return phi > 1 && n > 1 && weights > 0 ? fmin((n * phi - (n - 1)) / weights, 0.9) : 0;
}

bool stats_funnel_fit(const struct stats_share *shares, size_t n, uint32_t least,
                      struct stats_funnel *funnel)
{
    double *z = calloc(n + 1, sizeof *z), hits = 0, of = 0, squares = 0;
    size_t used = 0;
    *funnel = (struct stats_funnel){0};
    if (z == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (shares[i].of >= least) {
            hits += shares[i].hits;
            of += shares[i].of;
            squares += (double)shares[i].of * shares[i].of;
        }
    }
    double mean = of > 0 ? hits / of : 0, spread = mean * (1 - mean);
    funnel->mean = mean;
    if (spread > 0) {
        for (size_t i = 0; i < n; i++) {
            if (shares[i].of >= least) {
                double here = shares[i].of;
                z[used++] = (shares[i].hits / here - mean) / sqrt(spread / here);
            }
        }
        qsort(z, used, sizeof *z, ascending);
        double all = excess(dispersion(z, used, true, true), (double)used, of, squares);
        double low = excess(dispersion(z, used, true, false), (double)used, of, squares);
        double high = excess(dispersion(z, used, false, true), (double)used, of, squares);
        funnel->below = fmin(all, low);
        funnel->above = fmin(all, high);
    }
    free(z);
    return true;
}

static double share_log(uint32_t hits, uint32_t of, double mean, double rho)
{
    double x = hits, n = of;
    double ways = lgamma(n + 1) - lgamma(x + 1) - lgamma(n - x + 1);
    if (rho < 1e-9) {
        return ways + x * log(mean) + (n - x) * log1p(-mean);
    }
    double strength = 1 / rho - 1, a = mean * strength, b = (1 - mean) * strength;
    return ways + lgamma(x + a) + lgamma(n - x + b) - lgamma(n + a + b) - lgamma(a) - lgamma(b) +
           lgamma(a + b);
}

double stats_share_tail(const struct stats_share *share, const struct stats_funnel *funnel,
                        bool upper)
{
    double sum = 0;
    if (funnel->mean <= 0 || funnel->mean >= 1) {
        return 1; /* there is nothing to tell one from another */
    }
    uint32_t from = upper ? share->hits : 0, to = upper ? share->of : share->hits;
    for (uint32_t x = from; x <= to; x++) {
        sum += exp(share_log(x, share->of, funnel->mean, upper ? funnel->above : funnel->below));
    }
    return fmin(sum, 1);
}

void stats_share_limits(uint32_t of, const struct stats_funnel *funnel, double p, double *below,
                        double *above)
{
    double low = 0, high = 0;
    *below = -1;
    *above = 2;
    if (funnel->mean <= 0 || funnel->mean >= 1 || of == 0) {
        return;
    }
    for (uint32_t x = 0; x <= of; x++) {
        low += exp(share_log(x, of, funnel->mean, funnel->below));
        if (low > p) {
            break;
        }
        *below = (double)x / of;
    }
    for (uint32_t x = of + 1; x-- > 0;) {
        high += exp(share_log(x, of, funnel->mean, funnel->above));
        if (high > p) {
            break;
        }
        *above = (double)x / of;
    }
}

/* ------------------------------------------------------------------ many tests */

struct ranked {
    double p;
    size_t at;
};

static int by_p(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return (x->p > y->p) - (x->p < y->p);
}

bool stats_bh(const double *p, size_t n, double *q)
{
    struct ranked *ranked = calloc(n + 1, sizeof *ranked);
    double least = 1;
    if (ranked == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        ranked[i] = (struct ranked){p[i], i};
    }
    qsort(ranked, n, sizeof *ranked, by_p);
    for (size_t i = n; i-- > 0;) {
        least = fmin(least, ranked[i].p * (double)n / (double)(i + 1));
        q[ranked[i].at] = least;
    }
    free(ranked);
    return true;
}
