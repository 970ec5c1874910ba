/* What the files of the sift share. */
#ifndef AFIS_MATCH_SIFT_H
#define AFIS_MATCH_SIFT_H

#include <stdbool.h>

#include "afis/sift.h"
#include "sieve.h"

#define SIFT_PIECES 2u
#define SIFT_BITS 12u
#define SIFT_CELLS (1u << SIFT_BITS)
/* Values of a piece that differ from one by at most SIFT_REACH bits. */
#define SIFT_NEIGHBOURS (1u + SIFT_BITS + SIFT_BITS * (SIFT_BITS - 1) / 2)
#define SIFT_LANES 24u /* the best of the minutiae that the sieve looks for */
#define SIFT_REACH 2u  /* differing bits of a piece, */
#define SIFT_HIGH 9u   /* of a word's upper 32, */
#define SIFT_NEAR 18u  /* and of all 64 */
#define SIFT_NONE (AFIS_SIFT_PROBES * SIEVE_LANES) /* the id of an empty place */
/* The upper half of no minutia: as far from real ones as could be found, where few words come by
 * chance. */
#define SIFT_FILL 0x8d0e0245u
#define SIFT_MISSED 13 /* what a minutia that meets nothing near loses to the sieve */
#define SIFT_BLOCK 32u /* prints scanned together */
#define SIFT_HITS_MAX 4096u

/* Minutiae that a value of a piece names, in slots of `width`, the first at the value's own number.
 * The last place of a slot holds none: its upper half is 0 where another slot follows, whose number
 * is its id, else all ones. */
struct afis_sift {
    uint32_t probes;
    uint32_t width; /* 4 for one probe, else 16 */
    uint32_t slots; /* there is room for in a table */
    uint32_t reserved[13];
    uint64_t lane[SIFT_NONE + 1];   /* by id: probe * SIEVE_LANES + lane */
    int16_t worth[72];              /* of a distance up to SIFT_NEAR */
    _Alignas(64) uint32_t tables[]; /* high, then ids; see below */
};

/* Of piece t: the upper halves of minutiae, and their ids. */
static inline const uint32_t *sift_high(const struct afis_sift *sift, unsigned t)
{
    return sift->tables + (size_t)t * sift->slots * sift->width;
}

static inline const uint16_t *sift_ids(const struct afis_sift *sift, unsigned t)
{
    const uint32_t *ids = sift->tables + (size_t)SIFT_PIECES * sift->slots * sift->width;
    return (const uint16_t *)ids + (size_t)t * sift->slots * sift->width;
}

static inline uint32_t sift_piece(uint64_t word, unsigned t)
{
    return (uint32_t)(word >> (t * SIFT_BITS)) & (SIFT_CELLS - 1);
}

/* Whether a word and a minutia that piece t has found are found by the first one too. */
static inline bool sift_is_known(uint64_t apart, unsigned t)
{
    return t > 0 && (unsigned)__builtin_popcountll(apart & (SIFT_CELLS - 1)) <= SIFT_REACH;
}

#define SIFT_ITEMS_MAX (SIFT_PIECES * AFIS_SIEVE_WORDS * SIFT_BLOCK)
_Static_assert(SIFT_ITEMS_MAX <= SIFT_HITS_MAX, "the items of a block are listed in one go");

/* Slots of a block of prints that are to be looked at more closely, and what was found there. Lists
 * are written in whole vectors. */
struct afis_sift_scratch {
    _Alignas(64) uint16_t mask[SIFT_PIECES * AFIS_SIEVE_WORDS][SIFT_BLOCK];
    uint16_t item[SIFT_ITEMS_MAX + 64], bits[SIFT_ITEMS_MAX + 64];
    /* Of items: where their slots begin, as pairs (sift_scan.c), and what is left of their bits. */
    uint32_t begin[SIFT_ITEMS_MAX + 64], rest[SIFT_ITEMS_MAX + 64], follow[SIFT_ITEMS_MAX + 64];
    uint32_t pair[SIFT_HITS_MAX + 64], id[SIFT_HITS_MAX + 64];
    uint16_t place[SIFT_HITS_MAX + 64]; /* of narrow tables: item * 16, and the place in the slot */
    uint32_t gain[SIFT_HITS_MAX + 64];  /* a place in sum << 16, and what is to be added there */
    int32_t sum[(SIFT_NONE / SIEVE_LANES + 1u) * SIFT_BLOCK]; /* by probe, the last one nobody's */
};

typedef void sift_scan(const struct afis_sift *sift, struct afis_sift_scratch *scratch,
                       const uint64_t *words, size_t prints, int16_t *scores);

/* sift_scan.c, compiled once per instruction set */
sift_scan afis_sift_scan_portable;
#ifdef AFIS_HAVE_MATCH_KERNELS
sift_scan afis_sift_scan_avx2, afis_sift_scan_avx512;
#endif

/* The fastest that this processor runs. */
sift_scan *afis_sift_scan_best(void);

#endif
