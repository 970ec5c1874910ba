#include "view.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "whorl/msg.h"

#define VERIFY_CHUNKS 150u  /* at a time: about 10 ms */
#define PREPARE_BLOCKS 100u /* likewise */
#define FIRST_BLOCKS 250u   /* of a gallery that was never ready: more are left to view_prepare */
#define NO_STAMP UINT64_MAX /* of a view that mixes transactions */
#define GONE_SHARE 12u      /* a chunk is copied when one of so many of its people has left */

struct view_own {
    atomic_uint refs;
    uint8_t *bytes;
};

struct view_keeper {
    pthread_mutex_t mutex;          /* guards all below */
    struct view *newest;            /* NULL: none yet */
    struct segment *segment;        /* wholly verified */
    struct segment *opening;        /* being verified */
    struct segment_identity sought; /* the file that was last looked at */
    struct view *draft;             /* being read by view_prepare ... */
    struct view *draft_base;        /* ... since this one */
    size_t draft_at;
    uint64_t draft_people; /* ready in it */
    uint64_t people;       /* in the gallery when view_prepare was last called */
};

/* ------------------------------------------------------------------ lifetimes */

static void own_unref(struct view_own *own)
{
    if (own && atomic_fetch_sub(&own->refs, 1) == 1) {
        free(own->bytes);
        free(own);
    }
}

static void gone_unref(struct view_gone *gone)
{
    if (gone && atomic_fetch_sub(&gone->refs, 1) == 1) {
        free(gone);
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
    for (size_t i = 0; i < view->count; i++) {
        own_unref(view->chunks[i].own);
        gone_unref(view->chunks[i].gone);
    }
    segment_unref(view->segment);
    free(view);
}

struct view_keeper *view_keeper_new(void)
{
    struct view_keeper *keeper = calloc(1, sizeof *keeper);
    if (keeper) {
        pthread_mutex_init(&keeper->mutex, NULL);
    }
    return keeper;
}

void view_keeper_free(struct view_keeper *keeper)
{
    if (!keeper) {
        return;
    }
    view_unref(keeper->newest);
    view_unref(keeper->draft);
    view_unref(keeper->draft_base);
    segment_unref(keeper->segment);
    segment_unref(keeper->opening);
    pthread_mutex_destroy(&keeper->mutex);
    free(keeper);
}

/* ------------------------------------------------------------------ listing */

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
    atomic_init(&gone->refs, 1);
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
            gone_unref(gone);
            return false;
        }
    }
    to->earlier = NULL;
    to->left = false;
    to->bytes = bytes;
    to->rows = chunk.people;
    to->gone = gone;
    to->own = own;
    if (own) {
        atomic_fetch_add(&own->refs, 1);
    }
    return true;
}

/* Takes the chunk of that version from the newest view. `at` walks along it. What lies in a segment
 * that is not `segment` is not taken: the new view would not keep it mapped. */
static bool take_known(const struct view *known, size_t *at, const struct segment *segment,
                       const struct index_entry *entry, struct view_chunk *to)
{
    while (known && *at < known->count && known->chunks[*at].number < to->number) {
        (*at)++;
    }
    if (!known || *at == known->count || known->chunks[*at].number != to->number) {
        return false;
    }
    const struct view_chunk *chunk = &known->chunks[*at];
    const bool same = same_checksum(chunk->checksum, to->checksum);
    if (same && chunk->stamp == to->stamp && chunk->people == to->people && !chunk->bytes &&
        chunk->why) {
        to->why = chunk->why;
        to->rows = chunk->rows;
        return true;
    }
    /* The keeper keeps that view until this one is made. */
    if (!chunk->bytes || !same || chunk->written != to->written) {
        to->earlier = to->left ? to->earlier : chunk->bytes;
        return false;
    }
    to->earlier = chunk->bytes;
    to->left = true;
    if (!chunk->own && known->segment != segment) {
        return false;
    }
    if (chunk->stamp != to->stamp || chunk->people != to->people) {
        return take(chunk->bytes, chunk->own, entry, to);
    }
    to->earlier = NULL;
    to->left = false;
    to->bytes = chunk->bytes;
    to->rows = chunk->rows;
    to->own = chunk->own;
    to->gone = chunk->gone;
    if (to->own) {
        atomic_fetch_add(&to->own->refs, 1);
    }
    if (to->gone) {
        atomic_fetch_add(&to->gone->refs, 1);
    }
    return true;
}

/* The same from the segment. */
static bool take_stored(const struct segment *segment, uint32_t *at,
                        const struct index_entry *entry, struct view_chunk *to)
{
    struct chunk chunk = {0};
    const char *why;
    while (segment && *at < segment->count &&
           chunk_open(segment->bytes + segment->offset[*at], segment->len - segment->offset[*at],
                      false, &chunk, &why) &&
           chunk.number < to->number) {
        (*at)++;
    }
    return segment && *at < segment->count && chunk.number == to->number &&
           chunk.stamp == to->written && same_checksum(chunk.block_checksum, to->checksum) &&
           take(segment->bytes + segment->offset[*at], NULL, entry, to);
}

