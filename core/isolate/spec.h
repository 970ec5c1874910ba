/* What a plugin's process is told when it begins: a msgpack map in a sealed memfd. */
#ifndef CORE_ISOLATE_SPEC_H
#define CORE_ISOLATE_SPEC_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/plugin.h"

enum isolate_task {
    ISOLATE_DESCRIBE, /* load the module, say what its descriptor holds, end */
    ISOLATE_CHECK,    /* load it, let it check its settings, say what it found, end */
    ISOLATE_RUN,      /* load it, start an instance, serve calls */
};

struct isolate_limits {
    bool network;        /* may connect to others */
    uint64_t memory;     /* bytes of private memory */
    uint32_t processors; /* that it may run on; 0: all */
    uint32_t uid, gid;   /* that it runs as when the server is root; 0: the server's */
    const char *user;    /* as configured, "" none; stays with the server */
};

struct isolate_spec {
    enum isolate_task task;
    const char *name, *module;
    struct isolate_limits limits;
    /* The rest is empty for ISOLATE_DESCRIBE. */
    const uint8_t *settings; /* by settings_pack */
    size_t settings_len;
    /* And this is for ISOLATE_RUN alone. */
    const char *data_dir;
    uint32_t workers, calls;
    /* What the module said of itself when it was asked; stays with the server. */
    const uint8_t *descriptor;
    size_t descriptor_len;
};

/* Bytes of private memory that the process may have: its limit, and its workers' stacks, which the
 * kernel counts whole. 0: no limit. */
static inline uint64_t isolate_memory(const struct isolate_spec *spec)
{
    const uint64_t stack = (uint64_t)8 << 20;
    return spec->limits.memory > 0 ? spec->limits.memory + spec->workers * stack : 0;
}

void isolate_spec_pack(const struct isolate_spec *spec, msgpack_sbuffer *out);
/* The texts and bytes point into the object, and what it was parsed from. */
bool isolate_spec_read(const msgpack_object *object, struct isolate_spec *spec,
                       struct whorl_fault *fault);

/* The descriptors that the child finds open, beside the standard three. */
enum {
    ISOLATE_FD_CONTROL = 3, /* a SOCK_SEQPACKET socket from the server */
    ISOLATE_FD_SAYINGS,     /* a pipe to the server, which can carry no descriptors */
    ISOLATE_FD_SPEC,
    ISOLATE_FD_ORDERS,
    ISOLATE_FD_REPORTS,
    ISOLATE_FD_BELL, /* a pipe to the server; a byte wakes it */
    ISOLATE_FD_END,
};

/* What the child says: how many bytes follow (uint32_t), a letter, then text or bytes.
 *
 * A descriptor that the child could hand over would be closed by the server, and it may be a socket
 * that lingers in its close for as long as the child likes. So there is one only, which goes the
 * other way along the control socket: that of the child's status. Then the child shuts that way,
 * for ever, before anything foreign is loaded. */
enum {
    ISOLATE_SAYS_STATUS = 'U',     /* the status's descriptor has been sent, or can't be had */
    ISOLATE_SAYS_NOTE = 'N',       /* like a failure, but only for the log */
    ISOLATE_SAYS_DESCRIPTOR = 'D', /* module_describe's bytes */
    ISOLATE_SAYS_CHECKED = 'C',    /* 0 or more faults: view (0 general, else the force's number
                                      from 1 on, decimal), where and text, each with a NUL */
    ISOLATE_SAYS_STARTED = 'S',
    ISOLATE_SAYS_FAILED = 'F', /* where and text, each with a NUL */
};
#define ISOLATE_SAYING_MAX (704u << 10) /* bytes: a descriptor, or many faults */

/* Sanitizers slow everything down, and need memory of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ISOLATE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define ISOLATE_SANITIZED 1
#endif
#endif
#ifndef ISOLATE_SANITIZED
#define ISOLATE_SANITIZED 0
#endif

#endif
