/* The searches of a gallery that are in the stages which look at everybody's words, the sift and
 * the sieve, or glance. Who takes chunks for one of them takes them for all others that are as far
 * and have yet to read these, so that one pass over memory, and in the sift one look at each word,
 * serves many. A search that comes later joins where the others are and goes round.
 *
 * Nobody waits for company: a lone search reads alone, and one that is cancelled is left out from
 * then on. What a search finds out does not depend on who read for it. */
#ifndef GALLERY_CROWD_H
#define GALLERY_CROWD_H

#include "search_state.h"

struct crowd;
struct crowd *crowd_new(void); /* NULL: out of memory */
void crowd_free(struct crowd *crowd);

/* Puts a search whose stage is one of those (search_by_words) among the others, with all its chunks
 * where that stage begins, or through it: its view and states are
 * theirs to read, and its levels and states to write, until crowd_leave. */
void crowd_join(struct gallery_search *search);

/* Takes it out again; nothing made of its probe is left in the crowd then. Waits for those who read
 * for it just now: less than a millisecond. No thread may be in crowd_read for it. Does nothing if
 * it is not there. */
void crowd_leave(struct gallery_search *search);

/* Reads chunks for a search that has joined until `until` (nanoseconds; 0: to the end). */
enum gallery_step crowd_read(struct gallery_search *search, const struct scratch *scratch,
                             int64_t until);

#endif
