/* Asking a module, in a process of its own, what it is and whether its settings are good: nothing
 * of it is ever loaded into this one. Any thread; blocks until the answer is there, a few
 * milliseconds, or at most ISOLATE_WAIT_MS. */
#ifndef CORE_ISOLATE_DESCRIBE_H
#define CORE_ISOLATE_DESCRIBE_H

#include <msgpack.h>

#include "core/isolate/spec.h"

/* Appends the module's descriptor, as module_describe writes it but not yet judged. false with
 * *fault, which names the module. */
bool isolate_describe(const struct isolate_spec *spec, msgpack_sbuffer *descriptor,
                      struct whorl_fault *fault);

/* Lets the module check spec->settings. refused: called for each view that it refuses, 0 (the
 * general one) to views. false with *fault when there was no verdict. */
bool isolate_check(const struct isolate_spec *spec, size_t views,
                   void (*refused)(void *ctx, size_t view, struct whorl_fault *fault), void *ctx,
                   struct whorl_fault *fault);

#endif
