#include "spoil.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUMPS 6
#define TAPS_MAX 512

struct plane {
    int width, height;
    float scale; /* pixels here for one at 500 dpi */
    float *grey;
    float paper;    /* grey of what the finger does not touch */
    float contrast; /* mean deviation from the surroundings, grey levels */
    uint64_t state; /* of the random numbers */
};

static float *must_have(size_t count)
{
    float *p = calloc(count, sizeof *p);
    if (p == NULL) {
        fprintf(stderr, "accuracy: out of memory\n");
        exit(3);
    }
    return p;
}

static size_t size_of(const struct plane *p)
{
    return (size_t)p->width * (size_t)p->height;
}

static float uniform(struct plane *p)
{
    p->state = p->state * 6364136223846793005u + 1442695040888963407u;
    return (float)(p->state >> 40) / (float)(1 << 24);
}

static float normal(struct plane *p)
{
    float sum = -2;
    for (int i = 0; i < 4; i++) {
        sum += uniform(p);
    }
    return sum * 1.7320508f;
}

static int within(int i, int n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* Gaussian along (dx, dy), one of them 0 unless both are 1 in size; sigma in pixels at 500 dpi. */
static void smooth(const struct plane *p, float *grey, int dx, int dy, float sigma)
{
    float s = sigma * p->scale;
    int radius = (int)ceilf(2.5f * s);
    float taps[TAPS_MAX];
    float all = 0;
    radius = radius < TAPS_MAX / 2 ? radius : TAPS_MAX / 2 - 1;
    for (int k = -radius; k <= radius; k++) {
        taps[k + radius] = expf(-(float)(k * k) / (2 * s * s));
        all += taps[k + radius];
    }
    float *old = must_have(size_of(p));
    memcpy(old, grey, size_of(p) * sizeof *old);
    memset(grey, 0, size_of(p) * sizeof *old);
    for (int y = 0; y < p->height; y++) {
        float *to = grey + (ptrdiff_t)y * p->width;
        for (int k = -radius; k <= radius; k++) {
            const float *from = old + (ptrdiff_t)within(y + k * dy, p->height) * p->width;
            float tap = taps[k + radius] / all;
            int first = k * dx < 0 ? -k * dx : 0;
            int last = k * dx > 0 ? p->width - k * dx : p->width;
            for (int x = 0; x < first && x < p->width; x++) {
                to[x] += tap * from[0];
            }
            for (int x = first; x < last; x++) {
                to[x] += tap * from[x + k * dx];
            }
            for (int x = last > 0 ? last : 0; x < p->width; x++) {
                to[x] += tap * from[p->width - 1];
            }
        }
    }
    free(old);
}

static void blur(const struct plane *p, float *grey, float sigma)
{
    smooth(p, grey, 1, 0, sigma);
    smooth(p, grey, 0, 1, sigma);
}

/* A field of that grain with mean 0 and deviation 1. */
static float *random_field(struct plane *p, float grain)
{
    float *field = must_have(size_of(p));
    double square = 0;
    for (size_t i = 0; i < size_of(p); i++) {
        field[i] = normal(p);
    }
    blur(p, field, grain);
    for (size_t i = 0; i < size_of(p); i++) {
        square += (double)field[i] * (double)field[i] / (double)size_of(p);
    }
    for (size_t i = 0; i < size_of(p); i++) {
        field[i] /= (float)sqrt(square);
    }
    return field;
}

/* What the print is like before it is spoilt. */
static void look(struct plane *p)
{
    size_t histogram[256] = {0};
    float *around = must_have(size_of(p));
    double squares = 0;
    memcpy(around, p->grey, size_of(p) * sizeof *around);
    blur(p, around, 4);
    for (size_t i = 0; i < size_of(p); i++) {
        double v = (double)(p->grey[i] - around[i]);
        squares += v * v / (double)size_of(p);
        histogram[(int)p->grey[i]]++;
    }
    size_t left = size_of(p) * 9 / 10;
    int level = 0;
    while (level < 255 && left > histogram[level]) {
        left -= histogram[level++];
    }
    p->paper = (float)level;
    p->contrast = (float)sqrt(squares);
    free(around);
}

/* Light spots of two grains, with soft edges. */
static void dry(struct plane *p, float threshold)
{
    float *fine = random_field(p, 1.6f);
    float *broad = random_field(p, 12);
    float *around = must_have(size_of(p));
    memcpy(around, p->grey, size_of(p) * sizeof *around);
    blur(p, around, 5);
    for (size_t i = 0; i < size_of(p); i++) {
        float valley = fminf(p->paper, around[i] + p->contrast);
        float v = 4 * (fine[i] + 0.5f * broad[i] - threshold);
        float spot = 1 / (1 + expf(-v));
        p->grey[i] += 0.95f * spot * fmaxf(0, valley - p->grey[i]);
    }
    free(fine);
    free(broad);
    free(around);
}

/* The darkest within a radius that varies over the print, then blurred. */
static void wet(struct plane *p, float reach)
{
    float *old = must_have(size_of(p));
    float *broad = random_field(p, 16);
    memcpy(old, p->grey, size_of(p) * sizeof *old);
    for (int y = 0; y < p->height; y++) {
        for (int x = 0; x < p->width; x++) {
            int at = y * p->width + x;
            float r = reach * p->scale * (1 + 0.4f * broad[at]);
            int n = r > 0 ? (int)ceilf(r) : 0;
            float darkest = old[at];
            for (int dy = -n; dy <= n; dy++) {
                for (int dx = -n; dx <= n; dx++) {
                    float d = hypotf((float)dx, (float)dy);
                    float v = old[within(y + dy, p->height) * p->width + within(x + dx, p->width)];
                    /* The rim of the spot counts in part, so that no radius is a step. */
                    float share = fminf(1, fmaxf(0, r + 0.5f - d));
                    darkest = fminf(darkest, old[at] + (v - old[at]) * share);
                }
            }
            p->grey[at] = darkest;
        }
    }
    blur(p, p->grey, 0.7f * reach);
    free(old);
    free(broad);
}

static void add_noise(struct plane *p, float level)
{
    for (size_t i = 0; i < size_of(p); i++) {
        p->grey[i] += level * normal(p);
    }
}

/* Towards a light grey; then as the sensor's steps and noise see it. */
static void fade(struct plane *p, float contrast, float noise, float columns)
{
    float *offset = must_have((size_t)p->width);
    for (int x = 0; x < p->width; x++) {
        offset[x] = columns * normal(p);
    }
    for (size_t i = 0; i < size_of(p); i++) {
        float v = 200 + contrast * (p->grey[i] - 200);
        p->grey[i] = v + noise * normal(p) + offset[i % (size_t)p->width];
    }
    free(offset);
}

static void shade(struct plane *p)
{
    float *light = random_field(p, 45);
    float *contrast = random_field(p, 30);
    for (size_t i = 0; i < size_of(p); i++) {
        float c = fminf(1, fmaxf(0.1f, 0.55f + 0.35f * contrast[i]));
        p->grey[i] = 150 + 35 * light[i] + c * (p->grey[i] - 200);
    }
    free(light);
    free(contrast);
}

/* The print itself, mirrored, is a stranger's. */
static void leave_residue(struct plane *p)
{
    float *old = must_have(size_of(p));
    float share = 0.35f;
    int down = (int)((uniform(p) - 0.5f) * 80 * p->scale);
    memcpy(old, p->grey, size_of(p) * sizeof *old);
    for (int y = 0; y < p->height; y++) {
        for (int x = 0; x < p->width; x++) {
            float ghost = old[within(y + down, p->height) * p->width + p->width - 1 - x];
            float *v = &p->grey[y * p->width + x];
            *v = fmaxf(0, *v - share * fmaxf(0, p->paper - ghost));
        }
    }
    free(old);
}

static float bilinear(const struct plane *p, const float *grey, float x, float y)
{
    if (x < 0 || y < 0 || x > (float)(p->width - 1) || y > (float)(p->height - 1)) {
        return p->paper;
    }
    int c = (int)x;
    int r = (int)y;
    float s = x - (float)c;
    float t = y - (float)r;
    const float *upper = grey + (ptrdiff_t)r * p->width;
    const float *lower = grey + (ptrdiff_t)within(r + 1, p->height) * p->width;
    int right = within(c + 1, p->width);
    float a = upper[c] + (upper[right] - upper[c]) * s;
    float b = lower[c] + (lower[right] - lower[c]) * s;
    return a + (b - a) * t;
}

/* Where the finger is: the centre of what is darker than paper. */
static void centre_of(const struct plane *p, float *x, float *y)
{
    double sum = 1e-3;
    double sx = 0;
    double sy = 0;
    for (size_t i = 0; i < size_of(p); i++) {
        double dark = p->grey[i] < 160 ? 160.0 - (double)p->grey[i] : 0;
        sum += dark;
        sx += dark * (double)(i % (size_t)p->width);
        sy += dark * (double)(i / (size_t)p->width);
    }
    *x = (float)(sx / sum);
    *y = (float)(sy / sum);
}

static void crop(struct plane *p, float width, float height)
{
    float cx;
    float cy;
    centre_of(p, &cx, &cy);
    cx += (uniform(p) - 0.5f) * 40 * p->scale;
    cy += (uniform(p) - 0.5f) * 40 * p->scale;
    for (size_t i = 0; i < size_of(p); i++) {
        float x = (float)(i % (size_t)p->width) - cx;
        float y = (float)(i / (size_t)p->width) - cy;
        if (fabsf(x) > width / 2 * p->scale || fabsf(y) > height / 2 * p->scale) {
            p->grey[i] = p->paper;
        }
    }
}

/* Strips of some 12 rows; each lies a little beside the one before and is read at its own speed. */
static void sweep(struct plane *p)
{
    float *old = must_have(size_of(p));
    float aside = 0;
    float row = 0;
    float speed = 1;
    float lean = 0;
    int strip = (int)(12 * p->scale);
    memcpy(old, p->grey, size_of(p) * sizeof *old);
    for (int y = 0; y < p->height; y++) {
        if (y % strip == 0) {
            lean = 0.8f * lean + 0.02f * normal(p);
            aside += 0.5f * p->scale * normal(p);
            speed = 1 + 0.06f * normal(p);
        }
        aside += lean;
        row += speed;
        float gain = 1 + 0.05f * normal(p);
        for (int x = 0; x < p->width; x++) {
            float v = bilinear(p, old, (float)x + aside, row);
            p->grey[y * p->width + x] = 200 + gain * (v - 200) + 8 * normal(p);
        }
    }
    free(old);
}

/* Each pixel comes from where a rotation about the finger's centre and smooth bumps put it. */
static void bend(struct plane *p, float turn, float bump)
{
    float *old = must_have(size_of(p));
    float b[BUMPS][5];
    float cx;
    float cy;
    centre_of(p, &cx, &cy);
    for (int k = 0; k < BUMPS; k++) {
        b[k][0] = cx + (uniform(p) - 0.5f) * 220 * p->scale;
        b[k][1] = cy + (uniform(p) - 0.5f) * 260 * p->scale;
        b[k][2] = bump * p->scale * normal(p);
        b[k][3] = bump * p->scale * normal(p);
        b[k][4] = (40 + 50 * uniform(p)) * p->scale;
    }
    float c = cosf(turn);
    float s = sinf(turn);
    memcpy(old, p->grey, size_of(p) * sizeof *old);
    for (int y = 0; y < p->height; y++) {
        for (int x = 0; x < p->width; x++) {
            float px = cx + c * ((float)x - cx) - s * ((float)y - cy);
            float py = cy + s * ((float)x - cx) + c * ((float)y - cy);
            float mx = 0;
            float my = 0;
            for (int k = 0; k < BUMPS; k++) {
                float dx = px - b[k][0];
                float dy = py - b[k][1];
                float w = expf(-(dx * dx + dy * dy) / (2 * b[k][4] * b[k][4]));
                mx += w * b[k][2];
                my += w * b[k][3];
            }
            p->grey[y * p->width + x] = bilinear(p, old, px + mx, py + my);
        }
    }
    free(old);
}

/* Scaled by a factor; what shrinks is blurred first. */
static void resize(struct plane *p, float factor)
{
    if (factor < 1) {
        blur(p, p->grey, 0.4f / factor / p->scale);
    }
    struct plane to = *p;
    to.width = (int)((float)p->width * factor);
    to.height = (int)((float)p->height * factor);
    to.grey = must_have(size_of(&to));
    for (int y = 0; y < to.height; y++) {
        for (int x = 0; x < to.width; x++) {
            float px = ((float)x + 0.5f) / factor - 0.5f;
            float py = ((float)y + 0.5f) / factor - 0.5f;
            to.grey[y * to.width + x] = bilinear(p, p->grey, fmaxf(0, px), fmaxf(0, py));
        }
    }
    free(p->grey);
    *p = to;
}

/* Every other print, so that most comparisons are between the two sorts. */
static void invert(struct plane *p)
{
    if (uniform(p) < 0.5f) {
        return;
    }
    for (size_t i = 0; i < size_of(p); i++) {
        p->grey[i] = 255 - p->grey[i];
    }
}

static void spoil_plane(struct plane *p, enum spoil_kind kind)
{
    switch (kind) {
    case SPOIL_DRY:
        return dry(p, 0.1f);
    case SPOIL_DRIER:
        return dry(p, -0.4f);
    case SPOIL_WET:
        return wet(p, 1.1f);
    case SPOIL_WETTER:
        return wet(p, 1.6f);
    case SPOIL_BLUR:
        return blur(p, p->grey, 1.6f);
    case SPOIL_SLIDE:
        return smooth(p, p->grey, 1, uniform(p) < 0.5f ? 1 : -1, 1.1f);
    case SPOIL_NOISE:
        return add_noise(p, 1.2f * p->contrast);
    case SPOIL_FAINT:
        return fade(p, 0.12f, 1.5f, 0);
    case SPOIL_COLUMNS:
        return fade(p, 0.25f, 2, 6);
    case SPOIL_COLUMNS2:
        return fade(p, 0.12f, 2, 6);
    case SPOIL_SHADE:
        return shade(p);
    case SPOIL_RESIDUE:
        return leave_residue(p);
    case SPOIL_PARTIAL:
        return crop(p, 200, 240);
    case SPOIL_SWEEP:
        return sweep(p);
    case SPOIL_ELASTIC:
        return bend(p, 0, 6);
    case SPOIL_ROTATED:
        return bend(p, (uniform(p) - 0.5f) * 1.0472f, 0);
    case SPOIL_WIDE:
        return resize(p, 1.3f);
    case SPOIL_NARROW:
        return resize(p, 0.72f);
    case SPOIL_COARSE:
        return resize(p, 0.5f / p->scale);
    case SPOIL_FINE:
        return resize(p, 2 / p->scale);
    case SPOIL_INVERTED:
        return invert(p);
    case SPOIL_NOTHING:
    case SPOIL_KINDS:
        break;
    }
}

const char *spoil_name(enum spoil_kind kind)
{
    static const char *const names[SPOIL_KINDS] = {
        "nothing", "dry",     "drier",     "wet",     "wetter",   "blur",    "slide", "noise",
        "faint",   "columns", "columns 2", "shade",   "residue",  "partial", "sweep", "elastic",
        "rotated", "wide",    "narrow",    "250 dpi", "1000 dpi", "inverted"};
    return kind < SPOIL_KINDS ? names[kind] : NULL;
}

void spoil(struct afis_image *image, enum spoil_kind kind, uint64_t seed)
{
    const struct afis_memory *heap = &afis_memory_heap;
    if (kind == SPOIL_NOTHING) {
        return;
    }
    struct plane p = {.width = (int)image->width,
                      .height = (int)image->height,
                      .scale = (float)image->dpi / 500,
                      .state = seed * 0x9e3779b97f4a7c15u + 1};
    p.grey = must_have(size_of(&p));
    for (size_t i = 0; i < size_of(&p); i++) {
        p.grey[i] = image->pixels[i];
    }
    look(&p);
    spoil_plane(&p, kind);
    uint32_t dpi = kind == SPOIL_COARSE ? 250 : kind == SPOIL_FINE ? 1000 : image->dpi;
    afis_image_release(image, heap);
    *image = (struct afis_image){(uint32_t)p.width, (uint32_t)p.height, dpi, NULL};
    image->pixels = heap->alloc(heap->ctx, size_of(&p));
    if (image->pixels == NULL) {
        fprintf(stderr, "accuracy: out of memory\n");
        exit(3);
    }
    for (size_t i = 0; i < size_of(&p); i++) {
        image->pixels[i] = (uint8_t)(fminf(255, fmaxf(0, p.grey[i])) + 0.5f);
    }
    free(p.grey);
}
