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

enum { AHEAD = 16 /* prints */ };

#define UPPER 0xaaaaaaaau /* every second lane */

/* First all words are looked up, and of each slot is kept which of its minutiae are near by their
 * upper halves: one bit each. What that leaves, a few slots of a print, is listed without branches,
 * because none of them could be foreseen; what the lists name is then measured, sixteen at once. */

static inline uint16_t near_high(const uint32_t *slot, __m512i high)
{
    const __m512i places = _mm512_load_si512(slot);
    const __m512i apart = _mm512_mask_xor_epi32(places, 0x7fff, places, high);
    const __m512i distance = _mm512_popcnt_epi32(apart);
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
            const __m512i high = _mm512_set1_epi32((int)(words[k] >> 32));
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

/* Lists where masks are that are not empty, as row * SIFT_BLOCK + print, and of wide tables the
 * masks; returns how many. */
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
        if (rows == SIFT_PIECES * AFIS_SIEVE_WORDS) {
            _mm512_storeu_si512(s->bits + count, _mm512_maskz_compress_epi16(any, masks));
        }
        count += (unsigned)__builtin_popcount(any);
        number = _mm512_add_epi16(number, _mm512_set1_epi16(SIFT_BLOCK));
    }
    return count;
}

/* --- wide tables --- */

/* A pair is a place of the tables and the item that found it there: place << PAIR_ITEM | item. */
#define PAIR_ITEM 11u
#define PAIR_ITEMS ((1u << PAIR_ITEM) - 1)
_Static_assert(SIFT_ITEMS_MAX <= PAIR_ITEMS, "an item fits a pair");
_Static_assert(16u * SIFT_PIECES *
                       (SIFT_CELLS + AFIS_SIFT_PROBES * SIFT_LANES * SIFT_NEIGHBOURS / 15u + 16u) <=
                   1u << (32 - PAIR_ITEM),
               "so does a place of the largest tables");

/* Words of sixteen items. */
struct sixteen {
    __m512i low, high; /* of items 0 to 7, 8 to 15 */
    __m512i print, piece;
};

static inline __m512i gather(const uint64_t *from, __m512i index, bool upper)
{
    return _mm512_i32gather_epi64(
        upper ? _mm512_extracti64x4_epi64(index, 1) : _mm512_castsi512_si256(index), from, 8);
}

static inline struct sixteen words_of(const uint64_t *words, __m512i items)
{
    const __m512i row = _mm512_srli_epi32(items, 5);
    const __m512i print = _mm512_and_si512(items, _mm512_set1_epi32(SIFT_BLOCK - 1));
    const __m512i first = _mm512_mullo_epi16(print, _mm512_set1_epi32(AFIS_SIEVE_WORDS));
    const __m512i word = _mm512_add_epi32(first, _mm512_srli_epi32(row, 1));
    return (struct sixteen){gather(words, word, false), gather(words, word, true), print,
                            _mm512_and_si512(row, _mm512_set1_epi32(1))};
}

/* Where the items' slots begin in the tables of both pieces. */
static inline __m512i begin_of(const struct afis_sift *sift, const struct sixteen *w)
{
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __mmask16 second = _mm512_test_epi32_mask(w->piece, w->piece);
    __m512i slot = _mm512_permutex2var_epi32(w->low, even, w->high);
    slot = _mm512_mask_srli_epi32(slot, second, slot, SIFT_BITS);
    slot = _mm512_and_si512(slot, _mm512_set1_epi32(SIFT_CELLS - 1));
    slot = _mm512_mask_add_epi32(slot, second, slot, _mm512_set1_epi32((int)sift->slots));
    return _mm512_slli_epi32(slot, 4);
}

static inline unsigned add_up(struct afis_sift_scratch *s, unsigned hits)
{
    for (unsigned k = 0; k < hits; k++) {
        s->sum[s->gain[k] >> 16] += (int16_t)(s->gain[k] & UINT16_MAX);
    }
    return 0;
}

/* Sixteen counts of bits, of two vectors of eight. */
static inline __m512i count_bits(__m512i first, __m512i second)
{
    const __m256i counts = _mm512_cvtepi64_epi32(_mm512_popcnt_epi64(first));
    return _mm512_inserti64x4(_mm512_castsi256_si512(counts),
                              _mm512_cvtepi64_epi32(_mm512_popcnt_epi64(second)), 1);
}

static inline __mmask16 first_of(unsigned count)
{
    return (__mmask16)((1u << (count < 16 ? count : 16)) - 1);
}

/* Whose minutiae the pairs' places hold. Apart from what follows, since more loads are under way at
 * a time then: they come from all over the tables. */
