/* Pairs of a probe's minutiae and those of a print that lie where its places say (sieve.h). Every
 * variant gives the same bits. Included by kernel.c alone. */
#ifndef AFIS_MATCH_MEET_H
#define AFIS_MATCH_MEET_H

#include "lanes.h"
#include "packed.h"

#define VECTOR 16u /* lanes that arrays are padded to */

#define GLANCE_DISTANCE 20 /* for the first impression alone: what the sieve rewards */
#define GLANCE_NEAR ((GLANCE_DISTANCE + 1) << 5) /* of seek_words */
#define GLANCE_PAIRS 16u
_Static_assert(GLANCE_PAIRS == VECTOR, "they are padded to a vector");
#define GLANCE_CLOSENESS 0.05f /* a pair's weight is this times 32 less its distance */

/* What lies where, and points where: of a pair's probe and gallery minutia. */
struct lie {
    float x, y, cosine, sine;
};

static inline void add_pair(struct pairs *q, unsigned i, unsigned j, struct lie p, struct lie g,
                            float weight)
{
    unsigned a = q->count++;
    q->i[a] = (int32_t)i;
    q->j[a] = (int32_t)j;
    q->px[a] = p.x;
    q->py[a] = p.y;
    q->gx[a] = g.x;
    q->gy[a] = g.y;
    q->c[a] = g.cosine * p.cosine + g.sine * p.sine;
    q->s[a] = g.sine * p.cosine - g.cosine * p.sine;
    q->weight[a] = weight;
}

static unsigned padded(unsigned n)
{
    return (n + VECTOR - 1) / VECTOR * VECTOR;
}

/* Fills the last vector with what no rotation is compatible with. */
static void pad_pairs(struct pairs *q)
{
    q->padded = padded(q->count);
    for (unsigned a = q->count; a < q->padded; a++) {
        q->i[a] = q->j[a] = -1;
        q->px[a] = q->py[a] = q->gx[a] = q->gy[a] = 0;
        q->c[a] = q->s[a] = q->weight[a] = 0;
    }
}

/* Of n 64ths of a turn. */
static const float sines[] = {
    0.000000000f,  0.098017140f,  0.195090322f,  0.290284677f,  0.382683432f,  0.471396737f,
    0.555570233f,  0.634393284f,  0.707106781f,  0.773010453f,  0.831469612f,  0.881921264f,
    0.923879533f,  0.956940336f,  0.980785280f,  0.995184727f,  1.000000000f,  0.995184727f,
    0.980785280f,  0.956940336f,  0.923879533f,  0.881921264f,  0.831469612f,  0.773010453f,
    0.707106781f,  0.634393284f,  0.555570233f,  0.471396737f,  0.382683432f,  0.290284677f,
    0.195090322f,  0.098017140f,  0.000000000f,  -0.098017140f, -0.195090322f, -0.290284677f,
    -0.382683432f, -0.471396737f, -0.555570233f, -0.634393284f, -0.707106781f, -0.773010453f,
    -0.831469612f, -0.881921264f, -0.923879533f, -0.956940336f, -0.980785280f, -0.995184727f,
    -1.000000000f, -0.995184727f, -0.980785280f, -0.956940336f, -0.923879533f, -0.881921264f,
    -0.831469612f, -0.773010453f, -0.707106781f, -0.634393284f, -0.555570233f, -0.471396737f,
    -0.382683432f, -0.290284677f, -0.195090322f, -0.098017140f};
_Static_assert(sizeof sines == sizeof *sines << PLACE_DIRECTION, "one for each direction");

static inline float place_step(const uint8_t *places)
{
    return (float)(1u << (places[PLACE_STEP] & 15)) / AFIS_SUBPIXEL;
}

/* The first GLANCE_PAIRS of the sieve's lanes and their nearest words that are near, and turn by no
 * more than a quarter. */
#if defined(__AVX512F__) && defined(__AVX512BW__)

/* Sixteen of the sines at those 64ths of a turn. */
static inline __m512 sines_of(__m512i turn)
{
    const __m512 low = _mm512_permutex2var_ps(_mm512_loadu_ps(sines), turn,
                                              _mm512_loadu_ps(sines + 16)),
                 high = _mm512_permutex2var_ps(_mm512_loadu_ps(sines + 32), turn,
                                               _mm512_loadu_ps(sines + 48));
    return _mm512_mask_mov_ps(low, _mm512_test_epi32_mask(turn, _mm512_set1_epi32(32)), high);
}

/* Sixteen lanes of the sieve beside the minutiae that they met. */
struct met {
    __m512 x, y, c, s;
    __m512i nearest;
    __mmask16 taken;
};

