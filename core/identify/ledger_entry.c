#include "core/identify/ledger_entry.h"

#include <stdio.h>

#include "core/packed/packed.h"
#include "whorl/msg.h"

void ledger_entry_pack(const struct ledger_entry *entry, msgpack_sbuffer *packed)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, packed, packed_write);
    msgpack_pack_map(&pk, 4);
    whorl_put_str(&pk, "request_id", entry->request_id);
    whorl_put_str(&pk, "device", entry->device);
    whorl_put_str(&pk, "officer", entry->officer);
    whorl_put_str(&pk, "force", entry->force);
}

bool ledger_entry_read(const MDB_val *value, const char *transaction, struct ledger_entry *out,
                       struct whorl_fault *fault)
{
    struct whorl_msg msg;
    if (!whorl_msg_parse(value->mv_data, value->mv_size, &msg, fault)) {
        return false;
    }
    struct whorl_field f[] = {
        {.name = "request_id", .type = WHORL_FIELD_STR, .required = true, .min = 8, .max = 64},
        {.name = "device", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 64},
        {.name = "officer", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
        {.name = "force", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
    };
    bool good = whorl_fields_read(&msg.root, "", f, 4, fault);
    if (good) {
        snprintf(out->transaction, sizeof out->transaction, "%s", transaction);
        good = whorl_str_copy(f[0].value, out->request_id, sizeof out->request_id) &&
               whorl_str_copy(f[1].value, out->device, sizeof out->device) &&
               whorl_str_copy(f[2].value, out->officer, sizeof out->officer) &&
               whorl_str_copy(f[3].value, out->force, sizeof out->force);
    }
    whorl_msg_release(&msg);
    return good ||
           whorl_fail(fault, "requests", "the entry of transaction %s is damaged", transaction);
}
