/* whorl source check, status and resync: the database that a plugin's settings name, and the copy.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/source/source_args.h"
#include "gallery/copy.h"
#include "plugins/source/postgresql/copy.h"
#include "plugins/source/postgresql/follow.h"
#include "plugins/source/postgresql/row.h"
#include "whorl/msg.h"

#define PATIENCE_MS 600000u
#define BAD_MAX 20 /* people that are named */

/* A plugin's database, its mapping and its copy's folder. */
struct subject {
    const char *conf_dir, *name;
    struct conf *conf;
    const struct conf_plugin *plugin;
    struct pg_mapping *mapping;
    struct source_place place;
    struct pg_use use;
    char *dir;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct subject *s = state->input;
    if (key == ARGP_KEY_ARG && !s->name) {
        s->name = arg;
        return 0;
    }
    if (key == ARGP_KEY_END && !s->name) {
        argp_error(state, "which PLUGIN?");
    }
    return parse_conf_dir(key, arg, state, &s->conf_dir);
}

static void leave(struct subject *s)
{
    source_leave(&s->place);
    pg_mapping_free(s->mapping);
    conf_unref(s->conf);
    free(s->dir);
}

/* Reads arguments and configuration. false, having written why. */
static bool read_arguments(struct subject *s, int argc, char **argv, const char *doc)
{
    static const struct argp_option options[] = {CONF_DIR_OPTION, {0}};
    const struct argp argp = {
        .options = options, .parser = parse, .args_doc = "PLUGIN", .doc = doc};
    *s = (struct subject){.name = NULL};
    argp_parse(&argp, argc, argv, 0, NULL, s);
    s->conf = read_conf(s->conf_dir);
    return s->conf != NULL;
}

/* Looks at the settings of a plugin with a gallery; connects to nothing. */
static bool enter_gallery(struct subject *s)
{
    struct whorl_fault fault = {{0}, {0}};
    s->plugin = source_plugin(s->conf, s->name);
    s->mapping = s->plugin ? pg_mapping_read(s->plugin->settings, &fault) : NULL;
    if (s->mapping &&
        asprintf(&s->dir, "%s/%s/" PG_COPY_DIR, s->conf->core.data_dir, s->name) < 0) {
        s->dir = NULL;
        whorl_fail(&fault, "", "out of memory");
    }
    if (s->plugin && !s->dir) {
        print_fault(&fault);
    }
    if (!s->mapping || !s->dir) {
        leave(s);
        return false;
    }
    s->use = (struct pg_use){.application = "whorl source",
                             .statement_ms = PATIENCE_MS,
                             .tables = (const char *const *)s->mapping->tables};
    return true;
}

static bool enter(struct subject *s, int argc, char **argv, const char *doc)
{
    return read_arguments(s, argc, argv, doc) && enter_gallery(s);
}

/* ------------------------------------------------------------------ check */

struct tally {
    int people, gone, bad;
};

static bool read_rows(const PGresult *result, struct tally *tally, struct whorl_fault *fault)
{
    struct pg_arena arena = {NULL};
    for (int i = 0; i < PQntuples(result); i++) {
        struct pg_row row;
        struct gallery_person person;
        struct whorl_fault why = {{0}, {0}};
        for (int c = 0; c < PG_COLUMNS; c++) {
            row.value[c] = PQgetvalue(result, i, c);
            row.len[c] = PQgetisnull(result, i, c) ? -1 : PQgetlength(result, i, c);
        }
        enum pg_row_kind kind = pg_row_read(&row, &arena, &person, &why);
        if (kind == PG_ROW_NO_MEMORY) {
            pg_arena_release(&arena);
            return whorl_fail(fault, "", "out of memory");
        }
        tally->people += kind == PG_ROW_PERSON;
        tally->gone += kind == PG_ROW_GONE;
        if (kind == PG_ROW_BAD && tally->bad++ < BAD_MAX) {
            bool clean = whorl_text_is_clean(row.value[PG_ID], (size_t)row.len[PG_ID]);
            printf("           person %s: %s %s\n", clean ? row.value[PG_ID] : "(no clean text)",
                   why.where, why.text);
        }
        pg_arena_release(&arena);
    }
    return true;
}

