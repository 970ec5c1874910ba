/* Inside the store: what its parts know of one another. */
#ifndef SDK_STORE_PARTS_H
#define SDK_STORE_PARTS_H

#include "whorl/store.h"

/* From now on, no process writes with memory that it had when it wrote before: what was deleted
 * does not get into the file by way of it. false with *fault. Blocks. */
bool store_forget(struct whorl_store *store, struct whorl_fault *fault);

#endif
