#include "gallery/search.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "score.h"
#include "store.h"
#include "whorl/msg.h"

#define STEP_NS 8000000LL
#define ROUNDS_MAX 4u  /* after these, finish reads what still changes itself */
#define HITS_MAX 4096u /* candidates remembered; beyond it the lower half is only counted */

enum block_status { UNREAD, READ, DAMAGED };

/* What the search knows of a block; sorted by number. */
struct block_state {
    uint32_t number, people;
    uint64_t stamp; /* of the version that was read, or that was listed and is yet to be */
    enum block_status status;
    uint32_t comparable, above_possible, above_match; /* people, when READ */
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
    float match_threshold, possible_threshold;
    unsigned round;

    pthread_mutex_t mutex; /* guards all below while threads step */
    struct block_state *blocks;
    size_t block_count, next;
    uint64_t people, people_read; /* for progress */
    struct hit *hits;
    size_t hit_count;
    bool failed;
    struct whorl_fault fault;   /* of `failed` */
    struct whorl_fault trouble; /* the first damaged block */
};

/* ------------------------------------------------------------------ the list of blocks */

/* Takes an index record into the new list. `old` walks the old one: a block of the same version
 * that was read keeps what was found in it. */
static void list_block(struct block_state *to, const struct index_entry *entry,
                       const struct gallery_search *search, size_t *old)
{
    while (*old < search->block_count && search->blocks[*old].number < entry->number) {
        (*old)++;
    }
    const struct block_state *known = *old < search->block_count ? &search->blocks[*old] : NULL;
    if (known != NULL && known->number == entry->number && known->stamp == entry->stamp &&
        known->status != UNREAD) {
        *to = *known;
    } else {
        *to = (struct block_state){
            .number = entry->number, .people = entry->people, .stamp = entry->stamp};
    }
}

