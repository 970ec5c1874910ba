/* A picture of what the extractor found, for people. */
#ifndef CLI_OVERLAY_H
#define CLI_OVERLAY_H

#include <stdbool.h>

#include "afis/extract.h"
#include "whorl/plugin.h"

/* Writes a colour PNG: the print in grey, tinted from red (bad) to green (good) by quality, thinned
 * ridges dark blue, minutiae as rings with a tail in their direction (endings red, bifurcations
 * magenta). false with *fault. */
bool overlay_write(const char *path, const struct afis_image *image,
                   const struct afis_overlay *overlay, const struct afis_template *tmpl,
                   struct whorl_fault *fault);

#endif
