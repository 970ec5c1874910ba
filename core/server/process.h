/* What the process owes to the probes that pass through it, and what it costs. */
#ifndef CORE_PROCESS_H
#define CORE_PROCESS_H

#include <stdint.h>

#include "core/log/log.h"

/* No core dumps, no reading by other processes of the same user, as much locked memory as the hard
 * limit allows, no death by a closed connection. What cannot be had is logged. Main thread, before
 * any sample is accepted. */
void process_protect(struct log *log);

struct process_figures {
    uint64_t resident, locked; /* bytes */
    unsigned descriptors, max_descriptors;
    double cpu_s; /* of all threads, user and system */
};
void process_figures(struct process_figures *figures);

#endif
