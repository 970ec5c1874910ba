/* The backend that does least: what it is asked is its answer. */
#include <stddef.h>

#include "whorl/plugin.h"

static int start(const struct whorl_host *host, void **instance, struct whorl_fault *fault)
{
    (void)fault;
    *instance = (void *)host;
    return 0;
}

static void call(void *instance, uint64_t id, const uint8_t *message, size_t len)
{
    const struct whorl_host *host = instance;
    host->complete(host, id, message, len);
}

static void stop(void *instance)
{
    (void)instance;
}

static const char *const words[] = {"echo", NULL};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1",
    .title = "Echo",
    .role = WHORL_ROLE_SEARCH,
    .modalities = words,
    .formats = words,
    .start = start,
    .call = call,
    .stop = stop,
};
