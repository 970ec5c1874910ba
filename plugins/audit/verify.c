/* Reading the audit log from its first entry to its head, and saying what is wrong with it. */
#include <inttypes.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "plugins/audit/proof.h"
#include "plugins/audit/reader.h"
#include "whorl/msg.h"

#define PROGRESS_EVERY 8192u
#define LEVELS 64u

/* ------------------------------------------------------------------ verifying */

struct verifying {
    EVP_MD_CTX *ctx;
    struct audit_head head; /* what the database says */
    bool filed;             /* whether there is a checkpoint, and what it says: */
    uint64_t filed_count;
    uint8_t filed_root[AUDIT_HASH];
    bool cosigned; /* whether a witness's word counts, and what it cosigned: */
    uint64_t cosigned_count;
    uint8_t cosigned_root[AUDIT_HASH];
    struct audit_signer signer;
    char note[AUDIT_NOTE_CAP];         /* of the head's own transaction; "" = none */
    uint8_t peaks[LEVELS][AUDIT_HASH]; /* the tree so far: complete subtrees, by level */
    struct audit_report *report;
    uint64_t next;              /* the position that comes next */
    uint8_t before[AUDIT_HASH]; /* the chain hash before it */
    bool bad;                   /* report->what is set */
    bool unread;                /* perhaps only because something could not be read */
    bool link;                  /* the entry is whole but does not follow: explain() finds why */
    void (*progress)(void *ctx, uint64_t done, uint64_t of);
    void *progress_ctx;
};

static bool broken(struct verifying *v, uint64_t position, const char *what)
{
    v->bad = true;
    v->report->position = position;
    snprintf(v->report->what, sizeof(v->report->what), "%s", what);
    return false;
}

/* Whether the chain is the one that follows from `before` and `commitment`. */
static bool follows(EVP_MD_CTX *ctx, const uint8_t *before, const uint8_t *commitment,
                    const uint8_t *chain)
{
    uint8_t expected[AUDIT_HASH];
    return audit_chain(ctx, before, commitment, expected) &&
           memcmp(expected, chain, AUDIT_HASH) == 0;
}

/* Whether an LMDB code says nothing of what is stored. */
static bool is_unread(int rc)
{
    return rc != 0 && rc != MDB_NOTFOUND && rc != MDB_CORRUPTED;
}

/* Adds a leaf to the tree so far (those levels are full whose bit in `next` is set), and compares
 * what becomes complete with what is stored. */
static bool grow_tree(struct verifying *v, const struct audit_tree *tree, const uint8_t *commitment)
{
    uint8_t hash[AUDIT_HASH], stored[AUDIT_HASH];
    unsigned level = 0;
    if (!audit_leaf_hash(v->ctx, commitment, hash)) {
        return false;
    }
    for (; (v->next >> level & 1) != 0; level++) {
        if (!audit_node_hash(v->ctx, v->peaks[level], hash, hash)) {
            return false;
        }
        unsigned above = level + 1;
        if (above % AUDIT_STORED_LEVELS == 0) {
            int rc = audit_tree_stored(tree, above / AUDIT_STORED_LEVELS, v->next >> above, stored);
            v->unread = v->unread || is_unread(rc);
            if (rc != 0 || memcmp(stored, hash, AUDIT_HASH) != 0) {
                return false;
            }
        }
    }
    memcpy(v->peaks[level], hash, AUDIT_HASH);
    return true;
}

/* The root of the tree so far, of `next` leaves. */
static bool root_so_far(const struct verifying *v, uint8_t root[AUDIT_HASH])
{
    bool some = false;
    if (v->next == 0) {
        return EVP_Digest("", 0, root, NULL, EVP_sha256(), NULL) == 1;
    }
    for (unsigned level = 0; level < LEVELS; level++) {
        if ((v->next >> level & 1) == 0) {
            continue;
        }
        if (!some) {
            memcpy(root, v->peaks[level], AUDIT_HASH);
        } else if (!audit_node_hash(v->ctx, v->peaks[level], root, root)) {
            return false;
        }
        some = true;
    }
    return true;
}

static bool root_is(const struct verifying *v, const uint8_t expected[AUDIT_HASH])
{
    uint8_t root[AUDIT_HASH];
    return root_so_far(v, root) && memcmp(root, expected, AUDIT_HASH) == 0;
}

/* Whether the records so far are those of the checkpoints that are over as many. */
static bool check_roots(struct verifying *v)
{
    uint64_t last = v->next > 0 ? v->next - 1 : 0;
    if (v->filed && v->next == v->filed_count && !root_is(v, v->filed_root)) {
        return broken(v, last, "rewritten: the checkpoint is of other records up to here");
    }
    if (v->cosigned && v->next == v->cosigned_count && !root_is(v, v->cosigned_root)) {
        return broken(v, last, "rewritten: the witness cosigned other records up to here");
    }
    return true;
}

