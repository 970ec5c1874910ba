#include "rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "afis/sift.h"
#include "whorl/secret.h"

struct ranking {
    int16_t score[CHUNK_ROWS_MAX];                /* of prints */
    int16_t best[CHUNK_ROWS_MAX];                 /* of people, for one finger */
    uint16_t tries[CHUNK_ROWS_MAX];               /* likewise */
    int32_t sum[CHUNK_ROWS_MAX];                  /* over fingers */
    uint8_t compared[CHUNK_ROWS_MAX];             /* whether any */
    uint16_t list[CHUNK_ROWS_MAX + LEVELS_SLACK]; /* people */
    uint16_t row[CHUNK_ROWS_MAX];                 /* prints, */
    uint16_t of[CHUNK_ROWS_MAX];                  /* and whose of the list they are */
    _Alignas(64) uint8_t sift[];                  /* afis_sift's */
};

static size_t aligned(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

size_t rank_scratch_size(void)
{
    return sizeof(struct ranking) + aligned(afis_sift_scratch_size());
}

static struct afis_sift_scratch *sift_scratch(struct ranking *r)
{
    return (struct afis_sift_scratch *)(void *)r->sift;
}

/* ------------------------------------------------------------------ the probe */

static size_t sieve_step(void)
{
    return aligned(afis_sieve_size());
}

static size_t sift_step(void)
{
    return aligned(afis_sift_size(1));
}

/* One sieve of each impression, then one sift of each. */
static size_t prepared_size(const struct gallery_search *search)
{
    return search->probe.impressions * (sieve_step() + (search->sifts ? sift_step() : 0));
}

size_t rank_prepared_size(void)
{
    return sieve_step() + sift_step();
}

const struct afis_sieve *rank_sieve(const struct gallery_search *search, size_t impression)
{
    return (const struct afis_sieve *)(const void *)(search->sieves + impression * sieve_step());
}

static struct afis_sift *sift_of(const struct gallery_search *search, size_t impression)
{
    return (struct afis_sift *)(void *)(search->sieves + search->probe.impressions * sieve_step() +
                                        impression * sift_step());
}

bool rank_prepare(struct gallery_search *search)
{
    search->sieves = whorl_secret_alloc(prepared_size(search));
    for (size_t k = 0; search->sieves && k < search->probe.impressions; k++) {
        struct afis_sieve *sieve = (struct afis_sieve *)(void *)(search->sieves + k * sieve_step());
        const struct afis_sieve *const list[] = {sieve};
        afis_sieve_init(sieve, search->probe.finger[k]);
        if (search->sifts) {
            afis_sift_init(sift_of(search, k), list, 1);
        }
    }
    return search->sieves != NULL;
}

void rank_release(struct gallery_search *search)
{
    whorl_secret_free(search->sieves, prepared_size(search));
}

/* ------------------------------------------------------------------ by finger */

/* Of those nobody has more than one print, and no print's position is unknown: each score counts as
 * it is. */
static bool is_simple(const struct chunk *chunk, unsigned position)
{
    return chunk->first[1] == 0 && (chunk->single >> position & 1u) != 0;
}

bool rank_simple(const struct gallery_search *search, const struct chunk *chunk)
{
    bool all = search->shareable && search->sifts;
    for (size_t f = 0; f < search->probe.fingers; f++) {
        all = all && is_simple(chunk, search->probe.position[f]);
    }
    return all;
}

enum by { BY_SIFT, BY_SIEVE };

/* Whether the sieve looks at somebody of that level: who was compared already has been judged. */
static bool is_ranked(const struct gallery_search *search, uint16_t level)
{
    return level >= search->sift_cut && level < search->first_cut;
}

/* Scores print rows [from, to) against one impression into the people's best; by the sieve those
 * that are ranked. */
static void score_rows(const struct gallery_search *search, size_t k, enum by by,
                       const struct chunk *chunk, struct ranking *r, const uint16_t *levels,
                       uint32_t from, uint32_t to)
{
    const uint64_t *words = chunk->words + (size_t)from * AFIS_SIEVE_WORDS;
    if (by == BY_SIFT && !search->sifts) {
        memset(r->score, 0, (to - from) * sizeof *r->score);
    } else if (by == BY_SIFT) {
        afis_sift_scan(sift_of(search, k), sift_scratch(r), words, to - from, r->score);
    }
    for (uint32_t i = from; i < to; i++, words += AFIS_SIEVE_WORDS) {
        const uint32_t person = chunk_print_person(chunk, i);
        int16_t score = r->score[i - from];
        if (by == BY_SIEVE) {
            if (!is_ranked(search, levels[person])) {
                continue;
            }
            afis_sieve_scan(rank_sieve(search, k), words, 1, &score);
        }
        r->best[person] = score > r->best[person] ? score : r->best[person];
        r->tries[person]++;
    }
}

/* The best of n tries is n times as likely by chance. */
static int32_t reduced(int32_t best, unsigned tries)
{
    return tries == 1 ? best : best - (int32_t)lrintf(AFIS_SIEVE_UNIT * logf((float)tries));
}

static void score_finger(const struct gallery_search *search, enum by by, const struct chunk *chunk,
                         struct ranking *r, const uint16_t *levels, size_t finger)
{
    const struct score_probe *probe = &search->probe;
    const unsigned position = probe->position[finger];
    for (uint32_t i = 0; i < chunk->people; i++) {
        r->best[i] = INT16_MIN;
        r->tries[i] = 0;
    }
    for (size_t k = 0; k < probe->impressions; k++) {
        if (probe->of[k] != finger) {
            continue;
        }
        if (position == 0) {
            score_rows(search, k, by, chunk, r, levels, 0, chunk->prints);
        } else {
            score_rows(search, k, by, chunk, r, levels, chunk->first[0], chunk->first[1]);
            score_rows(search, k, by, chunk, r, levels, chunk->first[position],
                       chunk->first[position + 1]);
        }
    }
    for (uint32_t i = 0; i < chunk->people; i++) {
        if (r->tries[i] > 0) {
            r->sum[i] += reduced(r->best[i], r->tries[i]);
            r->compared[i] = 1;
        }
    }
}

static uint16_t level_of(int32_t sum)
{
    const int32_t level = sum + (int32_t)RANK_NEUTRAL;
    return (uint16_t)(level < (int32_t)RANK_ALL ? (int32_t)RANK_ALL
                      : level > UINT16_MAX      ? UINT16_MAX
                                                : level);
}

static void score_fingers(const struct gallery_search *search, enum by by,
                          const struct chunk *chunk, struct ranking *r, uint16_t *levels)
{
    memset(r->sum, 0, chunk->people * sizeof *r->sum);
    memset(r->compared, 0, chunk->people * sizeof *r->compared);
    for (size_t f = 0; f < search->probe.fingers; f++) {
        score_finger(search, by, chunk, r, levels, f);
    }
}

/* Mostly everybody has one. */
uint32_t rank_row(const struct chunk *chunk, unsigned position, uint32_t person)
{
    uint32_t low = chunk->first[position], high = chunk->first[position + 1];
    if (chunk_in_order(chunk, position)) {
        return low + person;
    }
    const uint32_t end = high;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (chunk_print_person(chunk, middle) < person) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < end && chunk_print_person(chunk, low) == person ? low : end;
}

/* What the sift's sum adds to the rank: it says a little that the sieve's does not. */
static int32_t sifted(uint16_t level)
{
    return (level - (int32_t)RANK_NEUTRAL) / 2;
}

_Static_assert(RANK_NOBODY == 0 && RANK_ALL == 1, "as levels_flatten leaves them");

/* rank_sieved where everything is simple: each finger has one impression, and a person one print of
 * it at most. */
static void sieve_simple(const struct gallery_search *search, const struct chunk *chunk,
                         struct ranking *r, uint16_t *levels)
{
    const uint32_t first_cut = search->first_cut;
    const uint32_t count = levels_pick(levels, chunk->people, search->sift_cut, first_cut, r->list);
    for (uint32_t i = 0; i < count; i++) {
        r->sum[i] = sifted(levels[r->list[i]]);
    }
    for (size_t k = 0; k < search->probe.impressions; k++) {
        const unsigned position = search->probe.position[search->probe.of[k]];
        uint32_t there = 0; /* who has such a print */
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t row = rank_row(chunk, position, r->list[i]);
            r->row[there] = (uint16_t)row;
            r->of[there] = (uint16_t)i;
            there += row < chunk->first[position + 1];
        }
        afis_sieve_scan_rows(rank_sieve(search, k), chunk->words, r->row, there, r->score);
        for (uint32_t i = 0; i < there; i++) {
            r->sum[r->of[i]] += r->score[i];
        }
    }
    levels_flatten(levels, chunk->people, first_cut); /* who is not ranked */
    for (uint32_t i = 0; i < count; i++) {
        levels[r->list[i]] = level_of(r->sum[i]);
    }
}

