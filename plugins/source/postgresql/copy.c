#include "plugins/source/postgresql/copy.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gallery/copy.h"
#include "plugins/source/postgresql/copy_internal.h"
#include "whorl/msg.h"

#define QUICK_MS 30000u   /* of silence, while the database answers what takes it no time */
#define SLOW_MS 600000u   /* ... or reads many rows */
#define BAD_WORDS_MAX 20u /* lines about people who can't be read, in one go */

int64_t pg_copy_seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec;
}

void pg_copy_say(struct pg_copy *copy, enum whorl_log_level level, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    copy->log.say(copy->log.ctx, level, text);
}

/* ------------------------------------------------------------------ opening */

struct pg_copy *pg_copy_open(const char *dir, const struct pg_target *target,
                             const struct pg_mapping *mapping, const struct pg_ask *ask,
                             const struct pg_copy_log *log, struct whorl_fault *fault)
{
    struct pg_copy *copy = calloc(1, sizeof *copy);
    if (!copy) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    *copy = (struct pg_copy){
        .target = target, .mapping = mapping, .quick = *ask, .slow = *ask, .log = *log, .lock = -1};
    copy->quick.patience_ms = QUICK_MS;
    copy->slow.patience_ms = SLOW_MS;
    copy->mark = calloc(1, sizeof *copy->mark);
    copy->spare = calloc(1, sizeof *copy->spare);
    if (!copy->mark || !copy->spare || asprintf(&copy->lock_path, "%s/pass.lock", dir) < 0) {
        copy->lock_path = NULL;
        whorl_fail(fault, "", "out of memory");
    } else {
        copy->gallery = gallery_open(dir, WHORL_STORE_WRITE, fault);
    }
    if (!copy->gallery || !pg_copy_refresh(copy, fault)) {
        pg_copy_close(copy);
        return NULL;
    }
    return copy;
}

void pg_copy_leave_pass(struct pg_copy *copy)
{
    if (copy->lock >= 0) {
        close(copy->lock);
        copy->lock = -1;
    }
}

void pg_copy_close(struct pg_copy *copy)
{
    if (!copy) {
        return;
    }
    PQclear(copy->ready);
    pg_copy_leave_pass(copy);
    gallery_mark_release(&copy->before);
    gallery_close(copy->gallery);
    free(copy->mark);
    free(copy->spare);
    free(copy->lock_path);
    free(copy);
}

const struct pg_mark *pg_copy_mark(const struct pg_copy *copy)
{
    return copy->mark;
}

bool pg_copy_whole(const struct pg_copy *copy)
{
    const struct pg_mark *mark = copy->mark;
    return mark->whole && strcmp(mark->mapping, copy->mapping->digest) == 0 &&
           strcmp(copy->identity[0] ? mark->database : mark->place,
                  copy->identity[0] ? copy->identity : pg_target_name(copy->target)) == 0;
}

bool pg_copy_taken(const struct pg_copy *copy)
{
    return copy->taken;
}

struct gallery *pg_copy_gallery(struct pg_copy *copy)
{
    return copy->gallery;
}

/* ------------------------------------------------------------------ the mark */

/* Begins a copy of the database that it is connected to. */
static void claim(struct pg_copy *copy)
{
    struct pg_mark *mark = copy->mark;
    memset(mark, 0, sizeof *mark);
    memcpy(mark->database, copy->identity, sizeof mark->database);
    snprintf(mark->mapping, sizeof mark->mapping, "%s", copy->mapping->digest);
    snprintf(mark->place, sizeof mark->place, "%s", pg_target_name(copy->target));
    mark->timeline = copy->timeline;
    copy->owned = false;
}

