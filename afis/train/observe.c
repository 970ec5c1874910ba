/* What the training scripts learn from: writes the matcher's own view of prints to a file.
 *
 *     observe cylinders OUT [-a COPIES] [-s SET] [-d DPI] FILE... [-d DPI] FILE...
 *     observe pairs     OUT [-a STRENGTH] [-p PROJECTIONS] [-d DPI] FILE... [-q] FILE...
 *
 * FILE is SET/FINGER_IMPRESSION.png, or .iso. `cylinders` writes a row of floats a minutia: set,
 * finger, class, copy, then the cylinder; minutiae that the matcher pairs in prints of one finger
 * share a class. `pairs` writes a row for each pair of prints of one set: set, finger, impression,
 * the same of the second, the features, 1 if an alignment was tried, and each side's origin (enum
 * origin). Prints after -q lose the qualities of their minutiae, as other vendors' records come; a
 * print is not compared with itself in another form. PROJECTIONS is what descriptor.py saved:
 * prints of set k are then described by projection k, which was trained without that set. Sets are
 * numbered in the order of appearance, from 1 or from -s. -a distorts prints as skin and sensors
 * do. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../match/internal.h"
#include "afis/extract.h"
#include "afis/image.h"

enum { PRINTS_MAX = 4096, SETS_MAX = 16, FILE_MAX = 1 << 22, BITS = 64 };

enum origin { OWN, OWN_BARE, RECORD }; /* bare: without qualities of minutiae */

struct print {
    struct afis_template tmpl; /* reduced to what is compared */
    unsigned set, finger, impression;
    enum origin origin;
};

struct options {
    float strength;
    unsigned copies, dpi;
    bool bare;
    float (*projection)[CYLINDER_CELLS + 1][BITS];
};

static struct print prints[PRINTS_MAX];
static unsigned print_count;
static char sets[SETS_MAX][64];
static unsigned set_count, set_first = 1;
static uint64_t random_state = 88172645463325252u;

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "observe: %s: %s\n", path, what);
    exit(EXIT_FAILURE);
}

static float uniform(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (float)(random_state >> 40) / (float)(1 << 24);
}

static float normal(void)
{
    float sum = -6;
    for (unsigned i = 0; i < 12; i++) {
        sum += uniform();
    }
    return sum;
}

static unsigned set_number(const char *name, size_t len)
{
    for (unsigned k = 0; k < set_count; k++) {
        if (strlen(sets[k]) == len && memcmp(sets[k], name, len) == 0) {
            return k + set_first;
        }
    }
    if (set_count == SETS_MAX || len >= sizeof sets[0]) {
        fail("too many sets, or too long a name", name);
    }
    memcpy(sets[set_count], name, len);
    return set_count++ + set_first;
}

static void read_template(const char *path, unsigned dpi, struct afis_template *out)
{
    static uint8_t bytes[FILE_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail(strerror(errno), path);
    }
    size_t len = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    enum afis_status status;
    if (strcmp(path + strlen(path) - 4, ".png") == 0) {
        struct afis_image image = {0};
        status = afis_image_from_png(bytes, len, dpi, &afis_memory_heap, &image);
        if (status == AFIS_OK) {
            status = afis_extract(&image, &afis_memory_heap, out, NULL);
            afis_image_release(&image, &afis_memory_heap);
        }
    } else {
        status = afis_template_from_iso(bytes, len, 0, out);
    }
    if (status != AFIS_OK) {
        fail(afis_status_text(status), path);
    }
}

static void add_print(const char *path, const struct options *o)
{
    const char *name = strrchr(path, '/');
    if (print_count == PRINTS_MAX || name == NULL || strlen(path) < 8) {
        fail("not SET/FINGER_IMPRESSION, or one too many", path);
    }
    const char *set = name;
    while (set > path && set[-1] != '/') {
        set--;
    }
    struct print *p = &prints[print_count++];
    char *rest;
    p->finger = (unsigned)strtoul(name + 1, &rest, 10);
    if (rest == name + 1 || *rest != '_') {
        fail("not SET/FINGER_IMPRESSION", path);
    }
    p->impression = (unsigned)strtoul(rest + 1, NULL, 10);
    p->set = set_number(set, (size_t)(name - set));
    uint8_t packed[AFIS_PACKED_MAX];
    size_t len;
    read_template(path, o->dpi, &p->tmpl);
    const bool record = strcmp(path + strlen(path) - 4, ".png") != 0;
    p->origin = record ? RECORD : o->bare ? OWN_BARE : OWN;
    for (unsigned i = 0; o->bare && i < p->tmpl.count; i++) {
        p->tmpl.minutiae[i].quality = 0;
    }
    if (afis_template_pack(&p->tmpl, packed, sizeof packed, &len) != AFIS_OK ||
        afis_template_unpack(packed, len, &p->tmpl) != AFIS_OK) {
        fail("does not pack", path);
    }
}

