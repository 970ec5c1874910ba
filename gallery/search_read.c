/* The work of a search: ranking a chunk's people by the sieve, and comparing those who rank high
 * enough with the probe by the whole matcher. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gallery/search.h"
#include "search_state.h"
#include "whorl/msg.h"
#include "whorl/secret.h"

#define CLAIM_CHUNKS 8u /* taken at a time: some 50 µs of ranking each */
#define ROWS_MAX                                                                                   \
    4096u /* prints, or people, of a block: an entry and a print have 32 bytes at least */
_Static_assert(BLOCK_SIZE / 17 < ROWS_MAX, "a block holds fewer prints and people");

/* ------------------------------------------------------------------ scratch */

/* Working memory of one thread. */
struct ranking {
    int16_t score[ROWS_MAX];    /* of prints */
    int16_t best[ROWS_MAX];     /* of people, for one finger */
    uint16_t tries[ROWS_MAX];   /* likewise */
    int32_t sum[ROWS_MAX];      /* over fingers */
    uint8_t compared[ROWS_MAX]; /* whether any */
};

struct scratch {
    struct score_person *person;
    struct afis_matcher *matcher;
    struct afis_finger *finger;
    struct ranking *ranking;
};

static size_t aligned(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

size_t gallery_search_scratch_size(void)
{
    return aligned(sizeof(struct score_person)) + aligned(afis_matcher_size()) +
           aligned(afis_finger_size()) + aligned(sizeof(struct ranking));
}

static struct scratch scratch_parts(void *memory)
{
    uint8_t *matcher = (uint8_t *)memory + aligned(sizeof(struct score_person));
    uint8_t *finger = matcher + aligned(afis_matcher_size());
    uint8_t *ranking = finger + aligned(afis_finger_size());
    return (struct scratch){memory, (struct afis_matcher *)(void *)matcher,
                            (struct afis_finger *)(void *)finger,
                            (struct ranking *)(void *)ranking};
}

static size_t sieve_step(void)
{
    return aligned(afis_sieve_size());
}

bool search_make_sieves(struct gallery_search *search)
{
    const struct score_probe *probe = &search->probe;
    search->sieves = whorl_secret_alloc(probe->impressions * sieve_step());
    for (size_t k = 0; search->sieves && k < probe->impressions; k++) {
        afis_sieve_init((struct afis_sieve *)(void *)(search->sieves + k * sieve_step()),
                        probe->finger[k]);
    }
    return search->sieves != NULL;
}

void search_free_sieves(struct gallery_search *search)
{
    whorl_secret_free(search->sieves, search->probe.impressions * sieve_step());
}

/* ------------------------------------------------------------------ ranking */

/* Scores print rows [from, to) against one impression into the people's best. */
static void sieve_rows(const struct afis_sieve *sieve, const struct chunk *chunk, struct ranking *r,
                       uint32_t from, uint32_t to)
{
    afis_sieve_scan(sieve, chunk->words + (size_t)from * AFIS_SIEVE_WORDS, to - from, r->score);
    for (uint32_t i = from; i < to; i++) {
        uint32_t person = chunk_print_person(chunk, i);
        int16_t score = r->score[i - from];
        r->best[person] = score > r->best[person] ? score : r->best[person];
        r->tries[person]++;
    }
}

/* The best of n tries is n times as likely by chance. */
static int32_t reduced(int32_t best, unsigned tries)
{
    return tries == 1 ? best : best - (int32_t)lrintf(AFIS_SIEVE_UNIT * logf((float)tries));
}

static void rank_finger(const struct gallery_search *search, const struct chunk *chunk,
                        struct ranking *r, size_t finger)
{
    const struct score_probe *probe = &search->probe;
    const unsigned position = probe->position[finger];
    for (uint32_t i = 0; i < chunk->people; i++) {
        r->best[i] = INT16_MIN;
        r->tries[i] = 0;
    }
    for (size_t k = 0; k < probe->impressions; k++) {
        const struct afis_sieve *sieve =
            (const struct afis_sieve *)(const void *)(search->sieves + k * sieve_step());
        if (probe->of[k] != finger) {
            continue;
        }
        if (position == 0) {
            sieve_rows(sieve, chunk, r, 0, chunk->prints);
        } else {
            sieve_rows(sieve, chunk, r, chunk->first[0], chunk->first[1]);
            sieve_rows(sieve, chunk, r, chunk->first[position], chunk->first[position + 1]);
        }
    }
    for (uint32_t i = 0; i < chunk->people; i++) {
        if (r->tries[i] > 0) {
            r->sum[i] += reduced(r->best[i], r->tries[i]);
            r->compared[i] = 1;
        }
    }
}

static uint16_t rank_of(int32_t sum)
{
    int32_t rank = sum + (int32_t)RANK_NEUTRAL;
    return (uint16_t)(rank < (int32_t)RANK_ALL ? (int32_t)RANK_ALL
                      : rank > UINT16_MAX      ? UINT16_MAX
                                               : rank);
}

static void rank_chunk(const struct gallery_search *search, const struct chunk *chunk,
                       struct ranking *r, uint16_t *ranks, struct chunk_state *state)
{
    memset(r->sum, 0, chunk->people * sizeof *r->sum);
    memset(r->compared, 0, chunk->people * sizeof *r->compared);
    for (size_t f = 0; f < search->probe.fingers; f++) {
        rank_finger(search, chunk, r, f);
    }
    for (uint32_t i = 0; i < chunk->people; i++) {
        int64_t expires = chunk_expires(chunk, i);
        bool counts = r->compared[i] && (expires == 0 || expires > search->params.now);
        ranks[i] = counts ? rank_of(r->sum[i]) : RANK_NOBODY;
        state->comparable += counts;
    }
    state->ranked = true;
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

static int better_hit(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    size_t len = x->id_len < y->id_len ? x->id_len : y->id_len;
    int order = memcmp(x->id, y->id, len);
    return order != 0 ? order : (int)x->id_len - (int)y->id_len;
}

void search_sort_hits(struct gallery_search *search)
{
    qsort(search->hits, search->hit_count, sizeof *search->hits, better_hit);
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
    *hit = (struct hit){.score = score, .block = block, .id_len = entry->id_len};
    memcpy(hit->id, entry->id, entry->id_len);
    pthread_mutex_unlock(&search->mutex);
}

static bool cancelled(const struct gallery_search *search)
{
    return search->params.cancelled && search->params.cancelled(search->params.ctx);
}

/* The block that a chunk was made from. false with state->why NULL: it has changed since, which the
 * next listing notices. */
static bool find_block(const struct gallery_search *search, MDB_txn *txn, const struct chunk *chunk,
                       const uint8_t **bytes, struct block_info *info, struct chunk_state *state)
{
    uint32_t number = chunk->number;
    MDB_val key = {sizeof number, &number}, value;
    int rc = mdb_get(txn, search->gallery->blocks, &key, &value);
    if (rc == MDB_NOTFOUND) {
        return false;
    }
    if (rc != 0) {
        state->why = mdb_strerror(rc);
        return false;
    }
    if (!block_header(value.mv_data, value.mv_size, info, &state->why)) {
        return false;
    }
    *bytes = value.mv_data;
    if (info->stamp != chunk->stamp) {
        return false;
    }
    if (info->number != chunk->number || info->people != chunk->people ||
        info->checksum != chunk->block_checksum) {
        state->why = "differs from what was indexed";
    }
    return !state->why;
}

/* Compares everyone of a chunk who ranks at `cut` or above but below state->down. false: cancelled.
 */
static bool compare_chunk(struct gallery_search *search, MDB_txn *txn,
                          const struct scratch *scratch, const struct chunk *chunk,
                          const uint16_t *ranks, struct chunk_state *state)
{
    const uint8_t *bytes = NULL;
    struct block_info info;
    for (uint32_t i = 0; i < chunk->people; i++) {
        struct block_entry entry;
        float score;
        size_t at = chunk_entry(chunk, i);
        if (ranks[i] < search->cut || ranks[i] >= state->down) {
            continue;
        }
        if (cancelled(search)) {
            return false;
        }
        if (!bytes && !find_block(search, txn, chunk, &bytes, &info, state)) {
            return true;
        }
        if (at >= info.used || !block_next(bytes, &info, &at, &entry, &state->why)) {
            state->why = state->why ? state->why : "differs from what was indexed";
            return true;
        }
        if (!score_entry(search, scratch, &entry, &score)) {
            state->why = "holds a damaged template";
            return true;
        }
        if (score < 0 || score < search->possible_threshold) {
            continue;
        }
        state->above_possible++;
        state->above_match += score >= search->match_threshold;
        add_hit(search, chunk->number, score, &entry);
    }
    state->down = search->cut;
    return true;
}

/* ------------------------------------------------------------------ reading chunks */

bool search_chunk_done(const struct gallery_search *search, const struct chunk_state *state)
{
    return state->why || (state->ranked && (!search->comparing || state->down <= search->cut));
}

/* Brings one chunk to where the search now is. false: cancelled. */
static bool read_chunk(struct gallery_search *search, MDB_txn *txn, const struct scratch *scratch,
                       size_t i, struct chunk_state *state)
{
    const struct view_chunk *known = &search->view->chunks[i];
    uint16_t *ranks = search->ranks + known->before;
    struct chunk chunk;
    if (!known->bytes) {
        state->why = known->why ? known->why : "has not been read";
        return true;
    }
    /* It was verified when the view was made; its length is its own. */
    if (!chunk_open(known->bytes, SIZE_MAX, false, &chunk, &state->why)) {
        return true;
    }
    if (!state->ranked) {
        rank_chunk(search, &chunk, scratch->ranking, ranks, state);
    }
    return !search->comparing || compare_chunk(search, txn, scratch, &chunk, ranks, state);
}

/* Takes some chunks that are not done. */
static bool claim(struct gallery_search *search, size_t *from, size_t *to)
{
    const struct view *view = search->view;
    pthread_mutex_lock(&search->mutex);
    while (search->next < view->count && search_chunk_done(search, &search->states[search->next])) {
        search->next++;
    }
    *from = search->next;
    search->next +=
        search->next + CLAIM_CHUNKS < view->count ? CLAIM_CHUNKS : view->count - search->next;
    *to = search->failed ? *from : search->next;
    pthread_mutex_unlock(&search->mutex);
    return *from < *to;
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
    struct scratch scratch = scratch_parts(memory);
    size_t from, to;
    while (claim(search, &from, &to)) {
        uint64_t people = 0;
        for (size_t i = from; i < to; i++) {
            struct chunk_state state = search->states[i];
            if (search_chunk_done(search, &state)) {
                continue;
            }
            bool was_ranked = state.ranked;
            if (cancelled(search) || !read_chunk(search, txn, &scratch, i, &state)) {
                return GALLERY_STEP_CANCELLED;
            }
            people += was_ranked ? 0 : search->view->chunks[i].people;
            search->states[i] = state; /* claimed: nobody else looks at it */
        }
        pthread_mutex_lock(&search->mutex);
        search->people_read += people;
        pthread_mutex_unlock(&search->mutex);
        if (until && search_now_ns() >= until) {
            return GALLERY_STEP_MORE;
        }
    }
    return GALLERY_STEP_DRAINED;
}