bool pg_copy_refresh(struct pg_copy *copy, struct whorl_fault *fault)
{
    struct gallery_mark now;
    struct whorl_fault inner = {{0}, {0}};
    if (!gallery_mark_read(copy->gallery, &now, fault)) {
        return false;
    }
    bool same = copy->before.len == now.len && copy->before.stamp == now.stamp &&
                (now.len == 0 || memcmp(copy->before.bytes, now.bytes, now.len) == 0);
    if (same) {
        gallery_mark_release(&now);
        return true;
    }
    if (now.len > 0 && !pg_mark_read(now.bytes, now.len, copy->spare, &inner)) {
        pg_copy_say(copy, WHORL_LOG_WARNING,
                    "the copy's mark can't be read (%s %s): it is made anew", inner.where,
                    inner.text);
        memset(copy->spare, 0, sizeof *copy->spare);
    } else if (now.len == 0) {
        memset(copy->spare, 0, sizeof *copy->spare);
    }
    struct pg_mark *mark = copy->spare;
    copy->spare = copy->mark;
    copy->mark = mark;
    copy->outdated = true; /* others may have taken over newer rows */
    gallery_mark_release(&copy->before);
    copy->before = now;
    if (copy->identity[0] && mark->database[0] &&
        (strcmp(mark->database, copy->identity) != 0 ||
         strcmp(mark->mapping, copy->mapping->digest) != 0)) {
        copy->taken = copy->owned;
        if (copy->taken) {
            return whorl_fail(fault, "",
                              "somebody else makes the copy one of another database, or by "
                              "another mapping: it is left to them");
        }
        claim(copy); /* once more: whoever had it wrote in the same moment */
        return true;
    }
    if (!now.untouched && now.len > 0) {
        pg_copy_say(copy, WHORL_LOG_WARNING,
                    "somebody else has changed the copy: everything is compared with the database");
        mark->behind = true;
        mark->position[0] = '\0';
    }
    return true;
}

enum pg_outcome pg_copy_apply(struct pg_copy *copy, const struct pg_batch *batch,
                              struct whorl_fault *fault)
{
    msgpack_sbuffer bytes;
    msgpack_sbuffer_init(&bytes);
    pg_mark_pack(copy->mark, &bytes);
    /* One that could not be read again, for lack of memory, must not be written. */
    if (!pg_mark_read((const uint8_t *)bytes.data, bytes.size, copy->spare, fault)) {
        msgpack_sbuffer_destroy(&bytes);
        return PG_COPY_FAILED;
    }
    const struct gallery_change change = {.people = batch ? batch->people : NULL,
                                          .count = batch ? batch->count : 0,
                                          .ids = batch ? batch->ids : NULL,
                                          .id_count = batch ? batch->id_count : 0,
                                          .before = &copy->before,
                                          .mark = (const uint8_t *)bytes.data,
                                          .mark_len = bytes.size};
    struct gallery_mark after;
    enum gallery_applied applied = gallery_apply(copy->gallery, &change, &after, fault);
    msgpack_sbuffer_destroy(&bytes);
    if (applied == GALLERY_APPLIED) {
        gallery_mark_release(&copy->before);
        copy->before = after;
        copy->owned = true;
        copy->kept = pg_copy_seconds(CLOCK_MONOTONIC);
        return PG_COPY_DONE;
    }
    if (applied == GALLERY_APPLY_LATE) {
        return pg_copy_refresh(copy, fault) ? PG_COPY_LATE : PG_COPY_FAILED;
    }
    return PG_COPY_FAILED;
}

bool pg_copy_keep(struct pg_copy *copy, struct whorl_fault *fault)
{
    return pg_copy_apply(copy, NULL, fault) != PG_COPY_FAILED;
}

bool pg_batch_begin(struct pg_batch *batch, struct whorl_fault *fault)
{
    *batch = (struct pg_batch){.people = malloc(PG_PAGE * sizeof *batch->people),
                               .ids = malloc(2 * (size_t)PG_PAGE * sizeof *batch->ids),
                               .known = malloc(PG_PAGE * sizeof *batch->known)};
    return (batch->people && batch->ids && batch->known) || whorl_fail(fault, "", "out of memory");
}

void pg_batch_end(struct pg_batch *batch)
{
    for (size_t i = 0; i < batch->known_count; i++) {
        gallery_person_free(batch->known[i]);
    }
    pg_arena_release(&batch->arena);
    free(batch->people);
    free(batch->ids);
    free(batch->known);
}

