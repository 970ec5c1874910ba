/* Verifying a gallery from end to end. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "afis/template.h"
#include "person.h"
#include "segment.h"
#include "store.h"
#include "whorl/msg.h"

struct check {
    const struct gallery *gallery;
    MDB_txn *txn;
    void (*problem)(void *ctx, const char *text);
    void *ctx;
    size_t problems;
    uint64_t blocks, people, prints; /* found in the blocks */
};

__attribute__((format(printf, 2, 3))) static void complain(struct check *check, const char *format,
                                                           ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    check->problems++;
    check->problem(check->ctx, text);
}

static void check_templates(struct check *check, const char *id, const struct block_entry *entry)
{
    const uint8_t *at = entry->prints;
    for (unsigned i = 0; i < entry->print_count; i++) {
        struct gallery_print print;
        struct afis_template tmpl;
        block_print(&at, &print);
        if (afis_template_unpack(print.packed, print.len, &tmpl) != AFIS_OK) {
            complain(check, "person %s: the template of position %u, impression %u is damaged", id,
                     print.position, print.impression);
        }
    }
}

/* The entry against the person's record: it must point back to this block and name its prints. */
static void check_entry(struct check *check, uint32_t number, const struct block_entry *entry)
{
    char id[GALLERY_ID_MAX + 1] = {0};
    memcpy(id, entry->id, entry->id_len);
    struct whorl_fault fault = {{0}, {0}};
    struct gallery_person *person;
    MDB_val key = {entry->id_len, id}, value;
    uint32_t block = 0;
    int rc = mdb_get(check->txn, check->gallery->people, &key, &value);
    check_templates(check, id, entry);
    if (rc != 0) {
        complain(check, "block %u: person %s has no record: %s", number, id, mdb_strerror(rc));
        return;
    }
    if (person_block(value.mv_data, value.mv_size, &block) && block != number) {
        complain(check, "block %u: the record of person %s says block %u", number, id, block);
    }
    person = person_decode(id, entry->id_len, value.mv_data, value.mv_size, NULL, &fault);
    if (!person) {
        complain(check, "person %s: the record %s %s", id, fault.where, fault.text);
    } else if (!person_agrees(person, entry)) {
        complain(check, "person %s: record and block %u name different prints", id, number);
    }
    gallery_person_free(person);
}

static void check_block(struct check *check, const struct index_entry *index)
{
    const uint8_t *bytes;
    struct block_info info;
    const char *why;
    int rc = block_read(check->gallery, check->txn, index->number, &bytes, &info, &why);
    if (rc != 0) {
        complain(check, "block %u %s", index->number, why ? why : mdb_strerror(rc));
        return;
    }
    if (info.stamp != index->written || info.people != index->people + index->gone) {
        complain(check, "block %u differs from what the index says of it", index->number);
    }
    struct block_entry entry;
    size_t at = BLOCK_HEADER;
    uint64_t people = 0, prints = 0;
    uint32_t gone = 0;
    for (; block_next(bytes, &info, &at, &entry, &why); people++, prints += entry.print_count) {
        if (gone < index->gone && get16(index->places + (size_t)2 * gone) == at - entry.len) {
            gone++;
            check->prints -= entry.print_count;
            check->people--;
        } else {
            check_entry(check, index->number, &entry);
        }
    }
    if (why) {
        complain(check, "block %u %s", index->number, why);
    }
    if (people != info.people || prints != info.prints) {
        complain(check, "block %u does not hold as many people and prints as it says",
                 index->number);
    }
    if (gone != index->gone) {
        complain(check, "block %u does not hold all those who have left it", index->number);
    }
    check->people += people;
    check->prints += prints;
}

static int check_index(struct check *check)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(check->txn, check->gallery->index, &cursor);
    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        struct index_entry entry;
        check->blocks++;
        if (index_decode(&key, &value, &entry) != 0) {
            complain(check, "the index has a malformed record");
        } else {
            check_block(check, &entry);
        }
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* From the records' side: each must be found in the block that it names. */
static int check_people(struct check *check)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(check->txn, check->gallery->people, &cursor);
    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        char id[GALLERY_ID_MAX + 1] = {0};
        const uint8_t *bytes;
        struct block_info info;
        struct block_entry entry;
        const char *why;
        uint32_t number;
        memcpy(id, key.mv_data, key.mv_size < GALLERY_ID_MAX ? key.mv_size : GALLERY_ID_MAX);
        if (!person_block(value.mv_data, value.mv_size, &number)) {
            complain(check, "person %s: the record fails its checksum", id);
            continue;
        }
        rc = block_read(check->gallery, check->txn, number, &bytes, &info, &why);
        if (rc == MDB_NOTFOUND) {
            complain(check, "person %s: the record says block %u, which is missing", id, number);
        } else if (rc == 0 && !block_find(bytes, &info, id, &entry)) {
            complain(check, "person %s: not in block %u, as the record says", id, number);
        }
        /* A damaged block was reported on the way through the index. */
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* A chunk of the segment against one made from its block, both without those who have left it;
 * chunks of other versions are not used. */
