/* How views are made: shared by view.c, view_list.c and view_follow.c. All of it but the lifetimes
 * with the keeper's mutex held. */
#ifndef GALLERY_VIEW_PARTS_H
#define GALLERY_VIEW_PARTS_H

#include <pthread.h>

#include "chunk.h"
#include "view.h"

struct view_own {
    struct view_own *next; /* of those that end with an era */
    uint8_t *bytes;
};

/* From a view on until the next one. */
struct view_era {
    atomic_uint refs;      /* its view, and the era before */
    struct view_era *next; /* NULL: this is the newest */
    bool followed;         /* `changed` lists all in which the next view differs: ascending */
    uint32_t *changed;
    size_t changed_count;
    struct view_own *owns; /* what only this view and earlier ones have */
    struct view_gone *gones;
};

struct view_keeper {
    pthread_mutex_t mutex;          /* guards all below, and views that only the keeper has */
    struct view *newest;            /* NULL: none yet */
    uint64_t serial;                /* the last layout */
    uint8_t *empty;                 /* the chunk of nobody */
    struct segment *segment;        /* wholly verified */
    struct segment *opening;        /* being verified */
    uint64_t opening_people;        /* in those of its chunks that were, and are of their blocks */
    struct segment_identity sought; /* the file that was last looked at */
    struct view *draft;             /* being read by view_prepare ... */
    struct view *draft_base;        /* ... since this one */
    size_t draft_at;
    uint64_t draft_people; /* ready in it */
    uint64_t people;       /* in the gallery when view_prepare was last called */
};

/* --- view.c: lifetimes --- */

/* With one reference, no era and room for so many chunks. NULL: out of memory. */
struct view *view_new(size_t room);
/* NULL: out of memory. With one reference. */
struct view_era *view_era_new(void);
void view_era_unref(struct view_era *era);
/* Leaves to the era what `old` has and `now`, of the next view, does not. NULL: it is not in it. */
void view_era_leave(struct view_era *era, const struct view_chunk *old,
                    const struct view_chunk *now);
/* Frees what no other view has. */
void view_chunk_discard(struct view_chunk *chunk);

/* --- view_list.c: by the whole index --- */

/* The view of txn, with gaps where chunks have yet to be made; *pending: those that neither the
 * newest view nor the segment has, nor `draft`, which may be NULL and loses what is taken from it.
 * No era yet. NULL with *fault. */
struct view *view_list(const struct gallery *gallery, MDB_txn *txn, const struct meta *meta,
                       struct view *draft, size_t *pending, struct whorl_fault *fault);

static inline bool view_is_gap(const struct view_chunk *chunk)
{
    return !chunk->bytes && !chunk->why;
}

/* What the index says of a block. */
struct view_chunk view_chunk_of(const struct index_entry *entry);

/* Takes the chunk of the entry's version from another view's, which the new view may share unless
 * its segment is another. false: it has to be made, of which *to has the earlier one. */
bool view_take_chunk(const struct view_chunk *known, bool shares_segment,
                     const struct index_entry *entry, struct view_chunk *to);

/* Fills a gap from the block as txn has it. Where txn has another version, it stays. */
void view_read_chunk(const struct gallery *gallery, MDB_txn *txn, struct view_chunk *chunk);

/* Numbers the rows of all chunks anew. */
void view_place_rows(struct view_keeper *keeper, struct view *view);

/* --- view_follow.c: by the log of changes --- */

/* Brings the newest view to txn by at most `most` changes and `blocks` that are to be read, and
 * returns it with a reference. NULL with *pending > 0: more blocks; NULL with *pending 0: it can't
 * be done by the log. */
struct view *view_follow(struct gallery *gallery, MDB_txn *txn, const struct meta *meta,
                         size_t most, size_t blocks, size_t *pending);

#endif
