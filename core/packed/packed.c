#include "core/packed/packed.h"

#include <stdlib.h>

/* msgpack-c begins with 8 KB, which malloc takes ten times as long over as over what it keeps at
 * hand for each thread; most messages are shorter than this. */
#define PACKED_FIRST 1000u

void packed_wipe(msgpack_sbuffer *buffer)
{
    if (buffer->data != NULL) {
        explicit_bzero(buffer->data, buffer->alloc);
    }
    msgpack_sbuffer_destroy(buffer);
    msgpack_sbuffer_init(buffer);
}

bool packed_grow(msgpack_sbuffer *buffer, size_t len)
{
    const msgpack_sbuffer failed = {.alloc = SIZE_MAX};
    if (buffer->alloc == failed.alloc) {
        return false;
    }
    size_t needed = buffer->size + len, twice = 2 * buffer->alloc;
    size_t cap = needed > twice ? needed : twice;
    cap = cap > PACKED_FIRST ? cap : PACKED_FIRST;
    msgpack_sbuffer grown = {.size = buffer->size, .data = malloc(cap), .alloc = cap};
    bool good = grown.data != NULL;
    if (good && buffer->size > 0) {
        memcpy(grown.data, buffer->data, buffer->size);
    }
    packed_wipe(buffer); /* not realloc, which leaves a copy behind */
    *buffer = good ? grown : failed;
    return good;
}
