/* Minutiae of made-up people: see afis/synth_people.h. */
#include "afis/synth_people.h"

#include <math.h>
#include <string.h>

#include "synth_internal.h"

enum {
    TRUE_MAX = 220,  /* minutiae of a whole fingertip */
    FALSE_MAX = 120, /* clusters that an impression adds, and their size */
    CLUSTER_MAX = 8,
    PAIRED = 7, /* minutiae of 100 that have another a ridge away */
    WAVES = 2
};

/* What was fitted for each sensor. Pairs are mean and deviation between prints. Lengths in pixels
 * at 500 dpi, angles in radians. */
struct sensor {
    float width, height;           /* of its window */
    float sense;                   /* log-odds for a direction towards the joint ... */
    float sense_top;               /* ... up to this height */
    float facing;                  /* how strongly neighbours avoid to point away from each other */
    float together;                /* probability that a false minutia has another beside it */
    float density[2];              /* true minutiae in 10,000 square pixels of a finger, log */
    float side[2], up[2], down[2]; /* how far the contact reaches from the finger's centre */
    float centre_y[2];             /* where that centre lies in the window, from the top */
    float shift_x, turn;           /* deviations of placement */
    float kept[2];                 /* log-odds that a true minutia is found */
    float false_rate[2];           /* clusters of false ones in 10,000 square pixels, log */
    float quality[2];              /* log-odds / 1 of a true minutia's quality as 0..1 */
};

static const struct sensor sensors[AFIS_SYNTH_SENSORS] = {
    {388,
     374,
     0.75f,
     60,
     0.8f,
     0.50f,
     {1.78f, 0.32f},
     {115, 14},
     {122, 25},
     {235, 35},
     {160, 25},
     22,
     0.10f,
     {2.7f, 0.7f},
     {-1.0f, 0.6f},
     {1.9f, 0.30f}},
    {260,
     492,
     0.75f,
     60,
     0.8f,
     0.55f,
     {1.64f, 0.28f},
     {122, 12},
     {140, 25},
     {250, 40},
     {230, 50},
     15,
     0.10f,
     {4.4f, 1.1f},
     {-0.6f, 0.6f},
     {2.0f, 0.35f}},
    {300,
     300,
     0.6f,
     60,
     0.6f,
     0.65f,
     {1.62f, 0.30f},
     {117, 18},
     {115, 18},
     {190, 25},
     {140, 18},
     13,
     0.10f,
     {2.2f, 0.5f},
     {-0.3f, 1.0f},
     {1.9f, 0.70f}},
    {288,
     384,
     1.7f,
     999,
     1.2f,
     0.65f,
     {1.54f, 0.20f},
     {110, 14},
     {115, 15},
     {185, 20},
     {165, 30},
     35,
     0.15f,
     {3.4f, 0.8f},
     {-0.5f, 0.4f},
     {1.7f, 0.35f}},
};

struct spot {
    float x, y;      /* from the finger's centre, y up */
    float direction; /* radians */
    float c, s;      /* its cosine and sine */
    float clear;     /* standard normal: how readily it is found */
    uint8_t type;
};

struct finger {
    struct synth_field_model field;
    struct {
        float x, y, phase;
    } wave[WAVES];
    float size; /* of this finger against others */
    unsigned count;
    struct spot spots[TRUE_MAX];
};

struct impression {
    const struct sensor *sensor;
    float side, up, down, lean; /* contact area */
    float u, v, c, s;           /* the finger's centre in the window, and its rotation */
    float bend[6];              /* distortion */
    float kept, false_rate, quality;
};

static float direction_at(const struct finger *f, float x, float y)
{
    float theta = synth_direction(&f->field, x, y > 0 ? y : y * 0.65f);
    for (unsigned k = 0; k < WAVES; k++) {
        float sine, cosine;
        synth_sincos(f->wave[k].x * x + f->wave[k].y * y + f->wave[k].phase, &sine, &cosine);
        theta += f->field.waviness * sine;
    }
    return theta;
}

/* An angle within a quarter turn of 0: ridges have no sense. */
static float fold(float angle)
{
    float halves = angle * (1 / SYNTH_PI);
    return angle - SYNTH_PI * floorf(halves + 0.5f);
}

/* How fast the lines that run along theta spread apart, 1/pixel. */
static float spreading(const struct finger *f, float x, float y, float theta)
{
    float s, c;
    synth_sincos(theta, &s, &c);
    return fold(direction_at(f, x - 30 * s, y + 30 * c) - direction_at(f, x + 30 * s, y - 30 * c)) /
           60;
}

