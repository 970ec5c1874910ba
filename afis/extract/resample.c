/* To the working grid: separable triangle filter, as wide as the coarser of the two grids, so that
 * a finer scan is averaged and a coarser one interpolated. */
#include <math.h>
#include <string.h>

#include "stages.h"

#define SPAN_MAX 5 /* source pixels under a filter at 1000 dpi: 2 * 2 + 1 */

int afis_resampled(uint32_t pixels, uint32_t dpi, int grid)
{
    return (int)(((uint64_t)pixels * (uint64_t)grid + dpi / 2) / dpi);
}

size_t afis_resample_scratch(const struct afis_image *image, int grid)
{
    return (size_t)afis_resampled(image->width, image->dpi, grid) * image->height * sizeof(float);
}

/* Which source pixels make target pixel i, and with what weights. */
static int filter_taps(int i, float step, int length, float *taps, int *first)
{
    float reach = step > 1 ? step : 1;
    float centre = ((float)i + 0.5f) * step - 0.5f;
    int low = (int)ceilf(centre - reach);
    int high = (int)floorf(centre + reach);
    low = low < 0 ? 0 : low;
    high = high < length ? high : length - 1;
    high = high < low + SPAN_MAX - 1 ? high : low + SPAN_MAX - 1;
    float sum = 0;
    for (int k = low; k <= high; k++) {
        float tap = 1 - fabsf((float)k - centre) / reach;
        taps[k - low] = tap > 0 ? tap : 0;
        sum += taps[k - low];
    }
    if (low > high || sum <= 0) { /* beyond the last pixel's centre */
        *first = low < length ? low : length - 1;
        taps[0] = 1;
        return 1;
    }
    for (int k = 0; k <= high - low; k++) {
        taps[k] /= sum;
    }
    *first = low;
    return high - low + 1;
}

void afis_resample(const struct afis_image *image, int grid, uint8_t *to, void *scratch)
{
    const int width = afis_resampled(image->width, image->dpi, grid);
    const int height = afis_resampled(image->height, image->dpi, grid);
    float step = (float)image->dpi / (float)grid;
    float *wide = scratch; /* target width, source height */
    float taps[SPAN_MAX] = {0};
    int first;
    for (int x = 0; x < width; x++) {
        int n = filter_taps(x, step, (int)image->width, taps, &first);
        for (uint32_t y = 0; y < image->height; y++) {
            const uint8_t *p = image->pixels + (size_t)y * image->width + first;
            float sum = 0;
            for (int k = 0; k < n; k++) {
                sum += taps[k] * (float)p[k];
            }
            wide[(size_t)y * (size_t)width + (size_t)x] = sum;
        }
    }
    for (int y = 0; y < height; y++) {
        int n = filter_taps(y, step, (int)image->height, taps, &first);
        const float *p = wide + (size_t)first * (size_t)width;
        for (int x = 0; x < width; x++) {
            float sum = 0.5f;
            for (int k = 0; k < n; k++) {
                sum += taps[k] * p[k * width + x];
            }
            to[(size_t)y * (size_t)width + (size_t)x] = (uint8_t)sum;
        }
    }
}
