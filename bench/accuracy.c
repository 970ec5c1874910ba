/* Measures the engine on any folder of SET/FINGER_IMPRESSION.png (or .iso): the protocol of the
 * Fingerprint Verification Competitions, all pairs of different fingers, and identification.
 *
 * A print that the engine refuses stays in every denominator and scores 0. */
#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "afis/extract.h"
#include "afis/image.h"
#include "afis/match.h"
#include "afis/template.h"
#include "calibration.h"
#include "det.h"
#include "quality_table.h"
#include "spoil.h"

#define SETS_MAX 32
#define NAME_LENGTH 64
#define FILE_BYTES_MAX (64l << 20)

struct print {
    int finger, impression;
    struct afis_finger *prepared; /* NULL when the engine refused it */
    double milliseconds;          /* of extraction; < 0 where there was none */
    size_t packed;                /* bytes as stored */
    uint8_t quality, reasons;
};

struct set {
    char name[NAME_LENGTH];
    uint32_t dpi;
    struct print *prints;
    size_t count;
    struct scores genuine, fvc_impostor, cross;
    struct quality_table quality;
    size_t searches, rank1;
    enum spoil_kind spoilt; /* how its prints are, before they are extracted */
};

struct resolution {
    char set[NAME_LENGTH];
    uint32_t dpi;
};

struct options {
    const char *folder, *det, *calibration, *scores;
    bool quality, spoil;
    struct resolution given[SETS_MAX];
    size_t given_count;
};

/* Sensors of the public competitions that do not scan at 500 dpi, from their descriptions. */
static const struct {
    const char *folder, *set;
    uint32_t dpi;
} known_resolution[] = {{"fvc2002", "DB2", 569}, {"fvc2004", "DB3", 512}};

static _Noreturn void die(const char *what, const char *name)
{
    fprintf(stderr, "accuracy: %s: %s\n", name, what);
    exit(3);
}

static void *must_alloc(size_t size)
{
    void *p = aligned_alloc(64, (size + 63) & ~(size_t)63);
    if (p == NULL) {
        die("out of memory", "working memory");
    }
    memset(p, 0, size);
    return p;
}

static uint8_t *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        die(strerror(errno), path);
    }
    struct stat info;
    if (fstat(fileno(file), &info) != 0 || info.st_size <= 0 || info.st_size > FILE_BYTES_MAX) {
        die("empty, unreadable or too large", path);
    }
    *len = (size_t)info.st_size;
    uint8_t *bytes = must_alloc(*len);
    if (fread(bytes, 1, *len, file) != *len) {
        die("cannot be read", path);
    }
    fclose(file);
    return bytes;
}

static double cpu_milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* A decimal of at most six digits; NULL when there is none. */
static const char *parse_number(const char *text, int *value)
{
    char *end;
    long number = strtol(text, &end, 10);
    *value = (int)number;
    return end > text && end - text <= 6 && number >= 0 ? end : NULL;
}

/* FINGER_IMPRESSION.png or .iso, both decimal. */
static bool parse_name(const char *name, int *finger, int *impression, bool *iso)
{
    const char *at = parse_number(name, finger);
    if (at == NULL || *at != '_' || (at = parse_number(at + 1, impression)) == NULL) {
        return false;
    }
    *iso = strcmp(at, ".iso") == 0;
    return *iso || strcmp(at, ".png") == 0;
}

static enum afis_status extract_png(const char *path, const struct set *set, uint64_t seed,
                                    struct afis_template *tmpl, double *milliseconds)
{
    size_t len;
    uint8_t *bytes = read_file(path, &len);
    struct afis_image image = {0};
    enum afis_status status = afis_image_from_png(bytes, len, set->dpi, &afis_memory_heap, &image);
    if (status == AFIS_OK) {
        spoil(&image, set->spoilt, seed);
        double start = cpu_milliseconds();
        status = afis_extract(&image, &afis_memory_heap, tmpl, NULL);
        *milliseconds = cpu_milliseconds() - start;
    }
    afis_image_release(&image, &afis_memory_heap);
    free(bytes);
    return status;
}

