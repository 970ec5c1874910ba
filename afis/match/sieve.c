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
    return count;
}

enum afis_status afis_sieve_words(const uint8_t *packed, size_t len,
                                  uint64_t words[AFIS_SIEVE_WORDS])
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
        sieve->lane[k] = probe->descriptor[best[k % count]];
    }
    for (unsigned k = 0; k < count; k++) {
        sieve->used |= (uint32_t)1 << SIEVE_BIT(k);
    }
    memcpy(sieve->worth, worth, sizeof worth);
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
