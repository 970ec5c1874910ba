/* Measures what a process of its own costs a plugin's call. An echo of 64 bytes is asked in the
 * server's process and in one of its own, by turns, once with 1024 calls always waiting and once
 * with one: processor time of the server and of the plugin's process for each call, and the median
 * time that a lone call takes. The figures are medians of the rounds.
 *
 *     isolate_bench DIR ECHO_MODULE SINK_MODULE
 *
 * DIR is empty, and others may enter it; the sink is there because a configuration needs one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/guest/guest.h"
#include "core/host/host.h"
#include "core/isolate/spawn.h"

enum { DEPTH = 1024, CALLS_DEEP = 40000, CALLS_LONE = 3000, WARM = 1000, ROUNDS = 5 };

struct run {
    uv_loop_t *loop;
    struct backend *backend;
    unsigned depth, waiting;
    unsigned long left;
    double *latency; /* NULL: not wanted */
    size_t latencies;
    uint64_t asked; /* when, of a lone call */
};

struct figures {
    double server, child, latency; /* microseconds a call */
};

static const uint8_t message[64] = {0x81, 0xa1, 'a', 0xc4, 59};

static void die(const char *what)
{
    fprintf(stderr, "isolate_bench: %s\n", what);
    exit(EXIT_FAILURE);
}

static void on_progress(void *ctx, const char *stage, double fraction)
{
    (void)ctx, (void)stage, (void)fraction;
}

static void on_ended(void *ctx, enum backend_end end, const uint8_t *answer, size_t len)
{
    struct run *run = ctx;
    if (end != BACKEND_ANSWERED || len != sizeof message || memcmp(answer, message, len) != 0) {
        die("a call was not answered");
    }
    if (run->latency) {
        run->latency[run->latencies++] = (double)(uv_hrtime() - run->asked) / 1000;
    }
    run->waiting--;
}

/* As connections do: a round of the loop brings requests, then they are made. */
static void make_calls(struct run *run)
{
    const struct backend_listener listener = {on_progress, on_ended, run};
    while (run->left > 0 && run->waiting < run->depth) {
        struct whorl_secret secret = {0};
        if (whorl_secret_write(&secret, (const char *)message, sizeof message) != 0) {
            die("no locked memory");
        }
        run->left--;
        run->waiting++;
        run->asked = uv_hrtime();
        backend_call(run->backend, &secret, 20000, &listener);
    }
}

static void on_check(uv_check_t *check)
{
    struct run *run = check->data;
    make_calls(run);
    if (run->waiting == 0) {
        uv_stop(run->loop);
    }
}

static void ask(struct run *run, unsigned depth, unsigned long calls)
{
    run->depth = depth;
    run->left = calls;
    make_calls(run);
    uv_run(run->loop, UV_RUN_DEFAULT);
}

static double used(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *list, size_t count)
{
    qsort(list, count, sizeof *list, ascending);
    return list[count / 2];
}

/* A round with one plugin: from its start to its process's end, which is when the system says what
 * that has used. */
static struct figures measure(uv_loop_t *loop, struct host *host, struct conf *conf,
                              const char *name, unsigned depth, unsigned long calls)
{
    static double latency[CALLS_LONE];
    struct whorl_fault fault;
    struct run run = {.loop = loop};
    uv_check_t check;
    run.backend = backend_start(host, conf, conf_find_plugin(conf, name), &fault);
    if (!run.backend) {
        die(fault.text);
    }
    uv_check_init(loop, &check);
    check.data = &run;
    uv_check_start(&check, on_check);
    double child = used(RUSAGE_CHILDREN);
    ask(&run, depth, WARM);
    run.latency = depth == 1 ? latency : NULL;
    double before = used(RUSAGE_SELF);
    ask(&run, depth, calls);
    double server = used(RUSAGE_SELF) - before;
    uv_close((uv_handle_t *)&check, NULL);
    backend_unref(run.backend);
    uv_run(loop, UV_RUN_DEFAULT);
    child = used(RUSAGE_CHILDREN) - child;
    return (struct figures){server / (double)calls, child / (double)(calls + WARM),
                            depth == 1 ? median(latency, run.latencies) : 0};
}

static void complain(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
}

static struct conf *make_conf(const char *dir, const char *echo, const char *sink)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/bench.conf", dir);
    FILE *out = fopen(path, "w");
    if (!out) {
        die(strerror(errno));
    }
    fprintf(out,
            "core { data_dir = \"var\" workers = 2 }\n"
            "policy p { rule a { basis = a backends = {here} } }\n"
            "force \"F\" { policy = p backends = {here} }\n"
            "plugin here { module = \"%s\" isolation = in_process max_calls = %d }\n"
            "plugin apart { module = \"%s\" isolation = process max_calls = %d }\n"
            "plugin keeper { module = \"%s\" isolation = in_process }\n",
            echo, DEPTH, echo, DEPTH, sink);
    if (fclose(out) != 0) {
        die(strerror(errno));
    }
    struct conf *conf = conf_read(dir, complain, NULL);
    if (!conf) {
        die("its own configuration is refused");
    }
    return conf;
}

static void compare(uv_loop_t *loop, struct host *host, struct conf *conf, unsigned depth,
                    unsigned long calls)
{
    static const char *const names[] = {"here", "apart"};
    double server[2][ROUNDS], child[2][ROUNDS], latency[2][ROUNDS];
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < 2; i++) {
            struct figures figures = measure(loop, host, conf, names[i], depth, calls);
            server[i][round] = figures.server;
            child[i][round] = figures.child;
            latency[i][round] = figures.latency;
        }
    }
    for (size_t i = 0; i < 2; i++) {
        printf("%4u calls waiting, %-18s server %6.2f us a call, its process %5.2f us", depth,
               i == 0 ? "in the server:" : "a process apart:", median(server[i], ROUNDS),
               median(child[i], ROUNDS));
        if (depth == 1) {
            printf(", answered after %5.1f us", median(latency[i], ROUNDS));
        }
        puts("");
    }
}

int main(int argc, char **argv)
{
    struct whorl_fault fault;
    uv_loop_t loop;
    if (argc > 1 && strcmp(argv[1], ISOLATE_ARGUMENT) == 0) {
        _exit(guest_main());
    }
    if (argc != 4) {
        die("usage: isolate_bench DIR ECHO_MODULE SINK_MODULE");
    }
    struct conf *conf = make_conf(argv[1], argv[2], argv[3]);
    uv_loop_init(&loop);
    struct log *log = log_new(STDERR_FILENO, WHORL_LOG_ERROR);
    struct host *host = host_new(&loop, 2, log, &fault);
    if (!host) {
        die(fault.text);
    }
    compare(&loop, host, conf, DEPTH, CALLS_DEEP);
    compare(&loop, host, conf, 1, CALLS_LONE);
    conf_unref(conf);
    host_close(host);
    uv_run(&loop, UV_RUN_DEFAULT);
    log_free(log);
    return EXIT_SUCCESS;
}
