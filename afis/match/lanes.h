/* The two innermost questions of the comparison, answered for all minutiae of a finger at once as
 * one bit each. Every variant gives the same bits: integers, or the same float operations in the
 * same order. Included by kernel.c alone. */
#ifndef AFIS_MATCH_LANES_H
#define AFIS_MATCH_LANES_H

#include <string.h>

#include "internal.h"
#include "sieve.h"

/* A vector register of floats, by the compiler's extension. */
#if defined(__AVX512F__)
#define LANES 16u
#elif defined(__AVX2__)
#define LANES 8u
#else
#define LANES 4u
#endif
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t lane_ints __attribute__((vector_size(4 * LANES)));

static inline lanes load(const float *from)
{
    lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline lane_ints load_ints(const int32_t *from)
{
    lane_ints v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline void store(float *to, lanes v)
{
    memcpy(to, &v, sizeof v);
}

/* v where the mask is set, 0 elsewhere. */
static inline lanes where(lane_ints mask, lanes v)
{
    return (lanes)(mask & (lane_ints)v);
}

#if defined(__AVX512VPOPCNTDQ__) && defined(__AVX512BW__)
#include <immintrin.h>

/* Of each lane of the sieve the nearest word, the first among equals: distance * 32 + its number.
 */
static inline void seek_words(const struct afis_sieve *sieve, const uint64_t *words,
                              __m512i nearest[2])
{
    __m512i least[SIEVE_LANES / 8];
    for (unsigned v = 0; v < SIEVE_LANES / 8; v++) {
        least[v] = _mm512_set1_epi64(UINT16_MAX);
    }
#pragma GCC unroll 24
    for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
        const __m512i word = _mm512_set1_epi64((long long)words[k]);
        const __m512i number = _mm512_set1_epi64((long long)((uint64_t)k << 59)); /* shifted in */
        for (unsigned v = 0; v < SIEVE_LANES / 8; v++) {
            const __m512i apart = _mm512_xor_si512(_mm512_loadu_si512(sieve->lane + 8 * v), word);
            const __m512i both = _mm512_shldi_epi64(_mm512_popcnt_epi64(apart), number, 5);
            least[v] = _mm512_min_epu16(least[v], both);
        }
    }
    for (unsigned h = 0; h < 2; h++) {
        nearest[h] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(least[2 * h])),
                                        _mm512_cvtepi64_epi32(least[2 * h + 1]), 1);
    }
}

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

#elif defined(__AVX2__)
#include <immintrin.h>

/* Bits set in each 64-bit lane, by table look-up of nibbles (Mula, Kurz & Lemire, "Faster
 * Population Counts Using AVX2 Instructions", The Computer Journal 2018). */
static inline __m256i popcounts(__m256i x)
{
    const __m256i of_nibble = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1,
                                               1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low = _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(x, nibble));
    __m256i high =
        _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
    return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
}

static inline void seek_words(const struct afis_sieve *sieve, const uint64_t *words,
                              uint16_t nearest[SIEVE_LANES])
{
    for (unsigned v = 0; v < SIEVE_LANES; v += 4) {
        const __m256i lane = _mm256_loadu_si256((const __m256i *)(sieve->lane + v));
        __m256i least = _mm256_set1_epi64x(UINT16_MAX);
        for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
            const __m256i word = _mm256_set1_epi64x((long long)words[k]);
            const __m256i distance = popcounts(_mm256_xor_si256(lane, word));
            least = _mm256_min_epu16(
                least, _mm256_or_si256(_mm256_slli_epi64(distance, 5), _mm256_set1_epi64x(k)));
        }
        uint64_t four[4];
        _mm256_storeu_si256((__m256i *)four, least);
        for (unsigned i = 0; i < 4; i++) {
            nearest[v + i] = (uint16_t)four[i];
        }
    }
}

static inline uint64_t alike_mask(const struct afis_finger *g, uint64_t d, uint16_t angle,
                                  unsigned distance_max)
{
    const __m256i wanted = _mm256_set1_epi64x((long long)d);
    const __m256i beyond = _mm256_set1_epi64x((long long)distance_max + 1);
    uint64_t alike = 0, turned = 0;
    for (unsigned j = 0; j < g->count; j += 8) {
        const __m256i *at = (const __m256i *)(g->descriptor + j);
        __m256i a = popcounts(_mm256_xor_si256(_mm256_loadu_si256(at), wanted));
        __m256i b = popcounts(_mm256_xor_si256(_mm256_loadu_si256(at + 1), wanted));
        int low = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(beyond, a)));
        int high = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(beyond, b)));
        alike |= (uint64_t)(unsigned)(low | high << 4) << j;
    }
    const __m256i a = _mm256_set1_epi16((short)angle), quarter = _mm256_set1_epi16(16384);
    for (unsigned j = 0; j < g->count; j += 32) {
        const __m256i *at = (const __m256i *)(g->angle + j);
        __m256i t = _mm256_abs_epi16(_mm256_sub_epi16(_mm256_loadu_si256(at), a));
        __m256i u = _mm256_abs_epi16(_mm256_sub_epi16(_mm256_loadu_si256(at + 1), a));
        /* abs(-32768) stays -32768; as unsigned it is the largest, so compare by the minimum. */
        t = _mm256_cmpeq_epi16(_mm256_min_epu16(t, quarter), t);
        u = _mm256_cmpeq_epi16(_mm256_min_epu16(u, quarter), u);
        __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(t, u), 0xd8);
        turned |= (uint64_t)(unsigned)_mm256_movemask_epi8(both) << j;
    }
    return alike & turned;
}

#else

static inline void seek_words(const struct afis_sieve *sieve, const uint64_t *words,
                              uint16_t nearest[SIEVE_LANES])
{
    for (unsigned v = 0; v < SIEVE_LANES; v++) {
        unsigned least = UINT16_MAX;
        for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
            const unsigned distance = (unsigned)__builtin_popcountll(sieve->lane[v] ^ words[k]);
            least = (distance << 5 | k) < least ? distance << 5 | k : least;
        }
        nearest[v] = (uint16_t)least;
    }
}

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

#endif
#if !(defined(__AVX512VPOPCNTDQ__) && defined(__AVX512BW__))
#ifdef __AVX2__

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
