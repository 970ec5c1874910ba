/* The comparison proper: propose alignments from similar neighbourhoods, decide by how well all
 * minutiae agree under the best of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define DEGREES (65536.0f / 360.0f)

enum { DISTANCE_MAX = 25, TURN_MAX = 16384 };

struct rigid {
    float c, s, tx, ty; /* probe to gallery */
    float ax, ay;       /* probe point where it is surest */
    uint16_t turn;
};

static int turn_between(uint16_t a, uint16_t b)
{
    return abs((int16_t)(uint16_t)(a - b));
}

/* --- coverage --- */

void afis_finger_derive(struct afis_finger *f)
{
    float x0 = 1e9f, x1 = -1e9f, y0 = 1e9f, y1 = -1e9f;
    for (unsigned i = 0; i < f->count; i++) {
        f->px[i] = (float)f->x[i] / AFIS_SUBPIXEL;
        f->py[i] = -(float)f->y[i] / AFIS_SUBPIXEL;
        x0 = fminf(x0, f->px[i]);
        x1 = fmaxf(x1, f->px[i]);
        y0 = fminf(y0, f->py[i]);
        y1 = fmaxf(y1, f->py[i]);
    }
    if (f->count == 0) {
        return;
    }
    const float margin = 60;
    float cell = fmaxf(fmaxf(x1 - x0, y1 - y0) + 2 * margin, 16.0f * COVER_SIDE) / COVER_SIDE;
    f->cover_scale = 1 / cell;
    f->cover_x = (x0 + x1) / 2 - cell * COVER_SIDE / 2;
    f->cover_y = (y0 + y1) / 2 - cell * COVER_SIDE / 2;
    const float sigma = 30;
    for (unsigned i = 0; i < f->count; i++) {
        float wx[COVER_SIDE], wy[COVER_SIDE];
        for (unsigned k = 0; k < COVER_SIDE; k++) {
            float dx = (f->cover_x + ((float)k + 0.5f) * cell - f->px[i]) / sigma;
            float dy = (f->cover_y + ((float)k + 0.5f) * cell - f->py[i]) / sigma;
            wx[k] = expf(-0.5f * dx * dx);
            wy[k] = expf(-0.5f * dy * dy);
        }
        for (unsigned a = 0; a < COVER_SIDE; a++) {
            if (wy[a] > 1e-3f) {
                for (unsigned b = 0; b < COVER_SIDE; b++) {
                    f->cover[a][b] += wy[a] * wx[b];
                }
            }
        }
    }
}

static float cover_at(const struct afis_finger *f, float x, float y)
{
    int a = (int)floorf((y - f->cover_y) * f->cover_scale);
    int b = (int)floorf((x - f->cover_x) * f->cover_scale);
    if (a < 0 || b < 0 || a >= (int)COVER_SIDE || b >= (int)COVER_SIDE) {
        return 0;
    }
    return f->cover[a][b];
}

/* --- proposals --- */

static void propose(struct afis_matcher *m, const struct afis_finger *p,
                    const struct afis_finger *g)
{
    unsigned histogram[DISTANCE_MAX + 1] = {0}, n = 0;
    for (unsigned i = 0; i < p->count; i++) {
        for (unsigned j = 0; j < g->count; j++) {
            unsigned h = (unsigned)__builtin_popcountll(p->descriptor[i] ^ g->descriptor[j]);
            if (h <= DISTANCE_MAX && turn_between(p->angle[i], g->angle[j]) <= TURN_MAX) {
                m->ci[n] = (uint8_t)i;
                m->cj[n] = (uint8_t)j;
                m->ch[n] = (uint8_t)h;
                histogram[h]++;
                n++;
            }
        }
    }
    unsigned limit = 0, sum = 0;
    while (limit <= DISTANCE_MAX && sum + histogram[limit] <= PAIRS_MAX) {
        sum += histogram[limit++];
    }
    unsigned spare = PAIRS_MAX - sum;
    m->pairs = 0;
    for (unsigned k = 0; k < n; k++) {
        if (m->ch[k] < limit || (m->ch[k] == limit && spare > 0)) {
            spare -= m->ch[k] == limit;
            unsigned a = m->pairs++;
            m->pi[a] = m->ci[k];
            m->pj[a] = m->cj[k];
            m->distance[a] = m->ch[k];
            m->weight[a] = (float)(32 - m->ch[k]) / 20.0f;
        }
    }
}

static float compatibility(const struct afis_matcher *m, const struct afis_finger *p,
                           const struct afis_finger *g, unsigned a, unsigned b)
{
    unsigned i = m->pi[a], j = m->pj[a], k = m->pi[b], l = m->pj[b];
    if (i == k || j == l) {
        return 0;
    }
    int16_t ta = (int16_t)(uint16_t)(g->angle[j] - p->angle[i]);
    int16_t tb = (int16_t)(uint16_t)(g->angle[l] - p->angle[k]);
    int dt = (int16_t)(uint16_t)(ta - tb);
    if (abs(dt) > (int)(20 * DEGREES)) {
        return 0;
    }
    float t = ((float)tb + (float)dt / 2) / 65536.0f * 2 * (float)M_PI;
    float c = cosf(t), s = sinf(t);
    float ux = p->px[k] - p->px[i], uy = p->py[k] - p->py[i];
    float ex = c * ux - s * uy - (g->px[l] - g->px[j]);
    float ey = s * ux + c * uy - (g->py[l] - g->py[j]);
    float tol = 9 * 9 + 0.01f * (ux * ux + uy * uy);
    float e = ex * ex + ey * ey;
    return e < tol ? 1 - e / tol : 0;
}

