#include "core/net/listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/net/door.h"
#include "whorl/msg.h"

#define BACKLOG 1024

struct listener {
    struct door door;
    struct listeners *owner;
    char *name, *address, *device; /* device NULL with TLS */
    uint16_t port;                 /* as configured */
    struct tls_context *tls;       /* NULL: plain */
    bool leaving;                  /* no listener of the configuration at hand wants it */
};

/* One listener of the new configuration: a socket, and what its connections will get. */
struct plan {
    struct listener *listener;
    bool fresh;
    char *name, *device;
    struct tls_context *tls;
};

struct listeners_ahead {
    size_t count;
    struct tls_context *tls[]; /* by listener; NULL: without TLS, or taken over */
};

void listeners_init(struct listeners *listeners, struct stream_group *group, struct log *log,
                    listener_arrival *arrival, void *ctx)
{
    *listeners = (struct listeners){.group = group, .log = log, .arrival = arrival, .ctx = ctx};
}

static void name_listener(const struct conf_listener *conf, char *where, size_t cap)
{
    snprintf(where, cap, "listener \"%s\"", conf->name);
}

/* --- One socket ----------------------------------------------------------------------------- */

static void free_listener(struct listener *listener)
{
    tls_context_unref(listener->tls);
    free(listener->name);
    free(listener->address);
    free(listener->device);
    free(listener);
}

static void on_closed(void *ctx)
{
    struct listener *listener = ctx;
    struct stream_group *group = listener->owner->group;
    free_listener(listener);
    stream_group_drop(group);
}

static void close_listener(struct listener *listener)
{
    door_close(&listener->door);
}

static void on_arrived(void *ctx, int fd)
{
    struct listener *listener = ctx;
    struct listeners *owner = listener->owner;
    owner->arrival(owner->ctx, fd, listener->tls, listener->device);
}

static void on_kept_out(void *ctx, const char *reason)
{
    struct listener *listener = ctx;
    log_line(listener->owner->log, WHORL_LOG_WARNING, "a connection could not be accepted",
             "listener", listener->name, "reason", reason, NULL);
}

static const struct door_events door_events = {on_arrived, on_kept_out, on_closed};

static uint16_t bound_port(const struct listener *listener)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getsockname(listener->door.fd, (struct sockaddr *)&address, &len) < 0) {
        return 0;
    }
    return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                                         : ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* Reads a numeric address. */
static bool read_address(const struct conf_listener *conf, struct sockaddr_storage *address)
{
    return uv_ip4_addr(conf->address, conf->port, (struct sockaddr_in *)address) == 0 ||
           uv_ip6_addr(conf->address, conf->port, (struct sockaddr_in6 *)address) == 0;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
    }
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
}

/* --- Sockets that are handed over ----------------------------------------------------------- */

static bool is_listening(int fd)
{
    int yes = 0, type = 0;
    socklen_t yes_len = sizeof yes, type_len = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &yes_len) == 0 && yes != 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_STREAM;
}

bool listeners_inherit(struct listeners *listeners, int fd, const char *name,
                       struct whorl_fault *fault)
{
    if (!is_listening(fd)) {
        return whorl_fail(fault, "", "it is no listening socket");
    }
    if (listeners->inherited_count == LISTENERS_INHERITED_MAX) {
        return whorl_fail(fault, "", "there are more than %u", LISTENERS_INHERITED_MAX);
    }
    size_t i = listeners->inherited_count++;
    listeners->inherited[i].fd = fd;
    snprintf(listeners->inherited[i].name, sizeof listeners->inherited[i].name, "%s", name);
    return true;
}

/* Whether two addresses are the same; port 0 of the first stands for any. */
static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family) {
        return false;
    }
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *one = (const struct sockaddr_in6 *)a;
        const struct sockaddr_in6 *other = (const struct sockaddr_in6 *)b;
        return memcmp(&one->sin6_addr, &other->sin6_addr, sizeof one->sin6_addr) == 0 &&
               (one->sin6_port == 0 || one->sin6_port == other->sin6_port);
    }
    const struct sockaddr_in *one = (const struct sockaddr_in *)a;
    const struct sockaddr_in *other = (const struct sockaddr_in *)b;
    return one->sin_addr.s_addr == other->sin_addr.s_addr &&
           (one->sin_port == 0 || one->sin_port == other->sin_port);
}

