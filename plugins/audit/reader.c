/* Reading the audit log. */
#include "plugins/audit/reader.h"

#include <string.h>

#include "whorl/msg.h"

#define BATCH 8192u /* entries in one read transaction: a long one would make the map grow */

bool audit_reader_open(struct audit_reader *reader, const char *dir, struct whorl_fault *fault)
{
    *reader = (struct audit_reader){.dir = dir, .ctx = EVP_MD_CTX_new()};
    if (reader->ctx == NULL) {
        return whorl_fail(fault, "", "out of memory");
    }
    reader->store =
        whorl_store_open(dir, WHORL_STORE_READ, AUDIT_DBS, AUDIT_KIND, AUDIT_VERSION, fault);
    if (reader->store != NULL &&
        whorl_store_db(reader->store, AUDIT_ENTRIES, MDB_INTEGERKEY, &reader->entries, fault) &&
        whorl_store_db(reader->store, AUDIT_STATE, 0, &reader->state, fault) &&
        whorl_store_db(reader->store, AUDIT_TREE, MDB_INTEGERKEY, &reader->tree, fault)) {
        return true;
    }
    audit_reader_close(reader);
    return false;
}

void audit_reader_close(struct audit_reader *reader)
{
    whorl_store_close(reader->store);
    EVP_MD_CTX_free(reader->ctx);
    *reader = (struct audit_reader){0};
}

struct audit_tree audit_reader_tree(const struct audit_reader *reader, MDB_txn *txn)
{
    return (struct audit_tree){
        .txn = txn, .entries = reader->entries, .tree = reader->tree, .ctx = reader->ctx};
}

/* Visits up to BATCH entries from *from on in one transaction. *more: whether to come again. */
static int visit_batch(const struct audit_tree *tree, uint64_t *from, audit_visit *visitor,
                       void *ctx, bool *more)
{
    MDB_cursor *cursor;
    uint64_t position = *from;
    MDB_val key = {.mv_size = sizeof(position), .mv_data = &position}, value;
    *more = false;
    int rc = mdb_cursor_open(tree->txn, tree->entries, &cursor);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (unsigned n = 0; rc == 0 && n < BATCH; n++) {
        if (key.mv_size != sizeof(position)) {
            rc = MDB_CORRUPTED;
            break;
        }
        memcpy(&position, key.mv_data, sizeof(position));
        *more = visitor(ctx, tree, position, value.mv_data, value.mv_size);
        if (!*more) {
            break;
        }
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

bool audit_reader_each(const struct audit_reader *reader, uint64_t from, audit_visit *visitor,
                       void *ctx, struct whorl_fault *fault)
{
    bool more = true;
    while (more) {
        MDB_txn *txn = whorl_store_read(reader->store, fault);
        if (txn == NULL) {
            return false;
        }
        struct audit_tree tree = audit_reader_tree(reader, txn);
        int rc = visit_batch(&tree, &from, visitor, ctx, &more);
        whorl_store_done(reader->store, txn);
        if (rc != 0) {
            return whorl_fail(fault, "", "cannot read the audit log in %s: %s", reader->dir,
                              mdb_strerror(rc));
        }
    }
    return true;
}
