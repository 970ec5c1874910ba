#include "core/conf/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

bool arena_init(struct arena *arena, size_t size)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return false;
    }
    *arena = (struct arena){base, 0, size};
    return true;
}

void arena_free(struct arena *arena)
{
    if (arena->base) {
        munmap(arena->base, arena->size);
    }
    *arena = (struct arena){NULL, 0, 0};
}

void arena_rewind(struct arena *arena, size_t used)
{
    memset(arena->base + used, 0, arena->used - used);
    arena->used = used;
}

void arena_seal(struct arena *arena)
{
    /* When it fails, the memory is only less protected. */
    (void)mprotect(arena->base, arena->size, PROT_READ);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t rounded = (size + 15) & ~(size_t)15;
    if (rounded < size || rounded > arena->size - arena->used) {
        fputs("whorl: the configuration outgrew its memory\n", stderr);
        abort();
    }
    void *p = arena->base + arena->used;
    arena->used += rounded;
    return p;
}

char *arena_copy(struct arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(arena_alloc(arena, size), text, size);
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    size_t size = len < 0 ? 1 : (size_t)len + 1;
    char *text = arena_alloc(arena, size);
    va_start(args, format);
    (void)vsnprintf(text, size, format, args);
    va_end(args);
    return text;
}
