#include "core/isolate/spec.h"

#include <limits.h>
#include <string.h>

#include "core/packed/packed.h"
#include "whorl/msg.h"

enum {
    SPEC_TASK,
    SPEC_NAME,
    SPEC_MODULE,
    SPEC_NETWORK,
    SPEC_MEMORY,
    SPEC_PROCESSORS,
    SPEC_UID,
    SPEC_GID,
    SPEC_SETTINGS,
    SPEC_DATA_DIR,
    SPEC_WORKERS,
    SPEC_CALLS,
    SPEC_COUNT
};

static void put_text(msgpack_packer *pk, const char *key, const char *text)
{
    whorl_put_bin(pk, key, text ? text : "", (text ? strlen(text) : 0) + 1);
}

void isolate_spec_pack(const struct isolate_spec *spec, msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk, SPEC_COUNT);
    whorl_put_int(&pk, "task", spec->task);
    put_text(&pk, "name", spec->name);
    put_text(&pk, "module", spec->module);
    whorl_put_bool(&pk, "network", spec->limits.network);
    whorl_put_int(&pk, "memory", (int64_t)spec->limits.memory);
    whorl_put_int(&pk, "processors", spec->limits.processors);
    whorl_put_int(&pk, "uid", spec->limits.uid);
    whorl_put_int(&pk, "gid", spec->limits.gid);
    whorl_put_bin(&pk, "settings", spec->settings_len > 0 ? (const void *)spec->settings : "",
                  spec->settings_len);
    put_text(&pk, "data_dir", spec->data_dir);
    whorl_put_int(&pk, "workers", spec->workers);
    whorl_put_int(&pk, "calls", spec->calls);
}

/* A text travels with its NUL, so that it can be used where it lies. NULL: it has none. */
static const char *text_of(const struct whorl_field *field)
{
    const msgpack_object_bin *bin = &field->value->via.bin;
    return bin->ptr[bin->size - 1] == '\0' ? bin->ptr : NULL;
}

bool isolate_spec_read(const msgpack_object *object, struct isolate_spec *spec,
                       struct whorl_fault *fault)
{
    struct whorl_field fields[SPEC_COUNT] = {
        [SPEC_TASK] = {"task", WHORL_FIELD_INT, true, ISOLATE_DESCRIBE, ISOLATE_RUN, NULL},
        [SPEC_NAME] = {"name", WHORL_FIELD_BIN, true, 1, 64, NULL},
        [SPEC_MODULE] = {"module", WHORL_FIELD_BIN, true, 1, PATH_MAX, NULL},
        [SPEC_NETWORK] = {"network", WHORL_FIELD_BOOL, true, 0, 0, NULL},
        [SPEC_MEMORY] = {"memory", WHORL_FIELD_INT, true, 0, 1e15, NULL},
        [SPEC_PROCESSORS] = {"processors", WHORL_FIELD_INT, true, 0, 1 << 20, NULL},
        [SPEC_UID] = {"uid", WHORL_FIELD_INT, true, 0, UINT32_MAX, NULL},
        [SPEC_GID] = {"gid", WHORL_FIELD_INT, true, 0, UINT32_MAX, NULL},
        [SPEC_SETTINGS] = {"settings", WHORL_FIELD_BIN, true, 0, 16 << 20, NULL},
        [SPEC_DATA_DIR] = {"data_dir", WHORL_FIELD_BIN, true, 1, PATH_MAX, NULL},
        [SPEC_WORKERS] = {"workers", WHORL_FIELD_INT, true, 0, 1024, NULL},
        [SPEC_CALLS] = {"calls", WHORL_FIELD_INT, true, 0, 4096, NULL},
    };
    if (!whorl_fields_read(object, "", fields, SPEC_COUNT, fault)) {
        return false;
    }
    const msgpack_object_bin *settings = &fields[SPEC_SETTINGS].value->via.bin;
    *spec = (struct isolate_spec){
        .task = (enum isolate_task)fields[SPEC_TASK].value->via.i64,
        .name = text_of(&fields[SPEC_NAME]),
        .module = text_of(&fields[SPEC_MODULE]),
        .limits = {.network = fields[SPEC_NETWORK].value->via.boolean,
                   .memory = fields[SPEC_MEMORY].value->via.u64,
                   .processors = (uint32_t)fields[SPEC_PROCESSORS].value->via.u64,
                   .uid = (uint32_t)fields[SPEC_UID].value->via.u64,
                   .gid = (uint32_t)fields[SPEC_GID].value->via.u64},
        .settings = (const uint8_t *)settings->ptr,
        .settings_len = settings->size,
        .data_dir = text_of(&fields[SPEC_DATA_DIR]),
        .workers = (uint32_t)fields[SPEC_WORKERS].value->via.u64,
        .calls = (uint32_t)fields[SPEC_CALLS].value->via.u64,
    };
    return (spec->name && spec->module && spec->data_dir) ||
           whorl_fail(fault, "", "a text without its end");
}
