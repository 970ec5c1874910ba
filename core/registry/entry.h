/* What the registry stores of a device and of an officer: a map under the id. Pure functions. */
#ifndef CORE_REGISTRY_ENTRY_H
#define CORE_REGISTRY_ENTRY_H

#include <lmdb.h>
#include <msgpack.h>
#include <stdbool.h>

#include "core/registry/registry.h"

/* Reads a stored pair, no more trusted than bytes from the wire, into *out: a struct
 * registry_device, a struct registry_officer. false with *fault, which says whose entry is
 * damaged. */
bool entry_read_device(const MDB_val *key, const MDB_val *value, void *out,
                       struct whorl_fault *fault);
bool entry_read_officer(const MDB_val *key, const MDB_val *value, void *out,
                        struct whorl_fault *fault);

/* Packs a map for storing into *packed, which has been initialised; the caller destroys it. Its
 * size is 0 when there was no memory. */
void entry_pack_device(const struct registry_device *device, msgpack_sbuffer *packed);
void entry_pack_officer(const struct registry_officer *officer, msgpack_sbuffer *packed);

#endif
