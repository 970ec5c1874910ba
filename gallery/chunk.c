#include "chunk.h"

#include <libdeflate.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

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
    AT_FIRST = 40,   /* of positions 0 to 11, u16; of position 0 it would always be 0: left out */
    AT_FORM = 62     /* u16: bits of chunk.single, and FORM_EXPIRE */
};
#define FORM_EXPIRE 0x8000u
_Static_assert(CHUNK_PRINT == AFIS_SIEVE_WORDS * sizeof(uint64_t), "a print's words");
_Static_assert(CHUNK_PLACES == AFIS_SIEVE_PLACES, "a print's places");
_Static_assert(AT_FIRST + 2 * CHUNK_POSITIONS <= AT_FORM, "the header has room");

/* Over everything but the checksum itself. */
static uint32_t checksum(const uint8_t *bytes, uint32_t size)
{
    return libdeflate_crc32(libdeflate_crc32(0, bytes, AT_CHECKSUM), bytes + AT_VERSION,
                            size - AT_VERSION);
}

uint32_t chunk_size(uint32_t people, uint32_t prints)
{
    uint32_t size = CHUNK_HEADER + prints * (CHUNK_PRINT + CHUNK_PLACES + CHUNK_PRINT_ROW) +
                    people * PERSON_ROW;
    return (size + ALIGN - 1) / ALIGN * ALIGN;
}

uint32_t chunk_bytes(const uint8_t *bytes)
{
    return get32(bytes + AT_SIZE);
}

uint32_t chunk_people(const uint8_t *bytes)
{
    return get32(bytes + AT_PEOPLE);
}

void chunk_stored_header(const uint8_t *bytes, uint8_t header[CHUNK_HEADER])
{
    memcpy(header, bytes, CHUNK_HEADER);
    if (get32(header + AT_CHECKSUM) == 0) {
        put32(header + AT_CHECKSUM, checksum(bytes, chunk_bytes(bytes)));
    }
}

/* Finds the parts from the counts. */
static void place_parts(const uint8_t *bytes, struct chunk *chunk)
{
    chunk->words = (const uint64_t *)(const void *)(bytes + CHUNK_HEADER);
    chunk->places = bytes + CHUNK_HEADER + (size_t)chunk->prints * CHUNK_PRINT;
    chunk->print_rows = chunk->places + (size_t)chunk->prints * CHUNK_PLACES;
    chunk->expiries = chunk->print_rows + (size_t)chunk->prints * CHUNK_PRINT_ROW;
    chunk->entries = chunk->expiries + (size_t)chunk->people * 8;
}

/* Whether nobody has more than one print of a position. */
static bool is_single(const struct chunk *chunk, unsigned position)
{
    bool twice = false;
    for (uint32_t i = chunk->first[position] + 1u; i < chunk->first[position + 1]; i++) {
        /* rows are in order of people */
        twice |= chunk_print_person(chunk, i) == chunk_print_person(chunk, i - 1);
    }
    return !twice;
}

