#include "records.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "whorl/msg.h"

enum { COLUMNS = 9 };

static const char *const columns[COLUMNS] = {"reference", "family", "given", "born",    "pncid",
                                             "since",     "force",  "risk",  "if_found"};

struct records {
    char *text; /* the file; fields are cut out of it in place */
    struct record *all;
    size_t count, room;
    const struct record **by_pncid, **by_name; /* sorted */
};

/* --- orders --- */

static size_t first_word(const char *given)
{
    return strcspn(given, " ");
}

static int compare_given(const char *a, const char *b)
{
    size_t len_a = first_word(a), len_b = first_word(b);
    int order = strncasecmp(a, b, len_a < len_b ? len_a : len_b);
    return order != 0 ? order : (len_a > len_b) - (len_a < len_b);
}

static int compare_names(const struct record *a, const struct record *b)
{
    int order = strcmp(a->born, b->born);
    order = order != 0 ? order : strcasecmp(a->family, b->family);
    return order != 0 ? order : compare_given(a->given, b->given);
}

static int compare_pncids(const struct record *a, const struct record *b)
{
    return strcmp(a->pncid, b->pncid);
}

static int compare_references(const struct record *a, const struct record *b)
{
    return strcmp(a->reference, b->reference);
}

#define SORTER(name, compare)                                                                      \
    static int name(const void *a, const void *b)                                                  \
    {                                                                                              \
        return compare(*(const struct record *const *)a, *(const struct record *const *)b);        \
    }
SORTER(sort_names, compare_names)
SORTER(sort_pncids, compare_pncids)
SORTER(sort_references, compare_references)

/* --- reading --- */

static bool complain(struct whorl_fault *fault, const char *path, size_t line, const char *text)
{
    return whorl_fail(fault, "records", "%s:%zu: %s", path, line, text);
}

