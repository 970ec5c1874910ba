#include "checksum.h"

#include <zlib.h>

static uint32_t by_table(uint32_t before, const uint8_t *bytes, size_t len)
{
    return (uint32_t)crc32_z(before, bytes, len);
}

#if defined(__x86_64__)
#include <immintrin.h>

#define FOLDED 64u        /* bytes at a time */
#define FOLD_FROM 256u    /* bytes; for less it is not worth it */
#define NOTHING_YET (~0u) /* the checksum that stands for a remainder of 0 */

/* What lies `keys` many bits ahead of `next`, and `next` itself, have this remainder. */
__attribute__((target("pclmul,sse2"))) static inline __m128i fold(__m128i ahead, __m128i keys,
                                                                  __m128i next)
{
    const __m128i low = _mm_clmulepi64_si128(ahead, keys, 0x00);
    const __m128i high = _mm_clmulepi64_si128(ahead, keys, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

static inline __attribute__((target("sse2"))) __m128i load(const uint8_t *bytes, size_t i)
{
    return _mm_loadu_si128((const __m128i *)(const void *)bytes + i);
}

/* Folds the bytes into sixteen that have the same remainder (Gopal et al., Fast CRC Computation for
 * Generic Polynomials Using PCLMULQDQ Instruction, Intel 2009; the keys are theirs: x to the power
 * of 512 + 64 and 512, then of 128 + 64 and 128, modulo the polynomial, bits reflected). Their
 * checksum, and that of the rest, is then looked up. len: at least FOLDED. */
__attribute__((target("pclmul,sse2"))) static uint32_t by_folding(uint32_t before,
                                                                  const uint8_t *bytes, size_t len)
{
    const __m128i far = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i near = _mm_set_epi64x(0xccaa009e, 0x1751997d0);
    __m128i part[4];
    uint8_t rest[16];
    for (size_t i = 0; i < 4; i++) {
        part[i] = load(bytes, i);
    }
    part[0] = _mm_xor_si128(part[0], _mm_cvtsi32_si128((int)~before));
    for (bytes += FOLDED, len -= FOLDED; len >= FOLDED; bytes += FOLDED, len -= FOLDED) {
        for (size_t i = 0; i < 4; i++) {
            part[i] = fold(part[i], far, load(bytes, i));
        }
    }
    for (size_t i = 1; i < 4; i++) {
        part[i] = fold(part[i - 1], near, part[i]);
    }
    _mm_storeu_si128((__m128i *)(void *)rest, part[3]);
    return by_table(by_table(NOTHING_YET, rest, sizeof rest), bytes, len);
}

uint32_t checksum_after(uint32_t before, const void *bytes, size_t len)
{
    return len >= FOLD_FROM && __builtin_cpu_supports("pclmul") ? by_folding(before, bytes, len)
                                                                : by_table(before, bytes, len);
}
#else
uint32_t checksum_after(uint32_t before, const void *bytes, size_t len)
{
    return by_table(before, bytes, len);
}
#endif
