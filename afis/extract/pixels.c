/* The loops over pixels. This file, smooth.c and thin.c are compiled once for each VARIANT of the
 * processor, see afis/meson.build. Integers throughout, or float in a fixed order: all builds agree
 * bit for bit. */
#include <string.h>

#include "variant.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#define CLIP 1.3f /* standard deviations: a ridge is a sign more than a depth */

/* Sum and sum of squares of n x lines pixels. */
static void sum_cell(const uint8_t *p, int width, int n, int lines, uint32_t *sum, uint32_t *square)
{
    uint32_t s = 0;
    uint32_t q = 0;
    for (; lines > 0; lines--, p += width) {
        for (int x = 0; x < n; x++) {
            s += p[x];
            q += (uint32_t)(p[x] * p[x]);
        }
    }
    *sum = s;
    *square = q;
}

/* Of a cell that lies wholly inside. */
static void sum_whole_cell(const uint8_t *p, int width, uint32_t *sum, uint32_t *square)
{
#ifdef __AVX2__
    __m128i s = _mm_setzero_si128();
    __m128i q = s;
    for (int y = 0; y < CELL; y++, p += width) {
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p);
        __m128i words = _mm_cvtepu8_epi16(bytes);
        s = _mm_add_epi32(s, _mm_sad_epu8(bytes, _mm_setzero_si128()));
        q = _mm_add_epi32(q, _mm_madd_epi16(words, words));
    }
    q = _mm_add_epi32(q, _mm_unpackhi_epi64(q, q));
    *sum = (uint32_t)_mm_cvtsi128_si32(s);
    *square = (uint32_t)(_mm_cvtsi128_si32(q) + _mm_extract_epi32(q, 1));
#else
    sum_cell(p, width, CELL, CELL, sum, square);
#endif
}

static void cell_sums(const struct work *work, float *sum, float *squares)
{
    for (int row = 0; row < work->rows; row++) {
        int y0 = row * CELL;
        int lines = y0 + CELL < work->height ? CELL : work->height - y0;
        for (int col = 0; col < work->cols; col++) {
            int x0 = col * CELL;
            int n = x0 + CELL < work->width ? CELL : work->width - x0;
            const uint8_t *p = work->grey + (size_t)y0 * (size_t)work->width + x0;
            uint32_t s;
            uint32_t q;
            if (n == CELL && lines == CELL) {
                sum_whole_cell(p, work->width, &s, &q);
            } else {
                sum_cell(p, work->width, n, lines, &s, &q);
            }
            float count = (float)(n * lines);
            sum[row * work->cols + col] = (float)s / count;
            squares[row * work->cols + col] = (float)q / count;
        }
    }
}

/* Cell rows above and below pixel row y, and the weight of the lower one. */
static float between(int y, int rows, int *above, int *below)
{
    int doubled = 2 * y - (CELL - 1); /* twice the distance from the first centre */
    int lower = doubled < 0 ? -1 : doubled / (2 * CELL);
    *above = lower < 0 ? 0 : lower;
    *below = lower + 1 < rows ? lower + 1 : rows - 1;
    return (float)(doubled - lower * 2 * CELL) / (2 * CELL);
}

/* What the mean and one by the deviation are at a cell's centre, and by how much more at the next.
 */
struct slope {
    float mean, mean_step, inverse, inverse_step;
};

#ifdef __AVX2__

static void flatten_eight(const uint8_t *grey, int16_t *to, const struct slope *s)
{
    const __m256 t =
        _mm256_setr_ps(0.0625f, 0.1875f, 0.3125f, 0.4375f, 0.5625f, 0.6875f, 0.8125f, 0.9375f);
    __m256 p = _mm256_cvtepi32_ps(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)grey)));
    __m256 mean =
        _mm256_add_ps(_mm256_set1_ps(s->mean), _mm256_mul_ps(_mm256_set1_ps(s->mean_step), t));
    __m256 inverse = _mm256_add_ps(_mm256_set1_ps(s->inverse),
                                   _mm256_mul_ps(_mm256_set1_ps(s->inverse_step), t));
    __m256 v = _mm256_mul_ps(_mm256_sub_ps(mean, p), inverse);
    v = _mm256_max_ps(_mm256_min_ps(v, _mm256_set1_ps(CLIP)), _mm256_set1_ps(-CLIP));
    __m256i n = _mm256_cvttps_epi32(_mm256_mul_ps(v, _mm256_set1_ps(UNIT)));
    _mm_storeu_si128((__m128i *)(void *)to,
                     _mm_packs_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1)));
}

