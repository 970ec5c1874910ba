/* A plugin's process: `plugin-host` of this very program, made so that it has nothing of the
 * server but what it is given. */
#ifndef CORE_ISOLATE_SPAWN_H
#define CORE_ISOLATE_SPAWN_H

#include <sys/types.h>

#include "core/isolate/spec.h"

#define ISOLATE_ARGUMENT "plugin-host" /* the sub-command that a program calls guest_main for */
#define ISOLATE_WAIT_MS                                                                            \
    (ISOLATE_SANITIZED ? 60000 : 5000) /* for what a child says when it begins */

#define ISOLATE_HEARD_MAX (sizeof(uint32_t) + ISOLATE_SAYING_MAX) /* bytes of `heard` */

struct isolate_child {
    pid_t pid;
    int pidfd;      /* readable when it has ended */
    int control;    /* the server's end; -1: closed */
    int sayings;    /* the pipe's reading end, which never blocks; -1 */
    int status;     /* its /proc/PID/status, if it was handed over; -1 */
    int said;       /* things that were heard */
    uint8_t *heard; /* what it says, as far as it has come */
    size_t heard_len;
};

/* shared: the descriptors of orders, reports and bell, or NULL. Any thread; the child dies with
 * it. false with *fault. */
bool isolate_spawn(const struct isolate_spec *spec, const int *shared, struct isolate_child *child,
                   struct whorl_fault *fault);

/* A moment so many milliseconds from now, on the clock that isolate_hear waits by. */
int64_t isolate_until(int ms);

/* For one that is not there. */
#define ISOLATE_NO_CHILD ((struct isolate_child){-1, -1, -1, -1, -1, 0, NULL, 0})

/* What the child says next, *saying until the next call: its length; 0: nothing whole until that
 * moment (0: don't wait); -1: it has ended, will say nothing more, or says far too much. */
ssize_t isolate_hear(struct isolate_child *child, const uint8_t **saying, int64_t until);

/* Puts "where" and "text" of a saying into fault. */
void isolate_fault(const uint8_t *saying, size_t len, struct whorl_fault *fault);

/* SIGKILL. The child still has to be reaped. */
void isolate_kill(const struct isolate_child *child);

/* Waits for its end, closes what is open; puts into words how it ended ("was killed by signal 11
 * (Segmentation fault)"). Only when pidfd is readable, or after isolate_kill, lest it block. */
void isolate_reap(struct isolate_child *child, char *words, size_t cap);

/* A sealed memfd with these bytes (F_SEAL_WRITE too); -1 with errno. */
int isolate_sealed(const void *bytes, size_t len);

#endif
