/* Signed checkpoints (https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note) and
 * cosignatures (https://c2sp.org/tlog-cosignature). */
#include "plugins/audit/note.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "whorl/msg.h"

#define SIGNATURE 64u
#define TIME_MAX 253402300799u /* the last second of the year 9999 */
#define TIME 8u                /* big-endian seconds, before a cosignature */
#define DASH "\xe2\x80\x94 "   /* an em dash and a space begin a signature's line */

bool audit_origin_valid(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '+') {
            return false;
        }
    }
    return len >= 1 && len <= AUDIT_ORIGIN_MAX;
}

/* ------------------------------------------------------------------ keys */

static bool make_id(struct audit_signer *signer)
{
    uint8_t bytes[AUDIT_ORIGIN_MAX + 2 + 32], hash[AUDIT_HASH];
    size_t len = strlen(signer->origin);
    memcpy(bytes, signer->origin, len);
    bytes[len] = '\n';
    bytes[len + 1] = (uint8_t)signer->type;
    memcpy(bytes + len + 2, signer->public_key, 32);
    if (EVP_Digest(bytes, len + 2 + 32, hash, NULL, EVP_sha256(), NULL) != 1) {
        return false;
    }
    memcpy(signer->id, hash, AUDIT_KEY_ID);
    return true;
}

/* Makes a key and writes it to a file that did not exist; a power cut does not take it away. */
static EVP_PKEY *make_key(const char *path, struct whorl_fault *fault)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    int fd = key != NULL ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool ok = file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
              fflush(file) == 0 && fsync(fd) == 0;
    int error = ok ? audit_name_sync(path) : errno;
    ok = ok && error == 0;
    if (file != NULL) {
        fclose(file);
    } else if (fd >= 0) {
        close(fd);
    }
    if (ok) {
        return key;
    }
    if (fd >= 0) {
        unlink(path); /* half a key would only be in the way */
    }
    whorl_fail(fault, "", "cannot make the signing key %s: %s", path, strerror(error));
    EVP_PKEY_free(key);
    return NULL;
}

static bool open_signer(const char *path, enum audit_key type, const char *origin, bool make,
                        struct audit_signer *signer, struct whorl_fault *fault)
{
    size_t len = sizeof(signer->public_key);
    *signer = (struct audit_signer){.type = type};
    snprintf(signer->origin, sizeof(signer->origin), "%s", origin);
    bool ours = false;
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        signer->key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
        fclose(file);
        ours = signer->key != NULL && EVP_PKEY_is_a(signer->key, "ED25519");
        if (!ours) {
            whorl_fail(fault, "", "%s: expected an Ed25519 private key in PEM form", path);
        }
    } else if (errno == ENOENT && make) {
        signer->key = make_key(path, fault);
        ours = signer->key != NULL;
    } else {
        whorl_fail(fault, "", "cannot read the signing key %s: %s", path, strerror(errno));
    }
    if (ours && EVP_PKEY_get_raw_public_key(signer->key, signer->public_key, &len) == 1 &&
        make_id(signer)) {
        return true;
    }
    if (ours) {
        whorl_fail(fault, "", "%s: its public key can't be made", path);
    }
    EVP_PKEY_free(signer->key);
    signer->key = NULL;
    return false;
}

bool audit_signer_open(const char *path, const char *origin, bool make, struct audit_signer *signer,
                       struct whorl_fault *fault)
{
    return open_signer(path, AUDIT_KEY_LOG, origin, make, signer, fault);
}

bool audit_witness_open(const char *path, const char *name, bool make, struct audit_signer *signer,
                        struct whorl_fault *fault)
{
    return open_signer(path, AUDIT_KEY_WITNESS, name, make, signer, fault);
}

void audit_vkey_write(const struct audit_signer *signer, char text[AUDIT_VKEY_CAP])
{
    uint8_t key[1 + 32] = {(uint8_t)signer->type}, coded[48];
    const uint8_t *id = signer->id;
    memcpy(key + 1, signer->public_key, 32);
    EVP_EncodeBlock(coded, key, sizeof(key));
    snprintf(text, AUDIT_VKEY_CAP, "%s+%02x%02x%02x%02x+%s", signer->origin, id[0], id[1], id[2],
             id[3], (const char *)coded);
}

/* Bits that a decoder would leave unread must not make two texts of one signature. */
bool audit_base64_read(const char *text, size_t text_len, uint8_t *bytes, size_t len)
{
    uint8_t out[192], again[260];
    if (text_len == 0 || text_len != (len + 2) / 3 * 4 || text_len / 4 * 3 > sizeof(out) ||
        EVP_DecodeBlock(out, (const uint8_t *)text, (int)text_len) < 0 ||
        EVP_EncodeBlock(again, out, (int)len) != (int)text_len ||
        memcmp(again, text, text_len) != 0) {
        return false;
    }
    memcpy(bytes, out, len);
    return true;
}

