/* The course of a search: what is read, how deep, and when it is a result. */
#include "gallery/search.h"

#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "crowd.h"
#include "rank.h"
#include "search_state.h"
#include "whorl/msg.h"

#define STEP_NS 8000000LL
#define ROUNDS_MAX 4u      /* after these, finish reads what still changes itself */
#define BEGIN_BLOCKS 8192u /* changed ones that begin reads itself: half a second at most */
#define LAGGING_SHARE 64u  /* one of so many chunks may lag behind until the search would end */
#define NOW_TRIES 3u
#define ROOM_SHARE 32u  /* one in so many chunks and rows may be added without copying */
#define PEOPLE_ALL 500u /* of a gallery this small everyone is compared */

/* How many people a stage looks at: that share of the gallery, at least so many. The shares are
 * chosen from what they lose (docs/search.md). */
struct quota {
    double share;
    uint64_t least;
};
static const struct quota sift_quota = {0.07, 5000}, best_quota = {0.00002, 50},
                          glance_quota = {0.015, 1500}, compare_quota = {0.0003, 100};

/* ------------------------------------------------------------------ following the gallery */

/* Whether both have the same rows. Some of their people may have left between the two. */
static bool same_rows(const struct view_chunk *a, const struct view_chunk *b)
{
    if (a->number != b->number || a->written != b->written || a->checksum != b->checksum ||
        a->rows != b->rows) {
        return false;
    }
    return (a->bytes && a->bytes == b->bytes) ||
           (a->stamp == b->stamp && !a->gone && !b->gone && !a->bytes == !b->bytes);
}

/* Whether everyone who had left `then` has left `now`. */
static bool holds_all(const struct view_gone *now, const struct view_gone *then)
{
    uint32_t at = 0;
    for (uint32_t i = 0; then && i < then->count; i++, at++) {
        while (now && at < now->count && now->people[at] < then->people[i]) {
            at++;
        }
        if (!now || at == now->count || now->people[at] != then->people[i]) {
            return false;
        }
    }
    return true;
}

/* Takes those out of what is known of a chunk who have left its block since. false: it is to be
 * read again, because it is not known what came of one of them, or because the view is of an
 * earlier moment. */
static bool let_leave(const struct view_gone *now, const struct view_gone *then,
                      struct chunk_state *state, uint16_t *ranks, uint16_t *impressions)
{
    uint32_t next = 0;
    if (now == then) {
        return true;
    }
    if (!holds_all(now, then) || state->stage == STAGE_NONE || state->above_possible > 0) {
        return false;
    }
    for (uint32_t i = 0; i < now->count; i++) {
        const uint16_t person = now->people[i];
        if (then && next < then->count && then->people[next] == person) {
            next++;
        } else if (ranks[person] == RANK_NOBODY) {
            return false;
        } else {
            state->comparable--;
            ranks[person] = impressions[person] = RANK_NOBODY;
        }
    }
    return true;
}

/* Carries over what is known of chunks that are the same in both views. */
static void carry_over(const struct gallery_search *search, const struct view *view,
                       struct chunk_state *states, uint16_t *ranks, uint16_t *impressions)
{
    const struct view *old = search->view;
    for (size_t i = 0, k = 0; i < view->count; i++) {
        const struct view_chunk *chunk = &view->chunks[i];
        while (old && k < old->count && old->chunks[k].number < chunk->number) {
            k++;
        }
        if (old && k < old->count && same_rows(chunk, &old->chunks[k])) {
            states[i] = search->states[k];
            memcpy(ranks + chunk->before, search->ranks + old->chunks[k].before,
                   chunk->rows * sizeof *ranks);
            memcpy(impressions + chunk->before, search->impressions + old->chunks[k].before,
                   chunk->rows * sizeof *impressions);
            if (!let_leave(chunk->gone, old->chunks[k].gone, &states[i], ranks + chunk->before,
                           impressions + chunk->before)) {
                states[i] = (struct chunk_state){0};
            }
        }
    }
}

static const struct chunk_state *state_of(const struct gallery_search *search, uint32_t block)
{
    const struct view *view = search->view;
    const size_t at = view_find(view->chunks, view->count, 0, block);
    return at < view->count && view->chunks[at].number == block ? &search->states[at] : NULL;
}

/* Drops the hits in blocks that are gone, damaged or to be compared again. */
static void drop_stale_hits(struct gallery_search *search)
{
    size_t kept = 0;
    for (size_t i = 0; i < search->hit_count; i++) {
        const struct chunk_state *state = state_of(search, search->hits[i].block);
        if (state && !state->why && state->stage >= STAGE_FIRST) {
            search->hits[kept++] = search->hits[i];
        }
    }
    search->hit_count = kept;
}

