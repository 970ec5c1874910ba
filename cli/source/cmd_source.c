/* whorl source: a backend's people in somebody else's database. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/audit/change.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/gallery/gallery_change.h"
#include "cli/source/fill.h"
#include "cli/source/schema.h"
#include "cli/source/source_args.h"
#include "whorl/msg.h"

#define CONNECT_MS 15000u
#define PATIENCE_MS 600000u /* of a statement, which may build an index */

bool source_connect(struct source_place *place, const struct whorl_settings *settings,
                    const struct pg_use *use)
{
    struct whorl_fault fault = {{0}, {0}};
    *place = (struct source_place){.target = pg_target_read(settings, &fault)};
    place->link = place->target ? pg_link_new(place->target, use) : NULL;
    if (place->target && !place->link) {
        whorl_fail(&fault, "", "out of memory");
    }
    if (place->link && pg_link_wait(place->link, -1, 0, &fault)) {
        return true;
    }
    source_leave(place);
    print_fault(&fault);
    return false;
}

void source_leave(struct source_place *place)
{
    pg_link_free(place->link);
    pg_target_free(place->target);
    *place = (struct source_place){NULL, NULL};
}

void source_print_connection(const struct source_place *place)
{
    PGconn *conn = pg_link_conn(place->link);
    int version = PQserverVersion(conn);
    printf("database   %s, PostgreSQL %d.%d\n", pg_target_name(place->target), version / 10000,
           version % 10000);
    if (PQsslInUse(conn)) {
        printf("TLS        %s, %s\n", PQsslAttribute(conn, "protocol"),
               PQsslAttribute(conn, "cipher"));
    } else {
        printf("TLS        none: the connection stays on this machine\n");
    }
    printf("role       %s may read the tables and write to none of them\n", PQuser(conn));
}

const struct conf_plugin *source_plugin(const struct conf *conf, const char *name)
{
    struct whorl_fault fault = {{0}, {0}};
    const struct conf_plugin *plugin = conf_find_plugin(conf, name);
    if (!plugin) {
        whorl_fail(&fault, conf->dir, "there is no plugin \"%s\"", name);
    } else if (!plugin->settings) {
        whorl_fail(&fault, conf->dir, "the plugin \"%s\" is disabled", name);
    } else if (!plugin->settings->string(plugin->settings, NULL, "people_table")) {
        whorl_fail(&fault, conf->dir, "the plugin \"%s\" takes no people from a database", name);
    } else {
        return plugin;
    }
    print_fault(&fault);
    return NULL;
}

/* ------------------------------------------------------------------ a database by arguments */

enum { OPT_CA = 0x100, OPT_PASSWORD_FILE, OPT_CERTIFICATE, OPT_KEY };

/* Arguments, and the same as if they were settings. */
struct arguments {
    struct whorl_settings settings;
    const char *database, *ca, *password_file, *certificate, *key;
    const char *conf_dir, *name; /* of fill */
    bool fill;
};

static const char *string_of(const struct whorl_settings *settings, const char *force,
                             const char *name)
{
    const struct arguments *a = settings->ctx;
    (void)force;
    return strcmp(name, "database") == 0               ? a->database
           : strcmp(name, "database_ca") == 0          ? a->ca
           : strcmp(name, "password_file") == 0        ? a->password_file
           : strcmp(name, "database_certificate") == 0 ? a->certificate
           : strcmp(name, "database_key") == 0         ? a->key
                                                       : NULL;
}

#define DATABASE_OPTIONS                                                                             \
    {                                                                                                \
        "ca", OPT_CA, "FILE", 0, "The authority (PEM) that the database's certificate must be of",   \
        0},                                                                                          \
        {"password-file", OPT_PASSWORD_FILE, "FILE", 0, "Its first line is the role's password", 0}, \
        {"certificate",                                                                              \
         OPT_CERTIFICATE,                                                                            \
         "FILE",                                                                                     \
         0,                                                                                          \
         "The certificate (PEM) shown to the database",                                              \
         0},                                                                                         \
    {                                                                                                \
        "key", OPT_KEY, "FILE", 0, "Its private key (PEM)", 0                                        \
    }

