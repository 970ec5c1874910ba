/* Made-up fingerprints, for demonstrations, tests and load: nobody's finger, but a practitioner
 * should hesitate.
 *
 * As a finger exists once and is captured many times, so here: afis_synth_finger grows a master
 * (the whole skin pattern), afis_synth_impression takes one picture of it. The method is that of
 * R. Cappelli, "SFinGe: an approach to synthetic fingerprint generation" (BT 2004) and chapter 6
 * of Maltoni et al., "Handbook of Fingerprint Recognition" (2nd ed., 2009):
 *  - the orientation field is the zero-pole model of Sherlock and Monro, "A model for interpreting
 *    fingerprint topology" (Pattern Recognition 26, 1993), its angles bent as in Vizcaya and
 *    Gerhardt, "A nonlinear orientation model for global description of fingerprints" (Pattern
 *    Recognition 29, 1996), over a field that follows the outline of a fingertip;
 *  - ridges grow from a few random spots by Gabor filters tuned to the local orientation and
 *    period, applied again and again: minutiae arise where growing fronts meet, as in skin;
 *  - an impression is distorted by the elastic model of Cappelli, Maio and Maltoni, "Modelling
 *    plastic distortion in fingerprint images" (ICAPR 2001).
 *
 * Everything follows from 64-bit seeds by integer arithmetic and by IEEE additions,
 * multiplications, divisions and square roots alone (no libm), so the same seed gives the same
 * bytes wherever the compiler does not fuse or reorder them (x86-64 as Meson builds it here;
 * elsewhere with -ffp-contract=off).
 *
 * Synthetic galleries flatter a search engine: measure accuracy on real prints. */
#ifndef AFIS_SYNTH_H
#define AFIS_SYNTH_H

#include <stdbool.h>
#include <stdint.h>

#include "afis/image.h"
#include "afis/memory.h"
#include "afis/status.h"

#define AFIS_SYNTH_DPI 500u
#define AFIS_SYNTH_SIDE_MIN 96u   /* pixels of an impression; smaller gives AFIS_TOO_SMALL */
#define AFIS_SYNTH_SIDE_MAX 1000u /* larger gives AFIS_TOO_LARGE: there is no more finger */
#define AFIS_SYNTH_POINTS_MAX 4u  /* singular points of a finger: two cores and two deltas */
#define AFIS_SYNTH_MASTER_W 384u  /* pixels of a master at 500 dpi: 19.5 mm ... */
#define AFIS_SYNTH_MASTER_H 560u  /* ... by 28.4 mm */
#define AFIS_SYNTH_WIDTH 300u     /* the default impression is that of a mobile scanner, FAP 20 */
#define AFIS_SYNTH_HEIGHT 400u    /* (15.2 x 20.3 mm; NIST SP 500-280) */

/* The five classes of the Galton-Henry scheme. "Left" and "right" as seen in the image: a left
 * loop's ridges come from the left and return there, its delta is on the right. */
enum afis_synth_class {
    AFIS_SYNTH_ARCH,
    AFIS_SYNTH_TENTED_ARCH,
    AFIS_SYNTH_LEFT_LOOP,
    AFIS_SYNTH_RIGHT_LOOP,
    AFIS_SYNTH_WHORL
};

/* A singular point of the orientation field. */
struct afis_synth_point {
    float x, y; /* master pixels, origin top left, y down */
    bool delta; /* Poincare index -1/2; otherwise a core, +1/2 */
};

/* A finger. Plain data and buffers of width * height elements each, row-major. */
struct afis_synth_master {
    enum afis_synth_class class;
    uint32_t width, height; /* AFIS_SYNTH_MASTER_W x _H */
    uint32_t point_count;
    struct afis_synth_point points[AFIS_SYNTH_POINTS_MAX];
    float half_width;     /* of the area that touches a plane, pixels */
    float tip, base;      /* how far that area reaches above and below the centre, pixels */
    float moisture;       /* of this skin as a rule, -1 dry .. 1 wet: adds to a condition's */
    uint8_t *orientation; /* ridge direction: 256 = 180 degrees, counter-clockwise from +x (y up) */
    uint8_t *period;      /* from ridge to ridge, 1/16 pixel */
    int8_t *ridge;        /* height of the skin: 127 top of a ridge, -127 floor of a valley */
    uint8_t *pores;       /* 0 none .. 255 centre of a sweat pore */
    uint8_t *creases;     /* 0 none .. 255 floor of a crease */
};

