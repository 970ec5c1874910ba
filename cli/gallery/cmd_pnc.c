/* whorl pnc: loads PNC records and shows one. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/audit/change.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/device/screen.h"
#include "cli/gallery/pnc_sql.h"
#include "cli/plugin_dir.h"
#include "plugins/pnc/people.h"

#define BATCH 512u /* records in one transaction */

static const struct argp_option options_list[] = {
    {"conf", 'c', "DIR", 0, "The server's configuration", 0},
    {0},
};

struct options {
    const char *action, *conf, *what;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'c':
        o->conf = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1 || (state->arg_num == 0 && strcmp(arg, "import") != 0 &&
                                   strcmp(arg, "show") != 0 && strcmp(arg, "sql") != 0)) {
            argp_error(state,
                       "unexpected argument \"%s\": expected import FILE, show ID or sql FILE",
                       arg);
        }
        *(state->arg_num == 0 ? &o->action : &o->what) = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->what == NULL) {
            argp_error(state, "expected import FILE, show ID or sql FILE");
        }
        if (o->conf == NULL && strcmp(o->action, "sql") != 0) {
            argp_error(state, "-c is missing");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int this_year(void)
{
    time_t now = time(NULL);
    struct tm today;
    gmtime_r(&now, &today);
    return today.tm_year + 1900;
}

/* ------------------------------------------------------------------ import */

struct import {
    const char *path;
    FILE *file;
    off_t size;
    FILE *sql; /* where they go to; NULL: to the three below */
    struct pnc_people *people;
    struct audit_writer *log;
    const char *store; /* the plugin's name */
    int year;
    char *line; /* PNC_LINE_MAX + 1 bytes */
    uint64_t line_number, added, replaced, unchanged, skipped;
    struct pnc_record records[BATCH];
    uint64_t lines[BATCH]; /* where they stood */
    size_t count;
};

/* Reads one line without its end; what does not fit is read and left out, and *len says more than
 * PNC_LINE_MAX. false at the file's end. */
static bool read_line(struct import *import, size_t *len)
{
    int c = getc_unlocked(import->file);
    *len = 0;
    if (c == EOF) {
        return false;
    }
    for (; c != EOF && c != '\n'; c = getc_unlocked(import->file)) {
        if (*len < PNC_LINE_MAX) {
            import->line[*len] = (char)c;
        }
        if (*len <= PNC_LINE_MAX) {
            ++*len;
        }
    }
    import->line_number++;
    return true;
}

static void show_progress(const struct import *import)
{
    if (isatty(STDERR_FILENO) != 1) {
        return;
    }
    fprintf(stderr, "\r%s: line %" PRIu64 " (%.0f %%) ", import->path, import->line_number,
            import->size > 0 ? 100.0 * (double)ftello(import->file) / (double)import->size : 100.0);
}

static void clear_progress(void)
{
    if (isatty(STDERR_FILENO) == 1) {
        fputs("\r\033[K", stderr);
    }
}

/* Records what is about to be stored: what would change nothing is left out. */
static bool record_batch(struct import *import, struct whorl_fault *fault)
{
    struct changed_person people[BATCH];
    enum pnc_put will[BATCH];
    size_t count = 0;
    if (!pnc_people_compare(import->people, import->records, import->count, will, fault)) {
        return false;
    }
    for (size_t i = 0; i < import->count; i++) {
        if (will[i] != PNC_UNCHANGED) {
            people[count++] =
                (struct changed_person){import->records[i].pncid, "", will[i] == PNC_REPLACED};
        }
    }
    return change_record_people(import->log, "importing", import->store, people, count, fault);
}

/* Writes what was collected as SQL. */
static bool write_batch(struct import *import)
{
    bool ok = true;
    for (size_t i = 0; i < import->count; i++) {
        ok = ok && pnc_sql_record(import->sql, &import->records[i]);
        pnc_record_release(&import->records[i]);
    }
    import->added += import->count;
    import->count = 0;
    show_progress(import);
    if (!ok) {
        fprintf(stderr, "whorl pnc: out of memory\n");
    }
    return ok;
}

/* Stores what was collected and says what it replaced. */
static bool store_batch(struct import *import)
{
    if (import->sql != NULL) {
        return write_batch(import);
    }
    enum pnc_put done[BATCH];
    struct whorl_fault fault;
    bool ok = import->count == 0 ||
              (record_batch(import, &fault) &&
               pnc_people_put(import->people, import->records, import->count, done, &fault));
    if (!ok) {
        clear_progress();
        fprintf(stderr, "whorl pnc: %s; nothing from line %" PRIu64 " on is stored\n", fault.text,
                import->lines[0]);
    }
    for (size_t i = 0; i < import->count; i++) {
        if (ok && done[i] == PNC_REPLACED) {
            clear_progress();
            fprintf(stderr, "%s:%" PRIu64 ": pncid: replaced the record that was there\n",
                    import->path, import->lines[i]);
        }
        import->added += ok && done[i] == PNC_ADDED;
        import->replaced += ok && done[i] == PNC_REPLACED;
        import->unchanged += ok && done[i] == PNC_UNCHANGED;
        pnc_record_release(&import->records[i]);
    }
    import->count = 0;
    show_progress(import);
    return ok;
}

static bool is_blank(const char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r')) {
        len--;
    }
    return len == 0;
}

