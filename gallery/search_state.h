/* A search under way: shared by search.c and search_read.c. */
#ifndef GALLERY_SEARCH_STATE_H
#define GALLERY_SEARCH_STATE_H

#include <pthread.h>

#include "afis/sieve.h"
#include "chunk.h"
#include "gallery/search.h"
#include "levels.h"
#include "score.h"
#include "view.h"

#define HITS_MAX 4096u     /* candidates remembered; beyond it the lower half is only counted */
#define RANK_NOBODY 0u     /* has left, expired, no print to compare, or compared at first */
#define RANK_ALL 1u        /* at or above it is everybody else */
#define RANK_NEUTRAL 8192u /* no evidence either way */

/* What a chunk goes through; each stage looks at fewer people. */
enum stage {
    STAGE_NONE,
    STAGE_SIFT,    /* everyone, by the sift */
    STAGE_FIRST,   /* the very best of them are compared */
    STAGE_RANK,    /* more of them are ranked by the sieve */
    STAGE_BEST,    /* the very best ranks are compared */
    STAGE_GLANCE,  /* more of the best ranks are glanced at */
    STAGE_COMPARE, /* those who made the best impression are compared */
};

/* What the search knows of a chunk. */
struct chunk_state {
    uint8_t stage;
    bool taken;   /* in the first stage: somebody reads or has read it */
    uint16_t top; /* the highest level, or impression, that its people were given last */
    uint32_t comparable, above_possible, above_match; /* people; the last two of those compared */
    const char *why;                                  /* could not be read */
};

struct hit {
    float score;
    uint32_t block;
    uint8_t id_len;
    char id[GALLERY_ID_MAX];
};

struct gallery_search {
    struct gallery *gallery;
    struct gallery_search_params params;
    struct score_probe probe;
    uint8_t *sieves; /* and sifts, one of each impression, in secret memory */
    bool sifts;      /* not where the gallery is so small that everyone is compared */
    bool shareable;  /* other searches' first stage can be done with this one's: rank.h */
    float match_threshold, possible_threshold;
    unsigned round;
    enum stage stage, last; /* where all chunks are brought to now, and at most */
    /* Who reaches this level is compared at once; is ranked; who ranks here or higher is compared;
     * is glanced at; makes this impression and then is compared. */
    uint32_t first_cut, sift_cut, best_cut, glance_cut, compare_cut;

    struct view *view;
    struct chunk_state *states;    /* of the view's chunks */
    size_t states_room, rows_room; /* of these, and of the next two */
    uint16_t *ranks;               /* of the view's rows; levels, after the first stage */
    uint16_t *impressions;         /* likewise; RANK_NOBODY: not glanced at */

    struct levels levels; /* how many people have each of those that the stage finds out */

    pthread_mutex_t
        mutex;   /* guards levels and all below while threads step, and states when they end */
    size_t next; /* the chunk to be claimed next */
    uint64_t people_read;
    struct hit *hits;
    size_t hit_count, hit_most; /* now; at any time */
    bool failed;
    struct whorl_fault fault; /* of `failed` */

    /* Guarded by the crowd (crowd.h), as is `next` in the first stage. */
    bool joined;
    struct gallery_search *beside; /* the next member */
    size_t left;                   /* chunks that nobody has taken */
    unsigned guests;               /* runs of its chunks in other searches' steps */
};

/* --- search.c --- */

/* How many people the deepest cut of the search's stage leaves. */
uint64_t search_wanted(const struct gallery_search *search);

/* --- search_read.c --- */

/* Whether a chunk is where the search wants it, or cannot be read. */
static inline bool search_chunk_done(const struct gallery_search *search,
                                     const struct chunk_state *state)
{
    return state->why || state->stage >= search->stage;
}

/* Reads chunks within txn until `until` (nanoseconds; 0 = to the end). */
enum gallery_step search_read(struct gallery_search *search, MDB_txn *txn, void *memory,
                              int64_t until);
int64_t search_now_ns(void);
bool search_cancelled(const struct gallery_search *search);

/* Working memory of one thread. */
struct scratch {
    struct score_person *person;
    struct afis_matcher *matcher;
    struct afis_finger *finger;
    struct ranking *ranking;
    struct glancing *glancing;
};
/* The parts of gallery_search_scratch_size() bytes. */
struct scratch search_scratch(void *memory);

/* Whether a stage looks at chunks alone, and gives levels. */
static inline bool search_by_words(enum stage stage)
{
    return stage == STAGE_SIFT || stage == STAGE_RANK || stage == STAGE_GLANCE;
}

/* Whether a stage looks at anybody of a chunk that is through the stage before. */
bool search_concerns(const struct gallery_search *search, enum stage stage,
                     const struct chunk_state *state);

/* A block's place in the store, as long as the transaction lasts. */
struct found {
    bool sought;
    int rc; /* of LMDB */
    MDB_val value;
};
void search_seek(const struct gallery_search *search, MDB_txn *txn, uint32_t number,
                 struct found *found);

/* The block that a chunk was made from. false with state->why NULL: it has changed since, which the
 * next listing notices. */
bool search_block(const struct gallery_search *search, MDB_txn *txn, const struct chunk *chunk,
                  struct found *found, const uint8_t **bytes, struct block_info *info,
                  struct chunk_state *state);

/* The entry that begins at a place of it, as its chunk says. false with state->why. */
bool search_entry(const uint8_t *block, const struct block_info *info, size_t place,
                  struct block_entry *entry, struct chunk_state *state);

/* Counts the levels that the search's stage has given to the people of chunks [from, to). With the
 * mutex held, or while no thread steps. */
void search_count(struct gallery_search *search, size_t from, size_t to);

/* Takes those out of a chunk's levels, just given by the sift, who have left its block. */
void search_sifted(const struct view_chunk *known, uint16_t *levels, struct chunk_state *state);

/* Notes the highest of the levels that the sift or the sieve has given to them. */
void search_top(struct gallery_search *search, size_t chunk, enum stage stage,
                struct chunk_state *state);

/* Best first. */
void search_sort_hits(struct gallery_search *search);

#endif
