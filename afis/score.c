/* What a comparison's evidence is worth: the score in dB, its fusion and its thresholds. */
#include <math.h>

#include "match/internal.h"
#include "match/model.h"

/* From log-odds to -10 log10 of the false-match rate: linear between the knots where impostors
 * are plenty, an exponential tail beyond, and never quite 0 below, so that no two scores tie. */
static float calibrate(float odds, unsigned bare)
{
    enum { KNOTS = sizeof calibration_db / sizeof calibration_db[0] };
    const float *z = calibration_odds[bare], *db = calibration_db;
    if (odds >= z[KNOTS - 1]) {
        return db[KNOTS - 1] + (odds - z[KNOTS - 1]) * calibration_slope[bare];
    }
    unsigned k = KNOTS - 2;
    while (k > 0 && odds < z[k]) {
        k--;
    }
    const float slope = (db[k + 1] - db[k]) / (z[k + 1] - z[k]);
    if (odds < z[0]) {
        return db[0] * expf((odds - z[0]) * slope / db[0]);
    }
    return db[k] + (odds - z[k]) * slope;
}

float afis_score(const float features[FEATURE_COUNT], bool aligned, unsigned bare)
{
    const unsigned model = bare == 2;
    if (!aligned) {
        return calibrate(model_unaligned[model] + features[FEATURE_SUPPORT] - SUPPORT_LEAST, bare);
    }
    float odds = model_bias[model];
    for (unsigned k = 0; k < FEATURE_COUNT; k++) {
        odds += model_weight[model][k] * features[k];
    }
    return calibrate(odds, bare);
}

unsigned afis_bare_sides(const struct afis_finger *probe, const struct afis_finger *gallery)
{
    return (unsigned)probe->bare + (unsigned)gallery->bare;
}

size_t afis_matcher_size(void)
{
    return sizeof(struct afis_matcher);
}

float afis_compare(struct afis_matcher *matcher, const struct afis_finger *probe,
                   const struct afis_finger *gallery)
{
    bool aligned = afis_match_ops_best()->compare(matcher, probe, gallery);
    return afis_score(matcher->features, aligned, afis_bare_sides(probe, gallery));
}

float afis_fuse(const float *scores, size_t count)
{
    /* Fisher's method: of independent false-match rates p_i, the sum of -ln p_i follows a gamma
     * distribution of shape `count` between different people. */
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += fmax(scores[i], 0) * (M_LN10 / 10);
    }
    double term = 1, series = 1;
    for (size_t i = 1; i < count; i++) {
        term *= sum / (double)i;
        series += term;
    }
    return (float)(fmax(sum - log(series), 0) * (10 / M_LN10));
}

float afis_threshold(double fpir, double comparisons)
{
    /* FPIR = 1 - (1 - FMR)^comparisons, solved for the false-match rate. */
    double fmr = -expm1(log1p(-fpir) / fmax(comparisons, 1));
    return (float)(-10 * log10(fmr));
}
