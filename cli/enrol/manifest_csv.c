/* Manifests as CSV. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/enrol/manifest_internal.h"
#include "whorl/msg.h"

#define DETAIL "detail:"

static const char *const known[] = {
    "person",  "position", "file", "impression", "dpi",     "width", "height", "family",   "given",
    "aliases", "born",     "sex",  "source",     "expires", "pncid", "cro",    "reference"};

static bool column_known(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i]) == 0) {
            return true;
        }
    }
    return strncmp(name, DETAIL, strlen(DETAIL)) == 0 && name[strlen(DETAIL)];
}

bool manifest_csv_header(struct manifest *manifest, struct whorl_fault *fault)
{
    size_t len;
    bool failed;
    struct whorl_fault inner = {{0}, {0}};
    if (!manifest_line(manifest, &len, &failed, &inner)) {
        return whorl_fail(fault, manifest->path, "%s", failed ? inner.text : "is empty");
    }
    manifest->header = malloc(len + 1);
    if (!manifest->header) {
        return whorl_fail(fault, manifest->path, "out of memory");
    }
    memcpy(manifest->header, manifest->buffer, len + 1);
    char *start = manifest->header;
    if (len >= 3 && memcmp(start, "\xef\xbb\xbf", 3) == 0) { /* spreadsheets write this mark */
        start += 3;
        len -= 3;
    }
    if (!csv_split(start, len, manifest->columns, &manifest->column_count, &inner)) {
        return whorl_fail(fault, manifest->path, "line 1: %s", inner.text);
    }
    bool required[3] = {false};
    for (size_t i = 0; i < manifest->column_count; i++) {
        const char *name = manifest->columns[i];
        if (!column_known(name)) {
            return whorl_fail(fault, manifest->path, "line 1: there is no column \"%.40s\"", name);
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(name, manifest->columns[k]) == 0) {
                return whorl_fail(fault, manifest->path, "line 1: the column %.40s is there twice",
                                  name);
            }
        }
        for (size_t k = 0; k < 3; k++) {
            required[k] = required[k] || strcmp(name, known[k]) == 0;
        }
    }
    for (size_t k = 0; k < 3; k++) {
        if (!required[k]) {
            return whorl_fail(fault, manifest->path, "line 1: the column %s is missing", known[k]);
        }
    }
    return true;
}

/* A row cut up: the value of a column, "" where there is none. */
struct row {
    const struct manifest *manifest;
    char *fields[CSV_FIELDS_MAX];
    size_t count;
};

static char *value_of(const struct row *row, const char *column)
{
    static char none[1] = "";
    for (size_t i = 0; i < row->count; i++) {
        if (strcmp(row->manifest->columns[i], column) == 0) {
            return row->fields[i];
        }
    }
    return none; /* nobody writes to an empty text */
}

static bool read_number(const struct row *row, const char *column, unsigned long max,
                        unsigned long fallback, unsigned long *out, struct whorl_fault *fault)
{
    const char *text = value_of(row, column);
    char *end;
    *out = fallback;
    if (!text[0]) {
        return true;
    }
    errno = 0;
    *out = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || *out > max) {
        return whorl_fail(fault, column, "must be a whole number from 0 to %lu", max);
    }
    return true;
}

static bool read_print(const struct row *row, struct manifest_print *print,
                       struct whorl_fault *fault)
{
    unsigned long position, impression, dpi, width, height;
    if (!value_of(row, "position")[0]) {
        return whorl_fail(fault, "position", "is missing");
    }
    if (!read_number(row, "position", 10, 0, &position, fault) ||
        !read_number(row, "impression", 255, 1, &impression, fault) ||
        !read_number(row, "dpi", 10000, 0, &dpi, fault) ||
        !read_number(row, "width", 1000000, 0, &width, fault) ||
        !read_number(row, "height", 1000000, 0, &height, fault)) {
        return false;
    }
    *print = (struct manifest_print){.line = row->manifest->line,
                                     .file = value_of(row, "file"),
                                     .position = (uint8_t)position,
                                     .impression = (uint8_t)impression,
                                     .dpi = (uint32_t)dpi,
                                     .width = (uint32_t)width,
                                     .height = (uint32_t)height};
    return true;
}

/* "FAMILY/GIVEN;FAMILY/GIVEN". */
static bool read_aliases(struct manifest_person *person, char *text, struct whorl_fault *fault)
{
    char *rest = NULL;
    for (char *name = strtok_r(text, ";", &rest); name; name = strtok_r(NULL, ";", &rest)) {
        char *slash = strchr(name, '/');
        if (person->person.name_count == 32) {
            return whorl_fail(fault, "aliases", "must be at most 31");
        }
        if (slash) {
            *slash = '\0';
        }
        person->names[person->person.name_count++] =
            (struct gallery_name){name, slash ? slash + 1 : ""};
    }
    return true;
}