/* Makes each statement once: names and types fit if the database takes them. */
static bool try_statements(const struct subject *s, const struct pg_ask *ask, struct tally *tally,
                           struct whorl_fault *fault)
{
    const char *first[] = {""};
    PGresult *begun = pg_ask(ask, s->mapping->begin, NULL, 0, "count people", fault);
    if (!begun) {
        return false;
    }
    printf("people     %s, %s without a usable id\n", PQgetvalue(begun, 0, 1),
           PQgetvalue(begun, 0, 2));
    const char *changes[] = {PQgetvalue(begun, 0, 0), ""};
    PGresult *page = pg_ask(ask, s->mapping->page, first, 1, "read people", fault);
    PGresult *poll =
        page ? pg_ask(ask, s->mapping->poll, changes, 1, "look for changes", fault) : NULL;
    PGresult *people =
        poll ? pg_ask(ask, s->mapping->people, changes, 2, "read changes", fault) : NULL;
    bool ok = people != NULL;
    if (ok && s->mapping->gone) {
        PGresult *gone = pg_ask(ask, s->mapping->gone, changes, 2, "read who is gone", fault);
        ok = gone != NULL;
        PQclear(gone);
    }
    if (ok && s->mapping->listen) {
        PGresult *listening = pg_ask(ask, s->mapping->listen, NULL, 0, "listen", fault);
        ok = listening != NULL;
        PQclear(listening);
    }
    ok = ok && read_rows(page, tally, fault);
    PQclear(people);
    PQclear(poll);
    PQclear(page);
    PQclear(begun);
    return ok;
}

int cmd_source_check(int argc, char **argv)
{
    struct subject s;
    struct whorl_fault fault = {{0}, {0}};
    struct tally tally = {0, 0, 0};
    if (!read_arguments(&s, argc, argv,
                        "Whether a plugin can use the database that its settings name: reaches it, "
                        "looks at TLS, role, tables and columns, and reads the first people or "
                        "records. It does so whatever the plugin's `source` is.\vExit status: 0 it "
                        "can, 1 people can't be read, 2 wrong usage, 3 it can't.")) {
        return EXIT_FAILED;
    }
    const struct conf_plugin *plugin = conf_find_plugin(s.conf, s.name);
    if (plugin && plugin->settings &&
        plugin->settings->string(plugin->settings, NULL, "records_table")) {
        int code = source_check_pnc(plugin);
        leave(&s);
        return code;
    }
    if (!enter_gallery(&s)) {
        return EXIT_FAILED;
    }
    if (!source_connect(&s.place, s.plugin->settings, &s.use)) {
        leave(&s);
        return EXIT_FAILED;
    }
    source_print_connection(&s.place);
    const struct pg_ask ask = {s.place.link, -1, PATIENCE_MS};
    bool ok = try_statements(&s, &ask, &tally, &fault);
    if (ok) {
        printf("columns    fit; of the first people %d can be read, %d can't, %d have no print or "
               "are deleted\n",
               tally.people, tally.bad, tally.gone);
    } else {
        print_fault(&fault);
    }
    leave(&s);
    return !ok ? EXIT_FAILED : tally.bad > 0 ? EXIT_NEGATIVE : EXIT_DONE;
}

/* ------------------------------------------------------------------ status */

