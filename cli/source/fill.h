/* From a gallery into the tables of a database. */
#ifndef CLI_SOURCE_FILL_H
#define CLI_SOURCE_FILL_H

#include "cli/audit/change_people.h"
#include "gallery/gallery.h"
#include "plugins/source/postgresql/ask.h"

/* Adds everybody of a gallery to whorl.people and whorl.prints, in one transaction: all or nobody,
 * also if one of them is there already. telling: called with people before they are written.
 * shown: may be NULL; told how many people are written. ctx: of both. ask: of a role that may.
 * false with *fault. Blocks. */
bool source_fill(const struct pg_ask *ask, struct gallery *gallery, change_people *telling,
                 void (*shown)(void *ctx, uint64_t people), void *ctx, uint64_t *people,
                 struct whorl_fault *fault);

#endif
