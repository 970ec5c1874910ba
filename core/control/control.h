/* The door for the operator: a Unix socket in the runtime directory, for the server's own user and
 * root. One JSON object a line asks, one answers, and the connection ends. Knows nothing of what is
 * asked. */
#ifndef CORE_CONTROL_H
#define CORE_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "whorl/plugin.h"

struct control;
struct control_call;

/* A request, which lives until the return. To be answered once, now or later, by control_reply.
 * Loop thread. */
typedef void control_handler(void *ctx, struct control_call *call, const json_t *request);

/* Listens at RUNTIME_DIR/control, in a directory that only this user can enter (it is made if need
 * be), in the place of whatever socket was there: a server that is on its way out gives way to the
 * next. NULL with *fault. Loop thread, as all below. */
struct control *control_open(uv_loop_t *loop, const char *runtime_dir, control_handler *handler,
                             void *ctx, struct whorl_fault *fault);

/* Takes over the reply. The caller may have gone: then it is dropped. */
void control_reply(struct control_call *call, json_t *reply);

/* Listens no more and ends every call. What it had is freed when the loop has closed its handles; a
 * reply to a call that was in flight may still be given, and is dropped. */
void control_close(struct control *control);

/* From another process: asks the server of this runtime directory. Takes over the request. NULL
 * with *fault; to be released by json_decref. Blocks for no more than `seconds`. */
json_t *control_ask(const char *runtime_dir, json_t *request, unsigned seconds,
                    struct whorl_fault *fault);

#endif
