/* What every stage does with fields of one value a cell. */
#include <math.h>
#include <string.h>

#include "stages.h"

#define TAPS_MAX 16

static void add_scaled(float *to, const float *from, int n, float tap)
{
    for (int i = 0; i < n; i++) {
        to[i] += tap * from[i];
    }
}

/* The taps that fall inside at each of n places, added up: what the rest must be made up for. */
static void sum_weights(float *weight, int n, const float *taps, int radius)
{
    for (int i = 0; i < n; i++) {
        weight[i] = 0;
        for (int k = -radius; k <= radius; k++) {
            weight[i] += i + k >= 0 && i + k < n ? taps[k < 0 ? -k : k] : 0;
        }
    }
}

static void smooth_along_rows(const struct work *work, const float *from, float *to,
                              const float *taps, int radius)
{
    int n = work->cols;
    float *weight = work->scratch2;
    sum_weights(weight, n, taps, radius);
    for (int row = 0; row < work->rows; row++) {
        const float *p = from + (ptrdiff_t)row * n;
        float *q = to + (ptrdiff_t)row * n;
        memset(q, 0, (size_t)n * sizeof *q);
        for (int k = -radius; k <= radius; k++) {
            int first = k < 0 ? -k : 0;
            int count = n - (k < 0 ? -k : k);
            if (count > 0) {
                add_scaled(q + first, p + first + k, count, taps[k < 0 ? -k : k]);
            }
        }
        for (int i = 0; i < n; i++) {
            q[i] /= weight[i];
        }
    }
}

static void smooth_along_columns(const struct work *work, const float *from, float *to,
                                 const float *taps, int radius)
{
    int n = work->cols;
    float *weight = work->scratch2;
    sum_weights(weight, work->rows, taps, radius);
    for (int row = 0; row < work->rows; row++) {
        float *q = to + (ptrdiff_t)row * n;
        memset(q, 0, (size_t)n * sizeof *q);
        for (int k = -radius; k <= radius; k++) {
            if (row + k >= 0 && row + k < work->rows) {
                float tap = taps[k < 0 ? -k : k] / weight[row];
                add_scaled(q, from + (ptrdiff_t)(row + k) * n, n, tap);
            }
        }
    }
}

/* Separable Gaussian; what lies outside the grid is left out. */
void afis_field_smooth(const struct work *work, float *field, float sigma)
{
    float taps[TAPS_MAX] = {0};
    int radius = (int)ceilf(2.5f * sigma);
    radius = radius < TAPS_MAX ? radius : TAPS_MAX - 1;
    for (int k = 0; k <= radius; k++) {
        taps[k] = expf(-(float)(k * k) / (2 * sigma * sigma));
    }
    smooth_along_rows(work, field, work->scratch, taps, radius);
    smooth_along_columns(work, work->scratch, field, taps, radius);
}

/* The value below which `fraction` of the masked cells lie, by a histogram of 1024 steps. */
float afis_field_percentile(struct work *work, const float *field, const uint8_t *mask,
                            float fraction)
{
    int histogram[1024] = {0};
    float top = 0;
    int count = 0;
    for (int i = 0; i < work->cells; i++) {
        if (mask == NULL || mask[i] != 0) {
            top = field[i] > top ? field[i] : top;
            count++;
        }
    }
    if (count == 0 || top <= 0) {
        return 0;
    }
    for (int i = 0; i < work->cells; i++) {
        if (mask == NULL || mask[i] != 0) {
            float v = field[i] > 0 ? field[i] : 0;
            histogram[(int)(v / top * 1023)]++;
        }
    }
    int left = (int)(fraction * (float)count);
    for (int i = 0; i < 1024; i++) {
        left -= histogram[i];
        if (left < 0) {
            return top * ((float)i + 0.5f) / 1023;
        }
    }
    return top;
}

/* Bilinear between cell centres. */
float afis_field_at(const struct work *work, const float *field, float x, float y)
{
    float u = (x + 0.5f) / CELL - 0.5f;
    float v = (y + 0.5f) / CELL - 0.5f;
    u = u < 0 ? 0 : u > (float)(work->cols - 1) ? (float)(work->cols - 1) : u;
    v = v < 0 ? 0 : v > (float)(work->rows - 1) ? (float)(work->rows - 1) : v;
    int c = (int)u;
    int r = (int)v;
    int right = c + 1 < work->cols ? 1 : 0;
    int down = r + 1 < work->rows ? work->cols : 0;
    const float *p = field + (ptrdiff_t)r * work->cols + c;
    float s = u - (float)c;
    float t = v - (float)r;
    float upper = p[0] + (p[right] - p[0]) * s;
    float lower = p[down] + (p[down + right] - p[down]) * s;
    return upper + (lower - upper) * t;
}
