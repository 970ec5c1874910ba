/* What the server is doing, for people and for Prometheus. Names and numbers only: no device,
 * officer, person or address is in it. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/identify/answer.h"
#include "core/identify/sink.h"
#include "core/server/internal.h"
#include "core/server/process.h"

bool server_is_ready(struct server *server, const char **why)
{
    struct identify_stats stats = {0};
    if (server->phase != PHASE_SERVING) {
        *why = server->phase == PHASE_STARTING ? "starting\n" : "stopping\n";
        return false;
    }
    identify_stats(server->identify, &stats);
    *why = !server_has_sink(server->setup) ? "no audit sink is enabled\n"
           : !stats.audited                ? "the last audit record could not be stored\n"
                                           : NULL;
    return *why == NULL;
}

/* --- Prometheus ----------------------------------------------------------------------------- */

/* https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4. */

static void family(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(FILE *out, const char *name, const char *help, double value)
{
    family(out, name, "gauge", help);
    fprintf(out, "%s %.17g\n", name, value);
}

static void counter(FILE *out, const char *name, const char *help, uint64_t value)
{
    family(out, name, "counter", help);
    fprintf(out, "%s %" PRIu64 "\n", name, value);
}

/* label: "backend=\"pnc\"" */
static void put_histogram(FILE *out, const char *name, const char *label,
                          const struct histogram *histogram)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        fprintf(out, "%s_bucket{%s,le=\"%g\"} %" PRIu64 "\n", name, label,
                (double)histogram_bounds[i] / 1e9, seen);
    }
    fprintf(out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, label, histogram->count);
    fprintf(out, "%s_sum{%s} %.9f\n", name, label, (double)histogram->sum_ns / 1e9);
    fprintf(out, "%s_count{%s} %" PRIu64 "\n", name, label, histogram->count);
}

static void put_server(struct server *server, FILE *out)
{
    char policy[65];
    const char *why;
    server_hex(server->setup->conf->digest, policy);
    family(out, "whorl_build_info", "gauge", "The version that runs.");
    fprintf(out, "whorl_build_info{version=\"%s\"} 1\n", WHORL_VERSION);
    family(out, "whorl_policy_info", "gauge", "The configuration in force, by its SHA-256.");
    fprintf(out, "whorl_policy_info{policy=\"%s\"} 1\n", policy);
    gauge(out, "whorl_ready", "Whether devices can be served (1) or not (0).",
          server_is_ready(server, &why) ? 1 : 0);
    family(out, "whorl_reloads_total", "counter", "Reloads of the configuration, by outcome.");
    fprintf(out, "whorl_reloads_total{outcome=\"done\"} %" PRIu64 "\n", server->reloads_done);
    fprintf(out, "whorl_reloads_total{outcome=\"refused\"} %" PRIu64 "\n", server->reloads_refused);
}

static void put_process(const struct server *server, FILE *out)
{
    struct process_figures figures;
    process_figures(&figures);
    gauge(out, "process_start_time_seconds", "When the server started, since 1970.",
          (double)server->started);
    family(out, "process_cpu_seconds_total", "counter", "Processor time of all threads.");
    fprintf(out, "process_cpu_seconds_total %.6f\n", figures.cpu_s);
    gauge(out, "process_resident_memory_bytes", "Memory in use.", (double)figures.resident);
    gauge(out, "whorl_locked_memory_bytes", "Memory that can't be swapped out.",
          (double)figures.locked);
    gauge(out, "process_open_fds", "Open file descriptors.", figures.descriptors);
    gauge(out, "process_max_fds", "File descriptors that may be open.", figures.max_descriptors);
}

