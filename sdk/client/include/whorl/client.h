/* libwhorl-client: the device's side of the protocol (docs/protocol.md) for programs in C.
 *
 * A client holds one connection, TLS 1.3 with both sides' certificates, that is made when it is
 * needed and made again when it is lost, as it is, too, when nothing has been heard of the server's
 * machine for some 15 seconds. A call blocks until it is answered or its deadline has passed,
 * whichever comes first; meanwhile
 *  - a request that was told `busy` or `draining`, which has had no effect, is sent again;
 *  - after a lost connection it is sent again if that can do no harm: nothing of it had been sent,
 * or the caller says that it is repeatable. `identify` is: its request_id makes a repeat join or
 *    return the same transaction. So are `capabilities` and `ping`; `record_outcome` is not,
 * because each one that arrives is recorded;
 *  - attempts that fail are followed by a wait that doubles up to a bound, half of it left to
 * chance, so that devices don't come back all at once.
 *
 * Threads: a client belongs to one thread at a time; several clients may be used by several
 * threads. No thread, signal handler or event loop is made or needed, and a broken connection
 * raises no SIGPIPE. Requests are kept in locked memory that is wiped (whorl/secret.h), never in a
 * log or a file. Link with pkg-config whorl-client. */
#ifndef WHORL_CLIENT_H
#define WHORL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/api.h"
#include "whorl/msg.h"
#include "whorl/secret.h"

#ifdef __cplusplus
extern "C" {
#endif

struct whorl_client;

/* How to reach a server. Zeroed and `size` set, then filled in: 0 and NULL are the defaults. */
struct whorl_client_options {
    uint32_t size;           /* sizeof(struct whorl_client_options) */
    uint32_t max_reply;      /* bytes of one message from the server; default 64 MiB */
    const char *server;      /* HOST:PORT or [IPV6]:PORT */
    const char *certificate; /* this device's chain, PEM; NULL: plain TCP, to loopback addresses */
    const char *key;         /* its private key, PEM, not encrypted */
    const char *ca;          /* who signs the server's certificate, PEM */
    uint32_t connect_ms;     /* for one attempt to connect and shake hands; default 10,000 */
    uint32_t backoff_ms;     /* the first wait after a failed attempt; default 250 */
    uint32_t backoff_max_ms; /* the longest; default 10,000 */
};

/* Reads the options and the files that they name; does not connect. Strings are copied. NULL with
 * *fault, whose where is the file or "server". The private key stays in OpenSSL's memory. */
WHORL_API struct whorl_client *whorl_client_new(const struct whorl_client_options *options,
                                                struct whorl_fault *fault);

/* Closes the connection and releases all. client may be NULL. */
WHORL_API void whorl_client_free(struct whorl_client *client);

/* Connects now, in one attempt; true at once if there is a connection. For those who want to know
 * early that a server can't be reached or doesn't know the certificate (TLS 1.3 may tell the latter
 * at the first call only); a call connects by itself. false with *fault. Blocks for connect_ms at
 * the most, and for as long as the system takes to look a host's name up. */
WHORL_API bool whorl_client_connect(struct whorl_client *client, struct whorl_fault *fault);

/* What is said while a call is under way, on the calling thread. Neither function may use the
 * client. */
struct whorl_client_listener {
    void *ctx;
    /* A notification, e.g. method `progress`; argument is gone after the return. May be NULL. */
    void (*notified)(void *ctx, const char *method, const msgpack_object *argument);
    /* An attempt failed (why) and another follows in wait_ms. May be NULL. */
    void (*retrying)(void *ctx, const struct whorl_fault *why, uint64_t wait_ms);
};

/* What is called. */
struct whorl_client_request {
    uint32_t size;           /* sizeof(struct whorl_client_request) */
    bool repeatable;         /* may be sent again after a connection that was lost under way */
    const char *method;      /* 1 to 100 bytes */
    const uint8_t *argument; /* one packed msgpack object; the same bytes at each attempt */
    size_t argument_len;
    uint64_t deadline_ms; /* from now, for all attempts together; at least 1 */
    const struct whorl_client_listener *listener; /* NULL: nobody listens */
};

/* A reply; all zero is empty. The objects point into bytes. */
struct whorl_client_reply {
    struct whorl_secret bytes;
    struct whorl_msg msg;
    const msgpack_object *error; /* the server's error map (code, message, where), or NULL */
    const msgpack_object *result;
    uint32_t attempts; /* that it took, >= 1 */
};

/* Calls and waits for the reply. true: the server has answered, with a result or an error; an error
 * `busy` or `draining` comes back only if the deadline leaves no time for another attempt. false
 * with *fault: there is no answer, and unless the fault says otherwise the server may have done
 * what was asked. *reply has to be empty; release it in either case. */
WHORL_API bool whorl_client_call(struct whorl_client *client,
                                 const struct whorl_client_request *request,
                                 struct whorl_client_reply *reply, struct whorl_fault *fault);

/* Wipes and empties a reply. */
WHORL_API void whorl_client_reply_release(struct whorl_client_reply *reply);

#ifdef __cplusplus
}
#endif

#endif
