/* The comparison proper, in three steps: minutiae with similar neighbourhoods propose pairs; pairs
 * that agree on one rigid motion support one another (in the spirit of the relaxation of Cappelli,
 * Ferrara & Maltoni, PAMI 2010, and of the spectral matching of Leordeanu & Hebert, ICCV 2005); the
 * best supported anchors are refined into alignments, and what coincides or fails to under the best
 * of them is the evidence.
 *
 * This file is compiled once for any processor and once for each wider instruction set, always
 * without contraction of floating point: all of them return the same bits. Loops over arrays are
 * written so that the compiler turns them into vector code; sums run in a fixed order. */
#include <math.h>
#include <string.h>

#include "internal.h"
#include "lanes.h"
#include "meet.h"
#include "unpack.h"

#ifndef MATCH_OPS
#define MATCH_OPS afis_match_ops_portable
#endif

#define FAR_AWAY 1e6f

/* First stage. */
#define DISTANCE_MAX 26 /* differing bits of 64 */
#define COS_20_DEGREES 0.9397f
#define EDGE_TOLERANCE2 81.0f /* squared pixels, plus this share of the squared length: */
#define EDGE_STRETCH2 0.01f
#define SUPPORT_OF_ALL 0.001f
#define SUPPORT_GROWTH 0.635f /* chance support grows with this power of the pairs possible */

/* Second stage. */
#define LEVER2 400.0f         /* directions bear on the rotation like a lever of 20 pixels */
#define STRAIN_FIRST 20000.0f /* squared pixels: how much evidence the rigid form is worth */
#define STRAIN_LAST 6000.0f
#define OVERLAP_FULL 1.5f /* coverage from which a place surely belongs to the print */
#define NEAR2 (100.0f * 100.0f)

/* --- preparation --- */

/* How long to search for the best alignment, and how much the rigid form is worth. Our extractor
 * knows a print's resolution. A record of another system may have been made from a picture that was
 * stretched on the way, and says nothing of it: a turned finger then looks sheared, and the
 * anchors' support, counted by a rigid form, ranks them less well. */
static const struct effort {
    unsigned anchors, refined;
    float strain;
    /* Gates: FEATURE_SUPPORT from which an alignment is tried, its promise from which others are
     * and the best is refined, its worth from which it is measured. No mate of our sets that would
     * reach 12 dB is lost to those of rated pairs, of 3,337 with distorted ones (docs/accuracy.md).
     */
    float support_least, promise_least, worth_least;
} effort_rated = {3, 2, 1, -4.0f, -18.3f, -12.8f},
  effort_bare = {ANCHORS_MAX, 4, 0.2f, SUPPORT_LEAST, -18.8f, -INFINITY};

static const struct effort *effort(const struct afis_finger *p, const struct afis_finger *g)
{
    return p->bare || g->bare ? &effort_bare : &effort_rated;
}

/* Sine of a binary angle within half a turn of 0, by its Taylor series: no library's rounding
 * comes in. */
static float sine_of(int16_t angle)
{
    int a = angle; /* folded to a quarter turn */
    a = a > 16384 ? 32768 - a : a < -16384 ? -32768 - a : a;
    float x = (float)a * (float)(M_PI / 32768), x2 = x * x;
    return x * (1 - x2 * (1 / 6.0f) *
                        (1 - x2 * (1 / 20.0f) * (1 - x2 * (1 / 42.0f) * (1 - x2 * (1 / 72.0f)))));
}

/* A smooth bump of 140 pixels across, of about the weight of a Gaussian of 30 pixels. */
static void bump(float centre, float first, float step, float out[COVER_SIDE])
{
    for (unsigned k = 0; k < COVER_SIDE; k++) {
        float d = (first + step * (float)k - centre) * (1 / 70.0f);
        float w = 1 - d * d;
        w = w > 0 ? w : 0;
        out[k] = w * w;
    }
}

