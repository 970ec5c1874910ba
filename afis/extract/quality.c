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

void afis_grade(struct work *work, struct afis_template *out)
{
    for (int i = 0; i < work->candidate_count; i++) {
        struct candidate *c = &work->candidates[i];
        float amplitude = afis_field_at(work, work->amplitude, c->x, c->y);
        float coherence = afis_field_at(work, work->coherence, c->x, c->y);
        c->quality = fminf(1, amplitude * 1.5f) * coherence;
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
    int area = 0;
    for (int i = 0; i < work->cells; i++) {
        area += work->mask[i];
    }
    out->quality = (uint8_t)(area > 1000 ? 100 : area / 10);
}
