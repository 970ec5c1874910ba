/* Fingerprints in files: images (PNG, WSQ) and templates (ISO/IEC 19794-2, ANSI INCITS 378). */
#ifndef CLI_FINGERPRINT_H
#define CLI_FINGERPRINT_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "afis/extract.h"
#include "afis/memory.h"
#include "afis/template.h"
#include "whorl/plugin.h"

/* The engine's memory over whorl_secret_alloc. */
extern const struct afis_memory fingerprint_memory;

/* The option --dpi of commands that read images. */
enum { FINGERPRINT_DPI = 0x1000 };
#define FINGERPRINT_DPI_OPTION                                                                     \
    {                                                                                              \
        "dpi", FINGERPRINT_DPI, "N", 0, "Resolution of the images, 250 to 1000 (default 500)", 0   \
    }

/* Its value; argp_error where the engine takes no such resolution. */
uint32_t fingerprint_parse_dpi(struct argp_state *state, const char *arg);

/* Reads a file and, where it is an image of the given resolution, extracts its minutiae. overlay
 * and image (released by the caller with fingerprint_memory) may be NULL, and stay empty for a
 * template. false with *fault naming the file. Any thread. */
bool fingerprint_load(const char *path, uint32_t dpi, struct afis_template *tmpl,
                      struct afis_image *image, struct afis_overlay *overlay,
                      struct whorl_fault *fault);

#endif
