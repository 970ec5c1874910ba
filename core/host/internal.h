/* What the host's files share. */
#ifndef CORE_HOST_INTERNAL_H
#define CORE_HOST_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/host/host.h"
#include "core/host/pool.h"
#include "core/net/idmap.h"

#define ANSWER_MAX ((size_t)16 << 20) /* bytes */

enum {
    CALL_STAGES = 8,      /* of one call that are reported */
    STAGE_MAX = 32,       /* bytes of a stage's name, with its NUL */
    PROGRESS_MS = 100,    /* between two reports of one stage */
    PLACE_BITS = 16,      /* of a call's id; the rest is a number that never comes again */
    CHUNK_CALLS = 1 << 8, /* calls are made this many at a time, and never moved or freed */
    CHUNKS = (1 << PLACE_BITS) / CHUNK_CALLS,
    GATHERED_BYTES = 64 << 10, /* of answers given on the loop thread, until they are reported */
    SETTLE_ROUNDS = 8,         /* of answers that bring calls that are answered at once */
    SPARE_BUFFERS = 1 << 10,   /* of ended calls, wiped, that are kept for the next ones */
    JOBS_GATHERED = 16,        /* jobs that the loop submits before a worker is woken at once */
    SPARE_BYTES = 4 << 20,     /* of them all: they stay locked */
    SPARE_LARGEST = 1 << 16,
};

struct report {
    char stage[STAGE_MAX];
    double fraction;
    uint64_t sent_at;
    bool sent, fresh; /* fresh: not yet handed on */
};

/* What is remembered of a call for its backend's figures and breaker. */
struct call_mark {
    uint64_t started; /* uv_hrtime */
    bool probe;       /* decides for the breaker */
    bool whole;       /* had all the time that the plugin may have */
};

/* A place in the table of calls, and the call that has it. */
struct call {
    _Atomic uint64_t live; /* the call's id while its end is waited for; else 0 */
    _Atomic uint64_t lost; /* the id of a call whose answer couldn't be stored */
    _Atomic(struct backend *) backend;

    /* loop thread */
    uint64_t id; /* until the plugin completes it; 0: the place is free */
    uint32_t next_free;
    bool ended;    /* reported to the listener */
    bool failed;   /* its process could not answer */
    bool answered; /* the plugin has completed it, which the loop has yet to look at */
    bool timed;    /* deadline is running */
    bool has_timer;
    struct backend_listener listener;
    struct whorl_secret message; /* the plugin's to read until it has completed the call */
    uv_timer_t deadline;
    struct call_mark mark;

    /* guarded by host->lock */
    uint64_t reported; /* the id that the reports are of */
    struct report reports[CALL_STAGES];
    struct call *next_reporting;
    bool reporting; /* in host->reporting */
};

/* An answer on its way to the listener. */
struct completion {
    struct completion *next; /* of those from other threads */
    struct backend *backend;
    uint64_t call;
    bool good; /* one msgpack map */
    size_t len;
    uint8_t answer[];
};

/* Answers that were given on the loop thread: completions, each at a multiple of their alignment.
 */
struct gathered {
    size_t used;
    _Alignas(struct completion) uint8_t bytes[GATHERED_BYTES];
};

/* A plugin's timer. */
struct timer {
    uv_timer_t handle;
    uint64_t id;
    struct backend *backend;
    void (*expired)(void *arg);
    void *arg;
    struct timer *next, **link; /* of the backend's */
};

struct backend {
    struct whorl_host abi; /* what the plugin sees; abi.ctx is this backend */
    struct host *host;
    struct conf *conf;
    const struct conf_plugin *plugin;
    const char *name; /* outlives conf */
    void *instance;
    unsigned references;
    unsigned in_flight; /* calls that the plugin hasn't completed */
    bool stopped;
    struct pool_queue jobs;
    struct timer *timers;
    struct breaker breaker;
    bool distrusted; /* the answer at hand */
    struct backend_stats stats;
    struct backend *next;
};

struct host {
    uv_loop_t *loop;
    struct log *log;
    pthread_t loop_thread;
    uv_async_t wake;
    uv_timer_t progress_due;
    unsigned open_handles;
    uv_prepare_t before_waiting;
    bool jobs_gathered; /* loop thread: workers are to be told of jobs */
    struct pool pool;
    /* Stopped ones stay: a plugin's stray thread must not find freed memory. */
    struct backend *backends;
    size_t running;
    struct idmap timers; /* by id: thousands of calls may wait on one each */

    _Atomic(struct call *) chunks[CHUNKS];
    uint32_t call_count, first_free; /* loop thread; first_free == call_count: none */
    uint64_t last_number;
    atomic_bool answers_lost;

    /* loop thread */
    struct gathered *gathered, *settling; /* what comes while the other is being reported */
    bool gathering;                       /* host_settle will come */
    uint64_t moment;                      /* uv_hrtime of a batch; 0: to be asked */

    struct whorl_secret spare[SPARE_BUFFERS]; /* loop thread */
    size_t spare_count, spare_bytes;

    pthread_mutex_t lock;
    struct completion *completions, **completions_last;
    struct call *reporting; /* calls with something fresh to report */
    bool closed;            /* the loop may be gone */
};

/* Any thread: makes the loop look at what has come. */
void host_wake(struct host *host);
/* uv_hrtime, as exact as a batch of calls that end at once needs it. */
uint64_t host_moment(struct host *host);
/* A backend more or less that runs. */
void host_count_running(struct host *host, int change);

/* In builds with assertions: ends the process when a function of the loop thread is called from
 * another. */
#ifdef NDEBUG
#define LOOP_ONLY(host) ((void)(host))
#else
#define LOOP_ONLY(host) host_check_thread(host, __func__)
void host_check_thread(const struct host *host, const char *function);
#endif

/* Wipes a buffer and keeps it for host_buffer, or releases it. */
void host_give_back(struct host *host, struct whorl_secret *buffer);

/* call.c: what the plugin calls back, and what the loop then does. */
void call_complete(const struct whorl_host *abi, uint64_t id, const uint8_t *answer, size_t len);
void call_progress(const struct whorl_host *abi, uint64_t id, const char *stage, double fraction);
bool call_cancelled(const struct whorl_host *abi, uint64_t id);
/* What completes the call next is no answer of the plugin's. Loop thread. */
void call_failed(const struct whorl_host *abi, uint64_t id);
void call_drain(struct host *host);
void call_settle(struct host *host);
void call_flush_progress(struct host *host);
/* Closes the handles of the calls; closed is told of each, whose data is the host. Returns their
 * number. */
unsigned call_close_timers(struct host *host, uv_close_cb closed);
void call_free_table(struct host *host);

/* backend.c */
void backend_stop_if_idle(struct backend *backend);
/* Whether a call may be sent: BACKEND_ANSWERED, or why not. */
enum backend_end backend_admit(struct backend *backend, struct call_mark *mark);
/* Counts how a call ended that was admitted. */
void backend_count(struct backend *backend, const struct call_mark *mark, enum backend_end end);
void backend_log(const struct backend *backend, enum whorl_log_level level, const char *text);

#endif
