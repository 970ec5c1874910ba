/* LMDB behind one pair of files: opening, sharing, growing, and its codes in words.
 *
 * LMDB forbids opening an environment twice in one process, but a reload runs two instances of a
 * plugin side by side: so stores are shared by path, and the last close closes. Other processes
 * (`whorl enrol` beside a running `whorl serve`) may use the same directory at the same time. */
#ifndef WHORL_STORE_H
#define WHORL_STORE_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/api.h"
#include "whorl/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

struct whorl_store;

enum whorl_store_mode {
    WHORL_STORE_READ, /* the directory must exist */
    WHORL_STORE_WRITE /* made when missing; commits are fsynced */
};

/* Opens the store in directory `dir` with room for max_dbs named databases. `kind` (e.g.
 * "whorl-gallery") and `version` are written into a new store and must agree with an old one.
 * NULL with *fault set, naming dir, what was expected and what was found. Any thread. */
WHORL_API struct whorl_store *whorl_store_open(const char *dir, enum whorl_store_mode mode,
                                               unsigned max_dbs, const char *kind, uint32_t version,
                                               struct whorl_fault *fault);
WHORL_API void whorl_store_close(struct whorl_store *store);

/* A named database handle, opened (and in a writable store made) with LMDB's flags. Handles are
 * cached for the store's life. false with *fault. */
WHORL_API bool whorl_store_db(struct whorl_store *store, const char *name, unsigned flags,
                              MDB_dbi *dbi, struct whorl_fault *fault);

/* A read transaction (MDB_NOTLS: may move between threads, one at a time). Keep it short: an old
 * reader makes the map grow. NULL with *fault. Any thread. End with whorl_store_done. */
WHORL_API MDB_txn *whorl_store_read(struct whorl_store *store, struct whorl_fault *fault);
WHORL_API void whorl_store_done(struct whorl_store *store, MDB_txn *txn);

/* Runs write(txn, arg) in a write transaction and commits it durably. write returns an LMDB code
 * (0 = go on) and may be run again from its start, after the map has grown: so it must not change
 * anything outside the transaction that it could not set anew. On an error nothing of it is
 * stored. Blocks (other writers, fsync): never on the loop thread. Any other thread. */
WHORL_API bool whorl_store_write(struct whorl_store *store, int (*write)(MDB_txn *txn, void *arg),
                                 void *arg, struct whorl_fault *fault);

struct whorl_store_erased {
    uint64_t bytes; /* that were not zero before */
};

/* Overwrites with zeros, in place and durably, every byte of the data file that holds nothing any
 * more: free pages and the gaps in those in use. What was deleted in transactions that ended before
 * the call is then no longer in the file, as far as file system and disk overwrite in place.
 * Nor does it come back from the memory of a process that wrote it: at its next write, each opens
 * the file anew, which waits for the transactions that it has open (10 s at most).
 * Writers, of other processes too, wait meanwhile (the file is read once); readers do not. Blocks.
 * Any thread but the loop's. false with *fault, also when somebody reads a state from before the
 * call for longer than 10 s. */
WHORL_API bool whorl_store_erase(struct whorl_store *store, struct whorl_store_erased *done,
                                 struct whorl_fault *fault);

#ifdef __cplusplus
}
#endif

#endif
