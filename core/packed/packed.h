/* Packing whole or not at all: a buffer that could not grow would else lose a piece out of the
 * middle of a message, since msgpack-c's packers pass no failure on. */
#ifndef CORE_PACKED_H
#define CORE_PACKED_H

#include <msgpack.h>
#include <stdint.h>
#include <stdlib.h>

/* msgpack-c begins with 8 KB, which malloc takes ten times as long over as over what it keeps at
 * hand for each thread; most messages are shorter than this. */
#define PACKED_FIRST 1000u

/* For msgpack_packer_init, with a msgpack_sbuffer. After a failure the buffer stays empty, and any
 * further write fails, until msgpack_sbuffer_init: so size == 0 says that there was no memory. */
static inline int packed_write(void *buffer, const char *bytes, size_t len)
{
    msgpack_sbuffer *to = buffer;
    if (to->alloc == 0) {
        to->data = (char *)malloc(PACKED_FIRST);
        to->alloc = to->data != NULL ? PACKED_FIRST : SIZE_MAX;
    }
    if (to->alloc != SIZE_MAX && msgpack_sbuffer_write(to, bytes, len) == 0) {
        return 0;
    }
    free(to->data);
    *to = (msgpack_sbuffer){.alloc = SIZE_MAX};
    return -1;
}

#endif
