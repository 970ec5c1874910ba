/* A plugin that does what a call's message says: the message's bytes are the name of an act. Its
 * settings have one of each type. Built once as a search backend and once as a sink. */
#include <float.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "whorl/plugin.h"

#ifndef ACTS_ROLE
#define ACTS_ROLE WHORL_ROLE_SEARCH
#endif
#ifndef ACTS_NEWER /* of the next minor ABI, with flags that this host doesn't know */
#define ACTS_NEWER 0
#endif

struct instance {
    const struct whorl_host *host;
    uint64_t held; /* a call that waits for another act */
};

struct task {
    struct instance *instance;
    uint64_t call;
    unsigned left;
    uint8_t message[16];
};

static const uint8_t good[] = "\x81\xa5"
                              "class\xa8"
                              "no_match";

static void answer(const struct instance *instance, uint64_t call)
{
    instance->host->complete(instance->host, call, good, sizeof good - 1);
}

static struct task *make_task(struct instance *instance, uint64_t call, unsigned left)
{
    struct task *task = calloc(1, sizeof *task);
    if (!task) {
        abort();
    }
    task->instance = instance;
    task->call = call;
    task->left = left;
    return task;
}

static void *in_thread(void *arg)
{
    struct task *task = arg;
    answer(task->instance, task->call);
    free(task);
    return NULL;
}

static void answer_in_thread(struct instance *instance, uint64_t call)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, in_thread, make_task(instance, call, 0)) != 0) {
        abort();
    }
    pthread_detach(thread);
}

/* A chain of jobs, the last of which answers. */
static void in_job(void *arg)
{
    struct task *task = arg;
    const struct whorl_host *host = task->instance->host;
    host->progress(host, task->call, "working", 1.0 - task->left / 100.0);
    usleep(200);
    if (task->left-- == 0 || !host->submit(host, in_job, task)) {
        answer(task->instance, task->call);
        free(task);
    }
}

/* Works until the host gives the call up. */
static void until_cancelled(void *arg)
{
    struct task *task = arg;
    const struct whorl_host *host = task->instance->host;
    while (!host->cancelled(host, task->call)) {
        usleep(1000);
    }
    answer(task->instance, task->call);
    free(task);
}

static void after_wait(void *arg)
{
    struct task *task = arg;
    answer(task->instance, task->call);
    free(task);
}

static void answer_garbage(const struct instance *instance, uint64_t call, const char *act)
{
    static const uint8_t bomb[] = {0xdf, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t list[] = {0x90};
    const struct whorl_host *host = instance->host;
    if (strcmp(act, "garbage bomb") == 0) {
        host->complete(host, call, bomb, sizeof bomb);
    } else if (strcmp(act, "garbage list") == 0) {
        host->complete(host, call, list, sizeof list);
    } else if (strcmp(act, "garbage tail") == 0) {
        host->complete(host, call, good, sizeof good); /* a NUL too many */
    } else if (strcmp(act, "garbage cut") == 0) {
        host->complete(host, call, good, sizeof good - 2);
    } else {
        host->complete(host, call, NULL, 0);
    }
}

static void report_much(const struct instance *instance, uint64_t call)
{
    const struct whorl_host *host = instance->host;
    for (int i = 0; i < 1000; i++) {
        host->progress(host, call, "extracting", i / 1000.0);
    }
    host->progress(host, call, "searching", -5);
    host->progress(host, call, "a\nbreak", 0.5);
    host->progress(host, call, "", 0.5);
    host->progress(host, call, NULL, 0.5);
    host->progress(host, call + 1, "not mine", 0.5);
    host->timer_start(host, 30, after_wait, make_task((struct instance *)instance, call, 0));
}

static void act(struct instance *instance, uint64_t call, const char *name)
{
    const struct whorl_host *host = instance->host;
    if (strcmp(name, "answer") == 0) {
        answer(instance, call);
    } else if (strcmp(name, "twice") == 0) {
        answer(instance, call);
        answer(instance, call);
    } else if (strcmp(name, "foreign") == 0) {
        answer(instance, call + (1u << 16)); /* a call that doesn't exist yet */
        answer(instance, UINT64_MAX);
        answer(instance, call);
    } else if (strcmp(name, "hold") == 0) {
        instance->held = call;
    } else if (strcmp(name, "release") == 0) {
        answer(instance, instance->held);
        answer(instance, call);
    } else if (strcmp(name, "thread") == 0) {
        answer_in_thread(instance, call);
    } else if (strcmp(name, "jobs") == 0) {
        host->submit(host, in_job, make_task(instance, call, 100));
    } else if (strcmp(name, "until cancelled") == 0) {
        host->submit(host, until_cancelled, make_task(instance, call, 0));
    } else if (strcmp(name, "wait") == 0) {
        host->timer_start(host, 20, after_wait, make_task(instance, call, 0));
    } else if (strcmp(name, "report and answer") == 0) {
        host->progress(host, call, "searching", 0.5);
        answer(instance, call);
    } else if (strcmp(name, "progress") == 0) {
        report_much(instance, call);
    } else {
        answer_garbage(instance, call, name);
    }
}

static void call(void *arg, uint64_t id, const uint8_t *message, size_t len)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)len, (const char *)message);
    act(arg, id, name);
}

static int check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    if (strcmp(settings->string(settings, NULL, "word"), "forbidden") == 0) {
        snprintf(fault->where, sizeof fault->where, "word");
        snprintf(fault->text, sizeof fault->text, "must not be forbidden");
        return -1;
    }
    return 0;
}

static int start(const struct whorl_host *host, void **out, struct whorl_fault *fault)
{
    const char *word = host->settings->string(host->settings, NULL, "word");
    if (strcmp(word, "refuse") == 0) {
        snprintf(fault->where, sizeof fault->where, "word");
        snprintf(fault->text, sizeof fault->text, "was told to refuse");
        return -1;
    }
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance) {
        return -1;
    }
    instance->host = host;
    host->log(host, WHORL_LOG_INFO, "up");
    *out = instance;
    return 0;
}

static void stop(void *arg)
{
    struct instance *instance = arg;
    instance->host->log(instance->host, WHORL_LOG_INFO, "down");
    free(instance);
}

static const char *const words[] = {"test", NULL};

static const struct whorl_setting settings[] = {
    {"word", WHORL_SETTING_STRING, WHORL_SETTING_REQUIRED | WHORL_SETTING_PER_FORCE, NULL, 1, 20,
     "a word"},
    {"count", WHORL_SETTING_INTEGER, WHORL_SETTING_PER_FORCE, "7", 1, 100, "a count"},
    {"rate", WHORL_SETTING_REAL, ACTS_NEWER ? 1u << 20 : 0, "0.5", 0, ACTS_NEWER ? DBL_MAX : 1,
     "a rate"},
    {"flag", WHORL_SETTING_BOOLEAN, 0, "yes", 0, 0, "a flag"},
    {"items", WHORL_SETTING_LIST, 0, "{\"a\", \"b\"}", 0, 0, "some items"},
    {"folder", WHORL_SETTING_STRING, WHORL_SETTING_PATH, NULL, 0, 0, "a folder"},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR + ACTS_NEWER,
    .flags = ACTS_NEWER ? 1u << 20 : 0,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1",
    .title = "Test",
    .role = ACTS_ROLE,
    .modalities = words,
    .formats = words,
    .settings = settings,
    .setting_count = sizeof settings / sizeof settings[0],
    .check = check,
    .start = start,
    .call = call,
    .stop = stop,
};
