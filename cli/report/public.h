/* The report for publication. */
#ifndef CLI_REPORT_PUBLIC_H
#define CLI_REPORT_PUBLIC_H

#include "report/document.h"
#include "report/facts.h"
#include "report/month.h"
#include "report/scan.h"

struct public_options {
    const char *force, *force_title; /* "all" and what stands for it, if no force is asked for */
    int64_t threshold;               /* counts of 1 to threshold - 1 are not published; >= 2 */
    struct custody_rates rates;
};

/* Builds the report into an empty document: no officers, no devices, no small numbers. false: out
 * of memory. */
bool public_build(const struct facts *facts, const struct public_options *options,
                  struct document *doc);

/* What each column, table, measure and mark of its data files means. false: out of memory. */
bool public_dictionary(const struct document *report, const struct public_options *options,
                       struct document *doc);

#endif
