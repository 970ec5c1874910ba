#include "cli/enrol/enrol.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/enrol/enrol_duplicates.h"
#include "cli/enrol/enrol_print.h"
#include "whorl/msg.h"

#define BATCH 256u
#define IN_FLIGHT (2u * BATCH)
#define SHOW_NS 100000000LL

/* One person on the way. */
struct work {
    struct work *next;
    struct manifest_person *source;
    struct enrol_prints prints;
};

struct line {
    struct work *first, **last;
    size_t count;
};

struct enrol {
    struct gallery *gallery;
    struct manifest *manifest;
    const struct enrol_options *options;
    enrol_say *say;
    enrol_show *show;
    void *ctx;
    struct enrol_totals *totals; /* of the writer, but for bad_lines */

    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t changed;
    struct line todo, done;
    size_t in_flight; /* from the reader to the writer's end */
    unsigned extracting;
    bool read_all, failed;
    double fraction;
    uint64_t bad_lines;
    struct whorl_fault fault;

    pthread_mutex_t terminal; /* say and show: one thread at a time */
};

static void line_push(struct line *line, struct work *work)
{
    work->next = NULL;
    if (line->count++ == 0) {
        line->first = work;
    } else {
        *line->last = work;
    }
    line->last = &work->next;
}

static struct work *line_pop(struct line *line)
{
    struct work *work = line->first;
    if (line->count > 0) {
        line->first = work->next;
        line->count--;
    }
    return work;
}

__attribute__((format(printf, 2, 3))) static void report(struct enrol *enrol, const char *format,
                                                         ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pthread_mutex_lock(&enrol->terminal);
    enrol->say(enrol->ctx, text);
    pthread_mutex_unlock(&enrol->terminal);
}

static void fail(struct enrol *enrol, const struct whorl_fault *fault)
{
    pthread_mutex_lock(&enrol->mutex);
    if (!enrol->failed) {
        enrol->fault = *fault;
    }
    enrol->failed = true;
    pthread_cond_broadcast(&enrol->changed);
    pthread_mutex_unlock(&enrol->mutex);
}

static void free_work(struct work *work)
{
    manifest_person_free(work->source);
    free(work->prints.list);
    free(work);
}

/* ------------------------------------------------------------------ the extracting threads */

static void extract(struct enrol *enrol, struct work *work)
{
    struct gallery_person *known = NULL;
    struct whorl_fault fault = {{0}, {0}};
    if (!gallery_get(enrol->gallery, work->source->id, false, &known, &fault)) {
        fail(enrol, &fault);
    }
    for (size_t i = 0; i < work->source->print_count; i++) {
        if (!enrol_print_make(manifest_dir(enrol->manifest), work->source, i, known,
                              &work->prints)) {
            whorl_fail(&fault, "", "out of memory");
            fail(enrol, &fault);
        }
    }
    gallery_person_free(known);
}

static void *extractor(void *arg)
{
    struct enrol *enrol = arg;
    pthread_mutex_lock(&enrol->mutex);
    for (;;) {
        while (enrol->todo.count == 0 && !enrol->read_all && !enrol->failed) {
            pthread_cond_wait(&enrol->changed, &enrol->mutex);
        }
        struct work *work = enrol->failed ? NULL : line_pop(&enrol->todo);
        if (!work) {
            break;
        }
        pthread_mutex_unlock(&enrol->mutex);
        extract(enrol, work);
        pthread_mutex_lock(&enrol->mutex);
        line_push(&enrol->done, work);
        pthread_cond_broadcast(&enrol->changed);
    }
    enrol->extracting--;
    pthread_cond_broadcast(&enrol->changed);
    pthread_mutex_unlock(&enrol->mutex);
    return NULL;
}

/* ------------------------------------------------------------------ the writer */

/* People that go into one transaction. */
struct batch {
    size_t count;
    struct work *work[BATCH];
    struct gallery_person *old[BATCH];
    struct enrol_person *merged; /* BATCH of them */
};

