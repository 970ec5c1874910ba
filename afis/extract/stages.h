/* The extractor's rooms, in the order in which a print walks through them (afis/extract.c):
 *
 *   window      of a frame larger than any finger, the part that shows most
 *   resample    any resolution -> 8-bit grey on the working grid
 *   stripes     what a sensor adds to its columns or rows taken away
 *   normalise   local mean and contrast taken away
 *   segment     which 8 x 8-pixel cells hold ridges
 *   orientation ridge direction and period of every cell
 *   enhance     contextual filtering with both, in passes
 *   grid        after the first of them: whether another grid suits these ridges
 *   thin        ridges and valleys to lines of one pixel
 *   minutiae    ends of the lines, sifted and placed
 *   grade       how reliable each of them is
 *   quality     one figure for the print, and why it is low
 *
 * Everything works on one `struct work`, cut out of one allocation. Planes are int16 with UNIT as
 * one local standard deviation, ridges positive, and PAD pixels of zero around, so that no filter
 * asks where the border is. Fields hold one value a cell, row-major.
 *
 * Pixels are the working grid's unless it says 500 dpi, the unit of templates and frames. */
#ifndef AFIS_EXTRACT_STAGES_H
#define AFIS_EXTRACT_STAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "afis/extract.h"
#include "kernels.h"

#define CELL 8         /* pixels a side */
#define PAD 16         /* pixels of zero around a plane */
#define UNIT 1024      /* one standard deviation in a plane */
#define PLANE_MAX 4095 /* no value of a plane is larger: sums of 64 products fit 32 bits */
#define WORDS 8        /* a row of bits is a multiple of so many 64-bit words */
/* A large local that is written before it is read: not zeroed first, as locals else are. */
#define UNSET __attribute__((uninitialized))
#define DPI 500 /* of templates and frames */

/* Pixels per inch of the working grid: the one that most prints are worked on, and how far grid.c
 * goes from it. */
#define GRID 550
#define GRID_MIN 500
#define GRID_MAX 1000

#define NO_BIN 0xffffu

#define SIDE_MAX 2047 /* pixels at 500 dpi: what a minutia's coordinates can say */
#define CELLS_MAX (SIDE_MAX * GRID_MAX / DPI / CELL + 1) /* along one side */

/* Cuts one block into aligned pieces. Without a block (base NULL) it only adds up what is needed.
 */
struct arena {
    uint8_t *base;
    size_t used;
};

static inline void *arena_take(struct arena *arena, size_t bytes)
{
    void *p = arena->base == NULL ? NULL : arena->base + arena->used;
    arena->used += (bytes + 63) & ~(size_t)63;
    return p;
}

/* Pixels of some rows of a plane as the filters read them: each with the one below it, and with the
 * one above it, in the word's upper half. */
#define PAIRED (8 * CELL) /* rows that are filtered from one lot */
struct pairs {
    int32_t *below, *above;
    ptrdiff_t pitch; /* of their rows, in elements */
    int width;       /* of all that is paired, in elements */
};

/* Which of the two filters showed a minutia. */
enum afis_seen { AFIS_SEEN_FIRST, AFIS_SEEN_SECOND, AFIS_SEEN_BOTH };

struct candidate {
    float x, y;    /* pixels */
    float dx, dy;  /* unit vector back along the line, y down */
    float quality; /* 0..1: how likely another impression shows it too */
    int trace;     /* pixels of line behind it, up to what minutiae.c follows */
    uint8_t type;  /* enum afis_minutia_type */
    uint8_t seen;  /* enum afis_seen */
    bool dropped;  /* found false */
};

#define STRIPE_BANDS 8
#define SCRATCH_MORE 16 /* cells behind a field that smooth.c may read, though not use */
#define CANDIDATES_MAX 1024

/* What the whole print is like; see quality.c. Means are over the cells of the foreground. */
struct print {
    bool finger;         /* the cells look like skin */
    float area;          /* of the foreground, mm2 */
    float steady;        /* of the part whose ridges have one clear direction, mm2 */
    float coherence;     /* mean, 0..1 */
    float flow;          /* mean coherence before any filtering, 0..1 */
    float incoherence;   /* mean log(1.02 - coherence): the closer to 1, the more it says */
    float agreement;     /* mean, 0..1 */
    float power;         /* mean squared deviation, grey levels */
    float one_direction; /* length of the mean of exp(2 i phi): 1 where all ridges are parallel */
    float turn;          /* mean |sin| of the angle between directions a cell of 500 dpi apart */
    float period;        /* geometric mean, pixels at 500 dpi */
    float period_spread; /* standard deviation of its logarithm */
    float period_change; /* mean difference of its logarithm, likewise */
    float reliance;      /* mean quality of the minutiae, each weighted by itself */
    float sharpness;     /* log of the grey values' mean squared slope against their power */
    float light_ridges;  /* share of the ridges' pixels that are lighter than their surroundings */
    float dark_valleys;  /* share of the valleys' pixels that are darker */
};

