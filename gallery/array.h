/* Arrays of megabytes that are made for every search or change. The system hands memory out in
 * small pages, each of which is a fault when it is first touched: that takes longer than the use
 * that is made of them. Large arrays ask for huge pages, and get small ones where there are none.
 */
#ifndef GALLERY_ARRAY_H
#define GALLERY_ARRAY_H

#include <pthread.h>
#include <stddef.h>

/* Zeroed. NULL: out of memory. Free with array_free and the same size. */
void *array_new(size_t size);
void array_free(void *array, size_t size); /* NULL is allowed */

/* Large arrays that were given back, for those who want some of their size next: huge pages too are
 * dear where they have to be got from the host of a virtual machine. They are wiped, as most held
 * the scores of a search, and the system may take them whenever it is short of memory. Any thread.
 */
#define ARRAYS_KEPT 52u /* three of each of sixteen searches, and some views */
struct array_pool {
    pthread_mutex_t mutex;
    size_t count;
    struct {
        void *array;
        size_t size;
    } kept[ARRAYS_KEPT]; /* the last one was given back last */
};

void array_pool_init(struct array_pool *pool);
void array_pool_release(struct array_pool *pool);

/* As array_new and array_free, but wiped whatever its size. */
void *array_take(struct array_pool *pool, size_t size);
void array_give(struct array_pool *pool, void *array, size_t size);

#endif