static error_t parse_database(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case OPT_CA:
        a->ca = arg;
        return 0;
    case OPT_PASSWORD_FILE:
        a->password_file = arg;
        return 0;
    case OPT_CERTIFICATE:
        a->certificate = arg;
        return 0;
    case OPT_KEY:
        a->key = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (a->fill && state->arg_num == 0) {
            a->name = arg;
        } else if (!a->database) {
            a->database = arg;
        } else {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        return 0;
    case ARGP_KEY_END:
        if (!a->database) {
            argp_error(state, "where is the database? \"host=… dbname=… user=…\"");
        }
        return a->fill ? parse_conf_dir(key, arg, state, &a->conf_dir) : 0;
    default:
        return a->fill ? parse_conf_dir(key, arg, state, &a->conf_dir) : ARGP_ERR_UNKNOWN;
    }
}

static void as_settings(struct arguments *a)
{
    a->settings =
        (struct whorl_settings){.size = sizeof a->settings, .ctx = a, .string = string_of};
}

int cmd_source_init(int argc, char **argv)
{
    static const struct argp_option options[] = {DATABASE_OPTIONS, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_database,
        .args_doc = "DATABASE",
        .doc = "Makes the schema \"whorl\" in a PostgreSQL database, or brings it up to date: "
               "tables of people, their prints and PNC records, triggers that stamp every change "
               "and tell of it, and a role " SOURCE_READER " that may only read. DATABASE is "
               "\"host=… dbname=… user=…\", of a role that may do all that. May be run again."};
    struct arguments a = {.fill = false};
    struct whorl_fault fault = {{0}, {0}};
    struct source_place place;
    const struct pg_use use = {.application = "whorl source init", .write = true};
    unsigned applied, known;
    as_settings(&a);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    if (!source_connect(&place, &a.settings, &use)) {
        return EXIT_FAILED;
    }
    const struct pg_ask ask = {place.link, -1, PATIENCE_MS};
    bool ok = source_schema_make(&ask, &applied, &known, &fault);
    if (ok) {
        printf("%u of %u migrations were missing and were made; the role %s may read\n", applied,
               known, SOURCE_READER);
    } else {
        print_fault(&fault);
    }
    source_leave(&place);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

/* ------------------------------------------------------------------ fill */

static bool record_filling(void *ctx, const struct changed_person *people, size_t count,
                           struct whorl_fault *fault)
{
    const struct gallery_change *fill = ctx;
    return change_record_people(fill->log, "filling", fill->name, people, count, fault);
}

static void show_filled(void *ctx, uint64_t people)
{
    (void)ctx;
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%" PRIu64 " people", people);
    }
}

static bool fill_from(struct gallery_change *fill, const struct arguments *a,
                      struct whorl_fault *fault)
{
    struct source_place place;
    const struct pg_use use = {.application = "whorl source fill", .write = true};
    uint64_t people;
    if (!source_connect(&place, &a->settings, &use)) {
        return false;
    }
    const struct pg_ask ask = {place.link, -1, PATIENCE_MS};
    bool ok = source_fill(&ask, fill->gallery, record_filling, show_filled, fill, &people, fault);
    fputs(isatty(STDERR_FILENO) ? "\r\033[K" : "", stderr);
    if (ok) {
        printf("%" PRIu64 " people written\n", people);
        ok = change_record_done(fill->log, "filled", fill->name, people, 0, fault);
    }
    if (!ok) {
        print_fault(fault);
    }
    source_leave(&place);
    return ok;
}

int cmd_source_fill(int argc, char **argv)
{
    static const struct argp_option options[] = {CONF_DIR_OPTION, DATABASE_OPTIONS, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_database,
        .args_doc = "PLUGIN DATABASE",
        .doc = "Copies everybody who is enrolled in a plugin's own gallery into the tables that "
               "`whorl source init` made: all, or nobody if one of them is there already. DATABASE "
               "is \"host=… dbname=… user=…\", of a role that may write."};
    struct arguments a = {.fill = true};
    struct whorl_fault fault = {{0}, {0}};
    as_settings(&a);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    struct gallery_change fill;
    if (!gallery_change_open_own(&fill, a.conf_dir, a.name)) {
        return EXIT_FAILED;
    }
    bool ok = fill_from(&fill, &a, &fault);
    gallery_change_close(&fill);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

int cmd_source(int argc, char **argv)
{
    static const struct subcommand commands[] = {
        {"init", cmd_source_init, "make Whorl's tables in a PostgreSQL database"},
        {"fill", cmd_source_fill, "copy a plugin's own gallery into them"},
        {"check", cmd_source_check, "whether a plugin can use its database"},
        {"status", cmd_source_status, "how its copy of the database stands"},
        {"resync", cmd_source_resync, "compare the whole copy with the database and put it right"},
        {0},
    };
    return subcommand_run("source", commands, argc, argv);
}
