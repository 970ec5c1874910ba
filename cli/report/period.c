#include "report/period.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UK_TIME "GMT0BST,M3.5.0/1,M10.5.0/2"

void period_use_uk_time(void)
{
    setenv("TZ", UK_TIME, 1);
    tzset();
}

int64_t period_day_start(int year, int month, int day)
{
    struct tm local = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_isdst = -1};
    return (int64_t)mktime(&local) * 1000;
}

struct local_time period_local(int64_t time_ms)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm local = {0};
    localtime_r(&seconds, &local);
    return (struct local_time){
        .year = local.tm_year + 1900,
        .month = local.tm_mon + 1,
        .day = local.tm_mday,
        .hour = local.tm_hour,
        .weekday = (local.tm_wday + 6) % 7,
    };
}

static void name_day(int64_t time_ms, char text[16])
{
    struct local_time day = period_local(time_ms);
    snprintf(text, 16, "%04u-%02u-%02u", (unsigned)day.year % 10000, (unsigned)day.month % 100,
             (unsigned)day.day % 100);
}

static void name_days(struct period *period)
{
    name_day(period->from, period->first);
    name_day(period->until - 1, period->last);
}

/* Digits only: strptime would take signs and blanks. */
static bool read_digits(const char *text, size_t count, int *value)
{
    *value = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        *value = *value * 10 + (text[i] - '0');
    }
    return true;
}

bool period_of_month(const char *text, struct period *period)
{
    int year, month;
    if (strlen(text) != 7 || !read_digits(text, 4, &year) || text[4] != '-' ||
        !read_digits(text + 5, 2, &month) || year < 1970 || month < 1 || month > 12) {
        return false;
    }
    period->from = period_day_start(year, month, 1);
    period->until = period_day_start(year, month + 1, 1);
    name_days(period);
    return true;
}

static bool valid_day(int year, int month, int day)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month < 1 || month > 12 || day < 1) {
        return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static bool read_day_parts(const char *text, int *year, int *month, int *day)
{
    return read_digits(text, 4, year) && text[4] == '-' && read_digits(text + 5, 2, month) &&
           text[7] == '-' && read_digits(text + 8, 2, day) && *year >= 1970 &&
           valid_day(*year, *month, *day);
}

bool period_of_days(const char *first, const char *last, struct period *period)
{
    int year, month, day;
    if (strlen(first) != 10 || strlen(last) != 10 || !read_day_parts(first, &year, &month, &day)) {
        return false;
    }
    period->from = period_day_start(year, month, day);
    if (!read_day_parts(last, &year, &month, &day)) {
        return false;
    }
    period->until = period_day_start(year, month, day + 1);
    name_days(period);
    return period->from < period->until;
}

bool period_read_time(const char *text, int64_t *time_ms)
{
    static const char form[] = "0000-00-00T00:00:00.000Z";
    int year, month, day, hour, minute, second, ms;
    if (strlen(text) != sizeof form - 1) {
        return false;
    }
    for (size_t i = 0; form[i] != '\0'; i++) {
        if (form[i] != '0' && text[i] != form[i]) {
            return false;
        }
    }
    if (!read_day_parts(text, &year, &month, &day) || !read_digits(text + 11, 2, &hour) ||
        !read_digits(text + 14, 2, &minute) || !read_digits(text + 17, 2, &second) ||
        !read_digits(text + 20, 3, &ms) || hour > 23 || minute > 59 || second > 60) {
        return false;
    }
    struct tm utc = {.tm_year = year - 1900,
                     .tm_mon = month - 1,
                     .tm_mday = day,
                     .tm_hour = hour,
                     .tm_min = minute,
                     .tm_sec = second};
    *time_ms = (int64_t)timegm(&utc) * 1000 + ms;
    return true;
}
