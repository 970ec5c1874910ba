/* What every stage does with fields of one value a cell. */
#include <math.h>
#include <string.h>

#include "stages.h"

#define TAPS_MAX 16

/* One direction of a Gaussian; weights outside the grid are left out and the rest made up for. */
static void smooth_lines(const float *from, float *to, int lines, int length, int line_step,
                         int step, const float *taps, int radius)
{
    for (int line = 0; line < lines; line++) {
        const float *p = from + line * line_step;
        float *q = to + line * line_step;
        for (int i = 0; i < length; i++) {
            int first = i < radius ? -i : -radius;
            int last = i + radius < length ? radius : length - 1 - i;
            float sum = 0;
            float weight = 0;
            for (int k = first; k <= last; k++) {
                float tap = taps[k < 0 ? -k : k];
                sum += tap * p[(i + k) * step];
                weight += tap;
            }
            q[i * step] = sum / weight;
        }
    }
}

void afis_field_smooth(const struct work *work, float *field, float sigma)
{
    float taps[TAPS_MAX];
    int radius = (int)ceilf(2.5f * sigma);
    radius = radius < TAPS_MAX ? radius : TAPS_MAX - 1;
    for (int k = 0; k <= radius; k++) {
        taps[k] = expf(-(float)(k * k) / (2 * sigma * sigma));
    }
    smooth_lines(field, work->scratch, work->rows, work->cols, work->cols, 1, taps, radius);
    smooth_lines(work->scratch, field, work->cols, work->rows, 1, work->cols, taps, radius);
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
    const float *p = field + r * work->cols + c;
    float s = u - (float)c;
    float t = v - (float)r;
    float upper = p[0] + (p[right] - p[0]) * s;
    float lower = p[down] + (p[down + right] - p[down]) * s;
    return upper + (lower - upper) * t;
}
