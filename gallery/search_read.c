/* The work of a search: ranking a chunk's people (rank.h), and looking closer at those who rank
 * high enough. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crowd.h"
#include "gallery/search.h"
#include "impression.h"
#include "rank.h"
#include "search_state.h"
#include "whorl/msg.h"

#define TEMPLATE_USUAL 592u /* bytes of a packed template of 40 minutiae, about */
#define PRINT_BEFORE 4u     /* ... and of what stands before it in a block */
#define CLAIM_CHUNKS 32u    /* taken at a time: 0.1 ms of glancing */
/* How many people the reading of memory is ahead of glancing: their rows, and their templates. */
#define AHEAD_ROWS 12u
#define AHEAD_TEMPLATES 6u

/* ------------------------------------------------------------------ scratch */

/* Working memory of one thread. */
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
           aligned(afis_finger_size()) + rank_scratch_size();
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

/* A block's place in the store, as long as the transaction lasts. */
struct found {
    bool sought;
    int rc; /* of LMDB */
    MDB_val value;
};

static void seek_block(const struct gallery_search *search, MDB_txn *txn, uint32_t number,
                       struct found *found)
{
    MDB_val key = {sizeof number, &number};
    if (!found->sought) {
        found->rc = mdb_get(txn, search->gallery->blocks, &key, &found->value);
        found->sought = true;
    }
}

/* The block that a chunk was made from. false with state->why NULL: it has changed since, which the
 * next listing notices. */
