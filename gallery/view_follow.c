/* Bringing the newest view up to date by the log of changes: what that costs depends on how much
 * has changed. A view that a search has is copied first, one that only the keeper has is changed.
 */
#include <stdlib.h>
#include <string.h>

#include "changes.h"
#include "view_parts.h"

#define ROOM 1024u /* for blocks to come */

/* What becomes of one block. */
struct turn {
    size_t at;       /* in the view before; behind its end: it is not there */
    bool taken_away; /* from the gallery */
    struct view_chunk chunk;
};

/* All of them, ascending. */
struct turns {
    struct turn *list;
    size_t count;
    size_t appended; /* of these: behind all others */
    uint64_t people; /* in the gallery afterwards */
};

/* ------------------------------------------------------------------ one block */

/* The people whose entries begin at these places, added to those who left before. NULL: there is
 * nobody at one of them, somebody had left already, or memory is short. */
static struct view_gone *add_gone(const struct chunk *chunk, const struct view_gone *before,
                                  const struct change *changes, size_t count)
{
    const uint32_t left = before ? before->count : 0;
    struct view_gone *gone = malloc(sizeof *gone + (left + count) * sizeof *gone->people);
    uint32_t next_left = 0;
    size_t next = 0;
    if (!gone) {
        return NULL;
    }
    gone->next = NULL;
    gone->count = 0;
    for (uint32_t i = 0; i < chunk->people && (next < count || next_left < left); i++) {
        const bool had = next_left < left && before->people[next_left] == i;
        const bool has = next < count && chunk_entry(chunk, i) == changes[next].place;
        if (had != has) {
            gone->people[gone->count++] = (uint16_t)i;
        }
        next_left += had;
        next += has;
    }
    if (gone->count != left + count) {
        free(gone);
        return NULL;
    }
    return gone;
}

size_t view_group(const struct change *changes, size_t count)
{
    size_t n = 1;
    while (n < count && changes[n].block == changes[0].block) {
        n++;
    }
    return n;
}

bool view_stays(const struct view_chunk *known, const struct change *changes, size_t count)
{
    const size_t gone = count + (known->gone ? known->gone->count : 0);
    return changes->place != CHANGE_WRITTEN && known->bytes && gone <= GONE_MAX &&
           gone * GONE_SHARE <= known->rows && count < known->people;
}

/* People have left a block that stayed as it was. false: its chunk is to be copied, or is another's
 * than the log says. */
static bool let_go(const struct view_chunk *known, const struct change *changes, size_t count,
                   struct view_chunk *to)
{
    struct chunk chunk;
    const char *why;
    if (!view_stays(known, changes, count) ||
        !chunk_open(known->bytes, SIZE_MAX, false, &chunk, &why)) {
        return false;
    }
    struct view_gone *list = add_gone(&chunk, known->gone, changes, count);
    if (!list) {
        return false;
    }
    *to = *known;
    to->gone = list;
    to->fresh_gone = true;
    to->people -= (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        to->stamp = changes[i].stamp > to->stamp ? changes[i].stamp : to->stamp;
    }
    return true;
}

/* The same from what the index says. Who was taken away leaves a chunk of nobody behind, so that
 * all others keep their indices. false: it cannot be read. */
static bool look_up(const struct gallery *gallery, MDB_txn *txn, const struct view *view,
                    const struct change *change, struct turn *turn)
{
    struct index_entry entry;
    const int rc = index_read(gallery, txn, change->block, &entry);
    if (rc == MDB_NOTFOUND) {
        turn->taken_away = true;
        turn->chunk = (struct view_chunk){.number = change->block,
                                          .stamp = change->stamp,
                                          .written = change->stamp,
                                          .bytes = gallery->keeper->empty};
        return true;
    }
    if (rc != 0) {
        return false;
    }
    turn->chunk = view_chunk_of(&entry);
    if ((turn->at == view->count ||
         !view_take_chunk(&view->chunks[turn->at], true, &entry, &turn->chunk)) &&
        !view_ahead_take(gallery->keeper, &entry, &turn->chunk)) {
        view_read_chunk(gallery, txn, &turn->chunk);
    }
    return !view_is_gap(&turn->chunk);
}

/* ------------------------------------------------------------------ all blocks */

static void discard(struct turns *turns)
{
    for (size_t i = 0; i < turns->count; i++) {
        view_chunk_discard(&turns->list[i].chunk);
    }
    free(turns->list);
}

/* What becomes of the block of these changes. false: that is not to be had. */
static bool add_turn(const struct gallery *gallery, MDB_txn *txn, const struct view *view,
                     const struct change *changes, size_t count, struct turns *turns)
{
    struct turn *turn = &turns->list[turns->count];
    const size_t from = turns->count > 0 ? turns->list[turns->count - 1].at : 0;
    *turn = (struct turn){.at = view_find(view->chunks, view->count, from, changes->block)};
    const bool known = turn->at < view->count;
    if (known && view->chunks[turn->at].number != changes->block) {
        return false; /* blocks are numbered upwards */
    }
    if ((!known || !let_go(&view->chunks[turn->at], changes, count, &turn->chunk)) &&
        !look_up(gallery, txn, view, changes, turn)) {
        return false;
    }
    if (known || !turn->taken_away) {
        turns->people += turn->chunk.people;
        turns->people -= known ? view->chunks[turn->at].people : 0;
        turns->appended += !known;
        turns->count++;
    }
    return true;
}

