/* Keys and certificates for demos and small installations: ECDSA P-256, X.509 v3 (RFC 5280). */
#ifndef CLI_KEYS_H
#define CLI_KEYS_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>

#include "whorl/plugin.h"

enum keys_use { KEYS_CA, KEYS_SERVER, KEYS_DEVICE };

struct keys_wish {
    enum keys_use use;
    const char *name;    /* common name; a server's is its DNS name too */
    const char *address; /* a server's IP address besides; NULL = none */
    long days;           /* of validity */
};

/* An authority: its certificate and key. */
struct keys_authority {
    X509 *certificate;
    EVP_PKEY *key;
};

/* Reads DIR/ca.pem and DIR/ca.key. false with *fault. Release in any case. */
bool keys_authority_read(const char *dir, struct keys_authority *out, struct whorl_fault *fault);
void keys_authority_release(struct keys_authority *authority);

/* Makes a key and a certificate and writes them to DIR/FILE.key (mode 0600) and DIR/FILE.pem, DIR
 * being made if missing. Overwrites nothing. authority NULL: self-signed. */
bool keys_make(const char *dir, const char *file, const struct keys_wish *wish,
               const struct keys_authority *authority, struct whorl_fault *fault);

/* Adds the certificate in the PEM file `path` to DIR/crl.pem, the authority's list of revoked
 * certificates, and signs it anew; valid for `days`. path NULL: signs the list anew only. */
bool keys_revoke(const char *dir, const struct keys_authority *authority, const char *path,
                 long days, struct whorl_fault *fault);

#endif
