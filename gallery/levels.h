/* How many people have which level, and where the best of them begin. Levels that are too low to
 * matter are given up while people are still counted: nine tenths then cost a comparison instead
 * of a place in memory. */
#ifndef GALLERY_LEVELS_H
#define GALLERY_LEVELS_H

#include <stdbool.h>
#include <stdint.h>

#define LEVELS 65536u
#define LEVELS_AT_ONCE 512u
#define LEVELS_SLACK 32u

struct levels {
    uint32_t *counts;
    uint32_t floor;  /* below it nobody is counted, */
    uint32_t lowest; /* as little as below this, where no cut lies */
    uint32_t end;    /* nobody was counted at it or above; most lie far below what there can be */
    uint64_t people; /* whose level was looked at */
    bool narrowed;
    uint16_t list[LEVELS_AT_ONCE + LEVELS_SLACK]; /* who is to be counted */
};

/* false: out of memory. */
bool levels_init(struct levels *l, uint32_t lowest);
void levels_free(struct levels *l);
void levels_clear(struct levels *l);

void levels_add(struct levels *l, const uint16_t *levels, uint64_t people);

/* The same of people of whom no level reaches the floor. */
static inline void levels_pass(struct levels *l, uint64_t people)
{
    l->people += people;
}

/* Once a thirty-second of `of` people was counted, gives up, for once, the levels above which lie
 * twice as many of them as `wanted` of `of` would be. */
void levels_narrow(struct levels *l, uint64_t wanted, uint64_t of);

/* The level at or above which there are `wanted` people, 1 or more, or the lowest. false: that is
 * one that was given up; count again without levels_narrow. */
bool levels_cut(const struct levels *l, uint64_t wanted, uint32_t *cut);

/* Lists which of `people`, of whom list can number all, have levels in [from, to), ascending;
 * returns how many. list: room for people + LEVELS_SLACK. */
uint32_t levels_pick(const uint16_t *levels, uint32_t people, uint32_t from, uint32_t to,
                     uint16_t *list);

/* Adds to each level a score, 0 or more, up to the highest level; level 0 counts as `begin`. */
void levels_raise(uint16_t *levels, const int16_t *scores, uint32_t people, uint16_t begin);

/* Levels from 1 to below `to`, which is at least 1, become 1, all others 0. */
void levels_flatten(uint16_t *levels, uint32_t people, uint32_t to);

/* How many are not 0. */
uint32_t levels_count(const uint16_t *levels, uint32_t people);

/* The highest; 0: there is nobody. */
uint16_t levels_top(const uint16_t *levels, uint32_t people);

/* The same on any processor. */
struct levels_ops {
    uint32_t (*pick)(const uint16_t *levels, uint32_t people, uint32_t from, uint32_t to,
                     uint16_t *list);
    void (*raise)(uint16_t *levels, const int16_t *scores, uint32_t people, uint16_t begin);
    void (*flatten)(uint16_t *levels, uint32_t people, uint32_t to);
    uint32_t (*count)(const uint16_t *levels, uint32_t people);
    uint16_t (*top)(const uint16_t *levels, uint32_t people);
};
extern const struct levels_ops levels_portable;

#endif
