/* Inside: what a target holds. */
#ifndef PLUGINS_SOURCE_POSTGRESQL_TARGET_H
#define PLUGINS_SOURCE_POSTGRESQL_TARGET_H

#include "plugins/source/postgresql/connect.h"

#define PG_PASSWORD_MAX 512u

struct pg_target {
    char *host, *port, *dbname, *user, *session_attrs; /* port and session_attrs may be NULL */
    char *ca, *certificate, *key, *password_file;      /* or NULL */
    bool local;                                        /* every host is this machine */
    char name[81];
};

/* Reads the password file's first line into password (PG_PASSWORD_MAX + 1 bytes; wipe it). "" when
 * the target has none. */
bool pg_target_password(const struct pg_target *target, char *password, struct whorl_fault *fault);

#endif