static void print_time(const char *what, int64_t seconds)
{
    char text[32];
    time_t when = (time_t)seconds;
    struct tm tm;
    gmtime_r(&when, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("%s%s, %" PRId64 " s ago\n", what, text, (int64_t)time(NULL) - seconds);
}

static void print_mark(const struct pg_mark *mark, const struct subject *s)
{
    printf("database   %s (%s, timeline %" PRId64 ")%s\n", mark->place, mark->database,
           mark->timeline,
           strcmp(mark->mapping, s->mapping->digest) == 0 ? "" : ", by another mapping than now");
    if (mark->pass) {
        printf("%s  %" PRIu64 " of %" PRIu64 " people\n", mark->whole ? "comparing" : "copying  ",
               mark->done, mark->of);
    }
    if (mark->whole && mark->agreed) {
        print_time("agreed     ", mark->agreed);
    }
    if (mark->passed) {
        print_time("compared   ", mark->passed);
        printf("           %" PRIu64 " people put, %" PRIu64 " removed\n", mark->put,
               mark->removed);
    }
    printf("unreadable %s%" PRIu64 "\n", mark->overflow != PG_OVERFLOW_NONE ? "more than " : "",
           pg_mark_missing(mark));
    for (uint32_t i = 0; i < mark->unreadable_count && i < BAD_MAX; i++) {
        const char *id = mark->unreadable[i];
        printf("           %s\n", whorl_text_is_clean(id, strlen(id)) ? id : "(no clean text)");
    }
    printf("position   %.200s%s\n", mark->position, strlen(mark->position) > 200 ? "…" : "");
}

/* What the database has that the kept position has not. */
static bool print_lag(const struct subject *s, const struct pg_mark *mark)
{
    struct whorl_fault fault = {{0}, {0}};
    const struct pg_ask ask = {s->place.link, -1, PATIENCE_MS};
    const char *parameters[] = {mark->position};
    PGresult *result = pg_ask(&ask, s->mapping->poll, parameters, 1, "look for changes", &fault);
    if (!result || PQntuples(result) != 1 || PQnfields(result) != 5) {
        PQclear(result);
        return print_fault(&fault) == EXIT_DONE;
    }
    printf("behind it  %s people changed, %s gone (a running server has taken over what it has "
           "seen)\n",
           PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 3));
    PQclear(result);
    return true;
}

static bool load_mark(const struct subject *s, struct pg_mark *mark)
{
    struct whorl_fault fault = {{0}, {0}};
    struct gallery_mark bytes = {.len = 0};
    struct gallery_counts counts = {0};
    if (access(s->dir, F_OK) != 0 && errno == ENOENT) {
        fprintf(stderr, "whorl: %s: there is no copy yet: `whorl source resync %s` makes it\n",
                s->dir, s->name);
        return false;
    }
    struct gallery *gallery = gallery_open(s->dir, WHORL_STORE_READ, &fault);
    bool ok = gallery && gallery_count(gallery, &counts, &fault) &&
              gallery_mark_read(gallery, &bytes, &fault) &&
              (bytes.len > 0 || whorl_fail(&fault, s->dir, "nothing has been copied yet")) &&
              pg_mark_read(bytes.bytes, bytes.len, mark, &fault);
    gallery_mark_release(&bytes);
    gallery_close(gallery);
    if (ok) {
        printf("copy       %s: %" PRIu64 " people, %" PRIu64 " prints\n", s->dir, counts.people,
               counts.prints);
    } else {
        print_fault(&fault);
    }
    return ok;
}

int cmd_source_status(int argc, char **argv)
{
    struct subject s;
    struct pg_mark *mark = malloc(sizeof *mark);
    int code = EXIT_FAILED;
    if (!mark || !enter(&s, argc, argv,
                        "How a plugin's copy of its database stands: how old it is, how far it has "
                        "come, who could not be read.\vExit status: 0 it is whole, 1 it is not or "
                        "people are missing, 2 wrong usage, 3 failure.")) {
        free(mark);
        return EXIT_FAILED;
    }
    if (load_mark(&s, mark)) {
        print_mark(mark, &s);
        bool whole = mark->whole && !mark->behind && pg_mark_missing(mark) == 0;
        code = whole ? EXIT_DONE : EXIT_NEGATIVE;
        if (mark->position[0] &&
            (!source_connect(&s.place, s.plugin->settings, &s.use) || !print_lag(&s, mark))) {
            code = EXIT_FAILED;
        }
    }
    free(mark);
    leave(&s);
    return code;
}

/* ------------------------------------------------------------------ resync */

static void say(void *ctx, enum whorl_log_level level, const char *text)
{
    (void)ctx;
    if (level >= WHORL_LOG_WARNING) {
        fprintf(stderr, "whorl: %s\n", text);
    }
}

