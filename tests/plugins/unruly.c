/* Search backends that each break one rule of the ABI, for the test of `whorl plugin test`. Without
 * UNRULY it breaks none. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "whorl/answer.h"
#include "whorl/msg.h"

#ifndef UNRULY
#define UNRULY 0
#endif

enum unruliness {
    NONE,
    COMPLETES_TWICE,
    FORGETS_CANCELLED,
    WRITES_MESSAGE,
    READS_COMPLETED,
    KEEPS_SAMPLE,
    BLOCKS_LOOP,
    USES_STOPPED_HOST,
    TRUSTS_MESSAGE,
    FAILURE_AS_NO_MATCH,
    ONE_INSTANCE,
    TRUSTS_MALLOC,
    LEAKS_MEMORY,
    LEAKS_DESCRIPTORS,
    CHECK_WRITES,
    CHECK_IS_SILENT,
    LOGS_LINES,
    SAMPLE_IN_FILE,
    PROGRESS_BEYOND,
    FORGETS_REFUSED,
    ILL_FORMED,
    READS_BEYOND,
    LEAVES_THREAD,
    EXITS,
    TIMER_OFF_LOOP,
};

static const int unruly = UNRULY;

struct instance {
    const struct whorl_host *host;
    pthread_t thread;
};

struct search {
    struct instance *instance;
    uint64_t call;
    const uint8_t *message;
    size_t len;
};

static int instances;
extern void *kept;
void *kept; /* so that no compiler leaves the copy out */

static void *linger(void *arg)
{
    const struct whorl_host *host = arg;
    (void)usleep(20000);
    host->log(host, WHORL_LOG_INFO, "still here");
    return NULL;
}

static void *idle(void *arg)
{
    (void)pause();
    return arg;
}

static void nothing(void *arg)
{
    (void)arg;
}

static int check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    if (unruly == CHECK_WRITES) {
        (void)close(open("written-by-check", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    }
    if (settings->integer(settings, NULL, "number") == 100) {
        if (unruly != CHECK_IS_SILENT) {
            whorl_fail(fault, "number", "must not be 100");
        }
        return -1;
    }
    return 0;
}

static int start(const struct whorl_host *host, void **out, struct whorl_fault *fault)
{
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance || (unruly == ONE_INSTANCE && instances > 0)) {
        whorl_fail(fault, "", "no");
        free(instance);
        return -1;
    }
    instances++;
    instance->host = host;
    if (unruly == LEAVES_THREAD) {
        (void)pthread_create(&instance->thread, NULL, idle, NULL);
    }
    *out = instance;
    return 0;
}

static void stop(void *arg)
{
    struct instance *instance = arg;
    instances--;
    if (unruly == USES_STOPPED_HOST) {
        (void)pthread_create(&instance->thread, NULL, linger, (void *)instance->host);
        (void)pthread_detach(instance->thread);
    }
    free(instance);
}