void rank_sieved(const struct gallery_search *search, const struct chunk *chunk,
                 struct ranking *ranking, uint16_t *levels)
{
    if (rank_simple(search, chunk)) {
        sieve_simple(search, chunk, ranking, levels);
        return;
    }
    score_fingers(search, BY_SIEVE, chunk, ranking, levels);
    for (uint32_t i = 0; i < chunk->people; i++) {
        if (levels[i] >= search->first_cut) {
            levels[i] = RANK_NOBODY; /* compared already */
        } else if (levels[i] != RANK_NOBODY) {
            levels[i] =
                ranking->compared[i] ? level_of(ranking->sum[i] + sifted(levels[i])) : RANK_ALL;
        }
    }
}

void rank_fetch_rows(const struct gallery_search *search, const struct chunk *chunk)
{
    for (size_t f = 0; f < search->probe.fingers; f++) {
        const unsigned position = search->probe.position[f];
        if (!chunk_in_order(chunk, position)) {
            fetch_bytes(chunk->print_rows, (size_t)chunk->prints * CHUNK_PRINT_ROW);
            return;
        }
    }
}

void rank_fetch(const struct gallery_search *search, const struct chunk *chunk,
                const uint16_t *levels)
{
    enum { TOGETHER = 64 };
    uint16_t list[TOGETHER + LEVELS_SLACK];
    for (uint32_t from = 0; from < chunk->people; from += TOGETHER) {
        const uint32_t n = chunk->people - from < TOGETHER ? chunk->people - from : TOGETHER;
        const uint32_t count =
            levels_pick(levels + from, n, search->sift_cut, search->first_cut, list);
        for (size_t f = 0; f < search->probe.fingers; f++) {
            /* Rows are numbered like people where everybody has one print of the finger. */
            const uint32_t first = chunk->first[search->probe.position[f]] + from;
            for (uint32_t i = 0; i < count; i++) {
                const uint32_t row = first + list[i];
                fetch_bytes(chunk->words + (size_t)row * AFIS_SIEVE_WORDS,
                            row < chunk->prints ? CHUNK_PRINT : 0);
            }
        }
    }
}