static void support(struct afis_matcher *m, const struct afis_finger *p,
                    const struct afis_finger *g)
{
    for (unsigned a = 0; a < m->pairs; a++) {
        m->compatible[a][a] = 0;
        for (unsigned b = 0; b < a; b++) {
            m->compatible[a][b] = m->compatible[b][a] = compatibility(m, p, g, a, b);
        }
    }
    float v[PAIRS_MAX];
    memcpy(v, m->weight, sizeof v);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned a = 0; a < m->pairs; a++) {
            float sum = m->weight[a];
            for (unsigned b = 0; b < m->pairs; b++) {
                sum += m->compatible[a][b] * v[b];
            }
            m->support[a] = sum * m->weight[a];
        }
        memcpy(v, m->support, sizeof v);
    }
}

/* --- one alignment --- */

static struct rigid fit(const struct afis_finger *p, const struct afis_finger *g, unsigned n,
                        const uint8_t *pi, const uint8_t *gj, const float *weight)
{
    float w = 0, ax = 0, ay = 0, bx = 0, by = 0;
    for (unsigned k = 0; k < n; k++) {
        w += weight[k];
        ax += weight[k] * p->px[pi[k]];
        ay += weight[k] * p->py[pi[k]];
        bx += weight[k] * g->px[gj[k]];
        by += weight[k] * g->py[gj[k]];
    }
    ax /= w, ay /= w, bx /= w, by /= w;
    float c = 0, s = 0;
    for (unsigned k = 0; k < n; k++) {
        float ux = p->px[pi[k]] - ax, uy = p->py[pi[k]] - ay;
        float vx = g->px[gj[k]] - bx, vy = g->py[gj[k]] - by;
        c += weight[k] * (ux * vx + uy * vy);
        s += weight[k] * (ux * vy - uy * vx);
        /* directions know the rotation too: like a lever of 20 pixels */
        float t = (float)(int16_t)(uint16_t)(g->angle[gj[k]] - p->angle[pi[k]]) / 65536.0f * 2 *
                  (float)M_PI;
        c += weight[k] * 400 * cosf(t);
        s += weight[k] * 400 * sinf(t);
    }
    float r = sqrtf(c * c + s * s);
    c /= r, s /= r;
    return (struct rigid){c,
                          s,
                          bx - (c * ax - s * ay),
                          by - (s * ax + c * ay),
                          ax,
                          ay,
                          (uint16_t)(int)lrintf(atan2f(s, c) / (2 * (float)M_PI) * 65536)};
}

static int by_gain(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x < *y) - (*x > *y);
}

static void assign(struct afis_matcher *m, const struct afis_finger *p, const struct afis_finger *g,
                   const struct rigid *r, float tol0, float tol1, float turn_tol)
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->count; i++) {
        float x = r->c * p->px[i] - r->s * p->py[i] + r->tx;
        float y = r->s * p->px[i] + r->c * p->py[i] + r->ty;
        uint16_t a = (uint16_t)(p->angle[i] + r->turn);
        m->qx[i] = x;
        m->qy[i] = y;
        m->qa[i] = a;
        float ux = p->px[i] - r->ax, uy = p->py[i] - r->ay;
        float tol = tol0 + tol1 * sqrtf(ux * ux + uy * uy);
        for (unsigned j = 0; j < g->count; j++) {
            float dx = g->px[j] - x, dy = g->py[j] - y, d2 = dx * dx + dy * dy;
            if (d2 > tol * tol) {
                continue;
            }
            float dt = (float)turn_between(a, g->angle[j]) / DEGREES;
            if (dt > turn_tol) {
                continue;
            }
            float h = (float)__builtin_popcountll(p->descriptor[i] ^ g->descriptor[j]);
            float gain = 3.5f - 2 * d2 / (tol * tol) - dt * dt / (2 * 10 * 10) + 0.22f * (25 - h);
            if (n < 1024) {
                m->option[n].gain = gain;
                m->option[n].i = (uint8_t)i;
                m->option[n].j = (uint8_t)j;
                n++;
            }
        }
    }
    qsort(m->option, n, sizeof m->option[0], by_gain);
    uint64_t used_p = 0, used_g = 0;
    m->matched = 0;
    for (unsigned k = 0; k < n; k++) {
        unsigned i = m->option[k].i, j = m->option[k].j;
        if ((used_p >> i & 1) || (used_g >> j & 1)) {
            continue;
        }
        used_p |= 1ull << i;
        used_g |= 1ull << j;
        m->mi[m->matched] = (uint8_t)i;
        m->mj[m->matched] = (uint8_t)j;
        m->gain[m->matched++] = m->option[k].gain;
    }
}

