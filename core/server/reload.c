/* From one configuration to the next, without dropping a call. Reading it may take seconds, since
 * an isolated plugin is asked by starting it, and so may starting those that are new and reading
 * the listeners' files: a thread of libuv's pool does all that while the loop serves. One reload
 * follows the other, each with what it finds then. */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "core/net/listener.h"
#include "core/server/internal.h"
#include "core/server/systemd.h"
#include "whorl/secret.h"

#define RELOADS_MAX 16u /* that wait */

/* A reload: waits for its turn, is being read, or has happened and is being recorded. */
struct reload {
    struct server *server;
    struct control_call *call; /* NULL: it was a signal, or the caller has been told */
    uv_work_t work;
    struct conf *now;  /* in force when this one's turn came */
    struct conf *conf; /* that was read; NULL: it has mistakes */
    unsigned workers;  /* host_workers, and log: the server's may be gone when they are needed */
    struct log *log;
    bool startable;            /* so far as was tried */
    struct setup_ahead *ahead; /* what it needs that does not run; NULL: nothing was tried */
    struct listeners_ahead *listeners; /* as ahead */
    json_t *mistakes, *changes, *warnings;
    char policy[65]; /* that it put in force; the next one may have replaced it when it is told */
    bool has_sink;   /* as policy */
    struct reload *next; /* that waits */
};

static void warn(struct reload *reload, const char *text)
{
    log_line(reload->server->log, WHORL_LOG_WARNING, text, NULL);
    json_array_append_new(reload->warnings, log_json_text(text));
}

static void reload_free(struct reload *reload)
{
    setup_forgo(reload->ahead);
    listeners_forgo(reload->listeners);
    conf_unref(reload->now);
    conf_unref(reload->conf);
    json_decref(reload->mistakes);
    json_decref(reload->changes);
    json_decref(reload->warnings);
    free(reload);
}

static void on_recorded(void *ctx, bool stored)
{
    struct reload *reload = ctx;
    struct server *server = reload->server;
    if (!stored && reload->has_sink) {
        warn(reload, "the reload could not be recorded");
    }
    log_line(server->log, WHORL_LOG_INFO, "reloaded", "policy", reload->policy, NULL);
    if (reload->call != NULL) {
        control_reply(reload->call,
                      json_pack("{s:b, s:s, s:O, s:O}", "ok", 1, "policy", reload->policy,
                                "changes", reload->changes, "warnings", reload->warnings));
    }
    reload_free(reload);
}

/* What only a restart can change. */
static bool can_change_to(struct reload *reload, const struct conf *conf)
{
    static const char *const fixed[] = {"core.data_dir", "core.runtime_dir"};
    struct server *server = reload->server;
    const struct conf_core *now = &server->setup->conf->core, *next = &conf->core;
    const bool changed[] = {strcmp(next->data_dir, now->data_dir) != 0,
                            strcmp(next->runtime_dir, now->runtime_dir) != 0};
    for (size_t i = 0; i < 2; i++) {
        if (changed[i]) {
            struct whorl_fault fault;
            whorl_fail(&fault, fixed[i], "cannot change while the server runs");
            server_complain_of(server, NULL, &fault);
            return false;
        }
    }
    if (next->workers != now->workers) {
        warn(reload, "core.workers changes with the next start");
    }
    return true;
}

static void note_change(void *ctx, const char *text)
{
    struct reload *reload = ctx;
    log_line(reload->server->log, WHORL_LOG_INFO, "changed", "what", text, NULL);
    json_array_append_new(reload->changes, log_json_text(text));
}

