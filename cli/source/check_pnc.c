/* whorl source check, of PNC records: whether a database's table is what the plugin can use. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/source/source_args.h"
#include "plugins/pnc/table.h"
#include "whorl/msg.h"

#define PATIENCE_MS 60000u
#define STATEMENT_MS 2500u /* as the plugin gives each */
#define BAD_MAX 20u        /* rows that are named */

/* Makes each of the plugin's look-ups once, by a key that nobody has: names and types fit if the
 * database takes them. */
static bool try_lookups(const struct pg_ask *ask, const struct pnc_table *table,
                        struct whorl_fault *fault)
{
    static const char *const nobody[] = {"-"};
    char sql[PNC_SQL_CAP];
    for (enum pnc_key by = PNC_BY_PNCID; by <= PNC_BY_NAME; by++) {
        pnc_table_sql(table, by, PNC_ALL_CLASSES, sql);
        PGresult *rows = pg_ask(ask, sql, nobody, 1, "look people up", fault);
        bool empty = rows != NULL && PQntuples(rows) > 0;
        PQclear(rows);
        if (rows == NULL) {
            return false;
        }
        if (empty) {
            return whorl_fail(fault, "", "the database holds no PNC records");
        }
    }
    printf("columns    fit\n");
    return true;
}

/* Reads some rows; *bad: how many can't be used. */
static bool try_rows(const struct pg_ask *ask, const struct pnc_table *table, unsigned *bad,
                     struct whorl_fault *fault)
{
    char sql[PNC_SQL_CAP];
    pnc_table_sample_sql(table, sql);
    PGresult *rows = pg_ask(ask, sql, NULL, 0, "read records", fault);
    if (rows == NULL) {
        return false;
    }
    for (int i = 0; i < PQntuples(rows); i++) {
        struct whorl_fault why = {{0}, {0}};
        const char *id = PQgetvalue(rows, i, 0);
        if (pnc_table_sample_row(rows, i, &why) || (*bad)++ >= BAD_MAX) {
            continue;
        }
        bool clean = strlen(id) <= 32 && whorl_text_is_clean(id, strlen(id));
        printf("           %s: %s: %s\n", clean ? id : "(no PNCID)", why.where, why.text);
    }
    printf("records    of %d that were read, %u can't be used\n", PQntuples(rows), *bad);
    PQclear(rows);
    return true;
}

int source_check_pnc(const struct conf_plugin *plugin)
{
    struct whorl_fault fault = {{0}, {0}};
    struct pnc_table table;
    struct source_place place;
    unsigned bad = 0;
    if (!pnc_table_read(plugin->settings, &table, &fault)) {
        return print_fault(&fault);
    }
    const char *const tables[] = {table.name, NULL};
    const struct pg_use use = {
        .application = "whorl source", .statement_ms = STATEMENT_MS, .tables = tables};
    if (!source_connect(&place, plugin->settings, &use)) {
        return EXIT_FAILED;
    }
    source_print_connection(&place);
    const struct pg_ask ask = {place.link, -1, PATIENCE_MS};
    bool ok = try_lookups(&ask, &table, &fault) && try_rows(&ask, &table, &bad, &fault);
    source_leave(&place);
    return !ok ? print_fault(&fault) : bad > 0 ? EXIT_NEGATIVE : EXIT_DONE;
}