/* The map of where the finger's minutiae lie. */
static void make_cover(const struct afis_finger *f, struct cover *cover)
{
    float x0 = FAR_AWAY, x1 = -FAR_AWAY, y0 = FAR_AWAY, y1 = -FAR_AWAY;
    memset(cover, 0, sizeof *cover);
    for (unsigned i = 0; i < f->count; i++) {
        x0 = f->px[i] < x0 ? f->px[i] : x0;
        x1 = f->px[i] > x1 ? f->px[i] : x1;
        y0 = f->py[i] < y0 ? f->py[i] : y0;
        y1 = f->py[i] > y1 ? f->py[i] : y1;
    }
    if (f->count == 0) {
        return;
    }
    float side = (x1 - x0 > y1 - y0 ? x1 - x0 : y1 - y0) + 2 * 60;
    float cell = (side > 16.0f * COVER_SIDE ? side : 16.0f * COVER_SIDE) / COVER_SIDE;
    cover->scale = 1 / cell;
    cover->x = (x0 + x1) / 2 - cell * COVER_SIDE / 2;
    cover->y = (y0 + y1) / 2 - cell * COVER_SIDE / 2;
    for (unsigned i = 0; i < f->count; i++) {
        float wx[COVER_SIDE], wy[COVER_SIDE];
        bump(f->px[i], cover->x + cell / 2, cell, wx);
        bump(f->py[i], cover->y + cell / 2, cell, wy);
        for (unsigned a = 0; a < COVER_SIDE; a++) {
            if (wy[a] > 0) {
                for (unsigned b = 0; b < COVER_SIDE; b++) {
                    cover->cells[a][b] += wy[a] * wx[b];
                }
            }
        }
    }
}

/* The first n minutiae; returns how many of them report no quality. Where n is known to the
 * compiler, it makes vectors of them. */
static inline __attribute__((always_inline)) unsigned place_first(struct afis_finger *f, unsigned n)
{
    unsigned unrated = 0;
    for (unsigned i = 0; i < n; i++) {
        bool used = i < f->count;
        f->px[i] = used ? (float)f->x[i] / AFIS_SUBPIXEL : FAR_AWAY;
        f->py[i] = used ? -(float)f->y[i] / AFIS_SUBPIXEL : FAR_AWAY;
        f->cosine[i] = sine_of((int16_t)(uint16_t)(f->angle[i] + 16384));
        f->sine[i] = sine_of((int16_t)f->angle[i]);
        /* Records that report no quality are worth those of middling quality. */
        f->trust[i] = f->quality[i] != 0 ? (float)f->quality[i] / 100 : 0.55f;
        unrated += used && f->quality[i] == 0;
    }
    return unrated;
}

static void place(struct afis_finger *f)
{
    const unsigned unrated = f->count <= 2 * VECTOR   ? place_first(f, 2 * VECTOR)
                             : f->count <= 3 * VECTOR ? place_first(f, 3 * VECTOR)
                                                      : place_first(f, FINGER_MINUTIAE);
    f->bare = f->count != 0 && 2 * unrated >= f->count;
}

static void cover(struct afis_finger *f)
{
    make_cover(f, &f->cover);
    f->covered = true;
}

static float cover_at(const struct cover *cover, float x, float y)
{
    float a = (y - cover->y) * cover->scale, b = (x - cover->x) * cover->scale;
    if (!(a >= 0 && b >= 0 && a < COVER_SIDE && b < COVER_SIDE)) {
        return 0;
    }
    return cover->cells[(int)a][(int)b];
}

/* --- first stage: proposals --- */

/* Appends row << 6 | j for each bit j of the mask; returns the new length. Writes words by the
 * `batch`, up to LIST_SLACK, and so beyond the end: how many bits are set is not to be foreseen,
 * and a wrongly predicted branch costs more than a few words in vain. */
static inline unsigned list_bits(uint32_t *list, unsigned n, unsigned row, uint64_t mask,
                                 unsigned batch)
{
    const unsigned end = n + (unsigned)__builtin_popcountll(mask);
    while (true) {
        for (unsigned k = 0; k < batch; k++) {
            list[n + k] = row << 6 | ((unsigned)__builtin_ctzll(mask | (uint64_t)1 << 63) & 63);
            mask &= mask - 1;
        }
        n += batch;
        if (__builtin_expect(n >= end, 1)) {
            return end;
        }
    }
}

/* Lists the pairs whose descriptors differ in at most DISTANCE_MAX bits, and counts them by
 * distance; returns how many. */
