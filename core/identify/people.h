/* People whom a gateway's request asks look-ups about, and identifiers wherever they come from.
 * Pure functions; any thread. */
#ifndef CORE_PEOPLE_H
#define CORE_PEOPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/identify/answer.h"
#include "whorl/msg.h"

#define PEOPLE_TEXT_MAX 250 /* bytes of an identifier and of its key */
#define PEOPLE_IDENTIFIERS_MAX 16

/* Copies of what the request said; all zero is nobody. */
struct people {
    size_t count;
    struct {
        char backend[33], family[101], given[101], born[11];
    } texts[ANSWER_PEOPLE_MAX];
    uint8_t *bytes; /* the request's array, packed anew */
    size_t len;
    struct whorl_msg msg; /* parsed from bytes */
};

/* Checks the array (docs/protocol.md, `people`) and copies it. NULL: nobody. false with *fault;
 * then *out is empty. */
bool people_read(const msgpack_object *list, struct people *out, struct whorl_fault *fault);

/* The index-th of them; points into people, which must not be moved. */
struct person people_at(const struct people *people, size_t index);

/* Wipes and empties it. */
void people_release(struct people *people);

/* Whether a map holds short texts by short keys, no key twice; NULL does. path: its name. */
bool people_identifiers_good(const msgpack_object *map, const char *path,
                             struct whorl_fault *fault);

#endif
