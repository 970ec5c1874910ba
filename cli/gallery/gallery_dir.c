#include "cli/gallery/gallery_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/common.h"
#include "plugins/source/postgresql/follow.h"
#include "plugins/source/upstream/upstream.h"
#include "whorl/msg.h"

static bool takes_fingers(const struct whorl_plugin *descriptor)
{
    if (descriptor->role != WHORL_ROLE_SEARCH) {
        return false;
    }
    for (const char *const *m = descriptor->modalities; m && *m; m++) {
        if (strcmp(*m, "finger") == 0) {
            return true;
        }
    }
    return false;
}

/* DATA_DIR/name on the heap; NULL with *fault. */
static char *find(const struct conf *conf, const char *name, struct whorl_fault *fault)
{
    char *dir = NULL;
    const struct conf_plugin *plugin = conf_find_plugin(conf, name);
    if (!plugin) {
        whorl_fail(fault, conf->dir, "there is no plugin \"%s\"", name);
    } else if (plugin->descriptor && !takes_fingers(plugin->descriptor)) {
        whorl_fail(fault, conf->dir, "the plugin \"%s\" does not search for fingers", name);
    } else if (asprintf(&dir, "%s/%s", conf->core.data_dir, name) < 0) {
        dir = NULL;
        whorl_fail(fault, conf->dir, "out of memory");
    }
    return dir;
}

/* Where the people come from who are searched here: in a cascade, not who is asked beside them. */
static const char *source_here(const struct whorl_settings *settings)
{
    const char *source = settings->string(settings, NULL, "source");
    bool cascade = source && strcmp(source, WHORL_SOURCE_UPSTREAM) == 0;
    return cascade && upstream_asks_here(settings) ? upstream_source_here(settings) : source;
}

/* The folder of the gallery that the plugin searches. */
static char *find_searched(const struct conf *conf, const char *name, enum whorl_store_mode mode,
                           struct whorl_fault *fault)
{
    char *own = find(conf, name, fault), *dir = NULL;
    const struct conf_plugin *plugin = own ? conf_find_plugin(conf, name) : NULL;
    const char *source = plugin && plugin->settings ? source_here(plugin->settings) : NULL;
    if (!source || strcmp(source, "lmdb") == 0) {
        return own;
    }
    if (strcmp(source, PG_COPY_DIR) != 0) {
        whorl_fail(fault, conf->dir, "the plugin \"%s\" has no gallery: its source is %s", name,
                   source);
    } else if (mode == WHORL_STORE_WRITE) {
        whorl_fail(fault, conf->dir,
                   "the people of \"%s\" come from a database: they are changed there", name);
    } else if (asprintf(&dir, "%s/" PG_COPY_DIR, own) < 0) {
        dir = NULL;
        whorl_fail(fault, conf->dir, "out of memory");
    }
    free(own);
    return dir;
}

static struct gallery *open_dir(const struct conf *conf, const char *name,
                                enum whorl_store_mode mode, bool searched)
{
    struct whorl_fault fault = {{0}, {0}};
    struct gallery *gallery = NULL;
    char *dir = searched ? find_searched(conf, name, mode, &fault) : find(conf, name, &fault);
    if (dir) {
        gallery = gallery_open(dir, mode, &fault);
    }
    free(dir);
    if (!gallery) {
        print_fault(&fault);
    }
    return gallery;
}

struct gallery *gallery_dir_open(const struct conf *conf, const char *name,
                                 enum whorl_store_mode mode)
{
    return open_dir(conf, name, mode, true);
}

struct gallery *gallery_dir_open_own(const struct conf *conf, const char *name,
                                     enum whorl_store_mode mode)
{
    return open_dir(conf, name, mode, false);
}
