/* Measures the engine's speed on one core: extraction, and comparison at 40 x 40 minutiae on
 * prepared fingers and from packed bytes, with each variant of the kernel that this processor runs.
 *
 *     match_bench [DIR [SET=DPI]...]
 *
 * DIR holds SET/FINGER_IMPRESSION.png; without it random minutiae stand in, and say so: their
 * impostors are easier to tell apart than real ones. */
#include <dirent.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "afis/extract.h"
#include "afis/image.h"
#include "afis/match/internal.h"

enum { PRINTS_MAX = 400, MINUTIAE = 40, RUNS = 5, FILE_MAX = 1 << 22, IMAGE_RUNS = 3 };

struct print {
    struct afis_template tmpl;
    uint8_t packed[AFIS_PACKED_MAX];
    size_t len;
    unsigned set, finger;
};

static struct print prints[PRINTS_MAX];
static struct afis_finger fingers[PRINTS_MAX];
static unsigned print_count, set_count;
static double extraction_ms[PRINTS_MAX * IMAGE_RUNS];
static unsigned extraction_count;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof *values, by_value);
    return n > 0 ? values[n / 2] : 0;
}

static void print_machine(void)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "model name", 10) == 0) {
            printf("processor: %s", strchr(line, ':') + 2);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    printf("one thread, processor time, medians of %d runs\n", (int)RUNS);
}

/* Keeps a template if it has enough minutiae: the best 40 of it. */
static void keep(const struct afis_template *t, unsigned set, unsigned finger)
{
    if (t->count < MINUTIAE || print_count == PRINTS_MAX) {
        return;
    }
    struct print *p = &prints[print_count];
    p->tmpl = *t;
    while (p->tmpl.count > MINUTIAE) {
        unsigned worst = 0;
        for (unsigned i = 1; i < p->tmpl.count; i++) {
            if (p->tmpl.minutiae[i].quality < p->tmpl.minutiae[worst].quality) {
                worst = i;
            }
        }
        p->tmpl.minutiae[worst] = p->tmpl.minutiae[--p->tmpl.count];
    }
    p->set = set;
    p->finger = finger;
    if (afis_template_pack(&p->tmpl, p->packed, sizeof p->packed, &p->len) == AFIS_OK &&
        afis_finger_prepare(&p->tmpl, &fingers[print_count]) == AFIS_OK) {
        print_count++;
    }
}

static void extract_file(const char *path, unsigned dpi, unsigned set, unsigned finger)
{
    static uint8_t bytes[FILE_MAX];
    struct afis_image image = {0};
    struct afis_template t = {0};
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        perror(path);
        return;
    }
    size_t len = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    enum afis_status status = afis_image_from_png(bytes, len, dpi, &afis_memory_heap, &image);
    for (unsigned run = 0; status == AFIS_OK && run < IMAGE_RUNS; run++) {
        double start = seconds();
        status = afis_extract(&image, &afis_memory_heap, &t, NULL);
        if (extraction_count < sizeof extraction_ms / sizeof extraction_ms[0]) {
            extraction_ms[extraction_count++] = (seconds() - start) * 1e3;
        }
    }
    afis_image_release(&image, &afis_memory_heap);
    if (status == AFIS_OK) {
        keep(&t, set, finger);
    }
}

static unsigned dpi_of(const char *set, int argc, char **argv)
{
    size_t len = strlen(set);
    for (int k = 2; k < argc; k++) {
        if (strncmp(argv[k], set, len) == 0 && argv[k][len] == '=') {
            return (unsigned)strtoul(argv[k] + len + 1, NULL, 10);
        }
    }
    return 500;
}