/* --- distortion --- */

enum { BUMPS = 4, CANVAS = 800 };

/* A smooth map of the plane: a rotation, a strain of a few per cent and some bumps. */
struct warp {
    float cx, cy, turn, sx, sy, shear;
    float x[BUMPS], y[BUMPS], ux[BUMPS], uy[BUMPS], width[BUMPS];
};

static struct warp random_warp(const struct afis_template *t, float strength)
{
    struct warp w = {0};
    for (unsigned i = 0; i < t->count; i++) {
        w.cx += (float)t->minutiae[i].x / AFIS_SUBPIXEL / t->count;
        w.cy += (float)t->minutiae[i].y / AFIS_SUBPIXEL / t->count;
    }
    w.turn = (uniform() - 0.5f) * 1.4f * strength;
    w.sx = 1 + normal() * 0.03f * strength;
    w.sy = 1 + normal() * 0.03f * strength;
    w.shear = normal() * 0.03f * strength;
    for (unsigned k = 0; k < BUMPS; k++) {
        w.x[k] = w.cx + (uniform() - 0.5f) * 250;
        w.y[k] = w.cy + (uniform() - 0.5f) * 250;
        w.ux[k] = normal() * 5 * strength;
        w.uy[k] = normal() * 5 * strength;
        w.width[k] = 40 + uniform() * 60;
    }
    return w;
}

static void warp_point(const struct warp *w, float x, float y, float *u, float *v)
{
    float px = x, py = y;
    for (unsigned k = 0; k < BUMPS; k++) {
        float dx = (x - w->x[k]) / w->width[k], dy = (y - w->y[k]) / w->width[k];
        float e = expf(-0.5f * (dx * dx + dy * dy));
        px += w->ux[k] * e;
        py += w->uy[k] * e;
    }
    px = w->sx * (px - w->cx) + w->shear * (py - w->cy);
    py = w->sy * (py - w->cy);
    *u = cosf(w->turn) * px - sinf(w->turn) * py + CANVAS / 2.0f;
    *v = sinf(w->turn) * px + cosf(w->turn) * py + CANVAS / 2.0f;
}

static void put_minutia(struct afis_template *t, float x, float y, float angle, uint8_t type,
                        uint8_t quality)
{
    if (x >= 0 && y >= 0 && x < CANVAS && y < CANVAS) {
        t->minutiae[t->count++] = (struct afis_minutia){
            (int16_t)(x * AFIS_SUBPIXEL), (int16_t)(y * AFIS_SUBPIXEL),
            (uint16_t)(int)lrintf(angle / (2 * (float)M_PI) * 65536), type, quality};
    }
}

/* Another impression of the same finger: warped, moved, with minutiae lost, shaken and added.
 * source[k] is the minutia that k was, or FINGER_MINUTIAE for an added one. */