static inline struct met meet(const struct afis_sieve *sieve, unsigned from, __m512i nearest,
                              const uint8_t *places)
{
    struct met met = {.nearest = nearest};
    const __m512 cosine = _mm512_loadu_ps(sieve->cosine + from),
                 sine = _mm512_loadu_ps(sieve->sine + from);
    const __m512 step = _mm512_set1_ps(place_step(places));
    const __m512i coordinate = _mm512_set1_epi32((1 << PLACE_COORD) - 1);
    const __m512i at = _mm512_mullo_epi32(_mm512_and_si512(nearest, _mm512_set1_epi32(31)),
                                          _mm512_set1_epi32(PLACE_BITS));
    const __m512i v = _mm512_srlv_epi32(_mm512_i32gather_epi32(_mm512_srli_epi32(at, 3), places, 1),
                                        _mm512_and_si512(at, _mm512_set1_epi32(7)));
    met.x = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_and_si512(v, coordinate)), step);
    met.y = _mm512_mul_ps(
        _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(v, PLACE_COORD), coordinate)), step);
    const __m512i turn = _mm512_and_si512(_mm512_srli_epi32(v, 2 * PLACE_COORD),
                                          _mm512_set1_epi32((1 << PLACE_DIRECTION) - 1));
    const __m512 s = sines_of(turn),
                 c = sines_of(_mm512_and_si512(_mm512_add_epi32(turn, _mm512_set1_epi32(16)),
                                               _mm512_set1_epi32(63)));
    met.c = _mm512_add_ps(_mm512_mul_ps(c, cosine), _mm512_mul_ps(s, sine));
    met.s = _mm512_sub_ps(_mm512_mul_ps(s, cosine), _mm512_mul_ps(c, sine));
    met.taken = _mm512_cmplt_epu32_mask(nearest, _mm512_set1_epi32(GLANCE_NEAR)) &
                _mm512_cmp_ps_mask(met.c, _mm512_setzero_ps(), _CMP_GE_OQ);
    return met;
}

/* The first sixteen of the lanes that are taken. */
static inline __m512i first_taken(__mmask16 low, __mmask16 high)
{
    const __m512i number = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i behind =
        _mm512_maskz_compress_epi32(high, _mm512_add_epi32(number, _mm512_set1_epi32(16)));
    return _mm512_mask_expand_epi32(_mm512_maskz_compress_epi32(low, number),
                                    (__mmask16)(0xffffu << __builtin_popcount(low)), behind);
}

static inline void store_first(float *to, __mmask16 there, __m512i first, __m512 low, __m512 high)
{
    _mm512_store_ps(to, _mm512_maskz_permutex2var_ps(there, low, first, high));
}

static inline void pair_near(struct pairs *q, const struct afis_sieve *sieve, const uint64_t *words,
                             const uint8_t *places)
{
    const uint32_t used = sieve->count == 32 ? UINT32_MAX : ((uint32_t)1 << sieve->count) - 1;
    __m512i nearest[2];
    seek_words(sieve, words, nearest);
    struct met low = meet(sieve, 0, nearest[0], places), high = meet(sieve, 16, nearest[1], places);
    low.taken &= (__mmask16)used;
    high.taken &= (__mmask16)(used >> 16);
    const __m512i first = first_taken(low.taken, high.taken);
    const __m512i met = _mm512_permutex2var_epi32(low.nearest, first, high.nearest);
    const __m512i closeness = _mm512_sub_epi32(_mm512_set1_epi32(32), _mm512_srli_epi32(met, 5));
    const unsigned taken =
        (unsigned)(__builtin_popcount(low.taken) + __builtin_popcount(high.taken));
    q->count = taken < GLANCE_PAIRS ? taken : GLANCE_PAIRS;
    q->padded = GLANCE_PAIRS; /* as pad_pairs would */
    const __mmask16 there = (__mmask16)((1u << q->count) - 1);
    const __m512i none = _mm512_set1_epi32(-1);
    store_first(q->px, there, first, _mm512_loadu_ps(sieve->x), _mm512_loadu_ps(sieve->x + 16));
    store_first(q->py, there, first, _mm512_loadu_ps(sieve->y), _mm512_loadu_ps(sieve->y + 16));
    store_first(q->gx, there, first, low.x, high.x);
    store_first(q->gy, there, first, low.y, high.y);
    store_first(q->c, there, first, low.c, high.c);
    store_first(q->s, there, first, low.s, high.s);
    _mm512_store_ps(q->weight, _mm512_maskz_mul_ps(there, _mm512_cvtepi32_ps(closeness),
                                                   _mm512_set1_ps(GLANCE_CLOSENESS)));
    _mm512_store_si512(q->i, _mm512_mask_mov_epi32(none, there, first));
    _mm512_store_si512(q->j, _mm512_mask_and_epi32(none, there, met, _mm512_set1_epi32(31)));
}

#else

/* Where minutia j of a print lies, as its places say. */
static inline struct lie lie_at(const uint8_t *places, unsigned j, float step)
{
    const unsigned at = j * PLACE_BITS, mask = (1 << PLACE_COORD) - 1;
    const unsigned v = (unsigned)load_bytes(places + at / 8, 3) >> at % 8;
    const unsigned direction = v >> 2 * PLACE_COORD & ((1 << PLACE_DIRECTION) - 1);
    return (struct lie){(float)(v & mask) * step, (float)(v >> PLACE_COORD & mask) * step,
                        sines[(direction + 16) & 63], sines[direction]};
}

static inline void pair_near(struct pairs *q, const struct afis_sieve *sieve, const uint64_t *words,
                             const uint8_t *places)
{
    const float step = place_step(places);
    uint16_t nearest[SIEVE_LANES];
    seek_words(sieve, words, nearest);
    q->count = 0;
    for (unsigned k = 0; k < sieve->count && q->count < GLANCE_PAIRS; k++) {
        if (nearest[k] < GLANCE_NEAR) {
            const unsigned j = nearest[k] & 31;
            const struct lie p = {sieve->x[k], sieve->y[k], sieve->cosine[k], sieve->sine[k]};
            add_pair(q, k, j, p, lie_at(places, j, step),
                     (float)(32 - (nearest[k] >> 5)) * GLANCE_CLOSENESS);
            q->count -= q->c[q->count - 1] < 0;
        }
    }
    pad_pairs(q);
}

#endif

#endif
