/* The questions that forces were asked under the Freedom of Information Act, answered for a period.
 */
#ifndef CLI_REPORT_FOI_H
#define CLI_REPORT_FOI_H

#include "report/document.h"
#include "report/facts.h"
#include "report/scan.h"

/* Builds it into an empty document. force: its code and title, or "all". false: out of memory. */
bool foi_build(const struct facts *facts, const struct scan *scan, const char *force,
               const char *force_title, struct document *doc);

#endif
