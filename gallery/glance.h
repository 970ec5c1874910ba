/* Glancing at those who rank high: whether the minutiae of probe and print that are alike lie alike
 * (afis_glance). Like ranking it reads nothing but chunks. */
#ifndef GALLERY_GLANCE_H
#define GALLERY_GLANCE_H

#include "chunk.h"
#include "search_state.h"

/* Working memory of one thread, glance_scratch_size() bytes. */
struct glancing;
size_t glance_scratch_size(void);

/* Writes the impressions of those who reach the search's glance_cut; returns the highest, or
 * RANK_NOBODY. */
uint16_t glance_chunk(const struct gallery_search *search, const struct chunk *chunk,
                      struct glancing *glancing, struct afis_matcher *matcher,
                      const uint16_t *ranks, uint16_t *impressions);

/* Has the memory fetched that glance_chunk reads: to be called a chunk ahead. */
void glance_fetch(const struct gallery_search *search, const struct chunk *chunk,
                  struct glancing *glancing, const uint16_t *ranks);

#endif
