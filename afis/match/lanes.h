/* The two innermost questions of the comparison, answered for all minutiae of a finger at once as
 * one bit each. Every variant gives the same bits: integers, or the same float operations in the
 * same order. Included by kernel.c alone. */
#ifndef AFIS_MATCH_LANES_H
#define AFIS_MATCH_LANES_H

#include "internal.h"

#if defined(__AVX512VPOPCNTDQ__) && defined(__AVX512BW__)
#include <immintrin.h>

/* Minutiae whose descriptor differs from d in at most distance_max bits and whose angle differs
 * from `angle` by at most a quarter turn. */
static inline uint64_t alike_mask(const struct afis_finger *g, uint64_t d, uint16_t angle,
                                  unsigned distance_max)
{
    const __m512i wanted = _mm512_set1_epi64((long long)d);
    const __m512i limit = _mm512_set1_epi64((long long)distance_max);
    uint64_t alike = 0, turned = 0;
    for (unsigned j = 0; j < g->count; j += 8) {
        __m512i x = _mm512_xor_si512(_mm512_loadu_si512(g->descriptor + j), wanted);
        alike |= (uint64_t)_mm512_cmple_epu64_mask(_mm512_popcnt_epi64(x), limit) << j;
    }
    const __m512i a = _mm512_set1_epi16((short)angle), quarter = _mm512_set1_epi16(16384);
    for (unsigned j = 0; j < g->count; j += 32) {
        __m512i turn = _mm512_abs_epi16(_mm512_sub_epi16(_mm512_loadu_si512(g->angle + j), a));
        turned |= (uint64_t)_mm512_cmple_epu16_mask(turn, quarter) << j;
    }
    return alike & turned;
}

/* Minutiae within `limit` squared pixels of (x, y) whose direction has a cosine above cos_turn
 * with (c, s). */
static inline uint64_t near_mask(const struct afis_finger *g, float x, float y, float c, float s,
                                 float limit, float cos_turn)
{
    uint64_t near = 0;
    for (unsigned j = 0; j < g->count; j += 16) {
        __m512 dx = _mm512_sub_ps(_mm512_loadu_ps(g->px + j), _mm512_set1_ps(x));
        __m512 dy = _mm512_sub_ps(_mm512_loadu_ps(g->py + j), _mm512_set1_ps(y));
        __m512 d2 = _mm512_add_ps(_mm512_mul_ps(dx, dx), _mm512_mul_ps(dy, dy));
        __m512 parallel =
            _mm512_add_ps(_mm512_mul_ps(_mm512_loadu_ps(g->cosine + j), _mm512_set1_ps(c)),
                          _mm512_mul_ps(_mm512_loadu_ps(g->sine + j), _mm512_set1_ps(s)));
        __mmask16 m = _mm512_cmp_ps_mask(d2, _mm512_set1_ps(limit), _CMP_LT_OQ) &
                      _mm512_cmp_ps_mask(parallel, _mm512_set1_ps(cos_turn), _CMP_GT_OQ);
        near |= (uint64_t)m << j;
    }
    return near;
}

#else

static inline uint64_t alike_mask(const struct afis_finger *g, uint64_t d, uint16_t angle,
                                  unsigned distance_max)
{
    uint64_t alike = 0;
    for (unsigned j = 0; j < g->count; j++) {
        uint16_t turn = (uint16_t)(g->angle[j] - angle + 16384);
        uint64_t ok = (turn <= 32768) &
                      ((unsigned)__builtin_popcountll(d ^ g->descriptor[j]) <= distance_max);
        alike |= ok << j;
    }
    return alike;
}

#ifdef __AVX2__
#include <immintrin.h>

static inline uint64_t near_mask(const struct afis_finger *g, float x, float y, float c, float s,
                                 float limit, float cos_turn)
{
    uint64_t near = 0;
    for (unsigned j = 0; j < g->count; j += 8) {
        __m256 dx = _mm256_sub_ps(_mm256_loadu_ps(g->px + j), _mm256_set1_ps(x));
        __m256 dy = _mm256_sub_ps(_mm256_loadu_ps(g->py + j), _mm256_set1_ps(y));
        __m256 d2 = _mm256_add_ps(_mm256_mul_ps(dx, dx), _mm256_mul_ps(dy, dy));
        __m256 parallel =
            _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(g->cosine + j), _mm256_set1_ps(c)),
                          _mm256_mul_ps(_mm256_loadu_ps(g->sine + j), _mm256_set1_ps(s)));
        __m256 ok = _mm256_and_ps(_mm256_cmp_ps(d2, _mm256_set1_ps(limit), _CMP_LT_OQ),
                                  _mm256_cmp_ps(parallel, _mm256_set1_ps(cos_turn), _CMP_GT_OQ));
        near |= (uint64_t)(unsigned)_mm256_movemask_ps(ok) << j;
    }
    return near;
}

#else

static inline uint64_t near_mask(const struct afis_finger *g, float x, float y, float c, float s,
                                 float limit, float cos_turn)
{
    uint64_t near = 0;
    for (unsigned j = 0; j < g->count; j++) {
        float dx = g->px[j] - x, dy = g->py[j] - y;
        float parallel = g->cosine[j] * c + g->sine[j] * s;
        near |= (uint64_t)((dx * dx + dy * dy < limit) & (parallel > cos_turn)) << j;
    }
    return near;
}

#endif
#endif
#endif
