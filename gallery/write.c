/* Adding, replacing and removing people: each call is one transaction.
 *
 * New people go to the tail block until it is full. Whoever leaves a block, removed or to be
 * replaced, is only named in the index (struct index_entry), which costs some bytes instead of 64
 * KiB. Before a new block is begun others are looked at: one that enough people have left is
 * written anew without them and filled up again. That is how log-structured file systems clean: a
 * block that is taken late gives room for many at once (Rosenblum, Ousterhout, ACM TOCS 10 (1),
 * 1992). Within a transaction two blocks are kept open in memory, the tail and the one with room,
 * so that a batch writes each about once. Which blocks have room is found in write_room.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "whorl/msg.h"
#include "write_parts.h"

#define NO_ENTRY "has no entry for a person that it should hold"
#define TIDY_BLOCKS 256u /* written anew in one transaction */

/* Says what is damaged, for the fault of the whole batch. */
static int damaged(struct batch *batch, const char *of, const char *name, const char *why)
{
    snprintf(batch->damage, sizeof batch->damage, "%s %s %.60s", of, name, why);
    return MDB_CORRUPTED;
}

static int damaged_block(struct batch *batch, uint32_t number, const char *why)
{
    char name[16];
    snprintf(name, sizeof name, "%u", number);
    return damaged(batch, "block", name, why);
}

/* For the log. */
static int note(struct batch *batch, uint32_t block, uint16_t place)
{
    return changes_note(&batch->changes, batch->meta.stamp, block, place) ? 0 : ENOMEM;
}

