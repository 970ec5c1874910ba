#include "core/isolate/describe.h"

#include <stdlib.h>
#include <string.h>

#include "core/isolate/spawn.h"
#include "whorl/msg.h"

/* Makes a child and returns the one thing that it was made to say, which begins with `wanted`; its
 * length, or 0 with *fault. The child has ended after it. */
static size_t ask(const struct isolate_spec *spec, char wanted, uint8_t *saying,
                  struct whorl_fault *fault)
{
    struct isolate_child child;
    char words[96];
    ssize_t n;
    int64_t until = isolate_until(ISOLATE_WAIT_MS);
    if (!isolate_spawn(spec, NULL, &child, fault)) {
        return 0;
    }
    do { /* what couldn't be had of the sandbox is said again, and logged, when it is run */
        n = isolate_hear(&child, saying, until);
    } while (n > 0 && saying[0] == ISOLATE_SAYS_NOTE);
    isolate_kill(&child);
    isolate_reap(&child, words, sizeof words);
    if (n > 0 && saying[0] == (uint8_t)wanted) {
        return (size_t)n;
    }
    if (n > 0 && saying[0] == ISOLATE_SAYS_FAILED) {
        isolate_fault(saying + 1, (size_t)n - 1, fault);
    } else if (n > 0) {
        whorl_fail(fault, "module", "%s: its process says what makes no sense", spec->module);
    } else if (n < 0) {
        whorl_fail(fault, "module", "%s: its process %s while it was loaded", spec->module, words);
    } else {
        whorl_fail(fault, "module", "%s: its process said nothing within %d s", spec->module,
                   ISOLATE_WAIT_MS / 1000);
    }
    return 0;
}

bool isolate_describe(const struct isolate_spec *spec, msgpack_sbuffer *descriptor,
                      struct whorl_fault *fault)
{
    uint8_t *saying = malloc(ISOLATE_SAYING_MAX);
    size_t len = saying ? ask(spec, ISOLATE_SAYS_DESCRIPTOR, saying, fault) : 0;
    bool good = len > 1 && msgpack_sbuffer_write(descriptor, (char *)saying + 1, len - 1) == 0;
    if (!saying || (len > 1 && !good)) {
        whorl_fail(fault, "", "out of memory");
    } else if (len == 1) {
        whorl_fail(fault, "module", "%s: its process describes nothing", spec->module);
    }
    free(saying);
    return good;
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
    uint8_t *saying = malloc(ISOLATE_SAYING_MAX);
    size_t len = saying ? ask(spec, ISOLATE_SAYS_CHECKED, saying, fault) : 0;
    bool good = len > 0;
    if (!saying) {
        whorl_fail(fault, "", "out of memory");
    } else if (good && !read_refusals(saying + 1, len - 1, refused, ctx, views)) {
        good =
            whorl_fail(fault, "module", "%s: its process's verdict makes no sense", spec->module);
    }
    free(saying);
    return good;
}