static void report_files(struct enrol *enrol, const struct work *work)
{
    for (size_t i = 0; i < work->prints.count; i++) {
        const struct enrol_print *print = &work->prints.list[i];
        const struct manifest_print *source = &work->source->prints[print->source];
        if (print->state != ENROL_PRINT_BAD) {
            continue;
        }
        enrol->totals->bad_files++;
        report(enrol, "%s:%lu: %s: %s", manifest_path(enrol->manifest), source->line, source->file,
               print->fault.text);
    }
}

/* Merges a person with what the gallery has. Returns whether there is something to put. */
static bool take_in(struct enrol *enrol, struct batch *batch, struct work *work,
                    struct whorl_fault *fault, bool *ok)
{
    size_t i = batch->count;
    struct whorl_fault why = {{0}, {0}};
    batch->work[i] = work;
    *ok = gallery_get(enrol->gallery, work->source->id, true, &batch->old[i], fault);
    if (!*ok) {
        return false;
    }
    report_files(enrol, work);
    if (!enrol_person_merge(work->source, &work->prints, batch->old[i], &batch->merged[i], &why)) {
        report(enrol, "%s:%lu: person %s %s", manifest_path(enrol->manifest), work->source->line,
               work->source->id, why.text);
        enrol->totals->people_skipped++;
        return false;
    }
    if (batch->merged[i].replaced > 0) {
        report(enrol, "%s:%lu: person %s: %zu prints replaced by others",
               manifest_path(enrol->manifest), work->source->line, work->source->id,
               batch->merged[i].replaced);
    }
    if (!batch->merged[i].changed) {
        enrol->totals->people_same++;
    }
    return batch->merged[i].changed;
}

static void drop_last(struct enrol *enrol, struct batch *batch, size_t i)
{
    gallery_person_free(batch->old[i]);
    batch->old[i] = NULL;
    free_work(batch->work[i]);
    pthread_mutex_lock(&enrol->mutex);
    enrol->in_flight--;
    pthread_cond_broadcast(&enrol->changed);
    pthread_mutex_unlock(&enrol->mutex);
}

static bool record(struct enrol *enrol, const struct batch *batch, struct whorl_fault *fault)
{
    struct changed_person people[BATCH];
    for (size_t i = 0; i < batch->count; i++) {
        const struct gallery_person *person = &batch->merged[i].person;
        people[i] = (struct changed_person){person->id, person->source, batch->old[i] != NULL};
    }
    return enrol->options->record(enrol->options->record_ctx, people, batch->count, fault);
}

/* All of a batch that is in the gallery now, whatever goes wrong after it. */
static void count_in(struct enrol_totals *totals, const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        totals->people_added += !batch->old[i];
        totals->people_changed += batch->old[i] != NULL;
        totals->prints_added += batch->merged[i].added;
        totals->prints_replaced += batch->merged[i].replaced;
    }
}

/* Names who of a batch's new people has the fingers of somebody else. */
static bool find_duplicates(struct enrol *enrol, const struct batch *batch,
                            struct whorl_fault *fault)
{
    for (size_t i = 0; i < batch->count; i++) {
        char text[512];
        if (batch->old[i]) {
            continue;
        }
        if (!enrol_duplicates_of(enrol->gallery, &batch->merged[i].person, text, sizeof text,
                                 fault)) {
            return false;
        }
        if (text[0]) {
            enrol->totals->duplicates++;
            report(enrol, "%s:%lu: %s", manifest_path(enrol->manifest),
                   batch->work[i]->source->line, text);
        }
    }
    return true;
}