#endif

/* Pixels first to last of the eight between two centres. */
static inline void flatten_span(const uint8_t *grey, int16_t *to, const struct slope *s, int first,
                                int last)
{
#ifdef __AVX2__
    if (last - first == CELL) {
        flatten_eight(grey, to, s);
        return;
    }
#endif
    for (int i = first; i < last; i++) {
        float t = ((float)i + 0.5f) * (1.0f / CELL);
        float v =
            (s->mean + s->mean_step * t - (float)grey[i]) * (s->inverse + s->inverse_step * t);
        v = v > CLIP ? CLIP : v;
        v = v < -CLIP ? -CLIP : v;
        to[i] = (int16_t)(v * UNIT);
    }
}

static void flatten_row(const struct work *work, int y, const float *mean, const float *inverse)
{
    const uint8_t *grey = work->grey + (ptrdiff_t)y * work->width;
    int16_t *to = work->normal + y * work->stride;
    for (int x0 = -CELL / 2; x0 < work->width; x0 += CELL) {
        int left = (x0 + CELL / 2) / CELL - 1;
        int right = left + 1 < work->cols ? left + 1 : work->cols - 1;
        left = left < 0 ? 0 : left;
        struct slope s = {mean[left], mean[right] - mean[left], inverse[left],
                          inverse[right] - inverse[left]};
        if (x0 >= 0 && x0 + CELL <= work->width) {
            flatten_span(grey + x0, to + x0, &s, 0, CELL);
        } else {
            int last = x0 + CELL < work->width ? CELL : work->width - x0;
            flatten_span(grey + x0, to + x0, &s, x0 < 0 ? -x0 : 0, last);
        }
    }
}

static void flatten(struct work *work, const float *mean, const float *inverse)
{
    float *m = work->scratch;
    float *n = work->scratch2;
    for (int y = 0; y < work->height; y++) {
        int above;
        int below;
        float t = between(y, work->rows, &above, &below);
        const float *ma = mean + (ptrdiff_t)above * work->cols;
        const float *mb = mean + (ptrdiff_t)below * work->cols;
        const float *ia = inverse + (ptrdiff_t)above * work->cols;
        const float *ib = inverse + (ptrdiff_t)below * work->cols;
        for (int col = 0; col < work->cols; col++) {
            m[col] = ma[col] + (mb[col] - ma[col]) * t;
            n[col] = ia[col] + (ib[col] - ia[col]) * t;
        }
        flatten_row(work, y, m, n);
    }
}

static void blur(struct work *work)
{
    for (int y = 0; y < work->height; y++) {
        const int16_t *p = work->normal + y * work->stride;
        int16_t *to = work->spare + y * work->stride;
        for (int x = 0; x < work->width; x++) {
            to[x] = (int16_t)((p[x - 1] + 2 * p[x] + p[x + 1] + 2) >> 2);
        }
    }
    for (int y = 0; y < work->height; y++) {
        const int16_t *p = work->spare + y * work->stride;
        int16_t *to = work->normal + y * work->stride;
        for (int x = 0; x < work->width; x++) {
            to[x] = (int16_t)((p[x - work->stride] + 2 * p[x] + p[x + work->stride] + 2) >> 2);
        }
    }
}

/* The structure tensor of cells from Scharr's derivatives (3 10 3) / 32. Sixteen bits suffice,
 * because no plane exceeds PLANE_MAX; a cell's sums then fit 32. */
#define SCHARR_SIDE 3072 /* 3 / 32 in 15-bit fixed point */
#define SCHARR_MIDDLE 10240

static void put_tensor(struct work *work, int cell, const int32_t *sums)
{
    const float scale = 1.0f / ((float)UNIT * UNIT * CELL * CELL);
    work->gxx[cell] = (float)sums[0] * scale;
    work->gyy[cell] = (float)sums[1] * scale;
    work->gxy[cell] = (float)sums[2] * scale;
    work->energy[cell] = (float)sums[3] * scale;
}

#ifdef __AVX2__