/* Finds out what becomes of each block. false: that is not to be had. */
static bool find_turns(const struct gallery *gallery, MDB_txn *txn, const struct view *view,
                       const struct changes *changes, struct turns *turns)
{
    *turns = (struct turns){.people = view->people,
                            .list = malloc((changes->count + 1) * sizeof *turns->list)};
    bool ok = turns->list != NULL;
    for (size_t i = 0, n; ok && i < changes->count; i += n) {
        n = view_group(&changes->list[i], changes->count - i);
        ok = add_turn(gallery, txn, view, &changes->list[i], n, turns);
    }
    if (!ok) {
        discard(turns);
    }
    return ok;
}

/* ------------------------------------------------------------------ the next view */

/* NULL: out of memory. */
static struct view *copy_view(const struct view *from, size_t appended)
{
    struct view *view = view_new(from->arrays, from->count + appended + ROOM);
    if (view) {
        const size_t room = view->room;
        memcpy(view, from, sizeof *view + from->count * sizeof *view->chunks);
        atomic_init(&view->refs, 1);
        view->room = room;
        view->segment = from->segment ? segment_ref(from->segment) : NULL;
    }
    return view;
}

/* Puts a chunk in the place of another: at the same rows if they are the same. */
static void put_chunk(struct view *view, struct view_chunk *at, struct view_chunk *chunk)
{
    if (chunk->bytes && chunk->bytes == at->bytes) {
        chunk->before = at->before;
    } else {
        chunk->before = view->extent;
        view->extent += chunk->rows;
    }
    view->rows = view->rows + chunk->rows - at->rows;
    chunk->fresh_own = chunk->fresh_gone = false;
    *at = *chunk;
}

/* Lets `view`, the newest one or its copy, take the turns, and leaves to the era that ends what the
 * next does without. */
static void take_turns(struct view_era *era, struct view *view, struct turns *turns)
{
    for (size_t i = 0; i < turns->count; i++) {
        struct turn *turn = &turns->list[i];
        if (era->changed) {
            era->changed[era->changed_count++] = turn->chunk.number;
        }
        if (turn->at == view->count || view->chunks[turn->at].number != turn->chunk.number) {
            turn->at = view->count;
            view->chunks[view->count++] = (struct view_chunk){.number = turn->chunk.number};
        }
        view_era_leave(era, &view->chunks[turn->at], &turn->chunk);
        view->empty += turn->taken_away;
        put_chunk(view, &view->chunks[turn->at], &turn->chunk);
    }
    view->people = turns->people;
}

/* Makes the next view of the newest one. false: out of memory. */
static bool turn_over(struct view_keeper *keeper, const struct meta *meta, struct turns *turns)
{
    struct view *newest = keeper->newest, *view = newest;
    struct view_era *ends = newest->era, *begins = view_era_new();
    if (begins &&
        (atomic_load(&newest->refs) > 1 || newest->count + turns->appended > newest->room)) {
        view = copy_view(newest, turns->appended);
    }
    if (!begins || !view) {
        free(begins);
        return false;
    }
    ends->changed = malloc((turns->count + 1) * sizeof *ends->changed);
    ends->followed = ends->changed != NULL;
    take_turns(ends, view, turns);
    ends->next = begins;
    atomic_fetch_add(&begins->refs, 1);
    view->era = begins;
    view->stamp = meta->stamp;
    view->counted = meta->people;
    if (view->extent > view->rows + view->rows / 2 + ROOM) {
        view_place_rows(keeper, view);
    }
    if (view == newest) {
        view_era_unref(ends);
    } else {
        keeper->newest = view;
        view_unref(newest);
    }
    return true;
}

struct view *view_follow(struct gallery *gallery, MDB_txn *txn, const struct meta *meta,
                         size_t most, size_t blocks, size_t *pending)
{
    struct view_keeper *keeper = gallery->keeper;
    const struct view *newest = keeper->newest;
    struct changes changes = {0};
    struct turns turns;
    bool done = false;
    *pending = 0;
    if (!newest || newest->gaps || newest->segment != keeper->segment ||
        newest->empty > newest->count / 8 + ROOM ||
        changes_read(gallery, txn, newest->stamp, meta->stamp, most, &changes) != 0) {
        changes_free(&changes);
        return NULL;
    }
    *pending = keeper->missing = view_ahead_make(gallery, txn, newest, &changes, blocks);
    if (*pending == 0 && find_turns(gallery, txn, newest, &changes, &turns)) {
        /* So many as the gallery's own counter says have come or left. */
        done = turns.people - newest->people == meta->people - newest->counted &&
               turn_over(keeper, meta, &turns);
        if (done) {
            free(turns.list);
        } else {
            discard(&turns);
        }
    }
    if (*pending == 0) {
        view_ahead_drop(keeper);
    }
    changes_free(&changes);
    return done ? view_ref(keeper->newest) : NULL;
}

/* ------------------------------------------------------------------ what changed between two */

static int ascending(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

bool view_changes(const struct view *from, const struct view *to, uint32_t **numbers, size_t *count)
{
    size_t all = 0, kept = 0;
    if (from->layout != to->layout) {
        return false;
    }
    for (const struct view_era *era = from->era; era != to->era; era = era->next) {
        if (!era->followed) {
            return false;
        }
        all += era->changed_count;
    }
    uint32_t *list = malloc((all + 1) * sizeof *list);
    if (!list) {
        return false;
    }
    all = 0;
    for (const struct view_era *era = from->era; era != to->era; era = era->next) {
        memcpy(list + all, era->changed, era->changed_count * sizeof *list);
        all += era->changed_count;
    }
    qsort(list, all, sizeof *list, ascending);
    for (size_t i = 0; i < all; i++) {
        if (i == 0 || list[i] != list[i - 1]) {
            list[kept++] = list[i];
        }
    }
    *numbers = list;
    *count = kept;
    return true;
}
