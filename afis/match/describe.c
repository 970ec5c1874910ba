/* Binary descriptors of a minutia's neighbourhood.
 *
 * The neighbourhood is a cylinder in the sense of Cappelli, Ferrara & Maltoni, "Minutia
 * Cylinder-Code", PAMI 2010: a grid of cells around the minutia, turned into its direction, with a
 * few sections of relative direction, each cell telling how strongly minutiae near it point that
 * way. Where that paper thresholds each cell, ours are projected by a learned matrix onto 64
 * values whose signs are the descriptor (afis/train/README.md).
 *
 * Compiled once for any processor and once for each wider instruction set, like kernel.c. All give
 * the same bits: cells are summed lane by lane in the order of the minutiae, without contraction,
 * and projected in whole numbers. */
#include <math.h>
#include <string.h>

#include "internal.h"
#include "projection.h"

#ifndef DESCRIBE_OPS
#define DESCRIBE_OPS afis_describe_ops_portable
#endif

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define RADIUS (85.0f * AFIS_SUBPIXEL)     /* half the cylinder's side */
#define SIGMA_SPACE (9.3f * AFIS_SUBPIXEL) /* of a neighbour's influence */
#define SIGMA_ANGLE (40.0f / 360 * 65536)  /* binary angle */
#define CELL (2 * RADIUS / CYLINDER_SIDE)
#define NEGLIGIBLE 1e-4f
#define INFLUENCE (4.3f * SIGMA_SPACE) /* further away it is negligible */
#define REACH (RADIUS - CELL / 2 + INFLUENCE)

enum {
    ROW = CYLINDER_SIDE * CYLINDER_SECTIONS, /* cells at one distance along the direction */
    ROW_LANES = 64,                          /* ... padded to whole vectors */
    BITS = 64,
    UNIT = 8192, /* of a cell, projected: sums of 600 times 128 of it stay within 32 bits */
    TOGETHER = 4 /* minutiae projected in one pass over the matrix */
};

/* As many lanes as the instruction set has. */
#if defined(__AVX512BW__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t whole_lanes __attribute__((vector_size(4 * LANES)));
typedef uint32_t bit_lanes __attribute__((vector_size(4 * LANES)));

enum { PARTS = ROW_LANES / LANES }; /* vectors of a row */

_Static_assert(CYLINDER_SIDE + CYLINDER_SECTIONS == 16, "16 lanes hold them");

