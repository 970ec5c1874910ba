/* Building and giving answers: what is packed when memory runs out is no answer, and must not be
 * sent as if it were. msgpack-c's buffer drops what doesn't fit and goes on; this one remembers. */
#ifndef WHORL_ANSWER_H
#define WHORL_ANSWER_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/api.h"
#include "whorl/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An answer, or a part of one, that is being packed. Must not be moved or copied meanwhile. One
 * thread at a time. */
struct whorl_answer {
    msgpack_packer pk; /* pack with this */
    msgpack_sbuffer bytes;
    bool failed; /* memory ran out: bytes are worth nothing */
};

/* Begins an empty answer. End it with whorl_answer_drop, or by appending it to another. */
WHORL_API void whorl_answer_begin(struct whorl_answer *answer);

/* Forgets what was packed and begins again. */
WHORL_API void whorl_answer_again(struct whorl_answer *answer);

/* Appends a part that was packed apart (because msgpack wants a count first), and ends the part. */
WHORL_API void whorl_answer_append(struct whorl_answer *answer, struct whorl_answer *part);

/* Completes the call with it; with whorl_answer_refuse's if memory had run out. Leaves it empty, to
 * be packed again or dropped. Any thread. */
WHORL_API void whorl_answer_give(struct whorl_answer *answer, const struct whorl_host *host,
                                 uint64_t call, enum whorl_role role);

/* Releases its memory. */
WHORL_API void whorl_answer_drop(struct whorl_answer *answer);

/* Completes the call with {class: "unavailable", reason}, for a sink {stored: false, reason}. Needs
 * no memory. reason: at most 250 bytes count. Any thread. */
WHORL_API void whorl_answer_refuse(const struct whorl_host *host, uint64_t call,
                                   enum whorl_role role, const char *reason);

#ifdef __cplusplus
}
#endif

#endif
