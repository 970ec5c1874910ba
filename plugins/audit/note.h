/* Signed checkpoints: the size and root of the log in C2SP tlog-checkpoint form, signed with
 * Ed25519 as a C2SP signed note; and cosignatures of witnesses on them (C2SP tlog-cosignature,
 * cosignature/v1). */
#ifndef PLUGINS_AUDIT_NOTE_H
#define PLUGINS_AUDIT_NOTE_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugins/audit/entry.h"
#include "whorl/plugin.h"

#define AUDIT_ORIGIN_MAX 128u /* bytes of an origin, which is the signing key's name too */
#define AUDIT_VKEY_CAP 256u
#define AUDIT_KEY_ID 4u
#define AUDIT_LINE_CAP 320u /* a signature's line, with newline and NUL */

/* What a key signs: the byte that its id and verifier key begin with. */
enum audit_key { AUDIT_KEY_LOG = 0x01, AUDIT_KEY_WITNESS = 0x04 };

/* Who signs, or whose signature is believed. */
struct audit_signer {
    enum audit_key type;
    char origin[AUDIT_ORIGIN_MAX + 1];
    uint8_t public_key[32];
    uint8_t id[AUDIT_KEY_ID]; /* the first bytes of SHA-256(name | newline | type | public key) */
    EVP_PKEY *key;            /* private; NULL: can only verify */
};

/* Whether text may be an origin: 1 to AUDIT_ORIGIN_MAX printable ASCII characters without space and
 * plus. Pure function. */
bool audit_origin_valid(const char *text);

/* Reads a log's Ed25519 private key (PEM) in path; if there is no such file and `make` is set,
 * makes a key and the file (mode 0600, fsynced). Release the signer's key with EVP_PKEY_free. */
bool audit_signer_open(const char *path, const char *origin, bool make, struct audit_signer *signer,
                       struct whorl_fault *fault);
/* The same for a witness's key; name is the witness's. */
bool audit_witness_open(const char *path, const char *name, bool make, struct audit_signer *signer,
                        struct whorl_fault *fault);

/* The verifier key of a signer, as text without a newline. */
void audit_vkey_write(const struct audit_signer *signer, char text[AUDIT_VKEY_CAP]);
/* A log's verifier key, or a witness's, out of its text (the signer's private key is NULL). */
bool audit_vkey_read(const char *text, struct audit_signer *signer, struct whorl_fault *fault);
bool audit_witness_vkey_read(const char *text, struct audit_signer *signer,
                             struct whorl_fault *fault);

/* Decodes exactly len bytes of base64, in the one form that encoding gives (RFC 4648, 3.5). */
bool audit_base64_read(const char *text, size_t text_len, uint8_t *bytes, size_t len);

/* The signed note over count and root. */
bool audit_note_sign(const struct audit_signer *signer, uint64_t count,
                     const uint8_t root[AUDIT_HASH], char note[AUDIT_NOTE_CAP],
                     struct whorl_fault *fault);

/* Reads count and root of a note and verifies the signer's signature (others are passed over).
 * false with *fault: malformed, of another origin, or not signed by the signer. Pure function. */
bool audit_note_verify(const struct audit_signer *signer, const char *note, uint64_t *count,
                       uint8_t root[AUDIT_HASH], struct whorl_fault *fault);

/* The witness's cosignature on a note, as of `time` (seconds since 1970): one line with its
 * newline, to be appended to the note. */
bool audit_note_cosign(const struct audit_signer *witness, const char *note, uint64_t time,
                       char line[AUDIT_LINE_CAP], struct whorl_fault *fault);

/* Whether the witness has cosigned the note, and as of when. Says nothing of the log's own
 * signature. Pure function. */
bool audit_note_cosigned(const struct audit_signer *witness, const char *note, uint64_t *time,
                         struct whorl_fault *fault);

#endif
