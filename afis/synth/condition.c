/* How people put fingers on scanners. */
#include "synth_internal.h"

static const char *const kind_names[AFIS_SYNTH_KINDS] = {
    [AFIS_SYNTH_CLEAN] = "clean",     [AFIS_SYNTH_TYPICAL] = "typical",
    [AFIS_SYNTH_HARD] = "hard",       [AFIS_SYNTH_DRY] = "dry",
    [AFIS_SYNTH_WET] = "wet",         [AFIS_SYNTH_SMUDGED] = "smudged",
    [AFIS_SYNTH_PARTIAL] = "partial",
};

/* Deviations of what is drawn around nothing special. */
struct habits {
    float offset, rotation, pull, torsion, pressure, moisture, unevenness, noise;
};

static const struct habits habits[AFIS_SYNTH_KINDS] = {
    [AFIS_SYNTH_CLEAN] = {8, 3, 1.5f, 0.8f, 0.2f, 0.12f, 0.25f, 1.5f},
    [AFIS_SYNTH_TYPICAL] = {20, 8, 4, 2.2f, 0.45f, 0.35f, 0.5f, 2.5f},
    [AFIS_SYNTH_HARD] = {34, 14, 7, 4.5f, 0.6f, 0.6f, 0.8f, 5},
    [AFIS_SYNTH_DRY] = {16, 7, 3, 2, 0.3f, 0.1f, 0.6f, 2.5f},
    [AFIS_SYNTH_WET] = {16, 7, 3, 2, 0.3f, 0.1f, 0.6f, 2.5f},
    [AFIS_SYNTH_SMUDGED] = {16, 7, 3, 2, 0.3f, 0.2f, 0.6f, 2.5f},
    [AFIS_SYNTH_PARTIAL] = {16, 10, 3, 2, 0.3f, 0.2f, 0.5f, 2.5f},
};

const char *afis_synth_kind_name(enum afis_synth_kind kind)
{
    return (unsigned)kind < AFIS_SYNTH_KINDS ? kind_names[kind] : NULL;
}

void afis_synth_draw_condition(uint64_t seed, enum afis_synth_kind kind,
                               struct afis_synth_condition *out)
{
    const struct habits *h = &habits[(unsigned)kind < AFIS_SYNTH_KINDS ? kind : AFIS_SYNTH_TYPICAL];
    struct synth_rng rng;
    synth_rng_seed(&rng, synth_hash(seed) ^ 0xc0d1);
    *out = (struct afis_synth_condition){
        .dx = synth_normal(&rng, 0, h->offset),
        .dy = synth_normal(&rng, 0, h->offset),
        .rotation = synth_normal(&rng, 0, h->rotation),
        .pull_x = synth_normal(&rng, 0, h->pull),
        .pull_y = synth_normal(&rng, 0, h->pull),
        .torsion = synth_normal(&rng, 0, h->torsion),
        .pressure = synth_normal(&rng, 0.1f, h->pressure),
        .moisture = synth_normal(&rng, 0, h->moisture),
        .unevenness = synth_uniform(&rng, 0.3f, 1) * h->unevenness,
        .part_x = synth_normal(&rng, 0, 0.02f * h->rotation),
        .noise = synth_uniform(&rng, 0.4f, 1) * h->noise,
        .scratches = synth_below(&rng, 1 + (uint32_t)(6 * h->unevenness)),
        .width = AFIS_SYNTH_WIDTH,
        .height = AFIS_SYNTH_HEIGHT,
    };
    if (kind == AFIS_SYNTH_DRY)
        out->moisture = synth_uniform(&rng, -0.95f, -0.65f);
    else if (kind == AFIS_SYNTH_WET)
        out->moisture = synth_uniform(&rng, 0.6f, 0.95f);
    else if (kind == AFIS_SYNTH_SMUDGED)
        out->smudge = synth_uniform(&rng, 0.8f, 1);
    else if (kind == AFIS_SYNTH_PARTIAL) {
        out->part_x = synth_uniform(&rng, 0.3f, 1) * (synth_below(&rng, 2) == 0 ? -1.0f : 1.0f);
        out->part_y = synth_uniform(&rng, 0.2f, 0.9f);
    }
}
