/* The listening sockets of a server, and their replacement when the configuration changes. */
#ifndef CORE_LISTENER_H
#define CORE_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/conf/conf.h"
#include "core/log/log.h"
#include "core/net/stream.h"
#include "core/net/tls.h"

struct listener;

/* Somebody has come: his socket is the callee's, as stream_accept takes it. tls NULL: plain, and he
 * counts as `device`. Both live until the return. */
typedef void listener_arrival(void *ctx, int fd, struct tls_context *tls, const char *device);

#define LISTENERS_INHERITED_MAX 16u

struct listeners {
    struct stream_group *group;
    struct log *log;
    listener_arrival *arrival;
    void *ctx;
    struct listener **all;
    size_t count;
    struct {
        int fd;
        char name[CONF_NAME_MAX + 1];
    } inherited[LISTENERS_INHERITED_MAX]; /* not yet in use */
    size_t inherited_count;
};

void listeners_init(struct listeners *listeners, struct stream_group *group, struct log *log,
                    listener_arrival *arrival, void *ctx);

/* Hands over a listening socket that somebody else has opened, to be used by the first match for
 * the listener of its address and port, or where the system chose the port, of its address and
 * name. false with *fault: it is no listening TCP socket, or one too many; then it is still the
 * caller's. */
bool listeners_inherit(struct listeners *listeners, int fd, const char *name,
                       struct whorl_fault *fault);

/* What the listeners of a configuration read from files: certificates, keys, revocation lists. That
 * may take long, so any thread may do it, and touches nothing else. NULL with *fault. */
struct listeners_ahead;
struct listeners_ahead *listeners_ahead(const struct conf *conf, struct whorl_fault *fault);
void listeners_forgo(struct listeners_ahead *ahead); /* NULL is ignored */
/* As listeners_end, of the configuration's listener of that number. */
int64_t listeners_ahead_end(const struct listeners_ahead *ahead, size_t listener,
                            enum tls_file file);

/* Makes the sockets match conf, whose files are in `ahead` and are taken over from there: those of
 * the same address and port stay open and take the new certificates, others are opened and closed,
 * at the same port if need be. Inherited sockets that no listener wants are closed. On a failure
 * nothing changes: false with *fault. */
bool listeners_match(struct listeners *listeners, const struct conf *conf,
                     struct listeners_ahead *ahead, struct whorl_fault *fault);

/* The port that a listener is bound to; 0 if there is none of that name. */
uint16_t listeners_port(const struct listeners *listeners, const char *name);

/* When what the named listener's file holds ends first, as tls_context_end; 0 without TLS, or if
 * there is none of that name. */
int64_t listeners_end(const struct listeners *listeners, const char *name, enum tls_file file);

/* Closes all. */
void listeners_close(struct listeners *listeners);

#endif
