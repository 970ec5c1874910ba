#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/internal.h"

#ifndef NDEBUG
void host_check_thread(const struct host *host, const char *function)
{
    if (!pthread_equal(pthread_self(), host->loop_thread)) {
        (void)fprintf(stderr, "whorl: %s belongs to the loop thread\n", function);
        abort();
    }
}
#endif

/* Something came from another thread: answers, progress, or the last job of a backend. */
static void on_wake(uv_async_t *async)
{
    struct host *host = async->data;
    call_drain(host);
    call_flush_progress(host);
    for (struct backend *backend = host->backends; backend; backend = backend->next) {
        backend_stop_if_idle(backend);
    }
}

/* Worker thread. */
static void on_idle(void *ctx)
{
    struct host *host = ctx;
    uv_async_send(&host->wake);
}

/* Opens the handles. The first failure leaves those before it open, counted in open_handles. */
static int open_handles(struct host *host)
{
    host->wake.data = host;
    host->progress_due.data = host;
    int error = uv_async_init(host->loop, &host->wake, on_wake);
    if (error == 0) {
        host->open_handles = 1;
        error = uv_timer_init(host->loop, &host->progress_due);
        host->open_handles += error == 0;
    }
    return error;
}

static void free_host(struct host *host)
{
    while (host->backends) {
        struct backend *backend = host->backends;
        host->backends = backend->next;
        free((void *)backend->abi.data_dir);
        free((void *)backend->name);
        free(backend);
    }
    while (host->completions) {
        struct completion *completion = host->completions;
        host->completions = completion->next;
        free(completion);
    }
    call_free_table(host);
    pthread_mutex_destroy(&host->lock);
    free(host);
}

static void on_closed(uv_handle_t *handle)
{
    struct host *host = handle->data;
    if (--host->open_handles == 0) {
        free_host(host);
    }
}

/* Closes the handles that are open, and frees the host when they are closed. */
static void close_handles(struct host *host)
{
    unsigned open = host->open_handles;
    if (open == 0) {
        free_host(host);
        return;
    }
    uv_close((uv_handle_t *)&host->wake, on_closed);
    if (open > 1) {
        uv_close((uv_handle_t *)&host->progress_due, on_closed);
    }
}

struct host *host_new(uv_loop_t *loop, unsigned workers, struct log *log, struct whorl_fault *fault)
{
    struct host *host = calloc(1, sizeof *host);
    if (!host) {
        whorl_fail(fault, "", "the plugin host can't be made: out of memory");
        return NULL;
    }
    host->loop = loop;
    host->log = log;
    host->loop_thread = pthread_self();
    host->completions_last = &host->completions;
    pthread_mutex_init(&host->lock, NULL);
    int error = open_handles(host);
    if (error != 0) {
        whorl_fail(fault, "", "the plugin host can't be made: %s", uv_strerror(error));
    } else {
        error = pool_init(&host->pool, workers, on_idle, host);
        if (error != 0) {
            whorl_fail(fault, "workers", "%u worker threads can't be started: %s", workers,
                       strerror(error));
        }
    }
    if (error != 0) {
        close_handles(host);
        return NULL;
    }
    return host;
}

void host_close(struct host *host)
{
    LOOP_ONLY(host);
    assert(host->running == 0);
    pool_end(&host->pool);
    close_handles(host);
}

size_t host_running(const struct host *host)
{
    return host->running;
}
