/* Running searches on a few threads, as a server's workers do. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "search_bench.h"

#define THREADS_MAX 64u

/* What the threads of one run share. */
struct team {
    struct gallery_search **searches;
    size_t count;
    pthread_mutex_t mutex;
    bool drained[WAITING];
};

struct member {
    struct team *team;
    size_t at; /* the search it begins with */
    void *scratch;
};

/* The time at which a search is cancelled; 0: never. */
static bool is_late(void *ctx)
{
    const double *limit = ctx;
    return *limit > 0 && wall_seconds() >= *limit;
}

static struct gallery_search *begin(const struct engine *engine, const struct gallery_probe *probes,
                                    size_t count, double *limit)
{
    struct whorl_fault fault;
    const struct gallery_search_params params = {.probes = probes,
                                                 .probe_count = count,
                                                 .match_fpir = engine->match_fpir,
                                                 .possible_fpir = engine->possible_fpir,
                                                 .max_candidates = 10,
                                                 .thorough = engine->thorough,
                                                 .now = time(NULL),
                                                 .cancelled = limit != NULL ? is_late : NULL,
                                                 .ctx = limit};
    struct gallery_search *search = gallery_search_begin(engine->gallery, &params, &fault);
    if (search == NULL) {
        die_fault("beginning a search", &fault);
    }
    return search;
}

/* Steps whichever search has something to do, until none has. */
static void *work(void *arg)
{
    struct member *member = arg;
    struct team *team = member->team;
    for (size_t idle = 0, at = member->at; idle < team->count; at++) {
        const size_t k = at % team->count;
        pthread_mutex_lock(&team->mutex);
        const bool drained = team->drained[k];
        pthread_mutex_unlock(&team->mutex);
        if (drained) {
            idle++;
            continue;
        }
        idle = 0;
        if (gallery_search_step(team->searches[k], member->scratch) != GALLERY_STEP_MORE) {
            pthread_mutex_lock(&team->mutex);
            team->drained[k] = true;
            pthread_mutex_unlock(&team->mutex);
        }
    }
    return NULL;
}

static void run_team(struct member *members, unsigned threads)
{
    pthread_t started[THREADS_MAX];
    for (unsigned i = 1; i < threads; i++) {
        if (pthread_create(&started[i], NULL, work, &members[i]) != 0) {
            die("a thread could not be started", "workers");
        }
    }
    work(&members[0]);
    for (unsigned i = 1; i < threads; i++) {
        pthread_join(started[i], NULL);
    }
}

/* Takes all searches to their end; false in done[] are those that are to go on. */
static void finish_all(struct team *team, struct member *members, struct gallery_result *results)
{
    for (size_t k = 0; k < team->count; k++) {
        struct whorl_fault fault;
        if (team->searches[k] == NULL) {
            continue;
        }
        switch (gallery_search_finish(team->searches[k], members[0].scratch, &results[k], &fault)) {
        case GALLERY_FINISH_AGAIN:
            team->drained[k] = false;
            break;
        case GALLERY_FINISH_DONE:
            gallery_search_free(team->searches[k]);
            team->searches[k] = NULL;
            break;
        default:
            die_fault("finishing a search", &fault);
        }
    }
}

static void run(const struct engine *engine, struct gallery_search **searches, size_t count,
                struct gallery_result *results)
{
    struct team team = {.searches = searches, .count = count, .mutex = PTHREAD_MUTEX_INITIALIZER};
    struct member members[THREADS_MAX];
    const unsigned threads = engine->threads < THREADS_MAX ? engine->threads : THREADS_MAX;
    for (unsigned i = 0; i < threads; i++) {
        members[i] =
            (struct member){&team, i * count / threads, must_alloc(gallery_search_scratch_size())};
    }
    for (bool more = true; more;) {
        run_team(members, threads);
        finish_all(&team, members, results);
        more = false;
        for (size_t k = 0; k < count; k++) {
            more = more || searches[k] != NULL;
        }
    }
    for (unsigned i = 0; i < threads; i++) {
        free(members[i].scratch);
    }
}