static bool read_vkey(const char *text, enum audit_key type, struct audit_signer *signer,
                      struct whorl_fault *fault)
{
    const char *form = type == AUDIT_KEY_LOG
                           ? "expected a verifier key of the form NAME+ID+KEY for Ed25519"
                           : "expected a witness's verifier key of the form NAME+ID+KEY for "
                             "Ed25519 cosignatures";
    uint8_t key[1 + 32];
    char canonical[AUDIT_VKEY_CAP];
    size_t name = strcspn(text, "+");
    *signer = (struct audit_signer){.type = type};
    if (name == 0 || name > AUDIT_ORIGIN_MAX || text[name] != '+' || strlen(text) < name + 10 ||
        !audit_base64_read(text + name + 10, strlen(text + name + 10), key, sizeof(key)) ||
        key[0] != type) {
        return whorl_fail(fault, "", "%s", form);
    }
    memcpy(signer->origin, text, name);
    memcpy(signer->public_key, key + 1, 32);
    if (!make_id(signer)) {
        return whorl_fail(fault, "", "out of memory for a verifier key");
    }
    audit_vkey_write(signer, canonical);
    return (audit_origin_valid(signer->origin) && strcmp(canonical, text) == 0) ||
           whorl_fail(fault, "", "%s", form);
}

bool audit_vkey_read(const char *text, struct audit_signer *signer, struct whorl_fault *fault)
{
    return read_vkey(text, AUDIT_KEY_LOG, signer, fault);
}

bool audit_witness_vkey_read(const char *text, struct audit_signer *signer,
                             struct whorl_fault *fault)
{
    return read_vkey(text, AUDIT_KEY_WITNESS, signer, fault);
}

/* ------------------------------------------------------------------ signatures */

