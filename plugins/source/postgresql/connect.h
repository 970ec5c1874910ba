/* A connection to a PostgreSQL server that is somebody else's: made by settings, over TLS, with a
 * role that may only read, and made anew whenever it is lost.
 *
 * Off this machine the server must prove who it is: sslmode is verify-full, and nothing changes
 * that. A host is on this machine if it is a socket's folder (/run/postgresql), localhost,
 * 127.0.0.0/8 or ::1; TLS is then used if the server has it, and verified if database_ca is set.
 * libpq's notices go nowhere; what a server says when it refuses a connection is repeated if it is
 * clean text, its first 200 bytes. No text made here holds a password. */
#ifndef PLUGINS_SOURCE_POSTGRESQL_CONNECT_H
#define PLUGINS_SOURCE_POSTGRESQL_CONNECT_H

#include <libpq-fe.h>
#include <poll.h>

#include "whorl/plugin.h"

/* What a plugin's schema needs for pg_target_read: put PG_SETTINGS among its settings. */
#define PG_SETTING(name, flags, max, about)                                                        \
    {                                                                                              \
        name, WHORL_SETTING_STRING, flags, NULL, 0, max, about                                     \
    }
#define PG_SETTINGS                                                                                 \
    PG_SETTING("database", 0, 1000,                                                                 \
               "where the PostgreSQL database is: \"host=… dbname=… user=…\", also port and " \
               "target_session_attrs"),                                                             \
        PG_SETTING("password_file", WHORL_SETTING_PATH, 1024,                                       \
                   "the file whose first line is the role's password; read at every connection"),   \
        PG_SETTING("database_ca", WHORL_SETTING_PATH, 1024,                                         \
                   "the authority (PEM) that the database's certificate must be of"),               \
        PG_SETTING("database_certificate", WHORL_SETTING_PATH, 1024,                                \
                   "the certificate (PEM) shown to the database, if it wants one"),                 \
        PG_SETTING("database_key", WHORL_SETTING_PATH, 1024, "its private key (PEM)")

/* ------------------------------------------------------------------ where */

/* Where a database is and how it is reached. Immutable: any thread may read it. */
struct pg_target;

/* Reads the settings of PG_SETTINGS and looks at the files they name. NULL with *fault, whose where
 * is the setting. Does not connect. End with pg_target_free. */
struct pg_target *pg_target_read(const struct whorl_settings *settings, struct whorl_fault *fault);
void pg_target_free(struct pg_target *target);

/* "whorl at db.example:5432", for people. Lives as long as target. */
const char *pg_target_name(const struct pg_target *target);

/* ------------------------------------------------------------------ a connection */

struct pg_use {
    const char *application; /* how the connection is called in pg_stat_activity */
    bool write;            /* else the session is read-only, and a role that may write is refused */
    bool replication;      /* a connection that takes replication commands too */
    unsigned statement_ms; /* a statement is ended by the server after so long; 0: never */
    const char *const *tables; /* "schema.table", NULL-terminated: that must be there, and that
                                * the role can read and must not be able to write; or NULL */
};

/* A connection that comes back. Owned by one thread, which waits for it among its other
 * descriptors:
 *
 *     for (;;) {
 *         struct pollfd fds[2] = {{.fd = wake, .events = POLLIN}};
 *         int ms = pg_link_wants(link, &fds[1]);
 *         poll(fds, 2, ms);
 *         switch (pg_link_step(link, &fault)) { … }
 *     }
 *
 * Attempts follow each other after 0.1 s, twice as long each time up to 5 s, half of that at
 * random, and 0.1 s again after a connection of more than 5 s; each is given 10 s. */
struct pg_link;

enum pg_news {
    PG_NOTHING, /* go on */
    PG_UP,      /* the connection has come up and was checked: use pg_link_conn */
    PG_FAILED,  /* an attempt failed, *fault says why in words; another one follows by itself */
};

/* Makes a link and touches no network. target and use->tables must outlive it. NULL: out of memory.
 */
struct pg_link *pg_link_new(const struct pg_target *target, const struct pg_use *use);
void pg_link_free(struct pg_link *link);

/* What to wait for: sets *fd (fd -1 while between two attempts) and returns for how many
 * milliseconds at most, -1 for as long as it takes. While the link is up it waits for POLLIN; add
 * POLLOUT when PQflush says so. */
int pg_link_wants(const struct pg_link *link, struct pollfd *fd);

/* Goes on with connecting, without blocking except for the host's name to be resolved. Once up it
 * has nothing to do. */
enum pg_news pg_link_step(struct pg_link *link, struct whorl_fault *fault);

/* The connection, non-blocking (PQsetnonblocking); NULL unless the link is up. */
PGconn *pg_link_conn(const struct pg_link *link);

/* Whoever uses the connection found that it is lost or unfit: closes it; it will be made anew. */
void pg_link_lost(struct pg_link *link);

/* Waits until the link is up, also through attempts that fail. wake: a descriptor (eventfd) that
 * ends the wait once it is readable, or -1. give_up_ms: for how long at most, 0: one attempt. false
 * with *fault of the last attempt; "" when woken before any. Blocks. */
bool pg_link_wait(struct pg_link *link, int wake, unsigned give_up_ms, struct whorl_fault *fault);

/* ------------------------------------------------------------------ results */

/* What went wrong with a statement, in words that say what to do; result may be NULL (the
 * connection was lost). doing: "look people up". SQL and values are not repeated. Returns false. */
bool pg_result_fail(const PGresult *result, const char *doing, struct whorl_fault *fault);

/* Whether it holds rows of so many columns; rows -1: any number. false with *fault. */
bool pg_result_shape(const PGresult *result, int columns, int rows, const char *doing,
                     struct whorl_fault *fault);

/* A value of a single row, as text without a NUL in it, which lives with the result; and as a
 * number, false if it is none. */
const char *pg_result_value(const PGresult *result, int column);
bool pg_result_number(const PGresult *result, int column, uint64_t *out);

#endif