/* ------------------------------------------------------------------ the sift */

/* When the first of a chunk's people expires; INT64_MAX: nobody does, as mostly. */
static int64_t first_expiry(const struct chunk *chunk)
{
    int64_t first = INT64_MAX;
    for (uint32_t i = 0; chunk->expire && i < chunk->people; i++) {
        const int64_t expires = chunk_expires(chunk, i);
        first = expires != 0 && expires < first ? expires : first;
    }
    return first;
}

/* Takes out who has expired, and counts who is left. */
static void drop_expired(const struct gallery_search *search, const struct chunk *chunk,
                         int64_t first, uint16_t *levels, struct chunk_state *state)
{
    for (uint32_t i = 0; first <= search->params.now && i < chunk->people; i++) {
        const int64_t expires = chunk_expires(chunk, i);
        if (expires != 0 && expires <= search->params.now) {
            levels[i] = RANK_NOBODY;
        }
    }
    state->comparable = levels_count(levels, chunk->people);
}

/* Adds the scores of rows [from, to) to the people's levels. */
static void add_levels(const struct chunk *chunk, uint32_t from, uint32_t to, const int16_t *scores,
                       uint16_t *levels)
{
    for (uint32_t i = from; i < to; i++) {
        uint16_t *level = &levels[chunk_print_person(chunk, i)];
        const uint32_t sum =
            (*level == RANK_NOBODY ? RANK_NEUTRAL : *level) + (uint32_t)scores[i - from];
        *level = (uint16_t)(sum < UINT16_MAX ? sum : UINT16_MAX);
    }
}

/* What a table of any number of searches says of the prints of its position. */
static void sift_rows(const struct afis_sift *sift, size_t columns, const struct chunk *chunk,
                      unsigned position, struct ranking *r, uint16_t *const *levels)
{
    const uint32_t first = chunk->first[position], end = chunk->first[position + 1],
                   most = CHUNK_ROWS_MAX / (uint32_t)columns;
    const bool in_order = chunk_in_order(chunk, position);
    for (uint32_t from = first, to; from < end; from = to) {
        to = end - from < most ? end : from + most;
        afis_sift_scan(sift, sift_scratch(r), chunk->words + (size_t)from * AFIS_SIEVE_WORDS,
                       to - from, r->score);
        for (size_t c = 0; c < columns; c++) {
            const int16_t *scores = r->score + c * (to - from);
            if (levels[c] && in_order) {
                levels_raise(levels[c] + (from - first), scores, to - from, RANK_NEUTRAL);
            } else if (levels[c]) {
                add_levels(chunk, from, to, scores, levels[c]);
            }
        }
    }
}

