/* The sieve's two sides: a print's words, and the probe that looks for them. See afis/sieve.h. */
#include "sieve.h"

#include <string.h>

#include "internal.h"

/* Natural log-likelihood ratio, times AFIS_SIEVE_UNIT, that a print is of the probe's finger, given
 * the distance from a probe minutia to its nearest word. Learned from mated and non-mated prints
 * (docs/search.md); levelled off where there were few, and at -8 for minutiae that meet nothing
 * like them: those do not go missing one by one but together, where two prints hardly overlap. */
static const int16_t worth[64] = {
    96, 96, 96, 96, 96, 96, 96, 96, 96, 96, 92, 76, 62, 53, 43, 34, 23, 15, 8,  1,  -4, -8,
    -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8,
    -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8,
};

/* The `most` most reliable minutiae of a finger, best first; among equals those nearest to the
 * middle of all. Returns how many. */
static unsigned select_best(const struct afis_finger *f, unsigned most, uint8_t *best)
{
    int64_t sum_x = 0, sum_y = 0, rank[FINGER_MINUTIAE]; /* of the best so far; lower is better */
    unsigned count = 0;
    for (unsigned i = 0; i < f->count; i++) {
        sum_x += f->x[i];
        sum_y += f->y[i];
    }
    const int64_t x = f->count != 0 ? sum_x / f->count : 0,
                  y = f->count != 0 ? sum_y / f->count : 0;
    for (unsigned i = 0; i < f->count; i++) {
        int64_t dx = f->x[i] - x, dy = f->y[i] - y;
        int64_t own = ((int64_t)(100 - f->quality[i]) << 48) | ((dx * dx + dy * dy) << 8) | i;
        if (count == most && own > rank[count - 1]) {
            continue;
        }
        unsigned at = count < most ? count++ : count - 1;
        for (; at > 0 && rank[at - 1] > own; at--) {
            rank[at] = rank[at - 1];
        }
        rank[at] = own;
    }
    for (unsigned k = 0; k < count; k++) {
        best[k] = (uint8_t)(rank[k] & 0xff);
    }
    explicit_bzero(rank, sizeof rank);
    return count;
}

/* How far the minutiae best[] lie from the left and the top one, and the step that fits. */
struct extent {
    int left, lowest; /* subpixels, y down */
    unsigned step;
};

static struct extent extent_of(const struct afis_finger *f, const uint8_t *best, unsigned count)
{
    int left = INT16_MAX, right = INT16_MIN, highest = INT16_MAX, lowest = INT16_MIN;
    for (unsigned k = 0; k < count; k++) {
        const int x = f->x[best[k]], y = f->y[best[k]];
        left = x < left ? x : left;
        right = x > right ? x : right;
        highest = y < highest ? y : highest;
        lowest = y > lowest ? y : lowest;
    }
    const int most = right - left > lowest - highest ? right - left : lowest - highest;
    unsigned step = PLACE_STEP_LEAST;
    while (most >> step >= 1 << PLACE_COORD) {
        step++;
    }
    return (struct extent){left, lowest, step};
}

static void put_places(const struct afis_finger *f, const uint8_t *best, unsigned count,
                       uint8_t places[AFIS_SIEVE_PLACES])
{
    memset(places, 0, AFIS_SIEVE_PLACES);
    if (count == 0) {
        return;
    }
    const struct extent extent = extent_of(f, best, count);
    for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
        const unsigned i = best[k % count], at = k * PLACE_BITS;
        const uint32_t x = (uint32_t)(f->x[i] - extent.left) >> extent.step,
                       y = (uint32_t)(extent.lowest - f->y[i]) >> extent.step;
        const uint32_t direction = /* to the nearest */
            (uint32_t)(f->angle[i] + (1 << (15 - PLACE_DIRECTION))) >> (16 - PLACE_DIRECTION) &
            ((1 << PLACE_DIRECTION) - 1);
        const uint32_t place = (x | y << PLACE_COORD | direction << (2 * PLACE_COORD)) << at % 8;
        for (unsigned b = 0; b < 3; b++) {
            places[at / 8 + b] |= (uint8_t)(place >> (8 * b));
        }
    }
    places[PLACE_STEP] = (uint8_t)extent.step;
}

enum afis_status afis_sieve_words(const uint8_t *packed, size_t len,
                                  uint64_t words[AFIS_SIEVE_WORDS],
                                  uint8_t places[AFIS_SIEVE_PLACES])
{
    struct afis_finger f;
    uint8_t best[FINGER_MINUTIAE];
    enum afis_status status = afis_finger_read_packed(packed, len, &f);
    if (status != AFIS_OK) {
        return status;
    }
    const unsigned count = select_best(&f, AFIS_SIEVE_WORDS, best);
    for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
        words[k] = count != 0 ? f.descriptor[best[k % count]] : 0;
    }
    put_places(&f, best, count, places);
    return AFIS_OK;
}

size_t afis_sieve_size(void)
{
    return sizeof(struct afis_sieve);
}

void afis_sieve_init(struct afis_sieve *sieve, const struct afis_finger *probe)
{
    uint8_t best[FINGER_MINUTIAE];
    const unsigned count = select_best(probe, SIEVE_LANES, best);
    memset(sieve, 0, sizeof *sieve);
    for (unsigned k = 0; k < SIEVE_LANES && count != 0; k++) {
        const unsigned i = best[k % count];
        sieve->lane[k] = probe->descriptor[i];
        sieve->x[k] = probe->px[i];
        sieve->y[k] = probe->py[i];
        sieve->cosine[k] = probe->cosine[i];
        sieve->sine[k] = probe->sine[i];
    }
    sieve->count = count;
    for (unsigned k = 0; k < count; k++) {
        sieve->used |= (uint32_t)1 << SIEVE_BIT(k);
    }
    memcpy(sieve->worth, worth, sizeof worth);
}

void afis_glance(struct afis_matcher *matcher, const struct afis_sieve *sieve,
                 const uint64_t *words, const uint8_t *places, const uint16_t *rows, size_t count,
                 float *impressions)
{
    const struct match_ops *ops = afis_match_ops_best();
    for (size_t i = 0; i < count; i++) {
        impressions[i] = ops->glance(matcher, sieve, words + (size_t)rows[i] * AFIS_SIEVE_WORDS,
                                     places + (size_t)rows[i] * AFIS_SIEVE_PLACES);
    }
}

sieve_scan *afis_sieve_scan_best(void)
{
#ifdef AFIS_HAVE_MATCH_KERNELS
    const struct match_ops *ops = afis_match_ops_best();
    if (ops == &afis_match_ops_avx512) {
        return afis_sieve_scan_avx512;
    }
    if (ops == &afis_match_ops_avx2) {
        return afis_sieve_scan_avx2;
    }
#endif
    return afis_sieve_scan_portable;
}

void afis_sieve_scan(const struct afis_sieve *sieve, const uint64_t *words, size_t prints,
                     int16_t *scores)
{
    afis_sieve_scan_best()(sieve, words, NULL, prints, scores);
}

void afis_sieve_scan_rows(const struct afis_sieve *sieve, const uint64_t *words,
                          const uint16_t *rows, size_t count, int16_t *scores)
{
    afis_sieve_scan_best()(sieve, words, rows, count, scores);
}