void engine_search(const struct engine *engine, const struct gallery_probe *probes, size_t count,
                   struct outcome *out)
{
    const double start = wall_seconds(), processor = processor_seconds();
    struct gallery_search *search = begin(engine, probes, count, NULL);
    run(engine, &search, 1, &out->result);
    out->seconds = wall_seconds() - start;
    out->processor = processor_seconds() - processor;
    if (!out->result.complete) {
        die_fault("a search was not complete", &out->result.trouble);
    }
}

double engine_cancel(const struct engine *engine, const struct gallery_probe *probes, size_t count,
                     double after)
{
    double limit = wall_seconds() + after;
    struct gallery_search *search = begin(engine, probes, count, &limit);
    struct team team = {.searches = &search, .count = 1, .mutex = PTHREAD_MUTEX_INITIALIZER};
    struct member members[THREADS_MAX];
    const unsigned threads = engine->threads < THREADS_MAX ? engine->threads : THREADS_MAX;
    struct gallery_result result;
    for (unsigned i = 0; i < threads; i++) {
        members[i] = (struct member){&team, 0, must_alloc(gallery_search_scratch_size())};
    }
    while (search != NULL && !is_late(&limit)) {
        run_team(members, threads);
        if (!is_late(&limit)) {
            finish_all(&team, members, &result);
        }
    }
    const bool ended = search == NULL;
    gallery_search_free(search);
    const double seconds = ended ? -1 : wall_seconds() - limit;
    if (ended) {
        gallery_result_release(&result);
    }
    for (unsigned i = 0; i < threads; i++) {
        free(members[i].scratch);
    }
    return seconds;
}

double engine_flood(const struct engine *engine, const struct gallery_probe (*probes)[2],
                    size_t count)
{
    const double start = wall_seconds();
    for (size_t first = 0; first < count; first += WAITING) {
        struct gallery_search *searches[WAITING];
        struct gallery_result results[WAITING];
        const size_t n = count - first < WAITING ? count - first : WAITING;
        for (size_t k = 0; k < n; k++) {
            searches[k] = begin(engine, probes[first + k], 2, NULL);
        }
        run(engine, searches, n, results);
        for (size_t k = 0; k < n; k++) {
            gallery_result_release(&results[k]);
        }
    }
    return wall_seconds() - start;
}

/* --- memory --- */

enum { BANDWIDTH_BYTES = 512 << 20, BANDWIDTH_ROUNDS = 4 };

static void *read_through(void *arg)
{
    const uint64_t *words = arg;
    uint64_t sum[8] = {0};
    for (unsigned round = 0; round < BANDWIDTH_ROUNDS; round++) {
        for (size_t i = 0; i < BANDWIDTH_BYTES / sizeof *words; i += 8) {
            for (unsigned k = 0; k < 8; k++) {
                sum[k] ^= words[i + k];
            }
        }
        __asm__ volatile("" : : "r"(sum) : "memory"); /* each round is to be read */
    }
    return NULL;
}

double memory_bandwidth(unsigned threads)
{
    pthread_t started[THREADS_MAX];
    void *memory[THREADS_MAX];
    for (unsigned i = 0; i < threads; i++) {
        memory[i] = must_alloc(BANDWIDTH_BYTES);
        memset(memory[i], (int)i + 1, BANDWIDTH_BYTES);
    }
    const double start = wall_seconds();
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&started[i], NULL, read_through, memory[i]) != 0) {
            die("a thread could not be started", "bandwidth");
        }
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(started[i], NULL);
    }
    const double seconds = wall_seconds() - start;
    for (unsigned i = 0; i < threads; i++) {
        free(memory[i]);
    }
    return (double)threads * BANDWIDTH_ROUNDS * (double)BANDWIDTH_BYTES / seconds;
}

/* --- made-up probes --- */

void pair_capture(struct probe_pair *pair, const struct synth_population *population,
                  uint32_t number, uint32_t impression)
{
    for (unsigned f = 0; f < 2; f++) {
        struct afis_template tmpl;
        const uint8_t position = f == 0 ? 2 : 7;
        if (pair->finger[f] == NULL) {
            pair->finger[f] = must_alloc(afis_finger_size());
        }
        synth_person_capture(population, number, position, impression, &tmpl);
        if (afis_finger_prepare(&tmpl, pair->finger[f]) != AFIS_OK) {
            die("the model made an invalid template", "synthetic people");
        }
        pair->probes[f] = (struct gallery_probe){pair->finger[f], position};
    }
}
