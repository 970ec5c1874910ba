/* How good a print is as a whole, 0..100, and what the officer can do about a poor one.
 *
 * After the idea of NFIQ 2 (Tabassi et al., NISTIR 8382, 2021; ISO/IEC 29794-4): quality predicts
 * recognition. A logistic model of six figures of the whole print estimates the probability that a
 * comparison with another print of the same finger succeeds; its log-odds, stretched, are the
 * quality. docs/accuracy.md holds the curve and how the model was fitted.
 *
 * What is not a finger is told apart first, by what skin always has and patterns and noise do not:
 * ridges that turn, but gently, with a period that varies, but little. */
#include <math.h>
#include <string.h>

#include "stages.h"

#define SPECK 5.0f          /* mm2 of ridges: less is no finger */
#define PATCH 60.0f         /* mm2: from here on a finger's ridges are seen to turn and to vary */
#define LITTLE 85.0f        /* mm2: less is a small part of a fingertip */
#define ONE_WAY 0.115f      /* mean coherence as scanned: with less, lines cross in each place */
#define CERTAIN 0.985f      /* coherence and 0.3 agreement: noise and photographs have less */
#define CERTAIN_FIRST 0.95f /* ... after one pass; the prints tried had 1.04 and more */
#define SHARP 0.6f          /* sharpness of ordinary prints: beyond is noise */
#define STRAIGHT 190.0f     /* mm2: over more than that ridges never all run one way */
#define WIDE 9.5f           /* pixels at 500 dpi: blurred prints' mean period, mostly */
#define GOOD 60             /* quality from which on no advice is due */

/* Log-odds to quality: one chance in ten is 15, an even chance 39, nine in ten 64. */
#define ODDS_AT_15 (-2.197f)
#define PER_LOG_ODDS 11.1f

static float certainty_of(const struct print *f)
{
    return f->coherence + 0.3f * f->agreement;
}

void afis_measure_cells(const struct work *work, struct print *f)
{
    const float cell_mm2 = powf(CELL * 25.4f / (float)work->grid, 2);
    float n = 1e-6f;
    float log_period = 0;
    float log_period2 = 0;
    *f = (struct print){0};
    for (int i = 0; i < work->cells; i++) {
        if (work->mask[i] == 0) {
            continue;
        }
        float c = work->coherence[i];
        float l = logf(work->period[i]);
        n++;
        f->steady += c > 0.93f ? cell_mm2 : 0;
        f->coherence += c;
        f->flow += work->flow[i];
        f->incoherence += logf(1.02f - c);
        f->agreement += work->agreement[i];
        f->power += work->deviation[i] * work->deviation[i];
        log_period += l;
        log_period2 += l * l;
    }
    f->area = n * cell_mm2;
    f->coherence /= n;
    f->flow /= n;
    f->incoherence /= n;
    f->agreement /= n;
    f->power /= n;
    log_period /= n;
    f->period = expf(log_period) / work->finer;
    f->period_spread = sqrtf(fmaxf(0, log_period2 / n - log_period * log_period));
}

bool afis_promising(const struct print *first)
{
    return first->flow >= ONE_WAY && certainty_of(first) >= CERTAIN_FIRST;
}

static void measure_directions(const struct work *work, struct print *f)
{
    float n = 1e-6f;
    float cosine = 0;
    float sine = 0;
    for (int i = 0; i < work->cells; i++) {
        if (work->mask[i] != 0) {
            cosine += cosf(2 * work->phi[i]);
            sine += sinf(2 * work->phi[i]);
            n++;
        }
    }
    f->one_direction = sqrtf(cosine * cosine + sine * sine) / n;
}

/* From each cell to its right and to its lower neighbour. */
static void measure_neighbours(const struct work *work, struct print *f)
{
    float pairs = 1e-6f;
    for (int i = 0; i < work->cells; i++) {
        bool has[2] = {(i + 1) % work->cols != 0, i + work->cols < work->cells};
        for (int k = 0; k < 2; k++) {
            int other = k == 0 ? i + 1 : i + work->cols;
            if (work->mask[i] != 0 && has[k] && work->mask[other] != 0) {
                f->turn += fabsf(sinf(work->phi[other] - work->phi[i]));
                f->period_change += fabsf(logf(work->period[other] / work->period[i]));
                pairs++;
            }
        }
    }
    f->turn *= work->finer / pairs;
    f->period_change *= work->finer / pairs;
}

/* Of those that the first filter showed: the second one's own are graded lower throughout. */
static void measure_minutiae(const struct work *work, struct print *f)
{
    float sum = 1;
    float squares = 0;
    for (int i = 0; i < work->candidate_count; i++) {
        const struct candidate *c = &work->candidates[i];
        float q = c->seen == AFIS_SEEN_SECOND ? 0 : c->quality;
        sum += q;
        squares += q * q;
    }
    f->reliance = squares / sum;
}