static bool find_block(const struct gallery_search *search, MDB_txn *txn, const struct chunk *chunk,
                       struct found *found, const uint8_t **bytes, struct block_info *info,
                       struct chunk_state *state)
{
    seek_block(search, txn, chunk->number, found);
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

/* ------------------------------------------------------------------ glancing */

/* The first print row of a person in a group, or the group's end. Where everybody has one print of
 * each finger, rows are numbered like people. */
static uint32_t first_row(const struct chunk *chunk, unsigned position, uint32_t person)
{
    uint32_t low = chunk->first[position], high = chunk->first[position + 1];
    if (person < high - low && chunk_print_person(chunk, low + person) == person &&
        (person == 0 || chunk_print_person(chunk, low + person - 1) != person)) {
        return low + person;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk_print_person(chunk, middle) < person) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* A probe finger's impression and the person's print that the sieve finds nearest to one another.
 */
struct nearest {
    const struct afis_finger *probe;
    uint32_t place; /* of the packed template in the block */
    int16_t score;
};

static void seek_nearest(const struct gallery_search *search, const struct chunk *chunk, size_t k,
                         uint32_t person, struct nearest *nearest)
{
    const struct score_probe *probe = &search->probe;
    for (unsigned position = 0; position < CHUNK_POSITIONS; position++) {
        if (chunk->first[position] == chunk->first[position + 1] ||
            !score_comparable(probe, probe->of[k], (uint8_t)position)) {
            continue;
        }
        for (uint32_t row = first_row(chunk, position, person);
             row < chunk->first[position + 1] && chunk_print_person(chunk, row) == person; row++) {
            int16_t score;
            afis_sieve_scan(rank_sieve(search, k), chunk->words + (size_t)row * AFIS_SIEVE_WORDS, 1,
                            &score);
            if (!nearest->probe || score > nearest->score) {
                *nearest = (struct nearest){probe->finger[k], chunk_print_place(chunk, row), score};
            }
        }
    }
}

/* The nearest of each finger that can be compared, best first. */
struct nearest_list {
    size_t count;
    struct nearest list[GALLERY_PROBES_MAX];
};

static void seek_all(const struct gallery_search *search, const struct chunk *chunk,
                     uint32_t person, struct nearest_list *out)
{
    struct nearest *list = out->list;
    out->count = 0;
    for (size_t f = 0; f < search->probe.fingers; f++) {
        struct nearest nearest = {0};
        for (size_t k = 0; k < search->probe.impressions; k++) {
            if (search->probe.of[k] == f) {
                seek_nearest(search, chunk, k, person, &nearest);
            }
        }
        if (!nearest.probe) {
            continue;
        }
        size_t at = out->count++;
        for (; at > 0 && list[at - 1].score < nearest.score; at--) {
            list[at] = list[at - 1];
        }
        list[at] = nearest;
    }
}

/* Glances at the print whose template lies at `place` in the block. */
static enum afis_status glance_at(const struct scratch *scratch, const struct nearest *nearest,
                                  const uint8_t *block, const struct block_entry *entry,
                                  float *impression)
{
    const uint8_t *at = entry->prints;
    for (unsigned i = 0; i < entry->print_count; i++) {
        struct gallery_print print;
        block_print(&at, &print);
        if (print.packed == block + nearest->place) {
            return afis_glance(scratch->matcher, nearest->probe, print.packed, print.len,
                               scratch->finger, impression);
        }
    }
    return AFIS_BAD_FORMAT;
}

static uint16_t level_of(float impression)
{
    float level = (impression + 128) * 256; /* some -5 to 15 a finger */
    return (uint16_t)(level < (float)RANK_ALL ? (float)RANK_ALL : level > 65535 ? 65535 : level);
}

/* Glances at the nearest print of each finger. false with state->why. */
static bool glance_person(const struct scratch *scratch, const struct nearest_list *nearest,
                          uint16_t rank, const uint8_t *block, const struct block_entry *entry,
                          struct chunk_state *state, uint16_t *level)
{
    struct impression all = impression_begin((float)rank - (float)RANK_NEUTRAL);
    for (size_t i = 0; i < nearest->count; i++) {
        float impression;
        if (!impression_doubtful(&all)) {
            impression_skip(&all);
        } else if (glance_at(scratch, &nearest->list[i], block, entry, &impression) == AFIS_OK) {
            impression_add(&all, impression);
        } else {
            state->why = "holds a damaged template";
            return false;
        }
    }
    *level = level_of(all.sum);
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
    case STAGE_GLANCE:
        return rank >= search->glance_cut;
    case STAGE_COMPARE: /* whom the best ranks did not bring there before */
        return impression >= search->compare_cut && rank < search->best_cut;
    default:
        return false;
    }
}

/* Whether it looks at anybody of a chunk that is through the stage before. */
static bool concerns_any(const struct gallery_search *search, enum stage stage,
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
    if (stage == STAGE_SIFT || stage == STAGE_RANK || stage == STAGE_GLANCE) {
        state->top = levels_top((stage == STAGE_GLANCE ? search->impressions : search->ranks) +
                                    known->before,
                                known->rows);
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

/* ------------------------------------------------------------------ reading ahead */

/* Those whom the search glances at lie too far apart for the processor to foresee. Two go ahead
 * through the chunks that were claimed: one has rows and words fetched, the other finds each
 * finger's nearest print by them and has the template fetched that is looked at first. Comparing
 * takes too long, and looks at too few, for that to matter. */
struct ahead {
    size_t at;       /* the chunk */
    uint32_t person; /* in it; the next to be looked at */
    bool open;
    struct chunk chunk;
};

/* Whom the second has passed and the glance has yet to reach. */
struct foreseen {
    size_t at;
    uint32_t person;
    struct nearest_list nearest;
};

struct reading {
    size_t from, to;
    struct ahead rows, templates;
    size_t fetched, sought, taken; /* people whom they have passed */
    struct found found[CLAIM_CHUNKS];
    struct foreseen queue[AHEAD_TEMPLATES];
    struct nearest_list unforeseen;
};

/* The next person to be glanced at: person - 1 of chunk a->at. false: there is nobody else. */
static bool go_ahead(const struct gallery_search *search, const struct reading *reading,
                     struct ahead *a)
{
    for (; a->at < reading->to; a->at++, a->person = 0, a->open = false) {
        const struct view_chunk *known = &search->view->chunks[a->at];
        const uint16_t *ranks = search->ranks + known->before;
        const char *why;
        if (!known->bytes || search->states[a->at].stage != STAGE_GLANCE - 1 ||
            !concerns_any(search, STAGE_GLANCE, &search->states[a->at])) {
            continue;
        }
        while (a->person < known->rows && ranks[a->person] < search->glance_cut) {
            a->person++;
        }
        if (a->person < known->rows &&
            (a->open || chunk_open(known->bytes, SIZE_MAX, false, &a->chunk, &why))) {
            a->open = true;
            a->person++;
            return true;
        }
    }
    return false;
}

/* What the chunk says of a person: where in the block the entry is, and prints of these fingers,
 * where everybody has one of each. */
BYTES_FETCHING void fetch_rows(const struct gallery_search *search, const struct chunk *chunk,
                               uint32_t person)
{
    fetch_bytes(chunk->entries + (size_t)2 * person, 1);
    for (size_t f = 0; f < search->probe.fingers; f++) {
        const size_t row = chunk->first[search->probe.position[f]] + (size_t)person;
        if (row < chunk->prints) {
            fetch_bytes(chunk->print_rows + row * CHUNK_PRINT_ROW, 1);
            fetch_bytes(chunk->words + row * AFIS_SIEVE_WORDS, CHUNK_PRINT);
        }
    }
}

static void foresee(const struct gallery_search *search, MDB_txn *txn, struct reading *reading)
{
    const struct ahead *a = &reading->templates;
    struct found *found = &reading->found[a->at - reading->from];
    struct foreseen *person = &reading->queue[reading->sought % AHEAD_TEMPLATES];
    person->at = a->at;
    person->person = a->person - 1;
    seek_all(search, &a->chunk, person->person, &person->nearest);
    seek_block(search, txn, a->chunk.number, found);
    if (found->rc == 0 && found->value.mv_size >= BLOCK_SIZE && person->nearest.count > 0) {
        const uint8_t *block = found->value.mv_data;
        fetch_bytes(block, 1);
        fetch_bytes(block + chunk_entry(&a->chunk, person->person), 1);
        fetch_bytes(block + person->nearest.list[0].place - PRINT_BEFORE,
                    PRINT_BEFORE + TEMPLATE_USUAL);
        for (size_t i = 1; i < person->nearest.count; i++) { /* the entry is read through */
            fetch_bytes(block + person->nearest.list[i].place - PRINT_BEFORE, 1);
        }
    }
}

/* The nearest prints of a person who is to be glanced at now. */
static const struct nearest_list *look_ahead(const struct gallery_search *search, MDB_txn *txn,
                                             struct reading *reading, size_t at, uint32_t person,
                                             const struct chunk *chunk)
{
    while (reading->taken < reading->sought) { /* of a chunk that was given up some are left */
        const struct foreseen *next = &reading->queue[reading->taken % AHEAD_TEMPLATES];
        if (next->at > at || (next->at == at && next->person >= person)) {
            break;
        }
        reading->taken++;
    }
    while (reading->fetched < reading->taken + AHEAD_ROWS &&
           go_ahead(search, reading, &reading->rows)) {
        fetch_rows(search, &reading->rows.chunk, reading->rows.person - 1);
        reading->fetched++;
    }
    while (reading->sought < reading->taken + AHEAD_TEMPLATES &&
           go_ahead(search, reading, &reading->templates)) {
        foresee(search, txn, reading);
        reading->sought++;
    }
    const struct foreseen *next = &reading->queue[reading->taken % AHEAD_TEMPLATES];
    if (reading->taken < reading->sought && next->at == at && next->person == person) {
        return &next->nearest;
    }
    seek_all(search, chunk, person, &reading->unforeseen); /* the chunk has changed */
    return &reading->unforeseen;
}

/* Takes chunk `at` through a stage that looks at people's templates. false: cancelled. */
static bool visit_chunk(struct gallery_search *search, MDB_txn *txn, const struct scratch *scratch,
                        const struct chunk *chunk, enum stage stage, size_t at,
                        struct reading *reading, struct chunk_state *state)
{
    const uint16_t *ranks = search->ranks + search->view->chunks[at].before;
    uint16_t *impressions = search->impressions + search->view->chunks[at].before;
    const uint8_t *bytes = NULL;
    struct block_info info;
    for (uint32_t i = 0; i < chunk->people; i++) {
        struct block_entry entry;
        if (!concerns(search, stage, ranks[i], impressions[i])) {
            continue;
        }
        size_t place = chunk_entry(chunk, i);
        if (cancelled(search)) {
            return false;
        }
        const struct nearest_list *nearest =
            stage == STAGE_GLANCE ? look_ahead(search, txn, reading, at, i, chunk) : NULL;
        if (!bytes && !find_block(search, txn, chunk, &reading->found[at - reading->from], &bytes,
                                  &info, state)) {
            return true;
        }
        if (place >= info.used || !block_next(bytes, &info, &place, &entry, &state->why)) {
            state->why = state->why ? state->why : "differs from what was indexed";
            return true;
        }
        bool read = nearest ? glance_person(scratch, nearest, ranks[i], bytes, &entry, state,
                                            &impressions[i])
                            : compare_person(search, scratch, chunk, &entry, state);
        if (!read) {
            return true;
        }
    }
    state->stage = (uint8_t)stage;
    return true;
}

/* ------------------------------------------------------------------ reading chunks */

bool search_chunk_done(const struct gallery_search *search, const struct chunk_state *state)
{
    return state->why || state->stage >= search->stage;
}

/* Brings one chunk to where the search now is. A block that has changed since stops short: the next
 * listing notices. false: cancelled. */
static bool read_chunk(struct gallery_search *search, MDB_txn *txn, const struct scratch *scratch,
                       size_t i, struct reading *reading, struct chunk_state *state)
{
    const struct view_chunk *known = &search->view->chunks[i];
    struct chunk chunk = {0};
    if (!known->bytes) {
        state->why = known->why ? known->why : "has not been read";
        return true;
    }
    while (state->stage < search->stage) {
        enum stage stage = state->stage + 1;
        if (stage != STAGE_SIFT && stage != STAGE_RANK && !concerns_any(search, stage, state)) {
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
        } else if (!visit_chunk(search, txn, scratch, &chunk, stage, i, reading, state)) {
            return false;
        }
        if (state->stage != stage) {
            break;
        }
        search_top(search, i, stage, state);
    }
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

void search_count(struct gallery_search *search, size_t from, size_t to)
{
    const struct view_chunk *chunks = search->view->chunks;
    const uint16_t *levels = search->stage == STAGE_GLANCE ? search->impressions : search->ranks;
    if (search->stage != STAGE_SIFT && search->stage != STAGE_RANK &&
        search->stage != STAGE_GLANCE) {
        return;
    }
    while (from < to) { /* those that follow one another together */
        const uint64_t before = chunks[from].before;
        uint64_t rows = 0;
        for (; from < to && search->states[from].stage == search->stage; from++) {
            rows += chunks[from].rows;
        }
        levels_add(&search->levels, levels + before, rows);
        from++;
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
    struct scratch scratch = scratch_parts(memory);
    size_t from, to;
    if (search->joined) {
        return crowd_read(search, scratch.ranking, until);
    }
    while (claim(search, &from, &to)) {
        struct reading reading = {.from = from, .to = to};
        uint64_t people = 0;
        reading.rows.at = reading.templates.at = from;
        for (size_t i = from; i < to; i++) {
            struct chunk_state state = search->states[i];
            bool was_sifted = state.stage >= STAGE_SIFT;
            if (cancelled(search) || !read_chunk(search, txn, &scratch, i, &reading, &state)) {
                return GALLERY_STEP_CANCELLED;
            }
            people += was_sifted ? 0 : search->view->chunks[i].people;
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
