/* Facts counted by one property of a use. */
#ifndef CLI_REPORT_GROUP_H
#define CLI_REPORT_GROUP_H

#include "report/facts.h"

enum dimension {
    BY_OFFICER,
    BY_DEVICE,
    BY_BASIS,
    BY_STOP_POWER,
    BY_REASON_CODE,
    BY_CONSENT,
    BY_CONDITION,
    BY_ETHNICITY_OFFICER,
    BY_ETHNICITY_SELF,
    BY_GENDER,
    BY_AGE_BAND,
    BY_OUTCOME,
    BY_HOUR,
    BY_WEEKDAY,
    DIMENSIONS
};

struct group_row {
    char code[68]; /* as the records have it; "" = not recorded */
    char label[96];
    int64_t uses, persons, identifications;
};

struct group {
    struct group_row *rows;
    uint32_t count;
};

/* A dimension's name in data files, and for people. */
const char *group_id(enum dimension dimension);
const char *group_title(enum dimension dimension);
/* Its values are a closed list, which is shown whole; otherwise they come from records. */
bool group_is_closed(enum dimension dimension);

/* Counts. Closed lists keep their order, and every code is there; others are sorted by uses, then
 * by code. The last row is that of uses that don't say, if there are any. false: out of memory. */
bool group_by(const struct facts *facts, enum dimension dimension, struct group *group);
void group_release(struct group *group);

#endif
