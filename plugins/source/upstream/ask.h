/* From a call of the host to what the upstream gateway is asked. Pure functions; any thread. */
#ifndef UPSTREAM_ASK_H
#define UPSTREAM_ASK_H

#include "plugins/source/upstream/part.h"
#include "whorl/plugin.h"

enum { ASK_ID_MAX = 64, ASK_ROUTE_MAX = 8, ASK_LEAST_MS = 1000 };

/* What a call's message says, so far as this room needs it; points into the message. */
struct ask {
    char request_id[ASK_ID_MAX + 1]; /* of the upstream request: TRANSACTION/BACKEND */
    char gateway[PART_NAME_MAX + 1], backend[PART_NAME_MAX + 1]; /* this one's */
    const msgpack_object *request, *samples, *people, *route;
    uint64_t deadline_ms;
    struct part_question question;
};

/* Reads a message. false with *fault: it is malformed, or has no `request`; of the latter the
 * question is set all the same. */
bool ask_read(const msgpack_object *message, enum whorl_role role, struct ask *ask,
              struct whorl_fault *fault);

/* Whether the request may be passed on to that gateway at all: not in a circle, nor too far. */
bool ask_may_pass(const struct ask *ask, const char *upstream, struct whorl_fault *fault);

/* Packs the argument of `identify`, for that backend of the upstream gateway. The packer may fail:
 * look at what it writes to. */
void ask_pack(msgpack_packer *pk, const struct ask *ask, const char *backend, uint64_t deadline_ms);

/* How the time that is left is shared: the upstream gateway gets less than this one waits, and this
 * one waits less than its own caller does. 0: too little for anything. */
struct ask_time {
    uint64_t given_ms, waited_ms;
};
struct ask_time ask_time(uint64_t left_ms);

#endif
