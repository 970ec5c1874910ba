/* From the names in a plugin's settings to the statements that read somebody else's tables. */
#ifndef PLUGINS_SOURCE_POSTGRESQL_MAPPING_H
#define PLUGINS_SOURCE_POSTGRESQL_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

#include "plugins/source/postgresql/connect.h"
#include "whorl/plugin.h"

/* What a plugin's schema needs for pg_mapping_read. */
#define PG_MAPPING_SETTINGS                                                                        \
    {"people_table",                                                                               \
     WHORL_SETTING_STRING,                                                                         \
     0,                                                                                            \
     "whorl.people",                                                                               \
     1,                                                                                            \
     130,                                                                                          \
     "the database's table or view of people, as SCHEMA.NAME"},                                    \
        {"prints_table",           WHORL_SETTING_STRING, 0, "whorl.prints", 1, 130,                \
         "the one of their prints"},                                                               \
        {"removed_table",                                                                          \
         WHORL_SETTING_STRING,                                                                     \
         0,                                                                                        \
         "whorl.removed",                                                                          \
         0,                                                                                        \
         130,                                                                                      \
         "the one of people who are there no more; \"\": none"},                                   \
        {"columns",                                                                                \
         WHORL_SETTING_LIST,                                                                       \
         0,                                                                                        \
         NULL,                                                                                     \
         0,                                                                                        \
         80,                                                                                       \
         "what the columns are called, FIELD=COLUMN each; left out: as in Whorl's own schema"},    \
        {"channel",                                                                                \
         WHORL_SETTING_STRING,                                                                     \
         0,                                                                                        \
         "whorl_people",                                                                           \
         0,                                                                                        \
         63,                                                                                       \
         "on which the database notifies of changes; \"\": it is only asked every second"},        \
        {"longest_transaction",                                                                    \
         WHORL_SETTING_INTEGER,                                                                    \
         0,                                                                                        \
         "60",                                                                                     \
         1,                                                                                        \
         86400,                                                                                    \
         "seconds that a change may take to be committed, where versions are timestamps"},         \
    {                                                                                              \
        "compare_every", WHORL_SETTING_INTEGER, 0, "0", 0, 8760,                                   \
            "hours after which everything is compared again; 0: never"                             \
    }

/* The columns of the rows that `page` and `people` give, all text but prints (bytea). */
enum pg_column {
    PG_ID,
    PG_GONE, /* 't': is not to be found any more */
    PG_IDENTIFIERS,
    PG_NAMES,
    PG_BORN,
    PG_SEX,
    PG_DETAILS,
    PG_SOURCE,
    PG_ENROLLED,
    PG_EXPIRES,
    PG_PRINTS,
    PG_COLUMNS
};

#define PG_PAGE 2048           /* rows of one page at most */
#define PG_CHANGES_MAX 50000   /* more than that are not read one by one but compared */
#define PG_TEMPLATE_MAX 16384u /* bytes; a larger one comes as an empty one */
#define PG_JSON_MAX 65536u     /* characters; a longer text comes cut, and is then no JSON */

/* SQL. `position` is a text that stands for a point in the database's history: everything that was
 * committed by then has been seen. All values are text but prints. */
struct pg_mapping {
    char *tables[4]; /* quoted, for struct pg_use; NULL-terminated */
    char *listen;    /* LISTEN …; NULL: there is no channel */
    char *begin;     /* () -> the position now, how many people, how many without a usable id */
    char *page;      /* (after) -> rows by id, of its bytes, PG_PAGE of them */
    char *poll;   /* (position) -> the position now, how many people have changed since, how many of
                     these have no usable id, how many are gone, whether `position` lies in this
                     database's past. Counts end at PG_CHANGES_MAX + 1 */
    char *people; /* (position, after) -> the rows that have changed, by id, PG_PAGE of them */
    char *gone; /* (position, after) -> the ids that are gone, likewise; NULL: there is no table */
    char digest[65];        /* of the names, in hex: others make another copy */
    unsigned compare_every; /* hours; 0: never */
};

/* The statements for the settings. NULL with *fault naming the setting. Pure function. */
struct pg_mapping *pg_mapping_read(const struct whorl_settings *settings,
                                   struct whorl_fault *fault);
void pg_mapping_free(struct pg_mapping *mapping);

#endif
