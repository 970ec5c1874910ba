/* What a plugin's process may do from some moment on: nothing but compute, and keep its data. */
#ifndef CORE_GUEST_SANDBOX_H
#define CORE_GUEST_SANDBOX_H

#include "core/isolate/spec.h"

/* For what could not be had: one line each. */
typedef void sandbox_note(void *ctx, const char *text);

struct sandbox {
    const struct isolate_spec *spec;
    const char *const *paths; /* that its settings name; NULL-terminated */
    sandbox_note *note;
    void *ctx;
};

/* Limits, user, capabilities, Landlock, seccomp, in the order in which each can still be had. The
 * process has one thread, and has loaded nothing foreign. false with *fault when it must not go on.
 */
bool sandbox_enter(const struct sandbox *sandbox, struct whorl_fault *fault);

/* Parts of it. */
void sandbox_note_errno(const struct sandbox *sandbox, const char *what, int reason);
bool sandbox_become(const struct sandbox *sandbox, struct whorl_fault *fault); /* user.c */
bool sandbox_landlock(const struct sandbox *sandbox);                          /* landlock.c */
bool sandbox_filter(const struct sandbox *sandbox);                            /* filter.c */

#endif
