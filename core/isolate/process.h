/* One life of a plugin's process, and the server's side of its channel. Knows no loop: isolate.c
 * decides when to look. One thread at a time. */
#ifndef CORE_ISOLATE_PROCESS_H
#define CORE_ISOLATE_PROCESS_H

#include "core/isolate/channel.h"
#include "core/isolate/spawn.h"

/* What a report said, checked. */
struct process_report {
    enum channel_report_kind kind;
    uint64_t call;        /* the child's word for it: to be looked up */
    size_t read;          /* bytes behind its head; of an answer's last part alone */
    const uint8_t *bytes; /* of an answer, until the next report is taken; NULL when empty */
    size_t len;
    const char *text; /* a stage or a log line */
    double fraction;
    enum whorl_log_level level;
};

struct process {
    struct isolate_child child;
    struct channel channel;
    size_t orders_size; /* mapped */
    int bell;           /* the reading end of the pipe; -1 */
    uint32_t rung_for;  /* orders that the child has been told of */
    bool described, up;
    uint8_t *parts; /* of an answer that comes in pieces */
    size_t parts_len, parts_cap;
    uint64_t parts_call;
    size_t payload_used; /* bytes that a wipe must reach */
    uint8_t payload[CHANNEL_PAYLOAD_MAX + 1];
};

/* Makes the memory and the child, which lasts no longer than the calling thread. spec->task is
 * ISOLATE_RUN. NULL with *fault. */
struct process *process_new(const struct isolate_spec *spec, struct whorl_fault *fault);
/* Kills what still runs, waits for it, unmaps. words: how it ended. Messages in its memory are
 * wiped. */
void process_free(struct process *process, char *words, size_t cap);

enum process_says { PROCESS_NOTHING, PROCESS_NOTE, PROCESS_STARTED, PROCESS_FAILED };

/* The next of what the child says before it serves; waits for it as isolate_hear does. note and
 * fault: what a note or failure says. */
enum process_says process_hear(struct process *process, const struct isolate_spec *spec,
                               int64_t until, struct whorl_fault *fault);

/* A call for a slot that is free. *mapped: where a message that is too large for the slot went,
 * for process_release. false: out of (locked) memory, or the child takes no more. */
bool process_call(struct process *process, uint64_t call, const uint8_t *message, size_t len,
                  void **mapped);
/* The call's slot is free from now on: wipes its message. */
void process_release(struct process *process, uint64_t call, size_t len, void *mapped);
/* The call was given up; process_release comes later. */
bool process_cancel(struct process *process, uint64_t call);
bool process_stop(struct process *process);

/* Wakes the child if it sleeps and doesn't know yet of an order, or waits for room. */
void process_ring(struct process *process);
/* Says that the server is about to sleep, or that it is awake. asleep: false when there is
 * something to take after all. */
bool process_sleep(struct process *process);
void process_awake(struct process *process);

/* Takes the next report. GARBAGE: *why. An answer's parts are gathered: all but the last come back
 * as REPORT_ANSWER_PART, without content: only the call, and how much was read. */
enum channel_take process_take(struct process *process, struct process_report *report,
                               const char **why);

/* Processor time that it has used, nanoseconds; 0: unknown. */
uint64_t process_time(const struct process *process);

struct process_use {
    uint64_t memory; /* bytes, private, and of tables that map what isn't */
    uint64_t threads;
};
/* What it has just now; 0: unknown. */
struct process_use process_use(const struct process *process);

#endif
