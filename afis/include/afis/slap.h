/* Slaps: several fingers of one hand, or both thumbs, in one image. */
#ifndef AFIS_SLAP_H
#define AFIS_SLAP_H

#include <stdbool.h>
#include <stdint.h>

#include "afis/image.h"
#include "afis/memory.h"
#include "afis/status.h"

#define AFIS_SLAP_MAX 4u /* fingers in a slap */

/* Finger positions of ANSI/NIST-ITL 1-2011, table 8. */
enum afis_slap_position {
    AFIS_SLAP_RIGHT_FOUR = 13,
    AFIS_SLAP_LEFT_FOUR = 14,
    AFIS_SLAP_THUMBS = 15
};

/* Where one fingertip lies, pixels of the slap; right and bottom are the first outside. */
struct afis_slap_finger {
    uint8_t position; /* 1..10, 0 = it could not be told which finger this is */
    uint32_t left, top, right, bottom;
};

/* A slap taken apart. */
struct afis_slap;

/* Finds the fingertips of a slap from left to right. position: 13, 14 or 15, anything else is
 * AFIS_UNSUPPORTED; missing: bit n is set when finger n is known not to be there. Fingers are
 * numbered when as many are found as should be there (of the thumbs also one alone, by its half);
 * otherwise they are of unknown position: a guess could search for the wrong finger.
 * AFIS_NOT_A_FINGER when none is found. Release with afis_slap_release. */
enum afis_status afis_slap_segment(const struct afis_image *image, unsigned position,
                                   uint16_t missing, const struct afis_memory *memory,
                                   struct afis_slap **out);

/* How many were found, 1..AFIS_SLAP_MAX, and where. */
unsigned afis_slap_count(const struct afis_slap *slap);
const struct afis_slap_finger *afis_slap_finger(const struct afis_slap *slap, unsigned index);

/* Cuts finger number `index` out of the image that was segmented; what belongs to other fingers is
 * made white. Release with afis_image_release. */
enum afis_status afis_slap_cut(const struct afis_slap *slap, unsigned index,
                               const struct afis_image *image, const struct afis_memory *memory,
                               struct afis_image *out);

/* Copies a picture of one finger with everything white that is not the finger: print, frames,
 * writing and neighbours, as on a card. A picture in which no fingertip is found is copied as it
 * is. Release with afis_image_release. */
enum afis_status afis_slap_isolate(const struct afis_image *image, const struct afis_memory *memory,
                                   struct afis_image *out);

void afis_slap_release(struct afis_slap *slap, const struct afis_memory *memory);

#endif