/* Sockets last, because what they change can't be undone. */
static bool open_sockets(struct server *server, struct conf *conf,
                         struct listeners_ahead *listeners)
{
    struct whorl_fault fault = {0};
    struct monitor *monitor = server->monitor;
    if (!monitor_match(&monitor, server, &conf->monitor, &fault)) {
        server_complain_of(server, NULL, &fault);
        return false;
    }
    if (!rpc_listen(server->rpc, conf, listeners, &fault)) {
        server_complain_of(server, NULL, &fault);
        if (monitor != server->monitor) {
            monitor_close(monitor);
        }
        return false;
    }
    if (monitor != server->monitor) {
        monitor_close(server->monitor);
        server->monitor = monitor;
    }
    return true;
}

static bool change_to(struct reload *reload, struct conf *conf, struct setup_ahead *ahead,
                      struct listeners_ahead *listeners)
{
    struct server *server = reload->server;
    if (!can_change_to(reload, conf)) {
        return false;
    }
    struct setup *setup = server_start_backends(server, conf, ahead);
    if (setup == NULL) {
        return false;
    }
    if (!open_sockets(server, conf, listeners)) {
        setup_unref(setup);
        return false;
    }
    struct setup *old = server->setup;
    uint8_t before[32];
    memcpy(before, old->conf->digest, sizeof before);
    conf_changes(old->conf, conf, note_change, reload);
    server->setup = setup;
    identify_use(server->identify, setup);
    setup_unref(old);
    log_set_level(server->log, conf->core.log_level);
    server->reloads_done++;
    server_hex(setup->conf->digest, reload->policy);
    reload->has_sink = server_has_sink(setup);
    identify_record_event(server->identify, "reloaded", before, on_recorded, reload);
    return true;
}

static void answer_refusal(struct reload *reload)
{
    if (reload->call != NULL) {
        control_reply(reload->call, json_pack("{s:b, s:O}", "ok", 0, "mistakes", reload->mistakes));
        reload->call = NULL;
    }
}

static void refuse(struct reload *reload)
{
    struct server *server = reload->server;
    server->reloads_refused++;
    log_line(server->log, WHORL_LOG_ERROR,
             "reload refused: the configuration that was read before stays in force", NULL);
    answer_refusal(reload);
    reload_free(reload);
}

/* The pool's thread. */
static void gather_mistake(void *ctx, const char *file, int line, const char *text)
{
    char whole[1024];
    server_mistake(whole, sizeof whole, file, line, text);
    json_array_append_new(ctx, log_json_text(whole));
}

/* The pool's thread. */
static void read_ahead(struct reload *reload)
{
    struct whorl_fault fault = {0};
    reload->listeners = listeners_ahead(reload->conf, &fault);
    reload->startable = reload->listeners != NULL;
    if (!reload->startable) {
        char text[SERVER_FAULT_TEXT];
        server_fault_text(&fault, text);
        json_array_append_new(reload->mistakes, log_json_text(text));
    }
}

/* The pool's thread, which lasts as long as the server. Not for another data_dir, which will be
 * refused. */
static void start_ahead(struct reload *reload)
{
    struct whorl_fault fault = {0};
    const struct conf_plugin *culprit;
    const struct conf *conf = reload->conf;
    if (strcmp(conf->core.data_dir, reload->now->core.data_dir) != 0) {
        return;
    }
    reload->ahead = setup_ahead(reload->workers, reload->log, conf, reload->now, &culprit, &fault);
    if (reload->ahead == NULL) {
        char text[SERVER_FAULT_TEXT];
        server_fault_text(&fault, text);
        gather_mistake(reload->mistakes, culprit != NULL ? culprit->place.file : "",
                       culprit != NULL ? culprit->place.line : 0, text);
        reload->startable = false;
    }
}

/* The pool's thread: touches nothing of the server. */
static void read_conf(uv_work_t *work)
{
    struct reload *reload = work->data;
    reload->conf = conf_read(reload->server->conf_dir, gather_mistake, reload->mistakes);
    if (reload->conf != NULL) {
        read_ahead(reload);
    }
    if (reload->startable) {
        start_ahead(reload);
    }
    OPENSSL_thread_stop(); /* certificates were read: what it keeps for this thread goes with it */
    whorl_secret_forget();
}

