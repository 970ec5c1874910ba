/* Which part of a large frame to work on. No finger covers more than WINDOW_MAX; a frame that does
 * shows its surroundings as well, a hand, or was stated with too low a resolution. What costs time
 * is pixels, so that the window bounds the time of any frame. */
#include <math.h>
#include <string.h>

#include "stages.h"

#define WINDOW_MAX 400000.0       /* pixels of the grid: 29 x 29 mm at 550 dpi */
#define WINDOW_MAX_AGAIN 240000.0 /* on a second grid: the first try took time, too */
#define PATCH 16u                 /* pixels of the frame a side */

/* The frame in patches, and a box of them. */
struct patches {
    uint32_t cols, rows;
    float *contrast;        /* of each */
    float *by_col, *by_row; /* sums over what is in the box */
    uint32_t left, right;   /* of the box; the end is not in it */
    uint32_t top, bottom;
};

static float contrast_of(const struct afis_image *image, uint32_t col, uint32_t row)
{
    uint32_t sum = 0, squares = 0;
    const uint8_t *line = image->pixels + (size_t)row * PATCH * image->width + (size_t)col * PATCH;
    for (uint32_t y = 0; y < PATCH; y++, line += image->width) {
        for (uint32_t x = 0; x < PATCH; x++) {
            sum += line[x];
            squares += (uint32_t)line[x] * line[x];
        }
    }
    float mean = (float)sum / (PATCH * PATCH);
    float variance = (float)squares / (PATCH * PATCH) - mean * mean;
    return variance > 0 ? sqrtf(variance) : 0;
}

static void survey(const struct afis_image *image, struct patches *p)
{
    for (uint32_t row = 0; row < p->rows; row++) {
        for (uint32_t col = 0; col < p->cols; col++) {
            float contrast = contrast_of(image, col, row);
            p->contrast[row * p->cols + col] = contrast;
            p->by_row[row] += contrast;
            p->by_col[col] += contrast;
        }
    }
}

static void drop_row(struct patches *p, uint32_t row)
{
    for (uint32_t col = p->left; col < p->right; col++) {
        p->by_col[col] -= p->contrast[row * p->cols + col];
    }
}

static void drop_col(struct patches *p, uint32_t col)
{
    for (uint32_t row = p->top; row < p->bottom; row++) {
        p->by_row[row] -= p->contrast[row * p->cols + col];
    }
}

/* Takes away the line at the box's edge that shows least: of the four the one with the smallest
 * mean, divided by the box's extent that it would shorten, so that the box tends to a square. Both
 * divisions are the same for rows and columns: by the box's area. Of equal ones that farther from
 * the frame's middle goes. */
static void shrink(struct patches *p)
{
    const float *col = p->by_col, *row = p->by_row;
    uint32_t last_col = p->right - 1, last_row = p->bottom - 1;
    bool at_right = col[last_col] < col[p->left] ||
                    (col[last_col] == col[p->left] && p->right > p->cols - p->left);
    bool at_bottom = row[last_row] < row[p->top] ||
                     (row[last_row] == row[p->top] && p->bottom > p->rows - p->top);
    if (col[at_right ? last_col : p->left] < row[at_bottom ? last_row : p->top]) {
        drop_col(p, at_right ? --p->right : p->left++);
    } else {
        drop_row(p, at_bottom ? --p->bottom : p->top++);
    }
}

static double window_max(int grid)
{
    return grid != GRID ? WINDOW_MAX_AGAIN : WINDOW_MAX;
}

bool afis_window_needed(const struct afis_image *image, int grid)
{
    double scale = (double)grid / image->dpi;
    return (double)image->width * image->height * scale * scale > window_max(grid);
}

enum afis_status afis_window_choose(const struct afis_image *image, int grid,
                                    const struct afis_memory *memory, struct window *window)
{
    struct patches p = {.cols = image->width / PATCH, .rows = image->height / PATCH};
    p.right = p.cols;
    p.bottom = p.rows;
    size_t size = ((size_t)p.cols * p.rows + p.cols + p.rows) * sizeof(float);
    p.contrast = memory->alloc(memory->ctx, size);
    if (p.contrast == NULL) {
        return AFIS_NO_MEMORY;
    }
    memset(p.contrast, 0, size);
    p.by_col = p.contrast + (size_t)p.cols * p.rows;
    p.by_row = p.by_col + p.cols;
    survey(image, &p);
    double scale = (double)grid * PATCH / image->dpi;
    while ((p.right - p.left) * (p.bottom - p.top) * scale * scale > window_max(grid)) {
        shrink(&p);
    }
    memory->release(memory->ctx, p.contrast, size);
    *window = (struct window){p.left * PATCH, p.top * PATCH, p.right * PATCH, p.bottom * PATCH};
    return AFIS_OK;
}
