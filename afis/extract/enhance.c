/* Contextual filtering after Hong, Wan & Jain 1998, with kernels that scale with the ridge period
 * and in several passes: each pass reads direction and period off what the last one made visible,
 * and filters the normalised print again with those. */
#include <math.h>
#include <string.h>

#include "stages.h"

#define PI 3.14159265f
#define UNMADE (NO_BIN - 1) /* a cell's bin before anything was written there */

static void choose_bins(struct work *work)
{
    float steps = PERIODS / logf(PERIOD_MAX / PERIOD_MIN);
    for (int i = 0; i < work->cells; i++) {
        if (work->mask[i] == 0) {
            work->bin[i] = NO_BIN;
            continue;
        }
        int p = (int)(logf(work->period[i] / PERIOD_MIN) * steps);
        p = p < PERIODS ? p : PERIODS - 1;
        int o = (int)lrintf(work->phi[i] * (ORIENTATIONS / PI));
        work->bin[i] = (uint16_t)(p * ORIENTATIONS + (o + ORIENTATIONS) % ORIENTATIONS);
    }
}

/* A cell of a lot of rows that has been paired. */
static void filter_one(struct work *work, int cell, const struct kernels *kernels, int16_t *plane)
{
    int row = cell / work->cols;
    int col = cell % work->cols;
    int16_t *to = plane + cell_offset(work, row, col);
    if (work->bin[cell] == NO_BIN) {
        for (int y = 0; y < CELL; y++) {
            memset(to + y * work->stride, 0, CELL * sizeof(int16_t));
        }
        return;
    }
    int p = work->bin[cell] / ORIENTATIONS;
    int o = work->bin[cell] % ORIENTATIONS;
    ptrdiff_t at = (row * CELL % PAIRED + RADIUS_MAX) * work->pairs.pitch + col * CELL + PAD;
    work->ops->filter_cell(&work->pairs, at, afis_kernel_taps + kernels->at[p][o],
                           kernels->radius[p], to, work->stride);
}

/* Cells whose kernel did not change since the last pass keep what it made. */
static void filter_plane(struct work *work, const struct kernels *kernels, int16_t *plane)
{
    for (int row = 0; row < work->rows; row += PAIRED / CELL) {
        int rows = row + PAIRED / CELL < work->rows ? PAIRED / CELL : work->rows - row;
        work->ops->pair(&work->pairs,
                        work->normal + cell_offset(work, row, 0) - RADIUS_MAX * work->stride - PAD,
                        work->stride, rows * CELL + 2 * RADIUS_MAX);
        for (int i = row * work->cols; i < (row + rows) * work->cols; i++) {
            if (work->bin[i] != work->old_bin[i]) {
                filter_one(work, i, kernels, plane);
                work->old_bin[i] = work->bin[i];
            }
        }
    }
}

/* Cells over which the tensor is smoothed before each filtering, and once after. */
static const float sigma_of[] = {2.0f, 1.2f, 1.0f, 1.0f};

static void pass(struct work *work, float sigma_after)
{
    choose_bins(work);
    filter_plane(work, &afis_kernels_short, work->enhanced);
    afis_orient(work, work->enhanced, sigma_after);
    afis_segment_fine(work);
    afis_find_waves(work);
}

void afis_enhance_first(struct work *work)
{
    memset(work->old_bin, 0xff, (size_t)work->cells * sizeof *work->old_bin);
    afis_orient(work, work->normal, sigma_of[0]);
    memcpy(work->flow, work->coherence, (size_t)work->cells * sizeof *work->flow);
    afis_find_waves(work);
    pass(work, sigma_of[1]);
}

void afis_enhance(struct work *work)
{
    pass(work, sigma_of[2]);
    pass(work, sigma_of[3]);
}

void afis_enhance_again(struct work *work)
{
    choose_bins(work);
    for (int i = 0; i < work->cells; i++) {
        work->old_bin[i] = UNMADE;
    }
    filter_plane(work, &afis_kernels_long, work->spare);
}
