/* The loop over millions of prints: see afis/sieve.h. Compiled once for any processor and once for
 * each wider instruction set; all of them return the same bits. */
#include "sieve.h"

#ifndef SIEVE_SCAN
#define SIEVE_SCAN afis_sieve_scan_portable
#endif

#if defined(__AVX512VPOPCNTDQ__) && defined(__AVX512BW__)
#include <immintrin.h>

/* The least distances of eight lanes to a print's words; only the lowest byte of a lane is used. */
static inline __m512i nearer(__m512i least, __m512i lane, __m512i word)
{
    return _mm512_min_epu8(least, _mm512_popcnt_epi64(_mm512_xor_si512(lane, word)));
}

void SIEVE_SCAN(const struct afis_sieve *sieve, const uint64_t *all, const uint16_t *rows,
                size_t prints, int16_t *scores)
{
    const __m512i a = _mm512_loadu_si512(sieve->lane), b = _mm512_loadu_si512(sieve->lane + 8);
    const __m512i c = _mm512_loadu_si512(sieve->lane + 16),
                  d = _mm512_loadu_si512(sieve->lane + 24);
    const __m512i worth_low = _mm512_loadu_si512(sieve->worth),
                  worth_high = _mm512_loadu_si512(sieve->worth + 32);
    const __m512i most = _mm512_set1_epi64(63), ones = _mm512_set1_epi16(1);
    for (size_t p = 0; p < prints; p++) {
        const uint64_t *words = sieve_print(all, rows, p);
        __m512i la = most, lb = most, lc = most, ld = most;
#pragma GCC unroll 24
        for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
            const __m512i word = _mm512_set1_epi64((long long)words[k]);
            la = nearer(la, a, word);
            lb = nearer(lb, b, word);
            lc = nearer(lc, c, word);
            ld = nearer(ld, d, word);
        }
        __m512i distance =
            _mm512_or_si512(_mm512_or_si512(la, _mm512_slli_epi64(lb, 16)),
                            _mm512_or_si512(_mm512_slli_epi64(lc, 32), _mm512_slli_epi64(ld, 48)));
        __m512i worth = _mm512_permutex2var_epi16(worth_low, distance, worth_high);
        worth = _mm512_madd_epi16(_mm512_maskz_mov_epi16(sieve->used, worth), ones);
        scores[p] = (int16_t)_mm512_reduce_add_epi32(worth);
    }
}

#elif defined(__AVX2__)
#include <immintrin.h>

/* Bits set in each 64-bit lane, by nibbles (Mula, Kurz & Lemire, "Faster population counts using
 * AVX2 instructions", 2018). */
static inline __m256i count_bits(__m256i v)
{
    const __m256i of_nibble = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1,
                                               1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low = _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(v, nibble));
    __m256i high =
        _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));
    return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
}

void SIEVE_SCAN(const struct afis_sieve *sieve, const uint64_t *all, const uint16_t *rows,
                size_t prints, int16_t *scores)
{
    for (size_t p = 0; p < prints; p++) {
        const uint64_t *words = sieve_print(all, rows, p);
        int sum = 0;
        for (unsigned v = 0; v < SIEVE_LANES; v += 4) {
            const __m256i lane = _mm256_loadu_si256((const __m256i *)(sieve->lane + v));
            __m256i least = _mm256_set1_epi64x(63);
            for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
                __m256i word = _mm256_set1_epi64x((long long)words[k]);
                least = _mm256_min_epu8(least, count_bits(_mm256_xor_si256(lane, word)));
            }
            uint64_t distance[4];
            _mm256_storeu_si256((__m256i *)distance, least);
            for (unsigned i = 0; i < 4; i++) {
                sum += sieve->used >> SIEVE_BIT(v + i) & 1u ? sieve->worth[distance[i]] : 0;
            }
        }
        scores[p] = (int16_t)sum;
    }
}

#else

void SIEVE_SCAN(const struct afis_sieve *sieve, const uint64_t *all, const uint16_t *rows,
                size_t prints, int16_t *scores)
{
    for (size_t p = 0; p < prints; p++) {
        const uint64_t *words = sieve_print(all, rows, p);
        int sum = 0;
        for (unsigned lane = 0; lane < SIEVE_LANES; lane++) {
            unsigned least = 63;
            for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
                unsigned distance = (unsigned)__builtin_popcountll(sieve->lane[lane] ^ words[k]);
                least = distance < least ? distance : least;
            }
            sum += sieve->used >> SIEVE_BIT(lane) & 1u ? sieve->worth[least] : 0;
        }
        scores[p] = (int16_t)sum;
    }
}

#endif
