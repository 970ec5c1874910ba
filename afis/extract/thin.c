/* Thinning by Guo & Hall 1989 (two sub-iterations, 8-connected), 64 pixels at a time: every
 * condition of the algorithm is a few operations on words of bits. */
#include <string.h>

#include "stages.h"

/* The eight neighbours of 64 pixels, named as in the paper: 2 is north, then clockwise to 9. */
struct around {
    uint64_t n, ne, e, se, s, sw, w, nw;
};

static uint64_t word_at(const uint64_t *row, int i, int words)
{
    return i >= 0 && i < words ? row[i] : 0;
}

static uint64_t shifted_east(const uint64_t *row, int i, int words)
{
    return row[i] >> 1 | word_at(row, i + 1, words) << 63;
}

static uint64_t shifted_west(const uint64_t *row, int i, int words)
{
    return row[i] << 1 | word_at(row, i - 1, words) >> 63;
}

static struct around neighbours(const uint64_t *above, const uint64_t *row, const uint64_t *below,
                                int i, int words)
{
    struct around a;
    a.n = above[i];
    a.s = below[i];
    a.ne = shifted_east(above, i, words);
    a.e = shifted_east(row, i, words);
    a.se = shifted_east(below, i, words);
    a.nw = shifted_west(above, i, words);
    a.w = shifted_west(row, i, words);
    a.sw = shifted_west(below, i, words);
    return a;
}

/* Bits where at least two of four are set. */
static uint64_t two_of(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return (a & b) | (c & d) | ((a | b) & (c | d));
}

/* Pixels whose set neighbours form one connected arc. */
static uint64_t one_arc(const struct around *a)
{
    uint64_t c1 = ~a->n & (a->ne | a->e);
    uint64_t c2 = ~a->e & (a->se | a->s);
    uint64_t c3 = ~a->s & (a->sw | a->w);
    uint64_t c4 = ~a->w & (a->nw | a->n);
    return (c1 | c2 | c3 | c4) & ~two_of(c1, c2, c3, c4);
}

static uint64_t deletable(const struct around *a, bool second)
{
    uint64_t one = one_arc(a);
    uint64_t p1 = a->nw | a->n;
    uint64_t p2 = a->ne | a->e;
    uint64_t p3 = a->se | a->s;
    uint64_t p4 = a->sw | a->w;
    uint64_t q1 = a->n | a->ne;
    uint64_t q2 = a->e | a->se;
    uint64_t q3 = a->s | a->sw;
    uint64_t q4 = a->w | a->nw;
    uint64_t thick = two_of(p1, p2, p3, p4) & two_of(q1, q2, q3, q4);
    uint64_t inner = (p1 & p2 & p3 & p4) & (q1 & q2 & q3 & q4);
    uint64_t side = second ? (a->n | a->ne | ~a->se) & a->e : (a->s | a->sw | ~a->nw) & a->w;
    return one & thick & ~inner & ~side;
}

/* One sub-iteration in place: two rows of scratch keep what the rows below still need to see. */
static bool sub_iterate(const struct work *work, uint64_t *bits, bool second)
{
    int words = work->words;
    uint64_t *above = work->bit_scratch;
    uint64_t *old = above + words;
    const uint64_t *none = old + words;
    uint64_t changed = 0;
    memset(work->bit_scratch, 0, 3 * (size_t)words * sizeof *bits);
    for (int y = 0; y < work->height; y++) {
        uint64_t *row = bits + (ptrdiff_t)y * words;
        const uint64_t *below = y + 1 < work->height ? row + words : none;
        memcpy(old, row, (size_t)words * sizeof *row);
        for (int i = 0; i < words; i++) {
            if (old[i] == 0) {
                continue;
            }
            struct around a = neighbours(above, old, below, i, words);
            uint64_t gone = old[i] & deletable(&a, second);
            row[i] = old[i] & ~gone;
            changed |= gone;
        }
        uint64_t *swap = above;
        above = old;
        old = swap;
    }
    return changed != 0;
}

uint64_t afis_line_ends(const struct work *work, const uint64_t *bits, int y, int i)
{
    int words = work->words;
    const uint64_t *none = work->bit_scratch;
    const uint64_t *row = bits + (ptrdiff_t)y * words;
    const uint64_t *above = y > 0 ? row - words : none;
    const uint64_t *below = y + 1 < work->height ? row + words : none;
    struct around a = neighbours(above, row, below, i, words);
    return row[i] & one_arc(&a);
}

void afis_thin(const struct work *work, uint64_t *bits)
{
    bool changed = true;
    while (changed) {
        changed = sub_iterate(work, bits, false);
        changed = sub_iterate(work, bits, true) || changed;
    }
    memset(work->bit_scratch, 0, 3 * (size_t)work->words * sizeof *bits); /* empty rows again */
}
