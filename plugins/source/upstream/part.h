/* What one of those who were asked has answered: the local data, or the upstream gateway. Another
 * gateway's bytes are no more trusted than a device's: whatever goes into an answer has been
 * checked here, so that what one says never spoils what the other has found. Pure functions; any
 * thread. */
#ifndef UPSTREAM_PART_H
#define UPSTREAM_PART_H

#include "whorl/msg.h"

enum {
    PART_REASON_MAX = 250, /* bytes */
    PART_CANDIDATES_MAX = 20,
    PART_LEVELS_MAX = 15, /* of one answer: this gateway's own makes 16 */
    PART_SAMPLES_MAX = 20,
    PART_NAME_MAX = 32, /* of a gateway or backend */
};

/* In the order of docs/protocol.md. */
enum part_class {
    PART_MATCH,
    PART_POSSIBLE,
    PART_NO_MATCH,
    PART_POOR_QUALITY,
    PART_UNAVAILABLE,
    PART_NOT_SEARCHED
};
enum { PART_CLASSES = PART_NOT_SEARCHED + 1 };

const char *part_class_name(enum part_class class);

/* What was asked. */
struct part_question {
    enum whorl_role role;
    const msgpack_object *people;      /* look-ups: the array of people asked about */
    int64_t samples[PART_SAMPLES_MAX]; /* searches: the places of those that were sent */
    size_t sample_count;
};

/* Objects point into what was read. */
struct part {
    char gateway[PART_NAME_MAX + 1], backend[PART_NAME_MAX + 1]; /* set by the caller */
    bool renumbered;     /* likewise: its samples are counted as they were sent */
    uint64_t elapsed_ms; /* likewise */
    enum part_class class;
    bool searched; /* people, of are known */
    bool doubted;  /* it said no_match, which is not to be believed */
    char reason[PART_REASON_MAX + 1];
    uint64_t people, of;
    int64_t age;                                         /* seconds; -1: not said */
    const msgpack_object *candidates, *samples, *levels; /* NULL: none */
};

/* Reads an answer map, of this ABI or of another gateway's result: fields that it doesn't know are
 * ignored. A no_match that is not of everybody, or not of every level, becomes unavailable. false
 * with *fault; then part is unavailable for that reason. */
bool part_read(const msgpack_object *map, const struct part_question *question, struct part *part,
               struct whorl_fault *fault);

/* Makes it one without candidates; the reason is cut to its bound. */
void part_set(struct part *part, enum part_class class, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Cuts a text to `max` bytes without cutting a character in two. */
void part_clip(char *text, size_t max);

/* The entries of a list; 0 for NULL. */
size_t part_count(const msgpack_object *list);

#endif
