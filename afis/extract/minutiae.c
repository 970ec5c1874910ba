/* Minutiae are the ends of thinned ridges and of thinned valleys: where a ridge forks, the valley
 * between the branches ends, so that both types are found by one rule and neither depends on the
 * unsteady junctions of a skeleton. */
#include <math.h>
#include <string.h>

#include "stages.h"

#define TRACE 14   /* pixels walked back along the line to tell its two directions apart */
#define SHORTEST 6 /* pixels: a shorter line is dirt */
#define SPUR 10    /* pixels to a junction: a shorter branch is an artefact of thinning */
#define GAP 11.0f  /* pixels between the facing ends of a broken line */
#define TOUCH 5.0f /* pixels: a ridge's and a valley's end so close are noise */
#define SAME 8.0f  /* pixels between one minutia's places under two filters */
#define SAME_DIRECTION 0.85f /* cosine */
#define APART 12.0f          /* pixels from any other to count as one of the second filter alone */
#define SECOND_WEIGHT 0.35f  /* of the second filter's place */
#define BORDER 8.0f /* pixels to the foreground's edge, where lines end for no reason of theirs */

struct line_map {
    const uint64_t *bits;
    int words, height;
};

static const int around_x[8] = {1, 0, -1, 0, 1, -1, -1, 1};
static const int around_y[8] = {0, 1, 0, -1, 1, 1, -1, -1};

/* Three pixels of a row, from the one before x; what lies outside is not set. */
static unsigned three_at(const struct line_map *map, int x, int y)
{
    if ((unsigned)y >= (unsigned)map->height) {
        return 0;
    }
    const uint64_t *row = map->bits + (ptrdiff_t)y * map->words;
    unsigned word = (unsigned)x / 64;
    unsigned bit = (unsigned)x % 64;
    uint64_t three = bit == 0 ? row[word] << 1 : row[word] >> (bit - 1);
    if (bit == 0 && word > 0) {
        three |= row[word - 1] >> 63;
    } else if (bit == 63 && word + 1 < (unsigned)map->words) {
        three |= row[word + 1] << 2;
    }
    return (unsigned)three & 7;
}

/* Which of a pixel's neighbours are set: a bit for each, in the order of around_x and around_y. */
static unsigned neighbours_at(const struct line_map *map, int x, int y)
{
    unsigned above = three_at(map, x, y - 1);
    unsigned here = three_at(map, x, y);
    unsigned below = three_at(map, x, y + 1);
    return here >> 2 | (below & 2) | (here & 1) << 2 | (above & 2) << 2 | (below & 4) << 2 |
           (below & 1) << 5 | (above & 1) << 6 | (above & 4) << 5;
}

static bool adjacent(int ax, int ay, int bx, int by)
{
    return ax - bx >= -1 && ax - bx <= 1 && ay - by >= -1 && ay - by <= 1;
}

struct trace {
    int x[TRACE + 1], y[TRACE + 1];
    int length;    /* steps made */
    bool junction; /* stopped because the line forks */
    bool end;      /* stopped because the line ends */
};

/* One step on; false where the line ends or forks. */
static bool step(const struct line_map *map, struct trace *t)
{
    int n = t->length;
    int fx[8];
    int fy[8];
    int found = 0;
    for (unsigned left = neighbours_at(map, t->x[n], t->y[n]); left != 0; left &= left - 1) {
        int k = __builtin_ctz(left);
        int x = t->x[n] + around_x[k];
        int y = t->y[n] + around_y[k];
        if ((n > 0 && adjacent(x, y, t->x[n - 1], t->y[n - 1])) ||
            (n > 1 && x == t->x[n - 2] && y == t->y[n - 2])) {
            continue;
        }
        fx[found] = x;
        fy[found++] = y;
    }
    t->end = found == 0;
    t->junction = found > 2 || (found == 2 && !adjacent(fx[0], fy[0], fx[1], fy[1]));
    if (t->end || t->junction) {
        return false;
    }
    /* Of two touching ones the first is a 4-neighbour: corners are walked, not cut. */
    t->x[n + 1] = fx[0];
    t->y[n + 1] = fy[0];
    t->length++;
    return true;
}

static struct trace follow(const struct line_map *map, int x, int y)
{
    UNSET struct trace t;
    t.x[0] = x;
    t.y[0] = y;
    t.length = 0;
    t.junction = t.end = false;
    while (t.length < TRACE && step(map, &t)) {
    }
    return t;
}

/* All of the surroundings at BORDER pixels lie in the foreground. */
static bool well_inside(const struct work *work, float x, float y)
{
    for (int k = 0; k < 8; k++) {
        float d = k < 4 ? BORDER : BORDER * 0.7071f;
        int px = (int)(x + d * (float)around_x[k]);
        int py = (int)(y + d * (float)around_y[k]);
        if (px < 0 || py < 0 || px >= work->width || py >= work->height ||
            x + d * (float)around_x[k] < 0 || y + d * (float)around_y[k] < 0 ||
            work->mask[py / CELL * work->cols + px / CELL] == 0) {
            return false;
        }
    }
    return true;
}

static void add_candidate(struct work *work, const struct trace *t, uint8_t type)
{
    if (work->candidate_count == CANDIDATES_MAX || (t->end && t->length < SHORTEST) ||
        (t->junction && t->length < SPUR) || t->length < 3) {
        return;
    }
    struct candidate c = {
        .x = (float)t->x[0], .y = (float)t->y[0], .type = type, .trace = t->length};
    if (!well_inside(work, c.x, c.y)) {
        return;
    }
    float dx = (float)(t->x[t->length] - t->x[0]);
    float dy = (float)(t->y[t->length] - t->y[0]);
    float cos2 =
        afis_field_at(work, work->gxx, c.x, c.y) - afis_field_at(work, work->gyy, c.x, c.y);
    float sin2 = 2 * afis_field_at(work, work->gxy, c.x, c.y);
    float along = 0.5f * atan2f(sin2, cos2) + 1.5707963f;
    c.dx = cosf(along);
    c.dy = sinf(along);
    if (c.dx * dx + c.dy * dy < 0) {
        c.dx = -c.dx;
        c.dy = -c.dy;
    }
    work->candidates[work->candidate_count++] = c;
}

