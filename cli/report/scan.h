/* Reading the audit log once, from its beginning to its end as it is then. */
#ifndef CLI_REPORT_SCAN_H
#define CLI_REPORT_SCAN_H

#include "report/record.h"

/* What was read, for the report to say. */
struct scan {
    uint64_t records, erased;
    uint64_t malformed;       /* have not the form of their kind: they are in no count */
    uint64_t first_malformed; /* its position */
    char why[160];            /* what is wrong with that one */
    char last_time[32];       /* of the last record; "" = none */
};

/* What is given each record, with the whole of it as msgpack. Returns whether to go on. */
typedef bool scan_visit(void *ctx, uint64_t position, const struct record *record,
                        const msgpack_object *root);

/* Visits every record of the audit log in directory dir that is not erased and has the form of its
 * kind. On a terminal (standard error) it shows how far it is. false with *fault. */
bool scan_log(const char *dir, scan_visit *visit, void *ctx, struct scan *scan,
              struct whorl_fault *fault);

#endif