static void extract_set(const char *dir, const char *set, unsigned dpi)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, set);
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    const unsigned first = extraction_count;
    for (int k = 0; k < n; k++) {
        char *rest;
        unsigned finger = (unsigned)strtoul(names[k]->d_name, &rest, 10);
        if (strstr(rest, ".png") != NULL && *rest == '_') {
            snprintf(path, sizeof path, "%s/%s/%s", dir, set, names[k]->d_name);
            extract_file(path, dpi, set_count, finger);
        }
        free(names[k]);
    }
    if (n >= 0) {
        free(names);
    }
    if (extraction_count > first) {
        double all[PRINTS_MAX * IMAGE_RUNS];
        const unsigned images = extraction_count - first;
        memcpy(all, extraction_ms + first, images * sizeof all[0]);
        double middle = median(all, images);
        printf("extraction %s: %.2f ms median, %.2f ms longest, %u images\n", set, middle,
               all[images - 1], images / IMAGE_RUNS);
        set_count++;
    }
}

static void read_folder(const char *dir, int argc, char **argv)
{
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort);
    for (int k = 0; k < n; k++) {
        if (names[k]->d_name[0] != '.') {
            extract_set(dir, names[k]->d_name, dpi_of(names[k]->d_name, argc, argv));
        }
        free(names[k]);
    }
    if (n >= 0) {
        free(names);
    }
}

static void invent(void)
{
    uint64_t state = 1;
    for (unsigned k = 0; k < PRINTS_MAX; k++) {
        struct afis_template t = {.width = 300, .height = 400};
        for (unsigned i = 0; i < MINUTIAE; i++, t.count++) {
            uint64_t r = state = state * 6364136223846793005u + 1442695040888963407u;
            t.minutiae[t.count] =
                (struct afis_minutia){(int16_t)((r >> 33) % 4800), (int16_t)((r >> 20) % 6400),
                                      (uint16_t)(r >> 48), AFIS_MINUTIA_ENDING, 50};
        }
        keep(&t, 0, k);
    }
    printf("no folder given: random minutiae\n");
}

enum { FRAME_WIDTH = 640, FRAME_HEIGHT = 480, FRAME = FRAME_WIDTH * FRAME_HEIGHT, GRAIN = 5 };

/* White noise, then the mean of the squares of side 2 * GRAIN + 1 around each pixel, twice. */
static void make_noise(float *noise, float *blurred)
{
    uint64_t state = 3;
    for (int i = 0; i < FRAME; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        blurred[i] = noise[i] = (float)(state >> 40) / (1 << 23) - 1;
    }
    for (int pass = 0; pass < 4; pass++) {
        static float old[FRAME];
        int step = pass % 2 == 0 ? 1 : FRAME_WIDTH;
        memcpy(old, blurred, sizeof old);
        for (int i = GRAIN * step; i < FRAME - GRAIN * step; i++) {
            blurred[i] = 0;
            for (int k = -GRAIN; k <= GRAIN; k++) {
                blurred[i] += old[i + k * step] / (2 * GRAIN + 1);
            }
        }
    }
}

/* What costs an extractor most: a frame full of noise, of ridges, and of ridges so disturbed that
 * they are full of ends; narrow ones are worked on twice (afis/extract/grid.c). */
struct frame_kind {
    const char *name;
    float noise, blurred; /* how much of each */
    float period;         /* pixels at 500 dpi; 0: no ridges */
    float disturbance;    /* of their phase */
};

static void draw_frame(const struct frame_kind *kind, uint32_t dpi, const float *noise,
                       const float *blurred, uint8_t *pixels)
{
    float per_pixel = 6.2832f * 500 / ((float)dpi * kind->period);
    for (int i = 0; i < FRAME; i++) {
        int row = i / FRAME_WIDTH;
        float r = hypotf((float)(i % FRAME_WIDTH) - 320, (float)row - 600);
        float v = kind->noise * noise[i] + kind->blurred * blurred[i];
        if (kind->period > 0) {
            v += cosf(r * per_pixel + kind->disturbance * blurred[i]);
        }
        v = v > 1 ? 1 : v < -1 ? -1 : v;
        pixels[i] = (uint8_t)(128 + 120 * v);
    }
}

