/* Certificates, authorities and revocation lists have a last day. */
#include <time.h>

#include <openssl/asn1.h>
#include <openssl/x509.h>

#include "core/net/tls_context.h"

const char *tls_file_name(enum tls_file file)
{
    static const char *const names[TLS_FILES] = {"certificate", "client_ca", "crl"};
    return names[file];
}

int64_t tls_context_end(const struct tls_context *context, enum tls_file file)
{
    return context->ends[file];
}

/* INT64_MAX: it is NULL, or does not say. */
static int64_t seconds_of(const ASN1_TIME *at)
{
    struct tm tm;
    return at != NULL && ASN1_TIME_to_tm(at, &tm) == 1 ? (int64_t)timegm(&tm) : INT64_MAX;
}

/* at: NULL for what does not say when it ends. */
static void note(struct tls_context *context, enum tls_file file, const ASN1_TIME *at)
{
    int64_t end = seconds_of(at);
    if (end != INT64_MAX && (context->ends[file] == 0 || end < context->ends[file])) {
        context->ends[file] = end;
    }
}

int64_t tls_certificate_end(const X509 *certificate)
{
    return seconds_of(X509_get0_notAfter(certificate));
}

int64_t tls_chain_end(STACK_OF(X509) * chain)
{
    int64_t end = INT64_MAX;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t at = tls_certificate_end(sk_X509_value(chain, i));
        end = at < end ? at : end;
    }
    return end;
}

void tls_context_note_ends(struct tls_context *context)
{
    STACK_OF(X509) *chain = NULL;
    SSL_CTX_get0_chain_certs(context->ssl, &chain);
    note(context, TLS_FILE_CERTIFICATE, X509_get0_notAfter(SSL_CTX_get0_certificate(context->ssl)));
    for (int i = 0; i < sk_X509_num(chain); i++) {
        note(context, TLS_FILE_CERTIFICATE, X509_get0_notAfter(sk_X509_value(chain, i)));
    }
    STACK_OF(X509_OBJECT) *trusted = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context->ssl));
    for (int i = 0; i < sk_X509_OBJECT_num(trusted); i++) {
        const X509_OBJECT *object = sk_X509_OBJECT_value(trusted, i);
        X509 *authority = X509_OBJECT_get0_X509(object);
        X509_CRL *list = X509_OBJECT_get0_X509_CRL((X509_OBJECT *)object);
        note(context, TLS_FILE_CLIENT_CA, authority != NULL ? X509_get0_notAfter(authority) : NULL);
        note(context, TLS_FILE_CRL, list != NULL ? X509_CRL_get0_nextUpdate(list) : NULL);
    }
}
