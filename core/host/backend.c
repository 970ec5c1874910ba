/* Running instances of plugins: starting, what they may ask of the host, stopping. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/host/internal.h"
#include "core/isolate/ahead.h"

enum { LOG_TEXT_MAX = 1000 };

void backend_log(const struct backend *backend, enum whorl_log_level level, const char *text)
{
    log_line(backend->host->log, level, text, "plugin", backend->name, NULL);
}

static void abi_log(const struct whorl_host *abi, enum whorl_log_level level, const char *text)
{
    char line[LOG_TEXT_MAX];
    if (!text || level < WHORL_LOG_DEBUG || level > WHORL_LOG_ERROR) {
        return;
    }
    (void)snprintf(line, sizeof line, "%s", text);
    line[strcspn(line, "\r\n")] = '\0';
    backend_log(abi->ctx, level, line);
}

static bool abi_submit(const struct whorl_host *abi, void (*job)(void *arg), void *arg)
{
    struct backend *backend = abi->ctx;
    struct host *host = backend->host;
    /* What the loop submits before it next waits, it hands to the workers together. */
    bool gather = pthread_equal(pthread_self(), host->loop_thread) && !host->closed;
    if (gather) {
        host->jobs_gathered = true;
    }
    return job && pool_submit(&host->pool, &backend->jobs, job, arg, gather ? JOBS_GATHERED : 1);
}

