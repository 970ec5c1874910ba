#include "glance.h"

#include <string.h>

#include "impression.h"
#include "rank.h"

#define TEMPLATE_USUAL 592u /* bytes of a packed template of 40 minutiae, about */
#define PRINT_BEFORE 4u     /* ... and of what stands before it in a block */
#define AHEAD_ROWS 12u      /* people whose rows are fetched ahead of who is glanced at */
#define AHEAD_HEADERS 4u    /* chunks whose header is fetched ahead of those */

/* ------------------------------------------------------------------ one person */

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

/* ------------------------------------------------------------------ reading ahead */

void glance_begin(struct glancing *g, struct gallery_search *const *searches, size_t count,
                  size_t from, size_t to)
{
    const struct ahead start = {.at = from};
    g->searches = searches;
    g->count = count;
    g->from = from;
    g->to = to;
    g->rows = g->templates = start;
    g->fetched = g->sought = g->taken = 0;
    for (size_t i = 0; i < to - from; i++) {
        g->found[i].sought = false;
    }
}

BYTES_FETCHING void fetch_header(const struct view *view, size_t at)
{
    if (at < view->count && view->chunks[at].bytes) {
        fetch_bytes(view->chunks[at].bytes, 1);
    }
}

/* The next person to be glanced at: person - 1 of chunk a->at, for search a->s. false: there is
 * nobody else. */
static bool go_ahead(const struct glancing *g, struct ahead *a)
{
    const struct view *view = g->searches[0]->view;
    for (; a->at < g->to; a->at++, a->s = 0, a->person = 0, a->open = false) {
        const struct view_chunk *known = &view->chunks[a->at];
        for (; known->bytes && a->s < g->count; a->s++, a->person = 0) {
            const struct gallery_search *search = g->searches[a->s];
            const uint16_t *ranks = search->ranks + known->before;
            const char *why;
            if (search->states[a->at].stage != STAGE_GLANCE - 1 ||
                !search_concerns(search, STAGE_GLANCE, &search->states[a->at])) {
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

static void foresee(struct glancing *g, MDB_txn *txn)
{
    const struct ahead *a = &g->templates;
    const struct gallery_search *search = g->searches[a->s];
    struct found *found = &g->found[a->at - g->from];
    struct foreseen *person = &g->queue[g->sought % GLANCE_AHEAD];
    person->at = a->at;
    person->s = a->s;
    person->person = a->person - 1;
    seek_all(search, &a->chunk, person->person, &person->nearest);
    search_seek(search, txn, a->chunk.number, found);
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

/* Whether somebody foreseen comes before person i of chunk `at` for search s. */
static bool is_past(const struct foreseen *next, size_t at, size_t s, uint32_t i)
{
    return next->at != at ? next->at < at : next->s != s ? next->s < s : next->person < i;
}

/* The nearest prints of a person who is to be glanced at now. */
static const struct nearest_list *look_ahead(struct glancing *g, MDB_txn *txn, size_t at, size_t s,
                                             uint32_t i, const struct chunk *chunk)
{
    while (g->taken < g->sought && /* of a chunk that was given up some are left */
           is_past(&g->queue[g->taken % GLANCE_AHEAD], at, s, i)) {
        g->taken++;
    }
    while (g->fetched < g->taken + AHEAD_ROWS) {
        const size_t before = g->rows.at;
        if (!go_ahead(g, &g->rows)) {
            break;
        }
        for (size_t k = before; k < g->rows.at; k++) {
            fetch_header(g->searches[0]->view, k + 1 + AHEAD_HEADERS);
        }
        fetch_rows(g->searches[g->rows.s], &g->rows.chunk, g->rows.person - 1);
        g->fetched++;
    }
    while (g->sought < g->taken + GLANCE_AHEAD && go_ahead(g, &g->templates)) {
        foresee(g, txn);
        g->sought++;
    }
    const struct foreseen *next = &g->queue[g->taken % GLANCE_AHEAD];
    if (g->taken < g->sought && next->at == at && next->s == s && next->person == i) {
        return &next->nearest;
    }
    seek_all(g->searches[s], chunk, i, &g->unforeseen); /* the chunk has changed */
    return &g->unforeseen;
}

/* ------------------------------------------------------------------ a chunk */

bool glance_chunk(struct glancing *g, MDB_txn *txn, const struct scratch *scratch,
                  const struct chunk *chunk, size_t at, size_t s, struct chunk_state *state)
{
    const struct gallery_search *search = g->searches[s];
    const uint64_t before = search->view->chunks[at].before;
    const uint16_t *ranks = search->ranks + before;
    const uint8_t *bytes = NULL;
    struct block_info info;
    for (uint32_t i = 0; i < chunk->people; i++) {
        struct block_entry entry;
        if (ranks[i] < search->glance_cut) {
            continue;
        }
        if (search_cancelled(search)) {
            return false;
        }
        const struct nearest_list *nearest = look_ahead(g, txn, at, s, i, chunk);
        if (!bytes &&
            !search_block(search, txn, chunk, &g->found[at - g->from], &bytes, &info, state)) {
            return true;
        }
        if (!search_entry(bytes, &info, chunk_entry(chunk, i), &entry, state) ||
            !glance_person(scratch, nearest, ranks[i], bytes, &entry, state,
                           &search->impressions[before + i])) {
            return true;
        }
    }
    state->stage = STAGE_GLANCE;
    return true;
}
