#include "core/server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/net/listener.h"
#include "core/server/internal.h"
#include "core/server/process.h"
#include "core/server/systemd.h"
#include "whorl/secret.h"

#define DRAIN_LOOK_MS 10u     /* how often a draining server looks whether it is empty */
#define DRAIN_GRACE_MS 10000u /* past the last call's own deadline */
/* Who has just connected, or is in the middle of a talk, shall be told `draining` rather than cut
 * off: a draining server waits for so much silence, but no longer than so long. */
#define DRAIN_SILENCE_MS 250u
#define DRAIN_TALK_MS 5000u

/* --- What is wrong -------------------------------------------------------------------------- */

static void say_mistake(struct server *server, const char *text)
{
    log_line(server->log, WHORL_LOG_ERROR, text, NULL);
    if (server->mistakes != NULL) {
        json_array_append_new(server->mistakes, log_json_text(text));
    }
}

void server_mistake(char *whole, size_t cap, const char *file, int line, const char *text)
{
    snprintf(whole, cap, "%s:%d: %s", file, line, text);
}

void server_complain(void *ctx, const char *file, int line, const char *text)
{
    char whole[1024];
    server_mistake(whole, sizeof whole, file, line, text);
    say_mistake(ctx, whole);
}

void server_fault_text(const struct whorl_fault *fault, char text[SERVER_FAULT_TEXT])
{
    snprintf(text, SERVER_FAULT_TEXT, "%s%s%s", fault->where, fault->where[0] == '\0' ? "" : ": ",
             fault->text);
}

void server_complain_of(struct server *server, const struct conf_place *place,
                        const struct whorl_fault *fault)
{
    char text[SERVER_FAULT_TEXT];
    server_fault_text(fault, text);
    if (place != NULL) {
        server_complain(server, place->file, place->line, text);
    } else {
        say_mistake(server, text);
    }
}

