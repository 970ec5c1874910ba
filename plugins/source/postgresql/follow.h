/* A thread that keeps a copy of a database's people, for as long as a backend's instance lives. */
#ifndef PLUGINS_SOURCE_POSTGRESQL_FOLLOW_H
#define PLUGINS_SOURCE_POSTGRESQL_FOLLOW_H

#include "gallery/finger_search.h"
#include "plugins/source/postgresql/mapping.h"

/* What a plugin's schema needs for `source = postgresql`. */
#define PG_FOLLOW_SETTINGS                                                                         \
    PG_SETTINGS, PG_MAPPING_SETTINGS,                                                              \
        {"stale_limit",                                                                            \
         WHORL_SETTING_INTEGER,                                                                    \
         0,                                                                                        \
         "3600",                                                                                   \
         1,                                                                                        \
         31536000,                                                                                 \
         "seconds without agreement with the database after which nothing is searched"},           \
    {                                                                                              \
        "unreadable_limit", WHORL_SETTING_INTEGER, 0, "0", 0, 1000,                                \
            "people of the database that may be unreadable while no_match is still answered"       \
    }

/* The copy is in DATA_DIR/NAME/COPY_DIR. */
#define PG_COPY_DIR "postgresql"

struct pg_follow;

/* Validates those settings. -1 with *fault. */
int pg_follow_check(const struct whorl_settings *settings, struct whorl_fault *fault);

/* Starts the thread. NULL with *fault. host must outlive it. Loop thread. */
struct pg_follow *pg_follow_start(const struct whorl_host *host, struct whorl_fault *fault);

/* Where the gallery is; lives as long as follow. */
const char *pg_follow_dir(const struct pg_follow *follow);

/* How the copy stands; arg is the struct pg_follow. As in struct finger_search_copy. */
void pg_follow_standing(void *arg, struct finger_search_standing *standing);

/* Ends the thread: within what it takes to write a page of people. One that is looking a host's
 * name up is left to itself after a second. */
void pg_follow_stop(struct pg_follow *follow);

#endif
