#include "cli/enrol/manifest_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "afis/an2k.h"
#include "cli/day.h"
#include "plugins/pnc/identifiers.h"
#include "whorl/msg.h"

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The manifest that a path means: itself, or the one in that directory. */
static char *find(const char *path, struct whorl_fault *fault)
{
    static const char *const names[] = {"manifest.csv", "manifest.jsonl"};
    char *found = NULL;
    if (!is_dir(path)) {
        return strdup(path);
    }
    for (size_t i = 0; i < 2; i++) {
        char *file = NULL;
        if (asprintf(&file, "%s/%s", path, names[i]) < 0) {
            break;
        }
        if (access(file, F_OK) == 0 && !found) {
            found = file;
        } else if (access(file, F_OK) == 0) {
            whorl_fail(fault, path, "holds both manifest.csv and manifest.jsonl: name one");
            free(file);
            free(found);
            return NULL;
        } else {
            free(file);
        }
    }
    if (!found) {
        whorl_fail(fault, path, "holds neither manifest.csv nor manifest.jsonl");
    }
    return found;
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* A transaction stands for one person, named like the file, with all the fingers in it. */
static FILE *manifest_of_transaction(struct manifest *manifest)
{
    const char *slash = strrchr(manifest->path, '/'), *base = slash ? slash + 1 : manifest->path;
    const char *dot = strrchr(base, '.');
    int stem = dot && dot != base ? (int)(dot - base) : (int)strlen(base);
    json_t *person = json_pack("{s:s#, s:[{s:i, s:s}]}", "person", base, stem, "fingers",
                               "position", 0, "file", base);
    manifest->made = person ? json_dumps(person, JSON_COMPACT) : NULL;
    json_decref(person);
    return manifest->made ? fmemopen(manifest->made, strlen(manifest->made), "r") : NULL;
}

static bool is_transaction(FILE *file)
{
    uint8_t start[16];
    size_t len = fread(start, 1, sizeof start, file);
    rewind(file);
    return afis_an2k_probable(start, len);
}

static bool open_file(struct manifest *manifest, struct whorl_fault *fault)
{
    struct stat st;
    FILE *file = fopen(manifest->path, "re");
    if (file && fstat(fileno(file), &st) == 0) {
        if (is_transaction(file)) {
            fclose(file);
            file = manifest_of_transaction(manifest);
            if (!file) {
                return whorl_fail(fault, manifest->path, "its name cannot name a person");
            }
            st.st_size = (off_t)strlen(manifest->made);
        }
        manifest->size = (uint64_t)st.st_size;
        return manifest_begin(manifest, file, fault);
    }
    if (file) {
        fclose(file);
    }
    return whorl_fail(fault, manifest->path, "%s", strerror(errno));
}

bool manifest_begin(struct manifest *manifest, FILE *file, struct whorl_fault *fault)
{
    manifest->file = file;
    manifest->csv = ends_with(manifest->path, ".csv");
    if (!manifest->csv && !manifest->made && !ends_with(manifest->path, ".jsonl")) {
        return whorl_fail(fault, manifest->path, "a manifest ends in .csv or .jsonl");
    }
    const char *slash = strrchr(manifest->path, '/');
    manifest->dir =
        slash ? strndup(manifest->path, (size_t)(slash - manifest->path) + 1) : strdup("./");
    if (!manifest->dir) {
        return whorl_fail(fault, manifest->path, "out of memory");
    }
    return !manifest->csv || manifest_csv_header(manifest, fault);
}

struct manifest *manifest_open(const char *path, struct whorl_fault *fault)
{
    struct manifest *manifest = calloc(1, sizeof *manifest);
    if (!manifest) {
        whorl_fail(fault, path, "out of memory");
        return NULL;
    }
    manifest->path = find(path, fault);
    if (manifest->path && open_file(manifest, fault)) {
        return manifest;
    }
    manifest_close(manifest);
    return NULL;
}

void manifest_close(struct manifest *manifest)
{
    if (!manifest) {
        return;
    }
    if (manifest->file) {
        fclose(manifest->file);
    }
    manifest_person_free(manifest->pending);
    free(manifest->path);
    free(manifest->dir);
    free(manifest->buffer);
    free(manifest->header);
    free(manifest->made);
    free(manifest);
}

const char *manifest_path(const struct manifest *manifest)
{
    return manifest->path;
}

const char *manifest_dir(const struct manifest *manifest)
{
    return manifest->dir;
}

void manifest_progress(const struct manifest *manifest, uint64_t *read, uint64_t *of)
{
    *read = manifest->read;
    *of = manifest->size;
}

bool manifest_line(struct manifest *manifest, size_t *len, bool *failed, struct whorl_fault *fault)
{
    errno = 0;
    ssize_t n = getline(&manifest->buffer, &manifest->cap, manifest->file);
    *failed = n < 0 && !feof(manifest->file);
    if (*failed) {
        whorl_fail(fault, "", "%s", strerror(errno));
    }
    if (n < 0) {
        return false;
    }
    *len = (size_t)n;
    manifest->line++;
    manifest->read += *len;
    return true;
}

/* ------------------------------------------------------------------ people */

struct manifest_person *manifest_person_new(unsigned long line)
{
    struct manifest_person *person = calloc(1, sizeof *person);
    if (!person) {
        return NULL;
    }
    person->line = line;
    person->person = (struct gallery_person){.id = person->id,
                                             .identifiers = person->identifiers,
                                             .names = person->names,
                                             .born = "",
                                             .sex = "",
                                             .details = person->details,
                                             .source = ""};
    return person;
}

void manifest_person_free(struct manifest_person *person)
{
    if (!person) {
        return;
    }
    for (size_t i = 0; i < person->print_count; i++) {
        free(person->prints[i].file);
    }
    free(person->text);
    free(person->source);
    json_decref(person->json);
    free(person);
}

bool manifest_set_id(struct manifest_person *person, const char *id, struct whorl_fault *fault)
{
    size_t len = strlen(id);
    if (len == 0 || len > GALLERY_ID_MAX) {
        return whorl_fail(fault, "person", "must have 1 to %u bytes", GALLERY_ID_MAX);
    }
    memcpy(person->id, id, len + 1);
    return true;
}

static int this_year(void)
{
    time_t now = time(NULL);
    struct tm tm;
    return gmtime_r(&now, &tm)->tm_year + 1900;
}

bool manifest_add_identifier(struct manifest_person *person, const char *key, const char *value,
                             struct whorl_fault *fault)
{
    size_t i = person->person.identifier_count;
    if (i == 16) {
        return whorl_fail(fault, "identifiers", "must be at most 16");
    }
    char *canonical = person->canonical[i];
    bool pncid = strcmp(key, "pncid") == 0, cro = strcmp(key, "cro") == 0;
    struct whorl_fault inner = {{0}, {0}};
    if ((pncid && !pnc_pncid_read(value, this_year(), canonical, &inner)) ||
        (cro && !pnc_cro_read(value, canonical, &inner))) {
        return whorl_fail(fault, key, "%s", inner.text);
    }
    person->identifiers[i] = (struct gallery_pair){key, pncid || cro ? canonical : value};
    person->person.identifier_count++;
    return true;
}

bool manifest_set_expires(struct manifest_person *person, const char *date,
                          struct whorl_fault *fault)
{
    if (strcmp(date, "never") == 0) {
        person->never = true;
        return true;
    }
    if (!read_day(date, &person->person.expires)) {
        return whorl_fail(fault, "expires", "must be a date, YYYY-MM-DD, or never");
    }
    return true;
}

bool manifest_add_print(struct manifest_person *person, const struct manifest_print *print,
                        struct whorl_fault *fault)
{
    if (person->print_count == GALLERY_PRINTS_MAX) {
        return whorl_fail(fault, "file", "a person has at most %u prints", GALLERY_PRINTS_MAX);
    }
    for (size_t i = 0; i < person->print_count; i++) {
        if (person->prints[i].position == print->position &&
            person->prints[i].impression == print->impression) {
            return whorl_fail(fault, "impression",
                              "position %u, impression %u was given in line %lu already",
                              print->position, print->impression, person->prints[i].line);
        }
    }
    if (!print->file[0]) {
        return whorl_fail(fault, "file", "is missing");
    }
    if (!whorl_text_is_clean(print->file, strlen(print->file))) {
        return whorl_fail(fault, "file", "must be UTF-8 without control characters");
    }
    struct manifest_print *to = &person->prints[person->print_count];
    *to = *print;
    to->file = strdup(print->file);
    if (!to->file) {
        return whorl_fail(fault, "", "out of memory");
    }
    person->print_count++;
    return true;
}

bool manifest_check(struct manifest_person *person, struct whorl_fault *fault)
{
    /* Prints are what files hold: one that stands for them lets the rest be checked now. */
    static const struct gallery_print any = {.position = 0};
    struct gallery_person whole = person->person;
    whole.prints = &any;
    whole.print_count = 1;
    return gallery_person_valid(&whole, fault);
}

/* ------------------------------------------------------------------ reading on */

static enum manifest_got give_pending(struct manifest *manifest, struct manifest_person **person,
                                      enum manifest_got otherwise)
{
    *person = manifest->pending;
    manifest->pending = NULL;
    return *person ? MANIFEST_PERSON : otherwise;
}

enum manifest_got manifest_next(struct manifest *manifest, struct manifest_person **person,
                                unsigned long *line, struct whorl_fault *fault)
{
    size_t len;
    bool failed;
    *person = NULL;
    while (manifest_line(manifest, &len, &failed, fault)) {
        *line = manifest->line;
        if (manifest->buffer[strspn(manifest->buffer, " \t\r\n")] == '\0' &&
            strlen(manifest->buffer) == len) {
            continue; /* an empty line */
        }
        if (!manifest->csv) {
            *person = manifest_json_line(manifest, len, fault);
            return *person ? MANIFEST_PERSON : MANIFEST_BAD;
        }
        struct manifest_person *next = NULL;
        if (!manifest_csv_row(manifest, len, &next, fault)) {
            return MANIFEST_BAD;
        }
        if (!next) {
            continue;
        }
        *person = manifest->pending;
        manifest->pending = next;
        if (*person) {
            return MANIFEST_PERSON;
        }
    }
    if (failed) {
        return MANIFEST_FAILED;
    }
    return give_pending(manifest, person, MANIFEST_END);
}
