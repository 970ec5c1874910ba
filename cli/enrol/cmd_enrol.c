/* whorl enrol: people and their prints into a gallery. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/clean.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/day.h"
#include "cli/enrol/enrol.h"
#include "cli/gallery/gallery_change.h"
#include "whorl/msg.h"

#define BAR_WIDTH 30
#define PLAIN_EVERY 10 /* seconds between lines where there is no terminal */

enum { OPT_GALLERY = 0x100, OPT_DUPLICATES, OPT_SOURCE, OPT_EXPIRES };

struct options {
    const char *dir, *gallery;
    char **sources;
    int source_count;
    bool duplicates;
    const char *lawful_source;
    int64_t expires;
    bool never;
};

static error_t parse_expires(const char *arg, struct argp_state *state, struct options *o)
{
    o->never = strcmp(arg, "never") == 0;
    if (!o->never && !read_day(arg, &o->expires)) {
        argp_error(state, "--expires: expected a date as YYYY-MM-DD or never, found \"%s\"", arg);
    }
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_GALLERY:
        o->gallery = arg;
        return 0;
    case OPT_DUPLICATES:
        o->duplicates = true;
        return 0;
    case OPT_SOURCE:
        if (!*arg || strlen(arg) > GALLERY_TEXT_MAX || !whorl_text_is_clean(arg, strlen(arg))) {
            argp_error(state,
                       "--source: expected 1 to %u bytes of UTF-8 without control characters",
                       GALLERY_TEXT_MAX);
        }
        o->lawful_source = arg;
        return 0;
    case OPT_EXPIRES:
        return parse_expires(arg, state, o);
    case ARGP_KEY_ARG:
        return ARGP_ERR_UNKNOWN; /* have them all at once */
    case ARGP_KEY_ARGS:
        o->sources = state->argv + state->next;
        o->source_count = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (!o->gallery || o->source_count == 0) {
            argp_error(state, o->gallery ? "no SOURCE is given" : "--gallery NAME is missing");
        }
        break;
    default:
        break;
    }
    return parse_conf_dir(key, arg, state, &o->dir);
}

/* What the operator sees meanwhile. */
struct screen {
    bool terminal;
    const char *source;
    struct timespec started, plain;
    bool bar; /* stands on the last line */
};

static double seconds_since(const struct timespec *then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then->tv_sec) + (double)(now.tv_nsec - then->tv_nsec) / 1e9;
}

static void clear_bar(struct screen *screen)
{
    if (screen->bar) {
        fputs("\r\033[K", stderr);
    }
    screen->bar = false;
}

static void say(void *ctx, const char *text)
{
    clear_bar(ctx);
    clean_puts(text, stderr); /* manifests name files, columns and fields */
    fputc('\n', stderr);
}

static uint64_t people_in(const struct enrol_totals *totals)
{
    return totals->people_added + totals->people_changed + totals->people_same +
           totals->people_skipped;
}

static void show(void *ctx, const struct enrol_totals *totals, double fraction)
{
    struct screen *screen = ctx;
    uint64_t people = people_in(totals);
    double elapsed = seconds_since(&screen->started);
    double rate = elapsed > 0 ? (double)people / elapsed : 0;
    if (!screen->terminal) {
        if (seconds_since(&screen->plain) < PLAIN_EVERY) {
            return;
        }
        clock_gettime(CLOCK_MONOTONIC, &screen->plain);
        fprintf(stderr, "%s: %.0f %%, %" PRIu64 " people, %.0f people/s\n", screen->source,
                100 * fraction, people, rate);
        return;
    }
    static const char full[] = "##############################";
    int filled = (int)(fraction * BAR_WIDTH);
    fprintf(stderr, "\r\033[K[%.*s%*s] %3.0f %%  %" PRIu64 " people  %.0f people/s", filled, full,
            BAR_WIDTH - filled, "", 100 * fraction, people, rate);
    fflush(stderr);
    screen->bar = true;
}

