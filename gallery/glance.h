/* Glancing at those who rank high (afis_glance), for one search or for several that wait together.
 *
 * They lie too far apart for the processor to foresee. Two go ahead through the chunks: one has
 * rows and words fetched, the other finds each finger's nearest print by them and has the template
 * fetched that is looked at first. Where searches are many they share chunks, blocks and the pages
 * of both. */
#ifndef GALLERY_GLANCE_H
#define GALLERY_GLANCE_H

#include "chunk.h"
#include "search_state.h"

#define GLANCE_CHUNKS 32u /* taken at a time: 0.1 ms of glancing for each search */
#define GLANCE_AHEAD 6u   /* people whose templates are fetched before they are glanced at */

/* A probe finger's impression and the person's print that the sieve finds nearest to one another.
 */
struct nearest {
    const struct afis_finger *probe;
    uint32_t place; /* of the packed template in the block */
    int16_t score;
};

struct nearest_list {
    size_t count;
    struct nearest list[GALLERY_PROBES_MAX];
};

struct ahead {
    size_t at, s;    /* the chunk; the search */
    uint32_t person; /* in the chunk; the next to be looked at */
    bool open;
    struct chunk chunk;
};

/* Whom the second has passed and the glance has yet to reach. */
struct foreseen {
    size_t at, s;
    uint32_t person;
    struct nearest_list nearest;
};

/* Chunks that are gone through, each for all searches before the next. */
struct glancing {
    struct gallery_search *const *searches; /* of one view */
    size_t count, from, to;
    struct ahead rows, templates;
    size_t fetched, sought, taken; /* people whom they have passed */
    struct found found[GLANCE_CHUNKS];
    struct foreseen queue[GLANCE_AHEAD];
    struct nearest_list unforeseen;
};

/* Begins with chunks [from, to) of these searches, up to GLANCE_CHUNKS. */
void glance_begin(struct glancing *g, struct gallery_search *const *searches, size_t count,
                  size_t from, size_t to);

/* Takes chunk `at`, open, through the stage for searches[s]: writes impressions, and the stage into
 * *state, or why it cannot be read; neither where its block has changed. false: that search is
 * cancelled. */
bool glance_chunk(struct glancing *g, MDB_txn *txn, const struct scratch *scratch,
                  const struct chunk *chunk, size_t at, size_t s, struct chunk_state *state);

#endif
