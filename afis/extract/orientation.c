/* Ridge direction and period of every cell from the structure tensor (Kass & Witkin 1987; Bigun &
 * Granlund 1987). The period follows from how much energy the derivative has against the signal
 * itself: a wave of angular frequency w has sin(w)^2 times its own under Scharr's operator. */
#include <math.h>

#include "stages.h"

static float limited(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

void afis_orient(struct work *work, const int16_t *plane, float sigma)
{
    work->ops->tensor(work, plane);
    for (int i = 0; i < work->cells; i++) {
        if (work->mask[i] == 0) {
            work->gxx[i] = work->gyy[i] = work->gxy[i] = 0;
        }
        work->weight[i] = work->mask[i] != 0 ? work->energy[i] : 0;
    }
    afis_field_smooth(work, work->gxx, sigma);
    afis_field_smooth(work, work->gyy, sigma);
    afis_field_smooth(work, work->gxy, sigma);
    afis_field_smooth(work, work->weight, sigma);
    for (int i = 0; i < work->cells; i++) {
        float sum = work->gxx[i] + work->gyy[i];
        float difference = work->gxx[i] - work->gyy[i];
        float twice = 2 * work->gxy[i];
        float strength = sqrtf(difference * difference + twice * twice);
        work->coherence[i] = sum > 1e-9f ? strength / sum : 0;
        work->phi[i] = 0.5f * atan2f(twice, difference);
        float ratio = work->weight[i] > 1e-9f ? sqrtf(sum / work->weight[i]) : 1;
        float omega = asinf(limited(ratio, 0.1f, 1.0f));
        work->period[i] = limited(6.2831853f / omega, PERIOD_MIN, PERIOD_MAX);
    }
}
