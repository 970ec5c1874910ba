/* The closed lists that records use, with what each code means to a reader. The order is the one
 * that reports show them in. */
#ifndef CLI_REPORT_CODES_H
#define CLI_REPORT_CODES_H

#include <stddef.h>
#include <stdint.h>

struct code {
    const char *code, *label;
};

/* A list; the entry after the last stands for "not recorded". */
struct code_list {
    const struct code *codes;
    uint8_t count;
};

extern const struct code_list codes_class, codes_condition, codes_consent, codes_gender,
    codes_age_band, codes_ethnicity_officer, codes_ethnicity_self, codes_reason_code, codes_outcome,
    codes_weekday;

/* Of enum order in codes_class. */
enum {
    CLASS_MATCH,
    CLASS_POSSIBLE,
    CLASS_NO_MATCH,
    CLASS_POOR,
    CLASS_UNAVAILABLE,
    CLASS_NOT_ASKED
};

/* Of codes_outcome: the first two are arrests. */
enum { OUTCOME_ARRESTED_CRIME, OUTCOME_ARRESTED_IMMIGRATION };

/* The place of a text in the list; list->count if it is not there. */
uint8_t codes_find(const struct code_list *list, const char *text, size_t len);

#endif