void rank_sift(const struct gallery_search *search, const struct chunk *chunk,
               struct ranking *ranking, uint16_t *levels, struct chunk_state *state)
{
    const bool simple = rank_simple(search, chunk);
    memset(levels, 0, chunk->people * sizeof *levels);
    for (size_t k = 0; simple && k < search->probe.impressions; k++) {
        sift_rows(sift_of(search, k), 1, chunk, search->probe.position[search->probe.of[k]],
                  ranking, &levels);
    }
    if (!simple) {
        score_fingers(search, BY_SIFT, chunk, ranking, NULL);
        for (uint32_t i = 0; i < chunk->people; i++) {
            levels[i] = ranking->compared[i] ? level_of(ranking->sum[i]) : RANK_NOBODY;
        }
    }
    drop_expired(search, chunk, first_expiry(chunk), levels, state);
}

/* ------------------------------------------------------------------ several searches */

/* The fingers of one position: a table, and whose they are. */
struct table {
    struct afis_sift *sift; /* NULL: nobody has one */
    size_t columns;
    uint8_t member[AFIS_SIFT_PROBES];
};

struct rank_group {
    size_t count;
    struct gallery_search *searches[AFIS_SIFT_PROBES];
    struct table tables[CHUNK_POSITIONS];
};

bool rank_shareable(const struct gallery_search *search)
{
    bool known = search->probe.impressions == search->probe.fingers;
    for (size_t f = 0; f < search->probe.fingers; f++) {
        known = known && search->probe.position[f] != 0;
    }
    return known;
}

static bool make_table(struct rank_group *group, unsigned position)
{
    struct table *table = &group->tables[position];
    const struct afis_sieve *sieves[AFIS_SIFT_PROBES];
    for (size_t m = 0; m < group->count; m++) {
        const struct gallery_search *search = group->searches[m];
        for (size_t k = 0; k < search->probe.impressions; k++) {
            if (search->probe.position[search->probe.of[k]] == position) {
                sieves[table->columns] = rank_sieve(search, k);
                table->member[table->columns++] = (uint8_t)m;
            }
        }
    }
    if (table->columns == 0) {
        return true;
    }
    table->sift = whorl_secret_alloc(afis_sift_size((unsigned)table->columns));
    if (table->sift) {
        afis_sift_init(table->sift, sieves, (unsigned)table->columns);
    }
    return table->sift != NULL;
}

struct rank_group *rank_group_new(struct gallery_search *const *searches, size_t count)
{
    struct rank_group *group = calloc(1, sizeof *group);
    if (!group) {
        return NULL;
    }
    for (; group->count < count; group->count++) {
        group->searches[group->count] = searches[group->count];
    }
    for (unsigned position = 1; position < CHUNK_POSITIONS; position++) {
        if (!make_table(group, position)) {
            rank_group_free(group);
            return NULL;
        }
    }
    return group;
}

void rank_group_free(struct rank_group *group)
{
    for (unsigned position = 0; group && position < CHUNK_POSITIONS; position++) {
        struct table *table = &group->tables[position];
        if (table->sift) {
            whorl_secret_free(table->sift, afis_sift_size((unsigned)table->columns));
        }
    }
    free(group);
}

int rank_group_find(const struct rank_group *group, const struct gallery_search *search)
{
    for (size_t m = 0; m < group->count; m++) {
        if (group->searches[m] == search) {
            return (int)m;
        }
    }
    return -1;
}

bool rank_group_sift(const struct rank_group *group, uint32_t members, const struct chunk *chunk,
                     struct ranking *ranking, uint16_t *const *levels, struct chunk_state *states)
{
    for (unsigned position = 1; position < CHUNK_POSITIONS; position++) {
        if (group->tables[position].sift && !is_simple(chunk, position)) {
            return false;
        }
    }
    for (size_t m = 0; m < group->count; m++) {
        if (members >> m & 1u) {
            memset(levels[m], 0, chunk->people * sizeof *levels[m]);
        }
    }
    for (unsigned position = 1; position < CHUNK_POSITIONS; position++) {
        const struct table *table = &group->tables[position];
        uint16_t *of_column[AFIS_SIFT_PROBES];
        for (size_t c = 0; c < table->columns; c++) {
            const unsigned m = table->member[c];
            of_column[c] = members >> m & 1u ? levels[m] : NULL;
        }
        if (table->sift) {
            sift_rows(table->sift, table->columns, chunk, position, ranking, of_column);
        }
    }
    const int64_t expiry = first_expiry(chunk);
    for (size_t m = 0; m < group->count; m++) {
        if (members >> m & 1u) {
            drop_expired(group->searches[m], chunk, expiry, levels[m], &states[m]);
        }
    }
    return true;
}