static struct afis_template distort(const struct afis_template *t, float strength,
                                    unsigned source[FINGER_MINUTIAE])
{
    struct afis_template out = *t;
    const struct warp w = random_warp(t, strength);
    const float window_x = w.cx + (uniform() - 0.5f) * 160 * strength;
    const float window_y = w.cy + (uniform() - 0.5f) * 160 * strength;
    const float window = 200 - 80 * uniform() * strength, lost = 0.3f * strength * uniform();
    out.count = 0;
    out.width = out.height = CANVAS;
    for (unsigned i = 0; i < t->count; i++) {
        const struct afis_minutia *m = &t->minutiae[i];
        float x = (float)m->x / AFIS_SUBPIXEL, y = (float)m->y / AFIS_SUBPIXEL;
        if (hypotf(x - window_x, y - window_y) > window || uniform() < lost) {
            continue;
        }
        float a = (float)m->angle / 65536 * 2 * (float)M_PI, u, v, u2, v2;
        warp_point(&w, x, y, &u, &v);
        warp_point(&w, x + cosf(a), y - sinf(a), &u2, &v2);
        source[out.count] = i;
        put_minutia(&out, u + normal() * 1.2f * strength, v + normal() * 1.2f * strength,
                    atan2f(v - v2, u2 - u) + normal() * 0.07f * strength, m->type, m->quality);
    }
    unsigned added = out.count > 2 ? (unsigned)(uniform() * 0.2f * strength * out.count) : 0;
    for (unsigned k = 0; k < added && out.count < FINGER_MINUTIAE; k++) {
        const struct afis_minutia m = out.minutiae[(unsigned)(uniform() * out.count) % out.count];
        source[out.count] = FINGER_MINUTIAE;
        put_minutia(&out, (float)m.x / AFIS_SUBPIXEL + normal() * 30,
                    (float)m.y / AFIS_SUBPIXEL + normal() * 30,
                    (float)m.angle / 65536 * 2 * (float)M_PI + normal() * 0.4f, AFIS_MINUTIA_ENDING,
                    m.quality);
    }
    return out;
}

/* --- what is written --- */

static void put(FILE *out, const float *row, size_t n)
{
    if (fwrite(row, sizeof *row, n, out) != n) {
        fail(strerror(errno), "output");
    }
}

static unsigned classes[PRINTS_MAX * FINGER_MINUTIAE];

static unsigned class_of(unsigned k)
{
    while (classes[k] != k) {
        k = classes[k] = classes[classes[k]];
    }
    return k;
}

/* Joins the minutiae of two prints of one finger that the matcher pairs with confidence. */
static void join_classes(struct afis_matcher *m, const struct afis_finger *fingers, unsigned a,
                         unsigned b)
{
    const float confident = 12;
    if (prints[a].set != prints[b].set || prints[a].finger != prints[b].finger ||
        !afis_match_ops_best()->compare(m, &fingers[a], &fingers[b]) ||
        m->best->worth < confident) {
        return;
    }
    for (unsigned k = 0; k < m->best->matched; k++) {
        unsigned i = class_of(a * FINGER_MINUTIAE + m->best->i[k]);
        classes[i] = class_of(b * FINGER_MINUTIAE + m->best->j[k]);
    }
}

static void write_print(FILE *out, unsigned a, unsigned copy, float strength)
{
    static struct afis_finger finger;
    unsigned source[FINGER_MINUTIAE];
    struct afis_template t = prints[a].tmpl;
    for (unsigned k = 0; k < FINGER_MINUTIAE; k++) {
        source[k] = k;
    }
    if (copy > 0) {
        t = distort(&prints[a].tmpl, strength, source);
    }
    if (afis_finger_prepare(&t, &finger) != AFIS_OK) {
        fail("not a template", "distorted print");
    }
    for (unsigned k = 0; k < finger.count; k++) {
        if (source[k] < FINGER_MINUTIAE) {
            float row[4 + CYLINDER_CELLS] = {(float)prints[a].set, (float)prints[a].finger,
                                             (float)class_of(a * FINGER_MINUTIAE + source[k]),
                                             (float)copy};
            afis_cylinder(&finger, k, row + 4);
            put(out, row, 4 + CYLINDER_CELLS);
        }
    }
}

static void write_cylinders(FILE *out, const struct options *o, const struct afis_finger *fingers,
                            struct afis_matcher *m)
{
    for (unsigned k = 0; k < PRINTS_MAX * FINGER_MINUTIAE; k++) {
        classes[k] = k;
    }
    for (unsigned a = 0; a < print_count; a++) {
        for (unsigned b = a + 1; b < print_count; b++) {
            join_classes(m, fingers, a, b);
        }
    }
    for (unsigned a = 0; a < print_count; a++) {
        for (unsigned copy = 0; copy <= o->copies; copy++) {
            write_print(out, a, copy, 0.4f + 0.6f * uniform());
        }
    }
}

