/* The mistakes of one reading, gathered to be reported in the order of files and lines. */
#ifndef CORE_CONF_MISTAKES_H
#define CORE_CONF_MISTAKES_H

#include <stddef.h>

#include "core/conf/arena.h"
#include "core/conf/conf.h"

#define MISTAKES_MAX 200

struct mistake {
    struct conf_place place;
    const char *text;
};

struct mistakes {
    struct arena *arena;
    struct mistake list[MISTAKES_MAX]; /* what comes after is counted, not kept */
    size_t count;
};

void mistake_at(struct mistakes *mistakes, struct conf_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Reports them, sorted by file name and line. */
void mistakes_report(struct mistakes *mistakes, conf_complaint *complain, void *ctx);

#endif
