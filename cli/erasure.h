/* Erasures, and what leads to them, in the audit log: written by the command that does it, also
 * beside a running server. */
#ifndef CLI_ERASURE_H
#define CLI_ERASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/conf/conf.h"
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

struct erasure_log;

/* Opens the log of the audit plugin that is configured. NULL with *fault: then nothing may be
 * erased. conf must outlive it. */
struct erasure_log *erasure_log_open(const struct conf *conf, struct whorl_fault *fault);
void erasure_log_close(struct erasure_log *log);

/* The audit plugin's name. */
const char *erasure_log_name(const struct erasure_log *log);

/* Writes one record per ERASURE_IDS_MAX ids (one if there are none), all in one transaction, with
 * the account that runs this. They are durable when it returns true. */
bool erasure_record(struct erasure_log *log, const struct erasure *erasure,
                    struct whorl_fault *fault);

#endif