/* Whether a stored entry is what it was when it was written, at its place. */
static bool verify_alone(struct verifying *v, uint64_t position, const uint8_t *bytes, size_t len,
                         struct audit_entry *entry)
{
    uint8_t commitment[AUDIT_HASH];
    if (position != v->next) {
        return broken(v, v->next, "removed: there is no such record");
    }
    if (!audit_entry_read(bytes, len, entry)) {
        return broken(v, position, "edited: it does not have the form of an entry");
    }
    if (entry->form == AUDIT_WHOLE &&
        (!audit_commit(v->ctx, entry->salt, entry->record, entry->record_len, commitment) ||
         memcmp(commitment, entry->commitment, AUDIT_HASH) != 0)) {
        return broken(v, position, "edited: the record is not the one that was committed to");
    }
    if (follows(v->ctx, v->before, entry->commitment, entry->chain)) {
        return true;
    }
    v->link = true;
    return broken(v, position, "it does not follow the record before it");
}

static bool verify_entry(void *arg, const struct audit_tree *tree, uint64_t position,
                         const uint8_t *bytes, size_t len)
{
    struct verifying *v = arg;
    struct audit_entry entry;
    if (position >= v->head.count) { /* appended since we began, or added: check_end tells */
        return false;
    }
    if (!verify_alone(v, position, bytes, len, &entry)) {
        return false;
    }
    if (!grow_tree(v, tree, entry.commitment)) {
        return broken(v, position, "rewritten: the tree knows other records up to here");
    }
    v->report->erased += entry.form == AUDIT_ERASED;
    memcpy(v->before, entry.chain, AUDIT_HASH);
    v->next++;
    if (!check_roots(v)) {
        return false;
    }
    if (v->progress != NULL && v->next % PROGRESS_EVERY == 0) {
        v->progress(v->progress_ctx, v->next, v->head.count);
    }
    return true;
}

/* ------------------------------------------------------------------ what happened to a link */

/* The entry at `position` is whole, but does not follow the one before it. Where is the one that
 * does? */
struct search {
    EVP_MD_CTX *ctx;
    uint64_t position;
    const uint8_t *before;                                     /* what it should follow */
    uint8_t bad_commitment[AUDIT_HASH], bad_chain[AUDIT_HASH]; /* what stands there instead */
    uint8_t last_chain[AUDIT_HASH];                            /* of the entry visited last */
    uint64_t count;                                            /* entries from position on */
    uint64_t true_one; /* where the right one is; UINT64_MAX: nowhere */
    bool swapped;      /* the bad one belongs where the right one is */
    bool next_follows; /* the entry after the bad one follows it */
};

static bool search_entry(void *arg, const struct audit_tree *tree, uint64_t position,
                         const uint8_t *bytes, size_t len)
{
    struct search *s = arg;
    struct audit_entry entry;
    (void)tree;
    s->count++;
    if (!audit_entry_read(bytes, len, &entry)) {
        return true;
    }
    if (position == s->position) {
        memcpy(s->bad_commitment, entry.commitment, AUDIT_HASH);
        memcpy(s->bad_chain, entry.chain, AUDIT_HASH);
    } else if (position == s->position + 1) {
        s->next_follows = follows(s->ctx, s->bad_chain, entry.commitment, entry.chain);
    }
    if (position > s->position && s->true_one == UINT64_MAX &&
        follows(s->ctx, s->before, entry.commitment, entry.chain)) {
        /* Neighbours: the bad one follows the right one itself; else what stood before it. */
        const uint8_t *previous = position == s->position + 1 ? entry.chain : s->last_chain;
        s->true_one = position;
        s->swapped = follows(s->ctx, previous, s->bad_commitment, s->bad_chain);
    }
    memcpy(s->last_chain, entry.chain, AUDIT_HASH);
    return true;
}

static bool explain(const struct audit_reader *reader, struct verifying *v,
                    struct whorl_fault *fault)
{
    struct search s = {
        .ctx = v->ctx, .position = v->next, .before = v->before, .true_one = UINT64_MAX};
    char what[sizeof(v->report->what)];
    if (!audit_reader_each(reader, v->next, search_entry, &s, fault)) {
        return false;
    }
    if (s.swapped) {
        snprintf(what, sizeof(what), "swapped with record %" PRIu64, s.true_one);
    } else if (s.true_one != UINT64_MAX) {
        snprintf(what, sizeof(what), "added: what belongs here is now record %" PRIu64, s.true_one);
    } else if (v->next + s.count < v->head.count) {
        snprintf(what, sizeof(what), "removed: a record that stood here is missing");
    } else {
        snprintf(what, sizeof(what), "edited: commitment or chain hash %s",
                 s.next_follows ? "is not what the record after it was chained to"
                                : "does not follow from the record before it");
    }
    broken(v, v->next, what);
    return true;
}

