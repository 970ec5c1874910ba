/* A report as data: tables of labelled rows, written as CSV, JSON or HTML. Whatever stands in one
 * file stands in the others, from here. */
#ifndef CLI_REPORT_DOCUMENT_H
#define CLI_REPORT_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "whorl/plugin.h"

#define DOCUMENT_COLUMNS 24u

enum cell_kind {
    CELL_EMPTY,
    CELL_COUNT,
    CELL_DECIMAL,   /* value is in thousandths */
    CELL_TEXT,      /* text */
    CELL_SUPPRESSED /* withheld, so that nobody small in number can be recognised */
};

struct cell {
    enum cell_kind kind;
    int64_t value;
    char *text; /* the document's */
};

struct column {
    const char *id, *title; /* literals */
};

struct doc_row {
    char *code, *label, *note; /* note: what is counted; "" = nothing to say */
    struct cell cells[DOCUMENT_COLUMNS];
};

enum chart { CHART_NONE, CHART_BARS, CHART_HOURS, CHART_HEAT };

struct table {
    char *id, *title, *note;
    struct column columns[DOCUMENT_COLUMNS];
    unsigned column_count;
    struct doc_row *rows;
    size_t row_count, row_cap;
    uint32_t hidden; /* columns that HTML and text leave out, by bit */
    size_t shown;    /* so many rows stand in HTML at most; 0: all */
    enum chart chart;
    bool long_form; /* HTML: each row is a heading and its texts, not a line */
    bool data_only; /* HTML leaves it out */
};

struct document {
    char *title, *subtitle;
    const char *kind; /* literal: "month", "public", … */
    char *force, *first, *last;
    struct table *tables;
    size_t table_count, table_cap;
    bool failed;          /* out of memory: nothing may be written */
    bool for_publication; /* others may read its files; otherwise only their owner does */
};

/* All texts are copied, except where a literal is asked for. On a lack of memory `failed` is set,
 * and later calls do nothing harmful. */
void document_begin(struct document *doc, const char *kind, const char *title,
                    const char *subtitle);
void document_scope(struct document *doc, const char *force, const char *first, const char *last);
struct table *document_table(struct document *doc, const char *id, const char *title,
                             const char *note);
void table_column(struct table *table, const char *id, const char *title);
struct doc_row *document_row(struct document *doc, struct table *table, const char *code,
                             const char *label, const char *note);
void document_text(struct document *doc, struct cell *cell, const char *text);
void document_release(struct document *doc);

static inline void cell_count(struct cell *cell, int64_t value)
{
    *cell = (struct cell){.kind = CELL_COUNT, .value = value};
}

static inline void cell_decimal(struct cell *cell, double value)
{
    *cell = (struct cell){.kind = CELL_DECIMAL, .value = (int64_t)(value * 1000 + 0.5)};
}

/* Writers. They return whether all of it has been written. CSV: a line for each cell (table, code,
 * label, measure, value), RFC 4180; a text that a spreadsheet would take for a formula gets an
 * apostrophe in front. */
bool document_csv(const struct document *doc, FILE *out);
bool document_json(const struct document *doc, FILE *out);
bool document_html(const struct document *doc, FILE *out);
bool document_plain(const struct document *doc, FILE *out);

/* Writes one of them to a new file that replaces the old one when it is whole and on the disk; its
 * mode is 0600, or for publication what the umask leaves of 0666. false with *fault. */
bool document_file(const struct document *doc, const char *path,
                   bool (*write)(const struct document *doc, FILE *out), struct whorl_fault *fault);

/* For a cell's text in a CSV line, with its quotes. */
void csv_field(const char *text, FILE *out);

#endif