/* The file as a NUL-terminated text. */
static char *slurp(const char *path, struct whorl_fault *fault)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char *text = NULL;
    if (fd < 0 || fstat(fd, &about) != 0) {
        whorl_fail(fault, "records", "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(about.st_mode) || about.st_size > RECORDS_FILE_MAX) {
        whorl_fail(fault, "records", "%s: must be a file of at most %d bytes", path,
                   RECORDS_FILE_MAX);
    } else if ((text = malloc((size_t)about.st_size + 1)) == NULL) {
        whorl_fail(fault, "records", "%s: out of memory", path);
    } else {
        ssize_t got = read(fd, text, (size_t)about.st_size);
        text[got > 0 ? got : 0] = '\0';
        if (got != about.st_size || strlen(text) != (size_t)got) {
            whorl_fail(fault, "records", "%s: could not be read whole, or holds a zero byte", path);
            free(text);
            text = NULL;
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return text;
}

/* Cuts one field off, in place; *end is what stood behind it: ',' '\n' or '\0'. NULL: its quotes
 * are not closed, or something stands behind them. */
static char *cut_field(char **at, char *end)
{
    char *field = *at, *from = *at, *to = *at;
    if (*from == '"') {
        from++;
        while (*from != '\0' && (*from != '"' || from[1] == '"')) {
            from += *from == '"';
            *to++ = *from++;
        }
        if (*from != '"') {
            return NULL;
        }
        from++;
    } else {
        from += strcspn(from, ",\r\n");
        to = from;
    }
    from += from[0] == '\r' && from[1] == '\n';
    *end = *from;
    *at = *from == '\0' ? from : from + 1;
    *to = '\0';
    return strchr(",\n", *end) != NULL ? field : NULL; /* finds the '\0' as well */
}

/* Cuts one row; false when it doesn't have exactly its columns. */
static bool cut_row(char **at, char *fields[COLUMNS])
{
    char end = ',';
    for (size_t i = 0; i < COLUMNS; i++) {
        fields[i] = end == ',' ? cut_field(at, &end) : NULL;
        if (!fields[i]) {
            return false;
        }
    }
    return end != ',';
}

static bool is_day(const char *text)
{
    static const char form[] = "dddd-dd-dd";
    static const unsigned days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (size_t i = 0; i < sizeof form; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (form[i] == 'd' ? !digit : text[i] != form[i]) {
            return false;
        }
    }
    unsigned long year = strtoul(text, NULL, 10), month = strtoul(text + 5, NULL, 10),
                  day = strtoul(text + 8, NULL, 10);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return year >= 1800 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] &&
           (leap || month != 2 || day != 29);
}

/* What is wrong with a row; NULL: nothing. */
static const char *judge(const struct record *record)
{
    if (record->reference[0] == '\0' || strlen(record->reference) > 100) {
        return "a reference has 1 to 100 bytes";
    }
    if (record->family[0] == '\0' || record->force[0] == '\0') {
        return "family and force must be there";
    }
    if ((record->born[0] != '\0' && !is_day(record->born)) || !is_day(record->since)) {
        return "born (which may be empty) and since are days as YYYY-MM-DD";
    }
    if (strcmp(record->risk, "high") != 0 && strcmp(record->risk, "medium") != 0 &&
        strcmp(record->risk, "low") != 0) {
        return "risk is high, medium or low";
    }
    return NULL;
}

static bool add_row(struct records *records, char *fields[COLUMNS])
{
    if (records->count == records->room) {
        size_t room = records->room == 0 ? 64 : records->room * 2;
        struct record *all = realloc(records->all, room * sizeof *all);
        if (!all) {
            return false;
        }
        records->all = all;
        records->room = room;
    }
    records->all[records->count++] =
        (struct record){fields[0], fields[1], fields[2], fields[3], fields[4],
                        fields[5], fields[6], fields[7], fields[8]};
    return true;
}

static bool read_rows(struct records *records, const char *path, struct whorl_fault *fault)
{
    char *at = records->text, *fields[COLUMNS];
    bool header = cut_row(&at, fields);
    for (size_t i = 0; header && i < COLUMNS; i++) {
        header = strcmp(fields[i], columns[i]) == 0;
    }
    if (!header) {
        return complain(fault, path, 1,
                        "the columns must be reference, family, given, born, pncid, since, force, "
                        "risk, if_found");
    }
    for (size_t line = 2; *at != '\0'; line++) {
        if (!cut_row(&at, fields)) {
            return complain(fault, path, line, "is no row of 9 columns");
        }
        for (size_t i = 0; i < COLUMNS; i++) {
            size_t len = strlen(fields[i]);
            if (len > RECORD_TEXT_MAX || !whorl_text_is_clean(fields[i], len)) {
                return complain(fault, path, line,
                                "has a field over 250 bytes, or that is no text on one line");
            }
        }
        if (records->count == RECORDS_MAX) {
            return complain(fault, path, line, "too many records");
        }
        if (!add_row(records, fields)) {
            return complain(fault, path, line, "out of memory");
        }
        const char *wrong = judge(&records->all[records->count - 1]);
        if (wrong) {
            return complain(fault, path, line, wrong);
        }
    }
    return true;
}

/* The records in an order. */
static const struct record **sorted(const struct records *records,
                                    int (*order)(const void *a, const void *b))
{
    const struct record **list = malloc((records->count + 1) * sizeof *list);
    for (size_t i = 0; list && i < records->count; i++) {
        list[i] = &records->all[i];
    }
    if (list) {
        qsort(list, records->count, sizeof *list, order);
    }
    return list;
}

static bool index_rows(struct records *records, const char *path, struct whorl_fault *fault)
{
    const struct record **references = sorted(records, sort_references);
    records->by_pncid = sorted(records, sort_pncids);
    records->by_name = sorted(records, sort_names);
    bool good = references && records->by_pncid && records->by_name;
    if (!good) {
        whorl_fail(fault, "records", "%s: out of memory", path);
    }
    for (size_t i = 1; good && i < records->count; i++) {
        if (compare_references(references[i - 1], references[i]) == 0) {
            good = whorl_fail(fault, "records", "%s: the reference %s is there twice", path,
                              references[i]->reference);
        }
    }
    free(references);
    return good;
}

struct records *records_read(const char *path, struct whorl_fault *fault)
{
    struct records *records = calloc(1, sizeof *records);
    if (!records) {
        whorl_fail(fault, "records", "out of memory");
        return NULL;
    }
    records->text = slurp(path, fault);
    if (!records->text || !read_rows(records, path, fault) || !index_rows(records, path, fault)) {
        records_free(records);
        return NULL;
    }
    return records;
}

void records_free(struct records *records)
{
    if (records) {
        free(records->by_pncid);
        free(records->by_name);
        free(records->all);
        free(records->text);
        free(records);
    }
}

/* --- finding --- */

static void find(const struct record *const *list, size_t count, const struct record *like,
                 int (*compare)(const struct record *a, const struct record *b),
                 void (*found)(void *arg, const struct record *record), void *arg)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(list[middle], like) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < count && compare(list[low], like) == 0; low++) {
        found(arg, list[low]);
    }
}

void records_by_pncid(const struct records *records, const char *pncid,
                      void (*found)(void *arg, const struct record *record), void *arg)
{
    const struct record like = {.pncid = pncid};
    if (pncid[0] != '\0') {
        find(records->by_pncid, records->count, &like, compare_pncids, found, arg);
    }
}

void records_by_name(const struct records *records, const char *family, const char *given,
                     const char *born, void (*found)(void *arg, const struct record *record),
                     void *arg)
{
    const struct record like = {.family = family, .given = given, .born = born};
    if (born[0] != '\0') {
        find(records->by_name, records->count, &like, compare_names, found, arg);
    }
}