static void put_rpc(const struct server *server, FILE *out)
{
    struct rpc_stats stats;
    rpc_stats(server->rpc, &stats);
    gauge(out, "whorl_connections", "Open connections.", (double)stats.connections);
    gauge(out, "whorl_connections_resting",
          "Connections that are not read for a moment, having been told to come again.",
          (double)stats.resting);
    counter(out, "whorl_connections_accepted_total", "Connections that were accepted.",
            stats.connections_accepted);
    family(out, "whorl_connections_dropped_total", "counter",
           "Connections that the server ended, by reason.");
    for (enum rpc_drop i = 0; i < RPC_DROP_NONE; i++) {
        fprintf(out, "whorl_connections_dropped_total{reason=\"%s\"} %" PRIu64 "\n",
                rpc_drop_name(i), stats.dropped[i]);
    }
    counter(out, "whorl_received_requests_total", "Requests, those told busy among them.",
            stats.requests);
    family(out, "whorl_busy_total", "counter",
           "Requests and connections that were told to come again, by the bound.");
    for (enum rpc_busy i = 0; i < RPC_BUSY_NONE; i++) {
        fprintf(out, "whorl_busy_total{bound=\"%s\"} %" PRIu64 "\n", rpc_busy_name(i),
                stats.busy[i]);
    }
    gauge(out, "whorl_calls", "Calls in flight.", (double)stats.calls);
    gauge(out, "whorl_send_queue_bytes", "Bytes that wait to be sent.",
          (double)stats.bytes_to_send);
    gauge(out, "whorl_receive_queue_bytes", "Bytes of messages that wait for their end.",
          (double)stats.bytes_begun);
    gauge(out, "whorl_known_devices", "Devices that are remembered for their rates.",
          (double)stats.devices);
}

static void put_listeners(const struct server *server, FILE *out)
{
    const struct conf *conf = server->setup->conf;
    family(out, "whorl_tls_end_timestamp_seconds", "gauge",
           "When the first of a listener's certificates, authorities or revocation lists ends, "
           "since 1970.");
    for (size_t i = 0; i < conf->listener_count; i++) {
        for (enum tls_file file = 0; file < TLS_FILES; file++) {
            int64_t end = rpc_end(server->rpc, conf->listeners[i].name, file);
            if (end != 0) {
                fprintf(out,
                        "whorl_tls_end_timestamp_seconds{listener=\"%s\",file=\"%s\"} %" PRId64
                        "\n",
                        conf->listeners[i].name, tls_file_name(file), end);
            }
        }
    }
}

static void put_identify(const struct server *server, FILE *out)
{
    struct identify_stats stats;
    identify_stats(server->identify, &stats);
    family(out, "whorl_requests_total", "counter", "Requests that were taken, by method.");
    for (enum identify_method i = 0; i <= IDENTIFY_UNKNOWN; i++) {
        fprintf(out, "whorl_requests_total{method=\"%s\"} %" PRIu64 "\n", identify_method_name(i),
                stats.requests[i]);
    }
    family(out, "whorl_errors_total", "counter", "Errors that were answered, by code.");
    for (size_t i = 0; i < IDENTIFY_CODES; i++) {
        fprintf(out, "whorl_errors_total{code=\"%s\"} %" PRIu64 "\n", identify_code_name(i),
                stats.errors[i]);
    }
    family(out, "whorl_answers_total", "counter", "Answers of backends, by class.");
    for (enum answer_class i = ANSWER_MATCH; i <= ANSWER_NOT_SEARCHED; i++) {
        fprintf(out, "whorl_answers_total{class=\"%s\"} %" PRIu64 "\n", answer_class_name(i),
                stats.answers[i]);
    }
    family(out, "whorl_request_duration_seconds", "histogram", "From request to reply, by method.");
    put_histogram(out, "whorl_request_duration_seconds", "method=\"identify\"", &stats.identify);
    put_histogram(out, "whorl_request_duration_seconds", "method=\"record_outcome\"",
                  &stats.outcome);
    gauge(out, "whorl_transactions", "Transactions and records in flight.", (double)stats.open);
    gauge(out, "whorl_known_officers", "Officers that are remembered for their rates.",
          (double)stats.officers);
    gauge(out, "whorl_kept_answers", "Answers that are kept for repeated requests.",
          (double)stats.kept);
    gauge(out, "whorl_kept_answer_bytes", "Their size.", (double)stats.kept_bytes);
}

