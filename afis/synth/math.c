/* Elementary functions by fixed sequences of IEEE operations: the same bits on every machine,
 * which libm does not promise. Errors are below 1e-5, far finer than a pixel of a fingerprint. */
#include "synth_internal.h"

#include <math.h>
#include <string.h>

/* sin(x) for |x| <= pi/2: the Taylor series to x^11. */
static float sine_core(float x)
{
    float s = x * x;
    return x * (1 + s * (-1.0f / 6 +
                         s * (1.0f / 120 +
                              s * (-1.0f / 5040 + s * (1.0f / 362880 - s * (1.0f / 39916800))))));
}

static float sine(float x)
{
    float turns = x / (2 * SYNTH_PI);
    turns -= (float)(int32_t)(turns + (turns < 0 ? -0.5f : 0.5f)); /* -1/2 .. 1/2 */
    if (turns > 0.25f) {
        turns = 0.5f - turns;
    } else if (turns < -0.25f) {
        turns = -0.5f - turns;
    }
    return sine_core(turns * (2 * SYNTH_PI));
}

void synth_sincos(float radians, float *sine_out, float *cosine_out)
{
    *sine_out = sine(radians);
    *cosine_out = sine(radians + SYNTH_PI / 2);
}

/* Abramowitz and Stegun, 4.4.49, for 0 <= x <= 1. */
static float atan_core(float x)
{
    float s = x * x;
    return x *
           (0.9998660f + s * (-0.3302995f + s * (0.1801410f + s * (-0.0851330f + s * 0.0208351f))));
}

float synth_atan2(float y, float x)
{
    float ax = x < 0 ? -x : x, ay = y < 0 ? -y : y;
    if (ax + ay == 0) {
        return 0;
    }
    float a = ay > ax ? SYNTH_PI / 2 - atan_core(ax / ay) : atan_core(ay / ax);
    if (x < 0) {
        a = SYNTH_PI - a;
    }
    return y < 0 ? -a : a;
}

float synth_exp(float x)
{
    if (x < -80) {
        return 0;
    }
    float scaled = x * 1.44269504f;
    int32_t whole = (int32_t)scaled; /* towards 0: the rest is -1 .. 0 */
    float rest = (scaled - (float)whole) * 0.69314718f;
    float value =
        1 + rest * (1 + rest * (1.0f / 2 +
                                rest * (1.0f / 6 +
                                        rest * (1.0f / 24 + rest * (1.0f / 120 + rest / 720)))));
    uint32_t bits = (uint32_t)(whole + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return value * power;
}

float synth_sigmoid(float x)
{
    return x / sqrtf(1 + x * x);
}

float synth_clamp(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

float synth_step(float from, float to, float x)
{
    float t = synth_clamp((x - from) / (to - from), 0, 1);
    return t * t * (3 - 2 * t);
}
