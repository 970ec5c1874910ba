/* The Merkle tree over the log. */
#include "plugins/audit/tree.h"

#include <errno.h>
#include <string.h>

#define LEAF_DOMAIN 0x00
#define NODE_DOMAIN 0x01

/* ------------------------------------------------------------------ hashes */

bool audit_leaf_hash(EVP_MD_CTX *ctx, const uint8_t commitment[AUDIT_HASH],
                     uint8_t hash[AUDIT_HASH])
{
    uint8_t all[1 + AUDIT_HASH] = {LEAF_DOMAIN};
    memcpy(all + 1, commitment, AUDIT_HASH);
    return audit_digest_begin(ctx) && EVP_DigestUpdate(ctx, all, sizeof(all)) == 1 &&
           EVP_DigestFinal_ex(ctx, hash, NULL) == 1;
}

bool audit_node_hash(EVP_MD_CTX *ctx, const uint8_t left[AUDIT_HASH],
                     const uint8_t right[AUDIT_HASH], uint8_t hash[AUDIT_HASH])
{
    uint8_t both[1 + 2 * AUDIT_HASH] = {NODE_DOMAIN};
    memcpy(both + 1, left, AUDIT_HASH);
    memcpy(both + 1 + AUDIT_HASH, right, AUDIT_HASH);
    return audit_digest_begin(ctx) && EVP_DigestUpdate(ctx, both, sizeof(both)) == 1 &&
           EVP_DigestFinal_ex(ctx, hash, NULL) == 1;
}

static int leaf(const struct audit_tree *tree, uint64_t position, uint8_t hash[AUDIT_HASH])
{
    struct audit_entry entry;
    MDB_val key = {.mv_size = sizeof(position), .mv_data = &position}, value;
    int rc = mdb_get(tree->txn, tree->entries, &key, &value);
    if (rc != 0) {
        return rc;
    }
    if (!audit_entry_read(value.mv_data, value.mv_size, &entry)) {
        return MDB_CORRUPTED;
    }
    return audit_leaf_hash(tree->ctx, entry.commitment, hash) ? 0 : ENOMEM;
}

/* ------------------------------------------------------------------ stored hashes */

static uint64_t node_key(unsigned power, uint64_t index)
{
    return (uint64_t)power << 56 | index;
}

int audit_tree_stored(const struct audit_tree *tree, unsigned power, uint64_t index,
                      uint8_t hash[AUDIT_HASH])
{
    uint64_t id = node_key(power, index);
    MDB_val key = {.mv_size = sizeof(id), .mv_data = &id}, value;
    int rc = mdb_get(tree->txn, tree->tree, &key, &value);
    if (rc == 0 && value.mv_size != AUDIT_HASH) {
        rc = MDB_CORRUPTED;
    }
    if (rc == 0) {
        memcpy(hash, value.mv_data, AUDIT_HASH);
    }
    return rc;
}

/* A node from its two children. */
static int combine(const struct audit_tree *tree, unsigned level, uint64_t index,
                   uint8_t hash[AUDIT_HASH])
{
    uint8_t left[AUDIT_HASH], right[AUDIT_HASH];
    int rc = audit_tree_node(tree, level - 1, 2 * index, left);
    if (rc == 0) {
        rc = audit_tree_node(tree, level - 1, 2 * index + 1, right);
    }
    if (rc == 0 && !audit_node_hash(tree->ctx, left, right, hash)) {
        rc = ENOMEM;
    }
    return rc;
}

int audit_tree_node(const struct audit_tree *tree, unsigned level, uint64_t index,
                    uint8_t hash[AUDIT_HASH])
{
    if (level == 0) {
        return leaf(tree, index, hash);
    }
    if (level % AUDIT_STORED_LEVELS == 0) {
        return audit_tree_stored(tree, level / AUDIT_STORED_LEVELS, index, hash);
    }
    return combine(tree, level, index, hash);
}

int audit_tree_run(const struct audit_tree *tree, uint64_t count,
                   uint8_t run[AUDIT_STORED][AUDIT_HASH])
{
    uint64_t left = count % AUDIT_STORED;
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < left; i++) {
        rc = leaf(tree, count - left + i, run[i]);
    }
    return rc;
}

static int store(const struct audit_tree *tree, unsigned power, uint64_t index,
                 uint8_t hash[AUDIT_HASH])
{
    uint64_t id = node_key(power, index);
    MDB_val key = {.mv_size = sizeof(id), .mv_data = &id};
    MDB_val value = {.mv_size = AUDIT_HASH, .mv_data = hash};
    return mdb_put(tree->txn, tree->tree, &key, &value, 0);
}

