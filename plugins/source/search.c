#include "plugins/source/search.h"

#include <stdlib.h>
#include <string.h>

#include "whorl/msg.h"

/* One kind of source. */
struct way {
    const char *name;
    int (*check)(const struct whorl_settings *settings, struct whorl_fault *fault);
    int (*start)(const struct whorl_host *host, const struct finger_search_kind *kind, void **inner,
                 struct whorl_fault *fault);
    void (*call)(void *inner, uint64_t call, const uint8_t *message, size_t len);
    void (*cancel)(void *inner, uint64_t call); /* NULL: it asks the host */
    void (*stop)(void *inner);
};

struct instance {
    const struct way *way;
    void *inner;
};

static int start_lmdb(const struct whorl_host *host, const struct finger_search_kind *kind,
                      void **inner, struct whorl_fault *fault)
{
    return finger_search_start(host, kind, NULL, inner, fault);
}

/* ------------------------------------------------------------------ a database */

struct database {
    struct pg_follow *follow;
    void *search;
};

static int check_database(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    return finger_search_check(settings, fault) == 0 ? pg_follow_check(settings, fault) : -1;
}

static int start_database(const struct whorl_host *host, const struct finger_search_kind *kind,
                          void **inner, struct whorl_fault *fault)
{
    struct database *database = calloc(1, sizeof *database);
    if (!database) {
        whorl_fail(fault, "", "out of memory");
        return -1;
    }
    database->follow = pg_follow_start(host, fault);
    if (database->follow) {
        const struct finger_search_copy copy = {pg_follow_dir(database->follow), pg_follow_standing,
                                                database->follow};
        if (finger_search_start(host, kind, &copy, &database->search, fault) == 0) {
            *inner = database;
            return 0;
        }
        pg_follow_stop(database->follow);
    }
    free(database);
    return -1;
}

static void call_database(void *inner, uint64_t call, const uint8_t *message, size_t len)
{
    const struct database *database = inner;
    finger_search_call(database->search, call, message, len);
}

static void stop_database(void *inner)
{
    struct database *database = inner;
    finger_search_stop(database->search);
    pg_follow_stop(database->follow);
    free(database);
}

/* ------------------------------------------------------------------ another gateway */

static const struct way *way_called(const char *name);

static int check_upstream(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    if (upstream_check(settings, fault) != 0) {
        return -1;
    }
    return upstream_asks_here(settings)
               ? way_called(upstream_source_here(settings))->check(settings, fault)
               : 0;
}

/* The people who are known here, beside the upstream gateway. */
static int start_local(const void *kind, const struct whorl_host *host, void **inner,
                       struct whorl_fault *fault)
{
    return way_called(upstream_source_here(host->settings))->start(host, kind, inner, fault);
}

static int start_upstream(const struct whorl_host *host, const struct finger_search_kind *kind,
                          void **inner, struct whorl_fault *fault)
{
    const struct way *way = way_called(upstream_source_here(host->settings));
    const struct upstream_local local = {kind, start_local, way->call, way->stop};
    *inner = upstream_open(host, WHORL_ROLE_SEARCH, &local, fault);
    return *inner ? 0 : -1;
}

static void call_upstream(void *inner, uint64_t call, const uint8_t *message, size_t len)
{
    upstream_call(inner, call, message, len);
}

static void cancel_upstream(void *inner, uint64_t call)
{
    upstream_cancel(inner, call);
}

static void stop_upstream(void *inner)
{
    upstream_close(inner);
}

/* ------------------------------------------------------------------ which */

static const struct way ways[] = {
    {"lmdb", finger_search_check, start_lmdb, finger_search_call, NULL, finger_search_stop},
    {"postgresql", check_database, start_database, call_database, NULL, stop_database},
    {WHORL_SOURCE_UPSTREAM, check_upstream, start_upstream, call_upstream, cancel_upstream,
     stop_upstream},
};

static const struct way *way_called(const char *name)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(name, ways[i].name) == 0) {
            return &ways[i];
        }
    }
    return NULL;
}

static const struct way *way_of(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    const char *name = settings->string(settings, NULL, "source");
    const struct way *way = way_called(name);
    if (!way) {
        whorl_fail(fault, "source", "there is no source called \"%s\"", name);
    }
    return way;
}

int source_search_check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    const struct way *way = way_of(settings, fault);
    return way ? way->check(settings, fault) : -1;
}

int source_search_start(const struct whorl_host *host, const struct finger_search_kind *kind,
                        void **out, struct whorl_fault *fault)
{
    const struct way *way = way_of(host->settings, fault);
    struct instance *instance = way ? calloc(1, sizeof *instance) : NULL;
    if (way && !instance) {
        whorl_fail(fault, "", "out of memory");
    }
    if (!instance) {
        return -1;
    }
    instance->way = way;
    if (way->start(host, kind, &instance->inner, fault) != 0) {
        free(instance);
        return -1;
    }
    *out = instance;
    return 0;
}

void source_search_call(void *arg, uint64_t call, const uint8_t *message, size_t len)
{
    struct instance *instance = arg;
    instance->way->call(instance->inner, call, message, len);
}

void source_search_cancel(void *arg, uint64_t call)
{
    struct instance *instance = arg;
    if (instance->way->cancel) {
        instance->way->cancel(instance->inner, call);
    }
}

void source_search_stop(void *arg)
{
    struct instance *instance = arg;
    instance->way->stop(instance->inner);
    free(instance);
}