static inline lanes load(const float *from)
{
    lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline lanes where(whole_lanes mask, lanes v)
{
    return (lanes)((whole_lanes)v & mask);
}

/* e^x for -80 < x <= 0 by the Taylor series of 2^f on +-1/2: no library's rounding comes
 * in. */
static inline lanes exponential(lanes x)
{
    lanes t = x * 1.44269504f;
    whole_lanes whole = __builtin_convertvector(t - 0.5f, whole_lanes); /* towards 0: the nearest */
    lanes f = t - __builtin_convertvector(whole, lanes);
    lanes p = f * 1.54035e-4f + 1.3333558e-3f;
    p = p * f + 9.6181291e-3f;
    p = p * f + 5.5504109e-2f;
    p = p * f + 2.4022651e-1f;
    p = p * f + 6.9314718e-1f;
    p = p * f + 1;
    return where(x > -80.0f, p * (lanes)((bit_lanes)(whole + 127) << 23));
}

/* Gaussians of 16 distances in units of their deviation. */
static inline void bells(const float x[16], float out[16])
{
    for (unsigned k = 0; k < 16; k += LANES) {
        lanes d = load(x + k);
        d = exponential(d * d * -0.5f);
        memcpy(out + k, &d, sizeof d);
    }
}

/* The grid's coordinates in units of the neighbour's deviation, and lanes that are not used. */
#define AT(k) ((CELL / 2 - RADIUS + CELL * (k)) / SIGMA_SPACE)
static const float grid[16] = {AT(0), AT(1), AT(2), AT(3), AT(4),
                               AT(5), AT(6), AT(7), AT(8), AT(9)};

#if defined(__AVX512BW__)

/* Lane l of a row is at l / 6 across and in section l % 6. */
static inline void fan_out(const float along[16], const float across[16], lanes spread[PARTS],
                           lanes section[PARTS])
{
    static const whole_lanes place[PARTS] = {{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2},
                                             {2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 5, 5},
                                             {5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7},
                                             {8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 15, 15, 15, 15}};
    static const whole_lanes turn[3] = {
        {10, 11, 12, 13, 14, 15, 10, 11, 12, 13, 14, 15, 10, 11, 12, 13},
        {14, 15, 10, 11, 12, 13, 14, 15, 10, 11, 12, 13, 14, 15, 10, 11},
        {12, 13, 14, 15, 10, 11, 12, 13, 14, 15, 10, 11, 12, 13, 14, 15}};
    const lanes a = load(along), b = load(across);
    for (unsigned q = 0; q < PARTS; q++) {
        spread[q] = __builtin_shuffle(b, place[q]);
        section[q] = __builtin_shuffle(a, turn[q % 3]);
    }
}

#else

static inline void fan_out(const float along[16], const float across[16], lanes spread[PARTS],
                           lanes section[PARTS])
{
    float wide[ROW_LANES] = {0}, turned[ROW_LANES] = {0};
    for (unsigned k = 0; k < CYLINDER_SIDE; k++) {
        for (unsigned q = 0; q < CYLINDER_SECTIONS; q++) {
            wide[k * CYLINDER_SECTIONS + q] = across[k];
            turned[k * CYLINDER_SECTIONS + q] = along[CYLINDER_SIDE + q];
        }
    }
    for (unsigned q = 0; q < PARTS; q++) {
        spread[q] = load(wide + (size_t)q * LANES);
        section[q] = load(turned + (size_t)q * LANES);
    }
}

#endif

/* The first and the last coordinate of the grid on which a neighbour at `at` acts. */
static inline unsigned below(float at)
{
    int k = (int)((at - CELL / 2 + RADIUS - INFLUENCE) * (1 / CELL) + 1); /* towards 0: upwards */
    return k > 0 ? (unsigned)k : 0;
}

static inline unsigned above(float at)
{
    int k = (int)((at - CELL / 2 + RADIUS + INFLUENCE) * (1 / CELL));
    return k < CYLINDER_SIDE ? (unsigned)k : CYLINDER_SIDE - 1;
}

/* A minutia's neighbours in its own frame, and how strongly each acts on every coordinate of the
 * grid: `along` for u, then the sections; `across` for v. One stage after the other, so that no
 * neighbour waits for the one before. */
struct neighbours {
    unsigned count;
    float u[FINGER_MINUTIAE], v[FINGER_MINUTIAE];
    uint16_t turn[FINGER_MINUTIAE];
    float along[FINGER_MINUTIAE][16], across[FINGER_MINUTIAE][16];
};

static inline void list_neighbours(const struct afis_finger *f, unsigned centre,
                                   struct neighbours *near)
{
    const float turn = (float)f->angle[centre] / 65536.0f;
    const float c = cosf(turn * 2 * (float)M_PI), s = sinf(turn * 2 * (float)M_PI);
    unsigned n = 0;
    for (unsigned i = 0; i < f->count && n < FINGER_MINUTIAE; i++) {
        float dx = (float)(f->x[i] - f->x[centre]);
        float dy = (float)(f->y[centre] - f->y[i]); /* angles are y up */
        float u = c * dx + s * dy, v = c * dy - s * dx;
        near->u[n] = u;
        near->v[n] = v;
        near->turn[n] = (uint16_t)(f->angle[i] - f->angle[centre]);
        n += (fabsf(u) < REACH) & (fabsf(v) < REACH) & (i != centre);
    }
    near->count = n;
}

static inline void ring_bells(struct neighbours *near)
{
    for (unsigned n = 0; n < near->count; n++) {
        float x[16], y[16];
        for (unsigned k = 0; k < 16; k++) {
            x[k] = near->u[n] * (1 / SIGMA_SPACE) - grid[k];
            y[k] = near->v[n] * (1 / SIGMA_SPACE) - grid[k];
        }
        for (unsigned k = 0; k < CYLINDER_SECTIONS; k++) {
            int16_t away = (int16_t)(uint16_t)(near->turn[n] - (65536 * k + 3) / CYLINDER_SECTIONS);
            x[CYLINDER_SIDE + k] = (float)away * (1 / SIGMA_ANGLE);
        }
        bells(x, near->along[n]);
        bells(y, near->across[n]);
    }
}

static inline void add_neighbour(const struct neighbours *near, unsigned n,
                                 lanes cells[CYLINDER_SIDE][PARTS])
{
    const float *along = near->along[n];
    lanes spread[PARTS], section[PARTS];
    fan_out(along, near->across[n], spread, section);
    const unsigned last = above(near->u[n]), first = below(near->v[n]) * CYLINDER_SECTIONS / LANES;
    const unsigned end = (above(near->v[n]) + 1) * CYLINDER_SECTIONS - 1;
    for (unsigned k = below(near->u[n]); k <= last; k++) {
        if (along[k] < NEGLIGIBLE) {
            continue;
        }
        for (unsigned q = first; q <= end / LANES; q++) {
            lanes both = along[k] * spread[q];
            cells[k][q] += where(both >= NEGLIGIBLE, both * section[q]);
        }
    }
}

static void surround(const struct afis_finger *f, unsigned centre, struct neighbours *near,
                     float out[CYLINDER_SIDE][ROW_LANES])
{
    lanes cells[CYLINDER_SIDE][PARTS] = {0};
    list_neighbours(f, centre, near);
    ring_bells(near);
    for (unsigned n = 0; n < near->count; n++) {
        add_neighbour(near, n, cells);
    }
    memcpy(out, cells, sizeof cells);
    float *cell = out[0];
    for (unsigned k = 0; k < CYLINDER_SIDE * ROW_LANES; k++) {
        cell[k] = sqrtf(cell[k]);
    }
    explicit_bzero(cells, sizeof cells);
}

/* One neighbour is enough to fill a cell. */
static inline float filled(float cell)
{
    return cell < 1 ? cell : 1;
}

static void cylinder(const struct afis_finger *finger, unsigned centre, float out[CYLINDER_CELLS])
{
    struct neighbours near;
    float cells[CYLINDER_SIDE][ROW_LANES];
    surround(finger, centre, &near, cells);
    for (unsigned a = 0; a < CYLINDER_SIDE; a++) {
        for (unsigned k = 0; k < ROW; k++) {
            out[a * ROW + k] = filled(cells[a][k]);
        }
    }
    explicit_bzero(&near, sizeof near);
    explicit_bzero(cells, sizeof cells);
}

/* Sums of cells times the matrix, for TOGETHER minutiae. */
#if defined(__AVX512BW__)

static void project(const int16_t cells[TOGETHER][CYLINDER_CELLS], int32_t sums[TOGETHER][BITS])
{
    __m512i sum[TOGETHER][4];
    for (unsigned m = 0; m < TOGETHER; m++) {
        for (unsigned q = 0; q < 4; q++) {
            sum[m][q] = _mm512_setzero_si512();
        }
    }
    for (unsigned k = 0; k < CYLINDER_CELLS; k += 2) {
        __m512i row[4]; /* two rows interleaved: bits 0-7 and 16-23, 8-15 and 24-31, ... */
        for (unsigned h = 0; h < 2; h++) {
            __m256i a = _mm256_loadu_si256((const __m256i *)(projection[k] + 32 * h));
            __m256i b = _mm256_loadu_si256((const __m256i *)(projection[k + 1] + 32 * h));
            row[2 * h] = _mm512_cvtepi8_epi16(_mm256_unpacklo_epi8(a, b));
            row[2 * h + 1] = _mm512_cvtepi8_epi16(_mm256_unpackhi_epi8(a, b));
        }
        for (unsigned m = 0; m < TOGETHER; m++) {
            int pair;
            memcpy(&pair, cells[m] + k, sizeof pair);
            const __m512i both = _mm512_set1_epi32(pair);
            for (unsigned q = 0; q < 4; q++) {
                sum[m][q] = _mm512_add_epi32(sum[m][q], _mm512_madd_epi16(row[q], both));
            }
        }
    }
    for (unsigned m = 0; m < TOGETHER; m++) {
        for (unsigned q = 0; q < 4; q++) {
            int32_t *to = sums[m] + 32 * (q / 2) + 8 * (q % 2);
            _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(sum[m][q]));
            _mm256_storeu_si256((__m256i *)(to + 16), _mm512_extracti64x4_epi64(sum[m][q], 1));
        }
    }
}