static unsigned list_candidates(struct afis_matcher *m, const struct afis_finger *p,
                                const struct afis_finger *g, unsigned histogram[DISTANCE_MAX + 1])
{
    unsigned n = 0;
    const uint64_t used = g->count == 64 ? UINT64_MAX : ((uint64_t)1 << g->count) - 1;
    for (unsigned i = 0; i < p->count; i++) {
        uint64_t alike = alike_mask(g, p->descriptor[i], p->angle[i], DISTANCE_MAX) & used;
        n = list_bits(m->candidate, n, i, alike, LIST_SLACK);
    }
    for (unsigned k = 0; k < n; k++) {
        const uint32_t c = m->candidate[k];
        unsigned distance =
            (unsigned)__builtin_popcountll(p->descriptor[c >> 6] ^ g->descriptor[c & 63]);
        m->candidate[k] = c | distance << 12;
        histogram[distance]++;
    }
    return n;
}

static struct lie lie_of(const struct afis_finger *f, unsigned i)
{
    return (struct lie){f->px[i], f->py[i], f->cosine[i], f->sine[i]};
}

/* The PAIRS_MAX pairs of most similar descriptors. */
static void propose(struct afis_matcher *m, const struct afis_finger *p,
                    const struct afis_finger *g)
{
    struct pairs *q = &m->pairs;
    unsigned histogram[DISTANCE_MAX + 1] = {0};
    const unsigned n = list_candidates(m, p, g, histogram);
    unsigned limit = 0, sum = 0; /* all below the limit fit, and some at it */
    while (limit <= DISTANCE_MAX && sum + histogram[limit] <= PAIRS_MAX) {
        sum += histogram[limit++];
    }
    const unsigned spare = PAIRS_MAX - sum;
    unsigned chosen = 0, last = 0;
    for (unsigned k = 0; k < n; k++) { /* in place, without branches */
        const uint32_t c = m->candidate[k];
        m->candidate[chosen] = c;
        chosen += (c >> 12 < limit) | ((c >> 12 == limit) & (last < spare));
        last += c >> 12 == limit;
    }
    q->count = 0;
    for (unsigned k = 0; k < chosen; k++) {
        const unsigned c = m->candidate[k], i = c >> 6 & 63, j = c & 63;
        add_pair(q, i, j, lie_of(p, i), lie_of(g, j), (float)(32 - (int)(c >> 12)) / 20);
    }
    pad_pairs(q);
}

/* 1/x for positive x within half a per cent, by its exponent and one Newton step: a division would
 * take half the time of the stage. */
static inline lanes reciprocal(lanes x)
{
    lanes r = (lanes)(0x7ef311c7 - (lane_ints)x);
    return r * (2 - x * r);
}

/* How well the pairs b, b + 1, ... agree with every pair a on one rigid motion; returns the sum of
 * this by the weights of a, and their own. */
static lanes compatible_columns(struct pairs *q, unsigned b)
{
    const lanes px = load(q->px + b), py = load(q->py + b), gx = load(q->gx + b),
                gy = load(q->gy + b), cb = load(q->c + b), sb = load(q->s + b);
    const lane_ints i = load_ints(q->i + b), j = load_ints(q->j + b);
    lanes sum = load(q->weight + b);
    for (unsigned a = 0; a < q->count; a++) {
        lanes ux = px - q->px[a], uy = py - q->py[a];
        lanes c = (cb + q->c[a]) * 0.5f, s = (sb + q->s[a]) * 0.5f;
        lanes ex = c * ux - s * uy - (gx - q->gx[a]), ey = s * ux + c * uy - (gy - q->gy[a]);
        lanes tolerance = EDGE_TOLERANCE2 + EDGE_STRETCH2 * (ux * ux + uy * uy);
        lanes v = 1 - (ex * ex + ey * ey) * reciprocal(tolerance);
        lanes parallel = cb * q->c[a] + sb * q->s[a];
        v = where((v > 0) & (parallel > COS_20_DEGREES) & (i != q->i[a]) & (j != q->j[a]), v);
        store(q->compatible[a] + b, v);
        sum += q->weight[a] * v;
    }
    return sum;
}

/* Two rounds of support, from the descriptors' weights; returns the best pair's and a
 * little of all others', so that no two comparisons end alike. */
