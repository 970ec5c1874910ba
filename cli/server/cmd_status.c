/* whorl status: what the running server is doing. */
#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/server/server_ask.h"

struct options {
    const char *dir;
    double every_s;
    bool once, json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    char *end;
    switch (key) {
    case '1':
        options->once = true;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case 'n':
        options->every_s = strtod(arg, &end);
        if (end == arg || *end != '\0' || !(options->every_s >= 0.1 && options->every_s <= 3600)) {
            argp_error(state, "--every takes seconds, 0.1 to 3600");
        }
        return 0;
    default:
        return parse_conf_dir(key, arg, state, &options->dir);
    }
}

static const json_t *at(const json_t *object, const char *one, const char *other)
{
    const json_t *inner = json_object_get(object, one);
    return other != NULL ? json_object_get(inner, other) : inner;
}

static double number(const json_t *object, const char *one, const char *other)
{
    return json_number_value(at(object, one, other));
}

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value != NULL ? value : "";
}

/* The sum of an object's numbers. */
static double sum(const json_t *object)
{
    double total = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        total += json_number_value(value);
    }
    return total;
}

/* A second, from two looks; "-" for the first. */
static const char *rate(char *out, size_t cap, double now, double before, double seconds)
{
    if (seconds <= 0) {
        snprintf(out, cap, "-");
    } else {
        snprintf(out, cap, "%.1f", (now - before) / seconds);
    }
    return out;
}

/* An upper bound: "<= 2.5"; past the last bucket "> 60000". */
static const char *bound(char *out, size_t cap, double ms)
{
    if (ms < 0) {
        snprintf(out, cap, ">60000");
    } else if (ms == 0) {
        snprintf(out, cap, "-");
    } else {
        snprintf(out, cap, "%.5g", ms);
    }
    return out;
}

static const json_t *backend_named(const json_t *status, const char *name)
{
    size_t index;
    const json_t *backend;
    json_array_foreach(json_object_get(status, "backends"), index, backend)
    {
        if (strcmp(text(backend, "name"), name) == 0) {
            return backend;
        }
    }
    return NULL;
}

/* What has become of the process that a backend has of its own, if that is worth a line. */
static void print_process(const json_t *process)
{
    double losses = sum(json_object_get(process, "losses"));
    if (losses > 0) {
        printf("%-14s its process was lost %.0f times%s; last: %s\n", "", losses,
               json_is_true(json_object_get(process, "up")) ? "" : " and is being made anew",
               text(process, "last"));
    }
}

static void print_backend(const json_t *backend, const json_t *before, double seconds)
{
    char per_second[32], p50[16], p99[16], calls[32], breaker[40];
    const json_t *ends = json_object_get(backend, "ends");
    if (!json_is_true(json_object_get(backend, "enabled"))) {
        printf("%-14s disabled\n", text(backend, "name"));
        return;
    }
    snprintf(calls, sizeof calls, "%.0f/%.0f", number(backend, "calls", NULL),
             number(backend, "max_calls", NULL));
    snprintf(breaker, sizeof breaker, "%s", text(backend, "breaker"));
    if (number(backend, "retry_ms", NULL) > 0) {
        snprintf(breaker, sizeof breaker, "%s, %.1f s", text(backend, "breaker"),
                 number(backend, "retry_ms", NULL) / 1000);
    }
    printf("%-14s %-7s %9s %6.0f %7.0f %8s %8s %8s %8.0f  %s\n", text(backend, "name"),
           text(backend, "role"), calls, number(backend, "jobs", NULL),
           number(backend, "waiting", NULL),
           rate(per_second, sizeof per_second, sum(ends), sum(at(before, "ends", NULL)), seconds),
           bound(p50, sizeof p50, number(backend, "p50_ms", NULL)),
           bound(p99, sizeof p99, number(backend, "p99_ms", NULL)),
           sum(ends) - number(ends, "answered", NULL), breaker);
    print_process(json_object_get(backend, "process"));
}

