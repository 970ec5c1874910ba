#include "calibration.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#define AXIS 400.0 /* SVG units */
#define MARGIN 60.0
#define DB_MAX 50.0 /* of both axes */
#define DB_STEP 0.5

static size_t reaching(const struct scores *scores, double db)
{
    size_t count = 0;
    for (size_t i = 0; i < scores->count; i++) {
        count += (double)scores->values[i] >= db;
    }
    return count;
}

void calibration_table(const struct calibration_curve *curves, size_t count)
{
    static const double levels[] = {10, 20, 25, 30, 35, 40};
    printf("calibration: impostors at or above a score, and their rate over the rate it means\n");
    printf("%-10s %9s", "set", "pairs");
    for (size_t k = 0; k < sizeof levels / sizeof *levels; k++) {
        printf("   %9.0f dB", levels[k]);
    }
    printf("\n");
    for (size_t c = 0; c < count; c++) {
        const struct scores *s = curves[c].impostor;
        printf("%-10s %9zu", curves[c].name, s->count);
        for (size_t k = 0; k < sizeof levels / sizeof *levels; k++) {
            size_t n = reaching(s, levels[k]);
            double meant = (double)s->count * pow(10, -levels[k] / 10);
            printf(" %6zu %6.2f", n, s->count > 0 ? (double)n / meant : 0.0);
        }
        printf("\n");
    }
}

static double place(double db)
{
    return AXIS * (db < DB_MAX ? db : DB_MAX) / DB_MAX;
}

static void draw_axes(FILE *svg)
{
    fprintf(svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<text x=\"%g\" y=\"24\">False-match rate, observed against predicted</text>\n",
            AXIS + 2 * MARGIN, AXIS + 2 * MARGIN, MARGIN);
    for (int db = 0; db <= (int)DB_MAX; db += 10) {
        double at = place(db);
        fprintf(svg,
                "<path d=\"M%g %gv%gM%g %gh%g\" stroke=\"#ccc\"/>\n"
                "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%d dB</text>\n"
                "<text x=\"%g\" y=\"%g\" text-anchor=\"end\">1e-%d</text>\n",
                MARGIN + at, MARGIN, AXIS, MARGIN, MARGIN + at, AXIS, MARGIN + at,
                MARGIN + AXIS + 18, db, MARGIN - 6, MARGIN + at + 4, db / 10);
    }
    fprintf(svg,
            "<path d=\"M%g %gl%g %g\" stroke=\"#888\" stroke-dasharray=\"4\"/>\n"
            "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">score: the rate predicted</text>\n"
            "<text transform=\"translate(14 %g) rotate(-90)\" text-anchor=\"middle\">"
            "share of impostors at or above the score</text>\n",
            MARGIN, MARGIN, AXIS, AXIS, MARGIN + AXIS / 2, MARGIN + AXIS + 40, MARGIN + AXIS / 2);
}

static void draw_curve(FILE *svg, const struct calibration_curve *curve, size_t index, bool last)
{
    static const char *const colours[] = {"#06c", "#c30", "#090", "#909", "#c80", "#088"};
    const char *colour = last ? "#000" : colours[index % (sizeof colours / sizeof *colours)];
    const double line = MARGIN + AXIS - 14 * (double)(index + 1);
    fprintf(svg, "<text x=\"%g\" y=\"%g\" fill=\"%s\">%s: %zu pairs</text>\n", MARGIN + 8, line,
            colour, curve->name, curve->impostor->count);
    fprintf(svg, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%d\" d=\"", colour,
            last ? 2 : 1);
    char command = 'M';
    for (double db = 0; db <= DB_MAX; db += DB_STEP) {
        size_t n = reaching(curve->impostor, db);
        if (n == 0) {
            break;
        }
        double observed = -10 * log10((double)n / (double)curve->impostor->count);
        fprintf(svg, "%c%.1f %.1f", command, MARGIN + place(db), MARGIN + place(observed));
        command = 'L';
    }
    fprintf(svg, "\"/>\n");
}

bool calibration_write(const char *folder, const struct calibration_curve *curves, size_t count)
{
    char path[4096];
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        return false;
    }
    snprintf(path, sizeof path, "%s/calibration.svg", folder);
    FILE *svg = fopen(path, "w");
    if (svg == NULL) {
        return false;
    }
    draw_axes(svg);
    for (size_t k = 0; k < count; k++) {
        draw_curve(svg, &curves[k], k, k + 1 == count);
    }
    fprintf(svg, "</svg>\n");
    return fclose(svg) == 0;
}
