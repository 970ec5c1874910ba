/* Who a person claims to be against whom a backend knows. Pure functions; any thread. */
#ifndef CORE_CLAIMED_H
#define CORE_CLAIMED_H

#include <stdbool.h>

#include "core/identify/decode.h"
#include "whorl/msg.h"

enum claimed_verdict {
    CLAIMED_UNKNOWN, /* one of the two isn't known */
    CLAIMED_SAME,
    CLAIMED_DIFFERS
};

/* Whether the claimed name is none of the candidate's names. Letters' case (ASCII), spaces,
 * hyphens and apostrophes don't count; the given name counts where both have one. */
enum claimed_verdict claimed_name(const struct decoded_subject *subject,
                                  const msgpack_object *candidate);

/* Whether the claimed date of birth is another than the candidate's. */
enum claimed_verdict claimed_born(const struct decoded_subject *subject,
                                  const msgpack_object *candidate);

#endif
