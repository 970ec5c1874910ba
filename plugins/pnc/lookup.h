/* One call: what is asked for, and what was found. Where it is looked up is somebody else's. */
#ifndef PLUGINS_PNC_LOOKUP_H
#define PLUGINS_PNC_LOOKUP_H

#include "plugins/pnc/answer.h"
#include "whorl/plugin.h"

#define PNC_PEOPLE_MAX 20u
#define PNC_KEYS_MAX (2u * PNC_PEOPLE_MAX)

/* What somebody is looked up by, in canonical form. */
struct pnc_search {
    enum pnc_key by;
    char key[PNC_KEY_CAP];
    const msgpack_object *found_for; /* the search's candidate that led there, or NULL */
};

struct pnc_lookup {
    const struct whorl_host *host;
    uint64_t call;
    const uint8_t *bytes; /* the host's, until the call is completed */
    size_t len;
    struct whorl_msg message;
    uint32_t deadline_ms; /* that the host gave it; 0: said nothing */
    struct pnc_search *searches;
    size_t count;
    unsigned unreadable; /* people whose identifiers could not be used */
    char why[160];       /* the first of these */
    struct pnc_found found;
};

/* A look-up for a call. NULL: out of memory. Any thread. */
struct pnc_lookup *pnc_lookup_new(const struct whorl_host *host, uint64_t call,
                                  const uint8_t *bytes, size_t len);

/* Reads the message into searches. What can't be searched for is noted in unreadable. false with
 * *fault: the message is unusable. Any thread. */
bool pnc_lookup_read(struct pnc_lookup *lookup, struct whorl_fault *fault);

/* Adds a person that a search has found; see pnc_found_add. */
struct pnc_candidate *pnc_lookup_take(struct pnc_lookup *lookup, const struct pnc_search *search,
                                      const char *pncid);

/* Completes the call with what was found and frees the look-up. Every search must have been made:
 * none that found nobody is no_match. age: as in answer.h. Any thread. */
void pnc_lookup_answer(struct pnc_lookup *lookup, int64_t age);

/* Completes the call with unavailable and frees the look-up. Any thread. */
void pnc_lookup_fail(struct pnc_lookup *lookup, const struct whorl_fault *fault);

#endif