static __m256i load16(const int16_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* Side taps of two rows or columns, and the middle ones. */
static __m256i derivative(__m256i sides, __m256i middle)
{
    return _mm256_add_epi16(_mm256_mulhrs_epi16(sides, _mm256_set1_epi16(SCHARR_SIDE)),
                            _mm256_mulhrs_epi16(middle, _mm256_set1_epi16(SCHARR_MIDDLE)));
}

/* Two neighbouring cells, one in each half of the registers. */
static void tensor_pair(const int16_t *p, ptrdiff_t stride, int32_t sums[8])
{
    __m256i xx = _mm256_setzero_si256();
    __m256i yy = xx;
    __m256i xy = xx;
    __m256i ee = xx;
    for (int y = 0; y < CELL; y++, p += stride) {
        __m256i nw = load16(p - stride - 1);
        __m256i ne = load16(p - stride + 1);
        __m256i sw = load16(p + stride - 1);
        __m256i se = load16(p + stride + 1);
        __m256i e = load16(p);
        __m256i falling = _mm256_sub_epi16(se, nw);
        __m256i rising = _mm256_sub_epi16(ne, sw);
        __m256i gx = derivative(_mm256_add_epi16(falling, rising),
                                _mm256_sub_epi16(load16(p + 1), load16(p - 1)));
        __m256i gy = derivative(_mm256_sub_epi16(falling, rising),
                                _mm256_sub_epi16(load16(p + stride), load16(p - stride)));
        xx = _mm256_add_epi32(xx, _mm256_madd_epi16(gx, gx));
        yy = _mm256_add_epi32(yy, _mm256_madd_epi16(gy, gy));
        xy = _mm256_add_epi32(xy, _mm256_madd_epi16(gx, gy));
        ee = _mm256_add_epi32(ee, _mm256_madd_epi16(e, e));
    }
    __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(xx, yy), _mm256_hadd_epi32(xy, ee));
    _mm256_storeu_si256((__m256i *)(void *)sums, all);
}

#else

static int derivative(int sides, int middle)
{
    return ((sides * SCHARR_SIDE + 16384) >> 15) + ((middle * SCHARR_MIDDLE + 16384) >> 15);
}

static void tensor_pair(const int16_t *p, ptrdiff_t stride, int32_t sums[8])
{
    int32_t xx[2 * CELL] = {0};
    int32_t yy[2 * CELL] = {0};
    int32_t xy[2 * CELL] = {0};
    int32_t ee[2 * CELL] = {0};
    for (int y = 0; y < CELL; y++, p += stride) {
        const int16_t *above = p - stride;
        const int16_t *below = p + stride;
        for (int x = 0; x < 2 * CELL; x++) {
            int falling = below[x + 1] - above[x - 1];
            int rising = above[x + 1] - below[x - 1];
            int gx = derivative(falling + rising, p[x + 1] - p[x - 1]);
            int gy = derivative(falling - rising, below[x] - above[x]);
            xx[x] += gx * gx;
            yy[x] += gy * gy;
            xy[x] += gx * gy;
            ee[x] += p[x] * p[x];
        }
    }
    memset(sums, 0, 8 * sizeof *sums);
    for (int x = 0; x < 2 * CELL; x++) {
        int32_t *to = sums + (ptrdiff_t)4 * (x / CELL);
        to[0] += xx[x];
        to[1] += yy[x];
        to[2] += xy[x];
        to[3] += ee[x];
    }
}

#endif

static void tensor(struct work *work, const int16_t *plane)
{
    const int32_t none[4] = {0};
    for (int row = 0; row < work->rows; row++) {
        for (int col = 0; col < work->cols; col += 2) {
            int cell = row * work->cols + col;
            bool first = work->mask[cell] != 0;
            bool second = col + 1 < work->cols && work->mask[cell + 1] != 0;
            UNSET int32_t sums[8];
            if (first || second) {
                tensor_pair(plane + cell_offset(work, row, col), work->stride, sums);
            }
            put_tensor(work, cell, first ? sums : none);
            if (col + 1 < work->cols) {
                put_tensor(work, cell + 1, second ? sums + 4 : none);
            }
        }
    }
}

static void pair_row(const int16_t *restrict from, ptrdiff_t stride, int width,
                     int32_t *restrict below, int32_t *restrict above)
{
    for (int x = 0; x < width; x++) {
        uint32_t low = (uint16_t)from[x];
        below[x] = (int32_t)(low | (uint32_t)from[x + stride] << 16);
        above[x] = (int32_t)(low | (uint32_t)from[x - stride] << 16);
    }
}

static void pair(const struct pairs *pairs, const int16_t *from, ptrdiff_t stride, int rows)
{
    for (int y = 0; y < rows; y++) {
        pair_row(from + y * stride, stride, pairs->width, pairs->below + y * pairs->pitch,
                 pairs->above + y * pairs->pitch);
    }
}

