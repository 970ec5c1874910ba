/* The coarsest comparison of a search: which prints are worth the sieve (afis/sieve.h).
 *
 * Two pieces of a print's word, of 12 bits each, are looked up in tables that name the probe's
 * minutiae whose own piece differs in at most two bits, as in multi-index hashing (Norouzi, Punjani
 * & Fleet, "Fast exact search in Hamming space with multi-index hashing", PAMI 2014). Minutiae so
 * found that are near in all 64 bits count by their distance. A minutia meets a twentieth of all
 * words; what is lost by that is in docs/search.md.
 *
 * One table may hold several probes: each word is then looked up for all of them at once, which
 * costs a probe a sixth of what it costs alone. Its scores do not depend on which others are
 * there. */
#ifndef AFIS_SIFT_H
#define AFIS_SIFT_H

#include <stddef.h>
#include <stdint.h>

#include "afis/sieve.h"

#define AFIS_SIFT_PROBES 16u /* in one table at most */

/* Tables of 1 to AFIS_SIFT_PROBES probes. Opaque, relocatable, 64-byte aligned,
 * afis_sift_size(probes) bytes in memory that the caller owns: some 0.2 MB for one, 1.2 MB for
 * sixteen. They are made from probes: wipe them like those. */
struct afis_sift;
size_t afis_sift_size(unsigned probes);

/* Makes the tables. Some 0.1 ms, half a millisecond for sixteen. */
void afis_sift_init(struct afis_sift *sift, const struct afis_sieve *const *sieves,
                    unsigned probes);

/* Scratch space of one scanning thread: afis_sift_scratch_size() bytes, 64-byte aligned. It holds
 * traces of the probes. */
struct afis_sift_scratch;
size_t afis_sift_scratch_size(void);

/* Scores `prints` prints, whose words follow one another (64-byte aligned), against every probe:
 * scores[probe * prints + print]. Nobody's score is below 0; 0: nothing alike was met. The unit is
 * AFIS_SIEVE_UNIT to one natural log-likelihood ratio, roughly. Every variant of the code gives the
 * same scores. Some 30 ns a print, 75 ns for sixteen probes, with AVX-512. Any thread. */
void afis_sift_scan(const struct afis_sift *sift, struct afis_sift_scratch *scratch,
                    const uint64_t *words, size_t prints, int16_t *scores);

#endif
