/* The sift's tables, made from probes. See afis/sift.h. */
#include "sift.h"

#include <stdbool.h>
#include <string.h>

#include "internal.h"

_Static_assert(SIFT_REACH == 2, "SIFT_NEIGHBOURS counts to two");

static uint32_t width_of(unsigned probes)
{
    return probes == 1 ? 4 : 16;
}

/* Enough, however alike the minutiae are: a slot that follows another is only begun when that one
 * is full. */
static uint32_t slots_of(unsigned probes)
{
    const uint32_t follow = probes * SIFT_LANES * SIFT_NEIGHBOURS / (width_of(probes) - 1);
    return (SIFT_CELLS + follow + 16) / 16 * 16;
}

static size_t table_words(unsigned probes)
{
    const size_t places = (size_t)slots_of(probes) * width_of(probes);
    return places * SIFT_PIECES * 3 / 2;
}

size_t afis_sift_size(unsigned probes)
{
    return sizeof(struct afis_sift) + table_words(probes) * sizeof(uint32_t);
}

size_t afis_sift_scratch_size(void)
{
    return sizeof(struct afis_sift_scratch);
}

/* A table being made. */
struct making {
    uint32_t *high;
    uint16_t *ids;
    uint32_t width, used; /* slots */
};

static void clear_slot(struct making *m, uint32_t slot)
{
    const size_t at = (size_t)slot * m->width;
    for (uint32_t i = 0; i < m->width; i++) {
        m->high[at + i] = SIFT_FILL;
        m->ids[at + i] = SIFT_NONE;
    }
    m->high[at + m->width - 1] = UINT32_MAX;
    m->ids[at + m->width - 1] = 0; /* while none follows: how many it holds */
}

/* Appends a minutia to those that `cell` names. */
static void add(struct making *m, uint32_t cell, uint64_t lane, uint16_t id)
{
    const uint32_t last = m->width - 1;
    uint32_t slot = cell;
    while (m->high[(size_t)slot * m->width + last] == 0) {
        slot = m->ids[(size_t)slot * m->width + last];
    }
    size_t at = (size_t)slot * m->width;
    if (m->ids[at + last] == last) {
        m->high[at + last] = 0;
        m->ids[at + last] = (uint16_t)m->used;
        slot = m->used++;
        at = (size_t)slot * m->width;
        clear_slot(m, slot);
    }
    const size_t place = at + m->ids[at + last]++;
    m->high[place] = (uint32_t)(lane >> 32);
    m->ids[place] = id;
}

static void make_table(struct afis_sift *sift, unsigned piece, const bool used[])
{
    const size_t places = (size_t)sift->slots * sift->width;
    uint16_t *ids = (uint16_t *)(sift->tables + SIFT_PIECES * places);
    struct making m = {.high = sift->tables + piece * places,
                       .ids = ids + piece * places,
                       .width = sift->width,
                       .used = SIFT_CELLS};
    uint32_t apart[SIFT_NEIGHBOURS], count = 0; /* bits in which neighbours differ */
    for (uint32_t cell = 0; cell < SIFT_CELLS; cell++) {
        clear_slot(&m, cell);
        if ((unsigned)__builtin_popcount(cell) <= SIFT_REACH) {
            apart[count++] = cell;
        }
    }
    for (uint32_t id = 0; id < sift->probes * SIEVE_LANES; id++) {
        for (uint32_t k = 0; used[id] && k < count; k++) {
            add(&m, sift_piece(sift->lane[id], piece) ^ apart[k], sift->lane[id], (uint16_t)id);
        }
    }
}

void afis_sift_init(struct afis_sift *sift, const struct afis_sieve *const *sieves, unsigned probes)
{
    bool used[AFIS_SIFT_PROBES * SIEVE_LANES];
    memset(sift, 0, sizeof *sift);
    sift->probes = probes;
    sift->width = width_of(probes);
    sift->slots = slots_of(probes);
    for (uint32_t id = 0; id < probes * SIEVE_LANES; id++) {
        const struct afis_sieve *sieve = sieves[id / SIEVE_LANES];
        sift->lane[id] = sieve->lane[id % SIEVE_LANES];
        used[id] =
            id % SIEVE_LANES < SIFT_LANES && (sieve->used >> SIEVE_BIT(id % SIEVE_LANES) & 1u);
    }
    for (unsigned d = 0; d <= SIFT_NEAR; d++) {
        sift->worth[d] = (int16_t)(sieves[0]->worth[d] + SIFT_MISSED);
    }
    for (unsigned t = 0; t < SIFT_PIECES; t++) {
        make_table(sift, t, used);
    }
}

sift_scan *afis_sift_scan_best(void)
{
#ifdef AFIS_HAVE_MATCH_KERNELS
    const struct match_ops *ops = afis_match_ops_best();
    if (ops == &afis_match_ops_avx512) {
        return afis_sift_scan_avx512;
    }
    if (ops == &afis_match_ops_avx2) {
        return afis_sift_scan_avx2;
    }
#endif
    return afis_sift_scan_portable;
}

void afis_sift_scan(const struct afis_sift *sift, struct afis_sift_scratch *scratch,
                    const uint64_t *words, size_t prints, int16_t *scores)
{
    afis_sift_scan_best()(sift, scratch, words, prints, scores);
}