/* A kernel is the same turned by 180 degrees, so that what lies opposite is added before it is
 * multiplied: sixteen bits hold it, as no normalised pixel exceeds CLIP. One multiply-add then
 * takes four taps of eight pixels. Of a column of taps, the rows of pixels that the next pair of
 * them needs are those of the last one but for two. */
#define GAIN_BITS 14

#ifdef __AVX2__

#define ROW(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))

static inline __m256i add_products(__m256i sum, __m256i p, __m256i tap)
{
#ifdef __AVX512VNNI__
    return _mm256_dpwssd_epi32(sum, p, tap);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(p, tap));
#endif
}

static inline __m256i add_opposite(__m256i sum, __m256i p, __m256i q, __m256i tap)
{
    return add_products(sum, _mm256_add_epi16(p, q), tap);
}

/* p0..p7 are the rows of pixels beside the tap, q0..q7 those opposite; the first two of these and
 * the last two of those are not loaded yet. */
#define ADD_TAPS(p0, p1, p2, p3, p4, p5, p6, p7, q0, q1, q2, q3, q4, q5, q6, q7)                   \
    p6 = ROW(beside + 6 * pitch);                                                                  \
    p7 = ROW(beside + 7 * pitch);                                                                  \
    q0 = ROW(opposite);                                                                            \
    q1 = ROW(opposite + pitch);                                                                    \
    tap = _mm256_set1_epi32(*taps++);                                                              \
    beside += 2 * pitch;                                                                           \
    opposite -= 2 * pitch;                                                                         \
    s0 = add_opposite(s0, p0, q0, tap);                                                            \
    s1 = add_opposite(s1, p1, q1, tap);                                                            \
    s2 = add_opposite(s2, p2, q2, tap);                                                            \
    s3 = add_opposite(s3, p3, q3, tap);                                                            \
    s4 = add_opposite(s4, p4, q4, tap);                                                            \
    s5 = add_opposite(s5, p5, q5, tap);                                                            \
    s6 = add_opposite(s6, p6, q6, tap);                                                            \
    s7 = add_opposite(s7, p7, q7, tap);                                                            \
    if (--count == 0) {                                                                            \
        break;                                                                                     \
    }

static void put_row(__m256i sum, int16_t *to)
{
    __m256i half = _mm256_set1_epi32(1 << (GAIN_BITS - 1));
    __m256i v = _mm256_srai_epi32(_mm256_add_epi32(sum, half), GAIN_BITS);
    __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    packed = _mm_min_epi16(packed, _mm_set1_epi16(PLANE_MAX));
    packed = _mm_max_epi16(packed, _mm_set1_epi16(-PLANE_MAX));
    _mm_storeu_si128((__m128i *)(void *)to, packed);
}

static void filter_cell(const struct pairs *pairs, ptrdiff_t at, const int32_t *taps, int radius,
                        int16_t *to, ptrdiff_t stride)
{
    const ptrdiff_t pitch = pairs->pitch;
    const int32_t *middle = pairs->below + at;
    __m256i tap = _mm256_set1_epi32(*taps++);
    const __m256i none = _mm256_setzero_si256();
    __m256i s0 = add_products(none, ROW(middle), tap);
    __m256i s1 = add_products(none, ROW(middle + pitch), tap);
    __m256i s2 = add_products(none, ROW(middle + 2 * pitch), tap);
    __m256i s3 = add_products(none, ROW(middle + 3 * pitch), tap);
    __m256i s4 = add_products(none, ROW(middle + 4 * pitch), tap);
    __m256i s5 = add_products(none, ROW(middle + 5 * pitch), tap);
    __m256i s6 = add_products(none, ROW(middle + 6 * pitch), tap);
    __m256i s7 = add_products(none, ROW(middle + 7 * pitch), tap);
    for (int dx = 0; dx <= radius; dx++) {
        int first = *taps++;
        int count = *taps++;
        if (count == 0) {
            continue;
        }
        const int32_t *beside = middle + first * pitch + dx;
        const int32_t *opposite = pairs->above + at - first * pitch - dx;
        __m256i a0 = ROW(beside), a1 = ROW(beside + pitch), a2 = ROW(beside + 2 * pitch),
                a3 = ROW(beside + 3 * pitch), a4 = ROW(beside + 4 * pitch),
                a5 = ROW(beside + 5 * pitch), a6, a7;
        __m256i b0, b1, b2 = ROW(opposite + 2 * pitch), b3 = ROW(opposite + 3 * pitch),
                        b4 = ROW(opposite + 4 * pitch), b5 = ROW(opposite + 5 * pitch),
                        b6 = ROW(opposite + 6 * pitch), b7 = ROW(opposite + 7 * pitch);
        for (;;) {
            ADD_TAPS(a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7)
            ADD_TAPS(a2, a3, a4, a5, a6, a7, a0, a1, b6, b7, b0, b1, b2, b3, b4, b5)
            ADD_TAPS(a4, a5, a6, a7, a0, a1, a2, a3, b4, b5, b6, b7, b0, b1, b2, b3)
            ADD_TAPS(a6, a7, a0, a1, a2, a3, a4, a5, b2, b3, b4, b5, b6, b7, b0, b1)
        }
    }
    put_row(s0, to);
    put_row(s1, to + stride);
    put_row(s2, to + 2 * stride);
    put_row(s3, to + 3 * stride);
    put_row(s4, to + 4 * stride);
    put_row(s5, to + 5 * stride);
    put_row(s6, to + 6 * stride);
    put_row(s7, to + 7 * stride);
}

