/* A plugin for bench/rpc that gives a call's message back: what a call costs without its work. */
#include <stdlib.h>

#include "whorl/msg.h"
#include "whorl/plugin.h"

static int start(const struct whorl_host *host, void **instance, struct whorl_fault *fault)
{
    (void)fault;
    *instance = (void *)host;
    return 0;
}

static void stop(void *instance)
{
    (void)instance;
}

static void call(void *instance, uint64_t id, const uint8_t *message, size_t len)
{
    const struct whorl_host *host = instance;
    host->complete(host, id, message, len);
}

static const char *const kinds[] = {"text", NULL};

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
    .modalities = kinds,
    .formats = kinds,
    .start = start,
    .call = call,
    .stop = stop,
};