static void count_read(struct gallery_search *search)
{
    uint64_t people = 0;
    for (size_t i = 0; i < search->view->count; i++) {
        people += search->states[i].stage >= STAGE_SIFT ? search->view->chunks[i].people : 0;
    }
    pthread_mutex_lock(&search->mutex);
    search->people_read = people;
    pthread_mutex_unlock(&search->mutex);
}

static void count_again(struct gallery_search *search)
{
    levels_clear(&search->levels);
    search_count(search, 0, search->view->count);
}

/* What is known of a view. */
struct known {
    struct chunk_state *states;
    uint16_t *ranks, *impressions;
    size_t states_room, rows_room;
};

static void free_known(struct array_pool *arrays, struct known *known)
{
    array_give(arrays, known->states, known->states_room * sizeof *known->states);
    array_give(arrays, known->ranks, known->rows_room * sizeof *known->ranks);
    array_give(arrays, known->impressions, known->rows_room * sizeof *known->impressions);
}

/* Nothing is known yet, with room for a view that follows. false: out of memory. */
static bool new_known(struct array_pool *arrays, struct known *known, const struct view *view)
{
    known->states_room = view->count + view->count / ROOM_SHARE + 1;
    known->rows_room = view->extent + view->extent / ROOM_SHARE + 1;
    known->states = array_take(arrays, known->states_room * sizeof *known->states);
    known->ranks = array_take(arrays, known->rows_room * sizeof *known->ranks);
    known->impressions = array_take(arrays, known->rows_room * sizeof *known->impressions);
    if (known->states && known->ranks && known->impressions) {
        return true;
    }
    free_known(arrays, known);
    return false;
}

static struct known known_of(const struct gallery_search *search)
{
    return (struct known){search->states, search->ranks, search->impressions, search->states_room,
                          search->rows_room};
}

static void set_known(struct gallery_search *search, const struct known *known)
{
    struct known old = known_of(search);
    free_known(&search->gallery->arrays, &old);
    search->states = known->states;
    search->ranks = known->ranks;
    search->impressions = known->impressions;
    search->states_room = known->states_room;
    search->rows_room = known->rows_room;
}

/* Makes room for a view that has the same chunks at the same rows and indices, but for those that
 * are new, of which nothing is known. false: out of memory. */
static bool make_room(struct gallery_search *search, const struct view *view)
{
    const struct view *old = search->view;
    struct known known;
    if (view->count <= search->states_room && view->extent <= search->rows_room) {
        return true;
    }
    if (!new_known(&search->gallery->arrays, &known, view)) {
        return false;
    }
    memcpy(known.states, search->states, old->count * sizeof *known.states);
    memcpy(known.ranks, search->ranks, old->extent * sizeof *known.ranks);
    memcpy(known.impressions, search->impressions, old->extent * sizeof *known.impressions);
    set_known(search, &known);
    return true;
}

/* What is known stays where it is, but for those chunks. */
static bool carry_on(struct gallery_search *search, const struct view *view,
                     const uint32_t *numbers, size_t count)
{
    const struct view *old = search->view;
    if (!make_room(search, view)) {
        return false;
    }
    for (size_t n = 0, i = 0; n < count; n++) {
        i = view_find(view->chunks, view->count, i, numbers[n]);
        const struct view_chunk *chunk = &view->chunks[i];
        if (i < old->count &&
            !(same_rows(chunk, &old->chunks[i]) &&
              let_leave(chunk->gone, old->chunks[i].gone, &search->states[i],
                        search->ranks + chunk->before, search->impressions + chunk->before))) {
            search->states[i] = (struct chunk_state){0};
        }
    }
    return true;
}

/* The same of any view. */
static bool carry_all(struct gallery_search *search, const struct view *view)
{
    struct known known;
    if (!new_known(&search->gallery->arrays, &known, view)) {
        return false;
    }
    carry_over(search, view, known.states, known.ranks, known.impressions);
    set_known(search, &known);
    return true;
}

/* Makes `view` (whose reference it takes) what the search reads. */
static bool follow(struct gallery_search *search, struct view *view, struct whorl_fault *fault)
{
    uint32_t *numbers = NULL;
    size_t count;
    const bool carried = search->view && view_changes(search->view, view, &numbers, &count)
                             ? carry_on(search, view, numbers, count)
                             : carry_all(search, view);
    free(numbers);
    if (!carried) {
        view_unref(view);
        return whorl_fail(fault, "", "out of memory");
    }
    view_unref(search->view);
    search->view = view;
    drop_stale_hits(search);
    count_read(search);
    count_again(search);
    return true;
}

