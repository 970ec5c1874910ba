/* Where the engine gets memory from.
 *
 * A probe may live in locked, wiped memory only, and the engine knows nothing of who calls it: so
 * every byte that it needs is asked from the caller. Servers pass an allocator over their secret
 * memory; afis_memory_heap (for tools working on files that lie on disk anyway) wipes on release.
 */
#ifndef AFIS_MEMORY_H
#define AFIS_MEMORY_H

#include <stddef.h>

struct afis_memory {
    /* Returns size bytes aligned to 64, zeroed, or NULL. Called on the caller's thread only. */
    void *(*alloc)(void *ctx, size_t size);
    /* Takes back what alloc returned, with the same size; must wipe it. p may be NULL. */
    void (*release)(void *ctx, void *p, size_t size);
    void *ctx;
};

/* The C heap, wiped on release. */
extern const struct afis_memory afis_memory_heap;

#endif
