#include "view.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "view_parts.h"
#include "whorl/msg.h"

#define VERIFY_CHUNKS 150u  /* at a time: about 10 ms */
#define PREPARE_BLOCKS 100u /* likewise */
#define SEEK_FIRST_MS 900u  /* between two tries to open a segment: the server looks each second */
#define SEEK_LAST_MS 60000u
#define FIRST_BLOCKS 250u /* of a gallery that was never ready: more are left to view_prepare */
/* Taken in beside a search's work: changes, a few milliseconds, and blocks written, ten. The copy
 * of a database sends 2,048 people at a time. */
#define REFRESH_MOST 8192u
#define REFRESH_BLOCKS 96u

/* ------------------------------------------------------------------ lifetimes */

static size_t size_of(size_t room)
{
    return sizeof(struct view) + room * sizeof(struct view_chunk);
}

struct view *view_new(struct array_pool *arrays, size_t room)
{
    struct view *view = array_take(arrays, size_of(room));
    if (view) {
        atomic_init(&view->refs, 1);
        view->arrays = arrays;
        view->room = room;
    }
    return view;
}

struct view_era *view_era_new(void)
{
    struct view_era *era = calloc(1, sizeof *era);
    if (era) {
        atomic_init(&era->refs, 1);
    }
    return era;
}

static void free_own(struct view_own *own)
{
    if (own) {
        free(own->bytes);
        free(own);
    }
}

void view_chunk_discard(struct view_chunk *chunk)
{
    if (chunk->fresh_own) {
        free_own(chunk->own);
    }
    if (chunk->fresh_gone) {
        free(chunk->gone);
    }
}

void view_era_unref(struct view_era *era)
{
    while (era && atomic_fetch_sub(&era->refs, 1) == 1) {
        struct view_era *next = era->next;
        for (struct view_own *own = era->owns, *after; own; own = after) {
            after = own->next;
            free_own(own);
        }
        for (struct view_gone *gone = era->gones, *after; gone; gone = after) {
            after = gone->next;
            free(gone);
        }
        free(era->changed);
        free(era);
        era = next;
    }
}

void view_era_leave(struct view_era *era, const struct view_chunk *old,
                    const struct view_chunk *now)
{
    if (old->own && (!now || now->own != old->own)) {
        old->own->next = era->owns;
        era->owns = old->own;
    }
    if (old->gone && (!now || now->gone != old->gone)) {
        old->gone->next = era->gones;
        era->gones = old->gone;
    }
}

struct view *view_ref(struct view *view)
{
    atomic_fetch_add(&view->refs, 1);
    return view;
}

void view_unref(struct view *view)
{
    if (!view || atomic_fetch_sub(&view->refs, 1) != 1) {
        return;
    }
    const bool last = view->era && !view->era->next; /* nothing follows */
    for (size_t i = 0; (last || !view->era) && i < view->count; i++) {
        if (last) {
            view_era_leave(view->era, &view->chunks[i], NULL);
        } else {
            view_chunk_discard(&view->chunks[i]);
        }
    }
    view_era_unref(view->era);
    segment_unref(view->segment);
    array_give(view->arrays, view, size_of(view->room));
}

struct view_keeper *view_keeper_new(struct array_pool *arrays)
{
    struct view_keeper *keeper = calloc(1, sizeof *keeper);
    uint8_t *empty = chunk_make_empty();
    if (!keeper || !empty) {
        free(keeper);
        free(empty);
        return NULL;
    }
    keeper->arrays = arrays;
    keeper->empty = empty;
    pthread_mutex_init(&keeper->mutex, NULL);
    return keeper;
}

static void drop_draft(struct view_keeper *keeper)
{
    view_unref(keeper->draft);
    view_unref(keeper->draft_base);
    keeper->draft = keeper->draft_base = NULL;
}

void view_keeper_free(struct view_keeper *keeper)
{
    if (!keeper) {
        return;
    }
    drop_draft(keeper);
    view_ahead_drop(keeper);
    view_unref(keeper->newest);
    segment_unref(keeper->segment);
    segment_unref(keeper->opening);
    pthread_mutex_destroy(&keeper->mutex);
    free(keeper->empty);
    free(keeper);
}

uint8_t *view_chunk_without(const struct view_chunk *chunk)
{
    uint8_t places[2 * GONE_MAX];
    const uint32_t count = chunk->gone ? chunk->gone->count : 0;
    struct chunk all;
    const char *why;
    if (!chunk_open(chunk->bytes, SIZE_MAX, false, &all, &why)) {
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        put16(places + (size_t)2 * i, (uint16_t)chunk_entry(&all, chunk->gone->people[i]));
    }
    return chunk_without(&all, places, count);
}

