/* Transaction ids and times. Any thread. */
#ifndef CORE_STAMP_H
#define CORE_STAMP_H

#include <stdbool.h>
#include <stdint.h>

#define STAMP_UUID_LEN 36
#define STAMP_TIME_LEN 24 /* 2026-11-21T21:04:20.123Z */

/* Milliseconds since 1970, of the system's clock. */
int64_t stamp_now(void);

/* A UUID of version 7 (RFC 9562 §5.7): the time in its first 48 bits, then 74 random ones. false
 * when the kernel gives no randomness. */
bool stamp_uuid(int64_t time_ms, char text[STAMP_UUID_LEN + 1]);

/* The 16 bytes of a UUID in its lower-case text form; false if text is not one. */
bool stamp_uuid_bytes(const char *text, uint8_t bytes[16]);

/* RFC 3339 in UTC, with milliseconds. */
void stamp_time(int64_t time_ms, char text[STAMP_TIME_LEN + 1]);

#endif
