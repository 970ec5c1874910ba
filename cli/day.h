/* Days of the calendar, as commands and manifests write them. */
#ifndef CLI_DAY_H
#define CLI_DAY_H

#include <stdbool.h>
#include <stdint.h>

/* YYYY-MM-DD, its beginning in UTC, as seconds since 1970; false if text is no such date, or none
 * after 1970-01-01. */
bool read_day(const char *text, int64_t *seconds);

/* The same the other way round; "-" for 0. */
void print_day(int64_t seconds, char text[16]);

#endif
