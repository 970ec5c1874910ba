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

/* The processes that conf's plugins need beside those that run under `now`: what takes long of
 * starting them, done by another thread than the loop's. */
struct setup_ahead;
/* workers, log and the thread: as backend_ahead. NULL with *fault, and *culprit is the plugin
 * (NULL: none). */
struct setup_ahead *setup_ahead(unsigned workers, struct log *log, const struct conf *conf,
                                const struct conf *now, const struct conf_plugin **culprit,
                                struct whorl_fault *fault);
/* Ends those that nobody has taken over. NULL is fine. */
void setup_forgo(struct setup_ahead *ahead);

/* Starts every enabled plugin of conf; one that runs in `old` (may be NULL) unchanged is shared
 * with it, and what was started ahead (may be NULL) is taken over. On a failure what was started is
 * stopped again: NULL with *fault, and *culprit is the plugin. */
struct setup *setup_start(struct host *host, struct conf *conf, const struct setup *old,
                          struct setup_ahead *ahead, const struct conf_plugin **culprit,
                          struct whorl_fault *fault);
struct setup *setup_ref(struct setup *setup);
void setup_unref(struct setup *setup);

#endif
