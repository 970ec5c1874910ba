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

#define BATCH 2048u        /* people in one transaction, as a source of records has it */
#define DRAWN_MOST 240000u /* who are replaced or removed in a run; half of a smaller gallery */
#define TURNS 6u           /* without changes, and beside them */
#define SECONDS 1.0        /* of each, at least ... */
#define SEARCHES_LEAST 4u  /* ... and as many searches */
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

    uint64_t changed; /* in all, as what follows */
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
    double until = 0; /* seconds from the start */
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
        until = u->pace > 0 ? (turn + 1) * BATCH / u->pace : 0;
        const double ahead = until - (wall_seconds() - start);
        if (ahead > 0) {
            usleep((unsigned)(ahead * 1e6));
        }
    }
    const double seconds = wall_seconds() - start;
    u->seconds += seconds > until ? seconds : until;
    u->processor += thread_seconds() - processor;
    return NULL;
}

/* Searches for people who are not there, one after the other. */
struct searching {
    uint32_t count;
    double wall, processor; /* all */
};

/* Always for the same people: `count` of them, or as many as that takes (0). One more comes first,
 * which meets whatever changed, or did not, before. */
static struct searching search_for(struct bench *b, uint32_t count)
{
    struct probe_pair pair = {0};
    struct searching s = {0};
    double start = 0;
    for (bool first = true;
         first || (count > 0 ? s.count < count
                             : s.count < SEARCHES_LEAST || wall_seconds() - start < SECONDS);
         first = false) {
        struct outcome out;
        pair_capture(&pair, &b->population, b->people + NEW_FROM / 2 + s.count, 1);
        engine_search(&b->engine, pair.probes, 2, &out);
        gallery_result_release(&out.result);
        if (first) {
            start = wall_seconds();
            continue;
        }
        s.count++;
        s.wall += out.seconds;
        s.processor += out.processor;
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
    atomic_store(&u->stop, false);
    if (pthread_create(&thread, NULL, update, u) != 0) {
        die("a thread could not be started", "updates");
    }
    const struct searching during = search_for(b, count);
    atomic_store(&u->stop, true);
    pthread_join(thread, NULL);
    return during;
}

/* Whether nobody is left whom changes could concern. */
static bool is_used_up(const struct updater *u)
{
    return u->kind != UPDATE_ADD && u->next + BATCH > u->drawn_count;
}

/* At the goal's pace: searches without changes and beside them, in turn, since the machine's speed
 * changes by the minute. */
static void measure_pace(struct bench *b, enum update_kind kind, struct synth_person *fresh,
                         struct updating *found)
{
    struct updater u = prepare_updater(b, kind, UPDATE_PACE, fresh);
    double without = 0, beside = 0; /* processor seconds */
    for (unsigned turn = 0; turn < TURNS && !is_used_up(&u); turn++) {
        const double writer = u.processor, seconds = u.seconds;
        const struct searching quiet = search_for(b, 0);
        const struct searching during = change_beside(b, &u, quiet.count);
        found->searches += quiet.count;
        numbers_add(&found->slower, during.wall / quiet.wall - 1);
        without += quiet.processor;
        /* The writer worked a little longer than these searches. */
        beside += during.processor - (u.processor - writer) * during.wall / (u.seconds - seconds);
    }
    found->rate = (double)u.changed / u.seconds;
    found->slower_processor = beside / without - 1;
    found->writer = u.processor / (double)u.changed;
    restore(&u);
}

void bench_updates(struct bench *b, enum update_kind kind)
{
    struct synth_person *fresh = must_alloc(BATCH * sizeof *fresh);
    for (uint32_t k = 0; k < BATCH; k++) {
        synth_person_make(&b->population, b->people + NEW_FROM + k, &fresh[k]);
    }
    measure_pace(b, kind, fresh, &b->updates[kind]);
    struct updater u = prepare_updater(b, kind, 0, fresh);
    change_beside(b, &u, 0);
    restore(&u);
    b->updates_most[kind] = (double)u.changed / u.seconds;
    free(fresh);
}