/* Takes the inherited socket for this listener out of the list; -1: there is none. */
static int take_inherited(struct listeners *listeners, const struct conf_listener *conf,
                          const struct sockaddr_storage *wanted)
{
    for (size_t i = 0; i < listeners->inherited_count; i++) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;
        int fd = listeners->inherited[i].fd;
        if (getsockname(fd, (struct sockaddr *)&address, &len) == 0 &&
            same_address(wanted, &address) &&
            (conf->port != 0 || strcmp(conf->name, listeners->inherited[i].name) == 0)) {
            listeners->inherited[i] = listeners->inherited[--listeners->inherited_count];
            return fd;
        }
    }
    return -1;
}

static void close_inherited(struct listeners *listeners)
{
    while (listeners->inherited_count > 0) {
        size_t i = --listeners->inherited_count;
        log_line(listeners->log, WHORL_LOG_WARNING, "an inherited socket fits no listener: closed",
                 "name", listeners->inherited[i].name, NULL);
        close(listeners->inherited[i].fd);
    }
}

/* --- Sockets of our own --------------------------------------------------------------------- */

static bool set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

static void share_port(int fd, bool share)
{
    (void)set(fd, SOL_SOCKET, SO_REUSEPORT, share ? 1 : 0);
}

/* Lets the sockets that give way and hold this port share it, or not. Returns whether there are
 * any.
 */
static bool share_leaving(const struct listeners *owner, uint16_t port, bool share)
{
    bool any = false;
    for (size_t i = 0; i < owner->count; i++) {
        const struct listener *listener = owner->all[i];
        if (listener->leaving && port != 0 && bound_port(listener) == port) {
            share_port(listener->door.fd, share);
            any = true;
        }
    }
    return any;
}

static bool bind_to(int fd, const struct sockaddr_storage *address)
{
    bool six = address->ss_family == AF_INET6;
    socklen_t len = six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    /* Else the port of a server that has just ended is not to be had; "::" means all of IPv4 too.
     */
    return set(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
           (!six || set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0)) &&
           bind(fd, (const struct sockaddr *)address, len) == 0 && listen(fd, BACKLOG) == 0;
}

/* A socket that gives way to the new one may still hold its port ("0.0.0.0" that becomes
 * "127.0.0.1"): then both share it for the moment of binding. false: errno. */
static bool bind_beside(const struct listeners *owner, int fd,
                        const struct sockaddr_storage *address, uint16_t port)
{
    bool shared = share_leaving(owner, port, true);
    if (shared) {
        share_port(fd, true);
    }
    bool bound = bind_to(fd, address);
    int error = errno;
    if (shared) {
        share_port(fd, false);
        share_leaving(owner, port, false);
    }
    errno = error;
    return bound;
}

