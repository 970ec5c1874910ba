/* A packed template's descriptors and minutiae into arrays. Included by kernel.c alone. */
#ifndef AFIS_MATCH_UNPACK_H
#define AFIS_MATCH_UNPACK_H

#include "packed.h"

#define UNPACK_STEP 8u /* minutiae at a time: 7 words of descriptors and 6 of fields */

#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>

/* Minutiae i to i + n - 1 (n at most UNPACK_STEP), of 48 bits each; false when a field is out of
 * range. Where n is less, what follows becomes 0. */
static inline bool unpack_minutiae(struct afis_finger *f, unsigned i, unsigned n,
                                   const uint8_t *bytes, unsigned shift)
{
    const __m512i third =
        _mm512_set_epi16(31, 23, 22, 21, 31, 20, 19, 18, 31, 17, 16, 15, 31, 14, 13, 12, 31, 11, 10,
                         9, 31, 8, 7, 6, 31, 5, 4, 3, 31, 2, 1, 0);
    const __m128i left = _mm_cvtsi32_si128((int)shift);
    const __m512i coordinate = _mm512_set1_epi64(PACKED_COORD_LIMIT - 1);
    const __m512i v = _mm512_permutexvar_epi16(
        third, _mm512_maskz_loadu_epi16(((uint32_t)1 << 3 * n) - 1, bytes));
    const __m512i x = _mm512_sll_epi64(_mm512_and_si512(v, coordinate), left);
    const __m512i y = _mm512_sll_epi64(
        _mm512_and_si512(_mm512_srli_epi64(v, PACKED_COORD_BITS), coordinate), left);
    const __m512i angle =
        _mm512_and_si512(_mm512_srli_epi64(v, 28 - PACKED_ANGLE_SHIFT),
                         _mm512_set1_epi64(0xffff & ~((1 << PACKED_ANGLE_SHIFT) - 1)));
    const __m512i type = _mm512_and_si512(_mm512_srli_epi64(v, 38), _mm512_set1_epi64(3));
    const __m512i quality = _mm512_srli_epi64(v, 40);
    _mm_storeu_si128((__m128i *)(f->x + i), _mm512_cvtepi64_epi16(x));
    _mm_storeu_si128((__m128i *)(f->y + i), _mm512_cvtepi64_epi16(y));
    _mm_storeu_si128((__m128i *)(f->angle + i), _mm512_cvtepi64_epi16(angle));
    _mm_storel_epi64((__m128i *)(f->type + i), _mm512_cvtepi64_epi8(type));
    _mm_storel_epi64((__m128i *)(f->quality + i), _mm512_cvtepi64_epi8(quality));
    const __mmask8 out =
        _mm512_cmpge_epu64_mask(x, _mm512_set1_epi64((long long)f->width * AFIS_SUBPIXEL)) |
        _mm512_cmpge_epu64_mask(y, _mm512_set1_epi64((long long)f->height * AFIS_SUBPIXEL)) |
        _mm512_cmpgt_epu64_mask(type, _mm512_set1_epi64(AFIS_MINUTIA_BIFURCATION)) |
        _mm512_cmpgt_epu64_mask(quality, _mm512_set1_epi64(100));
    return out == 0;
}

#else

static inline bool unpack_minutiae(struct afis_finger *f, unsigned i, unsigned n,
                                   const uint8_t *bytes, unsigned shift)
{
    bool sound = true;
    for (const unsigned end = i + n; i < end; i++, bytes += PACKED_MINUTIA) {
        const uint64_t v = load_eight(bytes - 2) >> 16; /* descriptors stand before */
        const unsigned x = (unsigned)(v & (PACKED_COORD_LIMIT - 1)) << shift,
                       y = (unsigned)(v >> PACKED_COORD_BITS & (PACKED_COORD_LIMIT - 1)) << shift;
        const unsigned type = (unsigned)(v >> 38 & 3), quality = (unsigned)(v >> 40 & 0xff);
        f->x[i] = (int16_t)x;
        f->y[i] = (int16_t)y;
        f->angle[i] = (uint16_t)((v >> 28 & 0x3ff) << PACKED_ANGLE_SHIFT);
        f->type[i] = (uint8_t)type;
        f->quality[i] = (uint8_t)quality;
        /* no branches in between */
        sound &= (x < (unsigned)f->width * AFIS_SUBPIXEL) &
                 (y < (unsigned)f->height * AFIS_SUBPIXEL) & (type <= AFIS_MINUTIA_BIFURCATION) &
                 (quality <= 100);
    }
    return sound;
}

#endif

/* match_ops.unpack. The checksum is a long chain of multiplications, each waiting for the one
 * before: its links are made beside the minutiae. */
static bool unpack(struct afis_finger *f, const uint8_t *bytes, size_t len)
{
    const uint8_t *descriptors = bytes + PACKED_HEADER,
                  *minutiae = descriptors + (size_t)f->count * PACKED_DESCRIPTOR;
    uint64_t h = checksum_begin(bytes);
    size_t at = PACKED_HEADER;
    bool sound = true;
    for (unsigned i = 0; i < f->count; i += UNPACK_STEP) {
        const unsigned n = f->count - i < UNPACK_STEP ? f->count - i : UNPACK_STEP;
        sound &= unpack_minutiae(f, i, n, minutiae + (size_t)i * PACKED_MINUTIA, bytes[3]);
        for (unsigned k = 0; k < n; k++) {
            f->descriptor[i + k] = load_eight(descriptors + (size_t)(i + k) * PACKED_DESCRIPTOR);
        }
        for (unsigned k = 0; k < 7 * UNPACK_STEP / 4 && len - at >= 8; k++, at += 8) {
            h = checksum_add(h, load_eight(bytes + at));
        }
    }
    return sound & (checksum_end(h, bytes, at, len) == load_bytes(bytes + 12, 4));
}

#endif