bool pg_copy_set_position(struct pg_mark *mark, const char *position, struct whorl_fault *fault)
{
    size_t len = strlen(position);
    if (len == 0 || len > PG_POSITION_MAX || !whorl_text_is_clean(position, len)) {
        return whorl_fail(fault, "", "the database's position can't be kept: it has %zu bytes",
                          len);
    }
    memcpy(mark->position, position, len + 1);
    return true;
}

bool pg_batch_fits(const PGresult *page, struct whorl_fault *fault)
{
    return PQntuples(page) <= PG_PAGE || whorl_fail(fault, "", "the database gave too much");
}

void pg_batch_row(const PGresult *result, int i, struct pg_row *row)
{
    for (int column = 0; column < PG_COLUMNS; column++) {
        row->value[column] = PQgetvalue(result, i, column);
        row->len[column] = PQgetisnull(result, i, column) ? -1 : PQgetlength(result, i, column);
    }
}

bool pg_batch_id(const PGresult *result, int i, char id[GALLERY_ID_MAX + 1],
                 struct whorl_fault *fault)
{
    int len = PQgetlength(result, i, 0);
    if (len < 1 || len > (int)GALLERY_ID_MAX || memchr(PQgetvalue(result, i, 0), 0, (size_t)len)) {
        return whorl_fail(fault, "", "the database gave an id that wasn't asked for");
    }
    memcpy(id, PQgetvalue(result, i, 0), (size_t)len);
    id[len] = '\0';
    return true;
}

void pg_copy_drop_ahead(struct pg_copy *copy)
{
    PQclear(copy->ready);
    copy->ready = NULL;
}

bool pg_copy_collect(struct pg_copy *copy, struct whorl_fault *fault)
{
    if (copy->sent) {
        copy->sent = false;
        copy->ready = pg_ask_wait(&copy->slow, "read people", fault);
        return copy->ready != NULL;
    }
    return true;
}

/* ------------------------------------------------------------------ whose database */

bool pg_copy_begin_pass(struct pg_copy *copy, struct whorl_fault *fault)
{
    uint64_t of, nameless;
    if (!pg_copy_collect(copy, fault)) {
        return false;
    }
    pg_copy_drop_ahead(copy);
    PGresult *result =
        pg_ask(&copy->slow, copy->mapping->begin, NULL, 0, "count its people", fault);
    if (!result) {
        return false;
    }
    bool ok = pg_result_shape(result, 3, 1, "count its people", fault) &&
              ((pg_result_number(result, 1, &of) && pg_result_number(result, 2, &nameless)) ||
               whorl_fail(fault, "", "the database counts in what are no numbers"));
    enum pg_outcome outcome = PG_COPY_FAILED;
    if (ok) {
        struct pg_mark *mark = copy->mark;
        /* What changes from here on is read as changes; what did before, the pass reads. */
        if (mark->position[0] == '\0' || mark->behind || !mark->whole) {
            ok = pg_copy_set_position(mark, pg_result_value(result, 0), fault);
        }
        pg_mark_begin_pass(mark, of, nameless);
        outcome = ok ? pg_copy_apply(copy, NULL, fault) : PG_COPY_FAILED;
    }
    if (outcome == PG_COPY_DONE) {
        pg_copy_say(copy, WHORL_LOG_INFO, "%s %" PRIu64 " people of the database",
                    copy->mark->whole ? "comparing with" : "copying", of);
    }
    PQclear(result);
    return outcome != PG_COPY_FAILED;
}

/* Sets how the session writes dates, spares pages what pays off in long statements only, and asks
 * for its identity: the cluster's, the database's, and the cluster's line of history. */
static const char hello[] =
    "SELECT set_config('DateStyle', 'ISO, YMD', false), set_config('TimeZone', 'UTC', false),"
    " set_config('jit', 'off', false),"
    " set_config('max_parallel_workers_per_gather', '0', false),"
    " (SELECT system_identifier::text FROM pg_control_system()) || '/' ||"
    " (SELECT oid::text FROM pg_database WHERE datname = current_database()),"
    " (SELECT timeline_id::text FROM pg_control_checkpoint())";

