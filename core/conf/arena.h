/* Memory that is given piece by piece and taken back as one. */
#ifndef CORE_CONF_ARENA_H
#define CORE_CONF_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena {
    unsigned char *base;
    size_t used, size;
};

/* Reserves address space for size bytes; pages are taken as they are used. false: out of memory.
 * From then on an allocation can't fail, as long as what is read into it is bounded. */
bool arena_init(struct arena *arena, size_t size);
void arena_free(struct arena *arena);
/* Takes back what was given since used had this value. */
void arena_rewind(struct arena *arena, size_t used);
/* From here on a write to the arena is a crash instead of a silent change. */
void arena_seal(struct arena *arena);

/* Zeroed. Running past the reserved size ends the process: it means that a bound is missing. */
void *arena_alloc(struct arena *arena, size_t size);
char *arena_copy(struct arena *arena, const char *text);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
