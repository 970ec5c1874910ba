/* Contextual filtering after Hong, Wan & Jain 1998, with kernels that scale with the ridge period
 * and in several passes: each pass reads direction and period off what the last one made visible,
 * and filters the normalised print again with those. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stages.h"

#define GAIN 16384.0f /* 1 << GAIN_BITS of pixels.c: taps are fixed-point numbers */
#define PI 3.14159265f

/* Standard deviations of the kernels' hill, in ridge periods. Short ones follow curved ridges; the
 * passes make up for it. */
#define ACROSS 0.28f
#define ALONG 0.46f
#define ALONG_AGAIN 0.70f
#define REACH 2.5f /* standard deviations that a kernel covers, unless RADIUS_MAX is less */

#define SPAN (2 * RADIUS_MAX + 1)
/* Of one kernel: for each pair of rows where its taps begin, how many there are, and the taps. */
#define KERNEL_WORDS ((RADIUS_MAX + 1) * (SPAN + 2))

size_t afis_kernel_bank_size(void)
{
    return (size_t)KERNEL_WORDS * PERIODS * ORIENTATIONS * sizeof(int32_t);
}

/* Forgets all kernels; the next ones reach so many periods along the ridge. */
static void reset_bank(struct kernel_bank *bank, float along)
{
    memset(bank->made, 0, sizeof bank->made);
    bank->count = 0;
    bank->along = along;
    for (int i = 0; i < PERIODS; i++) {
        float period = PERIOD_MIN * powf(PERIOD_MAX / PERIOD_MIN, ((float)i + 0.5f) / PERIODS);
        int radius = (int)ceilf(REACH * along * period);
        bank->period[i] = period;
        bank->radius[i] = radius < RADIUS_MAX ? radius : RADIUS_MAX;
    }
}

/* The lower half of a kernel, its middle row first: the upper one is the same turned by 180
 * degrees. Columns are those of the whole kernel, and some more: loops over all of them always take
 * as many, which compilers turn into few instructions. What lies outside a kernel is 0. */
#define COLUMNS 24
struct half {
    float tap[RADIUS_MAX + 1][COLUMNS];
};

struct rounded {
    int32_t tap[RADIUS_MAX + 1][COLUMNS];
};

/* cos and sin of a wave's phase at -radius..radius pixels along one axis. */
static void sample_phase(float *cosine, float *sine, int radius, float per_pixel)
{
    for (int i = 0; i <= radius; i++) {
        cosine[radius + i] = cosine[radius - i] = cosf(per_pixel * (float)i);
        sine[radius + i] = sinf(per_pixel * (float)i);
        sine[radius - i] = -sine[radius + i];
    }
}

/* The wave: a product of what x and y alone contribute. */
static void sample_wave(struct half *wave, int radius, float period, float phi)
{
    float cx[COLUMNS] = {0};
    float sx[COLUMNS] = {0};
    float cy[SPAN];
    float sy[SPAN];
    sample_phase(cx, sx, radius, 2 * PI * cosf(phi) / period);
    sample_phase(cy, sy, radius, 2 * PI * sinf(phi) / period);
    for (int y = 0; y <= radius; y++) {
        float c = cy[radius + y];
        float s = sy[radius + y];
        for (int i = 0; i < COLUMNS; i++) {
            wave->tap[y][i] = cx[i] * c - sx[i] * s;
        }
    }
}

/* The Gaussian hill, cut off at REACH: likewise, but for a mixed term, a power of y in a column. */
static void sample_hill(struct half *hill, int radius, float across, float along, float phi)
{
    float c = cosf(phi);
    float s = sinf(phi);
    float u2 = 1 / (2 * across * across);
    float v2 = 1 / (2 * along * along);
    float mixed[COLUMNS] = {0};
    float factor[COLUMNS] = {0};
    const float least = expf(-REACH * REACH / 2);
    for (int i = 0; i <= 2 * radius; i++) {
        float x = (float)(i - radius);
        mixed[i] = expf(-x * x * (u2 * c * c + v2 * s * s));
        factor[i] = expf(-2 * x * c * s * (u2 - v2));
    }
    for (int y = 0; y <= radius; y++) {
        float down = expf(-(float)(y * y) * (u2 * s * s + v2 * c * c));
        for (int i = 0; i < COLUMNS; i++) {
            float h = mixed[i] * down;
            hill->tap[y][i] = h < least ? 0 : h;
            mixed[i] *= factor[i];
        }
    }
}

/* Sums over a kernel's columns: of the hill, hill * wave, hill * wave * wave. */
struct kernel_sums {
    float hill, wave, square;
};

static struct kernel_sums sum_kernel(const struct half *hill, const struct half *wave, int radius)
{
    float h_sums[COLUMNS] = {0};
    float w_sums[COLUMNS] = {0};
    float s_sums[COLUMNS] = {0};
    for (int y = 0; y <= radius; y++) {
        float times = y == 0 ? 1 : 2;
        for (int i = 0; i < COLUMNS; i++) {
            float h = times * hill->tap[y][i];
            float w = h * wave->tap[y][i];
            h_sums[i] += h;
            w_sums[i] += w;
            s_sums[i] += w * wave->tap[y][i];
        }
    }
    struct kernel_sums sums = {0};
    for (int i = 0; i <= 2 * radius; i++) {
        sums.hill += h_sums[i];
        sums.wave += w_sums[i];
        sums.square += s_sums[i];
    }
    return sums;
}

