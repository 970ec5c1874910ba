/* One picture of a finger: placed, stretched, pressed, more or less moist, seen by a sensor. */
#include "synth_internal.h"

#include <math.h>

#define KNOT 8u /* pixels between the points at which placement and distortion are computed */

/* Smooth random surfaces over the window, each of deviation 1. */
enum surface { SURFACE_BROAD, SURFACE_BLOTCH, SURFACE_BEAD, SURFACE_GRAIN, SURFACES };
static const float surface_spacing[SURFACES] = {42, 11, 3.2f, 1.5f};

struct shot {
    const struct afis_synth_master *master;
    const struct afis_synth_condition *how;
    struct synth_rng *rng;
    uint32_t w, h;
    float *surface[SURFACES];
    float *ink;   /* 0 bare plate .. 1 full contact */
    float *spare; /* as large as ink */
    uint8_t *scratches, *dust;
    float sine, cosine;                                    /* of the rotation */
    float twist_sine, twist_cosine;                        /* of the torsion */
    float plasticity;                                      /* how gently the skin gives way */
    float reach_x, reach_up, reach_down, shift_x, shift_y; /* contact area, from the centre */
    float background, fall_x, fall_y; /* grey of the bare plate and its slope across the window */
    float darkness;                   /* of a fully inked ridge */
};

/* Where a pixel of the window lies on the finger, from its centre, y down. */
struct place {
    float x, y;   /* on the undistorted finger */
    float extent; /* 0 middle of the contact area, 1 its outline */
};

/* Fields that a caller may have filled with anything at all (a NaN compares false). */
static float bounded(float x, float limit)
{
    return x >= -limit && x <= limit ? x : x > limit ? limit : x < -limit ? -limit : 0;
}

static void bound_condition(struct afis_synth_condition *how)
{
    how->dx = bounded(how->dx, 200);
    how->dy = bounded(how->dy, 200);
    how->rotation = bounded(how->rotation, 180);
    how->pull_x = bounded(how->pull_x, 25);
    how->pull_y = bounded(how->pull_y, 25);
    how->torsion = bounded(how->torsion, 25);
    how->pressure = bounded(how->pressure, 1);
    how->moisture = bounded(how->moisture, 1);
    how->unevenness = synth_clamp(bounded(how->unevenness, 1), 0, 1);
    how->smudge = synth_clamp(bounded(how->smudge, 1), 0, 1);
    how->part_x = bounded(how->part_x, 1);
    how->part_y = synth_clamp(bounded(how->part_y, 1), 0, 1);
    how->noise = synth_clamp(bounded(how->noise, 30), 0, 30);
    how->scratches = how->scratches < 20 ? how->scratches : 20;
    how->dust = how->dust < 50 ? how->dust : 50;
}

/* A finger pressed harder flattens wider; a partial print is that of a tilted finger. */
static void set_up(struct shot *shot)
{
    const struct afis_synth_condition *how = shot->how;
    const struct afis_synth_master *m = shot->master;
    float spread = 0.9f + 0.1f * how->pressure;
    float part_x = fabsf(how->part_x);
    synth_sincos(how->rotation * (SYNTH_PI / 180), &shot->sine, &shot->cosine);
    synth_sincos(how->torsion * (SYNTH_PI / 180), &shot->twist_sine, &shot->twist_cosine);
    shot->plasticity = synth_uniform(shot->rng, 0.8f, 2.2f);
    shot->reach_x = m->half_width * spread * (1 - 0.35f * part_x);
    shot->reach_up = m->tip * (0.96f + 0.04f * how->pressure) * (1 - 0.1f * part_x);
    shot->reach_down = m->base * synth_uniform(shot->rng, 0.78f, 1.12f) * spread;
    shot->reach_down *= (1 - 0.75f * how->part_y) * (1 - 0.25f * part_x);
    shot->shift_x = 0.62f * m->half_width * how->part_x;
    shot->shift_y = -0.22f * m->tip * how->part_y;
    shot->background = synth_uniform(shot->rng, 236, 253);
    shot->fall_x = synth_normal(shot->rng, 0, 4);
    shot->fall_y = synth_normal(shot->rng, 0, 4);
    shot->darkness = synth_uniform(shot->rng, 0.9f, 0.98f);
}

/* Between an ellipse and a rounded rectangle, as flat fingers print. */
static float extent_at(const struct shot *shot, float x, float y)
{
    float up = y - shot->shift_y;
    float a = (x - shot->shift_x) / shot->reach_x;
    float b = up / (up < 0 ? shot->reach_up : shot->reach_down);
    float a2 = a * a, b2 = b * b, round = sqrtf(a2 + b2), square = sqrtf(sqrtf(a2 * a2 + b2 * b2));
    return up < 0 ? 0.8f * round + 0.2f * square : 0.55f * round + 0.45f * square;
}

