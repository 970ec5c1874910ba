/* Connected pieces of the foreground, and how to part those that touch. */
#include <math.h>
#include <string.h>

#include "slap/internal.h"

enum {
    AREA_MIN = 200, /* cells: 0.05 square inches */
    LEANS = 13,     /* slants tried, LEAN_STEP apart, the upright one in the middle */
    LINES_MAX = 2048
};
#define LEAN_STEP 0.1 /* cells across for each down: 31 degrees at most */

static double lean_of(int number)
{
    const int upright = LEANS / 2;
    return (number - upright) * LEAN_STEP;
}

/* The line of a slant that runs through a cell. */
static int line_of(const struct slap_grid *grid, double lean, uint32_t x, uint32_t y)
{
    double middle = grid->height / 2.0;
    int line = (int)floor(x - lean * (y - middle) + (LINES_MAX - grid->width) / 2.0);
    return line < 0 ? 0 : line >= LINES_MAX ? LINES_MAX - 1 : line;
}

/* How many cells of the piece each line of a slant meets. */
static void project(const struct slap_grid *grid, const struct slap_piece *piece, double lean,
                    uint32_t lines[LINES_MAX])
{
    memset(lines, 0, LINES_MAX * sizeof *lines);
    for (uint32_t y = piece->top; y < piece->bottom; y++) {
        const uint8_t *row = grid->label + (size_t)y * grid->width;
        for (uint32_t x = piece->left; x < piece->right; x++) {
            if (row[x] == piece->label) {
                lines[line_of(grid, lean, x, y)]++;
            }
        }
    }
}

static void measure_width(const struct slap_grid *grid, struct slap_piece *piece)
{
    uint32_t lines[LINES_MAX];
    piece->width = INFINITY;
    for (int i = 0; i < LEANS; i++) {
        double lean = lean_of(i);
        project(grid, piece, lean, lines);
        unsigned across = 0;
        for (unsigned k = 0; k < LINES_MAX; k++) {
            across += lines[k] > 0;
        }
        double width = across / sqrt(1 + lean * lean);
        if (width < piece->width) {
            piece->width = width;
            piece->lean = lean;
        }
    }
}

static void measure(const struct slap_grid *grid, struct slap_piece *piece)
{
    const uint8_t label = piece->label;
    uint64_t sum_x = 0, sum_y = 0;
    *piece = (struct slap_piece){.label = label, .left = grid->width, .top = grid->height};
    for (uint32_t y = 0; y < grid->height; y++) {
        for (uint32_t x = 0; x < grid->width; x++) {
            if (grid->label[(size_t)y * grid->width + x] != label) {
                continue;
            }
            piece->area++;
            sum_x += x;
            sum_y += y;
            piece->left = x < piece->left ? x : piece->left;
            piece->right = x + 1 > piece->right ? x + 1 : piece->right;
            piece->top = y < piece->top ? y : piece->top;
            piece->bottom = y + 1;
        }
    }
    if (piece->area > 0) {
        piece->x = (double)sum_x / piece->area;
        piece->y = (double)sum_y / piece->area;
        measure_width(grid, piece);
    }
}

/* Gives every cell connected with cell `start` the label. Returns how many they are. */
static uint32_t flood(struct slap_grid *grid, uint32_t start, uint8_t label)
{
    const uint32_t w = grid->width, cells = w * grid->height;
    uint32_t head = 0, tail = 0;
    grid->label[start] = label;
    grid->queue[tail++] = start;
    while (head < tail) {
        uint32_t i = grid->queue[head++], x = i % w;
        const uint32_t next[4] = {x > 0 ? i - 1 : i, x + 1 < w ? i + 1 : i, i >= w ? i - w : i,
                                  i + w < cells ? i + w : i};
        for (unsigned k = 0; k < 4; k++) {
            if (grid->mask[next[k]] == 1 && grid->label[next[k]] != label) {
                grid->label[next[k]] = label;
                grid->queue[tail++] = next[k];
            }
        }
    }
    return tail;
}

/* Takes the piece in the queue out of the map. */
static void forget(struct slap_grid *grid, uint32_t cells)
{
    for (uint32_t i = 0; i < cells; i++) {
        grid->mask[grid->queue[i]] = 0;
        grid->label[grid->queue[i]] = 0;
    }
}

static void insert_by_area(struct slap_piece *pieces, unsigned count, struct slap_piece piece)
{
    while (count > 0 && pieces[count - 1].area < piece.area) {
        pieces[count] = pieces[count - 1];
        count--;
    }
    pieces[count] = piece;
}

unsigned slap_pieces(struct slap_grid *grid, struct slap_piece pieces[SLAP_PIECES_MAX])
{
    const uint32_t cells = grid->width * grid->height;
    unsigned count = 0;
    memset(grid->label, 0, cells);
    for (uint32_t i = 0; i < cells && count < SLAP_PIECES_MAX; i++) {
        if (grid->mask[i] == 0 || grid->label[i] != 0) {
            continue;
        }
        struct slap_piece piece = {.label = (uint8_t)(count + 1)};
        uint32_t area = flood(grid, i, piece.label);
        if (area < AREA_MIN) {
            forget(grid, area);
            continue;
        }
        measure(grid, &piece);
        insert_by_area(pieces, count++, piece);
    }
    return count;
}

/* The line of a slant with the fewest cells that leaves enough on either side; -1 without any. */
static int thinnest(const uint32_t lines[LINES_MAX], uint32_t area, uint32_t *cells)
{
    uint32_t before = 0, least = area / 6 > AREA_MIN ? area / 6 : AREA_MIN;
    int best = -1;
    *cells = UINT32_MAX;
    for (int i = 0; i < LINES_MAX; i++) {
        if (before >= least && area - before - lines[i] >= least && lines[i] < *cells) {
            best = i;
            *cells = lines[i];
        }
        before += lines[i];
    }
    return best;
}

bool slap_split(struct slap_grid *grid, struct slap_piece *piece, uint8_t label, uint32_t longest,
                struct slap_piece *part)
{
    uint32_t lines[LINES_MAX], fewest = UINT32_MAX;
    double lean = 0;
    int cut = -1;
    for (int i = 0; i < LEANS; i++) {
        uint32_t cells;
        project(grid, piece, lean_of(i), lines);
        int line = thinnest(lines, piece->area, &cells);
        if (line >= 0 && cells < fewest) {
            cut = line;
            fewest = cells;
            lean = lean_of(i);
        }
    }
    if (cut < 0 || fewest > longest) {
        return false;
    }
    for (uint32_t y = piece->top; y < piece->bottom; y++) {
        uint8_t *row = grid->label + (size_t)y * grid->width;
        for (uint32_t x = piece->left; x < piece->right; x++) {
            if (row[x] == piece->label && line_of(grid, lean, x, y) >= cut) {
                row[x] = label;
            }
        }
    }
    measure(grid, piece);
    part->label = label;
    measure(grid, part);
    return true;
}
