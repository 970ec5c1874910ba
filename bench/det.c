#include "det.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void scores_add(struct scores *scores, float value)
{
    if (scores->count == scores->room) {
        scores->room = scores->room == 0 ? 1024 : 2 * scores->room;
        scores->values = realloc(scores->values, scores->room * sizeof *scores->values);
        if (scores->values == NULL) {
            perror("scores");
            abort();
        }
    }
    scores->values[scores->count++] = value;
}

void scores_append(struct scores *to, const struct scores *from)
{
    for (size_t i = 0; i < from->count; i++) {
        scores_add(to, from->values[i]);
    }
}

void scores_release(struct scores *scores)
{
    free(scores->values);
    memset(scores, 0, sizeof *scores);
}

static int ascending(const void *a, const void *b)
{
    float p = *(const float *)a;
    float q = *(const float *)b;
    return (p > q) - (p < q);
}

static float *sorted(const struct scores *scores)
{
    float *copy = malloc((scores->count + 1) * sizeof *copy);
    if (copy == NULL) {
        perror("scores");
        abort();
    }
    if (scores->count > 0) {
        memcpy(copy, scores->values, scores->count * sizeof *copy);
        qsort(copy, scores->count, sizeof *copy, ascending);
    }
    return copy;
}

/* Walks the threshold from -infinity up over every score that occurs. */
struct walk {
    float *genuine, *impostor;
    size_t genuine_count, impostor_count;
    size_t missed, rejected; /* genuine and impostor scores below the threshold */
    bool over;
};

static struct walk walk_start(const struct scores *genuine, const struct scores *impostor)
{
    return (struct walk){
        sorted(genuine), sorted(impostor), genuine->count, impostor->count, 0, 0, false};
}

static double walk_fnmr(const struct walk *walk)
{
    return (double)walk->missed / (double)walk->genuine_count;
}

static double walk_fmr(const struct walk *walk)
{
    return (double)(walk->impostor_count - walk->rejected) / (double)walk->impostor_count;
}

/* The next threshold lies just above the smallest score not yet passed. */
static bool walk_on(struct walk *walk)
{
    if (walk->missed == walk->genuine_count && walk->rejected == walk->impostor_count) {
        return false;
    }
    float least = INFINITY;
    if (walk->missed < walk->genuine_count) {
        least = walk->genuine[walk->missed];
    }
    if (walk->rejected < walk->impostor_count && walk->impostor[walk->rejected] < least) {
        least = walk->impostor[walk->rejected];
    }
    while (walk->missed < walk->genuine_count && walk->genuine[walk->missed] <= least) {
        walk->missed++;
    }
    while (walk->rejected < walk->impostor_count && walk->impostor[walk->rejected] <= least) {
        walk->rejected++;
    }
    return true;
}

static void walk_end(struct walk *walk)
{
    free(walk->genuine);
    free(walk->impostor);
}

struct rates rates_of(const struct scores *genuine, const struct scores *impostor)
{
    struct rates rates = {1, 1, 1, 1};
    if (genuine->count == 0 || impostor->count == 0) {
        return (struct rates){NAN, NAN, NAN, NAN};
    }
    struct walk walk = walk_start(genuine, impostor);
    double before = 1; /* FMR + FNMR at the last threshold where FNMR <= FMR */
    double eer = -1;
    do {
        double fnmr = walk_fnmr(&walk);
        double fmr = walk_fmr(&walk);
        double sum = fmr + fnmr;
        if (fnmr <= fmr) {
            before = sum;
        }
        if (eer < 0 && fnmr >= fmr) {
            eer = (before <= sum ? before : sum) / 2;
        }
        rates.fmr100 = fmr <= 0.01 && fnmr < rates.fmr100 ? fnmr : rates.fmr100;
        rates.fmr1000 = fmr <= 0.001 && fnmr < rates.fmr1000 ? fnmr : rates.fmr1000;
        rates.zero_fmr = fmr <= 0 && fnmr < rates.zero_fmr ? fnmr : rates.zero_fmr;
    } while (walk_on(&walk));
    rates.eer = eer;
    walk_end(&walk);
    return rates;
}

#define AXIS 400.0  /* SVG units */
#define DECADES 4.0 /* 0.01 % to 100 % */
#define MARGIN 60.0

static double place(double rate)
{
    double decades = rate <= 1e-4 ? 0 : log10(rate) + DECADES;
    return AXIS * decades / DECADES;
}

static void draw_axes(FILE *svg, const char *name, const struct scores *genuine,
                      const struct scores *impostor)
{
    fprintf(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" "
        "fill=\"white\"/>\n<text x=\"%g\" y=\"24\">%s: %zu genuine, %zu impostor pairs</text>\n",
        AXIS + 2 * MARGIN, AXIS + 2 * MARGIN, MARGIN, name, genuine->count, impostor->count);
    for (int decade = 0; decade <= (int)DECADES; decade++) {
        double at = AXIS * decade / DECADES;
        double percent = pow(10, decade - DECADES + 2);
        fprintf(svg,
                "<path d=\"M%g %gv%gM%g %gh%g\" stroke=\"#ccc\"/>\n"
                "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%g %%</text>\n"
                "<text x=\"%g\" y=\"%g\" text-anchor=\"end\">%g %%</text>\n",
                MARGIN + at, MARGIN, AXIS, MARGIN, MARGIN + AXIS - at, AXIS, MARGIN + at,
                MARGIN + AXIS + 18, percent, MARGIN - 6, MARGIN + AXIS - at + 4, percent);
    }
    fprintf(svg,
            "<path d=\"M%g %gL%g %g\" stroke=\"#ccc\" stroke-dasharray=\"4\"/>\n"
            "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">false match rate</text>\n"
            "<text transform=\"translate(14 %g) rotate(-90)\" text-anchor=\"middle\">"
            "false non-match rate</text>\n",
            MARGIN, MARGIN + AXIS, MARGIN + AXIS, MARGIN, MARGIN + AXIS / 2, MARGIN + AXIS + 40,
            MARGIN + AXIS / 2);
}

bool det_write(const char *folder, const char *name, const struct scores *genuine,
               const struct scores *impostor)
{
    char path[4096];
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        return false;
    }
    snprintf(path, sizeof path, "%s/%s.svg", folder, name);
    FILE *svg = fopen(path, "w");
    if (svg == NULL) {
        return false;
    }
    draw_axes(svg, name, genuine, impostor);
    if (genuine->count > 0 && impostor->count > 0) {
        struct walk walk = walk_start(genuine, impostor);
        char command = 'M';
        fprintf(svg, "<path fill=\"none\" stroke=\"#06c\" stroke-width=\"2\" d=\"");
        do {
            fprintf(svg, "%c%.1f %.1f", command, MARGIN + place(walk_fmr(&walk)),
                    MARGIN + AXIS - place(walk_fnmr(&walk)));
            command = 'L';
        } while (walk_on(&walk));
        fprintf(svg, "\"/>\n");
        walk_end(&walk);
    }
    fprintf(svg, "</svg>\n");
    return fclose(svg) == 0;
}