/* Cappelli, Maio and Maltoni's plastic distortion: the skin sticks to the plate in the middle of
 * the contact area (inner ellipse), outside follows the finger's traction and torsion, and gives
 * way between. */
static struct place locate(const struct shot *shot, float u, float v)
{
    float cu = u - ((float)shot->w / 2 + shot->how->dx);
    float cv = v - ((float)shot->h / 2 + shot->how->dy);
    float x = cu * shot->cosine - cv * shot->sine, y = cu * shot->sine + cv * shot->cosine;
    float extent = extent_at(shot, x, y), beyond = extent / 0.35f - 1, brake = 0, unused;
    if (beyond >= shot->plasticity) {
        brake = 1;
    } else if (beyond > 0) {
        synth_sincos(beyond / shot->plasticity * SYNTH_PI, &unused, &brake);
        brake = (1 - brake) / 2;
    }
    float moved_x = x * shot->twist_cosine - y * shot->twist_sine + shot->how->pull_x;
    float moved_y = x * shot->twist_sine + y * shot->twist_cosine + shot->how->pull_y;
    return (struct place){x + (moved_x - x) * brake, y + (moved_y - y) * brake, extent};
}

/* Height of the skin, its pores and creases at a point between the master's pixels. */
struct skin {
    float ridge, pore, crease;
};

static struct skin skin_at(const struct afis_synth_master *m, float x, float y)
{
    x = synth_clamp(x + SYNTH_CENTRE_X, 0, (float)(m->width - 2));
    y = synth_clamp(y + SYNTH_CENTRE_Y, 0, (float)(m->height - 2));
    uint32_t i = (uint32_t)x, j = (uint32_t)y;
    float s = x - (float)i, t = y - (float)j;
    size_t at = (size_t)j * m->width + i, below = at + m->width;
    float a = (1 - s) * (1 - t), b = s * (1 - t), c = (1 - s) * t, d = s * t;
#define BLEND(map)                                                                                 \
    (a * (float)m->map[at] + b * (float)m->map[at + 1] + c * (float)m->map[below] +                \
     d * (float)m->map[below + 1])
    return (struct skin){BLEND(ridge) / 127, BLEND(pores) / 255, BLEND(creases) / 255};
#undef BLEND
}

/* How much ink (darkness) a point leaves. Ridges touch where the skin's height plus the local
 * pressure is above the plate; moisture widens the contact and fills valleys, dryness leaves only
 * beads of it. */
static float ink_at(const struct shot *shot, size_t at, const struct place *place)
{
    const struct afis_synth_condition *how = shot->how;
    float broad = shot->surface[SURFACE_BROAD][at], blotch = shot->surface[SURFACE_BLOTCH][at];
    float bead = shot->surface[SURFACE_BEAD][at], grain = shot->surface[SURFACE_GRAIN][at];
    float inside = 1 - place->extent + 0.03f * broad + 0.012f * blotch;
    if (inside < -0.06f) {
        return 0;
    }
    struct skin skin = skin_at(shot->master, place->x, place->y);
    float dry = how->moisture < 0 ? -how->moisture : 0, wet = how->moisture > 0 ? how->moisture : 0;
    float rim = 1 - synth_clamp(inside / 0.3f, 0, 1);
    float press = 0.35f * how->pressure + 0.4f * how->moisture - 0.45f * rim * rim +
                  how->unevenness * (0.3f * broad + 0.12f * blotch);
    float height = skin.ridge + press - (0.9f - 0.8f * wet) * skin.pore - 2.5f * skin.crease -
                   2 * (float)shot->scratches[at] / 255 + (0.1f + 0.65f * dry) * bead +
                   (0.1f + 0.1f * dry) * grain + (0.05f + 0.35f * dry) * blotch;
    float touch = 0.5f + 0.5f * synth_sigmoid(3.2f * height);
    touch *= synth_step(-0.02f, 0.05f, inside + 0.03f * bead);
    float tone = 0.82f + 0.22f * press + 0.05f * bead + 0.04f * grain;
    float puddle =
        wet *
        synth_step(-0.2f, 1.4f, 0.7f * broad + 0.35f * blotch + 0.15f * bead + 1.9f * wet - 0.9f);
    float film = puddle * (0.82f + 0.06f * bead + 0.05f * grain) * synth_step(0, 0.15f, inside);
    return synth_clamp(tone, 0.3f, 1) * touch + (1 - touch) * film;
}