/* What kind of capture to draw a condition for. */
enum afis_synth_kind {
    AFIS_SYNTH_CLEAN,   /* a co-operative, well-placed finger: an enrolment */
    AFIS_SYNTH_TYPICAL, /* everyday mix, about as hard as FVC2002 DB1 */
    AFIS_SYNTH_HARD,    /* more of everything: rotation, displacement, distortion, dry and wet */
    AFIS_SYNTH_DRY,     /* ridges broken into dots */
    AFIS_SYNTH_WET,     /* valleys filled */
    AFIS_SYNTH_SMUDGED, /* the finger slid: little is left to recognise */
    AFIS_SYNTH_PARTIAL  /* only a part of the tip or a side touched */
};
#define AFIS_SYNTH_KINDS 7u

/* How one impression was taken. A caller may fill it by hand; out-of-range fields are clamped. */
struct afis_synth_condition {
    float dx, dy;       /* of the finger's centre against the window's, pixels, +-200 */
    float rotation;     /* degrees counter-clockwise, +-180 */
    float pull_x;       /* skin dragged sideways: traction in pixels, +-25 */
    float pull_y;       /* ... and along the finger */
    float torsion;      /* skin twisted, degrees, +-25 */
    float pressure;     /* -1 light (thin ridges, small area) .. 1 hard (thick ridges) */
    float moisture;     /* -1 dry (broken ridges) .. 1 wet (filled valleys) */
    float unevenness;   /* 0 even contact .. 1 blotched */
    float smudge;       /* 0 none .. 1 slid over its whole area */
    float part_x;       /* -1..1: how far the contact has moved to one side of the finger ... */
    float part_y;       /* ... or to its tip (1): 0 is a flat print */
    float noise;        /* sensor noise, grey levels (standard deviation), 0..30 */
    uint32_t scratches; /* thin light lines across the print, 0..20 */
    uint32_t dust;      /* specks on the plate, 0..50 */
    uint32_t width, height;
};

/* The seed of impression `impression` of finger `finger` in the collection `seed`; impression 0 is
 * the finger itself. A finger is the same however many others are made. */
uint64_t afis_synth_seed(uint64_t seed, uint32_t finger, uint32_t impression);

/* Draws a class in natural proportion (Wilson, Candela and Watson, 1993: 3.7 % arches, 2.9 % tented
 * arches, 65.5 % loops, 27.9 % whorls). position is ISO/IEC 19794-2's finger position: 1..5 (right
 * hand) mostly have right loops, 6..10 left loops; 0, unknown, has as many of each. */
enum afis_synth_class afis_synth_draw_class(uint64_t seed, unsigned position);

/* Draws how an impression of that kind is taken, in the default window size. */
void afis_synth_draw_condition(uint64_t seed, enum afis_synth_kind kind,
                               struct afis_synth_condition *out);

/* "clean", "typical", ...; NULL for a number that is no kind. Static storage. */
const char *afis_synth_kind_name(enum afis_synth_kind kind);

/* Grows a finger: some 0.1 s. Fails only with AFIS_NO_MEMORY. Release with
 * afis_synth_master_release; *out is unchanged on failure. */
enum afis_status afis_synth_finger(uint64_t seed, enum afis_synth_class class,
                                   const struct afis_memory *memory, struct afis_synth_master *out);

/* Gives the buffers back; master may be all zero, and is afterwards. */
void afis_synth_master_release(struct afis_synth_master *master, const struct afis_memory *memory);

/* Takes one impression into a new image of condition->width x height at 500 dpi: some 10 ms.
 * AFIS_TOO_SMALL and AFIS_TOO_LARGE say that the window is, AFIS_NO_MEMORY as ever. Release with
 * afis_image_release; *out is unchanged on failure. */
enum afis_status afis_synth_impression(const struct afis_synth_master *master, uint64_t seed,
                                       const struct afis_synth_condition *condition,
                                       const struct afis_memory *memory, struct afis_image *out);

#endif