static void print_head(const json_t *status)
{
    double up = difftime(time(NULL), (time_t)number(status, "started", NULL));
    printf("Whorl %s, %s%s, up %.0f s, pid %.0f, policy %.12s\n", text(status, "version"),
           text(status, "phase"),
           json_is_true(json_object_get(status, "ready")) ? "" : " (not ready)", up,
           number(status, "process", "pid"), text(status, "policy"));
    printf("Memory %.1f MB (%.1f MB locked), %.0f of %.0f descriptors, %.1f s of processor time, "
           "%.0f reloads (%.0f refused)\n",
           number(status, "process", "resident") / 1e6, number(status, "process", "locked") / 1e6,
           number(status, "process", "descriptors"), number(status, "process", "max_descriptors"),
           number(status, "process", "cpu_s"), number(status, "reloads", NULL),
           number(status, "reloads_refused", NULL));
}

static void print_table(const json_t *status, const json_t *before, double seconds)
{
    char requests[32], busy[32], identify[32], p50[16], p99[16];
    const json_t *rpc = json_object_get(status, "rpc"), *was = json_object_get(before, "rpc");
    const json_t *service = json_object_get(status, "service");
    print_head(status);
    printf("Connections %.0f of %.0f, calls %.0f of %.0f, queued %.0f kB out, %.0f kB in\n",
           number(rpc, "connections", NULL), number(rpc, "max_connections", NULL),
           number(rpc, "calls", NULL), number(rpc, "max_calls", NULL),
           number(rpc, "bytes_to_send", NULL) / 1e3, number(rpc, "bytes_begun", NULL) / 1e3);
    printf("Requests/s %s, told busy/s %s; identify/s %s, in flight %.0f, ms p50 %s p99 %s\n\n",
           rate(requests, sizeof requests, number(rpc, "requests", NULL),
                number(was, "requests", NULL), seconds),
           rate(busy, sizeof busy, sum(at(rpc, "busy", NULL)), sum(at(was, "busy", NULL)), seconds),
           rate(identify, sizeof identify, number(at(service, "methods", NULL), "identify", NULL),
                number(at(at(before, "service", NULL), "methods", NULL), "identify", NULL),
                seconds),
           number(service, "transactions", NULL),
           bound(p50, sizeof p50, number(service, "p50_ms", NULL)),
           bound(p99, sizeof p99, number(service, "p99_ms", NULL)));
    printf("%-14s %-7s %9s %6s %7s %8s %8s %8s %8s  %s\n", "BACKEND", "ROLE", "CALLS", "JOBS",
           "WAITING", "ENDED/S", "P50 MS", "P99 MS", "FAILED", "BREAKER");
    size_t index;
    const json_t *backend;
    json_array_foreach(json_object_get(status, "backends"), index, backend)
    {
        print_backend(backend, backend_named(before, text(backend, "name")), seconds);
    }
    fflush(stdout);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int watch(const struct options *options)
{
    json_t *before = NULL;
    double then = 0;
    for (;;) {
        double now = now_s();
        json_t *status = server_ask(options->dir, "status");
        if (status == NULL) {
            json_decref(before);
            return EXIT_FAILED;
        }
        fputs("\033[H\033[2J", stdout); /* home, and clear the screen (ECMA-48) */
        print_table(status, before, before != NULL ? now - then : 0);
        json_decref(before);
        before = status;
        then = now;
        usleep((useconds_t)(options->every_s * 1e6));
    }
}

int cmd_status(int argc, char **argv)
{
    static const struct argp_option list[] = {
        CONF_DIR_OPTION,
        {"once", '1', NULL, 0, "Print the table once", 0},
        {"json", 'j', NULL, 0, "Print everything once, as JSON", 0},
        {"every", 'n', "SECONDS", 0, "How often the table is renewed (default 2)", 0},
        {0}};
    static const struct argp argp = {
        .options = list,
        .parser = parse,
        .doc = "Shows what the running server is doing: backends, queues, rates, latencies and "
               "breakers. Latencies are upper bounds since the start, in ms; FAILED counts calls "
               "that were not answered.\v"
               "Exit status: 0 done, 2 wrong usage, 3 no server can be reached.",
    };
    struct options options = {.every_s = 2};
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    if (!options.once && !options.json) {
        return watch(&options);
    }
    json_t *status = server_ask(options.dir, "status");
    if (status == NULL) {
        return EXIT_FAILED;
    }
    if (options.json) {
        json_dumpf(status, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_table(status, NULL, 0);
    }
    json_decref(status);
    return EXIT_DONE;
}
