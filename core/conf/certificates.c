#include "core/conf/certificates.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/stat.h>

/* Opens a regular file; a mistake when it can't be. */
static FILE *open_file(struct mistakes *mistakes, struct conf_place place, const char *option,
                       const char *path, struct stat *st)
{
    FILE *in = fopen(path, "re");
    if (!in) {
        mistake_at(mistakes, place, "%s: %s can't be opened: %s", option, path, strerror(errno));
        return NULL;
    }
    if (fstat(fileno(in), st) != 0 || !S_ISREG(st->st_mode)) {
        mistake_at(mistakes, place, "%s: %s is no regular file", option, path);
        (void)fclose(in);
        return NULL;
    }
    return in;
}

static X509 *read_certificate(struct mistakes *mistakes, struct conf_place place,
                              const char *option, const char *path)
{
    struct stat st;
    FILE *in = open_file(mistakes, place, option, path, &st);
    if (!in) {
        return NULL;
    }
    X509 *certificate = PEM_read_X509(in, NULL, NULL, NULL);
    (void)fclose(in);
    if (!certificate) {
        mistake_at(mistakes, place, "%s: %s holds no certificate in PEM form", option, path);
    }
    return certificate;
}

static int no_password(char *buffer, int size, int writing, void *ctx)
{
    (void)buffer, (void)size, (void)writing, (void)ctx;
    return -1;
}

bool certificates_is_private(const struct stat *info)
{
    return (info->st_mode & (info->st_uid == 0 ? S_IRWXO | S_IWGRP : S_IRWXO | S_IRWXG)) == 0;
}

static EVP_PKEY *read_key(struct mistakes *mistakes, struct conf_place place, const char *path)
{
    struct stat st;
    FILE *in = open_file(mistakes, place, "key", path, &st);
    if (!in) {
        return NULL;
    }
    EVP_PKEY *key = PEM_read_PrivateKey(in, NULL, no_password, NULL);
    (void)fclose(in);
    if (!key) {
        mistake_at(mistakes, place, "key: %s holds no unencrypted private key in PEM form", path);
    } else if (!certificates_is_private(&st)) {
        mistake_at(mistakes, place, "key: %s can be used by others than its owner (mode %04o)",
                   path, (unsigned)st.st_mode & 07777u);
    }
    return key;
}

static void check_crl(struct mistakes *mistakes, struct conf_place place, const char *path)
{
    struct stat st;
    FILE *in = open_file(mistakes, place, "crl", path, &st);
    if (!in) {
        return;
    }
    X509_CRL *crl = PEM_read_X509_CRL(in, NULL, NULL, NULL);
    (void)fclose(in);
    if (!crl) {
        mistake_at(mistakes, place, "crl: %s holds no revocation list in PEM form", path);
    }
    X509_CRL_free(crl);
}

void certificates_check(struct mistakes *mistakes, const struct conf_listener *listener,
                        const struct certificate_places *places)
{
    X509 *certificate =
        read_certificate(mistakes, places->certificate, "certificate", listener->certificate);
    EVP_PKEY *key = read_key(mistakes, places->key, listener->key);
    if (certificate && key && X509_check_private_key(certificate, key) != 1) {
        mistake_at(mistakes, places->key, "key: %s does not belong to the certificate %s",
                   listener->key, listener->certificate);
    }
    X509_free(read_certificate(mistakes, places->client_ca, "client_ca", listener->client_ca));
    if (listener->crl[0] != '\0') {
        check_crl(mistakes, places->crl, listener->crl);
    }
    EVP_PKEY_free(key);
    X509_free(certificate);
    ERR_clear_error();
}