#elif defined(__AVX2__)

static void project(const int16_t cells[TOGETHER][CYLINDER_CELLS], int32_t sums[TOGETHER][BITS])
{
    for (unsigned at = 0; at < BITS; at += 16) {
        __m256i sum[TOGETHER][2];
        for (unsigned m = 0; m < TOGETHER; m++) {
            sum[m][0] = sum[m][1] = _mm256_setzero_si256();
        }
        for (unsigned k = 0; k < CYLINDER_CELLS; k += 2) {
            __m128i a = _mm_loadu_si128((const __m128i *)(projection[k] + at));
            __m128i b = _mm_loadu_si128((const __m128i *)(projection[k + 1] + at));
            const __m256i low = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
            const __m256i high = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b));
            for (unsigned m = 0; m < TOGETHER; m++) {
                int pair;
                memcpy(&pair, cells[m] + k, sizeof pair);
                const __m256i both = _mm256_set1_epi32(pair);
                sum[m][0] = _mm256_add_epi32(sum[m][0], _mm256_madd_epi16(low, both));
                sum[m][1] = _mm256_add_epi32(sum[m][1], _mm256_madd_epi16(high, both));
            }
        }
        for (unsigned m = 0; m < TOGETHER; m++) {
            _mm256_storeu_si256((__m256i *)(sums[m] + at), sum[m][0]);
            _mm256_storeu_si256((__m256i *)(sums[m] + at + 8), sum[m][1]);
        }
    }
}