/* Nobody is left in a block. */
static int delete_block(struct batch *batch, uint32_t number)
{
    MDB_val key = {sizeof number, &number};
    batch->meta.room = batch->meta.room == number ? 0 : batch->meta.room;
    write_forget_block(batch, number);
    int rc = note(batch, number, CHANGE_WRITTEN);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_del(batch->txn, batch->gallery->index, &key, NULL);
    if (rc == 0) {
        rc = mdb_del(batch->txn, batch->gallery->blocks, &key, NULL);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Writes a block back, or takes it away when nobody is left in it. */
int write_flush(struct batch *batch, struct open_block *block)
{
    if (!block->number || !block->changed) {
        return 0;
    }
    const uint32_t number = block->number;
    struct block_info info;
    block->changed = false;
    block_info(block->bytes, &info);
    if (info.people == 0) {
        block->number = 0;
        return delete_block(batch, number);
    }
    block_seal(block->bytes, batch->meta.stamp);
    MDB_val key = {sizeof block->number, &block->number}, value = {BLOCK_SIZE, block->bytes};
    int rc = mdb_put(batch->txn, batch->gallery->blocks, &key, &value, 0);
    if (rc == 0) {
        rc = note(batch, number, CHANGE_WRITTEN);
    }
    if (rc != 0) {
        return rc;
    }
    block_info(block->bytes, &info);
    struct index_entry entry = {.number = number,
                                .stamp = batch->meta.stamp,
                                .people = info.people,
                                .checksum = info.checksum};
    return index_write(batch->gallery, batch->txn, &entry);
}

/* Opens a block, without those who have left it. */
static int load(struct batch *batch, struct open_block *block, uint32_t number)
{
    const uint8_t *bytes;
    struct block_info info;
    struct index_entry index;
    const char *why = NULL;
    int rc = write_flush(batch, block);
    if (rc != 0) {
        return rc;
    }
    block->number = 0;
    rc = index_read(batch->gallery, batch->txn, number, &index);
    if (rc == 0) {
        rc = block_read(batch->gallery, batch->txn, number, &bytes, &info, &why);
    }
    if (rc == MDB_NOTFOUND || rc == MDB_CORRUPTED) {
        return damaged_block(batch, number, why ? why : "is missing");
    }
    if (rc != 0) {
        return rc;
    }
    memcpy(block->bytes, bytes, BLOCK_SIZE);
    if (info.stamp != index.written) {
        return damaged_block(batch, number, "is of another version than the index says");
    }
    if (index.gone > 0 && !block_drop_places(block->bytes, index.places, index.gone)) {
        return damaged_block(batch, number, "does not hold all those who have left it");
    }
    block->number = number;
    return 0;
}

/* Brings block `number` into memory. */
static int bring(struct batch *batch, uint32_t number, struct open_block **block)
{
    *block = number == batch->tail->number ? batch->tail : batch->other;
    return (*block)->number == number ? 0 : load(batch, *block, number);
}

/* Opens the tail as the last transaction left it, or a new block behind it. */
static int open_tail(struct batch *batch, bool new_one)
{
    struct open_block *tail = batch->tail;
    if (!new_one && batch->meta.tail != 0) {
        if (batch->other->number == batch->meta.tail) {
            batch->tail = batch->other;
            batch->other = tail;
            return 0;
        }
        MDB_val key = {sizeof batch->meta.tail, &batch->meta.tail}, value;
        int rc = mdb_get(batch->txn, batch->gallery->blocks, &key, &value);
        if (rc != MDB_NOTFOUND) {
            return rc != 0 ? rc : load(batch, tail, batch->meta.tail);
        }
    }
    int rc = write_flush(batch, tail);
    if (rc != 0) {
        return rc;
    }
    if (batch->meta.tail == UINT32_MAX) {
        return MDB_DBS_FULL;
    }
    batch->meta.tail++;
    tail->number = batch->meta.tail;
    block_clear(tail->bytes, tail->number);
    return 0;
}

/* Finds the block that holds a person; 0 and *block 0 when there is no such person. */
static int find(struct batch *batch, const char *id, uint32_t *block)
{
    MDB_val key = {strlen(id), (void *)(uintptr_t)id}, value;
    *block = 0;
    int rc = mdb_get(batch->txn, batch->gallery->people, &key, &value);
    if (rc == MDB_NOTFOUND) {
        return 0;
    }
    if (rc == 0 && !person_block(value.mv_data, value.mv_size, block)) {
        return damaged(batch, "the record of", id, "fails its checksum");
    }
    return rc;
}

/* Takes a person's entry out of an open block. */
static int drop(struct batch *batch, struct open_block *block, const char *id)
{
    uint32_t prints;
    if (!block_drop(block->bytes, id, &prints)) {
        return damaged_block(batch, block->number, NO_ENTRY);
    }
    block->changed = true;
    batch->meta.prints -= prints;
    return 0;
}

/* Adds a place to those who have left a block. */
static int let_go(struct batch *batch, struct index_entry *index, uint16_t place)
{
    uint8_t places[2 * GONE_MAX];
    size_t before = 0;
    while (before < index->gone && get16(index->places + 2 * before) < place) {
        before++;
    }
    memcpy(places, index->places ? index->places : places, 2 * before);
    put16(places + 2 * before, place);
    if (index->gone > before) {
        memcpy(places + 2 * before + 2, index->places + 2 * before, 2 * (index->gone - before));
    }
    index->places = places;
    index->gone++;
    index->people--;
    index->stamp = batch->meta.stamp;
    if (index->people == 0) {
        return delete_block(batch, index->number);
    }
    const int rc = index_write(batch->gallery, batch->txn, index);
    return rc == 0 ? note(batch, index->number, place) : rc;
}

/* Looks where those who are next are, which saves find_entry the time to search for each of them by
 * himself. What is wrong is left for find and find_entry to say. */
static void scout(struct batch *batch, const char *const *ids, size_t count)
{
    struct block_sought sought[SCOUTED];
    struct block_info info;
    const char *why;
    for (size_t i = 0; i < count; i++) {
        struct whereabouts *to = &batch->scouted[i];
        MDB_val key = {strlen(ids[i]), (void *)(uintptr_t)ids[i]}, value;
        *to = (struct whereabouts){0};
        sought[i] = (struct block_sought){.id = ids[i], .id_len = key.mv_size};
        if (mdb_get(batch->txn, batch->gallery->people, &key, &value) != 0 ||
            !person_block(value.mv_data, value.mv_size, &to->block)) {
            continue;
        }
        key = (MDB_val){sizeof to->block, &to->block};
        if (mdb_get(batch->txn, batch->gallery->blocks, &key, &value) == 0 &&
            value.mv_size == BLOCK_SIZE) {
            sought[i].bytes = value.mv_data;
            __builtin_prefetch(sought[i].bytes);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (sought[i].bytes && block_header(sought[i].bytes, BLOCK_SIZE, &info, &why) &&
            info.stamp < batch->meta.stamp) {
            batch->scouted[i].stamp = info.stamp;
            sought[i].used = info.used;
        }
    }
    block_find_all(sought, count);
    for (size_t i = 0; i < count; i++) {
        batch->scouted[i].place = sought[i].at;
    }
}

/* Finds the entry of a person in a block that is not open. Where it was before the transaction, it
 * still is if the block is the same: two of one number and an earlier stamp are. */
static bool find_in_block(const uint8_t *bytes, const struct block_info *info, const char *id,
                          const struct whereabouts *was, struct block_entry *entry)
{
    const char *why;
    if (was->place == 0 || was->block != info->number || was->stamp != info->stamp) {
        return block_find(bytes, info, id, entry);
    }
    size_t at = was->place;
    return block_next(bytes, info, &at, entry, &why);
}

/* Finds a person's entry in a block that is not open. Its checksum is left for those who read
 * templates from it. */
static int find_entry(struct batch *batch, const char *id, const struct whereabouts *was,
                      uint32_t number, struct index_entry *index, uint16_t *place, uint32_t *prints)
{
    MDB_val key = {sizeof number, &number}, value;
    struct block_info info;
    struct block_entry entry;
    const char *why = NULL;
    int rc = index_read(batch->gallery, batch->txn, number, index);
    if (rc == 0) {
        rc = mdb_get(batch->txn, batch->gallery->blocks, &key, &value);
    }
    if (rc == MDB_NOTFOUND || rc == MDB_CORRUPTED) {
        return damaged_block(batch, number, "is missing");
    }
    if (rc != 0) {
        return rc;
    }
    if (!block_header(value.mv_data, value.mv_size, &info, &why)) {
        return damaged_block(batch, number, why);
    }
    if (info.number != number || info.stamp != index->written) {
        return damaged_block(batch, number, "is of another version than the index says");
    }
    if (!find_in_block(value.mv_data, &info, id, was, &entry)) {
        return damaged_block(batch, number, NO_ENTRY);
    }
    *place = (uint16_t)(entry.bytes - (const uint8_t *)value.mv_data);
    *prints = entry.print_count;
    return 0;
}

/* Takes a person's templates out of a block. */
static int take_out(struct batch *batch, const char *id, const struct whereabouts *was,
                    uint32_t number)
{
    struct index_entry index;
    uint16_t place;
    uint32_t prints;
    batch->meta.people--;
    if (number == batch->tail->number || number == batch->other->number) {
        return drop(batch, number == batch->tail->number ? batch->tail : batch->other, id);
    }
    int rc = find_entry(batch, id, was, number, &index, &place, &prints);
    if (rc != 0) {
        return rc;
    }
    if (index.gone < GONE_MAX) {
        batch->meta.prints -= prints;
        return let_go(batch, &index, place);
    }
    rc = load(batch, batch->other, number);
    if (rc == 0) {
        batch->meta.room = number;
        rc = drop(batch, batch->other, id);
    }
    return rc;
}

static int put_record(struct batch *batch, const struct gallery_person *person, uint32_t block)
{
    msgpack_sbuffer_clear(&batch->record);
    if (!person_encode(person, block, &batch->record)) {
        return ENOMEM;
    }
    MDB_val key = {strlen(person->id), (void *)(uintptr_t)person->id};
    MDB_val value = {batch->record.size, batch->record.data};
    return mdb_put(batch->txn, batch->gallery->people, &key, &value, 0);
}

/* Adds a person to the block with room, if he fits. */
static int add_to_room(struct batch *batch, const struct gallery_person *person,
                       struct open_block **block)
{
    const uint32_t number = batch->meta.room;
    *block = NULL;
    if (number == 0) {
        return 0;
    }
    int rc = bring(batch, number, block);
    if (rc == MDB_CORRUPTED) { /* the tail will do; if the batch fails, it is for another reason */
        rc = 0;
        *block = NULL;
        batch->damage[0] = 0;
    }
    if (rc == 0 && *block && !block_add((*block)->bytes, person)) {
        *block = NULL;
    }
    batch->meta.room = *block ? number : 0;
    return rc;
}

/* Adds a person to the tail, or to a block with room where the tail is full. */
static int add_to_tail(struct batch *batch, const struct gallery_person *person,
                       struct open_block **block)
{
    int rc = batch->tail->number ? 0 : open_tail(batch, false);
    *block = batch->tail;
    if (rc != 0 || block_add(batch->tail->bytes, person)) {
        return rc;
    }
    rc = write_seek_room(batch);
    if (rc == 0) {
        rc = add_to_room(batch, person, block);
    }
    if (rc != 0 || *block) {
        return rc;
    }
    rc = open_tail(batch, true);
    *block = batch->tail;
    return rc != 0 || block_add(batch->tail->bytes, person) ? rc : MDB_BAD_VALSIZE;
}

static int put_one(struct batch *batch, const struct gallery_person *person,
                   const struct whereabouts *was)
{
    uint32_t number;
    struct open_block *block = NULL;
    int rc = find(batch, person->id, &number);
    if (rc == 0 && number) {
        rc = take_out(batch, person->id, was, number);
    }
    if (rc == 0) {
        rc = add_to_room(batch, person, &block);
    }
    if (rc == 0 && !block) {
        rc = add_to_tail(batch, person, &block);
    }
    if (rc != 0) {
        return rc;
    }
    batch->added += number == 0;
    block->changed = true;
    batch->meta.people++;
    batch->meta.prints += person->print_count;
    return put_record(batch, person, block->number);
}

/* Whether a person who is there is one of those to remove. */
static int is_due(struct batch *batch, const char *id, bool *due)
{
    struct gallery_person *person;
    struct whorl_fault fault; /* says no more than the code below */
    *due = true;
    if (batch->expired_by == 0) {
        return 0;
    }
    int rc = person_read(batch->gallery, batch->txn, id, strlen(id), false, &person, &fault);
    if (rc != 0) {
        return rc;
    }
    if (!person) {
        return damaged(batch, "the record of", id, "cannot be read");
    }
    *due = person->expires != 0 && person->expires <= batch->expired_by;
    gallery_person_free(person);
    return 0;
}

static int remove_one(struct batch *batch, const char *id, const struct whereabouts *was)
{
    uint32_t number;
    bool due;
    int rc = find(batch, id, &number);
    if (rc != 0 || !number) {
        return rc;
    }
    rc = is_due(batch, id, &due);
    if (rc != 0 || !due) {
        return rc;
    }
    rc = take_out(batch, id, was, number);
    if (rc != 0) {
        return rc;
    }
    batch->removed++;
    MDB_val key = {strlen(id), (void *)(uintptr_t)id};
    return mdb_del(batch->txn, batch->gallery->people, &key, NULL);
}

static int remove_all(struct batch *batch)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < batch->id_count; i++) {
        const size_t left = batch->id_count - i;
        if (i % SCOUTED == 0) {
            scout(batch, batch->ids + i, left < SCOUTED ? left : SCOUTED);
        }
        rc = remove_one(batch, batch->ids[i], &batch->scouted[i % SCOUTED]);
    }
    return rc;
}

static int put_all(struct batch *batch)
{
    const char *ids[SCOUTED];
    int rc = batch->count > SCOUTED ? write_choose_blocks(batch) : 0;
    for (size_t i = 0; rc == 0 && i < batch->count; i++) {
        if (i % SCOUTED == 0) {
            size_t count = 0;
            for (; count < SCOUTED && i + count < batch->count; count++) {
                ids[count] = batch->people[i + count].id;
            }
            scout(batch, ids, count);
        }
        rc = put_one(batch, &batch->people[i], &batch->scouted[i % SCOUTED]);
    }
    return rc;
}

/* Reads the person within the transaction: one whom somebody else has removed stays removed, and
 * what somebody else has changed stays changed. */
static int withdraw(struct batch *batch)
{
    static const struct whereabouts nowhere = {0};
    struct gallery_person *person = NULL;
    struct whorl_fault why = {{0}, {0}};
    const char *id = batch->withdrawn;
    int rc = id == NULL
                 ? MDB_NOTFOUND
                 : person_read(batch->gallery, batch->txn, id, strlen(id), true, &person, &why);
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    if (person == NULL) {
        return damaged(batch, "the record of", id, why.text);
    }
    struct gallery_person changed = *person;
    changed.expires = batch->ends;
    batch->found = true;
    batch->meta.stamp++;
    rc = put_one(batch, &changed, &nowhere);
    gallery_person_free(person);
    return rc;
}

/* Whether nobody has changed mark or gallery since `before` was read. */
static int check_mark(struct batch *batch)
{
    const struct gallery_mark *before = batch->change->before;
    MDB_val key = {sizeof MARK_KEY - 1, MARK_KEY}, value = {0, NULL};
    int rc = mdb_get(batch->txn, batch->gallery->meta, &key, &value);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return rc;
    }
    size_t len = rc == MDB_NOTFOUND ? 0 : value.mv_size;
    size_t known = before->len == 0 ? 0 : MARK_HEAD + before->len;
    batch->late = batch->meta.stamp != before->stamp || len != known ||
                  (len > 0 && memcmp((const uint8_t *)value.mv_data + MARK_HEAD, before->bytes,
                                     before->len) != 0);
    return batch->late ? MDB_KEYEXIST : 0;
}

