/* The kit's host: as small as one can be, and as unkind as one may be. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "whorl/msg.h"

enum {
    BLOCKED_MS = 1000, /* what "a millisecond" may become on a loaded machine before it is said */
    LOG_MAX = 4096,
    ANSWER_MAX = 4 << 20,
    AFTER_STOP_MS = 50,
    HOSTS_MAX = 4, /* at a time; no trial has more */
};

/* For kit_host_at: a crash handler has no other way to them. */
static struct {
    struct kit_host *hosts[HOSTS_MAX];
    size_t count;
} process;

struct kit_host *kit_host_at(size_t index)
{
    return index < process.count ? process.hosts[index] : NULL;
}

static void forget(const struct kit_host *host)
{
    for (size_t i = 0; i < process.count; i++) {
        if (process.hosts[i] == host) {
            process.hosts[i] = process.hosts[--process.count];
        }
    }
}

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct kit_host *host_of(const struct whorl_host *api, const char *function)
{
    struct kit_host *host = api->ctx;
    if (host->stopped) {
        kit_found("called host->%s after stop had returned", function);
    }
    return host;
}

/* With the lock held: something happened, which may be the moment to give the first call up. */
static void event(struct kit_host *host)
{
    host->events++;
    if (host->events == host->give_up_at && host->call_count > 0) {
        host->calls[0].given_up = true;
        host->cancel_due = true;
        pthread_cond_broadcast(&host->changed);
    }
}

static void host_log(const struct whorl_host *api, enum whorl_log_level level, const char *text)
{
    struct kit_host *host = host_of(api, "log");
    size_t len = text ? strnlen(text, LOG_MAX + 1) : 0;
    if (!text || len > LOG_MAX || !whorl_text_is_clean(text, len)) {
        kit_found("logged what is no line of text (a line break, a control character, no UTF-8, or "
                  "over %d bytes)",
                  LOG_MAX);
    }
    if ((int)level < WHORL_LOG_DEBUG || level > WHORL_LOG_ERROR) {
        kit_found("logged with a level that there is not: %d", (int)level);
    }
    pthread_mutex_lock(&host->lock);
    event(host);
    (void)whorl_secret_write(&host->said, text ? text : "", len);
    pthread_mutex_unlock(&host->lock);
}

/* Rules about an answer's content. */
static void judge(const struct kit_host *host, struct kit_call *call, const uint8_t *answer,
                  size_t len)
{
    struct whorl_fault fault = {"", ""};
    if (!answer || len == 0 || len > ANSWER_MAX) {
        kit_found("completed a call with an answer of %zu bytes", len);
    } else if (!host->subject->judge(&call->asked, answer, len, call->class, &fault)) {
        kit_found("answered what the host refuses: %s: %s", fault.where, fault.text);
    } else if (!call->asked.intelligible &&
               (strcmp(call->class, "match") == 0 || strcmp(call->class, "possible") == 0 ||
                strcmp(call->class, "no_match") == 0 || strcmp(call->class, "stored") == 0)) {
        kit_found("answered %s to a message that asks nothing: a failure must not look like an "
                  "answer",
                  call->class);
    }
}

static struct kit_call *find(struct kit_host *host, uint64_t id)
{
    for (size_t i = 0; i < host->call_count; i++) {
        if (host->calls[i].id == id) {
            return &host->calls[i];
        }
    }
    return NULL;
}

