/* Descriptors with one fault each, chosen by BROKEN at compile time. */
#include <math.h>
#include <stddef.h>

#include "whorl/plugin.h"

#if BROKEN == 1 /* no descriptor at all */
WHORL_EXPORT extern const int whorl_nothing;
const int whorl_nothing = 1;
#elif BROKEN == 44 /* something else of that name */
WHORL_EXPORT extern const int whorl_plugin;
const int whorl_plugin = 1;
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
static const char *const ugly[] = {"test",
                                   BROKEN == 38   ? ".hidden"
                                   : BROKEN == 39 ? ""
                                   : BROKEN == 40 ? "a.word.of.thirty-three.characters"
                                                  : "Not A Word",
                                   NULL};
static const char *const many[] = {
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q",
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", NULL,
};
#define TEN(text) text text text text text text text text text text
static const char long_line[] = TEN(TEN(TEN("a"))) "a";
static const struct whorl_setting settings[] = {
    {"good", WHORL_SETTING_STRING, BROKEN == 33 ? WHORL_SETTING_SOURCE : 0, NULL, 0, 0, "good"},
    {"bad",
     BROKEN == 9                    ? 77
     : BROKEN == 30 || BROKEN == 31 ? WHORL_SETTING_INTEGER
                                    : WHORL_SETTING_STRING,
     BROKEN == 10                                   ? 1u << 20
     : BROKEN == 30                                 ? WHORL_SETTING_PATH
     : BROKEN == 31 || BROKEN == 33 || BROKEN == 41 ? WHORL_SETTING_SOURCE
     : BROKEN == 32                                 ? WHORL_SETTING_SOURCE | WHORL_SETTING_PER_FORCE
                                                    : 0,
     BROKEN == 46 ? long_line : NULL,
     BROKEN == 11   ? 5
     : BROKEN == 34 ? (double)-INFINITY
                    : 0,
     BROKEN == 11   ? 4
     : BROKEN == 35 ? (double)INFINITY
                    : 0,
     BROKEN == 45 ? "two\nlines" : "bad"},
    {BROKEN == 12   ? "good"
     : BROKEN == 13 ? "force"
     : BROKEN == 26 ? NULL
     : BROKEN == 27 ? "Third"
     : BROKEN == 28 ? "third-one"
     : BROKEN == 29 ? "a_setting_of_thirty_three_letters"
                    : "third",
     WHORL_SETTING_STRING, 0, NULL, 0, 0, "third"},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = BROKEN == 2 ? 0x12345678 : WHORL_PLUGIN_MAGIC,
    .abi_major = BROKEN == 3 ? 2 : WHORL_ABI_MAJOR,
    .abi_minor = BROKEN == 41 ? 0 : WHORL_ABI_MINOR,
    .size = BROKEN == 4    ? 64
            : BROKEN == 14 ? 4096
                           : sizeof(struct whorl_plugin),
    .setting_size = BROKEN == 15   ? 8
                    : BROKEN == 36 ? sizeof(struct whorl_setting) + 4
                                   : sizeof(struct whorl_setting),
    .version = BROKEN == 18 ? "" : "1",
    .title = BROKEN == 16   ? NULL
             : BROKEN == 19 ? "Bro\nken"
             : BROKEN == 20 ? "Broken\x7f"
             : BROKEN == 47 ? "Broken\xff"
             : BROKEN == 21
                 ? "A title of more than a hundred bytes, which nobody would want to read "
                   "in a table of what is running here"
                 : "Broken",
    .flags = BROKEN == 23,
    .role = BROKEN == 6    ? 9
            : BROKEN == 42 ? WHORL_ROLE_LOOKUP
                           : WHORL_ROLE_SEARCH,
    .modalities = BROKEN == 7    ? NULL
                  : BROKEN == 37 ? many
                                 : words,
    .formats = BROKEN == 8 || (BROKEN >= 38 && BROKEN <= 40) ? ugly : words,
    .keys = ugly,
    .entitlement = BROKEN == 22 ? "Not A Word" : NULL,
    .settings = BROKEN == 17 ? NULL : settings,
    .setting_count = BROKEN == 43 ? 1000 : 3,
    .start = BROKEN == 24 ? NULL : start,
    .call = BROKEN == 5 ? NULL : call,
    .stop = BROKEN == 25 ? NULL : stop,
};

/* Every fault leaves something out; this keeps the compiler from minding. */
WHORL_EXPORT extern const void *const broken_unused[];
const void *const broken_unused[] = {ugly,
                                     many,
                                     settings,
                                     words,
                                     long_line,
                                     (const void *)start,
                                     (const void *)call,
                                     (const void *)stop};
#endif
