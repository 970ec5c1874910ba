/* How a gallery lies in its store: shared by the files of gallery/. */
#ifndef GALLERY_STORE_H
#define GALLERY_STORE_H

#include "array.h"
#include "block.h"
#include "gallery/gallery.h"

struct view_keeper;
struct crowd;

/* How large people are in blocks that were drawn at random: see write_room.c. */
struct sizes {
    uint64_t bytes, people;
};

struct gallery {
    struct whorl_store *store;
    MDB_dbi meta, index, blocks, people;
    MDB_dbi changes;  /* see changes.h */
    bool has_changes; /* not in an older gallery that is open for reading only */
    char *dir;
    struct view_keeper *keeper; /* what searches read; see view.h */
    struct crowd *crowd;        /* searches that read together; see crowd.h */
    struct array_pool arrays;   /* of searches and views that have ended */
    struct sizes sizes;         /* only within a transaction that writes */
};

/* The counters under META_KEY: one record of META_SIZE bytes, little-endian. */
struct meta {
    uint64_t stamp; /* transactions that changed the gallery */
    uint64_t people, prints;
    uint32_t tail; /* the block that new people are added to; 0 = none yet. Numbers only grow */
    uint32_t room; /* an earlier block that has room again and is filled first; 0 = none */
};

/* A copy's mark (gallery/copy.h) lies beside them: the stamp of the transaction that wrote it, then
 * its bytes. */
#define MARK_KEY "mark"
#define MARK_HEAD 8u

/* What the index says of a block. Somebody who leaves a block is only named here at first: the
 * block is written anew when many have left it, or others come to it. */
struct index_entry {
    uint32_t number;
    uint64_t stamp;    /* of the transaction that last changed who is in it */
    uint64_t written;  /* of the one that wrote its bytes: the block's own stamp */
    uint32_t people;   /* who are in it still */
    uint32_t checksum; /* the block's; 0 = written before this was recorded */
    uint32_t gone;     /* entries of people who have left since it was written, at most GONE_MAX */
    const uint8_t *places; /* where these begin in the block: u16 each, ascending */
};
#define GONE_MAX 64u

/* Reads the counters; zero in a new gallery. LMDB's codes; MDB_CORRUPTED where a record has an
 * impossible form. */
int meta_read(const struct gallery *gallery, MDB_txn *txn, struct meta *meta);
int meta_write(const struct gallery *gallery, MDB_txn *txn, const struct meta *meta);

/* Reads an index record; `places` points into it. */
int index_decode(const MDB_val *key, const MDB_val *value, struct index_entry *entry);
int index_write(const struct gallery *gallery, MDB_txn *txn, const struct index_entry *entry);
/* Reads the record of a block. */
int index_read(const struct gallery *gallery, MDB_txn *txn, uint32_t number,
               struct index_entry *entry);

struct chunk;
/* Whether it was made of the block as this record has it, but for those who have left since. */
bool chunk_is_of(const struct chunk *chunk, const struct index_entry *entry);

/* A block's bytes within txn, verified, and of the number that was asked for. MDB_NOTFOUND when
 * there is none; MDB_CORRUPTED with *why (static text) when it is damaged. */
int block_read(const struct gallery *gallery, MDB_txn *txn, uint32_t number, const uint8_t **bytes,
               struct block_info *info, const char **why);

/* Writes all blocks anew that people have left, so that nothing of these is in them. false with
 * *fault. Any thread; many transactions. */
bool blocks_tidy(struct gallery *gallery, struct whorl_fault *fault);

/* A person's record within txn, with or without templates. 0 and *person NULL with *fault: it is
 * damaged; MDB_NOTFOUND: there is none. */
int person_read(const struct gallery *gallery, MDB_txn *txn, const char *id, size_t id_len,
                bool prints, struct gallery_person **person, struct whorl_fault *fault);

#endif
