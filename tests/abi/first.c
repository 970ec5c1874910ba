/* A backend against the headers of ABI 1.0, which uses every function of the host. Its module lies
 * beside it as it was built then (first-1.0-x86_64.so) and must load and work for ever:
 *
 *     cc -std=gnu17 -O2 -shared -fPIC -s -Isdk/include -o first-1.0-x86_64.so first.c
 */
#include <stdlib.h>
#include <string.h>

#include "whorl/plugin.h"

struct search {
    const struct whorl_host *host;
    uint64_t call;
};

static int check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    if (strcmp(settings->string(settings, NULL, "word"), "forbidden") == 0) {
        strcpy(fault->where, "word");
        strcpy(fault->text, "is forbidden");
        return -1;
    }
    return 0;
}

static int start(const struct whorl_host *host, void **instance, struct whorl_fault *fault)
{
    if (host->size < sizeof *host || host->abi_major != WHORL_ABI_MAJOR || host->workers == 0 ||
        host->data_dir[0] == '\0') {
        strcpy(fault->text, "the host is not one of ABI 1");
        return -1;
    }
    host->log(host, WHORL_LOG_DEBUG, "started");
    (void)host->extension(host, "whorl.unknown/1");
    *instance = (void *)host;
    return 0;
}

static void finish(struct search *search)
{
    static const uint8_t answer[] = "\x82\xa5"
                                    "class\xac"
                                    "not_searched\xa6"
                                    "reason\xad"
                                    "kept from 1.0";
    search->host->complete(search->host, search->call, answer, sizeof answer - 1);
    free(search);
}

static void work(void *arg)
{
    struct search *search = arg;
    void *secret = search->host->secret_alloc(search->host, 4096);
    search->host->progress(search->host, search->call, "searching", 0.5);
    (void)search->host->cancelled(search->host, search->call);
    search->host->secret_free(search->host, secret, 4096);
    finish(search);
}

static void expired(void *arg)
{
    struct search *search = arg;
    if (!search->host->submit(search->host, work, search)) {
        finish(search);
    }
}

static void call(void *instance, uint64_t id, const uint8_t *message, size_t len)
{
    static const uint8_t answer[] = "\x82\xa5"
                                    "class\xab"
                                    "unavailable\xa6"
                                    "reason\xad"
                                    "out of memory";
    const struct whorl_host *host = instance;
    const struct whorl_settings *settings = host->settings;
    struct search *search = malloc(sizeof *search);
    uint64_t wait = (uint64_t)settings->integer(settings, NULL, "wait_ms");
    (void)message;
    (void)len;
    if (search == NULL) {
        host->complete(host, id, answer, sizeof answer - 1);
        return;
    }
    *search = (struct search){host, id};
    host->timer_stop(host, host->timer_start(host, 60000, expired, search));
    (void)settings->real(settings, "KIT", "number");
    (void)settings->boolean(settings, NULL, "flag");
    (void)settings->item(settings, NULL, "list", 0);
    if (host->timer_start(host, wait, expired, search) == 0) {
        expired(search);
    }
}

static void cancel(void *instance, uint64_t call)
{
    (void)instance;
    (void)call;
}

static void stop(void *instance)
{
    const struct whorl_host *host = instance;
    host->log(host, WHORL_LOG_DEBUG, "stopped");
}

static const void *extension(const char *name)
{
    (void)name;
    return NULL;
}

static const char *const modalities[] = {"word", NULL};
static const char *const formats[] = {"utf8", NULL};

static const struct whorl_setting settings[] = {
    {"word", WHORL_SETTING_STRING, 0, "open", 1, 20, "a word"},
    {"wait_ms", WHORL_SETTING_INTEGER, 0, "1", 0, 5, "before it answers"},
    {"number", WHORL_SETTING_REAL, WHORL_SETTING_PER_FORCE, "0.5", 0, 1, "a number"},
    {"flag", WHORL_SETTING_BOOLEAN, 0, "no", 0, 0, "yes or no"},
    {"list", WHORL_SETTING_LIST, 0, NULL, 0, 0, "some texts"},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1.0",
    .title = "First (ABI 1.0)",
    .role = WHORL_ROLE_SEARCH,
    .modalities = modalities,
    .formats = formats,
    .settings = settings,
    .setting_count = sizeof settings / sizeof settings[0],
    .check = check,
    .start = start,
    .call = call,
    .cancel = cancel,
    .stop = stop,
    .extension = extension,
};
