/* How good a print is as a whole, 0..100, and what the officer can do about a poor one.
 *
 * After the idea of NFIQ 2 (Tabassi et al., NISTIR 8382, 2021; ISO/IEC 29794-4): quality is a
 * prediction of recognition. A logistic model of a few figures of the whole print estimates the
 * probability that a comparison with another print of the same finger succeeds; its log-odds,
 * stretched, are the quality. docs/accuracy.md holds the curve and how it was fitted.
 *
 * What is not a finger is told apart first, by what skin always has and patterns and noise do not:
 * ridges that turn, gently, and whose period varies, a little. */
#include <math.h>
#include <string.h>

#include "stages.h"

#define CELL_MM2 (CELL * CELL * 25.4f * 25.4f / (DPI * DPI))
#define NEVER_LESS 4.0f /* mm2 of ridges: less is a speck */
#define GOOD 60         /* from here on no advice is due */

/* Log-odds to quality: one chance in ten is 15, an even chance 39, nine in ten 64. */
#define ODDS_AT_15 (-2.197f)
#define PER_LOG_ODDS 11.1f

/* Figures of the whole print. Means are over the cells of the foreground. */
struct features {
    float area;          /* of the foreground, mm2 */
    float clear;         /* area whose pattern the ridge filter explains well enough, mm2 ... */
    float clearer;       /* ... and very well */
    float coherence;     /* mean, 0..1 */
    float agreement;     /* mean, 0..1 */
    float signal;        /* log of the mean ratio of explained to unexplained energy */
    float one_direction; /* length of the mean of exp(2 i phi): 1 where all ridges are parallel */
    float turn;          /* mean |sin| of the angle between neighbouring cells' directions */
    float period;        /* geometric mean, pixels */
    float period_spread; /* standard deviation of its logarithm */
    float period_change; /* mean difference of its logarithm between neighbouring cells */
    float reliance;      /* mean quality of the minutiae, each weighted by itself */
    float light_ridges;  /* share of the ridges' pixels that are lighter than their surroundings */
    float dark_valleys;  /* share of the valleys' pixels that are darker */
};

static void sum_neighbours(const struct work *work, struct features *f)
{
    float turn = 0;
    float change = 0;
    float pairs = 1e-6f;
    for (int i = 0; i < work->cells; i++) {
        bool right = (i + 1) % work->cols != 0;
        bool below = i + work->cols < work->cells;
        for (int k = 0; k < 2; k++) {
            int other = k == 0 ? i + 1 : i + work->cols;
            if ((k == 0 ? right : below) && work->mask[i] != 0 && work->mask[other] != 0) {
                turn += fabsf(sinf(work->phi[other] - work->phi[i]));
                change += fabsf(logf(work->period[other] / work->period[i]));
                pairs++;
            }
        }
    }
    f->turn = turn / pairs;
    f->period_change = change / pairs;
}

static void sum_cells(const struct work *work, struct features *f)
{
    float n = 1e-6f;
    float signal = 0;
    float cosine = 0;
    float sine = 0;
    float log_period = 0;
    float log_period2 = 0;
    for (int i = 0; i < work->cells; i++) {
        if (work->mask[i] == 0) {
            continue;
        }
        float a = work->agreement[i];
        float l = logf(work->period[i]);
        n++;
        f->agreement += a;
        f->coherence += work->coherence[i];
        f->clear += CELL_MM2 / (1 + expf((0.6f - a) * 15));
        f->clearer += a > 0.75f ? CELL_MM2 : 0;
        signal += a * a / (1.02f - a * a);
        cosine += cosf(2 * work->phi[i]);
        sine += sinf(2 * work->phi[i]);
        log_period += l;
        log_period2 += l * l;
    }
    f->area = n * CELL_MM2;
    f->agreement /= n;
    f->coherence /= n;
    f->signal = logf(signal / n + 0.05f);
    f->one_direction = sqrtf(cosine * cosine + sine * sine) / n;
    log_period /= n;
    f->period = expf(log_period);
    f->period_spread = sqrtf(fmaxf(0, log_period2 / n - log_period * log_period));
}

