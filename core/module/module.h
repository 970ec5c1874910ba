/* A plugin's shared object: loaded, and its descriptor judged, without starting anything. */
#ifndef CORE_MODULE_H
#define CORE_MODULE_H

#include <stdbool.h>

#include "whorl/plugin.h"

/* dlopens and checks a module's descriptor without starting it; used by conf_read too. NULL with
 * one sentence in *fault that names file, field, expected and found. */
const struct whorl_plugin *module_load(const char *path, struct whorl_fault *fault);

/* The first of its checks alone: whether there is a file that only its owners can change. */
bool module_is_file(const char *path, struct whorl_fault *fault);

#endif