size_t view_find(const struct view_chunk *list, size_t count, size_t at, uint32_t number)
{
    size_t step = 1;
    while (at + step < count && list[at + step].number < number) {
        at += step;
        step *= 2;
    }
    size_t high = at + step < count ? at + step : count;
    while (at < high) {
        const size_t middle = at + (high - at) / 2;
        if (list[middle].number < number) {
            at = middle + 1;
        } else {
            high = middle;
        }
    }
    return at;
}

/* ------------------------------------------------------------------ the newest view */

/* Leaves to the era of `old` what `view` does without. */
static void leave_behind(const struct view *old, const struct view *view)
{
    for (size_t i = 0, k = 0; i < old->count; i++) {
        while (k < view->count && view->chunks[k].number < old->chunks[i].number) {
            k++;
        }
        const bool there = k < view->count && view->chunks[k].number == old->chunks[i].number;
        view_era_leave(old->era, &old->chunks[i], there ? &view->chunks[k] : NULL);
    }
}

/* Leaves to the view's own era what it shares with no other. */
static void leave_fresh(const struct view *view)
{
    for (size_t i = 0; i < view->count; i++) {
        struct view_chunk fresh = {.own = view->chunks[i].fresh_own ? view->chunks[i].own : NULL,
                                   .gone =
                                       view->chunks[i].fresh_gone ? view->chunks[i].gone : NULL};
        view_era_leave(view->era, &fresh, NULL);
    }
}

/* Gives a view that was listed, and whose gaps are filled, its place among the others. false: out
 * of memory. */
static bool install(struct view_keeper *keeper, struct view *view)
{
    struct view *newest = keeper->newest;
    view->era = view_era_new();
    if (!view->era) {
        return false;
    }
    view_place_rows(keeper, view);
    keeper->missing = 0;
    view_ahead_drop(keeper);
    if (newest &&
        newest->stamp > view->stamp) { /* of an earlier moment: it lives beside that one */
        leave_fresh(view);
        view->era->next = newest->era;
        atomic_fetch_add(&newest->era->refs, 1);
    } else if (newest) {
        leave_behind(newest, view);
        newest->era->next = view->era;
        atomic_fetch_add(&view->era->refs, 1);
    }
    for (size_t i = 0; i < view->count; i++) {
        view->chunks[i].fresh_own = view->chunks[i].fresh_gone = false;
        view->gaps = view->gaps || view_is_gap(&view->chunks[i]);
    }
    if (!newest || newest->stamp <= view->stamp) {
        view_unref(newest);
        keeper->newest = view_ref(view);
    }
    return true;
}

/* Fills the gaps of a view and gives it its place; it is lost where that fails. */
static struct view *complete(struct gallery *gallery, MDB_txn *txn, struct view *view,
                             struct whorl_fault *fault)
{
    for (size_t i = 0; i < view->count; i++) {
        if (view_is_gap(&view->chunks[i])) {
            view_read_chunk(gallery, txn, &view->chunks[i]);
        }
    }
    if (install(gallery->keeper, view)) {
        return view;
    }
    view_unref(view);
    whorl_fail(fault, "", "out of memory");
    return NULL;
}

/* The newest view if it is of that moment, or can be brought to it by the log. NULL with *pending
 * 0: it is not to be had so. */
static struct view *get_newest(struct gallery *gallery, MDB_txn *txn, const struct meta *meta,
                               size_t blocks, size_t *pending)
{
    const struct view_keeper *keeper = gallery->keeper;
    *pending = 0;
    if (keeper->newest && keeper->newest->stamp == meta->stamp &&
        keeper->newest->segment == keeper->segment && !keeper->newest->gaps) {
        return view_ref(keeper->newest);
    }
    return view_follow(gallery, txn, meta, SIZE_MAX, blocks, pending);
}

/* With the mutex held. */
static struct view *get(struct gallery *gallery, MDB_txn *txn, size_t most, size_t *pending,
                        struct whorl_fault *fault)
{
    struct meta meta;
    int rc = meta_read(gallery, txn, &meta);
    *pending = 0;
    if (rc != 0) {
        whorl_fail(fault, "", "cannot read the gallery: %s", mdb_strerror(rc));
        return NULL;
    }
    struct view *view = get_newest(gallery, txn, &meta, most, pending);
    if (view || *pending > 0) {
        return view;
    }
    view = view_list(gallery, txn, &meta, NULL, pending, fault);
    if (view && *pending > most) {
        view_unref(view);
        return NULL;
    }
    *pending = 0;
    return view ? complete(gallery, txn, view, fault) : NULL;
}

