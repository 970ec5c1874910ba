/* What line.c (calls, the thread) and link.c (its connection) share. All of it belongs to the
 * line's thread but for what stands below the lock. */
#ifndef CLIENT_LINE_PARTS_H
#define CLIENT_LINE_PARTS_H

#include <netdb.h>
#include <pthread.h>

#include "channel.h"
#include "resolve.h"
#include "whorl/line.h"

enum {
    LINE_METHOD_MAX = 100,
    LINE_HOST_CAP = 256,
    LINE_HEAD_CAP = 128,
    LINE_ATTEMPTS = 3,
    LINE_PING = 0
};

struct line_call {
    struct line_call *next;
    uint64_t id; /* of the message, too */
    struct whorl_line_call call;
    char method[LINE_METHOD_MAX + 1];
    uint64_t until, not_before; /* backoff_now's clock */
    uint32_t attempts;
    bool sent; /* some of it may have reached the server, on the connection that there is */
};

/* PROVING: a ping is under way. */
enum link_state { LINK_NONE, LINK_RESOLVING, LINK_DIALLING, LINK_SHAKING, LINK_PROVING, LINK_UP };

/* The connection. */
struct link {
    enum link_state state;
    struct channel channel;
    struct channel_tls tls;
    struct resolve *resolve;              /* while the host's name is looked up */
    struct addrinfo *addresses, *address; /* address: the one that is being tried */
    uint64_t until;                       /* of connecting */
    uint64_t dial_until;                  /* of waiting for the address that is being tried */
    struct whorl_secret in;
    struct whorl_msg_walker walker;
    bool retiring; /* takes no more calls: the server is draining */
    bool deaf;     /* takes nothing more: the server has hung up */
    bool more;     /* may be read without waiting */
    bool used;     /* a call was sent on it */
    short wants;   /* events of poll */
    /* The frame that is being sent: a head, and a call's argument (NULL: the ping). */
    struct line_call *sending;
    uint8_t head[LINE_HEAD_CAP];
    size_t head_len, sent;
};

struct whorl_line {
    struct whorl_line_options options;
    char *server, *certificate, *key, *ca, *name; /* copies of options; name: to be certified */
    char host[LINE_HOST_CAP];
    const char *port; /* in server */
    uint32_t max_reply, connect_ms, backoff_ms, backoff_max_ms;
    pthread_t thread;
    struct link link;
    struct line_call *calls, **last; /* in the order in which they came */
    size_t in_flight;                /* of them, sent whole or in part */
    bool begun;                      /* has been up once */
    uint32_t failures;               /* attempts in a row to connect */
    uint64_t retry_at;               /* while it is down */
    uint64_t pause_until;            /* before the next connection, while it is not */
    struct whorl_fault why;          /* ... and why it is */

    pthread_mutex_t lock;
    struct line_call *incoming, **incoming_last;
    uint64_t *cancels;
    size_t cancel_count, cancel_cap;
    uint64_t last_id;
    bool stopping;
    int wake; /* an eventfd */
};

/* link.c */

/* Whether it is down: what comes ends at once. */
bool link_is_down(const struct whorl_line *line);
/* Does what can be done without waiting. events: what poll said of the socket. */
void link_drive(struct whorl_line *line, short events);
/* What poll is to look at, for link->wants; -1: nothing. */
int link_fd(const struct whorl_line *line);
/* When link_drive has to be called even if nothing happens; UINT64_MAX: never. */
uint64_t link_due(const struct whorl_line *line);
/* The ping is answered. */
void link_come_up(struct whorl_line *line);
/* Hangs up without counting it as a failure; calls that were sent are to be sent again. */
void link_drop(struct whorl_line *line);
void link_release(struct whorl_line *line);

/* line.c */

/* Takes a call out of the list and tells it how it ended; frees it. */
void line_end(struct whorl_line *line, struct line_call *call,
              const struct whorl_client_reply *reply, const struct whorl_fault *fault);
/* The connection is gone: calls that may be sent again wait for another, the others end with *why.
 * counted: it was an attempt of theirs. */
void line_requeue(struct whorl_line *line, const struct whorl_fault *why, bool counted);
void line_end_all(struct whorl_line *line, const struct whorl_fault *why);
/* A message from the server; false with *fault: it is none. */
bool line_message(struct whorl_line *line, const msgpack_object *root, struct whorl_fault *fault);

#endif
