/* The loop over all prints: see afis/sift.h. Compiled once for any processor and once for each
 * wider instruction set; all of them return the same bits. */
#include <stdbool.h>
#include <string.h>

#include "sift.h"

#ifndef SIFT_SCAN
#define SIFT_SCAN afis_sift_scan_portable
#endif

#if defined(__AVX512VPOPCNTDQ__) && defined(__AVX512BW__) && defined(__AVX512VBMI2__)
#include <immintrin.h>

enum { ROW = 2 * AFIS_SIFT_PROBES, AHEAD = 16 /* prints */ };

/* First all words are looked up, and of each slot is kept which of its minutiae are near by their
 * upper halves: one bit each. What that leaves, a few slots of a print, is listed without branches,
 * because none of them could be foreseen. */

static inline uint16_t near_high(const uint32_t *slot, __m512i high)
{
    const __m512i distance = _mm512_popcnt_epi32(_mm512_xor_si512(high, _mm512_load_si512(slot)));
    return (uint16_t)_mm512_cmple_epu32_mask(distance, _mm512_set1_epi32(SIFT_HIGH));
}

/* Prints come from memory one after the other, but look-ups all over the tables keep the processor
 * from foreseeing that. */
static inline void fetch_ahead(const uint64_t *words)
{
    for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k += 8) {
        __builtin_prefetch(words + AHEAD * AFIS_SIEVE_WORDS + k);
    }
}

/* Of a word's two pieces; the last place says whether another slot follows. */
static inline void look_up(const struct afis_sift *sift, struct afis_sift_scratch *s,
                           const uint64_t *words, size_t prints)
{
    const uint32_t *first = sift_high(sift, 0), *second = sift_high(sift, 1);
    for (size_t p = 0; p < prints; p++, words += AFIS_SIEVE_WORDS) {
        fetch_ahead(words);
#pragma GCC unroll 24
        for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
            const __m512i high = _mm512_maskz_set1_epi32(0x7fff, (int)(words[k] >> 32));
            s->mask[2 * k][p] = near_high(first + (size_t)16 * sift_piece(words[k], 0), high);
            s->mask[2 * k + 1][p] = near_high(second + (size_t)16 * sift_piece(words[k], 1), high);
        }
    }
}

static inline __m128i four(const uint32_t *table, uint64_t word, unsigned t)
{
    return _mm_load_si128((const __m128i *)(table + (size_t)4 * sift_piece(word, t)));
}

/* The same where slots have four places: those of two words together. */
static inline void look_up_four(const struct afis_sift *sift, struct afis_sift_scratch *s,
                                const uint64_t *words, size_t prints)
{
    const uint32_t *first = sift_high(sift, 0), *second = sift_high(sift, 1);
    const __m512i upper = _mm512_setr_epi32(1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m512i limit = _mm512_set1_epi32(SIFT_HIGH);
    for (size_t p = 0; p < prints; p++, words += AFIS_SIEVE_WORDS) {
        fetch_ahead(words);
#pragma GCC unroll 12
        for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k += 2) {
            const __m512i both =
                _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(words + k)));
            const __m512i high = _mm512_maskz_permutexvar_epi32(0x7777, upper, both);
            __m512i slots = _mm512_castsi128_si512(four(first, words[k], 0));
            slots = _mm512_inserti32x4(slots, four(second, words[k], 1), 1);
            slots = _mm512_inserti32x4(slots, four(first, words[k + 1], 0), 2);
            slots = _mm512_inserti32x4(slots, four(second, words[k + 1], 1), 3);
            const __m512i distance = _mm512_popcnt_epi32(_mm512_xor_si512(high, slots));
            s->mask[k / 2][p] = (uint16_t)_mm512_cmple_epu32_mask(distance, limit);
        }
    }
}

/* Lists the masks that are not empty, as row * SIFT_BLOCK + print; returns how many. */
static inline unsigned list_items(struct afis_sift_scratch *s, unsigned rows, size_t prints)
{
    const __mmask32 there = prints == 32 ? UINT32_MAX : ((uint32_t)1 << prints) - 1;
    __m512i number = _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
                                      16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    unsigned count = 0;
    for (unsigned row = 0; row < rows; row++) {
        const __m512i masks = _mm512_load_si512(s->mask[row]);
        const __mmask32 any = _mm512_mask_test_epi16_mask(there, masks, masks);
        _mm512_storeu_si512(s->item + count, _mm512_maskz_compress_epi16(any, number));
        count += (unsigned)__builtin_popcount(any);
        number = _mm512_add_epi16(number, _mm512_set1_epi16(SIFT_BLOCK));
    }
    return count;
}

static inline unsigned add_up(const struct afis_sift *sift, struct afis_sift_scratch *s,
                              unsigned hits)
{
    for (unsigned k = 0; k < hits; k++) {
        s->sum[s->place[k]] += sift->worth[s->distance[k]];
    }
    return 0;
}

