#include "core/limit/quota.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    const struct quota *one = a, *other = b;
    if (one->key_len != other->key_len) {
        return one->key_len < other->key_len ? -1 : 1;
    }
    return memcmp(one->key, other->key, one->key_len);
}

struct quota *quotas_get(struct quotas *quotas, const void *key, size_t key_len)
{
    struct quota wanted = {.key_len = key_len};
    memcpy(wanted.key, key, key_len);
    struct quota **found = (struct quota **)tfind(&wanted, &quotas->tree, compare);
    if (found != NULL) {
        return *found;
    }
    struct quota *quota = malloc(sizeof *quota);
    if (quota == NULL) {
        return NULL;
    }
    *quota = wanted;
    if (tsearch(quota, &quotas->tree, compare) == NULL) {
        free(quota);
        return NULL;
    }
    quota->next = quotas->first;
    quotas->first = quota;
    quotas->count++;
    return quota;
}

static void forget(struct quotas *quotas, struct quota **link)
{
    struct quota *quota = *link;
    *link = quota->next;
    tdelete(quota, &quotas->tree, compare);
    free(quota);
    quotas->count--;
}

void quotas_sweep(struct quotas *quotas, const struct bucket_limits *limits, uint64_t now)
{
    for (struct quota **link = &quotas->first; *link != NULL;) {
        if ((*link)->holders == 0 && bucket_is_full(&(*link)->calls, limits, now)) {
            forget(quotas, link);
        } else {
            link = &(*link)->next;
        }
    }
}

void quotas_release(struct quotas *quotas)
{
    while (quotas->first != NULL) {
        forget(quotas, &quotas->first);
    }
}
