/* The server's log: one JSON object a line on standard error, with time, level, text and whatever
 * the caller adds. Never personal data, never biometric data. Any thread. */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "whorl/plugin.h"

struct json_t;
struct log;

/* Writes to the open descriptor fd (not closed by log_free) what is at least `level`. */
struct log *log_new(int fd, enum whorl_log_level level);
void log_free(struct log *log);
void log_set_level(struct log *log, enum whorl_log_level level);

/* "debug", "info", "warning", "error"; false for anything else. */
bool log_level_from_name(const char *name, enum whorl_log_level *level);

/* One line: text, then pairs of key and value (const char *), ended by NULL:
 *     log_line(log, WHORL_LOG_INFO, "reloaded", "policy", hash, NULL);
 * A NULL value leaves its pair out. */
void log_line(struct log *log, enum whorl_log_level level, const char *text, ...)
    __attribute__((sentinel));

/* A JSON string of text that may be no UTF-8: then what is outside ASCII is '?' in it. NULL: out of
 * memory. */
struct json_t *log_json_text(const char *text);

#endif
