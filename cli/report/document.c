#include "report/document.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "whorl/msg.h"

static char *copy(struct document *doc, const char *text)
{
    char *made = strdup(text != NULL ? text : "");
    doc->failed |= made == NULL;
    return made;
}

void document_begin(struct document *doc, const char *kind, const char *title, const char *subtitle)
{
    *doc = (struct document){.kind = kind};
    doc->title = copy(doc, title);
    doc->subtitle = copy(doc, subtitle);
}

void document_scope(struct document *doc, const char *force, const char *first, const char *last)
{
    doc->force = copy(doc, force);
    doc->first = copy(doc, first);
    doc->last = copy(doc, last);
}

/* Room for one more; NULL without memory. */
static void *room(struct document *doc, void *items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap) {
        return items;
    }
    size_t more = *cap == 0 ? 16 : 2 * *cap;
    void *grown = reallocarray(items, more, size);
    if (grown == NULL) {
        doc->failed = true;
        return NULL;
    }
    *cap = more;
    return grown;
}

struct table *document_table(struct document *doc, const char *id, const char *title,
                             const char *note)
{
    struct table *tables =
        room(doc, doc->tables, doc->table_count, &doc->table_cap, sizeof *doc->tables);
    if (tables == NULL) {
        return NULL;
    }
    doc->tables = tables;
    struct table *table = &tables[doc->table_count++];
    *table = (struct table){0};
    table->id = copy(doc, id);
    table->title = copy(doc, title);
    table->note = copy(doc, note);
    return table;
}

void table_column(struct table *table, const char *id, const char *title)
{
    if (table != NULL && table->column_count < DOCUMENT_COLUMNS) {
        table->columns[table->column_count++] = (struct column){id, title};
    }
}

struct doc_row *document_row(struct document *doc, struct table *table, const char *code,
                             const char *label, const char *note)
{
    struct doc_row *rows = table == NULL ? NULL
                                         : room(doc, table->rows, table->row_count, &table->row_cap,
                                                sizeof *table->rows);
    if (rows == NULL) {
        return NULL;
    }
    table->rows = rows;
    struct doc_row *row = &rows[table->row_count++];
    *row = (struct doc_row){0};
    row->code = copy(doc, code);
    row->label = copy(doc, label);
    row->note = copy(doc, note);
    return row;
}

void document_text(struct document *doc, struct cell *cell, const char *text)
{
    *cell = (struct cell){.kind = CELL_TEXT, .text = copy(doc, text)};
}

static void release_row(struct doc_row *row)
{
    free(row->code);
    free(row->label);
    free(row->note);
    for (unsigned c = 0; c < DOCUMENT_COLUMNS; c++) {
        free(row->cells[c].text);
    }
}

void document_release(struct document *doc)
{
    for (size_t t = 0; t < doc->table_count; t++) {
        struct table *table = &doc->tables[t];
        for (size_t r = 0; r < table->row_count; r++) {
            release_row(&table->rows[r]);
        }
        free(table->rows);
        free(table->id);
        free(table->title);
        free(table->note);
    }
    free(doc->tables);
    free(doc->title);
    free(doc->subtitle);
    free(doc->force);
    free(doc->first);
    free(doc->last);
    *doc = (struct document){0};
}

/* A new file beside `path`, under a name that nobody can have laid in wait. NULL with *fault. */
static FILE *create(const struct document *doc, const char *path, char fresh[PATH_MAX],
                    struct whorl_fault *fault)
{
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        whorl_fail(fault, path, "cannot be written: no random number: %s", strerror(errno));
        return NULL;
    }
    if (snprintf(fresh, PATH_MAX, "%s.%016" PRIx64, path, random) >= PATH_MAX) {
        whorl_fail(fault, path, "the path is too long");
        return NULL;
    }
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  doc->for_publication ? 0666 : 0600);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (out == NULL) {
        whorl_fail(fault, path, "cannot be written: %s", strerror(errno));
        if (fd >= 0) {
            close(fd);
            unlink(fresh);
        }
    }
    return out;
}

bool document_file(const struct document *doc, const char *path,
                   bool (*write)(const struct document *doc, FILE *out), struct whorl_fault *fault)
{
    char fresh[PATH_MAX];
    FILE *out = create(doc, path, fresh, fault);
    if (out == NULL) {
        return false;
    }
    errno = 0;
    bool ok = write(doc, out) && fflush(out) == 0 && fsync(fileno(out)) == 0;
    ok = fclose(out) == 0 && ok && rename(fresh, path) == 0;
    if (!ok) {
        whorl_fail(fault, path, "cannot be written: %s",
                   errno != 0 ? strerror(errno) : "out of memory, or a text is no UTF-8");
        unlink(fresh);
    }
    return ok;
}
