/* Everybody, in order of id, compared with the gallery. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "plugins/source/postgresql/copy_internal.h"
#include "whorl/msg.h"

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
    if (!pg_copy_collect(copy, fault)) {
        return NULL;
    }
    if (!ahead) {
        pg_copy_drop_ahead(copy);
        if (!send_page(copy, copy->mark->after, fault) || !pg_copy_collect(copy, fault)) {
            return NULL;
        }
    }
    PGresult *page = copy->ready;
    copy->ready = NULL;
    last[0] = '\0';
    if (!pg_result_shape(page, PG_COLUMNS, -1, "read people", fault) ||
        !pg_batch_fits(page, fault) ||
        (PQntuples(page) == PG_PAGE &&
         (!pg_batch_id(page, PG_PAGE - 1, last, fault) || !send_page(copy, last, fault)))) {
        PQclear(page);
        return NULL;
    }
    return page;
}

/* Page and gallery side by side, up to `last` (NULL: to the end). */
static bool merge(struct pg_copy *copy, struct pg_batch *batch, const PGresult *page,
                  const char *last, struct whorl_fault *fault)
{
    int rows = PQntuples(page), i = 0;
    size_t k = 0;
    char id[GALLERY_ID_MAX + 1] = "", before[GALLERY_ID_MAX + 1] = "";
    for (;;) {
        bool row_left = i < rows;
        if (row_left && !pg_batch_id(page, i, id, fault)) {
            return false;
        }
        row_left = row_left && (!last || strcmp(id, last) <= 0);
        bool known_left =
            k < batch->known_count && (!last || strcmp(batch->known[k]->id, last) <= 0);
        if (!row_left && !known_left) {
            return true;
        }
        int order = !row_left ? 1 : !known_left ? -1 : strcmp(id, batch->known[k]->id);
        if (order > 0) {
            batch->ids[batch->id_count++] = batch->known[k++]->id;
            continue;
        }
        struct pg_row row;
        if (i > 0 && strcmp(id, before) <= 0) {
            return whorl_fail(fault, "", "the database has person %s twice, or out of order", id);
        }
        memcpy(before, id, sizeof before);
        pg_batch_row(page, i++, &row);
        if (!pg_batch_take(copy, batch, &row, id, order == 0 ? batch->known[k++] : NULL, fault)) {
            return false;
        }
        copy->mark->done++;
    }
}

/* How far both reach: the smaller of the page's last person and the gallery's; NULL: to the end. */
static const char *common_end(const char *page_last, const struct pg_batch *batch)
{
    const char *last = page_last[0] ? page_last : NULL;
    if (batch->known_count == PG_PAGE) {
        const char *own = batch->known[PG_PAGE - 1]->id;
        last = !last || strcmp(own, last) < 0 ? own : last;
    }
    return last;
}

static void tell_pass(struct pg_copy *copy, bool over)
{
    const struct pg_mark *mark = copy->mark;
    int64_t now = pg_copy_seconds(CLOCK_MONOTONIC);
    if (over) {
        pg_copy_say(copy, WHORL_LOG_INFO,
                    "all %" PRIu64 " people of the database are in the copy: %" PRIu64
                    " put, %" PRIu64 " removed, %" PRIu64 " unreadable",
                    mark->done, mark->put, mark->removed, pg_mark_missing(mark));
        copy->bad_words = 0;
    } else if (now - copy->said >= WORDS_EVERY) {
        pg_copy_say(copy, WHORL_LOG_INFO,
                    "%" PRIu64 " of %" PRIu64 " people of the database compared", mark->done,
                    mark->of);
        copy->said = now;
    }
}

static enum pg_outcome work_through(struct pg_copy *copy, const PGresult *page,
                                    const char *page_last, struct pg_batch *batch,
                                    struct whorl_fault *fault)
{
    struct pg_mark *mark = copy->mark;
    if (!gallery_next(copy->gallery, mark->after, batch->known, PG_PAGE, &batch->known_count,
                      fault)) {
        return PG_COPY_FAILED;
    }
    const char *last = common_end(page_last, batch);
    pg_mark_drop_range(mark, mark->after, last);
    if (!merge(copy, batch, page, last, fault)) {
        return PG_COPY_FAILED;
    }
    mark->put += batch->count;
    mark->removed += batch->id_count;
    if (last) {
        snprintf(mark->after, sizeof mark->after, "%s", last);
    } else {
        pg_mark_end_pass(mark, pg_copy_seconds(CLOCK_REALTIME));
    }
    enum pg_outcome outcome = pg_copy_apply(copy, batch, fault);
    if (outcome == PG_COPY_DONE) {
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
    struct pg_batch batch;
    PGresult *page = NULL;
    enum pg_outcome outcome = PG_COPY_FAILED;
    if (pg_batch_begin(&batch, fault) && (page = next_page(copy, last, fault)) != NULL) {
        outcome = work_through(copy, page, last, &batch, fault);
    }
    PQclear(page);
    pg_batch_end(&batch);
    *busy = outcome != PG_COPY_FAILED && copy->mark->pass;
    if (!*busy) {
        pg_copy_leave_pass(copy);
    }
    return outcome != PG_COPY_FAILED;
}
