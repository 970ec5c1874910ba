/* The PNC backend: looks people up on a worker thread, by identifiers that a search found or by the
 * name and birth date that a person claims. */
#include <stdlib.h>
#include <string.h>

#include "plugins/pnc/lookup.h"
#include "plugins/pnc/people.h"
#include "plugins/pnc/remote.h"
#include "plugins/source/upstream/upstream.h"

/* One of the three is there: `source` says which. */
struct instance {
    const struct whorl_host *host;
    struct pnc_people *people; /* lmdb */
    struct pnc_remote *remote; /* postgresql */
    struct upstream *upstream; /* upstream; it may have another instance with people */
};

/* A call on its way to a worker. */
struct job {
    struct instance *instance;
    struct pnc_lookup *lookup;
};

/* ------------------------------------------------------------------ records of our own */

static bool find(struct pnc_people *people, MDB_txn *txn, struct pnc_lookup *lookup,
                 const struct pnc_search *search, struct whorl_fault *fault)
{
    char found[PNC_CANDIDATES_MAX + 1][PNC_ID_CAP];
    size_t count;
    if (!pnc_people_find(people, txn, search->by, search->key, found, PNC_CANDIDATES_MAX + 1,
                         &count, fault)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct pnc_candidate *person = pnc_lookup_take(lookup, search, found[i]);
        if (person != NULL && !pnc_people_get(people, txn, found[i], &person->record, fault)) {
            return false;
        }
    }
    return true;
}

static bool find_all(struct pnc_people *people, MDB_txn *txn, struct pnc_lookup *lookup,
                     struct whorl_fault *fault)
{
    uint64_t records;
    if (!pnc_people_count(people, txn, &records, fault)) {
        return false;
    }
    if (records == 0) {
        return whorl_fail(fault, "", "no PNC records are loaded");
    }
    for (size_t i = 0; i < lookup->count; i++) {
        if (!find(people, txn, lookup, &lookup->searches[i], fault)) {
            return false;
        }
    }
    return true;
}

static void look_up(struct pnc_people *people, struct pnc_lookup *lookup)
{
    struct whorl_fault fault = {{0}, {0}};
    MDB_txn *txn = pnc_people_read(people, &fault);
    bool ok = txn != NULL && find_all(people, txn, lookup, &fault);
    pnc_people_done(people, txn);
    if (ok) {
        pnc_lookup_answer(lookup, PNC_NO_AGE);
    } else {
        pnc_lookup_fail(lookup, &fault);
    }
}

/* ------------------------------------------------------------------ one call */

/* Worker thread. */
static void work(void *arg)
{
    struct job *job = arg;
    struct instance *instance = job->instance;
    struct pnc_lookup *lookup = job->lookup;
    const struct whorl_host *host = instance->host;
    struct whorl_fault fault = {{0}, {0}};
    free(job);
    host->progress(host, lookup->call, "looking_up", -1);
    if (host->cancelled(host, lookup->call)) {
        whorl_fail(&fault, "", "the look-up was given up");
        pnc_lookup_fail(lookup, &fault);
    } else if (!pnc_lookup_read(lookup, &fault)) {
        pnc_lookup_fail(lookup, &fault);
    } else if (instance->remote != NULL) {
        pnc_remote_look_up(instance->remote, lookup);
    } else {
        look_up(instance->people, lookup);
    }
}

/* ------------------------------------------------------------------ the instance */

static bool is_remote(const struct whorl_settings *settings)
{
    const char *source = upstream_is_source(settings) ? upstream_source_here(settings)
                                                      : settings->string(settings, NULL, "source");
    return strcmp(source, "postgresql") == 0;
}

static int check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    const char *source = settings->string(settings, NULL, "source");
    bool upstream = upstream_is_source(settings);
    if (!pnc_signals_check(settings, fault)) {
        return -1;
    }
    if (!upstream && strcmp(source, "lmdb") != 0 && strcmp(source, "postgresql") != 0) {
        whorl_fail(fault, "source", "must be lmdb, postgresql or upstream");
        return -1;
    }
    if (upstream && upstream_check(settings, fault) != 0) {
        return -1;
    }
    bool here = !upstream || upstream_asks_here(settings);
    return !here || !is_remote(settings) || pnc_remote_check(settings, fault) ? 0 : -1;
}