/* ------------------------------------------------------------------ the whole */

/* The head of the database, and whether entries stand beyond it. */
static bool read_head(const struct audit_reader *reader, struct verifying *v,
                      struct whorl_fault *fault)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    uint64_t last = 0;
    MDB_txn *txn = whorl_store_read(reader->store, fault);
    if (txn == NULL) {
        return false;
    }
    int rc = audit_head_get(txn, reader->state, &v->head);
    bool none = rc == MDB_NOTFOUND || rc == MDB_CORRUPTED;
    if (rc == 0) {
        rc = audit_note_get(txn, reader->state, v->note);
        if (rc == MDB_NOTFOUND || rc == MDB_CORRUPTED) {
            v->note[0] = '\0';
            rc = 0;
        }
    }
    if (rc == 0) {
        rc = mdb_cursor_open(txn, reader->entries, &cursor);
    }
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    }
    if (rc == 0 && key.mv_size == sizeof(last)) {
        memcpy(&last, key.mv_data, sizeof(last));
        if (last >= v->head.count) {
            broken(v, v->head.count, "added: it stands beyond the head");
        }
    }
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    whorl_store_done(reader->store, txn);
    if (none) {
        broken(v, 0, "the head is missing or malformed");
    }
    return none || rc == 0 || rc == MDB_NOTFOUND ||
           whorl_fail(fault, "", "cannot read the audit log in %s: %s", reader->dir,
                      mdb_strerror(rc));
}

/* The note of the head's own transaction: signed, and over all records there are. */
static void check_note(struct verifying *v)
{
    struct whorl_fault bad = {{0}, {0}};
    uint64_t count;
    uint8_t root[AUDIT_HASH];
    char what[sizeof(v->report->what)];
    if (!audit_note_verify(&v->signer, v->note, &count, root, &bad)) {
        snprintf(what, sizeof(what), "forged: the head's signature: %.100s", bad.text);
        broken(v, v->head.count > 0 ? v->head.count - 1 : 0, what);
    } else if (count > v->head.count) {
        broken(v, v->head.count, "removed: the head's signature knows it");
    } else if (count != v->head.count || memcmp(root, v->report->root, AUDIT_HASH) != 0) {
        broken(v, v->head.count > 0 ? v->head.count - 1 : 0,
               "rewritten: the head's signature is over other records");
    }
}

static void check_end(struct verifying *v)
{
    if (v->next < v->head.count) {
        broken(v, v->next, "removed: the log ends before it");
    } else if (memcmp(v->before, v->head.hash, AUDIT_HASH) != 0) {
        broken(v, v->next > 0 ? v->next - 1 : 0, "rewritten: the head knows another record here");
    } else if (!v->filed && v->head.count > 0) {
        broken(v, 0, "the checkpoint is missing");
    } else if (v->filed && v->filed_count > v->head.count) {
        broken(v, v->head.count, "removed: the checkpoint knows it; rolled back or cut short");
    } else if (v->cosigned && v->cosigned_count > v->head.count) {
        broken(v, v->head.count, "removed: the witness cosigned it; rolled back or cut short");
    } else if (!root_so_far(v, v->report->root)) {
        broken(v, 0, "the root can't be computed");
    } else {
        check_note(v);
    }
}

/* Reads the checkpoint and verifies its signature. A bad one is a flaw of the log. */
static bool read_checkpoint(const char *dir, const char *vkey, struct verifying *v,
                            struct whorl_fault *fault)
{
    char note[AUDIT_NOTE_CAP], own[AUDIT_VKEY_CAP], what[sizeof(v->report->what)];
    struct whorl_fault bad = {{0}, {0}};
    int there = audit_file_read(dir, "checkpoint", note, sizeof(note), &bad);
    if (there == -1) {
        *fault = bad;
        return false;
    }
    if (vkey == NULL && !audit_vkey_of(dir, own, fault)) {
        return false;
    }
    if (!audit_vkey_read(vkey != NULL ? vkey : own, &v->signer, fault)) {
        return false;
    }
    v->filed =
        there == 1 && audit_note_verify(&v->signer, note, &v->filed_count, v->filed_root, &bad);
    if (there != 0 && !v->filed) {
        snprintf(what, sizeof(what), "forged: %.140s", bad.text);
        broken(v, 0, what);
    }
    return true;
}

