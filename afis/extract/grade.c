/* Grades minutiae: how likely is each to be seen again in another impression of the finger? A
 * logistic model with few terms, fitted on whether minutiae of the FVC2002 B sets and of degraded
 * copies found their mates; docs/accuracy.md says how. */
#include <math.h>
#include <string.h>

#include "stages.h"

#define FAR_EDGE 32.0f  /* pixels; further inside is no better */
#define FAR_OTHER 25.0f /* likewise to the nearest other minutia */

static float logistic(float odds)
{
    return 1 / (1 + expf(-odds));
}

static bool in_foreground(const struct work *work, float x, float y)
{
    return x >= 0 && y >= 0 && x < (float)work->width && y < (float)work->height &&
           work->mask[(int)y / CELL * work->cols + (int)x / CELL] != 0;
}

/* Distance to the foreground's edge, up to FAR_EDGE, in steps of 4 pixels along 16 rays. */
static float edge_distance(const struct work *work, const struct candidate *c)
{
    static const float ray[16][2] = {
        {1, 0},  {.9239f, .3827f},   {.7071f, .7071f},   {.3827f, .9239f},
        {0, 1},  {-.3827f, .9239f},  {-.7071f, .7071f},  {-.9239f, .3827f},
        {-1, 0}, {-.9239f, -.3827f}, {-.7071f, -.7071f}, {-.3827f, -.9239f},
        {0, -1}, {.3827f, -.9239f},  {.7071f, -.7071f},  {.9239f, -.3827f}};
    float nearest = FAR_EDGE;
    for (int k = 0; k < 16; k++) {
        for (int step = 1; 4.0f * (float)step < nearest; step++) {
            float d = 4.0f * (float)step;
            if (!in_foreground(work, c->x + d * ray[k][0], c->y + d * ray[k][1])) {
                nearest = d;
            }
        }
    }
    return nearest;
}

static float other_distance(const struct work *work, const struct candidate *c)
{
    float nearest = FAR_OTHER * FAR_OTHER;
    for (int i = 0; i < work->candidate_count; i++) {
        float dx = work->candidates[i].x - c->x;
        float dy = work->candidates[i].y - c->y;
        float square = dx * dx + dy * dy;
        if (square < nearest && &work->candidates[i] != c) {
            nearest = square;
        }
    }
    return sqrtf(nearest);
}

/* How clearly the line stops: the mean of the enhanced signal just beyond, in UNITs, positive when
 * it has the other sign than the line. */
static float stop_beyond(const struct work *work, const struct candidate *c)
{
    float sum = 0;
    for (int k = 2; k <= 8; k += 2) {
        int x = (int)(c->x - c->dx * (float)k);
        int y = (int)(c->y - c->dy * (float)k);
        sum += (float)work->enhanced[y * work->stride + x] / (4 * UNIT);
    }
    sum = c->type == AFIS_MINUTIA_ENDING ? -sum : sum;
    return fminf(0.4f, fmaxf(-0.4f, sum));
}

static float minutia_quality(const struct work *work, const struct candidate *c)
{
    float strength = afis_field_at(work, work->strength, c->x, c->y) / (work->typical + 1e-3f);
    float odds = -5.084f + 0.859f * logf(strength + 0.02f);
    odds += 3.717f * afis_field_at(work, work->agreement, c->x, c->y);
    odds += 0.045f * edge_distance(work, c);
    odds += 0.025f * other_distance(work, c);
    odds += 0.066f * (float)c->trace;
    odds += 1.006f * stop_beyond(work, c);
    odds += c->seen == AFIS_SEEN_BOTH ? 0.58f : c->seen == AFIS_SEEN_SECOND ? -0.5f : 0;
    return logistic(odds);
}

static bool is_better(const struct candidate *p, const struct candidate *q)
{
    if (p->quality != q->quality) {
        return p->quality > q->quality;
    }
    /* Equal ones in reading order: the result must not depend on the sorting algorithm. */
    return p->y != q->y ? p->y < q->y : p->x < q->x;
}

/* The best first, by insertion. The C library's qsort may copy what it sorts to the heap or the
 * stack, which is not the caller's memory: nobody would wipe it there. */
static void sort_by_quality(struct candidate *list, int count)
{
    for (int i = 1; i < count; i++) {
        const struct candidate c = list[i];
        int at = i;
        for (; at > 0 && is_better(&c, &list[at - 1]); at--) {
            list[at] = list[at - 1];
        }
        list[at] = c;
    }
}

/* Sixteenths of a pixel at 500 dpi, of a place on the grid; both count from a pixel's centre. */
static int16_t sixteenths(const struct work *work, int offset, float place)
{
    float at = (place + 0.5f) / work->finer - 0.5f;
    return (int16_t)(16 * offset + lrintf(fmaxf(0, at) * 16));
}

static void write_minutiae(const struct work *work, struct afis_template *out)
{
    int room = (int)AFIS_MINUTIAE_MAX;
    int n = work->candidate_count < room ? work->candidate_count : room;
    out->count = (uint16_t)n;
    for (int i = 0; i < n; i++) {
        const struct candidate *c = &work->candidates[i];
        float turn = atan2f(-c->dy, c->dx) * (65536 / 6.2831853f);
        out->minutiae[i] = (struct afis_minutia){
            .x = sixteenths(work, work->frame.left, c->x),
            .y = sixteenths(work, work->frame.top, c->y),
            .angle = (uint16_t)(int32_t)lrintf(turn),
            .type = c->type,
            .quality = (uint8_t)(1 + lrintf(c->quality * 99)),
        };
    }
}

void afis_grade(struct work *work, struct afis_template *out)
{
    for (int i = 0; i < work->candidate_count; i++) {
        work->candidates[i].quality = minutia_quality(work, &work->candidates[i]);
    }
    sort_by_quality(work->candidates, work->candidate_count);
    memset(out, 0, sizeof *out);
    out->width = (uint16_t)work->frame.width;
    out->height = (uint16_t)work->frame.height;
    write_minutiae(work, out);
}
