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

/* Something has come: answers, progress, or the last job of a backend. */
static void on_wake(uv_async_t *async)
{
    struct host *host = async->data;
    call_flush_progress(host); /* first: a call that has ended reports nothing more */
    call_drain(host);
    call_settle(host);
    for (struct backend *backend = host->backends; backend; backend = backend->next) {
        backend_stop_if_idle(backend);
    }
}

void host_wake(struct host *host)
{
    pthread_mutex_lock(&host->lock);
    if (!host->closed) {
        uv_async_send(&host->wake);
    }
    pthread_mutex_unlock(&host->lock);
}

/* Worker thread. */
static void on_idle(void *ctx)
{
    host_wake(ctx);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct host *host = prepare->data;
    if (host->jobs_gathered) {
        host->jobs_gathered = false;
        pool_wake(&host->pool);
    }
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
    if (error == 0) {
        uv_prepare_init(host->loop, &host->before_waiting);
        host->before_waiting.data = host;
        host->open_handles++;
        /* They keep the loop alive only while a backend runs (host_count_running). */
        uv_unref((uv_handle_t *)&host->wake);
        uv_unref((uv_handle_t *)&host->progress_due);
        uv_unref((uv_handle_t *)&host->before_waiting);
    }
    return error;
}

uint64_t host_moment(struct host *host)
{
    if (host->moment == 0 || !host->gathering) {
        host->moment = uv_hrtime();
    }
    return host->moment;
}

void host_gather(struct host *host)
{
    LOOP_ONLY(host);
    host->gathering = true;
    host->moment = 0;
}

void host_settle(struct host *host)
{
    LOOP_ONLY(host);
    call_settle(host);
    host->gathering = false;
}

void host_give_back(struct host *host, struct whorl_secret *buffer)
{
    if (buffer->cap == 0 || buffer->cap > SPARE_LARGEST || host->spare_count == SPARE_BUFFERS ||
        host->spare_bytes + buffer->cap > SPARE_BYTES) {
        whorl_secret_release(buffer);
        return;
    }
    explicit_bzero(buffer->bytes, buffer->len); /* nothing was ever written past len */
    buffer->len = 0;
    host->spare_bytes += buffer->cap;
    host->spare[host->spare_count++] = *buffer;
    *buffer = (struct whorl_secret){NULL, 0, 0};
}

struct whorl_secret backend_buffer(struct backend *backend)
{
    struct host *host = backend->host;
    LOOP_ONLY(host);
    if (host->spare_count == 0) {
        return (struct whorl_secret){NULL, 0, 0};
    }
    struct whorl_secret buffer = host->spare[--host->spare_count];
    host->spare_bytes -= buffer.cap;
    return buffer;
}

static void free_host(struct host *host)
{
    while (host->spare_count > 0) {
        whorl_secret_release(&host->spare[--host->spare_count]);
    }
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
        explicit_bzero(completion->answer, completion->len);
        free(completion);
    }
    call_free_table(host);
    if (host->gathered) {
        explicit_bzero(host->gathered->bytes, host->gathered->used);
    }
    free(host->gathered);
    free(host->settling);
    idmap_release(&host->timers);
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
    host->open_handles += call_close_timers(host, on_closed);
    uv_close((uv_handle_t *)&host->wake, on_closed);
    if (open > 1) {
        uv_close((uv_handle_t *)&host->progress_due, on_closed);
        uv_close((uv_handle_t *)&host->before_waiting, on_closed);
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
    host->gathered = calloc(1, sizeof *host->gathered);
    host->settling = calloc(1, sizeof *host->settling);
    int error = host->gathered && host->settling ? open_handles(host) : UV_ENOMEM;
    if (error != 0) {
        whorl_fail(fault, "", "the plugin host can't be made: %s", uv_strerror(error));
    } else {
        error = pool_init(&host->pool, workers, on_idle, host);
        if (error == 0) {
            uv_prepare_start(&host->before_waiting, on_prepare);
        } else {
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
    pthread_mutex_lock(&host->lock);
    host->closed = true;
    pthread_mutex_unlock(&host->lock);
    if (host->running > 0) {
        /* A plugin still holds a call or runs a job, perhaps for ever: its memory has to stay. */
        log_line(host->log, WHORL_LOG_ERROR, "the host was closed while plugins were running",
                 NULL);
        host->open_handles++;
    } else {
        pool_end(&host->pool);
    }
    close_handles(host);
}

void host_count_running(struct host *host, int change)
{
    host->running += (size_t)change;
    if (host->running > 0) {
        uv_ref((uv_handle_t *)&host->wake);
    } else {
        uv_unref((uv_handle_t *)&host->wake);
    }
}

unsigned host_workers(const struct host *host)
{
    return host->pool.thread_count;
}

size_t host_running(const struct host *host)
{
    return host->running;
}
