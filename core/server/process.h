/* What the process owes to the probes that pass through it, and what it costs. */
#ifndef CORE_PROCESS_H
#define CORE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/log/log.h"
#include "whorl/plugin.h"

/* No core dumps, no reading by other processes of the same user, as much locked memory and as many
 * descriptors as the hard limits allow, no death by a closed connection. What cannot be had is
 * logged. Main thread, before any sample is accepted. */
void process_protect(struct log *log);

/* Warns where there are too few descriptors for so many connections and for what else is open. */
void process_compare_descriptors(struct log *log, unsigned max_connections);

/* Makes as many threads at once as libuv's pool has, and ends them. libuv makes that pool with the
 * first piece of work, and ends the process where it can't (uv_queue_work in its threadpool.c): so
 * that is done right after this, at the start, out of the stacks that the C library keeps of these.
 * false with *fault. */
bool process_try_threads(struct whorl_fault *fault);

struct process_figures {
    uint64_t resident, locked; /* bytes */
    unsigned descriptors, max_descriptors;
    double cpu_s; /* of all threads, user and system */
};
void process_figures(struct process_figures *figures);

#endif
