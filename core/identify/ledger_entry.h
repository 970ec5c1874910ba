/* What the ledger stores of a transaction: a map under its UUID. Pure functions. */
#ifndef CORE_LEDGER_ENTRY_H
#define CORE_LEDGER_ENTRY_H

#include <lmdb.h>
#include <msgpack.h>
#include <stdbool.h>

#include "core/identify/ledger.h"

/* Reads a stored map, no more trusted than bytes from the wire. transaction: what is stored of its
 * UUID's text, at most STAMP_UUID_LEN bytes. false with *fault, which says whose entry is damaged.
 */
bool ledger_entry_read(const MDB_val *value, const char *transaction, struct ledger_entry *out,
                       struct whorl_fault *fault);

/* Packs a map for storing into *packed, which has been initialised; the caller destroys it. Its
 * size is 0 when there was no memory. */
void ledger_entry_pack(const struct ledger_entry *entry, msgpack_sbuffer *packed);

#endif
