/* The database's table: names, SQL, rows. */
#include "plugins/pnc/table.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "whorl/msg.h"

#define NAME_MAX_LEN 63u /* of an identifier (PostgreSQL, 4.1.1) */

enum { COLUMN_PNCID, COLUMN_CRO, COLUMN_NAME_KEYS, COLUMN_CLASSES };

static const char *column_name(size_t column)
{
    static const char *const names[] = {"pncid", "cro", "name_keys"};
    return column < COLUMN_CLASSES ? names[column]
                                   : pnc_class_name((enum pnc_class)(column - COLUMN_CLASSES));
}

/* ------------------------------------------------------------------ names */

static bool is_name(const char *text, size_t len)
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789$";
    size_t clean = 0;
    while (clean < len && strchr(first, text[clean]) != NULL) {
        clean++;
    }
    return len >= 1 && len <= NAME_MAX_LEN && clean == len &&
           strchr("0123456789$", text[0]) == NULL;
}

static bool read_table(const char *text, struct pnc_table *table, struct whorl_fault *fault)
{
    size_t schema = strcspn(text, ".");
    if (text[schema] != '.' || !is_name(text, schema) ||
        !is_name(text + schema + 1, strlen(text + schema + 1))) {
        return whorl_fail(fault, "records_table",
                          "must be \"schema.table\", each of 1 to %u letters, digits, _ and $, as "
                          "the database writes them",
                          NAME_MAX_LEN);
    }
    snprintf(table->name, sizeof(table->name), "\"%.*s\".\"%.63s\"", (int)schema, text,
             text + schema + 1);
    return true;
}

static bool read_column(const char *entry, size_t number, struct pnc_table *table, bool *seen,
                        struct whorl_fault *fault)
{
    size_t len = strcspn(entry, "=");
    for (size_t i = 0; i < PNC_COLUMNS; i++) {
        const char *ours = column_name(i);
        if (strlen(ours) != len || strncmp(entry, ours, len) != 0 || entry[len] != '=') {
            continue;
        }
        if (seen[i]) {
            return whorl_fail(fault, "columns", "entry %zu names %s again", number, ours);
        }
        if (!is_name(entry + len + 1, strlen(entry + len + 1))) {
            return whorl_fail(fault, "columns",
                              "entry %zu must be \"%s=NAME\" with a name of 1 to %u letters, "
                              "digits, _ and $",
                              number, ours, NAME_MAX_LEN);
        }
        seen[i] = true;
        snprintf(table->columns[i], sizeof(table->columns[i]), "\"%.63s\"", entry + len + 1);
        return true;
    }
    return whorl_fail(fault, "columns",
                      "entry %zu must begin with pncid=, cro=, name_keys=, details=, "
                      "circulations=, bail=, disqualified=, warnings= or markers=",
                      number);
}

bool pnc_table_read(const struct whorl_settings *settings, struct pnc_table *table,
                    struct whorl_fault *fault)
{
    bool seen[PNC_COLUMNS] = {false};
    const char *entry;
    for (size_t i = 0; i < PNC_COLUMNS; i++) {
        snprintf(table->columns[i], sizeof(table->columns[i]), "\"%s\"", column_name(i));
    }
    for (size_t i = 0; (entry = settings->item(settings, NULL, "columns", i)) != NULL; i++) {
        if (!read_column(entry, i + 1, table, seen, fault)) {
            return false;
        }
    }
    return read_table(settings->string(settings, NULL, "records_table"), table, fault);
}

/* ------------------------------------------------------------------ SQL */

static void add(char sql[PNC_SQL_CAP], const char *text, const char *more)
{
    size_t used = strlen(sql);
    snprintf(sql + used, PNC_SQL_CAP - used, "%s%s", text, more);
}

/* SELECT with PNCID, CRO number and classes. */
static void begin_select(const char *before, const struct pnc_table *table, unsigned classes,
                         char sql[PNC_SQL_CAP])
{
    snprintf(sql, PNC_SQL_CAP, "%sSELECT %s::text, %s::text", before, table->columns[COLUMN_PNCID],
             table->columns[COLUMN_CRO]);
    for (unsigned c = 0; c < PNC_CLASSES; c++) {
        bool wanted = (classes & 1u << c) != 0;
        add(sql, ", ", wanted ? table->columns[COLUMN_CLASSES + c] : "NULL");
        add(sql, "::text", "");
    }
}

