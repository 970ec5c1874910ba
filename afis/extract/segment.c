/* Which cells hold ridges. The coarse mask asks for contrast alone and only spares work; the fine
 * one asks how strong the ridges in a cell are, in grey levels and after the ridge filter, which
 * residue, noise, frames and blank areas do not survive. */
#include <math.h>
#include <string.h>

#include "stages.h"

#define COARSE 0.22f /* of the 92nd percentile of deviation */
#define FINE 0.13f   /* of the 80th percentile of ridge strength */
#define HOLE 30      /* cells: a larger hole in the foreground is a blank area and stays one */
#define BLANK 1.5f   /* grey levels of deviation: nothing there but the sensor's noise */

static uint8_t both(uint8_t a, uint8_t b, bool dilate)
{
    return dilate ? a | b : a & b;
}

/* By the 3 x 3 square, rows first; what lies outside changes nothing. */
static void erode_or_dilate(struct work *work, uint8_t *mask, bool dilate)
{
    uint8_t *wide = work->cellscratch;
    int n = work->cols;
    for (int row = 0; row < work->rows; row++) {
        const uint8_t *from = mask + (ptrdiff_t)row * n;
        uint8_t *to = wide + (ptrdiff_t)row * n;
        memcpy(to, from, (size_t)n);
        for (int col = 1; col < n; col++) {
            to[col] = both(to[col], from[col - 1], dilate);
            to[col - 1] = both(to[col - 1], from[col], dilate);
        }
    }
    memcpy(mask, wide, (size_t)work->cells);
    for (int i = n; i < work->cells; i++) {
        mask[i] = both(mask[i], wide[i - n], dilate);
        mask[i - n] = both(mask[i - n], wide[i], dilate);
    }
}

/* Labels the 4-connected component of `value` that holds `start` with `label`; returns its size. */
static int flood(struct work *work, uint8_t *map, int start, uint8_t value, uint8_t label)
{
    int32_t *queue = work->cell_queue;
    int count = 1;
    queue[0] = start;
    map[start] = label;
    for (int next = 0; next < count; next++) {
        int cell = queue[next];
        int col = cell % work->cols;
        const int step[4] = {-1, 1, -work->cols, work->cols};
        for (int k = 0; k < 4; k++) {
            int other = cell + step[k];
            if (other < 0 || other >= work->cells || (k == 0 && col == 0) ||
                (k == 1 && col == work->cols - 1) || map[other] != value) {
                continue;
            }
            map[other] = label;
            queue[count++] = other;
        }
    }
    return count;
}

/* Keeps components of `value` with at least `least` cells; smaller ones become `other`. */
static void keep_large(struct work *work, uint8_t *mask, uint8_t value, uint8_t other, int least)
{
    for (int i = 0; i < work->cells; i++) {
        if (mask[i] == value) {
            int n = flood(work, mask, i, value, 2);
            if (n < least) {
                for (int k = 0; k < n; k++) {
                    mask[work->cell_queue[k]] = other;
                }
            }
        }
    }
    for (int i = 0; i < work->cells; i++) {
        mask[i] = mask[i] == 2 ? value : mask[i];
    }
}

void afis_segment_coarse(struct work *work)
{
    float typical = afis_field_percentile(work, work->deviation, NULL, 0.92f);
    for (int i = 0; i < work->cells; i++) {
        work->coarse[i] = work->deviation[i] > COARSE * typical && work->weight[i] > BLANK * BLANK;
    }
    memcpy(work->mask, work->coarse, (size_t)work->cells);
}

/* How strong the ridges of each cell are in grey levels, and how much of what is there they are. */
static void measure_ridges(struct work *work)
{
    work->ops->compare(work, work->agreement, work->strength, work->weight);
    work->ops->smooth(work, work->agreement, 1);
    work->ops->smooth(work, work->strength, 1);
    work->ops->smooth(work, work->weight, 1);
    for (int i = 0; i < work->cells; i++) {
        float power = work->strength[i] * work->weight[i];
        float unit = work->deviation[i] > work->least ? work->deviation[i] : work->least;
        work->agreement[i] = power > 0 ? work->agreement[i] / sqrtf(power) : 0;
        work->strength[i] = sqrtf(work->strength[i]) * unit;
    }
}

void afis_segment_fine(struct work *work)
{
    measure_ridges(work);
    work->typical = afis_field_percentile(work, work->strength, work->coarse, 0.8f);
    for (int i = 0; i < work->cells; i++) {
        work->mask[i] = work->coarse[i] != 0 && work->strength[i] > FINE * work->typical;
    }
    erode_or_dilate(work, work->mask, false);
    erode_or_dilate(work, work->mask, true);
    erode_or_dilate(work, work->mask, true);
    erode_or_dilate(work, work->mask, false);
    int total = 0;
    for (int i = 0; i < work->cells; i++) {
        total += work->mask[i];
    }
    keep_large(work, work->mask, 1, 0, total / 10 + 4);
    keep_large(work, work->mask, 0, 1, HOLE);
}
