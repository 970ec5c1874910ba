#include "erasure.h"

#include <stdlib.h>
#include <string.h>

#include "whorl/msg.h"

/* The record of ids from `first` on. */
static void pack(const struct audit_writer *writer, const struct erasure *erasure, size_t first,
                 msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, msgpack_sbuffer_write);
    audit_writer_begin(writer, &pk, "erasure", erasure->event, 4);
    whorl_put_str(&pk, "store", erasure->store);
    whorl_put_str(&pk, "before", erasure->before);
    whorl_put_int(&pk, "count", erasure->count);
    whorl_put_key(&pk, "ids");
    size_t left = erasure->id_count - first;
    size_t here = left < ERASURE_IDS_MAX ? left : ERASURE_IDS_MAX;
    msgpack_pack_array(&pk, here);
    for (size_t i = 0; i < here; i++) {
        const char *id = erasure->ids[first + i];
        msgpack_pack_str_with_body(&pk, id, strlen(id));
    }
}

bool erasure_record(struct audit_writer *writer, const struct erasure *erasure,
                    struct whorl_fault *fault)
{
    size_t count = erasure->id_count == 0 ? 1 : (erasure->id_count - 1) / ERASURE_IDS_MAX + 1;
    msgpack_sbuffer *packed = calloc(count, sizeof *packed);
    if (packed == NULL) {
        return whorl_fail(fault, "", "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        pack(writer, erasure, i * ERASURE_IDS_MAX, &packed[i]);
    }
    bool ok = audit_writer_append(writer, packed, count, NULL, fault);
    for (size_t i = 0; i < count; i++) {
        msgpack_sbuffer_destroy(&packed[i]);
    }
    free(packed);
    return ok;
}
