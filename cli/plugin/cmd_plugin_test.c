/* whorl plugin test: the conformance kit on one module. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/plugin/cmd_plugin.h"
#include "cli/plugin/plugin_judge.h"
#include "sdk/kit/kit.h"

enum { OPT_CONF = 0x100, OPT_SAMPLE, OPT_ONLY, OPT_PATIENCE, OPT_SANITIZER };

struct options {
    const char *module, *conf, *sample, *only, *sanitizer;
    unsigned patience;
};

static error_t parse_patience(const char *arg, struct argp_state *state, unsigned *seconds)
{
    char *end;
    unsigned long value = strtoul(arg, &end, 10);
    if (*end != '\0' || value < 1 || value > 120) {
        argp_error(state, "--patience takes 1 to 120 seconds, found \"%s\"", arg);
    }
    *seconds = (unsigned)value;
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_CONF:
        o->conf = arg;
        return 0;
    case OPT_SAMPLE:
        o->sample = arg;
        return 0;
    case OPT_ONLY:
        o->only = arg;
        return 0;
    case OPT_PATIENCE:
        return parse_patience(arg, state, &o->patience);
    case OPT_SANITIZER:
        o->sanitizer = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->module) {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        o->module = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->module) {
            argp_error(state, "the module, FILE.so, is missing");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void complain(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx;
    if (line > 0) {
        fprintf(stderr, "%s:%d: %s\n", file, line, text);
    } else {
        fprintf(stderr, "%s: %s\n", file, text);
    }
}

/* "MODALITY:FORMAT:FILE"; without one, noise of the first kinds that the plugin takes. */
static bool read_sample(const struct options *o, char *copy, size_t cap,
                        struct kit_subject *subject)
{
    const struct whorl_plugin *plugin = subject->plugin;
    if (plugin->role != WHORL_ROLE_SEARCH) {
        return true;
    }
    subject->modality = plugin->modalities[0];
    subject->format = plugin->formats[0];
    if (!o->sample) {
        return true;
    }
    char *rest = NULL;
    bool fits = (size_t)snprintf(copy, cap, "%s", o->sample) < cap;
    const char *modality = fits ? strtok_r(copy, ":", &rest) : NULL;
    const char *format = modality ? strtok_r(NULL, ":", &rest) : NULL;
    if (!format || !rest || *rest == '\0') {
        fputs("whorl plugin test: --sample takes MODALITY:FORMAT:FILE\n", stderr);
        return false;
    }
    if (access(rest, R_OK) != 0) {
        fprintf(stderr, "whorl plugin test: %s: %s\n", rest, strerror(errno));
        return false;
    }
    subject->modality = modality;
    subject->format = format;
    subject->sample_path = rest;
    return true;
}

/* Returns only on a failure. */
static bool run_again(const struct options *o)
{
    char patience[16];
    snprintf(patience, sizeof patience, "%u", o->patience);
    const char *argv[20] = {"whorl", "plugin", "test", o->module, "--patience", patience};
    const char *const more[][2] = {{"--conf", o->conf},
                                   {"--sample", o->sample},
                                   {"--only", o->only},
                                   {"--sanitizer", o->sanitizer}};
    size_t count = 6;
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        if (more[i][1]) {
            argv[count++] = more[i][0];
            argv[count++] = more[i][1];
        }
    }
    execv("/proc/self/exe", (char *const *)argv);
    fprintf(stderr, "whorl plugin test: %s\n", strerror(errno));
    return false;
}

/* Adds to a list in the environment that a process reads when it begins; 1: it was not there, 0: it
 * was, -1: out of memory. */
static int add_to(const char *name, const char *separator, const char *word)
{
    const char *before = getenv(name);
    char *list = NULL;
    if (before && strstr(before, word)) {
        return 0;
    }
    if (asprintf(&list, "%s%s%s", before ? before : "", before ? separator : "", word) < 0) {
        return -1;
    }
    int rc = setenv(name, list, 1);
    free(list);
    return rc == 0 ? 1 : -1;
}

/* Sees to it that this process began with what the trials need: malloc without caches of its
 * threads, whose contents count as in use, so that calls would seem to leave memory behind for as
 * long as they fill; and the runtime of the module's sanitizer. */
