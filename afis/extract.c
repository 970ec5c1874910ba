/* From an image to a template: lays out the working memory and walks through the stages, which
 * stages.h lists in order. */
#include "afis/extract.h"

#include <string.h>

#include "extract/stages.h"

#define SIDE_MIN 64        /* pixels at 500 dpi: 3 mm, less than any fingertip */
#define PIXELS_MAX 2560000 /* at 500 dpi: a hand's four fingers side by side */

static enum afis_status check_size(const struct afis_image *image)
{
    if (image->dpi < AFIS_DPI_MIN || image->dpi > AFIS_DPI_MAX) {
        return AFIS_BAD_DPI;
    }
    if (image->width > AFIS_IMAGE_MAX_SIDE || image->height > AFIS_IMAGE_MAX_SIDE) {
        return AFIS_TOO_LARGE;
    }
    int width = afis_resampled(image->width, image->dpi, DPI);
    int height = afis_resampled(image->height, image->dpi, DPI);
    if (width < SIDE_MIN || height < SIDE_MIN) {
        return AFIS_TOO_SMALL;
    }
    bool large = width > SIDE_MAX || height > SIDE_MAX || width * height > PIXELS_MAX;
    return large ? AFIS_TOO_LARGE : AFIS_OK;
}

static int16_t *take_plane(struct work *work, struct arena *arena)
{
    size_t lines = (size_t)work->rows * CELL + 2 * (size_t)PAD;
    int16_t *plane = arena_take(arena, lines * (size_t)work->stride * sizeof(int16_t));
    return plane == NULL ? NULL : plane + PAD * work->stride + PAD;
}

static void take_fields(struct work *work, struct arena *arena)
{
    float **fields[] = {&work->mean,     &work->deviation, &work->gxx,      &work->gyy,
                        &work->gxy,      &work->energy,    &work->gradient, &work->phi,
                        &work->period,   &work->coherence, &work->flow,     &work->agreement,
                        &work->strength, &work->weight,    &work->scratch,  &work->scratch2};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        *fields[i] = arena_take(arena, ((size_t)work->cells + SCRATCH_MORE) * sizeof(float));
    }
    uint8_t **maps[] = {&work->coarse, &work->mask, &work->cellscratch};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        *maps[i] = arena_take(arena, (size_t)work->cells);
    }
    work->bin = arena_take(arena, (size_t)work->cells * sizeof *work->bin);
    work->old_bin = arena_take(arena, (size_t)work->cells * sizeof *work->old_bin);
    work->cell_queue = arena_take(arena, (size_t)work->cells * sizeof *work->cell_queue);
}

/* A pitch that is odd in lines of the cache: rows one below the other do not share its sets. */
static void take_pairs(struct work *work, struct arena *arena)
{
    struct pairs *pairs = &work->pairs;
    pairs->width = work->cols * CELL + 2 * PAD;
    pairs->pitch = ((pairs->width + 15) & ~15) | 16;
    size_t bytes = (size_t)(PAIRED + 2 * RADIUS_MAX) * (size_t)pairs->pitch * sizeof(int32_t);
    pairs->below = arena_take(arena, bytes);
    pairs->above = arena_take(arena, bytes);
}

/* Cuts the arena up; called once to measure and once in earnest. */
static void lay_out(struct work *work, struct arena *arena, const struct afis_image *image,
                    void **resample_scratch)
{
    const bool as_is = image->dpi == (uint32_t)work->grid;
    work->width = afis_resampled(image->width, image->dpi, work->grid);
    work->height = afis_resampled(image->height, image->dpi, work->grid);
    work->cols = (work->width + CELL - 1) / CELL;
    work->rows = (work->height + CELL - 1) / CELL;
    work->cells = work->cols * work->rows;
    work->stride = ((work->cols * CELL + 2 * PAD) + 31) & ~31;
    int across = 64 * WORDS;
    work->words = (work->cols * CELL + across - 1) / across * WORDS;
    work->longer = work->width > work->height ? work->width : work->height;
    work->own_grey = arena_take(arena, (size_t)work->width * (size_t)work->height);
    work->grey = as_is ? image->pixels : work->own_grey;
    work->stripes = arena_take(arena, (STRIPE_BANDS + 1) * (size_t)work->longer * sizeof(int32_t));
    *resample_scratch = as_is ? NULL : arena_take(arena, afis_resample_scratch(image, work->grid));
    work->normal = take_plane(work, arena);
    work->enhanced = take_plane(work, arena);
    work->spare = take_plane(work, arena);
    take_fields(work, arena);
    take_pairs(work, arena);
    size_t bits = (size_t)work->words * (size_t)work->height * sizeof(uint64_t);
    work->ridge_bits = arena_take(arena, bits);
    work->valley_bits = arena_take(arena, bits);
    work->end_bits = arena_take(arena, bits);
    work->bit_scratch = arena_take(arena, 3 * (size_t)(work->words + 2 * WORDS) * sizeof(uint64_t));
    work->last_gone = arena_take(arena, ((size_t)work->height + 2) * sizeof *work->last_gone);
    work->candidates = arena_take(arena, CANDIDATES_MAX * sizeof *work->candidates);
    work->second = arena_take(arena, CANDIDATES_MAX * sizeof *work->second);
}

