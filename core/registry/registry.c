#include "core/registry/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/packed/packed.h"
#include "whorl/msg.h"

#define REGISTRY_KIND "whorl-registry"
#define REGISTRY_VERSION 1u

/* devices: id -> map; certificates: SHA-256 -> device id; officers: id -> map. */
struct registry {
    struct whorl_store *store;
    MDB_dbi devices, certificates, officers;
};

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

struct registry *registry_open(const char *data_dir, enum whorl_store_mode mode,
                               struct whorl_fault *fault)
{
    char dir[4096];
    int n = snprintf(dir, sizeof dir, "%s/registry", data_dir);
    if (n < 0 || (size_t)n >= sizeof dir) {
        whorl_fail(fault, "data_dir", "the path is too long");
        return NULL;
    }
    struct registry *registry = calloc(1, sizeof *registry);
    if (registry == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    registry->store = whorl_store_open(dir, mode, 4, REGISTRY_KIND, REGISTRY_VERSION, fault);
    unsigned create = mode == WHORL_STORE_WRITE ? MDB_CREATE : 0;
    if (registry->store == NULL ||
        !whorl_store_db(registry->store, "devices", create, &registry->devices, fault) ||
        !whorl_store_db(registry->store, "certificates", create, &registry->certificates, fault) ||
        !whorl_store_db(registry->store, "officers", create, &registry->officers, fault)) {
        registry_close(registry);
        return NULL;
    }
    return registry;
}

void registry_close(struct registry *registry)
{
    if (registry == NULL) {
        return;
    }
    if (registry->store != NULL) {
        whorl_store_close(registry->store);
    }
    free(registry);
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

/* out: a struct registry_device; of officer_read a struct registry_officer. */
static bool device_read(const MDB_val *key, const MDB_val *value, void *out,
                        struct whorl_fault *fault)
{
    struct registry_device *device = out;
    *device = (struct registry_device){0};
    if (!key_copy(key, device->id, sizeof device->id)) {
        return whorl_fail(fault, "registry", "a device's id is damaged");
    }
    return record_read(value, "device", device->id, device_fields_of, device, fault);
}

static bool officer_read(const MDB_val *key, const MDB_val *value, void *out,
                         struct whorl_fault *fault)
{
    struct registry_officer *officer = out;
    *officer = (struct registry_officer){0};
    if (!key_copy(key, officer->id, sizeof officer->id)) {
        return whorl_fail(fault, "registry", "an officer's id is damaged");
    }
    return record_read(value, "officer", officer->id, officer_fields_of, officer, fault);
}

static enum registry_found got(int code, struct whorl_fault *fault)
{
    if (code == MDB_NOTFOUND) {
        return REGISTRY_ABSENT;
    }
    if (code != 0) {
        whorl_fail(fault, "registry", "cannot be read: %s", mdb_strerror(code));
        return REGISTRY_FAILED;
    }
    return REGISTRY_PRESENT;
}

static MDB_val key_of(const char *id)
{
    return (MDB_val){.mv_size = strlen(id), .mv_data = (void *)id};
}

/* The entry of an id, as read() takes it into out. */
static enum registry_found look_up(struct registry *registry, MDB_dbi dbi, const char *id,
                                   bool (*read)(const MDB_val *key, const MDB_val *value, void *out,
                                                struct whorl_fault *fault),
                                   void *out, struct whorl_fault *fault)
{
    MDB_txn *txn = whorl_store_read(registry->store, fault);
    if (txn == NULL) {
        return REGISTRY_FAILED;
    }
    MDB_val key = key_of(id);
    MDB_val value;
    enum registry_found found = got(mdb_get(txn, dbi, &key, &value), fault);
    if (found == REGISTRY_PRESENT && !read(&key, &value, out, fault)) {
        found = REGISTRY_FAILED;
    }
    whorl_store_done(registry->store, txn);
    return found;
}

enum registry_found registry_device(struct registry *registry, const char *id,
                                    struct registry_device *out, struct whorl_fault *fault)
{
    return registry_id_valid(id, REGISTRY_DEVICE_MAX)
               ? look_up(registry, registry->devices, id, device_read, out, fault)
               : REGISTRY_ABSENT;
}

enum registry_found registry_device_of(struct registry *registry, const uint8_t certificate[32],
                                       struct registry_device *out, struct whorl_fault *fault)
{
    MDB_txn *txn = whorl_store_read(registry->store, fault);
    if (txn == NULL) {
        return REGISTRY_FAILED;
    }
    MDB_val hash = {.mv_size = 32, .mv_data = (void *)certificate};
    MDB_val key;
    MDB_val value;
    enum registry_found found = got(mdb_get(txn, registry->certificates, &hash, &key), fault);
    if (found == REGISTRY_PRESENT) {
        found = got(mdb_get(txn, registry->devices, &key, &value), fault);
    }
    if (found == REGISTRY_PRESENT && (!device_read(&key, &value, out, fault) ||
                                      memcmp(out->certificate, certificate, 32) != 0)) {
        found = REGISTRY_FAILED;
    }
    whorl_store_done(registry->store, txn);
    return found;
}

enum registry_found registry_officer(struct registry *registry, const char *id,
                                     struct registry_officer *out, struct whorl_fault *fault)
{
    return registry_id_valid(id, REGISTRY_OFFICER_MAX)
               ? look_up(registry, registry->officers, id, officer_read, out, fault)
               : REGISTRY_ABSENT;
}

/* Calls one() for every pair of a database until it says stop. */
static bool each_pair(struct registry *registry, MDB_dbi dbi,
                      bool (*one)(void *arg, const MDB_val *key, const MDB_val *value,
                                  struct whorl_fault *fault),
                      void *arg, struct whorl_fault *fault)
{
    MDB_txn *txn = whorl_store_read(registry->store, fault);
    if (txn == NULL) {
        return false;
    }
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, dbi, &cursor);
    if (code != 0) {
        whorl_store_done(registry->store, txn);
        return whorl_fail(fault, "registry", "cannot be read: %s", mdb_strerror(code));
    }
    MDB_val key;
    MDB_val value;
    bool good = true;
    while (good && (code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        good = one(arg, &key, &value, fault);
    }
    mdb_cursor_close(cursor);
    whorl_store_done(registry->store, txn);
    return good && got(code, fault) != REGISTRY_FAILED;
}

struct each_device {
    void (*each)(void *ctx, const struct registry_device *device);
    void *ctx;
};

static bool one_device(void *arg, const MDB_val *key, const MDB_val *value,
                       struct whorl_fault *fault)
{
    const struct each_device *wanted = arg;
    struct registry_device device;
    if (!device_read(key, value, &device, fault)) {
        return false;
    }
    wanted->each(wanted->ctx, &device);
    return true;
}

bool registry_each_device(struct registry *registry,
                          void (*each)(void *ctx, const struct registry_device *device), void *ctx,
                          struct whorl_fault *fault)
{
    struct each_device wanted = {each, ctx};
    return each_pair(registry, registry->devices, one_device, &wanted, fault);
}

struct each_officer {
    void (*each)(void *ctx, const struct registry_officer *officer);
    void *ctx;
};

static bool one_officer(void *arg, const MDB_val *key, const MDB_val *value,
                        struct whorl_fault *fault)
{
    const struct each_officer *wanted = arg;
    struct registry_officer officer;
    if (!officer_read(key, value, &officer, fault)) {
        return false;
    }
    wanted->each(wanted->ctx, &officer);
    return true;
}

bool registry_each_officer(struct registry *registry,
                           void (*each)(void *ctx, const struct registry_officer *officer),
                           void *ctx, struct whorl_fault *fault)
{
    struct each_officer wanted = {each, ctx};
    return each_pair(registry, registry->officers, one_officer, &wanted, fault);
}

/* Writing. */

static void device_pack(msgpack_packer *pk, const struct registry_device *device)
{
    msgpack_pack_map(pk, 6);
    whorl_put_bin(pk, "certificate", device->certificate, sizeof device->certificate);
    whorl_put_str(pk, "force", device->force);
    whorl_put_str(pk, "state", registry_state_name(device->state));
    whorl_put_int(pk, "added", device->added);
    whorl_put_str(pk, "note", device->note);
    whorl_put_bool(pk, "gateway", device->gateway);
}

static void officer_pack(msgpack_packer *pk, const struct registry_officer *officer)
{
    msgpack_pack_map(pk, 7);
    whorl_put_str(pk, "force", officer->force);
    whorl_put_str(pk, "state", registry_state_name(officer->state));
    whorl_put_int(pk, "added", officer->added);
    whorl_put_str(pk, "name", officer->name);
    whorl_put_key(pk, "entitlements");
    msgpack_pack_array(pk, officer->entitlement_count);
    for (size_t i = 0; i < officer->entitlement_count; i++) {
        msgpack_pack_str_with_body(pk, officer->entitlements[i], strlen(officer->entitlements[i]));
    }
    whorl_put_int(pk, "valid_from", officer->valid_from);
    whorl_put_int(pk, "valid_until", officer->valid_until);
}

/* What a write transaction is to do; clash is set anew by each run of it. */
struct change {
    struct registry *registry;
    const struct registry_device *device;
    const struct registry_officer *officer;
    bool replace;
    struct whorl_fault clash;
};

static int put_packed(MDB_txn *txn, MDB_dbi dbi, const char *id, const msgpack_sbuffer *packed,
                      bool replace)
{
    MDB_val key = key_of(id);
    MDB_val value = {.mv_size = packed->size, .mv_data = packed->data};
    if (packed->size == 0) {
        return ENOMEM;
    }
    return mdb_put(txn, dbi, &key, &value, replace ? 0 : MDB_NOOVERWRITE);
}

/* Frees the certificate of an entry that is about to be replaced. */
static int drop_certificate(MDB_txn *txn, struct registry *registry, const char *id)
{
    MDB_val key = key_of(id);
    MDB_val value;
    int code = mdb_get(txn, registry->devices, &key, &value);
    if (code != 0) {
        return code == MDB_NOTFOUND ? 0 : code;
    }
    struct registry_device old;
    struct whorl_fault fault;
    if (!device_read(&key, &value, &old, &fault)) {
        return MDB_CORRUPTED;
    }
    MDB_val hash = {.mv_size = sizeof old.certificate, .mv_data = old.certificate};
    code = mdb_del(txn, registry->certificates, &hash, NULL);
    return code == MDB_NOTFOUND ? 0 : code;
}

static bool check_id(const char *id, const char *what, size_t max, struct whorl_fault *fault)
{
    return registry_id_valid(id, max) ||
           whorl_fail(fault, "id", "%s's id is 1 to %zu letters, digits and . _ - @ /", what, max);
}

static bool there_is(const char *what, const char *id, struct whorl_fault *fault)
{
    return whorl_fail(fault, "id", "there is %s %s already", what, id);
}

static bool owned_by(int len, const char *id, struct whorl_fault *fault)
{
    return whorl_fail(fault, "certificate", "is that of device %.*s already", len, id);
}

static int write_device(MDB_txn *txn, void *arg)
{
    struct change *change = arg;
    const struct registry_device *device = change->device;
    change->clash = (struct whorl_fault){0};
    int code = change->replace ? drop_certificate(txn, change->registry, device->id) : 0;
    if (code != 0) {
        return code;
    }
    MDB_val hash = {.mv_size = 32, .mv_data = (void *)device->certificate};
    MDB_val owner = key_of(device->id);
    code = mdb_put(txn, change->registry->certificates, &hash, &owner, MDB_NOOVERWRITE);
    if (code == MDB_KEYEXIST) {
        owned_by((int)owner.mv_size, owner.mv_data, &change->clash);
        return code;
    }
    if (code != 0) {
        return code;
    }
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    msgpack_packer pk;
    msgpack_packer_init(&pk, &packed, packed_write);
    device_pack(&pk, device);
    code = put_packed(txn, change->registry->devices, device->id, &packed, change->replace);
    msgpack_sbuffer_destroy(&packed);
    if (code == MDB_KEYEXIST) {
        there_is("a device", device->id, &change->clash);
    }
    return code;
}

static int write_officer(MDB_txn *txn, void *arg)
{
    struct change *change = arg;
    change->clash = (struct whorl_fault){0};
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    msgpack_packer pk;
    msgpack_packer_init(&pk, &packed, packed_write);
    officer_pack(&pk, change->officer);
    int code =
        put_packed(txn, change->registry->officers, change->officer->id, &packed, change->replace);
    msgpack_sbuffer_destroy(&packed);
    if (code == MDB_KEYEXIST) {
        there_is("an officer", change->officer->id, &change->clash);
    }
    return code;
}

static bool apply(struct change *change, int (*write)(MDB_txn *txn, void *arg),
                  struct whorl_fault *fault)
{
    if (whorl_store_write(change->registry->store, write, change, fault)) {
        return true;
    }
    return change->clash.text[0] == '\0'
               ? false
               : whorl_fail(fault, change->clash.where, "%s", change->clash.text);
}

bool registry_check_device(struct registry *registry, const struct registry_device *device,
                           bool replace, struct whorl_fault *fault)
{
    struct registry_device old;
    if (!check_id(device->id, "a device", REGISTRY_DEVICE_MAX, fault)) {
        return false;
    }
    enum registry_found found = registry_device(registry, device->id, &old, fault);
    if (found == REGISTRY_PRESENT && !replace) {
        return there_is("a device", device->id, fault);
    }
    if (found != REGISTRY_FAILED) {
        found = registry_device_of(registry, device->certificate, &old, fault);
    }
    if (found == REGISTRY_PRESENT && strcmp(old.id, device->id) != 0) {
        return owned_by((int)strlen(old.id), old.id, fault);
    }
    return found != REGISTRY_FAILED;
}

bool registry_check_officer(struct registry *registry, const struct registry_officer *officer,
                            bool replace, struct whorl_fault *fault)
{
    struct registry_officer old;
    if (!check_id(officer->id, "an officer", REGISTRY_OFFICER_MAX, fault)) {
        return false;
    }
    enum registry_found found = registry_officer(registry, officer->id, &old, fault);
    return found == REGISTRY_PRESENT && !replace ? there_is("an officer", officer->id, fault)
                                                 : found != REGISTRY_FAILED;
}

bool registry_put_device(struct registry *registry, const struct registry_device *device,
                         bool replace, struct whorl_fault *fault)
{
    if (!check_id(device->id, "a device", REGISTRY_DEVICE_MAX, fault)) {
        return false;
    }
    struct change change = {.registry = registry, .device = device, .replace = replace};
    return apply(&change, write_device, fault);
}

bool registry_put_officer(struct registry *registry, const struct registry_officer *officer,
                          bool replace, struct whorl_fault *fault)
{
    if (!check_id(officer->id, "an officer", REGISTRY_OFFICER_MAX, fault)) {
        return false;
    }
    struct change change = {.registry = registry, .officer = officer, .replace = replace};
    return apply(&change, write_officer, fault);
}

bool registry_set_device_state(struct registry *registry, const char *id, enum registry_state state,
                               struct whorl_fault *fault)
{
    struct registry_device device;
    enum registry_found found = registry_device(registry, id, &device, fault);
    if (found != REGISTRY_PRESENT) {
        return found == REGISTRY_FAILED ? false
                                        : whorl_fail(fault, "id", "there is no device %s", id);
    }
    device.state = state;
    return registry_put_device(registry, &device, true, fault);
}

bool registry_set_officer_state(struct registry *registry, const char *id,
                                enum registry_state state, struct whorl_fault *fault)
{
    struct registry_officer officer;
    enum registry_found found = registry_officer(registry, id, &officer, fault);
    if (found != REGISTRY_PRESENT) {
        return found == REGISTRY_FAILED ? false
                                        : whorl_fail(fault, "id", "there is no officer %s", id);
    }
    officer.state = state;
    return registry_put_officer(registry, &officer, true, fault);
}
