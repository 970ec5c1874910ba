#include "cli/registry/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "whorl/msg.h"

#define PATH_CAP 4096

static bool path_of(char path[PATH_CAP], const char *dir, const char *file, const char *suffix,
                    struct whorl_fault *fault)
{
    int n = snprintf(path, PATH_CAP, "%s/%s%s", dir, file, suffix);
    return (n > 0 && n < PATH_CAP) || whorl_fail(fault, dir, "the path is too long");
}

#define EXISTS "exists already, and is not overwritten: -o another folder, then put it in place"

/* A new file that nobody else may read; an old one is never touched. */
static FILE *create(const char *path, mode_t mode, struct whorl_fault *fault)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL) {
        whorl_fail(fault, path, errno == EEXIST ? EXISTS : "%s", strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
    }
    return file;
}

static bool finish(FILE *file, bool written, const char *path, struct whorl_fault *fault)
{
    written = fflush(file) == 0 && fsync(fileno(file)) == 0 && written;
    written = fclose(file) == 0 && written;
    return written || whorl_fail(fault, path, "cannot be written: %s", strerror(errno));
}

static bool write_pair(const char *dir, const char *file, EVP_PKEY *key, X509 *certificate,
                       struct whorl_fault *fault)
{
    char key_path[PATH_CAP];
    char path[PATH_CAP];
    if (!path_of(key_path, dir, file, ".key", fault) || !path_of(path, dir, file, ".pem", fault)) {
        return false;
    }
    if (access(path, F_OK) == 0) {
        return whorl_fail(fault, path, EXISTS);
    }
    FILE *out = create(key_path, 0600, fault);
    if (out == NULL) {
        return false;
    }
    bool written = PEM_write_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1;
    if (!finish(out, written, key_path, fault)) {
        return false;
    }
    out = create(path, 0644, fault);
    return out != NULL && finish(out, PEM_write_X509(out, certificate) == 1, path, fault);
}

/* A random serial number of 127 bits: positive, and at most 20 octets (RFC 5280 §4.1.2.2). */
static bool set_serial(X509 *certificate)
{
    uint8_t bytes[16];
    if (RAND_bytes(bytes, sizeof bytes) != 1) {
        return false;
    }
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool good =
        number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return good;
}

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool good = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

static bool add_server_names(X509 *certificate, X509 *issuer, const struct keys_wish *wish)
{
    char names[600];
    int n =
        snprintf(names, sizeof names, "DNS:%s%s%s", wish->name, wish->address != NULL ? ",IP:" : "",
                 wish->address != NULL ? wish->address : "");
    return n > 0 && (size_t)n < sizeof names &&
           add_extension(certificate, issuer, NID_subject_alt_name, names);
}

static bool add_extensions(X509 *certificate, X509 *issuer, const struct keys_wish *wish)
{
    bool ca = wish->use == KEYS_CA;
    bool good = add_extension(certificate, issuer, NID_basic_constraints,
                              ca ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
                add_extension(certificate, issuer, NID_key_usage,
                              ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
                add_extension(certificate, issuer, NID_subject_key_identifier, "hash") &&
                add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always");
    if (!good || ca) {
        return good;
    }
    bool server = wish->use == KEYS_SERVER;
    return add_extension(certificate, issuer, NID_ext_key_usage,
                         server ? "serverAuth" : "clientAuth") &&
           (!server || add_server_names(certificate, issuer, wish));
}

static bool fill(X509 *certificate, EVP_PKEY *key, const struct keys_wish *wish,
                 const struct keys_authority *authority)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509 *issuer = authority != NULL ? authority->certificate : certificate;
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -300) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(certificate), (int)wish->days, 0, NULL) != NULL &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)wish->name, -1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
           X509_set_pubkey(certificate, key) == 1 && add_extensions(certificate, issuer, wish) &&
           X509_sign(certificate, authority != NULL ? authority->key : key, EVP_sha256()) > 0;
}

bool keys_make(const char *dir, const char *file, const struct keys_wish *wish,
               const struct keys_authority *authority, struct whorl_fault *fault)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return whorl_fail(fault, dir, "cannot be made: %s", strerror(errno));
    }
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    bool good = key != NULL && certificate != NULL && fill(certificate, key, wish, authority);
    if (good) {
        good = write_pair(dir, file, key, certificate, fault);
    } else {
        whorl_fail(fault, file, "no certificate can be made for this name and address");
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    return good;
}

static X509 *read_certificate(const char *path, struct whorl_fault *fault)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        whorl_fail(fault, path, "cannot be read: %s", strerror(errno));
        return NULL;
    }
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    if (certificate == NULL) {
        whorl_fail(fault, path, "holds no certificate in PEM");
    }
    return certificate;
}

bool keys_authority_read(const char *dir, struct keys_authority *out, struct whorl_fault *fault)
{
    char path[PATH_CAP];
    *out = (struct keys_authority){0};
    if (!path_of(path, dir, "ca", ".pem", fault)) {
        return false;
    }
    out->certificate = read_certificate(path, fault);
    if (out->certificate == NULL || !path_of(path, dir, "ca", ".key", fault)) {
        return false;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return whorl_fail(fault, path, "cannot be read: %s", strerror(errno));
    }
    out->key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    if (out->key == NULL || X509_check_private_key(out->certificate, out->key) != 1) {
        return whorl_fail(fault, path, "is not the private key of ca.pem");
    }
    return true;
}