static inline void identify(const struct afis_sift *sift, struct afis_sift_scratch *s,
                            unsigned pairs)
{
    const __m512i id = _mm512_set1_epi32(UINT16_MAX);
    for (unsigned i = 0; i < pairs; i += 16) {
        const __m512i pair = _mm512_maskz_loadu_epi32(first_of(pairs - i), s->pair + i);
        const __m512i ids =
            _mm512_i32gather_epi32(_mm512_srli_epi32(pair, PAIR_ITEM), sift_ids(sift, 0), 2);
        _mm512_storeu_si512(s->id + i, _mm512_and_si512(ids, id));
    }
}

/* Measures the pairs' words and minutiae in all 64 bits, and adds up what is near, but for what the
 * first piece has found already. Returns how many pairs are left: none. */
static inline unsigned measure(const struct afis_sift *sift, struct afis_sift_scratch *s,
                               const uint64_t *words, unsigned pairs)
{
    const __m512i piece = _mm512_set1_epi64(SIFT_CELLS - 1);
    const __m512i item = _mm512_set1_epi32(PAIR_ITEMS);
    unsigned hits = 0;
    identify(sift, s, pairs);
    for (unsigned i = 0; i < pairs; i += 16) {
        const __mmask16 there = first_of(pairs - i);
        const __m512i pair = _mm512_maskz_loadu_epi32(there, s->pair + i);
        const __m512i ids = _mm512_loadu_si512(s->id + i);
        const struct sixteen w = words_of(words, _mm512_and_si512(pair, item));
        const __m512i low = _mm512_xor_si512(w.low, gather(sift->lane, ids, false)),
                      high = _mm512_xor_si512(w.high, gather(sift->lane, ids, true));
        const __mmask16 twice = _mm512_mask_cmple_epu32_mask(
            _mm512_test_epi32_mask(w.piece, w.piece),
            count_bits(_mm512_and_si512(low, piece), _mm512_and_si512(high, piece)),
            _mm512_set1_epi32(SIFT_REACH));
        const __m512i distance = count_bits(low, high);
        const __mmask16 near =
            _mm512_mask_cmple_epu32_mask(there & ~twice, distance, _mm512_set1_epi32(SIFT_NEAR));
        const __m512i worth = _mm512_permutexvar_epi16(distance, _mm512_loadu_si512(sift->worth));
        const __m512i row = _mm512_andnot_si512(_mm512_set1_epi32(SIEVE_LANES - 1), ids);
        const __m512i place = _mm512_add_epi32(row, w.print);
        const __m512i gain = _mm512_mask_blend_epi16(UPPER, worth, _mm512_slli_epi32(place, 16));
        _mm512_storeu_si512(s->gain + hits, _mm512_maskz_compress_epi32(near, gain));
        hits += (unsigned)__builtin_popcount(near);
    }
    return add_up(s, hits);
}

static inline __m512i load_sixteen(const uint16_t *from)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
}

static inline void append(uint32_t *to, __mmask16 which, __m512i v)
{
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(which, v));
}

/* Sixteen items and their masks: the first minutia of each makes a pair, and who has more of them
 * is left; returns how many are. */
static inline unsigned pair_first(struct afis_sift_scratch *s, __m512i begin, __m512i masks,
                                  unsigned left, unsigned *pairs)
{
    const __m512i below = _mm512_sub_epi32(masks, _mm512_set1_epi32(1));
    const __m512i bit = _mm512_popcnt_epi32(_mm512_andnot_si512(masks, below));
    const __m512i rest = _mm512_and_si512(masks, below);
    const __mmask16 any = _mm512_test_epi32_mask(masks, masks),
                    more = _mm512_test_epi32_mask(rest, rest);
    append(s->pair + *pairs, any, _mm512_add_epi32(begin, _mm512_slli_epi32(bit, PAIR_ITEM)));
    *pairs += (unsigned)__builtin_popcount(any);
    append(s->begin + left, more, begin);
    append(s->rest + left, more, rest);
    return left + (unsigned)__builtin_popcount(more);
}

/* Begins with the items. Those whose last bit is set, because another slot follows, are listed. */
static inline unsigned pair_items(const struct afis_sift *sift, struct afis_sift_scratch *s,
                                  const uint64_t *words, unsigned items, unsigned *follow,
                                  unsigned *pairs)
{
    unsigned left = 0;
    for (unsigned i = 0; i < items; i += 16) {
        const __mmask16 there = first_of(items - i);
        const __m512i item = _mm512_maskz_mov_epi32(there, load_sixteen(s->item + i));
        const __m512i bits = _mm512_maskz_mov_epi32(there, load_sixteen(s->bits + i));
        const struct sixteen w = words_of(words, item);
        const __m512i begin =
            _mm512_or_si512(_mm512_slli_epi32(begin_of(sift, &w), PAIR_ITEM), item);
        const __mmask16 last = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x8000));
        append(s->follow + *follow, last, begin);
        *follow += (unsigned)__builtin_popcount(last);
        left = pair_first(s, begin, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fff)), left, pairs);
    }
    return left;
}

