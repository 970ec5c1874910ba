/* Where a plugin keeps its data. */
#include "plugin_dir.h"

#include <stdio.h>
#include <string.h>

#include "core/conf/conf.h"

static void complain(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
}

bool plugin_dir_find(const char *conf_dir, const char *module, char *path, size_t cap)
{
    const struct conf_plugin *found = NULL;
    struct conf *conf = conf_read(conf_dir, complain, NULL);
    if (conf == NULL) {
        return false;
    }
    for (size_t i = 0; i < conf->plugin_count && found == NULL; i++) {
        const char *slash = strrchr(conf->plugins[i].module, '/');
        if (strcmp(slash != NULL ? slash + 1 : conf->plugins[i].module, module) == 0) {
            found = &conf->plugins[i];
        }
    }
    bool ok = found != NULL &&
              (size_t)snprintf(path, cap, "%s/%s", conf->core.data_dir, found->name) < cap;
    if (found == NULL) {
        fprintf(stderr, "%s: no plugin section has the module %s\n", conf_dir, module);
    } else if (!ok) {
        fprintf(stderr, "%s: data_dir is too long\n", conf_dir);
    }
    conf_unref(conf);
    return ok;
}
