/* The tables that Whorl makes in a database for whoever has none of their own. */
#ifndef CLI_SOURCE_SCHEMA_H
#define CLI_SOURCE_SCHEMA_H

#include <stdbool.h>

#include "plugins/source/postgresql/ask.h"

#define SOURCE_READER "whorl_reader" /* the role that may only read them */

/* Makes the schema, or brings an older one up to date, in one transaction; others who do the same
 * wait. Also makes the role, if there is none of that name, and lets it read. ask: of a role that
 * may make both. *applied of *known migrations were missing. false with *fault: nothing is changed.
 * Blocks. */
bool source_schema_make(const struct pg_ask *ask, unsigned *applied, unsigned *known,
                        struct whorl_fault *fault);

#endif
