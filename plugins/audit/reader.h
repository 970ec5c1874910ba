/* Inside the audit log: reading one that others may be appending to. */
#ifndef PLUGINS_AUDIT_READER_H
#define PLUGINS_AUDIT_READER_H

#include "plugins/audit/tree.h"

struct audit_reader {
    struct whorl_store *store;
    const char *dir;
    MDB_dbi entries, state, tree;
    EVP_MD_CTX *ctx;
};

/* Opens the log in dir, which must outlive the reader. false with *fault; nothing to close then. */
bool audit_reader_open(struct audit_reader *reader, const char *dir, struct whorl_fault *fault);
void audit_reader_close(struct audit_reader *reader);

/* The tree as txn sees it. */
struct audit_tree audit_reader_tree(const struct audit_reader *reader, MDB_txn *txn);

/* What visits one stored entry: position as its key says, tree in the same transaction. Returns
 * whether to go on. */
typedef bool audit_visit(void *ctx, const struct audit_tree *tree, uint64_t position,
                         const uint8_t *bytes, size_t len);

/* Visits entries in order from `from` on, in short transactions, until the visitor has enough or
 * the log ends. */
bool audit_reader_each(const struct audit_reader *reader, uint64_t from, audit_visit *visitor,
                       void *ctx, struct whorl_fault *fault);

#endif