static enum afis_status read_iso(const char *path, struct afis_template *tmpl)
{
    size_t len;
    uint8_t *bytes = read_file(path, &len);
    enum afis_status status = afis_template_from_iso(bytes, len, 0, tmpl);
    free(bytes);
    return status;
}

static void load_print(struct print *print, const char *path, bool iso, const struct set *set)
{
    struct afis_template tmpl = {0};
    uint8_t packed[AFIS_PACKED_MAX];
    uint64_t seed = (uint64_t)print->finger * 1000 + (uint64_t)print->impression;
    print->milliseconds = -1;
    enum afis_status status =
        iso ? read_iso(path, &tmpl) : extract_png(path, set, seed, &tmpl, &print->milliseconds);
    if (status == AFIS_OK) {
        status = afis_template_pack(&tmpl, packed, sizeof packed, &print->packed);
    }
    if (status == AFIS_OK) {
        print->quality = tmpl.quality;
        print->reasons = tmpl.reasons;
        print->prepared = must_alloc(afis_finger_size());
        status = afis_finger_prepare_packed(packed, print->packed, print->prepared);
    }
    if (status != AFIS_OK) {
        fprintf(stderr, "accuracy: %s: %s\n", path, afis_status_text(status));
        free(print->prepared);
        print->prepared = NULL;
    }
}

static int by_finger(const void *a, const void *b)
{
    const struct print *p = a;
    const struct print *q = b;
    return p->finger != q->finger
               ? (p->finger > q->finger) - (p->finger < q->finger)
               : (p->impression > q->impression) - (p->impression < q->impression);
}

static int is_print(const struct dirent *entry)
{
    int finger;
    int impression;
    bool iso;
    return parse_name(entry->d_name, &finger, &impression, &iso);
}

static void load_set(struct set *set, const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, is_print, alphasort);
    if (n < 0) {
        die(strerror(errno), path);
    }
    set->prints = must_alloc((size_t)(n > 0 ? n : 1) * sizeof *set->prints);
    for (int i = 0; i < n; i++) {
        char file[4352];
        bool iso = false;
        struct print *print = &set->prints[set->count];
        parse_name(entries[i]->d_name, &print->finger, &print->impression, &iso);
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        load_print(print, file, iso, set);
        set->count++;
        free(entries[i]);
    }
    free(entries);
    qsort(set->prints, set->count, sizeof *set->prints, by_finger);
}

static float compare(struct afis_matcher *matcher, const struct print *a, const struct print *b)
{
    return a->prepared == NULL || b->prepared == NULL
               ? 0
               : afis_compare(matcher, a->prepared, b->prepared);
}

static void verify(struct set *set, struct afis_matcher *matcher, FILE *log)
{
    for (size_t i = 0; i < set->count; i++) {
        for (size_t j = i + 1; j < set->count; j++) {
            const struct print *a = &set->prints[i];
            const struct print *b = &set->prints[j];
            float score = compare(matcher, a, b);
            if (log != NULL) {
                fprintf(log, "%s,%d_%d,%d_%d,%.3f,%d,%d\n", set->name, a->finger, a->impression,
                        b->finger, b->impression, (double)score, a->quality, b->quality);
            }
            if (a->finger == b->finger) {
                scores_add(&set->genuine, score);
                quality_table_add(&set->quality, a->quality, b->quality, score);
                continue;
            }
            scores_add(&set->cross, score);
            if (a->impression == 1 && b->impression == 1) {
                scores_add(&set->fvc_impostor, score);
            }
        }
    }
}

/* Impression 1 of every finger is enrolled; all others search. A tie is not a hit. */
static void identify(struct set *set, struct afis_matcher *matcher)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct print *probe = &set->prints[i];
        if (probe->impression == 1) {
            continue;
        }
        float mate = 0;
        float other = 0;
        for (size_t j = 0; j < set->count; j++) {
            const struct print *enrolled = &set->prints[j];
            if (enrolled->impression != 1) {
                continue;
            }
            float score = compare(matcher, probe, enrolled);
            if (enrolled->finger == probe->finger) {
                mate = score;
            } else if (score > other) {
                other = score;
            }
        }
        set->searches++;
        set->rank1 += mate > other;
    }
}

