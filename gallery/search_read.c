/* The work of a search: ranking a chunk's people (rank.h), and looking closer at those who rank
 * high enough. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crowd.h"
#include "gallery/search.h"
#include "glance.h"
#include "rank.h"
#include "search_state.h"
#include "whorl/msg.h"

#define CLAIM_CHUNKS 32u /* taken at a time */

/* ------------------------------------------------------------------ scratch */

static size_t aligned(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

size_t gallery_search_scratch_size(void)
{
    return aligned(sizeof(struct score_person)) + aligned(afis_matcher_size()) +
           aligned(afis_finger_size()) + aligned(rank_scratch_size()) + glance_scratch_size();
}

struct scratch search_scratch(void *memory)
{
    uint8_t *matcher = (uint8_t *)memory + aligned(sizeof(struct score_person));
    uint8_t *finger = matcher + aligned(afis_matcher_size());
    uint8_t *ranking = finger + aligned(afis_finger_size());
    uint8_t *glancing = ranking + aligned(rank_scratch_size());
    return (struct scratch){memory, (struct afis_matcher *)(void *)matcher,
                            (struct afis_finger *)(void *)finger, (struct ranking *)(void *)ranking,
                            (struct glancing *)(void *)glancing};
}

/* ------------------------------------------------------------------ comparing */

/* Compares a person's prints with the probe. false: a template is damaged. */
static bool score_entry(const struct gallery_search *search, const struct scratch *scratch,
                        const struct block_entry *entry, float *score)
{
    const struct score_probe *probe = &search->probe;
    const uint8_t *at = entry->prints;
    score_begin(scratch->person);
    for (unsigned i = 0; i < entry->print_count; i++) {
        struct gallery_print print;
        bool prepared = false;
        block_print(&at, &print);
        size_t slot = score_slot(scratch->person, print.position);
        for (size_t k = 0; k < probe->impressions; k++) {
            if (!score_comparable(probe, probe->of[k], print.position)) {
                continue;
            }
            if (!prepared &&
                afis_finger_prepare_packed(print.packed, print.len, scratch->finger) != AFIS_OK) {
                return false;
            }
            prepared = true;
            score_add(scratch->person, probe->of[k], slot,
                      afis_compare(scratch->matcher, probe->finger[k], scratch->finger));
        }
    }
    *score = score_end(probe, scratch->person);
    return true;
}

static bool is_better(const struct hit *x, const struct hit *y)
{
    if (x->score != y->score) {
        return x->score > y->score;
    }
    size_t len = x->id_len < y->id_len ? x->id_len : y->id_len;
    int order = memcmp(x->id, y->id, len);
    return order != 0 ? order < 0 : x->id_len < y->id_len;
}

static void swap_hits(struct hit *x, struct hit *y)
{
    const struct hit hit = *x;
    *x = *y;
    *y = hit;
}

/* Lets a hit sink in a heap below which none is better than the one above it. */
static void sink(struct hit *heap, size_t at, size_t count)
{
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        child += child + 1 < count && is_better(&heap[child], &heap[child + 1]);
        if (!is_better(&heap[at], &heap[child])) {
            return;
        }
        swap_hits(&heap[at], &heap[child]);
        at = child;
    }
}

/* The best first, where they lie: the C library's qsort may copy them to memory that nobody wipes.
 */
void search_sort_hits(struct gallery_search *search)
{
    struct hit *hits = search->hits;
    for (size_t i = search->hit_count / 2; i-- > 0;) {
        sink(hits, i, search->hit_count);
    }
    for (size_t left = search->hit_count; left > 1; left--) {
        swap_hits(&hits[0], &hits[left - 1]);
        sink(hits, 0, left - 1);
    }
}

static void add_hit(struct gallery_search *search, uint32_t block, float score,
                    const struct block_entry *entry)
{
    pthread_mutex_lock(&search->mutex);
    if (search->hit_count == HITS_MAX) {
        search_sort_hits(search);
        search->hit_count = HITS_MAX / 2;
    }
    struct hit *hit = &search->hits[search->hit_count++];
    search->hit_most = search->hit_count > search->hit_most ? search->hit_count : search->hit_most;
    *hit = (struct hit){.score = score, .block = block, .id_len = entry->id_len};
    memcpy(hit->id, entry->id, entry->id_len);
    pthread_mutex_unlock(&search->mutex);
}

bool search_cancelled(const struct gallery_search *search)
{
    return search->params.cancelled && search->params.cancelled(search->params.ctx);
}

void search_seek(const struct gallery_search *search, MDB_txn *txn, uint32_t number,
                 struct found *found)
{
    MDB_val key = {sizeof number, &number};
    if (!found->sought) {
        found->rc = mdb_get(txn, search->gallery->blocks, &key, &found->value);
        found->sought = true;
    }
}

