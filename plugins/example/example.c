/* A complete small search backend, to learn from: it compares text samples with the people listed
 * in its settings. What it shows: a settings schema with a check of its own, calls that wait on a
 * timer and then work on a worker thread, progress, cancelling, and every kind of answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "whorl/answer.h"
#include "whorl/msg.h"
#include "whorl/plugin.h"

enum {
    REF_MAX = 32,        /* bytes of a person's reference */
    CANDIDATES_MAX = 20, /* as docs/protocol.md allows */
    SAMPLES_MAX = 20,
    STEPS = 10, /* reports of progress while a call waits */
};

/* All state lives here, never in static variables: a reload runs two instances side by side. */
struct instance {
    const struct whorl_host *host;
    uint64_t delay_ms;
};

/* A call on its way. */
struct search {
    struct instance *instance;
    uint64_t call;
    const uint8_t *message; /* the host's, until the call is completed */
    size_t len;
    unsigned step;
};

struct found {
    const char *ref[CANDIDATES_MAX]; /* into the settings */
    size_t ref_len[CANDIDATES_MAX];
    size_t count, people;
};

/* A person in the settings is written "REF=TEXT". */
static bool split_person(const char *person, size_t *ref_len, const char **text)
{
    const char *equals = strchr(person, '=');
    if (!equals || equals == person || equals - person > REF_MAX || equals[1] == '\0') {
        return false;
    }
    *ref_len = (size_t)(equals - person);
    *text = equals + 1;
    return true;
}

static int check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    const char *person;
    for (size_t i = 0; (person = settings->item(settings, NULL, "people", i)) != NULL; i++) {
        size_t ref_len;
        const char *text;
        if (!split_person(person, &ref_len, &text)) {
            whorl_fail(fault, "people", "entry %zu must be \"REF=TEXT\", with 1 to %d bytes of REF",
                       i + 1, REF_MAX);
            return -1;
        }
    }
    return 0;
}

static int start(const struct whorl_host *host, void **out, struct whorl_fault *fault)
{
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance) {
        whorl_fail(fault, "", "out of memory");
        return -1;
    }
    instance->host = host;
    instance->delay_ms = (uint64_t)host->settings->integer(host->settings, NULL, "delay_ms");
    *out = instance;
    return 0;
}

static void stop(void *arg)
{
    free(arg);
}

/* Completes the call and forgets it. */
static void finish(struct search *search, struct whorl_answer *answer)
{
    whorl_answer_give(answer, search->instance->host, search->call, WHORL_ROLE_SEARCH);
    whorl_answer_drop(answer);
    free(search);
}

/* An answer without candidates: poor_quality or unavailable. */
static void finish_without(struct search *search, const char *class, const char *reason)
{
    struct whorl_answer answer;
    whorl_answer_begin(&answer);
    msgpack_pack_map(&answer.pk, 2);
    whorl_put_str(&answer.pk, "class", class);
    whorl_put_str(&answer.pk, "reason", reason);
    finish(search, &answer);
}

/* Takes the samples out of a call's message. The host has checked that they are of our modality
 * and format; what they hold is ours to check. */
static bool read_samples(const msgpack_object *message, const msgpack_object **samples,
                         size_t *count, struct whorl_fault *fault)
{
    struct whorl_field fields[] = {
        {"samples", WHORL_FIELD_ARRAY, true, 0, SAMPLES_MAX, NULL},
    };
    if (!whorl_fields_read_lenient(message, "", fields, 1, fault)) {
        return false;
    }
    const msgpack_object_array *array = &fields[0].value->via.array;
    for (uint32_t i = 0; i < array->size; i++) {
        struct whorl_field parts[] = {
            {"data", WHORL_FIELD_BIN, true, 1, 1 << 20, NULL},
        };
        if (!whorl_fields_read_lenient(&array->ptr[i], "samples", parts, 1, fault)) {
            return false;
        }
        samples[i] = parts[0].value;
    }
    *count = array->size;
    return true;
}

/* Whether a person's text is that of any sample. */
static bool matches_any(const char *text, const msgpack_object *const *samples, size_t count)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < count; i++) {
        const msgpack_object_bin *data = &samples[i]->via.bin;
        if (data->size == len && memcmp(data->ptr, text, len) == 0) {
            return true;
        }
    }
    return false;
}

/* Compares with everybody. false: the host gave the call up meanwhile. */
static bool compare(const struct search *search, const msgpack_object *const *samples, size_t count,
                    struct found *found)
{
    const struct whorl_host *host = search->instance->host;
    const struct whorl_settings *settings = host->settings;
    const char *person;
    for (; (person = settings->item(settings, NULL, "people", found->people)) != NULL;
         found->people++) {
        size_t ref_len = 0;
        const char *text = "";
        if (host->cancelled(host, search->call)) {
            return false;
        }
        if (split_person(person, &ref_len, &text) && matches_any(text, samples, count) &&
            found->count < CANDIDATES_MAX) {
            found->ref[found->count] = person;
            found->ref_len[found->count++] = ref_len;
        }
    }
    return true;
}