/* Ed25519 (RFC 8032) over len bytes. */
static bool sign(const struct audit_signer *signer, const uint8_t *bytes, size_t len,
                 uint8_t signature[SIGNATURE])
{
    size_t size = SIGNATURE;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && signer->key != NULL &&
              EVP_DigestSignInit(ctx, NULL, NULL, NULL, signer->key) == 1 &&
              EVP_DigestSign(ctx, signature, &size, bytes, len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool verify(const struct audit_signer *signer, const uint8_t signature[SIGNATURE],
                   const uint8_t *bytes, size_t len)
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, signer->public_key, 32);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = key != NULL && ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestVerify(ctx, signature, SIGNATURE, bytes, len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok;
}

/* Writes "— NAME BASE64" and a newline; bytes has AUDIT_KEY_ID bytes of room before what follows
 * it. */
static void write_line(const struct audit_signer *signer, uint8_t *bytes, size_t len, char *line,
                       size_t cap)
{
    uint8_t coded[128];
    memcpy(bytes, signer->id, AUDIT_KEY_ID);
    EVP_EncodeBlock(coded, bytes, (int)len);
    snprintf(line, cap, DASH "%s %s\n", signer->origin, (const char *)coded);
}

/* Takes a signature's line apart: whether it is one of this signer, of len bytes. */
static bool read_line(const struct audit_signer *signer, const char *line, size_t line_len,
                      uint8_t *bytes, size_t len)
{
    size_t name = strlen(signer->origin), head = strlen(DASH) + name + 1;
    if (line_len <= head || memcmp(line, DASH, strlen(DASH)) != 0 ||
        memcmp(line + strlen(DASH), signer->origin, name) != 0 || line[head - 1] != ' ' ||
        !audit_base64_read(line + head, line_len - head, bytes, len)) {
        return false;
    }
    return memcmp(signer->id, bytes, AUDIT_KEY_ID) == 0;
}

/* The length of a note's text, with its last newline; 0: it is no note. Its last line ends too, so
 * that another signature can follow. */
static size_t text_of(const char *note)
{
    const char *blank = strstr(note, "\n\n");
    size_t len = strlen(note);
    return blank != NULL && len < AUDIT_NOTE_CAP && note[len - 1] == '\n'
               ? (size_t)(blank + 1 - note)
               : 0;
}

/* The bytes that a cosignature is made over. */
static size_t cosigned_bytes(const char *note, size_t text_len, uint64_t time,
                             uint8_t bytes[AUDIT_NOTE_CAP + 64])
{
    int head = snprintf((char *)bytes, 64, "cosignature/v1\ntime %" PRIu64 "\n", time);
    memcpy(bytes + head, note, text_len);
    return (size_t)head + text_len;
}

bool audit_note_cosign(const struct audit_signer *witness, const char *note, uint64_t time,
                       char line[AUDIT_LINE_CAP], struct whorl_fault *fault)
{
    uint8_t message[AUDIT_NOTE_CAP + 64], bytes[AUDIT_KEY_ID + TIME + SIGNATURE];
    size_t text_len = text_of(note);
    uint64_t big = htobe64(time);
    memcpy(bytes + AUDIT_KEY_ID, &big, TIME);
    if (text_len == 0 || witness->type != AUDIT_KEY_WITNESS ||
        !sign(witness, message, cosigned_bytes(note, text_len, time, message),
              bytes + AUDIT_KEY_ID + TIME)) {
        return whorl_fail(fault, "", "the checkpoint could not be cosigned");
    }
    write_line(witness, bytes, sizeof(bytes), line, AUDIT_LINE_CAP);
    return true;
}

bool audit_note_cosigned(const struct audit_signer *witness, const char *note, uint64_t *time,
                         struct whorl_fault *fault)
{
    uint8_t message[AUDIT_NOTE_CAP + 64], bytes[AUDIT_KEY_ID + TIME + SIGNATURE];
    size_t text_len = text_of(note);
    if (text_len == 0 || witness->type != AUDIT_KEY_WITNESS) {
        return whorl_fail(fault, "", "the cosigned checkpoint is malformed");
    }
    for (const char *line = note + text_len + 1; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        if (read_line(witness, line, len, bytes, sizeof(bytes))) {
            memcpy(time, bytes + AUDIT_KEY_ID, TIME);
            *time = be64toh(*time);
            if (*time <= TIME_MAX && verify(witness, bytes + AUDIT_KEY_ID + TIME, message,
                                            cosigned_bytes(note, text_len, *time, message))) {
                return true;
            }
        }
        line += len + (line[len] == '\n');
    }
    return whorl_fail(fault, "", "the checkpoint is not cosigned by %s", witness->origin);
}

/* ------------------------------------------------------------------ notes */

bool audit_note_sign(const struct audit_signer *signer, uint64_t count,
                     const uint8_t root[AUDIT_HASH], char note[AUDIT_NOTE_CAP],
                     struct whorl_fault *fault)
{
    uint8_t coded[48], bytes[AUDIT_KEY_ID + SIGNATURE];
    EVP_EncodeBlock(coded, root, AUDIT_HASH);
    int text = snprintf(note, AUDIT_NOTE_CAP, "%s\n%" PRIu64 "\n%s\n", signer->origin, count,
                        (const char *)coded);
    if (!sign(signer, (const uint8_t *)note, (size_t)text, bytes + AUDIT_KEY_ID)) {
        return whorl_fail(fault, "", "the checkpoint could not be signed");
    }
    note[text] = '\n';
    write_line(signer, bytes, sizeof(bytes), note + text + 1, AUDIT_NOTE_CAP - (size_t)text - 1);
    return true;
}

/* Origin, count and root of a note's text, which must be exactly these three lines. */
static bool read_text(const char *origin, const char *text, size_t len, uint64_t *count,
                      uint8_t root[AUDIT_HASH], struct whorl_fault *fault)
{
    char again[AUDIT_NOTE_CAP];
    size_t name = strlen(origin);
    if (len <= name || memcmp(text, origin, name) != 0 || text[name] != '\n') {
        return whorl_fail(fault, "", "the checkpoint is not of %s", origin);
    }
    char *end;
    const char *number = text + name + 1;
    errno = 0;
    *count = strtoull(number, &end, 10);
    if (errno != 0 || *end != '\n' || (size_t)(end + 1 - text) + 45 != len ||
        !audit_base64_read(end + 1, 44, root, AUDIT_HASH)) {
        return whorl_fail(fault, "", "the checkpoint is malformed");
    }
    int same = snprintf(again, sizeof(again), "%s\n%" PRIu64 "\n%.44s\n", origin, *count, end + 1);
    return ((size_t)same == len && memcmp(again, text, len) == 0) ||
           whorl_fail(fault, "", "the checkpoint is malformed");
}

bool audit_note_verify(const struct audit_signer *signer, const char *note, uint64_t *count,
                       uint8_t root[AUDIT_HASH], struct whorl_fault *fault)
{
    uint8_t bytes[AUDIT_KEY_ID + SIGNATURE];
    size_t text_len = text_of(note);
    if (text_len == 0) {
        return whorl_fail(fault, "", "the checkpoint is malformed");
    }
    if (!read_text(signer->origin, note, text_len, count, root, fault)) {
        return false;
    }
    for (const char *line = note + text_len + 1; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        if (read_line(signer, line, len, bytes, sizeof(bytes)) &&
            verify(signer, bytes + AUDIT_KEY_ID, (const uint8_t *)note, text_len)) {
            return true;
        }
        line += len + (line[len] == '\n');
    }
    return whorl_fail(fault, "", "the checkpoint is not signed by %s", signer->origin);
}
