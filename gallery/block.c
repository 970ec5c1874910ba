#include "block.h"

#include <libdeflate.h>
#include <string.h>

#include "afis/template.h"
#include "bytes.h"

#define MAGIC 0x42474857u /* "WHGB" */
#define VERSION 1u
#define ENTRY_HEADER 12u
#define PRINT_HEADER 4u

enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_NUMBER = 8,
    AT_PEOPLE = 12,
    AT_STAMP = 16,
    AT_PRINTS = 24,
    AT_USED = 28,
    AT_CHECKSUM = 32,
    AT_RESERVED = 36
};

/* Over everything that is used, but for the checksum itself. */
static uint32_t checksum(const uint8_t *bytes, uint32_t used)
{
    return libdeflate_crc32(libdeflate_crc32(0, bytes, AT_CHECKSUM), bytes + AT_RESERVED,
                            used - AT_RESERVED);
}

void block_info(const uint8_t *bytes, struct block_info *info)
{
    info->number = get32(bytes + AT_NUMBER);
    info->stamp = get64(bytes + AT_STAMP);
    info->people = get32(bytes + AT_PEOPLE);
    info->prints = get32(bytes + AT_PRINTS);
    info->used = get32(bytes + AT_USED);
    info->checksum = get32(bytes + AT_CHECKSUM);
}

bool block_header(const uint8_t *bytes, size_t len, struct block_info *info, const char **why)
{
    if (len != BLOCK_SIZE) {
        *why = "has the wrong size";
        return false;
    }
    if (get32(bytes + AT_MAGIC) != MAGIC) {
        *why = "is no gallery block";
        return false;
    }
    if (get32(bytes + AT_VERSION) != VERSION) {
        *why = "is of another format version";
        return false;
    }
    block_info(bytes, info);
    if (info->used < BLOCK_HEADER || info->used > BLOCK_SIZE) {
        *why = "has an impossible length";
        return false;
    }
    *why = NULL;
    return true;
}

bool block_open(const uint8_t *bytes, size_t len, struct block_info *info, const char **why)
{
    if (!block_header(bytes, len, info, why)) {
        return false;
    }
    if (info->checksum != checksum(bytes, info->used)) {
        *why = "fails its checksum";
        return false;
    }
    return true;
}

/* Whether the prints of an entry fill it exactly and are each of a possible form. */
static bool prints_fit(const struct block_entry *entry)
{
    const uint8_t *at = entry->prints, *end = entry->bytes + entry->len;
    for (unsigned i = 0; i < entry->print_count; i++) {
        if ((size_t)(end - at) < PRINT_HEADER) {
            return false;
        }
        uint16_t len = get16(at + 2);
        if (at[0] > 10 || len == 0 || len > AFIS_PACKED_MAX ||
            (size_t)(end - at) < PRINT_HEADER + len) {
            return false;
        }
        at += PRINT_HEADER + len;
    }
    return at == end;
}

bool block_next(const uint8_t *bytes, const struct block_info *info, size_t *at,
                struct block_entry *entry, const char **why)
{
    *why = NULL;
    if (*at == info->used) {
        return false;
    }
    *why = "has a malformed entry";
    const uint8_t *p = bytes + *at;
    size_t room = info->used - *at;
    if (room < ENTRY_HEADER) {
        return false;
    }
    entry->bytes = p;
    entry->len = get16(p);
    entry->id_len = p[2];
    entry->print_count = p[3];
    entry->expires = (int64_t)get64(p + 4);
    entry->id = (const char *)p + ENTRY_HEADER;
    if (entry->len > room || entry->id_len == 0 || entry->id_len > GALLERY_ID_MAX ||
        entry->len < ENTRY_HEADER + entry->id_len || entry->print_count == 0 ||
        entry->print_count > GALLERY_PRINTS_MAX) {
        return false;
    }
    entry->prints = p + ENTRY_HEADER + entry->id_len;
    if (!prints_fit(entry)) {
        return false;
    }
    *at += entry->len;
    *why = NULL;
    return true;
}

void block_print(const uint8_t **at, struct gallery_print *print)
{
    print->position = (*at)[0];
    print->impression = (*at)[1];
    print->len = get16(*at + 2);
    print->packed = *at + PRINT_HEADER;
    *at += PRINT_HEADER + print->len;
}

bool block_find(const uint8_t *bytes, const struct block_info *info, const char *id,
                struct block_entry *entry)
{
    const size_t id_len = strlen(id);
    const char *why;
    size_t at = BLOCK_HEADER, len;
    for (; at + ENTRY_HEADER + id_len <= info->used; at += len) {
        len = get16(bytes + at);
        if (bytes[at + 2] == id_len && memcmp(bytes + at + ENTRY_HEADER, id, id_len) == 0) {
            return block_next(bytes, info, &at, entry, &why);
        }
        if (len < ENTRY_HEADER) {
            return false;
        }
    }
    return false;
}

