/* A report as CSV, as JSON and as plain text. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "report/document.h"

#define SUPPRESSED "[c]"

/* ------------------------------------------------------------------ CSV */

void csv_field(const char *text, FILE *out)
{
    bool formula = text[0] != '\0' && strchr("=+-@\t\r", text[0]) != NULL;
    bool quote = strpbrk(text, ",\"\r\n") != NULL;
    if (quote) {
        putc('"', out);
    }
    if (formula) {
        putc('\'', out);
    }
    for (; *text != '\0'; text++) {
        if (*text == '"') {
            putc('"', out);
        }
        putc(*text, out);
    }
    if (quote) {
        putc('"', out);
    }
}

static void number(const struct cell *cell, FILE *out)
{
    if (cell->kind == CELL_COUNT) {
        fprintf(out, "%" PRId64, cell->value);
    } else {
        fprintf(out, "%" PRId64 ".%03" PRId64, cell->value / 1000, cell->value % 1000);
    }
}

static void csv_cell(const struct cell *cell, FILE *out)
{
    switch (cell->kind) {
    case CELL_COUNT:
    case CELL_DECIMAL:
        number(cell, out);
        break;
    case CELL_TEXT:
        csv_field(cell->text, out);
        break;
    case CELL_SUPPRESSED:
        fputs(SUPPRESSED, out);
        break;
    case CELL_EMPTY:
    default:
        break;
    }
}

static void csv_scope(const struct document *doc, FILE *out)
{
    csv_field(doc->force, out);
    putc(',', out);
    csv_field(doc->first, out);
    putc(',', out);
    csv_field(doc->last, out);
}

static void csv_row(const struct document *doc, const struct table *table,
                    const struct doc_row *row, FILE *out)
{
    for (unsigned c = 0; c < table->column_count; c++) {
        if (row->cells[c].kind == CELL_EMPTY) {
            continue;
        }
        csv_scope(doc, out);
        const char *const fields[] = {table->id, row->code, row->label, table->columns[c].id};
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            putc(',', out);
            csv_field(fields[i], out);
        }
        putc(',', out);
        csv_cell(&row->cells[c], out);
        fputs("\r\n", out);
    }
}

bool document_csv(const struct document *doc, FILE *out)
{
    fputs("force,from,to,table,code,label,measure,value\r\n", out);
    for (size_t t = 0; t < doc->table_count; t++) {
        for (size_t r = 0; r < doc->tables[t].row_count; r++) {
            csv_row(doc, &doc->tables[t], &doc->tables[t].rows[r], out);
        }
    }
    return fflush(out) == 0 && !ferror(out);
}

/* ------------------------------------------------------------------ JSON */

static json_t *json_cell(const struct cell *cell)
{
    switch (cell->kind) {
    case CELL_COUNT:
        return json_integer(cell->value);
    case CELL_DECIMAL:
        return json_real((double)cell->value / 1000);
    case CELL_TEXT:
        return json_string(cell->text);
    case CELL_SUPPRESSED:
        return json_string(SUPPRESSED);
    case CELL_EMPTY:
    default:
        return json_null();
    }
}

/* Everything is there, or there is NULL: without memory, or where a text is no UTF-8. */
static json_t *json_row(const struct table *table, const struct doc_row *row)
{
    json_t *json = json_pack("{s:s, s:s}", "code", row->code, "label", row->label);
    json_t *values = json_object();
    bool ok =
        row->note[0] == '\0' || json_object_set_new(json, "note", json_string(row->note)) == 0;
    for (unsigned c = 0; ok && c < table->column_count; c++) {
        ok = row->cells[c].kind == CELL_EMPTY ||
             json_object_set_new(values, table->columns[c].id, json_cell(&row->cells[c])) == 0;
    }
    if (json_object_set_new(json, "values", values) != 0 || !ok) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *json_table(const struct table *table)
{
    json_t *json = json_pack("{s:s, s:s}", "id", table->id, "title", table->title);
    json_t *columns = json_array(), *rows = json_array();
    bool ok =
        table->note[0] == '\0' || json_object_set_new(json, "note", json_string(table->note)) == 0;
    for (unsigned c = 0; ok && c < table->column_count; c++) {
        ok = json_array_append_new(columns, json_pack("{s:s, s:s}", "id", table->columns[c].id,
                                                      "title", table->columns[c].title)) == 0;
    }
    for (size_t r = 0; ok && r < table->row_count; r++) {
        ok = json_array_append_new(rows, json_row(table, &table->rows[r])) == 0;
    }
    ok = json_object_set_new(json, "measures", columns) == 0 && ok;
    ok = json_object_set_new(json, "rows", rows) == 0 && ok;
    if (!ok) {
        json_decref(json);
        return NULL;
    }
    return json;
}

bool document_json(const struct document *doc, FILE *out)
{
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "report", doc->kind, "title",
                             doc->title, "description", doc->subtitle, "force", doc->force, "from",
                             doc->first, "to", doc->last);
    json_t *tables = json_array();
    bool ok = true;
    for (size_t t = 0; ok && t < doc->table_count; t++) {
        ok = json_array_append_new(tables, json_table(&doc->tables[t])) == 0;
    }
    ok = json_object_set_new(json, "tables", tables) == 0 && ok &&
         json_dumpf(json, out, JSON_INDENT(1) | JSON_REAL_PRECISION(12)) == 0;
    json_decref(json);
    putc('\n', out);
    return ok && fflush(out) == 0 && !ferror(out);
}

/* ------------------------------------------------------------------ text */

static void plain_row(const struct table *table, const struct doc_row *row, FILE *out)
{
    fprintf(out, "  %s", row->label);
    if (row->code[0] != '\0' && strcmp(row->code, row->label) != 0) {
        fprintf(out, " (%s)", row->code);
    }
    for (unsigned c = 0; c < table->column_count; c++) {
        if (row->cells[c].kind == CELL_EMPTY || (table->hidden >> c & 1) != 0) {
            continue;
        }
        fprintf(out, table->long_form ? "\n      %s: " : "  |  %s: ", table->columns[c].title);
        if (row->cells[c].kind == CELL_TEXT) {
            fputs(row->cells[c].text, out);
        } else {
            csv_cell(&row->cells[c], out);
        }
    }
    putc('\n', out);
}

bool document_plain(const struct document *doc, FILE *out)
{
    fprintf(out, "%s\n%s\n", doc->title, doc->subtitle);
    for (size_t t = 0; t < doc->table_count; t++) {
        const struct table *table = &doc->tables[t];
        fprintf(out, "\n%s\n", table->title);
        if (table->note[0] != '\0') {
            fprintf(out, "  %s\n", table->note);
        }
        for (size_t r = 0; r < table->row_count; r++) {
            plain_row(table, &table->rows[r], out);
        }
    }
    return fflush(out) == 0 && !ferror(out);
}