static void extract_frames(uint32_t dpi)
{
    static float noise[FRAME];
    static float blurred[FRAME];
    static uint8_t pixels[FRAME];
    static const struct frame_kind kinds[] = {
        {"noise", 1, 0, 0, 0},
        {"soft noise", 0, 8, 0, 0},
        {"ridges", 0, 0, 8, 0},
        {"broken ridges", 0, 0, 8, 60},
        {"narrow ridges", 0, 0, 5.5f, 0},
        {"narrow broken ridges", 0, 0, 5.5f, 20},
    };
    make_noise(noise, blurred);
    for (unsigned kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        struct afis_image image = {FRAME_WIDTH, FRAME_HEIGHT, dpi, pixels};
        struct afis_template t;
        double ms[RUNS];
        draw_frame(&kinds[kind], dpi, noise, blurred, pixels);
        for (unsigned run = 0; run < RUNS; run++) {
            double start = seconds();
            if (afis_extract(&image, &afis_memory_heap, &t, NULL) != AFIS_OK) {
                abort();
            }
            ms[run] = (seconds() - start) * 1e3;
        }
        double middle = median(ms, RUNS);
        printf(
            "extraction 640 x 480 at %u dpi of %s: %.2f ms median, %.2f ms longest, %u minutiae\n",
            dpi, kinds[kind].name, middle, ms[RUNS - 1], t.count);
    }
}

struct tally {
    unsigned pairs, aligned;
    double per_second;
};

/* All pairs of different fingers within sets; from packed bytes, the gallery's side is prepared
 * anew for each comparison. */
static struct tally run(const struct match_ops *ops, bool packed, struct afis_matcher *m)
{
    static struct afis_finger gallery;
    struct tally t = {0};
    float sum = 0;
    double start = seconds();
    for (unsigned a = 0; a < print_count; a++) {
        for (unsigned b = 0; b < print_count; b++) {
            if (prints[a].set != prints[b].set || prints[a].finger == prints[b].finger) {
                continue;
            }
            const struct afis_finger *g = &fingers[b];
            if (packed) {
                if (afis_finger_prepare_packed(prints[b].packed, prints[b].len, &gallery) !=
                    AFIS_OK) {
                    abort();
                }
                g = &gallery;
            }
            bool aligned = ops->compare(m, &fingers[a], g);
            sum += afis_score(m->features, aligned, afis_bare_sides(&fingers[a], g));
            t.aligned += aligned;
            t.pairs++;
        }
    }
    t.per_second = t.pairs / (seconds() - start);
    if (sum < 0) {
        abort(); /* never: keeps the scores from being optimised away */
    }
    return t;
}

static void measure(const char *name, const struct match_ops *ops)
{
    struct afis_matcher *m = afis_memory_heap.alloc(NULL, afis_matcher_size());
    if (m == NULL) {
        return;
    }
    for (unsigned packed = 0; packed < 2; packed++) {
        double rates[RUNS];
        struct tally t = {0};
        for (unsigned k = 0; k < RUNS; k++) {
            t = run(ops, packed != 0, m);
            rates[k] = t.per_second;
        }
        double middle = median(rates, RUNS);
        printf("comparison %-9s %-9s %8.0f /s (%.2f us; %u impostor pairs of %d x %d minutiae, "
               "%.1f %% aligned)\n",
               name, packed ? "packed" : "prepared", middle, 1e6 / middle, t.pairs, (int)MINUTIAE,
               (int)MINUTIAE, 100.0 * t.aligned / t.pairs);
    }
    afis_memory_heap.release(NULL, m, afis_matcher_size());
}

int main(int argc, char **argv)
{
    print_machine();
    extract_frames(500);
    extract_frames(250);
    if (argc > 1) {
        read_folder(argv[1], argc, argv);
    } else {
        invent();
    }
    if (print_count < 2) {
        fprintf(stderr, "match_bench: fewer than two prints with %d minutiae\n", (int)MINUTIAE);
        return EXIT_FAILURE;
    }
    const struct match_ops *best = afis_match_ops_best();
    measure("portable", &afis_match_ops_portable);
#ifdef AFIS_HAVE_MATCH_KERNELS
    if (best == &afis_match_ops_avx512) {
        measure("avx2", &afis_match_ops_avx2);
        measure("avx512", best);
    } else if (best == &afis_match_ops_avx2) {
        measure("avx2", best);
    }
#endif
    return EXIT_SUCCESS;
}
