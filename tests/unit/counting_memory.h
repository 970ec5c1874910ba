/* An afis_memory that knows what is out, can run dry at a chosen call, and looks for what a caller
 * releases with another size than it asked for. */
#ifndef TESTS_COUNTING_MEMORY_H
#define TESTS_COUNTING_MEMORY_H

#include <stddef.h>

#include "afis/memory.h"

#define COUNTING_BLOCKS 256

struct counting_memory {
    struct {
        void *p;
        size_t size;
    } block[COUNTING_BLOCKS];
    size_t calls;   /* of alloc so far */
    size_t fail_at; /* the call that returns NULL, counted from 1; 0 = none */
    size_t out;     /* blocks not given back */
    size_t bytes, peak;
    size_t wrong; /* releases of what was not out, or with a wrong size */
};

/* An allocator over state, which the caller keeps and zeroed. */
struct afis_memory counting_memory(struct counting_memory *state);

#endif