static bool import_lines(struct import *import)
{
    size_t len;
    while (read_line(import, &len)) {
        struct whorl_fault fault = {{0}, {0}};
        if (len <= PNC_LINE_MAX && is_blank(import->line, len)) {
            continue;
        }
        if (pnc_record_from_json(import->line, len, import->year, &import->records[import->count],
                                 &fault)) {
            import->lines[import->count++] = import->line_number;
        } else {
            clear_progress();
            fprintf(stderr, "%s:%" PRIu64 ": %s%s%s\n", import->path, import->line_number,
                    fault.where, fault.where[0] != '\0' ? ": " : "", fault.text);
            import->skipped++;
        }
        if (import->count == BATCH && !store_batch(import)) {
            return false;
        }
    }
    if (ferror(import->file)) {
        fprintf(stderr, "%s: %s\n", import->path, strerror(errno));
        return false;
    }
    return store_batch(import);
}

static bool open_file(struct import *import)
{
    struct stat st;
    import->file = fopen(import->path, "re");
    if (import->file == NULL || fstat(fileno(import->file), &st) != 0 || S_ISDIR(st.st_mode)) {
        fprintf(stderr, "%s: %s\n", import->path,
                import->file != NULL ? "is a directory" : strerror(errno));
        return false;
    }
    import->size = st.st_size;
    return true;
}

static int open_and_import(struct import *import)
{
    struct whorl_fault fault;
    if (!open_file(import)) {
        return 3;
    }
    bool ok = import_lines(import);
    clear_progress();
    if (!change_record_done(import->log, "imported", import->store, import->added, import->replaced,
                            &fault)) {
        fprintf(stderr, "whorl pnc: %s\n", fault.text);
        ok = false;
    }
    printf("%" PRIu64 " added, %" PRIu64 " replaced, %" PRIu64 " unchanged, %" PRIu64
           " lines skipped\n",
           import->added, import->replaced, import->unchanged, import->skipped);
    return !ok ? 3 : import->skipped > 0 ? 1 : 0;
}

/* NULL: out of memory, and said so. */
static struct import *new_import(const char *path)
{
    struct import *import = calloc(1, sizeof(*import));
    char *line = malloc(PNC_LINE_MAX + 1);
    if (import == NULL || line == NULL) {
        fprintf(stderr, "whorl pnc: out of memory\n");
        free(import);
        free(line);
        return NULL;
    }
    import->path = path;
    import->year = this_year();
    import->line = line;
    return import;
}

static void free_import(struct import *import)
{
    if (import == NULL) {
        return;
    }
    if (import->file != NULL) {
        fclose(import->file);
    }
    free(import->line);
    free(import);
}

static int import_with(struct audit_writer *log, const char *dir, const char *path)
{
    struct whorl_fault fault;
    struct import *import = new_import(path);
    struct pnc_people *people = pnc_people_open(dir, WHORL_STORE_WRITE, &fault);
    int exit_code = 3;
    if (people == NULL) {
        fprintf(stderr, "whorl pnc: %s\n", fault.text);
    } else if (import != NULL) {
        import->people = people;
        import->log = log;
        import->store = strrchr(dir, '/') + 1;
        exit_code = open_and_import(import);
    }
    pnc_people_close(people);
    free_import(import);
    return exit_code;
}

static int import_file(const struct conf *conf, const char *dir, const char *path)
{
    struct whorl_fault fault = {{0}, {0}};
    struct audit_writer *log = audit_writer_open(conf, &fault);
    int exit_code = log != NULL ? import_with(log, dir, path) : print_fault(&fault);
    audit_writer_close(log);
    return exit_code;
}

/* ------------------------------------------------------------------ sql */

