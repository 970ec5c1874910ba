/* The fingers in a file of any format that Whorl reads, one after the other. */
#ifndef CLI_CONVERT_SOURCE_H
#define CLI_CONVERT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "afis/image.h"
#include "afis/template.h"
#include "whorl/plugin.h"

/* One finger. Everything lives until the callback returns. */
struct convert_finger {
    const char *file;                 /* as given */
    unsigned number;                  /* in the file, from 1; 0 = the file can hold one only */
    uint8_t position;                 /* 1..10, 0 = unknown */
    uint8_t impression;               /* ANSI/NIST-ITL's IMP; 0 = live-scan plain, or unknown */
    const struct afis_image *image;   /* or NULL */
    const struct afis_template *tmpl; /* or NULL */
    bool segmented;                   /* cut out of a slap */
};

/* How to understand files that do not say it themselves. */
struct convert_hints {
    uint32_t dpi;           /* of PNG, WSQ and raw images */
    uint32_t width, height; /* of a raw image; 0 = no file is one */
    uint8_t position;       /* of images; 0 = unknown */
};

/* Calls visit for each finger of a file: PNG, WSQ, raw, ISO/IEC 19794-2, ANSI INCITS 378 (each
 * view), ANSI/NIST-ITL (each finger, slaps cut). Stops when visit returns false. skipped is called
 * for each finger record that cannot be used. false with *fault: visit's, or the file's. */
bool convert_each(const char *file, const struct convert_hints *hints,
                  bool (*visit)(void *ctx, const struct convert_finger *finger,
                                struct whorl_fault *fault),
                  void (*skipped)(void *ctx, const char *file, const char *text), void *ctx,
                  struct whorl_fault *fault);

#endif
