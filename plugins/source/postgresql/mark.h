/* How far a copy of a database has come: the mark of its gallery (gallery/copy.h). */
#ifndef PLUGINS_SOURCE_POSTGRESQL_MARK_H
#define PLUGINS_SOURCE_POSTGRESQL_MARK_H

#include <msgpack.h>

#include "gallery/gallery.h"
#include "whorl/plugin.h"

#define PG_POSITION_MAX 65536u /* bytes */
#define PG_UNREADABLE_MAX 1000u

enum pg_overflow {
    PG_OVERFLOW_NONE,
    PG_OVERFLOW,         /* some are not in the list */
    PG_OVERFLOW_COUNTING /* so it was; the list was emptied, and a pass fills it again */
};

struct pg_mark {
    char database[64]; /* which one: its cluster's identifier and its own */
    char place[168];   /* where it was reached, for people: another place may be another database */
    int64_t timeline;  /* of the cluster: another one after a fail-over or a restore */
    char mapping[65];  /* pg_mapping's digest */
    char position[PG_POSITION_MAX + 1]; /* everything up to here has been copied; "": nothing */
    bool whole;                         /* everybody has been copied once */
    bool behind;    /* what lies between is not known: only comparing everything will tell */
    int64_t agreed; /* Unix seconds when the copy last agreed with the database; 0: never */

    /* Comparing everything: the first copy, or again. */
    bool pass;                      /* it is going on */
    char after[GALLERY_ID_MAX + 1]; /* up to this person */
    uint64_t done, of;              /* people */
    uint64_t put, removed;          /* what was not as it should be, in this or the last one */
    int64_t passed;                 /* Unix seconds when the last one ended; 0: never */

    /* Who can't be read. */
    uint64_t nameless; /* people without a usable id, when everything was last compared or later */
    uint8_t overflow;  /* enum pg_overflow: more than there is room for */
    uint32_t unreadable_count;
    char unreadable[PG_UNREADABLE_MAX][GALLERY_ID_MAX + 1];
};

/* Packs it. */
void pg_mark_pack(const struct pg_mark *mark, msgpack_sbuffer *out);

/* Reads what was packed; every byte is checked. false with *fault. */
bool pg_mark_read(const uint8_t *bytes, size_t len, struct pg_mark *mark,
                  struct whorl_fault *fault);

/* How many people of the database the copy lacks. */
uint64_t pg_mark_missing(const struct pg_mark *mark);

/* The beginning and the end of comparing everything. */
void pg_mark_begin_pass(struct pg_mark *mark, uint64_t of, uint64_t nameless);
void pg_mark_end_pass(struct pg_mark *mark, int64_t now);

void pg_mark_add_unreadable(struct pg_mark *mark, const char *id);
void pg_mark_drop_unreadable(struct pg_mark *mark, const char *id);
/* Those behind `after` and up to `last` (NULL: up to the end). */
void pg_mark_drop_range(struct pg_mark *mark, const char *after, const char *last);

#endif
