/* Adding, replacing and removing people while searches run. Whom a change concerns is drawn at
 * random from the whole gallery, so that hardly two of them lie in one block. The gallery is as
 * before afterwards, unless the program is broken off. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "search_table.h"

#define BATCH 500u       /* people in one transaction */
#define SECONDS 6.0      /* that changes and searches run side by side */
#define NEW_FROM 200000u /* people who are new are numbered from here on, behind the gallery's */

struct updater {
    const struct bench *bench;
    enum update_kind kind;
    double pace; /* people a second; 0: as many as can be */
    atomic_bool stop;
    uint64_t random;

    struct synth_person *fresh;    /* BATCH people to be added over and over */
    struct gallery_person **taken; /* who were removed, as they were */
    size_t taken_count, taken_room;

    uint64_t changed;
    double seconds, processor;
};

static double thread_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* xorshift64* (Vigna 2016). */
static uint64_t draw(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

/* BATCH people of the gallery, who are there and differ from one another. */
static void draw_people(struct updater *u, struct gallery_person *people[BATCH])
{
    struct whorl_fault fault;
    for (unsigned k = 0; k < BATCH;) {
        char id[16];
        snprintf(id, sizeof id, "syn%09" PRIu64, 1 + (draw(&u->random) >> 11) % u->bench->people);
        if (!gallery_get(u->bench->engine.gallery, id, true, &people[k], &fault)) {
            die_fault("reading a person", &fault);
        }
        bool usable = people[k] != NULL;
        for (unsigned i = 0; usable && i < k; i++) {
            usable = strcmp(people[i]->id, id) != 0;
        }
        if (usable) {
            k++;
        } else {
            gallery_person_free(people[k]);
        }
    }
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
static void replace_batch(struct updater *u)
{
    struct gallery_person *drawn[BATCH], people[BATCH];
    draw_people(u, drawn);
    for (unsigned k = 0; k < BATCH; k++) {
        people[k] = *drawn[k];
    }
    put(u->bench->engine.gallery, people, BATCH);
    for (unsigned k = 0; k < BATCH; k++) {
        gallery_person_free(drawn[k]);
    }
}

static void remove_batch(struct updater *u)
{
    const char *ids[BATCH];
    if (u->taken_count + BATCH > u->taken_room) {
        u->taken_room = 2 * u->taken_room + BATCH;
        u->taken = realloc(u->taken, u->taken_room * sizeof *u->taken);
        if (u->taken == NULL) {
            die("out of memory", "updates");
        }
    }
    draw_people(u, u->taken + u->taken_count);
    for (unsigned k = 0; k < BATCH; k++) {
        ids[k] = u->taken[u->taken_count + k]->id;
    }
    take(u->bench->engine.gallery, ids, BATCH);
    u->taken_count += BATCH;
}

static void put_back(struct updater *u)
{
    for (size_t from = 0; from < u->taken_count; from += BATCH) {
        struct gallery_person people[BATCH];
        for (size_t k = 0; k < BATCH; k++) {
            people[k] = *u->taken[from + k];
        }
        put(u->bench->engine.gallery, people, BATCH);
        for (size_t k = 0; k < BATCH; k++) {
            gallery_person_free(u->taken[from + k]);
        }
    }
    free(u->taken);
}

static void *update(void *arg)
{
    struct updater *u = arg;
    const double start = wall_seconds(), processor = thread_seconds();
    /* What was added has to be removed again, and a gallery keeps half of its people. */
    for (unsigned turn = 0; (!atomic_load(&u->stop) || (u->kind == UPDATE_ADD && turn % 2 != 0)) &&
                            (u->taken_count + BATCH) * 2 < u->bench->people;
         turn++) {
        if (u->kind == UPDATE_ADD) {
            add_batch(u, turn);
        } else if (u->kind == UPDATE_REPLACE) {
            replace_batch(u);
        } else {
            remove_batch(u);
        }
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

static void search_for(struct bench *b, double seconds, struct searching *s)
{
    struct probe_pair pair = {0};
    const double start = wall_seconds();
    *s = (struct searching){0};
    do {
        struct outcome out;
        pair_capture(&pair, &b->population, b->people + NEW_FROM / 2 + s->count++, 1);
        engine_search(&b->engine, pair.probes, 2, &out);
        s->wall += out.seconds;
        s->processor += out.processor;
        gallery_result_release(&out.result);
    } while (wall_seconds() - start < seconds);
    free(pair.finger[0]);
    free(pair.finger[1]);
}

/* Changes at this pace while searches run. */
static void change_beside(struct bench *b, enum update_kind kind, double pace,
                          struct synth_person *fresh, struct updating *result)
{
    struct updater u = {.bench = b,
                        .kind = kind,
                        .pace = pace,
                        .fresh = fresh,
                        .random = 88172645463325252u + (uint64_t)kind + (uint64_t)pace};
    struct searching before, during, after;
    pthread_t thread;
    search_for(b, SECONDS / 2, &before);
    if (pthread_create(&thread, NULL, update, &u) != 0) {
        die("a thread could not be started", "updates");
    }
    search_for(b, SECONDS, &during);
    atomic_store(&u.stop, true);
    pthread_join(thread, NULL);
    put_back(&u);
    search_for(b, SECONDS / 2, &after);
    const double alone = (before.wall + after.wall) / (before.count + after.count);
    const double alone_processor =
        (before.processor + after.processor) / (before.count + after.count);
    *result = (struct updating){
        .rate = (double)u.changed / u.seconds,
        .slower = during.wall / during.count / alone - 1,
        .slower_processor = (during.processor - u.processor) / during.count / alone_processor - 1,
        .writer = u.processor / (double)u.changed};
}

void bench_updates(struct bench *b)
{
    struct synth_person *fresh = must_alloc(BATCH * sizeof *fresh);
    for (uint32_t k = 0; k < BATCH; k++) {
        synth_person_make(&b->population, b->people + NEW_FROM + k, &fresh[k]);
    }
    for (unsigned kind = 0; kind < UPDATE_KINDS; kind++) {
        change_beside(b, kind, UPDATE_PACE, fresh, &b->updates[kind]);
        change_beside(b, kind, 0, fresh, &b->updates_most[kind]);
    }
    free(fresh);
}
