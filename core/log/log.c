#include "core/log/log.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct log {
    int fd;
    atomic_int level;
    pthread_mutex_t writing; /* keeps lines whole when a write is cut short */
};

static const char *const level_names[] = {"debug", "info", "warning", "error"};
#define LEVELS (sizeof level_names / sizeof level_names[0])
#define LINE_USUAL 1024u /* bytes; a longer line is made on the heap */

struct log *log_new(int fd, enum whorl_log_level level)
{
    struct log *log = calloc(1, sizeof *log);
    if (log == NULL) {
        return NULL;
    }
    log->fd = fd;
    atomic_init(&log->level, (int)level);
    if (pthread_mutex_init(&log->writing, NULL) != 0) {
        free(log);
        return NULL;
    }
    return log;
}

void log_free(struct log *log)
{
    if (log == NULL) {
        return;
    }
    pthread_mutex_destroy(&log->writing);
    free(log);
}

void log_set_level(struct log *log, enum whorl_log_level level)
{
    atomic_store(&log->level, (int)level);
}

bool log_level_from_name(const char *name, enum whorl_log_level *level)
{
    for (size_t i = 0; i < LEVELS; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum whorl_log_level)i;
            return true;
        }
    }
    return false;
}

/* RFC 3339, UTC, milliseconds. */
static void write_time(char *text, size_t cap)
{
    struct timespec now;
    struct tm utc;
    char day[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text, cap, "%s.%03ldZ", day, now.tv_nsec / 1000000);
}

/* Text that is no UTF-8 must not be lost. */
json_t *log_json_text(const char *text)
{
    json_t *json = json_string(text);
    if (json != NULL) {
        return json;
    }
    char *ascii = strdup(text);
    if (ascii == NULL) {
        return NULL;
    }
    for (char *at = ascii; *at != '\0'; at++) {
        if ((unsigned char)*at >= 0x80) {
            *at = '?';
        }
    }
    json = json_string(ascii);
    free(ascii);
    return json;
}

static void write_all(struct log *log, const char *line, size_t len)
{
    pthread_mutex_lock(&log->writing);
    while (len > 0) {
        ssize_t n = write(log->fd, line, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break; /* nowhere to complain */
        }
        line += n;
        len -= (size_t)n;
    }
    pthread_mutex_unlock(&log->writing);
}

static void write_object(struct log *log, const json_t *object)
{
    char usual[LINE_USUAL];
    size_t used = json_dumpb(object, usual, sizeof usual - 1, JSON_COMPACT);
    if (used > 0 && used < sizeof usual) {
        usual[used] = '\n';
        write_all(log, usual, used + 1);
        return;
    }
    char *line = json_dumps(object, JSON_COMPACT);
    if (line == NULL) {
        return;
    }
    size_t len = strlen(line);
    line[len] = '\n'; /* in the place of its NUL, so that one write makes the line */
    write_all(log, line, len + 1);
    free(line);
}

void log_line(struct log *log, enum whorl_log_level level, const char *text, ...)
{
    if (log == NULL || (int)level < atomic_load(&log->level) || (size_t)level >= LEVELS) {
        return;
    }
    json_t *object = json_object();
    if (object == NULL) {
        return;
    }
    char when[64];
    write_time(when, sizeof when);
    json_object_set_new(object, "time", json_string(when));
    json_object_set_new(object, "level", json_string(level_names[level]));
    json_object_set_new(object, "text", log_json_text(text));
    va_list args;
    va_start(args, text);
    for (const char *key = va_arg(args, const char *); key != NULL;
         key = va_arg(args, const char *)) {
        const char *value = va_arg(args, const char *);
        if (value != NULL) {
            json_object_set_new(object, key, log_json_text(value));
        }
    }
    va_end(args);
    write_object(log, object);
    json_decref(object);
}
