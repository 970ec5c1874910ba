#include "crowd.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "afis/sift.h"
#include "glance.h"
#include "rank.h"

#define SIFT_CHUNKS 8u   /* taken at a time: some 30 µs for each search */
#define LATER_CHUNKS 32u /* the same where few of their people are looked at */
#define MANY 8u          /* searches that together rank so many that whole chunks are read */
#define RANK_AHEAD 1u    /* chunks by which people are fetched ahead of the one that is read, */
#define GLANCE_AHEAD 4u  /* ... of whom it has few */
#define HEADERS_AHEAD 3u /* and headers ahead of those */
#define WAIT_NS 4000000L

/* Tables of those who are in the crowd. */
struct cohort {
    struct rank_group *group;
    size_t count;   /* searches in it */
    unsigned users; /* threads that scan with them */
};

struct crowd {
    pthread_mutex_t mutex; /* guards all below, and members' left, guests, next and chunks' taken */
    pthread_cond_t changed;
    struct gallery_search *members;
    size_t count, at;      /* at: the chunk that was taken last */
    unsigned runs;         /* begun since the members changed, up to 2 */
    struct cohort *cohort; /* of the members as they are, or NULL */
    unsigned retiring;     /* cohorts that are still in use but not to be used again */
};

/* Some chunks, and the searches that they are read for: the first is the one that takes them. */
struct run {
    size_t from, to, count;
    struct gallery_search *searches[AFIS_SIFT_PROBES];
    struct cohort *cohort; /* has them all; NULL: each has to read alone */
};

struct crowd *crowd_new(void)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);
    if (crowd) {
        pthread_condattr_t clock;
        pthread_condattr_init(&clock);
        pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
        pthread_cond_init(&crowd->changed, &clock);
        pthread_condattr_destroy(&clock);
        pthread_mutex_init(&crowd->mutex, NULL);
    }
    return crowd;
}

void crowd_free(struct crowd *crowd)
{
    if (!crowd) {
        return;
    }
    pthread_cond_destroy(&crowd->changed);
    pthread_mutex_destroy(&crowd->mutex);
    free(crowd);
}

/* ------------------------------------------------------------------ tables */

/* Whether a table of `of` searches is quicker for `count` of them than each one's own: for a print
 * it takes 60 ns and 3 for each of all, those take 36 each. */
static bool is_quicker(size_t of, size_t count)
{
    return 60 + 3 * of <= 36 * count;
}

static void free_cohort(struct cohort *cohort)
{
    rank_group_free(cohort->group);
    free(cohort);
}

/* The members have changed: their tables are of no more use. With the mutex held. */
static void retire(struct crowd *crowd)
{
    struct cohort *cohort = crowd->cohort;
    crowd->runs = 0;
    crowd->cohort = NULL;
    if (cohort && cohort->users > 0) {
        crowd->retiring++;
    } else if (cohort) {
        free_cohort(cohort);
    }
}

/* With the mutex held. */
static void release(struct crowd *crowd, struct cohort *cohort)
{
    if (cohort && --cohort->users == 0 && cohort != crowd->cohort) {
        free_cohort(cohort);
        crowd->retiring--;
        pthread_cond_broadcast(&crowd->changed);
    }
}

/* The tables of all members that can share them; NULL: there are none. They are made in the second
 * run of the same members, not for each who comes or leaves in between. With the mutex held. */
static struct cohort *cohort_of(struct crowd *crowd)
{
    crowd->runs += crowd->runs < 3;
    if (crowd->runs != 2) {
        return crowd->cohort;
    }
    struct gallery_search *list[AFIS_SIFT_PROBES];
    size_t count = 0;
    for (struct gallery_search *m = crowd->members; m && count < AFIS_SIFT_PROBES; m = m->beside) {
        if (m->stage == STAGE_SIFT && m->shareable) {
            list[count++] = m;
        }
    }
    struct cohort *cohort = is_quicker(count, count) ? calloc(1, sizeof *cohort) : NULL;
    if (cohort) {
        cohort->count = count;
        cohort->group = rank_group_new(list, count);
        if (!cohort->group) { /* too little locked memory: each reads alone */
            free(cohort);
            cohort = NULL;
        }
    }
    crowd->cohort = cohort;
    return cohort;
}

/* ------------------------------------------------------------------ coming and leaving */

