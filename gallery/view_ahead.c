/* Chunks that are made before the view that will have them: what changed in hundreds of blocks at
 * once is then taken in by small steps of whoever comes by, and not by one search at its end. */
#include <stdlib.h>

#include "view_parts.h"

#define STEP_BLOCKS 96u /* read at a time where too many are missing: ten milliseconds at most */

static void discard(struct view_chunk *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        view_chunk_discard(&list[i]);
    }
    free(list);
}

void view_ahead_drop(struct view_keeper *keeper)
{
    discard(keeper->ahead, keeper->ahead_count);
    keeper->ahead = NULL;
    keeper->ahead_count = 0;
}

bool view_ahead_take(struct view_keeper *keeper, const struct index_entry *entry,
                     struct view_chunk *to)
{
    const size_t at = view_find(keeper->ahead, keeper->ahead_count, 0, entry->number);
    struct view_chunk *made = &keeper->ahead[at];
    if (at == keeper->ahead_count || made->number != entry->number ||
        !view_take_chunk(made, true, entry, to)) {
        return false;
    }
    to->fresh_own = made->fresh_own;
    if (to->gone && to->gone == made->gone) {
        to->fresh_gone = made->fresh_gone;
        made->fresh_gone = false;
    }
    made->fresh_own = false;
    return true;
}

/* Lists the chunks that the changes' blocks will have, with gaps where one has to be made. */
static size_t list_needed(const struct gallery *gallery, MDB_txn *txn, const struct view *view,
                          const struct changes *changes, struct view_chunk *list)
{
    size_t count = 0, at = 0;
    for (size_t i = 0, n; i < changes->count; i += n) {
        const struct change *change = &changes->list[i];
        struct index_entry entry;
        n = view_group(change, changes->count - i);
        at = view_find(view->chunks, view->count, at, change->block);
        const struct view_chunk *known =
            at < view->count && view->chunks[at].number == change->block ? &view->chunks[at] : NULL;
        if ((known && view_stays(known, change, n)) ||
            index_read(gallery, txn, change->block, &entry) != 0) {
            continue; /* without one it was taken away, or the view will say what is wrong */
        }
        struct view_chunk *chunk = &list[count++];
        *chunk = view_chunk_of(&entry);
        if (known && view_take_chunk(known, true, &entry, chunk)) {
            view_chunk_discard(chunk);
            count--;
        } else {
            (void)view_ahead_take(gallery->keeper, &entry, chunk);
        }
    }
    return count;
}

size_t view_ahead_make(const struct gallery *gallery, MDB_txn *txn, const struct view *view,
                       const struct changes *changes, size_t blocks)
{
    struct view_keeper *keeper = gallery->keeper;
    struct view_chunk *list = malloc((changes->count + 1) * sizeof *list);
    size_t missing = 0, kept = 0;
    if (!list) {
        return 0; /* as many as are read when the view is made */
    }
    const size_t count = list_needed(gallery, txn, view, changes, list);
    for (size_t i = 0; i < count; i++) {
        missing += view_is_gap(&list[i]);
    }
    size_t most = missing <= blocks ? missing : blocks < STEP_BLOCKS ? blocks : STEP_BLOCKS;
    for (size_t i = 0; i < count; i++) {
        if (view_is_gap(&list[i]) && most > 0) {
            view_read_chunk(gallery, txn, &list[i]);
            most--;
            missing--;
        }
        if (!view_is_gap(&list[i])) {
            list[kept++] = list[i];
        }
    }
    view_ahead_drop(keeper);
    keeper->ahead = list;
    keeper->ahead_count = kept;
    return missing;
}
