/* How views are made: shared by view.c and its view_*.c. All of it but the lifetimes
 * with the keeper's mutex held. */
#ifndef GALLERY_VIEW_PARTS_H
#define GALLERY_VIEW_PARTS_H

#include <pthread.h>

#include "changes.h"
#include "chunk.h"
#include "view.h"

#define GONE_SHARE 6u /* a chunk is copied when one of so many of its people has left */

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
    pthread_mutex_t mutex; /* guards all below, and views that only the keeper has */
    struct view *newest;   /* NULL: none yet */
    struct array_pool *arrays;
    uint64_t serial;                /* the last layout */
    uint8_t *empty;                 /* the chunk of nobody */
    struct segment *segment;        /* wholly verified */
    struct segment *opening;        /* being verified */
    uint64_t opening_people;        /* in those of its chunks that were, and are of their blocks */
    struct segment_identity sought; /* the file that was last looked at */
    uint64_t sought_pause;          /* until it is looked at again; 0: it is not */
    uint64_t sought_again;          /* ... which ends then; both in ms */
    struct view *draft;             /* being read by view_prepare ... */
    struct view *draft_base;        /* ... since this one */
    size_t draft_at;
    uint64_t draft_people;    /* ready in it */
    uint64_t people;          /* in the gallery when view_prepare was last called */
    struct view_chunk *ahead; /* of the view behind the newest: by number */
    size_t ahead_count;
    size_t missing; /* which that view needs besides */
};

/* --- view.c: lifetimes --- */

/* With one reference, no era and room for so many chunks. NULL: out of memory. */
struct view *view_new(struct array_pool *arrays, size_t room);
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

/* Fills a gap from the block as txn has it. Where txn has another version, or the system did not
 * let us read or keep it, it stays. */
void view_read_chunk(const struct gallery *gallery, MDB_txn *txn, struct view_chunk *chunk);

/* Numbers the rows of all chunks anew. */
void view_place_rows(struct view_keeper *keeper, struct view *view);

/* --- view_ahead.c: some of what the log of changes asks for --- */

/* Reads blocks that these changes of `view`, the newest, will need: all if no more than `blocks`
 * are missing, or else some. Returns how many are missing still. */
size_t view_ahead_make(const struct gallery *gallery, MDB_txn *txn, const struct view *view,
                       const struct changes *changes, size_t blocks);

/* As view_take_chunk, of what was made ahead, which loses it. */
bool view_ahead_take(struct view_keeper *keeper, const struct index_entry *entry,
                     struct view_chunk *to);

/* Frees what was made ahead and not taken. */
void view_ahead_drop(struct view_keeper *keeper);

/* --- view_follow.c: by the log of changes --- */

/* How many changes are of the same block as the first. */
size_t view_group(const struct change *changes, size_t count);

/* Whether a chunk stays as it is after these changes of its block: people have left, but few. */
bool view_stays(const struct view_chunk *known, const struct change *changes, size_t count);

/* Brings the newest view to txn by at most `most` changes and `blocks` that are to be read, and
 * returns it with a reference. NULL with *pending > 0: so many blocks more, of which some have now
 * been read; NULL with *pending 0: it can't be done by the log. */
struct view *view_follow(struct gallery *gallery, MDB_txn *txn, const struct meta *meta,
                         size_t most, size_t blocks, size_t *pending);

#endif
