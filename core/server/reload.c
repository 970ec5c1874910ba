/* From one configuration to the next, without dropping a call. */
#include <stdlib.h>
#include <string.h>

#include "core/server/internal.h"
#include "core/server/systemd.h"

/* A reload that has happened and is being recorded. */
struct reload {
    struct server *server;
    struct control_call *call; /* NULL: it was a signal */
    json_t *changes, *warnings;
};

static void warn(struct reload *reload, const char *text)
{
    log_line(reload->server->log, WHORL_LOG_WARNING, text, NULL);
    json_array_append_new(reload->warnings, json_string(text));
}

static void reload_free(struct reload *reload)
{
    json_decref(reload->changes);
    json_decref(reload->warnings);
    free(reload);
}

static void on_recorded(void *ctx, bool stored)
{
    struct reload *reload = ctx;
    struct server *server = reload->server;
    if (!stored && server_has_sink(server->setup)) {
        warn(reload, "the reload could not be recorded");
    }
    char policy[65];
    server_hex(server->setup->conf->digest, policy);
    log_line(server->log, WHORL_LOG_INFO, "reloaded", "policy", policy, NULL);
    if (reload->call != NULL) {
        control_reply(reload->call,
                      json_pack("{s:b, s:s, s:O, s:O}", "ok", 1, "policy", policy, "changes",
                                reload->changes, "warnings", reload->warnings));
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
    json_array_append_new(reload->changes, json_string(text));
}

/* Sockets last, because what they change can't be undone. */
static bool open_sockets(struct server *server, struct conf *conf)
{
    struct whorl_fault fault = {0};
    struct monitor *monitor = server->monitor;
    if (!monitor_match(&monitor, server, &conf->monitor, &fault)) {
        server_complain_of(server, NULL, &fault);
        return false;
    }
    if (!rpc_listen(server->rpc, conf, &fault)) {
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

static bool change_to(struct reload *reload, struct conf *conf)
{
    struct server *server = reload->server;
    if (!can_change_to(reload, conf)) {
        return false;
    }
    struct setup *setup = server_start_backends(server, conf);
    if (setup == NULL) {
        return false;
    }
    if (!open_sockets(server, conf)) {
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
    identify_record_event(server->identify, "reloaded", before, on_recorded, reload);
    return true;
}

static void refuse(struct server *server, struct control_call *call, json_t *mistakes)
{
    server->reloads_refused++;
    log_line(server->log, WHORL_LOG_ERROR,
             "reload refused: the configuration that was read before stays in force", NULL);
    if (call != NULL) {
        control_reply(call, json_pack("{s:b, s:O}", "ok", 0, "mistakes", mistakes));
    }
}

void server_reload(struct server *server, struct control_call *call)
{
    struct reload *reload = calloc(1, sizeof *reload);
    json_t *mistakes = json_array();
    systemd_reloading();
    server->mistakes = mistakes;
    bool done = false;
    if (reload != NULL) {
        *reload = (struct reload){server, call, json_array(), json_array()};
        struct conf *conf = conf_read(server->conf_dir, server_complain, server);
        done = conf != NULL && change_to(reload, conf);
        conf_unref(conf);
    }
    server->mistakes = NULL;
    if (!done) {
        refuse(server, call, mistakes);
        if (reload != NULL) {
            reload_free(reload);
        }
    }
    json_decref(mistakes);
    systemd_ready(done ? "Serving" : "Serving; the last reload was refused");
}
