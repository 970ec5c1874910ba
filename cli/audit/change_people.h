/* Who is about to be put into a gallery: what those who enrol say before they do it, so that it can
 * be recorded. */
#ifndef CLI_CHANGE_PEOPLE_H
#define CLI_CHANGE_PEOPLE_H

#include <stdbool.h>
#include <stddef.h>

#include "whorl/plugin.h"

struct changed_person {
    const char *id;
    const char *source; /* the lawful source of the prints; "" = none */
    bool known;         /* the person is there already, and is changed */
};

/* Called with the people of a transaction before it begins. They are put only if it returns true;
 * otherwise *fault says why. */
typedef bool change_people(void *ctx, const struct changed_person *people, size_t count,
                           struct whorl_fault *fault);

#endif
