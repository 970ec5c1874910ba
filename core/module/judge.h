/* What core/module's files share. */
#ifndef CORE_MODULE_JUDGE_H
#define CORE_MODULE_JUDGE_H

#include <stdbool.h>
#include <stddef.h>

#include "whorl/plugin.h"

#define MODULE_LINE_MAX 1000u /* bytes of a setting's fallback, and of its about */

/* Whether a descriptor of this ABI holds what it must, but for its functions. */
bool module_judge(const char *path, const struct whorl_plugin *plugin, struct whorl_fault *fault);

/* A setting by its index: a module's entries may be longer than ours. */
const struct whorl_setting *module_setting(const struct whorl_plugin *plugin, size_t index);

#endif
