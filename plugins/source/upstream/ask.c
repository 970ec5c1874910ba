#include "plugins/source/upstream/ask.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* A margin for the way and for putting answers together: a tenth, 0.1 to 2 seconds. */
enum { MARGIN_PARTS = 10, MARGIN_MIN_MS = 100, MARGIN_MAX_MS = 2000 };

static bool read_samples(const msgpack_object *list, struct part_question *question,
                         struct whorl_fault *fault)
{
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        struct whorl_field f[] = {
            {"index", WHORL_FIELD_INT, true, 0, PART_SAMPLES_MAX - 1, NULL},
            {"data", WHORL_FIELD_BIN, true, 1, UINT32_MAX, NULL},
        };
        if (!whorl_fields_read_lenient(&list->via.array.ptr[i], "samples", f, COUNT(f), fault)) {
            return false;
        }
        question->samples[i] = f[0].value->via.i64;
        question->sample_count++;
    }
    return true;
}

static bool read_request(const msgpack_object *request, struct ask *ask, struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {"gateway", WHORL_FIELD_STR, true, 1, PART_NAME_MAX, NULL},
        {"backend", WHORL_FIELD_STR, true, 1, PART_NAME_MAX, NULL},
        {"officer", WHORL_FIELD_STR, true, 1, 32, NULL},
        {"basis", WHORL_FIELD_STR, true, 1, 64, NULL},
        {"subject", WHORL_FIELD_MAP, true, 0, 64, NULL},
        {"route", WHORL_FIELD_ARRAY, true, 0, ASK_ROUTE_MAX, NULL},
    };
    if (!request) {
        return whorl_fail(fault, "request", "is missing: this host does not say who asks");
    }
    if (!whorl_fields_read_lenient(request, "request", f, COUNT(f), fault)) {
        return false;
    }
    ask->request = request;
    ask->route = f[5].value;
    whorl_str_copy(f[0].value, ask->gateway, sizeof ask->gateway);
    whorl_str_copy(f[1].value, ask->backend, sizeof ask->backend);
    return true;
}

bool ask_read(const msgpack_object *message, enum whorl_role role, struct ask *ask,
              struct whorl_fault *fault)
{
    bool search = role == WHORL_ROLE_SEARCH;
    struct whorl_field f[] = {
        {"op", WHORL_FIELD_STR, true, 1, 16, NULL},
        {"transaction", WHORL_FIELD_STR, true, 1, 36, NULL},
        {search ? "samples" : "people", WHORL_FIELD_ARRAY, true, 1, PART_SAMPLES_MAX, NULL},
        {"request", WHORL_FIELD_MAP, false, 0, 64, NULL},
        {"deadline_ms", WHORL_FIELD_INT, true, 0, 1e9, NULL},
    };
    char transaction[37];
    *ask = (struct ask){.question = {.role = role}};
    if (!whorl_fields_read_lenient(message, "", f, COUNT(f), fault)) {
        return false;
    }
    if (!whorl_str_is(f[0].value, search ? "search" : "lookup")) {
        return whorl_fail(fault, "op", "is not what this backend does");
    }
    ask->deadline_ms = f[4].value->via.u64;
    ask->samples = search ? f[2].value : NULL;
    ask->people = ask->question.people = search ? NULL : f[2].value;
    if ((search && !read_samples(ask->samples, &ask->question, fault)) ||
        !read_request(f[3].value, ask, fault)) {
        return false;
    }
    whorl_str_copy(f[1].value, transaction, sizeof transaction);
    snprintf(ask->request_id, sizeof ask->request_id, "%s/%.27s", transaction, ask->backend);
    return true;
}

bool ask_may_pass(const struct ask *ask, const char *upstream, struct whorl_fault *fault)
{
    if (ask->route->via.array.size >= ASK_ROUTE_MAX) {
        return whorl_fail(fault, "", "the request has passed %u gateways, as many as it may",
                          ask->route->via.array.size);
    }
    bool loop = strcmp(ask->gateway, upstream) == 0;
    for (uint32_t i = 0; i < ask->route->via.array.size; i++) {
        loop = loop || whorl_str_is(&ask->route->via.array.ptr[i], upstream);
    }
    return !loop || whorl_fail(fault, "", "it has passed the request on already: a loop");
}

/* Those fields of a map that are there, as they are. */
static size_t count_fields(const msgpack_object *map, const char *const *names, size_t count)
{
    size_t there = 0;
    for (size_t i = 0; i < count; i++) {
        there += whorl_map_get(map, names[i]) != NULL;
    }
    return there;
}

static void put_fields(msgpack_packer *pk, const msgpack_object *map, const char *const *names,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const msgpack_object *value = whorl_map_get(map, names[i]);
        if (value) {
            whorl_put_object(pk, names[i], value);
        }
    }
}

static void pack_samples(msgpack_packer *pk, const struct ask *ask)
{
    static const char *const names[] = {"modality", "format", "position", "dpi",
                                        "width",    "height", "data"};
    whorl_put_key(pk, "samples");
    msgpack_pack_array(pk, ask->samples->via.array.size);
    for (uint32_t i = 0; i < ask->samples->via.array.size; i++) {
        const msgpack_object *sample = &ask->samples->via.array.ptr[i];
        msgpack_pack_map(pk, count_fields(sample, names, COUNT(names)));
        put_fields(pk, sample, names, COUNT(names));
    }
}

void ask_pack(msgpack_packer *pk, const struct ask *ask, const char *backend, uint64_t deadline_ms)
{
    static const char *const names[] = {"officer",     "basis",   "stop_power", "reason",
                                        "reason_code", "consent", "subject"};
    uint32_t passed = ask->route->via.array.size;
    msgpack_pack_map(pk, 5 + count_fields(ask->request, names, COUNT(names)));
    whorl_put_str(pk, "request_id", ask->request_id);
    put_fields(pk, ask->request, names, COUNT(names));
    whorl_put_int(pk, "deadline_ms", (int64_t)deadline_ms);
    whorl_put_key(pk, "checks");
    msgpack_pack_array(pk, 1);
    msgpack_pack_str_with_body(pk, backend, strlen(backend));
    whorl_put_key(pk, "route");
    msgpack_pack_array(pk, passed + 1);
    for (uint32_t i = 0; i < passed; i++) {
        msgpack_pack_object(pk, ask->route->via.array.ptr[i]);
    }
    msgpack_pack_str_with_body(pk, ask->gateway, strlen(ask->gateway));
    if (ask->samples) {
        pack_samples(pk, ask);
    } else {
        whorl_put_object(pk, "people", ask->people);
    }
}

struct ask_time ask_time(uint64_t left_ms)
{
    uint64_t margin = left_ms / MARGIN_PARTS;
    margin = margin < MARGIN_MIN_MS   ? MARGIN_MIN_MS
             : margin > MARGIN_MAX_MS ? MARGIN_MAX_MS
                                      : margin;
    if (left_ms < ASK_LEAST_MS + margin) {
        return (struct ask_time){0, 0};
    }
    return (struct ask_time){left_ms - margin, left_ms - margin / 2};
}