/* What one of them does with a call before it is answered. */
static void misbehave(const struct search *search)
{
    const struct whorl_host *host = search->instance->host;
    char path[4096];
    switch (unruly) {
    case WRITES_MESSAGE:
        ((uint8_t *)search->message)[0] = 0;
        break;
    case READS_BEYOND:
        instances += ((const volatile uint8_t *)search->message)[search->len] == 7 ? 0 : 0;
        break;
    case KEEPS_SAMPLE:
        kept = malloc(search->len);
        if (kept) {
            memcpy(kept, search->message, search->len);
        }
        break;
    case TRUSTS_MALLOC: {
        volatile char *p = malloc(16);
        p[0] = 1;
        free((void *)p);
        break;
    }
    case TRUSTS_MESSAGE:
        if (search->message[0] != 0x85) {
            abort();
        }
        break;
    case LEAKS_MEMORY:
        instances += malloc(64) ? 0 : 1;
        break;
    case LEAKS_DESCRIPTORS:
        (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
        break;
    case LOGS_LINES:
        host->log(host, WHORL_LOG_INFO, "one\ntwo");
        break;
    case SAMPLE_IN_FILE: {
        snprintf(path, sizeof path, "%s/seen", host->data_dir);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        (void)!write(fd, search->message, search->len);
        (void)close(fd);
        break;
    }
    case PROGRESS_BEYOND:
        host->progress(host, search->call, "searching", 1.5);
        break;
    case EXITS:
        _exit(0);
    case TIMER_OFF_LOOP:
        (void)host->timer_start(host, 1, nothing, NULL);
        break;
    default:
        break;
    }
}

/* Whether the message has a sample. */
static bool understood(const struct search *search)
{
    struct whorl_fault fault;
    struct whorl_msg message;
    struct whorl_field samples[] = {{"samples", WHORL_FIELD_ARRAY, true, 1, 20, NULL}};
    struct whorl_field data[] = {{"data", WHORL_FIELD_BIN, true, 1, 1 << 20, NULL}};
    if (!whorl_msg_parse(search->message, search->len, &message, &fault)) {
        return false;
    }
    bool good = whorl_fields_read_lenient(&message.root, "", samples, 1, &fault) &&
                whorl_fields_read_lenient(samples[0].value->via.array.ptr, "", data, 1, &fault);
    whorl_msg_release(&message);
    return good || unruly == FAILURE_AS_NO_MATCH;
}

static void pack_no_match(msgpack_packer *pk)
{
    msgpack_pack_map(pk, 2);
    whorl_put_str(pk, "class", unruly == ILL_FORMED ? "maybe" : "no_match");
    whorl_put_key(pk, "searched");
    msgpack_pack_map(pk, 2);
    whorl_put_int(pk, "people", 3);
    whorl_put_int(pk, "of", 3);
}

static void work(void *arg)
{
    struct search *search = arg;
    const struct whorl_host *host = search->instance->host;
    struct whorl_answer answer;
    if (unruly == FORGETS_CANCELLED && host->cancelled(host, search->call)) {
        free(search);
        return;
    }
    misbehave(search);
    bool good = unruly == FAILURE_AS_NO_MATCH || understood(search);
    for (int i = 0; i < (unruly == COMPLETES_TWICE ? 2 : 1); i++) {
        whorl_answer_begin(&answer);
        pack_no_match(&answer.pk);
        if (good) {
            whorl_answer_give(&answer, host, search->call, WHORL_ROLE_SEARCH);
        } else {
            whorl_answer_refuse(host, search->call, WHORL_ROLE_SEARCH, "not understood");
        }
        whorl_answer_drop(&answer);
    }
    if (unruly == READS_COMPLETED) {
        instances += ((const volatile uint8_t *)search->message)[0] == 7 ? 0 : 0;
    }
    free(search);
}

static void call(void *arg, uint64_t id, const uint8_t *message, size_t len)
{
    struct instance *instance = arg;
    struct search *search = malloc(sizeof *search);
    if (unruly == BLOCKS_LOOP) {
        (void)usleep(1500000);
    }
    if (!search) {
        whorl_answer_refuse(instance->host, id, WHORL_ROLE_SEARCH, "out of memory");
        return;
    }
    *search = (struct search){instance, id, message, len};
    if (!instance->host->submit(instance->host, work, search)) {
        if (unruly != FORGETS_REFUSED) {
            whorl_answer_refuse(instance->host, id, WHORL_ROLE_SEARCH, "stopping");
        }
        free(search);
    }
}

static const char *const words[] = {"word", NULL};
static const struct whorl_setting settings[] = {
    {"number", WHORL_SETTING_INTEGER, 0, "1", 1, 100, "some number"},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1",
    .title = "Unruly",
    .role = WHORL_ROLE_SEARCH,
    .modalities = words,
    .formats = words,
    .settings = settings,
    .setting_count = 1,
    .check = check,
    .start = start,
    .call = call,
    .stop = stop,
};
