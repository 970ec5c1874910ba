/* A plugin's shared object: loaded, and its descriptor judged, without starting anything. */
#ifndef CORE_MODULE_H
#define CORE_MODULE_H

#include "whorl/plugin.h"

/* dlopens and checks a module's descriptor without starting it; used by conf_read too. NULL with
 * one sentence in *fault that names file, field, expected and found. */
const struct whorl_plugin *module_load(const char *path, struct whorl_fault *fault);

#endif
