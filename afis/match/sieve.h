/* What the files of the sieve share. */
#ifndef AFIS_MATCH_SIEVE_H
#define AFIS_MATCH_SIEVE_H

#include "afis/sieve.h"

#define SIEVE_LANES 32u /* probe minutiae that look for their nearest */

/* Where vector code has the distance of lane k after interleaving four vectors of eight. */
#define SIEVE_BIT(k) ((k) % 8 * 4 + (k) / 8)

struct afis_sieve {
    uint64_t lane[SIEVE_LANES]; /* unused lanes repeat a used one, and count nothing */
    uint32_t used;              /* bit SIEVE_BIT(k) for lane k */
    uint32_t count;             /* of used lanes, the first */
    uint32_t reserved[14];
    int16_t worth[64]; /* of a distance; 63 stands for 63 and 64 */
    float x[SIEVE_LANES], y[SIEVE_LANES], cosine[SIEVE_LANES], sine[SIEVE_LANES];
};

/* Places of a print's minutiae, little-endian: of each 20 bits, x and y of 7 bits and direction of
 * 6, from bit 0 on; byte 60: the step of x and y is 2^byte subpixels (AFIS_SUBPIXEL); 0. Where the
 * origin lies does not matter; y goes up. */
enum {
    PLACE_BITS = 20,
    PLACE_COORD = 7,
    PLACE_DIRECTION = 6,
    PLACE_STEP = 60,     /* byte */
    PLACE_STEP_LEAST = 6 /* 4 pixels; with 8 the largest template fits */
};
_Static_assert(AFIS_SIEVE_WORDS *PLACE_BITS <= 8 * PLACE_STEP, "places end before the step");

/* rows: which prints; NULL: one after the other. */
typedef void sieve_scan(const struct afis_sieve *sieve, const uint64_t *all, const uint16_t *rows,
                        size_t prints, int16_t *scores);

static inline const uint64_t *sieve_print(const uint64_t *all, const uint16_t *rows, size_t p)
{
    return all + (rows ? rows[p] : p) * AFIS_SIEVE_WORDS;
}

/* sieve_scan.c, compiled once per instruction set */
sieve_scan afis_sieve_scan_portable;
#ifdef AFIS_HAVE_MATCH_KERNELS
sieve_scan afis_sieve_scan_avx2, afis_sieve_scan_avx512;
#endif

/* The fastest that this processor runs. */
sieve_scan *afis_sieve_scan_best(void);

#endif
