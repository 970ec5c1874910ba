/* Where a plugin keeps its data. */
#include "plugin_dir.h"

#include <stdio.h>
#include <string.h>

const struct conf_plugin *plugin_of_module(const struct conf *conf, const char *module)
{
    const struct conf_plugin *found = NULL;
    for (size_t i = 0; i < conf->plugin_count; i++) {
        const struct conf_plugin *plugin = &conf->plugins[i];
        const char *slash = strrchr(plugin->module, '/');
        if (strcmp(slash != NULL ? slash + 1 : plugin->module, module) == 0 &&
            (found == NULL || (!found->enabled && plugin->enabled))) {
            found = plugin;
        }
    }
    return found;
}

const struct conf_plugin *plugin_dir_find(const struct conf *conf, const char *module, char *path,
                                          size_t cap)
{
    const struct conf_plugin *found = plugin_of_module(conf, module);
    if (found == NULL) {
        fprintf(stderr, "%s: no plugin section has the module %s\n", conf->dir, module);
    } else if ((size_t)snprintf(path, cap, "%s/%s", conf->core.data_dir, found->name) >= cap) {
        fprintf(stderr, "%s: data_dir is too long\n", conf->dir);
        return NULL;
    }
    return found;
}
