#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stages.h"

static int by_quality(const void *a, const void *b)
{
    const struct candidate *p = a;
    const struct candidate *q = b;
    return (p->quality < q->quality) - (p->quality > q->quality);
}

/* Distance in pixels to the nearest cell outside, up to 48, in steps of 4 along 16 rays. */
static float edge_distance(const struct work *work, float x, float y)
{
    float best = 48;
    for (int k = 0; k < 16; k++) {
        float dx = cosf((float)k * 0.3927f);
        float dy = sinf((float)k * 0.3927f);
        for (float d = 4; d < best; d += 4) {
            float px = x + d * dx;
            float py = y + d * dy;
            if (px < 0 || py < 0 || px >= (float)work->width || py >= (float)work->height ||
                work->mask[(int)py / CELL * work->cols + (int)px / CELL] == 0) {
                best = d;
            }
        }
    }
    return best;
}

static void measure(struct work *work)
{
    float typical = work->typical;
    float period = afis_field_percentile(work, work->period, work->mask, 0.5f);
    for (int i = 0; i < work->candidate_count; i++) {
        struct candidate *c = &work->candidates[i];
        float *f = c->feature;
        f[0] = logf(afis_field_at(work, work->strength, c->x, c->y) / (typical + 1e-3f) + 0.02f);
        f[1] = afis_field_at(work, work->agreement, c->x, c->y);
        f[2] = afis_field_at(work, work->coherence, c->x, c->y);
        f[3] = edge_distance(work, c->x, c->y);
        f[4] = logf(afis_field_at(work, work->period, c->x, c->y) / period);
        f[5] = afis_field_at(work, work->amplitude, c->x, c->y);
        float nearest = 40;
        int n20 = 0;
        int n40 = 0;
        for (int j = 0; j < work->candidate_count; j++) {
            float dx = work->candidates[j].x - c->x;
            float dy = work->candidates[j].y - c->y;
            float d = sqrtf(dx * dx + dy * dy);
            if (j != i) {
                nearest = d < nearest ? d : nearest;
                n20 += d < 20;
                n40 += d < 40;
            }
        }
        f[6] = nearest;
        f[7] = (float)n20;
        f[8] = (float)n40;
        f[9] = (float)c->trace;
        f[10] = c->type;
        /* worst along the trace's first pixels and just beyond the end */
        float inner = 0;
        for (int k = 2; k <= 12; k += 2) {
            int px = (int)(c->x + c->dx * (float)k);
            int py = (int)(c->y + c->dy * (float)k);
            inner += fabsf((float)work->enhanced[py * work->stride + px]) / UNIT / 6;
        }
        f[11] = inner;
        float beyond = 0;
        for (int k = 2; k <= 8; k += 2) {
            int px = (int)(c->x - c->dx * (float)k);
            int py = (int)(c->y - c->dy * (float)k);
            float v = (float)work->enhanced[py * work->stride + px] / UNIT / 4;
            beyond += c->type == AFIS_MINUTIA_ENDING ? -v : v;
        }
        f[12] = beyond;
        f[13] = period;
        f[14] = afis_field_at(work, work->deviation, c->x, c->y) / (work->least * 4);
    }
}

extern void tune_dump(const struct work *work);
void afis_grade(struct work *work, struct afis_template *out)
{
    measure(work);
    tune_dump(work);
    for (int i = 0; i < work->candidate_count; i++) {
        struct candidate *c = &work->candidates[i];
        const float *f = c->feature;
        float odds = -4.522f + 0.9f * f[0] + 4.134f * f[1] + 0.031f * fminf(f[3], 32) +
                     0.027f * fminf(f[6], 25) + 0.058f * f[9] +
                     1.021f * fminf(0.4f, fmaxf(-0.4f, f[12]));
        c->quality = 1 / (1 + expf(-odds));
    }
    qsort(work->candidates, (size_t)work->candidate_count, sizeof *work->candidates, by_quality);
    int n = work->candidate_count < (int)AFIS_MINUTIAE_MAX ? work->candidate_count : (int)AFIS_MINUTIAE_MAX;
    memset(out, 0, sizeof *out);
    out->width = (uint16_t)work->width;
    out->height = (uint16_t)work->height;
    out->count = (uint16_t)n;
    for (int i = 0; i < n; i++) {
        const struct candidate *c = &work->candidates[i];
        float turn = atan2f(-c->dy, c->dx) * (65536 / 6.2831853f);
        out->minutiae[i] = (struct afis_minutia){
            .x = (int16_t)lrintf(c->x * 16),
            .y = (int16_t)lrintf(c->y * 16),
            .angle = (uint16_t)lrintf(turn),
            .type = c->type,
            .quality = (uint8_t)(1 + lrintf(c->quality * 99)),
        };
    }
    afis_judge(work, out);
}
