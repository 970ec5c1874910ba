#include "report/disclosure.h"

#include <stdlib.h>
#include <string.h>

#include "cli/audit/audit_writer.h"
#include "core/packed/packed.h"
#include "whorl/msg.h"

#define FIELDS 7u /* of the kind, beside those that every such record has */

static void put_count(msgpack_packer *pk, const char *key, int64_t count)
{
    if (count == DISCLOSURE_NONE) {
        whorl_put_str(pk, key, NULL);
    } else {
        whorl_put_int(pk, key, count);
    }
}

/* Those from `first` on that fit into one record. */
static void put_names(msgpack_packer *pk, const char *key, const struct names *names,
                      uint32_t first)
{
    if (names == NULL) {
        whorl_put_str(pk, key, NULL);
        return;
    }
    uint32_t left = names->count > first ? names->count - first : 0;
    uint32_t here = left < DISCLOSURE_NAMES_MAX ? left : DISCLOSURE_NAMES_MAX;
    whorl_put_key(pk, key);
    msgpack_pack_array(pk, here);
    for (uint32_t i = first; i < first + here; i++) {
        msgpack_pack_str_with_body(pk, names->texts[i], strlen(names->texts[i]));
    }
}

static void pack(const struct audit_writer *writer, const struct report_source *source,
                 const struct disclosure *disclosure, uint32_t first, msgpack_sbuffer *out)
{
    msgpack_packer pk;
    const struct period *period = disclosure->period;
    msgpack_packer_init(&pk, out, packed_write);
    audit_writer_begin(writer, &pk, "report", disclosure->report, FIELDS);
    whorl_put_str(&pk, "force", source->force != NULL ? source->force->code : NULL);
    whorl_put_str(&pk, "from", period != NULL ? period->first : NULL);
    whorl_put_str(&pk, "to", period != NULL ? period->last : NULL);
    put_count(&pk, "flags", disclosure->flags);
    put_count(&pk, "sample", disclosure->sample);
    put_names(&pk, "officers", disclosure->officers, first);
    put_names(&pk, "transactions", disclosure->transactions, first);
}

static uint32_t records_of(const struct names *names)
{
    return names == NULL || names->count == 0 ? 1 : (names->count - 1) / DISCLOSURE_NAMES_MAX + 1;
}

bool report_disclose(const struct report_source *source, const struct disclosure *disclosure,
                     struct whorl_fault *fault)
{
    uint32_t officers = records_of(disclosure->officers);
    uint32_t transactions = records_of(disclosure->transactions);
    uint32_t records = officers > transactions ? officers : transactions;
    struct audit_writer *writer = audit_writer_open(source->conf, fault);
    if (writer == NULL) {
        return false;
    }
    msgpack_sbuffer *packed = calloc(records, sizeof *packed);
    bool ok = packed != NULL || whorl_fail(fault, "", "out of memory");
    for (uint32_t i = 0; ok && i < records; i++) {
        pack(writer, source, disclosure, i * DISCLOSURE_NAMES_MAX, &packed[i]);
    }
    ok = ok && audit_writer_append(writer, packed, records, NULL, fault);
    for (uint32_t i = 0; packed != NULL && i < records; i++) {
        msgpack_sbuffer_destroy(&packed[i]);
    }
    free(packed);
    audit_writer_close(writer);
    return ok;
}