static int write_mark(struct batch *batch)
{
    const struct gallery_change *change = batch->change;
    MDB_val key = {sizeof MARK_KEY - 1, MARK_KEY}, value = {MARK_HEAD + change->mark_len, NULL};
    int rc = mdb_put(batch->txn, batch->gallery->meta, &key, &value, MDB_RESERVE);
    if (rc == 0) {
        put64(value.mv_data, batch->meta.stamp);
        memcpy((uint8_t *)value.mv_data + MARK_HEAD, change->mark, change->mark_len);
    }
    return rc;
}

/* Ends the transaction. */
static int end(struct batch *batch)
{
    int rc = write_flush(batch, batch->tail);
    if (rc == 0) {
        rc = write_flush(batch, batch->other);
    }
    if (rc == 0) {
        rc = meta_write(batch->gallery, batch->txn, &batch->meta);
    }
    return rc != 0 || batch->meta.stamp == batch->stamp
               ? rc
               : changes_write(batch->gallery, batch->txn, batch->meta.stamp, batch->meta.people,
                               &batch->changes);
}

/* Begins it; may be run again from its start. */
static int start(struct batch *batch, MDB_txn *txn)
{
    batch->txn = txn;
    batch->added = batch->removed = 0;
    batch->found = false;
    batch->damage[0] = 0;
    batch->changes.count = 0;
    batch->tail->number = batch->other->number = 0;
    batch->tail->changed = batch->other->changed = false;
    int rc = meta_read(batch->gallery, txn, &batch->meta);
    batch->stamp = batch->meta.stamp;
    batch->drawn = batch->meta.stamp ^ batch->meta.people << 32;
    batch->chosen_count = batch->chosen_next = 0;
    return rc;
}