bool search_block(const struct gallery_search *search, MDB_txn *txn, const struct chunk *chunk,
                  struct found *found, const uint8_t **bytes, struct block_info *info,
                  struct chunk_state *state)
{
    search_seek(search, txn, chunk->number, found);
    if (found->rc == MDB_NOTFOUND) {
        return false;
    }
    if (found->rc != 0) {
        state->why = mdb_strerror(found->rc);
        return false;
    }
    if (!block_header(found->value.mv_data, found->value.mv_size, info, &state->why)) {
        return false;
    }
    *bytes = found->value.mv_data;
    if (info->stamp != chunk->stamp) {
        return false;
    }
    if (info->number != chunk->number || info->people < chunk->people ||
        info->checksum != chunk->block_checksum) {
        state->why = "differs from what was indexed";
    }
    return !state->why;
}

bool search_entry(const uint8_t *block, const struct block_info *info, size_t place,
                  struct block_entry *entry, struct chunk_state *state)
{
    if (place >= info->used || !block_next(block, info, &place, entry, &state->why)) {
        state->why = state->why ? state->why : "differs from what was indexed";
        return false;
    }
    return true;
}

/* Fully compares a person and keeps what comes of it. false with state->why: cannot be read. */
static bool compare_person(struct gallery_search *search, const struct scratch *scratch,
                           const struct chunk *chunk, const struct block_entry *entry,
                           struct chunk_state *state)
{
    float score;
    if (!score_entry(search, scratch, entry, &score)) {
        state->why = "holds a damaged template";
        return false;
    }
    if (score >= 0 && score >= search->possible_threshold) {
        state->above_possible++;
        state->above_match += score >= search->match_threshold;
        add_hit(search, chunk->number, score, entry);
    }
    return true;
}

/* ------------------------------------------------------------------ who goes on */

/* Whether a stage looks at a person. */
static bool concerns(const struct gallery_search *search, enum stage stage, uint16_t rank,
                     uint16_t impression)
{
    if (rank == RANK_NOBODY) {
        return false;
    }
    switch (stage) {
    case STAGE_FIRST:
        return rank >= search->first_cut;
    case STAGE_BEST:
        return rank >= search->best_cut;
    case STAGE_COMPARE: /* whom the best ranks did not bring there before */
        return impression >= search->compare_cut && rank < search->best_cut;
    default:
        return false;
    }
}

bool search_concerns(const struct gallery_search *search, enum stage stage,
                     const struct chunk_state *state)
{
    return state->top >= (stage == STAGE_FIRST    ? search->first_cut
                          : stage == STAGE_BEST   ? search->best_cut
                          : stage == STAGE_GLANCE ? search->glance_cut
                                                  : search->compare_cut);
}

void search_top(struct gallery_search *search, size_t chunk, enum stage stage,
                struct chunk_state *state)
{
    const struct view_chunk *known = &search->view->chunks[chunk];
    if (stage == STAGE_SIFT || stage == STAGE_RANK) {
        state->top = levels_top(search->ranks + known->before, known->rows);
    }
}

void search_sifted(const struct view_chunk *known, uint16_t *levels, struct chunk_state *state)
{
    for (uint32_t i = 0; known->gone && i < known->gone->count; i++) {
        uint16_t *level = &levels[known->gone->people[i]];
        state->comparable -= *level != RANK_NOBODY;
        *level = RANK_NOBODY;
    }
}

/* Takes a chunk through a stage that compares. false: cancelled. */
static bool visit_chunk(struct gallery_search *search, MDB_txn *txn, const struct scratch *scratch,
                        const struct chunk *chunk, enum stage stage, size_t at,
                        struct chunk_state *state)
{
    const uint16_t *ranks = search->ranks + search->view->chunks[at].before;
    const uint16_t *impressions = search->impressions + search->view->chunks[at].before;
    const uint8_t *bytes = NULL;
    struct block_info info;
    struct found found = {0};
    for (uint32_t i = 0; i < chunk->people; i++) {
        struct block_entry entry;
        if (!concerns(search, stage, ranks[i], impressions[i])) {
            continue;
        }
        size_t place = chunk_entry(chunk, i);
        if (search_cancelled(search)) {
            return false;
        }
        if (!bytes && !search_block(search, txn, chunk, &found, &bytes, &info, state)) {
            return true;
        }
        if (!search_entry(bytes, &info, place, &entry, state) ||
            !compare_person(search, scratch, chunk, &entry, state)) {
            return true;
        }
    }
    state->stage = (uint8_t)stage;
    return true;
}

/* ------------------------------------------------------------------ reading chunks */

/* Brings one chunk to where the search now is. A block that has changed since stops short: the next
 * listing notices. false: cancelled. */
