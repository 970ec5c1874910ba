/* What the process owes to the probes that pass through it. */
#ifndef CORE_PROCESS_H
#define CORE_PROCESS_H

#include "core/log/log.h"

/* No core dumps, no reading by other processes of the same user, as much locked memory as the hard
 * limit allows, no death by a closed connection. What cannot be had is logged. Main thread, before
 * any sample is accepted. */
void process_protect(struct log *log);

#endif