/* Two neighbouring fingers of a set make a person. */
struct person {
    const struct set *set;
    const struct print *finger[2];
};

static const struct print *find(const struct set *set, int finger, int impression)
{
    const struct print key = {.finger = finger, .impression = impression};
    return bsearch(&key, set->prints, set->count, sizeof key, by_finger);
}

static size_t people_of(const struct set *set, int impression, struct person *people)
{
    size_t count = 0;
    int previous = -1;
    int half = -1;
    for (size_t i = 0; i < set->count; i++) {
        int finger = set->prints[i].finger;
        if (finger == previous) {
            continue;
        }
        previous = finger;
        if (half < 0) {
            half = finger;
            continue;
        }
        people[count].set = set;
        people[count].finger[0] = find(set, half, impression);
        people[count].finger[1] = find(set, finger, impression);
        count += people[count].finger[0] != NULL && people[count].finger[1] != NULL;
        half = -1;
    }
    return count;
}

static float compare_people(struct afis_matcher *matcher, const struct person *a,
                            const struct person *b)
{
    float score[2];
    for (int k = 0; k < 2; k++) {
        score[k] = compare(matcher, a->finger[k], b->finger[k]);
    }
    return afis_fuse(score, 2);
}

static bool found_first(struct afis_matcher *matcher, const struct person *probe,
                        const struct person *gallery, size_t count)
{
    float mate = 0;
    float other = 0;
    for (size_t j = 0; j < count; j++) {
        float score = compare_people(matcher, probe, &gallery[j]);
        if (gallery[j].set == probe->set &&
            gallery[j].finger[0]->finger == probe->finger[0]->finger) {
            mate = score;
        } else if (score > other) {
            other = score;
        }
    }
    return mate > other;
}

/* Two fingers fused, one gallery over all sets. */
static void identify_people(struct set *sets, size_t count, struct afis_matcher *matcher)
{
    size_t prints = 1;
    for (size_t s = 0; s < count; s++) {
        prints += sets[s].count;
    }
    struct person *gallery = must_alloc(prints * sizeof *gallery);
    struct person *probes = must_alloc(prints * sizeof *probes);
    size_t enrolled = 0;
    for (size_t s = 0; s < count; s++) {
        enrolled += people_of(&sets[s], 1, gallery + enrolled);
    }
    size_t searches = 0;
    size_t hits = 0;
    for (size_t s = 0; s < count; s++) {
        for (int impression = 2; impression <= 16; impression++) {
            size_t n = people_of(&sets[s], impression, probes);
            for (size_t i = 0; i < n; i++) {
                searches++;
                hits += found_first(matcher, &probes[i], gallery, enrolled);
            }
        }
    }
    if (searches > 0) {
        printf("two fingers fused, 1:%zu over all sets: rank-1 %.2f %% (%zu of %zu searches)\n",
               enrolled, 100.0 * (double)hits / (double)searches, hits, searches);
    }
    free(gallery);
    free(probes);
}

static void print_row(const char *name, const struct scores *genuine, const struct scores *fvc,
                      const struct scores *cross)
{
    struct rates f = rates_of(genuine, fvc);
    struct rates c = rates_of(genuine, cross);
    printf("%-10s %6.2f %6zu/%-6zu %6.2f %6.2f %7.2f %7.2f %6zu/%-7zu", name, 100 * f.eer,
           genuine->count, fvc->count, 100 * c.eer, 100 * c.fmr100, 100 * c.fmr1000,
           100 * c.zero_fmr, genuine->count, cross->count);
}

static int by_value(const void *a, const void *b)
{
    double p = *(const double *)a;
    double q = *(const double *)b;
    return (p > q) - (p < q);
}

