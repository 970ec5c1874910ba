/* Contextual filtering after Hong, Wan & Jain 1998, with kernels that scale with the ridge period
 * and in several passes: each pass reads direction and period off what the last one made visible,
 * and filters the normalised print again with those. */
#include <math.h>
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

static int kernel_size(int radius)
{
    return (radius + 1) * (2 * radius + 1);
}

static float bin_period(int bin)
{
    return PERIOD_MIN * powf(PERIOD_MAX / PERIOD_MIN, ((float)bin + 0.5f) / PERIODS);
}

static int bin_radius(const struct kernel_bank *bank, int bin)
{
    float sigma = bank->along * bin_period(bin);
    int radius = (int)ceilf(REACH * sigma);
    return radius < RADIUS_MAX ? radius : RADIUS_MAX;
}

#define SIDE_MAX (2 * RADIUS_MAX + 1)

/* cos and sin of a wave's phase at -radius..radius pixels along one axis. */
static void sample_phase(float *cosine, float *sine, int radius, float per_pixel)
{
    for (int i = 0; i <= 2 * radius; i++) {
        cosine[i] = cosf(per_pixel * (float)(i - radius));
        sine[i] = sinf(per_pixel * (float)(i - radius));
    }
}

/* The Gaussian hill and the wave on it; both are products of what x and y alone contribute, but for
 * one mixed term that is a power of x within a row. */
static void sample_parts(const struct kernel_bank *bank, float *hill, float *wave, int radius,
                         float period, float phi)
{
    float across = bank->across * period;
    float along = bank->along * period;
    float c = cosf(phi);
    float s = sinf(phi);
    float u2 = 1 / (2 * across * across);
    float v2 = 1 / (2 * along * along);
    float cx[SIDE_MAX];
    float sx[SIDE_MAX];
    float cy[SIDE_MAX];
    float sy[SIDE_MAX];
    float gx[SIDE_MAX];
    int side = 2 * radius + 1;
    sample_phase(cx, sx, radius, 2 * PI * c / period);
    sample_phase(cy, sy, radius, 2 * PI * s / period);
    for (int i = 0; i < side; i++) {
        float x = (float)(i - radius);
        gx[i] = expf(-x * x * (u2 * c * c + v2 * s * s));
    }
    for (int j = 0; j < side; j++) {
        float y = (float)(j - radius);
        float mixed = -2 * y * c * s * (u2 - v2);
        float power = expf(-y * y * (u2 * s * s + v2 * c * c) - mixed * (float)radius);
        float factor = expf(mixed);
        for (int i = 0; i < side; i++) {
            hill[j * side + i] = gx[i] * power;
            wave[j * side + i] = cx[i] * cy[j] - sx[i] * sy[j];
            power *= factor;
        }
    }
}

/* An even Gabor function without response to a constant and with unit response to its wave. */
static void sample_kernel(const struct kernel_bank *bank, float *kernel, int radius, float period,
                          float phi)
{
    float wave[SIDE_MAX * SIDE_MAX] = {0};
    float hill[SIDE_MAX * SIDE_MAX] = {0};
    int taps = (2 * radius + 1) * (2 * radius + 1);
    float sum = 0;
    float envelope = 0;
    sample_parts(bank, hill, wave, radius, period, phi);
    for (int i = 0; i < taps; i++) {
        sum += hill[i] * wave[i];
        envelope += hill[i];
    }
    float response = 0;
    for (int i = 0; i < taps; i++) {
        kernel[i] = hill[i] * (wave[i] - sum / envelope);
        response += kernel[i] * wave[i];
    }
    for (int i = 0; i < taps; i++) {
        kernel[i] *= GAIN / response;
    }
}

static int32_t rounded(float v)
{
    return (int32_t)(v < 0 ? v - 0.5f : v + 0.5f);
}

/* Rows in pairs, as filter_cell reads them; the row below the last one is zero. */
static void make_kernel(struct kernel_bank *bank, int period_bin, int orientation)
{
    int radius = bin_radius(bank, period_bin);
    int side = 2 * radius + 1;
    float kernel[SIDE_MAX * SIDE_MAX] = {0};
    sample_kernel(bank, kernel, radius, bin_period(period_bin),
                  PI * (float)orientation / ORIENTATIONS);
    int32_t *taps = bank->taps + bank->count * (size_t)kernel_size(RADIUS_MAX);
    bank->made[period_bin][orientation] = taps;
    bank->count++;
    for (int dy = 0; dy < side; dy += 2) {
        for (int dx = 0; dx < side; dx++) {
            int32_t upper = rounded(kernel[dy * side + dx]);
            int32_t lower = dy + 1 < side ? rounded(kernel[(dy + 1) * side + dx]) : 0;
            *taps++ = (int32_t)((uint32_t)lower << 16 | ((uint32_t)upper & 0xffff));
        }
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

static void filter_one(struct work *work, struct kernel_bank *bank, int cell, int16_t *plane)
{
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
    work->ops->filter_cell(work->normal + at, work->stride, bank->made[p][o], bin_radius(bank, p),
                           plane + at);
}

/* Cells whose kernel did not change since the last pass keep what it made. */
static void filter_plane(struct work *work)
{
    for (int i = 0; i < work->cells; i++) {
        if (work->bin[i] != work->old_bin[i]) {
            filter_one(work, &work->bank, i, work->enhanced);
            work->old_bin[i] = work->bin[i];
        }
    }
}

void afis_enhance(struct work *work)
{
    /* Cells over which the tensor is smoothed before each filtering, and once after. */
    static const float sigma[] = {2.0f, 1.2f, 1.0f, 1.0f};
    const int passes = sizeof sigma / sizeof *sigma - 1;
    work->bank.across = ACROSS;
    work->bank.along = ALONG;
    memset(work->old_bin, 0xff, (size_t)work->cells * sizeof *work->old_bin);
    afis_orient(work, work->normal, sigma[0]);
    for (int pass = 0; pass < passes; pass++) {
        choose_bins(work);
        filter_plane(work);
        afis_orient(work, work->enhanced, sigma[pass + 1]);
        afis_segment_fine(work);
    }
}

void afis_enhance_again(struct work *work)
{
    work->long_bank.across = ACROSS;
    work->long_bank.along = ALONG_AGAIN;
    choose_bins(work);
    for (int i = 0; i < work->cells; i++) {
        filter_one(work, &work->long_bank, i, work->spare);
    }
}