static bool begin_rightly(const struct options *o)
{
    const char *library = !o->sanitizer                          ? NULL
                          : strcmp(o->sanitizer, "address") == 0 ? "libasan.so.8"
                          : strcmp(o->sanitizer, "thread") == 0  ? "libtsan.so.2"
                                                                 : NULL;
    if (o->sanitizer && !library) {
        fputs("whorl plugin test: --sanitizer takes address or thread\n", stderr);
        return false;
    }
    /* The loader would drop both from the environment, at every beginning. */
    if (getauxval(AT_SECURE) != 0) {
        fputs("whorl plugin test: this program has rights that its user lacks (set-user-ID or file "
              "capabilities): run a copy without them\n",
              stderr);
        return false;
    }
    int tunable = add_to("GLIBC_TUNABLES", ":", "glibc.malloc.tcache_count=0");
    int preload = library ? add_to("LD_PRELOAD", " ", library) : 0;
    if (tunable < 0 || preload < 0) {
        fputs("whorl plugin test: out of memory\n", stderr);
        return false;
    }
    return tunable + preload == 0 || run_again(o);
}

static void print_report(void *ctx, const struct kit_report *report)
{
    size_t *count = ctx;
    const char *mark = report->skipped ? "-" : report->count > 0 ? "BROKEN" : "ok";
    *count += !report->skipped;
    printf("%-7s %-11s %s\n", mark, report->trial, report->rule);
    for (size_t i = 0; i < report->count; i++) {
        printf("        it %s\n", report->findings[i]);
    }
    (void)fflush(stdout);
}

static int run(const struct kit_subject *subject)
{
    struct whorl_fault fault = {"", ""};
    size_t count = 0;
    printf("%s: %s %s, %s\n", subject->path, subject->plugin->title, subject->plugin->version,
           plugin_role_name(subject->plugin));
    int broken = kit_run(subject, print_report, &count, &fault);
    if (broken < 0) {
        fprintf(stderr, "whorl plugin test: %s: %s\n", fault.where, fault.text);
        return EXIT_FAILED;
    }
    printf("%zu trials, %d broken\n", count, broken);
    return broken > 0 ? EXIT_NEGATIVE : EXIT_DONE;
}

static const struct argp_option list[] = {
    {"conf", OPT_CONF, "FILE.conf", 0,
     "Its settings, as they would stand in conf.d: one section plugin \"name\" { }. Without: the "
     "defaults",
     1},
    {"sample", OPT_SAMPLE, "MODALITY:FORMAT:FILE", 0,
     "A sample that it understands, for search backends. Without: noise", 1},
    {"only", OPT_ONLY, "TRIAL", 0, "Run this trial alone", 1},
    {"patience", OPT_PATIENCE, "SECONDS", 0, "How long a call may take at the most (default 10)",
     1},
    {"sanitizer", OPT_SANITIZER, "address|thread", 0,
     "The module was built with this sanitizer of GCC 12", 1},
    {0}};

int cmd_plugin_test(int argc, char **argv)
{
    static const struct argp argp = {
        .options = list,
        .parser = parse,
        .args_doc = "FILE.so",
        .doc = "Tries a backend against every rule of the ABI, each in a process of its own: calls "
               "at once, cancelled at every moment, malformed; a host that refuses; memory that "
               "runs out; traces of samples. Says which rule broke and how.\vExit status: 0 it "
               "keeps them all, 1 it doesn't, 3 it could not be tried."};
    struct options o = {.patience = 10};
    char path[PATH_MAX];
    char sample[PATH_MAX];
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (!begin_rightly(&o)) {
        return EXIT_FAILED;
    }
    struct kit_subject subject = {.judge = plugin_judge, .patience_s = o.patience, .only = o.only};
    subject.plugin = plugin_file_load(o.module, path);
    if (!subject.plugin || !read_sample(&o, sample, sizeof sample, &subject)) {
        return EXIT_FAILED;
    }
    subject.path = path;
    struct conf *conf = conf_read_plugin(o.conf, path, complain, NULL);
    if (!conf) {
        return EXIT_FAILED;
    }
    subject.settings = conf->plugins[0].settings;
    int code = run(&subject);
    conf_unref(conf);
    return code;
}
