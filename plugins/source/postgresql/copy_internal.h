/* What the parts of a copy share (copy.h): copy.c, the gallery's side and whose database it is;
 * copy_changes.c; copy_pass.c. One thread at a time. */
#ifndef PLUGINS_SOURCE_POSTGRESQL_COPY_INTERNAL_H
#define PLUGINS_SOURCE_POSTGRESQL_COPY_INTERNAL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "gallery/copy.h"
#include "plugins/source/postgresql/copy.h"
#include "plugins/source/postgresql/row.h"

#define KEEP_EVERY 60  /* seconds after which a position is kept even if nothing has changed */
#define WORDS_EVERY 10 /* seconds between lines about progress */

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
struct pg_batch {
    struct pg_arena arena;
    struct gallery_person *people; /* PG_PAGE */
    const char **ids;              /* 2 * PG_PAGE, to be removed */
    struct gallery_person **known; /* PG_PAGE: whom the gallery has of those that it is about */
    size_t count, id_count, known_count;
};

/* Of a step: done; somebody else was quicker, and what they did has been taken up; *fault says. */
enum pg_outcome { PG_COPY_DONE, PG_COPY_LATE, PG_COPY_FAILED };

/* Whole seconds of a clock. */
int64_t pg_copy_seconds(clockid_t clock);

/* A line into its log; no personal data. */
void pg_copy_say(struct pg_copy *copy, enum whorl_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes a batch (NULL: nobody), and the mark with it. */
enum pg_outcome pg_copy_apply(struct pg_copy *copy, const struct pg_batch *batch,
                              struct whorl_fault *fault);

/* Where changes will be read from; false if the mark can't hold it. */
bool pg_copy_set_position(struct pg_mark *mark, const char *position, struct whorl_fault *fault);

/* Reads a page that was asked for ahead, so that something else can be asked. */
bool pg_copy_collect(struct pg_copy *copy, struct whorl_fault *fault);

/* Forgets it. */
void pg_copy_drop_ahead(struct pg_copy *copy);

/* Lets somebody else make the pass. */
void pg_copy_leave_pass(struct pg_copy *copy);

/* End it also where it could not begin. */
bool pg_batch_begin(struct pg_batch *batch, struct whorl_fault *fault);
void pg_batch_end(struct pg_batch *batch);

/* Whether a page's rows are no more than were asked for. */
bool pg_batch_fits(const PGresult *page, struct whorl_fault *fault);

/* A row of a result, whose values it points to. */
void pg_batch_row(const PGresult *result, int i, struct pg_row *row);

/* Copies a row's id; the statements give none but of 1 to GALLERY_ID_MAX bytes. */
bool pg_batch_id(const PGresult *result, int i, char id[GALLERY_ID_MAX + 1],
                 struct whorl_fault *fault);

/* Takes a row in beside what the gallery has of that person, which may be NULL. */
bool pg_batch_take(struct pg_copy *copy, struct pg_batch *batch, const struct pg_row *row,
                   const char *id, const struct gallery_person *has, struct whorl_fault *fault);

#endif
