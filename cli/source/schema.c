#include "cli/source/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/pnc/schema.h"
#include "whorl/msg.h"

/* Whoever makes the schema at the same time waits on this number ("whorl"). */
#define LOCK "SELECT pg_advisory_xact_lock(512970878060)"

/* Never change one that was published: add another. */
static const struct {
    const char *name, *sql;
} migrations[] = {
    {"people and their prints",
     "CREATE TABLE whorl.people ("
     " id text COLLATE \"C\" PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 64),"
     " identifiers jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(identifiers) = 'object'),"
     " names jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(names) = 'array'),"
     " born date,"
     " sex text CHECK (sex IN ('male', 'female', 'other', 'unknown')),"
     " details jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(details) = 'array'),"
     " source text NOT NULL DEFAULT '',"
     " enrolled timestamptz NOT NULL DEFAULT now(),"
     " expires timestamptz,"
     " version xid8 NOT NULL DEFAULT pg_current_xact_id());"
     "CREATE INDEX people_version ON whorl.people (version);"
     "CREATE TABLE whorl.prints ("
     " person text COLLATE \"C\" NOT NULL REFERENCES whorl.people"
     "  ON UPDATE CASCADE ON DELETE CASCADE,"
     " position smallint NOT NULL DEFAULT 0 CHECK (position BETWEEN 0 AND 10),"
     " impression smallint NOT NULL DEFAULT 0 CHECK (impression BETWEEN 0 AND 255),"
     " format text NOT NULL CHECK (format IN ('whorl', 'iso19794-2')),"
     " template bytea NOT NULL CHECK (octet_length(template) BETWEEN 1 AND 16384),"
     " PRIMARY KEY (person, position, impression));"
     "CREATE TABLE whorl.removed ("
     " id text COLLATE \"C\" PRIMARY KEY,"
     " version xid8 NOT NULL DEFAULT pg_current_xact_id());"
     "CREATE INDEX removed_version ON whorl.removed (version);"},
    {"versions, removals and notifications",
     "CREATE FUNCTION whorl.people_stamp() RETURNS trigger LANGUAGE plpgsql AS $$"
     " BEGIN NEW.version := pg_catalog.pg_current_xact_id(); RETURN NEW; END $$;"
     "CREATE TRIGGER people_stamp BEFORE INSERT OR UPDATE ON whorl.people"
     " FOR EACH ROW EXECUTE FUNCTION whorl.people_stamp();"
     "CREATE FUNCTION whorl.people_come() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
     " SET search_path = pg_catalog AS $$ BEGIN"
     " DELETE FROM whorl.removed r USING rows n WHERE r.id = n.id; RETURN NULL; END $$;"
     "CREATE TRIGGER people_come AFTER INSERT ON whorl.people REFERENCING NEW TABLE AS rows"
     " FOR EACH STATEMENT EXECUTE FUNCTION whorl.people_come();"
     "CREATE FUNCTION whorl.people_go() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
     " SET search_path = pg_catalog AS $$ BEGIN"
     " INSERT INTO whorl.removed (id) SELECT o.id FROM rows o"
     "  WHERE NOT EXISTS (SELECT FROM whorl.people p WHERE p.id = o.id)"
     "  ON CONFLICT (id) DO UPDATE SET version = pg_current_xact_id(); RETURN NULL; END $$;"
     "CREATE TRIGGER people_go AFTER DELETE ON whorl.people REFERENCING OLD TABLE AS rows"
     " FOR EACH STATEMENT EXECUTE FUNCTION whorl.people_go();"
     /* An update that leaves the ids alone must not touch this table: TRUNCATE … CASCADE makes one
      * of prints after the people have been noted as removed. */
     "CREATE FUNCTION whorl.people_rename() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
     " SET search_path = pg_catalog AS $$ BEGIN"
     " DELETE FROM whorl.removed r USING rows n WHERE r.id = n.id"
     "  AND NOT EXISTS (SELECT FROM before o WHERE o.id = n.id);"
     " INSERT INTO whorl.removed (id) SELECT o.id FROM before o"
     "  WHERE NOT EXISTS (SELECT FROM rows n WHERE n.id = o.id)"
     "  ON CONFLICT (id) DO UPDATE SET version = pg_current_xact_id(); RETURN NULL; END $$;"
     "CREATE TRIGGER people_rename AFTER UPDATE ON whorl.people"
     " REFERENCING OLD TABLE AS before NEW TABLE AS rows"
     " FOR EACH STATEMENT EXECUTE FUNCTION whorl.people_rename();"
     "CREATE FUNCTION whorl.people_truncate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
     " SET search_path = pg_catalog AS $$ BEGIN"
     " INSERT INTO whorl.removed (id) SELECT p.id FROM whorl.people p"
     "  ON CONFLICT (id) DO UPDATE SET version = pg_current_xact_id(); RETURN NULL; END $$;"
     "CREATE TRIGGER people_truncate BEFORE TRUNCATE ON whorl.people"
     " FOR EACH STATEMENT EXECUTE FUNCTION whorl.people_truncate();"
     "CREATE FUNCTION whorl.people_notify() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
     " PERFORM pg_catalog.pg_notify('whorl_people', ''); RETURN NULL; END $$;"
     "CREATE TRIGGER people_notify AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON whorl.people"
     " FOR EACH STATEMENT EXECUTE FUNCTION whorl.people_notify();"
     "CREATE FUNCTION whorl.prints_touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
     " SET search_path = pg_catalog AS $$ BEGIN"
     " UPDATE whorl.people p SET version = pg_current_xact_id()"
     "  WHERE p.id IN (SELECT r.person FROM rows r) AND p.version <> pg_current_xact_id();"
     " RETURN NULL; END $$;"
     "CREATE TRIGGER prints_come AFTER INSERT ON whorl.prints REFERENCING NEW TABLE AS rows"
     " FOR EACH STATEMENT EXECUTE FUNCTION whorl.prints_touch();"
     "CREATE TRIGGER prints_change_to AFTER UPDATE ON whorl.prints REFERENCING NEW TABLE AS rows"
     " FOR EACH STATEMENT EXECUTE FUNCTION whorl.prints_touch();"
     "CREATE TRIGGER prints_change_from AFTER UPDATE ON whorl.prints REFERENCING OLD TABLE AS rows"
     " FOR EACH STATEMENT EXECUTE FUNCTION whorl.prints_touch();"
     "CREATE TRIGGER prints_go AFTER DELETE ON whorl.prints REFERENCING OLD TABLE AS rows"
     " FOR EACH STATEMENT EXECUTE FUNCTION whorl.prints_touch();"
     "CREATE FUNCTION whorl.prints_truncate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
     " SET search_path = pg_catalog AS $$ BEGIN"
     " UPDATE whorl.people p SET version = pg_current_xact_id()"
     "  WHERE EXISTS (SELECT FROM whorl.prints r WHERE r.person = p.id); RETURN NULL; END $$;"
     "CREATE TRIGGER prints_truncate BEFORE TRUNCATE ON whorl.prints"
     " FOR EACH STATEMENT EXECUTE FUNCTION whorl.prints_truncate();"},
    {"PNC records", pnc_schema_sql},
};

