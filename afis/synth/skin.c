/* What else a finger carries for life: sweat pores on the ridges, and creases. */
#include "synth_internal.h"

#define PORE_CELL 10u /* pixels: gives some three pores a square millimetre, as counted in skin */

/* A soft dot at a point between pixels. */
static void stamp(uint8_t *map, uint32_t w, uint32_t h, float x, float y, float width, float depth)
{
    float reach = 2.5f * width + 1;
    int32_t x0 = (int32_t)synth_clamp(x - reach, 0, (float)w), x1 = (int32_t)(x + reach);
    int32_t y0 = (int32_t)synth_clamp(y - reach, 0, (float)h), y1 = (int32_t)(y + reach);
    for (int32_t j = y0; j <= y1 && j < (int32_t)h; j++) {
        for (int32_t i = x0; i <= x1 && i < (int32_t)w; i++) {
            float dx = (float)i - x, dy = (float)j - y;
            float value = 255 * depth * synth_exp(-(dx * dx + dy * dy) / (2 * width * width));
            uint8_t *cell = map + (size_t)j * w + (size_t)i;
            if (value > (float)*cell) {
                *cell = (uint8_t)value;
            }
        }
    }
}

void synth_draw_stroke(struct synth_rng *rng, const struct synth_stroke *stroke, uint32_t w,
                       uint32_t h, uint8_t *map)
{
    float x = stroke->x, y = stroke->y, bend = 0, turn = 0;
    uint32_t steps = (uint32_t)stroke->length;
    for (uint32_t i = 0; i < steps; i++) {
        float sine, cosine, done = (float)i, rest = (float)(steps - i);
        float fade = synth_clamp((done < rest ? done : rest) / 15, 0.25f, 1);
        synth_sincos(stroke->heading + bend, &sine, &cosine);
        x += cosine;
        y += sine;
        turn = 0.9f * turn + synth_normal(rng, 0, stroke->wander);
        bend = 0.98f * bend + turn; /* about its heading: a line does not curl up */
        float width = stroke->width * (0.7f + 0.3f * fade) * synth_uniform(rng, 0.85f, 1.15f);
        stamp(map, w, h, x, y, width, stroke->depth * fade);
    }
}

/* Pores sit on the crests of ridges, irregularly spaced. */
static void draw_pores(struct synth_rng *rng, struct afis_synth_master *master)
{
    uint32_t w = master->width, h = master->height;
    for (uint32_t y = 0; y + PORE_CELL <= h; y += PORE_CELL) {
        for (uint32_t x = 0; x + PORE_CELL <= w; x += PORE_CELL) {
            uint32_t best_x = x, best_y = y;
            int8_t best = 0;
            for (int try = 0; try < 6; try++) {
                uint32_t i = x + synth_below(rng, PORE_CELL), j = y + synth_below(rng, PORE_CELL);
                if (master->ridge[(size_t)j * w + i] > best) {
                    best = master->ridge[(size_t)j * w + i];
                    best_x = i;
                    best_y = j;
                }
            }
            float width = synth_uniform(rng, 0.6f, 1.2f), depth = synth_uniform(rng, 0.3f, 1);
            float off_x = synth_uniform(rng, -0.5f, 0.5f), off_y = synth_uniform(rng, -0.5f, 0.5f);
            if (best > 70 && synth_below(rng, 8) != 0) {
                stamp(master->pores, w, h, (float)best_x + off_x, (float)best_y + off_y, width,
                      depth);
            }
        }
    }
}

/* Fine white lines that come with age and work, mostly across the finger. */
static void draw_creases(struct synth_rng *rng, struct afis_synth_master *master)
{
    uint32_t lines = synth_below(rng, 5);
    if (synth_below(rng, 4) == 0) {
        lines += 4 + synth_below(rng, 5);
    }
    for (uint32_t i = 0; i < lines; i++) {
        struct synth_stroke line;
        line.x = SYNTH_CENTRE_X + synth_uniform(rng, -130, 60);
        line.y = SYNTH_CENTRE_Y + synth_uniform(rng, -120, 220);
        line.heading = synth_normal(rng, 0, 0.5f);
        line.length = synth_uniform(rng, 40, 170);
        line.width = synth_uniform(rng, 0.8f, 1.8f);
        line.wander = 0.004f;
        line.depth = synth_uniform(rng, 0.4f, 1);
        synth_draw_stroke(rng, &line, master->width, master->height, master->creases);
    }
}

/* The crease of the joint, where the fingertip ends: a band of many lines beside one another. */
static void draw_joint(struct synth_rng *rng, struct afis_synth_master *master)
{
    float y = SYNTH_CENTRE_Y + master->base + synth_uniform(rng, 0, 20);
    float slope = synth_normal(rng, 0, 0.05f);
    uint32_t lines = 6 + synth_below(rng, 8);
    for (uint32_t i = 0; i < lines; i++) {
        float x = synth_uniform(rng, 0, 300);
        struct synth_stroke line;
        line.x = x;
        line.y = y + slope * x + synth_normal(rng, 0, 8);
        line.heading = slope + synth_normal(rng, 0, 0.06f);
        line.length = synth_uniform(rng, 60, 250);
        line.width = synth_uniform(rng, 1.2f, 3);
        line.wander = 0.012f;
        line.depth = synth_uniform(rng, 0.6f, 1);
        synth_draw_stroke(rng, &line, master->width, master->height, master->creases);
    }
}

void synth_skin(struct synth_rng *rng, struct afis_synth_master *master)
{
    draw_pores(rng, master);
    draw_creases(rng, master);
    draw_joint(rng, master);
}
