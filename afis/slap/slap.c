/* From a slap to numbered fingertips. */
#include <math.h>
#include <string.h>

#include "slap/internal.h"

enum {
    MARGIN = 2,   /* cells around a fingertip's box */
    SIDE_MIN = 32 /* cells of the image: half an inch */
};
#define WIDTH_MIN 15.0    /* cells, 6 mm: a narrower piece is no fingertip */
#define HEIGHT_MIN 20u    /* 8 mm: neither is a lower one */
#define FINGER_WIDTH 50.0 /* 20 mm: a wider piece of a four-finger slap is several */
#define THUMB_WIDTH 66.0  /* 27 mm */
#define LENGTH_WIDTHS 1.8 /* a fingertip is not longer than this many of its widths */

struct afis_slap {
    struct slap_grid grid;
    size_t size; /* of this block of memory, the grid's buffers included */
    unsigned count;
    struct afis_slap_finger fingers[AFIS_SLAP_MAX];
    uint8_t labels[AFIS_SLAP_MAX];
};

/* Which fingers a slap shows, from left to right (ANSI/NIST-ITL 1-2011, table 8 and figure 4). */
static unsigned expected_fingers(unsigned position, uint16_t missing, uint8_t fingers[4])
{
    static const uint8_t all[3][4] = {{2, 3, 4, 5}, {10, 9, 8, 7}, {6, 1, 0, 0}};
    const uint8_t *shown = all[position - AFIS_SLAP_RIGHT_FOUR];
    unsigned count = 0;
    for (unsigned i = 0; i < 4 && shown[i] != 0; i++) {
        if ((missing >> shown[i] & 1) == 0) {
            fingers[count++] = shown[i];
        }
    }
    return count;
}

/* How long a cut through the piece may be: as long as it takes through one that is wider than any
 * finger; through others, a third of their height, for a finger has no waist lengthways. */
static uint32_t cut_limit(const struct slap_piece *piece, double widest)
{
    return piece->width > widest         ? UINT32_MAX
           : piece->width > widest * 0.6 ? (piece->bottom - piece->top) / 3
                                         : 0;
}

/* Parts the pieces that are fingers held together. */
static unsigned part_touching(struct slap_grid *grid, struct slap_piece *pieces, unsigned count,
                              double widest)
{
    uint8_t label = (uint8_t)(SLAP_PIECES_MAX + 1);
    /* Both parts are looked at again: they come later in the list, or at the same place. */
    for (unsigned i = 0; i < count;) {
        uint32_t limit = cut_limit(&pieces[i], widest);
        if (count < SLAP_PIECES_MAX && limit > 0 &&
            slap_split(grid, &pieces[i], label, limit, &pieces[count])) {
            count++;
            label++;
        } else {
            i++;
        }
    }
    return count;
}

static bool plausible(const struct slap_piece *piece)
{
    return piece->width >= WIDTH_MIN && piece->bottom - piece->top >= HEIGHT_MIN;
}

/* Whether `lower` is a further phalanx of the finger whose tip is `upper`. */
static bool is_below(const struct slap_piece *upper, const struct slap_piece *lower)
{
    double down = lower->y - upper->y;
    double across = lower->x - upper->x - upper->lean * down;
    double straight = lower->x - upper->x;
    return lower->top > upper->y && lower->y > upper->bottom - 1.0 &&
           fmin(fabs(across), fabs(straight)) < 0.6 * upper->width;
}

/* Keeps what can be a fingertip, largest first, at most as many as expected. */
static unsigned choose(struct slap_piece *pieces, unsigned count, unsigned expected)
{
    bool drop[SLAP_PIECES_MAX] = {false};
    for (unsigned i = 0; i < count; i++) {
        drop[i] = !plausible(&pieces[i]);
        for (unsigned k = 0; k < count; k++) {
            drop[i] = drop[i] || (plausible(&pieces[k]) && is_below(&pieces[k], &pieces[i]));
        }
    }
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!drop[i]) {
            struct slap_piece piece = pieces[i];
            unsigned at = kept++;
            for (; at > 0 && pieces[at - 1].area < piece.area; at--) {
                pieces[at] = pieces[at - 1];
            }
            pieces[at] = piece;
        }
    }
    return kept < expected ? kept : expected;
}