struct view *view_get(struct gallery *gallery, MDB_txn *txn, size_t most, size_t *pending,
                      struct whorl_fault *fault)
{
    pthread_mutex_lock(&gallery->keeper->mutex);
    const bool first = gallery->keeper->newest == NULL && most < SIZE_MAX;
    struct view *view =
        get(gallery, txn, first && most > FIRST_BLOCKS ? FIRST_BLOCKS : most, pending, fault);
    pthread_mutex_unlock(&gallery->keeper->mutex);
    return view;
}

void view_refresh(struct gallery *gallery, MDB_txn *txn)
{
    struct view_keeper *keeper = gallery->keeper;
    struct meta meta;
    size_t pending;
    if (pthread_mutex_trylock(&keeper->mutex) != 0) {
        return;
    }
    if (keeper->newest && meta_read(gallery, txn, &meta) == 0 &&
        keeper->newest->stamp < meta.stamp) {
        view_unref(view_follow(gallery, txn, &meta, REFRESH_MOST, REFRESH_BLOCKS, &pending));
    }
    pthread_mutex_unlock(&keeper->mutex);
}

bool view_is_past(struct gallery *gallery, MDB_txn *txn)
{
    struct meta meta;
    pthread_mutex_lock(&gallery->keeper->mutex);
    const bool past = gallery->keeper->newest && meta_read(gallery, txn, &meta) == 0 &&
                      gallery->keeper->newest->stamp > meta.stamp;
    pthread_mutex_unlock(&gallery->keeper->mutex);
    return past;
}

/* ------------------------------------------------------------------ preparing */

/* Who is in the segment's chunks from the `from`-th on, as far as these were verified. Those of an
 * earlier version of their block have to be made anew, and count nobody. */
