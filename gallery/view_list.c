/* Making a view by the index of all blocks. */
#include <stdlib.h>
#include <string.h>

#include "view_parts.h"
#include "whorl/msg.h"

#define ROOM 1024u /* for blocks to come */

static bool same_checksum(uint32_t a, uint32_t b)
{
    return a == 0 || b == 0 || a == b;
}

/* Lists whom of a chunk the index says to have left the block. NULL: out of memory. */
static struct view_gone *list_gone(const struct chunk *chunk, const struct index_entry *entry)
{
    struct view_gone *gone = malloc(sizeof *gone + entry->gone * sizeof *gone->people);
    if (!gone) {
        return NULL;
    }
    gone->next = NULL;
    gone->count = 0;
    for (uint32_t i = 0, next = 0; i < chunk->people && next < entry->gone; i++) {
        const uint32_t place = chunk_entry(chunk, i);
        while (next < entry->gone && get16(entry->places + (size_t)2 * next) < place) {
            next++; /* who had left before the chunk was made */
        }
        if (next < entry->gone && get16(entry->places + (size_t)2 * next) == place) {
            gone->people[gone->count++] = (uint16_t)i;
        }
    }
    return gone;
}

/* Takes a chunk of that version of the block, which may hold people who have left since. false: it
 * can only help to make another. */
static bool take(const uint8_t *bytes, struct view_own *own, const struct index_entry *entry,
                 struct view_chunk *to)
{
    struct chunk chunk;
    const char *why;
    if (!chunk_open(bytes, SIZE_MAX, false, &chunk, &why) || chunk.people < entry->people) {
        return false;
    }
    to->earlier = bytes;
    to->left = true;
    const uint32_t count = chunk.people - entry->people;
    struct view_gone *gone = NULL;
    if (count * GONE_SHARE > chunk.people) {
        return false;
    }
    if (count > 0) {
        gone = list_gone(&chunk, entry);
        if (!gone || gone->count != count) {
            free(gone);
            return false;
        }
    }
    to->earlier = NULL;
    to->left = false;
    to->bytes = bytes;
    to->rows = chunk.people;
    to->gone = gone;
    to->fresh_gone = gone != NULL;
    to->own = own;
    return true;
}

struct view_chunk view_chunk_of(const struct index_entry *entry)
{
    return (struct view_chunk){.number = entry->number,
                               .people = entry->people,
                               .rows = entry->people,
                               .stamp = entry->stamp,
                               .written = entry->written,
                               .checksum = entry->checksum};
}

/* Takes over that the block is damaged in this version. */
static bool take_damage(const struct view_chunk *known, struct view_chunk *to)
{
    if (known->bytes || !known->why || !same_checksum(known->checksum, to->checksum) ||
        known->stamp != to->stamp || known->people != to->people) {
        return false;
    }
    to->why = known->why;
    to->rows = known->rows;
    return true;
}

bool view_take_chunk(const struct view_chunk *known, bool shares_segment,
                     const struct index_entry *entry, struct view_chunk *to)
{
    const bool same = same_checksum(known->checksum, to->checksum);
    if (take_damage(known, to)) {
        return true;
    }
    /* The keeper keeps that view until this one is made. */
    if (!known->bytes || !same || known->written != to->written) {
        to->earlier = to->left ? to->earlier : known->bytes;
        return false;
    }
    to->earlier = known->bytes;
    to->left = true;
    if (!known->own && !shares_segment) {
        return false;
    }
    if (known->stamp != to->stamp || known->people != to->people) {
        return take(known->bytes, known->own, entry, to);
    }
    to->earlier = NULL;
    to->left = false;
    to->bytes = known->bytes;
    to->rows = known->rows;
    to->own = known->own;
    to->gone = known->gone;
    return true;
}

/* ------------------------------------------------------------------ where chunks are taken from */

/* The sources, each of which is walked along. */
struct sources {
    const struct segment *segment; /* of the new view */
    const struct segment *read;    /* the same, or NULL: what it has, `known` has, too */
    const struct view *known;      /* the newest view, or NULL */
    struct view *draft;            /* or NULL */
    size_t at_known, at_draft;
    uint32_t at_segment;
};

static bool take_stored(struct sources *from, const struct index_entry *entry,
                        struct view_chunk *to)
{
    const struct segment *segment = from->read;
    struct chunk chunk = {0};
    const char *why;
    uint32_t *at = &from->at_segment;
    while (segment && *at < segment->count &&
           chunk_open(segment->bytes + segment->offset[*at], segment->len - segment->offset[*at],
                      false, &chunk, &why) &&
           chunk.number < to->number) {
        (*at)++;
    }
    return segment && *at < segment->count && chunk.number == to->number &&
           chunk_is_of(&chunk, entry) &&
           take(segment->bytes + segment->offset[*at], NULL, entry, to);
}

static struct view_chunk *walk(struct view *view, size_t *at, uint32_t number)
{
    while (view && *at < view->count && view->chunks[*at].number < number) {
        (*at)++;
    }
    return view && *at < view->count && view->chunks[*at].number == number ? &view->chunks[*at]
                                                                           : NULL;
}

/* What was made for the draft, which loses it, or what it was found to be damaged by. */
static bool take_drafted(struct sources *from, const struct index_entry *entry,
                         struct view_chunk *to)
{
    struct view_chunk *made = walk(from->draft, &from->at_draft, to->number);
    if (made && take_damage(made, to)) {
        return true;
    }
    if (!made || !made->fresh_own || made->written != to->written ||
        !same_checksum(made->checksum, to->checksum)) {
        return false;
    }
    if (!take(made->bytes, made->own, entry, to)) {
        to->earlier = NULL; /* it ends with the draft */
        to->left = false;
        return false;
    }
    to->fresh_own = true;
    made->fresh_own = false;
    made->own = NULL;
    made->bytes = NULL;
    return true;
}