static void pack_found(msgpack_packer *pk, const struct found *found)
{
    msgpack_pack_map(pk, found->count > 0 ? 3 : 2);
    whorl_put_str(pk, "class",
                  found->count == 0   ? "no_match"
                  : found->count == 1 ? "match"
                                      : "possible");
    if (found->count > 0) {
        whorl_put_key(pk, "candidates");
        msgpack_pack_array(pk, found->count);
    }
    for (size_t i = 0; i < found->count; i++) {
        msgpack_pack_map(pk, 2);
        whorl_put_key(pk, "ref");
        msgpack_pack_str_with_body(pk, found->ref[i], found->ref_len[i]);
        whorl_put_real(pk, "score", 60.0); /* equal texts: as sure as this backend gets */
    }
    whorl_put_key(pk, "searched");
    msgpack_pack_map(pk, 2);
    whorl_put_int(pk, "people", (int64_t)found->people);
    whorl_put_int(pk, "of", (int64_t)found->people);
}

static void compare_and_finish(struct search *search, const msgpack_object *const *samples,
                               size_t count)
{
    struct found found = {.count = 0};
    if (!compare(search, samples, count, &found)) {
        finish_without(search, "unavailable", "the search was given up");
        return;
    }
    struct whorl_answer answer;
    whorl_answer_begin(&answer);
    pack_found(&answer.pk, &found);
    finish(search, &answer);
}

/* Worker thread: may take its time. */
static void work(void *arg)
{
    struct search *search = arg;
    const struct whorl_host *host = search->instance->host;
    struct whorl_fault fault = {"", ""};
    struct whorl_msg message;
    const msgpack_object *samples[SAMPLES_MAX];
    size_t count = 0;

    host->progress(host, search->call, "searching", 0.0);
    if (!whorl_msg_parse(search->message, search->len, &message, &fault)) {
        finish_without(search, "unavailable", "the call's message could not be read");
        return;
    }
    if (!read_samples(&message.root, samples, &count, &fault)) {
        char reason[400];
        snprintf(reason, sizeof reason, "%s: %s", fault.where, fault.text);
        finish_without(search, "poor_quality", reason);
    } else if (count == 0) {
        finish_without(search, "not_searched", "no sample of a kind that this backend takes");
    } else {
        compare_and_finish(search, samples, count);
    }
    whorl_msg_release(&message);
}

/* Loop thread: waits one step longer, or hands the work to a worker thread. */
static void wait_or_work(void *arg)
{
    struct search *search = arg;
    const struct instance *instance = search->instance;
    const struct whorl_host *host = instance->host;

    if (host->cancelled(host, search->call)) {
        finish_without(search, "unavailable", "the search was given up");
        return;
    }
    if (instance->delay_ms > 0 && search->step < STEPS) {
        host->progress(host, search->call, "waiting", (double)search->step / STEPS);
        search->step++;
        if (host->timer_start(host, (instance->delay_ms + STEPS - 1) / STEPS, wait_or_work,
                              search) == 0) {
            finish_without(search, "unavailable", "out of memory");
        }
        return;
    }
    if (!host->submit(host, work, search)) {
        finish_without(search, "unavailable", "the server is stopping");
    }
}

static void call(void *arg, uint64_t id, const uint8_t *message, size_t len)
{
    struct instance *instance = arg;
    struct search *search = calloc(1, sizeof *search);
    if (!search) {
        whorl_answer_refuse(instance->host, id, WHORL_ROLE_SEARCH, "out of memory");
        return;
    }
    *search = (struct search){instance, id, message, len, 0};
    wait_or_work(search);
}

static const char *const modalities[] = {"text", NULL};
static const char *const formats[] = {"utf8", NULL};

static const struct whorl_setting settings[] = {
    {"people", WHORL_SETTING_LIST, WHORL_SETTING_REQUIRED, NULL, 0, 0,
     "who can be found, each as \"REF=TEXT\""},
    {"delay_ms", WHORL_SETTING_INTEGER, 0, "0", 0, 60000,
     "milliseconds that a search waits before it starts, to see progress and cancelling"},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1.0",
    .title = "Example (texts from the configuration)",
    .role = WHORL_ROLE_SEARCH,
    .modalities = modalities,
    .formats = formats,
    .settings = settings,
    .setting_count = sizeof settings / sizeof settings[0],
    .check = check,
    .start = start,
    .call = call,
    .stop = stop,
};
