/* Unusual activity: explained flags for a standards department to follow, never a finding. The
 * methods and their limits are in docs/reports.md. */
#ifndef CLI_REPORT_UNUSUAL_H
#define CLI_REPORT_UNUSUAL_H

#include "report/activity.h"
#include "report/document.h"
#include "report/others.h"
#include "report/scan.h"
#include "report/stats.h"

enum unusual_kind {
    UNUSUAL_SELF,
    UNUSUAL_COLLEAGUE,
    UNUSUAL_TRAVEL,
    UNUSUAL_HOURS, /* the first of the tests; before it are rules */
    UNUSUAL_VOLUME,
    UNUSUAL_REPEAT,
    UNUSUAL_OUTCOME,
    UNUSUAL_HITS,
    UNUSUAL_REASON,
    UNUSUAL_KINDS
};

struct unusual_options {
    const char *force, *force_title;
    double budget;  /* false alerts for 1000 officers */
    double percent; /* of uses in the random sample */
    const char *seed;
    bool has_roster, has_identities, has_positions;
};

struct flag {
    enum unusual_kind kind;
    uint32_t officer;
    double p, q; /* of a rule: 0 */
    char why[512];
    uint32_t first, count; /* its evidence */
};

/* What became of one kind. */
struct family {
    const char *skipped; /* why it was not looked for; NULL: it was */
    uint32_t tested, flagged;
    char usual[200]; /* what is usual, as fitted */
};

struct unusual {
    const struct activity *activity;
    const struct others *others;
    const struct unusual_options *options;
    double limit;       /* a test flags an officer at this p or below */
    struct flag *flags; /* ranked when unusual_find returns */
    uint32_t flag_count, flag_cap;
    uint32_t *evidence; /* rows of facts */
    uint32_t evidence_count, evidence_cap;
    struct family families[UNUSUAL_KINDS];
    uint32_t *sample; /* rows of facts, drawn first to last */
    uint32_t sample_count;
    uint32_t unrostered; /* officers with uses who are not in the roster */
    bool failed;         /* out of memory */
};

extern const char *const unusual_ids[UNUSUAL_KINDS], *const unusual_titles[UNUSUAL_KINDS];

/* Looks for everything. activity is finished. false: out of memory. Release it in any case. */
bool unusual_find(const struct activity *activity, const struct others *others,
                  const struct unusual_options *options, struct unusual *unusual);
void unusual_release(struct unusual *unusual);

/* Builds the report into an empty document. root: of the audit log's checkpoint. false: out of
 * memory. */
bool unusual_build(const struct unusual *unusual, const struct scan *scan, const char *checkpoint,
                   struct document *doc);

/* ------------------------------------------------------------------ parts */

/* An officer's encounters. */
static inline const struct encounter *unusual_of(const struct unusual *unusual, uint32_t officer,
                                                 uint32_t *count)
{
    const uint32_t *starts = unusual->activity->starts;
    *count = starts[officer + 1] - starts[officer];
    return &unusual->activity->encounters[starts[officer]];
}

static inline uint32_t unusual_officers(const struct unusual *unusual)
{
    return unusual->activity->facts.officers.count;
}

/* Begins a flag; NULL without memory. Then its evidence, in order. */
struct flag *unusual_flag(struct unusual *unusual, enum unusual_kind kind, uint32_t officer,
                          double p, double q);
void unusual_evidence(struct unusual *unusual, uint32_t row);

/* Says why one officer is flagged, and puts the evidence there. */
typedef void unusual_explain(struct unusual *unusual, void *ctx, uint32_t officer,
                             struct flag *flag);

/* Ends a kind of test: p for each officer, above 1 for those not tested. */
void unusual_conclude(struct unusual *unusual, enum unusual_kind kind, const double *p,
                      unusual_explain *explain, void *ctx);

/* The kinds. */
void unusual_people(struct unusual *unusual);
void unusual_travel(struct unusual *unusual);
void unusual_hours(struct unusual *unusual);
void unusual_volume(struct unusual *unusual);
void unusual_repeat(struct unusual *unusual);
void unusual_shares(struct unusual *unusual);

/* Time as a reader has it: 2026-11-05 14:03. */
void unusual_time(int64_t time_ms, char text[32]);

#endif