/* Starts over at the first chunk; returns how many are not done. */
static size_t rewind_chunks(struct gallery_search *search)
{
    size_t left = 0;
    search->next = 0;
    for (size_t i = 0; i < search->view->count; i++) {
        left += !search_chunk_done(search, &search->states[i]);
    }
    return left;
}

/* Whether all chunks are where the search's stage begins, or through it: not those that changed. */
static bool chunks_even(const struct gallery_search *search)
{
    for (size_t i = 0; i < search->view->count; i++) {
        const struct chunk_state *state = &search->states[i];
        if (!state->why && state->stage + 1u < (unsigned)search->stage) {
            return false;
        }
    }
    return true;
}

/* Threads may step from now on. */
static void enter_stage(struct gallery_search *search)
{
    if (search_by_words(search->stage) && chunks_even(search)) {
        crowd_join(search);
    }
}

/* ------------------------------------------------------------------ begin and end */

static bool params_valid(const struct gallery_search_params *params)
{
    if (params->probe_count == 0 || params->probe_count > GALLERY_PROBES_MAX ||
        params->max_candidates == 0 || params->max_candidates > GALLERY_CANDIDATES_MAX ||
        !(params->match_fpir > 0) || !(params->match_fpir <= params->possible_fpir) ||
        !(params->possible_fpir < 1)) {
        return false;
    }
    for (size_t i = 0; i < params->probe_count; i++) {
        if (!params->probes[i].finger || params->probes[i].position > 10) {
            return false;
        }
    }
    return true;
}

/* Begins to read the gallery as it stands now: other threads may have taken in more by the time a
 * transaction has begun. */
static MDB_txn *read_now(const struct gallery_search *search, struct whorl_fault *fault)
{
    struct gallery *gallery = search->gallery;
    MDB_txn *txn = whorl_store_read(gallery->store, fault);
    for (unsigned tries = 0; txn && tries < NOW_TRIES && view_is_past(gallery, txn); tries++) {
        whorl_store_done(gallery->store, txn);
        txn = whorl_store_read(gallery->store, fault);
    }
    return txn;
}

static bool begin(struct gallery_search *search, struct whorl_fault *fault)
{
    struct gallery *gallery = search->gallery;
    size_t pending;
    MDB_txn *txn = read_now(search, fault);
    if (!txn) {
        return false;
    }
    struct view *view = view_get(gallery, txn, BEGIN_BLOCKS, &pending, fault);
    whorl_store_done(gallery->store, txn);
    if (!view && pending > 0) {
        uint64_t people, of;
        view_progress(gallery, &people, &of);
        return whorl_fail(fault, "",
                          "the gallery is not ready to be searched: %llu of %llu people are",
                          (unsigned long long)people, (unsigned long long)of);
    }
    if (!view || !follow(search, view, fault)) {
        return false;
    }
    search->match_threshold = afis_threshold(search->params.match_fpir, (double)view->people);
    search->possible_threshold = afis_threshold(search->params.possible_fpir, (double)view->people);
    bool few = view->people <= PEOPLE_ALL;
    search->sifts = !few;
    search->shareable = search->sifts && rank_shareable(search);
    if (!rank_prepare(search)) {
        if (search->params.short_of_memory) {
            *search->params.short_of_memory = true;
        }
        return whorl_fail(fault, "", "not enough locked memory for another search");
    }
    search->first_cut = RANK_ALL;
    search->stage = few ? STAGE_FIRST : STAGE_SIFT;
    search->last = few ? STAGE_FIRST : STAGE_COMPARE;
    enter_stage(search);
    return true;
}

size_t gallery_search_locked_size(void)
{
    return rank_prepared_size();
}

