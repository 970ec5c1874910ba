/* What the files that are compiled once for each variant of the processor share: names that carry
 * the variant. */
#ifndef AFIS_EXTRACT_VARIANT_H
#define AFIS_EXTRACT_VARIANT_H

#include "stages.h"

#define JOIN_NAMES(what, variant) afis_##what##_##variant
#define JOIN(what, variant) JOIN_NAMES(what, variant)
#define NAMED(what) JOIN(what, VARIANT)

void NAMED(smooth)(const struct work *work, float *field, float sigma);
void NAMED(thin)(const struct work *work, uint64_t *bits);
void NAMED(line_ends)(const struct work *work, const uint64_t *bits, uint64_t *ends);

#endif