/* The whole picture, of which the work may be a part: the part's corner, and the picture's size. */
struct frame {
    int left, top, width, height; /* pixels at 500 dpi */
};

struct work {
    struct frame frame;
    int grid;          /* pixels per inch */
    float finer;       /* than 500 dpi, by this factor */
    int width, height; /* pixels */
    int cols, rows;    /* cells, the last ones perhaps partly outside */
    int cells;
    ptrdiff_t stride; /* of planes, in elements */
    const struct pixel_ops *ops;

    const uint8_t *grey; /* width * height: the caller's, or own_grey */
    uint8_t *own_grey;
    int32_t *stripes;  /* of stripes.c: STRIPE_BANDS + 1 values for each line */
    int longer;        /* of width and height */
    int16_t *normal;   /* pixel (0, 0) of the normalised plane */
    int16_t *enhanced; /* pixel (0, 0) of the enhanced plane */
    int16_t *spare;    /* a third plane, for the stages' own use; at last the second opinion */

    float *mean, *deviation;         /* of the grey values */
    float *gxx, *gyy, *gxy, *energy; /* structure tensor and signal energy, smoothed */
    float *gradient;                 /* gxx + gyy, smoothed further */
    float *phi;                      /* direction across the ridges, radians, y down */
    float *period;                   /* pixels; both of the foreground alone */
    float *coherence;                /* 0..1 */
    float *flow;                     /* the same before any filtering */
    float *agreement;                /* correlation of enhanced and normalised, -1..1 */
    float *strength;                 /* of the ridges, grey levels */
    float typical;                   /* strength of this print's ridges, grey levels */
    float least; /* deviation that normalisation takes as its floor, grey levels */
    float *weight, *scratch, *scratch2;
    uint8_t *coarse, *mask, *cellscratch;
    uint16_t *bin, *old_bin;
    int32_t *cell_queue;
    struct pairs pairs;

    int words; /* 64-bit words a row of bits, a multiple of WORDS */
    uint64_t *ridge_bits, *valley_bits, *end_bits;
    uint64_t *bit_scratch; /* of thin.c: three rows with WORDS of room on both sides */
    int32_t *last_gone;    /* of thin.c: a value for each row, and one before and behind them */
    uint8_t *visited;

    struct candidate *candidates;
    int candidate_count;
    struct print print;
    struct candidate *second; /* what the long kernels made visible */
    int second_count;
};

/* Where a cell's first pixel lies in a plane, in elements. */
static inline ptrdiff_t cell_offset(const struct work *work, int row, int col)
{
    return (row * work->stride + col) * CELL;
}

/* Of the foreground's pixels: all, on ridges, of these lighter than their surroundings, of the
 * others darker; and the sum of the grey values' squared slopes. */
struct pixel_counts {
    int pixels, ridge, light, dark;
    float slope;
};

/* The loops over pixels and cells, compiled from the same source for any processor, for AVX2 and
 * for AVX-512; all give the same bits (integers, or float without contraction). */
