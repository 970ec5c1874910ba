/* Arrays of megabytes that are made for every search or change. The system hands memory out in
 * small pages, each of which is a fault when it is first touched: that takes longer than the use
 * that is made of them. Large arrays ask for huge pages, and get small ones where there are none.
 */
#ifndef GALLERY_ARRAY_H
#define GALLERY_ARRAY_H

#include <stddef.h>

/* Zeroed. NULL: out of memory. Free with array_free and the same size. */
void *array_new(size_t size);
void array_free(void *array, size_t size); /* NULL is allowed */

#endif