static float support(struct pairs *q)
{
    float first[PAIRS_MAX];
    for (unsigned b = 0; b < q->padded; b += LANES) {
        lanes sum = compatible_columns(q, b);
        store(first + b, sum * load(q->weight + b));
    }
    for (unsigned b = 0; b < q->padded; b += LANES) {
        lanes sum = load(q->weight + b);
        for (unsigned a = 0; a < q->count; a++) {
            sum += first[a] * load(q->compatible[a] + b);
        }
        store(q->support + b, sum * load(q->weight + b));
    }
    float best = 0, all = 0;
    for (unsigned b = 0; b < q->count; b++) {
        best = q->support[b] > best ? q->support[b] : best;
        all += q->support[b];
    }
    return best + SUPPORT_OF_ALL * all;
}

/* --- second stage: alignments --- */

struct moments {
    float w, ax, ay, bx, by;
};

static struct moments centre(const struct afis_finger *p, const struct afis_finger *g, unsigned n,
                             const uint8_t *pi, const uint8_t *gj, const float *weight)
{
    struct moments m = {0};
    for (unsigned k = 0; k < n; k++) {
        m.w += weight[k];
        m.ax += weight[k] * p->px[pi[k]];
        m.ay += weight[k] * p->py[pi[k]];
        m.bx += weight[k] * g->px[gj[k]];
        m.by += weight[k] * g->py[gj[k]];
    }
    m.ax /= m.w;
    m.ay /= m.w;
    m.bx /= m.w;
    m.by /= m.w;
    return m;
}

/* The least-squares affine map of n weighted pairs with a rigid motion as its prior: skin that is
 * pressed on a sensor is strained by a few per cent. `strain` is the prior's weight in squared
 * pixels, the square of (residual / strain) expected. */
static void fit(struct alignment *t, const struct afis_finger *p, const struct afis_finger *g,
                unsigned n, const uint8_t *pi, const uint8_t *gj, const float *weight, float strain)
{
    const struct moments m = centre(p, g, n, pi, gj, weight);
    float uu = 0, uv = 0, vv = 0, xu = 0, xv = 0, yu = 0, yv = 0, c = 0, s = 0;
    for (unsigned k = 0; k < n; k++) {
        unsigned i = pi[k], j = gj[k];
        float u = p->px[i] - m.ax, v = p->py[i] - m.ay, x = g->px[j] - m.bx, y = g->py[j] - m.by;
        float w = weight[k];
        uu += w * u * u;
        uv += w * u * v;
        vv += w * v * v;
        xu += w * x * u;
        xv += w * x * v;
        yu += w * y * u;
        yv += w * y * v;
        c += w * (g->cosine[j] * p->cosine[i] + g->sine[j] * p->sine[i]);
        s += w * (g->sine[j] * p->cosine[i] - g->cosine[j] * p->sine[i]);
    }
    c = xu + yv + LEVER2 * c;
    s = yu - xv + LEVER2 * s;
    float r = sqrtf(c * c + s * s);
    r = r > 0 ? 1 / r : 0;
    t->c = c * r;
    t->s = s * r;
    uu += strain;
    vv += strain;
    xu += strain * t->c;
    xv -= strain * t->s;
    yu += strain * t->s;
    yv += strain * t->c;
    float det = 1 / (uu * vv - uv * uv);
    t->xx = (xu * vv - xv * uv) * det;
    t->xy = (xv * uu - xu * uv) * det;
    t->yx = (yu * vv - yv * uv) * det;
    t->yy = (yv * uu - yu * uv) * det;
    t->ax = m.ax;
    t->ay = m.ay;
    t->tx = m.bx - (t->xx * m.ax + t->xy * m.ay);
    t->ty = m.by - (t->yx * m.ax + t->yy * m.ay);
}

/* Lays the probe's minutiae over the gallery's; `tolerance` in squared pixels grows with the
 * distance from where the alignment is surest. */
static void lay_over(struct alignment *restrict t, const struct afis_finger *restrict p, float base,
                     float growth, float tolerance2[FINGER_MINUTIAE])
{
    const unsigned n = padded(p->count);
    for (unsigned i = 0; i < n; i++) {
        float u = p->px[i] - t->ax, v = p->py[i] - t->ay;
        t->qx[i] = t->xx * p->px[i] + t->xy * p->py[i] + t->tx;
        t->qy[i] = t->yx * p->px[i] + t->yy * p->py[i] + t->ty;
        t->qc[i] = t->c * p->cosine[i] - t->s * p->sine[i];
        t->qs[i] = t->s * p->cosine[i] + t->c * p->sine[i];
        float tolerance = base + growth * __builtin_sqrtf(u * u + v * v);
        tolerance2[i] = tolerance * tolerance;
    }
}

