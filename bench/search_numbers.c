/* Percentiles and diagrams. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search_bench.h"

#define AXIS 420.0
#define MARGIN 70.0

static const char *const colours[] = {"#06c", "#c30", "#093", "#939", "#960"};

void numbers_add(struct numbers *numbers, double value)
{
    if (numbers->count == numbers->room) {
        numbers->room = numbers->room != 0 ? numbers->room * 2 : 256;
        numbers->values = realloc(numbers->values, numbers->room * sizeof *numbers->values);
        if (numbers->values == NULL) {
            die("out of memory", "numbers");
        }
    }
    numbers->values[numbers->count++] = value;
    numbers->sorted = false;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double numbers_at(struct numbers *numbers, double share)
{
    if (numbers->count == 0) {
        return NAN;
    }
    if (!numbers->sorted) {
        qsort(numbers->values, numbers->count, sizeof *numbers->values, by_value);
        numbers->sorted = true;
    }
    size_t at = (size_t)(share * (double)numbers->count);
    return numbers->values[at < numbers->count ? at : numbers->count - 1];
}

void numbers_free(struct numbers *numbers)
{
    free(numbers->values);
    *numbers = (struct numbers){0};
}

static FILE *begin_svg(const char *path, const char *title, const char *x_name, const char *y_name)
{
    FILE *svg = fopen(path, "we");
    if (svg == NULL) {
        die(strerror(errno), path);
    }
    fprintf(svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<text x=\"%g\" y=\"24\">%s</text>\n"
            "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%s</text>\n"
            "<text transform=\"translate(16 %g) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
            AXIS + 2 * MARGIN, AXIS + 2 * MARGIN, MARGIN, title, MARGIN + AXIS / 2,
            2 * MARGIN + AXIS - 24, x_name, MARGIN + AXIS / 2, y_name);
    return svg;
}

struct frame {
    double x0, x1, y0, y1; /* of the axes; logarithms where they are logarithmic */
};

static double across(const struct frame *f, double x)
{
    return MARGIN + AXIS * (x - f->x0) / (f->x1 - f->x0);
}

static double down(const struct frame *f, double y)
{
    return MARGIN + AXIS - AXIS * (y - f->y0) / (f->y1 - f->y0);
}

static void tick(FILE *svg, const struct frame *f, double at, bool is_x, double value)
{
    if (is_x) {
        fprintf(svg,
                "<path d=\"M%.1f %gv%g\" stroke=\"#ddd\"/><text x=\"%.1f\" y=\"%g\" "
                "text-anchor=\"middle\">%g</text>\n",
                across(f, at), MARGIN, AXIS, across(f, at), MARGIN + AXIS + 18, value);
    } else {
        fprintf(svg,
                "<path d=\"M%g %.1fh%g\" stroke=\"#ddd\"/><text x=\"%g\" y=\"%.1f\" "
                "text-anchor=\"end\">%g</text>\n",
                MARGIN, down(f, at), AXIS, MARGIN - 6, down(f, at) + 4, value);
    }
}

static void draw_lines(FILE *svg, const struct frame *f, const struct plot_line *lines,
                       size_t count, bool logarithmic)
{
    for (size_t k = 0; k < count; k++) {
        const char *colour = colours[k % (sizeof colours / sizeof colours[0])];
        fprintf(svg, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", colour);
        for (size_t i = 0; i < lines[k].count; i++) {
            double x = lines[k].x[i], y = lines[k].y[i];
            x = logarithmic ? log10(x) : x;
            y = logarithmic ? log10(y) : y;
            fprintf(svg, "%c%.1f %.1f", i == 0 ? 'M' : 'L', across(f, x), down(f, y));
        }
        fprintf(svg, "\"/>\n<text x=\"%g\" y=\"%g\" fill=\"%s\">%s</text>\n", MARGIN + 12,
                MARGIN + 18 + 16 * (double)k, colour, lines[k].name);
    }
}

static struct frame frame_of(const struct plot_line *lines, size_t count)
{
    struct frame f = {INFINITY, -INFINITY, INFINITY, -INFINITY};
    for (size_t k = 0; k < count; k++) {
        for (size_t i = 0; i < lines[k].count; i++) {
            f.x0 = fmin(f.x0, lines[k].x[i]);
            f.x1 = fmax(f.x1, lines[k].x[i]);
            f.y0 = fmin(f.y0, lines[k].y[i]);
            f.y1 = fmax(f.y1, lines[k].y[i]);
        }
    }
    return f;
}

void plot_log(const char *path, const char *title, const char *x_name, const char *y_name,
              const struct plot_line *lines, size_t count)
{
    struct frame f = frame_of(lines, count);
    f = (struct frame){floor(log10(f.x0)), ceil(log10(f.x1)), floor(log10(f.y0)),
                       ceil(log10(f.y1))};
    f.x1 = fmax(f.x1, f.x0 + 1);
    f.y1 = fmax(f.y1, f.y0 + 1);
    FILE *svg = begin_svg(path, title, x_name, y_name);
    for (double x = f.x0; x <= f.x1; x++) {
        tick(svg, &f, x, true, pow(10, x));
    }
    for (double y = f.y0; y <= f.y1; y++) {
        tick(svg, &f, y, false, pow(10, y));
    }
    draw_lines(svg, &f, lines, count, true);
    fprintf(svg, "</svg>\n");
    if (fclose(svg) != 0) {
        die(strerror(errno), path);
    }
}

void plot_equal(const char *path, const char *title, const char *x_name, const char *y_name,
                const struct plot_line *lines, size_t count)
{
    struct frame f = frame_of(lines, count);
    const double most = 5 * ceil(fmax(f.x1, f.y1) / 5);
    f = (struct frame){0, most, 0, most};
    FILE *svg = begin_svg(path, title, x_name, y_name);
    for (double v = 0; v <= most; v += 5) {
        tick(svg, &f, v, true, v);
        tick(svg, &f, v, false, v);
    }
    fprintf(svg, "<path d=\"M%g %gL%g %g\" stroke=\"#999\" stroke-dasharray=\"4\"/>\n", MARGIN,
            MARGIN + AXIS, MARGIN + AXIS, MARGIN);
    draw_lines(svg, &f, lines, count, false);
    fprintf(svg, "</svg>\n");
    if (fclose(svg) != 0) {
        die(strerror(errno), path);
    }
}
