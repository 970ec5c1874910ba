/* Thinning by Guo & Hall 1989 (two sub-iterations, 8-connected), LANES * 64 pixels at a time: every
 * condition of the algorithm is a few operations on words of bits. Compiled once for each variant,
 * as pixels.c is; the compiler makes of `lanes` what the processor has. */
#include <string.h>

#include "variant.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifdef __AVX512F__
#define LANES 8
#else
#define LANES 4
#endif

typedef uint64_t lanes __attribute__((vector_size(LANES * sizeof(uint64_t))));

/* The eight neighbours of as many pixels. */
struct around {
    lanes n, ne, e, se, s, sw, w, nw;
};

static inline lanes load(const uint64_t *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline lanes east(const uint64_t *p)
{
    return load(p) >> 1 | load(p + 1) << 63;
}

static inline lanes west(const uint64_t *p)
{
    return load(p) << 1 | load(p - 1) >> 63;
}

/* Three rows as copies, each with at least one word of zero before and behind it. */
struct rows {
    uint64_t *above, *here, *below;
};

static inline struct around neighbours(const struct rows *rows, int i)
{
    return (struct around){.n = load(rows->above + i),
                           .ne = east(rows->above + i),
                           .e = east(rows->here + i),
                           .se = east(rows->below + i),
                           .s = load(rows->below + i),
                           .sw = west(rows->below + i),
                           .w = west(rows->here + i),
                           .nw = west(rows->above + i)};
}

/* Bits where at least two of four are set. */
static inline lanes two_of(lanes a, lanes b, lanes c, lanes d)
{
    return (a & b) | (c & d) | ((a | b) & (c | d));
}

/* Pixels whose set neighbours form one connected arc. */
static inline lanes one_arc(const struct around *a)
{
    lanes c1 = ~a->n & (a->ne | a->e);
    lanes c2 = ~a->e & (a->se | a->s);
    lanes c3 = ~a->s & (a->sw | a->w);
    lanes c4 = ~a->w & (a->nw | a->n);
    return (c1 | c2 | c3 | c4) & ~two_of(c1, c2, c3, c4);
}

static inline lanes deletable(const struct around *a, bool second)
{
    lanes one = one_arc(a);
    lanes p1 = a->nw | a->n;
    lanes p2 = a->ne | a->e;
    lanes p3 = a->se | a->s;
    lanes p4 = a->sw | a->w;
    lanes q1 = a->n | a->ne;
    lanes q2 = a->e | a->se;
    lanes q3 = a->s | a->sw;
    lanes q4 = a->w | a->nw;
    lanes thick = two_of(p1, p2, p3, p4) & two_of(q1, q2, q3, q4);
    lanes inner = (p1 & p2 & p3 & p4) & (q1 & q2 & q3 & q4);
    lanes side = second ? (a->n | a->ne | ~a->se) & a->e : (a->s | a->sw | ~a->nw) & a->w;
    return one & thick & ~inner & ~side;
}

static struct rows no_rows(const struct work *work)
{
    size_t stride = (size_t)work->words + (size_t)2 * LANES;
    memset(work->bit_scratch, 0, 3 * stride * sizeof *work->bit_scratch);
    uint64_t *first = work->bit_scratch + LANES;
    return (struct rows){first, first + stride, first + 2 * stride};
}

static inline void copy_row(const struct work *work, const uint64_t *bits, int y, uint64_t *to)
{
    const bool inside = y >= 0 && y < work->height;
    const uint64_t *from = bits + (inside ? (ptrdiff_t)y * work->words : 0);
    for (int i = 0; i < work->words; i += LANES) {
        lanes v = inside ? load(from + i) : (lanes){0};
        memcpy(to + i, &v, sizeof v);
    }
}

/* Makes ready for advance to row y, where the rows before it were passed over. */
static inline void skip_to(const struct work *work, const uint64_t *bits, int y, struct rows *rows)
{
    copy_row(work, bits, y - 1, rows->here);
    copy_row(work, bits, y, rows->below);
}

/* One row on; the copy of the row below comes from what is still untouched. */
static inline void advance(const struct work *work, const uint64_t *bits, int y, struct rows *rows)
{
    uint64_t *oldest = rows->above;
    rows->above = rows->here;
    rows->here = rows->below;
    rows->below = oldest;
    copy_row(work, bits, y + 1, oldest);
}

static inline bool any(lanes v)
{
#if defined __AVX512F__
    return _mm512_test_epi64_mask((__m512i)v, (__m512i)v) != 0;
#elif defined __AVX2__
    return !_mm256_testz_si256((__m256i)v, (__m256i)v);
#else
    uint64_t sum = 0;
    for (int i = 0; i < LANES; i++) {
        sum |= v[i];
    }
    return sum != 0;
#endif
}

/* One row; whether something has gone from it. */
static inline bool thin_row(const struct work *work, uint64_t *row, const struct rows *rows,
                            bool second)
{
    lanes changed = {0};
    for (int i = 0; i < work->words; i += LANES) {
        lanes here = load(rows->here + i);
        if (any(here)) {
            struct around a = neighbours(rows, i);
            lanes gone = here & deletable(&a, second);
            lanes left = here & ~gone;
            memcpy(row + i, &left, sizeof left);
            changed |= gone;
        }
    }
    return any(changed);
}

/* Sub-iteration `now` of all, in place; whether something has gone. It finds a row as the one
 * before the last left it, which was of its kind, unless something has gone from the row or from
 * its neighbours since that began: work->last_gone holds the sub-iterations in which it did. */
static inline bool sub_iterate(const struct work *work, uint64_t *bits, int now, bool second)
{
    struct rows rows = no_rows(work);
    bool changed = false;
    int ready = -1; /* the row that advance goes to */
    for (int y = 0; y < work->height; y++) {
        int32_t *last = work->last_gone + y + 1;
        if (last[-1] < now - 2 && last[0] < now - 2 && last[1] < now - 2) {
            continue;
        }
        if (y != ready) {
            skip_to(work, bits, y, &rows);
        }
        advance(work, bits, y, &rows);
        ready = y + 1;
        if (thin_row(work, bits + (ptrdiff_t)y * work->words, &rows, second)) {
            last[0] = now;
            changed = true;
        }
    }
    return changed;
}

void NAMED(thin)(const struct work *work, uint64_t *bits)
{
    for (int i = 0; i < work->height + 2; i++) {
        work->last_gone[i] = -1;
    }
    bool changed = true;
    for (int now = 0; changed; now += 2) {
        changed = sub_iterate(work, bits, now, false);
        changed = sub_iterate(work, bits, now + 1, true) || changed;
    }
}

void NAMED(line_ends)(const struct work *work, const uint64_t *bits, uint64_t *ends)
{
    struct rows rows = no_rows(work);
    copy_row(work, bits, 0, rows.below);
    for (int y = 0; y < work->height; y++) {
        advance(work, bits, y, &rows);
        for (int i = 0; i < work->words; i += LANES) {
            struct around a = neighbours(&rows, i);
            lanes end = load(rows.here + i) & one_arc(&a);
            memcpy(ends + (ptrdiff_t)y * work->words + i, &end, sizeof end);
        }
    }
}