/* Calls put for each backend that runs. */
static void each_backend(const struct server *server, FILE *out,
                         void (*put)(FILE *out, const struct setup_plugin *plugin,
                                     const struct backend_stats *stats))
{
    for (size_t i = 0; i < server->setup->count; i++) {
        const struct setup_plugin *plugin = &server->setup->plugins[i];
        struct backend_stats stats;
        if (plugin->backend != NULL) {
            backend_stats(plugin->backend, &stats);
            put(out, plugin, &stats);
        }
    }
}

static void put_ends(FILE *out, const struct setup_plugin *plugin,
                     const struct backend_stats *stats)
{
    for (size_t i = 0; i < BACKEND_ENDS; i++) {
        fprintf(out, "whorl_backend_calls_total{backend=\"%s\",end=\"%s\"} %" PRIu64 "\n",
                plugin->conf->name, backend_end_name((enum backend_end)i), stats->ends[i]);
    }
}

static void put_open(FILE *out, const struct setup_plugin *plugin,
                     const struct backend_stats *stats)
{
    fprintf(out, "whorl_backend_calls{backend=\"%s\"} %u\n", plugin->conf->name, stats->in_flight);
}

static void put_jobs(FILE *out, const struct setup_plugin *plugin,
                     const struct backend_stats *stats)
{
    fprintf(out, "whorl_backend_jobs{backend=\"%s\"} %zu\n", plugin->conf->name, stats->jobs);
}

static void put_durations(FILE *out, const struct setup_plugin *plugin,
                          const struct backend_stats *stats)
{
    char label[CONF_NAME_MAX + 16];
    snprintf(label, sizeof label, "backend=\"%s\"", plugin->conf->name);
    put_histogram(out, "whorl_backend_duration_seconds", label, &stats->latency);
}

static void put_cut_off(FILE *out, const struct setup_plugin *plugin,
                        const struct backend_stats *stats)
{
    fprintf(out, "whorl_backend_cut_off{backend=\"%s\"} %d\n", plugin->conf->name,
            stats->breaker != BREAKER_CLOSED);
}

static void put_opened(FILE *out, const struct setup_plugin *plugin,
                       const struct backend_stats *stats)
{
    fprintf(out, "whorl_backend_cuts_total{backend=\"%s\"} %" PRIu64 "\n", plugin->conf->name,
            stats->breaker_opened);
}

static void put_up(FILE *out, const struct setup_plugin *plugin, const struct backend_stats *stats)
{
    if (stats->isolated) {
        fprintf(out, "whorl_backend_process_up{backend=\"%s\"} %d\n", plugin->conf->name,
                stats->process.up);
    }
}

static void put_losses(FILE *out, const struct setup_plugin *plugin,
                       const struct backend_stats *stats)
{
    for (unsigned i = 0; stats->isolated && i < ISOLATE_LOSSES; i++) {
        fprintf(
            out, "whorl_backend_process_losses_total{backend=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
            plugin->conf->name, isolate_loss_name((enum isolate_loss)i), stats->process.losses[i]);
    }
}

static void put_waiting(FILE *out, const struct setup_plugin *plugin,
                        const struct backend_stats *stats)
{
    (void)stats;
    if (plugin->queue != NULL) {
        fprintf(out, "whorl_sink_waiting{backend=\"%s\"} %zu\n", plugin->conf->name,
                sink_queue_waiting(plugin->queue));
    }
}

static const struct {
    const char *name, *type, *help;
    void (*put)(FILE *out, const struct setup_plugin *plugin, const struct backend_stats *stats);
} backend_families[] = {
    {"whorl_backend_calls_total", "counter", "Calls of backends, by how they ended.", put_ends},
    {"whorl_backend_calls", "gauge", "Calls that backends have not completed.", put_open},
    {"whorl_backend_jobs", "gauge", "Jobs that wait for a worker or run.", put_jobs},
    {"whorl_backend_duration_seconds", "histogram",
     "Duration of calls that were answered or timed out.", put_durations},
    {"whorl_backend_cut_off", "gauge", "Whether a backend is cut off (1) after failing repeatedly.",
     put_cut_off},
    {"whorl_backend_cuts_total", "counter", "Times that a backend was cut off.", put_opened},
    {"whorl_backend_process_up", "gauge",
     "Whether the process of an isolated backend serves (1) or is being made anew (0).", put_up},
    {"whorl_backend_process_losses_total", "counter",
     "Processes of an isolated backend that had to be made anew, by reason.", put_losses},
    {"whorl_sink_waiting", "gauge", "Messages that wait for a busy sink.", put_waiting},
};

