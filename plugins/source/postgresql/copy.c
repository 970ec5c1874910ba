#include "plugins/source/postgresql/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gallery/copy.h"
#include "plugins/source/postgresql/row.h"
#include "whorl/msg.h"

#define QUICK_MS 30000u   /* of silence, while the database answers what takes it no time */
#define SLOW_MS 600000u   /* ... or reads many rows */
#define KEEP_EVERY 60     /* seconds after which a position is kept even if nothing has changed */
#define WORDS_EVERY 10    /* seconds between lines about progress */
#define BAD_WORDS_MAX 20u /* lines about people who can't be read, in one go */

struct pg_copy {
    char *lock_path;
    const struct pg_target *target;
    const struct pg_mapping *mapping;
    char identity[64]; /* of the database that it is connected to; "": it has not been yet */
    int64_t timeline;  /* its */
    bool owned;        /* the gallery has been this database's copy, as far as this copy knows */
    bool taken;        /* ... and now is to be somebody else's */
    struct pg_ask quick, slow;
    struct pg_copy_log log;
    struct gallery *gallery;
    struct gallery_mark before; /* as the gallery keeps it */
    struct pg_mark *mark;       /* as it is to be; what `before` says, and a newer position */
    struct pg_mark *spare;      /* for reading a mark without losing this one */
    int lock;                   /* held while this copy makes the pass; else -1 */
    bool sent;                  /* the page behind `ahead` has been asked for ... */
    PGresult *ready;            /* ... or even read, ... */
    bool outdated;              /* ... but what it shows may have changed since */
    char ahead[GALLERY_ID_MAX + 1];
    int64_t kept, said; /* monotonic seconds: when the mark was written, when progress was told */
    unsigned bad_words;
    uint64_t changed; /* people, that were not told of yet */
};

/* What one step puts into the gallery. */
struct batch {
    struct pg_arena arena;
    struct gallery_person *people; /* PG_PAGE */
    const char **ids;              /* 2 * PG_PAGE, to be removed */
    size_t count, id_count;
};

enum outcome { DONE, LATE, FAILED };

static int64_t seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec;
}

__attribute__((format(printf, 3, 4))) static void
say(struct pg_copy *copy, enum whorl_log_level level, const char *format, ...)
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

static void leave_pass(struct pg_copy *copy)
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
    leave_pass(copy);
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
        say(copy, WHORL_LOG_WARNING, "the copy's mark can't be read (%s %s): it is made anew",
            inner.where, inner.text);
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
        say(copy, WHORL_LOG_WARNING,
            "somebody else has changed the copy: everything is compared with the database");
        mark->behind = true;
        mark->position[0] = '\0';
    }
    return true;
}

/* Writes a batch, and the mark with it. */
static enum outcome apply(struct pg_copy *copy, const struct batch *batch,
                          struct whorl_fault *fault)
{
    msgpack_sbuffer bytes;
    msgpack_sbuffer_init(&bytes);
    pg_mark_pack(copy->mark, &bytes);
    /* One that could not be read again, for lack of memory, must not be written. */
    if (!pg_mark_read((const uint8_t *)bytes.data, bytes.size, copy->spare, fault)) {
        msgpack_sbuffer_destroy(&bytes);
        return FAILED;
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
        copy->kept = seconds_of(CLOCK_MONOTONIC);
        return DONE;
    }
    if (applied == GALLERY_APPLY_LATE) {
        return pg_copy_refresh(copy, fault) ? LATE : FAILED;
    }
    return FAILED;
}

bool pg_copy_keep(struct pg_copy *copy, struct whorl_fault *fault)
{
    return apply(copy, NULL, fault) != FAILED;
}

static bool begin_batch(struct batch *batch, struct whorl_fault *fault)
{
    *batch = (struct batch){.people = malloc(PG_PAGE * sizeof *batch->people),
                            .ids = malloc(2 * (size_t)PG_PAGE * sizeof *batch->ids)};
    return (batch->people && batch->ids) || whorl_fail(fault, "", "out of memory");
}

static void end_batch(struct batch *batch)
{
    pg_arena_release(&batch->arena);
    free(batch->people);
    free(batch->ids);
}

/* ------------------------------------------------------------------ results */

static bool shape(const PGresult *result, int columns, int rows, const char *doing,
                  struct whorl_fault *fault)
{
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQnfields(result) == columns &&
        (rows < 0 || PQntuples(result) == rows)) {
        return true;
    }
    return whorl_fail(fault, "", "cannot %s in the database: its answer makes no sense", doing);
}

