/* What a plugin's process says of its module. What is taken for a descriptor must say the same when
 * it is described again. */
#include <string.h>

#include "core/module/describe.h"
#include "fuzz.h"

/* Memory that is freed at once, as a configuration's is. */
struct pieces {
    void *list[4096];
    size_t count;
};

static void *alloc(void *ctx, size_t size)
{
    struct pieces *pieces = ctx;
    FUZZ_CHECK(pieces->count < sizeof pieces->list / sizeof pieces->list[0]);
    void *p = calloc(1, size > 0 ? size : 1);
    FUZZ_CHECK(p != NULL);
    pieces->list[pieces->count++] = p;
    return p;
}

static int check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    (void)settings, (void)fault;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const struct whorl_plugin functions = {.check = check};
    static struct pieces pieces;
    struct whorl_fault fault = {"", ""};
    const struct whorl_plugin *plugin =
        module_undescribe(bytes, len, "/x.so", &functions, alloc, &pieces, &fault);
    FUZZ_CHECK(plugin != NULL || fault.text[0] != '\0');
    if (plugin != NULL) {
        msgpack_sbuffer once, twice;
        msgpack_sbuffer_init(&once);
        msgpack_sbuffer_init(&twice);
        module_describe(plugin, &once);
        plugin = module_undescribe((const uint8_t *)once.data, once.size, "/x.so", &functions,
                                   alloc, &pieces, &fault);
        FUZZ_CHECK(plugin != NULL);
        module_describe(plugin, &twice);
        FUZZ_CHECK(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
        msgpack_sbuffer_destroy(&once);
        msgpack_sbuffer_destroy(&twice);
    }
    while (pieces.count > 0) {
        free(pieces.list[--pieces.count]);
    }
    return 0;
}