/* How much less likely a minutia is than it would be without its neighbours. */
static float room_for(const struct finger *f, float x, float y)
{
    float room = 1;
    for (unsigned i = 0; i < f->count; i++) {
        float dx = x - f->spots[i].x, dy = y - f->spots[i].y, d2 = dx * dx + dy * dy;
        if (d2 < 144) {
            room *= d2 < 36 ? 0.05f : d2 < 81 ? 0.5f : 0.85f;
        }
    }
    return room;
}

static float logistic(float x)
{
    return x > 0 ? 1 / (1 + synth_exp(-x)) : 1 - 1 / (1 + synth_exp(x));
}

/* Log-odds that a minutia at (x, y) points along theta rather than against it. */
static float sense_of(const struct sensor *sensor, const struct finger *f, float x, float y,
                      float theta, float spread)
{
    float s, c;
    synth_sincos(theta, &s, &c);
    float below = 1 - synth_step(sensor->sense_top - 40, sensor->sense_top + 40, y);
    float odds = 4.0f * synth_sigmoid(spread / 0.005f) - sensor->sense * s * below;
    for (unsigned i = 0; i < f->count; i++) {
        const struct spot *other = &f->spots[i];
        float dx = other->x - x, dy = other->y - y, d2 = dx * dx + dy * dy;
        if (d2 > 110 * 110) {
            continue;
        }
        float parallel = c * other->c + s * other->s;
        float ahead = synth_clamp((c * dx + s * dy) * (1 / 30.0f), -1, 1);
        float near = 1 - d2 * (1 / (110.0f * 110.0f));
        /* Of the two senses one points away from a neighbour that points away as well. */
        float away = parallel < 0 ? (ahead < 0 ? -parallel * ahead : 0)
                     : ahead > 0  ? parallel * ahead
                                  : 0;
        odds += sensor->facing * near * away;
    }
    return odds;
}

/* Beside the last minutia, about a ridge away, another one: islands, spurs and crossings. */
static void add_partner(struct synth_rng *rng, struct finger *f)
{
    struct spot spot = f->spots[f->count - 1];
    float across = synth_normal(rng, 10, 1.5f), along = synth_normal(rng, 0, 4);
    across = synth_below(rng, 2) ? across : -across;
    spot.x += along * spot.c - across * spot.s;
    spot.y += along * spot.s + across * spot.c;
    spot.direction += synth_normal(rng, 0, 0.15f);
    if (synth_below(rng, 4) != 0) {
        spot.direction += SYNTH_PI;
        spot.c = -spot.c;
        spot.s = -spot.s;
    }
    spot.clear = synth_normal(rng, 0, 1);
    f->spots[f->count++] = spot;
}

static void draw_spot(struct synth_rng *rng, const struct sensor *sensor, struct finger *f)
{
    for (unsigned attempt = 0; attempt < 20; attempt++) {
        float x = synth_uniform(rng, -150, 150), y = synth_uniform(rng, -290, 170);
        float ax = x / 150, ay = y / (y > 0 ? 170 : 290), extent = ax * ax + ay * ay;
        if (extent > 1) {
            continue;
        }
        if (synth_uniform(rng, 0, 1) > room_for(f, x, y)) {
            continue;
        }
        float theta = direction_at(f, x, y), spread = spreading(f, x, y, theta);
        float lines = fabsf(spread) / 0.008f;
        float wanted = 0.5f + 0.33f * (lines < 1.5f ? lines : 1.5f);
        if (synth_uniform(rng, 0, 1) > wanted) {
            continue;
        }
        if (synth_uniform(rng, 0, 1) > logistic(sense_of(sensor, f, x, y, theta, spread))) {
            theta += SYNTH_PI;
        }
        float off = synth_normal(rng, 0, synth_below(rng, 16) ? 0.06f : 0.35f);
        float s, c, clear = synth_normal(rng, 0, 1);
        synth_sincos(theta, &s, &c);
        f->spots[f->count++] = (struct spot){x,
                                             y,
                                             theta + off,
                                             c,
                                             s,
                                             clear,
                                             synth_below(rng, 100) < 42 ? AFIS_MINUTIA_BIFURCATION
                                                                        : AFIS_MINUTIA_ENDING};
        if (synth_below(rng, 100) < PAIRED && f->count < TRUE_MAX) {
            add_partner(rng, f);
        }
        return;
    }
}

