/* What a report shows of people, said in the audit log before any of it is shown (Data Protection
 * Act 2018, section 62): for the commands whose reports name officers or tell of a person. */
#ifndef CLI_REPORT_DISCLOSURE_H
#define CLI_REPORT_DISCLOSURE_H

#include <stdbool.h>
#include <stdint.h>

#include "report/names.h"
#include "report/report.h"

#define DISCLOSURE_NAMES_MAX 200u /* in one record */
#define DISCLOSURE_NONE (-1)      /* such a report has no flags, no sample */

struct disclosure {
    const char *report;               /* the sub-command's name, the record's event */
    const struct period *period;      /* NULL: all that the log holds */
    int64_t flags, sample;            /* how many, or DISCLOSURE_NONE */
    const struct names *officers;     /* who are named; NULL: such a report names none */
    const struct names *transactions; /* a person's; NULL: such a report is about nobody */
};

/* Writes one record per DISCLOSURE_NAMES_MAX names (one if there are none), all in one transaction.
 * Nothing may be shown before it returns true; otherwise *fault. */
bool report_disclose(const struct report_source *source, const struct disclosure *disclosure,
                     struct whorl_fault *fault);

#endif
