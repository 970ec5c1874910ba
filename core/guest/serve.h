/* The host that an instance in a process of its own sees: it turns what the ABI says into orders
 * and reports on the channel. */
#ifndef CORE_GUEST_SERVE_H
#define CORE_GUEST_SERVE_H

#include "core/isolate/channel.h"
#include "core/isolate/spec.h"

struct guest;

/* NULL with *fault. What is passed lives as long as the process. */
struct guest *guest_new(const struct channel *channel, const struct isolate_spec *spec,
                        const struct whorl_plugin *plugin, const struct whorl_settings *settings,
                        struct whorl_fault *fault);

/* Starts the instance. false with *fault. Main thread. */
bool guest_start(struct guest *guest, struct whorl_fault *fault);

/* Serves until the server says stop, and the instance has stopped. Main thread. */
void guest_serve(struct guest *guest);

#endif