/* The loop again: what the other thread found is said, and the change made. */
static void change(struct reload *reload)
{
    struct server *server = reload->server;
    size_t index;
    const json_t *mistake;
    json_array_foreach(reload->mistakes, index, mistake)
    {
        log_line(server->log, WHORL_LOG_ERROR, json_string_value(mistake), NULL);
    }
    struct conf *conf = reload->conf;
    struct setup_ahead *ahead = reload->ahead;
    struct listeners_ahead *listeners = reload->listeners;
    reload->conf = NULL;
    reload->ahead = NULL;
    reload->listeners = NULL;
    server->mistakes = reload->mistakes;
    bool done = reload->startable && change_to(reload, conf, ahead, listeners);
    server->mistakes = NULL;
    setup_forgo(ahead);
    listeners_forgo(listeners);
    conf_unref(conf);
    if (!done) {
        refuse(reload);
    }
    systemd_ready(done ? "Serving" : "Serving; the last reload was refused");
}

static void begin_next(struct server *server);

static void on_read(uv_work_t *work, int status)
{
    struct reload *reload = work->data;
    struct server *server = reload->server;
    (void)status; /* nobody cancels it */
    server->reloads = reload->next;
    if (server->phase == PHASE_SERVING) {
        change(reload);
        begin_next(server);
        return;
    }
    reload_free(reload);
}

static void begin_next(struct server *server)
{
    struct reload *reload = server->reloads;
    if (reload == NULL) {
        return;
    }
    systemd_reloading();
    reload->work.data = reload;
    reload->now = conf_ref(server->setup->conf);
    reload->workers = host_workers(server->host);
    reload->log = server->log;
    whorl_secret_forget(); /* a thread that starts has a copy of this one's registers */
    (void)uv_queue_work(&server->loop, &reload->work, read_conf, on_read); /* fails never */
}

static struct reload *make_reload(struct server *server, struct control_call *call)
{
    struct reload *reload = calloc(1, sizeof *reload);
    if (reload != NULL) {
        reload->server = server;
        reload->call = call;
        reload->mistakes = json_array();
        reload->changes = json_array();
        reload->warnings = json_array();
    }
    if (reload == NULL || reload->mistakes == NULL || reload->changes == NULL ||
        reload->warnings == NULL) {
        if (reload != NULL) {
            reload_free(reload);
        }
        return NULL;
    }
    return reload;
}

void server_reload(struct server *server, struct control_call *call)
{
    struct reload **last = &server->reloads;
    unsigned waiting = 0;
    for (; *last != NULL; last = &(*last)->next) {
        waiting++;
    }
    if (call == NULL && waiting > 1) {
        return; /* one that has yet to begin sees what this one is to see */
    }
    struct reload *reload = waiting < RELOADS_MAX ? make_reload(server, call) : NULL;
    if (reload == NULL) {
        server->reloads_refused++;
        log_line(server->log, WHORL_LOG_ERROR, "reload refused: too many wait, or out of memory",
                 NULL);
        if (call != NULL) {
            control_reply(call, json_pack("{s:b, s:[s]}", "ok", 0, "mistakes",
                                          "too many reloads wait, or out of memory"));
        }
        return;
    }
    *last = reload;
    if (waiting == 0) {
        begin_next(server);
    }
}

void server_abandon_reloads(struct server *server)
{
    struct reload *reading = server->reloads;
    for (struct reload *reload = reading; reload != NULL;) {
        struct reload *next = reload->next;
        if (reload->call != NULL) {
            control_reply(reload->call,
                          json_pack("{s:b, s:[s]}", "ok", 0, "mistakes", "the server is stopping"));
            reload->call = NULL;
        }
        if (reload != reading) {
            reload_free(reload);
        }
        reload = next;
    }
    if (reading != NULL) {
        reading->next = NULL; /* its thread ends by itself: on_read frees it */
    }
}