/* The whole transaction. */
static int run(MDB_txn *txn, void *arg)
{
    struct batch *batch = arg;
    int rc = start(batch, txn);
    if (rc == 0 && batch->change) {
        rc = check_mark(batch);
    }
    batch->meta.stamp += batch->count + batch->id_count > 0;
    if (rc == 0) {
        rc = remove_all(batch);
    }
    if (rc == 0) {
        rc = put_all(batch);
    }
    if (rc == 0) {
        rc = withdraw(batch);
    }
    if (rc == 0) {
        rc = end(batch);
    }
    return rc == 0 && batch->change ? write_mark(batch) : rc;
}

static bool run_in(struct batch *batch, int (*transaction)(MDB_txn *txn, void *arg),
                   struct whorl_fault *fault)
{
    struct open_block *blocks = calloc(2, sizeof *blocks);
    if (!blocks) {
        return whorl_fail(fault, "", "out of memory");
    }
    batch->tail = &blocks[0];
    batch->other = &blocks[1];
    msgpack_sbuffer_init(&batch->record);
    bool ok = whorl_store_write(batch->gallery->store, transaction, batch, fault);
    msgpack_sbuffer_destroy(&batch->record);
    changes_free(&batch->changes);
    free(blocks);
    if (!ok && batch->damage[0]) {
        whorl_fail(fault, "", "the gallery is damaged: %s", batch->damage);
    }
    return ok;
}

