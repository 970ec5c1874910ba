/* whorl compare: the engine's comparison on its own. */
#include <argp.h>
#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "afis/match.h"
#include "cli/commands.h"
#include "cli/print/fingerprint.h"
#include "whorl/msg.h"
#include "whorl/secret.h"

enum { OPT_PAIRS = 0x100, MAX_LINE = 8192, MAX_THREADS = 64 };

static const struct argp_option options_list[] = {
    {"pairs", OPT_PAIRS, "FILE", 0,
     "Read lines `pathA,pathB` and print `pathA,pathB,score` in the same order; each file is read "
     "once (- reads standard input)",
     0},
    FINGERPRINT_DPI_OPTION,
    {0},
};

struct options {
    const char *pairs, *a, *b;
    uint32_t dpi;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_PAIRS:
        o->pairs = arg;
        return 0;
    case FINGERPRINT_DPI:
        o->dpi = fingerprint_parse_dpi(state, arg);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1) {
            argp_error(state, "more than two files");
        }
        *(state->arg_num == 0 ? &o->a : &o->b) = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->pairs ? o->a != NULL : o->b == NULL) {
            argp_error(state, "expected two files, or --pairs FILE");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A file that stands in a pair. finger: prepared for comparison, NULL until then or when the file
 * could not be read. */
struct print {
    const char *path;
    struct afis_finger *finger;
};

struct pair {
    size_t a, b; /* indices of prints */
    float score;
};

/* Everything of one run. The prints and pairs are shared out to threads through `next`. */
struct comparison {
    struct print *prints;
    size_t print_count, print_cap;
    struct pair *pairs;
    size_t pair_count, pair_cap;
    void *by_path; /* tsearch(3) tree of struct known */
    uint32_t dpi;
    atomic_size_t next;
    atomic_bool failed;
};

struct known {
    const char *path;
    size_t index;
};

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct known *)a)->path, ((const struct known *)b)->path);
}

static void *must(void *p)
{
    if (!p) {
        fputs("whorl: out of memory\n", stderr);
        exit(3);
    }
    return p;
}

static size_t intern(struct comparison *c, const char *path)
{
    struct known key = {.path = path};
    struct known **found = tfind(&key, &c->by_path, by_path);
    if (found) {
        return (*found)->index;
    }
    if (c->print_count == c->print_cap) {
        c->print_cap = c->print_cap ? 2 * c->print_cap : 64;
        c->prints = must(reallocarray(c->prints, c->print_cap, sizeof *c->prints));
    }
    struct known *entry = must(malloc(sizeof *entry));
    *entry = (struct known){.path = must(strdup(path)), .index = c->print_count};
    must(tsearch(entry, &c->by_path, by_path));
    c->prints[c->print_count] = (struct print){.path = entry->path};
    return c->print_count++;
}

static void add_pair(struct comparison *c, const char *a, const char *b)
{
    if (c->pair_count == c->pair_cap) {
        c->pair_cap = c->pair_cap ? 2 * c->pair_cap : 256;
        c->pairs = must(reallocarray(c->pairs, c->pair_cap, sizeof *c->pairs));
    }
    size_t ia = intern(c, a);
    c->pairs[c->pair_count++] = (struct pair){.a = ia, .b = intern(c, b)};
}

static bool read_pairs(struct comparison *c, const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (!file) {
        fprintf(stderr, "whorl: %s: %s\n", path, strerror(errno));
        return false;
    }
    char line[MAX_LINE];
    bool ok = true;
    for (unsigned number = 1; ok && fgets(line, sizeof line, file); number++) {
        size_t len = strcspn(line, "\r\n");
        ok = line[len] != '\0' || feof(file);
        line[len] = '\0';
        char *comma = strchr(line, ',');
        if (len == 0 && ok) {
            continue;
        }
        if (!ok || !comma || comma == line || !comma[1] || strchr(comma + 1, ',')) {
            fprintf(stderr, "whorl: %s:%u: expected `pathA,pathB`\n", path, number);
            ok = false;
            break;
        }
        *comma = '\0';
        add_pair(c, line, comma + 1);
    }
    if (ferror(file)) {
        fprintf(stderr, "whorl: %s: %s\n", path, strerror(errno));
        ok = false;
    }
    if (file != stdin) {
        fclose(file);
    }
    return ok;
}