/* On the whole frame, of which the work may be a part, at 500 dpi. */
static enum afis_status draw(const struct work *work, const struct afis_memory *memory,
                             struct afis_overlay *overlay)
{
    const struct frame *frame = &work->frame;
    size_t size = (size_t)frame->width * (size_t)frame->height;
    struct afis_overlay drawn = {(uint32_t)frame->width, (uint32_t)frame->height, NULL, NULL};
    drawn.ridges = memory->alloc(memory->ctx, size);
    drawn.quality = memory->alloc(memory->ctx, size);
    if (drawn.ridges == NULL || drawn.quality == NULL) {
        afis_overlay_release(&drawn, memory);
        return AFIS_NO_MEMORY;
    }
    memset(drawn.ridges, 0, size);
    memset(drawn.quality, 0, size);
    for (int down = 0; frame->top + down < frame->height; down++) {
        for (int across = 0; frame->left + across < frame->width; across++) {
            int x = (int)(((float)across + 0.5f) * work->finer);
            int y = (int)(((float)down + 0.5f) * work->finer);
            if (x >= work->width || y >= work->height) {
                break;
            }
            size_t at =
                (size_t)(frame->top + down) * (size_t)frame->width + (size_t)(frame->left + across);
            int cell = y / CELL * work->cols + x / CELL;
            uint64_t word = work->ridge_bits[(ptrdiff_t)y * work->words + x / 64];
            drawn.ridges[at] = (uint8_t)(word >> (x % 64) & 1);
            float good = work->coherence[cell] * 100;
            drawn.quality[at] = work->mask[cell] != 0 ? (uint8_t)(1 + 0.99f * good) : 0;
        }
    }
    *overlay = drawn;
    return AFIS_OK;
}

enum afis_status afis_extract(const struct afis_image *image, const struct afis_memory *memory,
                              struct afis_template *out, struct afis_overlay *overlay)
{
    return afis_extract_with(afis_pixel_ops_best(), image, memory, out, overlay);
}

/* What a call of the extractor is given. */
struct order {
    const struct pixel_ops *ops;
    const struct afis_memory *memory;
    struct afis_template *out;
    struct afis_overlay *overlay; /* may be NULL */
};

/* From the enhanced print to what the caller asked for. */
static enum afis_status conclude(struct work *work, const struct order *order)
{
    afis_survey(work);
    if (work->print.finger) {
        afis_enhance_again(work);
        afis_find_minutiae(work);
    }
    if (order->overlay != NULL) {
        enum afis_status status = draw(work, order->memory, order->overlay);
        if (status != AFIS_OK) {
            return status;
        }
    }
    afis_grade(work, order->out);
    afis_judge(work, order->out);
    return AFIS_OK;
}

/* All of an image, which is a frame or a part of it. Ends early where another grid suits better,
 * which then is in *suited; NULL: it does not ask. */
static enum afis_status extract_image(const struct order *order, const struct afis_image *image,
                                      struct frame frame, int grid, int *suited)
{
    struct work work = {
        .ops = order->ops, .frame = frame, .grid = grid, .finer = (float)grid / DPI};
    struct arena arena = {0};
    void *scratch;
    lay_out(&work, &arena, image, &scratch);
    size_t size = arena.used;
    arena = (struct arena){.base = order->memory->alloc(order->memory->ctx, size)};
    uint8_t *block = arena.base;
    if (block == NULL) {
        return AFIS_NO_MEMORY;
    }
    lay_out(&work, &arena, image, &scratch);
    if (scratch != NULL) {
        afis_resample(image, grid, work.own_grey, scratch);
    }
    afis_remove_stripes(&work);
    afis_normalise(&work);
    afis_segment_coarse(&work);
    afis_enhance_first(&work);
    if (suited != NULL) {
        *suited = afis_grid_suited(&work);
    }
    enum afis_status status = AFIS_OK;
    if (suited == NULL || *suited == grid) {
        afis_enhance(&work);
        status = conclude(&work, order);
    }
    order->memory->release(order->memory->ctx, block, size);
    return status;
}

/* The image, or of one that is larger than any finger the part that shows most. */
static enum afis_status extract_on(const struct order *order, const struct afis_image *image,
                                   int grid, int *suited)
{
    struct frame frame = {0, 0, afis_resampled(image->width, image->dpi, DPI),
                          afis_resampled(image->height, image->dpi, DPI)};
    if (!afis_window_needed(image, grid)) {
        return extract_image(order, image, frame, grid, suited);
    }
    struct window w;
    struct afis_image part;
    enum afis_status status = afis_window_choose(image, grid, order->memory, &w);
    if (status == AFIS_OK) {
        status = afis_image_crop(image, w.left, w.top, w.right, w.bottom, order->memory, &part);
    }
    if (status != AFIS_OK) {
        return status;
    }
    frame.left = afis_resampled(w.left, image->dpi, DPI);
    frame.top = afis_resampled(w.top, image->dpi, DPI);
    status = extract_image(order, &part, frame, grid, suited);
    afis_image_release(&part, order->memory);
    return status;
}

enum afis_status afis_extract_with(const struct pixel_ops *ops, const struct afis_image *image,
                                   const struct afis_memory *memory, struct afis_template *out,
                                   struct afis_overlay *overlay)
{
    const struct order order = {ops, memory, out, overlay};
    int suited = GRID;
    enum afis_status status = check_size(image);
    if (status == AFIS_OK) {
        status = extract_on(&order, image, GRID, &suited);
    }
    if (status == AFIS_OK && suited != GRID) {
        status = extract_on(&order, image, suited, NULL);
    }
    return status;
}

void afis_overlay_release(struct afis_overlay *overlay, const struct afis_memory *memory)
{
    size_t size = (size_t)overlay->width * overlay->height;
    if (overlay->ridges != NULL) {
        memory->release(memory->ctx, overlay->ridges, size);
    }
    if (overlay->quality != NULL) {
        memory->release(memory->ctx, overlay->quality, size);
    }
    memset(overlay, 0, sizeof *overlay);
}
