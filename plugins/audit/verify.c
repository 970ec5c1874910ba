/* Reading the audit log from its first entry to its head, and saying what is wrong with it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "plugins/audit/entry.h"
#include "whorl/msg.h"

#define BATCH 8192u /* entries in one read transaction: a long one would make the map grow */

struct reader {
    struct whorl_store *store;
    const char *dir;
    MDB_dbi entries, state;
};

static bool open_reader(struct reader *reader, const char *dir, struct whorl_fault *fault)
{
    reader->dir = dir;
    reader->store =
        whorl_store_open(dir, WHORL_STORE_READ, AUDIT_DBS, AUDIT_KIND, AUDIT_VERSION, fault);
    if (reader->store == NULL)
        return false;
    if (whorl_store_db(reader->store, AUDIT_ENTRIES, MDB_INTEGERKEY, &reader->entries, fault) &&
        whorl_store_db(reader->store, AUDIT_STATE, 0, &reader->state, fault))
        return true;
    whorl_store_close(reader->store);
    return false;
}

/* What visits one stored entry. position: as its key says. Returns whether to go on. */
typedef bool visit(void *ctx, uint64_t position, const uint8_t *bytes, size_t len);

/* Visits up to BATCH entries from *from on in one transaction. *more: whether to come again. */
static int visit_batch(MDB_txn *txn, MDB_dbi entries, uint64_t *from, visit *visitor, void *ctx,
                       bool *more)
{
    MDB_cursor *cursor;
    uint64_t position = *from;
    MDB_val key = {.mv_size = sizeof(position), .mv_data = &position}, value;
    *more = false;
    int rc = mdb_cursor_open(txn, entries, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (unsigned n = 0; rc == 0 && n < BATCH; n++) {
        if (key.mv_size != sizeof(position)) {
            rc = MDB_CORRUPTED;
            break;
        }
        memcpy(&position, key.mv_data, sizeof(position));
        *more = visitor(ctx, position, value.mv_data, value.mv_size);
        if (!*more)
            break;
        *from = position + 1;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND) {
        *more = false;
        rc = 0;
    }
    return rc;
}

/* Visits every entry from `from` on until the visitor has enough. */
static bool visit_all(const struct reader *reader, uint64_t from, visit *visitor, void *ctx,
                      struct whorl_fault *fault)
{
    bool more = true;
    while (more) {
        MDB_txn *txn = whorl_store_read(reader->store, fault);
        if (txn == NULL)
            return false;
        int rc = visit_batch(txn, reader->entries, &from, visitor, ctx, &more);
        whorl_store_done(reader->store, txn);
        if (rc != 0)
            return whorl_fail(fault, "", "cannot read the audit log in %s: %s", reader->dir,
                              mdb_strerror(rc));
    }
    return true;
}

/* ------------------------------------------------------------------ verifying */

struct verifying {
    EVP_MD_CTX *ctx;
    struct audit_head head;  /* what the database says */
    struct audit_head filed; /* what the head file says */
    struct audit_report *report;
    uint64_t next;              /* the position that comes next */
    uint8_t before[AUDIT_HASH]; /* the chain hash before it */
    bool bad;                   /* report->what is set */
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

static bool verify_entry(void *arg, uint64_t position, const uint8_t *bytes, size_t len)
{
    struct verifying *v = arg;
    struct audit_entry entry;
    uint8_t commitment[AUDIT_HASH];
    if (position >= v->head.count) /* appended since we began, or added: check_end tells */
        return false;
    if (position != v->next)
        return broken(v, v->next, "removed: there is no such record");
    if (!audit_entry_read(bytes, len, &entry))
        return broken(v, position, "edited: it does not have the form of an entry");
    if (entry.form == AUDIT_WHOLE &&
        (!audit_commit(v->ctx, entry.salt, entry.record, entry.record_len, commitment) ||
         memcmp(commitment, entry.commitment, AUDIT_HASH) != 0))
        return broken(v, position, "edited: the record is not the one that was committed to");
    if (!follows(v->ctx, v->before, entry.commitment, entry.chain)) {
        v->link = true;
        return broken(v, position, "it does not follow the record before it");
    }
    v->report->erased += entry.form == AUDIT_ERASED;
    memcpy(v->before, entry.chain, AUDIT_HASH);
    v->next++;
    if (v->next == v->filed.count && memcmp(v->before, v->filed.hash, AUDIT_HASH) != 0)
        return broken(v, position, "rewritten: the head file knows another record here");
    if (v->progress != NULL && v->next % BATCH == 0)
        v->progress(v->progress_ctx, v->next, v->head.count);
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

static bool search_entry(void *arg, uint64_t position, const uint8_t *bytes, size_t len)
{
    struct search *s = arg;
    struct audit_entry entry;
    s->count++;
    if (!audit_entry_read(bytes, len, &entry))
        return true;
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

static bool explain(const struct reader *reader, struct verifying *v, struct whorl_fault *fault)
{
    struct search s = {
        .ctx = v->ctx, .position = v->next, .before = v->before, .true_one = UINT64_MAX};
    char what[sizeof(v->report->what)];
    if (!visit_all(reader, v->next, search_entry, &s, fault))
        return false;
    if (s.swapped)
        snprintf(what, sizeof(what), "swapped with record %" PRIu64, s.true_one);
    else if (s.true_one != UINT64_MAX)
        snprintf(what, sizeof(what), "added: what belongs here is now record %" PRIu64, s.true_one);
    else if (v->next + s.count < v->head.count)
        snprintf(what, sizeof(what), "removed: a record that stood here is missing");
    else
        snprintf(what, sizeof(what), "edited: commitment or chain hash %s",
                 s.next_follows ? "is not what the record after it was chained to"
                                : "does not follow from the record before it");
    broken(v, v->next, what);
    return true;
}

/* ------------------------------------------------------------------ the whole */

/* The head of the database, and whether entries stand beyond it. */
static bool read_head(const struct reader *reader, struct verifying *v, struct whorl_fault *fault)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    uint64_t last = 0;
    MDB_txn *txn = whorl_store_read(reader->store, fault);
    if (txn == NULL)
        return false;
    int rc = audit_head_get(txn, reader->state, &v->head);
    bool none = rc == MDB_NOTFOUND || rc == MDB_CORRUPTED;
    if (rc == 0)
        rc = mdb_cursor_open(txn, reader->entries, &cursor);
    if (rc == 0)
        rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (rc == 0 && key.mv_size == sizeof(last)) {
        memcpy(&last, key.mv_data, sizeof(last));
        if (last >= v->head.count)
            broken(v, v->head.count, "added: it stands beyond the head");
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    whorl_store_done(reader->store, txn);
    if (none)
        broken(v, 0, "the head is missing or malformed");
    return none || rc == 0 || rc == MDB_NOTFOUND ||
           whorl_fail(fault, "", "cannot read the audit log in %s: %s", reader->dir,
                      mdb_strerror(rc));
}

static void check_end(struct verifying *v, bool filed_there)
{
    if (v->next < v->head.count)
        broken(v, v->next, "removed: the log ends before it");
    else if (memcmp(v->before, v->head.hash, AUDIT_HASH) != 0)
        broken(v, v->next > 0 ? v->next - 1 : 0, "rewritten: the head knows another record here");
    else if (!filed_there && v->head.count > 0)
        broken(v, 0, "the head file is missing");
    else if (v->filed.count > v->head.count)
        broken(v, v->head.count, "removed: the head file knows it; rolled back or cut short");
}

static bool verify_with(const struct reader *reader, struct verifying *v, struct whorl_fault *fault)
{
    /* The file first: whoever appends meanwhile only makes the database the newer one. */
    int filed_there = audit_head_file_read(reader->dir, &v->filed, fault);
    if (filed_there < 0) {
        v->filed = (struct audit_head){0};
        broken(v, 0, "the head file is malformed");
    }
    if (!read_head(reader, v, fault))
        return false;
    /* A flaw of the head or beyond it counts only if no record before it is bad. */
    const struct audit_report end = *v->report;
    bool bad_end = v->bad;
    v->bad = false;
    v->report->head = v->head;
    if (!visit_all(reader, 0, verify_entry, v, fault) || (v->link && !explain(reader, v, fault)))
        return false;
    if (!v->bad && bad_end)
        broken(v, end.position, end.what);
    else if (!v->bad)
        check_end(v, filed_there == 1);
    return true;
}

enum audit_verdict audit_verify(const char *dir,
                                void (*progress)(void *ctx, uint64_t done, uint64_t of), void *ctx,
                                struct audit_report *report, struct whorl_fault *fault)
{
    struct reader reader;
    struct verifying v = {.report = report, .progress = progress, .progress_ctx = ctx};
    memset(report, 0, sizeof(*report));
    if (!open_reader(&reader, dir, fault))
        return AUDIT_FAILED;
    v.ctx = EVP_MD_CTX_new();
    bool ok =
        v.ctx != NULL ? verify_with(&reader, &v, fault) : whorl_fail(fault, "", "out of memory");
    EVP_MD_CTX_free(v.ctx);
    whorl_store_close(reader.store);
    return !ok ? AUDIT_FAILED : v.bad ? AUDIT_BROKEN : AUDIT_INTACT;
}

/* ------------------------------------------------------------------ reading records */

struct listing {
    bool (*each)(void *ctx, uint64_t position, const struct audit_record *record);
    void *ctx;
};

static bool list_entry(void *arg, uint64_t position, const uint8_t *bytes, size_t len)
{
    const struct listing *listing = arg;
    struct audit_entry entry;
    if (!audit_entry_read(bytes, len, &entry) || entry.form == AUDIT_ERASED)
        return true;
    struct audit_record record = {.bytes = entry.record, .len = entry.record_len};
    return listing->each(listing->ctx, position, &record);
}

bool audit_each(const char *dir,
                bool (*each)(void *ctx, uint64_t position, const struct audit_record *record),
                void *ctx, struct whorl_fault *fault)
{
    struct reader reader;
    struct listing listing = {.each = each, .ctx = ctx};
    if (!open_reader(&reader, dir, fault))
        return false;
    bool ok = visit_all(&reader, 0, list_entry, &listing, fault);
    whorl_store_close(reader.store);
    return ok;
}