static int write_sql(const char *path)
{
    struct import *import = new_import(path);
    int exit_code = 3;
    if (import != NULL && open_file(import)) {
        import->sql = stdout;
        pnc_sql_begin(stdout);
        bool ok = import_lines(import);
        clear_progress();
        if (ok) { /* a half of it must not be committed */
            pnc_sql_end(stdout);
        }
        fprintf(stderr, "%" PRIu64 " records, %" PRIu64 " lines skipped\n", import->added,
                import->skipped);
        if (fflush(stdout) != 0 || ferror(stdout) != 0) {
            fprintf(stderr, "whorl pnc: cannot write: %s\n", strerror(errno));
            ok = false;
        }
        exit_code = !ok ? 3 : import->skipped > 0 ? 1 : 0;
    }
    free_import(import);
    return exit_code;
}

/* ------------------------------------------------------------------ show */

static int show_found(struct pnc_people *people, MDB_txn *txn, enum pnc_key by, const char *id)
{
    char found[16][PNC_ID_CAP];
    size_t count;
    struct whorl_fault fault;
    struct pnc_record record;
    bool ok = pnc_people_find(people, txn, by, id, found, 16, &count, &fault);
    for (size_t i = 0; ok && i < count; i++) {
        ok = pnc_people_get(people, txn, found[i], &record, &fault);
        if (ok) {
            screen_json(&record.msg.root, stdout);
            pnc_record_release(&record);
        }
    }
    if (!ok) {
        fprintf(stderr, "whorl pnc: %s\n", fault.text);
        return 3;
    }
    if (count == 0) {
        fprintf(stderr, "no record of %s\n", id);
    }
    return count > 0 ? 0 : 1;
}

static int show(const char *dir, const char *text)
{
    char id[PNC_ID_CAP];
    struct whorl_fault as_pncid, as_cro, fault;
    enum pnc_key by = PNC_BY_PNCID;
    if (!pnc_pncid_read(text, this_year(), id, &as_pncid)) {
        by = PNC_BY_CRO;
        if (!pnc_cro_read(text, id, &as_cro)) {
            fprintf(stderr, "whorl pnc: neither a PNCID (%s) nor a CRO number (%s)\n",
                    as_pncid.text, as_cro.text);
            return 2;
        }
    }
    int exit_code = 3;
    struct pnc_people *people = pnc_people_open(dir, WHORL_STORE_READ, &fault);
    MDB_txn *txn = people != NULL ? pnc_people_read(people, &fault) : NULL;
    if (txn != NULL) {
        exit_code = show_found(people, txn, by, id);
    } else {
        fprintf(stderr, "whorl pnc: %s\n", fault.text);
    }
    if (people != NULL) {
        pnc_people_done(people, txn);
    }
    pnc_people_close(people);
    return exit_code;
}

/* Says so if the records here are not those that the server looks people up in. */
static void note_source(const struct conf_plugin *plugin)
{
    const char *source = plugin->settings != NULL
                             ? plugin->settings->string(plugin->settings, NULL, "source")
                             : NULL;
    if (source != NULL && strcmp(source, "lmdb") != 0) {
        fprintf(stderr,
                "whorl pnc: the source of \"%s\" is %s: the records here count when it is lmdb\n",
                plugin->name, source);
    }
}

int cmd_pnc(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options_list,
        .parser = parse,
        .args_doc = "import FILE\nshow ID\nsql FILE",
        .doc =
            "Loads PNC records from a file of JSON lines (plugins/pnc/README.md describes them), "
            "also beside a running server: a line that is not valid is named and skipped, a "
            "record of a PNCID that is there already replaces it. Who is about to be stored is "
            "recorded in the audit log first; nobody is stored who can't be. Or shows the record "
            "of a PNCID or CRO number. Or writes such a file as SQL that puts its records into "
            "Whorl's own table of a PostgreSQL database: whorl pnc sql FILE | psql … "
            "(docs/data-sources.md).\v"
            "Exit status: 0 done, 1 lines were skipped or no such record, 2 wrong usage, 3 "
            "failure.",
    };
    struct options o = {0};
    char dir[PATH_MAX];
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (strcmp(o.action, "sql") == 0) {
        return write_sql(o.what);
    }
    struct conf *conf = read_conf(o.conf);
    const struct conf_plugin *plugin =
        conf != NULL ? plugin_dir_find(conf, "whorl-pnc.so", dir, sizeof(dir)) : NULL;
    int exit_code = 3;
    if (plugin != NULL) {
        note_source(plugin);
        exit_code =
            strcmp(o.action, "import") == 0 ? import_file(conf, dir, o.what) : show(dir, o.what);
    }
    conf_unref(conf);
    return exit_code;
}
