/* What the parts of the slap segmentation share.
 *
 * The image is reduced to cells of about 0.4 mm: about one ridge and its valley. A cell is
 * foreground when its greys vary as ridges do; fingertips are the large, compact pieces of
 * foreground that have no other piece above them. */
#ifndef AFIS_SLAP_INTERNAL_H
#define AFIS_SLAP_INTERNAL_H

#include "afis/slap.h"

#define SLAP_CELLS_PER_INCH 62u
#define SLAP_PIECES_MAX 32u

/* A map of cells. */
struct slap_grid {
    uint32_t width, height; /* cells */
    uint32_t cell;          /* pixels of the image along either side */
    uint8_t *mask;          /* 0 or 1 */
    uint8_t *label;         /* number of a piece from 1, 0 = none */
    uint8_t *scratch;
    uint32_t *queue; /* one entry for each cell */
};

/* One connected piece of foreground. Lengths in cells. */
struct slap_piece {
    uint8_t label;
    uint32_t area, left, top, right, bottom; /* right, bottom: first outside */
    double x, y;                             /* centroid */
    double lean;  /* across for each cell down: the slant in which the piece is narrowest */
    double width; /* in that slant, across it */
};

/* --- mask.c --- */

/* Marks the foreground: fills grid->mask, all other buffers are scratch. */
void slap_mask(const struct afis_image *image, struct slap_grid *grid);

/* --- pieces.c --- */

/* Labels the connected pieces of the mask that are large enough for a fingertip, largest first,
 * and measures them. Returns how many. */
unsigned slap_pieces(struct slap_grid *grid, struct slap_piece pieces[SLAP_PIECES_MAX]);

/* Cuts a piece in two where it is thinnest, along a line close to the vertical: fingers held
 * together touch. The right part gets `label` and is measured into *part. false if either part
 * would be too small to be a fingertip, or the cut would be more than `longest` cells long. */
bool slap_split(struct slap_grid *grid, struct slap_piece *piece, uint8_t label, uint32_t longest,
                struct slap_piece *part);

#endif
