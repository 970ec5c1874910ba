/* Validated settings as bytes, for the process that a plugin runs in. */
#ifndef CORE_CONF_SETTINGS_PACK_H
#define CORE_CONF_SETTINGS_PACK_H

#include <msgpack.h>

#include "core/conf/arena.h"
#include "whorl/plugin.h"

/* [general values, forces: [[code, values]…], paths that the settings name: [str…]] */
void settings_pack(const struct whorl_settings *settings, msgpack_sbuffer *out);

/* The paths alone, from packed settings: how many, and the index-th ("" past the end). */
size_t settings_pack_paths(const msgpack_object *packed);
const char *settings_pack_path(struct arena *arena, const msgpack_object *packed, size_t index);

/* The reverse, for the same descriptor. NULL: the bytes don't fit it. arena must have room for 96
 * times the bytes. */
const struct whorl_settings *settings_unpack(struct arena *arena,
                                             const struct whorl_plugin *descriptor,
                                             const msgpack_object *packed);

#endif
