/* Sensors whose columns (or rows) differ: each has an offset of its own over its whole length,
 * which on a weak print drowns the ridges. Ridges never do that. So the print is cut into bands
 * across the lines; where most lines stand out against their neighbours alike in all bands, by more
 * than chance allows, that is the sensor, and is taken away. Other prints stay as they are, bit for
 * bit.
 */
#include <math.h>
#include <string.h>

#include "stages.h"

#define NEAR 4       /* lines on either side that a line is measured against */
#define CERTAIN 3.0f /* standard errors by which a line stands out */

/* Adds up to SHORT rows to their columns' sums. */
#define SHORT 257 /* 255 each, and sixteen bits hold the sum */
static void sum_few(const struct work *work, int y, int last, int32_t *to)
{
    UNSET uint16_t sums[SIDE_MAX * GRID_MAX / DPI + CELL];
    memset(sums, 0, (size_t)work->width * sizeof *sums);
    for (; y < last; y++) {
        const uint8_t *grey = work->grey + (ptrdiff_t)y * work->width;
        for (int x = 0; x < work->width; x++) {
            sums[x] = (uint16_t)(sums[x] + grey[x]);
        }
    }
    for (int x = 0; x < work->width; x++) {
        to[x] += sums[x];
    }
}

/* Sums of the part of each line within each band: lines are columns, or rows. */
static void sum_columns(const struct work *work, int32_t *sums)
{
    memset(sums, 0, (size_t)STRIPE_BANDS * (size_t)work->width * sizeof *sums);
    for (int band = 0; band < STRIPE_BANDS; band++) {
        /* the rows y with y * STRIPE_BANDS / height == band */
        int last = ((band + 1) * work->height + STRIPE_BANDS - 1) / STRIPE_BANDS;
        int y = (band * work->height + STRIPE_BANDS - 1) / STRIPE_BANDS;
        for (; y < last; y += SHORT) {
            sum_few(work, y, y + SHORT < last ? y + SHORT : last,
                    sums + (ptrdiff_t)band * work->width);
        }
    }
}

static void sum_rows(const struct work *work, int32_t *sums)
{
    for (int y = 0; y < work->height; y++) {
        const uint8_t *grey = work->grey + (ptrdiff_t)y * work->width;
        for (int band = 0; band < STRIPE_BANDS; band++) {
            int last = (band + 1) * work->width / STRIPE_BANDS;
            int32_t sum = 0;
            for (int x = band * work->width / STRIPE_BANDS; x < last; x++) {
                sum += grey[x];
            }
            sums[band * work->height + y] = sum;
        }
    }
}

/* By how much line i of n stands out, in sums of a band. */
static float outstanding(const int32_t *sums, int n, int i)
{
    int first = i < NEAR ? 0 : i - NEAR;
    int last = i + NEAR < n ? i + NEAR : n - 1;
    int32_t around = 0;
    for (int k = first; k <= last; k++) {
        around += sums[k];
    }
    return (float)sums[i] - (float)around / (float)(last - first + 1);
}

/* The lines' offsets in grey levels; false where they are no more than chance. */
static bool find_offsets(const int32_t *sums, int n, int length, float *offset)
{
    float per_pixel = (float)STRIPE_BANDS / (float)length;
    int certain = 0;
    for (int i = 0; i < n; i++) {
        float sum = 0;
        float squares = 0;
        for (int band = 0; band < STRIPE_BANDS; band++) {
            float v = outstanding(sums + (ptrdiff_t)band * n, n, i) * per_pixel;
            sum += v;
            squares += v * v;
        }
        offset[i] = sum / STRIPE_BANDS;
        float variance = squares / STRIPE_BANDS - offset[i] * offset[i];
        float error = fmaxf(variance, 0) / (STRIPE_BANDS - 1);
        certain += offset[i] * offset[i] > CERTAIN * CERTAIN * error + 0.01f;
    }
    return 2 * certain > n;
}

static uint8_t clipped(float grey)
{
    return (uint8_t)(fminf(255, fmaxf(0, grey)) + 0.5f);
}

void afis_remove_stripes(struct work *work)
{
    float *offset = (float *)(void *)(work->stripes + (ptrdiff_t)STRIPE_BANDS * work->longer);
    size_t pixels = (size_t)work->width * (size_t)work->height;
    for (int rows = 0; rows < 2; rows++) {
        int n = rows != 0 ? work->height : work->width;
        int length = rows != 0 ? work->width : work->height;
        (rows != 0 ? sum_rows : sum_columns)(work, work->stripes);
        if (!find_offsets(work->stripes, n, length, offset)) {
            continue;
        }
        if (work->grey != work->own_grey) {
            memcpy(work->own_grey, work->grey, pixels);
            work->grey = work->own_grey;
        }
        for (int y = 0; y < work->height; y++) {
            uint8_t *grey = work->own_grey + (ptrdiff_t)y * work->width;
            for (int x = 0; x < work->width; x++) {
                grey[x] = clipped((float)grey[x] - offset[rows != 0 ? y : x]);
            }
        }
    }
}
