/* The Merkle tree of RFC 6962, section 2.1, over the log: leaf data n is the commitment of record
 * n. Of its hashes only those of complete subtrees of 16, 16², … leaves are stored (database
 * "tree": the power in the top byte of the key, the index below it); what lies between is computed.
 */
#ifndef PLUGINS_AUDIT_TREE_H
#define PLUGINS_AUDIT_TREE_H

#include "plugins/audit/entry.h"

#define AUDIT_TREE "tree"
#define AUDIT_STORED_LEVELS 4u /* from one stored level of the tree to the next */
#define AUDIT_STORED (1u << AUDIT_STORED_LEVELS)
#define AUDIT_TILE 256u /* hashes in an exported tile */
#define AUDIT_PROOF_MAX 128u

/* A tree as a transaction sees it. One thread at a time. */
struct audit_tree {
    MDB_txn *txn;
    MDB_dbi entries, tree;
    EVP_MD_CTX *ctx;
};

struct audit_proof {
    uint8_t hashes[AUDIT_PROOF_MAX][AUDIT_HASH];
    size_t count;
};

/* SHA-256(0x00 | commitment) and SHA-256(0x01 | left | right). */
bool audit_leaf_hash(EVP_MD_CTX *ctx, const uint8_t commitment[AUDIT_HASH],
                     uint8_t hash[AUDIT_HASH]);
bool audit_node_hash(EVP_MD_CTX *ctx, const uint8_t left[AUDIT_HASH],
                     const uint8_t right[AUDIT_HASH], uint8_t hash[AUDIT_HASH]);

/* The functions below return an LMDB code; MDB_NOTFOUND when the log lacks what they need. */

/* The hash of the complete subtree of 2^level leaves that begins at leaf index << level. */
int audit_tree_node(const struct audit_tree *tree, unsigned level, uint64_t index,
                    uint8_t hash[AUDIT_HASH]);
/* The leaf hashes of the last, incomplete run of AUDIT_STORED entries: run[i] becomes that of entry
 * count - count % AUDIT_STORED + i. */
int audit_tree_run(const struct audit_tree *tree, uint64_t count,
                   uint8_t run[AUDIT_STORED][AUDIT_HASH]);
/* After the log has grown to count, a multiple of AUDIT_STORED: stores what became complete. run:
 * the last AUDIT_STORED leaf hashes; they are spoilt. */
int audit_tree_complete(const struct audit_tree *tree, uint64_t count,
                        uint8_t run[AUDIT_STORED][AUDIT_HASH]);
/* The hash that is stored for a subtree of AUDIT_STORED^power leaves. */
int audit_tree_stored(const struct audit_tree *tree, unsigned power, uint64_t index,
                      uint8_t hash[AUDIT_HASH]);

/* MTH of the first count leaves. */
int audit_tree_root(const struct audit_tree *tree, uint64_t count, uint8_t root[AUDIT_HASH]);
/* PATH(position, D[count]); position < count. */
int audit_tree_inclusion(const struct audit_tree *tree, uint64_t position, uint64_t count,
                         struct audit_proof *proof);
/* PROOF(first, D[count]); 0 < first <= count. */
int audit_tree_consistency(const struct audit_tree *tree, uint64_t first, uint64_t count,
                           struct audit_proof *proof);

#endif
