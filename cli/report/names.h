/* Texts numbered in the order in which they first come: what a record names often is stored once.
 */
#ifndef CLI_REPORT_NAMES_H
#define CLI_REPORT_NAMES_H

#include <stddef.h>
#include <stdint.h>

#define NAMES_NONE UINT32_MAX

struct names {
    char **texts; /* by number */
    uint32_t count, cap;
    uint32_t *slots; /* a hash table of numbers + 1; 0 = empty */
    uint32_t slot_count;
    uint32_t most; /* how many there may be */
};

/* The number of a text, a new one if it is new; NAMES_NONE if there are `most` already or there is
 * no memory. A zeroed struct with `most` set is an empty one. */
uint32_t names_add(struct names *names, const char *text, size_t len);

/* The number of a text that is there; NAMES_NONE if it is not. */
uint32_t names_find(const struct names *names, const char *text, size_t len);

void names_release(struct names *names);

#endif