/* The inherited socket for this listener, or one of our own, listening; -1: errno. */
static int get_socket(struct listeners *owner, const struct conf_listener *conf,
                      const struct sockaddr_storage *address)
{
    int fd = take_inherited(owner, conf, address);
    bool inherited = fd >= 0;
    if (!inherited) {
        fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (fd < 0 ||
        (inherited ? listen(fd, BACKLOG) == 0 : bind_beside(owner, fd, address, conf->port))) {
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static struct listener *new_listener(struct listeners *owner, const struct conf_listener *conf)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        return NULL;
    }
    listener->owner = owner;
    listener->port = conf->port;
    listener->address = strdup(conf->address);
    if (listener->address == NULL) {
        free_listener(listener);
        return NULL;
    }
    return listener;
}

/* Makes the loop look after the socket: 0, or an error of libuv's. */
static int open_door(struct listener *listener, int fd)
{
    int n = door_open(&listener->door, listener->owner->group->loop, fd, &door_events, listener);
    if (n != 0) {
        close(fd);
        return n;
    }
    stream_prepare(fd);
    stream_group_hold(listener->owner->group);
    return 0;
}

static struct listener *open_listener(struct listeners *owner, const struct conf_listener *conf,
                                      const char *where, struct whorl_fault *fault)
{
    struct sockaddr_storage address = {0};
    if (!read_address(conf, &address)) {
        whorl_fail(fault, where, "%s is no numeric address", conf->address);
        return NULL;
    }
    struct listener *listener = new_listener(owner, conf);
    if (listener == NULL) {
        whorl_fail(fault, where, "out of memory");
        return NULL;
    }
    int fd = get_socket(owner, conf, &address);
    int n = fd < 0 ? uv_translate_sys_error(errno) : open_door(listener, fd);
    if (n != 0) {
        free_listener(listener);
        whorl_fail(fault, where, "can't listen on %s port %u: %s", conf->address,
                   (unsigned)conf->port, uv_strerror(n));
        return NULL;
    }
    return listener;
}

/* --- All of them ---------------------------------------------------------------------------- */

/* The open socket that serves this entry: the same address and port, and where the system chose
 * the port the same name. */
static struct listener *find_open(const struct listeners *listeners,
                                  const struct conf_listener *conf)
{
    for (size_t i = 0; i < listeners->count; i++) {
        struct listener *listener = listeners->all[i];
        if (strcmp(listener->address, conf->address) == 0 && listener->port == conf->port &&
            (conf->port != 0 || strcmp(listener->name, conf->name) == 0)) {
            return listener;
        }
    }
    return NULL;
}

static struct tls_context *read_files(const struct conf_listener *conf, struct whorl_fault *fault)
{
    const struct tls_files files = {conf->certificate, conf->key, conf->client_ca, conf->crl};
    struct whorl_fault cause;
    struct tls_context *tls = tls_context_new(&files, &cause);
    if (tls == NULL) {
        char where[sizeof fault->where];
        name_listener(conf, where, sizeof where);
        whorl_fail(fault, where, "%s%s%s", cause.where, cause.where[0] == '\0' ? "" : ": ",
                   cause.text);
    }
    return tls;
}

struct listeners_ahead *listeners_ahead(const struct conf *conf, struct whorl_fault *fault)
{
    struct listeners_ahead *ahead =
        calloc(1, sizeof *ahead + conf->listener_count * sizeof(struct tls_context *));
    if (ahead == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    for (; ahead->count < conf->listener_count; ahead->count++) {
        const struct conf_listener *listener = &conf->listeners[ahead->count];
        if (!listener->tls) {
            continue;
        }
        ahead->tls[ahead->count] = read_files(listener, fault);
        if (ahead->tls[ahead->count] == NULL) {
            listeners_forgo(ahead);
            return NULL;
        }
    }
    return ahead;
}

void listeners_forgo(struct listeners_ahead *ahead)
{
    for (size_t i = 0; ahead != NULL && i < ahead->count; i++) {
        tls_context_unref(ahead->tls[i]);
    }
    free(ahead);
}

static int64_t end_of(const struct tls_context *tls, enum tls_file file)
{
    return tls != NULL ? tls_context_end(tls, file) : 0;
}

int64_t listeners_ahead_end(const struct listeners_ahead *ahead, size_t listener,
                            enum tls_file file)
{
    return listener < ahead->count ? end_of(ahead->tls[listener], file) : 0;
}

static void plan_tls(struct plan *plan, struct listeners_ahead *ahead, size_t i)
{
    plan->tls = ahead->tls[i];
    ahead->tls[i] = NULL;
    struct tls_context *now = plan->listener != NULL ? plan->listener->tls : NULL;
    if (now != NULL && tls_context_same(now, plan->tls)) {
        /* Every device would have to prove itself anew, for nothing. */
        tls_context_unref(plan->tls);
        plan->tls = tls_context_ref(now);
    }
}

static bool plan_plain(struct plan *plan, const struct conf_listener *conf, const char *where,
                       struct whorl_fault *fault)
{
    struct sockaddr_storage address;
    if (!read_address(conf, &address)) {
        return whorl_fail(fault, where, "%s is no numeric address", conf->address);
    }
    if (!is_loopback(&address)) {
        return whorl_fail(fault, where,
                          "tls = off is allowed on a loopback address (127.0.0.0/8, ::1) alone, "
                          "not on %s",
                          conf->address);
    }
    plan->device = strdup(conf->device == NULL ? "" : conf->device);
    return plan->device != NULL || whorl_fail(fault, where, "out of memory");
}

/* Finds out which of the open sockets are wanted. */
static void keep_open(struct listeners *listeners, const struct conf *conf, struct plan *plans)
{
    for (size_t i = 0; i < listeners->count; i++) {
        listeners->all[i]->leaving = true;
    }
    for (size_t i = 0; i < conf->listener_count; i++) {
        plans[i].listener = find_open(listeners, &conf->listeners[i]);
        if (plans[i].listener != NULL) {
            plans[i].listener->leaving = false;
        }
    }
}

static bool make_plan(struct listeners *listeners, const struct conf_listener *conf,
                      struct plan *plan, struct whorl_fault *fault)
{
    char where[sizeof fault->where];
    name_listener(conf, where, sizeof where);
    if (!conf->tls && !plan_plain(plan, conf, where, fault)) {
        return false;
    }
    plan->name = strdup(conf->name);
    if (plan->name == NULL) {
        whorl_fail(fault, where, "out of memory");
        return false;
    }
    if (plan->listener == NULL) {
        plan->listener = open_listener(listeners, conf, where, fault);
        plan->fresh = plan->listener != NULL;
    }
    return plan->listener != NULL;
}

static void undo(struct plan *plans, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (plans[i].fresh) {
            close_listener(plans[i].listener);
        }
        tls_context_unref(plans[i].tls);
        free(plans[i].name);
        free(plans[i].device);
    }
}

static void carry_out(struct plan *plan)
{
    struct listener *listener = plan->listener;
    if (listener->tls != NULL && plan->tls != NULL && listener->tls != plan->tls) {
        tls_context_succeed(listener->tls, plan->tls);
    }
    tls_context_unref(listener->tls);
    free(listener->name);
    free(listener->device);
    listener->tls = plan->tls;
    listener->name = plan->name;
    listener->device = plan->device;
}

static bool is_planned(const struct plan *plans, size_t count, const struct listener *listener)
{
    for (size_t i = 0; i < count; i++) {
        if (plans[i].listener == listener) {
            return true;
        }
    }
    return false;
}

static void tell_listening(const struct listeners *listeners, const struct listener *listener)
{
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)bound_port(listener));
    log_line(listeners->log, WHORL_LOG_INFO, "listening", "listener", listener->name, "address",
             listener->address, "port", port, "tls", listener->tls != NULL ? "on" : "off", NULL);
}

