/* How people put fingers on scanners. */
#include "synth_internal.h"

static const char *const kind_names[AFIS_SYNTH_KINDS] = {
    [AFIS_SYNTH_CLEAN] = "clean",     [AFIS_SYNTH_TYPICAL] = "typical",
    [AFIS_SYNTH_HARD] = "hard",       [AFIS_SYNTH_DRY] = "dry",
    [AFIS_SYNTH_WET] = "wet",         [AFIS_SYNTH_SMUDGED] = "smudged",
    [AFIS_SYNTH_PARTIAL] = "partial",
};

/* Deviations of what is drawn around nothing special, and how often somebody is careless: the
 * deviations are multiplied by 0.7 for most and, for one in `careless`, by 1 to 2. */
struct habits {
    float offset, rotation, pull, torsion, pressure, moisture, unevenness, noise;
    uint32_t careless;
};

static const struct habits habits[AFIS_SYNTH_KINDS] = {
    [AFIS_SYNTH_CLEAN] = {10, 4, 2, 1, 0.25f, 0.12f, 0.3f, 1.5f, 1000},
    [AFIS_SYNTH_TYPICAL] = {30, 11, 6, 4, 0.5f, 0.35f, 0.7f, 3, 4},
    [AFIS_SYNTH_HARD] = {42, 18, 9, 6, 0.7f, 0.65f, 1, 5, 2},
    [AFIS_SYNTH_DRY] = {16, 7, 3, 2, 0.3f, 0.1f, 0.6f, 2.5f, 4},
    [AFIS_SYNTH_WET] = {16, 7, 3, 2, 0.3f, 0.1f, 0.6f, 2.5f, 4},
    [AFIS_SYNTH_SMUDGED] = {16, 7, 3, 2, 0.3f, 0.2f, 0.6f, 2.5f, 4},
    [AFIS_SYNTH_PARTIAL] = {16, 10, 3, 2, 0.3f, 0.2f, 0.5f, 2.5f, 4},
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
    float care = synth_below(&rng, h->careless) == 0 ? synth_uniform(&rng, 1, 2) : 0.7f;
    *out = (struct afis_synth_condition){.width = AFIS_SYNTH_WIDTH, .height = AFIS_SYNTH_HEIGHT};
    out->dx = synth_normal(&rng, 0, 0.7f * care * h->offset);
    out->dy = synth_normal(&rng, 0, care * h->offset);
    out->rotation = synth_normal(&rng, 0, care * h->rotation);
    out->pull_x = synth_normal(&rng, 0, care * h->pull);
    out->pull_y = synth_normal(&rng, 0, care * h->pull);
    out->torsion = synth_normal(&rng, 0, care * h->torsion);
    out->pressure = synth_normal(&rng, 0.1f, h->pressure);
    out->moisture = synth_normal(&rng, 0, care * h->moisture);
    out->unevenness = synth_uniform(&rng, 0.3f, 1) * h->unevenness;
    out->part_x = synth_normal(&rng, 0, 0.02f * care * h->rotation);
    out->noise = synth_uniform(&rng, 0.4f, 1) * h->noise;
    out->scratches = synth_below(&rng, 1 + (uint32_t)(6 * h->unevenness));
    out->dust = synth_below(&rng, 16);
    if (kind == AFIS_SYNTH_DRY) {
        out->moisture = synth_uniform(&rng, -0.95f, -0.65f);
    } else if (kind == AFIS_SYNTH_WET) {
        out->moisture = synth_uniform(&rng, 0.6f, 0.95f);
    } else if (kind == AFIS_SYNTH_SMUDGED) {
        out->smudge = synth_uniform(&rng, 0.8f, 1);
    } else if (kind == AFIS_SYNTH_PARTIAL) {
        out->part_x = synth_uniform(&rng, 0.3f, 1);
        if (synth_below(&rng, 2) == 0) {
            out->part_x = -out->part_x;
        }
        out->part_y = synth_uniform(&rng, 0.2f, 0.9f);
    }
}
