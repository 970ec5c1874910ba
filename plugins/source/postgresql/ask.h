/* One statement at a time over a link, from a thread that may wait but must be able to stop. */
#ifndef PLUGINS_SOURCE_POSTGRESQL_ASK_H
#define PLUGINS_SOURCE_POSTGRESQL_ASK_H

#include "plugins/source/postgresql/connect.h"

#define PG_ASK_PARAMETERS_MAX 4

struct pg_ask {
    struct pg_link *link; /* up */
    int wake;             /* readable: give up; or -1 */
    unsigned patience_ms; /* of silence from the server, after which the connection is given up */
};

/* Sends a statement, its parameters as text (count of them; NULL: SQL's NULL). doing: for the
 * fault, "look people up". false with *fault; the link is then lost. Does not block. */
bool pg_ask_send(const struct pg_ask *ask, const char *sql, const char *const *parameters,
                 int count, const char *doing, struct whorl_fault *fault);

/* Waits for its result, values in binary. NULL with *fault, whose text is "" when woken; the link
 * is then lost, unless the server refused the statement. End with PQclear. */
PGresult *pg_ask_wait(const struct pg_ask *ask, const char *doing, struct whorl_fault *fault);

/* Both. */
PGresult *pg_ask(const struct pg_ask *ask, const char *sql, const char *const *parameters,
                 int count, const char *doing, struct whorl_fault *fault);

/* Waits until the server sends something of its own accord (a notification), for `ms` at most, or
 * until woken. *told: it was a notification. false with *fault: the connection is lost. */
bool pg_ask_idle(const struct pg_ask *ask, int ms, bool *told, struct whorl_fault *fault);

#endif