/* Measures the slots of a piece's value in all 64 bits, and appends those that are near. */
static inline unsigned measure(const struct afis_sift *sift, struct afis_sift_scratch *s,
                               uint64_t word, unsigned t, unsigned p, unsigned hits)
{
    const __m512i high = _mm512_set1_epi32((int)(word >> 32)),
                  low = _mm512_set1_epi32((int)(word & UINT32_MAX));
    uint32_t slot = sift_piece(word, t);
    for (bool more = true; more;) {
        const size_t at = (size_t)slot * 16;
        const uint32_t *upper = sift_high(sift, t) + at, *lower = sift_low(sift, t) + at;
        const __m256i ids = _mm256_load_si256((const __m256i *)(sift_ids(sift, t) + at));
        __m512i distance = _mm512_popcnt_epi32(_mm512_xor_si512(high, _mm512_load_si512(upper)));
        __mmask16 near =
            _mm512_mask_cmple_epu32_mask(0x7fff, distance, _mm512_set1_epi32(SIFT_HIGH));
        distance = _mm512_add_epi32(
            distance, _mm512_popcnt_epi32(_mm512_xor_si512(low, _mm512_load_si512(lower))));
        near = _mm512_mask_cmple_epu32_mask(near, distance, _mm512_set1_epi32(SIFT_NEAR));
        const __m256i place = _mm256_add_epi16(_mm256_set1_epi16((short)(p * ROW)),
                                               _mm256_srli_epi16(ids, 5 /* SIEVE_LANES */));
        _mm256_storeu_si256((__m256i *)(s->place + hits), _mm256_maskz_compress_epi16(near, place));
        _mm_storeu_si128((__m128i *)(s->distance + hits),
                         _mm_maskz_compress_epi8(near, _mm512_cvtepi32_epi8(distance)));
        hits += (unsigned)__builtin_popcount(near);
        hits = hits < SIFT_HITS_MAX ? hits : add_up(sift, s, hits);
        more = upper[15] == 0;
        slot = sift_ids(sift, t)[at + 15];
    }
    return hits;
}

static void scan_wide(const struct afis_sift *sift, struct afis_sift_scratch *s,
                      const uint64_t *words, size_t prints, int16_t *scores)
{
    unsigned hits = 0;
    const __mmask16 probes = (__mmask16)(((uint32_t)1 << sift->probes) - 1);
    look_up(sift, s, words, prints);
    const unsigned items = list_items(s, SIFT_PIECES * AFIS_SIEVE_WORDS, prints);
    memset(s->sum, 0, sizeof s->sum);
    for (unsigned i = 0; i < items; i++) {
        const unsigned row = s->item[i] / SIFT_BLOCK, p = s->item[i] % SIFT_BLOCK;
        hits = measure(sift, s, words[(size_t)p * AFIS_SIEVE_WORDS + row / 2], row % 2, p, hits);
    }
    add_up(sift, s, hits);
    for (size_t p = 0; p < prints; p++) {
        const __m512i sum = _mm512_loadu_si512(s->sum + p * ROW);
        _mm256_mask_storeu_epi16(scores + p * sift->probes, probes, _mm512_cvtsepi32_epi16(sum));
    }
}

/* What a minutia at that place of a slot is worth. */
static inline int32_t worth_of(const struct afis_sift *sift, uint64_t word, unsigned t, size_t at)
{
    const uint16_t id = sift_ids(sift, t)[at];
    const int32_t worth = sift->worth[__builtin_popcountll(word ^ sift->lane[id % SIEVE_LANES])];
    return id == SIFT_NONE ? 0 : worth;
}

/* ... and those of all slots that follow. */
static int32_t worth_behind(const struct afis_sift *sift, uint64_t word, unsigned t, size_t at)
{
    const uint32_t *high = sift_high(sift, t);
    int32_t sum = 0;
    while (high[at + 3] == 0) {
        at = (size_t)4 * sift_ids(sift, t)[at + 3];
        for (unsigned i = 0; i < 3; i++) {
            const uint32_t apart = high[at + i] ^ (uint32_t)(word >> 32);
            sum +=
                __builtin_popcount(apart) <= (int)SIFT_HIGH ? worth_of(sift, word, t, at + i) : 0;
        }
    }
    return sum;
}

static void scan_narrow(const struct afis_sift *sift, struct afis_sift_scratch *s,
                        const uint64_t *words, size_t prints, int16_t *scores)
{
    look_up_four(sift, s, words, prints);
    const unsigned items = list_items(s, AFIS_SIEVE_WORDS / 2, prints);
    const __m256i number = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    unsigned hits = 0;
    memset(s->sum, 0, SIFT_BLOCK * sizeof *s->sum);
    for (unsigned i = 0; i <= items; i++) {
        if (i == items || hits > SIFT_HITS_MAX - 16) { /* places of all masks, so far */
            for (unsigned k = 0; k < hits; k++) {
                const unsigned place = s->place[k], p = place / 16 % SIFT_BLOCK, t = place / 4 % 2;
                const uint64_t word =
                    words[(size_t)p * AFIS_SIEVE_WORDS + place / 512 * 2 + place / 8 % 2];
                const size_t at = (size_t)4 * sift_piece(word, t);
                s->sum[p] += place % 4 == 3 ? worth_behind(sift, word, t, at)
                                            : worth_of(sift, word, t, at + place % 4);
            }
            hits = 0;
        }
        if (i < items) {
            const unsigned item = s->item[i];
            const __mmask16 mask = s->mask[item / SIFT_BLOCK][item % SIFT_BLOCK];
            const __m256i place = _mm256_add_epi16(number, _mm256_set1_epi16((short)(item * 16)));
            _mm256_storeu_si256((__m256i *)(s->place + hits),
                                _mm256_maskz_compress_epi16(mask, place));
            hits += (unsigned)__builtin_popcount(mask);
        }
    }
    for (size_t p = 0; p < prints; p++) {
        scores[p] = (int16_t)(s->sum[p] < INT16_MAX ? s->sum[p] : INT16_MAX);
    }
}

