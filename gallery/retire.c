/* The end of an enrolment. */
#include "segment.h"
#include "store.h"

bool gallery_withdraw(struct gallery *gallery, const char *id, int64_t when, bool *found,
                      struct whorl_fault *fault)
{
    struct gallery_person *person;
    if (!gallery_get(gallery, id, true, &person, fault)) {
        return false;
    }
    *found = person != NULL;
    if (person == NULL) {
        return true;
    }
    struct gallery_person changed = *person;
    changed.expires = when;
    bool ok = gallery_put(gallery, &changed, 1, NULL, fault);
    gallery_person_free(person);
    return ok;
}

struct current {
    struct gallery *gallery;
    MDB_txn *txn;
};

/* Whether the store has this version of the chunk's block. */
static bool is_current(void *ctx, const struct chunk *chunk)
{
    const struct current *current = ctx;
    struct index_entry entry;
    return index_read(current->gallery, current->txn, chunk->number, &entry) == 0 &&
           chunk_is_of(chunk, &entry);
}

bool gallery_erase(struct gallery *gallery, struct whorl_store_erased *done,
                   struct whorl_fault *fault)
{
    uint64_t bytes = 0;
    if (!blocks_tidy(gallery, fault)) {
        return false;
    }
    struct current current = {gallery, whorl_store_read(gallery->store, fault)};
    if (!current.txn) {
        return false;
    }
    bool ok = segment_erase(gallery->dir, is_current, &current, &bytes, fault);
    whorl_store_done(gallery->store, current.txn);
    if (!ok || !whorl_store_erase(gallery->store, done, fault)) {
        return false;
    }
    done->bytes += bytes;
    return true;
}
