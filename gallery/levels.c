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
    memset(l->counts, 0, LEVELS * sizeof *l->counts);
    l->floor = l->lowest + 1;
    l->people = 0;
    l->narrowed = false;
}

uint32_t levels_pick_portable(const uint16_t *levels, uint32_t people, uint32_t from, uint32_t to,
                              uint16_t *list)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < people; i++) { /* no branch: it could not be foreseen */
        list[count] = (uint16_t)i;
        count += levels[i] >= from && levels[i] < to;
    }
    return count;
}

#ifdef __x86_64__

/* Those whose level is at most `range` above `from`. */
__attribute__((target("avx512f,avx512bw,avx512vbmi2"))) static uint32_t
pick_wide(const uint16_t *levels, uint32_t people, uint16_t from, uint16_t range, uint16_t *list)
{
    const __m512i low = _mm512_set1_epi16((short)from), most = _mm512_set1_epi16((short)range);
    __m512i number = _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
                                      16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    uint32_t count = 0;
    for (uint32_t i = 0; i < people; i += 32) {
        const __mmask32 there = people - i >= 32 ? UINT32_MAX : ((uint32_t)1 << (people - i)) - 1;
        const __m512i above = _mm512_sub_epi16(_mm512_maskz_loadu_epi16(there, levels + i), low);
        const __mmask32 some = _mm512_mask_cmple_epu16_mask(there, above, most);
        _mm512_storeu_si512(list + count, _mm512_maskz_compress_epi16(some, number));
        count += (uint32_t)__builtin_popcount(some);
        number = _mm512_add_epi16(number, _mm512_set1_epi16(32));
    }
    return count;
}

#endif

uint32_t levels_pick(const uint16_t *levels, uint32_t people, uint32_t from, uint32_t to,
                     uint16_t *list)
{
    to = to < LEVELS ? to : LEVELS;
    if (from >= to) {
        return 0;
    }
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2")) {
        return pick_wide(levels, people, (uint16_t)from, (uint16_t)(to - 1 - from), list);
    }
#endif
    return levels_pick_portable(levels, people, from, to, list);
}

void levels_add(struct levels *l, const uint16_t *levels, uint64_t people)
{
    const uint32_t floor = l->floor;
    l->people += people;
    while (people > 0) {
        const uint32_t n = people < LEVELS_AT_ONCE ? (uint32_t)people : LEVELS_AT_ONCE;
        const uint32_t count = levels_pick(levels, n, floor, LEVELS, l->list);
        for (uint32_t k = 0; k < count; k++) {
            l->counts[levels[l->list[k]]]++;
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
    *cut = LEVELS;
    while (*cut > l->floor && above < wanted) {
        above += l->counts[--*cut];
    }
    if (above < wanted && l->floor == l->lowest + 1) {
        *cut = l->lowest;
        return true;
    }
    return above >= wanted;
}

uint16_t levels_top(const uint16_t *levels, uint32_t people)
{
    uint16_t top = 0;
    for (uint32_t i = 0; i < people; i++) {
        top = levels[i] > top ? levels[i] : top;
    }
    return top;
}