#define OPTION(gain, i, j)                                                                         \
    ((uint32_t)((gain)*1024.0f + (float)(1 << 18)) << 12 | (uint32_t)(i) << 6 | (uint32_t)(j))
#define OPTION_GAIN(o) (((float)((o) >> 12) - (float)(1 << 18)) / 1024.0f)
#define OPTION_I(o) ((o) >> 6 & 63)
#define OPTION_J(o) ((o)&63)

/* Lists all pairs within tolerance. An option is a sortable word: gain, then indices. */
static unsigned list_options(struct afis_matcher *m, const struct alignment *t,
                             const struct afis_finger *p, const struct afis_finger *g,
                             const float tolerance2[FINGER_MINUTIAE], float cos_turn)
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->count && n < OPTIONS_MAX - FINGER_MINUTIAE; i++) {
        uint64_t near =
            near_mask(g, t->qx[i], t->qy[i], t->qc[i], t->qs[i], tolerance2[i], cos_turn);
        n = list_bits(m->option, n, i, near, LIST_SLACK / 2);
    }
    for (unsigned k = 0; k < n; k++) {
        const unsigned i = OPTION_I(m->option[k]), j = OPTION_J(m->option[k]);
        float dx = g->px[j] - t->qx[i], dy = g->py[j] - t->qy[i];
        float parallel = g->cosine[j] * t->qc[i] + g->sine[j] * t->qs[i];
        float h = (float)__builtin_popcountll(p->descriptor[i] ^ g->descriptor[j]);
        float gain = 9 - 2 * (dx * dx + dy * dy) / tolerance2[i] - 33 * (1 - parallel) - 0.22f * h;
        m->option[k] = OPTION(gain, i, j);
    }
    return n;
}

/* One-to-one assignment in the order of gain: whatever is best for both its minutiae is taken,
 * until nothing is left. */
static void assign(struct afis_matcher *m, struct alignment *t, unsigned n)
{
    t->matched = 0;
    t->gain = 0;
    while (n > 0) {
        uint32_t best_p[FINGER_MINUTIAE] = {0}, best_g[FINGER_MINUTIAE] = {0};
        for (unsigned k = 0; k < n; k++) {
            uint32_t o = m->option[k];
            best_p[OPTION_I(o)] = o > best_p[OPTION_I(o)] ? o : best_p[OPTION_I(o)];
            best_g[OPTION_J(o)] = o > best_g[OPTION_J(o)] ? o : best_g[OPTION_J(o)];
        }
        uint64_t used_p = 0, used_g = 0;
        for (unsigned k = 0; k < n; k++) {
            uint32_t o = m->option[k];
            if (o == best_p[OPTION_I(o)] && o == best_g[OPTION_J(o)]) {
                used_p |= (uint64_t)1 << OPTION_I(o);
                used_g |= (uint64_t)1 << OPTION_J(o);
                t->i[t->matched] = (uint8_t)OPTION_I(o);
                t->j[t->matched++] = (uint8_t)OPTION_J(o);
                t->gain += OPTION_GAIN(o);
            }
        }
        unsigned left = 0;
        for (unsigned k = 0; k < n; k++) {
            uint32_t o = m->option[k];
            if (!((used_p >> OPTION_I(o) | used_g >> OPTION_J(o)) & 1)) {
                m->option[left++] = o;
            }
        }
        n = left;
    }
}

static void coincide(struct afis_matcher *m, struct alignment *t, const struct afis_finger *p,
                     const struct afis_finger *g, float base, float growth, float cos_turn)
{
    float tolerance2[FINGER_MINUTIAE] = {0};
    lay_over(t, p, base, growth, tolerance2);
    assign(m, t, list_options(m, t, p, g, tolerance2, cos_turn));
}

/* An alignment from an anchor and the pairs compatible with it. */
static void start(struct afis_matcher *m, struct alignment *t, const struct afis_finger *p,
                  const struct afis_finger *g, unsigned anchor)
{
    const struct pairs *q = &m->pairs;
    uint8_t i[PAIRS_MAX], j[PAIRS_MAX];
    float weight[PAIRS_MAX];
    unsigned n = 0;
    for (unsigned b = 0; b < q->count; b++) {
        float c = b == anchor ? 1 : q->compatible[anchor][b];
        if (c > 0) {
            i[n] = (uint8_t)q->i[b];
            j[n] = (uint8_t)q->j[b];
            weight[n++] = c * q->weight[b];
        }
    }
    fit(t, p, g, n, i, j, weight, STRAIN_FIRST * effort(p, g)->strain);
    t->refined = false;
    coincide(m, t, p, g, 9, 0.07f, 0.883f); /* 28 degrees */
}

