/* Witnesses (https://c2sp.org/tlog-witness). */
#include "plugins/audit/witness.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "whorl/msg.h"

#define ASKED "checkpoint.asked" /* in the log's folder: what the last request was about */
#define LATEST "latest"          /* in the witness's: the last cosigned checkpoint, or NOTHING */
#define FORK "contrary-fork"     /* the first that was seen */
#define UNPROVED "contrary-unproved" /* the last */
#define ROLLBACK "contrary-rollback" /* the last */
#define NOTHING "nothing cosigned yet\n"

/* ------------------------------------------------------------------ consistency */

/* Folds one hash of the proof into the two roots that are being built. */
struct folding {
    EVP_MD_CTX *ctx;
    uint64_t fn, sn;
    uint8_t fr[AUDIT_HASH], sr[AUDIT_HASH];
};

static bool fold(struct folding *f, const uint8_t hash[AUDIT_HASH])
{
    bool ok = f->sn != 0;
    if ((f->fn & 1) != 0 || f->fn == f->sn) {
        ok = ok && audit_node_hash(f->ctx, hash, f->fr, f->fr) &&
             audit_node_hash(f->ctx, hash, f->sr, f->sr);
        while ((f->fn & 1) == 0 && f->fn != 0) {
            f->fn >>= 1;
            f->sn >>= 1;
        }
    } else {
        ok = ok && audit_node_hash(f->ctx, f->sr, hash, f->sr);
    }
    f->fn >>= 1;
    f->sn >>= 1;
    return ok;
}

static bool fold_all(struct folding *f, const struct audit_proof *proof, uint64_t first,
                     const uint8_t first_root[AUDIT_HASH])
{
    bool whole = (first & (first - 1)) == 0; /* a complete subtree: its root is not in the proof */
    size_t at = whole ? 0 : 1;
    if (proof->count < at) {
        return false;
    }
    while ((f->fn & 1) != 0) {
        f->fn >>= 1;
        f->sn >>= 1;
    }
    memcpy(f->fr, whole ? first_root : proof->hashes[0], AUDIT_HASH);
    memcpy(f->sr, f->fr, AUDIT_HASH);
    for (; at < proof->count; at++) {
        if (!fold(f, proof->hashes[at])) {
            return false;
        }
    }
    return f->sn == 0;
}

bool audit_consistency_holds(const struct audit_proof *proof, uint64_t first, uint64_t second,
                             const uint8_t first_root[AUDIT_HASH],
                             const uint8_t second_root[AUDIT_HASH])
{
    if (first > second) {
        return false;
    }
    if (first == 0) {
        return proof->count == 0;
    }
    if (first == second) {
        return proof->count == 0 && memcmp(first_root, second_root, AUDIT_HASH) == 0;
    }
    struct folding f = {.ctx = EVP_MD_CTX_new(), .fn = first - 1, .sn = second - 1};
    bool ok = f.ctx != NULL && fold_all(&f, proof, first, first_root) &&
              memcmp(f.fr, first_root, AUDIT_HASH) == 0 &&
              memcmp(f.sr, second_root, AUDIT_HASH) == 0;
    EVP_MD_CTX_free(f.ctx);
    return ok;
}

/* ------------------------------------------------------------------ requests and replies */

/* Reads a number in decimal, without sign and leading zeros, up to the byte `end`. */
static bool read_size(const char **at, char end, uint64_t *size)
{
    char *stop;
    const char *text = *at;
    if (text[0] < '0' || text[0] > '9' || (text[0] == '0' && text[1] != end)) {
        return false;
    }
    errno = 0;
    *size = strtoull(text, &stop, 10);
    *at = stop + 1;
    return errno == 0 && *stop == end;
}

