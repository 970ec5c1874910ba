/* The thread that writes a database's answers into the cache: many at a time, because each write
 * waits for the disk and no look-up waits for it. */
#ifndef PLUGINS_PNC_KEEPER_H
#define PLUGINS_PNC_KEEPER_H

#include "plugins/pnc/cache.h"
#include "whorl/plugin.h"

struct pnc_keeper;

/* Starts the thread. max_bytes: what the cache may take. host and cache must outlive it. NULL with
 * *fault. */
struct pnc_keeper *pnc_keeper_open(const struct whorl_host *host, struct pnc_cache *cache,
                                   uint64_t max_bytes, struct whorl_fault *fault);

/* Writes what it still has, and ends the thread. */
void pnc_keeper_close(struct pnc_keeper *keeper);

/* Takes news over. While it has more than the disk takes, news are let go: the cache then has what
 * it had. Any thread; never blocks. */
void pnc_keeper_give(struct pnc_keeper *keeper, struct pnc_news *news);

#endif
