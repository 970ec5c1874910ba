/* Where a plugin keeps its data, for commands that read or fill it beside the server. */
#ifndef CLI_PLUGIN_DIR_H
#define CLI_PLUGIN_DIR_H

#include <stdbool.h>
#include <stddef.h>

#include "core/conf/conf.h"

/* The plugin whose module is the file `module` ("whorl-audit.so"); of several, one that is enabled.
 * NULL: none has it. */
const struct conf_plugin *plugin_of_module(const struct conf *conf, const char *module);

/* The same; its data directory goes to path. NULL, having written to standard error that there is
 * no such plugin. */
const struct conf_plugin *plugin_dir_find(const struct conf *conf, const char *module, char *path,
                                          size_t cap);

#endif
