#include "report/codes.h"

#include <string.h>

#define LIST(name, ...)                                                                            \
    static const struct code name##_entries[] = {__VA_ARGS__};                                     \
    const struct code_list codes_##name = {name##_entries,                                         \
                                           sizeof name##_entries / sizeof *name##_entries}

LIST(class, {"match", "Match"}, {"possible", "Possible: a person must judge"},
     {"no_match", "No match after a complete search"}, {"poor_quality", "Poor quality"},
     {"unavailable", "Unavailable"}, {"not_searched", "Not searched"});

LIST(condition, {"adult", "Adult"}, {"child", "Child"}, {"unconscious", "Unconscious"},
     {"deceased", "Deceased"});

LIST(consent, {"given", "Given"}, {"given_by_guardian", "Given by a guardian"},
     {"refused", "Refused"}, {"not_asked", "Not asked"}, {"unable", "Unable to consent"});

LIST(gender, {"male", "Male"}, {"female", "Female"}, {"other", "Other"}, {"unknown", "Unknown"});

LIST(age_band, {"0-9", "0 to 9"}, {"10-17", "10 to 17"}, {"18-24", "18 to 24"},
     {"25-34", "25 to 34"}, {"35-49", "35 to 49"}, {"50-64", "50 to 64"}, {"65+", "65 and over"});

/* The police's own codes for what an officer perceives (PNC "IC" codes; 0: could not tell). */
LIST(ethnicity_officer, {"1", "White - North European"}, {"2", "White - South European"},
     {"3", "Black"}, {"4", "Asian"}, {"5", "Chinese, Japanese or South East Asian"},
     {"6", "Middle Eastern"}, {"0", "Unknown"});

/* The 18+1 self-defined codes, as the census of 2011 groups them. */
LIST(ethnicity_self, {"W1", "White - British"}, {"W2", "White - Irish"},
     {"W3", "White - Gypsy or Irish Traveller"}, {"W9", "White - any other"},
     {"M1", "Mixed - White and Black Caribbean"}, {"M2", "Mixed - White and Black African"},
     {"M3", "Mixed - White and Asian"}, {"M9", "Mixed - any other"}, {"A1", "Asian - Indian"},
     {"A2", "Asian - Pakistani"}, {"A3", "Asian - Bangladeshi"}, {"A4", "Asian - Chinese"},
     {"A9", "Asian - any other"}, {"B1", "Black - Caribbean"}, {"B2", "Black - African"},
     {"B9", "Black - any other"}, {"O2", "Other - Arab"}, {"O9", "Other - any other"},
     {"NS", "Not stated"});

LIST(reason_code, {"0", "Audit check"}, {"1", "Vehicle or person stopped"}, {"2", "Moving vehicle"},
     {"3", "Abandoned or parked vehicle"}, {"4", "Collision"}, {"5", "Process or investigation"},
     {"6", "Administration"}, {"7", "Child access or family protection"},
     {"8", "Other authorised agency"}, {"9", "Update, confirm, broadcast"});

LIST(outcome, {"arrested_crime", "Arrested for a crime"},
     {"arrested_immigration", "Arrested for immigration"}, {"reported", "Reported"},
     {"released", "Released"}, {"hospital", "Taken to hospital"},
     {"victim_identified", "Victim identified"}, {"wrong_person", "Wrong person"},
     {"no_further_action", "No further action"});

LIST(weekday, {"1", "Monday"}, {"2", "Tuesday"}, {"3", "Wednesday"}, {"4", "Thursday"},
     {"5", "Friday"}, {"6", "Saturday"}, {"7", "Sunday"});

uint8_t codes_find(const struct code_list *list, const char *text, size_t len)
{
    uint8_t i = 0;
    while (i < list->count &&
           (strlen(list->codes[i].code) != len || memcmp(list->codes[i].code, text, len) != 0)) {
        i++;
    }
    return i;
}
