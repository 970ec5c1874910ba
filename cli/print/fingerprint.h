/* Fingerprints in files: images (PNG, WSQ) and templates (ISO/IEC 19794-2, ANSI INCITS 378). */
#ifndef CLI_FINGERPRINT_H
#define CLI_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "afis/extract.h"
#include "afis/memory.h"
#include "afis/template.h"
#include "whorl/plugin.h"

/* The engine's memory over whorl_secret_alloc. */
extern const struct afis_memory fingerprint_memory;

/* Reads a file and, where it is an image of the given resolution, extracts its minutiae. overlay
 * and image (released by the caller with fingerprint_memory) may be NULL, and stay empty for a
 * template. false with *fault naming the file. Any thread. */
bool fingerprint_load(const char *path, uint32_t dpi, struct afis_template *tmpl,
                      struct afis_image *image, struct afis_overlay *overlay,
                      struct whorl_fault *fault);

#endif
