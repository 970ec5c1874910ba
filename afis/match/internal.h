/* What the template and match files of the engine share with one another and with no one else. */
#ifndef AFIS_MATCH_INTERNAL_H
#define AFIS_MATCH_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "afis/match.h"
#include "afis/sieve.h"
#include "afis/template.h"

#define AFIS_SUBPIXEL 16    /* units of a template's coordinates in a pixel */
#define FINGER_MINUTIAE 64u /* compared; one bit each in a 64-bit word */
#define COVER_SIDE 32u      /* cells of a finger's coverage map, each way */
#define PAIRS_MAX 48u       /* minutia pairs that propose alignments */
#define ANCHORS_MAX 6u      /* alignments tried in a comparison */
#define OPTIONS_MAX 512u    /* pairs within tolerance of one alignment */
#define LIST_SLACK 4u       /* words that may be written beyond the end of a list of pairs */

/* Every field within the bounds that template.h states. */
bool afis_template_valid(const struct afis_template *tmpl);

/* Where a finger's minutiae lie: whether a place belongs to the print. */
struct cover {
    float x, y, scale;                   /* cell = (p - (x, y)) * scale */
    float cells[COVER_SIDE][COVER_SIDE]; /* how many minutiae are near, smoothed */
};

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
    bool bare;    /* of half its minutiae or more no quality is known */
    bool covered; /* there is a map */

    /* Derived from the above by match_ops.place. What fills the last vector lies far away. */
    _Alignas(64) float px[FINGER_MINUTIAE], py[FINGER_MINUTIAE]; /* pixels, y up */
    float cosine[FINGER_MINUTIAE], sine[FINGER_MINUTIAE];        /* of the angle */
    float trust[FINGER_MINUTIAE];                                /* quality as 0..1 */
    struct cover cover; /* only of fingers that are compared often: most comparisons end before */
};

/* --- finger.c --- */

/* A packed template's fields, without what match_ops.place adds. */
enum afis_status afis_finger_read_packed(const uint8_t *bytes, size_t len, struct afis_finger *out);

/* --- descriptor.c --- */

enum {
    CYLINDER_SIDE = 10,
    CYLINDER_SECTIONS = 6,
    CYLINDER_CELLS = CYLINDER_SIDE * CYLINDER_SIDE * CYLINDER_SECTIONS
};

/* The real-valued neighbourhood of minutia `centre` in its own frame. */
void afis_cylinder(const struct afis_finger *finger, unsigned centre, float out[CYLINDER_CELLS]);

/* Fills finger->descriptor from its minutiae. */
void afis_describe(struct afis_finger *finger);

/* describe.c, compiled once per instruction set: what the two above do. */
struct describe_ops {
    void (*cylinder)(const struct afis_finger *finger, unsigned centre, float out[CYLINDER_CELLS]);
    void (*describe)(struct afis_finger *finger);
};

extern const struct describe_ops afis_describe_ops_portable;
#ifdef AFIS_HAVE_MATCH_KERNELS
extern const struct describe_ops afis_describe_ops_avx2;
extern const struct describe_ops afis_describe_ops_avx512;
#endif

/* --- kernel.c, compiled once per instruction set --- */

/* What is known of the best alignment of two fingers. All but the last three are sums over matched
 * minutiae or over minutiae of the overlap that stay alone, so that a linear model of them is a
 * log-likelihood ratio of independent observations. */
enum feature {
    FEATURE_MATCHED,     /* count */
    FEATURE_FAR,         /* distance beyond 4 pixels */
    FEATURE_TURN,        /* difference of direction, degrees, up to 8 */
    FEATURE_TURN_FAR,    /* ... beyond 8 */
    FEATURE_ALIKE,       /* bits by which descriptors differ, below 14 */
    FEATURE_UNLIKE,      /* ... above 20 */
    FEATURE_TRUST,       /* mean trust of the two */
    FEATURE_TRUST_LEAST, /* lower trust of the two */
    FEATURE_SAME_TYPE,
    FEATURE_NEIGHBOURS, /* share of the matched neighbours whose edge agrees */
    FEATURE_ALONE,      /* alone: inside the overlap; times trust; times trust above a half */
    FEATURE_ALONE_TRUST,
    FEATURE_ALONE_SURE,
    FEATURE_DEEP, /* the same, deep inside */
    FEATURE_DEEP_TRUST,
    FEATURE_DEEP_SURE,
    FEATURE_SUPPORT,  /* log of how well the proposing pairs support one another */
    FEATURE_EDGES,    /* log of the number of agreeing edges */
    FEATURE_FRACTION, /* matched share of the overlap by trust */
    FEATURE_COUNT
};

