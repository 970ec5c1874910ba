#include "core/registry/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/registry/entry.h"
#include "whorl/msg.h"

#define REGISTRY_KIND "whorl-registry"
#define REGISTRY_VERSION 1u

/* devices: id -> map; certificates: SHA-256 -> device id; officers: id -> map. */
struct registry {
    struct whorl_store *store;
    MDB_dbi devices, certificates, officers;
};

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

/* Reading. */

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

/* The pair of a key, as read() takes it into out. */
static enum registry_found look_up(struct registry *registry, MDB_dbi dbi, const MDB_val *wanted,
                                   bool (*read)(const MDB_val *key, const MDB_val *value, void *out,
                                                struct whorl_fault *fault),
                                   void *out, struct whorl_fault *fault)
{
    MDB_txn *txn = whorl_store_read(registry->store, fault);
    if (txn == NULL) {
        return REGISTRY_FAILED;
    }
    MDB_val key = *wanted;
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
    const MDB_val key = key_of(id);
    return registry_id_valid(id, REGISTRY_DEVICE_MAX)
               ? look_up(registry, registry->devices, &key, entry_read_device, out, fault)
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
    if (found == REGISTRY_PRESENT && !entry_read_device(&key, &value, out, fault)) {
        found = REGISTRY_FAILED;
    }
    if (found == REGISTRY_PRESENT && memcmp(out->certificate, certificate, 32) != 0) {
        whorl_fail(fault, "registry", "the record of device %s has another certificate", out->id);
        found = REGISTRY_FAILED;
    }
    whorl_store_done(registry->store, txn);
    return found;
}

