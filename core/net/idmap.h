/* Gives things ids by which they are found again, or found to have gone: a table of cells, each
 * with a count of those who were in it before, which is a part of the id. */
#ifndef CORE_IDMAP_H
#define CORE_IDMAP_H

#include <stddef.h>
#include <stdint.h>

struct idmap_cell {
    uint64_t id; /* of what is there; or of what comes next */
    void *thing; /* NULL: free */
    size_t next; /* a free cell's: the next free one */
};

/* All zero is a valid empty map. */
struct idmap {
    struct idmap_cell *cells;
    size_t cap, free; /* the first free cell; cap: none */
    size_t count;
};

/* Returns the thing's id, which is not 0 and, for a trillion of things, no other one's. 0: out of
 * memory, or there are 16 million. The thing is not NULL. */
uint64_t idmap_add(struct idmap *map, void *thing);
/* NULL when the id is not there. */
void *idmap_get(const struct idmap *map, uint64_t id);
/* Takes it out and returns it; NULL when the id is not there. */
void *idmap_take(struct idmap *map, uint64_t id);
void idmap_release(struct idmap *map);

#endif