/* The data here, imported or of a database: all there is without an upstream gateway, and what may
 * be asked beside it. */
static int open_records(const void *ctx, const struct whorl_host *host, void **out,
                        struct whorl_fault *fault)
{
    struct instance *instance = calloc(1, sizeof(*instance));
    (void)ctx;
    if (instance == NULL) {
        whorl_fail(fault, "", "out of memory");
        return -1;
    }
    instance->host = host;
    if (is_remote(host->settings)) {
        instance->remote = pnc_remote_open(host, fault);
    } else {
        instance->people = pnc_people_open(host->data_dir, WHORL_STORE_WRITE, fault);
    }
    if (instance->remote == NULL && instance->people == NULL) {
        free(instance);
        return -1;
    }
    *out = instance;
    return 0;
}

static void look_up_call(void *arg, uint64_t id, const uint8_t *message, size_t len)
{
    struct instance *instance = arg;
    struct whorl_fault fault = {{0}, "no memory or stopping"};
    struct job *job = malloc(sizeof(*job));
    struct pnc_lookup *lookup = pnc_lookup_new(instance->host, id, message, len);
    if (job != NULL && lookup != NULL) {
        *job = (struct job){instance, lookup};
        if (instance->host->submit(instance->host, work, job)) {
            return;
        }
    }
    free(job);
    if (lookup != NULL) {
        pnc_lookup_fail(lookup, &fault);
    } else {
        whorl_answer_refuse(instance->host, id, WHORL_ROLE_LOOKUP, fault.text);
    }
}

static void close_instance(void *arg)
{
    struct instance *instance = arg;
    if (instance->upstream != NULL) {
        upstream_close(instance->upstream);
    }
    pnc_remote_close(instance->remote);
    pnc_people_close(instance->people);
    free(instance);
}

static int start(const struct whorl_host *host, void **out, struct whorl_fault *fault)
{
    const struct upstream_local records = {NULL, open_records, look_up_call, close_instance};
    if (!upstream_is_source(host->settings)) {
        return open_records(NULL, host, out, fault);
    }
    struct instance *instance = calloc(1, sizeof(*instance));
    if (instance == NULL) {
        whorl_fail(fault, "", "out of memory");
        return -1;
    }
    instance->host = host;
    instance->upstream = upstream_open(host, WHORL_ROLE_LOOKUP, &records, fault);
    if (instance->upstream == NULL) {
        free(instance);
        return -1;
    }
    *out = instance;
    return 0;
}

static void call(void *arg, uint64_t id, const uint8_t *message, size_t len)
{
    struct instance *instance = arg;
    if (instance->upstream != NULL) {
        upstream_call(instance->upstream, id, message, len);
    } else {
        look_up_call(instance, id, message, len);
    }
}

static void cancel(void *arg, uint64_t id)
{
    struct instance *instance = arg;
    if (instance->upstream != NULL) {
        upstream_cancel(instance->upstream, id);
    }
}

static const char *const keys[] = {"pncid", "cro", "name", NULL};

static const struct whorl_setting settings[] = {
    {"warning_signals", WHORL_SETTING_LIST, 0, NULL, 0, 0,
     "what the officer reads for a warning signal's code, each as \"CODE=TEXT\""},
    {"source", WHORL_SETTING_STRING, WHORL_SETTING_SOURCE, "lmdb", 1, 16,
     "where its records come from: lmdb (imported here), postgresql (a database) or upstream "
     "(another gateway is asked)"},
    PNC_REMOTE_SETTINGS,
    UPSTREAM_SETTINGS,
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1.0",
    .title = "Police National Computer (PNC)",
    .role = WHORL_ROLE_LOOKUP,
    .keys = keys,
    .entitlement = "pnc",
    .settings = settings,
    .setting_count = sizeof(settings) / sizeof(settings[0]),
    .check = check,
    .start = start,
    .call = call,
    .cancel = cancel,
    .stop = close_instance,
};
