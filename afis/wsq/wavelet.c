/* From coefficients to pixels: the 64-band decomposition of WSQ, figure 3, undone.
 *
 * The plane is halved along x and y again and again, and each half is a frequency band. A band that
 * came out of the high-pass filter has its spectrum turned round, so when it is split in turn, its
 * high-pass half is the lower one. Ordered by frequency (a Gray code), the first half of any split
 * is upright and the second is turned: one rule gives every place and size. */
#include <string.h>

#include "wsq/internal.h"

/* A stretch of one axis. turned: its spectrum runs backwards. */
struct stretch {
    uint32_t from, len;
    bool turned;
};

struct region {
    struct stretch x, y;
};

enum quarter { TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT, BOTTOM_RIGHT };

/* The odd sample belongs to the low-pass half: the first one, unless the stretch is turned. */
static struct stretch half(struct stretch s, bool second)
{
    uint32_t first = s.turned ? s.len / 2 : (s.len + 1) / 2;
    return second ? (struct stretch){s.from + first, s.len - first, true}
                  : (struct stretch){s.from, first, false};
}

static struct region quarter(struct region r, unsigned q)
{
    return (struct region){half(r.x, q % 2 == 1), half(r.y, q / 2 == 1)};
}

static struct region whole(const struct wsq_tables *t)
{
    return (struct region){{0, t->width, false}, {0, t->height, false}};
}

/* Where band number `band` lies. */
static struct region band_region(const struct wsq_tables *t, unsigned band)
{
    struct region root = whole(t), centre = quarter(root, TOP_LEFT);
    if (band >= 56) {
        return quarter(quarter(root, BOTTOM_LEFT), band - 56);
    }
    if (band >= 52) {
        return quarter(quarter(root, TOP_RIGHT), band - 52);
    }
    if (band == 51) {
        return quarter(centre, BOTTOM_RIGHT);
    }
    unsigned q = TOP_LEFT,
             first = 3; /* 4 to 18: sixteenths of the lowest quarter, less the first */
    if (band >= 35) {
        q = BOTTOM_LEFT;
        first = 35;
    } else if (band >= 19) {
        q = TOP_RIGHT;
        first = 19;
    }
    struct region part = quarter(centre, q);
    if (band <= 3) { /* 0 to 3: the quarters of that first sixteenth */
        return quarter(quarter(quarter(part, TOP_LEFT), TOP_LEFT), band);
    }
    return quarter(quarter(part, (band - first) / 4), (band - first) % 4);
}

size_t wsq_coefficient_count(const struct wsq_tables *t)
{
    size_t count = 0;
    for (unsigned band = 0; band < WSQ_CODED_BANDS; band++) {
        struct region r = band_region(t, band);
        if (r.x.len == 0 || r.y.len == 0) {
            return 0;
        }
        count += t->bin[band] > 0 ? (size_t)r.x.len * r.y.len : 0;
    }
    return count;
}

/* WSQ, 2.2: the middle of the bin, as the encoder's bin centre says. */
static float dequantize(int16_t c, float center, float bin, float zero_bin)
{
    if (c == 0) {
        return 0.0f;
    }
    float size = ((float)(c > 0 ? c : -c) - center) * bin + zero_bin / 2;
    return c > 0 ? size : -size;
}

static void place_bands(const struct wsq_tables *t, const int16_t *coefficients, float *plane)
{
    for (unsigned band = 0; band < WSQ_CODED_BANDS; band++) {
        if (!(t->bin[band] > 0)) {
            continue;
        }
        struct region r = band_region(t, band);
        for (uint32_t y = 0; y < r.y.len; y++) {
            float *row = plane + (size_t)(r.y.from + y) * t->width + r.x.from;
            for (uint32_t x = 0; x < r.x.len; x++) {
                row[x] =
                    dequantize(*coefficients++, t->bin_center, t->bin[band], t->zero_bin[band]);
            }
        }
    }
}

/* Lines that lie side by side in the plane: sample i of line l is at[i * step + l * apart]. */
struct lines {
    float *at;
    size_t step, apart;
    uint32_t n; /* samples of each */
    unsigned count;
};

/* The filters of both parities as one row of taps over 2 * reach + 1 neighbours: those at even
 * places are low-pass samples, the others high-pass ones. */
struct taps {
    int reach;
    float row[2][WSQ_FILTER_MAX + 2];
};

static struct taps taps_of(const struct wsq_tables *t)
{
    struct taps taps = {.reach =
                            (int)(t->low.reach > t->high.reach ? t->low.reach : t->high.reach)};
    for (int odd = 0; odd < 2; odd++) {
        for (int k = -taps.reach; k <= taps.reach; k++) {
            const struct wsq_filter *f = (odd + k) % 2 == 0 ? &t->low : &t->high;
            unsigned distance = (unsigned)(k < 0 ? -k : k);
            taps.row[odd][k + taps.reach] = distance <= f->reach ? f->tap[distance] : 0.0f;
        }
    }
    return taps;
}