/* Fills the view with what the index lists; *pending: chunks that neither the newest view nor the
 * segment has. */
static int list_into(const struct gallery *gallery, MDB_txn *txn, const struct view *known,
                     struct view *view, size_t room, size_t *pending)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    size_t at_known = 0;
    uint32_t at_stored = 0;
    /* Else what the segment has, the newest view has, too. */
    const struct segment *segment = known && known->segment == view->segment ? NULL : view->segment;
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
        *chunk = (struct view_chunk){.number = entry.number,
                                     .people = entry.people,
                                     .rows = entry.people,
                                     .stamp = entry.stamp,
                                     .written = entry.written,
                                     .checksum = entry.checksum};
        view->people += entry.people;
        *pending += !take_stored(segment, &at_stored, &entry, chunk) &&
                    !take_known(known, &at_known, view->segment, &entry, chunk) && !chunk->left;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The view of txn, with gaps where chunks have yet to be made. NULL with *fault. */
static struct view *list_view(const struct gallery *gallery, MDB_txn *txn, uint64_t stamp,
                              size_t *pending, struct whorl_fault *fault)
{
    struct view_keeper *keeper = gallery->keeper;
    MDB_stat stat;
    int rc = mdb_stat(txn, gallery->index, &stat);
    struct view *view = NULL;
    if (rc == 0) {
        view = calloc(1, sizeof *view + stat.ms_entries * sizeof *view->chunks);
        if (!view) {
            whorl_fail(fault, "", "out of memory");
            return NULL;
        }
        atomic_init(&view->refs, 1);
        view->stamp = stamp;
        view->segment = keeper->segment ? segment_ref(keeper->segment) : NULL;
        rc = list_into(gallery, txn, keeper->newest, view, stat.ms_entries, pending);
    }
    if (rc != 0) {
        view_unref(view);
        whorl_fail(fault, "", "cannot read the gallery: %s", mdb_strerror(rc));
        return NULL;
    }
    return view;
}

/* ------------------------------------------------------------------ reading blocks */

/* Of a block as txn has it. `before`: the chunk of an earlier version of it, or NULL. */
static uint8_t *make_chunk(const struct gallery *gallery, MDB_txn *txn,
                           const struct index_entry *entry, const struct chunk *before,
                           const char **why)
{
    const uint8_t *bytes;
    struct block_info info;
    int rc = block_read(gallery, txn, entry->number, &bytes, &info, why);
    if (rc == 0 && (info.stamp != entry->written || info.people != entry->people + entry->gone)) {
        *why = "is of another version than the index says";
    } else if (rc != 0 && !*why) {
        *why = mdb_strerror(rc);
    }
    uint8_t *made = *why ? NULL : chunk_make(bytes, &info, before, why);
    struct chunk chunk;
    if (made && entry->gone > 0 && chunk_open(made, SIZE_MAX, false, &chunk, why)) {
        uint8_t *less = chunk_without(&chunk, entry->places, entry->gone);
        *why = !less                                 ? "cannot be indexed: out of memory"
               : chunk_people(less) != entry->people ? "does not hold all those who have left it"
                                                     : NULL;
        free(made);
        made = less;
    }
    return made;
}

/* Makes the chunk of a block as txn has it. A block that is gone or of another version leaves the
 * gap: the view is then no view of txn, and the next listing sees to it. */
static void read_chunk(const struct gallery *gallery, MDB_txn *txn, struct view_chunk *chunk)
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
        free(bytes);
        chunk->why = why ? why : "cannot be indexed: out of memory";
        return;
    }
    atomic_init(&own->refs, 1);
    own->bytes = bytes;
    chunk->own = own;
    chunk->bytes = bytes;
}

static bool is_gap(const struct view_chunk *chunk)
{
    return !chunk->bytes && !chunk->why;
}