static void sort_from_left(struct slap_piece *pieces, unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        struct slap_piece piece = pieces[i];
        unsigned at = i;
        for (; at > 0 && pieces[at - 1].x > piece.x; at--) {
            pieces[at] = pieces[at - 1];
        }
        pieces[at] = piece;
    }
}

static struct afis_slap_finger box_of(const struct slap_grid *grid, const struct slap_piece *piece,
                                      const struct afis_image *image)
{
    uint32_t longest = (uint32_t)(piece->width * LENGTH_WIDTHS) + 1;
    uint32_t bottom = piece->bottom - piece->top > longest ? piece->top + longest : piece->bottom;
    uint32_t right = (piece->right + MARGIN) * grid->cell, low = (bottom + MARGIN) * grid->cell;
    return (struct afis_slap_finger){
        .left = (piece->left > MARGIN ? piece->left - MARGIN : 0) * grid->cell,
        .top = (piece->top > MARGIN ? piece->top - MARGIN : 0) * grid->cell,
        .right = right < image->width ? right : image->width,
        .bottom = low < image->height ? low : image->height,
    };
}

static void find(struct afis_slap *slap, const struct afis_image *image, unsigned position,
                 uint16_t missing)
{
    struct slap_piece pieces[SLAP_PIECES_MAX];
    uint8_t fingers[AFIS_SLAP_MAX];
    unsigned expected = expected_fingers(position, missing, fingers);
    slap_mask(image, &slap->grid);
    unsigned count = slap_pieces(&slap->grid, pieces);
    count = part_touching(&slap->grid, pieces, count,
                          position == AFIS_SLAP_THUMBS ? THUMB_WIDTH : FINGER_WIDTH);
    slap->count = choose(pieces, count, expected);
    sort_from_left(pieces, slap->count);
    for (unsigned i = 0; i < slap->count; i++) {
        slap->fingers[i] = box_of(&slap->grid, &pieces[i], image);
        slap->labels[i] = pieces[i].label;
        if (slap->count == expected) {
            slap->fingers[i].position = fingers[i];
        } else if (position == AFIS_SLAP_THUMBS) {
            slap->fingers[i].position = pieces[i].x * 2 < slap->grid.width ? 6 : 1;
        }
    }
}

/* One block of memory for the slap and its grid. */
static struct afis_slap *make(const struct afis_image *image, const struct afis_memory *memory)
{
    uint32_t cell = image->dpi / SLAP_CELLS_PER_INCH;
    struct slap_grid grid = {
        .width = image->width / cell, .height = image->height / cell, .cell = cell};
    size_t cells = (size_t)grid.width * grid.height;
    size_t size = sizeof(struct afis_slap) + cells * (sizeof *grid.queue + 3);
    struct afis_slap *slap = memory->alloc(memory->ctx, size);
    if (slap == NULL) {
        return NULL;
    }
    grid.queue = (uint32_t *)(slap + 1);
    grid.mask = (uint8_t *)(grid.queue + cells);
    grid.label = grid.mask + cells;
    grid.scratch = grid.label + cells;
    *slap = (struct afis_slap){.grid = grid, .size = size};
    return slap;
}

