/* Packing whole or not at all: a buffer that could not grow would else lose a piece out of the
 * middle of a message, since msgpack-c's packers pass no failure on. And nothing of what was packed
 * stays in memory that is given back: records, answers and results are about people. */
#ifndef CORE_PACKED_H
#define CORE_PACKED_H

#include <msgpack.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Wipes the buffer and frees what it holds; it is as new then. */
void packed_wipe(msgpack_sbuffer *buffer);

/* For packed_write: makes room for len bytes more. */
bool packed_grow(msgpack_sbuffer *buffer, size_t len);

/* For msgpack_packer_init, with a msgpack_sbuffer. After a failure the buffer stays empty, and any
 * further write fails, until msgpack_sbuffer_init: so size == 0 says that there was no memory. */
static inline int packed_write(void *buffer, const char *bytes, size_t len)
{
    msgpack_sbuffer *to = buffer;
    if ((to->data == NULL || len > to->alloc - to->size) && !packed_grow(to, len)) {
        return -1;
    }
    memcpy(to->data + to->size, bytes, len);
    to->size += len;
    return 0;
}

#endif
