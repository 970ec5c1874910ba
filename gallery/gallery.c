/* Opening, reading and listing. Writing is in write.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crowd.h"
#include "gallery/copy.h"
#include "person.h"
#include "store.h"
#include "view.h"
#include "whorl/msg.h"

#define KIND "whorl-gallery"
#define FORMAT_VERSION 1u
#define META_KEY "gallery"
#define META_SIZE 32u
#define INDEX_SIZE 16u      /* stamp, people, checksum; if somebody has left the block: */
#define INDEX_GONE_SIZE 24u /* ... its own stamp, then places */
#define EACH_BATCH 256u

/* Galleries of earlier versions have none; whoever may write makes it. */
static bool open_changes(struct gallery *gallery, enum whorl_store_mode mode,
                         struct whorl_fault *fault)
{
    struct whorl_fault none;
    gallery->has_changes =
        whorl_store_db(gallery->store, "changes", MDB_INTEGERKEY, &gallery->changes,
                       mode == WHORL_STORE_READ ? &none : fault);
    return gallery->has_changes || mode == WHORL_STORE_READ;
}

struct gallery *gallery_open(const char *dir, enum whorl_store_mode mode, struct whorl_fault *fault)
{
    struct gallery *gallery = calloc(1, sizeof *gallery);
    if (!gallery) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    array_pool_init(&gallery->arrays);
    gallery->store = whorl_store_open(dir, mode, 5, KIND, FORMAT_VERSION, fault);
    if (gallery->store && whorl_store_db(gallery->store, "meta", 0, &gallery->meta, fault) &&
        whorl_store_db(gallery->store, "index", MDB_INTEGERKEY, &gallery->index, fault) &&
        whorl_store_db(gallery->store, "blocks", MDB_INTEGERKEY, &gallery->blocks, fault) &&
        whorl_store_db(gallery->store, "people", 0, &gallery->people, fault) &&
        open_changes(gallery, mode, fault)) {
        gallery->dir = strdup(dir);
        gallery->keeper = view_keeper_new(&gallery->arrays);
        gallery->crowd = crowd_new();
        if (gallery->dir && gallery->keeper && gallery->crowd) {
            return gallery;
        }
        whorl_fail(fault, "", "out of memory");
    }
    gallery_close(gallery);
    return NULL;
}

void gallery_close(struct gallery *gallery)
{
    if (!gallery) {
        return;
    }
    view_keeper_free(gallery->keeper);
    crowd_free(gallery->crowd);
    array_pool_release(&gallery->arrays);
    whorl_store_close(gallery->store);
    free(gallery->dir);
    free(gallery);
}