bool audit_witness_request(const char *dir, const struct audit_checkpoint *checkpoint, uint64_t old,
                           char request[AUDIT_REQUEST_CAP], struct whorl_fault *fault)
{
    struct audit_signer signer;
    struct audit_proof proof = {.count = 0};
    uint8_t first[AUDIT_HASH], second[AUDIT_HASH];
    char note[AUDIT_NOTE_CAP], coded[48];
    if (old == UINT64_MAX) {
        old = 0;
        int there = audit_file_read(dir, AUDIT_COSIGNED, note, sizeof(note), fault);
        if (there < 0 || (there == 1 && (!audit_vkey_read(checkpoint->vkey, &signer, fault) ||
                                         !audit_note_verify(&signer, note, &old, first, fault)))) {
            return false;
        }
    }
    if (old > checkpoint->count) {
        return whorl_fail(fault, "",
                          "the witness has cosigned %" PRIu64 " records and the checkpoint is of "
                          "%" PRIu64 ": the log was rolled back or cut short",
                          old, checkpoint->count);
    }
    if (old > 0 && !audit_prove_consistency(dir, checkpoint, old, checkpoint->count, first, second,
                                            &proof, fault)) {
        return false;
    }
    int len = snprintf(request, AUDIT_REQUEST_CAP, "old %" PRIu64 "\n", old);
    for (size_t i = 0; i < proof.count; i++) {
        EVP_EncodeBlock((uint8_t *)coded, proof.hashes[i], AUDIT_HASH);
        len += snprintf(request + len, AUDIT_REQUEST_CAP - (size_t)len, "%s\n", coded);
    }
    snprintf(request + len, AUDIT_REQUEST_CAP - (size_t)len, "\n%s", checkpoint->note);
    return audit_file_replace_alone(dir, ASKED, checkpoint->note, fault);
}

bool audit_request_read(const char *text, struct audit_request *asked, struct whorl_fault *fault)
{
    const char *at = text + 4;
    asked->proof.count = 0;
    if (strncmp(text, "old ", 4) != 0 || !read_size(&at, '\n', &asked->old)) {
        return whorl_fail(fault, "", "line 1 of the request: expected \"old\" and a size");
    }
    for (; *at != '\n'; at += 45) {
        size_t n = asked->proof.count;
        if (n == AUDIT_WITNESS_PROOF_MAX || strlen(at) < 45 || at[44] != '\n' ||
            !audit_base64_read(at, 44, asked->proof.hashes[n], AUDIT_HASH)) {
            return whorl_fail(fault, "",
                              "line %zu of the request: expected a hash, or an empty line", n + 2);
        }
        asked->proof.count++;
    }
    asked->note = at + 1;
    return true;
}

/* The size that a witness says it has cosigned last, when it can't go on from where we asked. */
static bool told_size(const char *reply, uint64_t asked, struct whorl_fault *fault)
{
    uint64_t size;
    const char *at = reply;
    if (!read_size(&at, '\n', &size) || *at != '\0') {
        return whorl_fail(fault, "", "the reply holds no cosignature of the witness");
    }
    if (size > asked) {
        return whorl_fail(fault, "",
                          "the witness has cosigned %" PRIu64
                          " records and was asked about %" PRIu64
                          ": the log was rolled back or cut short",
                          size, asked);
    }
    return whorl_fail(fault, "",
                      "the witness has cosigned %" PRIu64 " records: ask again with --old %" PRIu64,
                      size, size);
}

bool audit_witness_reply(const char *dir, const char *vkey, const char *witness_vkey,
                         const char *reply, uint64_t *count, uint64_t *time,
                         struct whorl_fault *fault)
{
    struct audit_signer signer, witness;
    uint8_t root[AUDIT_HASH];
    char note[AUDIT_NOTE_CAP], cosigned[2 * AUDIT_NOTE_CAP], own[AUDIT_VKEY_CAP];
    int there = audit_file_read(dir, ASKED, note, sizeof(note), fault);
    if (there == 0) {
        whorl_fail(fault, "", "nothing was asked of a witness: %s holds no " ASKED, dir);
    }
    if (there != 1) {
        return false;
    }
    if (vkey == NULL && !audit_vkey_of(dir, own, fault)) {
        return false;
    }
    if (!audit_vkey_read(vkey != NULL ? vkey : own, &signer, fault) ||
        !audit_witness_vkey_read(witness_vkey, &witness, fault) ||
        !audit_note_verify(&signer, note, count, root, fault)) {
        return false;
    }
    if (reply[0] >= '0' && reply[0] <= '9') {
        return told_size(reply, *count, fault);
    }
    int len = snprintf(cosigned, sizeof(cosigned), "%s%s", note, reply);
    if (len < 0 || (size_t)len >= sizeof(note)) {
        return whorl_fail(fault, "", "the reply is too long");
    }
    return audit_note_cosigned(&witness, cosigned, time, fault) &&
           audit_file_replace_alone(dir, AUDIT_COSIGNED, cosigned, fault);
}

/* ------------------------------------------------------------------ the witness's folder */

struct witness {
    const char *dir;
    int lock;
    struct audit_signer own, log;
    uint64_t count; /* cosigned last */
    uint8_t root[AUDIT_HASH];
};

static void path_of(const char *dir, const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", dir, name);
}

