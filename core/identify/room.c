/* Whether the searches that a request needs have room for it. A flood is refused here, by its
 * thousands a second, so that refusing takes little from serving. */
#include <string.h>

#include "core/identify/internal.h"

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

static bool names(const char *const *list, const msgpack_object *text)
{
    while (*list != NULL && !whorl_str_is(text, *list)) {
        list++;
    }
    return *list != NULL;
}

static bool takes_any(const struct whorl_plugin *descriptor, const msgpack_object *samples)
{
    for (uint32_t i = 0; i < samples->via.array.size; i++) {
        const msgpack_object *sample = &samples->via.array.ptr[i];
        if (names(descriptor->modalities, whorl_map_get(sample, "modality")) &&
            names(descriptor->formats, whorl_map_get(sample, "format"))) {
            return true;
        }
    }
    return false;
}

/* Whether some search takes one of these samples, and all that do are full. */
static bool all_full(const struct setup *setup, const msgpack_object *samples)
{
    bool full = false;
    for (size_t i = 0; i < setup->count; i++) {
        const struct setup_plugin *plugin = &setup->plugins[i];
        uint64_t wait_ms;
        if (plugin->descriptor == NULL || plugin->descriptor->role != WHORL_ROLE_SEARCH ||
            !takes_any(plugin->descriptor, samples)) {
            continue;
        }
        if (backend_has_room(plugin->backend) || backend_is_cut_off(plugin->backend, &wait_ms)) {
            return false;
        }
        full = true;
    }
    return full;
}

bool room_is_out(const struct identify *identify, const msgpack_object *params)
{
    if (params->via.array.size != 1) {
        return false;
    }
    const msgpack_object *argument = &params->via.array.ptr[0];
    const msgpack_object *samples = whorl_map_get(argument, "samples");
    if (samples == NULL || samples->type != MSGPACK_OBJECT_ARRAY ||
        samples->via.array.size > DECODE_SAMPLES_MAX || !all_full(identify->setup, samples)) {
        return false;
    }
    const msgpack_object *id = whorl_map_get(argument, "request_id");
    return id != NULL && id->type == MSGPACK_OBJECT_STR && id->via.str.size <= DECODE_REQUEST_MAX &&
           !repeats_may_hold(identify->repeats, id->via.str.ptr, id->via.str.size);
}
