/* What is left of people who were removed. */
#include "segment.h"
#include "store.h"

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
