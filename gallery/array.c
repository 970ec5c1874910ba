#include "array.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LARGE ((size_t)4 << 20) /* from here on */
#define HUGE_PAGE ((size_t)2 << 20)

static size_t mapped_size(size_t size)
{
    return (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

/* What is mapped too much to begin at a multiple of huge pages is given back. */
static void *map(size_t size)
{
    const size_t room = size + HUGE_PAGE;
    uint8_t *from = mmap(NULL, room, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (from == MAP_FAILED) {
        return NULL;
    }
    const size_t before = (HUGE_PAGE - (uintptr_t)from % HUGE_PAGE) % HUGE_PAGE;
    if (before > 0) {
        (void)munmap(from, before);
    }
    if (before < HUGE_PAGE) {
        (void)munmap(from + before + size, HUGE_PAGE - before);
    }
    (void)madvise(from + before, size, MADV_HUGEPAGE);
    return from + before;
}

void *array_new(size_t size)
{
    if (size < LARGE) {
        return calloc(1, size);
    }
    return size > SIZE_MAX - 2 * HUGE_PAGE ? NULL : map(mapped_size(size));
}

void array_free(void *array, size_t size)
{
    if (size < LARGE) {
        free(array);
    } else if (array) {
        (void)munmap(array, mapped_size(size));
    }
}