/* ... and goes on with those that are left. */
static inline unsigned pair_left(struct afis_sift_scratch *s, unsigned items, unsigned *pairs)
{
    unsigned left = 0;
    for (unsigned i = 0; i < items; i += 16) {
        const __m512i masks = _mm512_maskz_loadu_epi32(first_of(items - i), s->rest + i);
        left = pair_first(s, _mm512_loadu_si512(s->begin + i), masks, left, pairs);
    }
    return left;
}

/* Makes pairs of the near minutiae of all slots that follow. */
static inline unsigned pair_behind(const struct afis_sift *sift, struct afis_sift_scratch *s,
                                   const uint64_t *words, unsigned follow, unsigned pairs)
{
    const __m512i number = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i place = _mm512_slli_epi32(number, PAIR_ITEM);
    for (unsigned i = 0; i < follow; i++) {
        const unsigned item = s->follow[i] & PAIR_ITEMS, row = item / SIFT_BLOCK, t = row % 2;
        const uint64_t word = words[(size_t)(item % SIFT_BLOCK) * AFIS_SIEVE_WORDS + row / 2];
        const __m512i high = _mm512_set1_epi32((int)(word >> 32));
        uint32_t begin = s->follow[i] >> PAIR_ITEM, near;
        do {
            begin = (t * sift->slots + sift_ids(sift, 0)[begin + 15]) * 16;
            near = near_high(sift_high(sift, 0) + begin, high);
            append(s->pair + pairs, (__mmask16)(near & 0x7fff),
                   _mm512_add_epi32(place, _mm512_set1_epi32((int)(begin << PAIR_ITEM | item))));
            pairs += (unsigned)__builtin_popcount(near & 0x7fff);
            if (pairs > SIFT_HITS_MAX - 16) {
                pairs = measure(sift, s, words, pairs);
            }
        } while (near & 0x8000); /* no shift: gcc 12 may leave rubbish above a spilled mask */
    }
    return pairs;
}

static void scan_wide(const struct afis_sift *sift, struct afis_sift_scratch *s,
                      const uint64_t *words, size_t prints, int16_t *scores, size_t step)
{
    const __mmask32 there = prints == 32 ? UINT32_MAX : ((uint32_t)1 << prints) - 1;
    unsigned follow = 0, pairs = 0;
    look_up(sift, s, words, prints);
    const unsigned items = list_items(s, SIFT_PIECES * AFIS_SIEVE_WORDS, prints);
    memset(s->sum, 0, sizeof s->sum);
    for (unsigned left = pair_items(sift, s, words, items, &follow, &pairs); left > 0;) {
        if (pairs > SIFT_HITS_MAX - left) {
            pairs = measure(sift, s, words, pairs);
        }
        left = pair_left(s, left, &pairs);
    }
    pairs = pair_behind(sift, s, words, follow, pairs);
    measure(sift, s, words, pairs);
    for (uint32_t i = 0; i < sift->probes; i++) {
        const int32_t *sum = s->sum + (size_t)i * SIFT_BLOCK;
        const __m512i sums = _mm512_inserti64x4(
            _mm512_castsi256_si512(_mm512_cvtsepi32_epi16(_mm512_loadu_si512(sum))),
            _mm512_cvtsepi32_epi16(_mm512_loadu_si512(sum + 16)), 1);
        _mm512_mask_storeu_epi16(scores + i * step, there, sums);
    }
}

/* --- narrow tables --- */

/* What a minutia at that place of a slot is worth. */
static inline int32_t worth_of(const struct afis_sift *sift, uint64_t word, unsigned t, size_t at)
{
    const uint16_t id = sift_ids(sift, t)[at];
    const uint64_t apart = word ^ sift->lane[id % SIEVE_LANES];
    const int32_t worth = sift->worth[__builtin_popcountll(apart)];
    return id == SIFT_NONE || sift_is_known(apart, t) ? 0 : worth;
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
        if (sift->probes == 1) {
            scan_narrow(sift, scratch, words + first * AFIS_SIEVE_WORDS, n, scores + first);
        } else {
            scan_wide(sift, scratch, words + first * AFIS_SIEVE_WORDS, n, scores + first, prints);
        }
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
            const uint64_t apart = word ^ sift->lane[id];
            if (id != SIFT_NONE && !sift_is_known(apart, t)) {
                sum[id / SIEVE_LANES] += sift->worth[__builtin_popcountll(apart)];
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
            scores[i * prints + p] = (int16_t)(sum < INT16_MAX ? sum : INT16_MAX);
        }
    }
}

#endif
