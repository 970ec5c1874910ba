/* Erasures, and what leads to them, in the audit log: written by the command that does it, also
 * beside a running server. */
#ifndef CLI_ERASURE_H
#define CLI_ERASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit_writer.h"
#include "whorl/plugin.h"

#define ERASURE_IDS_MAX 1000u /* in one record */

struct erasure {
    const char *event;      /* "withdrawing", "purging", "purged", "erasing" or "erased" */
    const char *store;      /* the plugin whose data it is */
    const char *const *ids; /* whom it concerns; NULL: it is not about people */
    size_t id_count;
    int64_t count;      /* how many people, or records */
    const char *before; /* the day that records have to be older than; NULL: nothing to say */
};

/* Writes one record per ERASURE_IDS_MAX ids (one if there are none), all in one transaction, with
 * the account that runs this. They are durable when it returns true. */
bool erasure_record(struct audit_writer *writer, const struct erasure *erasure,
                    struct whorl_fault *fault);

#endif
