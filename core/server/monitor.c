#include "core/server/monitor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/server/internal.h"
#include "whorl/msg.h"

#define CONNECTIONS_MAX 16u
#define CONNECTION_MEMORY ((size_t)16 << 10)
#define TIMEOUT_S 10u

struct monitor {
    struct server *server;
    struct MHD_Daemon *daemon;
    uv_poll_t poll; /* of the daemon's epoll descriptor */
    uv_timer_t timer;
    unsigned handles; /* not yet closed */
    char address[64];
    uint16_t port; /* as configured */
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              char *body, size_t len, enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(len, body, mode);
    if (response == NULL) {
        if (mode == MHD_RESPMEM_MUST_FREE) {
            free(body);
        }
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
                                   const char *text)
{
    return answer(connection, status, "text/plain; charset=utf-8", (char *)text, strlen(text),
                  MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result answer_metrics(struct monitor *monitor, struct MHD_Connection *connection)
{
    size_t len = 0;
    char *text = server_metrics(monitor->server, &len);
    if (text == NULL) {
        return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
    }
    return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, len,
                  MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result answer_ready(struct monitor *monitor, struct MHD_Connection *connection)
{
    const char *why;
    return server_is_ready(monitor->server, &why)
               ? answer_text(connection, MHD_HTTP_OK, "ready\n")
               : answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, why);
}

/* A body is never wanted: whatever comes of one is passed over. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **seen)
{
    struct monitor *monitor = ctx;
    (void)version;
    (void)data;
    if (*seen == NULL) {
        *seen = monitor; /* the headers alone; the answer follows */
        return MHD_YES;
    }
    *data_len = 0;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
    }
    if (strcmp(url, "/metrics") == 0) {
        return answer_metrics(monitor, connection);
    }
    if (strcmp(url, "/healthz") == 0) {
        return answer_text(connection, MHD_HTTP_OK, "alive\n");
    }
    if (strcmp(url, "/readyz") == 0) {
        return answer_ready(monitor, connection);
    }
    return answer_text(connection, MHD_HTTP_NOT_FOUND, "/metrics, /healthz or /readyz\n");
}

/* Lets the daemon work, and comes back when it next wants to. */
static void on_timer(uv_timer_t *timer);

static void run(struct monitor *monitor)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    MHD_run(monitor->daemon);
    if (MHD_get_timeout(monitor->daemon, &wait_ms) == MHD_YES) {
        uv_timer_start(&monitor->timer, on_timer, wait_ms, 0);
    } else {
        uv_timer_stop(&monitor->timer);
    }
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

static bool make_address(const struct conf_monitor *conf, struct sockaddr_storage *address)
{
    return uv_ip4_addr(conf->address, conf->port, (struct sockaddr_in *)address) == 0 ||
           uv_ip6_addr(conf->address, conf->port, (struct sockaddr_in6 *)address) == 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct monitor *monitor = handle->data;
    if (--monitor->handles == 0) {
        free(monitor);
    }
}

void monitor_close(struct monitor *monitor)
{
    if (monitor == NULL) {
        return;
    }
    uv_close((uv_handle_t *)&monitor->poll, on_handle_closed);
    uv_close((uv_handle_t *)&monitor->timer, on_handle_closed);
    MHD_stop_daemon(monitor->daemon);
}

/* Makes the loop look after the daemon. */
static bool watch(struct monitor *monitor)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(monitor->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    uv_loop_t *loop = &monitor->server->loop;
    if (info == NULL || uv_poll_init(loop, &monitor->poll, info->epoll_fd) != 0) {
        return false;
    }
    uv_timer_init(loop, &monitor->timer);
    monitor->handles = 2;
    monitor->poll.data = monitor->timer.data = monitor;
    uv_poll_start(&monitor->poll, UV_READABLE, on_poll);
    return true;
}

static struct MHD_Daemon *start_daemon(struct monitor *monitor,
                                       const struct sockaddr_storage *address)
{
    unsigned flags = MHD_USE_EPOLL;
    if (address->ss_family == AF_INET6) {
        flags |= MHD_USE_IPv6;
    }
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, monitor, MHD_OPTION_SOCK_ADDR,
                            address, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
                            MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S, MHD_OPTION_END);
}

static void tell_listening(const struct monitor *monitor)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(monitor->daemon, MHD_DAEMON_INFO_BIND_PORT);
    char port[8];
    snprintf(port, sizeof port, "%u", info != NULL ? (unsigned)info->port : 0u);
    log_line(monitor->server->log, WHORL_LOG_INFO, "monitor listens", "address", monitor->address,
             "port", port, NULL);
}

static struct monitor *open_monitor(struct server *server, const struct conf_monitor *conf,
                                    struct whorl_fault *fault)
{
    struct sockaddr_storage address = {0};
    struct monitor *monitor = calloc(1, sizeof *monitor);
    if (monitor == NULL || !make_address(conf, &address)) {
        free(monitor);
        whorl_fail(fault, "monitor", "out of memory");
        return NULL;
    }
    monitor->server = server;
    monitor->port = conf->port;
    snprintf(monitor->address, sizeof monitor->address, "%s", conf->address);
    errno = 0;
    monitor->daemon = start_daemon(monitor, &address);
    if (monitor->daemon == NULL || !watch(monitor)) {
        whorl_fail(fault, "monitor", "can't listen on %s port %u%s%s", conf->address,
                   (unsigned)conf->port, errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
        if (monitor->daemon != NULL) {
            MHD_stop_daemon(monitor->daemon);
        }
        free(monitor);
        return NULL;
    }
    tell_listening(monitor);
    return monitor;
}

bool monitor_match(struct monitor **monitor, struct server *server, const struct conf_monitor *conf,
                   struct whorl_fault *fault)
{
    struct monitor *now = *monitor;
    if (!conf->on) {
        *monitor = NULL;
        return true;
    }
    if (now != NULL && strcmp(now->address, conf->address) == 0 && now->port == conf->port) {
        return true;
    }
    struct monitor *next = open_monitor(server, conf, fault);
    if (next == NULL) {
        return false;
    }
    *monitor = next;
    return true;
}
