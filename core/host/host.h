/* The host of the plugins: loads them, gives them threads, timers and memory, and carries calls to
 * them and answers back. Knows nothing of devices or policy.
 *
 * All functions here belong to the loop thread, but for those that say otherwise. */
#ifndef CORE_HOST_H
#define CORE_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/conf/conf.h"
#include "core/host/breaker.h"
#include "core/isolate/isolate.h"
#include "core/log/log.h"
#include "core/metrics/histogram.h"
#include "whorl/msg.h"
#include "whorl/plugin.h"
#include "whorl/secret.h"

struct host;    /* worker threads and calls in flight */
struct backend; /* a running instance of a plugin; reference-counted */

/* NULL with *fault when threads can't be made. */
struct host *host_new(uv_loop_t *loop, unsigned workers, struct log *log,
                      struct whorl_fault *fault);
/* Once every backend is stopped: ends the workers, closes the handles (run the loop once more
 * until it is empty), frees. While a backend runs, the host keeps the loop alive. A plugin that
 * never ends its calls leaves the host in memory, because its threads may still use it. */
void host_close(struct host *host);

/* How many threads do plugins' jobs. */
unsigned host_workers(const struct host *host);
/* How many backends are not stopped yet. */
size_t host_running(const struct host *host);

/* Starts an instance of a plugin. Keeps a reference to conf, which plugin is of. NULL with *fault.
 */
struct backend *backend_start(struct host *host, struct conf *conf,
                              const struct conf_plugin *plugin, struct whorl_fault *fault);

/* The part of it that may take seconds, where the plugin has a process of its own: makes that
 * process and waits until it has started (core/isolate/ahead.h). *started: it, for
 * backend_take_over or backend_forgo; NULL where the plugin has none. workers: host_workers. false
 * with *fault. Any thread that lasts as long as the server, while nobody changes conf. */
bool backend_ahead(unsigned workers, struct log *log, const struct conf *conf,
                   const struct conf_plugin *plugin, struct process **started,
                   struct whorl_fault *fault);
/* As backend_start, with what backend_ahead has started (NULL: nothing), which it takes. */
struct backend *backend_take_over(struct host *host, struct conf *conf,
                                  const struct conf_plugin *plugin, struct process *started,
                                  struct whorl_fault *fault);
void backend_forgo(struct process *started); /* NULL is fine; any thread */

struct backend *backend_ref(struct backend *backend);
/* The last reference gone: no new call comes; when its calls and jobs have ended, it is stopped. */
void backend_unref(struct backend *backend);

/* Whether it can be asked now: one in a process of its own can't while that is being made anew. */
bool backend_is_up(const struct backend *backend);

const char *backend_name(const struct backend *backend);
const struct whorl_plugin *backend_descriptor(const struct backend *backend);
const struct conf_plugin *backend_conf(const struct backend *backend);

/* How a call ended, as the plugin's answer or for the host's own reason. */
enum backend_end {
    BACKEND_ANSWERED,  /* bytes hold the answer: one msgpack map of bounded size, not yet checked */
    BACKEND_TIMED_OUT, /* past its deadline */
    BACKEND_CANCELLED, /* by backend_cancel */
    BACKEND_MALFORMED, /* the plugin's answer is no msgpack map, or too large */
    BACKEND_BUSY,      /* max_calls are in flight already; reported before backend_call returns */
    BACKEND_CUT_OFF,   /* its breaker is open; reported before backend_call returns */
    BACKEND_FAILED,    /* its process did not answer; bytes hold the answer that says so */
};
enum { BACKEND_ENDS = BACKEND_FAILED + 1 };

const char *backend_end_name(enum backend_end end);

/* Around many calls in a row, as one read of a connection brings them: what plugins answer at once,
 * on the loop thread, is reported in host_settle, rather than when the loop next comes round.
 * Not nested. */
void host_gather(struct host *host);
void host_settle(struct host *host);

struct backend_listener {
    /* fraction < 0: unknown. Loop thread; at most one every 100 ms and stage. */
    void (*progress)(void *ctx, const char *stage, double fraction);
    /* Exactly once. Loop thread. The bytes live until it returns. */
    void (*ended)(void *ctx, enum backend_end end, const uint8_t *answer, size_t len);
    void *ctx;
};

/* An empty buffer to build a message in: locking memory costs far more than a small call, so a few
 * are kept locked, and wiped, between calls. To be given to backend_call, or released. */
struct whorl_secret backend_buffer(struct backend *backend);

/* Sends a message. Takes over message's bytes (leaving it empty) and wipes them when the plugin
 * has completed the call, even if that is after its end was reported here. deadline_ms from now.
 * Returns the call's id. */
uint64_t backend_call(struct backend *backend, struct whorl_secret *message, uint64_t deadline_ms,
                      const struct backend_listener *listener);
/* Ends a call now: listener->ended(BACKEND_CANCELLED) is called before the return; an unknown or
 * ended id is ignored. */
void backend_cancel(struct backend *backend, uint64_t call);

/* From within listener->ended(BACKEND_ANSWERED): the answer is of no use, so the call counts as
 * failed. */
void backend_distrust(struct backend *backend);

/* Whether a call would be taken now; if not, in how many ms it may be worth trying again. A search
 * or look-up is cut off after so many failures in a row (conf_plugin.breaker_*): calls that timed
 * out past the plugin's own deadline, ended malformed or were distrusted, and each loss of its
 * process, however many calls that ends. A sink never is, since every record must be tried. */
bool backend_has_room(const struct backend *backend);
bool backend_is_cut_off(const struct backend *backend, uint64_t *wait_ms);

/* What has happened to a backend so far. */
struct backend_stats {
    uint64_t ends[BACKEND_ENDS]; /* calls, by how they ended */
    unsigned in_flight;
    size_t jobs;              /* waiting for a worker, and running */
    struct histogram latency; /* of those that were answered, malformed or timed out */
    enum breaker_state breaker;
    uint64_t breaker_opened; /* times */
    uint64_t breaker_wait_ms;
    bool isolated;                /* in a process of its own, of which: */
    struct isolate_stats process; /* else all zero */
};
void backend_stats(struct backend *backend, struct backend_stats *stats);

#endif