void pnc_table_sql(const struct pnc_table *table, enum pnc_key by, unsigned classes,
                   char sql[PNC_SQL_CAP])
{
    char end[64];
    begin_select("(", table, classes, sql);
    add(sql, " FROM ", table->name);
    if (by == PNC_BY_NAME) {
        add(sql, " WHERE ", table->columns[COLUMN_NAME_KEYS]);
        add(sql, " @> ARRAY[$1::text]", "");
    } else {
        add(sql, " WHERE ", table->columns[by == PNC_BY_PNCID ? COLUMN_PNCID : COLUMN_CRO]);
        add(sql, " = $1::text", "");
    }
    snprintf(end, sizeof(end), "%s LIMIT %u)", by == PNC_BY_PNCID ? "" : " ORDER BY 1",
             PNC_CACHE_FOUND_MAX);
    add(sql, end, " UNION ALL (SELECT NULL, NULL");
    for (unsigned c = 0; c < PNC_CLASSES; c++) {
        add(sql, ", NULL", "");
    }
    add(sql, " WHERE NOT EXISTS (SELECT FROM ", table->name);
    add(sql, "))", "");
}

void pnc_table_sample_sql(const struct pnc_table *table, char sql[PNC_SQL_CAP])
{
    char limit[32];
    begin_select("", table, PNC_ALL_CLASSES, sql);
    add(sql, ", array_to_string(", table->columns[COLUMN_NAME_KEYS]);
    add(sql, ", E'\\n') FROM ", table->name);
    snprintf(limit, sizeof(limit), " LIMIT %u", PNC_SAMPLE_ROWS);
    add(sql, limit, "");
}

/* ------------------------------------------------------------------ rows */

static const char *value_of(const PGresult *rows, int row, int column)
{
    return PQgetisnull(rows, row, column) == 1 ? NULL : PQgetvalue(rows, row, column);
}

static bool read_row(const PGresult *rows, int i, int year, const struct pnc_question *question,
                     struct pnc_record *record, struct whorl_fault *fault)
{
    struct pnc_row row = {.pncid = value_of(rows, i, 0), .cro = value_of(rows, i, 1)};
    bool part = question->classes != PNC_ALL_CLASSES;
    for (int c = 0; c < PNC_CLASSES; c++) {
        row.json[c] = value_of(rows, i, 2 + c);
    }
    if (row.pncid == NULL) {
        return whorl_fail(fault, "pncid", "is missing");
    }
    if (part && strcmp(row.pncid, question->key) != 0) {
        return whorl_fail(fault, "pncid", "is not the one that was asked for");
    }
    if (!pnc_record_from_row(&row, question->classes, part ? &question->base : NULL, year, record,
                             fault)) {
        return false;
    }
    if (pnc_record_has_key(record, question->by, question->key)) {
        return true;
    }
    pnc_record_release(record);
    return whorl_fail(fault,
                      question->by == PNC_BY_PNCID ? "pncid"
                      : question->by == PNC_BY_CRO ? "cro"
                                                   : "name_keys",
                      "the row is not of the key that was asked for");
}

static bool is_there(const struct pnc_news *news, const char *pncid)
{
    for (size_t i = 0; i < news->count; i++) {
        if (strcmp(news->records[i].pncid, pncid) == 0) {
            return true;
        }
    }
    return false;
}

static bool read_rows(const PGresult *rows, const struct pnc_question *question,
                      struct pnc_news *news, struct whorl_fault *fault)
{
    time_t now = time(NULL);
    struct tm today;
    gmtime_r(&now, &today);
    for (int i = 0; i < PQntuples(rows); i++) {
        struct pnc_record *record = &news->records[news->count];
        if (!read_row(rows, i, today.tm_year + 1900, question, record, fault)) {
            return false;
        }
        if (is_there(news, record->pncid)) {
            pnc_record_release(record);
            return whorl_fail(fault, "pncid", "there are several rows of one PNCID");
        }
        news->count++;
    }
    return true;
}

