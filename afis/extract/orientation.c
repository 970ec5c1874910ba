/* Ridge direction and period of every cell from the structure tensor (Kass & Witkin 1987; Bigun &
 * Granlund 1987). The period follows from how much energy the derivative has against the signal
 * itself: a wave of angular frequency w has sin(w)^2 times its own under Scharr's operator. */
#include <math.h>
#include <string.h>

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
    if (tune(17, 0) > 0 && sigma > tune(19, 1.5f)) {
        float *c[3] = {work->gxx, work->gyy, work->gxy};
        float *coarse[3] = {work->amplitude, work->agreement, work->strength};
        for (int k = 0; k < 3; k++) {
            memcpy(coarse[k], c[k], (size_t)work->cells * sizeof(float));
            afis_field_smooth(work, coarse[k], tune(17, 0));
        }
        for (int i = 0; i < work->cells; i++) {
            float d = c[0][i] - c[1][i];
            float sum = c[0][i] + c[1][i] + 1e-9f;
            float coh = (d * d + 4 * c[2][i] * c[2][i]) / (sum * sum);
            float l = tune(18, 1) * (1 - coh) * sum / (coarse[0][i] + coarse[1][i] + 1e-9f);
            for (int k = 0; k < 3; k++) {
                c[k][i] += l * coarse[k][i];
            }
        }
    }
    if (tune(16, 3) > 0) {
        for (int i = 0; i < work->cells; i++) {
            work->amplitude[i] = work->gxx[i] + work->gyy[i];
        }
        afis_field_smooth(work, work->amplitude, tune(16, 3));
        afis_field_smooth(work, work->weight, tune(16, 3));
    }
    for (int i = 0; i < work->cells; i++) {
        float sum = work->gxx[i] + work->gyy[i];
        float difference = work->gxx[i] - work->gyy[i];
        float twice = 2 * work->gxy[i];
        float strength = sqrtf(difference * difference + twice * twice);
        work->coherence[i] = sum > 1e-9f ? strength / sum : 0;
        work->phi[i] = 0.5f * atan2f(twice, difference);
        float ratio = work->weight[i] > 1e-9f ? sqrtf((tune(16, 3) > 0 ? work->amplitude[i] : sum) / work->weight[i]) : 1;
        float omega = asinf(limited(ratio, 0.1f, 1.0f));
        work->period[i] = limited(6.2831853f / omega, PERIOD_MIN, PERIOD_MAX);
    }
}