struct gallery_search *gallery_search_begin(struct gallery *gallery,
                                            const struct gallery_search_params *params,
                                            struct whorl_fault *fault)
{
    if (!params_valid(params)) {
        whorl_fail(fault, "", "a search needs 1 to %u probes and sound parameters",
                   GALLERY_PROBES_MAX);
        return NULL;
    }
    struct gallery_search *search = calloc(1, sizeof *search);
    struct hit *hits = malloc(HITS_MAX * sizeof *hits);
    if (!search || !hits || !levels_init(&search->levels, RANK_ALL)) {
        free(search);
        free(hits);
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    pthread_mutex_init(&search->mutex, NULL);
    search->hits = hits;
    search->gallery = gallery;
    search->params = *params;
    score_probe_init(&search->probe, params->probes, params->probe_count);
    if (begin(search, fault)) {
        search->params.short_of_memory = NULL;
        return search;
    }
    gallery_search_free(search);
    return NULL;
}

void gallery_search_free(struct gallery_search *search)
{
    if (!search) {
        return;
    }
    crowd_leave(search);
    pthread_mutex_destroy(&search->mutex);
    rank_release(search);
    view_unref(search->view);
    struct known known = known_of(search);
    free_known(&search->gallery->arrays, &known);
    explicit_bzero(search->hits, search->hit_most * sizeof *search->hits);
    free(search->hits);
    levels_free(&search->levels);
    free(search);
}

void gallery_search_progress(struct gallery_search *search, uint64_t *people, uint64_t *of)
{
    pthread_mutex_lock(&search->mutex);
    *people = search->people_read;
    *of = search->view->people;
    pthread_mutex_unlock(&search->mutex);
}

enum gallery_step gallery_search_step(struct gallery_search *search, void *scratch)
{
    struct whorl_fault fault;
    int64_t until = search_now_ns() + STEP_NS;
    if (search->params.cancelled && search->params.cancelled(search->params.ctx)) {
        return GALLERY_STEP_CANCELLED;
    }
    MDB_txn *txn = whorl_store_read(search->gallery->store, &fault);
    if (!txn) {
        pthread_mutex_lock(&search->mutex);
        search->failed = true;
        search->fault = fault;
        pthread_mutex_unlock(&search->mutex);
        return GALLERY_STEP_DRAINED;
    }
    if (search->round == 0) { /* later, the search's own view would have to be copied for it */
        view_refresh(search->gallery, txn);
    }
    enum gallery_step step = search_read(search, txn, scratch, until);
    whorl_store_done(search->gallery->store, txn);
    return step;
}

/* ------------------------------------------------------------------ how deep */

static uint64_t people_of(const struct gallery_search *search, const struct quota *quota)
{
    const uint64_t share = (uint64_t)(quota->share * (double)search->view->people);
    return share < quota->least ? quota->least : share;
}

uint64_t search_wanted(const struct gallery_search *search)
{
    return people_of(search, search->stage == STAGE_SIFT   ? &sift_quota
                             : search->stage == STAGE_RANK ? &glance_quota
                                                           : &compare_quota);
}

/* The level at or above which there are as many people as the quota wants. */
static uint32_t cut_of(struct gallery_search *search, const struct quota *quota)
{
    uint32_t cut;
    if (!levels_cut(&search->levels, people_of(search, quota), &cut)) {
        count_again(search); /* who was counted first was no sample of all */
        levels_cut(&search->levels, people_of(search, quota), &cut);
    }
    return cut;
}

static bool has_match(struct gallery_search *search)
{
    for (size_t i = 0; i < search->hit_count; i++) {
        if (search->hits[i].score >= search->match_threshold) {
            return true;
        }
    }
    return false;
}

/* Moves on to the next stage. false: the search has gone far enough. */
static bool deepen(struct gallery_search *search)
{
    const bool compared = search->stage == STAGE_FIRST || search->stage == STAGE_BEST;
    if (search->stage == search->last ||
        (compared && has_match(search) && !search->params.thorough)) {
        return false;
    }
    if (search->stage == STAGE_SIFT) {
        search->first_cut = cut_of(search, &best_quota);
        search->sift_cut = cut_of(search, &sift_quota);
    } else if (search->stage == STAGE_RANK) {
        search->best_cut = cut_of(search, &best_quota);
        search->glance_cut = cut_of(search, &glance_quota);
    } else if (search->stage == STAGE_GLANCE) {
        search->compare_cut = cut_of(search, &compare_quota);
    }
    search->stage++;
    levels_clear(&search->levels); /* no chunk has come through that stage */
    search->next = 0;
    return true;
}

/* ------------------------------------------------------------------ the result */

/* Of people whom the index does not list nothing was read. */
static void tally_unlisted(const struct view *view, struct gallery_result *result)
{
    if (view->people == view->counted) {
        return;
    }
    if (result->complete) {
        whorl_fail(&result->trouble, "", "the index lists %llu people, the gallery counts %llu",
                   (unsigned long long)view->people, (unsigned long long)view->counted);
    }
    result->complete = false;
    result->of = view->counted > result->of ? view->counted : result->of;
}

static void tally(const struct gallery_search *search, struct gallery_result *result)
{
    *result = (struct gallery_result){.complete = true,
                                      .of = search->view->people,
                                      .match_threshold = search->match_threshold,
                                      .possible_threshold = search->possible_threshold};
    for (size_t i = 0; i < search->view->count; i++) {
        const struct view_chunk *chunk = &search->view->chunks[i];
        const struct chunk_state *state = &search->states[i];
        if (state->why || !search_chunk_done(search, state)) {
            if (result->complete) {
                whorl_fail(&result->trouble, "", "block %u %s", chunk->number,
                           state->why ? state->why : "could not be read");
            }
            result->complete = false;
            continue;
        }
        result->people += chunk->people;
        result->comparable += state->comparable;
        result->above_possible += state->above_possible;
        result->above_match += state->above_match;
    }
    tally_unlisted(search->view, result);
}

/* Ranks the candidates and reads who they are. */
static bool identify(struct gallery_search *search, MDB_txn *txn, struct gallery_result *result,
                     struct whorl_fault *fault)
{
    search_sort_hits(search);
    size_t count = search->params.max_candidates;
    if (count > search->hit_count) {
        count = search->hit_count;
    }
    for (size_t i = 0; i < count; i++) {
        const struct hit *hit = &search->hits[i];
        struct gallery_candidate *candidate = &result->candidates[i];
        struct whorl_fault inner = {{0}, {0}};
        int rc = person_read(search->gallery, txn, hit->id, hit->id_len, false, &candidate->person,
                             &inner);
        if (rc != 0 || !candidate->person) {
            return whorl_fail(fault, "", "a candidate's record cannot be read: %.200s",
                              rc != 0 ? mdb_strerror(rc) : inner.text);
        }
        candidate->score = hit->score;
        result->candidate_count++;
    }
    return true;
}

/* Lets the search follow the gallery as it stands in txn. */
static bool follow_txn(struct gallery_search *search, MDB_txn *txn, struct whorl_fault *fault)
{
    size_t pending;
    struct view *view = view_get(search->gallery, txn, SIZE_MAX, &pending, fault);
    if (!view) {
        return false;
    }
    if (view == search->view) {
        view_unref(view);
        drop_stale_hits(search);
        return true;
    }
    return follow(search, view, fault);
}

/* Within txn: goes deeper, or notices what has changed since the view was made, and either leaves
 * that to more steps or reads it here; then goes deeper, or ends. To notice it only when the search
 * would end saves listing all blocks after every stage; the few that cannot be read until then
 * because they were written anew are caught up with. */
static enum gallery_finish finish_in(struct gallery_search *search, MDB_txn *txn, void *scratch,
                                     struct gallery_result *result, struct whorl_fault *fault)
{
    if (rewind_chunks(search) * LAGGING_SHARE <= search->view->count && deepen(search)) {
        return GALLERY_FINISH_AGAIN;
    }
    if (!follow_txn(search, txn, fault)) {
        return GALLERY_FINISH_FAILED;
    }
    if (rewind_chunks(search) > 0) {
        if (search->round++ < ROUNDS_MAX) {
            return GALLERY_FINISH_AGAIN;
        }
        enter_stage(search);
        enum gallery_step step = search_read(search, txn, scratch, 0);
        crowd_leave(search);
        if (step == GALLERY_STEP_CANCELLED) {
            return GALLERY_FINISH_CANCELLED;
        }
    }
    if (deepen(search)) {
        return GALLERY_FINISH_AGAIN;
    }
    drop_stale_hits(search);
    tally(search, result);
    if (identify(search, txn, result, fault)) {
        return GALLERY_FINISH_DONE;
    }
    gallery_result_release(result);
    return GALLERY_FINISH_FAILED;
}

enum gallery_finish gallery_search_finish(struct gallery_search *search, void *scratch,
                                          struct gallery_result *result, struct whorl_fault *fault)
{
    crowd_leave(search); /* nobody else reads for it now */
    if (search->failed) {
        *fault = search->fault;
        return GALLERY_FINISH_FAILED;
    }
    MDB_txn *txn = read_now(search, fault);
    if (!txn) {
        return GALLERY_FINISH_FAILED;
    }
    enum gallery_finish finish = finish_in(search, txn, scratch, result, fault);
    whorl_store_done(search->gallery->store, txn);
    if (finish == GALLERY_FINISH_AGAIN) {
        enter_stage(search);
    }
    return finish;
}

void gallery_result_release(struct gallery_result *result)
{
    for (size_t i = 0; i < result->candidate_count; i++) {
        gallery_person_free(result->candidates[i].person);
    }
    result->candidate_count = 0;
}