enum afis_status afis_slap_segment(const struct afis_image *image, unsigned position,
                                   uint16_t missing, const struct afis_memory *memory,
                                   struct afis_slap **out)
{
    if (position < AFIS_SLAP_RIGHT_FOUR || position > AFIS_SLAP_THUMBS) {
        return AFIS_UNSUPPORTED;
    }
    uint32_t side = image->width < image->height ? image->width : image->height;
    if (side * SLAP_CELLS_PER_INCH < SIDE_MIN * image->dpi) {
        return AFIS_TOO_SMALL;
    }
    struct afis_slap *slap = make(image, memory);
    if (slap == NULL) {
        return AFIS_NO_MEMORY;
    }
    find(slap, image, position, missing);
    if (slap->count == 0) {
        afis_slap_release(slap, memory);
        return AFIS_NOT_A_FINGER;
    }
    *out = slap;
    return AFIS_OK;
}

unsigned afis_slap_count(const struct afis_slap *slap)
{
    return slap->count;
}

const struct afis_slap_finger *afis_slap_finger(const struct afis_slap *slap, unsigned index)
{
    return &slap->fingers[index];
}

enum afis_status afis_slap_cut(const struct afis_slap *slap, unsigned index,
                               const struct afis_image *image, const struct afis_memory *memory,
                               struct afis_image *out)
{
    const struct afis_slap_finger *box = &slap->fingers[index];
    const struct slap_grid *grid = &slap->grid;
    enum afis_status status =
        afis_image_crop(image, box->left, box->top, box->right, box->bottom, memory, out);
    if (status != AFIS_OK) {
        return status;
    }
    for (uint32_t y = 0; y < out->height; y++) {
        uint32_t cy = (box->top + y) / grid->cell;
        const uint8_t *row = grid->label + (size_t)cy * grid->width;
        for (uint32_t x = 0; x < out->width && cy < grid->height; x++) {
            uint32_t cx = (box->left + x) / grid->cell;
            if (cx < grid->width && row[cx] != 0 && row[cx] != slap->labels[index]) {
                out->pixels[(size_t)y * out->width + x] = 255;
            }
        }
    }
    return AFIS_OK;
}

/* Whether a cell of the piece is within MARGIN of this one. */
static bool near_piece(const struct slap_grid *grid, uint8_t label, uint32_t cx, uint32_t cy)
{
    for (uint32_t y = cy > MARGIN ? cy - MARGIN : 0; y <= cy + MARGIN && y < grid->height; y++) {
        const uint8_t *row = grid->label + (size_t)y * grid->width;
        for (uint32_t x = cx > MARGIN ? cx - MARGIN : 0; x <= cx + MARGIN && x < grid->width; x++) {
            if (row[x] == label) {
                return true;
            }
        }
    }
    return false;
}

static void whiten_others(const struct slap_grid *grid, uint8_t label, struct afis_image *image)
{
    for (uint32_t top = 0; top < image->height; top += grid->cell) {
        for (uint32_t left = 0; left < image->width; left += grid->cell) {
            if (near_piece(grid, label, left / grid->cell, top / grid->cell)) {
                continue;
            }
            uint32_t wide = image->width - left < grid->cell ? image->width - left : grid->cell;
            for (uint32_t y = top; y < top + grid->cell && y < image->height; y++) {
                memset(image->pixels + (size_t)y * image->width + left, 255, wide);
            }
        }
    }
}

enum afis_status afis_slap_isolate(const struct afis_image *image, const struct afis_memory *memory,
                                   struct afis_image *out)
{
    struct slap_piece pieces[SLAP_PIECES_MAX];
    struct afis_slap *slap = make(image, memory);
    if (slap == NULL) {
        return AFIS_NO_MEMORY;
    }
    enum afis_status status =
        afis_image_crop(image, 0, 0, image->width, image->height, memory, out);
    if (status == AFIS_OK) {
        slap_mask(image, &slap->grid);
        if (slap_pieces(&slap->grid, pieces) > 0 && plausible(&pieces[0])) {
            whiten_others(&slap->grid, pieces[0].label, out);
        }
    }
    afis_slap_release(slap, memory);
    return status;
}

void afis_slap_release(struct afis_slap *slap, const struct afis_memory *memory)
{
    if (slap != NULL) {
        memory->release(memory->ctx, slap, slap->size);
    }
}
