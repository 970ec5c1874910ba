/* From an image to a template. */
#ifndef AFIS_EXTRACT_H
#define AFIS_EXTRACT_H

#include "afis/image.h"
#include "afis/memory.h"
#include "afis/status.h"
#include "afis/template.h"

/* What afis_extract can show of its work, each at the image's size normalised to 500 dpi. */
struct afis_overlay {
    uint32_t width, height;
    uint8_t *ridges;  /* 1 where the thinned ridge runs */
    uint8_t *quality; /* 0..100 per pixel, 0 outside the foreground */
};

/* Extracts the minutiae of one finger. image->dpi is normalised to 500.
 * Working memory comes from `memory` and is wiped and given back before the return.
 * A poor print is not an error: *out then has a low quality, reasons, and few minutiae. What shows
 * no ridge pattern at all has quality 0, AFIS_REASON_NOT_A_FINGER and no minutiae.
 * Of a frame larger than any finger (over 400,000 pixels of 550 dpi, 29 x 29 mm) the part that
 * shows most is worked on; places count from the whole's corner all the same. At 500 dpi an image
 * must have 64 to 2047 pixels a side (AFIS_TOO_SMALL, AFIS_TOO_LARGE) and at most 2,560,000 in all.
 * Working memory is 10 MB at most, 2 MB for a fingertip. overlay may be NULL; otherwise its buffers
 * come from memory: afis_overlay_release. Blocking, a few milliseconds; safe from any number of
 * threads at once. */
enum afis_status afis_extract(const struct afis_image *image, const struct afis_memory *memory,
                              struct afis_template *out, struct afis_overlay *overlay);

void afis_overlay_release(struct afis_overlay *overlay, const struct afis_memory *memory);

#endif
