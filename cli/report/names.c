#include "report/names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a. */
static uint32_t hash_of(const char *text, size_t len)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (uint8_t)text[i]) * 16777619u;
    }
    return hash;
}

static bool grow(struct names *names)
{
    uint32_t cap = names->cap == 0 ? 64 : 2 * names->cap, slot_count = 2 * cap;
    char **texts = realloc(names->texts, cap * sizeof *texts);
    if (texts == NULL) {
        return false;
    }
    names->texts = texts;
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < names->count; i++) {
        uint32_t at = hash_of(texts[i], strlen(texts[i])) & (slot_count - 1);
        while (slots[at] != 0) {
            at = (at + 1) & (slot_count - 1);
        }
        slots[at] = i + 1;
    }
    free(names->slots);
    names->slots = slots;
    names->slot_count = slot_count;
    names->cap = cap;
    return true;
}

/* The slot of a text, or the empty one where it would go. */
static uint32_t slot_of(const struct names *names, const char *text, size_t len)
{
    uint32_t at = hash_of(text, len) & (names->slot_count - 1);
    for (; names->slots[at] != 0; at = (at + 1) & (names->slot_count - 1)) {
        const char *known = names->texts[names->slots[at] - 1];
        if (strncmp(known, text, len) == 0 && known[len] == '\0') {
            break;
        }
    }
    return at;
}

uint32_t names_find(const struct names *names, const char *text, size_t len)
{
    /* An empty slot holds 0, and NAMES_NONE is 0 - 1. */
    return names->slot_count == 0 ? NAMES_NONE : names->slots[slot_of(names, text, len)] - 1;
}

uint32_t names_add(struct names *names, const char *text, size_t len)
{
    uint32_t number = names_find(names, text, len);
    if (number != NAMES_NONE || (names->count == names->cap && !grow(names))) {
        return number;
    }
    char *copy = names->count < names->most ? strndup(text, len) : NULL;
    if (copy == NULL) {
        return NAMES_NONE;
    }
    names->slots[slot_of(names, text, len)] = names->count + 1;
    names->texts[names->count] = copy;
    return names->count++;
}

void names_release(struct names *names)
{
    for (uint32_t i = 0; i < names->count; i++) {
        free(names->texts[i]);
    }
    free(names->texts);
    free(names->slots);
    *names = (struct names){0};
}
