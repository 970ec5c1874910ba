/* What the server's files share. Loop thread only. */
#ifndef CORE_SERVER_INTERNAL_H
#define CORE_SERVER_INTERNAL_H

#include <jansson.h>
#include <uv.h>

#include "core/control/control.h"
#include "core/host/host.h"
#include "core/identify/identify.h"
#include "core/net/rpc.h"
#include "core/server/monitor.h"

enum phase { PHASE_STARTING, PHASE_SERVING, PHASE_DRAINING, PHASE_STOPPING };

struct server {
    uv_loop_t loop;
    uv_signal_t signals[3];
    size_t signal_count; /* of them, that the loop has */
    uv_timer_t drain, watchdog;
    uv_prepare_t forget;
    uv_work_t first_work; /* with which libuv makes its threads */
    const char *conf_dir;
    struct log *log;
    struct host *host;
    struct registry *registry;
    struct setup *setup; /* that new calls run under */
    struct identify *identify;
    struct rpc *rpc;
    struct control *control;
    struct monitor *monitor; /* NULL: off */
    enum phase phase;
    bool stop_wanted;                 /* a signal came before there was anything to drain */
    uint64_t talk_until, drain_until; /* uv_now's clock */
    int64_t started;                  /* seconds since 1970 */
    uint64_t reloads_done, reloads_refused;
    struct reload *reloads; /* the first is being read, the others wait */
    json_t *mistakes;       /* where a reload gathers what is wrong; else NULL */
    int exit_code;
};

/* server.c */

/* Writes a mistake to the log, and keeps it for whoever asked for a reload. place may be NULL. */
void server_complain_of(struct server *server, const struct conf_place *place,
                        const struct whorl_fault *fault);
/* "WHERE: TEXT" */
#define SERVER_FAULT_TEXT (sizeof(struct whorl_fault) + 2)
void server_fault_text(const struct whorl_fault *fault, char text[SERVER_FAULT_TEXT]);
/* "FILE:LINE: TEXT" */
void server_mistake(char *whole, size_t cap, const char *file, int line, const char *text);
/* The form in which conf_read complains; ctx is the server. */
void server_complain(void *ctx, const char *file, int line, const char *text);
/* The backends of a configuration, sharing what runs unchanged and taking over what was started
 * ahead (NULL: nothing). NULL: said why. */
struct setup *server_start_backends(struct server *server, struct conf *conf,
                                    struct setup_ahead *ahead);
bool server_has_sink(const struct setup *setup);
void server_hex(const uint8_t digest[32], char text[65]);
/* "starting", "serving", "draining", "stopping" */
const char *server_phase_name(enum phase phase);

/* reload.c */

/* Reads the configuration again and changes to it, or to nothing. call (may be NULL) is told,
 * later: {ok: true, policy, changes: [str], warnings: [str]} or {ok: false, mistakes: [str]}. */
void server_reload(struct server *server, struct control_call *call);
/* The server stops: reloads that have not happened do not. */
void server_abandon_reloads(struct server *server);

/* figures.c */

/* The state of everything, for `whorl status`; NULL: out of memory. */
json_t *server_status(struct server *server);
/* The same in the Prometheus text format; to be freed. NULL: out of memory. */
char *server_metrics(struct server *server, size_t *len);
/* Whether devices can be served; else why says why not. */
bool server_is_ready(struct server *server, const char **why);

#endif
