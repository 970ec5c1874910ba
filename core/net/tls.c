#include "core/net/tls.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "core/net/tls_context.h"
#include "whorl/msg.h"

struct tls {
    struct tls_context *context;
    struct tls_context *judge; /* whose authorities and lists the peer was last held against */
    int64_t end;               /* of the peer's certificate, seconds since 1970; once open */
    SSL *ssl;
    tls_send *send;
    void *ctx;
    const uint8_t *fed; /* not yet read by OpenSSL */
    size_t fed_len;
    bool open, dead;
};

/* --- The BIO: OpenSSL's own memory BIO would copy all bytes once more and keep that memory ---- */

static int pipe_read(BIO *bio, char *to, size_t len, size_t *used)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *used = tls->fed_len < len ? tls->fed_len : len;
    if (*used == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(to, tls->fed, *used);
    tls->fed += *used;
    tls->fed_len -= *used;
    return 1;
}

static int pipe_write(BIO *bio, const char *from, size_t len, size_t *used)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *used = len;
    return tls->send(tls->ctx, (const uint8_t *)from, len) ? 1 : 0;
}

static long pipe_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *tls_pipe_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "pipe");
    if (method != NULL &&
        (!BIO_meth_set_read_ex(method, pipe_read) || !BIO_meth_set_write_ex(method, pipe_write) ||
         !BIO_meth_set_ctrl(method, pipe_ctrl))) {
        BIO_meth_free(method);
        return NULL;
    }
    return method;
}

/* --- A connection --------------------------------------------------------------------------- */

struct tls *tls_new(struct tls_context *context, tls_send *send, void *ctx)
{
    struct tls *tls = calloc(1, sizeof *tls);
    BIO *bio = BIO_new(context->pipe);
    SSL *ssl = SSL_new(context->ssl);
    if (tls == NULL || bio == NULL || ssl == NULL) {
        free(tls);
        BIO_free(bio);
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    *tls = (struct tls){.context = tls_context_ref(context),
                        .judge = tls_context_ref(context),
                        .ssl = ssl,
                        .send = send,
                        .ctx = ctx};
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    return tls;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL) {
        return;
    }
    SSL_free(tls->ssl);
    tls_context_unref(tls->judge);
    tls_context_unref(tls->context);
    free(tls);
}

void tls_feed(struct tls *tls, const uint8_t *bytes, size_t len)
{
    tls->fed = bytes;
    tls->fed_len = len;
}

/* Puts OpenSSL's reason into words: what is wrong with the certificate, if it is that. */
static enum tls_state failed(struct tls *tls, struct whorl_fault *fault)
{
    tls->dead = true;
    long verdict = SSL_get_verify_result(tls->ssl);
    unsigned long error = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(error);
    if (verdict != X509_V_OK) {
        whorl_fail(fault, "client certificate", "%s", X509_verify_cert_error_string(verdict));
    } else {
        whorl_fail(fault, "", "%s", reason != NULL ? reason : "TLS failed");
    }
    ERR_clear_error();
    return TLS_FAILED;
}

/* What the handshake would say if it came now. */
static bool passes(const struct tls *tls, struct whorl_fault *fault)
{
    SSL_CTX *ssl = tls->judge->ssl;
    X509_STORE_CTX *verify = X509_STORE_CTX_new();
    bool good = verify != NULL &&
                X509_STORE_CTX_init(verify, SSL_CTX_get_cert_store(ssl),
                                    SSL_get0_peer_certificate(tls->ssl),
                                    SSL_get_peer_cert_chain(tls->ssl)) == 1 &&
                X509_STORE_CTX_set_default(verify, "ssl_client") == 1;
    if (good) {
        X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(verify),
                                         SSL_CTX_get_security_level(ssl));
    }
    if (!good || X509_verify_cert(verify) != 1) {
        int verdict = good ? X509_STORE_CTX_get_error(verify) : X509_V_ERR_OUT_OF_MEM;
        good =
            whorl_fail(fault, "client certificate", "%s", X509_verify_cert_error_string(verdict));
    }
    X509_STORE_CTX_free(verify);
    ERR_clear_error();
    return good;
}

