/* Reads a listener's certificates and makes the settings that its connections share. */
#include "core/net/tls_context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "core/conf/certificates.h"
#include "core/net/tls.h"
#include "core/net/tls_sessions.h"
#include "whorl/msg.h"

#define SESSIONS 20480 /* kept for resumption; of a device: tls_sessions.h */
#define CERTIFICATES_MAX (32L << 10)
#define DIGESTED_MAX (64u << 20) /* bytes of a file; a longer one counts as changed */

/* Puts OpenSSL's last reason behind our own words. */
static bool fail(struct whorl_fault *fault, const char *where, const char *file, const char *text)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    whorl_fail(fault, where, "%s: %s%s%s", file, text, reason != NULL ? ": " : "",
               reason != NULL ? reason : "");
    ERR_clear_error();
    return false;
}

static bool use_certificate(SSL_CTX *ssl, const char *file, struct whorl_fault *fault)
{
    if (access(file, R_OK) != 0) {
        return whorl_fail(fault, "certificate", "%s: %s", file, strerror(errno));
    }
    return SSL_CTX_use_certificate_chain_file(ssl, file) == 1 ||
           fail(fault, "certificate", file, "holds no certificate in PEM form");
}

static bool use_key(SSL_CTX *ssl, const char *file, struct whorl_fault *fault)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        whorl_fail(fault, "key", "%s: %s", file, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    if (!certificates_is_private(&info)) {
        close(fd);
        return whorl_fail(fault, "key",
                          "%s: a private key must be readable by its owner alone (mode is %04o)",
                          file, (unsigned)(info.st_mode & 07777));
    }
    FILE *stream = fdopen(fd, "r");
    if (stream == NULL) {
        close(fd);
        return whorl_fail(fault, "key", "%s: %s", file, strerror(errno));
    }
    /* An empty pass phrase: OpenSSL must not ask on the terminal. */
    EVP_PKEY *key = PEM_read_PrivateKey(stream, NULL, NULL, (void *)"");
    fclose(stream);
    if (key == NULL) {
        return fail(fault, "key", file, "holds no private key in PEM form");
    }
    bool used = SSL_CTX_use_PrivateKey(ssl, key) == 1;
    EVP_PKEY_free(key);
    if (!used || SSL_CTX_check_private_key(ssl) != 1) {
        return fail(fault, "key", file, "does not belong to the certificate");
    }
    return true;
}

static bool use_authorities(SSL_CTX *ssl, const char *file, struct whorl_fault *fault)
{
    if (access(file, R_OK) != 0) {
        return whorl_fail(fault, "client_ca", "%s: %s", file, strerror(errno));
    }
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
    if (names == NULL) {
        return fail(fault, "client_ca", file, "holds no certificate in PEM form");
    }
    SSL_CTX_set_client_CA_list(ssl, names);
    return SSL_CTX_load_verify_file(ssl, file) == 1 ||
           fail(fault, "client_ca", file, "can't be read");
}

/* Adds every list in the file to the store. Returns how many, or -1 with *fault. */
static int load_lists(X509_STORE *store, FILE *stream, const char *file, struct whorl_fault *fault)
{
    int count = 0;
    for (X509_CRL *crl; (crl = PEM_read_X509_CRL(stream, NULL, NULL, NULL)) != NULL; count++) {
        const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
        bool late = next != NULL && X509_cmp_current_time(next) < 0;
        bool added = !late && X509_STORE_add_crl(store, crl) == 1;
        X509_CRL_free(crl);
        if (late) {
            whorl_fail(fault, "crl", "%s: list %d is out of date", file, count + 1);
            return -1;
        }
        if (!added) {
            fail(fault, "crl", file, "can't be used");
            return -1;
        }
    }
    unsigned long last = ERR_peek_last_error();
    if (count > 0 && ERR_GET_REASON(last) != PEM_R_NO_START_LINE) {
        fail(fault, "crl", file, "is damaged");
        return -1;
    }
    ERR_clear_error();
    return count;
}

/* Whether the store has a list that this authority signed. */
static bool has_list(STACK_OF(X509_OBJECT) * objects, X509 *authority)
{
    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509_CRL *crl = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i));
        if (crl != NULL &&
            X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(authority)) == 0 &&
            X509_CRL_verify(crl, X509_get0_pubkey(authority)) == 1) {
            return true;
        }
    }
    return false;
}

/* Without its authority's list every device would be refused, one by one; say so at once. */
static bool check_lists(X509_STORE *store, const char *file, struct whorl_fault *fault)
{
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509 *authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        if (authority != NULL && !has_list(objects, authority)) {
            char name[128];
            X509_NAME_oneline(X509_get_subject_name(authority), name, sizeof name);
            ERR_clear_error();
            return whorl_fail(fault, "crl", "%s: has no list that %s signed", file, name);
        }
    }
    return true;
}

