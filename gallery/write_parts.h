/* The transaction that changes people: shared by write.c and write_room.c. */
#ifndef GALLERY_WRITE_PARTS_H
#define GALLERY_WRITE_PARTS_H

#include "changes.h"
#include "gallery/copy.h"
#include "person.h"
#include "store.h"

#define SCOUTED 32u /* people whose entries are looked for together */
#define CHOSEN 512u /* blocks that are chosen ahead, at most */

/* A block in memory. */
struct open_block {
    uint32_t number; /* 0 = none */
    bool changed;
    uint8_t bytes[BLOCK_SIZE];
};

/* Where a person's entry was before the transaction. */
struct whereabouts {
    uint32_t block;
    uint64_t stamp; /* of this block */
    size_t place;   /* 0: not found */
};

struct batch {
    struct gallery *gallery;
    MDB_txn *txn;
    struct meta meta;
    uint64_t stamp;                  /* before */
    struct open_block *tail, *other; /* two of one allocation */
    uint64_t drawn;                  /* the last random number */
    uint32_t chosen[CHOSEN];         /* blocks that will be filled up; 0 = none any more */
    uint32_t chosen_count, chosen_next;
    msgpack_sbuffer record;
    struct changes changes;
    struct whereabouts scouted[SCOUTED]; /* of the people who are next */

    const struct gallery_person *people; /* to put */
    size_t count, added;                 /* added: that were new */
    const char *const *ids;              /* to remove, before any is put */
    size_t id_count, removed;
    int64_t expired_by;                  /* only those whose enrolment has ended by then; 0 = all */
    const char *withdrawn;               /* NULL, or whose enrolment is to end */
    int64_t ends;                        /* ... at this time */
    bool found;                          /* ... if there is such a person */
    const struct gallery_change *change; /* NULL, or with its mark */
    bool late;                           /* its mark is not the gallery's any more */
    char damage[160];                    /* of MDB_CORRUPTED */
};

/* --- write.c --- */

/* Writes a block back, or takes it away when nobody is left in it. */
int write_flush(struct batch *batch, struct open_block *block);

/* --- write_room.c: blocks with room --- */

/* Looks for one before a new block is begun, and makes it meta.room. */
int write_seek_room(struct batch *batch);

/* Chooses the blocks that a large batch will fill up, and writes them before anything else. */
int write_choose_blocks(struct batch *batch);

/* The block is none any more. */
void write_forget_block(struct batch *batch, uint32_t number);

#endif
