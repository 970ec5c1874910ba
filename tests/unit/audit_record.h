/* Records for tests of the audit log. */
#ifndef TESTS_AUDIT_RECORD_H
#define TESTS_AUDIT_RECORD_H

#include <stdint.h>
#include <stdlib.h>

#include "whorl/msg.h"

/* {"n": n, "pad": size bytes}. */
static inline msgpack_sbuffer audit_record_of(unsigned n, size_t size)
{
    msgpack_sbuffer out;
    msgpack_packer pk;
    uint8_t *pad = calloc(1, size + 1);
    msgpack_sbuffer_init(&out);
    msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 2);
    whorl_put_int(&pk, "n", n);
    whorl_put_bin(&pk, "pad", pad, size);
    free(pad);
    return out;
}

#endif