/* Takes the samples into u, interleaved: low-pass samples belong at even places, high-pass ones at
 * odd. The sequence goes on beyond both ends as in a mirror that stands on the last sample; a line
 * may be shorter than the filter: then the mirror images repeat. */
static void gather(const struct lines *lines, bool turned, int reach, float (*u)[WSQ_LANES])
{
    const uint32_t n = lines->n, lows = (n + 1) / 2, highs = n / 2;
    const float *low = lines->at + (turned ? lines->step * highs : 0);
    const float *high = lines->at + (turned ? 0 : lines->step * lows);
    for (uint32_t i = 0; i < n; i++) {
        const float *from = (i % 2 == 0 ? low : high) + lines->step * (i / 2);
        for (unsigned l = 0; l < lines->count; l++) {
            u[i][l] = from[l * lines->apart];
        }
    }
    for (int i = 1; i <= reach; i++) {
        uint32_t period = 2 * (n - 1), before = (uint32_t)i % period;
        uint32_t after = (n - 1 + (uint32_t)i) % period;
        memcpy(u[-i], u[before < n ? before : period - before], sizeof u[0]);
        memcpy(u[n - 1 + (uint32_t)i], u[after < n ? after : period - after], sizeof u[0]);
    }
}

/* Joins the two halves of each line: each band's filter spreads its samples. WSQ_LANES lines go
 * through the filter at once, because that is what vector instructions do well. */
static void join_lines(const struct taps *taps, const struct lines *lines, bool turned,
                       float *scratch)
{
    if (lines->n < 2) {
        return;
    }
    float(*u)[WSQ_LANES] = (float(*)[WSQ_LANES])scratch + taps->reach;
    gather(lines, turned, taps->reach, u);
    for (int i = 0; i < (int)lines->n; i++) {
        const float *tap = taps->row[i % 2] + taps->reach;
        float sum[WSQ_LANES] = {0};
        for (int k = -taps->reach; k <= taps->reach; k++) {
            for (unsigned l = 0; l < WSQ_LANES; l++) {
                sum[l] += tap[k] * u[i + k][l];
            }
        }
        float *to = lines->at + lines->step * (size_t)i;
        for (unsigned l = 0; l < lines->count; l++) {
            to[l * lines->apart] = sum[l];
        }
    }
}

static unsigned lanes_left(uint32_t from, uint32_t count)
{
    return count - from < WSQ_LANES ? (unsigned)(count - from) : WSQ_LANES;
}

static void join(const struct wsq_tables *t, struct region r, float *plane, float *scratch)
{
    const struct taps taps = taps_of(t);
    float *corner = plane + (size_t)r.y.from * t->width + r.x.from;
    for (uint32_t x = 0; x < r.x.len; x += WSQ_LANES) {
        struct lines columns = {corner + x, t->width, 1, r.y.len, lanes_left(x, r.x.len)};
        join_lines(&taps, &columns, r.y.turned, scratch);
    }
    for (uint32_t y = 0; y < r.y.len; y += WSQ_LANES) {
        struct lines rows = {corner + (size_t)y * t->width, 1, t->width, r.x.len,
                             lanes_left(y, r.y.len)};
        join_lines(&taps, &rows, r.x.turned, scratch);
    }
}

/* Joins a region's quarters after everything inside them. */
static void join_sixteen(const struct wsq_tables *t, struct region r, float *plane, float *scratch)
{
    for (unsigned q = TOP_LEFT; q <= BOTTOM_RIGHT; q++) {
        join(t, quarter(r, q), plane, scratch);
    }
    join(t, r, plane, scratch);
}

void wsq_reconstruct(const struct wsq_tables *t, const int16_t *coefficients, float *plane,
                     float *scratch)
{
    place_bands(t, coefficients, plane);
    struct region root = whole(t), centre = quarter(root, TOP_LEFT);
    struct region lowest = quarter(centre, TOP_LEFT);
    join(t, quarter(quarter(lowest, TOP_LEFT), TOP_LEFT), plane, scratch);
    join_sixteen(t, lowest, plane, scratch);
    join_sixteen(t, quarter(centre, BOTTOM_LEFT), plane, scratch);
    join_sixteen(t, quarter(centre, TOP_RIGHT), plane, scratch);
    join(t, quarter(root, BOTTOM_LEFT), plane, scratch);
    join(t, quarter(root, TOP_RIGHT), plane, scratch);
    join(t, centre, plane, scratch);
    join(t, root, plane, scratch);
}
