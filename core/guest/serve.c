#include "core/guest/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/host/pool.h"
#include "whorl/msg.h"
#include "whorl/secret.h"

enum {
    ORDERS_MAX = 256, /* taken in one round */
    STAGE_MAX = CHANNEL_STAGE_MAX + 1,
    LOG_MAX = CHANNEL_LINE_MAX,
    PROGRESS_MS = 50, /* between two reports of one stage; the server merges them further */
    STOPPING_MS = 2,  /* between two looks whether the last job has run */
    FLUSH_ROUNDS = 1000,
};

#define COMPLETING UINT64_MAX /* the slot that this would have is beyond all */

struct place {
    _Atomic uint64_t call; /* that the instance has yet to complete; 0: none; COMPLETING */
    void *mapped;          /* its message, where that is mapped for it alone */
    size_t len;
    char stage[STAGE_MAX]; /* last reported; under guest->lock */
    int64_t reported;
};

struct timer {
    uint64_t id;
    int64_t due; /* ms */
    void (*expired)(void *arg);
    void *arg;
    struct timer *next;
};

/* A report for which the ring had no room. */
struct waiting {
    struct waiting *next;
    struct channel_report head;
    size_t len;
    uint8_t bytes[];
};

struct guest {
    struct whorl_host abi;
    struct channel channel;
    const struct isolate_spec *spec;
    const struct whorl_plugin *plugin;
    void *instance;
    pthread_t main;
    bool dispatching; /* main thread: the server is woken after the round */
    bool stopping;
    uint32_t taken;        /* orders */
    _Atomic uint32_t rung; /* the server's sleep that was ended */
    struct pool pool;
    struct pool_queue jobs;
    struct timer *timers; /* the next first; main thread */
    uint64_t last_timer;
    pthread_mutex_t lock; /* the ring of reports has one writer at a time */
    struct waiting *waiting, **waiting_last;
    struct place places[];
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool on_main_thread(const struct guest *guest)
{
    return pthread_equal(pthread_self(), guest->main) != 0;
}

/* Reports */

/* Wakes the server if it sleeps, once for each sleep. */
static void ring(struct guest *guest)
{
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t sleep = atomic_load_explicit(&guest->channel.orders->sleep, memory_order_relaxed);
    if (sleep % 2 == 1 && atomic_exchange(&guest->rung, sleep) != sleep) {
        (void)!write(ISOLATE_FD_BELL, "", 1); /* a full pipe wakes as well */
    }
}

/* The same, but for what the main thread reports in the course of a round: at its end. */
static void ring_later(struct guest *guest)
{
    if (!on_main_thread(guest) || !guest->dispatching) {
        ring(guest);
    }
}

/* Under the lock. Writes what waits, as far as there is room; true: nothing is left. */
static bool flush(struct guest *guest)
{
    while (guest->waiting) {
        struct waiting *first = guest->waiting;
        if (!channel_report(&guest->channel, &first->head, first->bytes, first->len, NULL, 0)) {
            return false;
        }
        guest->waiting = first->next;
        if (!guest->waiting) {
            guest->waiting_last = &guest->waiting;
        }
        explicit_bzero(first->bytes, first->len);
        free(first);
    }
    atomic_store(&guest->channel.reports->want_room, 0);
    return true;
}

/* Under the lock. */
static void put(struct guest *guest, const struct channel_report *head, const void *first,
                size_t first_len, const void *rest, size_t rest_len)
{
    if (!guest->waiting &&
        channel_report(&guest->channel, head, first, first_len, rest, rest_len)) {
        return;
    }
    struct waiting *waiting = malloc(sizeof *waiting + first_len + rest_len);
    if (!waiting) {
        abort(); /* an answer must not be lost, and can't be kept: the server starts another */
    }
    *waiting = (struct waiting){NULL, *head, first_len + rest_len};
    if (first_len > 0) {
        memcpy(waiting->bytes, first, first_len);
    }
    if (rest_len > 0) {
        memcpy(waiting->bytes + first_len, rest, rest_len);
    }
    *guest->waiting_last = waiting;
    guest->waiting_last = &waiting->next;
    /* The server makes room, then looks whether any is wanted; we say so, then look again. */
    atomic_store(&guest->channel.reports->want_room, 1);
    atomic_thread_fence(memory_order_seq_cst);
    (void)flush(guest);
}

static void report(struct guest *guest, const struct channel_report *head, const void *first,
                   size_t first_len, const void *rest, size_t rest_len)
{
    pthread_mutex_lock(&guest->lock);
    put(guest, head, first, first_len, rest, rest_len);
    pthread_mutex_unlock(&guest->lock);
    ring_later(guest);
}

/* What the instance calls */

static void abi_log(const struct whorl_host *abi, enum whorl_log_level level, const char *text)
{
    struct channel_report head = {.kind = REPORT_LOG, .level = (uint16_t)level};
    if (text && level >= WHORL_LOG_DEBUG && level <= WHORL_LOG_ERROR) {
        size_t len = strlen(text);
        report(abi->ctx, &head, text, len < LOG_MAX ? len : LOG_MAX, NULL, 0);
    }
}

static struct place *place_of(struct guest *guest, uint64_t call)
{
    uint32_t slot = channel_slot_of(call);
    return slot < guest->channel.shape.calls ? &guest->places[slot] : NULL;
}

static void report_answer(struct guest *guest, uint64_t call, const uint8_t *answer, size_t len)
{
    struct channel_report head = {.kind = REPORT_ANSWER_PART, .call = call};
    len = len > CHANNEL_ANSWER_MAX ? 0 : len; /* no answer: the host calls it malformed */
    pthread_mutex_lock(&guest->lock);
    while (len > CHANNEL_PAYLOAD_MAX) {
        put(guest, &head, answer, CHANNEL_PAYLOAD_MAX, NULL, 0);
        answer += CHANNEL_PAYLOAD_MAX;
        len -= CHANNEL_PAYLOAD_MAX;
    }
    head.kind = REPORT_ANSWER;
    put(guest, &head, answer, len, NULL, 0);
    pthread_mutex_unlock(&guest->lock);
    ring_later(guest);
}

static void abi_complete(const struct whorl_host *abi, uint64_t call, const uint8_t *answer,
                         size_t len)
{
    struct guest *guest = abi->ctx;
    struct place *place = place_of(guest, call);
    uint64_t expected = call;
    if (!place || call == 0 ||
        !atomic_compare_exchange_strong(&place->call, &expected, COMPLETING)) {
        abi_log(abi, WHORL_LOG_WARNING,
                "completed a call that it doesn't have, or a second time: ignored");
        return;
    }
    void *mapped = place->mapped;
    size_t mapped_len = place->len;
    /* The server gives the place to another call only when it has the answer. */
    atomic_store_explicit(&place->call, 0, memory_order_release);
    report_answer(guest, call, answer, answer ? len : 0);
    if (mapped) {
        munmap(mapped, mapped_len);
    }
}

static void abi_progress(const struct whorl_host *abi, uint64_t call, const char *stage,
                         double fraction)
{
    struct guest *guest = abi->ctx;
    struct place *place = place_of(guest, call);
    size_t len = stage ? strnlen(stage, STAGE_MAX) : 0;
    if (!place || atomic_load(&place->call) != call || len == 0 || len == STAGE_MAX) {
        return;
    }
    struct channel_report head = {.kind = REPORT_PROGRESS, .call = call};
    int64_t now = now_ms();
    pthread_mutex_lock(&guest->lock);
    bool due = strcmp(place->stage, stage) != 0 || now - place->reported >= PROGRESS_MS;
    if (due) {
        memcpy(place->stage, stage, len + 1);
        place->reported = now;
        put(guest, &head, &fraction, sizeof fraction, stage, len);
    }
    pthread_mutex_unlock(&guest->lock);
    if (due) {
        ring_later(guest);
    }
}

static bool abi_cancelled(const struct whorl_host *abi, uint64_t call)
{
    const struct guest *guest = abi->ctx;
    uint32_t slot = channel_slot_of(call);
    return slot >= guest->channel.shape.calls ||
           atomic_load_explicit(channel_live(&guest->channel, slot), memory_order_relaxed) != call;
}

static bool abi_submit(const struct whorl_host *abi, void (*job)(void *arg), void *arg)
{
    struct guest *guest = abi->ctx;
    return job && pool_submit(&guest->pool, &guest->jobs, job, arg, 1);
}

static bool only_main(const struct guest *guest, const char *function)
{
    if (on_main_thread(guest)) {
        return true;
    }
    char text[LOG_MAX + 1];
    (void)snprintf(text, sizeof text, "called %s from a thread that is not the loop's", function);
    abi_log(&guest->abi, WHORL_LOG_ERROR, text);
    return false;
}

static uint64_t abi_timer_start(const struct whorl_host *abi, uint64_t milliseconds,
                                void (*expired)(void *arg), void *arg)
{
    struct guest *guest = abi->ctx;
    struct timer *timer = NULL;
    if (!only_main(guest, "timer_start") || !expired || !(timer = calloc(1, sizeof *timer))) {
        return 0;
    }
    uint64_t most = INT32_MAX; /* 24 days */
    timer->id = ++guest->last_timer;
    timer->due = now_ms() + (int64_t)(milliseconds < most ? milliseconds : most);
    timer->expired = expired;
    timer->arg = arg;
    struct timer **link = &guest->timers;
    while (*link && (*link)->due <= timer->due) {
        link = &(*link)->next;
    }
    timer->next = *link;
    *link = timer;
    return timer->id;
}

static void abi_timer_stop(const struct whorl_host *abi, uint64_t id)
{
    struct guest *guest = abi->ctx;
    if (!only_main(guest, "timer_stop")) {
        return;
    }
    for (struct timer **link = &guest->timers; *link; link = &(*link)->next) {
        if ((*link)->id == id) {
            struct timer *timer = *link;
            *link = timer->next;
            free(timer);
            return;
        }
    }
}

static void *abi_secret_alloc(const struct whorl_host *abi, size_t size)
{
    (void)abi;
    return whorl_secret_alloc(size);
}

static void abi_secret_free(const struct whorl_host *abi, void *p, size_t size)
{
    (void)abi;
    whorl_secret_free(p, size);
}

static const void *abi_extension(const struct whorl_host *abi, const char *name)
{
    (void)abi, (void)name;
    return NULL;
}

/* Orders */

/* The message of a call that is too large for its slot; NULL: it can't be had. */
static void *receive_mapped(size_t len)
{
    char byte;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {&byte, 1};
    struct msghdr head = {.msg_iov = &part,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do { /* it was sent before the order */
        n = recvmsg(ISOLATE_FD_CONTROL, &head, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    struct cmsghdr *rights = n == 1 ? CMSG_FIRSTHDR(&head) : NULL;
    if (!rights || rights->cmsg_type != SCM_RIGHTS) {
        return NULL;
    }
    int fd;
    memcpy(&fd, CMSG_DATA(rights), sizeof fd);
    void *p = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(p, len, MADV_DONTDUMP); /* there are no dumps of this process, either */
    return p;
}

static void take_call(struct guest *guest, const struct channel_order *order)
{
    uint32_t slot = channel_slot_of(order->call);
    struct place *place = &guest->places[slot];
    const uint8_t *message = channel_slot(&guest->channel, slot);
    if (atomic_load_explicit(&place->call, memory_order_acquire) != 0) {
        abort(); /* no server does that */
    }
    place->mapped = NULL;
    place->len = order->len;
    place->stage[0] = '\0';
    if (order->kind == ORDER_CALL_MAPPED) {
        message = place->mapped = receive_mapped(order->len);
    }
    atomic_store(&place->call, order->call);
    if (message) {
        guest->plugin->call(guest->instance, order->call, message, order->len);
    } else {
        abi_complete(&guest->abi, order->call, NULL, 0);
    }
}

static void take_cancel(struct guest *guest, uint64_t call)
{
    const struct place *place = place_of(guest, call);
    if (guest->plugin->cancel && place && atomic_load(&place->call) == call) {
        guest->plugin->cancel(guest->instance, call);
    }
}

/* Returns whether there were any. */
static bool take_orders(struct guest *guest)
{
    uint32_t head = atomic_load_explicit(&guest->channel.orders->head, memory_order_acquire);
    uint32_t first = guest->taken;
    while (guest->taken != head && guest->taken - first < ORDERS_MAX) {
        struct channel_order order = *channel_order_at(&guest->channel, guest->taken++);
        atomic_store_explicit(&guest->channel.reports->taken, guest->taken, memory_order_release);
        if (order.kind == ORDER_STOP) {
            guest->stopping = true;
        } else if (order.kind == ORDER_CANCEL) {
            take_cancel(guest, order.call);
        } else {
            take_call(guest, &order);
        }
    }
    return guest->taken != first;
}

static bool run_timers(struct guest *guest)
{
    bool any = false;
    int64_t now = guest->timers ? now_ms() : 0;
    while (guest->timers && guest->timers->due <= now) {
        struct timer *timer = guest->timers;
        guest->timers = timer->next;
        timer->expired(timer->arg);
        free(timer);
        any = true;
    }
    return any;
}

/* Sleeps until there is something to do. */
static void rest(struct guest *guest)
{
    struct channel_orders *orders = guest->channel.orders;
    struct channel_reports *reports = guest->channel.reports;
    uint32_t doorbell = atomic_load_explicit(&orders->doorbell, memory_order_acquire);
    whorl_secret_forget();
    atomic_store_explicit(&reports->asleep, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    pthread_mutex_lock(&guest->lock);
    bool waited = guest->waiting != NULL, flushed = waited && flush(guest);
    pthread_mutex_unlock(&guest->lock);
    if (waited) { /* some of it may be there now; the server makes room for more when it knows */
        ring(guest);
    }
    if (!flushed && atomic_load_explicit(&orders->head, memory_order_relaxed) == guest->taken) {
        int64_t wait = guest->timers ? guest->timers->due - now_ms() : 0;
        wait = guest->stopping ? STOPPING_MS : wait > 0 ? wait : !!guest->timers;
        struct timespec timeout = {wait / 1000, wait % 1000 * 1000000};
        (void)syscall(SYS_futex, &orders->doorbell, FUTEX_WAIT, doorbell,
                      wait > 0 ? &timeout : NULL, NULL, 0);
    }
    atomic_store_explicit(&reports->asleep, 0, memory_order_relaxed);
}

static void serve_once(struct guest *guest)
{
    guest->dispatching = true;
    bool busy = run_timers(guest);
    busy = take_orders(guest) || busy;
    guest->dispatching = false;
    pthread_mutex_lock(&guest->lock);
    (void)flush(guest);
    pthread_mutex_unlock(&guest->lock);
    ring(guest);
    if (!busy) {
        rest(guest);
    }
}

void guest_serve(struct guest *guest)
{
    while (!guest->stopping || !pool_close(&guest->pool, &guest->jobs)) {
        serve_once(guest);
    }
    guest->plugin->stop(guest->instance);
    for (int i = 0; i < FLUSH_ROUNDS; i++) {
        pthread_mutex_lock(&guest->lock);
        bool all = flush(guest);
        pthread_mutex_unlock(&guest->lock);
        ring(guest);
        if (all) {
            break;
        }
        usleep(STOPPING_MS * 1000);
    }
}

/* Beginning */

static void on_idle(void *ctx)
{
    (void)ctx; /* rest() looks often enough */
}

struct guest *guest_new(const struct channel *channel, const struct isolate_spec *spec,
                        const struct whorl_plugin *plugin, const struct whorl_settings *settings,
                        struct whorl_fault *fault)
{
    struct guest *guest = calloc(1, sizeof *guest + channel->shape.calls * sizeof guest->places[0]);
    int error = guest ? pool_init(&guest->pool, spec->workers, on_idle, guest) : ENOMEM;
    if (error != 0) {
        whorl_fail(fault, "", "its worker threads can't be made: %s", strerror(error));
        return NULL;
    }
    guest->channel = *channel;
    guest->spec = spec;
    guest->plugin = plugin;
    guest->main = pthread_self();
    guest->waiting_last = &guest->waiting;
    pthread_mutex_init(&guest->lock, NULL);
    guest->abi = (struct whorl_host){
        .size = sizeof(struct whorl_host),
        .abi_major = WHORL_ABI_MAJOR,
        .abi_minor = WHORL_ABI_MINOR,
        .ctx = guest,
        .settings = settings,
        .data_dir = spec->data_dir,
        .workers = spec->workers,
        .log = abi_log,
        .complete = abi_complete,
        .progress = abi_progress,
        .cancelled = abi_cancelled,
        .submit = abi_submit,
        .timer_start = abi_timer_start,
        .timer_stop = abi_timer_stop,
        .secret_alloc = abi_secret_alloc,
        .secret_free = abi_secret_free,
        .extension = abi_extension,
    };
    return guest;
}

bool guest_start(struct guest *guest, struct whorl_fault *fault)
{
    if (guest->plugin->start(&guest->abi, &guest->instance, fault) == 0) {
        return true;
    }
    fault->where[sizeof fault->where - 1] = fault->text[sizeof fault->text - 1] = '\0';
    if (fault->text[0] == '\0') {
        whorl_fail(fault, fault->where, "it gave no reason");
    }
    return false;
}
