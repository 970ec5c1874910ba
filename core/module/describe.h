/* A module's descriptor as bytes, so that a process that has loaded the module can tell another,
 * which hasn't, what it holds. */
#ifndef CORE_MODULE_DESCRIBE_H
#define CORE_MODULE_DESCRIBE_H

#include <msgpack.h>

#include "whorl/plugin.h"

#define DESCRIBE_MAX (640u << 10) /* bytes; what module_load accepts never has more */

/* All but the functions; whether there is a check is among it. */
void module_describe(const struct whorl_plugin *plugin, msgpack_sbuffer *out);

/* The reverse, from bytes that may be hostile: everything is judged as module_load judges it.
 * functions: a descriptor whose functions the result gets (check only if the module has one).
 * alloc: gives zeroed memory, which can't fail, for as long as the result is to live. NULL with one
 * sentence in *fault. path names the module in it. */
const struct whorl_plugin *module_undescribe(const uint8_t *bytes, size_t len, const char *path,
                                             const struct whorl_plugin *functions,
                                             void *(*alloc)(void *ctx, size_t size), void *ctx,
                                             struct whorl_fault *fault);

#endif