/* Whether this is the row that stands for a table without rows. */
static bool is_empty(const PGresult *rows)
{
    for (int i = 0; i < PQnfields(rows); i++) {
        if (PQntuples(rows) != 1 || PQgetisnull(rows, 0, i) != 1) {
            return false;
        }
    }
    return true;
}

void pnc_table_rows(const PGresult *rows, const struct pnc_moment *asked,
                    struct pnc_question *question)
{
    static const char *const keys[] = {"pncid", "cro", "name"};
    struct whorl_fault bad = {{0}, {0}};
    question->outcome = PNC_WRONG;
    if (PQnfields(rows) != 2 + PNC_CLASSES || PQntuples(rows) > (int)PNC_CACHE_FOUND_MAX) {
        whorl_fail(&question->fault, "", "the database answers with what was not asked for");
        return;
    }
    if (is_empty(rows)) {
        question->outcome = PNC_SILENT;
        whorl_fail(&question->fault, "", "the database holds no PNC records");
        return;
    }
    struct pnc_news *news = pnc_news_new(question->by, question->key, (size_t)PQntuples(rows));
    if (news == NULL) {
        whorl_fail(&question->fault, "", "out of memory");
        return;
    }
    for (unsigned c = 0; c < PNC_CLASSES; c++) {
        news->asked[c] = (question->classes & 1u << c) != 0 || PQntuples(rows) == 0
                             ? *asked
                             : question->asked[c];
    }
    if (read_rows(rows, question, news, &bad)) {
        question->outcome = PNC_ANSWERED;
        question->news = news;
        return;
    }
    pnc_news_free(news);
    whorl_fail(&question->fault, "",
               "a record in the database, asked for by %s, is not valid: %.60s: %.120s",
               keys[question->by], bad.where, bad.text);
}

/* ------------------------------------------------------------------ a sample */

struct columns {
    const char *pncid, *cro, *name_keys;
};

/* Whether one of the lines is key. */
static bool has_line(const char *lines, const char *key)
{
    size_t len = strlen(key);
    for (const char *at = lines; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, key, len) == 0 && (at[len] == '\n' || at[len] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Returns 0 if the row is found by that key, else 1 + what the key is. */
static int lacks_key(void *arg, enum pnc_key by, const char *key)
{
    const struct columns *columns = arg;
    bool has = by == PNC_BY_PNCID ? strcmp(columns->pncid, key) == 0
               : by == PNC_BY_CRO ? columns->cro != NULL && strcmp(columns->cro, key) == 0
                                  : has_line(columns->name_keys, key);
    return has ? 0 : 1 + (int)by;
}

bool pnc_table_sample_row(const PGresult *rows, int i, struct whorl_fault *fault)
{
    time_t now = time(NULL);
    struct tm today;
    struct pnc_record record;
    struct columns columns = {value_of(rows, i, 0), value_of(rows, i, 1),
                              value_of(rows, i, 2 + PNC_CLASSES)};
    struct pnc_row row = {.pncid = columns.pncid, .cro = columns.cro};
    for (int c = 0; c < PNC_CLASSES; c++) {
        row.json[c] = value_of(rows, i, 2 + c);
    }
    if (row.pncid == NULL) {
        return whorl_fail(fault, "pncid", "is missing");
    }
    gmtime_r(&now, &today);
    if (!pnc_record_from_row(&row, PNC_ALL_CLASSES, NULL, today.tm_year + 1900, &record, fault)) {
        return false;
    }
    int lacks = pnc_record_keys(&record, lacks_key, &columns);
    pnc_record_release(&record);
    return lacks == 0 || whorl_fail(fault,
                                    lacks == 1 + PNC_BY_PNCID ? "pncid"
                                    : lacks == 1 + PNC_BY_CRO ? "cro"
                                                              : "name_keys",
                                    "is not in the form that is searched for");
}