static bool run_batch(struct batch *batch, struct whorl_fault *fault)
{
    const bool nothing = batch->count + batch->id_count == 0 && !batch->withdrawn && !batch->change;
    return nothing || run_in(batch, run, fault);
}

/* ------------------------------------------------------------------ tidying */

struct tidying {
    struct batch batch;
    uint32_t after;       /* blocks up to this one were tidied */
    uint32_t count, last; /* in the last transaction; the last of them */
};

/* The next blocks that people have left. */
static int list_left(const struct tidying *tidying, uint32_t numbers[TIDY_BLOCKS], uint32_t *count)
{
    const struct batch *batch = &tidying->batch;
    uint32_t from = tidying->after + 1;
    MDB_cursor *cursor;
    MDB_val key = {sizeof from, &from}, value;
    int rc = mdb_cursor_open(batch->txn, batch->gallery->index, &cursor);
    if (rc != 0) {
        return rc;
    }
    *count = 0;
    rc = from == 0 ? MDB_NOTFOUND : mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && *count < TIDY_BLOCKS) {
        struct index_entry entry;
        rc = index_decode(&key, &value, &entry);
        if (rc == 0 && entry.gone > 0) {
            numbers[(*count)++] = entry.number;
        }
        if (rc == 0) {
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Nobody is changed: a copy's mark stands for the same people as before. */
static int keep_mark(struct batch *batch)
{
    MDB_val key = {sizeof MARK_KEY - 1, MARK_KEY}, value;
    int rc = mdb_get(batch->txn, batch->gallery->meta, &key, &value);
    if (rc == MDB_NOTFOUND) {
        return 0;
    }
    if (rc != 0 || value.mv_size < MARK_HEAD || get64(value.mv_data) != batch->meta.stamp - 1) {
        return rc;
    }
    uint8_t *mark = malloc(value.mv_size);
    if (!mark) {
        return ENOMEM;
    }
    memcpy(mark, value.mv_data, value.mv_size);
    put64(mark, batch->meta.stamp);
    value.mv_data = mark;
    rc = mdb_put(batch->txn, batch->gallery->meta, &key, &value, 0);
    free(mark);
    return rc;
}

static int tidy(MDB_txn *txn, void *arg)
{
    struct tidying *tidying = arg;
    struct batch *batch = &tidying->batch;
    uint32_t numbers[TIDY_BLOCKS];
    int rc = start(batch, txn);
    if (rc == 0) {
        rc = list_left(tidying, numbers, &tidying->count);
    }
    if (rc != 0 || tidying->count == 0) {
        return rc;
    }
    batch->meta.stamp++;
    for (uint32_t i = 0; rc == 0 && i < tidying->count; i++) {
        rc = load(batch, batch->other, numbers[i]);
        batch->other->changed = rc == 0;
    }
    if (rc == 0) {
        rc = end(batch);
    }
    tidying->last = numbers[tidying->count - 1];
    return rc != 0 ? rc : keep_mark(batch);
}

bool blocks_tidy(struct gallery *gallery, struct whorl_fault *fault)
{
    struct tidying tidying = {.batch = {.gallery = gallery}};
    do {
        if (!run_in(&tidying.batch, tidy, fault)) {
            return false;
        }
        tidying.after = tidying.last;
    } while (tidying.count == TIDY_BLOCKS);
    return true;
}

/* ------------------------------------------------------------------ what callers see */

static bool people_good(const struct gallery_person *people, size_t count,
                        struct whorl_fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        struct whorl_fault inner = {{0}, {0}};
        if (!gallery_person_valid(&people[i], &inner)) {
            return whorl_fail(fault, people[i].id ? people[i].id : "", "%.80s %.160s", inner.where,
                              inner.text);
        }
        for (size_t k = 0; k < people[i].print_count; k++) {
            if (!people[i].prints[k].packed) {
                return whorl_fail(fault, people[i].id, "prints must have a template");
            }
        }
    }
    return true;
}

static bool ids_good(const char *const *ids, size_t count, struct whorl_fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        if (!ids[i][0] || strlen(ids[i]) > GALLERY_ID_MAX) {
            return whorl_fail(fault, "", "an id must have 1 to %u bytes", GALLERY_ID_MAX);
        }
    }
    return true;
}

