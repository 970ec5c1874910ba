/* Where the ridges of a finger run and how far apart they are. */
#include "synth_internal.h"

#include <math.h>

static void add_point(struct synth_field_model *field, struct synth_rng *rng, bool delta, float x,
                      float y)
{
    struct synth_bent_point *point = &field->points[field->count++];
    point->x = x;
    point->y = y;
    point->sign = delta ? -1 : 1;
    for (int i = 0; i < SYNTH_BENDS; i++) {
        point->bend[i] = synth_normal(rng, 0, delta ? 0.10f : 0.14f);
    }
}

static void add_loop(struct synth_field_model *field, struct synth_rng *rng, float side)
{
    float core_x = synth_normal(rng, 0, 8), core_y = synth_normal(rng, 0, 8);
    float across = synth_uniform(rng, 62, 112), below = synth_uniform(rng, 78, 140);
    add_point(field, rng, false, core_x, core_y);
    add_point(field, rng, true, core_x + side * across, -below);
}

/* Plain whorls have close cores, twin loops distant ones that lie askew. */
static void add_whorl(struct synth_field_model *field, struct synth_rng *rng)
{
    bool twin = synth_below(rng, 3) == 0;
    float half = twin ? synth_uniform(rng, 24, 36) : synth_uniform(rng, 9, 22);
    float askew = synth_normal(rng, 0, half * 0.35f);
    float x = synth_normal(rng, 0, 6), y = synth_normal(rng, 0, 8);
    float left = synth_uniform(rng, 75, 120), left_below = synth_uniform(rng, 85, 150);
    float right = synth_uniform(rng, 75, 120), right_below = synth_uniform(rng, 85, 150);
    add_point(field, rng, false, x + askew, y + half);
    add_point(field, rng, false, x - askew, y - half);
    add_point(field, rng, true, x - left, -left_below);
    add_point(field, rng, true, x + right, -right_below);
}

static void add_tent(struct synth_field_model *field, struct synth_rng *rng)
{
    float x = synth_normal(rng, 0, 6), y = synth_normal(rng, -15, 8);
    float lean = synth_normal(rng, 0, 5), below = synth_uniform(rng, 65, 110);
    add_point(field, rng, false, x, y);
    add_point(field, rng, true, x + lean, -below);
}

void synth_draw_field(struct synth_rng *rng, enum afis_synth_class class,
                      struct synth_field_model *field)
{
    *field = (struct synth_field_model){0};
    field->arch = synth_uniform(rng, 0.75f, 0.95f);
    field->arch_centre = synth_uniform(rng, -70, -40);
    field->waviness = synth_uniform(rng, 0.05f, 0.09f);
    field->period = synth_clamp(synth_normal(rng, 9.0f, 0.6f), 7.6f, 10.6f);
    switch (class) {
    case AFIS_SYNTH_ARCH:
        field->arch = synth_uniform(rng, 0.95f, 1.2f);
        break;
    case AFIS_SYNTH_TENTED_ARCH:
        add_tent(field, rng);
        break;
    case AFIS_SYNTH_LEFT_LOOP:
        add_loop(field, rng, 1);
        break;
    case AFIS_SYNTH_RIGHT_LOOP:
        add_loop(field, rng, -1);
        break;
    case AFIS_SYNTH_WHORL:
        add_whorl(field, rng);
        break;
    }
}

/* The angle at which the singular point sees (x, y), bent. */
static float seen_angle(const struct synth_bent_point *point, float x, float y)
{
    float angle = synth_atan2(y - point->y, x - point->x);
    float at = (angle + SYNTH_PI) * (SYNTH_BENDS / (2 * SYNTH_PI));
    uint32_t knot = (uint32_t)at;
    float t = at - (float)knot;
    return angle + point->bend[knot % SYNTH_BENDS] * (1 - t) +
           point->bend[(knot + 1) % SYNTH_BENDS] * t;
}

float synth_direction(const struct synth_field_model *field, float x, float y)
{
    float above = y - field->arch_centre;
    float reach = above > 0 ? sqrtf(above * above + 70 * 70) : 70;
    float flat = 0.12f + 0.88f * synth_step(-200, 0, y);
    float theta = -field->arch * flat * synth_atan2(x, reach);
    for (uint32_t i = 0; i < field->count; i++) {
        theta += 0.5f * field->points[i].sign * seen_angle(&field->points[i], x, y);
    }
    return theta;
}

/* Periods grow towards the joint, and a little towards the tip. */
static float period_at(const struct synth_field_model *field, float y, float noise)
{
    float longer = 0.22f * synth_step(-60, -230, y) + 0.06f * synth_step(60, 190, y);
    return synth_clamp(field->period * (1 + longer + 0.05f * noise), 7.0f, 12.5f);
}

enum afis_status synth_field(struct synth_rng *rng, const struct afis_memory *memory,
                             struct afis_synth_master *master)
{
    struct synth_field_model field;
    synth_draw_field(rng, master->class, &field);
    uint32_t w = master->width, h = master->height;
    size_t count = (size_t)w * h, size = 2 * count * sizeof(float);
    float *noise = memory->alloc(memory->ctx, size);
    if (noise == NULL) {
        return AFIS_NO_MEMORY;
    }
    enum afis_status status = synth_noise(rng, w, h, 55, memory, noise);
    if (status == AFIS_OK) {
        status = synth_noise(rng, w, h, 45, memory, noise + count);
    }
    float cx = SYNTH_CENTRE_X, cy = SYNTH_CENTRE_Y;
    for (size_t i = 0; i < count && status == AFIS_OK; i++) {
        float x = (float)(i % w) - cx, y = cy - (float)(uint32_t)(i / w);
        float theta = synth_direction(&field, x, y) + field.waviness * noise[i];
        float wrapped = theta * (256 / SYNTH_PI);
        master->orientation[i] = (uint8_t)(int32_t)floorf(wrapped + 0.5f);
        master->period[i] = (uint8_t)(period_at(&field, y, noise[count + i]) * 16 + 0.5f);
    }
    memory->release(memory->ctx, noise, size);
    master->point_count = field.count;
    for (uint32_t i = 0; i < field.count; i++) {
        master->points[i] = (struct afis_synth_point){
            field.points[i].x + cx, cy - field.points[i].y, field.points[i].sign < 0};
    }
    return status;
}