#else

static int low_of(int32_t pair)
{
    return (int16_t)(pair & 0xffff);
}

static int high_of(int32_t pair)
{
    return (int16_t)(pair >> 16);
}

static int16_t narrow(int32_t sum)
{
    int32_t v = (sum + (1 << (GAIN_BITS - 1))) >> GAIN_BITS;
    v = v > PLANE_MAX ? PLANE_MAX : v;
    return (int16_t)(v < -PLANE_MAX ? -PLANE_MAX : v);
}

static void filter_cell(const struct pairs *pairs, ptrdiff_t at, const int32_t *taps, int radius,
                        int16_t *to, ptrdiff_t stride)
{
    int32_t sum[CELL][CELL];
    int centre = low_of(*taps++);
    for (int y = 0; y < CELL; y++) {
        for (int x = 0; x < CELL; x++) {
            sum[y][x] = centre * low_of(pairs->below[at + y * pairs->pitch + x]);
        }
    }
    for (int dx = 0; dx <= radius; dx++) {
        int dy = *taps++;
        for (int count = *taps++; count > 0; count--, dy += 2) {
            int upper = low_of(*taps);
            int lower = high_of(*taps++);
            for (int y = 0; y < CELL; y++) {
                const int32_t *p = pairs->below + at + (y + dy) * pairs->pitch + dx;
                const int32_t *q = pairs->above + at + (y - dy) * pairs->pitch - dx;
                for (int x = 0; x < CELL; x++) {
                    sum[y][x] += (low_of(p[x]) + low_of(q[x])) * upper +
                                 (high_of(p[x]) + high_of(q[x])) * lower;
                }
            }
        }
    }
    for (int y = 0; y < CELL; y++) {
        for (int x = 0; x < CELL; x++) {
            to[y * stride + x] = narrow(sum[y][x]);
        }
    }
}

#endif

/* Sums over one cell: enhanced * normal, enhanced^2, normal^2. */
static void compare_cell(const int16_t *e, const int16_t *n, ptrdiff_t stride, int32_t sums[3])
{
#ifdef __AVX2__
    __m128i en = _mm_setzero_si128();
    __m128i ee = en;
    __m128i nn = en;
    for (int y = 0; y < CELL; y++) {
        __m128i p = _mm_loadu_si128((const __m128i *)(const void *)(e + y * stride));
        __m128i q = _mm_loadu_si128((const __m128i *)(const void *)(n + y * stride));
        en = _mm_add_epi32(en, _mm_madd_epi16(p, q));
        ee = _mm_add_epi32(ee, _mm_madd_epi16(p, p));
        nn = _mm_add_epi32(nn, _mm_madd_epi16(q, q));
    }
    __m128i all = _mm_hadd_epi32(_mm_hadd_epi32(en, ee), _mm_hadd_epi32(nn, nn));
    sums[0] = _mm_cvtsi128_si32(all);
    sums[1] = _mm_extract_epi32(all, 1);
    sums[2] = _mm_extract_epi32(all, 2);
#else
    sums[0] = sums[1] = sums[2] = 0;
    for (int y = 0; y < CELL; y++) {
        for (int x = 0; x < CELL; x++) {
            int p = e[y * stride + x];
            int q = n[y * stride + x];
            sums[0] += p * q;
            sums[1] += p * p;
            sums[2] += q * q;
        }
    }
#endif
}

