/* A chunk: what a search reads of one block before it compares. Made from the block, less those who
 * the index says have left it, so it can be made again at any time; kept in memory or in a segment
 * (gallery/segment.h).
 *
 *     header   number, people, stamp, block's checksum, prints, size, checksum, groups, of which
 *              groups nobody has more than one print, whether anybody expires           64 bytes
 *     words    192 bytes a print (afis/sieve.h)
 *     places   64 bytes a print: of its words' minutiae
 *     prints   person u16, place in the block u16, template's checksum u32, of each print
 *     people   expires i64 of each person, then place of the entry in the block u16 of each
 *
 * Little-endian; the size is a multiple of 64. Prints are grouped by position, 0 to 10: a search of
 * known fingers reads their groups alone. People and prints are numbered as they lie in the block.
 */
#ifndef GALLERY_CHUNK_H
#define GALLERY_CHUNK_H

#include "afis/sieve.h"
#include "block.h"
#include "bytes.h"

#define CHUNK_HEADER 64u
#define CHUNK_PRINT 192u /* bytes of a print's words */
#define CHUNK_PLACES 64u /* ... and of where their minutiae lie */
#define CHUNK_POSITIONS 11u
/* People, or prints, in a chunk: a block has room for 3,274 of the smallest templates. */
#define CHUNK_ROWS_MAX 4096u
#define CHUNK_PRINT_ROW 8u

#define CHUNK_VOID UINT64_MAX /* the stamp of a chunk whose content was erased: zeros */

/* A chunk's parts; pointers into its bytes. */
struct chunk {
    uint32_t number; /* of the block */
    uint64_t stamp;  /* ... and its version */
    uint32_t block_checksum;
    uint32_t people, prints, size;
    uint16_t first[CHUNK_POSITIONS + 1]; /* first[p]..first[p + 1]: the prints of position p */
    uint16_t single;                     /* bit p: nobody has more than one print of position p */
    bool expire;                         /* somebody expires at some time */
    const uint64_t *words;
    const uint8_t *places, *print_rows, *expiries, *entries;
};

/* How many bytes a chunk of so many people and prints has. */
uint32_t chunk_size(uint32_t people, uint32_t prints);

/* The size of a chunk that was made here, or was opened, and its people. */
uint32_t chunk_bytes(const uint8_t *bytes);
uint32_t chunk_people(const uint8_t *bytes);

/* Its header with the checksum, to be stored with the rest: a chunk that is only kept in memory
 * does without. */
void chunk_stored_header(const uint8_t *bytes, uint8_t header[CHUNK_HEADER]);

/* Makes the chunk of a block that block_open passed, in memory from aligned_alloc(64) that the
 * caller frees. before: the chunk of an earlier version of the block, of which the words of prints
 * that are the same are taken, or NULL. NULL with *why (static text) when an entry or a template is
 * damaged, with *why NULL when memory is short. */
uint8_t *chunk_make(const uint8_t *block, const struct block_info *info, const struct chunk *before,
                    const char **why);

/* The chunk of nobody, in such memory. NULL: out of memory. */
uint8_t *chunk_make_empty(void);

/* The same chunk without the people whose entries begin at these places of the block: count u16,
 * ascending; those whom it doesn't hold are passed over. Memory as above; NULL: out of memory, or
 * the chunk was erased meanwhile. */
uint8_t *chunk_without(const struct chunk *chunk, const uint8_t *places, unsigned count);

/* Reads the parts of a chunk of which nothing is known but that `room` bytes can be read, 64-byte
 * aligned. Header and lengths are verified, with `deep` the checksum and every reference. *why:
 * what is wrong, static text. */
bool chunk_open(const uint8_t *bytes, size_t room, bool deep, struct chunk *chunk,
                const char **why);

/* Erasing a chunk that others may have mapped: mark it, so that nobody trusts what he copies of it
 * meanwhile, overwrite all but the header with zeros, and end. */
void chunk_void_begin(uint8_t *bytes);
void chunk_void_end(uint8_t *bytes);

/* Of print row i: whose it is, and where its packed template begins in the block. */
static inline uint32_t chunk_print_person(const struct chunk *chunk, uint32_t i)
{
    return get16(chunk->print_rows + (size_t)i * CHUNK_PRINT_ROW);
}

/* Whether everyone has exactly one print of a position: its rows are numbered like people then. */
static inline bool chunk_in_order(const struct chunk *chunk, unsigned position)
{
    return (chunk->single >> position & 1u) != 0 &&
           (uint32_t)chunk->first[position + 1] - chunk->first[position] == chunk->people;
}

static inline uint32_t chunk_print_place(const struct chunk *chunk, uint32_t i)
{
    return get16(chunk->print_rows + (size_t)i * CHUNK_PRINT_ROW + 2);
}

/* Of a person: seconds from 1970, 0 = never; where the entry begins in the block. */
static inline int64_t chunk_expires(const struct chunk *chunk, uint32_t person)
{
    return (int64_t)get64(chunk->expiries + (size_t)person * 8);
}

static inline uint32_t chunk_entry(const struct chunk *chunk, uint32_t person)
{
    return get16(chunk->entries + (size_t)person * 2);
}

#endif
