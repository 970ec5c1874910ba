/* The bounds that every image decoder of the engine applies before it allocates. */
#ifndef AFIS_IMAGE_BOUNDS_H
#define AFIS_IMAGE_BOUNDS_H

#include <stdint.h>

#include "afis/status.h"

/* AFIS_OK when an image of this size and resolution is one that the engine works on. */
enum afis_status afis_image_bounds(uint64_t width, uint64_t height, uint32_t dpi);

#endif
