#include "core/isolate/describe.h"

#include <stdlib.h>
#include <string.h>

#include "core/isolate/spawn.h"
#include "whorl/msg.h"

/* What a child said that was asked for something else, or for more than there is memory for. */
static bool was_told(const struct isolate_spec *spec, const uint8_t *saying, size_t len,
                     char wanted, msgpack_sbuffer *said, struct whorl_fault *fault)
{
    if (saying[0] == ISOLATE_SAYS_FAILED) {
        isolate_fault(saying + 1, len - 1, fault);
        return false;
    }
    if (saying[0] != (uint8_t)wanted) {
        return whorl_fail(fault, "module", "%s: its process says what makes no sense",
                          spec->module);
    }
    return len == 1 || msgpack_sbuffer_write(said, (const char *)saying + 1, len - 1) == 0 ||
           whorl_fail(fault, "", "out of memory");
}

/* Makes a child and appends the one thing that it was made to say, without the letter `wanted` that
 * it begins with. The child has ended after it. */
static bool ask(const struct isolate_spec *spec, char wanted, msgpack_sbuffer *said,
                struct whorl_fault *fault)
{
    struct isolate_child child;
    const uint8_t *saying;
    char words[96];
    ssize_t n;
    int64_t until = isolate_until(ISOLATE_WAIT_MS);
    if (!isolate_spawn(spec, NULL, &child, fault)) {
        return false;
    }
    do { /* what couldn't be had of the sandbox is said again, and logged, when it is run */
        n = isolate_hear(&child, &saying, until);
    } while (n > 0 && saying[0] == ISOLATE_SAYS_NOTE);
    bool told = n > 0 && was_told(spec, saying, (size_t)n, wanted, said, fault);
    isolate_kill(&child);
    isolate_reap(&child, words, sizeof words);
    if (n < 0) {
        whorl_fail(fault, "module", "%s: its process %s while it was loaded", spec->module, words);
    } else if (n == 0) {
        whorl_fail(fault, "module", "%s: its process said nothing within %d s", spec->module,
                   ISOLATE_WAIT_MS / 1000);
    }
    return told;
}

bool isolate_describe(const struct isolate_spec *spec, msgpack_sbuffer *descriptor,
                      struct whorl_fault *fault)
{
    size_t before = descriptor->size;
    return ask(spec, ISOLATE_SAYS_DESCRIPTOR, descriptor, fault) &&
           (descriptor->size > before ||
            whorl_fail(fault, "module", "%s: its process describes nothing", spec->module));
}

/* "VIEW\0WHERE\0TEXT\0" again and again. */
static bool read_refusals(const uint8_t *at, size_t len,
                          void (*refused)(void *ctx, size_t view, struct whorl_fault *fault),
                          void *ctx, size_t views)
{
    while (len > 0) {
        const uint8_t *end = at;
        for (int i = 0; i < 3; i++) {
            const uint8_t *nul = memchr(end, '\0', len - (size_t)(end - at));
            if (!nul) {
                return false;
            }
            end = nul + 1;
        }
        char *rest;
        unsigned long view = strtoul((const char *)at, &rest, 10);
        if (*rest != '\0' || view > views) {
            return false;
        }
        struct whorl_fault fault;
        const uint8_t *where = (const uint8_t *)rest + 1;
        isolate_fault(where, (size_t)(end - where), &fault);
        refused(ctx, view, &fault);
        len -= (size_t)(end - at);
        at = end;
    }
    return true;
}

bool isolate_check(const struct isolate_spec *spec, size_t views,
                   void (*refused)(void *ctx, size_t view, struct whorl_fault *fault), void *ctx,
                   struct whorl_fault *fault)
{
    msgpack_sbuffer said;
    msgpack_sbuffer_init(&said);
    bool good = ask(spec, ISOLATE_SAYS_CHECKED, &said, fault);
    if (good && !read_refusals((const uint8_t *)said.data, said.size, refused, ctx, views)) {
        good =
            whorl_fail(fault, "module", "%s: its process's verdict makes no sense", spec->module);
    }
    msgpack_sbuffer_destroy(&said);
    return good;
}
