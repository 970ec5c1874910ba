/* The options that every device sub-command shares: --connect, --cert, --key, --ca, --timeout. */
#ifndef CLI_DEVICE_ARGS_H
#define CLI_DEVICE_ARGS_H

#include <argp.h>
#include <stdbool.h>

#include "whorl/client.h"

struct device_args {
    struct whorl_client_options options; /* may point into the rest: do not copy it out */
    unsigned timeout_s;
    char key[4096], ca[4096]; /* paths derived from the certificate's */
};

/* A child parser; its input is a struct device_args. */
extern const struct argp device_argp;

/* Connects, calls, prints what went wrong to standard error. repeatable: the call may be sent again
 * after a connection that was lost under way. Returns an exit code: 0 with a result in *reply
 * (release it), or 3. Progress is shown on standard error if it is a terminal. */
int device_ask(const struct device_args *args, const char *method, bool repeatable,
               const struct whorl_secret *argument, struct whorl_client_reply *reply);

/* Prints a result as JSON. false, having said so on standard error, when it is not all there. */
bool device_print_json(const msgpack_object *result);

#endif