int audit_tree_complete(const struct audit_tree *tree, uint64_t count,
                        uint8_t run[AUDIT_STORED][AUDIT_HASH])
{
    for (size_t width = AUDIT_STORED; width > 1; width /= 2) {
        for (size_t i = 0; i < width; i += 2) {
            if (!audit_node_hash(tree->ctx, run[i], run[i + 1], run[i / 2])) {
                return ENOMEM;
            }
        }
    }
    count /= AUDIT_STORED;
    int rc = store(tree, 1, count - 1, run[0]);
    for (unsigned power = 2; rc == 0 && count % AUDIT_STORED == 0; power++) {
        uint8_t hash[AUDIT_HASH];
        count /= AUDIT_STORED;
        rc = combine(tree, power * AUDIT_STORED_LEVELS, count - 1, hash);
        if (rc == 0) {
            rc = store(tree, power, count - 1, hash);
        }
    }
    return rc;
}

/* ------------------------------------------------------------------ roots and proofs */

/* The largest power of two below n; n >= 2. */
static uint64_t split(uint64_t n)
{
    return 1ULL << (63 - __builtin_clzll(n - 1));
}

/* MTH(D[from:to]), from < to. Of all such ranges in a tree's proofs, those whose size is a power of
 * two are complete subtrees. */
static int range(const struct audit_tree *tree, uint64_t from, uint64_t to,
                 uint8_t hash[AUDIT_HASH])
{
    uint64_t size = to - from;
    if ((size & (size - 1)) == 0) {
        unsigned level = (unsigned)__builtin_ctzll(size);
        return audit_tree_node(tree, level, from >> level, hash);
    }
    uint8_t left[AUDIT_HASH], right[AUDIT_HASH];
    uint64_t middle = from + split(size);
    int rc = range(tree, from, middle, left);
    if (rc == 0) {
        rc = range(tree, middle, to, right);
    }
    return rc != 0 ? rc : audit_node_hash(tree->ctx, left, right, hash) ? 0 : ENOMEM;
}

int audit_tree_root(const struct audit_tree *tree, uint64_t count, uint8_t root[AUDIT_HASH])
{
    if (count > 0) {
        return range(tree, 0, count, root);
    }
    return EVP_Digest("", 0, root, NULL, EVP_sha256(), NULL) == 1 ? 0 : ENOMEM;
}

/* A proof has a hash a level, and one more: a tree has 64 levels at most. */
static int add_range(const struct audit_tree *tree, uint64_t from, uint64_t to,
                     struct audit_proof *proof)
{
    return range(tree, from, to, proof->hashes[proof->count++]);
}

static int inclusion(const struct audit_tree *tree, uint64_t position, uint64_t from, uint64_t to,
                     struct audit_proof *proof)
{
    if (to - from == 1) {
        return 0;
    }
    uint64_t middle = from + split(to - from);
    bool left = position < middle;
    int rc = left ? inclusion(tree, position, from, middle, proof)
                  : inclusion(tree, position, middle, to, proof);
    if (rc != 0) {
        return rc;
    }
    return left ? add_range(tree, middle, to, proof) : add_range(tree, from, middle, proof);
}

int audit_tree_inclusion(const struct audit_tree *tree, uint64_t position, uint64_t count,
                         struct audit_proof *proof)
{
    proof->count = 0;
    return position < count ? inclusion(tree, position, 0, count, proof) : MDB_NOTFOUND;
}

/* SUBPROOF: first counts from `from`; known: whether the verifier knows the hash of from..to. */
static int consistency(const struct audit_tree *tree, uint64_t first, uint64_t from, uint64_t to,
                       bool known, struct audit_proof *proof)
{
    if (first == to - from) {
        return known ? 0 : add_range(tree, from, to, proof);
    }
    uint64_t half = split(to - from), middle = from + half;
    bool left = first <= half;
    int rc = left ? consistency(tree, first, from, middle, known, proof)
                  : consistency(tree, first - half, middle, to, false, proof);
    if (rc != 0) {
        return rc;
    }
    return left ? add_range(tree, middle, to, proof) : add_range(tree, from, middle, proof);
}

int audit_tree_consistency(const struct audit_tree *tree, uint64_t first, uint64_t count,
                           struct audit_proof *proof)
{
    proof->count = 0;
    return first > 0 && first <= count ? consistency(tree, first, 0, count, true, proof)
                                       : MDB_NOTFOUND;
}
