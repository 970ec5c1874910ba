/* The coarse comparisons of a search through millions of prints.
 *
 * Of each enrolled print the descriptors of its most reliable minutiae are kept apart, as words of
 * 64 bits, 192 bytes a print. A probe minutia looks for the nearest word of a print; how near it is
 * (Hamming distance) is worth a log-likelihood ratio between the same finger and another; the sum
 * over the probe's minutiae ranks prints (afis_sieve_scan). Where these minutiae lie and point is
 * kept beside the words, in 64 bytes: whether those that meet lie alike is the next, finer question
 * (afis_glance). What that leaves is for afis_compare. */
#ifndef AFIS_SIEVE_H
#define AFIS_SIEVE_H

#include <stddef.h>
#include <stdint.h>

#include "afis/match.h"
#include "afis/status.h"

#define AFIS_SIEVE_WORDS 24u /* of a print; prints with fewer minutiae repeat theirs */
#define AFIS_SIEVE_VERSION                                                                         \
    2u /* of what afis_sieve_words makes: what another has stored does not compare */
#define AFIS_SIEVE_PLACES 64u /* bytes */
#define AFIS_SIEVE_UNIT 16    /* of a score: natural log-likelihood ratio times this */

/* The words of a print, and where these minutiae lie, from its packed form, of which every byte is
 * checked. */
enum afis_status afis_sieve_words(const uint8_t *packed, size_t len,
                                  uint64_t words[AFIS_SIEVE_WORDS],
                                  uint8_t places[AFIS_SIEVE_PLACES]);

/* A probe, ready to be looked for. Opaque, relocatable, 64-byte aligned, afis_sieve_size() bytes in
 * memory that the caller owns. It is made from a probe: wipe it like one. */
struct afis_sieve;
size_t afis_sieve_size(void);
void afis_sieve_init(struct afis_sieve *sieve, const struct afis_finger *probe);

/* Scores `prints` prints, whose words follow one another: words is 64-byte aligned. Score: natural
 * log-likelihood ratio times AFIS_SIEVE_UNIT. Every variant of the code gives the same scores. Some
 * 60 ns a print with AVX-512. Any thread. */
void afis_sieve_scan(const struct afis_sieve *sieve, const uint64_t *words, size_t prints,
                     int16_t *scores);

/* The same for `count` of those prints: scores[i] is of print rows[i]. */
void afis_sieve_scan_rows(const struct afis_sieve *sieve, const uint64_t *words,
                          const uint16_t *rows, size_t count, int16_t *scores);

/* A first impression of how alike two fingers are: whether the minutiae that the sieve finds near
 * to one another lie to one another as one rigid motion would put them (the first step of
 * afis_compare, on few pairs). For `count` of those prints: impressions[i], 0 and more, natural
 * logarithm, is of print rows[i]; below 1 for three strangers of four. places: of the prints one
 * after the other; whatever bytes they are, they are read safely. Every variant of the code gives
 * the same bits. Some 0.15 us a print with AVX-512. Any thread, with a matcher of its own. */
void afis_glance(struct afis_matcher *matcher, const struct afis_sieve *sieve,
                 const uint64_t *words, const uint8_t *places, const uint16_t *rows, size_t count,
                 float *impressions);

#endif