/* An even Gabor function without response to a constant and with unit response to its wave. */
static void sample_kernel(struct rounded *kernel, int radius, float period, float along, float phi)
{
    UNSET struct half wave;
    UNSET struct half hill;
    sample_wave(&wave, radius, period, phi);
    sample_hill(&hill, radius, ACROSS * period, along * period, phi);
    struct kernel_sums sums = sum_kernel(&hill, &wave, radius);
    float mean = sums.wave / sums.hill;
    float gain = GAIN / (sums.square - mean * sums.wave);
    for (int y = 0; y <= radius; y++) {
        for (int i = 0; i < COLUMNS; i++) {
            float v = hill.tap[y][i] * (wave.tap[y][i] - mean) * gain;
            kernel->tap[y][i] = (int32_t)(v + (v < 0 ? -0.5f : 0.5f));
        }
    }
}

/* One row of taps, dy from the middle one; zero below the last. */
static void copy_row(const struct rounded *kernel, int radius, int dy, int32_t *row)
{
    if (dy > radius) {
        memset(row, 0, COLUMNS * sizeof *row);
        return;
    }
    memcpy(row, kernel->tap[abs(dy)], COLUMNS * sizeof *row);
    for (int i = 0; dy < 0 && i < radius; i++) {
        row[i] = kernel->tap[-dy][2 * radius - i];
        row[2 * radius - i] = kernel->tap[-dy][i];
    }
}

/* Rows in pairs as filter_cell reads them, the lower one's taps in the upper half of the word. */
static void make_kernel(struct kernel_bank *bank, int period_bin, int orientation)
{
    int radius = bank->radius[period_bin];
    UNSET struct rounded kernel;
    sample_kernel(&kernel, radius, bank->period[period_bin], bank->along,
                  PI * (float)orientation / ORIENTATIONS);
    int32_t *taps = bank->taps + bank->count * (size_t)KERNEL_WORDS;
    bank->made[period_bin][orientation] = taps;
    bank->count++;
    for (int dy = -radius; dy <= radius; dy += 2) {
        UNSET int32_t upper[COLUMNS];
        UNSET int32_t lower[COLUMNS];
        copy_row(&kernel, radius, dy, upper);
        copy_row(&kernel, radius, dy + 1, lower);
        for (int i = 0; i < COLUMNS; i++) {
            upper[i] = (int32_t)((uint32_t)lower[i] << 16 | ((uint32_t)upper[i] & 0xffff));
        }
        int first = 0;
        int end = 2 * radius + 1;
        while (first < end && upper[first] == 0) {
            first++;
        }
        while (end > first && upper[end - 1] == 0) {
            end--;
        }
        *taps++ = first;
        *taps++ = end - first;
        memcpy(taps, upper + first, (size_t)(end - first) * sizeof *taps);
        taps += end - first;
    }
}

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

static void filter_one(struct work *work, int cell, int16_t *plane)
{
    struct kernel_bank *bank = &work->bank;
    ptrdiff_t at = cell_offset(work, cell / work->cols, cell % work->cols);
    if (work->bin[cell] == NO_BIN) {
        for (int y = 0; y < CELL; y++) {
            memset(plane + at + y * work->stride, 0, CELL * sizeof(int16_t));
        }
        return;
    }
    int p = work->bin[cell] / ORIENTATIONS;
    int o = work->bin[cell] % ORIENTATIONS;
    if (bank->made[p][o] == NULL) {
        make_kernel(bank, p, o);
    }
    work->ops->filter_cell(work->normal + at, work->stride, bank->made[p][o], bank->radius[p],
                           plane + at);
}

/* Cells whose kernel did not change since the last pass keep what it made. */
static void filter_plane(struct work *work)
{
    for (int i = 0; i < work->cells; i++) {
        if (work->bin[i] != work->old_bin[i]) {
            filter_one(work, i, work->enhanced);
            work->old_bin[i] = work->bin[i];
        }
    }
}

/* Cells over which the tensor is smoothed before each filtering, and once after. */
static const float sigma_of[] = {2.0f, 1.2f, 1.0f, 1.0f};

static void pass(struct work *work, float sigma_after)
{
    choose_bins(work);
    filter_plane(work);
    afis_orient(work, work->enhanced, sigma_after);
    afis_segment_fine(work);
}

void afis_enhance_first(struct work *work)
{
    reset_bank(&work->bank, ALONG);
    memset(work->old_bin, 0xff, (size_t)work->cells * sizeof *work->old_bin);
    afis_orient(work, work->normal, sigma_of[0]);
    memcpy(work->flow, work->coherence, (size_t)work->cells * sizeof *work->flow);
    pass(work, sigma_of[1]);
}

void afis_enhance(struct work *work)
{
    pass(work, sigma_of[2]);
    pass(work, sigma_of[3]);
}

void afis_enhance_again(struct work *work)
{
    reset_bank(&work->bank, ALONG_AGAIN);
    choose_bins(work);
    for (int i = 0; i < work->cells; i++) {
        filter_one(work, i, work->spare);
    }
}