static float clamp01(float v)
{
    return v > 1 ? 1 : v > 0 ? v : 0;
}

/* The probe's coordinates of a gallery point, by the rotation alone. */
static void back(const struct alignment *t, float x, float y, float *u, float *v)
{
    x -= t->tx;
    y -= t->ty;
    *u = t->c * x + t->s * y;
    *v = t->c * y - t->s * x;
}

/* The share of trustworthy minutiae in the overlap that matched; keeps the coverages. */
static float fraction(const struct afis_matcher *m, struct alignment *t,
                      const struct afis_finger *p, const struct afis_finger *g)
{
    float all_p = 0, all_g = 0, matched = 0;
    for (unsigned i = 0; i < p->count; i++) {
        t->coverage_p[i] = cover_at(m->cover_g, t->qx[i], t->qy[i]);
        all_p += p->trust[i] * clamp01(t->coverage_p[i] / OVERLAP_FULL);
    }
    for (unsigned j = 0; j < g->count; j++) {
        float x, y;
        back(t, g->px[j], g->py[j], &x, &y);
        t->coverage_g[j] = cover_at(m->cover_p, x, y);
        all_g += g->trust[j] * clamp01(t->coverage_g[j] / OVERLAP_FULL);
    }
    for (unsigned k = 0; k < t->matched; k++) {
        matched += (p->trust[t->i[k]] + g->trust[t->j[k]]) / 2;
    }
    float all = sqrtf(all_p * all_g);
    return matched / (all > 1 ? all : 1);
}

static void refine(struct afis_matcher *m, struct alignment *t, const struct afis_finger *p,
                   const struct afis_finger *g)
{
    float weight[FINGER_MINUTIAE];
    for (unsigned k = 0; k < FINGER_MINUTIAE; k++) {
        weight[k] = 1;
    }
    for (unsigned round = 0; round < 2 && t->matched > 1; round++) {
        fit(t, p, g, t->matched, t->i, t->j, weight, STRAIN_LAST * effort(p, g)->strain);
        coincide(m, t, p, g, round == 0 ? 9 : 8, 0.04f, 0.906f); /* 25 degrees */
    }
    t->refined = true;
    t->fraction = fraction(m, t, p, g);
    t->worth = (t->gain > 0 ? t->gain : 0) * t->fraction;
}

/* --- evidence --- */

/* Adds one minutia without partner, at a place of the other print with this coverage. */
static void add_alone(float coverage, float trust, float f[FEATURE_COUNT])
{
    float in = clamp01(coverage), deep = clamp01((coverage - 1) / 2);
    float sure = trust > 0.5f ? trust - 0.5f : 0;
    f[FEATURE_ALONE] += in;
    f[FEATURE_ALONE_TRUST] += in * trust;
    f[FEATURE_ALONE_SURE] += in * sure;
    f[FEATURE_DEEP] += deep;
    f[FEATURE_DEEP_TRUST] += deep * trust;
    f[FEATURE_DEEP_SURE] += deep * sure;
}

static void add_matched(const struct afis_finger *p, const struct afis_finger *g,
                        const struct alignment *t, unsigned i, unsigned j, float f[FEATURE_COUNT])
{
    float dx = g->px[j] - t->qx[i], dy = g->py[j] - t->qy[i];
    float d = sqrtf(dx * dx + dy * dy);
    /* The chord of the turn; within 25 degrees it is as good as the arc. */
    float tx = g->cosine[j] - t->qc[i], ty = g->sine[j] - t->qs[i];
    float turn = sqrtf(tx * tx + ty * ty) * (float)(180 / M_PI);
    float h = (float)__builtin_popcountll(p->descriptor[i] ^ g->descriptor[j]);
    float a = p->trust[i], b = g->trust[j];
    f[FEATURE_FAR] += d > 4 ? d - 4 : 0;
    f[FEATURE_TURN] += turn < 8 ? turn : 8;
    f[FEATURE_TURN_FAR] += turn > 8 ? turn - 8 : 0;
    f[FEATURE_ALIKE] += h < 14 ? 14 - h : 0;
    f[FEATURE_UNLIKE] += h > 20 ? h - 20 : 0;
    f[FEATURE_TRUST] += (a + b) / 2;
    f[FEATURE_TRUST_LEAST] += a < b ? a : b;
    f[FEATURE_SAME_TYPE] += p->type[i] == g->type[j] ? 1 : 0;
}

