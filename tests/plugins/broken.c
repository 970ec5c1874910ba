/* Descriptors with one fault each, chosen by BROKEN at compile time. */
#include <stddef.h>

#include "whorl/plugin.h"

#if BROKEN == 1 /* no descriptor at all */
WHORL_EXPORT extern const int whorl_nothing;
const int whorl_nothing = 1;
#else

static int start(const struct whorl_host *host, void **instance, struct whorl_fault *fault)
{
    (void)host, (void)fault;
    *instance = NULL;
    return 0;
}

static void call(void *instance, uint64_t id, const uint8_t *message, size_t len)
{
    (void)instance, (void)id, (void)message, (void)len;
}

static void stop(void *instance)
{
    (void)instance;
}

static const char *const words[] = {"test", NULL};
static const char *const ugly[] = {"test", "Not A Word", NULL};
static const struct whorl_setting settings[] = {
    {"good", WHORL_SETTING_STRING, 0, NULL, 0, 0, "good"},
    {"bad", BROKEN == 9 ? 77 : WHORL_SETTING_STRING, BROKEN == 10 ? 1u << 20 : 0, NULL,
     BROKEN == 11 ? 5 : 0, BROKEN == 11 ? 4 : 0, "bad"},
    {BROKEN == 12   ? "good"
     : BROKEN == 13 ? "force"
                    : "third",
     WHORL_SETTING_STRING, 0, NULL, 0, 0, "third"},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = BROKEN == 2 ? 0x12345678 : WHORL_PLUGIN_MAGIC,
    .abi_major = BROKEN == 3 ? 2 : WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = BROKEN == 4    ? 64
            : BROKEN == 14 ? 4096
                           : sizeof(struct whorl_plugin),
    .setting_size = BROKEN == 15 ? 8 : sizeof(struct whorl_setting),
    .version = "1",
    .title = BROKEN == 16 ? NULL : "Broken",
    .role = BROKEN == 6 ? 9 : WHORL_ROLE_SEARCH,
    .modalities = BROKEN == 7 ? NULL : words,
    .formats = BROKEN == 8 ? ugly : words,
    .settings = BROKEN == 17 ? NULL : settings,
    .setting_count = 3,
    .start = start,
    .call = BROKEN == 5 ? NULL : call,
    .stop = stop,
};

/* Every fault leaves something out; this keeps the compiler from minding. */
WHORL_EXPORT extern const void *const broken_unused[];
const void *const broken_unused[] = {ugly, settings, words, (const void *)call};
#endif
