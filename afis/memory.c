#include "afis/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT ((size_t)64)

static size_t rounded(size_t size)
{
    return (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

static void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    if (size > SIZE_MAX - ALIGNMENT) {
        return NULL;
    }
    size_t bytes = size == 0 ? ALIGNMENT : rounded(size);
    void *p = aligned_alloc(ALIGNMENT, bytes);
    if (p != NULL) {
        memset(p, 0, bytes);
    }
    return p;
}

static void heap_release(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (p != NULL) {
        explicit_bzero(p, size);
        free(p);
    }
}

const struct afis_memory afis_memory_heap = {heap_alloc, heap_release, NULL};
