/* A plugin's instance that lives in a process of its own, behind the same functions as one that
 * lives here: what crosses the ABI is bytes and a call id, and they cross shared memory instead.
 *
 * Whatever the process does, every call is completed: with its answer, with `unavailable` (a sink:
 * not stored) as soon as the process is gone, or late, after the host has given the call up. A
 * process that ends, breaks its channel, doesn't end calls that were given up, works without having
 * been asked, or uses up its memory is made anew, after a pause that grows from 0.1 s to 30 s.
 *
 * Loop thread only. */
#ifndef CORE_ISOLATE_H
#define CORE_ISOLATE_H

#include <uv.h>

#include "core/isolate/spec.h"
#include "core/log/log.h"
#include "whorl/plugin.h"

struct process;

struct isolate_given {
    uv_loop_t *loop;
    struct log *log;
    const struct whorl_host *abi;    /* until stop has returned; settings are not read from it */
    const struct isolate_spec *spec; /* complete; what it points to lives as long */
    uint32_t role;                   /* enum whorl_role */
    struct process *started;         /* by isolate_ahead, with this spec; taken over. NULL: none */
    /* The completion of this call that follows stands for an answer that the process did not give.
     */
    void (*failed)(const struct whorl_host *abi, uint64_t call);
    /* The process was lost, or did not start: once for each. */
    void (*lost)(const struct whorl_host *abi);
};

/* As struct whorl_plugin's start; waits at most ISOLATE_WAIT_MS for the instance to start, unless
 * that has been done (ahead.h). */
int isolate_start(const struct isolate_given *given, void **instance, struct whorl_fault *fault);

/* Whether the process is there and has started its instance. */
bool isolate_is_up(const void *instance);

/* Why a process had to be made anew. */
enum isolate_loss {
    ISOLATE_ENDED,       /* it crashed or exited */
    ISOLATE_NOT_STARTED, /* the one that was made anew */
    ISOLATE_CHANNEL,     /* it wrote garbage, or too much */
    ISOLATE_LIMITS,      /* memory, work unasked, calls that it does not end */
};
enum { ISOLATE_LOSSES = ISOLATE_LIMITS + 1 };
/* "ended", "not_started", "channel", "limits" */
const char *isolate_loss_name(enum isolate_loss loss);

struct isolate_stats {
    bool up;
    uint64_t losses[ISOLATE_LOSSES];
    char last[256]; /* what happened last, in words; "" = nothing yet */
};
void isolate_stats(const void *instance, struct isolate_stats *stats);

/* The rest of the functions of a descriptor. stop returns at once; the process's end is then
 * awaited, for at most 10 s, with a handle that keeps the loop alive. */
extern const struct whorl_plugin isolate_functions;

#endif