static bool read_names(struct manifest_person *person, const struct row *row,
                       struct whorl_fault *fault)
{
    const char *family = value_of(row, "family"), *given = value_of(row, "given");
    if (family[0] || given[0]) {
        person->names[person->person.name_count++] = (struct gallery_name){family, given};
    } else if (value_of(row, "aliases")[0]) {
        return whorl_fail(fault, "aliases", "need a filed name");
    }
    return read_aliases(person, value_of(row, "aliases"), fault);
}

static bool read_lists(struct manifest_person *person, const struct row *row,
                       struct whorl_fault *fault)
{
    static const char *const keys[] = {"pncid", "cro", "reference"};
    for (size_t i = 0; i < 3; i++) {
        const char *value = value_of(row, keys[i]);
        if (value[0] && !manifest_add_identifier(person, keys[i], value, fault)) {
            return false;
        }
    }
    for (size_t i = 0; i < row->count; i++) {
        const char *name = row->manifest->columns[i];
        if (strncmp(name, DETAIL, strlen(DETAIL)) != 0 || !row->fields[i][0]) {
            continue;
        }
        if (person->person.detail_count == 32) {
            return whorl_fail(fault, "detail", "must be at most 32");
        }
        person->details[person->person.detail_count++] =
            (struct gallery_detail){name + strlen(DETAIL), row->fields[i], "info"};
    }
    return true;
}

/* Fills in a person from the row that introduces him. */
static bool read_person(struct manifest_person *person, const struct row *row,
                        struct whorl_fault *fault)
{
    const char *expires = value_of(row, "expires");
    if (!manifest_set_id(person, value_of(row, "person"), fault)) {
        return false;
    }
    person->person.born = value_of(row, "born");
    person->person.sex = value_of(row, "sex");
    person->person.source = value_of(row, "source");
    return (!expires[0] || manifest_set_expires(person, expires, fault)) &&
           read_names(person, row, fault) && read_lists(person, row, fault) &&
           manifest_check(person, fault);
}

static bool about_print(const char *column)
{
    static const char *const names[] = {"file", "position", "impression", "dpi", "width", "height"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(column, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a further row of a person says the same of him as the first did. */
static bool agrees(const struct manifest_person *person, const struct row *row,
                   struct whorl_fault *fault)
{
    struct row first = {.manifest = row->manifest};
    char *copy = strdup(person->source);
    bool same = copy && csv_split(copy, strlen(copy), first.fields, &first.count, fault);
    if (!copy) {
        whorl_fail(fault, "", "out of memory");
    }
    for (size_t i = 0; same && i < row->count; i++) {
        const char *column = row->manifest->columns[i];
        if (row->fields[i][0] && !about_print(column) &&
            strcmp(row->fields[i], first.fields[i]) != 0) {
            same = whorl_fail(fault, column, "differs from line %lu, of the same person",
                              person->line);
        }
    }
    free(copy);
    return same;
}

/* Makes a person of a row that is not of the pending one. Takes over `text`, which row points
 * into. */
static struct manifest_person *introduce(const struct row *row, char *text, const char *raw,
                                         struct whorl_fault *fault)
{
    struct manifest_print print;
    struct manifest_person *person = manifest_person_new(row->manifest->line);
    if (!person) {
        free(text);
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    person->text = text;
    person->source = strdup(raw);
    if (person->source && read_print(row, &print, fault) && read_person(person, row, fault) &&
        manifest_add_print(person, &print, fault)) {
        return person;
    }
    if (!person->source) {
        whorl_fail(fault, "", "out of memory");
    }
    manifest_person_free(person);
    return NULL;
}

bool manifest_csv_row(struct manifest *manifest, size_t len, struct manifest_person **new_one,
                      struct whorl_fault *fault)
{
    struct row row = {.manifest = manifest};
    struct manifest_print print;
    char *text = malloc(len + 1);
    if (!text) {
        return whorl_fail(fault, "", "out of memory");
    }
    memcpy(text, manifest->buffer, len + 1);
    bool split = csv_split(text, len, row.fields, &row.count, fault);
    if (split && row.count != manifest->column_count) {
        split = whorl_fail(fault, "", "has %zu fields where the header has %zu", row.count,
                           manifest->column_count);
    }
    if (!split) {
        free(text);
        return false;
    }
    struct manifest_person *pending = manifest->pending;
    if (!pending || strcmp(value_of(&row, "person"), pending->id) != 0) {
        *new_one = introduce(&row, text, manifest->buffer, fault);
        return *new_one != NULL;
    }
    bool good = agrees(pending, &row, fault) && read_print(&row, &print, fault) &&
                manifest_add_print(pending, &print, fault);
    free(text);
    return good;
}
