/* Uses as unusual activity is looked for in: what facts.h counts, and of each use the record, the
 * reason and whom it found. */
#ifndef CLI_REPORT_ACTIVITY_H
#define CLI_REPORT_ACTIVITY_H

#include "report/facts.h"
#include "report/names.h"

/* One encounter: a use, and those that scan again for it (facts_scans_again), unless they find
 * another person. */
struct encounter {
    uint32_t row;    /* of the first: its time, officer and device count */
    uint32_t reason; /* number; NAMES_NONE: none was recorded */
    uint32_t person; /* number of who was found or claimed to be; NAMES_NONE: not known */
    bool found;      /* a search answered match */
    bool outcome;    /* somebody recorded one */
};

struct activity {
    struct facts facts;
    uint64_t *positions;        /* of each row's record in the log */
    uint32_t *reasons, *people; /* of each row */
    uint32_t cap;
    struct names references; /* BACKEND/REFERENCE of matches, and FAMILY|GIVEN|BORN as claimed */
    struct names texts;      /* reasons, folded */
    struct {
        uint32_t row, reference;
    } * matches; /* all of them */
    uint32_t match_count, match_cap;
    struct encounter *encounters; /* by officer, then by time */
    uint32_t count;
    uint32_t *starts; /* of each officer's; one more at the end */
    int64_t last_ms;  /* the last record of any kind */
};

void activity_begin(struct activity *activity, const struct period *period, const char *force);
/* Takes one record, in the order of the log. false: too much, facts.trouble says what. */
bool activity_add(struct activity *activity, uint64_t position, const struct record *record);
/* After the last record. false: out of memory. */
bool activity_finish(struct activity *activity);
void activity_release(struct activity *activity);

static inline const struct transaction *activity_row(const struct activity *activity,
                                                     const struct encounter *encounter)
{
    return &activity->facts.rows[encounter->row];
}

#endif