static void host_complete(const struct whorl_host *api, uint64_t id, const uint8_t *answer,
                          size_t len)
{
    struct kit_host *host = host_of(api, "complete");
    pthread_mutex_lock(&host->lock);
    event(host);
    struct kit_call *call = find(host, id);
    if (!call) {
        kit_found("completed a call that there never was (%llu)", (unsigned long long)id);
    } else if (call->completed) {
        kit_found("completed a call twice");
    } else {
        judge(host, call, answer, len);
        if (answer && len <= ANSWER_MAX) {
            (void)whorl_secret_write(&host->said, (const char *)answer, len);
        }
        call->completed = true;
        host->open--;
        /* The message is gone: whoever still reads it is caught. */
        (void)mprotect(call->map, call->map_len, PROT_NONE);
    }
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

static void host_progress(const struct whorl_host *api, uint64_t id, const char *stage,
                          double fraction)
{
    struct kit_host *host = host_of(api, "progress");
    if (!stage || stage[0] == '\0' || strnlen(stage, 33) > 32 ||
        !whorl_text_is_clean(stage, strlen(stage))) {
        kit_found("reported progress without a short word for its stage");
    }
    if (!(fraction <= 1)) {
        kit_found("reported a progress of %g, which is not within 0 to 1 or negative", fraction);
    }
    pthread_mutex_lock(&host->lock);
    event(host);
    if (!find(host, id)) {
        kit_found("reported progress of a call that there never was (%llu)",
                  (unsigned long long)id);
    }
    pthread_mutex_unlock(&host->lock);
}

static bool host_cancelled(const struct whorl_host *api, uint64_t id)
{
    struct kit_host *host = host_of(api, "cancelled");
    pthread_mutex_lock(&host->lock);
    event(host);
    const struct kit_call *call = find(host, id);
    bool given_up = !call || call->given_up || call->completed;
    pthread_mutex_unlock(&host->lock);
    return given_up;
}

static bool host_submit(const struct whorl_host *api, void (*job)(void *arg), void *arg)
{
    struct kit_host *host = host_of(api, "submit");
    bool taken = false;
    pthread_mutex_lock(&host->lock);
    event(host);
    if (!job) {
        kit_found("submitted no job (NULL)");
    } else if (!host->refuses.submit && host->job_count < KIT_QUEUE_MAX) {
        host->jobs[host->job_count++] = (struct kit_task){.run = job, .arg = arg};
        taken = true;
        pthread_cond_broadcast(&host->changed);
    }
    pthread_mutex_unlock(&host->lock);
    return taken;
}

static void loop_only(const struct kit_host *host, const char *function)
{
    if (!pthread_equal(pthread_self(), host->loop)) {
        kit_found("called host->%s on another thread than the loop's", function);
    }
}

static uint64_t host_timer_start(const struct whorl_host *api, uint64_t milliseconds,
                                 void (*expired)(void *arg), void *arg)
{
    struct kit_host *host = host_of(api, "timer_start");
    uint64_t id = 0;
    loop_only(host, "timer_start");
    pthread_mutex_lock(&host->lock);
    event(host);
    if (!host->refuses.timers && host->timer_count < KIT_CALLS_MAX) {
        id = ++host->next_id;
        host->timers[host->timer_count++] =
            (struct kit_task){expired, arg, id, now_ns() + milliseconds * 1000000u};
    }
    pthread_mutex_unlock(&host->lock);
    return id;
}

static void host_timer_stop(const struct whorl_host *api, uint64_t timer)
{
    struct kit_host *host = host_of(api, "timer_stop");
    loop_only(host, "timer_stop");
    pthread_mutex_lock(&host->lock);
    for (size_t i = 0; i < host->timer_count; i++) {
        if (host->timers[i].id == timer) {
            host->timers[i] = host->timers[--host->timer_count];
            break;
        }
    }
    pthread_mutex_unlock(&host->lock);
}

static void *host_secret_alloc(const struct whorl_host *api, size_t size)
{
    struct kit_host *host = host_of(api, "secret_alloc");
    pthread_mutex_lock(&host->lock);
    event(host);
    pthread_mutex_unlock(&host->lock);
    return host->refuses.secrets ? NULL : whorl_secret_alloc(size);
}

static void host_secret_free(const struct whorl_host *api, void *p, size_t size)
{
    (void)host_of(api, "secret_free");
    whorl_secret_free(p, size);
}

static const void *host_extension(const struct whorl_host *api, const char *name)
{
    (void)host_of(api, "extension");
    (void)name;
    return NULL;
}

/* The last submitted first: the ABI promises an order of starts, but nobody an order of ends, and
 * with several workers the two look the same to a plugin. */
static void *work(void *arg)
{
    struct kit_host *host = arg;
    pthread_mutex_lock(&host->lock);
    while (!host->ending || host->job_count > 0) {
        if (host->job_count == 0) {
            pthread_cond_wait(&host->changed, &host->lock);
            continue;
        }
        struct kit_task job = host->jobs[--host->job_count];
        host->running++;
        pthread_mutex_unlock(&host->lock);
        job.run(job.arg);
        pthread_mutex_lock(&host->lock);
        host->running--;
        pthread_cond_broadcast(&host->changed);
    }
    pthread_mutex_unlock(&host->lock);
    return NULL;
}

/* A clock of this thread that stands still while it is ready to run and gets no processor: a loaded
 * machine is no fault of the backend's. See "schedstat" in the kernel's scheduler documentation. */
static uint64_t loop_clock(void)
{
    char text[64] = "";
    uint64_t now = now_ns();
    unsigned long long unready = 0;
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) > 0) {
            (void)sscanf(text, "%*u %llu", &unready);
        }
        (void)close(fd);
    }
    return now - unready;
}

