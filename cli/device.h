/* The device's side of the protocol (docs/protocol.md): one connection, one call at a time,
 * blocking. */
#ifndef CLI_DEVICE_H
#define CLI_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/msg.h"
#include "whorl/secret.h"

struct device;

struct device_options {
    const char *connect;                /* HOST:PORT or [IPV6]:PORT */
    const char *certificate, *key, *ca; /* PEM files; all NULL for plain TCP */
    unsigned timeout_s;                 /* for the server to say anything at all */
};

/* Connects and shakes hands. NULL with *fault. */
struct device *device_connect(const struct device_options *options, struct whorl_fault *fault);
void device_close(struct device *device);

/* A reply; all zero is empty. `msg` points into `bytes`. */
struct device_reply {
    struct whorl_secret bytes;
    struct whorl_msg msg;
    const msgpack_object *error; /* the server's error map, or NULL */
    const msgpack_object *result;
};

/* Calls a method with one argument (packed msgpack) and waits for its reply. notified (may be
 * NULL) gets each notification that comes meanwhile. false with *fault when the connection failed,
 * which is not the same as an error in the reply. */
bool device_call(struct device *device, const char *method, const struct whorl_secret *argument,
                 void (*notified)(void *ctx, const char *method, const msgpack_object *argument),
                 void *ctx, struct device_reply *reply, struct whorl_fault *fault);
void device_reply_release(struct device_reply *reply);

#endif
