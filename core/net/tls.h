/* TLS 1.3 with mutual authentication: bytes in, bytes out. Knows no sockets and no loop; nothing
 * above it knows OpenSSL. One thread at a time. */
#ifndef CORE_TLS_H
#define CORE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/plugin.h"

struct tls_files {
    const char *certificate; /* PEM: the server's, then its intermediates */
    const char *key;         /* PEM; refused when others than its owner can read it */
    const char *client_ca;   /* PEM: the authorities whose devices may connect */
    const char *crl;         /* PEM: a list per authority; "" = none */
};

/* What connections of one listener share; reference-counted. Sessions are cached here and nowhere
 * else: those that began with other files (another CRL, say) can't be resumed. None is resumed for
 * longer than an hour after the device has proven itself, nor when its certificate, one of those
 * above it or a list has ended. */
struct tls_context;

/* NULL with *fault, naming the file. */
struct tls_context *tls_context_new(const struct tls_files *files, struct whorl_fault *fault);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* NULL is ignored */
/* Whether both were made from files with the same content, so that the sessions of one hold for the
 * other. */
bool tls_context_same(const struct tls_context *one, const struct tls_context *other);

/* From now on the connections of `old` are judged by `next`, each before it is next read from. */
void tls_context_succeed(struct tls_context *old, struct tls_context *next);

/* The files whose content is good until a day. */
enum tls_file { TLS_FILE_CERTIFICATE, TLS_FILE_CLIENT_CA, TLS_FILE_CRL, TLS_FILES };
/* "certificate": as the option of a listener is called. */
const char *tls_file_name(enum tls_file file);
/* The first end of all that was read from the file, in seconds since 1970; 0: nothing in it ends.
 */
int64_t tls_context_end(const struct tls_context *context, enum tls_file file);

/* One connection's server side. */
struct tls;

/* Is given what must go to the peer, and takes it all; false: out of memory. Called from within
 * the functions below; must not call back. */
typedef bool tls_send(void *ctx, const uint8_t *bytes, size_t len);

/* NULL: out of memory. Keeps a reference to the context. */
struct tls *tls_new(struct tls_context *context, tls_send *send, void *ctx);
void tls_free(struct tls *tls); /* NULL is ignored */

/* What the peer has sent; it must live, and tls_read be called, until TLS_WANT is returned. */
void tls_feed(struct tls *tls, const uint8_t *bytes, size_t len);

enum tls_state {
    TLS_DATA,   /* *used bytes are in buffer; ask again */
    TLS_WANT,   /* all that was fed is used up */
    TLS_CLOSED, /* the peer has said that it ends */
    TLS_FAILED  /* *fault says why; an alert for the peer has been given to send */
};

/* Whether, after TLS_DATA, asking again can bring anything but TLS_WANT. */
bool tls_has_more(const struct tls *tls);

/* OpenSSL has 34 KB for a connection's records. Kept: they stay from one record to the next. Not
 * kept, as in the beginning: they are there for the length of a call, and what was read into them
 * is wiped whole, which takes as long as the rest of reading a short message. */
void tls_keep_buffers(struct tls *tls, bool keep);

/* Goes on with the handshake, then decrypts. Fails as soon as the peer would not be let in any
 * more: its certificate has ended, or other authorities and lists count since a reload. */
enum tls_state tls_read(struct tls *tls, uint8_t *buffer, size_t cap, size_t *used,
                        struct whorl_fault *fault);

/* Whether the handshake is done and the peer proven. */
bool tls_is_open(const struct tls *tls);
/* Whether the session was resumed from the cache. */
bool tls_is_resumed(const struct tls *tls);
/* SHA-256 of the peer's certificate (DER); only when open. */
bool tls_peer_digest(const struct tls *tls, uint8_t digest[32]);

/* Encrypts; only when open. false: broken. */
bool tls_write(struct tls *tls, const uint8_t *bytes, size_t len);
/* Says goodbye. */
void tls_finish(struct tls *tls);

#endif
