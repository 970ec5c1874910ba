/* @NAME@: a search backend for Whorl. It knows the words of its setting `words` and finds a sample
 * that is one of them. Replace `look` with what your backend does; what stands around it — reading
 * a call, cancelling, answering — can stay. */
#include <stdlib.h>
#include <string.h>

#include "whorl/answer.h"
#include "whorl/msg.h"
#include "whorl/plugin.h"

enum { SAMPLES_MAX = 20, SAMPLE_MAX = 1 << 20 };

/* All state lives here, never in static variables: a reload runs two instances side by side. */
struct instance {
    const struct whorl_host *host;
};

/* One call on its way. The message is the host's until the call is completed. */
struct search {
    struct instance *instance;
    uint64_t call;
    const uint8_t *message;
    size_t len;
};

static int start(const struct whorl_host *host, void **out, struct whorl_fault *fault)
{
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance) {
        whorl_fail(fault, "", "out of memory");
        return -1;
    }
    instance->host = host;
    *out = instance;
    return 0;
}

static void stop(void *instance)
{
    free(instance);
}

/* Ends the call with the answer and forgets it. */
static void finish(struct search *search, struct whorl_answer *answer)
{
    whorl_answer_give(answer, search->instance->host, search->call, WHORL_ROLE_SEARCH);
    whorl_answer_drop(answer);
    free(search);
}

/* An answer without candidates; `unavailable`, `poor_quality` and `not_searched` say why. */
static void finish_without(struct search *search, const char *class, const char *reason)
{
    struct whorl_answer answer;
    whorl_answer_begin(&answer);
    msgpack_pack_map(&answer.pk, 2);
    whorl_put_str(&answer.pk, "class", class);
    whorl_put_str(&answer.pk, "reason", reason);
    finish(search, &answer);
}

/* A search says how many of how many it compared; only a whole one may be a no_match. */
static void finish_found(struct search *search, const char *word, size_t known)
{
    struct whorl_answer answer;
    whorl_answer_begin(&answer);
    msgpack_pack_map(&answer.pk, word ? 3 : 2);
    whorl_put_str(&answer.pk, "class", word ? "match" : "no_match");
    if (word) {
        whorl_put_key(&answer.pk, "candidates");
        msgpack_pack_array(&answer.pk, 1);
        msgpack_pack_map(&answer.pk, 2);
        whorl_put_str(&answer.pk, "ref", word);
        whorl_put_real(&answer.pk, "score", 60.0);
    }
    whorl_put_key(&answer.pk, "searched");
    msgpack_pack_map(&answer.pk, 2);
    whorl_put_int(&answer.pk, "people", (int64_t)known);
    whorl_put_int(&answer.pk, "of", (int64_t)known);
    finish(search, &answer);
}

/* Compares one sample with every word. false: the host gave the call up meanwhile. */
static bool look(const struct search *search, const msgpack_object_bin *sample, const char **found,
                 size_t *known)
{
    const struct whorl_host *host = search->instance->host;
    const struct whorl_settings *settings = host->settings;
    const char *word;
    for (*known = 0; (word = settings->item(settings, NULL, "words", *known)) != NULL; ++*known) {
        if (host->cancelled(host, search->call)) {
            return false;
        }
        if (strlen(word) == sample->size && memcmp(word, sample->ptr, sample->size) == 0) {
            *found = word;
        }
    }
    return true;
}

/* The first sample. The host has checked its modality and format; its content is ours to check. */
static const msgpack_object_bin *first_sample(const msgpack_object *message,
                                              struct whorl_fault *fault)
{
    struct whorl_field fields[] = {
        {"samples", WHORL_FIELD_ARRAY, true, 1, SAMPLES_MAX, NULL},
    };
    struct whorl_field parts[] = {
        {"data", WHORL_FIELD_BIN, true, 1, SAMPLE_MAX, NULL},
    };
    if (!whorl_fields_read_lenient(message, "", fields, 1, fault) ||
        !whorl_fields_read_lenient(&fields[0].value->via.array.ptr[0], "samples[0]", parts, 1,
                                   fault)) {
        return NULL;
    }
    return &parts[0].value->via.bin;
}

/* A worker's thread: may take its time, in jobs of some 10 ms. */
static void work(void *arg)
{
    struct search *search = arg;
    struct whorl_fault fault = {"", ""};
    struct whorl_msg message;
    const char *found = NULL;
    size_t known = 0;
    if (!whorl_msg_parse(search->message, search->len, &message, &fault)) {
        finish_without(search, "unavailable", "the call's message could not be read");
        return;
    }
    const msgpack_object_bin *sample = first_sample(&message.root, &fault);
    bool whole = sample && look(search, sample, &found, &known);
    whorl_msg_release(&message);
    if (!sample) {
        finish_without(search, "not_searched", "no sample that can be read");
    } else if (!whole) {
        finish_without(search, "unavailable", "the search was given up");
    } else {
        finish_found(search, found, known);
    }
}

/* The loop's thread: must not wait. */
static void call(void *arg, uint64_t id, const uint8_t *message, size_t len)
{
    struct instance *instance = arg;
    struct search *search = malloc(sizeof *search);
    if (!search) {
        whorl_answer_refuse(instance->host, id, WHORL_ROLE_SEARCH, "out of memory");
        return;
    }
    *search = (struct search){instance, id, message, len};
    if (!instance->host->submit(instance->host, work, search)) {
        finish_without(search, "unavailable", "the server is stopping");
    }
}

static const char *const modalities[] = {"word", NULL};
static const char *const formats[] = {"utf8", NULL};

static const struct whorl_setting settings[] = {
    {"words", WHORL_SETTING_LIST, 0, NULL, 0, 0, "what can be found"},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "0.1",
    .title = "@NAME@",
    .role = WHORL_ROLE_SEARCH,
    .modalities = modalities,
    .formats = formats,
    .settings = settings,
    .setting_count = sizeof settings / sizeof settings[0],
    .start = start,
    .call = call,
    .stop = stop,
};