/* Compares it with what the copy was made from. */
static bool recognise(struct pg_copy *copy, const char *database, int64_t timeline)
{
    struct pg_mark *mark = copy->mark;
    snprintf(copy->identity, sizeof copy->identity, "%s", database);
    copy->timeline = timeline;
    if (strcmp(mark->database, database) != 0 ||
        strcmp(mark->mapping, copy->mapping->digest) != 0) {
        if (mark->database[0]) {
            pg_copy_say(
                copy, WHORL_LOG_WARNING,
                "this is another database, or another mapping, than the copy was made from: it is "
                "made anew");
        }
        claim(copy);
        return false;
    }
    copy->owned = true;
    snprintf(mark->place, sizeof mark->place, "%s", pg_target_name(copy->target));
    if (mark->timeline != timeline) {
        pg_copy_say(
            copy, WHORL_LOG_WARNING,
            "the database's history has another line (a fail-over or a restore): everything is "
            "compared");
        mark->timeline = timeline;
        mark->behind = true;
        return false;
    }
    return mark->position[0] != '\0' && (mark->whole || mark->pass) &&
           (!mark->behind || mark->pass);
}

bool pg_copy_connected(struct pg_copy *copy, struct whorl_fault *fault)
{
    uint64_t timeline;
    copy->sent = false;
    pg_copy_drop_ahead(copy);
    /* Whatever was begun before: the gallery's mark counts. */
    gallery_mark_release(&copy->before);
    copy->before.stamp = UINT64_MAX;
    if (!pg_copy_refresh(copy, fault)) {
        return false;
    }
    PGresult *result = pg_ask(&copy->quick, hello, NULL, 0, "ask who it is", fault);
    if (!result) {
        return false;
    }
    bool ok = pg_result_shape(result, 6, 1, "ask who it is", fault) &&
              ((pg_result_value(result, 4)[0] &&
                strlen(pg_result_value(result, 4)) < sizeof copy->mark->database &&
                pg_result_number(result, 5, &timeline)) ||
               whorl_fail(fault, "", "the database doesn't say who it is"));
    bool known = ok && recognise(copy, pg_result_value(result, 4), (int64_t)timeline);
    PQclear(result);
    if (ok && copy->mapping->listen) {
        result = pg_ask(&copy->quick, copy->mapping->listen, NULL, 0, "listen", fault);
        ok = result != NULL;
        PQclear(result);
    }
    return ok && (known || pg_copy_begin_pass(copy, fault));
}

/* ------------------------------------------------------------------ rows into a batch */

/* Says who can't be read, by id: what is wrong, not the value. */
static void note_bad(struct pg_copy *copy, const char *id, const struct whorl_fault *fault)
{
    pg_mark_add_unreadable(copy->mark, id);
    if (copy->bad_words++ < BAD_WORDS_MAX) {
        bool clean = whorl_text_is_clean(id, strlen(id));
        pg_copy_say(copy, WHORL_LOG_WARNING, "person %s of the database can't be read: %s %s",
                    clean ? id : "(of an id that is no clean text)", fault->where, fault->text);
    }
}

bool pg_batch_take(struct pg_copy *copy, struct pg_batch *batch, const struct pg_row *row,
                   const char *id, const struct gallery_person *has, struct whorl_fault *fault)
{
    struct gallery_person *person = &batch->people[batch->count];
    struct whorl_fault why = {{0}, {0}};
    enum pg_row_kind kind = pg_row_read(row, &batch->arena, person, &why);
    if (kind == PG_ROW_NO_MEMORY) {
        return whorl_fail(fault, "", "out of memory");
    }
    if (kind == PG_ROW_BAD) {
        note_bad(copy, id, &why);
    } else {
        pg_mark_drop_unreadable(copy->mark, id);
    }
    if (kind == PG_ROW_PERSON && (!has || !pg_person_same(person, has))) {
        batch->count++;
    } else if (kind != PG_ROW_PERSON && has) {
        /* Whoever can't be read now must not be found by what could be read once. */
        batch->ids[batch->id_count++] = has->id;
    }
    return true;
}
