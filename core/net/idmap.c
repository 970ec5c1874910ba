#include "core/net/idmap.h"

#include <stdbool.h>
#include <stdlib.h>

#define SMALLEST 64u
#define CELL_BITS 24u /* of an id; those above them count who was in the cell */
#define CELL_MASK ((UINT64_C(1) << CELL_BITS) - 1)

static bool grow(struct idmap *map)
{
    size_t cap = map->cap == 0 ? SMALLEST : map->cap * 2;
    struct idmap_cell *cells = cap > CELL_MASK ? NULL : realloc(map->cells, cap * sizeof *cells);
    if (cells == NULL) {
        return false;
    }
    for (size_t i = map->cap; i < cap; i++) {
        cells[i] = (struct idmap_cell){(UINT64_C(1) << CELL_BITS) + i, NULL, i + 1};
    }
    map->free = map->cap;
    map->cells = cells;
    map->cap = cap;
    return true;
}

uint64_t idmap_add(struct idmap *map, void *thing)
{
    if (map->free == map->cap && !grow(map)) {
        return 0;
    }
    struct idmap_cell *cell = &map->cells[map->free];
    map->free = cell->next;
    cell->thing = thing;
    map->count++;
    return cell->id;
}

/* NULL: the id is not there. */
static struct idmap_cell *find(const struct idmap *map, uint64_t id)
{
    size_t i = id & CELL_MASK;
    return i < map->cap && map->cells[i].id == id && map->cells[i].thing != NULL ? &map->cells[i]
                                                                                 : NULL;
}

void *idmap_get(const struct idmap *map, uint64_t id)
{
    const struct idmap_cell *cell = find(map, id);
    return cell == NULL ? NULL : cell->thing;
}

void *idmap_take(struct idmap *map, uint64_t id)
{
    struct idmap_cell *cell = find(map, id);
    if (cell == NULL) {
        return NULL;
    }
    void *thing = cell->thing;
    cell->thing = NULL;
    cell->id += UINT64_C(1) << CELL_BITS;
    if (cell->id <= CELL_MASK) { /* the count went round: 0 is no id */
        cell->id += UINT64_C(1) << CELL_BITS;
    }
    cell->next = map->free;
    map->free = (size_t)(cell - map->cells);
    map->count--;
    return thing;
}

void idmap_release(struct idmap *map)
{
    free(map->cells);
    *map = (struct idmap){0};
}
