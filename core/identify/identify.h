/* The methods that a device may call, and the main one's whole flow:
 *
 *     decode -> device and officer -> repeat? -> policy -> searches side by side -> look-ups for
 *     what they found -> claimed against found -> audit durable -> answer
 *
 * Knows backends by their descriptors only, and the connection as three functions. Loop thread
 * only. */
#ifndef CORE_IDENTIFY_H
#define CORE_IDENTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/identify/setup.h"
#include "core/log/log.h"
#include "core/metrics/histogram.h"
#include "core/registry/registry.h"
#include "whorl/msg.h"

struct identify;

/* Where replies go; the shape of rpc_result, rpc_error and rpc_notify. A call or connection that
 * has gone is ignored there. */
struct identify_replies {
    void *ctx;
    void (*result)(void *ctx, uint64_t call, const uint8_t *result, size_t len);
    void (*error)(void *ctx, uint64_t call, const char *code, const char *where,
                  const char *message, unsigned retry_ms);
    void (*notify)(void *ctx, uint64_t connection, const char *method, const uint8_t *argument,
                   size_t len);
};

/* Who calls. */
struct identify_caller {
    uint64_t connection, call;
    const uint8_t *certificate; /* 32 bytes: SHA-256 of the client certificate; NULL without TLS */
    const char *device;         /* without TLS: the id that the listener stands for; else NULL */
};

/* Makes the service; opens the ledger in DATA_DIR/requests. Keeps registry and log, and a
 * reference to setup. NULL with *fault. */
struct identify *identify_new(uv_loop_t *loop, struct setup *setup, struct registry *registry,
                              struct log *log, const struct identify_replies *replies,
                              struct whorl_fault *fault);

/* Later calls run under this setup; those in flight keep theirs. */
void identify_use(struct identify *identify, struct setup *setup);

/* One request. params: the RPC's parameter array, packed, which whorl_msg_walk has found whole; its
 * bytes need to live until the return only. Answered once, now or later. */
void identify_request(struct identify *identify, const struct identify_caller *caller,
                      const char *method, const uint8_t *params, size_t len);

/* From now on every request is answered `draining`; those in flight go on. */
void identify_drain(struct identify *identify);

enum identify_method {
    IDENTIFY_PING,
    IDENTIFY_CAPABILITIES,
    IDENTIFY_IDENTIFY,
    IDENTIFY_RECORD_OUTCOME,
    IDENTIFY_CANCEL,
    IDENTIFY_UNKNOWN
};
enum { IDENTIFY_METHODS = IDENTIFY_UNKNOWN + 1 };
const char *identify_method_name(enum identify_method method);

/* The codes of docs/protocol.md that this service answers; NULL past the last. */
#define IDENTIFY_CODES 13
const char *identify_code_name(size_t index);

#define IDENTIFY_CLASSES 7 /* by enum answer_class; the first is never counted */

/* What has happened so far, and what is going on. */
struct identify_stats {
    uint64_t requests[IDENTIFY_METHODS];
    uint64_t errors[IDENTIFY_CODES];
    uint64_t answers[IDENTIFY_CLASSES]; /* of backends, by class */
    struct histogram identify, outcome; /* from request to reply */
    size_t open;                        /* transactions, and records on their way to the sinks */
    size_t officers;                    /* remembered for their rates */
    size_t kept, kept_bytes;            /* answers kept for repeats */
    bool audited;                       /* the last record that was sent has been stored */
};
void identify_stats(const struct identify *identify, struct identify_stats *stats);

/* Calls in flight, and records on their way to the sinks. */
size_t identify_open(const struct identify *identify);
/* How long the calls in flight may yet take, in ms: some may have begun under another setup. */
uint64_t identify_longest(const struct identify *identify);

/* Writes a `server` record (docs/plugins.md) to every sink of the current setup; done (may be
 * NULL) hears whether all of them stored it. before: the digest of the configuration that this one
 * replaces; NULL = none. */
void identify_record_event(struct identify *identify, const char *event, const uint8_t *before,
                           void (*done)(void *ctx, bool stored), void *ctx);

/* With identify_open() == 0 only. Wipes and frees everything once the loop has closed its handles:
 * run it afterwards until it is empty. */
void identify_close(struct identify *identify);

#endif
