/* A line to a server: one connection that any number of calls share, for programs that make many at
 * once, such as a gateway that passes its calls on. For one call after another, whorl/client.h is
 * simpler.
 *
 * A line has a thread of its own, on which all its callbacks come; they may start and cancel calls,
 * and must not block. It connects when it is made, and again when it is needed; a connection counts
 * when a `ping` has been answered on it:
 *  - one that is lost is made anew at once, and the calls that were under way are sent again if
 * that can do no harm (as in whorl/client.h), three times at the most;
 *  - if it can't be made, the line is down: all its calls end, and calls that come end at once,
 * while it tries again by itself, after waits that double up to a bound, half of them left to
 * chance;
 *  - a call that was told `busy` or `draining`, which has had no effect, is sent again after a
 * while as long as its deadline leaves time. The files of TLS are read anew for each connection, so
 * that a renewed certificate is taken up. The name of a server is looked up by the system, which
 * may take its time; until then the line's calls wait, and end at their deadlines only after it.
 * Link with pkg-config whorl-client. */
#ifndef WHORL_LINE_H
#define WHORL_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/client.h"

#ifdef __cplusplus
extern "C" {
#endif

struct whorl_line;

/* Zeroed and `size` set, then filled in: 0 and NULL are the defaults. */
struct whorl_line_options {
    uint32_t size;      /* sizeof(struct whorl_line_options) */
    uint32_t max_calls; /* sent and not yet answered at one time, the others wait; default 64 */
    const struct whorl_client_options *client;
    const char *server_name; /* that the server's certificate must be for; default: its host */
    void *ctx;
    /* A notification, e.g. method `progress`; argument is gone after the return. May be NULL. */
    void (*notified)(void *ctx, const char *method, const msgpack_object *argument);
    /* The line came up (why NULL), or went down and is tried again in wait_ms. May be NULL. */
    void (*changed)(void *ctx, const struct whorl_fault *why, uint64_t wait_ms);
};

/* Reads the options and the files that they name, and starts the thread, which connects. Strings
 * are copied. NULL with *fault, as whorl_client_new. */
WHORL_API struct whorl_line *whorl_line_new(const struct whorl_line_options *options,
                                            struct whorl_fault *fault);

/* What is called. */
struct whorl_line_call {
    uint32_t size;           /* sizeof(struct whorl_line_call) */
    bool repeatable;         /* may be sent again after a connection that was lost under way */
    const char *method;      /* 1 to 100 bytes; copied */
    const uint8_t *argument; /* one packed msgpack object; the caller's, until the call has ended */
    size_t argument_len;
    uint64_t deadline_ms; /* from now, for all attempts together; at least 1 */
    void *ctx;
    /* Exactly once: the server's result or error, or NULL and why there is neither; then the server
     * may have done what was asked unless the fault says otherwise. Both are gone after the return.
     */
    void (*ended)(void *ctx, const struct whorl_client_reply *reply,
                  const struct whorl_fault *fault);
};

/* Starts a call; never blocks. Its id, or 0 when it is ill-formed, memory is short or the line is
 * being freed: then ended is not called. Any thread. */
WHORL_API uint64_t whorl_line_call(struct whorl_line *line, const struct whorl_line_call *call);

/* Gives a call up: it ends soon, if it has not yet. The server is not told. Any thread. */
WHORL_API void whorl_line_cancel(struct whorl_line *line, uint64_t call);

/* Ends what is under way, then the thread; releases all. Not on the line's own thread. line may be
 * NULL. */
WHORL_API void whorl_line_free(struct whorl_line *line);

#ifdef __cplusplus
}
#endif

#endif
