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

/* The instance of the old setup that serves the new configuration just as well; NULL if none. */
static const struct setup_plugin *unchanged(const struct setup *old, const struct conf_plugin *conf)
{
    const struct setup_plugin *was = find(old, conf->name);
    bool same = was != NULL && was->backend != NULL &&
                memcmp(was->conf->digest, conf->digest, sizeof conf->digest) == 0 &&
                was->conf->max_calls == conf->max_calls &&
                was->conf->deadline_ms == conf->deadline_ms;
    return same ? was : NULL;
}

static bool start_one(struct host *host, struct conf *conf, const struct setup *old,
                      struct setup_plugin *plugin, struct whorl_fault *fault)
{
    if (!plugin->conf->enabled) {
        return true;
    }
    const struct setup_plugin *was = unchanged(old, plugin->conf);
    plugin->backend =
        was != NULL ? backend_ref(was->backend) : backend_start(host, conf, plugin->conf, fault);
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
                          const struct conf_plugin **culprit, struct whorl_fault *fault)
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
        if (!start_one(host, conf, old, &setup->plugins[i], fault)) {
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