/* Fills ink; places are computed at every KNOT pixels and interpolated. */
static void press(struct shot *shot)
{
    for (uint32_t v = 0; v < shot->h; v += KNOT) {
        for (uint32_t u = 0; u < shot->w; u += KNOT) {
            float fu = (float)u, fv = (float)v;
            struct place a = locate(shot, fu, fv), b = locate(shot, fu + KNOT, fv);
            struct place c = locate(shot, fu, fv + KNOT), d = locate(shot, fu + KNOT, fv + KNOT);
            for (uint32_t j = 0; j < KNOT && v + j < shot->h; j++) {
                for (uint32_t i = 0; i < KNOT && u + i < shot->w; i++) {
                    float s = (float)i / KNOT, t = (float)j / KNOT;
                    float wa = (1 - s) * (1 - t), wb = s * (1 - t), wc = (1 - s) * t, wd = s * t;
                    struct place here = {wa * a.x + wb * b.x + wc * c.x + wd * d.x,
                                         wa * a.y + wb * b.y + wc * c.y + wd * d.y,
                                         wa * a.extent + wb * b.extent + wc * c.extent +
                                             wd * d.extent};
                    size_t at = (size_t)(v + j) * shot->w + u + i;
                    shot->ink[at] = ink_at(shot, at, &here);
                }
            }
        }
    }
}

/* What a slide leaves at one pixel: all that passed over it, in streaks. (dx, dy) is a step of the
 * path, which bends a little; grip says how strong the streaks are. */
static float smeared(const struct shot *shot, float u, float v, float dx, float dy, float grip)
{
    enum { STEPS = 16 };
    float sum = 0, most = 0, streak = 0;
    for (int i = 0; i < STEPS; i++) {
        uint32_t x = (uint32_t)synth_clamp(u + 0.5f, 0, (float)(shot->w - 1));
        uint32_t y = (uint32_t)synth_clamp(v + 0.5f, 0, (float)(shot->h - 1));
        size_t at = (size_t)y * shot->w + x;
        sum += shot->ink[at];
        most = shot->ink[at] > most ? shot->ink[at] : most;
        streak += shot->surface[SURFACE_BEAD][at] + shot->surface[SURFACE_GRAIN][at];
        u += dx - 0.03f * (float)i * dy;
        v += dy + 0.03f * (float)i * dx;
    }
    float ink = 0.75f * sum / STEPS + 0.25f * most;
    return synth_clamp(ink * (1 + grip * streak / STEPS), 0, 1);
}

/* The finger slid while it was down, further in some places than in others. */
static void smear(struct shot *shot)
{
    float sine, cosine, smudge = shot->how->smudge;
    synth_sincos(synth_uniform(shot->rng, 0, 2 * SYNTH_PI), &sine, &cosine);
    for (size_t at = 0; at < (size_t)shot->w * shot->h; at++) {
        float broad = shot->surface[SURFACE_BROAD][at], blotch = shot->surface[SURFACE_BLOTCH][at];
        float far = synth_step(-1.8f, 1.2f, 0.9f * broad + 0.25f * blotch + 1.2f * smudge - 0.6f);
        float step = 1.6f * smudge * far;
        shot->spare[at] =
            smeared(shot, (float)(uint32_t)(at % shot->w), (float)(uint32_t)(at / shot->w),
                    step * cosine, step * sine, 0.22f * far);
    }
    float *swap = shot->ink;
    shot->ink = shot->spare;
    shot->spare = swap;
}

/* The sensor's optics: a 3 x 3 binomial blur. Edges repeat. */
static void blur(struct shot *shot)
{
    for (int pass = 0; pass < 2; pass++) {
        size_t step = pass == 0 ? 1 : shot->w;
        for (size_t at = 0; at < (size_t)shot->w * shot->h; at++) {
            size_t position = pass == 0 ? at % shot->w : at / shot->w;
            size_t last = (pass == 0 ? shot->w : shot->h) - 1;
            float before = shot->ink[position > 0 ? at - step : at];
            float after = shot->ink[position < last ? at + step : at];
            shot->spare[at] = 0.2f * before + 0.6f * shot->ink[at] + 0.2f * after;
        }
        float *swap = shot->ink;
        shot->ink = shot->spare;
        shot->spare = swap;
    }
}