bool gallery_put(struct gallery *gallery, const struct gallery_person *people, size_t count,
                 size_t *added, struct whorl_fault *fault)
{
    struct batch batch = {.gallery = gallery, .people = people, .count = count};
    bool ok = people_good(people, count, fault) && run_batch(&batch, fault);
    if (added) {
        *added = ok ? batch.added : 0;
    }
    return ok;
}

static bool remove_people(struct gallery *gallery, const char *const *ids, size_t count,
                          int64_t expired_by, size_t *removed, struct whorl_fault *fault)
{
    struct batch batch = {
        .gallery = gallery, .ids = ids, .id_count = count, .expired_by = expired_by};
    bool ok = ids_good(ids, count, fault) && run_batch(&batch, fault);
    if (removed) {
        *removed = ok ? batch.removed : 0;
    }
    return ok;
}

bool gallery_remove(struct gallery *gallery, const char *const *ids, size_t count, size_t *removed,
                    struct whorl_fault *fault)
{
    return remove_people(gallery, ids, count, 0, removed, fault);
}

bool gallery_remove_expired(struct gallery *gallery, const char *const *ids, size_t count,
                            int64_t now, size_t *removed, struct whorl_fault *fault)
{
    return remove_people(gallery, ids, count, now, removed, fault);
}

