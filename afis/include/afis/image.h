/* Fingerprint images: decoding and the one form that the engine works on.
 *
 * Decoders take hostile bytes: sizes are bounded before anything is allocated, and a decoder never
 * reads past len. */
#ifndef AFIS_IMAGE_H
#define AFIS_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "afis/memory.h"
#include "afis/status.h"

#define AFIS_IMAGE_MAX_SIDE 4096u       /* pixels; a four-finger slap at 1000 dpi is 3200 x 3000 */
#define AFIS_IMAGE_MAX_PIXELS 12000000u /* in all: what a decoder may be made to allocate */
#define AFIS_DPI_MIN 250u
#define AFIS_DPI_MAX 1000u

/* 8-bit grey, row-major without padding, 0 black (ridge), 255 white (background). */
struct afis_image {
    uint32_t width, height; /* pixels */
    uint32_t dpi;           /* pixels per inch, as the caller stated it */
    uint8_t *pixels;        /* width * height bytes, from the caller's afis_memory */
};

/* Decodes a PNG (any colour type and depth; colour and alpha become grey on white) into *out.
 * dpi is stated by the caller: a pHYs chunk is not trusted, because scanners' are often wrong.
 * Release with afis_image_release. */
enum afis_status afis_image_from_png(const uint8_t *bytes, size_t len, uint32_t dpi,
                                     const struct afis_memory *memory, struct afis_image *out);

/* Takes raw 8-bit grey pixels: len must be width * height exactly. The bytes are copied. */
enum afis_status afis_image_from_raw(const uint8_t *bytes, size_t len, uint32_t width,
                                     uint32_t height, uint32_t dpi,
                                     const struct afis_memory *memory, struct afis_image *out);

/* Decodes a WSQ file (FBI, IAFIS-IC-0110) of one picture, filters of odd length only. The same
 * rules as for PNG; a resolution in a comment is not trusted either. */
enum afis_status afis_image_from_wsq(const uint8_t *bytes, size_t len, uint32_t dpi,
                                     const struct afis_memory *memory, struct afis_image *out);

/* Copies the part of an image from (left, top) up to but not including (right, bottom).
 * AFIS_BAD_FORMAT when that is empty or not within the image. */
enum afis_status afis_image_crop(const struct afis_image *image, uint32_t left, uint32_t top,
                                 uint32_t right, uint32_t bottom, const struct afis_memory *memory,
                                 struct afis_image *out);

/* Encodes as 8-bit grey PNG into a buffer from memory; *len is its size. */
enum afis_status afis_image_to_png(const struct afis_image *image, const struct afis_memory *memory,
                                   uint8_t **bytes, size_t *len);

/* Wipes and releases the pixels; image may be all zero. */
void afis_image_release(struct afis_image *image, const struct afis_memory *memory);

#endif