void crowd_join(struct gallery_search *search)
{
    struct crowd *crowd = search->gallery->crowd;
    pthread_mutex_lock(&crowd->mutex);
    search->left = 0;
    for (size_t i = 0; i < search->view->count; i++) {
        struct chunk_state *state = &search->states[i];
        state->taken = search_chunk_done(search, state);
        search->left += !state->taken;
    }
    search->guests = 0;
    search->next = crowd->count > 0 && crowd->at < search->view->count ? crowd->at : 0;
    search->beside = crowd->members;
    search->joined = true;
    crowd->members = search;
    crowd->count++;
    if (search->stage == STAGE_SIFT) {
        retire(crowd);
    }
    pthread_mutex_unlock(&crowd->mutex);
}

void crowd_leave(struct gallery_search *search)
{
    struct crowd *crowd = search->gallery->crowd;
    pthread_mutex_lock(&crowd->mutex);
    if (search->joined) {
        struct gallery_search **at = &crowd->members;
        while (*at != search) {
            at = &(*at)->beside;
        }
        *at = search->beside;
        search->joined = false;
        crowd->count--;
        if (search->stage == STAGE_SIFT) {
            retire(crowd);
        }
        while (search->guests > 0 || crowd->retiring > 0) {
            pthread_cond_wait(&crowd->changed, &crowd->mutex);
        }
    }
    pthread_mutex_unlock(&crowd->mutex);
}

/* ------------------------------------------------------------------ taking chunks */

static bool all_free(const struct gallery_search *search, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (search->states[i].taken) {
            return false;
        }
    }
    return true;
}

static void take(struct gallery_search *search, struct run *run)
{
    for (size_t i = run->from; i < run->to; i++) {
        search->states[i].taken = true;
    }
    search->left -= run->to - run->from;
    run->searches[run->count++] = search;
}

/* Takes for all members that are as far as this one and have yet to read these chunks; in the first
 * stage for those whom the tables are of. */
static void take_others(struct crowd *crowd, struct run *run)
{
    struct gallery_search *search = run->searches[0];
    const bool sifts = search->stage == STAGE_SIFT;
    struct cohort *cohort = sifts ? cohort_of(crowd) : NULL;
    if (sifts && (!cohort || rank_group_find(cohort->group, search) < 0)) {
        return;
    }
    for (struct gallery_search *m = crowd->members; m && run->count < AFIS_SIFT_PROBES;
         m = m->beside) {
        if (m != search && m->view == search->view && m->stage == search->stage &&
            (!sifts || rank_group_find(cohort->group, m) >= 0) && all_free(m, run->from, run->to)) {
            take(m, run);
            m->guests++;
        }
    }
    if (sifts && is_quicker(cohort->count, run->count)) {
        run->cohort = cohort;
        cohort->users++;
    }
}

/* The search's next chunks, from where it is, then from the start. false: all are taken. */
static bool take_run(struct gallery_search *search, struct run *run)
{
    struct crowd *crowd = search->gallery->crowd;
    const size_t count = search->view->count;
    *run = (struct run){0};
    if (search->left == 0) {
        return false;
    }
    while (search->next == count || search->states[search->next].taken) {
        search->next = search->next == count ? 0 : search->next + 1;
    }
    const size_t most = search->stage == STAGE_SIFT ? SIFT_CHUNKS : LATER_CHUNKS;
    run->from = run->to = search->next;
    while (run->to < count && run->to - run->from < most && !search->states[run->to].taken) {
        run->to++;
    }
    search->next = crowd->at = run->to;
    take(search, run);
    if (crowd->count > 1) {
        take_others(crowd, run);
    }
    return true;
}

/* ------------------------------------------------------------------ reading them */

static void sift_alone(const struct run *run, const struct chunk *chunk, size_t i,
                       struct ranking *ranking)
{
    for (size_t s = 0; s < run->count; s++) {
        struct gallery_search *search = run->searches[s];
        uint16_t *levels = search->ranks + search->view->chunks[i].before;
        rank_sift(search, chunk, ranking, levels, &search->states[i]);
        search_sifted(&search->view->chunks[i], levels, &search->states[i]);
    }
}

