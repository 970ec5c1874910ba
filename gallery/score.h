/* One person's score against a probe. See gallery/search.h for the rules. */
#ifndef GALLERY_SCORE_H
#define GALLERY_SCORE_H

#include "gallery/search.h"

/* The probe, impressions of one known position gathered into one finger. */
struct score_probe {
    size_t impressions; /* in order of finger */
    const struct afis_finger *finger[GALLERY_PROBES_MAX];
    uint8_t of[GALLERY_PROBES_MAX]; /* which finger an impression is of */
    size_t fingers;
    uint8_t position[GALLERY_PROBES_MAX]; /* of each finger, 0 = unknown */
};

void score_probe_init(struct score_probe *out, const struct gallery_probe *probes, size_t count);

/* Gathers one person's comparisons. A slot is an enrolled finger: a known position, or one print
 * of unknown position. */
struct score_person {
    size_t slots;
    uint8_t slot_position[GALLERY_PRINTS_MAX];
    float best[GALLERY_PROBES_MAX][GALLERY_PRINTS_MAX]; /* finger, slot; < 0 = not compared */
    unsigned comparisons[GALLERY_PROBES_MAX];           /* made for a finger */
};

void score_begin(struct score_person *person);
/* The slot of the next print. */
size_t score_slot(struct score_person *person, uint8_t position);
/* Whether a probe finger is to be compared with a print. */
bool score_comparable(const struct score_probe *probe, size_t finger, uint8_t position);
void score_add(struct score_person *person, size_t finger, size_t slot, float score);

/* The fused score; negative when nothing was comparable. */
float score_end(const struct score_probe *probe, struct score_person *person);

#endif
