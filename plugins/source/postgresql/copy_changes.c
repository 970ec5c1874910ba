/* What was committed since the last look, taken into the gallery. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/source/postgresql/copy_internal.h"
#include "whorl/msg.h"

/* What a poll said. */
struct poll {
    int64_t asked; /* Unix seconds */
    char *position;
    uint64_t changed, nameless, gone;
    bool past;
};

/* All is taken in that the poll told of. Only now is the copy as the database was then: a mark that
 * said so a page earlier would be believed after a restart. */
static bool reached(const struct pg_copy *copy, const struct poll *poll, struct whorl_fault *fault)
{
    struct pg_mark *mark = copy->mark;
    mark->agreed = mark->whole && !mark->behind ? poll->asked : mark->agreed;
    return pg_copy_set_position(mark, poll->position, fault);
}

/* Asks for a page of changes behind `after`. */
static PGresult *ask_changes(struct pg_copy *copy, const char *sql, const char *after,
                             struct whorl_fault *fault)
{
    const char *parameters[] = {copy->mark->position, after};
    return pg_ask(&copy->slow, sql, parameters, 2, "read changes", fault);
}

static bool take_changed(struct pg_copy *copy, struct pg_batch *batch, const PGresult *result,
                         char after[GALLERY_ID_MAX + 1], struct whorl_fault *fault)
{
    for (int i = 0; i < PQntuples(result); i++) {
        struct pg_row row;
        struct gallery_person *has;
        if (!pg_batch_id(result, i, after, fault) ||
            !gallery_get(copy->gallery, after, true, &has, fault)) {
            return false;
        }
        batch->known[batch->known_count++] = has;
        pg_batch_row(result, i, &row);
        if (!pg_batch_take(copy, batch, &row, after, has, fault)) {
            return false;
        }
    }
    return true;
}

static bool take_gone(struct pg_copy *copy, struct pg_batch *batch, const PGresult *result,
                      char after[GALLERY_ID_MAX + 1], struct whorl_fault *fault)
{
    for (int i = 0; i < PQntuples(result); i++) {
        struct gallery_person *has;
        if (!pg_batch_id(result, i, after, fault) ||
            !gallery_get(copy->gallery, after, false, &has, fault)) {
            return false;
        }
        batch->known[batch->known_count++] = has;
        pg_mark_drop_unreadable(copy->mark, after);
        if (has) {
            batch->ids[batch->id_count++] = has->id;
        }
    }
    return true;
}

/* Reads one page of changes and applies it; *more: another follows. With the last of people the
 * mark is that of the poll. */
static enum pg_outcome change_page(struct pg_copy *copy, bool gone, const struct poll *poll,
                                   char after[GALLERY_ID_MAX + 1], bool *more,
                                   struct whorl_fault *fault)
{
    struct pg_batch batch;
    enum pg_outcome outcome = PG_COPY_FAILED;
    PGresult *result = NULL;
    bool ok = pg_batch_begin(&batch, fault);
    if (ok) {
        result =
            ask_changes(copy, gone ? copy->mapping->gone : copy->mapping->people, after, fault);
        ok = result && pg_result_shape(result, gone ? 1 : PG_COLUMNS, -1, "read changes", fault) &&
             pg_batch_fits(result, fault);
    }
    ok = ok && (gone ? take_gone : take_changed)(copy, &batch, result, after, fault);
    *more = ok && PQntuples(result) == PG_PAGE;
    if (ok && !gone && !*more) {
        ok = reached(copy, poll, fault);
    }
    if (ok) {
        bool nothing = batch.count + batch.id_count == 0 &&
                       pg_copy_seconds(CLOCK_MONOTONIC) - copy->kept < KEEP_EVERY;
        copy->changed += batch.count + batch.id_count;
        outcome = nothing ? PG_COPY_DONE : pg_copy_apply(copy, &batch, fault);
    }
    PQclear(result);
    pg_batch_end(&batch);
    return outcome;
}