static bool sift_together(const struct run *run, const struct chunk *chunk, size_t i,
                          struct ranking *ranking)
{
    struct chunk_state states[AFIS_SIFT_PROBES];
    uint16_t *levels[AFIS_SIFT_PROBES] = {NULL};
    int member[AFIS_SIFT_PROBES];
    uint32_t members = 0;
    if (!run->cohort) {
        return false;
    }
    for (size_t s = 0; s < run->count; s++) {
        struct gallery_search *search = run->searches[s];
        member[s] = rank_group_find(run->cohort->group, search);
        members |= (uint32_t)1 << member[s];
        levels[member[s]] = search->ranks + search->view->chunks[i].before;
    }
    if (!rank_group_sift(run->cohort->group, members, chunk, ranking, levels, states)) {
        return false;
    }
    for (size_t s = 0; s < run->count; s++) {
        struct gallery_search *search = run->searches[s];
        search->states[i].comparable = states[member[s]].comparable;
        search_sifted(&search->view->chunks[i], levels[member[s]], &search->states[i]);
    }
    return true;
}

/* It was verified when the view was made; its length is its own. */
static bool open_chunk(const struct view_chunk *known, struct chunk *chunk, const char **why)
{
    *why = known->why ? known->why : "has not been read";
    return known->bytes && chunk_open(known->bytes, SIZE_MAX, false, chunk, why);
}

/* A chunk ahead of the one that is read, of which memory is to be fetched meanwhile: those who are
 * left lie too far apart for the processor to foresee, and all at once would have to wait for one
 * another. In the sift it foresees the words. */
struct ahead {
    bool open; /* else there is none */
    size_t i;  /* the view's number of it */
    struct chunk chunk;
};

/* What search s of the run reads of it; of words that most are ranked of, its share of all. */
static void fetch_people(const struct run *run, size_t s, const struct ahead *ahead,
                         struct glancing *glancing)
{
    const struct gallery_search *search = run->searches[s];
    const struct chunk *chunk = &ahead->chunk;
    if (!ahead->open) {
        return;
    }
    const uint16_t *ranks = search->ranks + search->view->chunks[ahead->i].before;
    if (search->stage == STAGE_RANK && run->count >= MANY) {
        const size_t from = chunk->prints * s / run->count,
                     to = chunk->prints * (s + 1) / run->count;
        fetch_bytes(chunk->words + from * AFIS_SIEVE_WORDS, (to - from) * CHUNK_PRINT);
    } else if (search->stage == STAGE_RANK) {
        rank_fetch(search, chunk, ranks);
    } else if (search_concerns(search, STAGE_GLANCE, &search->states[ahead->i])) {
        glance_fetch(search, chunk, glancing, ranks);
    }
}

static void rank_each(const struct run *run, const struct chunk *chunk, size_t i,
                      const struct ahead *ahead, const struct scratch *scratch)
{
    for (size_t s = 0; s < run->count; s++) {
        const struct gallery_search *search = run->searches[s];
        fetch_people(run, s, ahead, scratch->glancing);
        rank_sieved(search, chunk, scratch->ranking,
                    search->ranks + search->view->chunks[i].before);
    }
}

static void glance_each(const struct run *run, const struct chunk *chunk, size_t i,
                        const struct ahead *ahead, const struct scratch *scratch)
{
    for (size_t s = 0; s < run->count; s++) {
        const struct gallery_search *search = run->searches[s];
        const uint64_t before = search->view->chunks[i].before;
        struct chunk_state *state = &search->states[i];
        fetch_people(run, s, ahead, scratch->glancing);
        state->top = search_concerns(search, STAGE_GLANCE, state)
                         ? glance_chunk(search, chunk, scratch->glancing, scratch->matcher,
                                        search->ranks + before, search->impressions + before)
                         : RANK_NOBODY;
    }
}

/* Opens chunk i if it is the run's, and fetches the header of one behind it. */
static void look_ahead(const struct run *run, size_t i, struct ahead *ahead)
{
    const struct view *view = run->searches[0]->view;
    const char *unused;
    if (i + HEADERS_AHEAD < view->count && view->chunks[i + HEADERS_AHEAD].bytes) {
        fetch_bytes(view->chunks[i + HEADERS_AHEAD].bytes, 1);
    }
    ahead->i = i;
    ahead->open = i < run->to && run->searches[0]->stage != STAGE_SIFT && /* else levels change */
                  open_chunk(&view->chunks[i], &ahead->chunk, &unused);
}

/* What is read of chunk i beside words. */
static void fetch_rows(const struct run *run, size_t i)
{
    const struct view *view = run->searches[0]->view;
    struct chunk chunk;
    const char *unused;
    if (i < view->count && open_chunk(&view->chunks[i], &chunk, &unused)) {
        rank_fetch_rows(run->searches[0], &chunk);
    }
}

