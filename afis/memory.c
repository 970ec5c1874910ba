#include "afis/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    if (size > SIZE_MAX - 63) {
        return NULL;
    }
    size_t rounded = (size + 63) & ~(size_t)63; /* aligned_alloc wants a multiple */
    void *p = aligned_alloc(64, rounded != 0 ? rounded : 64);
    if (p != NULL) {
        memset(p, 0, rounded);
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