static bool use_lists(SSL_CTX *ssl, const char *file, struct whorl_fault *fault)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    FILE *stream = fopen(file, "re");
    if (stream == NULL) {
        return whorl_fail(fault, "crl", "%s: %s", file, strerror(errno));
    }
    int count = load_lists(store, stream, file, fault);
    fclose(stream);
    if (count < 0) {
        return false;
    }
    if (count == 0) {
        return whorl_fail(fault, "crl", "%s: holds no revocation list in PEM form", file);
    }
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return check_lists(store, file, fault);
}

static bool set_rules(SSL_CTX *ssl)
{
    static const unsigned char scope[] = "whorl";
    SSL_CTX_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_NO_RENEGOTIATION |
                                 /* Tickets name a session in our cache rather than carry it. */
                                 SSL_OP_NO_TICKET);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(ssl, SESSIONS);
    SSL_CTX_set_timeout(ssl, TLS_SESSION_SECONDS);
    SSL_CTX_set_max_cert_list(ssl, CERTIFICATES_MAX);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_num_tickets(ssl, 1) == 1 &&
           SSL_CTX_set_session_id_context(ssl, scope, sizeof scope - 1) == 1;
}

/* Adds the length and the content of a file. */
static bool digest_file(EVP_MD_CTX *md, const char *path)
{
    uint8_t bytes[4096];
    uint64_t len = 0;
    FILE *file = fopen(path, "re");
    bool good = file != NULL;
    while (good) {
        size_t n = fread(bytes, 1, sizeof bytes, file);
        len += n;
        good = EVP_DigestUpdate(md, bytes, n) == 1 && len <= DIGESTED_MAX;
        if (n < sizeof bytes) {
            good = good && !ferror(file);
            break;
        }
    }
    OPENSSL_cleanse(bytes, sizeof bytes);
    if (file != NULL) {
        fclose(file);
    }
    return good && EVP_DigestUpdate(md, &len, sizeof len) == 1;
}

/* Before the files are used: should one change meanwhile, the next reload finds it changed. */
static bool digest_files(const struct tls_files *files, uint8_t digest[32])
{
    const char *const paths[] = {files->certificate, files->key, files->client_ca, files->crl};
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool good = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; good && i < sizeof paths / sizeof paths[0]; i++) {
        if (paths[i] != NULL && paths[i][0] != '\0') {
            good = digest_file(md, paths[i]);
        }
    }
    good = good && EVP_DigestFinal_ex(md, digest, NULL) == 1;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return good;
}

bool tls_context_same(const struct tls_context *one, const struct tls_context *other)
{
    return one->digested && other->digested &&
           memcmp(one->digest, other->digest, sizeof one->digest) == 0;
}

struct tls_context *tls_context_new(const struct tls_files *files, struct whorl_fault *fault)
{
    ERR_clear_error();
    struct tls_context *context = calloc(1, sizeof *context);
    if (context == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    context->refs = 1;
    context->digested = digest_files(files, context->digest);
    context->pipe = tls_pipe_method();
    context->ssl = SSL_CTX_new(TLS_server_method());
    context->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    context->sessions = context->ssl != NULL && context->sha256 != NULL
                            ? tls_sessions_new(context->ssl, context->sha256)
                            : NULL;
    if (context->pipe == NULL || context->sessions == NULL || !set_rules(context->ssl)) {
        whorl_fail(fault, "", "OpenSSL can't be set up for TLS 1.3");
        ERR_clear_error();
        tls_context_unref(context);
        return NULL;
    }
    if (!use_certificate(context->ssl, files->certificate, fault) ||
        !use_key(context->ssl, files->key, fault) ||
        !use_authorities(context->ssl, files->client_ca, fault) ||
        (files->crl != NULL && files->crl[0] != '\0' &&
         !use_lists(context->ssl, files->crl, fault))) {
        tls_context_unref(context);
        return NULL;
    }
    tls_context_note_ends(context);
    tls_sessions_end(context->sessions, context->ends[TLS_FILE_CRL]);
    return context;
}

void tls_context_succeed(struct tls_context *old, struct tls_context *next)
{
    tls_context_unref(old->successor);
    old->successor = tls_context_ref(next);
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    context->refs++;
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (context == NULL || --context->refs > 0) {
        return;
    }
    tls_context_unref(context->successor);
    SSL_CTX_free(context->ssl);
    tls_sessions_free(context->sessions);
    EVP_MD_free(context->sha256);
    if (context->pipe != NULL) {
        BIO_meth_free(context->pipe);
    }
    free(context);
}
