#include "cli/day.h"

#include <stdio.h>
#include <time.h>

/* strptime would take blanks and signs: what is compared as text later must have one form only. */
static bool has_form_of_day(const char *text)
{
    static const char form[] = "0000-00-00";
    for (size_t i = 0; i < sizeof form; i++) {
        if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i]) {
            return false;
        }
    }
    return true;
}

bool read_day(const char *text, int64_t *seconds)
{
    struct tm day = {0};
    if (!has_form_of_day(text) || strptime(text, "%Y-%m-%d", &day) == NULL) {
        return false;
    }
    struct tm again = day;
    *seconds = timegm(&again);
    /* A day that the calendar doesn't have comes out as another one. */
    return again.tm_mday == day.tm_mday && *seconds > 0;
}

void print_day(int64_t seconds, char text[16])
{
    time_t time = (time_t)seconds;
    struct tm utc;
    if (seconds == 0 || gmtime_r(&time, &utc) == NULL) {
        snprintf(text, 16, "-");
    } else {
        strftime(text, 16, "%Y-%m-%d", &utc);
    }
}