/* Extraction times and template sizes over all prints of the sets. */
static void print_costs(const struct set *sets, size_t count)
{
    for (size_t s = 0; s < count; s++) {
        double *times = must_alloc((sets[s].count + 1) * sizeof *times);
        size_t timed = 0;
        size_t bytes = 0;
        size_t largest = 0;
        size_t refused = 0;
        for (size_t i = 0; i < sets[s].count; i++) {
            const struct print *print = &sets[s].prints[i];
            if (print->milliseconds >= 0) {
                times[timed++] = print->milliseconds;
            }
            bytes += print->packed;
            largest = print->packed > largest ? print->packed : largest;
            refused += print->prepared == NULL;
        }
        qsort(times, timed, sizeof *times, by_value);
        printf("%-10s %zu prints at %u dpi, %zu refused; template bytes mean %zu, largest %zu",
               sets[s].name, sets[s].count, sets[s].dpi, refused,
               bytes / (sets[s].count > 0 ? sets[s].count : 1), largest);
        if (timed > 0) {
            printf("; extraction ms median %.2f, longest %.2f", times[timed / 2], times[timed - 1]);
        }
        printf("\n");
        free(times);
    }
}

static void report_calibration(const struct set *sets, size_t count, const struct scores *cross,
                               const char *folder)
{
    struct calibration_curve curves[SETS_MAX + 1];
    for (size_t s = 0; s < count; s++) {
        curves[s] = (struct calibration_curve){sets[s].name, &sets[s].cross};
    }
    curves[count] = (struct calibration_curve){"pooled", cross};
    calibration_table(curves, count + 1);
    if (!calibration_write(folder, curves, count + 1)) {
        die(strerror(errno), folder);
    }
}

static void report(struct set *sets, size_t count, struct afis_matcher *matcher,
                   const struct options *options)
{
    struct scores genuine = {0};
    struct scores fvc = {0};
    struct scores cross = {0};
    double mean = 0;
    printf("rates in %%; pairs are genuine/impostor\n");
    printf("%-10s %6s %13s %6s %6s %7s %7s %14s %7s\n", "set", "EER", "FVC pairs", "EER", "FMR100",
           "FMR1000", "ZeroFMR", "cross pairs", "rank-1");
    for (size_t s = 0; s < count; s++) {
        struct set *set = &sets[s];
        print_row(set->name, &set->genuine, &set->fvc_impostor, &set->cross);
        printf(" %6.2f (%zu of %zu)\n",
               set->searches > 0 ? 100.0 * (double)set->rank1 / (double)set->searches : 0.0,
               set->rank1, set->searches);
        scores_append(&genuine, &set->genuine);
        scores_append(&fvc, &set->fvc_impostor);
        scores_append(&cross, &set->cross);
        mean += rates_of(&set->genuine, &set->fvc_impostor).eer / (double)count;
    }
    print_row("pooled", &genuine, &fvc, &cross);
    printf("\nmean FVC EER of %zu sets: %.2f %%\n", count, 100 * mean);
    identify_people(sets, count, matcher);
    print_costs(sets, count);
    if (options->det != NULL) {
        for (size_t s = 0; s < count; s++) {
            if (!det_write(options->det, sets[s].name, &sets[s].genuine, &sets[s].cross)) {
                die(strerror(errno), options->det);
            }
        }
        if (!det_write(options->det, "pooled", &genuine, &cross)) {
            die(strerror(errno), options->det);
        }
    }
    if (options->calibration != NULL) {
        report_calibration(sets, count, &cross, options->calibration);
    }
    scores_release(&genuine);
    scores_release(&fvc);
    scores_release(&cross);
}

static void report_quality(struct set *sets, size_t count)
{
    struct quality_table pooled = {0};
    quality_table_head();
    for (size_t s = 0; s < count; s++) {
        quality_table_row(sets[s].name, &sets[s].quality);
        quality_table_append(&pooled, &sets[s].quality);
    }
    quality_table_row("pooled", &pooled);
    quality_reject_head();
    for (size_t s = 0; s < count; s++) {
        quality_reject_row(sets[s].name, &sets[s].quality);
        quality_table_release(&sets[s].quality);
    }
    quality_reject_row("pooled", &pooled);
    quality_table_release(&pooled);
}

