/* Ridges grown by oriented filters.
 *
 * Growing starts from single spots on a grid of half the resolution, where a filter costs a
 * sixteenth, and is finished at full resolution by a few more passes. */
#include "synth_internal.h"

#include <math.h>
#include <string.h>

#define ANGLES 64
#define PERIODS 12
#define PERIOD_FIRST 7.0f /* pixels at full resolution; the step is PERIOD_STEP */
#define PERIOD_STEP 0.5f
#define COARSE_PASSES_MIN 9u
#define COARSE_PASSES_SPREAD 12u
#define FINE_PASSES 3

typedef float vec4 __attribute__((vector_size(16)));

/* A filter bank. A kernel is 2 * radius + 1 rows, each padded with zeros to whole vectors; its
 * radius follows its period, and it has room for the largest. */
struct bank {
    float scale;   /* pixels of the canvas in one of full resolution */
    size_t each;   /* vectors of room for a kernel */
    vec4 *kernels; /* [ANGLES][PERIODS][each] */
    size_t size;   /* bytes */
};

/* A picture with a border of zeros, so that no filter needs to look for an edge. */
struct canvas {
    uint32_t w, h, pad, stride;
    float *pixels[2]; /* read, written */
    size_t size;      /* bytes of each */
};

static float bin_period(const struct bank *bank, size_t bin)
{
    return (PERIOD_FIRST + PERIOD_STEP * (float)bin) * bank->scale;
}

/* A period from the centre the envelope has fallen to a twentieth. */
static int bin_radius(const struct bank *bank, size_t bin)
{
    return (int)(bin_period(bank, bin) * 0.97f + 0.6f);
}

static uint32_t row_vectors(int radius)
{
    return (uint32_t)(2 * radius + 1 + 3) / 4;
}

/* One even Gabor kernel without DC, scaled so that a wave of its own frequency keeps its height.
 * The envelope is SFinGe's: it fades to 1/1000 at three half periods from the centre. */
static void make_kernel(float *out, int radius, size_t stride, float angle, float period)
{
    float sigma = 0.4036f * period, sine, cosine, wave = 0, even = 0, energy = 0, unused;
    synth_sincos(angle, &sine, &cosine);
    for (int pass = 0; pass < 2; pass++) {
        for (int y = -radius; y <= radius; y++) {
            for (int x = -radius; x <= radius; x++) {
                float fx = (float)x, fy = (float)y, c;
                float envelope = synth_exp(-(fx * fx + fy * fy) / (2 * sigma * sigma));
                /* across the ridge; rows run down, angles counter-clockwise */
                float across = fx * sine + fy * cosine;
                synth_sincos(2 * SYNTH_PI * across / period, &unused, &c);
                if (pass == 0) {
                    wave += envelope * c;
                    even += envelope;
                    continue;
                }
                float value = envelope * (c - wave / even);
                out[(size_t)(y + radius) * stride + (size_t)(x + radius)] = value;
                energy += value * c;
            }
        }
    }
    for (size_t i = 0; i < (size_t)(2 * radius + 1) * stride; i++) {
        out[i] /= energy;
    }
}

static enum afis_status make_bank(struct bank *bank, float scale, const struct afis_memory *memory)
{
    bank->scale = scale;
    int largest = bin_radius(bank, PERIODS - 1);
    bank->each = (size_t)(2 * largest + 1) * row_vectors(largest);
    bank->size = bank->each * ANGLES * PERIODS * sizeof(vec4);
    bank->kernels = memory->alloc(memory->ctx, bank->size);
    if (bank->kernels == NULL) {
        return AFIS_NO_MEMORY;
    }
    for (size_t a = 0; a < ANGLES; a++) {
        for (size_t p = 0; p < PERIODS; p++) {
            int radius = bin_radius(bank, p);
            make_kernel((float *)(bank->kernels + (a * PERIODS + p) * bank->each), radius,
                        (size_t)row_vectors(radius) * 4, (float)a * (SYNTH_PI / ANGLES),
                        bin_period(bank, p));
        }
    }
    return AFIS_OK;
}

static enum afis_status make_canvas(struct canvas *canvas, uint32_t w, uint32_t h, uint32_t pad,
                                    const struct afis_memory *memory)
{
    canvas->w = w;
    canvas->h = h;
    canvas->pad = pad;
    canvas->stride = w + 2 * pad + 4; /* the last vector of a row may reach 3 further */
    canvas->size = (size_t)canvas->stride * (h + 2 * pad) * sizeof(float);
    for (int i = 0; i < 2; i++) {
        canvas->pixels[i] = memory->alloc(memory->ctx, canvas->size);
    }
    return canvas->pixels[0] != NULL && canvas->pixels[1] != NULL ? AFIS_OK : AFIS_NO_MEMORY;
}

static void release_canvas(struct canvas *canvas, const struct afis_memory *memory)
{
    for (int i = 0; i < 2; i++) {
        memory->release(memory->ctx, canvas->pixels[i], canvas->size);
    }
}

static float *canvas_at(const struct canvas *canvas, int which, uint32_t x, uint32_t y)
{
    return canvas->pixels[which] + (size_t)(y + canvas->pad) * canvas->stride + x + canvas->pad;
}