static void expose(struct shot *shot, uint8_t *pixels)
{
    for (size_t at = 0; at < (size_t)shot->w * shot->h; at++) {
        float x = (float)(at % shot->w) / (float)shot->w - 0.5f;
        float y = (float)(uint32_t)(at / shot->w) / (float)shot->h - 0.5f;
        float plate = shot->background + shot->fall_x * x + shot->fall_y * y;
        float ink = shot->ink[at], dust = (float)shot->dust[at] / 255;
        float grey = plate * (1 - shot->darkness * (ink > dust ? ink : dust)) +
                     synth_normal(shot->rng, 0, shot->how->noise);
        pixels[at] = (uint8_t)synth_clamp(grey + 0.5f, 0, 255);
    }
}

static void scratch(struct shot *shot)
{
    for (uint32_t i = 0; i < shot->how->scratches; i++) {
        struct synth_stroke line;
        line.x = synth_uniform(shot->rng, 0, (float)shot->w);
        line.y = synth_uniform(shot->rng, 0, (float)shot->h);
        line.heading = synth_uniform(shot->rng, 0, 2 * SYNTH_PI);
        line.length = synth_uniform(shot->rng, 30, 160);
        line.width = synth_uniform(shot->rng, 0.6f, 1.4f);
        line.wander = 0.003f;
        line.depth = synth_uniform(shot->rng, 0.4f, 1);
        synth_draw_stroke(shot->rng, &line, shot->w, shot->h, shot->scratches);
    }
}

static void soil(struct shot *shot)
{
    for (uint32_t i = 0; i < shot->how->dust; i++) {
        struct synth_stroke speck;
        speck.x = synth_uniform(shot->rng, 0, (float)shot->w);
        speck.y = synth_uniform(shot->rng, 0, (float)shot->h);
        speck.heading = synth_uniform(shot->rng, 0, 2 * SYNTH_PI);
        speck.length = synth_uniform(shot->rng, 1, 5);
        speck.width = synth_uniform(shot->rng, 0.4f, 1.2f);
        speck.wander = 0.2f;
        speck.depth = synth_uniform(shot->rng, 0.1f, 1);
        speck.depth *= synth_uniform(shot->rng, 0.2f, 1);
        synth_draw_stroke(shot->rng, &speck, shot->w, shot->h, shot->dust);
    }
}

static enum afis_status take(struct shot *shot, const struct afis_memory *memory, uint8_t *pixels)
{
    for (int i = 0; i < SURFACES; i++) {
        enum afis_status status =
            synth_noise(shot->rng, shot->w, shot->h, surface_spacing[i], memory, shot->surface[i]);
        if (status != AFIS_OK) {
            return status;
        }
    }
    set_up(shot);
    scratch(shot);
    soil(shot);
    press(shot);
    if (shot->how->smudge > 0) {
        smear(shot);
    }
    blur(shot);
    expose(shot, pixels);
    return AFIS_OK;
}

enum afis_status afis_synth_impression(const struct afis_synth_master *master, uint64_t seed,
                                       const struct afis_synth_condition *condition,
                                       const struct afis_memory *memory, struct afis_image *out)
{
    struct afis_synth_condition how = *condition;
    struct synth_rng rng;
    if (how.width < AFIS_SYNTH_SIDE_MIN || how.height < AFIS_SYNTH_SIDE_MIN) {
        return AFIS_TOO_SMALL;
    }
    if (how.width > AFIS_SYNTH_SIDE_MAX || how.height > AFIS_SYNTH_SIDE_MAX) {
        return AFIS_TOO_LARGE;
    }
    how.moisture = bounded(how.moisture, 1) + master->moisture;
    bound_condition(&how);
    synth_rng_seed(&rng, seed);
    struct shot shot = {
        .master = master, .how = &how, .rng = &rng, .w = how.width, .h = how.height};
    size_t count = (size_t)how.width * how.height;
    size_t size = count * (SURFACES + 2) * sizeof(float) + 2 * count;
    float *work = memory->alloc(memory->ctx, size);
    uint8_t *pixels = memory->alloc(memory->ctx, count);
    enum afis_status status = work != NULL && pixels != NULL ? AFIS_OK : AFIS_NO_MEMORY;
    if (status == AFIS_OK) {
        for (int i = 0; i < SURFACES; i++) {
            shot.surface[i] = work + (size_t)i * count;
        }
        shot.ink = work + SURFACES * count;
        shot.spare = shot.ink + count;
        shot.scratches = (uint8_t *)(shot.spare + count);
        shot.dust = shot.scratches + count;
        status = take(&shot, memory, pixels);
    }
    memory->release(memory->ctx, work, size);
    if (status == AFIS_OK) {
        *out = (struct afis_image){how.width, how.height, AFIS_SYNTH_DPI, pixels};
    } else {
        memory->release(memory->ctx, pixels, count);
    }
    return status;
}