/* Looks at one entry, and has the next one fetched. */
static void seek(struct block_sought *sought)
{
    const uint8_t *p = sought->bytes + sought->at;
    const size_t needed = ENTRY_HEADER + sought->id_len;
    if (sought->at + needed > sought->used) {
        sought->at = 0;
        sought->done = true;
        return;
    }
    if (p[2] == sought->id_len && memcmp(p + ENTRY_HEADER, sought->id, sought->id_len) == 0) {
        sought->done = true;
        return;
    }
    const size_t len = get16(p);
    sought->at = len < ENTRY_HEADER ? sought->used : sought->at + len;
    if (sought->at + needed <= sought->used) {
        __builtin_prefetch(p + len);
        __builtin_prefetch(p + len + needed - 1);
    }
}

void block_find_all(struct block_sought *sought, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        sought[i].at = sought[i].bytes ? BLOCK_HEADER : 0;
        sought[i].done = sought[i].bytes == NULL;
        left += sought[i].bytes != NULL;
    }
    while (left > 0) {
        left = 0;
        for (size_t i = 0; i < count; i++) {
            if (!sought[i].done) {
                seek(&sought[i]);
                left += !sought[i].done;
            }
        }
    }
}

void block_clear(uint8_t *bytes, uint32_t number)
{
    memset(bytes, 0, BLOCK_SIZE);
    put32(bytes + AT_MAGIC, MAGIC);
    put32(bytes + AT_VERSION, VERSION);
    put32(bytes + AT_NUMBER, number);
    put32(bytes + AT_USED, BLOCK_HEADER);
}

static void set_counts(uint8_t *bytes, const struct block_info *info)
{
    put32(bytes + AT_PEOPLE, info->people);
    put32(bytes + AT_PRINTS, info->prints);
    put32(bytes + AT_USED, info->used);
}

size_t block_entry_size(const struct gallery_person *person)
{
    size_t size = ENTRY_HEADER + strlen(person->id);
    for (size_t i = 0; i < person->print_count; i++) {
        size += PRINT_HEADER + person->prints[i].len;
    }
    return size;
}

bool block_add(uint8_t *bytes, const struct gallery_person *person)
{
    struct block_info info;
    block_info(bytes, &info);
    size_t size = block_entry_size(person), id_len = strlen(person->id);
    if (size > BLOCK_SIZE - info.used) {
        return false;
    }
    uint8_t *p = bytes + info.used;
    put16(p, (uint16_t)size);
    p[2] = (uint8_t)id_len;
    p[3] = (uint8_t)person->print_count;
    put64(p + 4, (uint64_t)person->expires);
    memcpy(p + ENTRY_HEADER, person->id, id_len);
    p += ENTRY_HEADER + id_len;
    for (size_t i = 0; i < person->print_count; i++) {
        const struct gallery_print *print = &person->prints[i];
        p[0] = print->position;
        p[1] = print->impression;
        put16(p + 2, print->len);
        memcpy(p + PRINT_HEADER, print->packed, print->len);
        p += PRINT_HEADER + print->len;
    }
    info.people++;
    info.prints += (uint32_t)person->print_count;
    info.used += (uint32_t)size;
    set_counts(bytes, &info);
    return true;
}

bool block_drop(uint8_t *bytes, const char *id, uint32_t *prints)
{
    struct block_info info;
    struct block_entry entry;
    block_info(bytes, &info);
    if (!block_find(bytes, &info, id, &entry)) {
        return false;
    }
    size_t at = (size_t)(entry.bytes - bytes), len = entry.len;
    *prints = entry.print_count;
    memmove(bytes + at, bytes + at + len, info.used - at - len);
    info.used -= (uint32_t)len;
    memset(bytes + info.used, 0, len);
    info.people--;
    info.prints -= *prints;
    set_counts(bytes, &info);
    return true;
}

bool block_drop_places(uint8_t *bytes, const uint8_t *places, unsigned count)
{
    struct block_info info;
    struct block_entry entry;
    const char *why;
    block_info(bytes, &info);
    const struct block_info before = info;
    size_t at = BLOCK_HEADER, to = BLOCK_HEADER;
    unsigned dropped = 0;
    while (block_next(bytes, &before, &at, &entry, &why)) {
        const size_t place = at - entry.len;
        if (dropped < count && get16(places + (size_t)2 * dropped) == place) {
            info.people--;
            info.prints -= entry.print_count;
            dropped++;
            continue;
        }
        memmove(bytes + to, bytes + place, entry.len);
        to += entry.len;
    }
    if (why || dropped != count) {
        return false;
    }
    memset(bytes + to, 0, before.used - to);
    info.used = (uint32_t)to;
    set_counts(bytes, &info);
    return true;
}

void block_seal(uint8_t *bytes, uint64_t stamp)
{
    put64(bytes + AT_STAMP, stamp);
    put32(bytes + AT_CHECKSUM, checksum(bytes, get32(bytes + AT_USED)));
}