static void loop_ended(uint64_t since, const char *what)
{
    int64_t ms = ((int64_t)loop_clock() - (int64_t)since) / 1000000;
    if (ms > BLOCKED_MS) { /* may be negative by what the kernel adds up late */
        kit_found("blocked the loop thread for %lld ms in %s", (long long)ms, what);
    }
}

static const struct whorl_host functions = {
    .size = sizeof(struct whorl_host),
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .workers = KIT_WORKERS,
    .log = host_log,
    .complete = host_complete,
    .progress = host_progress,
    .cancelled = host_cancelled,
    .submit = host_submit,
    .timer_start = host_timer_start,
    .timer_stop = host_timer_stop,
    .secret_alloc = host_secret_alloc,
    .secret_free = host_secret_free,
    .extension = host_extension,
};

static void end_workers(struct kit_host *host)
{
    pthread_mutex_lock(&host->lock);
    host->ending = true;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
    for (size_t i = 0; i < KIT_WORKERS; i++) {
        (void)pthread_join(host->workers[i], NULL);
    }
}

bool kit_host_start(struct kit_host *host, const struct kit_subject *subject, const char *data_dir,
                    struct kit_refusals refuses, struct whorl_fault *fault)
{
    *host = (struct kit_host){.api = functions, .subject = subject, .refuses = refuses};
    host->api.ctx = host;
    host->api.settings = subject->settings;
    snprintf(host->data_dir, sizeof host->data_dir, "%s", data_dir);
    host->api.data_dir = host->data_dir;
    host->loop = pthread_self();
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->changed, NULL);
    (void)mkdir(data_dir, 0700);
    if (process.count < HOSTS_MAX) {
        process.hosts[process.count++] = host;
    }
    for (size_t i = 0; i < KIT_WORKERS; i++) {
        if (pthread_create(&host->workers[i], NULL, work, host) != 0) {
            kit_found("the kit has no thread left");
            exit(EXIT_FAILURE);
        }
    }
    uint64_t since = loop_clock();
    int code = subject->plugin->start(&host->api, &host->instance, fault);
    loop_ended(since, "start");
    if (code == 0) {
        return true;
    }
    fault->where[sizeof fault->where - 1] = fault->text[sizeof fault->text - 1] = '\0';
    if (code != -1 || fault->text[0] == '\0') {
        kit_found("start returned %d without saying why", code);
    }
    end_workers(host);
    host->stopped = true;
    forget(host);
    return false;
}

/* The message so that its last byte is a page's last, and the next page can't be read. */
static bool place(struct kit_call *call, const uint8_t *bytes, size_t len, const uint8_t **at)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (len + page - 1) / page * page;
    uint8_t *map =
        mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        return false;
    }
    (void)madvise(map, room, MADV_DONTDUMP);
    memcpy(map + room - len, bytes, len);
    (void)mprotect(map, room, PROT_READ);
    (void)mprotect(map + room, page, PROT_NONE);
    call->map = map;
    call->map_len = room + page;
    *at = map + room - len;
    return true;
}

void kit_host_call(struct kit_host *host, const uint8_t *bytes, size_t len,
                   const struct kit_asked *asked)
{
    const uint8_t *at;
    pthread_mutex_lock(&host->lock);
    struct kit_call *call = &host->calls[host->call_count];
    /* Ids that no table can be indexed by. */
    *call = (struct kit_call){.id = 0x9e3779b97f4a7c15u * ++host->next_id, .asked = *asked};
    if (host->call_count == KIT_CALLS_MAX || !place(call, bytes, len, &at)) {
        pthread_mutex_unlock(&host->lock);
        kit_found("the kit has no memory left");
        return;
    }
    host->call_count++;
    host->open++;
    uint64_t id = call->id;
    pthread_mutex_unlock(&host->lock);
    uint64_t since = loop_clock();
    host->subject->plugin->call(host->instance, id, at, len);
    loop_ended(since, "call");
}