static void read_chunk(const struct run *run, const struct chunk *chunk, size_t i,
                       const struct ahead *ahead, const struct scratch *scratch)
{
    switch (run->searches[0]->stage) {
    case STAGE_RANK:
        rank_each(run, chunk, i, ahead, scratch);
        break;
    case STAGE_GLANCE:
        glance_each(run, chunk, i, ahead, scratch);
        break;
    default:
        if (!sift_together(run, chunk, i, scratch->ranking)) {
            sift_alone(run, chunk, i, scratch->ranking);
        }
    }
}

static void read_chunks(const struct run *run, const struct scratch *scratch)
{
    const struct view *view = run->searches[0]->view;
    const enum stage stage = run->searches[0]->stage;
    const size_t by = stage == STAGE_GLANCE ? GLANCE_AHEAD : RANK_AHEAD;
    struct ahead ahead;
    for (size_t i = run->from; i < run->from + by; i++) {
        look_ahead(run, i, &ahead);
        for (size_t s = 0; s < run->count; s++) {
            fetch_people(run, s, &ahead, scratch->glancing);
        }
        fetch_rows(run, i + 1);
    }
    for (size_t i = run->from; i < run->to; i++) {
        const char *why;
        struct chunk chunk;
        const bool readable = open_chunk(&view->chunks[i], &chunk, &why);
        look_ahead(run, i + by, &ahead);
        if (readable) {
            read_chunk(run, &chunk, i, &ahead, scratch);
        }
        fetch_rows(run, i + by + 1);
        for (size_t s = 0; s < run->count; s++) {
            struct chunk_state *state = &run->searches[s]->states[i];
            state->why = readable ? NULL : why;
            if (readable) {
                state->stage = (uint8_t)stage;
                search_top(run->searches[s], i, stage, state);
            }
        }
    }
}

static void read_run(const struct run *run, const struct scratch *scratch)
{
    const struct view *view = run->searches[0]->view;
    const enum stage stage = run->searches[0]->stage;
    read_chunks(run, scratch);
    for (size_t s = 0; s < run->count; s++) {
        struct gallery_search *search = run->searches[s];
        pthread_mutex_lock(&search->mutex);
        search_count(search, run->from, run->to);
        for (size_t i = run->from; i < run->to; i++) {
            search->people_read +=
                stage == STAGE_SIFT && !search->states[i].why ? view->chunks[i].people : 0;
        }
        levels_narrow(&search->levels, search_wanted(search), search->view->rows);
        pthread_mutex_unlock(&search->mutex);
    }
}

static void end_run(struct crowd *crowd, struct run *run)
{
    bool wake = false;
    pthread_mutex_lock(&crowd->mutex);
    for (size_t s = 1; s < run->count; s++) {
        wake |= --run->searches[s]->guests == 0;
    }
    release(crowd, run->cohort);
    if (wake) {
        pthread_cond_broadcast(&crowd->changed);
    }
    pthread_mutex_unlock(&crowd->mutex);
}

/* All chunks are taken: waits a little for those whom others read just now. true: they have. */
static bool wait_for_guests(struct gallery_search *search)
{
    struct crowd *crowd = search->gallery->crowd;
    struct timespec limit;
    int rc = 0;
    clock_gettime(CLOCK_MONOTONIC, &limit);
    limit.tv_nsec += WAIT_NS;
    limit.tv_sec += limit.tv_nsec / 1000000000;
    limit.tv_nsec %= 1000000000;
    pthread_mutex_lock(&crowd->mutex);
    while (search->guests > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&crowd->changed, &crowd->mutex, &limit);
    }
    const bool done = search->guests == 0;
    pthread_mutex_unlock(&crowd->mutex);
    return done;
}

enum gallery_step crowd_read(struct gallery_search *search, const struct scratch *scratch,
                             int64_t until)
{
    struct crowd *crowd = search->gallery->crowd;
    for (;;) {
        struct run run;
        if (search_cancelled(search)) {
            return GALLERY_STEP_CANCELLED;
        }
        pthread_mutex_lock(&crowd->mutex);
        const bool more = take_run(search, &run);
        pthread_mutex_unlock(&crowd->mutex);
        if (more) {
            read_run(&run, scratch);
            end_run(crowd, &run);
        } else if (wait_for_guests(search)) {
            return GALLERY_STEP_DRAINED;
        }
        if (until && search_now_ns() >= until) {
            return GALLERY_STEP_MORE;
        }
    }
}
