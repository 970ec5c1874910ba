/* What the template and match files of the engine share with one another and with no one else. */
#ifndef AFIS_MATCH_INTERNAL_H
#define AFIS_MATCH_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "afis/match.h"
#include "afis/template.h"

#define AFIS_SUBPIXEL 16    /* units of a template's coordinates in a pixel */
#define FINGER_MINUTIAE 64u /* compared; one bit each in a 64-bit word */
#define COVER_SIDE 32u      /* cells of a finger's coverage map, each way */

/* Every field within the bounds that template.h states. */
bool afis_template_valid(const struct afis_template *tmpl);

/* A template reduced to what is compared: the most reliable minutiae, coordinates and angles at
 * the packed form's resolution, and a binary descriptor of each minutia's neighbourhood. Both the
 * packed form and a prepared template go through this, so that they score alike. */
struct afis_finger {
    uint64_t descriptor[FINGER_MINUTIAE];
    int16_t x[FINGER_MINUTIAE], y[FINGER_MINUTIAE]; /* 1/16 pixel, y down */
    uint16_t angle[FINGER_MINUTIAE];                /* binary angle, counter-clockwise */
    uint8_t type[FINGER_MINUTIAE], quality[FINGER_MINUTIAE];
    uint16_t width, height;
    uint8_t position, quality_all, reasons, count;

    /* Derived from the above by afis_finger_derive. */
    float px[FINGER_MINUTIAE], py[FINGER_MINUTIAE]; /* pixels, y up */
    float cover_x, cover_y, cover_scale; /* cell = (p - cover_x, cover_y) * cover_scale */
    float cover[COVER_SIDE][COVER_SIDE]; /* how many minutiae are near, smoothed */
};

/* --- descriptor.c --- */

enum {
    CYLINDER_SIDE = 10,
    CYLINDER_SECTIONS = 6,
    CYLINDER_CELLS = CYLINDER_SIDE * CYLINDER_SIDE * CYLINDER_SECTIONS
};

/* The real-valued neighbourhood of minutia `centre` in its own frame. */
void afis_cylinder(const struct afis_finger *finger, unsigned centre, float out[CYLINDER_CELLS]);

/* Fills in what is computed from the packed fields. */
void afis_finger_derive(struct afis_finger *finger);

/* Fills finger->descriptor from its minutiae. */
void afis_describe(struct afis_finger *finger);

/* --- kernel.c --- */

#define PAIRS_MAX 64u /* minutia pairs that propose alignments */
#define ANCHORS_MAX 4u

/* What is known of the best alignment of two fingers: the input of the score. */
enum feature {
    FEATURE_FAST,
    FEATURE_MATCHED,
    FEATURE_LLR,
    FEATURE_FRACTION,
    FEATURE_PROBE_OVERLAP,
    FEATURE_GALLERY_OVERLAP,
    FEATURE_EDGES,
    FEATURE_COUNT
};

struct afis_matcher {
    /* proposing pairs */
    unsigned pairs;
    uint8_t pi[PAIRS_MAX], pj[PAIRS_MAX], distance[PAIRS_MAX];
    float weight[PAIRS_MAX], support[PAIRS_MAX];
    float compatible[PAIRS_MAX][PAIRS_MAX];
    /* candidates of the first stage, before selection */
    uint8_t ci[FINGER_MINUTIAE * FINGER_MINUTIAE], cj[FINGER_MINUTIAE * FINGER_MINUTIAE],
        ch[FINGER_MINUTIAE * FINGER_MINUTIAE];
    /* the alignment under test: matched pairs */
    unsigned matched;
    uint8_t mi[FINGER_MINUTIAE], mj[FINGER_MINUTIAE];
    float gain[FINGER_MINUTIAE];
    float qx[FINGER_MINUTIAE], qy[FINGER_MINUTIAE];
    uint16_t qa[FINGER_MINUTIAE];
    struct {
        float gain;
        uint8_t i, j;
    } option[1024];
    float features[FEATURE_COUNT];
};

void afis_features(struct afis_matcher *m, const struct afis_finger *probe,
                   const struct afis_finger *gallery);

#endif
