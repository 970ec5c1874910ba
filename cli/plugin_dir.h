/* Where a plugin keeps its data, for commands that read or fill it beside the server. */
#ifndef CLI_PLUGIN_DIR_H
#define CLI_PLUGIN_DIR_H

#include <stdbool.h>
#include <stddef.h>

/* Reads the configuration in conf_dir and finds the plugin whose module is the file `module`
 * ("whorl-audit.so"): its data directory goes to path. false, having written to standard error
 * what is wrong with the configuration or that it has no such plugin. */
bool plugin_dir_find(const char *conf_dir, const char *module, char *path, size_t cap);

#endif