static void show(const struct pg_mark *mark)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%" PRIu64 " of %" PRIu64 " people", mark->done, mark->of);
    }
}

/* Makes a pass, or watches the one that a server is making. */
static bool make_pass(struct pg_copy *copy, struct whorl_fault *fault)
{
    bool busy = true;
    while (pg_copy_mark(copy)->pass) {
        if (!pg_copy_page(copy, &busy, fault)) {
            return false;
        }
        show(pg_copy_mark(copy));
        if (!busy && pg_copy_mark(copy)->pass) {
            usleep(200000);
            if (!pg_copy_refresh(copy, fault)) {
                return false;
            }
        }
    }
    return true;
}

/* What has changed meanwhile may be so much that it begins a pass of its own. */
static bool resync(struct pg_copy *copy, struct whorl_fault *fault)
{
    bool agreed = false;
    if (!pg_copy_connected(copy, fault) ||
        (!pg_copy_mark(copy)->pass && !pg_copy_changes(copy, &agreed, fault))) {
        return false;
    }
    while (!pg_copy_mark(copy)->pass) { /* again where a server wrote in the same moment */
        if (!pg_copy_begin_pass(copy, fault)) {
            return false;
        }
    }
    for (agreed = false; !agreed;) {
        if (!make_pass(copy, fault) || !pg_copy_changes(copy, &agreed, fault)) {
            return false;
        }
    }
    return pg_copy_keep(copy, fault);
}

static bool make_dirs(const struct subject *s, struct whorl_fault *fault)
{
    char *end = strrchr(s->dir, '/');
    *end = '\0';
    bool ok = mkdir(s->dir, 0700) == 0 || errno == EEXIST;
    *end = '/';
    ok = ok && (mkdir(s->dir, 0700) == 0 || errno == EEXIST);
    return ok || whorl_fail(fault, s->dir, "cannot be made: %s", strerror(errno));
}

int cmd_source_resync(int argc, char **argv)
{
    struct subject s;
    struct whorl_fault fault = {{0}, {0}};
    struct pg_copy *copy = NULL;
    if (!enter(&s, argc, argv,
               "Compares a plugin's copy of its database with the database, person by person, and "
               "puts it right: also the first time, before the plugin's `source` is changed to it. "
               "Then overwrites what its files still hold of people who are gone. A running server "
               "goes on meanwhile.\vExit status: 0 the copy is whole, 1 people "
               "can't be read, 2 wrong usage, 3 failure.")) {
        return EXIT_FAILED;
    }
    if (!source_connect(&s.place, s.plugin->settings, &s.use)) {
        leave(&s);
        return EXIT_FAILED;
    }
    const struct pg_ask ask = {.link = s.place.link, .wake = -1};
    const struct pg_copy_log log = {say, NULL};
    bool ok = make_dirs(&s, &fault) &&
              (copy = pg_copy_open(s.dir, s.place.target, s.mapping, &ask, &log, &fault)) != NULL;
    struct whorl_store_erased erased = {0};
    ok = ok && resync(copy, &fault) && gallery_erase(pg_copy_gallery(copy), &erased, &fault);
    fputs(isatty(STDERR_FILENO) ? "\r\033[K" : "", stderr);
    bool bad = false;
    if (ok) {
        const struct pg_mark *mark = pg_copy_mark(copy);
        bad = mark->overflow != PG_OVERFLOW_NONE || pg_mark_missing(mark) > 0;
        printf("%" PRIu64 " people compared: %" PRIu64 " put, %" PRIu64 " removed, %" PRIu64
               " unreadable\n",
               mark->done, mark->put, mark->removed, pg_mark_missing(mark));
        printf("%" PRIu64 " bytes of what was there before overwritten\n", erased.bytes);
    } else {
        print_fault(&fault);
    }
    pg_copy_close(copy);
    leave(&s);
    return !ok ? EXIT_FAILED : bad ? EXIT_NEGATIVE : EXIT_DONE;
}
