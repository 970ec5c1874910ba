/* Binary descriptors of a minutia's neighbourhood.
 *
 * The neighbourhood is a cylinder in the sense of Cappelli, Ferrara & Maltoni, "Minutia
 * Cylinder-Code", PAMI 2010: a grid of cells around the minutia, turned into its direction, with a
 * few sections of relative direction, each cell telling how strongly minutiae near it point that
 * way. Where that paper thresholds each cell, ours are projected by a learned matrix onto 64
 * values whose signs are the descriptor (afis/train/README.md). */
#include <math.h>
#include <string.h>

#include "internal.h"
#include "projection.h"

#define RADIUS (85.0f * AFIS_SUBPIXEL)     /* half the cylinder's side */
#define SIGMA_SPACE (9.3f * AFIS_SUBPIXEL) /* of a neighbour's influence */
#define SIGMA_ANGLE (40.0f / 360.0f)       /* turns */
#define CELL (2 * RADIUS / CYLINDER_SIDE)
#define NEGLIGIBLE 1e-4f
#define REACH (RADIUS * 1.4143f + 3 * SIGMA_SPACE)

/* exp(-d^2/2) of the distances from `at` to `n` points that start at first and stand `step`
 * apart, in units of sigma; `period` > 0 wraps distances. */
static void bell(float at, float first, float step, float period, float sigma, unsigned n,
                 float *out)
{
    for (unsigned i = 0; i < n; i++) {
        float d = at - (first + step * (float)i);
        if (period > 0) {
            d -= period * rintf(d / period);
        }
        d /= sigma;
        out[i] = expf(-0.5f * d * d);
    }
}

static void add_neighbour(float u, float v, float turn, float cells[CYLINDER_CELLS])
{
    float wu[CYLINDER_SIDE], wv[CYLINDER_SIDE], wa[CYLINDER_SECTIONS];
    bell(u, -RADIUS + CELL / 2, CELL, 0, SIGMA_SPACE, CYLINDER_SIDE, wu);
    bell(v, -RADIUS + CELL / 2, CELL, 0, SIGMA_SPACE, CYLINDER_SIDE, wv);
    bell(turn, 0, 1.0f / CYLINDER_SECTIONS, 1, SIGMA_ANGLE, CYLINDER_SECTIONS, wa);
    for (unsigned a = 0; a < CYLINDER_SIDE; a++) {
        for (unsigned b = 0; wu[a] >= NEGLIGIBLE && b < CYLINDER_SIDE; b++) {
            float w = wu[a] * wv[b];
            if (w < NEGLIGIBLE) {
                continue;
            }
            float *cell = cells + (size_t)(a * CYLINDER_SIDE + b) * CYLINDER_SECTIONS;
            for (unsigned k = 0; k < CYLINDER_SECTIONS; k++) {
                cell[k] += w * wa[k];
            }
        }
    }
}

void afis_cylinder(const struct afis_finger *finger, unsigned centre, float out[CYLINDER_CELLS])
{
    const float turn = (float)finger->angle[centre] / 65536.0f;
    const float c = cosf(turn * 2 * (float)M_PI), s = sinf(turn * 2 * (float)M_PI);
    memset(out, 0, CYLINDER_CELLS * sizeof *out);
    for (unsigned i = 0; i < finger->count; i++) {
        float dx = (float)(finger->x[i] - finger->x[centre]);
        float dy = (float)(finger->y[centre] - finger->y[i]); /* angles are y up */
        if (i != centre && dx * dx + dy * dy < REACH * REACH) {
            uint16_t turned = (uint16_t)(finger->angle[i] - finger->angle[centre]);
            add_neighbour(c * dx + s * dy, c * dy - s * dx, (float)turned / 65536.0f, out);
        }
    }
    for (unsigned i = 0; i < CYLINDER_CELLS; i++) { /* one neighbour is enough to fill a cell */
        out[i] = sqrtf(fminf(out[i], 1.0f));
    }
}

void afis_describe(struct afis_finger *finger)
{
    float cells[CYLINDER_CELLS];
    for (unsigned i = 0; i < finger->count; i++) {
        afis_cylinder(finger, i, cells);
        float sum[64];
        for (unsigned b = 0; b < 64; b++) {
            sum[b] = -projection_threshold[b];
        }
        for (unsigned k = 0; k < CYLINDER_CELLS; k++) {
            if (cells[k] == 0) {
                continue; /* most are: far from any minutia */
            }
            for (unsigned b = 0; b < 64; b++) {
                sum[b] += cells[k] * projection[k][b];
            }
        }
        uint64_t bits = 0;
        for (unsigned b = 0; b < 64; b++) {
            bits |= (uint64_t)(sum[b] > 0) << b;
        }
        finger->descriptor[i] = bits;
    }
    explicit_bzero(cells, sizeof cells);
}
