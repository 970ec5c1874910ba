/* For bench/rpc: the front door (core/net, with its limits) and the plugin host (core/host, with
 * deadlines, breaker and figures) with nothing in between: every request's argument goes to the
 * plugin "echo" of the configuration in DIR, and its answer back to the device. What `identify`
 * does around a call, deciding and recording, is left out here and measured by itself.
 *
 *     rpc_route DIR
 *
 * Prints the port of the listener "plain" and serves until it is ended. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/guest/guest.h"
#include "core/host/host.h"
#include "core/isolate/spawn.h"
#include "core/net/listener.h"
#include "core/net/rpc.h"

struct passage;

struct route {
    uv_loop_t loop;
    struct log *log;
    struct host *host;
    struct backend *backend;
    struct rpc *rpc;
    struct passage *spare;
};

/* A call on its way. */
struct passage {
    struct route *route;
    uint64_t call;
    struct passage *next; /* of those to be used again */
};

static void complain(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx;
    fprintf(stderr, "rpc_route: %s:%d: %s\n", file, line, text);
}

static void need(bool ok, const struct whorl_fault *fault)
{
    if (!ok) {
        fprintf(stderr, "rpc_route: %s: %s\n", fault->where, fault->text);
        exit(3);
    }
}

static void on_progress(void *ctx, const char *stage, double fraction)
{
    (void)ctx;
    (void)stage;
    (void)fraction;
}

static void on_ended(void *ctx, enum backend_end end, const uint8_t *answer, size_t len)
{
    struct passage *passage = ctx;
    struct rpc *rpc = passage->route->rpc;
    if (end == BACKEND_ANSWERED)
        rpc_result(rpc, passage->call, answer, len);
    else
        rpc_error(rpc, passage->call, "internal", "", backend_end_name(end), 0);
    passage->next = passage->route->spare;
    passage->route->spare = passage;
}

static struct passage *new_passage(struct route *route)
{
    struct passage *passage = route->spare;
    if (passage != NULL) {
        route->spare = passage->next;
        return passage;
    }
    return malloc(sizeof *passage);
}

static void on_request(void *ctx, const struct rpc_call *call, const char *method,
                       const struct rpc_params *params)
{
    static const char head[] = "\x81\xa4"
                               "echo"; /* {"echo": params} */
    struct route *route = ctx;
    struct whorl_secret message = backend_buffer(route->backend);
    struct passage *passage = new_passage(route);
    (void)method;
    if (passage == NULL || whorl_secret_write(&message, head, sizeof head - 1) != 0 ||
        whorl_secret_write(&message, (const char *)params->bytes, params->len) != 0) {
        fputs("rpc_route: out of memory\n", stderr);
        exit(3);
    }
    *passage = (struct passage){route, call->id, NULL};
    const struct backend_listener listener = {on_progress, on_ended, passage};
    backend_call(route->backend, &message, 5000, &listener);
}

static void on_begin(void *ctx)
{
    host_gather(((struct route *)ctx)->host);
}

static void on_done(void *ctx)
{
    host_settle(((struct route *)ctx)->host);
}

static void on_gone(void *ctx, uint64_t connection)
{
    (void)ctx;
    (void)connection;
}

static const struct conf_plugin *find_echo(const struct conf *conf)
{
    for (size_t i = 0; i < conf->plugin_count; i++)
        if (strcmp(conf->plugins[i].name, "echo") == 0)
            return &conf->plugins[i];
    fputs("rpc_route: the configuration has no plugin \"echo\"\n", stderr);
    exit(3);
}

/* As the server does before it sleeps. */
static void before_sleep(uv_prepare_t *prepare)
{
    (void)prepare;
    whorl_secret_forget();
}

int main(int argc, char **argv)
{
    struct route route = {.log = log_new(STDERR_FILENO, WHORL_LOG_WARNING)};
    const struct rpc_handler handler = {on_request, on_begin, on_done, on_gone, &route};
    struct whorl_fault fault = {"", ""};
    uv_prepare_t prepare;
    if (argc > 1 && strcmp(argv[1], ISOLATE_ARGUMENT) == 0)
        return guest_main();
    if (argc != 2) {
        fputs("usage: rpc_route DIR\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct conf *conf = conf_read(argv[1], complain, NULL);
    if (conf == NULL || route.log == NULL)
        return 3;
    uv_loop_init(&route.loop);
    uv_prepare_init(&route.loop, &prepare);
    uv_prepare_start(&prepare, before_sleep);
    route.host = host_new(&route.loop, 1, route.log, &fault);
    need(route.host != NULL, &fault);
    route.backend = backend_start(route.host, conf, find_echo(conf), &fault);
    need(route.backend != NULL, &fault);
    route.rpc = rpc_new(&route.loop, conf, &handler, route.log);
    struct listeners_ahead *ahead = listeners_ahead(conf, &fault);
    need(route.rpc != NULL && ahead != NULL && rpc_listen(route.rpc, conf, ahead, &fault), &fault);
    listeners_forgo(ahead);
    printf("%u\n", (unsigned)rpc_port(route.rpc, "plain"));
    fflush(stdout);
    return uv_run(&route.loop, UV_RUN_DEFAULT);
}