void kit_host_give_up(struct kit_host *host, size_t index)
{
    pthread_mutex_lock(&host->lock);
    struct kit_call *call = &host->calls[index];
    call->given_up = true;
    pthread_mutex_unlock(&host->lock);
    if (host->subject->plugin->cancel) {
        uint64_t since = loop_clock();
        host->subject->plugin->cancel(host->instance, call->id);
        loop_ended(since, "cancel");
    }
}

/* One round of the loop: what is due on this thread, or a short wait. With the lock held. */
static void turn(struct kit_host *host)
{
    uint64_t now = now_ns();
    for (size_t i = 0; i < host->timer_count; i++) {
        if (host->timers[i].at_ns <= now) {
            struct kit_task timer = host->timers[i];
            host->timers[i] = host->timers[--host->timer_count];
            pthread_mutex_unlock(&host->lock);
            uint64_t since = loop_clock();
            timer.run(timer.arg);
            loop_ended(since, "a timer");
            pthread_mutex_lock(&host->lock);
            return;
        }
    }
    if (host->cancel_due) {
        host->cancel_due = false;
        pthread_mutex_unlock(&host->lock);
        kit_host_give_up(host, 0);
        pthread_mutex_lock(&host->lock);
        return;
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(&host->changed, &host->lock, &until);
}

/* Whether the host's calls are all done; turns its loop once. */
static bool settled(struct kit_host *host)
{
    pthread_mutex_lock(&host->lock);
    bool done = host->open == 0 && !host->cancel_due;
    if (!done) {
        turn(host);
    }
    pthread_mutex_unlock(&host->lock);
    return done;
}

static uint64_t patience_until(const struct kit_host *host)
{
    return now_ns() + host->subject->patience_s * 1000000000ull;
}

/* Calls that never end leave threads and memory that nothing can be said about any more. */
static _Noreturn void never(const struct kit_host *host)
{
    kit_found("did not complete %zu of %zu calls within %u s", host->open, host->call_count,
              host->subject->patience_s);
    _exit(EXIT_SUCCESS);
}

void kit_host_settle(struct kit_host *host)
{
    uint64_t until = patience_until(host);
    while (!settled(host)) {
        if (now_ns() > until) {
            never(host);
        }
    }
}

void kit_host_settle_both(struct kit_host *a, struct kit_host *b)
{
    uint64_t until = patience_until(a);
    bool done = false;
    while (!done) {
        bool first = settled(a);
        done = settled(b) && first;
        if (now_ns() > until) {
            never(a->open > 0 ? a : b);
        }
    }
}

/* Jobs that were submitted run before stop; timers that are still set do not hold it up. */
static void drain(struct kit_host *host)
{
    uint64_t until = patience_until(host);
    pthread_mutex_lock(&host->lock);
    while (host->job_count > 0 || host->running > 0) {
        turn(host);
        if (now_ns() > until) {
            pthread_mutex_unlock(&host->lock);
            kit_found("still had jobs on its workers %u s after its last call was completed",
                      host->subject->patience_s);
            _exit(EXIT_SUCCESS);
        }
    }
    pthread_mutex_unlock(&host->lock);
}

void kit_host_stop(struct kit_host *host)
{
    kit_host_settle(host);
    drain(host);
    uint64_t since = loop_clock();
    host->subject->plugin->stop(host->instance);
    loop_ended(since, "stop");
    host->stopped = true;
    end_workers(host);
    /* Threads of its own that it forgot would use the host now. */
    (void)usleep(AFTER_STOP_MS * 1000);
    for (size_t i = 0; i < host->call_count; i++) {
        (void)munmap(host->calls[i].map, host->calls[i].map_len);
    }
    host->call_count = 0;
    whorl_secret_release(&host->said);
    forget(host);
}

bool kit_host_explains(const struct kit_host *host, const void *address, const char **what)
{
    const uint8_t *at = address;
    for (size_t i = 0; i < host->call_count; i++) {
        const struct kit_call *call = &host->calls[i];
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        if (at < call->map || at >= call->map + call->map_len) {
            continue;
        }
        *what = at >= call->map + call->map_len - page ? "read beyond the end of a call's message"
                : call->completed ? "used a call's message after it had completed the call"
                                  : "wrote into a call's message, which is the host's";
        return true;
    }
    return false;
}
