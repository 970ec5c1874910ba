#include "core/registry/entry.h"

#include <string.h>

#include "core/packed/packed.h"
#include "whorl/msg.h"

static const char *const state_names[] = {"active", "suspended", "revoked"};

const char *registry_state_name(enum registry_state state)
{
    return state_names[state];
}

bool registry_id_valid(const char *id, size_t max)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    size_t len = strlen(id);
    if (len == 0 || len > max || strchr(letters, id[0]) == NULL) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (strchr(letters, id[i]) == NULL && strchr("._-@/", id[i]) == NULL) {
            return false;
        }
    }
    return true;
}

bool registry_officer_has(const struct registry_officer *officer, const char *entitlement)
{
    for (size_t i = 0; i < officer->entitlement_count; i++) {
        if (strcmp(officer->entitlements[i], entitlement) == 0) {
            return true;
        }
    }
    return false;
}

/* Reading. Stored bytes are no more trusted than bytes from the wire. */

static bool state_read(const msgpack_object *object, enum registry_state *state)
{
    for (size_t i = 0; i < sizeof state_names / sizeof *state_names; i++) {
        if (whorl_str_is(object, state_names[i])) {
            *state = (enum registry_state)i;
            return true;
        }
    }
    return false;
}

static bool key_copy(const MDB_val *key, char *id, size_t cap)
{
    if (key->mv_size == 0 || key->mv_size >= cap) {
        return false;
    }
    memcpy(id, key->mv_data, key->mv_size);
    id[key->mv_size] = '\0';
    return registry_id_valid(id, cap - 1);
}

static int64_t int_or_zero(const msgpack_object *object)
{
    return object == NULL ? 0 : object->via.i64;
}

static bool device_fields(const msgpack_object *map, struct registry_device *out,
                          struct whorl_fault *fault)
{
    struct whorl_field fields[] = {
        {.name = "certificate", .type = WHORL_FIELD_BIN, .required = true, .min = 32, .max = 32},
        {.name = "force",
         .type = WHORL_FIELD_STR,
         .required = true,
         .min = 1,
         .max = REGISTRY_FORCE_MAX},
        {.name = "state", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 16},
        {.name = "added", .type = WHORL_FIELD_INT, .required = true, .min = 0, .max = 1e12},
        {.name = "note", .type = WHORL_FIELD_STR, .min = 0, .max = REGISTRY_NOTE_MAX},
        {.name = "gateway", .type = WHORL_FIELD_BOOL}, /* entries of old have none */
    };
    if (!whorl_fields_read(map, "", fields, sizeof fields / sizeof *fields, fault)) {
        return false;
    }
    memcpy(out->certificate, fields[0].value->via.bin.ptr, 32);
    whorl_str_copy(fields[1].value, out->force, sizeof out->force);
    out->added = int_or_zero(fields[3].value);
    whorl_str_copy(fields[4].value, out->note, sizeof out->note);
    out->gateway = fields[5].value != NULL && fields[5].value->via.boolean;
    return state_read(fields[2].value, &out->state) || whorl_fail(fault, "state", "is unknown");
}

static bool officer_entitlements(const msgpack_object *list, struct registry_officer *out,
                                 struct whorl_fault *fault)
{
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        if (!whorl_str_copy(&list->via.array.ptr[i], out->entitlements[i],
                            sizeof out->entitlements[i])) {
            return whorl_fail(fault, "entitlements", "holds something that is no short text");
        }
    }
    out->entitlement_count = list->via.array.size;
    return true;
}