enum registry_found registry_officer(struct registry *registry, const char *id,
                                     struct registry_officer *out, struct whorl_fault *fault)
{
    const MDB_val key = key_of(id);
    return registry_id_valid(id, REGISTRY_OFFICER_MAX)
               ? look_up(registry, registry->officers, &key, entry_read_officer, out, fault)
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
    if (!entry_read_device(key, value, &device, fault)) {
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
    if (!entry_read_officer(key, value, &officer, fault)) {
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

/* What a write transaction is to do; clash is set anew by each run of it. */
struct change {
    struct registry *registry;
    const struct registry_device *device;
    const struct registry_officer *officer;
    const char *id; /* whose state is to be this */
    enum registry_state state;
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

/* Frees whatever certificate leads to an id whose entry no longer says which it is. */
static int drop_certificates_of(MDB_txn *txn, struct registry *registry, const char *id)
{
    MDB_cursor *cursor;
    MDB_val hash, owner;
    int code = mdb_cursor_open(txn, registry->certificates, &cursor);
    if (code != 0) {
        return code;
    }
    while ((code = mdb_cursor_get(cursor, &hash, &owner, MDB_NEXT)) == 0) {
        if (owner.mv_size == strlen(id) && memcmp(owner.mv_data, id, owner.mv_size) == 0) {
            code = mdb_cursor_del(cursor, 0);
        }
        if (code != 0) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

/* Frees the certificate of an entry that is about to be replaced, and tells the state that the new
 * one gets: left as it was if there is none. */
static int drop_certificate(MDB_txn *txn, struct registry *registry, const char *id,
                            enum registry_state *state)
{
    MDB_val key = key_of(id);
    MDB_val value;
    int code = mdb_get(txn, registry->devices, &key, &value);
    if (code != 0) {
        return code == MDB_NOTFOUND ? 0 : code;
    }
    struct registry_device old;
    struct whorl_fault fault;
    if (!entry_read_device(&key, &value, &old, &fault)) {
        *state = REGISTRY_SUSPENDED;
        return drop_certificates_of(txn, registry, id);
    }
    *state = old.state;
    MDB_val hash = {.mv_size = sizeof old.certificate, .mv_data = old.certificate};
    code = mdb_del(txn, registry->certificates, &hash, NULL);
    return code == MDB_NOTFOUND ? 0 : code;
}

static bool check_id(const char *id, const char *what, size_t max, struct whorl_fault *fault)
{
    return registry_id_valid(id, max) ||
           whorl_fail(fault, "id", "%s's id is 1 to %zu letters, digits and . _ - @ /", what, max);
}

/* What entry_read_* demands of a text: anything else would be stored for good, and never read. */
static bool check_text(const char *where, const char *text, size_t min, struct whorl_fault *fault)
{
    size_t len = strlen(text);
    if (len < min) {
        return whorl_fail(fault, where, "must not be empty");
    }
    return whorl_text_is_clean(text, len) ||
           whorl_fail(fault, where, "must be UTF-8 without control characters");
}

static bool check_device(const struct registry_device *device, struct whorl_fault *fault)
{
    return check_id(device->id, "a device", REGISTRY_DEVICE_MAX, fault) &&
           check_text("force", device->force, 1, fault) &&
           check_text("note", device->note, 0, fault);
}

static bool check_officer(const struct registry_officer *officer, struct whorl_fault *fault)
{
    if (!check_id(officer->id, "an officer", REGISTRY_OFFICER_MAX, fault) ||
        !check_text("force", officer->force, 1, fault) ||
        !check_text("name", officer->name, 0, fault)) {
        return false;
    }
    for (size_t i = 0; i < officer->entitlement_count; i++) {
        if (!check_text("entitlements", officer->entitlements[i], 1, fault)) {
            return false;
        }
    }
    return true;
}

static bool there_is(const char *what, const char *id, struct whorl_fault *fault)
{
    return whorl_fail(fault, "id", "there is %s %s already (--replace replaces it)", what, id);
}

static bool owned_by(int len, const char *id, struct whorl_fault *fault)
{
    return whorl_fail(fault, "certificate", "is that of device %.*s already", len, id);
}

static int write_device(MDB_txn *txn, void *arg)
{
    struct change *change = arg;
    const struct registry_device *device = change->device;
    struct registry_device kept = *device;
    change->clash = (struct whorl_fault){0};
    int code =
        change->replace ? drop_certificate(txn, change->registry, device->id, &kept.state) : 0;
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
    entry_pack_device(&kept, &packed);
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
    struct registry_officer old, kept = *change->officer;
    struct whorl_fault fault;
    MDB_val key = key_of(kept.id), value;
    change->clash = (struct whorl_fault){0};
    int code = mdb_get(txn, change->registry->officers, &key, &value);
    if (code != 0 && code != MDB_NOTFOUND) {
        return code;
    }
    if (code == 0) {
        bool good = entry_read_officer(&key, &value, &old, &fault);
        kept.state = good ? old.state : REGISTRY_SUSPENDED;
    }
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    entry_pack_officer(&kept, &packed);
    code =
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

/* To replace an entry nothing of it has to be read: that is how a damaged one is repaired. */
static bool is_there(const MDB_val *key, const MDB_val *value, void *out, struct whorl_fault *fault)
{
    (void)key, (void)value, (void)out, (void)fault;
    return true;
}

/* The id that a certificate leads to. */
static bool read_owner(const MDB_val *key, const MDB_val *value, void *out,
                       struct whorl_fault *fault)
{
    char *id = out;
    (void)key;
    if (value->mv_size > REGISTRY_DEVICE_MAX) {
        return whorl_fail(fault, "registry", "a certificate's device is damaged");
    }
    memcpy(id, value->mv_data, value->mv_size);
    id[value->mv_size] = '\0';
    return true;
}

bool registry_check_device(struct registry *registry, const struct registry_device *device,
                           bool replace, struct whorl_fault *fault)
{
    char owner[REGISTRY_DEVICE_MAX + 1];
    if (!check_device(device, fault)) {
        return false;
    }
    const MDB_val id = key_of(device->id);
    enum registry_found found = look_up(registry, registry->devices, &id, is_there, NULL, fault);
    if (found == REGISTRY_PRESENT && !replace) {
        return there_is("a device", device->id, fault);
    }
    if (found != REGISTRY_FAILED) {
        const MDB_val hash = {.mv_size = 32, .mv_data = (void *)device->certificate};
        found = look_up(registry, registry->certificates, &hash, read_owner, owner, fault);
    }
    if (found == REGISTRY_PRESENT && strcmp(owner, device->id) != 0) {
        return owned_by((int)strlen(owner), owner, fault);
    }
    return found != REGISTRY_FAILED;
}

bool registry_check_officer(struct registry *registry, const struct registry_officer *officer,
                            bool replace, struct whorl_fault *fault)
{
    if (!check_officer(officer, fault)) {
        return false;
    }
    const MDB_val id = key_of(officer->id);
    enum registry_found found = look_up(registry, registry->officers, &id, is_there, NULL, fault);
    return found == REGISTRY_PRESENT && !replace ? there_is("an officer", officer->id, fault)
                                                 : found != REGISTRY_FAILED;
}

bool registry_put_device(struct registry *registry, const struct registry_device *device,
                         bool replace, struct whorl_fault *fault)
{
    if (!check_device(device, fault)) {
        return false;
    }
    struct change change = {.registry = registry, .device = device, .replace = replace};
    return apply(&change, write_device, fault);
}

bool registry_put_officer(struct registry *registry, const struct registry_officer *officer,
                          bool replace, struct whorl_fault *fault)
{
    if (!check_officer(officer, fault)) {
        return false;
    }
    struct change change = {.registry = registry, .officer = officer, .replace = replace};
    return apply(&change, write_officer, fault);
}

/* The entry whose state is to change, as the transaction has it: whoever else changes it has done
 * so before or will find this change. */
static int read_entry(MDB_txn *txn, struct change *change, MDB_dbi dbi, const char *what,
                      bool (*read)(const MDB_val *key, const MDB_val *value, void *out,
                                   struct whorl_fault *fault),
                      void *out)
{
    MDB_val key = key_of(change->id), value;
    change->clash = (struct whorl_fault){0};
    int code = mdb_get(txn, dbi, &key, &value);
    if (code == MDB_NOTFOUND) {
        whorl_fail(&change->clash, "id", "there is no %s %s", what, change->id);
    } else if (code == 0 && !read(&key, &value, out, &change->clash)) {
        code = MDB_CORRUPTED;
    }
    return code;
}

static int write_device_state(MDB_txn *txn, void *arg)
{
    struct change *change = arg;
    struct registry_device device;
    MDB_dbi dbi = change->registry->devices;
    int code = read_entry(txn, change, dbi, "device", entry_read_device, &device);
    if (code == 0) {
        msgpack_sbuffer packed;
        msgpack_sbuffer_init(&packed);
        device.state = change->state;
        entry_pack_device(&device, &packed);
        code = put_packed(txn, dbi, device.id, &packed, true);
        msgpack_sbuffer_destroy(&packed);
    }
    return code;
}

static int write_officer_state(MDB_txn *txn, void *arg)
{
    struct change *change = arg;
    struct registry_officer officer;
    MDB_dbi dbi = change->registry->officers;
    int code = read_entry(txn, change, dbi, "officer", entry_read_officer, &officer);
    if (code == 0) {
        msgpack_sbuffer packed;
        msgpack_sbuffer_init(&packed);
        officer.state = change->state;
        entry_pack_officer(&officer, &packed);
        code = put_packed(txn, dbi, officer.id, &packed, true);
        msgpack_sbuffer_destroy(&packed);
    }
    return code;
}

bool registry_set_device_state(struct registry *registry, const char *id, enum registry_state state,
                               struct whorl_fault *fault)
{
    struct change change = {.registry = registry, .id = id, .state = state};
    return check_id(id, "a device", REGISTRY_DEVICE_MAX, fault) &&
           apply(&change, write_device_state, fault);
}

bool registry_set_officer_state(struct registry *registry, const char *id,
                                enum registry_state state, struct whorl_fault *fault)
{
    struct change change = {.registry = registry, .id = id, .state = state};
    return check_id(id, "an officer", REGISTRY_OFFICER_MAX, fault) &&
           apply(&change, write_officer_state, fault);
}
