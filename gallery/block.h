/* A block: the packed templates of some people, laid out for reading straight through.
 *
 *     header   magic, version, number, stamp, people, prints, used, checksum   40 bytes
 *     entries  length u16, id length u8, prints u8, expires i64, id,
 *              then per print: position u8, impression u8, length u16, packed template
 *
 * All integers are little-endian. A block's value in LMDB always has the same size, 16 pages with
 * LMDB's own header, so that a rewritten block takes the place of a freed one. The stamp is the
 * number of the transaction that wrote it: two blocks of one number and stamp are the same. */
#ifndef GALLERY_BLOCK_H
#define GALLERY_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gallery/gallery.h"

#define BLOCK_SIZE (16u * 4096u - 16u)
#define BLOCK_HEADER 40u

struct block_info {
    uint32_t number;
    uint64_t stamp;
    uint32_t people, prints;
    uint32_t used; /* bytes, header included */
    uint32_t checksum;
};

/* One person in a block; the pointers go into the block. */
struct block_entry {
    const uint8_t *bytes; /* the whole entry */
    uint16_t len;
    const char *id; /* not terminated */
    uint8_t id_len;
    int64_t expires;
    uint8_t print_count;
    const uint8_t *prints; /* the first print */
};

/* Verifies the header and the checksum. *why: what is wrong, static text. */
bool block_open(const uint8_t *bytes, size_t len, struct block_info *info, const char **why);

/* The same without the checksum: of a block that was read before. Its templates have checksums of
 * their own. */
bool block_header(const uint8_t *bytes, size_t len, struct block_info *info, const char **why);

/* Reads the entry at *at (begin with BLOCK_HEADER) and moves *at behind it. false at the end with
 * *why NULL, or with *why when the entry is malformed. */
bool block_next(const uint8_t *bytes, const struct block_info *info, size_t *at,
                struct block_entry *entry, const char **why);

/* Reads the print at *at within an entry (begin with entry->prints) and moves *at behind it. The
 * digest is left alone. Entries from block_next were checked: print_count calls are sound. */
void block_print(const uint8_t **at, struct gallery_print *print);

/* Finds a person's entry. Of those before it only the lengths are read: the rest of each would have
 * to come from memory. */
bool block_find(const uint8_t *bytes, const struct block_info *info, const char *id,
                struct block_entry *entry);

/* One of several entries that are looked for together. */
struct block_sought {
    const uint8_t *bytes; /* of the block; NULL: of none */
    const char *id;
    size_t id_len;
    size_t at;     /* where the entry begins; 0: there is none */
    uint32_t used; /* as the block's header says */
    bool done;
};

/* The same for many people, but what is found is not verified. An entry says where the next one
 * begins, so that one search waits for memory at each of them: here they wait together. */
void block_find_all(struct block_sought *sought, size_t count);

/* Writing: BLOCK_SIZE bytes that the caller owns. */
void block_clear(uint8_t *bytes, uint32_t number);
size_t block_entry_size(const struct gallery_person *person);
/* false: it does not fit. */
bool block_add(uint8_t *bytes, const struct gallery_person *person);
/* false: not there. *prints: how many went. */
bool block_drop(uint8_t *bytes, const char *id, uint32_t *prints);
/* Drops the entries that begin at these places: count u16, ascending. false: no entry begins at one
 * of them, or one is malformed. */
bool block_drop_places(uint8_t *bytes, const uint8_t *places, unsigned count);
/* Puts the stamp and the checksum in. */
void block_seal(uint8_t *bytes, uint64_t stamp);
/* Header fields of a block that this code wrote or that block_open passed. */
void block_info(const uint8_t *bytes, struct block_info *info);

#endif