static uint32_t resolution_of(const struct options *options, const char *set)
{
    for (size_t i = 0; i < options->given_count; i++) {
        if (strcmp(options->given[i].set, set) == 0) {
            return options->given[i].dpi;
        }
    }
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", options->folder);
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') {
        folder[--n] = '\0';
    }
    const char *base = strrchr(folder, '/') == NULL ? folder : strrchr(folder, '/') + 1;
    for (size_t i = 0; i < sizeof known_resolution / sizeof *known_resolution; i++) {
        if (strcasecmp(base, known_resolution[i].folder) == 0 &&
            strncasecmp(set, known_resolution[i].set, strlen(known_resolution[i].set)) == 0) {
            return known_resolution[i].dpi;
        }
    }
    return 500;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'd': {
        char *equals = strchr(argument, '=');
        if (equals == NULL || equals - argument >= NAME_LENGTH ||
            options->given_count == SETS_MAX) {
            argp_error(state, "--dpi takes SET=N");
            return EINVAL;
        }
        struct resolution *r = &options->given[options->given_count++];
        snprintf(r->set, sizeof r->set, "%.*s", (int)(equals - argument), argument);
        r->dpi = (uint32_t)strtoul(equals + 1, NULL, 10);
        return 0;
    }
    case 'c':
        options->calibration = argument;
        return 0;
    case 'D':
        options->det = argument;
        return 0;
    case 's':
        options->scores = argument;
        return 0;
    case 'q':
        options->quality = true;
        return 0;
    case 'S':
        options->spoil = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->folder != NULL) {
            argp_error(state, "one folder only");
        }
        options->folder = argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_usage(state);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_table[] = {
    {"dpi", 'd', "SET=N", 0,
     "Resolution of a set; may be repeated. Default 500, and 569 for DB2 of a folder named "
     "fvc2002, 512 for DB3 of one named fvc2004",
     0},
    {"calibration", 'c', "FOLDER", 0,
     "Print how many impostors reach scores against what the scores mean, and draw it as SVG", 0},
    {"det", 'D', "FOLDER", 0, "Write DET curves as SVG, one a set and one pooled", 0},
    {"quality", 'q', NULL, 0, "Also print how well quality predicts recognition", 0},
    {"spoil", 'S', NULL, 0,
     "Instead, spoil all prints in every way known, compare the spoilt among themselves, and print "
     "rates and what the engine says about them, one row a way",
     0},
    {"scores", 's', "FILE", 0, "Write every score as set,print,print,score,quality,quality", 0},
    {0}};

static int is_folder(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* The folder's sets: its sub-folders that hold prints, or itself. */
static size_t load_sets(const struct options *options, enum spoil_kind spoilt, struct set *sets)
{
    struct dirent **entries;
    int n = scandir(options->folder, &entries, is_folder, alphasort);
    if (n < 0) {
        die(strerror(errno), options->folder);
    }
    size_t count = 0;
    for (int i = 0; i <= n && count < SETS_MAX; i++) {
        const char *name = i < n ? entries[i]->d_name : ".";
        char path[4096];
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", options->folder, name);
        if (strlen(name) < NAME_LENGTH && stat(path, &info) == 0 && S_ISDIR(info.st_mode) &&
            (i < n || count == 0)) {
            struct set *set = &sets[count];
            *set = (struct set){.dpi = resolution_of(options, name), .spoilt = spoilt};
            snprintf(set->name, sizeof set->name, "%s", name);
            load_set(set, path);
            count += set->count > 0;
        }
    }
    for (int i = 0; i < n; i++) {
        free(entries[i]);
    }
    free(entries);
    return count;
}

static void release_set(struct set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->prints[i].prepared);
    }
    free(set->prints);
    scores_release(&set->genuine);
    scores_release(&set->fvc_impostor);
    scores_release(&set->cross);
    quality_table_release(&set->quality);
}

