/* The register of transactions, under DATA_DIR/requests: which request id of which device became
 * which transaction, so that a repeat searches nothing twice even after a restart, and whose
 * transaction it is that an outcome or a new scan refers to. Holds no sample, nothing derived from
 * one and no answer. Entries are forgotten LEDGER_DAYS after their transaction.
 *
 * Loop thread only; writing happens on libuv's threads, many entries to one durable commit. */
#ifndef CORE_LEDGER_H
#define CORE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/identify/stamp.h"
#include "core/registry/registry.h"

#define LEDGER_DAYS 90

struct ledger;

struct ledger_entry {
    char transaction[STAMP_UUID_LEN + 1];
    char request_id[65];
    char device[REGISTRY_DEVICE_MAX + 1];
    char officer[REGISTRY_OFFICER_MAX + 1];
    char force[REGISTRY_FORCE_MAX + 1]; /* the officer's */
};

/* NULL with *fault. */
struct ledger *ledger_open(uv_loop_t *loop, const char *data_dir, struct whorl_fault *fault);

/* Only when no ledger_add is under way. */
void ledger_close(struct ledger *ledger);

/* Stores a copy of the entry; done comes from the loop when it is durable or has failed
 * (*fault then says why). */
void ledger_add(struct ledger *ledger, const struct ledger_entry *entry,
                void (*done)(void *ctx, bool stored, const struct whorl_fault *fault), void *ctx);

/* Look-ups among what is durable. FAILED sets *fault. */
enum registry_found ledger_by_request(struct ledger *ledger, const char *device,
                                      const char *request_id, struct ledger_entry *out,
                                      struct whorl_fault *fault);
enum registry_found ledger_by_transaction(struct ledger *ledger, const char *transaction,
                                          struct ledger_entry *out, struct whorl_fault *fault);

#endif