/* Whether the peer would still be let in. */
static bool is_welcome(struct tls *tls, struct whorl_fault *fault)
{
    if (time(NULL) > tls->end) {
        return whorl_fail(fault, "client certificate", "certificate has expired");
    }
    if (tls->judge->successor == NULL) {
        return true;
    }
    while (tls->judge->successor != NULL) {
        struct tls_context *next = tls_context_ref(tls->judge->successor);
        tls_context_unref(tls->judge);
        tls->judge = next;
    }
    return passes(tls, fault);
}

/* Those who are not are told nothing but that it ends. */
static enum tls_state unwelcome(struct tls *tls)
{
    tls->dead = true;
    return TLS_FAILED;
}

static bool know_end(struct tls *tls, struct whorl_fault *fault)
{
    X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    if (peer == NULL) {
        return whorl_fail(fault, "client certificate", "there is none");
    }
    tls->end = tls_certificate_end(peer);
    return true;
}

/* SSL_get_error goes by what it finds in this thread's queue. Emptying that takes far longer than
 * looking. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

static enum tls_state handshake(struct tls *tls, struct whorl_fault *fault)
{
    int done = SSL_do_handshake(tls->ssl);
    if (done == 1) {
        if (!know_end(tls, fault) || !is_welcome(tls, fault)) {
            return unwelcome(tls);
        }
        tls->open = true;
        return TLS_DATA;
    }
    return SSL_get_error(tls->ssl, done) == SSL_ERROR_WANT_READ ? TLS_WANT : failed(tls, fault);
}

enum tls_state tls_read(struct tls *tls, uint8_t *buffer, size_t cap, size_t *used,
                        struct whorl_fault *fault)
{
    *used = 0;
    if (tls->dead) {
        whorl_fail(fault, "", "TLS has ended");
        return TLS_FAILED;
    }
    forget_errors();
    if (!tls->open) {
        return handshake(tls, fault);
    }
    if (!is_welcome(tls, fault)) {
        return unwelcome(tls);
    }
    int got = SSL_read_ex(tls->ssl, buffer, cap, used);
    if (got == 1) {
        return TLS_DATA;
    }
    *used = 0;
    switch (SSL_get_error(tls->ssl, got)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    default:
        return failed(tls, fault);
    }
}

bool tls_has_more(const struct tls *tls)
{
    return !tls->open || tls->fed_len > 0 || SSL_has_pending(tls->ssl) == 1;
}

void tls_keep_buffers(struct tls *tls, bool keep)
{
    if (keep) {
        SSL_clear_mode(tls->ssl, SSL_MODE_RELEASE_BUFFERS);
    } else {
        SSL_set_mode(tls->ssl, SSL_MODE_RELEASE_BUFFERS);
        (void)SSL_free_buffers(tls->ssl); /* in use: they go with the next record */
    }
}

bool tls_is_open(const struct tls *tls)
{
    return tls->open && !tls->dead;
}

bool tls_is_resumed(const struct tls *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}

bool tls_peer_digest(const struct tls *tls, uint8_t digest[32])
{
    X509 *peer = tls->open ? SSL_get0_peer_certificate(tls->ssl) : NULL;
    unsigned len = 0;
    return peer != NULL && X509_digest(peer, tls->context->sha256, digest, &len) == 1 && len == 32;
}

bool tls_write(struct tls *tls, const uint8_t *bytes, size_t len)
{
    size_t used = 0;
    if (!tls_is_open(tls)) {
        return false;
    }
    forget_errors();
    /* The pipe takes all, so that nothing is ever written in part. */
    if (SSL_write_ex(tls->ssl, bytes, len, &used) == 1 && used == len) {
        return true;
    }
    tls->dead = true;
    ERR_clear_error();
    return false;
}

void tls_finish(struct tls *tls)
{
    if (tls_is_open(tls)) {
        ERR_clear_error();
        SSL_shutdown(tls->ssl);
        tls->dead = true;
        ERR_clear_error();
    }
}
