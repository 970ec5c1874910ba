/* The one type that probe data lives in: locked into RAM, left out of core dumps, never inherited
 * by a child process, and wiped when it is released or moves. */
#ifndef WHORL_SECRET_H
#define WHORL_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zeroed, 64-byte aligned, page-granular memory; NULL with errno set when memory is short or the
 * limit on locked memory (RLIMIT_MEMLOCK) is reached. Any thread. */
WHORL_API void *whorl_secret_alloc(size_t size);

/* Wipes and releases; p may be NULL; size as it was asked for. Any thread. */
WHORL_API void whorl_secret_free(void *p, size_t size);

/* A growing byte buffer in such memory. All zero is a valid empty buffer. One thread at a time. */
struct whorl_secret {
    uint8_t *bytes;
    size_t len, cap;
};

/* Makes room for cap bytes in all; what was there moves along and its old place is wiped. */
WHORL_API bool whorl_secret_reserve(struct whorl_secret *secret, size_t cap);

/* Appends; has the form of a msgpack_packer_write (0 done, -1 out of memory). */
WHORL_API int whorl_secret_write(void *secret, const char *bytes, size_t len);

/* Drops the first n bytes, moving the rest down and wiping what they leave. n <= len. */
WHORL_API void whorl_secret_consume(struct whorl_secret *secret, size_t n);

/* Wipes and releases all; leaves a valid empty buffer. */
WHORL_API void whorl_secret_release(struct whorl_secret *secret);

/* Clears the calling thread's vector registers: copying leaves pieces of what it copied there, and
 * a thread that then sleeps keeps them, for a core dump to show. To be called when work on a secret
 * has ended. Does nothing on processors other than x86-64 and AArch64. Any thread. */
WHORL_API void whorl_secret_forget(void);

#ifdef __cplusplus
}
#endif

#endif
