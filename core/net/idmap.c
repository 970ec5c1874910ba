/* Linear probing with Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4):
 * ids that follow one another are spread evenly. Were they to fall into cells that follow one
 * another, taking the oldest of a thousand would have to look at all the others behind it. */
#include "core/net/idmap.h"

#include <stdlib.h>

#define SMALLEST 64u

/* Where the id belongs; cap is a power of two above 1. */
static size_t home_of(const struct idmap *map, uint64_t id)
{
    unsigned bits = (unsigned)__builtin_ctzll(map->cap);
    return (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits));
}

static void insert(struct idmap *map, uint64_t id, void *thing)
{
    size_t i = home_of(map, id);
    while (map->cells[i].id != 0) {
        i = (i + 1) & (map->cap - 1);
    }
    map->cells[i] = (struct idmap_cell){id, thing};
}

static bool grow(struct idmap *map)
{
    struct idmap old = *map;
    size_t cap = old.cap == 0 ? SMALLEST : old.cap * 2;
    struct idmap_cell *cells = calloc(cap, sizeof *cells);
    if (cells == NULL) {
        return false;
    }
    map->cells = cells;
    map->cap = cap;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.cells[i].id != 0) {
            insert(map, old.cells[i].id, old.cells[i].thing);
        }
    }
    free(old.cells);
    return true;
}

bool idmap_put(struct idmap *map, uint64_t id, void *thing)
{
    if ((map->count + 1) * 2 > map->cap && !grow(map)) {
        return false;
    }
    insert(map, id, thing);
    map->count++;
    return true;
}

/* The id's cell, or cap. */
static size_t find(const struct idmap *map, uint64_t id)
{
    if (id == 0 || map->cap == 0) {
        return map->cap;
    }
    size_t i = home_of(map, id);
    while (map->cells[i].id != id) {
        if (map->cells[i].id == 0) {
            return map->cap;
        }
        i = (i + 1) & (map->cap - 1);
    }
    return i;
}

void *idmap_get(const struct idmap *map, uint64_t id)
{
    size_t i = find(map, id);
    return i == map->cap ? NULL : map->cells[i].thing;
}

void *idmap_take(struct idmap *map, uint64_t id)
{
    size_t hole = find(map, id);
    if (hole == map->cap) {
        return NULL;
    }
    void *thing = map->cells[hole].thing;
    size_t mask = map->cap - 1;
    /* Pull back what was pushed past the hole, so that a search may go on stopping at free cells.
     */
    for (size_t i = (hole + 1) & mask; map->cells[i].id != 0; i = (i + 1) & mask) {
        size_t home = home_of(map, map->cells[i].id);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->cells[hole] = map->cells[i];
            hole = i;
        }
    }
    map->cells[hole] = (struct idmap_cell){0};
    map->count--;
    return thing;
}

void idmap_release(struct idmap *map)
{
    free(map->cells);
    *map = (struct idmap){0};
}