bool audit_witness_make(const char *dir, const char *name, const char *log_vkey,
                        char vkey[AUDIT_VKEY_CAP], struct whorl_fault *fault)
{
    struct audit_signer own, log;
    char path[PATH_MAX], line[AUDIT_VKEY_CAP + 1];
    if (!audit_origin_valid(name)) {
        return whorl_fail(fault, "", "the name must be printable ASCII without spaces and +");
    }
    if (!audit_vkey_read(log_vkey, &log, fault)) {
        return false;
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return whorl_fail(fault, "", "cannot make %s: %s", dir, strerror(errno));
    }
    int rc = audit_name_sync(dir);
    if (rc != 0) {
        return whorl_fail(fault, "", "cannot make the folder of %s durable: %s", dir, strerror(rc));
    }
    path_of(dir, "witness.key", path);
    if (access(path, F_OK) == 0) {
        return whorl_fail(fault, "", "%s holds a witness already", dir);
    }
    if (!audit_witness_open(path, name, true, &own, fault)) {
        return false;
    }
    EVP_PKEY_free(own.key);
    audit_vkey_write(&own, vkey);
    snprintf(line, sizeof(line), "%s\n", vkey);
    bool ok = audit_file_replace(dir, "witness.vkey", line, fault);
    snprintf(line, sizeof(line), "%s\n", log_vkey);
    return ok && audit_file_replace(dir, "log.vkey", line, fault) &&
           audit_file_replace(dir, LATEST, NOTHING, fault);
}

/* Reads a verifier key's file. */
static bool read_line_of(const char *dir, const char *name, char text[AUDIT_VKEY_CAP + 1],
                         struct whorl_fault *fault)
{
    int there = audit_file_read(dir, name, text, AUDIT_VKEY_CAP + 1, fault);
    if (there == 0) {
        whorl_fail(fault, "", "%s holds no %s: it is no witness's folder", dir, name);
    }
    text[there == 1 ? strcspn(text, "\n") : 0] = '\0';
    return there == 1;
}

static bool read_keys(struct witness *w, struct whorl_fault *fault)
{
    char text[AUDIT_VKEY_CAP + 1], path[PATH_MAX], vkey[AUDIT_VKEY_CAP];
    struct audit_signer named;
    if (!read_line_of(w->dir, "log.vkey", text, fault) || !audit_vkey_read(text, &w->log, fault) ||
        !read_line_of(w->dir, "witness.vkey", text, fault) ||
        !audit_witness_vkey_read(text, &named, fault)) {
        return false;
    }
    path_of(w->dir, "witness.key", path);
    if (!audit_witness_open(path, named.origin, false, &w->own, fault)) {
        return false;
    }
    audit_vkey_write(&w->own, vkey);
    return strcmp(vkey, text) == 0 ||
           whorl_fail(fault, "", "%s is not the key of %s/witness.vkey", path, w->dir);
}

/* What was cosigned last. A lost state is a failure and not a new beginning: else whoever rolls the
 * log back would only have to delete it. */
static bool read_latest(struct witness *w, struct whorl_fault *fault)
{
    char note[AUDIT_NOTE_CAP];
    uint64_t time;
    int there = audit_file_read(w->dir, LATEST, note, sizeof(note), fault);
    if (there == 0) {
        whorl_fail(fault, "",
                   "%s/" LATEST " is missing: the witness does not know what it cosigned", w->dir);
    }
    if (there != 1) {
        return false;
    }
    return strcmp(note, NOTHING) == 0 ||
           (audit_note_verify(&w->log, note, &w->count, w->root, fault) &&
            audit_note_cosigned(&w->own, note, &time, fault));
}