/* Enrols one source. */
static bool run(struct gallery_change *to, const struct options *o, const char *source,
                struct screen *screen, struct enrol_totals *totals)
{
    struct whorl_fault fault = {{0}, {0}};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const struct enrol_options options = {.threads = cores > 0 ? (unsigned)cores : 1,
                                          .find_duplicates = o->duplicates,
                                          .source = o->lawful_source,
                                          .expires = o->expires,
                                          .never = o->never,
                                          .record = gallery_change_enrolling,
                                          .record_ctx = to};
    struct manifest *manifest = manifest_open(source, &fault);
    screen->source = source;
    bool ok =
        manifest && enrol_run(to->gallery, manifest, &options, say, show, screen, totals, &fault);
    clear_bar(screen);
    if (!ok) {
        print_fault(&fault);
    }
    manifest_close(manifest);
    return ok;
}

static int summarise(const struct enrol_totals *t, const struct screen *screen, bool ok)
{
    printf("%" PRIu64 " people added, %" PRIu64 " changed, %" PRIu64 " as they were; %" PRIu64
           " prints added, %" PRIu64 " replaced; %.1f s\n",
           t->people_added, t->people_changed, t->people_same, t->prints_added, t->prints_replaced,
           seconds_since(&screen->started));
    if (t->bad_lines || t->bad_files || t->people_skipped) {
        printf("skipped: %" PRIu64 " lines, %" PRIu64 " files, %" PRIu64
               " people without a usable print\n",
               t->bad_lines, t->bad_files, t->people_skipped);
    }
    if (t->duplicates) {
        printf("%" PRIu64 " new people have the fingers of others\n", t->duplicates);
    }
    if (!ok) {
        return EXIT_FAILED;
    }
    return t->bad_lines || t->bad_files || t->people_skipped ? EXIT_NEGATIVE : EXIT_DONE;
}

int cmd_enrol(int argc, char **argv)
{
    static const struct argp_option options_list[] = {
        CONF_DIR_OPTION,
        {"gallery", OPT_GALLERY, "NAME", 0, "The plugin whose gallery it is: ident1, immigration",
         0},
        {"source", OPT_SOURCE, "TEXT", 0,
         "The lawful source of prints whose manifest states none: without one, nobody is enrolled",
         0},
        {"expires", OPT_EXPIRES, "DATE", 0,
         "When the enrolment of people ends whose manifest does not state it: a day (UTC), or "
         "never",
         0},
        {"find-duplicates", OPT_DUPLICATES, 0, 0,
         "Search the gallery for every new person and name who has the same fingers", 0},
        {0},
    };
    static const struct argp argp = {
        .options = options_list,
        .parser = parse,
        .args_doc = "SOURCE…",
        .doc = "Loads people and their prints into a gallery, also while the server runs. A "
               "SOURCE is a manifest, or a directory with a manifest.csv or manifest.jsonl; it "
               "names the files: PNG, WSQ and raw images, ISO/IEC 19794-2 records, and "
               "ANSI/NIST-ITL transactions, which give all their fingers. A SOURCE may also be a "
               "transaction itself: then its name names the person. What is wrong is named and "
               "skipped. Run it again to go on where it stopped, or to change people: "
               "prints that are there are not extracted again. Who is about to be enrolled is "
               "recorded in the audit log first; nobody is enrolled who can't be.\v"
               "Exit status: 0 all is in the gallery, 1 something was skipped, 2 wrong usage, 3 "
               "failure.",
    };
    struct options o = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    struct gallery_change to;
    if (!gallery_change_open(&to, o.dir, o.gallery)) {
        return EXIT_FAILED;
    }
    struct enrol_totals totals = {0};
    struct screen screen = {.terminal = isatty(STDERR_FILENO)};
    clock_gettime(CLOCK_MONOTONIC, &screen.started);
    screen.plain = screen.started;
    bool ok = true;
    for (int i = 0; i < o.source_count; i++) {
        ok = run(&to, &o, o.sources[i], &screen, &totals) && ok;
    }
    struct whorl_fault fault = {{0}, {0}};
    if (!gallery_change_enrolled(&to, totals.people_added, totals.people_changed, &fault)) {
        ok = false;
        print_fault(&fault);
    }
    gallery_change_close(&to);
    return summarise(&totals, &screen, ok);
}
