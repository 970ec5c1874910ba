/* Local normalisation: ridges come out with the same depth wherever the finger pressed hard or
 * lightly. The windows are narrow (about one ridge period), because a wide window leaves the
 * shading of blotches in. */
#include <math.h>

#include "stages.h"

#define MEAN_SIGMA 0.7f      /* cells */
#define DEVIATION_SIGMA 1.0f /* cells */
#define FLOOR 0.25f          /* of the 90th percentile: noise in the background stays small */

void afis_normalise(struct work *work)
{
    float *squares = work->deviation;
    work->ops->cell_sums(work, work->mean, squares);
    for (int i = 0; i < work->cells; i++) {
        work->weight[i] = squares[i] - work->mean[i] * work->mean[i];
        squares[i] -= work->mean[i] * work->mean[i];
    }
    work->ops->smooth(work, work->mean, MEAN_SIGMA);
    work->ops->smooth(work, work->deviation, DEVIATION_SIGMA);
    for (int i = 0; i < work->cells; i++) {
        work->deviation[i] = sqrtf(work->deviation[i] > 0 ? work->deviation[i] : 0);
    }
    float typical = afis_field_percentile(work, work->deviation, NULL, 0.9f);
    float least = typical * FLOOR + 0.5f;
    work->least = least;
    for (int i = 0; i < work->cells; i++) {
        float d = work->deviation[i] > least ? work->deviation[i] : least;
        work->energy[i] = 1 / d;
    }
    work->ops->flatten(work, work->mean, work->energy);
    work->ops->blur(work);
}