static void write_pairs(FILE *out, const struct afis_finger *fingers, struct afis_matcher *m)
{
    for (unsigned a = 0; a < print_count; a++) {
        for (unsigned b = a + 1; b < print_count; b++) {
            const struct print *p = &prints[a], *q = &prints[b];
            const bool same = p->finger == q->finger && p->impression == q->impression;
            if (p->set == q->set && !same) {
                float row[9 + FEATURE_COUNT] = {(float)p->set,        (float)p->finger,
                                                (float)p->impression, (float)q->set,
                                                (float)q->finger,     (float)q->impression};
                bool aligned = afis_match_ops_best()->compare(m, &fingers[a], &fingers[b]);
                memcpy(row + 6, m->features, sizeof m->features);
                row[6 + FEATURE_COUNT] = aligned;
                row[7 + FEATURE_COUNT] = (float)p->origin;
                row[8 + FEATURE_COUNT] = (float)q->origin;
                put(out, row, 9 + FEATURE_COUNT);
            }
        }
    }
}

/* Describes a finger by another projection than the built-in one. */
static void describe(struct afis_finger *f, float projection[CYLINDER_CELLS + 1][BITS])
{
    for (unsigned i = 0; i < f->count; i++) {
        float cells[CYLINDER_CELLS];
        afis_cylinder(f, i, cells);
        f->descriptor[i] = 0;
        for (unsigned b = 0; b < BITS; b++) {
            float sum = -projection[CYLINDER_CELLS][b];
            for (unsigned k = 0; k < CYLINDER_CELLS; k++) {
                sum += cells[k] * projection[k][b];
            }
            f->descriptor[i] |= (uint64_t)(sum > 0) << b;
        }
    }
}

static void prepare(struct afis_finger *finger, const struct print *p, const struct options *o)
{
    struct afis_template t = p->tmpl;
    unsigned source[FINGER_MINUTIAE];
    if (o->strength > 0) {
        t = distort(&p->tmpl, o->strength, source);
    }
    if (afis_finger_prepare(&t, finger) != AFIS_OK) {
        fail("not a template", "print");
    }
    if (o->projection != NULL) {
        describe(finger, o->projection[p->set - 1]);
    }
}

static void read_projections(struct options *o, const char *path)
{
    const size_t size = SETS_MAX * sizeof *o->projection;
    FILE *file = fopen(path, "rb");
    o->projection = calloc(1, size);
    if (file == NULL || o->projection == NULL || fread(o->projection, 1, size, file) == 0) {
        fail("cannot be read", path);
    }
    fclose(file);
}

static void parse(struct options *o, int argc, char **argv)
{
    for (int c; (c = getopt(argc, argv, "-a:d:p:qs:")) != -1;) {
        if (c == 'a') {
            o->strength = strtof(optarg, NULL);
            o->copies = (unsigned)o->strength;
        } else if (c == 'd') {
            o->dpi = (unsigned)strtoul(optarg, NULL, 10);
        } else if (c == 'p') {
            read_projections(o, optarg);
        } else if (c == 'q') {
            o->bare = true;
        } else if (c == 's') {
            set_first = (unsigned)strtoul(optarg, NULL, 10);
        } else if (c == 1) {
            add_print(optarg, o);
        } else {
            exit(EXIT_FAILURE);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fail("usage: observe cylinders|pairs OUT [-a N] [-p FILE] [-d DPI] FILE...", "arguments");
    }
    const bool cylinders = strcmp(argv[1], "cylinders") == 0;
    struct options o = {.dpi = 500};
    parse(&o, argc - 2, argv + 2);
    struct afis_finger *fingers = aligned_alloc(64, sizeof *fingers * PRINTS_MAX);
    struct afis_matcher *m = calloc(1, sizeof *m);
    FILE *out = fopen(argv[2], "wb");
    if (fingers == NULL || m == NULL || out == NULL) {
        fail(strerror(errno), argv[2]);
    }
    struct options plain = {.projection = o.projection};
    for (unsigned a = 0; a < print_count; a++) {
        prepare(&fingers[a], &prints[a], cylinders ? &plain : &o);
    }
    if (cylinders) {
        write_cylinders(out, &o, fingers, m);
    } else {
        write_pairs(out, fingers, m);
    }
    if (fclose(out) != 0) {
        fail(strerror(errno), argv[2]);
    }
    free(o.projection);
    free(m);
    free(fingers);
    return EXIT_SUCCESS;
}
