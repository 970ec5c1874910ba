#include "core/conf/mistakes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mistake_at(struct mistakes *mistakes, struct conf_place place, const char *format, ...)
{
    if (mistakes->count++ >= MISTAKES_MAX) {
        return;
    }
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* What comes from a file may hold anything; a terminal should not get it. */
    for (char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            *p = '?';
        }
    }
    mistakes->list[mistakes->count - 1] =
        (struct mistake){place, arena_copy(mistakes->arena, text)};
}

static int compare(const void *left, const void *right)
{
    const struct mistake *a = left;
    const struct mistake *b = right;
    int order = strcmp(a->place.file, b->place.file);
    if (order != 0) {
        return order;
    }
    if (a->place.line != b->place.line) {
        return a->place.line < b->place.line ? -1 : 1;
    }
    return strcmp(a->text, b->text);
}

void mistakes_report(struct mistakes *mistakes, conf_complaint *complain, void *ctx)
{
    size_t kept = mistakes->count < MISTAKES_MAX ? mistakes->count : MISTAKES_MAX;
    qsort(mistakes->list, kept, sizeof mistakes->list[0], compare);
    for (size_t i = 0; i < kept; i++) {
        const struct mistake *mistake = &mistakes->list[i];
        complain(ctx, mistake->place.file, mistake->place.line, mistake->text);
    }
    if (mistakes->count > kept) {
        char text[64];
        (void)snprintf(text, sizeof text, "and %zu mistakes more", mistakes->count - kept);
        complain(ctx, mistakes->list[kept - 1].place.file, mistakes->list[kept - 1].place.line,
                 text);
    }
}
