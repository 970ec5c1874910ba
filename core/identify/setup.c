#include "core/identify/setup.h"

#include <stdlib.h>
#include <string.h>

#include "core/identify/sink.h"

static const struct setup_plugin *find(const struct setup *setup, const char *name)
{
    for (size_t i = 0; setup != NULL && i < setup->count; i++) {
        if (strcmp(setup->plugins[i].conf->name, name) == 0) {
            return &setup->plugins[i];
        }
    }
    return NULL;
}

struct setup_ahead {
    size_t count;
    struct process *started[]; /* by plugin of the configuration; NULL: none */
};

/* Whether an instance that was started for one serves the other just as well. */
static bool same(const struct conf_plugin *one, const struct conf_plugin *other)
{
    return memcmp(one->digest, other->digest, sizeof one->digest) == 0 &&
           one->max_calls == other->max_calls && one->deadline_ms == other->deadline_ms;
}

/* The instance of the old setup that serves the new configuration; NULL if none. */
static const struct setup_plugin *unchanged(const struct setup *old, const struct conf_plugin *conf)
{
    const struct setup_plugin *was = find(old, conf->name);
    return was != NULL && was->backend != NULL && same(was->conf, conf) ? was : NULL;
}

struct setup_ahead *setup_ahead(unsigned workers, struct log *log, const struct conf *conf,
                                const struct conf *now, const struct conf_plugin **culprit,
                                struct whorl_fault *fault)
{
    *culprit = NULL;
    struct setup_ahead *ahead = calloc(1, sizeof *ahead + conf->plugin_count * sizeof(void *));
    if (ahead == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    for (ahead->count = 0; ahead->count < conf->plugin_count; ahead->count++) {
        const struct conf_plugin *plugin = &conf->plugins[ahead->count];
        const struct conf_plugin *was = conf_find_plugin(now, plugin->name);
        if (!plugin->enabled || (was != NULL && was->enabled && same(was, plugin))) {
            continue;
        }
        if (!backend_ahead(workers, log, conf, plugin, &ahead->started[ahead->count], fault)) {
            *culprit = plugin;
            setup_forgo(ahead);
            return NULL;
        }
    }
    return ahead;
}

void setup_forgo(struct setup_ahead *ahead)
{
    for (size_t i = 0; ahead != NULL && i < ahead->count; i++) {
        backend_forgo(ahead->started[i]);
    }
    free(ahead);
}

static struct backend *start_backend(struct host *host, struct conf *conf, size_t i,
                                     struct setup_ahead *ahead, struct whorl_fault *fault)
{
    struct process *started = NULL;
    if (ahead != NULL) {
        started = ahead->started[i];
        ahead->started[i] = NULL;
    }
    return backend_take_over(host, conf, &conf->plugins[i], started, fault);
}

static bool start_one(struct host *host, struct setup *setup, size_t i, const struct setup *old,
                      struct setup_ahead *ahead, struct whorl_fault *fault)
{
    struct setup_plugin *plugin = &setup->plugins[i];
    if (!plugin->conf->enabled) {
        return true;
    }
    const struct setup_plugin *was = unchanged(old, plugin->conf);
    plugin->backend =
        was != NULL ? backend_ref(was->backend) : start_backend(host, setup->conf, i, ahead, fault);
    if (plugin->backend == NULL) {
        return false;
    }
    plugin->descriptor = backend_descriptor(plugin->backend);
    if (plugin->descriptor->role != WHORL_ROLE_SINK) {
        return true;
    }
    plugin->queue = was != NULL ? sink_queue_ref(was->queue) : sink_queue_new();
    return plugin->queue != NULL || whorl_fail(fault, "", "out of memory");
}

struct setup *setup_start(struct host *host, struct conf *conf, const struct setup *old,
                          struct setup_ahead *ahead, const struct conf_plugin **culprit,
                          struct whorl_fault *fault)
{
    *culprit = NULL;
    struct setup *setup = calloc(1, sizeof *setup + conf->plugin_count * sizeof *setup->plugins);
    if (setup == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    setup->refs = 1;
    setup->conf = conf_ref(conf);
    for (size_t i = 0; i < conf->plugin_count; i++) {
        setup->plugins[i].conf = &conf->plugins[i];
        setup->count = i + 1;
        if (!start_one(host, setup, i, old, ahead, fault)) {
            *culprit = &conf->plugins[i];
            setup_unref(setup);
            return NULL;
        }
    }
    return setup;
}

struct setup *setup_ref(struct setup *setup)
{
    setup->refs++;
    return setup;
}

void setup_unref(struct setup *setup)
{
    if (setup == NULL || --setup->refs > 0) {
        return;
    }
    for (size_t i = 0; i < setup->count; i++) {
        if (setup->plugins[i].backend != NULL) {
            backend_unref(setup->plugins[i].backend);
        }
        if (setup->plugins[i].queue != NULL) {
            sink_queue_unref(setup->plugins[i].queue);
        }
    }
    conf_unref(setup->conf);
    free(setup);
}