static void draw_finger(struct synth_rng *rng, unsigned position, uint64_t seed,
                        const struct sensor *sensor, struct finger *f)
{
    synth_draw_field(rng, afis_synth_draw_class(seed, position), &f->field);
    for (unsigned k = 0; k < WAVES; k++) {
        f->wave[k].x = synth_normal(rng, 0, 0.025f);
        f->wave[k].y = synth_normal(rng, 0, 0.025f);
        f->wave[k].phase = synth_uniform(rng, 0, 2 * SYNTH_PI);
    }
    f->size = synth_normal(rng, 1, 0.06f);
    f->count = 0;
    float log_density = synth_normal(rng, sensor->density[0], sensor->density[1]);
    float wanted = synth_exp(log_density - 5) * 148.41f * 1e-4f * (SYNTH_PI * 150 * 220);
    while ((float)f->count < wanted && f->count < TRUE_MAX) {
        draw_spot(rng, sensor, f);
    }
}

static float draw_of(struct synth_rng *rng, const float of[2])
{
    return synth_normal(rng, of[0], of[1]);
}

static void draw_impression(struct synth_rng *rng, const struct sensor *sensor,
                            struct impression *im)
{
    float awkward = synth_below(rng, 16) != 0 ? 1 : 2.5f; /* now and then a finger is ill placed */
    im->sensor = sensor;
    im->side = draw_of(rng, sensor->side);
    im->up = draw_of(rng, sensor->up);
    im->down = draw_of(rng, sensor->down);
    im->lean = synth_normal(rng, 0, 12 * awkward);
    im->u = synth_normal(rng, sensor->width / 2, sensor->shift_x * awkward);
    im->v = synth_normal(rng, sensor->centre_y[0], sensor->centre_y[1] * awkward);
    synth_sincos(synth_normal(rng, 0, sensor->turn * awkward), &im->s, &im->c);
    for (unsigned k = 0; k < 6; k++) {
        im->bend[k] = synth_normal(rng, 0, 2.0f);
    }
    im->kept = draw_of(rng, sensor->kept);
    im->false_rate = synth_exp(draw_of(rng, sensor->false_rate) - 5) * 148.41f; /* e^5 */
    im->quality = draw_of(rng, sensor->quality);
}

/* How deep inside the contact area a place of the finger is: 1 its middle, 0 its outline. */
static float depth(const struct impression *im, float x, float y)
{
    float a = (x - im->lean) / im->side, b = y / (y > 0 ? im->up : im->down);
    return 1 - sqrtf(a * a + b * b);
}

/* Lays a minutia into the window; left out where it does not fit in. */
static void lay(struct synth_rng *rng, const struct impression *im, const struct spot *spot,
                float log_odds, struct afis_template *out)
{
    float x = spot->x * 0.01f, y = spot->y * 0.01f;
    float px =
        spot->x + im->bend[0] * x + im->bend[1] * y + im->bend[2] * x * y + im->bend[3] * y * y;
    float py =
        spot->y + im->bend[1] * x - im->bend[0] * y + im->bend[4] * x * y + im->bend[5] * x * x;
    px += synth_normal(rng, 0, 0.75f);
    py += synth_normal(rng, 0, 0.75f);
    float u = im->u + im->c * px - im->s * py, v = im->v - (im->s * px + im->c * py);
    if (u < 10 || v < 10 || u >= im->sensor->width - 10 || v >= im->sensor->height - 10 ||
        out->count == AFIS_MINUTIAE_MAX) {
        return;
    }
    float turn = (spot->direction + synth_atan2(im->s, im->c) + synth_normal(rng, 0, 0.05f)) *
                 (1 / (2 * SYNTH_PI));
    turn -= floorf(turn);
    float quality = 93 * logistic(log_odds);
    out->minutiae[out->count++] = (struct afis_minutia){
        (int16_t)(u * 16), (int16_t)(v * 16), (uint16_t)((uint32_t)(turn * 65536) & 0xffff),
        spot->type, (uint8_t)(quality < 1 ? 1 : quality)};
}