#define MIGRATIONS (sizeof migrations / sizeof *migrations)

/* The role has no password yet: until it is given one, nobody can be it. */
static const char role[] = "DO $$ BEGIN CREATE ROLE " SOURCE_READER " LOGIN; "
                           "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";

static const char *const grants[] = {
    "REVOKE ALL ON SCHEMA whorl FROM PUBLIC",
    "GRANT USAGE ON SCHEMA whorl TO " SOURCE_READER,
    "GRANT SELECT ON ALL TABLES IN SCHEMA whorl TO " SOURCE_READER,
};

/* Several statements at once, which only the simple protocol takes. */
static bool run(const struct pg_ask *ask, const char *sql, const char *doing,
                struct whorl_fault *fault)
{
    PGconn *conn = pg_link_conn(ask->link);
    PGresult *result = conn && PQsendQuery(conn, sql) == 1 ? pg_ask_wait(ask, doing, fault) : NULL;
    if (!result) {
        return fault->text[0] ? false : pg_result_fail(NULL, doing, fault);
    }
    PQclear(result);
    return true;
}

static bool count_applied(const struct pg_ask *ask, unsigned *count, struct whorl_fault *fault)
{
    PGresult *result = pg_ask(ask, "SELECT coalesce(max(number), 0)::text FROM whorl.migrations",
                              NULL, 0, "look for its schema", fault);
    bool ok = result && PQntuples(result) == 1;
    *count = ok ? (unsigned)strtoul(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    PQclear(result);
    return ok;
}

static bool migrate(const struct pg_ask *ask, unsigned *applied, struct whorl_fault *fault)
{
    unsigned before;
    if (!run(ask, LOCK, "lock its schema", fault) ||
        !run(ask, "CREATE SCHEMA IF NOT EXISTS whorl", "make a schema", fault) ||
        !run(ask,
             "CREATE TABLE IF NOT EXISTS whorl.migrations (number integer PRIMARY KEY,"
             " name text NOT NULL, applied timestamptz NOT NULL DEFAULT now())",
             "make a table", fault) ||
        !count_applied(ask, &before, fault)) {
        return false;
    }
    if (before > MIGRATIONS) {
        return whorl_fail(fault, "",
                          "its schema is of a newer Whorl (%u migrations, this one knows %zu)",
                          before, MIGRATIONS);
    }
    for (unsigned i = before; i < MIGRATIONS; i++) {
        char number[16];
        snprintf(number, sizeof number, "%u", i + 1);
        const char *parameters[] = {number, migrations[i].name};
        PGresult *result = NULL;
        if (run(ask, migrations[i].sql, migrations[i].name, fault)) {
            result = pg_ask(ask, "INSERT INTO whorl.migrations (number, name) VALUES ($1, $2)",
                            parameters, 2, "note a migration", fault);
        }
        PQclear(result);
        if (!result) {
            return false;
        }
        ++*applied;
    }
    return true;
}

bool source_schema_make(const struct pg_ask *ask, unsigned *applied, unsigned *known,
                        struct whorl_fault *fault)
{
    *applied = 0;
    *known = MIGRATIONS;
    bool ok = run(ask, "BEGIN", "begin", fault) && migrate(ask, applied, fault) &&
              run(ask, role, "make the role " SOURCE_READER, fault);
    for (size_t i = 0; ok && i < sizeof grants / sizeof *grants; i++) {
        ok = run(ask, grants[i], "let " SOURCE_READER " read", fault);
    }
    /* Where something failed, the connection's end undoes all of it. */
    return ok && run(ask, "COMMIT", "commit", fault);
}
