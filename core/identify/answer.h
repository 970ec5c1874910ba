/* What a backend answered, checked field by field: a plugin's bytes are no more trusted than a
 * device's. Pure functions; any thread. */
#ifndef CORE_ANSWER_H
#define CORE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/host/host.h"
#include "whorl/msg.h"
#include "whorl/plugin.h"

#define ANSWER_REASON_MAX 250
#define ANSWER_CANDIDATES_MAX 20
#define ANSWER_REF_MAX 128
#define ANSWER_PEOPLE_MAX 20 /* in one look-up */

enum answer_class {
    ANSWER_NONE, /* not yet */
    ANSWER_MATCH,
    ANSWER_POSSIBLE,
    ANSWER_NO_MATCH,
    ANSWER_POOR_QUALITY,
    ANSWER_UNAVAILABLE,
    ANSWER_NOT_SEARCHED
};

const char *answer_class_name(enum answer_class class);

/* A person that a look-up asks about: one that a search found, or who the person claims to be. */
struct person {
    const char *backend; /* that found them; NULL: as claimed */
    const char *ref;     /* that backend's id of them */
    size_t ref_len;
    const msgpack_object *identifiers; /* a map of str to str, checked; NULL: as claimed */
    const char *family, *given, *born; /* as claimed; NULL if not given or not asked */
};

/* What was asked, so far as the answer has to agree with it. */
struct answer_question {
    uint32_t role;               /* enum whorl_role */
    uint32_t samples;            /* bit i: sample i was sent (searches) */
    const struct person *people; /* look-ups */
    size_t people_count;
    size_t people_left; /* who should have been asked about, and were not */
};

struct answer {
    enum answer_class class;
    char reason[ANSWER_REASON_MAX + 1];
    const msgpack_object *candidates, *searched, *samples; /* NULL if absent; live in msg */
    const msgpack_object *levels;                          /* of a cascade; NULL if absent */
    const msgpack_object *age;                             /* an int, seconds; NULL if absent */
    struct whorl_msg msg;
    uint8_t *bytes; /* what msg's strings point into */
    size_t len;
};

/* Checks the bytes (docs/plugins.md) and copies them. false with *fault naming the field; then
 * *answer is empty. A `no_match` of an incomplete search, of a look-up of some people only, or of a
 * cascade in which not every level said so, becomes `unavailable` here; and of what a look-up found
 * of some people only, the reason says so. */
bool answer_read(const uint8_t *bytes, size_t len, const struct answer_question *question,
                 struct answer *answer, struct whorl_fault *fault);

/* Makes it an answer without candidates. */
void answer_set(struct answer *answer, enum answer_class class, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Wipes and frees what it holds. */
void answer_release(struct answer *answer);

#endif