static void compare(const struct work *work, float *product, float *enhanced, float *normal)
{
    const float scale = 1.0f / ((float)UNIT * UNIT * CELL * CELL);
    for (int cell = 0; cell < work->cells; cell++) {
        ptrdiff_t at = cell_offset(work, cell / work->cols, cell % work->cols);
        int32_t sums[3];
        compare_cell(work->enhanced + at, work->normal + at, work->stride, sums);
        product[cell] = (float)sums[0] * scale;
        enhanced[cell] = (float)sums[1] * scale;
        normal[cell] = (float)sums[2] * scale;
    }
}

/* Bit x of the lower byte: p[x] > 0; of the upper one: p[x] < 0. */
static unsigned signs(const int16_t *p)
{
#ifdef __AVX2__
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i zero = _mm_setzero_si128();
    return (unsigned)_mm_movemask_epi8(
        _mm_packs_epi16(_mm_cmpgt_epi16(v, zero), _mm_cmpgt_epi16(zero, v)));
#else
    unsigned bits = 0;
    for (int x = 0; x < CELL; x++) {
        bits |= (unsigned)(p[x] > 0) << x | (unsigned)(p[x] < 0) << (x + CELL);
    }
    return bits;
#endif
}

static void binarise_cell(const struct work *work, const int16_t *plane, int row, int col)
{
    int shift = col * CELL % 64;
    int word = col * CELL / 64;
    for (int y = row * CELL; y < (row + 1) * CELL && y < work->height; y++) {
        unsigned bits = signs(plane + y * work->stride + (ptrdiff_t)col * CELL);
        work->ridge_bits[(ptrdiff_t)y * work->words + word] |= (uint64_t)(bits & 0xff) << shift;
        work->valley_bits[(ptrdiff_t)y * work->words + word] |= (uint64_t)(bits >> CELL) << shift;
    }
}

static void binarise(struct work *work, const int16_t *plane)
{
    size_t bytes = (size_t)work->height * (size_t)work->words * sizeof(uint64_t);
    memset(work->ridge_bits, 0, bytes);
    memset(work->valley_bits, 0, bytes);
    for (int row = 0; row < work->rows; row++) {
        for (int col = 0; col < work->cols; col++) {
            if (work->mask[row * work->cols + col] != 0) {
                binarise_cell(work, plane, row, col);
            }
        }
    }
}

/* Eight pixels of a row, none of them at the image's edge; without branches, for vectors. */
static void count_eight(const struct work *work, int x, int y, struct pixel_counts *counts)
{
    const uint8_t *grey = work->grey + (ptrdiff_t)y * work->width + x;
    const uint8_t *above = grey - work->width;
    const uint8_t *below = grey + work->width;
    const int16_t *enhanced = work->enhanced + y * work->stride + x;
    const int16_t *normal = work->normal + y * work->stride + x;
    int slope = 0;
    int ridges = 0;
    int light = 0;
    int dark = 0;
    for (int i = 0; i < CELL; i++) {
        int across = grey[i + 1] - grey[i - 1];
        int down = below[i] - above[i];
        slope += across * across + down * down;
    }
    for (int i = 0; i < CELL; i++) {
        int ridge = enhanced[i] > 0;
        ridges += ridge;
        light += ridge & (normal[i] < 0);
        dark += (ridge ^ 1) & (normal[i] > 0);
    }
    counts->pixels += CELL;
    counts->ridge += ridges;
    counts->light += light;
    counts->dark += dark;
    counts->slope += (float)slope;
}

static void count_pixels(const struct work *work, struct pixel_counts *counts)
{
    for (int y = 2; y < work->height - 1; y += 2) {
        const uint8_t *mask = work->mask + (ptrdiff_t)(y / CELL) * work->cols;
        for (int x = CELL; x + CELL < work->width; x += CELL) {
            if (mask[x / CELL] != 0) {
                count_eight(work, x, y, counts);
            }
        }
    }
}

const struct pixel_ops NAMED(pixel_ops) = {
    .cell_sums = cell_sums,
    .flatten = flatten,
    .blur = blur,
    .tensor = tensor,
    .pair = pair,
    .filter_cell = filter_cell,
    .compare = compare,
    .binarise = binarise,
    .count_pixels = count_pixels,
    .smooth = NAMED(smooth),
    .thin = NAMED(thin),
    .line_ends = NAMED(line_ends),
};
