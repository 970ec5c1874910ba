/* Random draws for simulated transactions: SplitMix64 (Steele, Lea and Flood 2014). */
#ifndef CLI_SYNTH_DRAW_H
#define CLI_SYNTH_DRAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct draw {
    uint64_t state;
};

static inline uint64_t draw_bits(struct draw *draw)
{
    uint64_t z = draw->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 to below - 1. */
static inline uint32_t draw_below(struct draw *draw, uint32_t below)
{
    return (uint32_t)(((draw_bits(draw) >> 32) * below) >> 32);
}

static inline bool draw_chance(struct draw *draw, unsigned of_thousand)
{
    return draw_below(draw, 1000) < of_thousand;
}

/* An index, each as likely as its weight says. */
static inline size_t draw_weighted(struct draw *draw, const uint16_t *weights, size_t count)
{
    uint32_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += weights[i];
    }
    uint32_t at = draw_below(draw, total);
    size_t i = 0;
    while (i + 1 < count && at >= weights[i]) {
        at -= weights[i++];
    }
    return i;
}

/* Positive and skewed, as times that people and machines take are: half of them below `median`,
 * one in forty above about `median` * spread^2. */
uint32_t draw_skewed(struct draw *draw, double median, double spread);

#endif
