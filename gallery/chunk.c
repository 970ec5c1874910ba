#include "chunk.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bytes.h"

#define MAGIC 0x43474857u /* "WHGC" */
#define ALIGN 64u
#define PRINT_ROW 4u
#define PERSON_ROW 10u /* in two tables */

enum {
    AT_MAGIC = 0,
    AT_NUMBER = 4,
    AT_STAMP = 8,
    AT_PEOPLE = 16,
    AT_PRINTS = 20,
    AT_SIZE = 24,
    AT_BLOCK_CHECKSUM = 28,
    AT_CHECKSUM = 32,
    AT_VERSION = 36, /* u16, of the words */
    AT_FIRST = 40    /* of positions 0 to 11, u16; of position 0 it would always be 0: left out */
};
_Static_assert(AT_FIRST + 2 * CHUNK_POSITIONS <= CHUNK_HEADER, "the header has room");

/* Over everything but the checksum itself. */
static uint32_t checksum(const uint8_t *bytes, uint32_t size)
{
    uLong sum = crc32(0L, bytes, AT_CHECKSUM);
    return (uint32_t)crc32(sum, bytes + AT_VERSION, size - AT_VERSION);
}

uint32_t chunk_size(uint32_t people, uint32_t prints)
{
    uint32_t size = CHUNK_HEADER + prints * (CHUNK_PRINT + PRINT_ROW) + people * PERSON_ROW;
    return (size + ALIGN - 1) / ALIGN * ALIGN;
}

/* Finds the parts from the counts. */
static void place_parts(const uint8_t *bytes, struct chunk *chunk)
{
    chunk->words = (const uint64_t *)(const void *)(bytes + CHUNK_HEADER);
    chunk->print_rows = bytes + CHUNK_HEADER + (size_t)chunk->prints * CHUNK_PRINT;
    chunk->expiries = chunk->print_rows + (size_t)chunk->prints * PRINT_ROW;
    chunk->entries = chunk->expiries + (size_t)chunk->people * 8;
}

uint32_t chunk_print_person(const struct chunk *chunk, uint32_t i)
{
    return get16(chunk->print_rows + (size_t)i * PRINT_ROW);
}

uint32_t chunk_print_place(const struct chunk *chunk, uint32_t i)
{
    return get16(chunk->print_rows + (size_t)i * PRINT_ROW + 2);
}

int64_t chunk_expires(const struct chunk *chunk, uint32_t person)
{
    return (int64_t)get64(chunk->expiries + (size_t)person * 8);
}

uint32_t chunk_entry(const struct chunk *chunk, uint32_t person)
{
    return get16(chunk->entries + (size_t)person * 2);
}

/* ------------------------------------------------------------------ making */

/* Counts the prints of each position into first[position + 1], then adds up. */
static bool count_prints(const uint8_t *block, const struct block_info *info, struct chunk *chunk,
                         const char **why)
{
    struct block_entry entry;
    size_t at = BLOCK_HEADER;
    while (block_next(block, info, &at, &entry, why)) {
        const uint8_t *p = entry.prints;
        for (unsigned i = 0; i < entry.print_count; i++) {
            struct gallery_print print;
            block_print(&p, &print);
            chunk->first[print.position + 1]++;
        }
        chunk->people++;
        chunk->prints += entry.print_count;
    }
    for (unsigned i = 0; i < CHUNK_POSITIONS; i++) {
        chunk->first[i + 1] = (uint16_t)(chunk->first[i + 1] + chunk->first[i]);
    }
    if (!*why && chunk->people != info->people) {
        *why = "does not hold as many people as it says";
    }
    return !*why;
}

/* Fills in words and tables. `bytes` is of the right size and zero. */
static bool fill(const uint8_t *block, const struct block_info *info, const struct chunk *chunk,
                 uint8_t *bytes, const char **why)
{
    struct block_entry entry;
    uint16_t next[CHUNK_POSITIONS];
    size_t at = BLOCK_HEADER;
    uint8_t *rows = bytes + (chunk->print_rows - bytes);
    uint8_t *expiries = bytes + (chunk->expiries - bytes);
    uint8_t *entries = bytes + (chunk->entries - bytes);
    memcpy(next, chunk->first, sizeof next);
    for (uint16_t person = 0; block_next(block, info, &at, &entry, why); person++) {
        put64(expiries + (size_t)person * 8, (uint64_t)entry.expires);
        put16(entries + (size_t)person * 2, (uint16_t)(entry.bytes - block));
        const uint8_t *p = entry.prints;
        for (unsigned i = 0; i < entry.print_count; i++) {
            struct gallery_print print;
            uint64_t words[AFIS_SIEVE_WORDS];
            block_print(&p, &print);
            uint16_t row = next[print.position]++;
            if (afis_sieve_words(print.packed, print.len, words) != AFIS_OK) {
                *why = "holds a damaged template";
                return false;
            }
            for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
                put64(bytes + CHUNK_HEADER + (size_t)row * CHUNK_PRINT + k * 8, words[k]);
            }
            put16(rows + (size_t)row * PRINT_ROW, person);
            put16(rows + (size_t)row * PRINT_ROW + 2, (uint16_t)(print.packed - block));
        }
    }
    return true;
}

