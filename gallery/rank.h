/* The stages that read words alone: the sift, which looks at everyone, and the sieve, which ranks
 * whom the sift leaves. */
#ifndef GALLERY_RANK_H
#define GALLERY_RANK_H

#include "chunk.h"
#include "search_state.h"

/* Working memory of one thread, rank_scratch_size() bytes, 64-byte aligned. */
struct ranking;
size_t rank_scratch_size(void);

/* Makes what both need of the probe, in secret memory. Without search->sifts the sift finds
 * everybody alike. */
bool rank_prepare(struct gallery_search *search);
/* Bytes of locked memory that it takes for each impression, in a gallery that is sifted. */
size_t rank_prepared_size(void);
void rank_release(struct gallery_search *search);

const struct afis_sieve *rank_sieve(const struct gallery_search *search, size_t impression);

/* Gives each person of a chunk a level by the sift: RANK_NOBODY, or RANK_ALL and above. */
void rank_sift(const struct gallery_search *search, const struct chunk *chunk,
               struct ranking *ranking, uint16_t *levels, struct chunk_state *state);

/* Whether each score counts as it is: each finger of the search has one impression and a known
 * position, and nobody of the chunk more than one print of it or one of unknown position. */
bool rank_simple(const struct gallery_search *search, const struct chunk *chunk);

/* The row of a person in the group of a position of which nobody has more than one print; the
 * group's end: none. */
uint32_t rank_row(const struct chunk *chunk, unsigned position, uint32_t person);

/* Ranks by the sieve those from the search's sift_cut up to its first_cut. Of the others those who
 * were compared already are done with; the rest ranks lowest. */
void rank_sieved(const struct gallery_search *search, const struct chunk *chunk,
                 struct ranking *ranking, uint16_t *levels);

/* Has the memory fetched that these read beside words, if any: to be called a chunk ahead of the
 * one, two ahead of the other. */
void rank_fetch_rows(const struct gallery_search *search, const struct chunk *chunk);

/* ... and the words that rank_sieved reads: to be called a chunk ahead. Those who are left lie too
 * far apart for the processor to foresee. */
void rank_fetch(const struct gallery_search *search, const struct chunk *chunk,
                const uint16_t *levels);

/* --- several searches at once --- */

/* Whether a search may be one of them: each finger of it has one impression and a known position.
 */
bool rank_shareable(const struct gallery_search *search);

/* The tables of up to AFIS_SIFT_PROBES searches, in secret memory; NULL: too little of it. */
struct rank_group;
struct rank_group *rank_group_new(struct gallery_search *const *searches, size_t count);
void rank_group_free(struct rank_group *group); /* NULL is allowed */
/* The number of a search in the group; -1: it is not in it. */
int rank_group_find(const struct rank_group *group, const struct gallery_search *search);

/* rank_sift for those of the group's searches whose bit is set in `members`: levels[m] and
 * states[m] are of member m, the group's numbering. false: this chunk has to be sifted by each
 * alone. */
bool rank_group_sift(const struct rank_group *group, uint32_t members, const struct chunk *chunk,
                     struct ranking *ranking, uint16_t *const *levels, struct chunk_state *states);

#endif