void server_hex(const uint8_t digest[32], char text[65])
{
    for (size_t i = 0; i < 32; i++) {
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
}

const char *server_phase_name(enum phase phase)
{
    static const char *const names[] = {"starting", "serving", "draining", "stopping"};
    return names[phase];
}

struct setup *server_start_backends(struct server *server, struct conf *conf,
                                    struct setup_ahead *ahead)
{
    struct whorl_fault fault = {0};
    const struct conf_plugin *culprit;
    struct setup *setup = setup_start(server->host, conf, server->setup, ahead, &culprit, &fault);
    if (setup == NULL) {
        server_complain_of(server, culprit != NULL ? &culprit->place : NULL, &fault);
    }
    return setup;
}

bool server_has_sink(const struct setup *setup)
{
    for (size_t i = 0; i < setup->count; i++) {
        if (setup->plugins[i].queue != NULL) {
            return true;
        }
    }
    return false;
}

/* --- Stopping ------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* Ends the host once its last backend has stopped; then no handle is left, and the loop ends. */
static void look_whether_stopped(uv_timer_t *timer)
{
    struct server *server = timer->data;
    if (host_running(server->host) == 0) {
        host_close(server->host);
        close_handle((uv_handle_t *)timer);
    } else if (uv_now(&server->loop) > server->drain_until) {
        log_line(server->log, WHORL_LOG_ERROR, "a backend does not stop: leaving without it", NULL);
        _exit(3);
    }
}

/* Lets go of all but the host. */
static void leave(struct server *server)
{
    server->phase = PHASE_STOPPING;
    for (size_t i = 0; i < server->signal_count; i++) {
        close_handle((uv_handle_t *)&server->signals[i]);
    }
    close_handle((uv_handle_t *)&server->forget);
    close_handle((uv_handle_t *)&server->watchdog);
    monitor_close(server->monitor);
    server->monitor = NULL;
    if (server->control != NULL) {
        control_close(server->control);
        server->control = NULL;
    }
    if (server->identify != NULL) {
        identify_close(server->identify);
        server->identify = NULL;
    }
    setup_unref(server->setup);
    server->setup = NULL;
    server->drain_until = uv_now(&server->loop) + DRAIN_GRACE_MS;
    uv_timer_start(&server->drain, look_whether_stopped, 0, DRAIN_LOOK_MS);
}

static void connections_closed(void *ctx)
{
    struct server *server = ctx;
    rpc_free(server->rpc);
    server->rpc = NULL;
    leave(server);
}

static void stop_recorded(void *ctx, bool stored)
{
    struct server *server = ctx;
    if (!stored && server_has_sink(server->setup)) {
        log_line(server->log, WHORL_LOG_ERROR, "the stop could not be recorded", NULL);
    }
    rpc_close(server->rpc, connections_closed, server);
}

static void stop(struct server *server)
{
    server->phase = PHASE_STOPPING;
    identify_record_event(server->identify, "stopped", NULL, stop_recorded, server);
}

static void look_whether_empty(uv_timer_t *timer)
{
    struct server *server = timer->data;
    if (server->phase != PHASE_DRAINING) {
        return;
    }
    bool quiet =
        rpc_is_quiet(server->rpc, DRAIN_SILENCE_MS) || uv_now(&server->loop) > server->talk_until;
    if (identify_open(server->identify) == 0 && quiet) {
        stop(server);
    } else if (uv_now(&server->loop) > server->drain_until) {
        /* Every call has a deadline, so this is a stuck disk. What waits for it can't be freed. */
        log_line(server->log, WHORL_LOG_ERROR, "calls did not end in time: stopping without them",
                 NULL);
        _exit(3);
    }
}

static void drain(struct server *server)
{
    log_line(server->log, WHORL_LOG_INFO, "draining", NULL);
    systemd_stopping("Finishing the calls in flight");
    server->phase = PHASE_DRAINING;
    server_abandon_reloads(server);
    rpc_drain(server->rpc);
    identify_drain(server->identify);
    server->talk_until = uv_now(&server->loop) + DRAIN_TALK_MS;
    uint64_t longest = identify_longest(server->identify);
    uint64_t deadline = server->setup->conf->core.deadline_ms;
    server->drain_until =
        uv_now(&server->loop) + (longest > deadline ? longest : deadline) + DRAIN_GRACE_MS;
    uv_timer_start(&server->drain, look_whether_empty, 0, DRAIN_LOOK_MS);
}

/* --- Signals and requests of the operator -------------------------------------------------- */

static void on_signal(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;
    if (number == SIGHUP && server->phase == PHASE_SERVING) {
        server_reload(server, NULL);
    } else if (number != SIGHUP && server->phase == PHASE_SERVING) {
        drain(server);
    } else if (number != SIGHUP) {
        server->stop_wanted = true;
    }
}

static json_t *refusal(const char *why)
{
    return json_pack("{s:b, s:[s]}", "ok", 0, "mistakes", why);
}

static void on_control(void *ctx, struct control_call *call, const json_t *request)
{
    struct server *server = ctx;
    const char *command = json_string_value(json_object_get(request, "command"));
    if (command != NULL && strcmp(command, "status") == 0) {
        control_reply(call, server_status(server));
    } else if (command == NULL || strcmp(command, "reload") != 0) {
        control_reply(call, refusal("there is no such command"));
    } else if (server->phase != PHASE_SERVING) {
        control_reply(call, refusal("the server is starting or stopping"));
    } else {
        server_reload(server, call);
    }
}

/* --- Requests of devices -------------------------------------------------------------------- */

static void on_request(void *ctx, const struct rpc_call *call, const char *method,
                       const struct rpc_params *params)
{
    struct server *server = ctx;
    const struct identify_caller caller = {
        .connection = call->connection,
        .call = call->id,
        .certificate = call->peer->tls ? call->peer->certificate : NULL,
        .device = call->peer->tls ? NULL : call->peer->device,
    };
    identify_request(server->identify, &caller, method, params->bytes, params->len);
}

static void on_begin(void *ctx)
{
    host_gather(((struct server *)ctx)->host);
}

static void on_done(void *ctx)
{
    host_settle(((struct server *)ctx)->host);
}

/* Calls of a connection that has gone go on, and are recorded: they did happen. Replies to it are
 * ignored below. */
static void on_gone(void *ctx, uint64_t connection)
{
    (void)ctx;
    (void)connection;
}

static void send_result(void *ctx, uint64_t call, const uint8_t *result, size_t len)
{
    rpc_result(((struct server *)ctx)->rpc, call, result, len);
}

static void send_error(void *ctx, uint64_t call, const char *code, const char *where,
                       const char *message, unsigned retry_ms)
{
    rpc_error(((struct server *)ctx)->rpc, call, code, where, message, retry_ms);
}

static void send_notification(void *ctx, uint64_t connection, const char *method,
                              const uint8_t *argument, size_t len)
{
    rpc_notify(((struct server *)ctx)->rpc, connection, method, argument, len);
}

/* --- Starting ------------------------------------------------------------------------------- */

static void give_up(struct server *server)
{
    server->exit_code = 3;
    server->phase = PHASE_STOPPING;
    rpc_close(server->rpc, connections_closed, server);
}

static void take_socket(void *ctx, int fd, const char *name)
{
    struct server *server = ctx;
    struct whorl_fault fault;
    if (!rpc_inherit(server->rpc, fd, name, &fault)) {
        log_line(server->log, WHORL_LOG_WARNING, "an inherited descriptor is of no use: closed",
                 "name", name, "reason", fault.text, NULL);
        close(fd);
    }
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    systemd_alive();
}

/* A loop that hangs says nothing, and systemd ends it. */
static void watch_dog(struct server *server)
{
    uint64_t ms = systemd_watchdog_ms();
    if (ms > 0) {
        uv_timer_start(&server->watchdog, on_watchdog, ms, ms);
    }
}

/* The last step: from here on there are devices. */
static void start_recorded(void *ctx, bool stored)
{
    struct server *server = ctx;
    const struct conf *conf = server->setup->conf;
    struct whorl_fault fault = {0};
    if (!server_has_sink(server->setup)) {
        log_line(server->log, WHORL_LOG_WARNING,
                 "no audit sink is enabled: nothing will be identified", NULL);
    } else if (!stored) {
        log_line(server->log, WHORL_LOG_ERROR, "the start could not be recorded", NULL);
        give_up(server);
        return;
    }
    systemd_sockets(take_socket, server);
    struct listeners_ahead *ahead = listeners_ahead(conf, &fault);
    bool open = ahead != NULL && rpc_listen(server->rpc, server->setup->conf, ahead, &fault) &&
                monitor_match(&server->monitor, server, &conf->monitor, &fault);
    listeners_forgo(ahead);
    /* Last: the socket takes the place of another server's, which a start that fails must not. */
    if (open) {
        server->control =
            control_open(&server->loop, conf->core.runtime_dir, on_control, server, &fault);
    }
    if (server->control == NULL) {
        server_complain_of(server, NULL, &fault);
        give_up(server);
        return;
    }
    char policy[65];
    server_hex(conf->digest, policy);
    server->phase = PHASE_SERVING;
    log_line(server->log, WHORL_LOG_INFO, "ready", "version", WHORL_VERSION, "policy", policy,
             NULL);
    systemd_ready("Serving");
    watch_dog(server);
    if (server->stop_wanted) {
        drain(server);
    }
}

static bool make_parts(struct server *server, struct conf *conf, struct whorl_fault *fault)
{
    const struct rpc_handler handler = {on_request, on_begin, on_done, on_gone, server};
    const struct identify_replies replies = {server, send_result, send_error, send_notification};
    server->registry = registry_open(conf->core.data_dir, WHORL_STORE_WRITE, fault);
    if (server->registry == NULL) {
        return false;
    }
    server->identify =
        identify_new(&server->loop, server->setup, server->registry, server->log, &replies, fault);
    if (server->identify == NULL) {
        return false;
    }
    server->rpc = rpc_new(&server->loop, conf, &handler, server->log);
    return server->rpc != NULL ||
           whorl_fail(fault, "",
                      "memory for devices' messages can't be had, or can't be locked: %s",
                      strerror(errno));
}

/* Before the loop thread sleeps, it forgets what it copied. */
static void before_sleep(uv_prepare_t *prepare)
{
    (void)prepare;
    whorl_secret_forget();
}

/* 0, or an error of libuv's. */
static int watch_signal(struct server *server, size_t i, int number)
{
    int rc = uv_signal_init(&server->loop, &server->signals[i]);
    if (rc == 0) {
        server->signals[i].data = server;
        server->signal_count = i + 1;
        rc = uv_signal_start(&server->signals[i], on_signal, number);
    }
    return rc;
}

/* Without its signals a server could be neither stopped in order nor reloaded. */
static bool watch_signals(struct server *server, struct whorl_fault *fault)
{
    static const int numbers[] = {SIGHUP, SIGTERM, SIGINT};
    uv_timer_init(&server->loop, &server->drain);
    server->drain.data = server;
    uv_timer_init(&server->loop, &server->watchdog);
    uv_prepare_init(&server->loop, &server->forget);
    uv_prepare_start(&server->forget, before_sleep);
    for (size_t i = 0; i < 3; i++) {
        int rc = watch_signal(server, i, numbers[i]);
        if (rc != 0) {
            return whorl_fail(fault, "", "signals can't be watched: %s", uv_strerror(rc));
        }
    }
    return true;
}

static void work_nothing(uv_work_t *work)
{
    (void)work;
}

static void worked_nothing(uv_work_t *work, int status)
{
    (void)work;
    (void)status;
}

static bool make_threads(struct server *server, struct whorl_fault *fault)
{
    if (!process_try_threads(fault)) {
        return false;
    }
    /* fails never */
    (void)uv_queue_work(&server->loop, &server->first_work, work_nothing, worked_nothing);
    return true;
}

static bool make_host(struct server *server, struct conf *conf, struct whorl_fault *fault)
{
    server->host = host_new(&server->loop, conf->core.workers, server->log, fault);
    if (server->host != NULL && watch_signals(server, fault) && make_threads(server, fault)) {
        return true;
    }
    server_complain_of(server, NULL, fault);
    return false;
}

static void start(struct server *server, struct conf *conf)
{
    struct whorl_fault fault = {0};
    log_set_level(server->log, conf->core.log_level);
    process_compare_descriptors(server->log, conf->core.max_connections);
    if (!make_host(server, conf, &fault)) {
        server->exit_code = 3;
        if (server->host != NULL) {
            leave(server);
        }
        return;
    }
    server->setup = server_start_backends(server, conf, NULL);
    if (server->setup != NULL && make_parts(server, conf, &fault)) {
        identify_record_event(server->identify, "started", NULL, start_recorded, server);
        return;
    }
    if (server->setup != NULL) {
        server_complain_of(server, NULL, &fault);
    }
    if (server->rpc != NULL) {
        give_up(server);
        return;
    }
    server->exit_code = 3;
    leave(server);
}

static void run_loop(struct server *server, struct conf *conf)
{
    int rc = uv_loop_init(&server->loop);
    if (rc != 0) {
        log_line(server->log, WHORL_LOG_ERROR, "the event loop can't be made", "why",
                 uv_strerror(rc), NULL);
        conf_unref(conf);
        server->exit_code = 3;
        return;
    }
    start(server, conf);
    conf_unref(conf);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    registry_close(server->registry);
    if (uv_loop_close(&server->loop) != 0) {
        log_line(server->log, WHORL_LOG_ERROR, "the event loop still had open handles", NULL);
        server->exit_code = 3;
    }
}

int server_run(const char *conf_dir)
{
    struct server server = {.conf_dir = conf_dir, .started = time(NULL)};
    server.log = log_new(STDERR_FILENO, WHORL_LOG_INFO);
    if (server.log == NULL) {
        fputs("whorl: out of memory\n", stderr);
        return 3;
    }
    if (!systemd_sockets_are_there()) {
        log_line(server.log, WHORL_LOG_ERROR, "not all sockets that LISTEN_FDS counts are there",
                 NULL);
        log_free(server.log);
        return 3;
    }
    process_protect(server.log);
    struct conf *conf = conf_read(conf_dir, server_complain, &server);
    if (conf != NULL) {
        run_loop(&server, conf);
    } else {
        server.exit_code = 3;
    }
    if (server.exit_code == 0) {
        log_line(server.log, WHORL_LOG_INFO, "stopped", NULL);
    }
    log_free(server.log);
    return server.exit_code;
}
