/* From a finger sample in one of the formats that Whorl takes to a template. */
#ifndef GALLERY_DECODE_H
#define GALLERY_DECODE_H

#include "afis/memory.h"
#include "afis/status.h"
#include "afis/template.h"
#include "whorl/plugin.h"

#define DECODE_DPI 500u /* of an image that does not state its resolution */

struct decode_sample {
    const char *format; /* "png", "raw", "wsq" or "iso19794-2" */
    const uint8_t *bytes;
    size_t len;
    uint32_t dpi;           /* of an image; 0 = not stated */
    uint32_t width, height; /* of a raw image */
    uint8_t position;       /* 1..10; 0 = what the template says, if anything */
};

/* The formats that decode_finger takes, NULL-terminated. */
extern const char *const decode_formats[];

/* Decodes and, where it is an image, extracts. Of a minutiae record the first view is taken. The
 * bytes are hostile; all memory comes from `memory` and is wiped. On failure fault->text says what
 * is wrong, e.g. "PNG: the bytes are not what they claim to be", fault->where is "".
 * Blocking, some milliseconds. Any thread. */
enum afis_status decode_finger(const struct decode_sample *sample, const struct afis_memory *memory,
                               struct afis_template *out, struct whorl_fault *fault);

/* Whether a template can be searched with or enrolled. Otherwise text says why, in words that an
 * officer can act on. min_quality: 0..100; templates that do not report a quality pass. */
bool decode_usable(const struct afis_template *tmpl, bool image, unsigned min_quality,
                   struct whorl_fault *fault);

/* Whether a format's samples are images. */
bool decode_is_image(const char *format);

/* "right index finger"; "finger of unknown position" for 0 and what is no position. */
const char *decode_position_name(uint8_t position);

#endif