/* The pairs that propose alignments, one array per field for the vector unit. */
struct pairs {
    unsigned count, padded; /* padded to whole vectors */
    _Alignas(64) int32_t i[PAIRS_MAX], j[PAIRS_MAX];
    float px[PAIRS_MAX], py[PAIRS_MAX], gx[PAIRS_MAX], gy[PAIRS_MAX];
    float c[PAIRS_MAX], s[PAIRS_MAX]; /* rotation from probe to gallery */
    float weight[PAIRS_MAX], support[PAIRS_MAX];
    float compatible[PAIRS_MAX][PAIRS_MAX]; /* 0..1 */
};

/* One way to lay the probe on the gallery finger, and what coincides then. */
struct alignment {
    float xx, xy, yx, yy, tx, ty; /* probe to gallery: a rotation with a little strain */
    float c, s;                   /* the rotation alone */
    float ax, ay;                 /* the probe's point where it is surest */
    unsigned matched;
    uint8_t i[FINGER_MINUTIAE], j[FINGER_MINUTIAE];
    float gain, worth;
    bool refined; /* and then also: */
    float fraction;
    float coverage_p[FINGER_MINUTIAE], coverage_g[FINGER_MINUTIAE]; /* of the other print */
    _Alignas(64) float qx[FINGER_MINUTIAE],
        qy[FINGER_MINUTIAE]; /* the probe's minutiae, laid over */
    float qc[FINGER_MINUTIAE], qs[FINGER_MINUTIAE];
};

struct afis_matcher {
    struct pairs pairs;
    uint32_t candidate[FINGER_MINUTIAE * FINGER_MINUTIAE + LIST_SLACK]; /* distance, indices */
    uint32_t option[OPTIONS_MAX + LIST_SLACK];
    struct alignment trial[ANCHORS_MAX], *best; /* best is one of trial */
    const struct cover *cover_p, *cover_g;      /* the fingers', or these: */
    struct cover made_p, made_g;
    float features[FEATURE_COUNT];
};

#define SUPPORT_LEAST (-4.2f) /* FEATURE_SUPPORT below which an alignment is never tried */

struct match_ops {
    /* Reads descriptors and minutiae of a packed template with a sound header, whose size and count
     * the finger has already, and of which all else that is stored is 0. false: a field is out of
     * range, or the checksum differs. */
    bool (*unpack)(struct afis_finger *finger, const uint8_t *bytes, size_t len);
    /* Fills in coordinates, directions and trust from a finger's packed fields. */
    void (*place)(struct afis_finger *finger);
    /* ... and the map of a finger that is compared often. */
    void (*cover)(struct afis_finger *finger);
    /* Of one print: see afis_glance. */
    float (*glance)(struct afis_matcher *matcher, const struct afis_sieve *sieve,
                    const uint64_t words[AFIS_SIEVE_WORDS],
                    const uint8_t places[AFIS_SIEVE_PLACES]);
    /* Compares; false when the pairs or the first alignments promised so little that none was
     * measured: features then hold FEATURE_SUPPORT alone. */
    bool (*compare)(struct afis_matcher *matcher, const struct afis_finger *probe,
                    const struct afis_finger *gallery);
};

extern const struct match_ops afis_match_ops_portable;
#ifdef AFIS_HAVE_MATCH_KERNELS
extern const struct match_ops afis_match_ops_avx2;
extern const struct match_ops afis_match_ops_avx512;
#endif

/* --- dispatch.c --- */

/* The fastest that this processor runs. */
const struct match_ops *afis_match_ops_best(void);

/* --- score.c --- */

/* How many of the two fingers lack the quality of their minutiae. */
unsigned afis_bare_sides(const struct afis_finger *probe, const struct afis_finger *gallery);

/* The score in dB of what ops->compare found. Without qualities the same evidence is reached by
 * chance more often: each number of bare sides has a calibration of its own. */
float afis_score(const float features[FEATURE_COUNT], bool aligned, unsigned bare);

#endif
