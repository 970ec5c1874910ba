#include "chunk.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MAGIC 0x43474857u /* "WHGC" */
#define ALIGN 64u
#define PERSON_ROW 10u    /* in two tables */
#define PACKED_HEADER 16u /* of a packed template; descriptors follow */
#define PACKED_CHECKSUM 12u

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
_Static_assert(CHUNK_PRINT == AFIS_SIEVE_WORDS * sizeof(uint64_t), "a print's words");
_Static_assert(AT_FIRST + 2 * CHUNK_POSITIONS <= CHUNK_HEADER, "the header has room");

/* Over everything but the checksum itself. */
static uint32_t checksum(const uint8_t *bytes, uint32_t size)
{
    uLong sum = crc32(0L, bytes, AT_CHECKSUM);
    return (uint32_t)crc32(sum, bytes + AT_VERSION, size - AT_VERSION);
}

uint32_t chunk_size(uint32_t people, uint32_t prints)
{
    uint32_t size = CHUNK_HEADER + prints * (CHUNK_PRINT + CHUNK_PRINT_ROW) + people * PERSON_ROW;
    return (size + ALIGN - 1) / ALIGN * ALIGN;
}

/* Finds the parts from the counts. */
static void place_parts(const uint8_t *bytes, struct chunk *chunk)
{
    chunk->words = (const uint64_t *)(const void *)(bytes + CHUNK_HEADER);
    chunk->print_rows = bytes + CHUNK_HEADER + (size_t)chunk->prints * CHUNK_PRINT;
    chunk->expiries = chunk->print_rows + (size_t)chunk->prints * CHUNK_PRINT_ROW;
    chunk->entries = chunk->expiries + (size_t)chunk->people * 8;
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

/* The checksum that a packed template carries (afis/template.h). */
static uint32_t tag_of(const struct gallery_print *print)
{
    return print->len >= PACKED_HEADER ? get32(print->packed + PACKED_CHECKSUM) : 0;
}

/* Whether a word is among a packed template's descriptors: beside an equal checksum, as good as
 * comparing the templates. */
static bool has_word(const struct gallery_print *print, uint64_t word)
{
    for (size_t at = PACKED_HEADER; at + 8 <= print->len; at += 8) {
        if (get64(print->packed + at) == word) {
            return true;
        }
    }
    return false;
}

/* Finds a print of the same position in the chunk before, from row *at on: prints keep their
 * order. NULL: there is none. */
static const uint64_t *known_words(const struct chunk *before, const struct gallery_print *print,
                                   uint16_t *at)
{
    const uint32_t tag = tag_of(print);
    for (uint16_t row = *at; row < before->first[print->position + 1]; row++) {
        const uint64_t *words = before->words + (size_t)row * AFIS_SIEVE_WORDS;
        if (get32(before->print_rows + (size_t)row * CHUNK_PRINT_ROW + 4) == tag &&
            has_word(print, le64toh(words[0]))) {
            *at = (uint16_t)(row + 1);
            return words;
        }
    }
    return NULL;
}

/* A chunk being made. */
struct making {
    const uint8_t *block;
    const struct chunk *chunk, *before;
    uint8_t *bytes;                                               /* zero, of the right size */
    uint16_t next[CHUNK_POSITIONS], next_before[CHUNK_POSITIONS]; /* rows */
};

static bool fill_print(struct making *m, const struct gallery_print *print, uint16_t person)
{
    const uint16_t row = m->next[print->position]++;
    uint8_t *words = m->bytes + CHUNK_HEADER + (size_t)row * CHUNK_PRINT;
    uint8_t *to = m->bytes + (m->chunk->print_rows - m->bytes) + (size_t)row * CHUNK_PRINT_ROW;
    const uint64_t *known =
        m->before ? known_words(m->before, print, &m->next_before[print->position]) : NULL;
    if (known) {
        memcpy(words, known, CHUNK_PRINT);
    } else {
        uint64_t made[AFIS_SIEVE_WORDS];
        if (afis_sieve_words(print->packed, print->len, made) != AFIS_OK) {
            return false;
        }
        for (unsigned k = 0; k < AFIS_SIEVE_WORDS; k++) {
            put64(words + (size_t)k * 8, made[k]);
        }
    }
    put16(to, person);
    put16(to + 2, (uint16_t)(print->packed - m->block));
    put32(to + 4, tag_of(print));
    return true;
}

/* Fills in words and tables. */
static bool fill(struct making *m, const struct block_info *info, const char **why)
{
    struct block_entry entry;
    size_t at = BLOCK_HEADER;
    uint8_t *expiries = m->bytes + (m->chunk->expiries - m->bytes);
    uint8_t *entries = m->bytes + (m->chunk->entries - m->bytes);
    memcpy(m->next, m->chunk->first, sizeof m->next);
    if (m->before) {
        memcpy(m->next_before, m->before->first, sizeof m->next_before);
    }
    for (uint16_t person = 0; block_next(m->block, info, &at, &entry, why); person++) {
        put64(expiries + (size_t)person * 8, (uint64_t)entry.expires);
        put16(entries + (size_t)person * 2, (uint16_t)(entry.bytes - m->block));
        const uint8_t *p = entry.prints;
        for (unsigned i = 0; i < entry.print_count; i++) {
            struct gallery_print print;
            block_print(&p, &print);
            if (!fill_print(m, &print, person)) {
                *why = "holds a damaged template";
                return false;
            }
        }
    }
    return true;
}

uint8_t *chunk_make(const uint8_t *block, const struct block_info *info, const struct chunk *before,
                    const char **why)
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
    struct making making = {.block = block, .chunk = &chunk, .before = before, .bytes = bytes};
    if (!fill(&making, info, why)) {
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
        put16(bytes + AT_FIRST + (size_t)2 * i, chunk.first[i + 1]);
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
        chunk->first[i + 1] = get16(bytes + AT_FIRST + (size_t)2 * i);
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
    if (deep && chunk->stamp != CHUNK_VOID && !references_fit(chunk)) {
        return false;
    }
    *why = NULL;
    return true;
}

void chunk_void(uint8_t *bytes)
{
    put64(bytes + AT_STAMP, CHUNK_VOID);
    put32(bytes + AT_CHECKSUM, checksum(bytes, get32(bytes + AT_SIZE)));
}
