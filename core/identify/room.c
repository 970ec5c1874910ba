/* Whether the searches that a request needs have room for it. A flood is refused here, by its
 * thousands a second, so that refusing takes little from serving. */
#include <string.h>

#include "core/identify/internal.h"
#include "core/packed/peek.h"

bool room_refuse(struct refusal *refusal)
{
    /* Not by `refuse`, which formats: this is said thousands of times a second. */
    static const char words[] = "every backend has as many calls as it takes";
    refusal->code = "busy";
    refusal->where[0] = '\0';
    memcpy(refusal->message, words, sizeof words);
    return false;
}

bool room_for(const struct flow *flow, struct refusal *refusal)
{
    bool full = false;
    for (size_t i = 0; i < flow->check_count; i++) {
        const struct check *check = &flow->checks[i];
        const struct whorl_plugin *descriptor = check->plugin->descriptor;
        uint64_t wait_ms;
        if (!check->decision.allowed || descriptor->role != WHORL_ROLE_SEARCH ||
            message_samples(&flow->request, descriptor) == 0 ||
            backend_is_cut_off(check->plugin->backend, &wait_ms)) {
            continue;
        }
        if (backend_has_room(check->plugin->backend)) {
            return true;
        }
        full = true;
    }
    return !full || room_refuse(refusal);
}

static bool names(const char *const *list, const struct peek *text)
{
    while (*list != NULL && !peek_is(text, *list)) {
        list++;
    }
    return *list != NULL;
}

/* What of a sample says who takes it. */
enum { MODALITY, FORMAT, SAMPLE_WORDS };
struct kinds {
    struct peek words[DECODE_SAMPLES_MAX][SAMPLE_WORDS];
    uint32_t count;
};

static bool read_kinds(const struct peek *samples, struct kinds *kinds)
{
    static const char *const names_of[SAMPLE_WORDS] = {"modality", "format"};
    const uint8_t *at = samples->body;
    if (samples->kind != PEEK_ARRAY || samples->count > DECODE_SAMPLES_MAX) {
        return false;
    }
    for (kinds->count = 0; kinds->count < samples->count && at != NULL; kinds->count++) {
        struct peek sample = peek_read(at, samples->end);
        peek_find(&sample, names_of, SAMPLE_WORDS, kinds->words[kinds->count]);
        at = kinds->count + 1 < samples->count ? peek_skip(at, samples->end) : NULL;
    }
    return kinds->count == samples->count;
}

static bool takes_any(const struct whorl_plugin *descriptor, const struct kinds *kinds)
{
    for (uint32_t i = 0; i < kinds->count; i++) {
        if (names(descriptor->modalities, &kinds->words[i][MODALITY]) &&
            names(descriptor->formats, &kinds->words[i][FORMAT])) {
            return true;
        }
    }
    return false;
}

static bool is_search(const struct setup_plugin *plugin)
{
    return plugin->descriptor != NULL && plugin->descriptor->role == WHORL_ROLE_SEARCH;
}

/* Whether some search takes one of these samples, and all that do are full. */
static bool all_full(const struct setup *setup, const struct kinds *kinds)
{
    bool full = false;
    for (size_t i = 0; i < setup->count; i++) {
        const struct setup_plugin *plugin = &setup->plugins[i];
        uint64_t wait_ms;
        if (!is_search(plugin) || !takes_any(plugin->descriptor, kinds)) {
            continue;
        }
        if (backend_has_room(plugin->backend) || backend_is_cut_off(plugin->backend, &wait_ms)) {
            return false;
        }
        full = true;
    }
    return full;
}

static bool any_full(const struct setup *setup)
{
    for (size_t i = 0; i < setup->count; i++) {
        if (is_search(&setup->plugins[i]) && !backend_has_room(setup->plugins[i].backend)) {
            return true;
        }
    }
    return false;
}

bool room_is_out(const struct identify *identify, const uint8_t *params, size_t len)
{
    static const char *const keys[] = {"request_id", "samples"};
    struct peek found[2];
    struct kinds kinds;
    if (!any_full(identify->setup)) {
        return false;
    }
    struct peek list = peek_read(params, params + len);
    if (list.kind != PEEK_ARRAY || list.count != 1) {
        return false;
    }
    struct peek argument = peek_read(list.body, list.end);
    peek_find(&argument, keys, 2, found);
    return found[0].kind == PEEK_STR && found[0].count <= DECODE_REQUEST_MAX &&
           read_kinds(&found[1], &kinds) && all_full(identify->setup, &kinds) &&
           !repeats_may_hold(identify->repeats, (const char *)found[0].body, found[0].count);
}
