#include "levels.h"

#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 64 };

bool levels_init(struct levels *l, uint32_t lowest)
{
    *l = (struct levels){
        .counts = calloc(LEVELS, sizeof *l->counts), .floor = lowest + 1, .lowest = lowest};
    return l->counts != NULL;
}

void levels_free(struct levels *l)
{
    free(l->counts);
}

void levels_clear(struct levels *l)
{
    memset(l->counts, 0, LEVELS * sizeof *l->counts);
    l->floor = l->lowest + 1;
    l->people = 0;
    l->narrowed = false;
}

void levels_add(struct levels *l, const uint16_t *levels, uint32_t people)
{
    uint16_t list[AT_ONCE];
    l->people += people;
    while (people > 0) {
        const uint32_t n = people < AT_ONCE ? people : AT_ONCE;
        uint32_t count = 0;
        for (uint32_t i = 0; i < n; i++) { /* no branch: it could not be foreseen */
            list[count] = levels[i];
            count += levels[i] >= l->floor;
        }
        for (uint32_t k = 0; k < count; k++) {
            l->counts[list[k]]++;
        }
        levels += n;
        people -= n;
    }
}

void levels_narrow(struct levels *l, uint64_t wanted, uint64_t of)
{
    uint32_t cut;
    if (l->narrowed || l->people < of / 32) {
        return;
    }
    l->narrowed = true;
    if (levels_cut(l, 2 * wanted * l->people / of + 1, &cut) && cut > l->floor) {
        l->floor = cut;
    }
}

bool levels_cut(const struct levels *l, uint64_t wanted, uint32_t *cut)
{
    uint64_t above = 0;
    *cut = LEVELS;
    while (*cut > l->floor && above < wanted) {
        above += l->counts[--*cut];
    }
    if (above < wanted && l->floor == l->lowest + 1) {
        *cut = l->lowest;
        return true;
    }
    return above >= wanted;
}

uint16_t levels_top(const uint16_t *levels, uint32_t people)
{
    uint16_t top = 0;
    for (uint32_t i = 0; i < people; i++) {
        top = levels[i] > top ? levels[i] : top;
    }
    return top;
}
