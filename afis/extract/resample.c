/* To the working grid: separable triangle filter, as wide as the coarser of the two grids, so that
 * a finer scan is averaged and a coarser one interpolated. Rows of the image are brought to the
 * grid's width once each, and those that the filter sees are kept. */
#include <math.h>

#include "stages.h"

#define SPAN_MAX 5 /* source pixels under a filter at 1000 dpi: 2 * 2 + 1 */
#define SPAN_FEW 2 /* ... where the grid is the finer one */

int afis_resampled(uint32_t pixels, uint32_t dpi, int grid)
{
    return (int)(((uint64_t)pixels * (uint64_t)grid + dpi / 2) / dpi);
}

/* One target pixel's filter: the first source pixel under it, and its taps. */
struct taps {
    int first;
    float tap[SPAN_MAX];
};

static struct taps filter_taps(int i, float step, int length, int span)
{
    float reach = step > 1 ? step : 1;
    float centre = ((float)i + 0.5f) * step - 0.5f;
    int low = (int)ceilf(centre - reach);
    low = low < length - span ? low : length - span;
    struct taps taps = {.first = low > 0 ? low : 0};
    float sum = 0;
    for (int k = 0; k < span; k++) {
        float tap = 1 - fabsf((float)(taps.first + k) - centre) / reach;
        taps.tap[k] = tap > 0 ? tap : 0;
        sum += taps.tap[k];
    }
    for (int k = 0; k < span; k++) {
        taps.tap[k] = sum > 0 ? taps.tap[k] / sum : (float)(k == span - 1);
    }
    return taps;
}

/* Rows of the target's width, by the number of the source row modulo SPAN_MAX. */
struct wide {
    float *row[SPAN_MAX];
    int next;          /* source row that is not in them yet */
    float *line;       /* one source row */
    struct taps *taps; /* of each column */
};

static struct wide lay_out(const struct afis_image *image, int grid, struct arena *arena)
{
    const size_t width = (size_t)afis_resampled(image->width, image->dpi, grid);
    struct wide wide = {.next = 0};
    for (int i = 0; i < SPAN_MAX; i++) {
        wide.row[i] = arena_take(arena, width * sizeof(float));
    }
    wide.line = arena_take(arena, image->width * sizeof(float));
    wide.taps = arena_take(arena, width * sizeof(struct taps));
    return wide;
}

size_t afis_resample_scratch(const struct afis_image *image, int grid)
{
    struct arena arena = {0};
    lay_out(image, grid, &arena);
    return arena.used;
}

static inline void widen(const struct wide *wide, float *to, int width, const int span)
{
    for (int x = 0; x < width; x++) {
        const struct taps *taps = &wide->taps[x];
        const float *p = wide->line + taps->first;
        float sum = 0;
        for (int k = 0; k < span; k++) {
            sum += taps->tap[k] * p[k];
        }
        to[x] = sum;
    }
}

static inline void lower(const struct wide *wide, const struct taps *taps, uint8_t *to, int width,
                         const int span)
{
    const float *row[SPAN_MAX];
    for (int k = 0; k < span; k++) {
        row[k] = wide->row[(taps->first + k) % SPAN_MAX];
    }
    for (int x = 0; x < width; x++) {
        float sum = 0.5f;
        for (int k = 0; k < span; k++) {
            sum += taps->tap[k] * row[k][x];
        }
        to[x] = (uint8_t)(int32_t)sum;
    }
}

/* Inlined with span a constant, so that the loops over it unroll. */
static inline void resample(const struct afis_image *image, int grid, uint8_t *to,
                            struct wide *wide, const int span)
{
    const int width = afis_resampled(image->width, image->dpi, grid);
    const int height = afis_resampled(image->height, image->dpi, grid);
    const float step = (float)image->dpi / (float)grid;
    for (int x = 0; x < width; x++) {
        wide->taps[x] = filter_taps(x, step, (int)image->width, span);
    }
    for (int y = 0; y < height; y++) {
        struct taps taps = filter_taps(y, step, (int)image->height, span);
        for (; wide->next < taps.first + span; wide->next++) {
            const uint8_t *from = image->pixels + (size_t)wide->next * image->width;
            for (uint32_t x = 0; x < image->width; x++) {
                wide->line[x] = (float)from[x];
            }
            widen(wide, wide->row[wide->next % SPAN_MAX], width, span);
        }
        lower(wide, &taps, to + (ptrdiff_t)y * width, width, span);
    }
}

void afis_resample(const struct afis_image *image, int grid, uint8_t *to, void *scratch)
{
    struct arena arena = {.base = scratch};
    struct wide wide = lay_out(image, grid, &arena);
    if (image->dpi > (uint32_t)grid) {
        resample(image, grid, to, &wide, SPAN_MAX);
    } else {
        resample(image, grid, to, &wide, SPAN_FEW);
    }
}
