#include "levels.h"

#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

bool levels_init(struct levels *l, uint32_t lowest)
{
    *l = (struct levels){
        .counts = calloc(LEVELS, sizeof *l->counts), .floor = lowest + 1, .lowest = lowest};
    return l->counts != NULL;
}

void levels_free(struct levels *l)
{
    free(l->counts);
}

void levels_clear(struct levels *l)
{
    memset(l->counts, 0, l->end * sizeof *l->counts);
    l->end = 0;
    l->floor = l->lowest + 1;
    l->people = 0;
    l->narrowed = false;
}

/* ------------------------------------------------------------------ on any processor */

static uint32_t pick(const uint16_t *levels, uint32_t people, uint32_t from, uint32_t to,
                     uint16_t *list)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < people; i++) { /* no branch: it could not be foreseen */
        list[count] = (uint16_t)i;
        count += levels[i] >= from && levels[i] < to;
    }
    return count;
}

static void raise_each(uint16_t *restrict levels, const int16_t *restrict scores, uint32_t people,
                       uint16_t begin)
{
    for (uint32_t i = 0; i < people; i++) {
        const uint16_t before = levels[i] == 0 ? begin : levels[i];
        const uint16_t sum = (uint16_t)(before + scores[i]);
        levels[i] = sum < before ? UINT16_MAX : sum;
    }
}

static void flatten(uint16_t *levels, uint32_t people, uint32_t to)
{
    for (uint32_t i = 0; i < people; i++) {
        levels[i] = levels[i] != 0 && levels[i] < to;
    }
}

static uint32_t count(const uint16_t *levels, uint32_t people)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < people; i++) {
        n += levels[i] != 0;
    }
    return n;
}

static uint16_t top(const uint16_t *levels, uint32_t people)
{
    uint16_t highest = 0;
    for (uint32_t i = 0; i < people; i++) {
        highest = levels[i] > highest ? levels[i] : highest;
    }
    return highest;
}

const struct levels_ops levels_portable = {pick, raise_each, flatten, count, top};

/* ------------------------------------------------------------------ thirty-two at a time */

#ifdef __x86_64__

#define WIDE __attribute__((target("avx512f,avx512bw,avx512vbmi2,popcnt")))

/* The first of `people` from i on; chunks have few, so that what is left over counts. */
static inline uint32_t those(uint32_t people, uint32_t i)
{
    return people - i >= 32 ? UINT32_MAX : ((uint32_t)1 << (people - i)) - 1;
}

WIDE static uint32_t pick_wide(const uint16_t *levels, uint32_t people, uint32_t from, uint32_t to,
                               uint16_t *list)
{
    const uint32_t range = (to < LEVELS ? to : LEVELS) - 1 - from;
    const __m512i low = _mm512_set1_epi16((short)from), most = _mm512_set1_epi16((short)range);
    __m512i number = _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
                                      16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    uint32_t n = 0;
    for (uint32_t i = 0; i < people; i += 32) {
        const __mmask32 there = those(people, i);
        const __m512i above = _mm512_sub_epi16(_mm512_maskz_loadu_epi16(there, levels + i), low);
        const __mmask32 some = _mm512_mask_cmple_epu16_mask(there, above, most);
        _mm512_storeu_si512(list + n, _mm512_maskz_compress_epi16(some, number));
        n += (uint32_t)__builtin_popcount(some);
        number = _mm512_add_epi16(number, _mm512_set1_epi16(32));
    }
    return n;
}

WIDE static void raise_wide(uint16_t *levels, const int16_t *scores, uint32_t people,
                            uint16_t begin)
{
    const __m512i first = _mm512_set1_epi16((short)begin);
    for (uint32_t i = 0; i < people; i += 32) {
        const __mmask32 there = those(people, i);
        const __m512i level = _mm512_maskz_loadu_epi16(there, levels + i);
        const __m512i before =
            _mm512_mask_mov_epi16(first, _mm512_test_epi16_mask(level, level), level);
        const __m512i score = _mm512_maskz_loadu_epi16(there, scores + i);
        _mm512_mask_storeu_epi16(levels + i, there, _mm512_adds_epu16(before, score));
    }
}