static bool take_known(struct sources *from, const struct index_entry *entry, struct view_chunk *to)
{
    const struct view *known = from->known;
    const struct view_chunk *chunk =
        walk((struct view *)(uintptr_t)known, &from->at_known, to->number);
    return chunk && view_take_chunk(chunk, known->segment == from->segment, entry, to);
}

/* ------------------------------------------------------------------ listing */

/* Fills the view with what the index lists. */
static int list_into(const struct gallery *gallery, MDB_txn *txn, struct sources *from,
                     struct view *view, size_t room, size_t *pending)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, gallery->index, &cursor);
    if (rc != 0) {
        return rc;
    }
    for (; view->count < room; view->count++) {
        struct index_entry entry;
        struct view_chunk *chunk = &view->chunks[view->count];
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        if (rc == 0) {
            rc = index_decode(&key, &value, &entry);
        }
        if (rc != 0) {
            break;
        }
        *chunk = view_chunk_of(&entry);
        view->people += entry.people;
        *pending += !take_stored(from, &entry, chunk) && !take_drafted(from, &entry, chunk) &&
                    !take_known(from, &entry, chunk) && !chunk->left;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

struct view *view_list(const struct gallery *gallery, MDB_txn *txn, const struct meta *meta,
                       struct view *draft, size_t *pending, struct whorl_fault *fault)
{
    struct view_keeper *keeper = gallery->keeper;
    const struct view *known = keeper->newest;
    MDB_stat stat;
    struct view *view = NULL;
    *pending = 0;
    int rc = mdb_stat(txn, gallery->index, &stat);
    if (rc == 0) {
        view = view_new(keeper->arrays, stat.ms_entries + ROOM);
        if (!view) {
            whorl_fail(fault, "", "out of memory");
            return NULL;
        }
        view->stamp = meta->stamp;
        view->counted = meta->people;
        view->segment = keeper->segment ? segment_ref(keeper->segment) : NULL;
        struct sources from = {.segment = view->segment,
                               .read =
                                   known && known->segment == view->segment ? NULL : view->segment,
                               .known = known,
                               .draft = draft};
        rc = list_into(gallery, txn, &from, view, stat.ms_entries, pending);
    }
    if (rc != 0) {
        view_unref(view);
        whorl_fail(fault, "", "cannot read the gallery: %s", mdb_strerror(rc));
        return NULL;
    }
    return view;
}

void view_place_rows(struct view_keeper *keeper, struct view *view)
{
    view->rows = 0;
    for (size_t i = 0; i < view->count; i++) {
        view->chunks[i].before = view->rows;
        view->rows += view->chunks[i].rows;
    }
    view->extent = view->rows;
    view->layout = ++keeper->serial;
}

/* ------------------------------------------------------------------ reading blocks */

/* Whether a code of LMDB's tells of the file; others tell of the moment, and may pass. */
static bool is_damage(int rc)
{
    return rc == MDB_NOTFOUND || rc == MDB_PAGE_NOTFOUND || rc == MDB_CORRUPTED;
}

/* Of a block as txn has it. `before`: the chunk of an earlier version of it, or NULL. NULL with
 * *why: the block is damaged; with *why NULL: it cannot be had at the moment. */
static uint8_t *make_chunk(const struct gallery *gallery, MDB_txn *txn,
                           const struct index_entry *entry, const struct chunk *before,
                           const char **why)
{
    const uint8_t *bytes;
    struct block_info info;
    int rc = block_read(gallery, txn, entry->number, &bytes, &info, why);
    if (rc == 0 && (info.stamp != entry->written || info.people != entry->people + entry->gone)) {
        *why = "is of another version than the index says";
    } else if (is_damage(rc) && !*why) {
        *why = mdb_strerror(rc);
    }
    uint8_t *made = rc != 0 || *why ? NULL : chunk_make(bytes, &info, before, why);
    struct chunk chunk;
    if (made && entry->gone > 0 && chunk_open(made, SIZE_MAX, false, &chunk, why)) {
        uint8_t *less = chunk_without(&chunk, entry->places, entry->gone);
        if (less && chunk_people(less) != entry->people) {
            *why = "does not hold all those who have left it";
            free(less);
            less = NULL;
        }
        free(made);
        made = less;
    }
    return made;
}

/* Where a gap stays, as txn has another version or for want of memory, the next listing sees to it.
 */
void view_read_chunk(const struct gallery *gallery, MDB_txn *txn, struct view_chunk *chunk)
{
    struct index_entry entry;
    struct chunk before;
    const uint8_t *earlier = chunk->earlier;
    const char *why = NULL, *ignored;
    uint8_t *bytes = NULL;
    chunk->earlier = NULL;
    if (index_read(gallery, txn, chunk->number, &entry) != 0 || entry.stamp != chunk->stamp) {
        return;
    }
    bool known = earlier && chunk_open(earlier, SIZE_MAX, false, &before, &ignored);
    if (known && chunk->left) {
        bytes = chunk_without(&before, entry.places, entry.gone);
    }
    if (!bytes || chunk_people(bytes) != entry.people) {
        free(bytes);
        bytes = make_chunk(gallery, txn, &entry, known ? &before : NULL, &why);
    }
    struct view_own *own = bytes ? calloc(1, sizeof *own) : NULL;
    if (!own) {
        chunk->why = bytes ? NULL : why;
        free(bytes);
        return;
    }
    own->bytes = bytes;
    chunk->own = own;
    chunk->fresh_own = true;
    chunk->bytes = bytes;
}
