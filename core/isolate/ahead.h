/* A process that has started and serves nobody yet: made here, taken over by isolate_start. What
 * takes its time is here, so that a reload does it beside the loop. */
#ifndef CORE_ISOLATE_AHEAD_H
#define CORE_ISOLATE_AHEAD_H

#include "core/isolate/process.h"
#include "core/log/log.h"

enum { ISOLATE_LINE_MAX = CHANNEL_LINE_MAX + 1 };

/* Waits at most ISOLATE_WAIT_MS for the instance to start. given needs to live until the return.
 * NULL with *fault. Any thread; so long as the process lasts, the calling thread should. */
struct process *isolate_ahead(const struct isolate_spec *given, struct log *log,
                              struct whorl_fault *fault);
/* Ends one that is not wanted after all; NULL is fine. Any thread. */
void isolate_forgo(struct process *process);

/* The first line of what a process wants logged. Returns line. */
const char *isolate_line(char line[ISOLATE_LINE_MAX], const char *text);

#endif
