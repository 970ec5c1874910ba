/* What a PNC look-up answers: the people found, with what an officer must see of each, in order of
 * its weight. */
#ifndef PLUGINS_PNC_ANSWER_H
#define PLUGINS_PNC_ANSWER_H

#include "plugins/pnc/records.h"
#include "whorl/answer.h"

#define PNC_CANDIDATES_MAX 20u

struct pnc_candidate {
    char pncid[PNC_ID_CAP];
    const char *by;                  /* "pncid", "cro" or "name" */
    const msgpack_object *found_for; /* the search's candidate that led there, or NULL */
    struct pnc_record record;        /* all zero until it is filled in */
};

/* The people found so far; all zero is none. */
struct pnc_found {
    struct pnc_candidate people[PNC_CANDIDATES_MAX];
    size_t count;
    bool more; /* than fit */
};

/* Adds a person, whose record is then to be filled in; returns NULL if there is nothing to fill in.
 * Who is there already stays as first found, except that an identifier counts more than a name. */
struct pnc_candidate *pnc_found_add(struct pnc_found *found, const char *pncid, const char *by,
                                    const msgpack_object *found_for);

/* Releases the records and leaves it empty. */
void pnc_found_release(struct pnc_found *found);

#define PNC_NO_AGE (-1)

/* Packs the answer: `match` for exactly one person, found by an identifier, with nothing left out;
 * otherwise `possible`. found->count >= 1, all records filled in; who was found by an identifier
 * comes first. reason: why it may be incomplete, or "". age: seconds, or PNC_NO_AGE. */
void pnc_answer_found(struct whorl_answer *answer, const struct whorl_settings *settings,
                      const struct pnc_found *found, const char *reason, int64_t age);

/* Packs an answer without candidates; reason may be NULL, age as above. */
void pnc_answer_without(msgpack_packer *pk, const char *class, const char *reason, int64_t age);

/* Whether every entry of the setting warning_signals is CODE=TEXT, each code once. */
bool pnc_signals_check(const struct whorl_settings *settings, struct whorl_fault *fault);

#endif