static void check_chunk(struct check *check, const struct chunk *chunk)
{
    const uint8_t *block;
    struct block_info info;
    struct index_entry index;
    struct chunk all;
    const char *why;
    if (block_read(check->gallery, check->txn, chunk->number, &block, &info, &why) != 0 ||
        index_read(check->gallery, check->txn, chunk->number, &index) != 0 ||
        info.stamp != chunk->stamp || info.checksum != chunk->block_checksum) {
        return;
    }
    uint8_t *made = chunk_make(block, &info, NULL, &why), *theirs = NULL, *ours = NULL;
    if (made && chunk_open(made, SIZE_MAX, false, &all, &why)) {
        ours = chunk_without(&all, index.places, index.gone);
        theirs = chunk_without(chunk, index.places, index.gone);
    }
    if (!ours || !theirs || chunk_bytes(ours) != chunk_bytes(theirs) ||
        memcmp(ours, theirs, chunk_bytes(ours)) != 0) {
        complain(check, "the segment's chunk of block %u differs from the block", chunk->number);
    }
    free(made);
    free(ours);
    free(theirs);
}

static void check_segment(struct check *check)
{
    struct whorl_fault fault = {{0}, {0}};
    enum segment_lack lack;
    struct segment *segment = segment_open(check->gallery->dir, &lack, &fault);
    if (!segment && lack == SEGMENT_MISSING) {
        return;
    }
    if (!segment || !segment_verify(segment, UINT32_MAX, &fault)) {
        complain(check, "%s", fault.text);
    }
    for (uint32_t i = 0; segment && i < segment->verified; i++) {
        const uint8_t *bytes = segment->bytes + segment->offset[i];
        struct chunk chunk;
        const char *why;
        if (chunk_open(bytes, segment->len - segment->offset[i], false, &chunk, &why)) {
            check_chunk(check, &chunk);
        }
    }
    segment_unref(segment);
}

static int check_counters(struct check *check)
{
    struct meta meta;
    MDB_stat people, blocks;
    int rc = meta_read(check->gallery, check->txn, &meta);
    if (rc == 0) {
        rc = mdb_stat(check->txn, check->gallery->people, &people);
    }
    if (rc == 0) {
        rc = mdb_stat(check->txn, check->gallery->blocks, &blocks);
    }
    if (rc != 0) {
        return rc;
    }
    if (meta.people != check->people || meta.people != people.ms_entries) {
        complain(check, "the gallery counts %llu people, its blocks hold %llu, its records %zu",
                 (unsigned long long)meta.people, (unsigned long long)check->people,
                 people.ms_entries);
    }
    if (meta.prints != check->prints) {
        complain(check, "the gallery counts %llu prints, its blocks hold %llu",
                 (unsigned long long)meta.prints, (unsigned long long)check->prints);
    }
    if (blocks.ms_entries != check->blocks) {
        complain(check, "the index lists %llu blocks, there are %zu",
                 (unsigned long long)check->blocks, blocks.ms_entries);
    }
    return 0;
}

bool gallery_check(struct gallery *gallery, void (*problem)(void *ctx, const char *text), void *ctx,
                   size_t *problems, struct whorl_fault *fault)
{
    struct check check = {.gallery = gallery, .problem = problem, .ctx = ctx};
    check.txn = whorl_store_read(gallery->store, fault);
    if (!check.txn) {
        return false;
    }
    int rc = check_index(&check);
    if (rc == 0) {
        rc = check_people(&check);
    }
    if (rc == 0) {
        rc = check_counters(&check);
    }
    check_segment(&check);
    whorl_store_done(gallery->store, check.txn);
    *problems += check.problems;
    return rc == 0 || whorl_fail(fault, "", "cannot read the gallery: %s", mdb_strerror(rc));
}
