/* Spoilt copies of prints, for experiments: what other sensors, skins and hands do to a print,
 * imitated. The same print, kind and seed give the same copy. */
#ifndef BENCH_SPOIL_H
#define BENCH_SPOIL_H

#include <stdint.h>

#include "afis/image.h"

enum spoil_kind {
    SPOIL_NOTHING,  /* the print as it is */
    SPOIL_DRY,      /* ridges broken by light spots, nearly half of them gone */
    SPOIL_DRIER,    /* nearly two thirds of them */
    SPOIL_WET,      /* valleys filled and running */
    SPOIL_WETTER,   /* half as far again */
    SPOIL_BLUR,     /* 1.6 pixels */
    SPOIL_SLIDE,    /* the finger moved by some 4 pixels */
    SPOIL_NOISE,    /* with 1.2 times the deviation of the ridges */
    SPOIL_FAINT,    /* an eighth of the contrast, little noise */
    SPOIL_COLUMNS,  /* a quarter of the contrast, every column with an offset of its own */
    SPOIL_COLUMNS2, /* an eighth of the contrast with the same offsets */
    SPOIL_SHADE,    /* uneven light and contrast over the plate */
    SPOIL_RESIDUE,  /* another finger's latent print left on the plate */
    SPOIL_PARTIAL,  /* a window of 200 x 240 pixels */
    SPOIL_SWEEP,    /* stitched from strips that slide */
    SPOIL_ELASTIC,  /* skin stretched by up to some 12 pixels */
    SPOIL_ROTATED,  /* by up to 30 degrees */
    SPOIL_WIDE,     /* ridges 1.3 times as wide */
    SPOIL_NARROW,   /* 0.72 times */
    SPOIL_COARSE,   /* scanned at 250 dpi, and told so */
    SPOIL_FINE,     /* at 1000 dpi */
    SPOIL_INVERTED, /* every other print: ridges light */
    SPOIL_KINDS
};

const char *spoil_name(enum spoil_kind kind);

/* Replaces the image by its spoilt copy; pixels come from afis_memory_heap. Ends the program when
 * memory runs out. */
void spoil(struct afis_image *image, enum spoil_kind kind, uint64_t seed);

#endif