struct pixel_ops {
    /* Sum and sum of squares of each cell. */
    void (*cell_sums)(const struct work *work, float *sum, float *squares);
    /* normal = clip((mean - grey) / deviation), both interpolated between cell centres. */
    void (*flatten)(struct work *work, const float *mean, const float *inverse);
    /* Blurs normal with [1 2 1] both ways. */
    void (*blur)(struct work *work);
    /* Unsmoothed structure tensor and energy of each cell of a plane; 0 outside the mask. */
    void (*tensor)(struct work *work, const int16_t *plane);
    /* So many rows of a plane, and its whole width, from a pixel on. */
    void (*pair)(const struct pairs *pairs, const int16_t *from, ptrdiff_t stride, int rows);
    /* One cell through one kernel; `at` is where its first pixel's pairs lie. */
    void (*filter_cell)(const struct pairs *pairs, ptrdiff_t at, const int32_t *taps, int radius,
                        int16_t *to, ptrdiff_t stride);
    /* Per cell: mean product of the enhanced and the normalised plane, mean squares of both. */
    void (*compare)(const struct work *work, float *product, float *enhanced, float *normal);
    /* Bits of plane > 0 and < 0, inside the mask only. */
    void (*binarise)(struct work *work, const int16_t *plane);
    /* A field with a separable Gaussian of so many cells; what lies outside is left out. */
    void (*smooth)(const struct work *work, float *field, float sigma);
    /* Of every other row. */
    void (*count_pixels)(const struct work *work, struct pixel_counts *counts);
    /* Lines of one pixel, in place. */
    void (*thin)(const struct work *work, uint64_t *bits);
    /* The pixels of thinned lines that may end one. */
    void (*line_ends)(const struct work *work, const uint64_t *bits, uint64_t *ends);
};

extern const struct pixel_ops afis_pixel_ops_portable;
extern const struct pixel_ops afis_pixel_ops_avx2; /* these where AFIS_HAVE_PIXEL_OPS is defined */
extern const struct pixel_ops afis_pixel_ops_avx512; /* foundation, BW, DQ, VL, VNNI */
/* The fastest that this processor runs. */
const struct pixel_ops *afis_pixel_ops_best(void);

/* extract.c: afis_extract with a given table of loops, so that a test can compare them. */
enum afis_status afis_extract_with(const struct pixel_ops *ops, const struct afis_image *image,
                                   const struct afis_memory *memory, struct afis_template *out,
                                   struct afis_overlay *overlay);

/* window.c: whether an image is larger than any finger on a grid; and which part of it to work on,
 * in its own pixels, the ends not included. Fails for want of memory only. */
struct window {
    uint32_t left, top, right, bottom;
};
bool afis_window_needed(const struct afis_image *image, int grid);
enum afis_status afis_window_choose(const struct afis_image *image, int grid,
                                    const struct afis_memory *memory, struct window *window);

/* resample.c: sizes, and the work itself, from an image's resolution to a grid's. */
int afis_resampled(uint32_t pixels, uint32_t dpi, int grid);
size_t afis_resample_scratch(const struct afis_image *image, int grid);
void afis_resample(const struct afis_image *image, int grid, uint8_t *to, void *scratch);

/* grid.c: the grid on which these ridges are worked on best; the work's own if it will do, or if
 * there are none. */
int afis_grid_suited(const struct work *work);

/* fields.c */
float afis_field_percentile(struct work *work, const float *field, const uint8_t *mask,
                            float fraction);
float afis_field_at(const struct work *work, const float *field, float x, float y);

/* stripes.c: grey -> grey. */
void afis_remove_stripes(struct work *work);

/* normalise.c: grey -> normal, mean, deviation, least. */
void afis_normalise(struct work *work);

/* segment.c: coarse from contrast; then mask, agreement, strength and typical from what the filters
 * made of the coarse foreground. */
void afis_segment_coarse(struct work *work);
void afis_segment_fine(struct work *work);

/* orientation.c: coherence and the tensor of a plane, smoothed by sigma cells, gradient and energy
 * further; and from these phi and period of the foreground's cells. */
void afis_orient(struct work *work, const int16_t *plane, float sigma);
void afis_find_waves(struct work *work);

/* enhance.c: normal -> enhanced: the first pass, from which fields and mask are roughly known; and
 * the others, after which they are in their final state. Then once more with longer kernels ->
 * spare. */
void afis_enhance_first(struct work *work);
void afis_enhance(struct work *work);
void afis_enhance_again(struct work *work);

/* minutiae.c: enhanced and spare -> candidates, ridge_bits. */
void afis_find_minutiae(struct work *work);

/* grade.c: how reliable each candidate is; the template but for the print's own quality. */
void afis_grade(struct work *work, struct afis_template *out);

/* quality.c: what the fields say of the print as a whole, after any pass; whether after the first
 * one it may be a finger at all. */
void afis_measure_cells(const struct work *work, struct print *f);
bool afis_promising(const struct print *first);

/* Whether the cells look like a finger's; then the print's quality and reasons. What is no finger
 * loses its minutiae. */
void afis_survey(struct work *work);
void afis_judge(struct work *work, struct afis_template *out);

#endif