static float reliability(unsigned quality)
{
    return quality == 0 ? 0.7f : 0.3f + 0.007f * (float)quality;
}

static void measure(struct afis_matcher *m, const struct afis_finger *p,
                    const struct afis_finger *g, const struct rigid *r, float f[FEATURE_COUNT])
{
    float llr = 0, wm_p = 0, wm_g = 0, w_p = 0, w_g = 0;
    for (unsigned k = 0; k < m->matched; k++) {
        llr += m->gain[k];
        wm_p += reliability(p->quality[m->mi[k]]);
        wm_g += reliability(g->quality[m->mj[k]]);
    }
    for (unsigned i = 0; i < p->count; i++) {
        w_p += reliability(p->quality[i]) * fminf(cover_at(g, m->qx[i], m->qy[i]) / 1.5f, 1);
    }
    for (unsigned j = 0; j < g->count; j++) {
        float x = g->px[j] - r->tx, y = g->py[j] - r->ty;
        w_g += reliability(g->quality[j]) *
               fminf(cover_at(p, r->c * x + r->s * y, r->c * y - r->s * x) / 1.5f, 1);
    }
    float edges = 0;
    for (unsigned k = 0; k < m->matched; k++) {
        for (unsigned l = 0; l < k; l++) {
            unsigned i = m->mi[k], j = m->mj[k], i2 = m->mi[l], j2 = m->mj[l];
            float ux = m->qx[i2] - m->qx[i], uy = m->qy[i2] - m->qy[i];
            float ex = ux - (g->px[j2] - g->px[j]), ey = uy - (g->py[j2] - g->py[j]);
            float e = ex * ex + ey * ey, tol = 7 * 7 + 0.005f * (ux * ux + uy * uy);
            edges += e < tol ? 1 - e / tol : 0;
        }
    }
    f[FEATURE_MATCHED] = (float)m->matched;
    f[FEATURE_LLR] = llr;
    f[FEATURE_PROBE_OVERLAP] = w_p;
    f[FEATURE_GALLERY_OVERLAP] = w_g;
    f[FEATURE_FRACTION] = sqrtf((wm_p * wm_g) / (fmaxf(w_p, 1) * fmaxf(w_g, 1)));
    f[FEATURE_EDGES] = edges;
}

static void align(struct afis_matcher *m, const struct afis_finger *p, const struct afis_finger *g,
                  unsigned anchor, float f[FEATURE_COUNT])
{
    uint8_t pi[PAIRS_MAX], gj[PAIRS_MAX];
    float w[PAIRS_MAX];
    unsigned n = 0;
    for (unsigned b = 0; b < m->pairs; b++) {
        float c = b == anchor ? 1 : m->compatible[anchor][b];
        if (c > 0) {
            pi[n] = m->pi[b];
            gj[n] = m->pj[b];
            w[n++] = c * m->weight[b];
        }
    }
    struct rigid r = fit(p, g, n, pi, gj, w);
    assign(m, p, g, &r, 9, 0.07f, 28);
    for (unsigned round = 0; round < 2 && m->matched > 1; round++) {
        for (unsigned k = 0; k < m->matched; k++) {
            w[k] = 1;
        }
        r = fit(p, g, m->matched, m->mi, m->mj, w);
        assign(m, p, g, &r, round == 0 ? 9 : 8, 0.04f, 25);
    }
    measure(m, p, g, &r, f);
}

void afis_features(struct afis_matcher *m, const struct afis_finger *p, const struct afis_finger *g)
{
    memset(m->features, 0, sizeof m->features);
    propose(m, p, g);
    if (m->pairs == 0) {
        return;
    }
    support(m, p, g);
    float best = 0;
    for (unsigned a = 0; a < m->pairs; a++) {
        best = fmaxf(best, m->support[a]);
    }
    uint64_t tried = 0;
    for (unsigned k = 0; k < ANCHORS_MAX; k++) {
        unsigned anchor = PAIRS_MAX;
        for (unsigned a = 0; a < m->pairs; a++) {
            if (!(tried >> a & 1) && (anchor == PAIRS_MAX || m->support[a] > m->support[anchor])) {
                anchor = a;
            }
        }
        if (anchor == PAIRS_MAX) {
            break;
        }
        tried |= 1ull << anchor;
        for (unsigned b = 0; b < m->pairs; b++) {
            tried |= (uint64_t)(m->compatible[anchor][b] > 0.5f) << b;
        }
        float f[FEATURE_COUNT] = {0};
        align(m, p, g, anchor, f);
        if (k == 0 || f[FEATURE_LLR] * f[FEATURE_FRACTION] >
                          m->features[FEATURE_LLR] * m->features[FEATURE_FRACTION]) {
            memcpy(m->features, f, sizeof f);
        }
    }
    m->features[FEATURE_FAST] = best;
}

size_t afis_matcher_size(void)
{
    return sizeof(struct afis_matcher);
}