static int read_index(const struct gallery_search *search, MDB_txn *txn, struct block_state *list,
                      size_t room, size_t *count)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    size_t old = 0;
    int rc = mdb_cursor_open(txn, search->gallery->index, &cursor);
    if (rc != 0) {
        return rc;
    }
    for (*count = 0; *count < room; (*count)++) {
        struct index_entry entry;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        if (rc == 0) {
            rc = index_decode(&key, &value, &entry);
        }
        if (rc != 0) {
            break;
        }
        list_block(&list[*count], &entry, search, &old);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int compare_blocks(const void *key, const void *element)
{
    uint32_t a = *(const uint32_t *)key, b = ((const struct block_state *)element)->number;
    return a < b ? -1 : a > b;
}

/* Drops the hits in blocks that are gone or to be read again. */
static void drop_stale_hits(struct gallery_search *search)
{
    size_t kept = 0;
    for (size_t i = 0; i < search->hit_count; i++) {
        const struct block_state *block =
            bsearch(&search->hits[i].block, search->blocks, search->block_count,
                    sizeof *search->blocks, compare_blocks);
        if (block && block->status == READ) {
            search->hits[kept++] = search->hits[i];
        }
    }
    search->hit_count = kept;
}

/* Lists the blocks as they stand in txn; *unread: how many of them are to be read (again). */
static bool list_blocks(struct gallery_search *search, MDB_txn *txn, size_t *unread,
                        struct whorl_fault *fault)
{
    MDB_stat stat;
    int rc = mdb_stat(txn, search->gallery->index, &stat);
    if (rc != 0) {
        return whorl_fail(fault, "", "cannot read the gallery: %s", mdb_strerror(rc));
    }
    struct block_state *list = calloc(stat.ms_entries + 1, sizeof *list);
    if (!list) {
        return whorl_fail(fault, "", "out of memory");
    }
    size_t count = 0;
    rc = read_index(search, txn, list, stat.ms_entries, &count);
    if (rc != 0) {
        free(list);
        return whorl_fail(fault, "", "cannot read the gallery: %s", mdb_strerror(rc));
    }
    free(search->blocks);
    search->blocks = list;
    search->block_count = count;
    search->next = *unread = 0;
    search->people = search->people_read = 0;
    for (size_t i = 0; i < count; i++) {
        *unread += list[i].status == UNREAD;
        search->people += list[i].people;
        search->people_read += list[i].status == UNREAD ? 0 : list[i].people;
    }
    drop_stale_hits(search);
    return true;
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
    struct hit *hits = calloc(HITS_MAX, sizeof *hits);
    if (!search || !hits) {
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
    size_t unread;
    MDB_txn *txn = whorl_store_read(gallery->store, fault);
    bool listed = txn && list_blocks(search, txn, &unread, fault);
    whorl_store_done(gallery->store, txn);
    if (!listed) {
        gallery_search_free(search);
        return NULL;
    }
    search->match_threshold = afis_threshold(params->match_fpir, (double)search->people);
    search->possible_threshold = afis_threshold(params->possible_fpir, (double)search->people);
    return search;
}

void gallery_search_free(struct gallery_search *search)
{
    if (!search) {
        return;
    }
    pthread_mutex_destroy(&search->mutex);
    free(search->blocks);
    free(search->hits);
    free(search);
}

void gallery_search_progress(struct gallery_search *search, uint64_t *people, uint64_t *of)
{
    pthread_mutex_lock(&search->mutex);
    *people = search->people_read;
    *of = search->people;
    pthread_mutex_unlock(&search->mutex);
}

/* ------------------------------------------------------------------ reading a block */

/* The parts of a scratch space. */
struct scratch {
    struct score_person *person;
    struct afis_matcher *matcher;
    struct afis_finger *finger;
};

static size_t aligned(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

size_t gallery_search_scratch_size(void)
{
    return aligned(sizeof(struct score_person)) + aligned(afis_matcher_size()) +
           aligned(afis_finger_size());
}

static struct scratch scratch_parts(void *memory)
{
    uint8_t *matcher = (uint8_t *)memory + aligned(sizeof(struct score_person));
    return (struct scratch){memory, (struct afis_matcher *)matcher,
                            (struct afis_finger *)(matcher + aligned(afis_matcher_size()))};
}

/* Compares a person's prints with the probe. *score < 0: nothing was comparable. false: a template
 * is damaged. */
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

static void add_hit(struct gallery_search *search, uint32_t block, float score,
                    const struct block_entry *entry)
{
    pthread_mutex_lock(&search->mutex);
    if (search->hit_count == HITS_MAX) {
        qsort(search->hits, HITS_MAX, sizeof *search->hits, better_hit);
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

/* Scores everyone in a block into *block. *why: what is wrong with it, or NULL. false: cancelled.
 */
static bool scan(struct gallery_search *search, const struct scratch *scratch, const uint8_t *bytes,
                 const struct block_info *info, struct block_state *block, const char **why)
{
    struct block_entry entry;
    size_t at = BLOCK_HEADER;
    uint32_t people = 0;
    for (; block_next(bytes, info, &at, &entry, why); people++) {
        float score;
        if (cancelled(search)) {
            return false;
        }
        if (entry.expires != 0 && entry.expires <= search->params.now) {
            continue;
        }
        if (!score_entry(search, scratch, &entry, &score)) {
            *why = "holds a damaged template";
            return true;
        }
        block->comparable += score >= 0;
        if (score < 0 || score < search->possible_threshold) {
            continue;
        }
        block->above_possible++;
        block->above_match += score >= search->match_threshold;
        add_hit(search, block->number, score, &entry);
    }
    if (!*why && people != block->people) {
        *why = "does not hold as many people as the index says";
    }
    return true;
}

/* Reads the version of a block that the index of txn names. Gone by then: it stays unread, which
 * finish notices. false: cancelled. */
static bool read_block(struct gallery_search *search, MDB_txn *txn, const struct scratch *scratch,
                       struct block_state *block, const char **why)
{
    MDB_val key = {sizeof block->number, &block->number}, value;
    struct index_entry entry;
    struct block_info info;
    const uint8_t *bytes;
    *why = NULL;
    int rc = mdb_get(txn, search->gallery->index, &key, &value);
    if (rc == MDB_NOTFOUND) {
        return true;
    }
    if (rc == 0) {
        rc = index_decode(&key, &value, &entry);
    }
    if (rc == 0) {
        *block = (struct block_state){
            .number = entry.number, .people = entry.people, .stamp = entry.stamp};
        rc = block_read(search->gallery, txn, block->number, &bytes, &info, why);
    }
    if (rc == 0 && (info.stamp != entry.stamp || info.people != entry.people)) {
        *why = "is of another version than the index says";
    } else if (rc != 0 && !*why) {
        *why = mdb_strerror(rc);
    }
    if (!*why && !scan(search, scratch, bytes, &info, block, why)) {
        return false;
    }
    block->status = *why ? DAMAGED : READ;
    return true;
}

/* Puts in what was found; keeps the first damage for the result. */
static void merge(struct gallery_search *search, size_t i, const struct block_state *block,
                  const char *why)
{
    pthread_mutex_lock(&search->mutex);
    search->people_read += search->blocks[i].people;
    search->blocks[i] = *block;
    if (why && !search->trouble.text[0]) {
        whorl_fail(&search->trouble, "", "block %u %s", block->number, why);
    }
    pthread_mutex_unlock(&search->mutex);
}

/* Takes the next unread block. */
static bool claim(struct gallery_search *search, size_t *i, struct block_state *block)
{
    pthread_mutex_lock(&search->mutex);
    while (search->next < search->block_count && search->blocks[search->next].status != UNREAD) {
        search->next++;
    }
    bool found = search->next < search->block_count && !search->failed;
    if (found) {
        *i = search->next++;
        *block = search->blocks[*i];
    }
    pthread_mutex_unlock(&search->mutex);
    return found;
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Reads blocks within txn until `until` (nanoseconds; 0 = to the end). */
static enum gallery_step read_blocks(struct gallery_search *search, MDB_txn *txn, void *memory,
                                     int64_t until)
{
    struct scratch scratch = scratch_parts(memory);
    struct block_state block;
    size_t i;
    while (claim(search, &i, &block)) {
        const char *why;
        if (!read_block(search, txn, &scratch, &block, &why)) {
            return GALLERY_STEP_CANCELLED;
        }
        merge(search, i, &block, why);
        if (until && now_ns() >= until) {
            return GALLERY_STEP_MORE;
        }
    }
    return GALLERY_STEP_DRAINED;
}

enum gallery_step gallery_search_step(struct gallery_search *search, void *scratch)
{
    struct whorl_fault fault;
    int64_t until = now_ns() + STEP_NS;
    if (cancelled(search)) {
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
    enum gallery_step step = read_blocks(search, txn, scratch, until);
    whorl_store_done(search->gallery->store, txn);
    return step;
}

/* ------------------------------------------------------------------ the result */

static void tally(const struct gallery_search *search, struct gallery_result *result)
{
    *result = (struct gallery_result){.complete = true,
                                      .match_threshold = search->match_threshold,
                                      .possible_threshold = search->possible_threshold};
    for (size_t i = 0; i < search->block_count; i++) {
        const struct block_state *block = &search->blocks[i];
        result->of += block->people;
        if (block->status != READ) {
            result->complete = false;
            result->trouble = search->trouble;
            continue;
        }
        result->people += block->people;
        result->comparable += block->comparable;
        result->above_possible += block->above_possible;
        result->above_match += block->above_match;
    }
}

/* Ranks the candidates and reads who they are. */
static bool identify(struct gallery_search *search, MDB_txn *txn, struct gallery_result *result,
                     struct whorl_fault *fault)
{
    qsort(search->hits, search->hit_count, sizeof *search->hits, better_hit);
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

/* Within txn: notices what changed, and either leaves it to more steps or reads it here. */
static enum gallery_finish finish_in(struct gallery_search *search, MDB_txn *txn, void *scratch,
                                     struct gallery_result *result, struct whorl_fault *fault)
{
    size_t unread;
    if (!list_blocks(search, txn, &unread, fault)) {
        return GALLERY_FINISH_FAILED;
    }
    if (unread > 0 && search->round++ < ROUNDS_MAX) {
        return GALLERY_FINISH_AGAIN;
    }
    if (unread > 0 && read_blocks(search, txn, scratch, 0) == GALLERY_STEP_CANCELLED) {
        return GALLERY_FINISH_CANCELLED;
    }
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
    if (search->failed) {
        *fault = search->fault;
        return GALLERY_FINISH_FAILED;
    }
    MDB_txn *txn = whorl_store_read(search->gallery->store, fault);
    if (!txn) {
        return GALLERY_FINISH_FAILED;
    }
    enum gallery_finish finish = finish_in(search, txn, scratch, result, fault);
    whorl_store_done(search->gallery->store, txn);
    return finish;
}

void gallery_result_release(struct gallery_result *result)
{
    for (size_t i = 0; i < result->candidate_count; i++) {
        gallery_person_free(result->candidates[i].person);
    }
    result->candidate_count = 0;
}