/* Edges between matched minutiae: all of them, and each minutia's share among its neighbours. */
static void add_edges(const struct afis_finger *g, const struct alignment *t,
                      float f[FEATURE_COUNT])
{
    float qx[FINGER_MINUTIAE], qy[FINGER_MINUTIAE], gx[FINGER_MINUTIAE], gy[FINGER_MINUTIAE];
    float agree[FINGER_MINUTIAE] = {0}, near[FINGER_MINUTIAE] = {0}, all[FINGER_MINUTIAE] = {0};
    const unsigned n = padded(t->matched);
    for (unsigned k = 0; k < n; k++) {
        bool used = k < t->matched;
        qx[k] = used ? t->qx[t->i[k]] : FAR_AWAY;
        qy[k] = used ? t->qy[t->i[k]] : FAR_AWAY;
        gx[k] = used ? g->px[t->j[k]] : -FAR_AWAY;
        gy[k] = used ? g->py[t->j[k]] : -FAR_AWAY;
    }
    for (unsigned k = 0; k < t->matched; k++) {
        const float x = qx[k], y = qy[k], x2 = gx[k], y2 = gy[k];
        for (unsigned l = 0; l < n; l++) { /* an edge to itself counts: taken off below */
            float ux = qx[l] - x, uy = qy[l] - y;
            float ex = ux - (gx[l] - x2), ey = uy - (gy[l] - y2), l2 = ux * ux + uy * uy;
            float v = 1 - (ex * ex + ey * ey) / (49 + 0.005f * l2);
            v = v > 0 ? v : 0;
            all[l] += v;
            agree[l] += l2 < NEAR2 ? v : 0;
            near[l] += l2 < NEAR2 ? 1.0f : 0.0f;
        }
    }
    float edges = 0, share = 0;
    for (unsigned k = 0; k < t->matched; k++) {
        edges += (all[k] - 1) / 2;
        share += (agree[k] - 1) / near[k];
    }
    f[FEATURE_EDGES] = log1pf(edges > 0 ? edges : 0);
    f[FEATURE_NEIGHBOURS] = share;
    /* The probe's places are to stay in the caller's memory. */
    explicit_bzero(qx, sizeof qx);
    explicit_bzero(qy, sizeof qy);
    explicit_bzero(gx, sizeof gx);
    explicit_bzero(gy, sizeof gy);
}

static void measure(const struct alignment *t, const struct afis_finger *p,
                    const struct afis_finger *g, float f[FEATURE_COUNT])
{
    uint64_t used_p = 0, used_g = 0;
    for (unsigned k = 0; k < t->matched; k++) {
        used_p |= (uint64_t)1 << t->i[k];
        used_g |= (uint64_t)1 << t->j[k];
        add_matched(p, g, t, t->i[k], t->j[k], f);
    }
    for (unsigned i = 0; i < p->count; i++) {
        if (!(used_p >> i & 1)) {
            add_alone(t->coverage_p[i], p->trust[i], f);
        }
    }
    for (unsigned j = 0; j < g->count; j++) {
        if (!(used_g >> j & 1)) {
            add_alone(t->coverage_g[j], g->trust[j], f);
        }
    }
    add_edges(g, t, f);
    f[FEATURE_MATCHED] = (float)t->matched;
    f[FEATURE_FRACTION] = t->fraction;
}

/* The best supported pair not yet tried, which it then marks with all that would lead to the same
 * alignment; PAIRS_MAX when none is left. */