bool gallery_withdraw(struct gallery *gallery, const char *id, int64_t when, bool *found,
                      struct whorl_fault *fault)
{
    struct batch batch = {.gallery = gallery, .withdrawn = id, .ends = when};
    const bool ok = ids_good(&id, 1, fault) && run_batch(&batch, fault);
    *found = ok && batch.found;
    return ok;
}

enum gallery_applied gallery_apply(struct gallery *gallery, const struct gallery_change *change,
                                   struct gallery_mark *after, struct whorl_fault *fault)
{
    struct batch batch = {.gallery = gallery,
                          .people = change->people,
                          .count = change->count,
                          .ids = change->ids,
                          .id_count = change->id_count,
                          .change = change};
    *after = (struct gallery_mark){.len = change->mark_len, .untouched = true};
    if (change->mark_len == 0 || change->mark_len > GALLERY_MARK_MAX) {
        whorl_fail(fault, "", "a mark has 1 to %u bytes", GALLERY_MARK_MAX);
        return GALLERY_APPLY_FAILED;
    }
    if (!people_good(change->people, change->count, fault) ||
        !ids_good(change->ids, change->id_count, fault)) {
        return GALLERY_APPLY_FAILED;
    }
    after->bytes = malloc(change->mark_len);
    if (!after->bytes) {
        whorl_fail(fault, "", "out of memory");
        return GALLERY_APPLY_FAILED;
    }
    memcpy(after->bytes, change->mark, change->mark_len);
    if (run_batch(&batch, fault)) {
        after->stamp = batch.meta.stamp;
        return GALLERY_APPLIED;
    }
    gallery_mark_release(after);
    return batch.late ? GALLERY_APPLY_LATE : GALLERY_APPLY_FAILED;
}
