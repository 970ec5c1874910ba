/* A configuration together with the running backends that it asks for. Reference-counted: a call
 * keeps the setup that it started under, while a reload puts another in its place. Loop thread
 * only. */
#ifndef CORE_SETUP_H
#define CORE_SETUP_H

#include "core/conf/conf.h"
#include "core/host/host.h"

/* Messages that wait for a sink that has all the calls in flight that it may have. Shared by the
 * setups that share the sink. */
struct sink_queue;

struct setup_plugin {
    const struct conf_plugin *conf;
    const struct whorl_plugin *descriptor; /* NULL if disabled */
    struct backend *backend;               /* NULL if disabled */
    struct sink_queue *queue;              /* sinks only */
};

struct setup {
    unsigned refs;
    struct conf *conf;
    size_t count;
    struct setup_plugin plugins[]; /* in the order of conf->plugins */
};

/* Starts every enabled plugin of conf; one that runs in `old` (may be NULL) unchanged is shared
 * with it. On a failure what was started is stopped again: NULL with *fault, and *culprit is the
 * plugin. */
struct setup *setup_start(struct host *host, struct conf *conf, const struct setup *old,
                          const struct conf_plugin **culprit, struct whorl_fault *fault);
struct setup *setup_ref(struct setup *setup);
void setup_unref(struct setup *setup);

#endif
