/* PNC records: a line that is read is stored in bytes that are read again to the same. */
#include <stdlib.h>
#include <string.h>

#include "plugins/pnc/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct pnc_record record, again;
    struct whorl_fault fault;
    if (pnc_record_from_json((const char *)bytes, len, 2026, &record, &fault)) {
        if (!pnc_record_from_bytes(record.bytes, record.len, &again, &fault) ||
            strcmp(record.pncid, again.pncid) != 0 || strcmp(record.cro, again.cro) != 0) {
            abort();
        }
        pnc_record_release(&again);
        pnc_record_release(&record);
    }
    if (pnc_record_from_bytes(bytes, len, &record, &fault)) {
        pnc_record_release(&record);
    }
    return 0;
}
