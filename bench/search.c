/* Searching galleries of up to millions of people: how fast, how large, and whom the fast stages
 * lose. `bench/search --help` lists the options. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/synth/synth_fill.h"
#include "search_bench.h"
#include "search_table.h"

#define SIZES_MAX 12u
#define FINGERS_USUAL 2u
#define TEN_PEOPLE 50000u /* with up to ten prints: made up within a minute */

struct options {
    const char *dir, *data, *records, *plots;
    uint32_t people;
    bool population, losses, scale, updates;
    struct bench bench;
};

_Noreturn void die(const char *what, const char *name)
{
    fprintf(stderr, "search: %s: %s\n", name, what);
    exit(3);
}

_Noreturn void die_fault(const char *what, const struct whorl_fault *fault)
{
    fprintf(stderr, "search: %s: %s %s\n", what, fault->where, fault->text);
    exit(3);
}

void *must_alloc(size_t size)
{
    void *p = aligned_alloc(64, (size + 64) & ~(size_t)63);
    if (p == NULL) {
        die("out of memory", "working memory");
    }
    memset(p, 0, size);
    return p;
}

double wall_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ------------------------------------------------------------------ options */

enum key {
    OPT_PEOPLE = 'p',
    OPT_DIR = 'd',
    OPT_DATA = 0x100,
    OPT_RECORDS,
    OPT_POPULATION,
    OPT_LOSSES,
    OPT_PLOTS,
    OPT_PROBES,
    OPT_ROUNDS,
    OPT_FALSE,
    OPT_SCALE,
    OPT_UPDATES,
    OPT_SENSOR,
    OPT_FINGERS,
    OPT_SEED,
    OPT_THREADS
};

static const struct argp_option list[] = {
    {"people", OPT_PEOPLE, "N", 0, "how many made-up people the gallery holds", 0},
    {"dir", OPT_DIR, "DIR", 0, "where galleries are kept, DIR/N (default /var/tmp/whorl-search)",
     0},
    {"data", OPT_DATA, "DIR", 0,
     "the FVC2002 B sets, for real prints (default $WHORL_DATA/fvc2002 or ../shared/data/fvc2002)",
     0},
    {"population", OPT_POPULATION, NULL, 0,
     "compare made-up people with the real prints instead: no gallery is needed", 0},
    {"losses", OPT_LOSSES, NULL, 0,
     "measure what each stage of a search loses instead: no gallery is needed", 0},
    {"records", OPT_RECORDS, "DIR", 0,
     "other vendors' records of those prints, for --losses (default "
     "$WHORL_DATA/iso19794-2/fvc2002)",
     0},
    {"plots", OPT_PLOTS, "DIR", 0, "draw diagrams into DIR", 0},
    {"probes", OPT_PROBES, "K", 0, "made-up probes of each kind (default 50)", 0},
    {"rounds", OPT_ROUNDS, "K", 0,
     "impressions of real prints enrolled in turn, 1 to 8 (default 1)", 0},
    {"false-matches", OPT_FALSE, "K", 0,
     "also make K searches for people who are not there, and count matches", 0},
    {"scale", OPT_SCALE, NULL, 0, "also measure 10,000 people, 100,000, ... up to N", 0},
    {"updates", OPT_UPDATES, NULL, 0, "measure changes beside searches alone", 0},
    {"sensor", OPT_SENSOR, "KIND", 0, "of the made-up prints, as for whorl synth templates", 0},
    {"fingers", OPT_FINGERS, "M", 0, "people have 2 to M fingers enrolled (default 2)", 0},
    {"seed", OPT_SEED, "S", 0, "of the made-up people (default 1)", 0},
    {"threads", OPT_THREADS, "T", 0, "that search (default 2)", 0},
    {0}};

