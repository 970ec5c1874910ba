/* The monthly report for the PNC Bureau, Professional Standards and Information Management, and the
 * parts of it that other reports share. */
#ifndef CLI_REPORT_MONTH_H
#define CLI_REPORT_MONTH_H

#include "report/document.h"
#include "report/facts.h"
#include "report/group.h"
#include "report/scan.h"

/* What a trip to custody would have cost. */
struct custody_rates {
    double hours;  /* in custody, for each trip */
    double pounds; /* for each hour */
};

struct month_options {
    const char *force, *force_title;
    struct custody_rates rates;
    int64_t devices; /* registered to the force; where more were used, those count */
};

/* Totals over a period; facts are finished. */
struct totals {
    int64_t transactions, uses, persons, identifications;
    int64_t refusals, contacted_control, without_outcome, devices_used;
    int64_t custody_avoided; /* identifications whose recorded outcome is no arrest */
    int64_t elapsed_mean_ms, elapsed_p95_ms; /* of uses; p95 by nearest rank */
};

/* false: out of memory. */
bool month_totals(const struct facts *facts, struct totals *totals);

/* Builds the report into an empty document. false: out of memory. */
bool month_build(const struct facts *facts, const struct scan *scan,
                 const struct month_options *options, struct document *doc);

/* Parts: how things are counted, and what was read of the log. */
void month_definitions(struct document *doc);
void month_source(struct document *doc, const struct scan *scan);
void month_answers(struct document *doc, const struct facts *facts);
void month_group(struct document *doc, const struct facts *facts, enum dimension dimension);
void month_refused(struct document *doc, const struct facts *facts);
/* backend × answer class over all transactions that are uses. */
void month_class_counts(const struct facts *facts, uint32_t backend, int64_t counts[7]);

#endif
