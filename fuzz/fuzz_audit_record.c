/* What the audit log takes in and what it reads back: records, entries. */
#include <stdlib.h>

#include "plugins/audit/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct whorl_fault fault;
    struct audit_entry entry;
    audit_record_check(bytes, len, &fault);
    if (!audit_entry_read(bytes, len, &entry)) {
        return 0;
    }
    if (entry.form == AUDIT_WHOLE &&
        (entry.record + entry.record_len != bytes + len || entry.record_len == 0)) {
        abort();
    }
    if (entry.form == AUDIT_ERASED && entry.record != NULL) {
        abort();
    }
    return 0;
}
