/* Smoothing of fields of one value a cell. Compiled once for each variant, as pixels.c is. */
#include <math.h>
#include <string.h>

#include "variant.h"

#define TAPS_MAX 16
#define BLOCK SCRATCH_MORE /* cells done at once */

typedef float lanes __attribute__((vector_size(BLOCK * sizeof(float))));

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

/* BLOCK sums of `count` values that lie `step` apart. */
static inline lanes sum_block(const float *from, ptrdiff_t step, int count, const float *taps)
{
    lanes sum = {0};
    for (int k = 0; k < count; k++) {
        lanes value;
        memcpy(&value, from + k * step, sizeof value);
        sum += taps[k] * value;
    }
    return sum;
}

/* Through a copy of each row with room on both sides. Whole blocks are written: what is too much
 * for a row is where the next one goes, or behind the field. */
static void smooth_along_rows(const struct work *work, const float *from, float *to,
                              const float *taps, int radius)
{
    int n = work->cols;
    float row_copy[CELLS_MAX + 2 * TAPS_MAX + BLOCK] = {0};
    float weight[CELLS_MAX + BLOCK] = {0};
    sum_weights(weight, n, taps + radius, radius);
    for (int row = 0; row < work->rows; row++) {
        memcpy(row_copy + radius, from + (ptrdiff_t)row * n, (size_t)n * sizeof *from);
        for (int i = 0; i < n; i += BLOCK) {
            lanes sum = sum_block(row_copy + i, 1, 2 * radius + 1, taps);
            lanes all;
            memcpy(&all, weight + i, sizeof all);
            sum /= all;
            memcpy(to + (ptrdiff_t)row * n + i, &sum, sizeof sum);
        }
    }
}

static void smooth_along_columns(const struct work *work, const float *from, float *to,
                                 const float *taps, int radius)
{
    int n = work->cols;
    float weight[CELLS_MAX];
    sum_weights(weight, work->rows, taps + radius, radius);
    for (int row = 0; row < work->rows; row++) {
        int first = row < radius ? -row : -radius;
        int last = row + radius < work->rows ? radius : work->rows - 1 - row;
        for (int i = 0; i < n; i += BLOCK) {
            lanes sum = sum_block(from + (ptrdiff_t)(row + first) * n + i, n, last - first + 1,
                                  taps + radius + first);
            sum /= weight[row];
            memcpy(to + (ptrdiff_t)row * n + i, &sum, sizeof sum);
        }
    }
}

void NAMED(smooth)(const struct work *work, float *field, float sigma)
{
    float taps[2 * TAPS_MAX] = {0};
    int radius = (int)ceilf(2.5f * sigma);
    radius = radius < TAPS_MAX ? radius : TAPS_MAX - 1;
    for (int k = -radius; k <= radius; k++) {
        taps[radius + k] = expf(-(float)(k * k) / (2 * sigma * sigma));
    }
    smooth_along_rows(work, field, work->scratch, taps, radius);
    smooth_along_columns(work, work->scratch, field, taps, radius);
}