/* A value of a single row, as text without a NUL in it. */
static const char *value(const PGresult *result, int column)
{
    const char *text = PQgetvalue(result, 0, column);
    return strlen(text) == (size_t)PQgetlength(result, 0, column) ? text : "";
}

static bool number(const PGresult *result, int column, uint64_t *out)
{
    const char *text = value(result, column);
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 &&
           *out <= 9000000000000000;
}

static bool set_position(struct pg_mark *mark, const char *position, struct whorl_fault *fault)
{
    size_t len = strlen(position);
    if (len == 0 || len > PG_POSITION_MAX || !whorl_text_is_clean(position, len)) {
        return whorl_fail(fault, "", "the database's position can't be kept: it has %zu bytes",
                          len);
    }
    memcpy(mark->position, position, len + 1);
    return true;
}

static void get_row(const PGresult *result, int i, struct pg_row *row)
{
    for (int column = 0; column < PG_COLUMNS; column++) {
        row->value[column] = PQgetvalue(result, i, column);
        row->len[column] = PQgetisnull(result, i, column) ? -1 : PQgetlength(result, i, column);
    }
}

/* Copies a row's id; the statements give none but of 1 to GALLERY_ID_MAX bytes. */
static bool get_id(const PGresult *result, int i, char id[GALLERY_ID_MAX + 1],
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

static void drop_ahead(struct pg_copy *copy)
{
    PQclear(copy->ready);
    copy->ready = NULL;
}

/* Reads a page that was asked for ahead, so that something else can be asked. */
static bool collect(struct pg_copy *copy, struct whorl_fault *fault)
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
    if (!collect(copy, fault)) {
        return false;
    }
    drop_ahead(copy);
    PGresult *result =
        pg_ask(&copy->slow, copy->mapping->begin, NULL, 0, "count its people", fault);
    if (!result) {
        return false;
    }
    bool ok = shape(result, 3, 1, "count its people", fault) &&
              ((number(result, 1, &of) && number(result, 2, &nameless)) ||
               whorl_fail(fault, "", "the database counts in what are no numbers"));
    enum outcome outcome = FAILED;
    if (ok) {
        struct pg_mark *mark = copy->mark;
        /* What changes from here on is read as changes; what did before, the pass reads. */
        if (mark->position[0] == '\0' || mark->behind || !mark->whole) {
            ok = set_position(mark, value(result, 0), fault);
        }
        pg_mark_begin_pass(mark, of, nameless);
        outcome = ok ? apply(copy, NULL, fault) : FAILED;
    }
    if (outcome == DONE) {
        say(copy, WHORL_LOG_INFO, "%s %" PRIu64 " people of the database",
            copy->mark->whole ? "comparing with" : "copying", of);
    }
    PQclear(result);
    return outcome != FAILED;
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
            say(copy, WHORL_LOG_WARNING,
                "this is another database, or another mapping, than the copy was made from: it is "
                "made anew");
        }
        claim(copy);
        return false;
    }
    copy->owned = true;
    snprintf(mark->place, sizeof mark->place, "%s", pg_target_name(copy->target));
    if (mark->timeline != timeline) {
        say(copy, WHORL_LOG_WARNING,
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
    drop_ahead(copy);
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
    bool ok = shape(result, 6, 1, "ask who it is", fault) &&
              ((value(result, 4)[0] && strlen(value(result, 4)) < sizeof copy->mark->database &&
                number(result, 5, &timeline)) ||
               whorl_fail(fault, "", "the database doesn't say who it is"));
    bool known = ok && recognise(copy, value(result, 4), (int64_t)timeline);
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
        say(copy, WHORL_LOG_WARNING, "person %s of the database can't be read: %s %s",
            clean ? id : "(of an id that is no clean text)", fault->where, fault->text);
    }
}