uint8_t *chunk_make(const uint8_t *block, const struct block_info *info, const char **why)
{
    struct chunk chunk = {.number = info->number, .stamp = info->stamp};
    if (!count_prints(block, info, &chunk, why)) {
        return NULL;
    }
    const uint32_t size = chunk_size(chunk.people, chunk.prints);
    uint8_t *bytes = aligned_alloc(ALIGN, size);
    if (!bytes) {
        *why = "cannot be indexed: out of memory";
        return NULL;
    }
    memset(bytes, 0, size);
    place_parts(bytes, &chunk);
    if (!fill(block, info, &chunk, bytes, why)) {
        free(bytes);
        return NULL;
    }
    put32(bytes + AT_MAGIC, MAGIC);
    put32(bytes + AT_NUMBER, chunk.number);
    put64(bytes + AT_STAMP, chunk.stamp);
    put32(bytes + AT_PEOPLE, chunk.people);
    put32(bytes + AT_PRINTS, chunk.prints);
    put32(bytes + AT_SIZE, size);
    put32(bytes + AT_BLOCK_CHECKSUM, info->checksum);
    put16(bytes + AT_VERSION, AFIS_SIEVE_VERSION);
    for (unsigned i = 0; i < CHUNK_POSITIONS; i++) {
        put16(bytes + AT_FIRST + 2 * i, chunk.first[i + 1]);
    }
    put32(bytes + AT_CHECKSUM, checksum(bytes, size));
    return bytes;
}

/* ------------------------------------------------------------------ reading */

/* Whether the counts fit each other and the room. */
static bool counts_fit(const struct chunk *chunk, size_t room)
{
    if (chunk->people > UINT16_MAX || chunk->prints > UINT16_MAX || chunk->size > room ||
        chunk->size != chunk_size(chunk->people, chunk->prints) ||
        chunk->first[CHUNK_POSITIONS] != chunk->prints) {
        return false;
    }
    for (unsigned i = 0; i < CHUNK_POSITIONS; i++) {
        if (chunk->first[i] > chunk->first[i + 1]) {
            return false;
        }
    }
    return true;
}

static bool references_fit(const struct chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->prints; i++) {
        if (chunk_print_person(chunk, i) >= chunk->people) {
            return false;
        }
    }
    for (unsigned p = 0; p < CHUNK_POSITIONS; p++) { /* in order of people, to be searched */
        for (uint32_t i = chunk->first[p] + 1u; i < chunk->first[p + 1]; i++) {
            if (chunk_print_person(chunk, i) < chunk_print_person(chunk, i - 1)) {
                return false;
            }
        }
    }
    for (uint32_t i = 0; i < chunk->people; i++) {
        if (chunk_entry(chunk, i) < BLOCK_HEADER) {
            return false;
        }
    }
    return true;
}

bool chunk_open(const uint8_t *bytes, size_t room, bool deep, struct chunk *chunk, const char **why)
{
    *chunk = (struct chunk){0};
    *why = "is cut short";
    if (room < CHUNK_HEADER) {
        return false;
    }
    *why = "is no chunk of an index";
    if (get32(bytes + AT_MAGIC) != MAGIC) {
        return false;
    }
    *why = "is of another format version";
    if (get16(bytes + AT_VERSION) != AFIS_SIEVE_VERSION) {
        return false;
    }
    chunk->number = get32(bytes + AT_NUMBER);
    chunk->stamp = get64(bytes + AT_STAMP);
    chunk->people = get32(bytes + AT_PEOPLE);
    chunk->prints = get32(bytes + AT_PRINTS);
    chunk->size = get32(bytes + AT_SIZE);
    chunk->block_checksum = get32(bytes + AT_BLOCK_CHECKSUM);
    for (unsigned i = 0; i < CHUNK_POSITIONS; i++) {
        chunk->first[i + 1] = get16(bytes + AT_FIRST + 2 * i);
    }
    *why = "has impossible counts";
    if (!counts_fit(chunk, room)) {
        return false;
    }
    place_parts(bytes, chunk);
    *why = "fails its checksum";
    if (deep && get32(bytes + AT_CHECKSUM) != checksum(bytes, chunk->size)) {
        return false;
    }
    *why = "refers to people that it does not hold";
    if (deep && !references_fit(chunk)) {
        return false;
    }
    *why = NULL;
    return true;
}