/* What the officers would have been told: prints by the reasons given, and by quality. */
static void print_advice(const struct set *sets, size_t count)
{
    size_t told[8] = {0};
    size_t refused = 0;
    size_t good = 0;
    size_t rejected = 0;
    for (size_t s = 0; s < count; s++) {
        for (size_t i = 0; i < sets[s].count; i++) {
            const struct print *print = &sets[s].prints[i];
            refused += print->prepared == NULL;
            good += print->prepared != NULL && print->reasons == 0;
            rejected += print->quality < QUALITY_REJECTED;
            for (int bit = 0; bit < 8; bit++) {
                told[bit] += print->reasons >> bit & 1;
            }
        }
    }
    printf(" %6zu %6zu %6zu %6zu %6zu %6zu %8zu %7zu\n", good, told[0], told[1], told[2], told[3],
           told[4], rejected, refused);
}

/* One row a way of spoiling. Means over the sets, but for the rates over all pairs, which are
 * pooled. */
static void spoilt_row(enum spoil_kind kind, struct set *sets, size_t count,
                       struct afis_matcher *matcher)
{
    struct scores genuine = {0};
    struct scores cross = {0};
    double mean = 0;
    for (size_t s = 0; s < count; s++) {
        verify(&sets[s], matcher, NULL);
        mean += rates_of(&sets[s].genuine, &sets[s].fvc_impostor).eer / (double)count;
        scores_append(&genuine, &sets[s].genuine);
        scores_append(&cross, &sets[s].cross);
    }
    struct rates rates = rates_of(&genuine, &cross);
    printf("%-10s %6.2f %6.2f %7.2f %6zu/%-6zu", spoil_name(kind), 100 * mean, 100 * rates.eer,
           100 * rates.fmr1000, genuine.count, cross.count);
    print_advice(sets, count);
    fflush(stdout);
    scores_release(&genuine);
    scores_release(&cross);
}

/* Every way of spoiling, then quality against recognition over all spoilt prints together: those of
 * good sensors are too few at the low end. */
static void report_spoilt(const struct options *options, struct set *sets,
                          struct afis_matcher *matcher)
{
    struct quality_table quality = {0};
    printf("rates in %%; pairs are genuine/impostor; then the prints by what was said of them\n"
           "%-10s %6s %6s %7s %13s %6s %6s %6s %6s %6s %6s %8s %7s\n",
           "spoilt", "FVC", "EER", "FMR1000", "pairs", "good", "little", "dry", "wet", "moved",
           "no fgr", "below 15", "refused");
    for (int kind = 0; kind < SPOIL_KINDS; kind++) {
        size_t count = load_sets(options, (enum spoil_kind)kind, sets);
        spoilt_row((enum spoil_kind)kind, sets, count, matcher);
        for (size_t s = 0; s < count; s++) {
            quality_table_append(&quality, &sets[s].quality);
            release_set(&sets[s]);
        }
    }
    quality_table_head();
    quality_table_row("spoilt", &quality);
    quality_table_release(&quality);
}

int main(int argc, char **argv)
{
    struct options options = {0};
    const struct argp argp = {.options = option_table,
                              .parser = parse_option,
                              .args_doc = "DIR",
                              .doc = "Accuracy on a folder of SET/FINGER_IMPRESSION.png or .iso"};
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    static struct set sets[SETS_MAX];
    struct afis_matcher *matcher = must_alloc(afis_matcher_size());
    if (options.spoil) {
        report_spoilt(&options, sets, matcher);
        free(matcher);
        return 0;
    }
    size_t count = load_sets(&options, SPOIL_NOTHING, sets);
    if (count == 0) {
        die("holds no FINGER_IMPRESSION.png or .iso", options.folder);
    }
    FILE *log = options.scores == NULL ? NULL : fopen(options.scores, "w");
    if (options.scores != NULL && log == NULL) {
        die(strerror(errno), options.scores);
    }
    for (size_t s = 0; s < count; s++) {
        verify(&sets[s], matcher, log);
        identify(&sets[s], matcher);
    }
    if (log != NULL) {
        fclose(log);
    }
    report(sets, count, matcher, &options);
    if (options.quality) {
        report_quality(sets, count);
    }
    free(matcher);
    return 0;
}
