/* Shared by the files of the synthetic fingerprint generator alone. */
#ifndef AFIS_SYNTH_INTERNAL_H
#define AFIS_SYNTH_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "afis/memory.h"
#include "afis/status.h"
#include "afis/synth.h"

/* --- random numbers and noise: random.c --- */

/* xoshiro256** 1.0 (Blackman and Vigna, 2018). */
struct synth_rng {
    uint64_t s[4];
};

void synth_rng_seed(struct synth_rng *rng, uint64_t seed);
uint64_t synth_hash(uint64_t x);

/* No expression may draw twice: C leaves the order of evaluation to the compiler. */
float synth_uniform(struct synth_rng *rng, float from, float to);
/* Approximately normal (four uniform numbers summed), never further than 3.5 deviations out. */
float synth_normal(struct synth_rng *rng, float mean, float deviation);
/* A whole number from 0 to n - 1. */
uint32_t synth_below(struct synth_rng *rng, uint32_t n);

/* Fills out (w * h) with smooth noise of mean 0 and deviation 1, its grain `spacing` pixels (>= 1)
 * wide: a cubic B-spline surface over random heights. */
enum afis_status synth_noise(struct synth_rng *rng, uint32_t w, uint32_t h, float spacing,
                             const struct afis_memory *memory, float *out);

/* --- arithmetic without libm: math.c --- */

void synth_sincos(float radians, float *sine, float *cosine);
float synth_atan2(float y, float x);
/* e^x for x <= 0. */
float synth_exp(float x);
/* A sigmoid from -1 to 1 with slope 1 at 0. */
float synth_sigmoid(float x);
float synth_clamp(float x, float low, float high);
/* 0 below `from`, 1 above `to`, smooth between. */
float synth_step(float from, float to, float x);

#define SYNTH_PI 3.14159265f

/* Where a finger's centre lies in its master: about where a core would be. */
#define SYNTH_CENTRE_X ((float)AFIS_SYNTH_MASTER_W / 2)
#define SYNTH_CENTRE_Y ((float)AFIS_SYNTH_MASTER_H * 0.42f)

/* --- orientation and period: field.c --- */

/* Vizcaya and Gerhardt bend each singular point's angle by a piecewise linear function of it. */
#define SYNTH_BENDS 8

struct synth_bent_point {
    float x, y; /* from the finger's centre, y up */
    float sign; /* 1 core, -1 delta */
    float bend[SYNTH_BENDS];
};

/* An orientation field in closed form. */
struct synth_field_model {
    struct synth_bent_point points[AFIS_SYNTH_POINTS_MAX];
    uint32_t count;
    float arch;        /* how steeply the ridges climb at the sides */
    float arch_centre; /* height about which the tip's ridges curve */
    float waviness;    /* of the random part that comes on top, radians */
    float period;      /* mean, pixels */
};

void synth_draw_field(struct synth_rng *rng, enum afis_synth_class class,
                      struct synth_field_model *field);

/* Ridge direction in radians at (x, y) from the centre, y up: a field without singular points that
 * follows the fingertip's outline above and lies flat towards the crease of the joint below, plus
 * the singular points' zero-pole terms. */
float synth_direction(const struct synth_field_model *field, float x, float y);

/* Places the singular points of master->class and fills orientation and period. */
enum afis_status synth_field(struct synth_rng *rng, const struct afis_memory *memory,
                             struct afis_synth_master *master);

/* --- ridges: grow.c --- */

/* Fills ridge from orientation and period. */
enum afis_status synth_grow(struct synth_rng *rng, const struct afis_memory *memory,
                            struct afis_synth_master *master);

/* --- pores and creases: skin.c --- */

/* Fills pores and creases; ridge must be grown. */
void synth_skin(struct synth_rng *rng, struct afis_synth_master *master);

/* Draws a curved line into a w x h map (0 nothing .. 255), keeping what is deeper already. */
struct synth_stroke {
    float x, y, heading; /* start; radians clockwise from +x */
    float length, width; /* pixels; width is the deviation of its Gaussian profile */
    float wander;        /* how much the heading changes in a pixel, radians (deviation) */
    float depth;         /* 0..1 */
};
void synth_draw_stroke(struct synth_rng *rng, const struct synth_stroke *stroke, uint32_t w,
                       uint32_t h, uint8_t *map);

#endif
