/* What the core stores: the first byte says whether a device, an officer or a transaction follows.
 * Of the first two the bytes up to the first zero are the id. What is read is stored in bytes that
 * are read again to the same. */
#include <string.h>

#include "core/identify/ledger_entry.h"
#include "core/registry/entry.h"
#include "fuzz.h"

typedef bool read_fn(const MDB_val *key, const MDB_val *value, void *out,
                     struct whorl_fault *fault);

static bool read_pair(read_fn *read, const uint8_t *bytes, size_t len, MDB_val *key, void *out)
{
    struct whorl_fault fault = {{0}, {0}};
    const uint8_t *end = memchr(bytes, 0, len);
    if (end == NULL) {
        return false;
    }
    *key = (MDB_val){(size_t)(end - bytes), (void *)bytes};
    MDB_val value = {len - key->mv_size - 1, (void *)(end + 1)};
    bool good = read(key, &value, out, &fault);
    FUZZ_CHECK(good || fault.text[0] != '\0');
    return good;
}

static void read_again(read_fn *read, const MDB_val *key, msgpack_sbuffer *packed, void *out)
{
    struct whorl_fault fault = {{0}, {0}};
    MDB_val value = {packed->size, packed->data};
    FUZZ_CHECK(read(key, &value, out, &fault));
    msgpack_sbuffer_destroy(packed);
}

static void read_device(const uint8_t *bytes, size_t len)
{
    struct registry_device device, again;
    msgpack_sbuffer packed;
    MDB_val key;
    if (read_pair(entry_read_device, bytes, len, &key, &device)) {
        FUZZ_CHECK(registry_id_valid(device.id, REGISTRY_DEVICE_MAX));
        msgpack_sbuffer_init(&packed);
        entry_pack_device(&device, &packed);
        read_again(entry_read_device, &key, &packed, &again);
        FUZZ_CHECK(memcmp(device.certificate, again.certificate, 32) == 0);
        FUZZ_CHECK(strcmp(device.id, again.id) == 0 && strcmp(device.force, again.force) == 0);
        FUZZ_CHECK(device.state == again.state && device.gateway == again.gateway);
        FUZZ_CHECK(device.added == again.added && strcmp(device.note, again.note) == 0);
    }
}

static void read_officer(const uint8_t *bytes, size_t len)
{
    struct registry_officer officer, again;
    msgpack_sbuffer packed;
    MDB_val key;
    if (read_pair(entry_read_officer, bytes, len, &key, &officer)) {
        FUZZ_CHECK(registry_id_valid(officer.id, REGISTRY_OFFICER_MAX));
        FUZZ_CHECK(officer.entitlement_count <= REGISTRY_ENTITLEMENTS_MAX);
        msgpack_sbuffer_init(&packed);
        entry_pack_officer(&officer, &packed);
        read_again(entry_read_officer, &key, &packed, &again);
        FUZZ_CHECK(strcmp(officer.id, again.id) == 0 && strcmp(officer.force, again.force) == 0);
        FUZZ_CHECK(officer.state == again.state && strcmp(officer.name, again.name) == 0);
        FUZZ_CHECK(officer.valid_from == again.valid_from && officer.added == again.added);
        FUZZ_CHECK(officer.valid_until == again.valid_until);
        FUZZ_CHECK(officer.entitlement_count == again.entitlement_count);
        for (size_t i = 0; i < officer.entitlement_count; i++) {
            FUZZ_CHECK(registry_officer_has(&again, officer.entitlements[i]));
        }
    }
}

static void read_transaction(const uint8_t *bytes, size_t len)
{
    static const char transaction[] = "0190b6a0-0000-7000-8000-000000000001";
    struct ledger_entry entry, again;
    struct whorl_fault fault = {{0}, {0}};
    msgpack_sbuffer packed;
    MDB_val value = {len, (void *)bytes};
    if (!ledger_entry_read(&value, transaction, &entry, &fault)) {
        FUZZ_CHECK(fault.text[0] != '\0');
        return;
    }
    msgpack_sbuffer_init(&packed);
    ledger_entry_pack(&entry, &packed);
    value = (MDB_val){packed.size, packed.data};
    FUZZ_CHECK(ledger_entry_read(&value, transaction, &again, &fault));
    msgpack_sbuffer_destroy(&packed);
    FUZZ_CHECK(strcmp(entry.transaction, again.transaction) == 0);
    FUZZ_CHECK(strcmp(entry.request_id, again.request_id) == 0);
    FUZZ_CHECK(strcmp(entry.device, again.device) == 0 && strcmp(entry.force, again.force) == 0);
    FUZZ_CHECK(strcmp(entry.officer, again.officer) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len == 0) {
        return 0;
    }
    if (bytes[0] & 1) {
        read_device(bytes + 1, len - 1);
    } else if (bytes[0] & 2) {
        read_officer(bytes + 1, len - 1);
    } else {
        read_transaction(bytes + 1, len - 1);
    }
    return 0;
}
