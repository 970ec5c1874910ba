/* Making a gallery ready to be searched. */
#include <stdlib.h>

#include "gallery/search.h"
#include "view.h"
#include "whorl/msg.h"

bool gallery_prepare(struct gallery *gallery, struct whorl_fault *fault)
{
    enum gallery_ready ready;
    uint64_t people, of;
    do {
        ready = gallery_prepare_step(gallery, &people, &of, fault);
    } while (ready == GALLERY_PREPARING);
    return ready == GALLERY_READY;
}

enum gallery_ready gallery_prepare_step(struct gallery *gallery, uint64_t *people, uint64_t *of,
                                        struct whorl_fault *fault)
{
    return view_prepare(gallery, people, of, fault);
}

/* Nobody who has left is written. */
static bool add_chunk(struct segment_writer *writer, const struct view_chunk *chunk,
                      struct whorl_fault *fault)
{
    if (!chunk->gone) {
        return segment_add(writer, chunk->bytes, fault);
    }
    uint8_t *bytes = view_chunk_without(chunk);
    const bool ok =
        bytes ? segment_add(writer, bytes, fault) : whorl_fail(fault, "", "out of memory");
    free(bytes);
    return ok;
}

static bool write_segment(const struct gallery *gallery, const struct view *view,
                          struct whorl_fault *fault)
{
    struct segment_writer *writer = segment_begin(gallery->dir, fault);
    bool ok = writer != NULL;
    for (size_t i = 0; ok && i < view->count; i++) {
        ok = !view->chunks[i].bytes || view->chunks[i].people == 0 ||
             add_chunk(writer, &view->chunks[i], fault);
    }
    if (writer && !ok) {
        segment_abandon(writer);
    }
    return ok && segment_end(writer, fault);
}

bool gallery_index(struct gallery *gallery, unsigned patience_ms, bool *in_use,
                   struct whorl_fault *fault)
{
    size_t pending;
    struct whorl_fault later;
    *in_use = false;
    if (!gallery_prepare(gallery, fault)) {
        return false;
    }
    MDB_txn *txn = whorl_store_read(gallery->store, fault);
    if (!txn) {
        return false;
    }
    struct view *view = view_get(gallery, txn, SIZE_MAX, &pending, fault);
    whorl_store_done(gallery->store, txn);
    bool ok = view && write_segment(gallery, view, fault);
    view_unref(view);
    if (!ok || !gallery_prepare(gallery, fault)) { /* from the new one: this lets go of the other */
        return false;
    }
    *in_use = !segment_dispose_beside(gallery->dir, patience_ms, &later);
    return true;
}
