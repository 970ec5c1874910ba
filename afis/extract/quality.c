/* One figure for the print: how likely it is to match well, and if it is low, what an officer can
 * do about it. */
#include <math.h>

#include "stages.h"

#define LOW 45           /* below: the officer is told why */
#define LITTLE_CELLS 600 /* 1 square centimetre */
#define LITTLE_GOOD 14.0f

/* Ridge pixels of one cell before enhancement. */
static int count_ridge(const struct work *work, int cell)
{
    const int16_t *p = work->normal + cell_offset(work, cell / work->cols, cell % work->cols);
    int count = 0;
    for (int y = 0; y < CELL; y++) {
        for (int x = 0; x < CELL; x++) {
            count += p[y * work->stride + x] > 0;
        }
    }
    return count;
}

/* Ridges bend, but smoothly: neighbouring cells agree on direction (noise and photographs do not),
 * yet not all cells on one (rulings and lines of text do). Things smoother than ridges come out at
 * the longest period. The bounds lie outside all 1,680 prints tried, many of them badly degraded.
 */
static bool is_finger(const struct print *f)
{
    if (f->cells < 30 || f->coherence + 0.3f * f->agreement < 0.985f) {
        return false;
    }
    if (f->period > 13.2f && f->coherence + 0.3f * f->agreement < 1.13f) {
        return false;
    }
    bool ruled = f->tilt > 0.985f || (f->tilt > 0.92f && f->duty < 0.33f);
    return !(ruled && f->cells >= 400);
}

void afis_survey(struct work *work)
{
    struct print f = {0};
    float all = 0;
    float cosine = 0;
    float sine = 0;
    int ridge = 0;
    for (int i = 0; i < work->cells; i++) {
        if (work->mask[i] == 0) {
            continue;
        }
        f.cells += 1;
        f.agreement += work->agreement[i];
        f.coherence += work->coherence[i];
        f.period += work->period[i];
        all += work->strength[i];
        cosine += work->strength[i] * cosf(2 * work->phi[i]);
        sine += work->strength[i] * sinf(2 * work->phi[i]);
        ridge += count_ridge(work, i);
    }
    float n = f.cells > 0 ? f.cells : 1;
    f.agreement /= n;
    f.coherence /= n;
    f.period /= n;
    f.duty = (float)ridge / (n * CELL * CELL);
    f.tilt = all > 0 ? sqrtf(cosine * cosine + sine * sine) / all : 0;
    f.finger = is_finger(&f);
    work->print = f;
}

/* Dragging a finger leaves streaks: one direction prevails, and they break up into minutiae. Either
 * alone is found in good prints of a fingertip or of a small window. */
static float smear_of(const struct print *f)
{
    return fmaxf(0, f->tilt - 0.5f) * fminf(1, fmaxf(0, (f->crowd - 4) / 3));
}

static float quality_of(const struct print *f)
{
    float odds = -16.68f + 5.23f * f->agreement + 5.40f * f->coherence;
    odds += 2.665f * logf(fminf(30, fmaxf(1, f->good)));
    odds -= 0.112f * fminf(12, fmaxf(2.5f, f->crowd));
    odds -= 14.04f * smear_of(f);
    return 100 / (1 + expf(-odds));
}

static uint8_t reasons_of(const struct print *f)
{
    unsigned reasons = 0;
    if (f->cells < LITTLE_CELLS || f->good < LITTLE_GOOD) {
        reasons |= AFIS_REASON_TOO_LITTLE_FINGER;
    }
    if (smear_of(f) > 0.1f) {
        reasons |= AFIS_REASON_MOVED;
    } else if (f->agreement < 0.8f && (f->duty < 0.40f || f->duty > 0.46f)) {
        reasons |= f->duty < 0.40f ? AFIS_REASON_TOO_DRY : AFIS_REASON_TOO_WET;
    }
    if (reasons == 0) {
        reasons = f->duty < 0.43f ? AFIS_REASON_TOO_DRY : AFIS_REASON_TOO_WET;
    }
    return (uint8_t)reasons;
}

void afis_judge(struct work *work, struct afis_template *out)
{
    struct print *f = &work->print;
    if (!f->finger) {
        out->reasons = AFIS_REASON_NOT_A_FINGER;
        return;
    }
    for (int i = 0; i < work->candidate_count; i++) {
        f->good += work->candidates[i].quality;
    }
    f->crowd = 100 * (float)work->candidate_count / f->cells;
    out->quality = (uint8_t)lrintf(quality_of(f));
    out->reasons = out->quality < LOW ? reasons_of(f) : 0;
}