void keys_authority_release(struct keys_authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
}

/* The list as it is, or a new one. */
static X509_CRL *read_list(const char *path, const struct keys_authority *authority,
                           struct whorl_fault *fault)
{
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        X509_CRL *list = PEM_read_X509_CRL(file, NULL, NULL, NULL);
        fclose(file);
        if (list == NULL || X509_CRL_verify(list, authority->key) != 1) {
            X509_CRL_free(list);
            whorl_fail(fault, path, "is no list of this authority");
            return NULL;
        }
        return list;
    }
    if (errno != ENOENT) { /* a new list in its place would forget who is revoked */
        whorl_fail(fault, path, "cannot be read: %s", strerror(errno));
        return NULL;
    }
    X509_CRL *list = X509_CRL_new();
    if (list == NULL || X509_CRL_set_version(list, X509_CRL_VERSION_2) != 1 ||
        X509_CRL_set_issuer_name(list, X509_get_subject_name(authority->certificate)) != 1) {
        X509_CRL_free(list);
        whorl_fail(fault, path, "out of memory");
        return NULL;
    }
    return list;
}

static bool add_revoked(X509_CRL *list, const struct keys_authority *authority, const char *path,
                        struct whorl_fault *fault)
{
    X509 *certificate = read_certificate(path, fault);
    if (certificate == NULL) {
        return false;
    }
    X509_REVOKED *old = NULL;
    bool good = X509_verify(certificate, authority->key) == 1 ||
                whorl_fail(fault, path, "is not from this authority");
    if (good && X509_cmp(certificate, authority->certificate) == 0) {
        good = whorl_fail(fault, path, "is the authority itself, which its own list can't revoke");
    }
    if (good && X509_CRL_get0_by_cert(list, &old, certificate) == 0) {
        X509_REVOKED *entry = X509_REVOKED_new();
        ASN1_TIME *now = ASN1_TIME_set(NULL, time(NULL));
        good = entry != NULL && now != NULL &&
               X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate)) == 1 &&
               X509_REVOKED_set_revocationDate(entry, now) == 1 &&
               X509_CRL_add0_revoked(list, entry) == 1;
        ASN1_TIME_free(now);
        if (!good) {
            X509_REVOKED_free(entry);
            whorl_fail(fault, path, "out of memory");
        }
    }
    X509_free(certificate);
    return good;
}

/* RFC 5280 §5.2: who signed the list, and a number that only grows: the time. */
static bool extend_list(X509_CRL *list, const struct keys_authority *authority)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, authority->certificate, NULL, NULL, list, 0);
    X509_EXTENSION *issuer =
        X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    int old = X509_CRL_get_ext_by_NID(list, NID_authority_key_identifier, -1);
    if (old >= 0) {
        X509_EXTENSION_free(X509_CRL_delete_ext(list, old));
    }
    bool good = issuer != NULL && number != NULL && X509_CRL_add_ext(list, issuer, -1) == 1 &&
                ASN1_INTEGER_set_int64(number, time(NULL)) == 1 &&
                X509_CRL_add1_ext_i2d(list, NID_crl_number, number, 0, X509V3_ADD_REPLACE) == 1;
    X509_EXTENSION_free(issuer);
    ASN1_INTEGER_free(number);
    return good;
}

static bool sign_list(X509_CRL *list, const struct keys_authority *authority, long days)
{
    ASN1_TIME *now = ASN1_TIME_set(NULL, time(NULL));
    ASN1_TIME *next = ASN1_TIME_adj(NULL, time(NULL), (int)days, 0);
    bool good = now != NULL && next != NULL && X509_CRL_set1_lastUpdate(list, now) == 1 &&
                X509_CRL_set1_nextUpdate(list, next) == 1 && X509_CRL_sort(list) == 1 &&
                extend_list(list, authority) &&
                X509_CRL_sign(list, authority->key, EVP_sha256()) > 0;
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
    return good;
}

/* Replaces the list in one step, so that a server that reads it sees the old or the new one. */
static bool write_list(const char *dir, const char *path, X509_CRL *list, struct whorl_fault *fault)
{
    char fresh[PATH_CAP];
    if (!path_of(fresh, dir, "crl", ".pem.new", fault)) {
        return false;
    }
    unlink(fresh);
    FILE *out = create(fresh, 0644, fault);
    if (out == NULL || !finish(out, PEM_write_X509_CRL(out, list) == 1, fresh, fault)) {
        return false;
    }
    return rename(fresh, path) == 0 ||
           whorl_fail(fault, path, "cannot be replaced: %s", strerror(errno));
}

bool keys_revoke(const char *dir, const struct keys_authority *authority, const char *path,
                 long days, struct whorl_fault *fault)
{
    char list_path[PATH_CAP];
    if (!path_of(list_path, dir, "crl", ".pem", fault)) {
        return false;
    }
    X509_CRL *list = read_list(list_path, authority, fault);
    if (list == NULL) {
        return false;
    }
    bool good = path == NULL || add_revoked(list, authority, path, fault);
    if (good && !sign_list(list, authority, days)) {
        good = whorl_fail(fault, list_path, "cannot be signed");
    }
    good = good && write_list(dir, list_path, list, fault);
    X509_CRL_free(list);
    return good;
}