static bool open_witness(struct witness *w, const char *dir, struct whorl_fault *fault)
{
    *w = (struct witness){.dir = dir, .lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (w->lock < 0 || flock(w->lock, LOCK_EX) != 0) {
        return whorl_fail(fault, "", "cannot lock %s: %s", dir, strerror(errno));
    }
    return read_keys(w, fault) && read_latest(w, fault);
}

static void close_witness(struct witness *w)
{
    EVP_PKEY_free(w->own.key);
    if (w->lock >= 0) {
        close(w->lock);
    }
}

/* ------------------------------------------------------------------ answering */

/* The log has signed two roots of one size, which can't both be true: keeps the one that was not
 * cosigned. One proof is enough for ever, and whoever holds the log's key must not be able to put
 * something else in its place: the first stays. *fault says what is wrong; that it could not be
 * kept is worth less than that. */
static enum audit_witnessed forked(const struct witness *w, const char *note)
{
    char kept[AUDIT_NOTE_CAP];
    struct whorl_fault ignored;
    if (audit_file_read(w->dir, FORK, kept, sizeof(kept), &ignored) == 0) {
        audit_file_replace(w->dir, FORK, note, &ignored);
    }
    return AUDIT_CONTRARY;
}

/* What the log may have signed rightly: an older checkpoint than was cosigned, or a newer one that
 * came with a wrong proof, which anybody can put beside it. It proves nothing but that it was sent,
 * so it must not stand where the proof of a fork will. */
static enum audit_witnessed doubted(const struct witness *w, const char *name, const char *note)
{
    struct whorl_fault ignored;
    audit_file_replace(w->dir, name, note, &ignored);
    return AUDIT_CONTRARY;
}

/* Whether the checkpoint of count and root continues what was cosigned. */
static enum audit_witnessed judge(const struct witness *w, const struct audit_request *asked,
                                  uint64_t count, const uint8_t root[AUDIT_HASH],
                                  char reply[AUDIT_LINE_CAP], struct whorl_fault *fault)
{
    if (count < w->count) {
        whorl_fail(fault, "",
                   "rollback: %" PRIu64 " records are cosigned, this checkpoint is of %" PRIu64,
                   w->count, count);
        snprintf(reply, AUDIT_LINE_CAP, "%" PRIu64 "\n", w->count);
        return doubted(w, ROLLBACK, asked->note);
    }
    if (count == w->count && count > 0 && memcmp(root, w->root, AUDIT_HASH) != 0) {
        whorl_fail(fault, "", "fork: of %" PRIu64 " records another root is cosigned", count);
        return forked(w, asked->note);
    }
    if (asked->old > count) {
        whorl_fail(fault, "", "the request continues more records than the checkpoint has");
        return AUDIT_REFUSED;
    }
    if (asked->old != w->count) {
        whorl_fail(fault, "", "%" PRIu64 " records are cosigned, the request continues %" PRIu64,
                   w->count, asked->old);
        snprintf(reply, AUDIT_LINE_CAP, "%" PRIu64 "\n", w->count);
        return AUDIT_STALE;
    }
    if (!audit_consistency_holds(&asked->proof, asked->old, count, w->root, root)) {
        whorl_fail(fault, "",
                   "fork: no proof that these %" PRIu64 " records begin with the %" PRIu64
                   " that are cosigned",
                   count, w->count);
        return doubted(w, UNPROVED, asked->note);
    }
    return AUDIT_WITNESSED;
}

/* Keeps the cosigned checkpoint before anybody gets the cosignature. */
static enum audit_witnessed cosign(const struct witness *w, const char *note, uint64_t now,
                                   char reply[AUDIT_LINE_CAP], struct whorl_fault *fault)
{
    char kept[AUDIT_NOTE_CAP + AUDIT_LINE_CAP];
    if (!audit_note_cosign(&w->own, note, now, reply, fault)) {
        return AUDIT_BROKEN_WITNESS;
    }
    snprintf(kept, sizeof(kept), "%s%s", note, reply);
    if (strlen(kept) >= AUDIT_NOTE_CAP) {
        whorl_fail(fault, "", "the checkpoint has too many signatures");
        return AUDIT_REFUSED;
    }
    return audit_file_replace(w->dir, LATEST, kept, fault) ? AUDIT_WITNESSED : AUDIT_BROKEN_WITNESS;
}

enum audit_witnessed audit_witness_answer(const char *dir, const char *request, uint64_t now,
                                          char reply[AUDIT_LINE_CAP], struct whorl_fault *fault)
{
    struct witness w;
    struct audit_request asked = {.note = ""};
    uint64_t count;
    uint8_t root[AUDIT_HASH];
    enum audit_witnessed how = AUDIT_BROKEN_WITNESS;
    reply[0] = '\0';
    *fault = (struct whorl_fault){{0}, {0}};
    if (open_witness(&w, dir, fault)) {
        how = AUDIT_REFUSED;
        if (audit_request_read(request, &asked, fault) &&
            audit_note_verify(&w.log, asked.note, &count, root, fault)) {
            how = judge(&w, &asked, count, root, reply, fault);
        }
        if (how == AUDIT_WITNESSED) {
            how = cosign(&w, asked.note, now, reply, fault);
        }
    }
    if (how != AUDIT_WITNESSED && how != AUDIT_STALE && how != AUDIT_CONTRARY) {
        reply[0] = '\0';
    }
    close_witness(&w);
    return how;
}