/* Takes a row in beside what the gallery has of that person, which may be NULL. */
static bool take_row(struct pg_copy *copy, struct batch *batch, const struct pg_row *row,
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

/* ------------------------------------------------------------------ changes */

/* People of the gallery, as many as one page may be about. */
struct known {
    struct gallery_person *people[PG_PAGE];
    size_t count;
};

static void forget(struct known *known)
{
    for (size_t i = 0; i < known->count; i++) {
        gallery_person_free(known->people[i]);
    }
    known->count = 0;
}

/* Asks for a page of changes behind `after`. */
static PGresult *ask_changes(struct pg_copy *copy, const char *sql, const char *after,
                             struct whorl_fault *fault)
{
    const char *parameters[] = {copy->mark->position, after};
    return pg_ask(&copy->slow, sql, parameters, 2, "read changes", fault);
}

static bool take_changed(struct pg_copy *copy, struct batch *batch, struct known *known,
                         const PGresult *result, char after[GALLERY_ID_MAX + 1],
                         struct whorl_fault *fault)
{
    for (int i = 0; i < PQntuples(result); i++) {
        struct pg_row row;
        struct gallery_person *has;
        if (!get_id(result, i, after, fault) ||
            !gallery_get(copy->gallery, after, true, &has, fault)) {
            return false;
        }
        known->people[known->count++] = has;
        get_row(result, i, &row);
        if (!take_row(copy, batch, &row, after, has, fault)) {
            return false;
        }
    }
    return true;
}

static bool take_gone(struct pg_copy *copy, struct batch *batch, struct known *known,
                      const PGresult *result, char after[GALLERY_ID_MAX + 1],
                      struct whorl_fault *fault)
{
    for (int i = 0; i < PQntuples(result); i++) {
        struct gallery_person *has;
        if (!get_id(result, i, after, fault) ||
            !gallery_get(copy->gallery, after, false, &has, fault)) {
            return false;
        }
        known->people[known->count++] = has;
        pg_mark_drop_unreadable(copy->mark, after);
        if (has) {
            batch->ids[batch->id_count++] = has->id;
        }
    }
    return true;
}

/* Reads one page of changes and applies it; *more: another follows. With the last of people the
 * mark gets the new position. */
static enum outcome change_page(struct pg_copy *copy, bool gone, const char *position,
                                char after[GALLERY_ID_MAX + 1], bool *more,
                                struct whorl_fault *fault)
{
    struct batch batch;
    struct known *known = calloc(1, sizeof *known);
    enum outcome outcome = FAILED;
    PGresult *result = NULL;
    bool ok = begin_batch(&batch, fault) && known;
    if (ok) {
        result =
            ask_changes(copy, gone ? copy->mapping->gone : copy->mapping->people, after, fault);
        ok = result && shape(result, gone ? 1 : PG_COLUMNS, -1, "read changes", fault) &&
             (PQntuples(result) <= PG_PAGE || whorl_fail(fault, "", "the database gave too much"));
    }
    ok = ok && (gone ? take_gone : take_changed)(copy, &batch, known, result, after, fault);
    *more = ok && PQntuples(result) == PG_PAGE;
    if (ok && !gone && !*more) {
        ok = set_position(copy->mark, position, fault);
    }
    if (ok) {
        bool nothing = batch.count + batch.id_count == 0 &&
                       seconds_of(CLOCK_MONOTONIC) - copy->kept < KEEP_EVERY;
        copy->changed += batch.count + batch.id_count;
        outcome = nothing ? DONE : apply(copy, &batch, fault);
    }
    PQclear(result);
    if (known) {
        forget(known);
    }
    free(known);
    end_batch(&batch);
    return outcome;
}

static enum outcome take_changes(struct pg_copy *copy, uint64_t gone, const char *position,
                                 struct whorl_fault *fault)
{
    char after[GALLERY_ID_MAX + 1] = "";
    enum outcome outcome = DONE;
    for (bool more = gone > 0; more && outcome == DONE;) {
        outcome = change_page(copy, true, position, after, &more, fault);
    }
    after[0] = '\0';
    for (bool more = true; more && outcome == DONE;) {
        outcome = change_page(copy, false, position, after, &more, fault);
    }
    return outcome;
}

/* What a poll said. */
struct poll {
    char *position;
    uint64_t changed, nameless, gone;
    bool past;
};

static bool ask_poll(struct pg_copy *copy, struct poll *poll, struct whorl_fault *fault)
{
    const char *parameters[] = {copy->mark->position};
    PGresult *result =
        pg_ask(&copy->quick, copy->mapping->poll, parameters, 1, "look for changes", fault);
    if (!result) {
        return false;
    }
    bool ok = shape(result, 5, 1, "look for changes", fault) &&
              ((number(result, 1, &poll->changed) && number(result, 2, &poll->nameless) &&
                number(result, 3, &poll->gone)) ||
               whorl_fail(fault, "", "the database counts in what are no numbers"));
    poll->past = ok && strcmp(value(result, 4), "true") == 0;
    poll->position = ok ? strdup(value(result, 0)) : NULL;
    PQclear(result);
    return poll->position || (ok && whorl_fail(fault, "", "out of memory"));
}

static bool begin_behind(struct pg_copy *copy, const char *why, struct whorl_fault *fault)
{
    say(copy, WHORL_LOG_WARNING, "%s: everything is compared with the database", why);
    copy->mark->behind = true;
    return pg_copy_begin_pass(copy, fault);
}

/* Nothing has changed since the position, so that a newer one says the same; it is kept only now
 * and then, because that costs a write. */
static enum outcome nothing_new(struct pg_copy *copy, const struct poll *poll,
                                struct whorl_fault *fault)
{
    if (!set_position(copy->mark, poll->position, fault)) {
        return FAILED;
    }
    bool keep = seconds_of(CLOCK_MONOTONIC) - copy->kept >= KEEP_EVERY;
    return keep ? apply(copy, NULL, fault) : DONE;
}

static void tell_changes(struct pg_copy *copy)
{
    if (copy->changed > 0 && seconds_of(CLOCK_MONOTONIC) - copy->said >= WORDS_EVERY) {
        say(copy, WHORL_LOG_INFO, "%" PRIu64 " changes taken over from the database",
            copy->changed);
        copy->said = seconds_of(CLOCK_MONOTONIC);
        copy->changed = 0;
        copy->bad_words = 0;
    }
}

bool pg_copy_changes(struct pg_copy *copy, bool *agreed, struct whorl_fault *fault)
{
    struct poll poll;
    int64_t now = seconds_of(CLOCK_REALTIME);
    *agreed = false;
    if (!copy->mark->position[0]) {
        return pg_copy_begin_pass(copy, fault);
    }
    if (!collect(copy, fault) || !ask_poll(copy, &poll, fault)) {
        return false;
    }
    bool ok = true;
    if (!poll.past) {
        ok = begin_behind(copy, "the copy is ahead of the database, which was restored", fault);
    } else if (poll.changed > PG_CHANGES_MAX || poll.gone > PG_CHANGES_MAX) {
        ok = begin_behind(copy, "more has changed than is read one by one", fault);
    } else {
        bool none = poll.changed + poll.gone == 0;
        struct pg_mark *mark = copy->mark;
        int64_t before = mark->agreed;
        mark->agreed = mark->whole && !mark->behind ? now : before;
        if (!none) {
            drop_ahead(copy); /* it may be older than what comes now */
        }
        if (poll.nameless > 0 && mark->nameless == 0) {
            mark->nameless = 1; /* how many, the next pass counts */
        }
        enum outcome outcome = none ? nothing_new(copy, &poll, fault)
                                    : take_changes(copy, poll.gone, poll.position, fault);
        *agreed = outcome == DONE && mark->whole && !mark->behind;
        ok = outcome != FAILED;
        if (!ok && mark == copy->mark) {
            mark->agreed = before;
        }
    }
    free(poll.position);
    tell_changes(copy);
    return ok;
}

/* ------------------------------------------------------------------ a pass */

/* Only one makes it, of all processes. */
static bool take_lock(struct pg_copy *copy)
{
    if (copy->lock >= 0) {
        return true;
    }
    int fd = open(copy->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        fd = -1;
    }
    copy->lock = fd;
    return fd >= 0;
}

static bool send_page(struct pg_copy *copy, const char *after, struct whorl_fault *fault)
{
    const char *parameters[] = {after};
    snprintf(copy->ahead, sizeof copy->ahead, "%s", after);
    copy->outdated = false;
    copy->sent = pg_ask_send(&copy->slow, copy->mapping->page, parameters, 1, "read people", fault);
    return copy->sent;
}

/* The page behind mark->after, asked for ahead if all went as expected; the one behind it is asked
 * for before this one is worked through. */
static PGresult *next_page(struct pg_copy *copy, char last[GALLERY_ID_MAX + 1],
                           struct whorl_fault *fault)
{
    bool ahead = (copy->sent || copy->ready) && !copy->outdated &&
                 strcmp(copy->ahead, copy->mark->after) == 0;
    if (!collect(copy, fault)) {
        return NULL;
    }
    if (!ahead) {
        drop_ahead(copy);
        if (!send_page(copy, copy->mark->after, fault) || !collect(copy, fault)) {
            return NULL;
        }
    }
    PGresult *page = copy->ready;
    copy->ready = NULL;
    last[0] = '\0';
    if (!shape(page, PG_COLUMNS, -1, "read people", fault) || PQntuples(page) > PG_PAGE ||
        (PQntuples(page) == PG_PAGE &&
         (!get_id(page, PG_PAGE - 1, last, fault) || !send_page(copy, last, fault)))) {
        PQclear(page);
        return NULL;
    }
    return page;
}

/* Page and gallery side by side, up to `last` (NULL: to the end). */
static bool merge(struct pg_copy *copy, struct batch *batch, const PGresult *page,
                  const struct known *known, const char *last, struct whorl_fault *fault)
{
    int rows = PQntuples(page), i = 0;
    size_t k = 0;
    char id[GALLERY_ID_MAX + 1] = "", before[GALLERY_ID_MAX + 1] = "";
    for (;;) {
        bool row_left = i < rows;
        if (row_left && !get_id(page, i, id, fault)) {
            return false;
        }
        row_left = row_left && (!last || strcmp(id, last) <= 0);
        bool known_left = k < known->count && (!last || strcmp(known->people[k]->id, last) <= 0);
        if (!row_left && !known_left) {
            return true;
        }
        int order = !row_left ? 1 : !known_left ? -1 : strcmp(id, known->people[k]->id);
        if (order > 0) {
            batch->ids[batch->id_count++] = known->people[k++]->id;
            continue;
        }
        struct pg_row row;
        if (i > 0 && strcmp(id, before) <= 0) {
            return whorl_fail(fault, "", "the database has person %s twice, or out of order", id);
        }
        memcpy(before, id, sizeof before);
        get_row(page, i++, &row);
        if (!take_row(copy, batch, &row, id, order == 0 ? known->people[k++] : NULL, fault)) {
            return false;
        }
        copy->mark->done++;
    }
}

/* How far both reach: the smaller of the page's last person and the gallery's; NULL: to the end. */
static const char *common_end(const char *page_last, const struct known *known)
{
    const char *last = page_last[0] ? page_last : NULL;
    if (known->count == PG_PAGE) {
        const char *own = known->people[PG_PAGE - 1]->id;
        last = !last || strcmp(own, last) < 0 ? own : last;
    }
    return last;
}

static void tell_pass(struct pg_copy *copy, bool over)
{
    const struct pg_mark *mark = copy->mark;
    int64_t now = seconds_of(CLOCK_MONOTONIC);
    if (over) {
        say(copy, WHORL_LOG_INFO,
            "all %" PRIu64 " people of the database are in the copy: %" PRIu64 " put, %" PRIu64
            " removed, %" PRIu64 " unreadable",
            mark->done, mark->put, mark->removed, pg_mark_missing(mark));
        copy->bad_words = 0;
    } else if (now - copy->said >= WORDS_EVERY) {
        say(copy, WHORL_LOG_INFO, "%" PRIu64 " of %" PRIu64 " people of the database compared",
            mark->done, mark->of);
        copy->said = now;
    }
}

static enum outcome work_through(struct pg_copy *copy, const PGresult *page, const char *page_last,
                                 struct known *known, struct batch *batch,
                                 struct whorl_fault *fault)
{
    struct pg_mark *mark = copy->mark;
    if (!gallery_next(copy->gallery, mark->after, known->people, PG_PAGE, &known->count, fault)) {
        return FAILED;
    }
    const char *last = common_end(page_last, known);
    pg_mark_drop_range(mark, mark->after, last);
    if (!merge(copy, batch, page, known, last, fault)) {
        return FAILED;
    }
    mark->put += batch->count;
    mark->removed += batch->id_count;
    if (last) {
        snprintf(mark->after, sizeof mark->after, "%s", last);
    } else {
        pg_mark_end_pass(mark, seconds_of(CLOCK_REALTIME));
    }
    enum outcome outcome = apply(copy, batch, fault);
    if (outcome == DONE) {
        tell_pass(copy, !last);
    }
    return outcome;
}

bool pg_copy_page(struct pg_copy *copy, bool *busy, struct whorl_fault *fault)
{
    *busy = false;
    if (!copy->mark->pass || !take_lock(copy)) {
        return true;
    }
    if (!copy->mark->position[0]) {
        *busy = true;
        return pg_copy_begin_pass(copy, fault);
    }
    char last[GALLERY_ID_MAX + 1];
    struct batch batch;
    struct known *known = calloc(1, sizeof *known);
    PGresult *page = NULL;
    enum outcome outcome = FAILED;
    if (begin_batch(&batch, fault) && known && (page = next_page(copy, last, fault)) != NULL) {
        outcome = work_through(copy, page, last, known, &batch, fault);
    }
    PQclear(page);
    if (known) {
        forget(known);
    }
    free(known);
    end_batch(&batch);
    *busy = outcome != FAILED && copy->mark->pass;
    if (!*busy) {
        leave_pass(copy);
    }
    return outcome != FAILED;
}
