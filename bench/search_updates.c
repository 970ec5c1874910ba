/* Adding, replacing and removing people while searches run. Whom a change concerns is drawn at
 * random from the whole gallery, so that hardly two of them lie in one block: anew in each run,
 * since those who were replaced together lie together afterwards. The gallery holds the same people
 * as before afterwards, unless the program is broken off. */
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "search_table.h"

#define BATCH 500u         /* people in one transaction */
#define DRAWN_MOST 160000u /* who are replaced or removed in a run; half of a smaller gallery */
#define SECONDS 6.0        /* that changes and searches run side by side, at least ... */
#define SEARCHES_LEAST 20u /* ... and as many searches */
#define NEW_FROM 200000u   /* people who are new are numbered from here on, behind the gallery's */

struct updater {
    const struct bench *bench;
    enum update_kind kind;
    double pace; /* people a second; 0: as many as can be */
    atomic_bool stop;
    uint64_t random;

    struct synth_person *fresh;    /* BATCH people to be added over and over */
    struct gallery_person **drawn; /* people of the gallery, each once, as they are */
    size_t drawn_count, next;      /* next: who is replaced or removed next */

    uint64_t changed;
    double seconds, processor;
};

/* xorshift64* (Vigna 2016). */
static uint64_t draw(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

/* Reads people of the gallery, drawn at random: what they are replaced with would come from
 * elsewhere, so that reading them is no part of the work. */
static void draw_people(struct updater *u)
{
    const uint32_t people = u->bench->people;
    const size_t wanted = people / 2 < DRAWN_MOST ? people / 2 / BATCH * BATCH : DRAWN_MOST;
    uint8_t *seen = must_alloc(people / 8 + 1);
    u->drawn = must_alloc((wanted + 1) * sizeof *u->drawn);
    while (u->drawn_count < wanted) {
        struct whorl_fault fault;
        char id[16];
        const uint64_t k = (draw(&u->random) >> 11) % people;
        if ((seen[k / 8] & 1u << k % 8) != 0) {
            continue;
        }
        seen[k / 8] = (uint8_t)(seen[k / 8] | 1u << k % 8);
        snprintf(id, sizeof id, "syn%09" PRIu64, k + 1);
        struct gallery_person **to = &u->drawn[u->drawn_count];
        if (!gallery_get(u->bench->engine.gallery, id, true, to, &fault)) {
            die_fault("reading a person", &fault);
        }
        u->drawn_count += *to != NULL;
    }
    free(seen);
}

static void put(struct gallery *gallery, const struct gallery_person *people, size_t count)
{
    struct whorl_fault fault;
    if (!gallery_put(gallery, people, count, NULL, &fault)) {
        die_fault("changing the gallery", &fault);
    }
}

static void take(struct gallery *gallery, const char *const *ids, size_t count)
{
    struct whorl_fault fault;
    if (!gallery_remove(gallery, ids, count, NULL, &fault)) {
        die_fault("changing the gallery", &fault);
    }
}

/* Adds the fresh people, or removes them again. */
static void add_batch(struct updater *u, unsigned turn)
{
    struct gallery_person people[BATCH];
    const char *ids[BATCH];
    for (unsigned k = 0; k < BATCH; k++) {
        people[k] = u->fresh[k].person;
        ids[k] = people[k].id;
    }
    if (turn % 2 == 0) {
        put(u->bench->engine.gallery, people, BATCH);
    } else {
        take(u->bench->engine.gallery, ids, BATCH);
    }
}

/* Records and templates are written anew, and lie elsewhere afterwards: for the next search they
 * are new, although these are the same. */
static void replace_batch(struct updater *u, size_t from)
{
    struct gallery_person people[BATCH];
    for (size_t k = 0; k < BATCH; k++) {
        people[k] = *u->drawn[from + k];
    }
    put(u->bench->engine.gallery, people, BATCH);
}

static void remove_batch(struct updater *u, size_t from)
{
    const char *ids[BATCH];
    for (size_t k = 0; k < BATCH; k++) {
        ids[k] = u->drawn[from + k]->id;
    }
    take(u->bench->engine.gallery, ids, BATCH);
}

/* Puts back who was removed. That changes more blocks at once than a search reads when it begins:
 * the gallery is made ready as a server has it made every second. */
static void restore(struct updater *u)
{
    struct whorl_fault fault;
    for (size_t from = 0; u->kind == UPDATE_REMOVE && from < u->next; from += BATCH) {
        replace_batch(u, from);
    }
    for (size_t k = 0; k < u->drawn_count; k++) {
        gallery_person_free(u->drawn[k]);
    }
    free(u->drawn);
    if (!gallery_prepare(u->bench->engine.gallery, &fault)) {
        die_fault("making the gallery ready", &fault);
    }
    (void)malloc_trim(0); /* memory is measured later */
}

/* Whether there is another batch to do. What was added has to be removed again. */
static bool goes_on(const struct updater *u, unsigned turn)
{
    const bool stop = atomic_load(&u->stop);
    return u->kind == UPDATE_ADD ? !stop || turn % 2 != 0
                                 : !stop && u->next + BATCH <= u->drawn_count;
}

static void *update(void *arg)
{
    struct updater *u = arg;
    const double start = wall_seconds(), processor = thread_seconds();
    for (unsigned turn = 0; goes_on(u, turn); turn++) {
        if (u->kind == UPDATE_ADD) {
            add_batch(u, turn);
        } else if (u->kind == UPDATE_REPLACE) {
            replace_batch(u, u->next);
        } else {
            remove_batch(u, u->next);
        }
        u->next += BATCH;
        u->changed += BATCH;
        u->seconds = wall_seconds() - start;
        const double ahead = u->pace > 0 ? (double)u->changed / u->pace - u->seconds : 0;
        if (ahead > 0) {
            usleep((unsigned)(ahead * 1e6));
            u->seconds += ahead;
        }
    }
    u->processor = thread_seconds() - processor;
    return NULL;
}

/* Searches for people who are not there, one after the other. */
struct searching {
    uint32_t count;
    double wall, processor; /* all */
};

/* Always for the same people: `count` of them, or as many as that takes (0). */
static struct searching search_for(struct bench *b, uint32_t count)
{
    struct probe_pair pair = {0};
    const double start = wall_seconds();
    struct searching s = {0};
    while (count > 0 ? s.count < count
                     : s.count < SEARCHES_LEAST || wall_seconds() - start < SECONDS) {
        struct outcome out;
        pair_capture(&pair, &b->population, b->people + NEW_FROM / 2 + s.count++, 1);
        engine_search(&b->engine, pair.probes, 2, &out);
        s.wall += out.seconds;
        s.processor += out.processor;
        gallery_result_release(&out.result);
    }
    free(pair.finger[0]);
    free(pair.finger[1]);
    return s;
}

static struct updater prepare_updater(const struct bench *b, enum update_kind kind, double pace,
                                      struct synth_person *fresh)
{
    struct updater u = {.bench = b,
                        .kind = kind,
                        .pace = pace,
                        .fresh = fresh,
                        .random = 88172645463325252u ^ ((uint64_t)time(NULL) << 16) ^
                                  ((uint64_t)kind << 8) ^ (uint64_t)pace};
    if (kind != UPDATE_ADD) {
        draw_people(&u);
    }
    return u;
}

/* Changes people while so many searches run, as in search_for. */
static struct searching change_beside(struct bench *b, struct updater *u, uint32_t count)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, update, u) != 0) {
        die("a thread could not be started", "updates");
    }
    const struct searching during = search_for(b, count);
    atomic_store(&u->stop, true);
    pthread_join(thread, NULL);
    restore(u);
    return during;
}

