/* From ids to things: a hash table for ids that are given out one after another and never again. */
#ifndef CORE_IDMAP_H
#define CORE_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idmap_cell {
    uint64_t id; /* 0: free */
    void *thing;
};

/* All zero is a valid empty map. */
struct idmap {
    struct idmap_cell *cells;
    size_t cap; /* a power of two, at least twice the count */
    size_t count;
};

/* id > 0 and not in the map. false: out of memory. */
bool idmap_put(struct idmap *map, uint64_t id, void *thing);
/* NULL when the id is not there. */
void *idmap_get(const struct idmap *map, uint64_t id);
/* Takes it out and returns it; NULL when the id is not there. */
void *idmap_take(struct idmap *map, uint64_t id);
void idmap_release(struct idmap *map);

#endif