/* Puts the plans in the place of what is there. all: room for count. */
static void replace(struct listeners *listeners, struct plan *plans, size_t count,
                    struct listener **all)
{
    for (size_t i = 0; i < listeners->count; i++) {
        if (!is_planned(plans, count, listeners->all[i])) {
            close_listener(listeners->all[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        carry_out(&plans[i]);
        all[i] = plans[i].listener;
        if (plans[i].fresh) {
            tell_listening(listeners, all[i]);
        }
    }
    free(listeners->all);
    listeners->all = all;
    listeners->count = count;
}

bool listeners_match(struct listeners *listeners, const struct conf *conf,
                     struct listeners_ahead *ahead, struct whorl_fault *fault)
{
    size_t count = conf->listener_count;
    struct plan *plans = calloc(count + 1, sizeof *plans);
    struct listener **all = calloc(count + 1, sizeof(struct listener *));
    if (plans == NULL || all == NULL) {
        free(plans);
        free(all);
        return whorl_fail(fault, "", "out of memory");
    }
    keep_open(listeners, conf, plans);
    for (size_t i = 0; i < count; i++) {
        if (conf->listeners[i].tls) {
            plan_tls(&plans[i], ahead, i);
        }
        if (!make_plan(listeners, &conf->listeners[i], &plans[i], fault)) {
            undo(plans, i + 1);
            free(plans);
            free(all);
            return false;
        }
    }
    replace(listeners, plans, count, all);
    free(plans);
    close_inherited(listeners);
    return true;
}

static const struct listener *find(const struct listeners *listeners, const char *name)
{
    for (size_t i = 0; i < listeners->count; i++) {
        if (strcmp(listeners->all[i]->name, name) == 0) {
            return listeners->all[i];
        }
    }
    return NULL;
}

uint16_t listeners_port(const struct listeners *listeners, const char *name)
{
    const struct listener *listener = find(listeners, name);
    return listener != NULL ? bound_port(listener) : 0;
}

int64_t listeners_end(const struct listeners *listeners, const char *name, enum tls_file file)
{
    const struct listener *listener = find(listeners, name);
    return listener != NULL ? end_of(listener->tls, file) : 0;
}

void listeners_close(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        close_listener(listeners->all[i]);
    }
    free(listeners->all);
    listeners->all = NULL;
    listeners->count = 0;
}
