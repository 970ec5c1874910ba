/* One audit record (docs/plugins.md), read strictly: a report counts what is known to be what it
 * says. Fields that this version doesn't know are ignored. */
#ifndef CLI_REPORT_RECORD_H
#define CLI_REPORT_RECORD_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/plugin.h"

#define RECORD_ANSWERS_MAX 16u

enum record_kind {
    RECORD_IDENTIFY,
    RECORD_LOOKUP,
    RECORD_REFUSED,
    RECORD_OUTCOME,
    RECORD_DISCLOSURE,
    RECORD_COLLECTION,
    RECORD_ALTERATION,
    RECORD_ERASURE,
    RECORD_OTHER /* of the server itself, or of a kind that this version doesn't know */
};

/* Points into the record; NULL where the record says nothing. */
struct record_text {
    const char *at;
    size_t len;
};

struct record_answer {
    struct record_text backend, reason;
    uint8_t class; /* codes_class */
    bool permitted;
    const msgpack_object *candidates; /* array of str */
};

struct record {
    enum record_kind kind;
    int64_t time_ms;
    struct record_text time, transaction, device, officer, force;
    struct record_text basis, stop_power, reason, continues; /* identify; basis, reason: lookup */
    struct record_text family, given, born;                  /* identify */
    uint8_t condition, consent, gender, age_band, ethnicity_officer, ethnicity_self; /* codes_… */
    uint8_t reason_code;                                                             /* codes_… */
    uint32_t samples, elapsed_ms;                                                    /* identify */
    struct record_answer answers[RECORD_ANSWERS_MAX]; /* identify; lookup: the first */
    size_t answer_count;
    const msgpack_object *asked; /* lookup: array of map */
    struct record_text code;     /* refused */
    uint8_t outcome;             /* outcome: codes_outcome */
    bool contacted_control;
    struct record_text note;
    struct record_text event, store, source; /* collection, alteration, erasure */
    const msgpack_object *ids;               /* likewise: array of str */
};

/* Takes a parsed record apart; what *out points to lives as long as root. false with *fault, whose
 * where is the field, if it has not the form of its kind. Pure function. */
bool record_read(const msgpack_object *root, struct record *out, struct whorl_fault *fault);

/* Whether a text of the record is exactly this one. */
bool record_text_is(const struct record_text *text, const char *other);

/* Copies it, with a NUL; what doesn't fit is cut off. NULL becomes "". */
void record_text_copy(const struct record_text *text, char *out, size_t cap);

/* The 16 bytes of a transaction id; false if it is not one. */
bool record_uuid(const struct record_text *text, uint8_t uuid[16]);

#endif
