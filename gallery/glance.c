#include "glance.h"

#include "impression.h"
#include "rank.h"

#define TOGETHER 64u /* people */

/* People of one chunk who are to be glanced at, some at a time. */
struct glancing {
    uint32_t count, next; /* next: the person of the chunk to go on with */
    uint16_t person[TOGETHER + LEVELS_SLACK];
    float impression[TOGETHER];
    uint16_t row[TOGETHER], of[TOGETHER]; /* prints, and whose of the list they are */
    float seen[TOGETHER];                 /* of them */
};

size_t glance_scratch_size(void)
{
    return sizeof(struct glancing);
}

/* false: there is nobody else. */
static bool list_some(const struct gallery_search *search, const struct chunk *chunk,
                      const uint16_t *ranks, struct glancing *some)
{
    for (some->count = 0; some->count == 0 && some->next < chunk->people;) {
        const uint32_t from = some->next,
                       n = chunk->people - from < TOGETHER ? chunk->people - from : TOGETHER;
        some->count = levels_pick(ranks + from, n, search->glance_cut, LEVELS, some->person);
        for (uint32_t i = 0; i < some->count; i++) {
            some->person[i] = (uint16_t)(some->person[i] + from);
        }
        some->next += n;
    }
    return some->count > 0;
}

/* ------------------------------------------------------------------ one print of each finger */

/* Where everything is simple (rank_simple). */
static void look_simply(const struct gallery_search *search, const struct chunk *chunk,
                        struct afis_matcher *matcher, struct glancing *some)
{
    for (size_t k = 0; k < search->probe.impressions; k++) {
        const unsigned position = search->probe.position[search->probe.of[k]];
        uint32_t there = 0; /* who has such a print */
        for (uint32_t i = 0; i < some->count; i++) {
            const uint32_t at = rank_row(chunk, position, some->person[i]);
            some->row[there] = (uint16_t)at;
            some->of[there] = (uint16_t)i;
            there += at < chunk->first[position + 1];
        }
        afis_glance(matcher, rank_sieve(search, k), chunk->words, chunk->places, some->row, there,
                    some->seen);
        for (uint32_t i = 0; i < there; i++) {
            some->impression[some->of[i]] += some->seen[i];
        }
    }
}

/* ------------------------------------------------------------------ any prints */

/* The first print row of a person in a group, or the group's end. */
static uint32_t first_row(const struct chunk *chunk, unsigned position, uint32_t person)
{
    uint32_t low = chunk->first[position], high = chunk->first[position + 1];
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

/* The impression of a probe finger and the person's print that the sieve finds nearest to one
 * another. */
struct nearest {
    const struct afis_sieve *sieve; /* NULL: none can be compared */
    uint16_t row;
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
            if (!nearest->sieve || score > nearest->score) {
                *nearest = (struct nearest){rank_sieve(search, k), (uint16_t)row, score};
            }
        }
    }
}

/* At the nearest of each finger. */
static void look_for_nearest(const struct gallery_search *search, const struct chunk *chunk,
                             struct afis_matcher *matcher, struct glancing *some)
{
    for (uint32_t i = 0; i < some->count; i++) {
        for (size_t f = 0; f < search->probe.fingers; f++) {
            struct nearest nearest = {0};
            float impression;
            for (size_t k = 0; k < search->probe.impressions; k++) {
                if (search->probe.of[k] == f) {
                    seek_nearest(search, chunk, k, some->person[i], &nearest);
                }
            }
            if (nearest.sieve) {
                afis_glance(matcher, nearest.sieve, chunk->words, chunk->places, &nearest.row, 1,
                            &impression);
                some->impression[i] += impression;
            }
        }
    }
}

/* ------------------------------------------------------------------ a chunk */

/* Of at most 200 or so, for ten fingers, and never below -11. */
static uint16_t level_of(float impression)
{
    const float level = (impression + 16) * 256;
    return (uint16_t)(level < (float)RANK_ALL ? (float)RANK_ALL : level > 65535 ? 65535 : level);
}

uint16_t glance_chunk(const struct gallery_search *search, const struct chunk *chunk,
                      struct glancing *some, struct afis_matcher *matcher, const uint16_t *ranks,
                      uint16_t *impressions)
{
    uint16_t top = RANK_NOBODY;
    some->next = 0;
    while (list_some(search, chunk, ranks, some)) {
        for (uint32_t i = 0; i < some->count; i++) {
            some->impression[i] =
                impression_of_rank((float)ranks[some->person[i]] - (float)RANK_NEUTRAL);
        }
        if (rank_simple(search, chunk)) {
            look_simply(search, chunk, matcher, some);
        } else {
            look_for_nearest(search, chunk, matcher, some);
        }
        for (uint32_t i = 0; i < some->count; i++) {
            const uint16_t level = level_of(some->impression[i]);
            impressions[some->person[i]] = level;
            top = level > top ? level : top;
        }
    }
    return top;
}

void glance_fetch(const struct gallery_search *search, const struct chunk *chunk,
                  struct glancing *some, const uint16_t *ranks)
{
    some->next = 0;
    while (list_some(search, chunk, ranks, some)) {
        for (size_t f = 0; f < search->probe.fingers; f++) {
            /* Rows are numbered like people where everybody has one print of the finger. */
            const uint32_t first = chunk->first[search->probe.position[f]];
            for (uint32_t i = 0; i < some->count; i++) {
                const size_t row = first + some->person[i];
                if (row < chunk->prints) {
                    fetch_bytes(chunk->words + row * AFIS_SIEVE_WORDS, CHUNK_PRINT);
                    fetch_bytes(chunk->places + row * CHUNK_PLACES, 1);
                }
            }
        }
    }
}
