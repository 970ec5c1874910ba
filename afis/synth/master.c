#include "synth_internal.h"

/* Proportions per thousand; loops are split by hand below. */
#define ARCHES 37u
#define TENTED_ARCHES 29u
#define WHORLS 279u

enum afis_synth_class afis_synth_draw_class(uint64_t seed, unsigned position)
{
    struct synth_rng rng;
    synth_rng_seed(&rng, synth_hash(seed) ^ 0xc1a55);
    uint32_t draw = synth_below(&rng, 1000), side = synth_below(&rng, 100);
    if (draw < ARCHES) {
        return AFIS_SYNTH_ARCH;
    }
    if (draw < ARCHES + TENTED_ARCHES) {
        return AFIS_SYNTH_TENTED_ARCH;
    }
    if (draw < ARCHES + TENTED_ARCHES + WHORLS) {
        return AFIS_SYNTH_WHORL;
    }
    /* Loops open towards the little finger nine times in ten, but on index fingers (2 and 7) only
     * in some six of ten. In an image of the right hand that is to the right. */
    uint32_t ulnar = position == 0 ? 50 : position == 2 || position == 7 ? 62 : 96;
    bool towards_little = side < ulnar;
    return towards_little == (position <= 5) ? AFIS_SYNTH_RIGHT_LOOP : AFIS_SYNTH_LEFT_LOOP;
}

void afis_synth_master_release(struct afis_synth_master *master, const struct afis_memory *memory)
{
    size_t count = (size_t)master->width * master->height;
    memory->release(memory->ctx, master->orientation, count);
    memory->release(memory->ctx, master->period, count);
    memory->release(memory->ctx, master->ridge, count);
    memory->release(memory->ctx, master->pores, count);
    memory->release(memory->ctx, master->creases, count);
    *master = (struct afis_synth_master){0};
}

static enum afis_status allocate(struct afis_synth_master *master, const struct afis_memory *memory)
{
    master->width = AFIS_SYNTH_MASTER_W;
    master->height = AFIS_SYNTH_MASTER_H;
    size_t count = (size_t)master->width * master->height;
    master->orientation = memory->alloc(memory->ctx, count);
    master->period = memory->alloc(memory->ctx, count);
    master->ridge = memory->alloc(memory->ctx, count);
    master->pores = memory->alloc(memory->ctx, count);
    master->creases = memory->alloc(memory->ctx, count);
    return master->orientation != NULL && master->period != NULL && master->ridge != NULL &&
                   master->pores != NULL && master->creases != NULL
               ? AFIS_OK
               : AFIS_NO_MEMORY;
}

enum afis_status afis_synth_finger(uint64_t seed, enum afis_synth_class class,
                                   const struct afis_memory *memory, struct afis_synth_master *out)
{
    struct synth_rng rng;
    struct afis_synth_master master = {.class = class};
    synth_rng_seed(&rng, seed);
    master.half_width = synth_clamp(synth_normal(&rng, 122, 9), 98, 145);
    master.tip = synth_clamp(synth_normal(&rng, 182, 10), 155, 205);
    master.base = synth_uniform(&rng, 235, 275);
    master.moisture = synth_clamp(synth_normal(&rng, 0, 0.2f), -0.5f, 0.5f);
    enum afis_status status = allocate(&master, memory);
    if (status == AFIS_OK) {
        status = synth_field(&rng, memory, &master);
    }
    if (status == AFIS_OK) {
        status = synth_grow(&rng, memory, &master);
    }
    if (status == AFIS_OK) {
        synth_skin(&rng, &master);
        *out = master;
    } else {
        afis_synth_master_release(&master, memory);
    }
    return status;
}