/* The same for the checkpoint that the witness cosigned: it must bear both signatures. */
static bool read_cosigned(const char *dir, const struct audit_trust *trust, struct verifying *v,
                          struct whorl_fault *fault)
{
    char note[AUDIT_NOTE_CAP], what[sizeof(v->report->what)];
    struct audit_signer witness;
    struct whorl_fault bad = {{0}, {0}};
    if (!audit_witness_vkey_read(trust->witness, &witness, fault)) {
        return false;
    }
    int there = trust->cosigned != NULL
                    ? audit_file_read(NULL, trust->cosigned, note, sizeof(note), &bad)
                    : audit_file_read(dir, AUDIT_COSIGNED, note, sizeof(note), &bad);
    if (there == -1) {
        *fault = bad;
        return false;
    }
    if (there == 0) {
        whorl_fail(&bad, "", "no checkpoint that a witness cosigned is there");
    }
    v->cosigned = there == 1 &&
                  audit_note_verify(&v->signer, note, &v->cosigned_count, v->cosigned_root, &bad) &&
                  audit_note_cosigned(&witness, note, &v->report->cosigned_time, &bad);
    v->report->cosigned = v->cosigned_count;
    if (!v->cosigned) {
        snprintf(what, sizeof(what), "not witnessed: %.140s", bad.text);
        broken(v, 0, what);
    }
    return true;
}

static bool verify_with(const struct audit_reader *reader, const struct audit_trust *trust,
                        struct verifying *v, struct whorl_fault *fault)
{
    /* The files first: whoever appends meanwhile only makes the database the newer one. */
    if (!read_checkpoint(reader->dir, trust->vkey, v, fault) ||
        (trust->witness != NULL && !read_cosigned(reader->dir, trust, v, fault)) ||
        !read_head(reader, v, fault)) {
        return false;
    }
    /* A flaw of head or checkpoint counts only if no record is bad. */
    const struct audit_report end = *v->report;
    bool bad_end = v->bad;
    v->bad = false;
    v->report->head = v->head;
    if (!check_roots(v)) {
        return true;
    }
    if (!audit_reader_each(reader, 0, verify_entry, v, fault) ||
        (v->link && !explain(reader, v, fault))) {
        return false;
    }
    if (!v->bad && bad_end) {
        broken(v, end.position, end.what);
    } else if (!v->bad) {
        check_end(v);
    }
    return true;
}

enum audit_verdict audit_verify(const char *dir, const struct audit_trust *trust,
                                void (*progress)(void *ctx, uint64_t done, uint64_t of), void *ctx,
                                struct audit_report *report, struct whorl_fault *fault)
{
    static const struct audit_trust nobody = {NULL, NULL, NULL};
    struct audit_reader reader;
    struct verifying v = {.report = report, .progress = progress, .progress_ctx = ctx};
    memset(report, 0, sizeof(*report));
    if (!audit_reader_open(&reader, dir, fault)) {
        return AUDIT_FAILED;
    }
    v.ctx = reader.ctx;
    ERR_clear_error();
    bool ok = verify_with(&reader, trust != NULL ? trust : &nobody, &v, fault);
    audit_reader_close(&reader);
    /* A wrong hash or signature leaves no error; one that could not be computed does. */
    if (ok && v.bad && (v.unread || ERR_peek_error() != 0)) {
        ok = whorl_fail(fault, "", "the audit log in %s can't be verified: %s", dir,
                        v.unread ? "a stored hash can't be read" : "a hash can't be computed");
    }
    return !ok ? AUDIT_FAILED : v.bad ? AUDIT_BROKEN : AUDIT_INTACT;
}

/* ------------------------------------------------------------------ reading records */

struct listing {
    bool (*each)(void *ctx, uint64_t position, const struct audit_record *record);
    void *ctx;
    bool damaged;
    uint64_t first; /* damaged one */
};

static bool list_entry(void *arg, const struct audit_tree *tree, uint64_t position,
                       const uint8_t *bytes, size_t len)
{
    struct listing *listing = arg;
    struct audit_entry entry;
    (void)tree;
    if (!audit_entry_read(bytes, len, &entry)) {
        listing->first = listing->damaged ? listing->first : position;
        listing->damaged = true;
        return true;
    }
    if (entry.form == AUDIT_ERASED) {
        return true;
    }
    struct audit_record record = {.bytes = entry.record, .len = entry.record_len};
    return listing->each(listing->ctx, position, &record);
}

bool audit_each(const char *dir,
                bool (*each)(void *ctx, uint64_t position, const struct audit_record *record),
                void *ctx, struct whorl_fault *fault)
{
    struct audit_reader reader;
    struct listing listing = {.each = each, .ctx = ctx};
    if (!audit_reader_open(&reader, dir, fault)) {
        return false;
    }
    bool ok = audit_reader_each(&reader, 0, list_entry, &listing, fault);
    audit_reader_close(&reader);
    return ok && (!listing.damaged ||
                  whorl_fail(fault, "",
                             "record %" PRIu64 " of the audit log in %s does not have the form of "
                             "an entry: see whorl audit verify",
                             listing.first, dir));
}