static bool officer_fields(const msgpack_object *map, struct registry_officer *out,
                           struct whorl_fault *fault)
{
    struct whorl_field fields[] = {
        {.name = "force",
         .type = WHORL_FIELD_STR,
         .required = true,
         .min = 1,
         .max = REGISTRY_FORCE_MAX},
        {.name = "state", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 16},
        {.name = "added", .type = WHORL_FIELD_INT, .required = true, .min = 0, .max = 1e12},
        {.name = "name", .type = WHORL_FIELD_STR, .min = 0, .max = REGISTRY_NAME_MAX},
        {.name = "entitlements",
         .type = WHORL_FIELD_ARRAY,
         .required = true,
         .min = 0,
         .max = REGISTRY_ENTITLEMENTS_MAX},
        {.name = "valid_from", .type = WHORL_FIELD_INT, .min = 0, .max = 1e12},
        {.name = "valid_until", .type = WHORL_FIELD_INT, .min = 0, .max = 1e12},
    };
    if (!whorl_fields_read(map, "", fields, sizeof fields / sizeof *fields, fault)) {
        return false;
    }
    whorl_str_copy(fields[0].value, out->force, sizeof out->force);
    out->added = int_or_zero(fields[2].value);
    whorl_str_copy(fields[3].value, out->name, sizeof out->name);
    out->valid_from = int_or_zero(fields[5].value);
    out->valid_until = int_or_zero(fields[6].value);
    if (!state_read(fields[1].value, &out->state)) {
        return whorl_fail(fault, "state", "is unknown");
    }
    return officer_entitlements(fields[4].value, out, fault);
}

/* Parses one stored record with `fields`, adding to a fault whose record it is. */
static bool record_read(const MDB_val *value, const char *what, const char *id,
                        bool (*fields)(const msgpack_object *map, void *out,
                                       struct whorl_fault *fault),
                        void *out, struct whorl_fault *fault)
{
    struct whorl_fault inner = {0};
    struct whorl_msg msg;
    if (!whorl_msg_parse(value->mv_data, value->mv_size, &msg, &inner)) {
        return whorl_fail(fault, "registry", "the record of %s %s is damaged: %s", what, id,
                          inner.text);
    }
    bool good = fields(&msg.root, out, &inner);
    whorl_msg_release(&msg);
    return good || whorl_fail(fault, "registry", "the record of %s %s is damaged: %s: %s", what, id,
                              inner.where, inner.text);
}

static bool device_fields_of(const msgpack_object *map, void *out, struct whorl_fault *fault)
{
    return device_fields(map, out, fault);
}

static bool officer_fields_of(const msgpack_object *map, void *out, struct whorl_fault *fault)
{
    return officer_fields(map, out, fault);
}

bool entry_read_device(const MDB_val *key, const MDB_val *value, void *out,
                       struct whorl_fault *fault)
{
    struct registry_device *device = out;
    *device = (struct registry_device){0};
    if (!key_copy(key, device->id, sizeof device->id)) {
        return whorl_fail(fault, "registry", "a device's id is damaged");
    }
    return record_read(value, "device", device->id, device_fields_of, device, fault);
}

bool entry_read_officer(const MDB_val *key, const MDB_val *value, void *out,
                        struct whorl_fault *fault)
{
    struct registry_officer *officer = out;
    *officer = (struct registry_officer){0};
    if (!key_copy(key, officer->id, sizeof officer->id)) {
        return whorl_fail(fault, "registry", "an officer's id is damaged");
    }
    return record_read(value, "officer", officer->id, officer_fields_of, officer, fault);
}

/* Writing. */

void entry_pack_device(const struct registry_device *device, msgpack_sbuffer *packed)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, packed, packed_write);
    msgpack_pack_map(&pk, 6);
    whorl_put_bin(&pk, "certificate", device->certificate, sizeof device->certificate);
    whorl_put_str(&pk, "force", device->force);
    whorl_put_str(&pk, "state", registry_state_name(device->state));
    whorl_put_int(&pk, "added", device->added);
    whorl_put_str(&pk, "note", device->note);
    whorl_put_bool(&pk, "gateway", device->gateway);
}

void entry_pack_officer(const struct registry_officer *officer, msgpack_sbuffer *packed)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, packed, packed_write);
    msgpack_pack_map(&pk, 7);
    whorl_put_str(&pk, "force", officer->force);
    whorl_put_str(&pk, "state", registry_state_name(officer->state));
    whorl_put_int(&pk, "added", officer->added);
    whorl_put_str(&pk, "name", officer->name);
    whorl_put_key(&pk, "entitlements");
    msgpack_pack_array(&pk, officer->entitlement_count);
    for (size_t i = 0; i < officer->entitlement_count; i++) {
        msgpack_pack_str_with_body(&pk, officer->entitlements[i], strlen(officer->entitlements[i]));
    }
    whorl_put_int(&pk, "valid_from", officer->valid_from);
    whorl_put_int(&pk, "valid_until", officer->valid_until);
}
