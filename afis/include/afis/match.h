/* Comparing templates.
 *
 * A comparison is between two prepared fingers. The probe is prepared once per search; gallery
 * fingers are prepared from their packed bytes on the way. Nothing here allocates. */
#ifndef AFIS_MATCH_H
#define AFIS_MATCH_H

#include <stddef.h>
#include <stdint.h>

#include "afis/status.h"
#include "afis/template.h"

/* A template with everything derived from it that a comparison needs. Opaque, relocatable (no
 * pointers inside), 64-byte aligned, afis_finger_size() bytes, in memory that the caller owns. */
struct afis_finger;
size_t afis_finger_size(void);

/* Scratch space of one comparing thread: afis_matcher_size() bytes, 64-byte aligned, zeroed before
 * first use. Holds traces of both fingers: wipe it like a probe. */
struct afis_matcher;
size_t afis_matcher_size(void);

/* Prepares a template for comparison. Fails only with AFIS_BAD_FORMAT (fields out of range). */
enum afis_status afis_finger_prepare(const struct afis_template *tmpl, struct afis_finger *out);

/* The same from the packed form, of a finger that is to be compared once or a few times, like a
 * gallery's: six times as fast, but as the probe of many comparisons it makes each of them slower.
 */
enum afis_status afis_finger_prepare_packed(const uint8_t *bytes, size_t len,
                                            struct afis_finger *out);

/* How alike two fingers are: an estimate of -10*log10 of the rate at which prints of different
 * fingers score at least this high (dB); 0 = nothing in common, 30 = one impostor in a thousand.
 * Deterministic: the SIMD and the portable path return the same bits. */
float afis_compare(struct afis_matcher *matcher, const struct afis_finger *probe,
                   const struct afis_finger *gallery);

/* Fuses the scores of one person's different fingers (dB) into one figure in the same unit. */
float afis_fuse(const float *scores, size_t count);

/* The score (dB) above which a search of `comparisons` people is expected to raise a false
 * candidate with probability fpir (0 < fpir < 1). */
float afis_threshold(double fpir, double comparisons);

#endif