void SIFT_SCAN(const struct afis_sift *sift, struct afis_sift_scratch *scratch,
               const uint64_t *words, size_t prints, int16_t *scores)
{
    for (size_t first = 0; first < prints; first += SIFT_BLOCK) {
        const size_t n = prints - first < SIFT_BLOCK ? prints - first : SIFT_BLOCK;
        (sift->probes == 1 ? scan_narrow : scan_wide)(
            sift, scratch, words + first * AFIS_SIEVE_WORDS, n, scores + first * sift->probes);
    }
}

#else

#ifdef __AVX2__
#include <immintrin.h>

/* Of four or eight places: one bit for each whose upper half is near. Bits are counted by nibbles,
 * as in sieve_scan.c. */
static inline uint32_t near_eight(__m256i apart)
{
    const __m256i of_nibble = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1,
                                               1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i low = _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(apart, nibble));
    const __m256i high =
        _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(_mm256_srli_epi16(apart, 4), nibble));
    __m256i count = _mm256_maddubs_epi16(_mm256_add_epi8(low, high), _mm256_set1_epi8(1));
    count = _mm256_madd_epi16(count, _mm256_set1_epi16(1));
    const __m256i near = _mm256_cmpgt_epi32(_mm256_set1_epi32(SIFT_HIGH + 1), count);
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(near));
}

static inline uint32_t near_places(const uint32_t *slot, uint32_t width, uint32_t high)
{
    const __m256i word = _mm256_set1_epi32((int)high);
    if (width == 4) {
        const __m128i four = _mm_load_si128((const __m128i *)slot);
        return near_eight(_mm256_xor_si256(word, _mm256_castsi128_si256(four))) & 0x7u;
    }
    const __m256i *at = (const __m256i *)slot;
    return (near_eight(_mm256_xor_si256(word, _mm256_load_si256(at))) |
            near_eight(_mm256_xor_si256(word, _mm256_load_si256(at + 1))) << 8) &
           0x7fffu;
}

#else

static inline uint32_t near_places(const uint32_t *slot, uint32_t width, uint32_t high)
{
    uint32_t near = 0;
    for (uint32_t i = 0; i + 1 < width; i++) {
        near |= (uint32_t)(__builtin_popcount(slot[i] ^ high) <= (int)SIFT_HIGH) << i;
    }
    return near;
}

#endif

/* Adds what the minutiae of a piece's value are worth to their probes' sums. */
static inline void add_worth(const struct afis_sift *sift, uint64_t word, unsigned t,
                             uint32_t width, int32_t *sum)
{
    const uint32_t *high = sift_high(sift, t);
    const uint16_t *ids = sift_ids(sift, t);
    for (size_t slot = sift_piece(word, t);; slot = ids[slot * width + width - 1]) {
        const size_t at = slot * width;
        uint32_t near = near_places(high + at, width, (uint32_t)(word >> 32));
        for (; near != 0; near &= near - 1) {
            const uint16_t id = ids[at + (unsigned)__builtin_ctz(near)];
            if (id != SIFT_NONE) {
                sum[id / SIEVE_LANES] += sift->worth[__builtin_popcountll(word ^ sift->lane[id])];
            }
        }
        if (high[at + width - 1] != 0) {
            return;
        }
    }
}

void SIFT_SCAN(const struct afis_sift *sift, struct afis_sift_scratch *scratch,
               const uint64_t *words, size_t prints, int16_t *scores)
{
    for (size_t p = 0; p < prints; p++, words += AFIS_SIEVE_WORDS) {
        memset(scratch->sum, 0, AFIS_SIFT_PROBES * sizeof *scratch->sum);
        for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
            for (unsigned t = 0; t < SIFT_PIECES; t++) {
                if (sift->width == 4) { /* known to the compiler, by place */
                    add_worth(sift, words[k], t, 4, scratch->sum);
                } else {
                    add_worth(sift, words[k], t, 16, scratch->sum);
                }
            }
        }
        for (uint32_t i = 0; i < sift->probes; i++) {
            const int32_t sum = scratch->sum[i];
            scores[p * sift->probes + i] = (int16_t)(sum < INT16_MAX ? sum : INT16_MAX);
        }
    }
}

#endif
