#include "core/identify/stamp.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

int64_t stamp_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool stamp_uuid(int64_t time_ms, char text[STAMP_UUID_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[16];
    if (getrandom(bytes + 6, 10, 0) != 10) {
        return false;
    }
    for (int i = 0; i < 6; i++) {
        bytes[i] = (uint8_t)((uint64_t)time_ms >> (40 - 8 * i));
    }
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x70); /* version 7 */
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80); /* the RFC's variant */
    char *at = text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *at++ = '-';
        }
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    *at = '\0';
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool stamp_uuid_bytes(const char *text, uint8_t bytes[16])
{
    if (strlen(text) != STAMP_UUID_LEN) {
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < STAMP_UUID_LEN; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-') {
                return false;
            }
            continue;
        }
        int value = hex_value(text[i]);
        if (value < 0) {
            return false;
        }
        bytes[n / 2] = (uint8_t)(n % 2 == 0 ? value << 4 : bytes[n / 2] | value);
        n++;
    }
    return true;
}

void stamp_time(int64_t time_ms, char text[STAMP_TIME_LEN + 1])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm utc = {0};
    gmtime_r(&seconds, &utc);
    size_t len = strftime(text, STAMP_TIME_LEN + 1, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + len, STAMP_TIME_LEN + 1 - len, ".%03dZ", (int)(time_ms % 1000));
}