/* A pixel with one neighbour, or with two that touch each other. */
static bool is_end(const struct line_map *map, int x, int y)
{
    unsigned around = neighbours_at(map, x, y);
    if (__builtin_popcount(around) != 2) {
        return __builtin_popcount(around) == 1;
    }
    int a = __builtin_ctz(around);
    int b = 31 - __builtin_clz(around);
    return (around_x[a] == around_x[b] || around_y[a] == around_y[b]) &&
           adjacent(around_x[a], around_y[a], around_x[b], around_y[b]);
}

static void collect_ends(struct work *work, const uint64_t *bits, uint8_t type)
{
    struct line_map map = {bits, work->words, work->height};
    work->ops->line_ends(work, bits, work->end_bits);
    for (int y = 0; y < work->height; y++) {
        for (int i = 0; i < work->words; i++) {
            uint64_t left = work->end_bits[(ptrdiff_t)y * work->words + i];
            while (left != 0) {
                int x = i * 64 + __builtin_ctzll(left);
                left &= left - 1;
                if (is_end(&map, x, y)) {
                    struct trace t = follow(&map, x, y);
                    add_candidate(work, &t, type);
                }
            }
        }
    }
}

/* Two ends of one kind that face each other over a short distance are one broken line. */
static bool is_gap(const struct candidate *a, const struct candidate *b, float x, float y,
                   float distance)
{
    if (a->type != b->type || distance > GAP || a->dx * b->dx + a->dy * b->dy > -0.7f) {
        return false;
    }
    /* b lies ahead of a: against a's direction, which points back along the line. */
    return distance < 3 || -(a->dx * x + a->dy * y) > 0.6f * distance;
}

static void drop_false(struct work *work)
{
    for (int i = 0; i < work->candidate_count; i++) {
        struct candidate *a = &work->candidates[i];
        for (int j = i + 1; j < work->candidate_count; j++) {
            struct candidate *b = &work->candidates[j];
            float x = b->x - a->x;
            float y = b->y - a->y;
            if (y > GAP + 8) {
                break; /* ordered by rows within a type */
            }
            float distance = sqrtf(x * x + y * y);
            if (is_gap(a, b, x, y, distance) || (a->type != b->type && distance < TOUCH)) {
                a->dropped = true;
                b->dropped = true;
            }
        }
    }
    int kept = 0;
    for (int i = 0; i < work->candidate_count; i++) {
        if (!work->candidates[i].dropped) {
            work->candidates[kept++] = work->candidates[i];
        }
    }
    work->candidate_count = kept;
}

static float square_between(const struct candidate *a, const struct candidate *b)
{
    float dx = a->x - b->x;
    float dy = a->y - b->y;
    return dx * dx + dy * dy;
}

/* What the second opinion has nearest to a minutia, or NULL. */
static const struct candidate *second_opinion(const struct work *work, const struct candidate *c)
{
    const struct candidate *best = NULL;
    float nearest = SAME * SAME;
    for (int i = 0; i < work->second_count; i++) {
        const struct candidate *s = &work->second[i];
        float square = square_between(s, c);
        if (square < nearest && s->dx * c->dx + s->dy * c->dy > SAME_DIRECTION) {
            nearest = square;
            best = s;
        }
    }
    return best;
}

/* Marks the minutiae that both filters show, and averages out some of each one's noise. */
static void confirm(struct work *work)
{
    for (int i = 0; i < work->candidate_count; i++) {
        struct candidate *c = &work->candidates[i];
        const struct candidate *s = second_opinion(work, c);
        c->seen = s != NULL ? AFIS_SEEN_BOTH : AFIS_SEEN_FIRST;
        if (s != NULL) {
            c->x += (s->x - c->x) * SECOND_WEIGHT;
            c->y += (s->y - c->y) * SECOND_WEIGHT;
        }
    }
}

/* Adds what only the second filter shows, away from all that the first one does. */
static void supplement(struct work *work)
{
    int first = work->candidate_count;
    for (int i = 0; i < work->second_count && work->candidate_count < CANDIDATES_MAX; i++) {
        bool apart = true;
        for (int k = 0; k < first && apart; k++) {
            apart = square_between(&work->second[i], &work->candidates[k]) > APART * APART;
        }
        if (apart) {
            struct candidate *c = &work->candidates[work->candidate_count++];
            *c = work->second[i];
            c->seen = AFIS_SEEN_SECOND;
        }
    }
}

static void find_in(struct work *work, const int16_t *plane)
{
    work->ops->binarise(work, plane);
    work->ops->thin(work, work->ridge_bits);
    work->ops->thin(work, work->valley_bits);
    work->candidate_count = 0;
    collect_ends(work, work->ridge_bits, AFIS_MINUTIA_ENDING);
    collect_ends(work, work->valley_bits, AFIS_MINUTIA_BIFURCATION);
    drop_false(work);
}

void afis_find_minutiae(struct work *work)
{
    struct candidate *first = work->candidates;
    work->candidates = work->second;
    find_in(work, work->spare);
    work->second_count = work->candidate_count;
    work->candidates = first;
    find_in(work, work->enhanced);
    confirm(work);
    supplement(work);
}
