/* whorl synth templates: a gallery of made-up people, by the million. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/gallery/gallery_change.h"
#include "cli/synth/synth_fill.h"

#define THREADS_MAX 16u

enum {
    OPT_PEOPLE = 0x100,
    OPT_FINGERS,
    OPT_SEED,
    OPT_SENSOR,
    OPT_THREADS,
    OPT_GALLERY,
    OPT_OUTPUT = 'o',
    OPT_CONF = 'c'
};

static const struct argp_option options[] = {
    {"people", OPT_PEOPLE, "N", 0, "how many people the gallery is to hold", 0},
    {"fingers", OPT_FINGERS, "N[-M]", 0,
     "fingers of each person, 1 to 10, index fingers first (default 2); 2-10: that many", 0},
    {"seed", OPT_SEED, "S", 0, "whole number that everything follows from (default 1)", 0},
    {"sensor", OPT_SENSOR, "KIND", 0,
     "what the prints were taken with: mixed (default), optical, optical-tall, capacitive or "
     "rendered",
     0},
    {"threads", OPT_THREADS, "N", 0, "that make people (default: one a processor)", 0},
    {"conf", OPT_CONF, "DIR", 0,
     "the folder of *.conf files: fills the gallery of a plugin, and "
     "records that in its audit log",
     0},
    {"gallery", OPT_GALLERY, "NAME", 0, "with -c: the plugin whose gallery it is", 0},
    {"output", OPT_OUTPUT, "DIR", 0,
     "or a directory of its own, outside of any configuration: nothing is recorded; made if it is "
     "missing",
     0},
    {0}};

struct settings {
    struct synth_fill fill;
    const char *directory, *conf, *gallery; /* directory, or the other two */
    bool terminal;
    struct timespec told;
};

static uint64_t parse_number(struct argp_state *state, const char *name, const char *text,
                             uint64_t least, uint64_t most, char **end)
{
    errno = 0;
    unsigned long long value = strtoull(text, end, 10);
    if (text[0] < '0' || text[0] > '9' || errno != 0 || value < least || value > most) {
        argp_error(state,
                   "--%s: expected a whole number from %" PRIu64 " to %" PRIu64 ", found \"%s\"",
                   name, least, most, text);
    }
    return value;
}

static uint64_t parse_whole(struct argp_state *state, const char *name, const char *text,
                            uint64_t least, uint64_t most)
{
    char *end;
    uint64_t value = parse_number(state, name, text, least, most, &end);
    if (*end != '\0') {
        argp_error(state, "--%s: expected a whole number, found \"%s\"", name, text);
    }
    return value;
}

static void parse_fingers(struct argp_state *state, const char *text, struct synth_population *to)
{
    char *end;
    to->fingers_least = (unsigned)parse_number(state, "fingers", text, 1, SYNTH_FINGERS, &end);
    to->fingers_most = to->fingers_least;
    if (*end == '-') {
        to->fingers_most = (unsigned)parse_number(state, "fingers", end + 1, to->fingers_least,
                                                  SYNTH_FINGERS, &end);
    }
    if (*end != '\0') {
        argp_error(state, "--fingers: expected N or N-M, found \"%s\"", text);
    }
}

static void check(struct argp_state *state, const struct settings *s)
{
    if (s->fill.people == 0) {
        argp_error(state, "--people is missing");
    } else if ((s->directory != NULL) == (s->conf != NULL) ||
               (s->conf != NULL) != (s->gallery != NULL)) {
        argp_error(state, "expected -c DIR and --gallery NAME, or --output DIR");
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct settings *s = state->input;
    switch (key) {
    case OPT_PEOPLE:
        s->fill.people = (uint32_t)parse_whole(state, "people", arg, 1, SYNTH_PEOPLE_MAX);
        return 0;
    case OPT_FINGERS:
        parse_fingers(state, arg, &s->fill.population);
        return 0;
    case OPT_SEED:
        s->fill.population.seed = parse_whole(state, "seed", arg, 0, UINT64_MAX);
        return 0;
    case OPT_SENSOR:
        if (!synth_sensor_named(arg, &s->fill.population)) {
            argp_error(state, "--sensor: there is none called \"%s\"", arg);
        }
        return 0;
    case OPT_THREADS:
        s->fill.threads = (unsigned)parse_whole(state, "threads", arg, 1, THREADS_MAX);
        return 0;
    case OPT_OUTPUT:
        s->directory = arg;
        return 0;
    case OPT_CONF:
        s->conf = arg;
        return 0;
    case OPT_GALLERY:
        s->gallery = arg;
        return 0;
    case ARGP_KEY_END:
        check(state, s);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void show(void *ctx, uint32_t people)
{
    struct settings *s = ctx;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - s->told.tv_sec < (s->terminal ? 1 : 10)) {
        return;
    }
    s->told = now;
    fprintf(stderr, "%s%" PRIu32 " of %" PRIu32 " people (%.1f %%)%s", s->terminal ? "\r" : "",
            people, s->fill.people, 100.0 * people / s->fill.people, s->terminal ? "" : "\n");
}

static unsigned processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > (long)THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

/* Fills a gallery that belongs to no server. */
static bool fill_own(const struct settings *s, uint32_t *added, struct whorl_fault *fault)
{
    struct gallery *gallery = gallery_open(s->directory, WHORL_STORE_WRITE, fault);
    bool ok = gallery != NULL && synth_fill(gallery, &s->fill, added, fault);
    gallery_close(gallery);
    return ok;
}

/* Fills one of a configuration. What was added is recorded however it ended. */
static bool fill_recorded(struct settings *s, struct gallery_change *to, uint32_t *added,
                          struct whorl_fault *fault)
{
    struct whorl_fault after;
    s->fill.record = gallery_change_enrolling;
    s->fill.record_ctx = to;
    bool ok = synth_fill(to->gallery, &s->fill, added, fault);
    bool told = gallery_change_enrolled(to, *added, 0, &after);
    if (ok && !told) {
        *fault = after;
    }
    return ok && told;
}

int cmd_synth_templates(int argc, char **argv)
{
    static const struct argp parser = {
        options,
        parse,
        NULL,
        "Fills a gallery with made-up people: minutiae templates from a statistical model fitted "
        "to real prints.\vThe same seed gives the same people, and person k is the same however "
        "many are made. A run that was broken off, or a gallery that is to grow, goes on where it "
        "ended. Each person is marked as synthetic: they are nobody's prints.",
        NULL,
        NULL,
        NULL};
    struct settings s = {
        .fill = {.population = {.seed = 1, .fingers_least = 2, .fingers_most = 2, .mixed = true},
                 .threads = processors()},
        .terminal = isatty(STDERR_FILENO) != 0};
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&parser, argc, argv, 0, NULL, &s) != 0) {
        return EXIT_USAGE;
    }
    struct whorl_fault fault = {{0}, {0}};
    struct gallery_change to;
    uint32_t added = 0;
    s.fill.progress = show;
    s.fill.ctx = &s;
    if (s.conf != NULL && !gallery_change_open(&to, s.conf, s.gallery)) {
        return EXIT_FAILED;
    }
    bool ok =
        s.conf != NULL ? fill_recorded(&s, &to, &added, &fault) : fill_own(&s, &added, &fault);
    if (s.conf != NULL) {
        gallery_change_close(&to);
    }
    if (s.terminal) {
        fputc('\n', stderr);
    }
    if (!ok) {
        return print_fault(&fault);
    }
    printf("%" PRIu32 " people added\n", added);
    return EXIT_DONE;
}
