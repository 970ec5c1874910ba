/* What every stage does with fields of one value a cell. */
#include "stages.h"

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
