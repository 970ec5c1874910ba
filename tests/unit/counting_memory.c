#include "counting_memory.h"

#include <stdlib.h>
#include <string.h>

static void *counting_alloc(void *ctx, size_t size)
{
    struct counting_memory *state = ctx;
    state->calls++;
    if (state->calls == state->fail_at) {
        return NULL;
    }
    for (size_t i = 0; i < COUNTING_BLOCKS; i++) {
        if (state->block[i].p == NULL) {
            void *p = aligned_alloc(64, (size + 64) & ~(size_t)63);
            if (p == NULL) {
                return NULL;
            }
            memset(p, 0, (size + 64) & ~(size_t)63);
            state->block[i].p = p;
            state->block[i].size = size;
            state->out++;
            state->bytes += size;
            state->peak = state->bytes > state->peak ? state->bytes : state->peak;
            return p;
        }
    }
    return NULL;
}

static void counting_release(void *ctx, void *p, size_t size)
{
    struct counting_memory *state = ctx;
    for (size_t i = 0; p != NULL && i < COUNTING_BLOCKS; i++) {
        if (state->block[i].p == p) {
            state->wrong += state->block[i].size != size;
            state->block[i].p = NULL;
            state->out--;
            state->bytes -= state->block[i].size;
            free(p);
            return;
        }
    }
    state->wrong += p != NULL;
}

struct afis_memory counting_memory(struct counting_memory *state)
{
    return (struct afis_memory){counting_alloc, counting_release, state};
}
