#include "cli/print/overlay.h"

#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "whorl/msg.h"

enum { SCALE = 2 }; /* screen pixels per pixel at 500 dpi */

struct canvas {
    uint32_t width, height;
    uint8_t *rgb;
};

static void dot(struct canvas *c, double x, double y, const uint8_t colour[3])
{
    long px = lround(x), py = lround(y);
    if (px >= 0 && py >= 0 && px < (long)c->width && py < (long)c->height) {
        memcpy(c->rgb + 3 * ((size_t)py * c->width + (size_t)px), colour, 3);
    }
}

static uint8_t grey_at(const struct afis_image *image, double x, double y)
{
    long px = lround(x), py = lround(y);
    px = px < 0 ? 0 : px >= (long)image->width ? (long)image->width - 1 : px;
    py = py < 0 ? 0 : py >= (long)image->height ? (long)image->height - 1 : py;
    return image->pixels[(size_t)py * image->width + (size_t)px];
}

/* The print, the quality tint and the ridges. */
static void paint_print(struct canvas *c, const struct afis_image *image,
                        const struct afis_overlay *overlay)
{
    const double step = (double)image->dpi / 500.0 / SCALE;
    for (uint32_t y = 0; y < c->height; y++) {
        for (uint32_t x = 0; x < c->width; x++) {
            uint8_t *rgb = c->rgb + 3 * ((size_t)y * c->width + x);
            size_t at = (size_t)(y / SCALE) * overlay->width + x / SCALE;
            unsigned grey = 96u + grey_at(image, x * step, y * step) * 5u / 8u;
            unsigned quality = overlay->quality[at];
            rgb[0] = rgb[1] = rgb[2] = (uint8_t)grey;
            if (quality > 0) {
                unsigned good = quality > 100 ? 100 : quality;
                rgb[0] = (uint8_t)(grey * (1000 - 3 * good) / 1000);
                rgb[1] = (uint8_t)(grey * (700 + 3 * good) / 1000);
                rgb[2] = (uint8_t)(grey * 7 / 10);
            }
            if (overlay->ridges[at]) {
                rgb[0] = rgb[1] = 0;
                rgb[2] = 160;
            }
        }
    }
}

static void paint_minutia(struct canvas *c, const struct afis_minutia *m)
{
    static const uint8_t ending[3] = {220, 0, 0}, bifurcation[3] = {200, 0, 200};
    const uint8_t *colour = m->type == AFIS_MINUTIA_BIFURCATION ? bifurcation : ending;
    double x = m->x * (SCALE / 16.0), y = m->y * (SCALE / 16.0);
    double angle = m->angle * (2 * M_PI / 65536);
    for (int i = 0; i < 64; i++) {
        double turn = i * (2 * M_PI / 64);
        dot(c, x + 3.5 * SCALE * cos(turn), y + 3.5 * SCALE * sin(turn), colour);
    }
    for (int half_pixels = 7 * SCALE; half_pixels < 18 * SCALE; half_pixels++) {
        double r = half_pixels / 2.0;
        dot(c, x + r * cos(angle), y - r * sin(angle), colour);
    }
}

static bool write_png(const char *path, const struct canvas *c, struct whorl_fault *fault)
{
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = c->width,
                     .height = c->height,
                     .format = PNG_FORMAT_RGB};
    return png_image_write_to_file(&png, path, 0, c->rgb, 0, NULL) != 0 ||
           whorl_fail(fault, path, "cannot write it: %s", png.message);
}

bool overlay_write(const char *path, const struct afis_image *image,
                   const struct afis_overlay *overlay, const struct afis_template *tmpl,
                   struct whorl_fault *fault)
{
    struct canvas c = {.width = overlay->width * SCALE, .height = overlay->height * SCALE};
    c.rgb = calloc((size_t)c.width * c.height, 3);
    if (!c.rgb) {
        return whorl_fail(fault, path, "out of memory");
    }
    paint_print(&c, image, overlay);
    for (unsigned i = 0; i < tmpl->count; i++) {
        paint_minutia(&c, &tmpl->minutiae[i]);
    }
    bool ok = write_png(path, &c, fault);
    free(c.rgb);
    return ok;
}
