#include "synth_internal.h"

/* The finaliser of splitmix64 (Steele, Lea and Flood, 2014). */
uint64_t synth_hash(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t afis_synth_seed(uint64_t seed, uint32_t finger, uint32_t impression)
{
    return synth_hash(synth_hash(synth_hash(seed) ^ finger) ^ impression);
}

void synth_rng_seed(struct synth_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        rng->s[i] = seed = synth_hash(seed);
    }
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static uint64_t next(struct synth_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

float synth_uniform(struct synth_rng *rng, float from, float to)
{
    float unit = (float)(next(rng) >> 40) * 0x1p-24f;
    return from + unit * (to - from);
}

float synth_normal(struct synth_rng *rng, float mean, float deviation)
{
    uint64_t bits = next(rng);
    int32_t sum = 0;
    for (int i = 0; i < 4; i++, bits >>= 16) {
        sum += (int32_t)(bits & 0xffff);
    }
    /* four numbers of variance 1/12 each: the sum's deviation is 65536 / sqrt 3 */
    return mean + deviation * ((float)(sum - 131070) * (1.7320508f / 65536.0f));
}

uint32_t synth_below(struct synth_rng *rng, uint32_t n)
{
    return (uint32_t)(((next(rng) >> 32) * n) >> 32);
}

/* The four weights of a uniform cubic B-spline at fraction t of its cell. */
static void spline_weights(float t, float weights[4])
{
    float u = 1 - t;
    weights[0] = u * u * u / 6;
    weights[1] = (4 - 6 * t * t + 3 * t * t * t) / 6;
    weights[2] = (4 - 6 * u * u + 3 * u * u * u) / 6;
    weights[3] = t * t * t / 6;
}

static void expand_row(const float *knots, uint32_t w, float spacing, float *out)
{
    for (uint32_t x = 0; x < w; x++) {
        float at = (float)x / spacing, weights[4];
        uint32_t cell = (uint32_t)at;
        spline_weights(at - (float)cell, weights);
        const float *k = knots + cell;
        out[x] = k[0] * weights[0] + k[1] * weights[1] + k[2] * weights[2] + k[3] * weights[3];
    }
}

enum afis_status synth_noise(struct synth_rng *rng, uint32_t w, uint32_t h, float spacing,
                             const struct afis_memory *memory, float *out)
{
    /* A B-spline over independent heights of deviation 1 has a mean variance of (151/315)^2. */
    const float scale = 315.0f / 151.0f;
    uint32_t gw = (uint32_t)((float)w / spacing) + 4, gh = (uint32_t)((float)h / spacing) + 4;
    size_t size = ((size_t)gw + (size_t)gh * w) * sizeof(float);
    float *knots = memory->alloc(memory->ctx, size);
    if (knots == NULL) {
        return AFIS_NO_MEMORY;
    }
    float *rows = knots + gw;
    for (uint32_t j = 0; j < gh; j++) {
        for (uint32_t i = 0; i < gw; i++) {
            knots[i] = synth_normal(rng, 0, scale);
        }
        expand_row(knots, w, spacing, rows + (size_t)j * w);
    }
    for (uint32_t y = 0; y < h; y++) {
        float at = (float)y / spacing, weights[4];
        uint32_t cell = (uint32_t)at;
        spline_weights(at - (float)cell, weights);
        const float *a = rows + (size_t)cell * w, *b = a + w, *c = b + w, *d = c + w;
        float *line = out + (size_t)y * w;
        for (uint32_t x = 0; x < w; x++) {
            line[x] = a[x] * weights[0] + b[x] * weights[1] + c[x] * weights[2] + d[x] * weights[3];
        }
    }
    memory->release(memory->ctx, knots, size);
    return AFIS_OK;
}