static void measure_pixels(const struct work *work, struct print *f)
{
    struct pixel_counts counts = {0};
    work->ops->count_pixels(work, &counts);
    f->light_ridges = (float)counts.light / (float)(counts.ridge + 1);
    f->dark_valleys = (float)counts.dark / (float)(counts.pixels - counts.ridge + 1);
    float slope = counts.slope * work->finer * work->finer;
    f->sharpness = logf(slope / (float)(counts.pixels + 1) / (f->power + 1) + 0.001f);
}

/* The bounds here and below lie outside all prints tried, however degraded, that matched mates. */
static bool cells_of_finger(const struct print *f)
{
    /* Gratings, rings and halftones: one period everywhere. Near the shortest one the fine ridges
     * of a child, or of a resolution misstated, all read alike, and only perfection gives it away.
     */
    bool telling = f->period > 1.12f * PERIOD_MIN || f->coherence > 0.985f || f->agreement > 0.95f;
    bool even = telling && (f->period_change < 0.002f || f->period_spread < 0.012f);
    /* Noise and photographs: no direction that lasts, and what is smoother than ridges. */
    float certainty = certainty_of(f);
    bool smooth = f->period > 13.2f && certainty < 1.13f;
    /* Dots, checks and grids, bent or not: waves in two directions at one place. The filters bring
     * out one of them, and hide the other; before them skin has one, even where it is noisy. */
    bool crossed = f->flow < ONE_WAY;
    return f->area >= SPECK && !crossed && !(even && f->area >= PATCH) && certainty >= CERTAIN &&
           !smooth;
}

static bool minutiae_of_finger(const struct print *f)
{
    /* Noise again, whose ends are many and poor. */
    float chaos = 3.91f + 33.86f * f->turn + 5.38f * f->incoherence - 633 * f->period_change +
                  10.44f * f->reliance;
    /* Lines of text: one direction, and ends that nothing explains. */
    float text = 14.21f - 10.04f * f->turn + 4.55f * f->incoherence - 12.17f * f->reliance +
                 10.37f * f->one_direction - 8.01f * f->agreement;
    return f->area < PATCH || (chaos <= 0.5f && text <= -0.7f);
}

/* Log-odds that a comparison with another print of the finger succeeds. One direction in a large
 * area is the streaks of a finger that slid; in a small one it means little. */
static float success_odds(const struct print *f)
{
    float streaks = fmaxf(0, f->one_direction - 0.5f) * logf(f->area + 2);
    streaks += 0.05f * fmaxf(0, f->one_direction - 0.75f) * fmaxf(0, f->area - STRAIGHT);
    return -13.072f - 2.545f * streaks - 2.64f * f->incoherence +
           6.404f * fminf(SHARP, f->sharpness) - 1.695f * fmaxf(0, f->period - WIDE) +
           1.155f * logf(f->steady + 2) - 3.651f * f->dark_valleys;
}

static unsigned reasons_of(const struct print *f)
{
    unsigned reasons = f->area < LITTLE ? AFIS_REASON_TOO_LITTLE_FINGER : 0;
    if (f->one_direction > 0.6f && f->area >= LITTLE) {
        reasons |= AFIS_REASON_MOVED;
    }
    if (reasons == 0) {
        /* Dry ridges are broken by light spots; wet valleys are filled, and edges blunt. */
        float dry =
            -9.85f + 8.36f * f->light_ridges - 22.74f * f->dark_valleys + 14.5f * f->sharpness;
        reasons = dry > 0 ? AFIS_REASON_TOO_DRY : AFIS_REASON_TOO_WET;
    }
    return reasons;
}

void afis_survey(struct work *work)
{
    struct print *f = &work->print;
    afis_measure_cells(work, f);
    measure_directions(work, f);
    measure_neighbours(work, f);
    f->finger = cells_of_finger(f);
}

void afis_judge(struct work *work, struct afis_template *out)
{
    struct print *f = &work->print;
    measure_minutiae(work, f);
    if (!f->finger || !minutiae_of_finger(f)) {
        out->quality = 0;
        out->reasons = AFIS_REASON_NOT_A_FINGER;
        out->count = 0;
        memset(out->minutiae, 0, sizeof out->minutiae);
        return;
    }
    measure_pixels(work, f);
    float quality = 15 + PER_LOG_ODDS * (success_odds(f) - ODDS_AT_15);
    out->quality = (uint8_t)lrintf(fminf(100, fmaxf(0, quality)));
    out->reasons = (uint8_t)(out->quality < GOOD ? reasons_of(f) : 0);
}