/* At the goal's pace: searches before, beside and after the changes. */
static struct updating measure_pace(struct bench *b, enum update_kind kind,
                                    struct synth_person *fresh)
{
    struct updater u = prepare_updater(b, kind, UPDATE_PACE, fresh);
    const struct searching before = search_for(b, 0);
    const struct searching during = change_beside(b, &u, before.count);
    const struct searching after = search_for(b, before.count);
    return (struct updating){
        .searches = before.count,
        .rate = (double)u.changed / u.seconds,
        .slower = 2 * during.wall / (before.wall + after.wall) - 1,
        .slower_processor =
            2 * (during.processor - u.processor) / (before.processor + after.processor) - 1,
        .writer = u.processor / (double)u.changed};
}

void bench_updates(struct bench *b, enum update_kind kind)
{
    struct synth_person *fresh = must_alloc(BATCH * sizeof *fresh);
    for (uint32_t k = 0; k < BATCH; k++) {
        synth_person_make(&b->population, b->people + NEW_FROM + k, &fresh[k]);
    }
    b->updates[kind] = measure_pace(b, kind, fresh);
    struct updater u = prepare_updater(b, kind, 0, fresh);
    change_beside(b, &u, 0);
    b->updates_most[kind] = (double)u.changed / u.seconds;
    free(fresh);
}