/* What the tables say of their own form, as the header has it. */
static uint16_t form_of(const struct chunk *chunk)
{
    unsigned form = 0;
    for (unsigned position = 0; position < CHUNK_POSITIONS; position++) {
        form |= (unsigned)is_single(chunk, position) << position;
    }
    for (uint32_t i = 0; i < chunk->people; i++) {
        form |= chunk_expires(chunk, i) != 0 ? FORM_EXPIRE : 0;
    }
    return (uint16_t)form;
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
    } else if (!*why && chunk->prints > CHUNK_ROWS_MAX) {
        *why = "holds a damaged template"; /* these are smaller than any */
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

/* Finds a print of the same position in the chunk before, from row *at on, and leaves its row
 * there: prints keep their order. false: there is none. */
static bool find_known(const struct chunk *before, const struct gallery_print *print, uint16_t *at)
{
    const uint32_t tag = tag_of(print);
    for (uint16_t row = *at; row < before->first[print->position + 1]; row++) {
        const uint64_t *words = before->words + (size_t)row * AFIS_SIEVE_WORDS;
        if (get32(before->print_rows + (size_t)row * CHUNK_PRINT_ROW + 4) == tag &&
            has_word(print, le64toh(words[0]))) {
            *at = row;
            return true;
        }
    }
    return false;
}

/* Whether another process has begun to erase a chunk: what was copied of it may be zeros. */
static bool is_voided(const struct chunk *chunk)
{
    atomic_thread_fence(memory_order_seq_cst);
    return get64((const uint8_t *)chunk->words - CHUNK_HEADER + AT_STAMP) == CHUNK_VOID;
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
    uint8_t *places = m->bytes + (m->chunk->places - m->bytes) + (size_t)row * CHUNK_PLACES;
    uint8_t *to = m->bytes + (m->chunk->print_rows - m->bytes) + (size_t)row * CHUNK_PRINT_ROW;
    uint16_t *known = &m->next_before[print->position];
    if (m->before && find_known(m->before, print, known)) {
        memcpy(words, m->before->words + (size_t)*known * AFIS_SIEVE_WORDS, CHUNK_PRINT);
        memcpy(places, m->before->places + (size_t)*known * CHUNK_PLACES, CHUNK_PLACES);
        ++*known;
    } else {
        uint64_t made[AFIS_SIEVE_WORDS];
        if (afis_sieve_words(print->packed, print->len, made, places) != AFIS_OK) {
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

/* Room for a chunk with these counts, zeroed. NULL: out of memory. */
static uint8_t *new_chunk(struct chunk *chunk)
{
    chunk->size = chunk_size(chunk->people, chunk->prints);
    uint8_t *bytes = aligned_alloc(ALIGN, chunk->size);
    if (bytes) {
        memset(bytes, 0, chunk->size);
        place_parts(bytes, chunk);
    }
    return bytes;
}

/* Writes the header of a chunk whose parts are filled in, but for the checksum. */
static void put_header(uint8_t *bytes, const struct chunk *chunk)
{
    put32(bytes + AT_MAGIC, MAGIC);
    put32(bytes + AT_NUMBER, chunk->number);
    put64(bytes + AT_STAMP, chunk->stamp);
    put32(bytes + AT_PEOPLE, chunk->people);
    put32(bytes + AT_PRINTS, chunk->prints);
    put32(bytes + AT_SIZE, chunk->size);
    put32(bytes + AT_BLOCK_CHECKSUM, chunk->block_checksum);
    put16(bytes + AT_VERSION, AFIS_SIEVE_VERSION);
    for (unsigned i = 0; i < CHUNK_POSITIONS; i++) {
        put16(bytes + AT_FIRST + (size_t)2 * i, chunk->first[i + 1]);
    }
    put16(bytes + AT_FORM, form_of(chunk));
}

uint8_t *chunk_make(const uint8_t *block, const struct block_info *info, const struct chunk *before,
                    const char **why)
{
    struct chunk chunk = {
        .number = info->number, .stamp = info->stamp, .block_checksum = info->checksum};
    if (!count_prints(block, info, &chunk, why)) {
        return NULL;
    }
    uint8_t *bytes = new_chunk(&chunk);
    if (!bytes) {
        *why = NULL;
        return NULL;
    }
    struct making making = {.block = block, .chunk = &chunk, .before = before, .bytes = bytes};
    bool ok = fill(&making, info, why);
    if (ok && before && is_voided(before)) {
        making.before = NULL;
        ok = fill(&making, info, why);
    }
    if (!ok) {
        free(bytes);
        return NULL;
    }
    put_header(bytes, &chunk);
    return bytes;
}

uint8_t *chunk_make_empty(void)
{
    struct chunk chunk = {.number = 0};
    uint8_t *bytes = new_chunk(&chunk);
    if (bytes) {
        put_header(bytes, &chunk);
    }
    return bytes;
}

/* ------------------------------------------------------------------ leaving people out */

#define LEFT_OUT UINT16_MAX

/* Numbers those who stay, in place of LEFT_OUT, and counts their prints by position. */
static void number_people(const struct chunk *from, const uint8_t *places, unsigned count,
                          uint16_t *numbers, struct chunk *chunk)
{
    unsigned next = 0;
    for (uint32_t i = 0; i < from->people; i++) {
        const uint32_t place = chunk_entry(from, i);
        while (next < count && get16(places + (size_t)2 * next) < place) {
            next++;
        }
        const bool gone = next < count && get16(places + (size_t)2 * next) == place;
        numbers[i] = gone ? LEFT_OUT : (uint16_t)chunk->people++;
    }
    for (unsigned p = 0; p < CHUNK_POSITIONS; p++) {
        for (uint32_t row = from->first[p]; row < from->first[p + 1]; row++) {
            chunk->prints += numbers[chunk_print_person(from, row)] != LEFT_OUT;
        }
        chunk->first[p + 1] = (uint16_t)chunk->prints;
    }
}

uint8_t *chunk_without(const struct chunk *from, const uint8_t *places, unsigned count)
{
    uint16_t numbers[CHUNK_ROWS_MAX];
    struct chunk chunk = {
        .number = from->number, .stamp = from->stamp, .block_checksum = from->block_checksum};
    number_people(from, places, count, numbers, &chunk);
    uint8_t *bytes = new_chunk(&chunk);
    if (!bytes) {
        return NULL;
    }
    uint8_t *words = bytes + CHUNK_HEADER, *lies = words + (size_t)chunk.prints * CHUNK_PRINT;
    uint8_t *rows = lies + (size_t)chunk.prints * CHUNK_PLACES;
    uint8_t *expiries = rows + (size_t)chunk.prints * CHUNK_PRINT_ROW;
    uint8_t *entries = expiries + (size_t)chunk.people * 8;
    const uint8_t *end =
        lies; /* rows of a chunk that is being erased are others than were counted */
    for (uint32_t row = 0; row < from->prints; row++) {
        const uint16_t number = numbers[chunk_print_person(from, row)];
        if (number != LEFT_OUT && words < end) {
            memcpy(words, from->words + (size_t)row * AFIS_SIEVE_WORDS, CHUNK_PRINT);
            memcpy(lies, from->places + (size_t)row * CHUNK_PLACES, CHUNK_PLACES);
            memcpy(rows, from->print_rows + (size_t)row * CHUNK_PRINT_ROW, CHUNK_PRINT_ROW);
            put16(rows, number);
            words += CHUNK_PRINT;
            lies += CHUNK_PLACES;
            rows += CHUNK_PRINT_ROW;
        }
    }
    for (uint32_t i = 0; i < from->people; i++) {
        if (numbers[i] != LEFT_OUT) {
            put64(expiries + (size_t)numbers[i] * 8, (uint64_t)chunk_expires(from, i));
            put16(entries + (size_t)numbers[i] * 2, (uint16_t)chunk_entry(from, i));
        }
    }
    if (is_voided(from)) {
        free(bytes);
        return NULL;
    }
    put_header(bytes, &chunk);
    return bytes;
}

/* ------------------------------------------------------------------ reading */

/* Whether the counts fit each other and the room. */
static bool counts_fit(const struct chunk *chunk, size_t room)
{
    if (chunk->people > CHUNK_ROWS_MAX || chunk->prints > CHUNK_ROWS_MAX || chunk->size > room ||
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
    const uint16_t form = get16(bytes + AT_FORM);
    chunk->single = form & ((1u << CHUNK_POSITIONS) - 1);
    chunk->expire = (form & FORM_EXPIRE) != 0;
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
    *why = "is not of the form that its header states";
    if (deep && chunk->stamp != CHUNK_VOID && form != form_of(chunk)) {
        return false;
    }
    *why = NULL;
    return true;
}

void chunk_void_begin(uint8_t *bytes)
{
    put64(bytes + AT_STAMP, CHUNK_VOID);
    atomic_thread_fence(memory_order_seq_cst);
}

void chunk_void_end(uint8_t *bytes)
{
    put32(bytes + AT_CHECKSUM, checksum(bytes, get32(bytes + AT_SIZE)));
}