static void add_true(struct synth_rng *rng, const struct finger *f, const struct impression *im,
                     struct afis_template *out)
{
    for (unsigned i = 0; i < f->count; i++) {
        struct spot spot = f->spots[i];
        spot.x *= f->size;
        spot.y *= f->size;
        float deep = depth(im, spot.x, spot.y);
        float odds = im->kept + 0.8f * spot.clear, draw = synth_uniform(rng, 0, 1);
        if (deep < 0.03f || draw > logistic(odds)) {
            continue;
        }
        float edge = deep < 0.25f ? 4 * (0.25f - deep) : 0;
        float quality = im->quality + 0.45f * spot.clear - 0.8f * edge;
        quality += synth_normal(rng, 0, 0.6f);
        if (synth_uniform(rng, 0, 1) < 0.12f) {
            spot.type = (uint8_t)(3 - spot.type);
        }
        lay(rng, im, &spot, quality, out);
        if (synth_below(rng, 100) < 3) { /* found twice */
            spot.x += synth_normal(rng, 0, 2.5f);
            spot.y += synth_normal(rng, 0, 2.5f);
            spot.direction += synth_normal(rng, 0, 0.15f);
            lay(rng, im, &spot, quality - 0.8f, out);
        }
    }
}

/* One false minutia, and more beside it where a ridge is broken or two run together. */
static void add_cluster(struct synth_rng *rng, const struct finger *f, const struct impression *im,
                        float x, float y, struct afis_template *out)
{
    float theta = direction_at(f, x / f->size, y / f->size);
    struct spot spot = {.x = x, .y = y, .type = AFIS_MINUTIA_ENDING};
    float sense = synth_below(rng, 2) ? SYNTH_PI : 0, s, c;
    synth_sincos(theta, &s, &c);
    float more = 0;
    for (unsigned k = 0; k < CLUSTER_MAX && more < im->sensor->together; k++) {
        more = synth_uniform(rng, 0, 1);
        spot.direction = theta + sense + synth_normal(rng, 0, 0.1f);
        spot.type = synth_below(rng, 5) < 2 ? AFIS_MINUTIA_BIFURCATION : AFIS_MINUTIA_ENDING;
        lay(rng, im, &spot, synth_normal(rng, -0.9f, 0.7f), out);
        bool across = synth_below(rng, 3) != 0;
        float side = synth_below(rng, 2) ? 1 : -1;
        float over = synth_normal(rng, 14, 4), beside = synth_normal(rng, 0, 4);
        float a = across ? beside : side * over, b = across ? side * over : 0.3f * beside;
        spot.x += a * c - b * s;
        spot.y += a * s + b * c;
        if (synth_uniform(rng, 0, 1) < 0.65f) {
            sense = SYNTH_PI - sense;
        }
    }
}

static void add_false(struct synth_rng *rng, const struct finger *f, const struct impression *im,
                      struct afis_template *out)
{
    float area = SYNTH_PI / 2 * im->side * (im->up + im->down) * 1e-4f;
    float wanted = area * im->false_rate + synth_uniform(rng, 0, 1);
    for (unsigned i = 1; (float)i < wanted && i < FALSE_MAX; i++) {
        float s, c, out_to = synth_uniform(rng, 0, 1), up;
        synth_sincos(synth_uniform(rng, 0, 2 * SYNTH_PI), &s, &c);
        out_to = sqrtf(out_to) * 0.95f;
        up = s * out_to;
        add_cluster(rng, f, im, im->lean + c * out_to * im->side, up * (up > 0 ? im->up : im->down),
                    out);
    }
}

enum afis_synth_sensor afis_synth_draw_sensor(uint64_t seed)
{
    return (enum afis_synth_sensor)(synth_hash(seed ^ 0x5e2505) % AFIS_SYNTH_SENSORS);
}

void afis_synth_template(uint64_t seed, unsigned position, enum afis_synth_sensor sensor,
                         uint32_t impression, struct afis_template *out)
{
    struct synth_rng rng;
    struct finger finger;
    struct impression im;
    const struct sensor *how = &sensors[sensor];
    synth_rng_seed(&rng, seed);
    draw_finger(&rng, position, seed, how, &finger);
    synth_rng_seed(&rng, afis_synth_seed(seed, 0, impression + 1));
    draw_impression(&rng, how, &im);
    memset(out, 0, sizeof *out);
    out->width = (uint16_t)how->width;
    out->height = (uint16_t)how->height;
    out->position = (uint8_t)position;
    add_true(&rng, &finger, &im, out);
    add_false(&rng, &finger, &im, out);
    float quality = synth_normal(&rng, 82, 6);
    out->quality = (uint8_t)synth_clamp(quality, 20, 98);
}