/* Says where the rows of each chunk lie, once all are known. */
static void place_rows(struct view *view)
{
    view->rows = 0;
    for (size_t i = 0; i < view->count; i++) {
        view->chunks[i].before = view->rows;
        view->rows += view->chunks[i].rows;
    }
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

/* ------------------------------------------------------------------ the newest view */

/* With the mutex held. */
static struct view *get(struct gallery *gallery, MDB_txn *txn, size_t most, size_t *pending,
                        struct whorl_fault *fault)
{
    struct view_keeper *keeper = gallery->keeper;
    struct meta meta;
    int rc = meta_read(gallery, txn, &meta);
    if (rc != 0) {
        whorl_fail(fault, "", "cannot read the gallery: %s", mdb_strerror(rc));
        return NULL;
    }
    if (keeper->newest && keeper->newest->stamp == meta.stamp &&
        keeper->newest->segment == keeper->segment) {
        return view_ref(keeper->newest);
    }
    struct view *view = list_view(gallery, txn, meta.stamp, pending, fault);
    if (!view) {
        return NULL;
    }
    if (*pending > most) {
        view_unref(view);
        return NULL;
    }
    for (size_t i = 0; i < view->count; i++) {
        if (is_gap(&view->chunks[i])) {
            read_chunk(gallery, txn, &view->chunks[i]);
        }
    }
    *pending = 0;
    place_rows(view);
    if (!keeper->newest || keeper->newest->stamp == NO_STAMP ||
        keeper->newest->stamp <= view->stamp) {
        view_unref(keeper->newest);
        keeper->newest = view_ref(view);
    }
    return view;
}

struct view *view_get(struct gallery *gallery, MDB_txn *txn, size_t most, size_t *pending,
                      struct whorl_fault *fault)
{
    *pending = 0;
    pthread_mutex_lock(&gallery->keeper->mutex);
    const bool first = gallery->keeper->newest == NULL && most < SIZE_MAX;
    struct view *view =
        get(gallery, txn, first && most > FIRST_BLOCKS ? FIRST_BLOCKS : most, pending, fault);
    pthread_mutex_unlock(&gallery->keeper->mutex);
    return view;
}

/* ------------------------------------------------------------------ preparing */

/* Goes on verifying the segment. false: there is none, or it is done, or it is damaged: *fault. */
static bool verify_segment(struct gallery *gallery, struct whorl_fault *fault)
{
    struct view_keeper *keeper = gallery->keeper;
    if (!keeper->opening) {
        struct segment_identity now = segment_identify(gallery->dir);
        bool missing;
        if (segment_same(&now, &keeper->sought)) {
            return false;
        }
        keeper->sought = now;
        keeper->opening = segment_open(gallery->dir, &missing, fault);
        if (!keeper->opening) {
            return false;
        }
    }
    if (!segment_verify(keeper->opening, VERIFY_CHUNKS, fault)) {
        segment_unref(keeper->opening);
        keeper->opening = NULL;
        return false;
    }
    if (keeper->opening->verified == keeper->opening->count) {
        segment_unref(keeper->segment);
        keeper->segment = keeper->opening;
        keeper->opening = NULL;
    }
    return true;
}

/* Reads some blocks of the draft; done with it, it becomes what later listings share. */
static void read_draft(const struct gallery *gallery, MDB_txn *txn)
{
    struct view_keeper *keeper = gallery->keeper;
    struct view *draft = keeper->draft;
    for (size_t blocks = 0; keeper->draft_at < draft->count && blocks < PREPARE_BLOCKS;
         keeper->draft_at++) {
        struct view_chunk *chunk = &draft->chunks[keeper->draft_at];
        if (is_gap(chunk)) {
            read_chunk(gallery, txn, chunk);
            blocks++;
        }
        keeper->draft_people += chunk->people;
    }
    if (keeper->draft_at == draft->count) {
        view_unref(keeper->newest);
        draft->stamp = NO_STAMP;
        view_unref(keeper->draft_base);
        keeper->newest = draft;
        keeper->draft = keeper->draft_base = NULL;
    }
}

/* With the mutex held. What the segment holds is taken for what the gallery does. */
static void progress(const struct view_keeper *keeper, uint64_t *people, uint64_t *of)
{
    *of = keeper->draft ? keeper->draft->people : keeper->people;
    *people = keeper->draft ? keeper->draft_people : 0;
    if (!keeper->draft && keeper->opening && keeper->opening->count > 0) {
        *people = keeper->people * keeper->opening->verified / keeper->opening->count;
    }
}

/* With the mutex held. */
static enum gallery_ready prepare(struct gallery *gallery, MDB_txn *txn, struct whorl_fault *fault)
{
    struct view_keeper *keeper = gallery->keeper;
    struct meta meta;
    size_t pending = 0;
    keeper->people = meta_read(gallery, txn, &meta) == 0 ? meta.people : 0;
    if (!keeper->draft && (verify_segment(gallery, fault) || fault->text[0])) {
        return GALLERY_PREPARING; /* without a segment, chunks are made from blocks */
    }
    if (!keeper->draft) {
        struct view *view = get(gallery, txn, PREPARE_BLOCKS, &pending, fault);
        if (view) {
            view_unref(view);
            return GALLERY_READY;
        }
        if (pending == 0) {
            return GALLERY_PREPARE_FAILED;
        }
        keeper->draft = list_view(gallery, txn, NO_STAMP, &pending, fault);
        keeper->draft_base = keeper->draft && keeper->newest ? view_ref(keeper->newest) : NULL;
        keeper->draft_at = 0;
        keeper->draft_people = 0;
    }
    if (!keeper->draft) {
        return GALLERY_PREPARE_FAILED;
    }
    read_draft(gallery, txn);
    return GALLERY_PREPARING;
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
