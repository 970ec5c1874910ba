/* The foreground of a slap: where greys vary as ridges do, without writing and printed lines. */
#include <math.h>
#include <string.h>

#include "slap/internal.h"

enum {
    HOLE_MAX = 350, /* cells: a filing hole of 6 mm, and what the density takes around it */
    DENSITY_REACH = 3,
    DENSITY_MIN = 75,
    DEVIATION_MIN = 10,   /* grey levels: paper and glass vary less */
    DEVIATION_SHARE = 35, /* per cent of what the strongest tenth of the cells has */
    OPENING = 3           /* cells: strokes and letters up to twice this and one are no finger */
};

/* The standard deviation of one cell's greys. */
static uint8_t deviation(const struct afis_image *image, const struct slap_grid *grid, uint32_t cx,
                         uint32_t cy)
{
    uint32_t sum = 0, squares = 0;
    for (uint32_t y = 0; y < grid->cell; y++) {
        const uint8_t *row =
            image->pixels + (size_t)(cy * grid->cell + y) * image->width + (size_t)cx * grid->cell;
        for (uint32_t x = 0; x < grid->cell; x++) {
            sum += row[x];
            squares += (uint32_t)row[x] * row[x];
        }
    }
    double n = (double)grid->cell * grid->cell, mean = sum / n;
    return (uint8_t)sqrt(fmax(0, squares / n - mean * mean));
}

/* The threshold from the histogram: a share of the ninetieth percentile. */
static unsigned threshold(const uint8_t *values, size_t count)
{
    size_t histogram[256] = {0}, above = 0;
    for (size_t i = 0; i < count; i++) {
        histogram[values[i]]++;
    }
    unsigned level = 255;
    while (level > 0 && (above += histogram[level]) < count / 10) {
        level--;
    }
    unsigned share = level * DEVIATION_SHARE / 100;
    return share > DEVIATION_MIN ? share : DEVIATION_MIN;
}

/* One axis of an erosion (value 0) or dilation (value 1): a cell takes on `value` when one within
 * reach has it. Cells beyond the edge are like the cell at the edge. */
static void spread_line(const uint8_t *from, uint8_t *to, uint32_t n, size_t step, uint32_t reach,
                        uint8_t value)
{
    uint32_t since = reach + 1; /* cells since the last that has the value */
    for (uint32_t i = 0; i < n; i++) {
        since = from[i * step] == value ? 0 : since + 1;
        to[i * step] = since <= reach ? value : !value;
    }
    since = reach + 1;
    for (uint32_t i = n; i-- > 0;) {
        since = from[i * step] == value ? 0 : since + 1;
        if (since <= reach) {
            to[i * step] = value;
        }
    }
}

static void spread(struct slap_grid *grid, uint32_t reach, uint8_t value)
{
    for (uint32_t y = 0; y < grid->height; y++) {
        size_t row = (size_t)y * grid->width;
        spread_line(grid->mask + row, grid->scratch + row, grid->width, 1, reach, value);
    }
    for (uint32_t x = 0; x < grid->width; x++) {
        spread_line(grid->scratch + x, grid->mask + x, grid->height, grid->width, reach, value);
    }
}

/* Collects the background connected with cell `start` in the queue; whether it reaches the edge. */
static bool collect(struct slap_grid *grid, uint32_t start, uint32_t *count)
{
    const uint32_t w = grid->width, cells = w * grid->height;
    uint32_t head = 0, tail = 0;
    bool edge = false;
    grid->scratch[start] = 1;
    grid->queue[tail++] = start;
    while (head < tail) {
        uint32_t i = grid->queue[head++], x = i % w;
        edge = edge || i < w || i >= cells - w || x == 0 || x == w - 1;
        const uint32_t next[4] = {x > 0 ? i - 1 : i, x + 1 < w ? i + 1 : i, i >= w ? i - w : i,
                                  i + w < cells ? i + w : i};
        for (unsigned k = 0; k < 4; k++) {
            if (grid->mask[next[k]] == 0 && grid->scratch[next[k]] == 0) {
                grid->scratch[next[k]] = 1;
                grid->queue[tail++] = next[k];
            }
        }
    }
    *count = tail;
    return edge;
}

/* Small holes, also those punched for filing, belong to the finger around them. Large ones are
 * what writing encloses. */
static void fill_holes(struct slap_grid *grid)
{
    const uint32_t cells = grid->width * grid->height;
    memset(grid->scratch, 0, cells);
    for (uint32_t i = 0; i < cells; i++) {
        uint32_t count;
        if (grid->mask[i] == 0 && grid->scratch[i] == 0 && !collect(grid, i, &count) &&
            count <= HOLE_MAX) {
            for (uint32_t k = 0; k < count; k++) {
                grid->mask[grid->queue[k]] = 1;
            }
        }
    }
}

/* Keeps the cells whose surroundings vary nearly everywhere. Writing and print leave blank paper
 * between their strokes, ridges do not. */
static void thin_out(struct slap_grid *grid)
{
    const uint32_t w = grid->width, h = grid->height, reach = DENSITY_REACH;
    memcpy(grid->scratch, grid->mask, (size_t)w * h);
    for (uint32_t y = 0; y < h; y++) {
        for (uint32_t x = 0; x < w; x++) {
            uint32_t left = x > reach ? x - reach : 0, right = x + reach < w ? x + reach : w - 1;
            uint32_t top = y > reach ? y - reach : 0, bottom = y + reach < h ? y + reach : h - 1;
            uint32_t sum = 0;
            for (uint32_t v = top; v <= bottom; v++) {
                for (uint32_t u = left; u <= right; u++) {
                    sum += grid->scratch[(size_t)v * w + u];
                }
            }
            uint32_t all = (right - left + 1) * (bottom - top + 1);
            grid->mask[(size_t)y * w + x] = sum * 100 >= all * DENSITY_MIN;
        }
    }
}

void slap_mask(const struct afis_image *image, struct slap_grid *grid)
{
    size_t cells = (size_t)grid->width * grid->height;
    for (uint32_t y = 0; y < grid->height; y++) {
        for (uint32_t x = 0; x < grid->width; x++) {
            grid->mask[(size_t)y * grid->width + x] = deviation(image, grid, x, y);
        }
    }
    unsigned level = threshold(grid->mask, cells);
    for (size_t i = 0; i < cells; i++) {
        grid->mask[i] = grid->mask[i] >= level;
    }
    thin_out(grid);
    fill_holes(grid);
    spread(grid, OPENING, 0);
    spread(grid, OPENING, 1);
}