static void prepare(struct comparison *c, struct print *print)
{
    struct whorl_fault fault = {0};
    struct afis_template *tmpl = must(whorl_secret_alloc(sizeof *tmpl));
    enum afis_status status = AFIS_OK;
    bool ok = fingerprint_load(print->path, c->dpi, tmpl, NULL, NULL, &fault);
    if (ok) {
        print->finger = must(aligned_alloc(64, (afis_finger_size() + 63) / 64 * 64));
        status = afis_finger_prepare(tmpl, print->finger);
    }
    whorl_secret_free(tmpl, sizeof *tmpl);
    if (!ok || status != AFIS_OK) {
        fprintf(stderr, "whorl: %s: %s\n", print->path, ok ? afis_status_text(status) : fault.text);
        free(print->finger);
        print->finger = NULL;
        atomic_store(&c->failed, true);
    }
}

static void *prepare_some(void *arg)
{
    struct comparison *c = arg;
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->print_count;) {
        prepare(c, &c->prints[i]);
    }
    return NULL;
}

static void *compare_some(void *arg)
{
    struct comparison *c = arg;
    size_t size = (afis_matcher_size() + 63) / 64 * 64;
    struct afis_matcher *matcher = must(aligned_alloc(64, size));
    memset(matcher, 0, size);
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->pair_count;) {
        struct pair *pair = &c->pairs[i];
        const struct afis_finger *a = c->prints[pair->a].finger, *b = c->prints[pair->b].finger;
        if (a && b) {
            pair->score = afis_compare(matcher, a, b);
        }
    }
    explicit_bzero(matcher, size);
    free(matcher);
    return NULL;
}

/* Runs work on every core until c->next has passed the last item. */
static void on_all_cores(struct comparison *c, void *(*work)(void *arg))
{
    pthread_t threads[MAX_THREADS];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0;
    atomic_store(&c->next, 0);
    while (started < cores - 1 && started < MAX_THREADS &&
           pthread_create(&threads[started], NULL, work, c) == 0) {
        started++;
    }
    work(c);
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void free_known(void *entry)
{
    free((void *)((struct known *)entry)->path);
    free(entry);
}

static void release(struct comparison *c)
{
    for (size_t i = 0; i < c->print_count; i++) {
        if (c->prints[i].finger) {
            explicit_bzero(c->prints[i].finger, afis_finger_size());
        }
        free(c->prints[i].finger);
    }
    free(c->prints);
    free(c->pairs);
    tdestroy(c->by_path, free_known);
}

/* A pair whose file can't be read has no score: "nan", never a figure that reads as unlike. */
static void print_scores(const struct comparison *c, bool with_paths)
{
    for (size_t i = 0; i < c->pair_count; i++) {
        const struct print *a = &c->prints[c->pairs[i].a], *b = &c->prints[c->pairs[i].b];
        if (with_paths) {
            printf("%s,%s,", a->path, b->path);
        }
        if (a->finger && b->finger) {
            printf("%.4f\n", (double)c->pairs[i].score);
        } else {
            puts("nan");
        }
    }
}

int cmd_compare(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options_list,
        .parser = parse,
        .args_doc = "A B\n--pairs FILE",
        .doc = "Compares fingerprints: images (PNG) or templates (ISO/IEC 19794-2, ANSI 378), in "
               "any mixture. Prints a score, higher is more alike: -10 log10 of the rate at which "
               "different fingers score as high (30 = one in a thousand).\v"
               "Exit status: 0 all compared, 2 wrong usage, 3 some files could not be read; the "
               "pairs that they stand in print nan.",
    };
    struct options o = {.dpi = 500};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    struct comparison c = {.dpi = o.dpi};
    bool ok = true;
    if (o.pairs) {
        ok = read_pairs(&c, o.pairs);
    } else {
        add_pair(&c, o.a, o.b);
    }
    if (ok) {
        on_all_cores(&c, prepare_some);
        on_all_cores(&c, compare_some);
        print_scores(&c, o.pairs != NULL);
    }
    ok = ok && !atomic_load(&c.failed);
    release(&c);
    return ok ? 0 : 3;
}