#else

static void project(const int16_t cells[TOGETHER][CYLINDER_CELLS], int32_t sums[TOGETHER][BITS])
{
    memset(sums, 0, sizeof(int32_t[TOGETHER][BITS]));
    for (unsigned m = 0; m < TOGETHER; m++) {
        for (unsigned k = 0; k < CYLINDER_CELLS; k++) {
            for (unsigned b = 0; b < BITS; b++) {
                sums[m][b] += cells[m][k] * (int16_t)projection[k][b];
            }
        }
    }
}

#endif

static uint64_t signs_of(const int32_t sums[BITS])
{
    uint64_t bits = 0;
    for (unsigned b = 0; b < BITS; b++) {
        bits |= (uint64_t)(sums[b] > (int32_t)(projection_threshold[b] * UNIT)) << b;
    }
    return bits;
}

static void describe(struct afis_finger *finger)
{
    struct neighbours near;
    float cells[CYLINDER_SIDE][ROW_LANES];
    int16_t whole[TOGETHER][CYLINDER_CELLS] = {0};
    int32_t sums[TOGETHER][BITS];
    for (unsigned first = 0; first < finger->count; first += TOGETHER) {
        const unsigned left = finger->count - first, n = left < TOGETHER ? left : TOGETHER;
        for (unsigned m = 0; m < n; m++) {
            surround(finger, first + m, &near, cells);
            for (unsigned a = 0; a < CYLINDER_SIDE; a++) {
                for (unsigned k = 0; k < ROW; k++) {
                    whole[m][a * ROW + k] = (int16_t)(filled(cells[a][k]) * UNIT + 0.5f);
                }
            }
        }
        project(whole, sums);
        for (unsigned m = 0; m < n; m++) {
            finger->descriptor[first + m] = signs_of(sums[m]);
        }
    }
    explicit_bzero(&near, sizeof near);
    explicit_bzero(cells, sizeof cells);
    explicit_bzero(whole, sizeof whole);
    explicit_bzero(sums, sizeof sums);
}

const struct describe_ops DESCRIBE_OPS = {cylinder, describe};