static unsigned next_anchor(const struct pairs *q, uint64_t *tried)
{
    const unsigned count =
        q->count < PAIRS_MAX ? q->count : PAIRS_MAX; /* so that a compiler sees it */
    unsigned anchor = PAIRS_MAX;
    for (unsigned a = 0; a < count; a++) {
        if (!(*tried >> a & 1) && (anchor == PAIRS_MAX || q->support[a] > q->support[anchor])) {
            anchor = a;
        }
    }
    if (anchor != PAIRS_MAX) {
        *tried |= (uint64_t)1 << anchor;
        for (unsigned b = 0; b < count; b++) {
            *tried |= (uint64_t)(q->compatible[anchor][b] > 0.5f) << b;
        }
    }
    return anchor;
}

/* Whether the alignment from the best anchor promises more than chance would give fingers of as
 * many minutiae: a logistic model of support and gain. */
static bool promising(const struct afis_matcher *m, float pairs_log, float least)
{
    return 0.568f * m->features[FEATURE_SUPPORT] + 0.205f * m->trial[0].gain -
               (3.092f - 0.568f * SUPPORT_GROWTH) * pairs_log >=
           least;
}

/* The same of the first refined alignment, by its gain and worth. */
static bool worthwhile(const struct alignment *t, float pairs_log, float least)
{
    return 0.298f * t->worth + 0.0677f * t->gain - 2.327f * pairs_log >= least;
}

/* Fingers that are compared often bring their own. */
static const struct cover *cover_of(const struct afis_finger *f, struct cover *space)
{
    if (!f->covered) {
        make_cover(f, space);
    }
    return f->covered ? &f->cover : space;
}

/* Leaves the best alignment in m->best; false when the first already promises too little. */
static bool align(struct afis_matcher *m, const struct afis_finger *p, const struct afis_finger *g,
                  float pairs_log, const struct effort *most)
{
    uint64_t tried = 0;
    unsigned n = 0;
    start(m, &m->trial[n++], p, g, next_anchor(&m->pairs, &tried));
    if (!promising(m, pairs_log, most->promise_least)) {
        return false;
    }
    for (unsigned a; n < most->anchors && (a = next_anchor(&m->pairs, &tried)) != PAIRS_MAX; n++) {
        start(m, &m->trial[n], p, g, a);
    }
    m->cover_p = cover_of(p, &m->made_p);
    m->cover_g = cover_of(g, &m->made_g);
    m->best = &m->trial[0];
    for (unsigned k = 0; k < most->refined && k < n; k++) {
        struct alignment *t = NULL; /* the most promising not yet refined */
        for (unsigned b = 0; b < n; b++) {
            if (!m->trial[b].refined && (t == NULL || m->trial[b].gain > t->gain)) {
                t = &m->trial[b];
            }
        }
        refine(m, t, p, g);
        if (k == 0 && !worthwhile(t, pairs_log, most->worth_least)) {
            return false;
        }
        if (k == 0 || t->worth > m->best->worth) {
            m->best = t;
        }
    }
    return true;
}

/* The log of how well the proposed pairs support one another, beyond what so many minutiae would by
 * chance. */
static float supported(struct afis_matcher *m, const struct afis_finger *p,
                       const struct afis_finger *g, float pairs_log)
{
    propose(m, p, g);
    if (m->pairs.count == 0) {
        return -2 * SUPPORT_GROWTH * logf(FINGER_MINUTIAE);
    }
    return log1pf(support(&m->pairs)) - SUPPORT_GROWTH * pairs_log;
}

/* Natural logarithm of x >= 1, straight between the powers of two: good to 0.06, and quick. */
static float rough_log(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (float)(bits - 0x3f800000) * (float)(M_LN2 / (1 << 23));
}

static float glance(struct afis_matcher *m, const struct afis_sieve *sieve, const uint64_t *words,
                    const uint8_t *places)
{
    pair_near(&m->pairs, sieve, words, places);
    return rough_log(1 + support(&m->pairs));
}

static bool compare(struct afis_matcher *m, const struct afis_finger *p,
                    const struct afis_finger *g)
{
    const float pairs_log = logf((float)(p->count * g->count));
    memset(m->features, 0, sizeof m->features);
    m->features[FEATURE_SUPPORT] = supported(m, p, g, pairs_log);
    const struct effort *most = effort(p, g);
    if (m->features[FEATURE_SUPPORT] < most->support_least || m->pairs.count == 0 ||
        !align(m, p, g, pairs_log, most)) {
        return false;
    }
    measure(m->best, p, g, m->features);
    return true;
}

const struct match_ops MATCH_OPS = {unpack, place, cover, glance, compare};