static bool read_chunk(struct gallery_search *search, MDB_txn *txn, const struct scratch *scratch,
                       size_t i, struct chunk_state *state)
{
    const struct view_chunk *known = &search->view->chunks[i];
    struct chunk chunk = {0};
    if (!known->bytes) {
        state->why = known->why ? known->why : "has not been read";
        return true;
    }
    while (state->stage < search->stage) {
        enum stage stage = state->stage + 1;
        if (stage != STAGE_SIFT && stage != STAGE_RANK && !search_concerns(search, stage, state)) {
            state->stage = (uint8_t)stage;
            state->top = stage == STAGE_GLANCE ? RANK_NOBODY : state->top;
            continue;
        }
        /* It was verified when the view was made; its length is its own. */
        if (chunk.size == 0 && !chunk_open(known->bytes, SIZE_MAX, false, &chunk, &state->why)) {
            return true;
        }
        uint16_t *ranks = search->ranks + known->before;
        if (stage == STAGE_SIFT) {
            rank_sift(search, &chunk, scratch->ranking, ranks, state);
            search_sifted(known, ranks, state);
            state->stage = STAGE_SIFT;
        } else if (stage == STAGE_RANK) {
            rank_sieved(search, &chunk, scratch->ranking, ranks);
            state->stage = STAGE_RANK;
        } else if (stage == STAGE_GLANCE) {
            state->top = glance_chunk(search, &chunk, scratch->glancing, scratch->matcher, ranks,
                                      search->impressions + known->before);
            state->stage = STAGE_GLANCE;
        } else if (!visit_chunk(search, txn, scratch, &chunk, stage, i, state)) {
            return false;
        }
        if (state->stage != stage) {
            break;
        }
        search_top(search, i, stage, state);
    }
    return true;
}

/* Whether a chunk has nobody whom the stage would compare, and only that stage before it; it is
 * through that stage then. Most are passed by: of such a chunk nothing else is looked at. */
static bool pass_by(const struct gallery_search *search, struct chunk_state *state)
{
    if (search_by_words(search->stage) || state->stage + 1u != (unsigned)search->stage ||
        search_concerns(search, search->stage, state)) {
        return false;
    }
    state->stage = (uint8_t)search->stage;
    return true;
}

/* Takes some chunks that follow one another and are not done. */
static bool claim(struct gallery_search *search, size_t *from, size_t *to)
{
    const size_t count = search->view->count;
    pthread_mutex_lock(&search->mutex);
    while (search->next < count && search_chunk_done(search, &search->states[search->next])) {
        search->next++;
    }
    *from = search->next;
    while (!search->failed && search->next < count && search->next - *from < CLAIM_CHUNKS &&
           !search_chunk_done(search, &search->states[search->next])) {
        search->next++;
    }
    *to = search->next;
    pthread_mutex_unlock(&search->mutex);
    return *from < *to;
}

/* Whether the stage has given somebody of a chunk a level that is counted. */
static bool is_counted(const struct gallery_search *search, size_t chunk, uint32_t floor)
{
    const struct chunk_state *state = &search->states[chunk];
    return state->stage == search->stage && state->top >= floor;
}

void search_count(struct gallery_search *search, size_t from, size_t to)
{
    const struct view_chunk *chunks = search->view->chunks;
    const uint16_t *levels = search->stage == STAGE_GLANCE ? search->impressions : search->ranks;
    if (!search_by_words(search->stage)) {
        return;
    }
    while (from < to) { /* those that follow one another together */
        const uint64_t before = chunks[from].before;
        const uint32_t floor = search->levels.floor;
        uint64_t rows = 0;
        for (; from < to && chunks[from].before == before + rows && is_counted(search, from, floor);
             from++) {
            rows += chunks[from].rows;
        }
        levels_add(&search->levels, levels + before, rows);
        if (from < to && !is_counted(search, from, floor)) {
            if (search->states[from].stage == search->stage) {
                levels_pass(&search->levels, chunks[from].rows);
            }
            from++;
        }
    }
}

int64_t search_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

enum gallery_step search_read(struct gallery_search *search, MDB_txn *txn, void *memory,
                              int64_t until)
{
    const struct scratch scratch = search_scratch(memory);
    size_t from, to;
    if (search->joined) {
        return crowd_read(search, &scratch, until);
    }
    while (claim(search, &from, &to)) {
        uint64_t people = 0;
        for (size_t i = from; i < to; i++) {
            if (pass_by(search, &search->states[i])) {
                continue;
            }
            struct chunk_state state = search->states[i];
            bool was_sifted = state.stage >= STAGE_SIFT;
            if (search_cancelled(search) || !read_chunk(search, txn, &scratch, i, &state)) {
                return GALLERY_STEP_CANCELLED;
            }
            people += was_sifted || state.stage < STAGE_SIFT ? 0 : search->view->chunks[i].people;
            search->states[i] = state; /* claimed: nobody else looks at it */
        }
        pthread_mutex_lock(&search->mutex);
        search_count(search, from, to);
        levels_narrow(&search->levels, search_wanted(search), search->view->rows);
        search->people_read += people;
        pthread_mutex_unlock(&search->mutex);
        if (until && search_now_ns() >= until) {
            return GALLERY_STEP_MORE;
        }
    }
    return GALLERY_STEP_DRAINED;
}
