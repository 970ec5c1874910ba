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

#endif
