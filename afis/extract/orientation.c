/* Ridge direction and period of every cell from the structure tensor (Kass & Witkin 1987; Bigun &
 * Granlund 1987). The period follows from how much energy the derivative has against the signal
 * itself: a wave of angular frequency w has sin(w)^2 times its own under Scharr's operator. */
#include <math.h>

#include "stages.h"

/* Cells. Ridge distance changes slowly over a finger while its measurement is noisy. */
#define PERIOD_SIGMA 3.0f
#define NOTHING 1e-9f

static float limited(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

static void smooth_tensor(struct work *work, float sigma)
{
    for (int i = 0; i < work->cells; i++) {
        if (work->mask[i] == 0) {
            work->gxx[i] = work->gyy[i] = work->gxy[i] = work->energy[i] = 0;
        }
    }
    work->ops->smooth(work, work->gxx, sigma);
    work->ops->smooth(work, work->gyy, sigma);
    work->ops->smooth(work, work->gxy, sigma);
}

static void find_coherence(struct work *work)
{
    for (int i = 0; i < work->cells; i++) {
        float sum = work->gxx[i] + work->gyy[i];
        float difference = work->gxx[i] - work->gyy[i];
        float twice = 2 * work->gxy[i];
        float strength = sqrtf(difference * difference + twice * twice);
        work->coherence[i] = sum > NOTHING ? strength / sum : 0;
        work->gradient[i] = sum;
    }
}

void afis_orient(struct work *work, const int16_t *plane, float sigma)
{
    work->ops->tensor(work, plane);
    smooth_tensor(work, sigma);
    work->ops->smooth(work, work->energy, sigma);
    find_coherence(work);
    work->ops->smooth(work, work->gradient, PERIOD_SIGMA);
    work->ops->smooth(work, work->energy, PERIOD_SIGMA);
}

void afis_find_waves(struct work *work)
{
    for (int i = 0; i < work->cells; i++) {
        if (work->mask[i] == 0) {
            continue;
        }
        work->phi[i] = 0.5f * atan2f(2 * work->gxy[i], work->gxx[i] - work->gyy[i]);
        float ratio = work->energy[i] > NOTHING ? sqrtf(work->gradient[i] / work->energy[i]) : 1;
        float omega = asinf(limited(ratio, 0.1f, 1.0f));
        work->period[i] = limited(6.2831853f / omega, PERIOD_MIN, PERIOD_MAX);
    }
}
