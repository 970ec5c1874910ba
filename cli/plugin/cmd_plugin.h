/* What the parts of `whorl plugin` share. */
#ifndef CLI_CMD_PLUGIN_H
#define CLI_CMD_PLUGIN_H

#include <limits.h>

#include "whorl/plugin.h"

/* Loads a module for a tool; its absolute path goes to path. NULL with the reason printed. */
const struct whorl_plugin *plugin_file_load(const char *file, char path[PATH_MAX]);

/* "search", "look-up" or "sink". */
const char *plugin_role_name(const struct whorl_plugin *plugin);

/* `whorl plugin test`. Returns an exit code. */
int cmd_plugin_test(int argc, char **argv);

#endif
