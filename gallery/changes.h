/* What each of the last transactions changed, stored beside the blocks: whoever knows an earlier
 * moment of the gallery follows it by these alone, instead of reading the index of all blocks.
 *
 *     key      stamp u64 of the transaction (store.h)
 *     record   changes before this one u64, then of each: block u32, place u16
 *
 * Little-endian. The log says nothing that index and blocks do not. Where transactions are missing,
 * because they are too long ago, changed too much, or were another program version's, which keeps
 * no log, there is no following. */
#ifndef GALLERY_CHANGES_H
#define GALLERY_CHANGES_H

#include "store.h"

#define CHANGE_WRITTEN 0u /* no entry begins there */

/* One change of a block: the entry at `place` has left it; CHANGE_WRITTEN: it was written anew, or
 * taken away. */
struct change {
    uint64_t stamp;
    uint32_t block;
    uint16_t place;
};

/* A list that grows. Zero it before first use. */
struct changes {
    struct change *list;
    size_t count, room;
};

/* false: out of memory. */
bool changes_note(struct changes *changes, uint64_t stamp, uint32_t block, uint16_t place);
void changes_free(struct changes *changes);

/* Writes what the transaction of that stamp changed, in a gallery of so many people, and drops what
 * is the longest ago. LMDB's codes. */
int changes_write(const struct gallery *gallery, MDB_txn *txn, uint64_t stamp, uint64_t people,
                  const struct changes *changes);

/* Adds to the list what one stored record says of the transaction `wanted`. MDB_CORRUPTED: the
 * record has an impossible form; MDB_NOTFOUND: it is of another transaction, or there would be more
 * than `most`; ENOMEM. */
int changes_decode(const MDB_val *key, const MDB_val *value, uint64_t wanted, size_t most,
                   struct changes *changes);

/* Reads the changes of all transactions after `since`, up to `until`, in order of block, place,
 * stamp. MDB_NOTFOUND: not all are known, or they are more than `most`. */
int changes_read(const struct gallery *gallery, MDB_txn *txn, uint64_t since, uint64_t until,
                 size_t most, struct changes *changes);

#endif