WIDE static void flatten_wide(uint16_t *levels, uint32_t people, uint32_t to)
{
    const uint32_t highest = (to < LEVELS ? to : LEVELS) - 1;
    const __m512i most = _mm512_set1_epi16((short)highest), one = _mm512_set1_epi16(1);
    for (uint32_t i = 0; i < people; i += 32) {
        const __mmask32 there = those(people, i);
        const __m512i level = _mm512_maskz_loadu_epi16(there, levels + i);
        const __mmask32 some =
            _mm512_mask_cmple_epu16_mask(_mm512_test_epi16_mask(level, level), level, most);
        _mm512_mask_storeu_epi16(levels + i, there, _mm512_maskz_mov_epi16(some, one));
    }
}

WIDE static uint32_t count_wide(const uint16_t *levels, uint32_t people)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < people; i += 32) {
        const __m512i level = _mm512_maskz_loadu_epi16(those(people, i), levels + i);
        n += (uint32_t)__builtin_popcount(_mm512_test_epi16_mask(level, level));
    }
    return n;
}

WIDE static uint16_t top_wide(const uint16_t *levels, uint32_t people)
{
    __m512i highest = _mm512_setzero_si512();
    for (uint32_t i = 0; i < people; i += 32) {
        highest = _mm512_max_epu16(highest, _mm512_maskz_loadu_epi16(those(people, i), levels + i));
    }
    const __m256i half =
        _mm256_max_epu16(_mm512_castsi512_si256(highest), _mm512_extracti64x4_epi64(highest, 1));
    const __m128i eight =
        _mm_max_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    /* the least of what they lack */
    const __m128i least = _mm_minpos_epu16(_mm_xor_si128(eight, _mm_set1_epi16(-1)));
    return (uint16_t)~_mm_cvtsi128_si32(least);
}

static const struct levels_ops wide = {pick_wide, raise_wide, flatten_wide, count_wide, top_wide};

static const struct levels_ops *best(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2")
               ? &wide
               : &levels_portable;
}

#else

static const struct levels_ops *best(void)
{
    return &levels_portable;
}

#endif

uint32_t levels_pick(const uint16_t *levels, uint32_t people, uint32_t from, uint32_t to,
                     uint16_t *list)
{
    return from < to && from < LEVELS ? best()->pick(levels, people, from, to, list) : 0;
}

void levels_raise(uint16_t *levels, const int16_t *scores, uint32_t people, uint16_t begin)
{
    best()->raise(levels, scores, people, begin);
}

void levels_flatten(uint16_t *levels, uint32_t people, uint32_t to)
{
    best()->flatten(levels, people, to);
}

uint32_t levels_count(const uint16_t *levels, uint32_t people)
{
    return best()->count(levels, people);
}

uint16_t levels_top(const uint16_t *levels, uint32_t people)
{
    return best()->top(levels, people);
}

/* ------------------------------------------------------------------ counting them */

void levels_add(struct levels *l, const uint16_t *levels, uint64_t people)
{
    const uint32_t floor = l->floor;
    l->people += people;
    while (people > 0) {
        const uint32_t n = people < LEVELS_AT_ONCE ? (uint32_t)people : LEVELS_AT_ONCE;
        const uint32_t count = levels_pick(levels, n, floor, LEVELS, l->list);
        for (uint32_t k = 0; k < count; k++) {
            const uint32_t level = levels[l->list[k]];
            l->counts[level]++;
            l->end = level < l->end ? l->end : level + 1;
        }
        levels += n;
        people -= n;
    }
}

void levels_narrow(struct levels *l, uint64_t wanted, uint64_t of)
{
    uint32_t cut;
    if (l->narrowed || l->people == 0 || l->people < of / 32) {
        return;
    }
    l->narrowed = true;
    if (levels_cut(l, wanted * 3 / 2 * l->people / of + 1, &cut) && cut > l->floor) {
        l->floor = cut;
    }
}

bool levels_cut(const struct levels *l, uint64_t wanted, uint32_t *cut)
{
    uint64_t above = 0;
    *cut = l->end;
    while (*cut > l->floor && above < wanted) {
        above += l->counts[--*cut];
    }
    if (above < wanted && l->floor == l->lowest + 1) {
        *cut = l->lowest;
        return true;
    }
    return above >= wanted;
}
