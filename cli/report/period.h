/* The time that a report is about.
 *
 * The log's times are UTC. A report is read beside rosters and by people who mean the clock on the
 * wall, so its days, hours and months are those of the United Kingdom: GMT, and from 01:00 UTC on
 * the last Sunday of March to 01:00 UTC on the last Sunday of October one hour more (Summer Time
 * Act 1972 as amended in 2002). The rule is given to the C library itself, so that the answer does
 * not depend on the machine's time zone or on whether it has a time zone database. */
#ifndef CLI_REPORT_PERIOD_H
#define CLI_REPORT_PERIOD_H

#include <stdbool.h>
#include <stdint.h>

struct period {
    int64_t from, until; /* milliseconds since 1970, UTC; until is exclusive */
    char first[16];      /* its first day, YYYY-MM-DD */
    char last[16];       /* its last day */
};

struct local_time {
    int year, month, day; /* month and day from 1 */
    int hour;             /* 0-23 */
    int weekday;          /* 0 = Monday */
};

/* Makes this process's local time that of the United Kingdom. Before anything else here. */
void period_use_uk_time(void);

/* "2026-11"; false if text is no month from 1970 on. */
bool period_of_month(const char *text, struct period *period);

/* From the first to the last of these days ("2026-11-01"), both included; false if one is no day or
 * they are the wrong way round. */
bool period_of_days(const char *first, const char *last, struct period *period);

/* Pure function but for the time zone. */
struct local_time period_local(int64_t time_ms);

/* Midnight at the beginning of a day; days beyond the month's end count on. */
int64_t period_day_start(int year, int month, int day);

/* Milliseconds since 1970 of RFC 3339 in UTC with milliseconds, as the log writes it; false if text
 * is not exactly that. */
bool period_read_time(const char *text, int64_t *time_ms);

#endif
