/* A person's record: everything but the templates, and the number of the block that holds those.
 *
 *     version u32, checksum u32, block u32, then a msgpack map
 *
 * The checksum covers all that follows it. */
#ifndef GALLERY_PERSON_H
#define GALLERY_PERSON_H

#include <msgpack.h>

#include "block.h"
#include "gallery/gallery.h"

#define PERSON_IDENTIFIERS_MAX 16u
#define PERSON_NAMES_MAX 32u
#define PERSON_DETAILS_MAX 32u

/* Writes a record into an empty buffer. The person must be valid. false: out of memory. */
bool person_encode(const struct gallery_person *person, uint32_t block, msgpack_sbuffer *out);

/* Reads a record into memory of its own (gallery_person_free). Every byte is checked. entry: the
 * person's entry in its block, whose templates are copied and must be of the prints that the
 * record names; NULL: prints come without templates. NULL with *fault. */
struct gallery_person *person_decode(const char *id, size_t id_len, const uint8_t *bytes,
                                     size_t len, const struct block_entry *entry,
                                     struct whorl_fault *fault);

/* The block number alone, checksum verified. false: damaged. */
bool person_block(const uint8_t *bytes, size_t len, uint32_t *block);

/* Whether record and entry name the same prints in the same order, and the same expiry. */
bool person_agrees(const struct gallery_person *person, const struct block_entry *entry);

#endif
