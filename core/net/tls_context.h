/* Between tls_context.c, tls_ends.c (files) and tls.c (connections) alone. */
#ifndef CORE_TLS_CONTEXT_H
#define CORE_TLS_CONTEXT_H

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/net/tls.h"

struct tls_context {
    unsigned refs;
    struct tls_context *successor; /* since a reload that changed the files; NULL: none */
    SSL_CTX *ssl;
    struct tls_sessions *sessions; /* of its cache */
    EVP_MD *sha256;                /* found once: that takes as long as digesting a certificate */
    bool digested;
    uint8_t digest[32];      /* SHA-256 over the content of its files */
    int64_t ends[TLS_FILES]; /* tls_context_end */
    BIO_METHOD *pipe;        /* the BIO between an SSL and the bytes at hand; set by tls.c */
};

/* A BIO kind whose data is a struct tls. */
BIO_METHOD *tls_pipe_method(void);

/* Notes when what the context was made of ends: tls_ends.c. */
void tls_context_note_ends(struct tls_context *context);

/* Seconds since 1970, INT64_MAX for never: of one certificate, and the first of a chain.
 * tls_ends.c.
 */
int64_t tls_certificate_end(const X509 *certificate);
int64_t tls_chain_end(STACK_OF(X509) * chain);

#endif
