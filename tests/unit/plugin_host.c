/* A host for one plugin under test. */
#include "plugin_host.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct plugin_host *of(const struct whorl_host *host)
{
    return host->ctx;
}

static void host_log(const struct whorl_host *host, enum whorl_log_level level, const char *text)
{
    struct plugin_host *self = of(host);
    (void)level;
    pthread_mutex_lock(&self->mutex);
    size_t used = strlen(self->log);
    snprintf(self->log + used, sizeof(self->log) - used, "%s\n", text);
    pthread_mutex_unlock(&self->mutex);
}

static void host_complete(const struct whorl_host *host, uint64_t call, const uint8_t *answer,
                          size_t len)
{
    struct plugin_host *self = of(host);
    ck_assert_uint_lt(call, HOST_CALLS);
    pthread_mutex_lock(&self->mutex);
    struct host_answer *to = &self->answers[call];
    free(to->bytes);
    to->bytes = malloc(len);
    memcpy(to->bytes, answer, len);
    to->len = len;
    to->times++;
    self->answered++;
    pthread_cond_broadcast(&self->moved);
    pthread_mutex_unlock(&self->mutex);
}

static void host_progress(const struct whorl_host *host, uint64_t call, const char *stage,
                          double fraction)
{
    (void)host;
    (void)call;
    (void)stage;
    (void)fraction;
}

static bool host_cancelled(const struct whorl_host *host, uint64_t call)
{
    struct plugin_host *self = of(host);
    (void)call;
    pthread_mutex_lock(&self->mutex);
    bool given_up = self->given_up;
    pthread_mutex_unlock(&self->mutex);
    return given_up;
}

struct job {
    struct plugin_host *host;
    void (*run)(void *arg);
    void *arg;
};

static void *run_job(void *arg)
{
    struct job *job = arg;
    job->run(job->arg);
    pthread_mutex_lock(&job->host->mutex);
    job->host->jobs--;
    pthread_cond_broadcast(&job->host->moved);
    pthread_mutex_unlock(&job->host->mutex);
    free(job);
    return NULL;
}

static bool host_submit(const struct whorl_host *host, void (*run)(void *arg), void *arg)
{
    struct job *job = malloc(sizeof(*job));
    pthread_t thread;
    *job = (struct job){.host = of(host), .run = run, .arg = arg};
    pthread_mutex_lock(&job->host->mutex);
    job->host->jobs++;
    pthread_mutex_unlock(&job->host->mutex);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_job, job), 0);
    pthread_detach(thread);
    return true;
}

static const char *pair(const struct plugin_host *self, const char *name, size_t index)
{
    for (size_t i = 0; self->pairs != NULL && self->pairs[i] != NULL; i += 2) {
        if (strcmp(self->pairs[i], name) == 0 && index-- == 0) {
            return self->pairs[i + 1];
        }
    }
    return NULL;
}

static const char *setting_string(const struct whorl_settings *settings, const char *force,
                                  const char *name)
{
    const struct plugin_host *self = settings->ctx;
    const char *value = pair(self, name, 0);
    (void)force;
    for (size_t i = 0; value == NULL && i < self->plugin->setting_count; i++) {
        const struct whorl_setting *setting = &self->plugin->settings[i];
        if (i == 0 && self->text != NULL && strcmp(setting->name, name) == 0) {
            value = self->text;
        } else if (strcmp(setting->name, name) == 0) {
            value = setting->fallback;
        }
    }
    return value != NULL ? value : "";
}

static int64_t setting_integer(const struct whorl_settings *settings, const char *force,
                               const char *name)
{
    return atoll(setting_string(settings, force, name));
}

static const char *setting_item(const struct whorl_settings *settings, const char *force,
                                const char *name, size_t index)
{
    const struct plugin_host *self = settings->ctx;
    (void)force;
    if (strcmp(name, self->plugin->settings[0].name) != 0) {
        return pair(self, name, index);
    }
    for (size_t i = 0; self->list != NULL && self->list[i] != NULL; i++) {
        if (i == index) {
            return self->list[i];
        }
    }
    return NULL;
}

bool plugin_host_start(struct plugin_host *host, const struct whorl_plugin *plugin,
                       const char *data_dir, struct whorl_fault *fault)
{
    pthread_mutex_init(&host->mutex, NULL);
    pthread_cond_init(&host->moved, NULL);
    host->plugin = plugin;
    host->settings = (struct whorl_settings){.size = sizeof(host->settings),
                                             .ctx = host,
                                             .string = setting_string,
                                             .integer = setting_integer,
                                             .item = setting_item};
    host->host = (struct whorl_host){.size = sizeof(host->host),
                                     .abi_major = WHORL_ABI_MAJOR,
                                     .abi_minor = WHORL_ABI_MINOR,
                                     .ctx = host,
                                     .settings = &host->settings,
                                     .data_dir = data_dir,
                                     .workers = 2,
                                     .log = host_log,
                                     .complete = host_complete,
                                     .progress = host_progress,
                                     .cancelled = host_cancelled,
                                     .submit = host_submit};
    return plugin->start(&host->host, &host->instance, fault) == 0;
}

void plugin_host_stop(struct plugin_host *host)
{
    pthread_mutex_lock(&host->mutex);
    while (host->jobs > 0) {
        pthread_cond_wait(&host->moved, &host->mutex);
    }
    pthread_mutex_unlock(&host->mutex);
    host->plugin->stop(host->instance);
    for (size_t i = 0; i < HOST_CALLS; i++) {
        free(host->answers[i].bytes);
    }
    pthread_cond_destroy(&host->moved);
    pthread_mutex_destroy(&host->mutex);
}

void plugin_host_wait(struct plugin_host *host, unsigned count)
{
    pthread_mutex_lock(&host->mutex);
    while (host->answered < count) {
        pthread_cond_wait(&host->moved, &host->mutex);
    }
    pthread_mutex_unlock(&host->mutex);
}

struct whorl_msg plugin_host_answer(struct plugin_host *host, uint64_t call)
{
    struct whorl_msg msg;
    struct whorl_fault fault;
    const struct host_answer *answer = &host->answers[call];
    ck_assert_uint_eq(answer->times, 1);
    ck_assert_msg(whorl_msg_parse(answer->bytes, answer->len, &msg, &fault), "%s", fault.text);
    return msg;
}