static bool put(struct enrol *enrol, struct batch *batch, struct whorl_fault *fault)
{
    struct gallery_person people[BATCH];
    bool ok = true;
    for (size_t i = 0; i < batch->count; i++) {
        people[i] = batch->merged[i].person;
    }
    if (batch->count > 0) {
        ok = record(enrol, batch, fault) &&
             gallery_put(enrol->gallery, people, batch->count, NULL, fault);
    }
    if (ok) {
        count_in(enrol->totals, batch);
        ok = !enrol->options->find_duplicates || find_duplicates(enrol, batch, fault);
    }
    for (size_t i = 0; i < batch->count; i++) {
        drop_last(enrol, batch, i);
    }
    batch->count = 0;
    return ok;
}

static bool in_batch(const struct batch *batch, const struct work *work)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (strcmp(batch->work[i]->source->id, work->source->id) == 0) {
            return true;
        }
    }
    return false;
}

/* Waits for the next person that is ready; NULL at the end, or when a full batch should not wait
 * any longer (*more). */
static struct work *next_done(struct enrol *enrol, const struct batch *batch, bool *more)
{
    pthread_mutex_lock(&enrol->mutex);
    while (enrol->done.count == 0 && enrol->extracting > 0 && !enrol->failed &&
           (batch->count == 0 || enrol->in_flight > batch->count)) {
        pthread_cond_wait(&enrol->changed, &enrol->mutex);
    }
    struct work *work = enrol->failed ? NULL : line_pop(&enrol->done);
    *more = !enrol->failed && (work || enrol->extracting > 0);
    pthread_mutex_unlock(&enrol->mutex);
    return work;
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void show(struct enrol *enrol, int64_t *last)
{
    if (now_ns() - *last < SHOW_NS) {
        return;
    }
    *last = now_ns();
    pthread_mutex_lock(&enrol->mutex);
    double fraction = enrol->fraction;
    pthread_mutex_unlock(&enrol->mutex);
    pthread_mutex_lock(&enrol->terminal);
    enrol->show(enrol->ctx, enrol->totals, fraction);
    pthread_mutex_unlock(&enrol->terminal);
}

static bool write_all(struct enrol *enrol, struct batch *batch, struct whorl_fault *fault)
{
    bool more = true, ok = true;
    int64_t shown = 0;
    while (ok && more) {
        struct work *work = next_done(enrol, batch, &more);
        if (!work || in_batch(batch, work) || batch->count == BATCH) {
            ok = put(enrol, batch, fault);
        }
        if (work && ok) {
            if (take_in(enrol, batch, work, fault, &ok)) {
                batch->count++;
            } else {
                drop_last(enrol, batch, batch->count);
            }
        } else if (work) {
            free_work(work);
        }
        show(enrol, &shown);
    }
    return put(enrol, batch, fault) && ok;
}

static void *writer(void *arg)
{
    struct enrol *enrol = arg;
    struct whorl_fault fault = {{0}, {0}};
    struct batch batch = {.merged = calloc(BATCH, sizeof *batch.merged)};
    if (!batch.merged) {
        whorl_fail(&fault, "", "out of memory");
        fail(enrol, &fault);
    } else if (!write_all(enrol, &batch, &fault)) {
        fail(enrol, &fault);
    }
    free(batch.merged);
    return NULL;
}

/* ------------------------------------------------------------------ the reader */

/* What the operator says of people whose manifest doesn't. */
static void fill_in(const struct enrol_options *options, struct manifest_person *person)
{
    if (!person->person.source[0] && options->source) {
        person->person.source = options->source;
    }
    if (person->person.expires == 0 && !person->never) {
        person->person.expires = options->expires;
        person->never = options->never;
    }
}

static bool hand_out(struct enrol *enrol, struct manifest_person *person)
{
    struct work *work = calloc(1, sizeof *work);
    struct whorl_fault fault = {{0}, {0}};
    uint64_t read, of;
    if (!work) {
        manifest_person_free(person);
        whorl_fail(&fault, "", "out of memory");
        fail(enrol, &fault);
        return false;
    }
    work->source = person;
    fill_in(enrol->options, person);
    manifest_progress(enrol->manifest, &read, &of);
    pthread_mutex_lock(&enrol->mutex);
    while (enrol->in_flight >= IN_FLIGHT && !enrol->failed) {
        pthread_cond_wait(&enrol->changed, &enrol->mutex);
    }
    line_push(&enrol->todo, work);
    enrol->in_flight++;
    enrol->fraction = of ? (double)read / (double)of : 1;
    bool go_on = !enrol->failed;
    pthread_cond_broadcast(&enrol->changed);
    pthread_mutex_unlock(&enrol->mutex);
    return go_on;
}

static void read_all(struct enrol *enrol)
{
    for (;;) {
        struct manifest_person *person;
        struct whorl_fault fault = {{0}, {0}};
        unsigned long line = 0;
        switch (manifest_next(enrol->manifest, &person, &line, &fault)) {
        case MANIFEST_PERSON:
            if (!hand_out(enrol, person)) {
                return;
            }
            break;
        case MANIFEST_BAD:
            enrol->bad_lines++;
            report(enrol, "%s:%lu: %s%s%s", manifest_path(enrol->manifest), line, fault.where,
                   fault.where[0] ? ": " : "", fault.text);
            break;
        case MANIFEST_FAILED:
            fail(enrol, &fault);
            return;
        case MANIFEST_END:
            return;
        }
    }
}

/* Starts the threads, reads, and waits for them. */
static bool run_threads(struct enrol *enrol, struct whorl_fault *fault)
{
    pthread_t writing, *extracting = calloc(enrol->options->threads, sizeof *extracting);
    unsigned started = 0;
    if (!extracting) {
        return whorl_fail(fault, "", "out of memory");
    }
    enrol->extracting = enrol->options->threads;
    while (started < enrol->options->threads &&
           pthread_create(&extracting[started], NULL, extractor, enrol) == 0) {
        started++;
    }
    pthread_mutex_lock(&enrol->mutex);
    enrol->extracting -= enrol->options->threads - started;
    pthread_mutex_unlock(&enrol->mutex);
    bool ok = started > 0 && pthread_create(&writing, NULL, writer, enrol) == 0;
    if (!ok) {
        whorl_fail(fault, "", "no thread can be started");
        fail(enrol, fault);
    } else {
        read_all(enrol);
    }
    pthread_mutex_lock(&enrol->mutex);
    enrol->read_all = true;
    pthread_cond_broadcast(&enrol->changed);
    pthread_mutex_unlock(&enrol->mutex);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(extracting[i], NULL);
    }
    if (ok) {
        pthread_join(writing, NULL);
    }
    free(extracting);
    return ok;
}

bool enrol_run(struct gallery *gallery, struct manifest *manifest,
               const struct enrol_options *options, enrol_say *say, enrol_show *show_how_far,
               void *ctx, struct enrol_totals *totals, struct whorl_fault *fault)
{
    struct enrol enrol = {.gallery = gallery,
                          .manifest = manifest,
                          .options = options,
                          .say = say,
                          .show = show_how_far,
                          .ctx = ctx,
                          .totals = totals,
                          .mutex = PTHREAD_MUTEX_INITIALIZER,
                          .changed = PTHREAD_COND_INITIALIZER,
                          .terminal = PTHREAD_MUTEX_INITIALIZER};
    bool ok = run_threads(&enrol, fault);
    for (struct work *work; (work = line_pop(&enrol.todo));) {
        free_work(work);
    }
    for (struct work *work; (work = line_pop(&enrol.done));) {
        free_work(work);
    }
    totals->bad_lines += enrol.bad_lines;
    if (ok && enrol.failed) {
        *fault = enrol.fault;
    }
    pthread_mutex_destroy(&enrol.mutex);
    pthread_mutex_destroy(&enrol.terminal);
    pthread_cond_destroy(&enrol.changed);
    return ok && !enrol.failed;
}
