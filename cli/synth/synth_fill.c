#include "cli/synth/synth_fill.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "whorl/msg.h"

enum { BATCH = 2048, SLOTS_MAX = 18 };

/* A batch on its way from the thread that makes it to the one that writes it. */
struct slot {
    struct synth_person *people;
    uint32_t first, count;
    bool ready;
};

struct belt {
    const struct synth_fill *fill;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct slot *slots;
    unsigned slot_count;
    uint32_t next, written; /* batches handed out, batches whose slot is free again */
    uint32_t first, batches;
    bool stop;
};

/* Waits for a batch to make and a slot for it; NULL when there is none left. */
static struct slot *take(struct belt *belt)
{
    struct slot *slot = NULL;
    pthread_mutex_lock(&belt->mutex);
    while (!belt->stop && belt->next < belt->batches &&
           belt->next - belt->written >= belt->slot_count) {
        pthread_cond_wait(&belt->changed, &belt->mutex);
    }
    if (!belt->stop && belt->next < belt->batches) {
        const uint32_t batch = belt->next++;
        const uint32_t left = belt->fill->people - (belt->first - 1) - batch * BATCH;
        slot = &belt->slots[batch % belt->slot_count];
        slot->first = belt->first + batch * BATCH;
        slot->count = left < BATCH ? left : BATCH;
    }
    pthread_mutex_unlock(&belt->mutex);
    return slot;
}

static void *make(void *arg)
{
    struct belt *belt = arg;
    for (struct slot *slot; (slot = take(belt)) != NULL;) {
        for (uint32_t i = 0; i < slot->count; i++) {
            synth_person_make(&belt->fill->population, slot->first + i, &slot->people[i]);
        }
        pthread_mutex_lock(&belt->mutex);
        slot->ready = true;
        pthread_cond_broadcast(&belt->changed);
        pthread_mutex_unlock(&belt->mutex);
    }
    return NULL;
}

/* Nobody of a slot is in the gallery: it holds the people up to the first slot, and no others. */
static bool record(const struct synth_fill *fill, const struct gallery_person *people, size_t count,
                   struct whorl_fault *fault)
{
    struct changed_person changed[BATCH];
    for (size_t i = 0; i < count; i++) {
        changed[i] = (struct changed_person){people[i].id, people[i].source, false};
    }
    return fill->record == NULL || fill->record(fill->record_ctx, changed, count, fault);
}

static bool write_slot(struct gallery *gallery, const struct synth_fill *fill,
                       const struct slot *slot, uint32_t *added, struct whorl_fault *fault)
{
    struct gallery_person *people = calloc(slot->count, sizeof *people);
    if (people == NULL) {
        return whorl_fail(fault, "", "out of memory");
    }
    for (uint32_t i = 0; i < slot->count; i++) {
        people[i] = slot->people[i].person;
    }
    size_t fresh = 0;
    bool ok = record(fill, people, slot->count, fault) &&
              gallery_put(gallery, people, slot->count, &fresh, fault);
    *added += (uint32_t)fresh;
    free(people);
    return ok;
}

/* Writes the batches in their order. */
static bool write_all(struct gallery *gallery, struct belt *belt, uint32_t *added,
                      struct whorl_fault *fault)
{
    for (uint32_t batch = 0; batch < belt->batches; batch++) {
        struct slot *slot = &belt->slots[batch % belt->slot_count];
        pthread_mutex_lock(&belt->mutex);
        while (!slot->ready) {
            pthread_cond_wait(&belt->changed, &belt->mutex);
        }
        pthread_mutex_unlock(&belt->mutex);
        bool ok = write_slot(gallery, belt->fill, slot, added, fault);
        pthread_mutex_lock(&belt->mutex);
        slot->ready = false;
        belt->written++;
        belt->stop = !ok;
        pthread_cond_broadcast(&belt->changed);
        pthread_mutex_unlock(&belt->mutex);
        if (!ok) {
            return false;
        }
        if (belt->fill->progress != NULL) {
            belt->fill->progress(belt->fill->ctx, slot->first + slot->count - 1);
        }
    }
    return true;
}

/* Who is there already: the first `*there` people, of whom the last must be who he would be. */
static bool look(struct gallery *gallery, const struct synth_fill *fill, uint32_t *there,
                 struct whorl_fault *fault)
{
    struct gallery_counts counts;
    if (!gallery_count(gallery, &counts, fault)) {
        return false;
    }
    if (counts.people == 0) {
        *there = 0;
        return true;
    }
    struct synth_person *last = malloc(sizeof *last);
    struct gallery_person *found = NULL;
    if (last == NULL || counts.people > SYNTH_PEOPLE_MAX) {
        free(last);
        return whorl_fail(fault, "", "out of memory, or more people than can be made");
    }
    *there = (uint32_t)counts.people;
    synth_person_make(&fill->population, *there, last);
    bool ok = gallery_get(gallery, last->id, true, &found, fault);
    bool same = found != NULL && found->print_count == last->person.print_count;
    for (size_t i = 0; same && i < found->print_count; i++) {
        same = found->prints[i].len == last->prints[i].len &&
               memcmp(found->prints[i].packed, last->prints[i].packed, last->prints[i].len) == 0;
    }
    gallery_person_free(found);
    free(last);
    return ok && (same || whorl_fail(fault, "",
                                     "the gallery holds other people: it must be empty, "
                                     "or one that the same population was put into"));
}

static bool run(struct gallery *gallery, struct belt *belt, uint32_t *added,
                struct whorl_fault *fault)
{
    pthread_t threads[SLOTS_MAX];
    unsigned started = 0;
    while (started < belt->fill->threads &&
           pthread_create(&threads[started], NULL, make, belt) == 0) {
        started++;
    }
    bool ok = started > 0 ? write_all(gallery, belt, added, fault)
                          : whorl_fail(fault, "", "no thread could be started");
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    return ok;
}

bool synth_fill(struct gallery *gallery, const struct synth_fill *fill, uint32_t *added,
                struct whorl_fault *fault)
{
    uint32_t there;
    struct slot slots[SLOTS_MAX] = {{0}};
    *added = 0;
    if (!look(gallery, fill, &there, fault)) {
        return false;
    }
    if (there >= fill->people) {
        return true;
    }
    struct belt belt = {.fill = fill,
                        .mutex = PTHREAD_MUTEX_INITIALIZER,
                        .changed = PTHREAD_COND_INITIALIZER,
                        .slots = slots,
                        .slot_count = fill->threads + 2 < SLOTS_MAX ? fill->threads + 2 : SLOTS_MAX,
                        .first = there + 1,
                        .batches = (fill->people - there + BATCH - 1) / BATCH};
    bool ok = true;
    for (unsigned i = 0; i < belt.slot_count && ok; i++) {
        slots[i].people = calloc(BATCH, sizeof *slots[i].people);
        ok = slots[i].people != NULL || whorl_fail(fault, "", "out of memory");
    }
    ok = ok && run(gallery, &belt, added, fault);
    for (unsigned i = 0; i < belt.slot_count; i++) {
        free(slots[i].people);
    }
    return ok;
}
