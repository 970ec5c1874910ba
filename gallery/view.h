/* What searches read: the chunks of every block as the gallery stood in one transaction.
 *
 * A view that a search has never changes; the next one shares the chunks of all blocks that were
 * not written anew. They come from the segment where it has that version of the block, and are else
 * made from the block and kept in memory. Who has left a block since is listed beside its chunk,
 * whose rows stay as they are: so nothing is copied, and a search under way keeps what it knows of
 * the others. The keeper holds the newest view of a gallery that is open. It is made from the one
 * before by the log of changes (changes.h), or by reading the index where that does not reach back.
 *
 * Views follow one another in eras. An era ends with its view and with all earlier ones, and with
 * it ends what the next view does not share: so views count no references to each of the chunks. */
#ifndef GALLERY_VIEW_H
#define GALLERY_VIEW_H

#include "array.h"
#include "gallery/search.h"
#include "segment.h"
#include "store.h"

/* A chunk in memory, shared by views. */
struct view_own;

/* Who of a chunk's people have left its block, shared likewise. */
struct view_gone {
    struct view_gone *next; /* of those that end with an era */
    uint32_t count;
    uint16_t people[]; /* their numbers in the chunk, ascending */
};

struct view_chunk {
    uint32_t number;
    uint32_t people; /* in the block still */
    uint32_t rows;   /* people in the chunk: these, and who has left since it was made */
    uint32_t checksum;
    uint64_t stamp;         /* of the transaction that last changed who is in the block ... */
    uint64_t written;       /* ... and of the one that wrote it */
    uint64_t before;        /* where its rows begin among those of all chunks */
    const uint8_t *bytes;   /* NULL: the block is damaged ... */
    const char *why;        /* ... in this way; NULL: not read yet, or not to be had */
    const uint8_t *earlier; /* while a view is made: of an earlier version of the block, or NULL */
    struct view_own *own;   /* NULL: in the segment */
    struct view_gone *gone; /* NULL: nobody */
    bool left;              /* `earlier` is of this very block, but holds people who have left it */
    bool fresh_own, fresh_gone; /* while a view is made: no other has them */
};

struct view {
    atomic_uint refs;
    uint64_t stamp;   /* of the transaction */
    uint64_t counted; /* people in the gallery, as it says itself */
    uint64_t people, rows;
    uint64_t extent; /* rows are numbered below this; not all numbers are in use */
    uint64_t layout; /* views of the same one have chunks that they share at the same rows ... */
    uint64_t
        order; /* ... and blocks, but those behind the last of the earlier, at the same index */
    struct array_pool *arrays; /* that it is from */
    struct segment *segment;
    struct view_era *era;
    size_t count, room;
    size_t empty;               /* blocks that were taken away: chunks of nobody */
    bool gaps;                  /* some chunks were not to be had: the next view tries again */
    struct view_chunk chunks[]; /* by number */
};

/* Views' memory is from `arrays`, which must outlive it. */
struct view_keeper *view_keeper_new(struct array_pool *arrays);
void view_keeper_free(struct view_keeper *keeper);

/* The view of the gallery as it stands in txn. At most `most` blocks are read for it, and fewer
 * before the gallery was ready for the first time: if more are needed, some of them are, and NULL
 * with *pending > 0: view_prepare has to be called. NULL with *pending 0: *fault. Any thread.
 * Release with view_unref. */
struct view *view_get(struct gallery *gallery, MDB_txn *txn, size_t most, size_t *pending,
                      struct whorl_fault *fault);
struct view *view_ref(struct view *view);
void view_unref(struct view *view); /* NULL is allowed */

/* Takes in what has changed by txn, or where that is much reads some of the blocks that it takes,
 * so that the next view_get finds it done, unless another thread is at it. Any thread. */
void view_refresh(struct gallery *gallery, MDB_txn *txn);

/* Whether the newest view is of a later moment than txn: to get one of txn's takes long. */
bool view_is_past(struct gallery *gallery, MDB_txn *txn);

/* Lists the blocks in which `to` differs from the view `from` that it followed, ascending, each
 * once; *numbers is to be freed. false: they are not known, or rows or indices differ in all, or
 * there is no memory. The caller holds a reference of each. */
bool view_changes(const struct view *from, const struct view *to, uint32_t **numbers,
                  size_t *count);

/* The index of the first chunk of a list, ascending, from `at` on whose number is not below this
 * one; count if none. Fastest where it is near. */
size_t view_find(const struct view_chunk *list, size_t count, size_t at, uint32_t number);

/* The chunk without those who have left it, from malloc. NULL: out of memory. */
uint8_t *view_chunk_without(const struct view_chunk *chunk);

/* How much of the gallery is ready to be searched: about 10 ms of work towards all of it, first of
 * verifying the segment, then of reading blocks. *of: 0 when that is not known yet. */
enum gallery_ready view_prepare(struct gallery *gallery, uint64_t *people, uint64_t *of,
                                struct whorl_fault *fault);

/* How far view_prepare is. *of 0: not known yet. */
void view_progress(struct gallery *gallery, uint64_t *people, uint64_t *of);

#endif