int meta_read(const struct gallery *gallery, MDB_txn *txn, struct meta *meta)
{
    MDB_val key = {sizeof META_KEY - 1, META_KEY}, value;
    memset(meta, 0, sizeof *meta);
    int rc = mdb_get(txn, gallery->meta, &key, &value);
    if (rc == MDB_NOTFOUND) {
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    if (value.mv_size != META_SIZE) {
        return MDB_CORRUPTED;
    }
    const uint8_t *p = value.mv_data;
    meta->stamp = get64(p);
    meta->people = get64(p + 8);
    meta->prints = get64(p + 16);
    meta->tail = get32(p + 24);
    meta->room = get32(p + 28);
    return 0;
}

int meta_write(const struct gallery *gallery, MDB_txn *txn, const struct meta *meta)
{
    uint8_t bytes[META_SIZE] = {0};
    put64(bytes, meta->stamp);
    put64(bytes + 8, meta->people);
    put64(bytes + 16, meta->prints);
    put32(bytes + 24, meta->tail);
    put32(bytes + 28, meta->room);
    MDB_val key = {sizeof META_KEY - 1, META_KEY}, value = {sizeof bytes, bytes};
    return mdb_put(txn, gallery->meta, &key, &value, 0);
}

int index_decode(const MDB_val *key, const MDB_val *value, struct index_entry *entry)
{
    const uint8_t *p = value->mv_data;
    const size_t size = value->mv_size;
    if (key->mv_size != sizeof entry->number ||
        (size != INDEX_SIZE && (size <= INDEX_GONE_SIZE || size % 2 != 0 ||
                                size > INDEX_GONE_SIZE + (size_t)2 * GONE_MAX))) {
        return MDB_CORRUPTED;
    }
    *entry =
        (struct index_entry){.stamp = get64(p), .people = get32(p + 8), .checksum = get32(p + 12)};
    memcpy(&entry->number, key->mv_data, sizeof entry->number);
    entry->written = entry->stamp;
    if (size > INDEX_SIZE) {
        entry->written = get64(p + INDEX_SIZE);
        entry->places = p + INDEX_GONE_SIZE;
        entry->gone = (uint32_t)(size - INDEX_GONE_SIZE) / 2;
    }
    return 0;
}

int index_read(const struct gallery *gallery, MDB_txn *txn, uint32_t number,
               struct index_entry *entry)
{
    MDB_val key = {sizeof number, &number}, value;
    int rc = mdb_get(txn, gallery->index, &key, &value);
    return rc != 0 ? rc : index_decode(&key, &value, entry);
}

bool chunk_is_of(const struct chunk *chunk, const struct index_entry *entry)
{
    return entry->written == chunk->stamp &&
           (entry->checksum == 0 || entry->checksum == chunk->block_checksum);
}

int index_write(const struct gallery *gallery, MDB_txn *txn, const struct index_entry *entry)
{
    uint8_t bytes[INDEX_GONE_SIZE + 2 * GONE_MAX] = {0};
    uint32_t number = entry->number;
    put64(bytes, entry->stamp);
    put32(bytes + 8, entry->people);
    put32(bytes + 12, entry->checksum);
    MDB_val key = {sizeof number, &number}, value = {INDEX_SIZE, bytes};
    if (entry->gone > 0) {
        put64(bytes + INDEX_SIZE, entry->written);
        memcpy(bytes + INDEX_GONE_SIZE, entry->places, (size_t)2 * entry->gone);
        value.mv_size = INDEX_GONE_SIZE + (size_t)2 * entry->gone;
    }
    return mdb_put(txn, gallery->index, &key, &value, 0);
}

int block_read(const struct gallery *gallery, MDB_txn *txn, uint32_t number, const uint8_t **bytes,
               struct block_info *info, const char **why)
{
    MDB_val key = {sizeof number, &number}, value;
    *why = NULL;
    int rc = mdb_get(txn, gallery->blocks, &key, &value);
    if (rc != 0) {
        return rc;
    }
    if (!block_open(value.mv_data, value.mv_size, info, why)) {
        return MDB_CORRUPTED;
    }
    if (info->number != number) {
        *why = "is another block's";
        return MDB_CORRUPTED;
    }
    *bytes = value.mv_data;
    return 0;
}

int person_read(const struct gallery *gallery, MDB_txn *txn, const char *id, size_t id_len,
                bool prints, struct gallery_person **person, struct whorl_fault *fault)
{
    MDB_val key = {id_len, (void *)(uintptr_t)id}, value;
    *person = NULL;
    int rc = mdb_get(txn, gallery->people, &key, &value);
    if (rc != 0) {
        return rc;
    }
    const uint8_t *block;
    struct block_info info;
    struct block_entry entry;
    uint32_t number;
    const char *why;
    if (prints) {
        if (id_len > GALLERY_ID_MAX || !person_block(value.mv_data, value.mv_size, &number)) {
            whorl_fail(fault, "", "fails its checksum");
            return 0;
        }
        char name[GALLERY_ID_MAX + 1] = {0};
        memcpy(name, id, id_len);
        rc = block_read(gallery, txn, number, &block, &info, &why);
        if (rc != 0) {
            whorl_fail(fault, "", "block %u %s", number, why ? why : mdb_strerror(rc));
            return 0;
        }
        if (!block_find(block, &info, name, &entry)) {
            whorl_fail(fault, "", "block %u has no entry for this person", number);
            return 0;
        }
    }
    *person =
        person_decode(id, id_len, value.mv_data, value.mv_size, prints ? &entry : NULL, fault);
    return 0;
}

bool gallery_count(struct gallery *gallery, struct gallery_counts *counts,
                   struct whorl_fault *fault)
{
    MDB_txn *txn = whorl_store_read(gallery->store, fault);
    if (!txn) {
        return false;
    }
    struct meta meta;
    MDB_stat stat = {0};
    int rc = meta_read(gallery, txn, &meta);
    if (rc == 0) {
        rc = mdb_stat(txn, gallery->index, &stat);
    }
    whorl_store_done(gallery->store, txn);
    if (rc != 0) {
        return whorl_fail(fault, "", "cannot read the gallery's counters: %s", mdb_strerror(rc));
    }
    *counts = (struct gallery_counts){meta.people, meta.prints, stat.ms_entries};
    return true;
}

/* Says which person a fault is of, which so far names a field at most. */
static bool blame(struct whorl_fault *fault, const char *id)
{
    struct whorl_fault inner = fault ? *fault : (struct whorl_fault){{0}, {0}};
    return whorl_fail(fault, id, "the record %s%s%.200s", inner.where, inner.where[0] ? " " : "",
                      inner.text);
}

bool gallery_get(struct gallery *gallery, const char *id, bool prints,
                 struct gallery_person **person, struct whorl_fault *fault)
{
    *person = NULL;
    size_t len = strlen(id);
    if (len == 0 || len > GALLERY_ID_MAX) {
        return true;
    }
    MDB_txn *txn = whorl_store_read(gallery->store, fault);
    if (!txn) {
        return false;
    }
    int rc = person_read(gallery, txn, id, len, prints, person, fault);
    whorl_store_done(gallery->store, txn);
    if (rc == MDB_NOTFOUND) {
        return true;
    }
    if (rc != 0) {
        return whorl_fail(fault, id, "cannot be read: %s", mdb_strerror(rc));
    }
    return *person || blame(fault, id);
}

/* The person whose record a cursor stands on; NULL with *fault. */
static struct gallery_person *person_at(const struct gallery *gallery, MDB_txn *txn,
                                        const MDB_val *key, const MDB_val *value, bool prints,
                                        struct whorl_fault *fault)
{
    struct gallery_person *person = NULL;
    if (!prints) {
        return person_decode(key->mv_data, key->mv_size, value->mv_data, value->mv_size, NULL,
                             fault);
    }
    int rc = person_read(gallery, txn, key->mv_data, key->mv_size, true, &person, fault);
    if (rc != 0) {
        whorl_fail(fault, "", "%s", mdb_strerror(rc));
    }
    return person;
}

/* Reads up to `most` people behind `after` ("" = from the first) in one transaction. */
static int next_people(struct gallery *gallery, const char *after, bool prints,
                       struct gallery_person **batch, size_t most, size_t *count,
                       struct whorl_fault *fault)
{
    bool damaged = false;
    MDB_cursor *cursor;
    *count = 0;
    MDB_txn *txn = whorl_store_read(gallery->store, fault);
    if (!txn) {
        return MDB_PANIC;
    }
    int rc = mdb_cursor_open(txn, gallery->people, &cursor);
    if (rc == 0) {
        MDB_val key = {strlen(after), (void *)(uintptr_t)after}, value;
        rc = mdb_cursor_get(cursor, &key, &value, after[0] ? MDB_SET_RANGE : MDB_FIRST);
        if (rc == 0 && key.mv_size == strlen(after) &&
            memcmp(key.mv_data, after, key.mv_size) == 0) {
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
        for (; rc == 0 && *count < most; (*count)++) {
            batch[*count] = person_at(gallery, txn, &key, &value, prints, fault);
            if (!batch[*count]) {
                char id[GALLERY_ID_MAX + 1] = {0};
                memcpy(id, key.mv_data,
                       key.mv_size < GALLERY_ID_MAX ? key.mv_size : GALLERY_ID_MAX);
                blame(fault, id);
                damaged = true;
                rc = MDB_CORRUPTED;
                break;
            }
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
        mdb_cursor_close(cursor);
    }
    if (rc != 0 && rc != MDB_NOTFOUND && !damaged) {
        whorl_fail(fault, "", "cannot read the gallery: %s", mdb_strerror(rc));
    }
    whorl_store_done(gallery->store, txn);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

bool gallery_next(struct gallery *gallery, const char *after, struct gallery_person **people,
                  size_t most, size_t *count, struct whorl_fault *fault)
{
    return next_people(gallery, after, true, people, most, count, fault) == 0;
}

bool gallery_mark_read(struct gallery *gallery, struct gallery_mark *mark,
                       struct whorl_fault *fault)
{
    *mark = (struct gallery_mark){.untouched = true};
    MDB_txn *txn = whorl_store_read(gallery->store, fault);
    if (!txn) {
        return false;
    }
    struct meta meta;
    MDB_val key = {sizeof MARK_KEY - 1, MARK_KEY}, value = {0, NULL};
    int rc = meta_read(gallery, txn, &meta);
    if (rc == 0 && (rc = mdb_get(txn, gallery->meta, &key, &value)) == 0) {
        rc = value.mv_size <= MARK_HEAD || value.mv_size > MARK_HEAD + GALLERY_MARK_MAX
                 ? MDB_CORRUPTED
             : (mark->bytes = malloc(value.mv_size - MARK_HEAD)) ? 0
                                                                 : ENOMEM;
    }
    if (rc == 0) {
        mark->len = value.mv_size - MARK_HEAD;
        memcpy(mark->bytes, (const uint8_t *)value.mv_data + MARK_HEAD, mark->len);
        mark->untouched = get64(value.mv_data) == meta.stamp;
    }
    mark->stamp = meta.stamp;
    whorl_store_done(gallery->store, txn);
    if (rc == MDB_NOTFOUND) {
        mark->untouched = meta.stamp == 0;
        return true;
    }
    return rc == 0 || whorl_fail(fault, "", "cannot read the copy's mark: %s", mdb_strerror(rc));
}

void gallery_mark_release(struct gallery_mark *mark)
{
    free(mark->bytes);
    *mark = (struct gallery_mark){.len = 0};
}

bool gallery_each(struct gallery *gallery,
                  bool (*visit)(void *ctx, const struct gallery_person *person), void *ctx,
                  struct whorl_fault *fault)
{
    struct gallery_person *batch[EACH_BATCH];
    char after[GALLERY_ID_MAX + 1] = "";
    for (;;) {
        size_t count;
        int rc = next_people(gallery, after, false, batch, EACH_BATCH, &count, fault);
        bool go_on = rc == 0;
        if (count > 0) {
            memcpy(after, batch[count - 1]->id, strlen(batch[count - 1]->id) + 1);
        }
        for (size_t i = 0; i < count; i++) {
            go_on = go_on && visit(ctx, batch[i]);
            gallery_person_free(batch[i]);
        }
        if (rc != 0) {
            return false;
        }
        if (!go_on || count < EACH_BATCH) {
            return true;
        }
    }
}