static void put_backends(const struct server *server, FILE *out)
{
    for (size_t i = 0; i < sizeof backend_families / sizeof *backend_families; i++) {
        family(out, backend_families[i].name, backend_families[i].type, backend_families[i].help);
        each_backend(server, out, backend_families[i].put);
    }
}

char *server_metrics(struct server *server, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    if (out == NULL) {
        return NULL;
    }
    put_process(server, out);
    if (server->phase != PHASE_STARTING && server->identify != NULL && server->rpc != NULL) {
        put_server(server, out);
        put_rpc(server, out);
        put_listeners(server, out);
        put_identify(server, out);
        put_backends(server, out);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* --- `whorl status` ------------------------------------------------------------------------- */

/* Milliseconds, -1 past the last bucket. */
static double quantile_ms(const struct histogram *histogram, double share)
{
    uint64_t ns = histogram_quantile(histogram, share);
    return ns == UINT64_MAX ? -1 : (double)ns / 1e6;
}

/* NULL: it runs in the server's own process. */
static json_t *isolated_json(const struct backend_stats *stats)
{
    if (!stats->isolated) {
        return NULL;
    }
    json_t *losses = json_object();
    for (unsigned i = 0; i < ISOLATE_LOSSES; i++) {
        json_object_set_new(losses, isolate_loss_name((enum isolate_loss)i),
                            json_integer((json_int_t)stats->process.losses[i]));
    }
    return json_pack("{s:b, s:o, s:o}", "up", (int)stats->process.up, "losses", losses, "last",
                     log_json_text(stats->process.last));
}

static json_t *backend_json(const struct setup_plugin *plugin)
{
    static const char *const roles[] = {"", "search", "lookup", "sink"};
    struct backend_stats stats;
    if (plugin->backend == NULL) {
        return json_pack("{s:s, s:b}", "name", plugin->conf->name, "enabled", 0);
    }
    backend_stats(plugin->backend, &stats);
    json_t *ends = json_object();
    for (size_t i = 0; i < BACKEND_ENDS; i++) {
        json_object_set_new(ends, backend_end_name((enum backend_end)i),
                            json_integer((json_int_t)stats.ends[i]));
    }
    return json_pack(
        "{s:s, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:s, s:I, s:I, s:o, s:o*}", "name",
        plugin->conf->name, "enabled", 1, "role", roles[plugin->descriptor->role], "version",
        plugin->descriptor->version, "calls", (json_int_t)stats.in_flight, "max_calls",
        (json_int_t)plugin->conf->max_calls, "jobs", (json_int_t)stats.jobs, "waiting",
        (json_int_t)(plugin->queue != NULL ? sink_queue_waiting(plugin->queue) : 0), "p50_ms",
        quantile_ms(&stats.latency, 0.5), "p99_ms", quantile_ms(&stats.latency, 0.99), "breaker",
        breaker_state_name(stats.breaker), "retry_ms", (json_int_t)stats.breaker_wait_ms, "cuts",
        (json_int_t)stats.breaker_opened, "ends", ends, "process", isolated_json(&stats));
}

static json_t *backends_json(const struct server *server)
{
    json_t *backends = json_array();
    for (size_t i = 0; i < server->setup->count; i++) {
        json_array_append_new(backends, backend_json(&server->setup->plugins[i]));
    }
    return backends;
}

static json_t *busy_json(const struct rpc_stats *stats)
{
    json_t *busy = json_object();
    for (enum rpc_busy i = 0; i < RPC_BUSY_NONE; i++) {
        json_object_set_new(busy, rpc_busy_name(i), json_integer((json_int_t)stats->busy[i]));
    }
    return busy;
}

static json_t *dropped_json(const struct rpc_stats *stats)
{
    json_t *dropped = json_object();
    for (enum rpc_drop i = 0; i < RPC_DROP_NONE; i++) {
        json_object_set_new(dropped, rpc_drop_name(i), json_integer((json_int_t)stats->dropped[i]));
    }
    return dropped;
}

static json_t *rpc_json(const struct server *server)
{
    const struct conf_core *core = &server->setup->conf->core;
    struct rpc_stats stats;
    rpc_stats(server->rpc, &stats);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "connections",
                     (json_int_t)stats.connections, "resting", (json_int_t)stats.resting,
                     "max_connections", (json_int_t)core->max_connections, "calls",
                     (json_int_t)stats.calls, "max_calls", (json_int_t)core->max_calls, "requests",
                     (json_int_t)stats.requests, "bytes_to_send", (json_int_t)stats.bytes_to_send,
                     "bytes_begun", (json_int_t)stats.bytes_begun, "accepted",
                     (json_int_t)stats.connections_accepted, "busy", busy_json(&stats), "dropped",
                     dropped_json(&stats));
}

static json_t *identify_json(const struct server *server)
{
    struct identify_stats stats;
    json_t *methods = json_object(), *errors = json_object(), *answers = json_object();
    identify_stats(server->identify, &stats);
    for (enum identify_method i = 0; i <= IDENTIFY_UNKNOWN; i++) {
        json_object_set_new(methods, identify_method_name(i),
                            json_integer((json_int_t)stats.requests[i]));
    }
    for (size_t i = 0; i < IDENTIFY_CODES; i++) {
        json_object_set_new(errors, identify_code_name(i),
                            json_integer((json_int_t)stats.errors[i]));
    }
    for (enum answer_class i = ANSWER_MATCH; i <= ANSWER_NOT_SEARCHED; i++) {
        json_object_set_new(answers, answer_class_name(i),
                            json_integer((json_int_t)stats.answers[i]));
    }
    return json_pack("{s:I, s:b, s:I, s:I, s:f, s:f, s:o, s:o, s:o}", "transactions",
                     (json_int_t)stats.open, "audited", (int)stats.audited, "kept_answers",
                     (json_int_t)stats.kept, "kept_bytes", (json_int_t)stats.kept_bytes, "p50_ms",
                     quantile_ms(&stats.identify, 0.5), "p99_ms",
                     quantile_ms(&stats.identify, 0.99), "methods", methods, "errors", errors,
                     "answers", answers);
}

static json_t *process_json(void)
{
    struct process_figures figures;
    process_figures(&figures);
    return json_pack("{s:I, s:f, s:I, s:I, s:I, s:I}", "pid", (json_int_t)getpid(), "cpu_s",
                     figures.cpu_s, "resident", (json_int_t)figures.resident, "locked",
                     (json_int_t)figures.locked, "descriptors", (json_int_t)figures.descriptors,
                     "max_descriptors", (json_int_t)figures.max_descriptors);
}

json_t *server_status(struct server *server)
{
    char policy[65];
    const char *why;
    if (server->setup == NULL || server->identify == NULL || server->rpc == NULL) {
        return json_pack("{s:b, s:s, s:o}", "ok", 1, "phase", server_phase_name(server->phase),
                         "process", process_json());
    }
    server_hex(server->setup->conf->digest, policy);
    return json_pack("{s:b, s:s, s:s, s:b, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "ok", 1,
                     "version", WHORL_VERSION, "phase", server_phase_name(server->phase), "ready",
                     (int)server_is_ready(server, &why), "policy", policy, "started",
                     (json_int_t)server->started, "reloads", (json_int_t)server->reloads_done,
                     "reloads_refused", (json_int_t)server->reloads_refused, "process",
                     process_json(), "rpc", rpc_json(server), "service", identify_json(server),
                     "backends", backends_json(server));
}