static uint32_t number(struct argp_state *state, const char *text, uint32_t least, uint32_t most)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least ||
        value > most) {
        argp_error(state, "%s is not a whole number from %u to %u", text, least, most);
    }
    return (uint32_t)value;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    struct bench *b = &o->bench;
    switch (key) {
    case OPT_PEOPLE:
        o->people = number(state, arg, 1, SYNTH_PEOPLE_MAX);
        return 0;
    case OPT_DIR:
        o->dir = arg;
        return 0;
    case OPT_DATA:
        o->data = arg;
        return 0;
    case OPT_POPULATION:
        o->population = true;
        return 0;
    case OPT_RECORDS:
        o->records = arg;
        return 0;
    case OPT_LOSSES:
        o->losses = true;
        return 0;
    case OPT_PLOTS:
        o->plots = arg;
        return 0;
    case OPT_PROBES:
        b->probes = number(state, arg, 1, 100000);
        return 0;
    case OPT_ROUNDS:
        b->rounds = number(state, arg, 1, IMPRESSIONS);
        return 0;
    case OPT_FALSE:
        b->false_matches = number(state, arg, 1, 10000000);
        return 0;
    case OPT_SCALE:
        o->scale = true;
        return 0;
    case OPT_UPDATES:
        o->updates = true;
        return 0;
    case OPT_SENSOR:
        if (!synth_sensor_named(arg, &b->population)) {
            argp_error(state, "there is no sensor called %s", arg);
        }
        return 0;
    case OPT_FINGERS:
        b->population.fingers_most = number(state, arg, 2, SYNTH_FINGERS);
        return 0;
    case OPT_SEED:
        b->population.seed = number(state, arg, 0, UINT32_MAX);
        return 0;
    case OPT_THREADS:
        b->engine.threads = number(state, arg, 1, 64);
        return 0;
    case ARGP_KEY_END:
        if (o->people == 0 && !o->population && !o->losses) {
            argp_error(state, "--people, --population or --losses is missing");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ------------------------------------------------------------------ galleries */

static void show(void *ctx, uint32_t people)
{
    (void)ctx;
    if (people % (2048 * 50) == 0) {
        fprintf(stderr, "search: %" PRIu32 " people\n", people);
    }
}

/* Opens DIR/kindN, fills it where it is not full, and brings its index up to date. */
static void build(struct bench *b, const char *dir, const char *kind, uint32_t people)
{
    struct whorl_fault fault;
    uint32_t added;
    const struct synth_fill fill = {.population = b->population,
                                    .people = people,
                                    .threads = b->engine.threads,
                                    .progress = show};
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        die(strerror(errno), dir);
    }
    snprintf(b->dir, sizeof b->dir, "%s/%s%" PRIu32, dir, kind, people);
    b->people = people;
    b->engine.gallery = gallery_open(b->dir, WHORL_STORE_WRITE, &fault);
    if (b->engine.gallery == NULL) {
        die_fault("opening the gallery", &fault);
    }
    hidden_remove(b->engine.gallery);
    const double start = wall_seconds(), processor = processor_seconds(), load = thread_seconds();
    if (!synth_fill(b->engine.gallery, &fill, &added, &fault)) {
        die_fault("filling the gallery", &fault);
    }
    b->built = added;
    b->build_seconds = wall_seconds() - start;
    b->build_processor = processor_seconds() - processor;
    b->load_processor = thread_seconds() - load; /* others make people up */
    const double index = wall_seconds(), index_processor = thread_seconds();
    bool in_use;
    if (!gallery_index(b->engine.gallery, 1000, &in_use, &fault)) {
        die_fault("writing the index", &fault);
    }
    b->index_seconds = wall_seconds() - index;
    b->index_processor = thread_seconds() - index_processor;
    gallery_close(b->engine.gallery);
}

/* People with ten prints are a gallery of their own, DIR/ten-N. */
static void measure_ten(struct bench *b, const char *dir, uint32_t people)
{
    struct bench ten = {.population = b->population, .engine = b->engine, .probes = b->probes};
    ten.population.fingers_most = SYNTH_FINGERS;
    build(&ten, dir, "ten-", people);
    bench_start(&ten);
    bench_ten(b, &ten);
    report_ten(b, &ten);
    gallery_close(ten.engine.gallery);
}

static void measure_changes(struct bench *b)
{
    for (unsigned kind = 0; kind < UPDATE_KINDS; kind++) {
        bench_updates(b, kind);
        report_updates(b, kind);
    }
    bench_memory(b);
    report_memory(b);
}

static void measure_updates(struct bench *b, const char *dir, uint32_t people)
{
    build(b, dir, "", people);
    report_begin(b);
    bench_start(b);
    measure_changes(b);
    gallery_close(b->engine.gallery);
}

/* What matters most and what takes least comes first. */
static void measure(struct bench *b, const char *dir, uint32_t people)
{
    build(b, dir, "", people);
    report_begin(b);
    report_building(b);
    bench_start(b);
    report_start(b);
    bench_searches(b);
    report_searches(b);
    bench_hidden(b);
    report_hidden(b);
    for (unsigned kind = 0; kind < WAITING_KINDS; kind++) {
        bench_waiting(b, kind);
        report_waiting(b, kind);
    }
    bench_cancel(b);
    report_cancel(b);
    measure_changes(b);
    if (b->false_matches > 0) {
        bench_false_matches(b);
        report_false_matches(b);
    }
    gallery_close(b->engine.gallery);
    bench_cold(b);
    report_cold(b);
    if (b->population.fingers_most == FINGERS_USUAL) {
        measure_ten(b, dir, people < TEN_PEOPLE ? people : TEN_PEOPLE);
    }
}

static void measure_scale(const struct options *o)
{
    double people[SIZES_MAX], mated[SIZES_MAX], non_mated[SIZES_MAX], processor[SIZES_MAX];
    size_t count = 0;
    printf(
        "\n| people | mated, median ms | 99 %% | non-mated, median ms | processor, ns a person |\n"
        "| --- | --- | --- | --- | --- |\n");
    for (uint64_t n = 10000; count < SIZES_MAX; n *= 10) {
        struct bench b = o->bench;
        const bool last = n >= o->people;
        build(&b, o->dir, "", last ? o->people : (uint32_t)n);
        bench_start(&b);
        bench_searches(&b);
        people[count] = b.people;
        mated[count] = 1e3 * numbers_at(&b.mated.wall, 0.5);
        non_mated[count] = 1e3 * numbers_at(&b.non_mated.wall, 0.5);
        processor[count] = 1e3 * numbers_at(&b.non_mated.processor, 0.5);
        printf("| %" PRIu32 " | %.1f | %.1f | %.1f | %.0f |\n", b.people, mated[count],
               1e3 * numbers_at(&b.mated.wall, 0.99), non_mated[count],
               1e6 * processor[count] / b.people);
        fflush(stdout);
        gallery_close(b.engine.gallery);
        count++;
        if (last) {
            break;
        }
    }
    if (o->plots != NULL) {
        char path[4096];
        const struct plot_line lines[] = {
            {"the person is there", people, mated, count},
            {"the person is not there", people, non_mated, count},
            {"... processor time, all threads", people, processor, count}};
        snprintf(path, sizeof path, "%s/scale.svg", o->plots);
        plot_log(path, "One search, median", "people", "milliseconds", lines, 3);
    }
}

int main(int argc, char **argv)
{
    static const struct argp parser = {
        list,
        parse,
        NULL,
        "Measures searches of galleries of made-up people, with real "
        "prints hidden among them.",
        NULL,
        NULL,
        NULL};
    static char data[4096], records[4096];
    const char *root = getenv("WHORL_DATA");
    root = root != NULL ? root : "../shared/data";
    snprintf(data, sizeof data, "%s/fvc2002", root);
    snprintf(records, sizeof records, "%s/iso19794-2/fvc2002", root);
    struct options o = {
        .dir = "/var/tmp/whorl-search",
        .data = data,
        .records = records,
        .bench = {.engine = {.threads = 2, .match_fpir = 0.001, .possible_fpir = 0.5},
                  .population =
                      {.seed = 1, .fingers_least = 2, .fingers_most = FINGERS_USUAL, .mixed = true},
                  .probes = 50,
                  .rounds = 1}};
    argp_err_exit_status = 2;
    argp_parse(&parser, argc, argv, 0, NULL, &o);
    if (o.plots != NULL && mkdir(o.plots, 0777) != 0 && errno != EEXIST) {
        die(strerror(errno), o.plots);
    }
    o.bench.real = prints_load(o.data);
    if (!o.bench.real) {
        fprintf(stderr, "search: %s is missing: what needs real prints is skipped\n", o.data);
    }
    if ((o.population || o.losses) && !o.bench.real) {
        return 77;
    }
    if (o.losses) {
        measure_losses(o.records);
        return 0;
    }
    bench_machine(&o.bench);
    if (o.population) {
        compare_population(&o.bench.population, 1000, o.plots);
    }
    if (o.people != 0) {
        struct bench b = o.bench;
        (o.updates ? measure_updates : measure)(&b, o.dir, o.people);
        if (o.scale) {
            measure_scale(&o);
        }
    }
    return 0;
}
