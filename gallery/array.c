#include "array.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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

/* ------------------------------------------------------------------ kept ones */

void array_pool_init(struct array_pool *pool)
{
    *pool = (struct array_pool){.count = 0};
    pthread_mutex_init(&pool->mutex, NULL);
}

void array_pool_release(struct array_pool *pool)
{
    for (size_t i = 0; i < pool->count; i++) {
        array_free(pool->kept[i].array, pool->kept[i].size);
    }
    pthread_mutex_destroy(&pool->mutex);
}

/* With the mutex held. */
static void *take_out(struct array_pool *pool, size_t i)
{
    void *array = pool->kept[i].array;
    pool->count--;
    memmove(&pool->kept[i], &pool->kept[i + 1], (pool->count - i) * sizeof pool->kept[i]);
    return array;
}

void *array_take(struct array_pool *pool, size_t size)
{
    void *array = NULL;
    if (size < LARGE) {
        return array_new(size);
    }
    pthread_mutex_lock(&pool->mutex);
    for (size_t i = pool->count; i-- > 0 && !array;) {
        if (pool->kept[i].size == mapped_size(size)) {
            array = take_out(pool, i);
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return array ? array : array_new(size);
}

void array_give(struct array_pool *pool, void *array, size_t size)
{
    void *oldest = NULL;
    size_t oldest_size = 0;
    if (!array) {
        return;
    }
    /* Zeros, whether the system takes them or not. */
    explicit_bzero(array, size);
    if (size < LARGE) {
        free(array);
        return;
    }
    (void)madvise(array, mapped_size(size), MADV_FREE);
    pthread_mutex_lock(&pool->mutex);
    if (pool->count == ARRAYS_KEPT) {
        oldest_size = pool->kept[0].size;
        oldest = take_out(pool, 0);
    }
    pool->kept[pool->count].array = array;
    pool->kept[pool->count++].size = mapped_size(size);
    pthread_mutex_unlock(&pool->mutex);
    array_free(oldest, oldest_size);
}
