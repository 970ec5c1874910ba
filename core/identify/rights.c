/* Who may have the answer of a transaction, should it be asked for again. */
#include <stdlib.h>
#include <string.h>

#include "core/identify/internal.h"

char *rights_of(const struct flow *flow)
{
    size_t len = strlen(flow->who.force->code) + 2;
    for (size_t i = 0; i < flow->check_count; i++) {
        len += strlen(flow->checks[i].plugin->conf->name) + 1;
    }
    char *rights = calloc(1, len);
    char *at = rights != NULL ? stpcpy(rights, flow->who.force->code) + 1 : NULL;
    for (size_t i = 0; at != NULL && i < flow->check_count; i++) {
        if (flow->checks[i].decision.allowed) {
            at = stpcpy(at, flow->checks[i].plugin->conf->name) + 1;
        }
    }
    return rights;
}

static bool permitted(const struct flow *flow, const char *backend)
{
    for (size_t i = 0; i < flow->check_count; i++) {
        if (strcmp(flow->checks[i].plugin->conf->name, backend) == 0) {
            return flow->checks[i].decision.allowed;
        }
    }
    return false;
}

bool rights_held(const struct flow *flow, const char *rights)
{
    bool held = strcmp(rights, flow->who.force->code) == 0;
    for (const char *at = rights + strlen(rights) + 1; held && *at != '\0'; at += strlen(at) + 1) {
        held = permitted(flow, at);
    }
    return held;
}
