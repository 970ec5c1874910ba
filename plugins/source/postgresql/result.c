/* What became of a statement, in words. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/source/postgresql/connect.h"
#include "whorl/msg.h"

/* SQLSTATEs (PostgreSQL, Appendix A: error codes), by their beginnings. */
static const struct {
    const char *state, *words;
} meanings[] = {
    {"42P01", "a table that it needs is not there: look at the mapping, or run whorl source init"},
    {"42703", "a column that it needs is not there: look at the mapping"},
    {"3F000", "a schema that it needs is not there: look at the mapping, or run whorl source init"},
    {"42501", "its role may not: GRANT SELECT on the tables and USAGE on their schema"},
    {"25006", "the session is read-only"},
    {"57014", "it took too long: is the index there?"},
    {"57P0", "it is shutting down or the connection was ended there"},
    {"53", "it has run out of memory, disk or connections"},
    {"40", "another transaction was in the way"},
    {"42", "the statement doesn't fit its tables: look at the mapping"},
    {"22", "a value there has an unexpected form"},
    {"23", "the rows would break a rule of the table"},
};

bool pg_result_fail(const PGresult *result, const char *doing, struct whorl_fault *fault)
{
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *words = "it failed";
    if (state == NULL || strlen(state) != 5 || !whorl_text_is_clean(state, 5)) {
        return whorl_fail(fault, "", "cannot %s in the database: %s", doing,
                          result == NULL ? "the connection was lost" : "its answer makes no sense");
    }
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        if (strncmp(state, meanings[i].state, strlen(meanings[i].state)) == 0) {
            words = meanings[i].words;
            break;
        }
    }
    return whorl_fail(fault, "", "cannot %s in the database: %s (SQLSTATE %s)", doing, words,
                      state);
}

bool pg_result_shape(const PGresult *result, int columns, int rows, const char *doing,
                     struct whorl_fault *fault)
{
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQnfields(result) == columns &&
        (rows < 0 || PQntuples(result) == rows)) {
        return true;
    }
    return whorl_fail(fault, "", "cannot %s in the database: its answer makes no sense", doing);
}

const char *pg_result_value(const PGresult *result, int column)
{
    const char *text = PQgetvalue(result, 0, column);
    return strlen(text) == (size_t)PQgetlength(result, 0, column) ? text : "";
}

bool pg_result_number(const PGresult *result, int column, uint64_t *out)
{
    const char *text = pg_result_value(result, column);
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 &&
           *out <= 9000000000000000;
}