/* Inlined with a constant number of vectors, so that the sums stay in registers. */
static inline float apply_rows(const vec4 *kernel, int rows, uint32_t vectors, const float *corner,
                               size_t stride)
{
    vec4 sum[2] = {{0}, {0}};
    for (int row = 0; row < rows; row++, corner += stride) {
        for (uint32_t i = 0; i < vectors; i++) {
            vec4 pixels;
            memcpy(&pixels, corner + (size_t)i * 4, sizeof pixels);
            sum[i & 1] += *kernel++ * pixels;
        }
    }
    vec4 all = sum[0] + sum[1];
    return (all[0] + all[1]) + (all[2] + all[3]);
}

static float apply_kernel(const vec4 *kernel, int radius, const float *centre, size_t stride)
{
    int rows = 2 * radius + 1;
    const float *corner = centre - (size_t)radius * stride - radius;
    switch (row_vectors(radius)) {
    case 3:
        return apply_rows(kernel, rows, 3, corner, stride);
    case 4:
        return apply_rows(kernel, rows, 4, corner, stride);
    case 5:
        return apply_rows(kernel, rows, 5, corner, stride);
    case 6:
        return apply_rows(kernel, rows, 6, corner, stride);
    default:
        return apply_rows(kernel, rows, row_vectors(radius), corner, stride);
    }
}

/* One pass over the canvas with every pixel's own filter. gain > 1 and the sigmoid make small waves
 * grow and large ones settle. */
static void filter_pass(struct canvas *canvas, const struct bank *bank, uint32_t step, float gain,
                        const struct afis_synth_master *master)
{
    for (uint32_t y = 0; y < canvas->h; y++) {
        float *out = canvas_at(canvas, 1, 0, y);
        for (uint32_t x = 0; x < canvas->w; x++) {
            size_t at = (size_t)y * step * master->width + (size_t)x * step;
            uint32_t angle = (master->orientation[at] + 2u) / 4 % ANGLES;
            float period = ((float)master->period[at] / 16 - PERIOD_FIRST) / PERIOD_STEP + 0.5f;
            uint32_t bin = (uint32_t)synth_clamp(period, 0, PERIODS - 1);
            const vec4 *kernel = bank->kernels + (angle * PERIODS + bin) * bank->each;
            float value = apply_kernel(kernel, bin_radius(bank, bin), canvas_at(canvas, 0, x, y),
                                       canvas->stride);
            out[x] = synth_sigmoid(gain * value);
        }
    }
    float *swap = canvas->pixels[0];
    canvas->pixels[0] = canvas->pixels[1];
    canvas->pixels[1] = swap;
}

/* The earlier the growing stops, the more of the places where fronts met stay as minutiae: from so
 * many seeds and by so few passes there are as many as in skin, 0.2 a square millimetre. */
static void sow(struct synth_rng *rng, struct canvas *canvas)
{
    uint32_t seeds = 900 + synth_below(rng, 600);
    for (uint32_t i = 0; i < seeds; i++) {
        uint32_t x = synth_below(rng, canvas->w), y = synth_below(rng, canvas->h);
        *canvas_at(canvas, 0, x, y) = 1;
    }
}

/* Doubles the resolution, bilinear. */
static void enlarge(const struct canvas *from, struct canvas *to)
{
    for (uint32_t y = 0; y < to->h; y++) {
        for (uint32_t x = 0; x < to->w; x++) {
            const float *p = canvas_at(from, 0, x / 2, y / 2);
            const float *q = y & 1 ? p + from->stride : p;
            *canvas_at(to, 0, x, y) = x & 1 ? (p[0] + p[1] + q[0] + q[1]) / 4 : (p[0] + q[0]) / 2;
        }
    }
}

static void store(const struct canvas *canvas, int8_t *ridge)
{
    for (uint32_t y = 0; y < canvas->h; y++) {
        for (uint32_t x = 0; x < canvas->w; x++) {
            float value = *canvas_at(canvas, 0, x, y) * 127;
            *ridge++ = (int8_t)(int32_t)(value + (value < 0 ? -0.5f : 0.5f));
        }
    }
}

enum afis_status synth_grow(struct synth_rng *rng, const struct afis_memory *memory,
                            struct afis_synth_master *master)
{
    struct bank coarse_bank = {0}, fine_bank = {0};
    struct canvas coarse = {0}, fine = {0};
    uint32_t w = master->width, h = master->height;
    enum afis_status status = make_bank(&coarse_bank, 0.5f, memory);
    if (status == AFIS_OK) {
        status = make_bank(&fine_bank, 1, memory);
    }
    if (status == AFIS_OK) {
        status = make_canvas(&coarse, w / 2, h / 2, 8, memory);
    }
    if (status == AFIS_OK) {
        status = make_canvas(&fine, w, h, 16, memory);
    }
    if (status == AFIS_OK) {
        sow(rng, &coarse);
        uint32_t passes = COARSE_PASSES_MIN + synth_below(rng, COARSE_PASSES_SPREAD);
        for (uint32_t i = 0; i < passes; i++) {
            filter_pass(&coarse, &coarse_bank, 2, 2.5f, master);
        }
        enlarge(&coarse, &fine);
        for (int i = 0; i < FINE_PASSES; i++) {
            filter_pass(&fine, &fine_bank, 1, 2.5f, master);
        }
        store(&fine, master->ridge);
    }
    release_canvas(&fine, memory);
    release_canvas(&coarse, memory);
    memory->release(memory->ctx, fine_bank.kernels, fine_bank.size);
    memory->release(memory->ctx, coarse_bank.kernels, coarse_bank.size);
    return status;
}