static enum pg_outcome take_changes(struct pg_copy *copy, const struct poll *poll,
                                    struct whorl_fault *fault)
{
    char after[GALLERY_ID_MAX + 1] = "";
    enum pg_outcome outcome = PG_COPY_DONE;
    for (bool more = poll->gone > 0; more && outcome == PG_COPY_DONE;) {
        outcome = change_page(copy, true, poll, after, &more, fault);
    }
    after[0] = '\0';
    for (bool more = true; more && outcome == PG_COPY_DONE;) {
        outcome = change_page(copy, false, poll, after, &more, fault);
    }
    return outcome;
}

static bool ask_poll(struct pg_copy *copy, struct poll *poll, struct whorl_fault *fault)
{
    const char *parameters[] = {copy->mark->position};
    PGresult *result =
        pg_ask(&copy->quick, copy->mapping->poll, parameters, 1, "look for changes", fault);
    if (!result) {
        return false;
    }
    bool ok = pg_result_shape(result, 5, 1, "look for changes", fault) &&
              ((pg_result_number(result, 1, &poll->changed) &&
                pg_result_number(result, 2, &poll->nameless) &&
                pg_result_number(result, 3, &poll->gone)) ||
               whorl_fail(fault, "", "the database counts in what are no numbers"));
    poll->past = ok && strcmp(pg_result_value(result, 4), "true") == 0;
    poll->position = ok ? strdup(pg_result_value(result, 0)) : NULL;
    PQclear(result);
    return poll->position || (ok && whorl_fail(fault, "", "out of memory"));
}

static bool begin_behind(struct pg_copy *copy, const char *why, struct whorl_fault *fault)
{
    pg_copy_say(copy, WHORL_LOG_WARNING, "%s: everything is compared with the database", why);
    copy->mark->behind = true;
    return pg_copy_begin_pass(copy, fault);
}

/* Nothing has changed since the position, so that a newer one says the same; it is kept only now
 * and then, because that costs a write. */
static enum pg_outcome nothing_new(struct pg_copy *copy, const struct poll *poll,
                                   struct whorl_fault *fault)
{
    if (!reached(copy, poll, fault)) {
        return PG_COPY_FAILED;
    }
    bool keep = pg_copy_seconds(CLOCK_MONOTONIC) - copy->kept >= KEEP_EVERY;
    return keep ? pg_copy_apply(copy, NULL, fault) : PG_COPY_DONE;
}

static void tell_changes(struct pg_copy *copy)
{
    if (copy->changed > 0 && pg_copy_seconds(CLOCK_MONOTONIC) - copy->said >= WORDS_EVERY) {
        pg_copy_say(copy, WHORL_LOG_INFO, "%" PRIu64 " changes taken over from the database",
                    copy->changed);
        copy->said = pg_copy_seconds(CLOCK_MONOTONIC);
        copy->changed = 0;
        copy->bad_words = 0;
    }
}

bool pg_copy_changes(struct pg_copy *copy, bool *agreed, struct whorl_fault *fault)
{
    struct poll poll = {.asked = pg_copy_seconds(CLOCK_REALTIME)};
    *agreed = false;
    if (!copy->mark->position[0]) {
        return pg_copy_begin_pass(copy, fault);
    }
    if (!pg_copy_collect(copy, fault) || !ask_poll(copy, &poll, fault)) {
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
        if (!none) {
            pg_copy_drop_ahead(copy); /* it may be older than what comes now */
        }
        if (poll.nameless > 0 && mark->nameless == 0) {
            mark->nameless = 1; /* how many, the next pass counts */
        }
        enum pg_outcome outcome =
            none ? nothing_new(copy, &poll, fault) : take_changes(copy, &poll, fault);
        *agreed = outcome == PG_COPY_DONE && mark->whole && !mark->behind;
        ok = outcome != PG_COPY_FAILED;
        if (!ok && mark == copy->mark) {
            mark->agreed = before;
        }
    }
    free(poll.position);
    tell_changes(copy);
    return ok;
}
