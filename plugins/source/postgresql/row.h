/* From a row of somebody else's database to a person that a gallery takes. The row is no more
 * trusted than a device's message: every value is bounded and checked. */
#ifndef PLUGINS_SOURCE_POSTGRESQL_ROW_H
#define PLUGINS_SOURCE_POSTGRESQL_ROW_H

#include "gallery/gallery.h"
#include "plugins/source/postgresql/mapping.h"

/* Memory that is released all at once. All zero: empty. */
struct pg_arena {
    struct pg_arena_block *first;
};
void *pg_arena_alloc(struct pg_arena *arena, size_t size); /* 8-byte aligned; NULL: none is left */
void pg_arena_release(struct pg_arena *arena);

/* The values of a row as they came, by enum pg_column; len -1: NULL. */
struct pg_row {
    const char *value[PG_COLUMNS];
    int len[PG_COLUMNS];
};

enum pg_row_kind {
    PG_ROW_PERSON,
    PG_ROW_GONE, /* somebody who is not to be found: deleted, or without a single print */
    PG_ROW_BAD,
    PG_ROW_NO_MEMORY
};

/* Reads a row. *person is one that gallery_put takes and points into row and arena; where it is
 * BAD, *fault names the column and what is wrong with it, without its value. Any thread. */
enum pg_row_kind pg_row_read(const struct pg_row *row, struct pg_arena *arena,
                             struct gallery_person *person, struct whorl_fault *fault);

/* Whether two people are the same to whoever searches or reads, templates included. */
bool pg_person_same(const struct gallery_person *a, const struct gallery_person *b);

#endif