static uint64_t verified_people(const struct gallery *gallery, MDB_txn *txn,
                                const struct segment *segment, uint32_t from)
{
    uint64_t people = 0;
    for (uint32_t i = from; i < segment->verified; i++) {
        struct index_entry entry;
        struct chunk chunk;
        const char *why;
        const size_t at = segment->offset[i];
        if (chunk_open(segment->bytes + at, segment->len - at, false, &chunk, &why) &&
            index_read(gallery, txn, chunk.number, &entry) == 0 && chunk_is_of(&chunk, &entry)) {
            people += entry.people;
        }
    }
    return people;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Opens the segment if it is another than the last, or one that could not be opened for reasons
 * that may pass: by and by more seldom, as each time is logged. false: it is not, or *fault. */
static bool seek_segment(struct gallery *gallery, struct whorl_fault *fault)
{
    struct view_keeper *keeper = gallery->keeper;
    const struct segment_identity now = segment_identify(gallery->dir);
    const bool same = segment_same(&now, &keeper->sought);
    enum segment_lack lack;
    if (same && (keeper->sought_pause == 0 || now_ms() < keeper->sought_again)) {
        return false;
    }
    const uint64_t before = same ? keeper->sought_pause : 0;
    keeper->sought = now;
    keeper->sought_pause = 0;
    keeper->opening = segment_open(gallery->dir, &lack, fault);
    keeper->opening_people = 0;
    if (!keeper->opening && lack == SEGMENT_BARRED) {
        keeper->sought_pause = before == 0                 ? SEEK_FIRST_MS
                               : before < SEEK_LAST_MS / 2 ? 2 * before
                                                           : SEEK_LAST_MS;
        keeper->sought_again = now_ms() + keeper->sought_pause;
    }
    return keeper->opening != NULL;
}

/* Goes on verifying the segment. false: there is none, or it is done, or it is damaged: *fault. */
static bool verify_segment(struct gallery *gallery, MDB_txn *txn, struct whorl_fault *fault)
{
    struct view_keeper *keeper = gallery->keeper;
    if (!keeper->opening && !seek_segment(gallery, fault)) {
        return false;
    }
    const uint32_t verified = keeper->opening->verified;
    if (!segment_verify(keeper->opening, VERIFY_CHUNKS, fault)) {
        segment_unref(keeper->opening);
        keeper->opening = NULL;
        keeper->opening_people = 0;
        return false;
    }
    keeper->opening_people += verified_people(gallery, txn, keeper->opening, verified);
    if (keeper->opening->verified == keeper->opening->count) {
        segment_unref(keeper->segment);
        keeper->segment = keeper->opening;
        keeper->opening = NULL;
    }
    return true;
}

static bool draft_done(const struct view_keeper *keeper)
{
    return keeper->draft && keeper->draft_at == keeper->draft->count;
}

/* Reads some blocks of the draft. What is made of them, the next view takes. */
static void read_draft(const struct gallery *gallery, MDB_txn *txn)
{
    struct view_keeper *keeper = gallery->keeper;
    struct view *draft = keeper->draft;
    for (size_t blocks = 0; keeper->draft_at < draft->count && blocks < PREPARE_BLOCKS;
         keeper->draft_at++) {
        struct view_chunk *chunk = &draft->chunks[keeper->draft_at];
        if (view_is_gap(chunk)) {
            view_read_chunk(gallery, txn, chunk);
            keeper->draft_people += chunk->people;
            blocks++;
        }
    }
}

/* Begins a draft with what there is, if that is too little for a view. */
static enum gallery_ready begin_draft(struct gallery *gallery, MDB_txn *txn,
                                      const struct meta *meta, struct whorl_fault *fault)
{
    struct view_keeper *keeper = gallery->keeper;
    size_t pending;
    struct view *view = view_list(gallery, txn, meta, keeper->draft, &pending, fault);
    drop_draft(keeper);
    if (!view) {
        return GALLERY_PREPARE_FAILED;
    }
    if (pending <= PREPARE_BLOCKS) {
        view = complete(gallery, txn, view, fault);
        view_unref(view);
        return view ? GALLERY_READY : GALLERY_PREPARE_FAILED;
    }
    keeper->draft = view;
    keeper->draft_base = keeper->newest ? view_ref(keeper->newest) : NULL;
    keeper->draft_at = 0;
    keeper->draft_people = 0;
    for (size_t i = 0; i < view->count; i++) {
        keeper->draft_people += view_is_gap(&view->chunks[i]) ? 0 : view->chunks[i].people;
    }
    read_draft(gallery, txn);
    return GALLERY_PREPARING;
}

/* With the mutex held. Who is ready, whether by the segment or by a block that was read. */
static void progress(const struct view_keeper *keeper, uint64_t *people, uint64_t *of)
{
    const struct view *newest = keeper->newest;
    *of = keeper->draft ? keeper->draft->people : keeper->people;
    *people = keeper->draft ? keeper->draft_people : keeper->opening_people;
    if (!keeper->draft && newest && keeper->missing > 0) { /* as if these were like all others */
        const uint64_t there =
            newest->count > keeper->missing ? newest->count - keeper->missing : 0;
        *of = newest->people;
        *people = newest->people / (newest->count + 1) * there;
    }
}

/* With the mutex held. */
static enum gallery_ready prepare(struct gallery *gallery, MDB_txn *txn, struct whorl_fault *fault)
{
    struct view_keeper *keeper = gallery->keeper;
    struct meta meta;
    size_t pending;
    int rc = meta_read(gallery, txn, &meta);
    keeper->people = rc == 0 ? meta.people : 0;
    if (!keeper->draft && (verify_segment(gallery, txn, fault) || fault->text[0])) {
        return GALLERY_PREPARING; /* without a segment, chunks are made from blocks */
    }
    if (rc != 0) {
        whorl_fail(fault, "", "cannot read the gallery: %s", mdb_strerror(rc));
        return GALLERY_PREPARE_FAILED;
    }
    if (keeper->draft && !draft_done(keeper)) {
        read_draft(gallery, txn);
        return GALLERY_PREPARING;
    }
    struct view *view =
        keeper->draft ? NULL : get_newest(gallery, txn, &meta, PREPARE_BLOCKS, &pending);
    if (view) {
        view_unref(view);
        return GALLERY_READY;
    }
    if (!keeper->draft && pending > 0) {
        return GALLERY_PREPARING;
    }
    return begin_draft(gallery, txn, &meta, fault);
}

enum gallery_ready view_prepare(struct gallery *gallery, uint64_t *people, uint64_t *of,
                                struct whorl_fault *fault)
{
    *people = *of = 0;
    *fault = (struct whorl_fault){{0}, {0}};
    MDB_txn *txn = whorl_store_read(gallery->store, fault);
    if (!txn) {
        return GALLERY_PREPARE_FAILED;
    }
    pthread_mutex_lock(&gallery->keeper->mutex);
    enum gallery_ready ready = prepare(gallery, txn, fault);
    progress(gallery->keeper, people, of);
    *people = ready == GALLERY_READY ? *of : *people;
    pthread_mutex_unlock(&gallery->keeper->mutex);
    whorl_store_done(gallery->store, txn);
    return ready;
}

void view_progress(struct gallery *gallery, uint64_t *people, uint64_t *of)
{
    pthread_mutex_lock(&gallery->keeper->mutex);
    progress(gallery->keeper, people, of);
    pthread_mutex_unlock(&gallery->keeper->mutex);
}