static void sum_minutiae(const struct work *work, struct features *f)
{
    float sum = 1;
    float squares = 0;
    for (int i = 0; i < work->candidate_count; i++) {
        float q = work->candidates[i].quality;
        sum += q;
        squares += q * q;
    }
    f->reliance = squares / sum;
}

/* Where the filtered print and the normalised one disagree about what is a ridge. Every other row
 * is enough. */
static void sum_pixels(const struct work *work, struct features *f)
{
    int ridge = 0;
    int light = 0;
    int valley = 0;
    int dark = 0;
    for (int y = 0; y < work->height; y += 2) {
        const uint8_t *mask = work->mask + y / CELL * work->cols;
        const int16_t *enhanced = work->enhanced + y * work->stride;
        const int16_t *normal = work->normal + y * work->stride;
        for (int x = 0; x < work->width; x += CELL) {
            if (mask[x / CELL] == 0) {
                continue;
            }
            int last = x + CELL < work->width ? x + CELL : work->width;
            for (int i = x; i < last; i++) {
                ridge += enhanced[i] > 0;
                light += enhanced[i] > 0 && normal[i] < 0;
                valley += enhanced[i] <= 0;
                dark += enhanced[i] <= 0 && normal[i] > 0;
            }
        }
    }
    f->light_ridges = (float)light / (float)(ridge + 1);
    f->dark_valleys = (float)dark / (float)(valley + 1);
}

/* Gratings, rings and print type have one period throughout; noise and photographs have no
 * direction that lasts; lines of text have one direction and ends that nothing explains. */
static bool is_finger(const struct features *f)
{
    float incoherence = logf(1.02f - f->coherence);
    float chaos = 12.8f - 17.77f * f->turn + 8.58f * incoherence - 348.8f * f->period_change +
                  10.05f * f->reliance;
    float text = 10.96f - 3.66f * f->turn + 2.38f * incoherence - 10.88f * f->reliance +
                 11.3f * f->one_direction - 14.64f * f->agreement;
    bool even = f->period_spread < 0.014f || f->period_change < 0.0024f;
    return f->area > NEVER_LESS && !even && chaos < -0.4f && text < -0.5f;
}

/* Log-odds that a comparison with another print of the finger succeeds. */
static float success_odds(const struct features *f)
{
    return -43.81f - 6.398f * fmaxf(0, f->one_direction - 0.55f) -
           8.459f * logf(1.02f - f->coherence) + 2.084f * logf(f->clear + 2) + 124.4f * f->turn +
           7.025f * f->light_ridges + 0.6f * logf(f->clearer + 2) + 5.575f * f->reliance -
           1.562f * fmaxf(0, f->period - 9.5f) - 1.378f * f->signal;
}

static uint8_t reasons_of(const struct features *f)
{
    unsigned reasons = 0;
    if (f->clear < 80) {
        reasons |= AFIS_REASON_TOO_LITTLE_FINGER;
    }
    if (f->one_direction > 0.65f + 12 / f->area) {
        reasons |= AFIS_REASON_MOVED;
    }
    if (reasons == 0) {
        reasons =
            f->light_ridges > 1.6f * f->dark_valleys ? AFIS_REASON_TOO_DRY : AFIS_REASON_TOO_WET;
    }
    return (uint8_t)reasons;
}

void afis_judge(const struct work *work, struct afis_template *out)
{
    struct features f = {0};
    sum_cells(work, &f);
    sum_neighbours(work, &f);
    sum_minutiae(work, &f);
    sum_pixels(work, &f);
    out->quality = 0;
    out->reasons = AFIS_REASON_NOT_A_FINGER;
    if (is_finger(&f)) {
        float quality = 15 + PER_LOG_ODDS * (success_odds(&f) - ODDS_AT_15);
        out->quality = (uint8_t)lrintf(fminf(100, fmaxf(0, quality)));
        out->reasons = out->quality < GOOD ? reasons_of(&f) : 0;
    }
}