static void free_timer(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_timer(struct timer *timer)
{
    idmap_take(&timer->backend->host->timers, timer->id);
    *timer->link = timer->next;
    if (timer->next) {
        timer->next->link = timer->link;
    }
    uv_close((uv_handle_t *)&timer->handle, free_timer);
}

static void on_expired(uv_timer_t *handle)
{
    struct timer *timer = handle->data;
    void (*expired)(void *arg) = timer->expired;
    void *arg = timer->arg;
    close_timer(timer);
    expired(arg);
}

static bool on_loop_thread(const struct backend *backend, const char *function)
{
    if (pthread_equal(pthread_self(), backend->host->loop_thread)) {
        return true;
    }
    char text[100];
    (void)snprintf(text, sizeof text, "called %s from a thread that is not the loop's", function);
    backend_log(backend, WHORL_LOG_ERROR, text);
    return false;
}

static uint64_t abi_timer_start(const struct whorl_host *abi, uint64_t milliseconds,
                                void (*expired)(void *arg), void *arg)
{
    struct backend *backend = abi->ctx;
    if (!on_loop_thread(backend, "timer_start") || !expired || backend->stopped) {
        return 0;
    }
    struct host *host = backend->host;
    struct timer *timer = calloc(1, sizeof *timer);
    const uint64_t id = timer ? idmap_add(&host->timers, timer) : 0;
    if (id == 0) {
        free(timer);
        return 0;
    }
    uv_timer_init(host->loop, &timer->handle);
    timer->id = id;
    timer->backend = backend;
    timer->expired = expired;
    timer->arg = arg;
    timer->handle.data = timer;
    timer->next = backend->timers;
    timer->link = &backend->timers;
    if (timer->next) {
        timer->next->link = &timer->next;
    }
    backend->timers = timer;
    uv_timer_start(&timer->handle, on_expired, milliseconds, 0);
    return timer->id;
}

static void abi_timer_stop(const struct whorl_host *abi, uint64_t id)
{
    struct backend *backend = abi->ctx;
    if (!on_loop_thread(backend, "timer_stop")) {
        return;
    }
    struct timer *timer = idmap_get(&backend->host->timers, id);
    if (timer && timer->backend == backend) {
        close_timer(timer);
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
    return NULL; /* this host has none */
}

/* Makes path and what is missing above it. */
static bool make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int result = mkdir(path, 0755);
        *slash = '/';
        if (result != 0 && errno != EEXIST) {
            return false;
        }
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* DATA_DIR/NAME: a directory that only this user can enter. */
static const char *make_data_dir(const struct conf *conf, const char *name,
                                 struct whorl_fault *fault)
{
    char path[PATH_MAX];
    struct stat st;
    int len = snprintf(path, sizeof path, "%s/%s", conf->core.data_dir, name);
    if (len < 0 || (size_t)len >= sizeof path) {
        whorl_fail(fault, "data_dir", "plugin %s: the path of its data directory is too long",
                   name);
        return NULL;
    }
    if (!make_directories(path) || lstat(path, &st) != 0) {
        whorl_fail(fault, "data_dir", "plugin %s: its data directory %s can't be made: %s", name,
                   path, strerror(errno));
        return NULL;
    }
    if (!S_ISDIR(st.st_mode)) {
        whorl_fail(fault, "data_dir", "plugin %s: %s must be a directory, and no link to one", name,
                   path);
        return NULL;
    }
    if ((st.st_mode & 07777) != 0700 && chmod(path, 0700) != 0) {
        whorl_fail(fault, "data_dir", "plugin %s: %s must have mode 0700, found %04o: %s", name,
                   path, (unsigned)st.st_mode & 07777u, strerror(errno));
        return NULL;
    }
    char *copy = strdup(path);
    if (!copy) {
        whorl_fail(fault, "", "plugin %s: out of memory", name);
    }
    return copy;
}

static void fill_abi(struct backend *backend, const char *data_dir)
{
    backend->abi = (struct whorl_host){
        .size = sizeof(struct whorl_host),
        .abi_major = WHORL_ABI_MAJOR,
        .abi_minor = WHORL_ABI_MINOR,
        .ctx = backend,
        .settings = backend->plugin->settings,
        .data_dir = data_dir,
        .workers = backend->host->pool.thread_count,
        .log = abi_log,
        .complete = call_complete,
        .progress = call_progress,
        .cancelled = call_cancelled,
        .submit = abi_submit,
        .timer_start = abi_timer_start,
        .timer_stop = abi_timer_stop,
        .secret_alloc = abi_secret_alloc,
        .secret_free = abi_secret_free,
        .extension = abi_extension,
    };
}

static struct backend *make_backend(struct host *host, struct conf *conf,
                                    const struct conf_plugin *plugin, struct whorl_fault *fault)
{
    const char *data_dir = make_data_dir(conf, plugin->name, fault);
    struct backend *backend = data_dir ? calloc(1, sizeof *backend) : NULL;
    const char *name = backend ? strdup(plugin->name) : NULL;
    if (!name) {
        if (data_dir) {
            whorl_fail(fault, "", "plugin %s: out of memory", plugin->name);
        }
        free(backend);
        free((void *)data_dir);
        return NULL;
    }
    backend->host = host;
    backend->conf = conf_ref(conf);
    backend->plugin = plugin;
    backend->name = name;
    backend->references = 1;
    fill_abi(backend, data_dir);
    backend->next = host->backends;
    host->backends = backend;
    return backend;
}

/* The instance is gone, or never was: lets go of what it had. */
static void dismiss(struct backend *backend)
{
    backend->stopped = true;
    (void)pool_close(&backend->host->pool, &backend->jobs);
    while (backend->timers) {
        close_timer(backend->timers);
    }
    conf_unref(backend->conf);
    backend->conf = NULL;
    backend->plugin = NULL;
}

static void process_lost(const struct whorl_host *abi);

static struct isolate_spec spec_of(const struct conf_plugin *plugin, const char *data_dir,
                                   uint32_t workers)
{
    struct isolate_spec spec = *plugin->process;
    spec.task = ISOLATE_RUN;
    spec.data_dir = data_dir;
    spec.workers = workers;
    spec.calls = plugin->max_calls;
    return spec;
}

/* Here, or in a process of its own. */
static int start_instance(struct backend *backend, struct process *started,
                          struct whorl_fault *fault)
{
    const struct conf_plugin *plugin = backend->plugin;
    /* Threads that the plugin starts begin with a copy of this one's vector registers. */
    whorl_secret_forget();
    if (!plugin->process) {
        return plugin->descriptor->start(&backend->abi, &backend->instance, fault);
    }
    struct isolate_spec spec = spec_of(plugin, backend->abi.data_dir, backend->abi.workers);
    const struct isolate_given given = {backend->host->loop,
                                        backend->host->log,
                                        &backend->abi,
                                        &spec,
                                        plugin->descriptor->role,
                                        started,
                                        call_failed,
                                        process_lost};
    return isolate_start(&given, &backend->instance, fault);
}

static void tell_not_started(const char *name, struct whorl_fault *own, struct whorl_fault *fault)
{
    own->where[sizeof own->where - 1] = own->text[sizeof own->text - 1] = '\0';
    whorl_fail(fault, own->where, "plugin %s did not start: %s%s%s", name, own->where,
               own->where[0] != '\0' ? ": " : "",
               own->text[0] != '\0' ? own->text : "it gave no reason");
}

bool backend_ahead(unsigned workers, struct log *log, const struct conf *conf,
                   const struct conf_plugin *plugin, struct process **started,
                   struct whorl_fault *fault)
{
    struct whorl_fault own = {"", ""};
    *started = NULL;
    if (!plugin->process) {
        return true;
    }
    const char *data_dir = make_data_dir(conf, plugin->name, fault);
    if (!data_dir) {
        return false;
    }
    struct isolate_spec spec = spec_of(plugin, data_dir, workers);
    *started = isolate_ahead(&spec, log, &own);
    free((void *)data_dir);
    if (!*started) {
        tell_not_started(plugin->name, &own, fault);
    }
    return *started != NULL;
}

void backend_forgo(struct process *started)
{
    isolate_forgo(started);
}

struct backend *backend_take_over(struct host *host, struct conf *conf,
                                  const struct conf_plugin *plugin, struct process *started,
                                  struct whorl_fault *fault)
{
    struct whorl_fault own = {"", ""};
    LOOP_ONLY(host);
    if (!plugin->descriptor) {
        whorl_fail(fault, "enabled", "plugin %s is disabled", plugin->name);
        return NULL;
    }
    struct backend *backend = make_backend(host, conf, plugin, fault);
    if (!backend) {
        isolate_forgo(started);
        return NULL;
    }
    if (start_instance(backend, started, &own) != 0) {
        tell_not_started(plugin->name, &own, fault);
        dismiss(backend);
        return NULL;
    }
    host_count_running(host, 1);
    return backend;
}

struct backend *backend_start(struct host *host, struct conf *conf,
                              const struct conf_plugin *plugin, struct whorl_fault *fault)
{
    return backend_take_over(host, conf, plugin, NULL, fault);
}

struct backend *backend_ref(struct backend *backend)
{
    LOOP_ONLY(backend->host);
    backend->references++;
    return backend;
}

/* No new call can come, and none is left. Jobs may still run; the last one wakes the loop. */
void backend_stop_if_idle(struct backend *backend)
{
    if (backend->references > 0 || backend->in_flight > 0 || backend->stopped ||
        !pool_close(&backend->host->pool, &backend->jobs)) {
        return;
    }
    backend->plugin->descriptor->stop(backend->instance);
    host_count_running(backend->host, -1);
    dismiss(backend);
}

void backend_unref(struct backend *backend)
{
    if (!backend) {
        return;
    }
    LOOP_ONLY(backend->host);
    if (--backend->references == 0) {
        backend_stop_if_idle(backend);
    }
}

bool backend_is_up(const struct backend *backend)
{
    return !backend->plugin || !backend->plugin->process || isolate_is_up(backend->instance);
}

static struct breaker_limits limits_of(const struct conf_plugin *plugin)
{
    bool sink = plugin->descriptor->role == WHORL_ROLE_SINK;
    return (struct breaker_limits){sink ? 0 : plugin->breaker_failures, plugin->breaker_wait_ms,
                                   plugin->breaker_max_wait_ms};
}

bool backend_has_room(const struct backend *backend)
{
    return backend->references > 0 && backend->in_flight < backend->plugin->max_calls;
}

bool backend_is_cut_off(const struct backend *backend, uint64_t *wait_ms)
{
    *wait_ms = breaker_wait(&backend->breaker, uv_now(backend->host->loop));
    return backend->breaker.state == BREAKER_HALF_OPEN || *wait_ms > 0;
}

enum backend_end backend_admit(struct backend *backend, struct call_mark *mark)
{
    struct breaker_limits limits = limits_of(backend->plugin);
    if (!backend_has_room(backend)) {
        return BACKEND_BUSY;
    }
    uint64_t now = uv_now(backend->host->loop);
    bool admitted = breaker_admit(&backend->breaker, &limits, now, &mark->probe);
    return admitted ? BACKEND_ANSWERED : BACKEND_CUT_OFF;
}

/* The log says when a backend is cut off, tried again and let in again. */
static void tell_breaker(const struct backend *backend)
{
    if (backend->breaker.state == BREAKER_HALF_OPEN) {
        return;
    }
    char wait[24];
    (void)snprintf(
        wait, sizeof wait, "%llu",
        (unsigned long long)breaker_wait(&backend->breaker, uv_now(backend->host->loop)));
    bool open = backend->breaker.state == BREAKER_OPEN;
    log_line(backend->host->log, open ? WHORL_LOG_WARNING : WHORL_LOG_INFO,
             open ? "a backend is cut off" : "a backend is let in again", "plugin", backend->name,
             "breaker", breaker_state_name(backend->breaker.state), "retry_ms", open ? wait : NULL,
             NULL);
}

static uint32_t chance(void);

/* One failure, of which the breaker hears even when no call was there to end. */
static void process_lost(const struct whorl_host *abi)
{
    struct backend *backend = abi->ctx;
    if (!backend->plugin) {
        return;
    }
    struct breaker_limits limits = limits_of(backend->plugin);
    uint64_t now = uv_now(backend->host->loop);
    if (breaker_failed(&backend->breaker, &limits, false, now, chance())) {
        tell_breaker(backend);
    }
}

static uint32_t chance(void)
{
    uint32_t random = 0;
    (void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
    return random;
}

void backend_count(struct backend *backend, const struct call_mark *mark, enum backend_end end)
{
    bool changed;
    backend->stats.ends[end]++;
    if (end == BACKEND_ANSWERED || end == BACKEND_TIMED_OUT || end == BACKEND_MALFORMED) {
        histogram_add(&backend->stats.latency, host_moment(backend->host) - mark->started);
    }
    if (!backend->plugin) {
        return; /* stopped by what the answer did: nobody asks it again */
    }
    struct breaker_limits limits = limits_of(backend->plugin);
    uint64_t now = uv_now(backend->host->loop);
    if (end == BACKEND_ANSWERED) {
        changed = breaker_succeeded(&backend->breaker, mark->probe);
    } else if (end == BACKEND_MALFORMED || (end == BACKEND_TIMED_OUT && mark->whole) ||
               (end == BACKEND_FAILED && mark->probe)) {
        changed = breaker_failed(&backend->breaker, &limits, mark->probe, now, chance());
    } else {
        /* Who asks may shorten a call's deadline: that must not cut the backend off for others. A
         * process that is lost is one failure (process_lost), not one for each of its calls. */
        changed = breaker_undecided(&backend->breaker, mark->probe);
    }
    if (changed) {
        tell_breaker(backend);
    }
}

void backend_distrust(struct backend *backend)
{
    LOOP_ONLY(backend->host);
    backend->distrusted = true;
}

void backend_stats(struct backend *backend, struct backend_stats *stats)
{
    LOOP_ONLY(backend->host);
    uint64_t now = uv_now(backend->host->loop);
    *stats = backend->stats;
    stats->in_flight = backend->in_flight;
    stats->jobs = pool_jobs(&backend->host->pool, &backend->jobs);
    stats->breaker = backend->breaker.state;
    stats->breaker_opened = backend->breaker.opened;
    stats->breaker_wait_ms = breaker_wait(&backend->breaker, now);
    stats->isolated = backend->plugin && backend->plugin->process;
    if (stats->isolated) {
        isolate_stats(backend->instance, &stats->process);
    }
}

const char *backend_end_name(enum backend_end end)
{
    static const char *const names[BACKEND_ENDS] = {
        "answered", "timed_out", "cancelled", "malformed", "busy", "cut_off", "failed"};
    return names[end];
}

const char *backend_name(const struct backend *backend)
{
    return backend->name;
}

const struct whorl_plugin *backend_descriptor(const struct backend *backend)
{
    return backend->plugin->descriptor;
}

const struct conf_plugin *backend_conf(const struct backend *backend)
{
    return backend->plugin;
}
