/* The loops over pixels. This file is compiled twice, see afis/meson.build: PIXEL_OPS names the
 * table that it fills. Integers throughout, or float in a fixed order: both builds agree bit for
 * bit. */
#include <string.h>

#include "stages.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#define CLIP 1.3f /* standard deviations: a ridge is a sign more than a depth */

static void cell_sums(const struct work *work, float *sum, float *squares)
{
    for (int row = 0; row < work->rows; row++) {
        int y0 = row * CELL;
        int y1 = y0 + CELL < work->height ? y0 + CELL : work->height;
        for (int col = 0; col < work->cols; col++) {
            int x0 = col * CELL;
            int n = x0 + CELL < work->width ? CELL : work->width - x0;
            uint32_t s = 0;
            uint32_t q = 0;
            for (int y = y0; y < y1; y++) {
                const uint8_t *p = work->grey + (size_t)y * (size_t)work->width + x0;
                if (n == CELL) {
                    for (int x = 0; x < CELL; x++) {
                        s += p[x];
                        q += (uint32_t)(p[x] * p[x]);
                    }
                } else {
                    for (int x = 0; x < n; x++) {
                        s += p[x];
                        q += (uint32_t)(p[x] * p[x]);
                    }
                }
            }
            float count = (float)(n * (y1 - y0));
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

/* One half cell (4 pixels) between the values at two neighbouring centres. */
static void flatten_row(const struct work *work, int y, const float *mean, const float *inverse)
{
    const uint8_t *grey = work->grey + (size_t)y * (size_t)work->width;
    int16_t *to = work->normal + y * work->stride;
    for (int x0 = -CELL / 2; x0 < work->width; x0 += CELL) {
        int left = (x0 + CELL / 2) / CELL - 1;
        int right = left + 1 < work->cols ? left + 1 : work->cols - 1;
        left = left < 0 ? 0 : left;
        float m0 = mean[left];
        float m1 = mean[right] - m0;
        float i0 = inverse[left];
        float i1 = inverse[right] - i0;
        int first = x0 < 0 ? -x0 : 0;
        int last = x0 + CELL < work->width ? CELL : work->width - x0;
        for (int i = first; i < last; i++) {
            float t = ((float)i + 0.5f) * (1.0f / CELL);
            float v = (m0 + m1 * t - (float)grey[x0 + i]) * (i0 + i1 * t);
            v = v > CLIP ? CLIP : v;
            v = v < -CLIP ? -CLIP : v;
            to[x0 + i] = (int16_t)(v * UNIT);
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

/* Scharr's derivatives (3 10 3), summed up over the columns of one row of cells. */
static void tensor_row(const int16_t *p, ptrdiff_t stride, int width, int32_t *restrict xx,
                       int32_t *restrict yy, int32_t *restrict xy, int32_t *restrict ee)
{
    const int16_t *a = p - stride;
    const int16_t *b = p + stride;
    for (int x = 0; x < width; x++) {
        int right = 3 * (a[x + 1] + b[x + 1]) + 10 * p[x + 1];
        int left = 3 * (a[x - 1] + b[x - 1]) + 10 * p[x - 1];
        int down = 3 * (b[x - 1] + b[x + 1]) + 10 * b[x];
        int up = 3 * (a[x - 1] + a[x + 1]) + 10 * a[x];
        int gx = (right - left) >> 5;
        int gy = (down - up) >> 5;
        xx[x] += gx * gx;
        yy[x] += gy * gy;
        xy[x] += gx * gy;
        ee[x] += p[x] * p[x];
    }
}

static float column_sum(const int32_t *columns)
{
    int64_t sum = 0;
    for (int x = 0; x < CELL; x++) {
        sum += columns[x];
    }
    return (float)sum * (1.0f / ((float)UNIT * UNIT * CELL * CELL));
}

static void tensor(struct work *work, const int16_t *plane)
{
    int width = work->cols * CELL;
    int32_t *xx = (int32_t *)(void *)work->spare;
    int32_t *yy = xx + width;
    int32_t *xy = yy + width;
    int32_t *ee = xy + width;
    for (int row = 0; row < work->rows; row++) {
        memset(xx, 0, 4 * (size_t)width * sizeof *xx);
        for (int y = row * CELL; y < (row + 1) * CELL; y++) {
            tensor_row(plane + y * work->stride, work->stride, width, xx, yy, xy, ee);
        }
        for (int col = 0; col < work->cols; col++) {
            int cell = row * work->cols + col;
            work->gxx[cell] = column_sum(xx + (ptrdiff_t)col * CELL);
            work->gyy[cell] = column_sum(yy + (ptrdiff_t)col * CELL);
            work->gxy[cell] = column_sum(xy + (ptrdiff_t)col * CELL);
            work->energy[cell] = column_sum(ee + (ptrdiff_t)col * CELL);
        }
    }
}

#define SIDE (CELL + 2 * RADIUS_MAX + 2) /* of the window that a cell's filter sees, rounded up */
#define GAIN_BITS 14

#ifdef __AVX2__

/* Pixels are paired with those one row below, taps likewise, so that one multiply-add takes two
 * taps of eight pixels. */
static void filter_cell(const int16_t *from, ptrdiff_t stride, const int32_t *taps, int radius,
                        int16_t *to)
{
    _Alignas(64) int32_t window[SIDE][32];
    const int16_t *corner = from - radius * stride - radius;
    int side = 2 * radius + 1;
    for (int y = 0; y < CELL + 2 * radius; y++) {
        const int16_t *p = corner + y * stride;
        for (int x = 0; x < 32; x += 16) {
            __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(p + x));
            __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + x + stride));
            __m256i low = _mm256_unpacklo_epi16(a, b);
            __m256i high = _mm256_unpackhi_epi16(a, b);
            _mm256_store_si256((__m256i *)(void *)&window[y][x],
                               _mm256_permute2x128_si256(low, high, 0x20));
            _mm256_store_si256((__m256i *)(void *)&window[y][x + 8],
                               _mm256_permute2x128_si256(low, high, 0x31));
        }
    }
    __m256i sum[CELL];
    for (int y = 0; y < CELL; y++) {
        sum[y] = _mm256_setzero_si256();
    }
    for (int dy = 0; dy < side; dy += 2) {
        for (int dx = 0; dx < side; dx++) {
            __m256i tap = _mm256_set1_epi32(*taps++);
            for (int y = 0; y < CELL; y++) {
                __m256i p = _mm256_loadu_si256((const __m256i *)(const void *)&window[y + dy][dx]);
                sum[y] = _mm256_add_epi32(sum[y], _mm256_madd_epi16(p, tap));
            }
        }
    }
    for (int y = 0; y < CELL; y++) {
        __m256i half = _mm256_set1_epi32(1 << (GAIN_BITS - 1));
        __m256i v = _mm256_srai_epi32(_mm256_add_epi32(sum[y], half), GAIN_BITS);
        __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        _mm_storeu_si128((__m128i *)(void *)(to + y * stride), packed);
    }
}

#else

static int16_t narrow(int32_t sum)
{
    int32_t v = (sum + (1 << (GAIN_BITS - 1))) >> GAIN_BITS;
    v = v > 32767 ? 32767 : v;
    return (int16_t)(v < -32768 ? -32768 : v);
}

static void filter_cell(const int16_t *from, ptrdiff_t stride, const int32_t *taps, int radius,
                        int16_t *to)
{
    const int16_t *corner = from - radius * stride - radius;
    int side = 2 * radius + 1;
    int32_t sum[CELL][CELL] = {{0}};
    for (int dy = 0; dy < side; dy += 2) {
        for (int dx = 0; dx < side; dx++) {
            int32_t pair = *taps++;
            int32_t upper = (int16_t)(pair & 0xffff);
            int32_t lower = (int16_t)(pair >> 16);
            for (int y = 0; y < CELL; y++) {
                const int16_t *p = corner + (y + dy) * stride + dx;
                const int16_t *q = p + stride;
                for (int x = 0; x < CELL; x++) {
                    sum[y][x] += p[x] * upper + q[x] * lower;
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

static void compare(const struct work *work, float *product, float *enhanced, float *normal)
{
    for (int row = 0; row < work->rows; row++) {
        for (int col = 0; col < work->cols; col++) {
            ptrdiff_t at = cell_offset(work, row, col);
            int64_t en = 0;
            int64_t ee = 0;
            int64_t nn = 0;
            for (int y = 0; y < CELL; y++) {
                const int16_t *e = work->enhanced + at + y * work->stride;
                const int16_t *n = work->normal + at + y * work->stride;
                for (int x = 0; x < CELL; x++) {
                    en += (int64_t)e[x] * n[x];
                    ee += (int64_t)e[x] * e[x];
                    nn += (int64_t)n[x] * n[x];
                }
            }
            const float scale = 1.0f / ((float)UNIT * UNIT * CELL * CELL);
            product[row * work->cols + col] = (float)en * scale;
            enhanced[row * work->cols + col] = (float)ee * scale;
            normal[row * work->cols + col] = (float)nn * scale;
        }
    }
}

static void binarise_cell(const struct work *work, const int16_t *plane, int row, int col)
{
    int shift = col * CELL % 64;
    int word = col * CELL / 64;
    for (int y = row * CELL; y < (row + 1) * CELL && y < work->height; y++) {
        const int16_t *p = plane + y * work->stride + (ptrdiff_t)col * CELL;
        uint64_t above = 0;
        uint64_t below = 0;
        for (int x = 0; x < CELL; x++) {
            above |= (uint64_t)(p[x] > 0) << x;
            below |= (uint64_t)(p[x] < 0) << x;
        }
        work->ridge_bits[(ptrdiff_t)y * work->words + word] |= above << shift;
        work->valley_bits[(ptrdiff_t)y * work->words + word] |= below << shift;
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

const struct pixel_ops PIXEL_OPS = {cell_sums,   flatten, blur,    tensor,
                                    filter_cell, compare, binarise};
