/* The Merkle tree, its proofs and its checkpoints: against RFC 6962 computed naively, and against
 * the verifying algorithms of RFC 9162. */
#include <check.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "plugins/audit/witness.h"
#include "run_suite.h"
#include "whorl/msg.h"

#define ORIGIN "test.example/log"
#define LEAVES 1100u /* more than four tiles */

typedef uint8_t hash[AUDIT_HASH];

static char dir[64];
static struct whorl_fault fault;
static EVP_MD_CTX *ctx;
static hash commitments[1000u * AUDIT_TILE + 1];

static void make_folder(void)
{
    snprintf(dir, sizeof(dir), "/tmp/whorl-tree-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ctx = EVP_MD_CTX_new();
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
    EVP_MD_CTX_free(ctx);
}

static bool take_commitment(void *arg, uint64_t position, const struct audit_record *record)
{
    (void)arg;
    /* The salt stands before the record. */
    ck_assert(audit_commit(ctx, record->bytes - AUDIT_SALT, record->bytes, record->len,
                           commitments[position]));
    return true;
}

/* Appends `count` records in transactions of odd sizes and signs a checkpoint. */
static void fill(size_t count)
{
    static const uint8_t empty_map[] = {0x80};
    enum { MOST = 4000 };
    static struct audit_record records[MOST];
    static struct audit_head heads[MOST];
    struct audit_log *log = audit_log_open(dir, ORIGIN, NULL, &fault);
    ck_assert_msg(log != NULL, "%s", fault.text);
    for (size_t i = 0; i < MOST; i++)
        records[i] = (struct audit_record){.bytes = empty_map, .len = 1};
    for (size_t done = 0, n = 1; done<count; done += n, n = count> LEAVES ? MOST : n % 97 + 1) {
        n = n < count - done ? n : count - done;
        ck_assert_msg(audit_log_append(log, records, n, heads, &fault), "%s", fault.text);
    }
    ck_assert_msg(audit_log_checkpoint(log, &fault), "%s", fault.text);
    audit_log_close(log);
    ck_assert(audit_each(dir, take_commitment, NULL, &fault));
}

static struct audit_checkpoint checkpoint_of(void)
{
    struct audit_checkpoint checkpoint;
    ck_assert_msg(audit_checkpoint_read(dir, NULL, &checkpoint, &fault), "%s", fault.text);
    return checkpoint;
}

/* MTH of leaves from..to, straight from the definition. */
static void naive_root(size_t from, size_t to, uint8_t *out)
{
    hash left, right;
    if (to == from) {
        EVP_Digest("", 0, out, NULL, EVP_sha256(), NULL);
    } else if (to - from == 1) {
        audit_leaf_hash(ctx, commitments[from], out);
    } else {
        size_t k = 1;
        while (2 * k < to - from)
            k *= 2;
        naive_root(from, from + k, left);
        naive_root(from + k, to, right);
        audit_node_hash(ctx, left, right, out);
    }
}

/* RFC 9162, section 2.1.3.2. */
static bool verify_inclusion(const struct audit_proof *proof, uint64_t position, uint64_t size,
                             const uint8_t *commitment, const uint8_t *root)
{
    uint64_t fn = position, sn = size - 1;
    hash r;
    audit_leaf_hash(ctx, commitment, r);
    for (size_t i = 0; i < proof->count; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) != 0 || fn == sn) {
            audit_node_hash(ctx, proof->hashes[i], r, r);
            while ((fn & 1) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            audit_node_hash(ctx, r, proof->hashes[i], r);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(r, root, AUDIT_HASH) == 0;
}

/* RFC 9162, section 2.1.4.2. */
static bool verify_consistency(const struct audit_proof *proof, uint64_t first, uint64_t second,
                               const uint8_t *first_root, const uint8_t *second_root)
{
    size_t at = 0;
    uint64_t fn = first - 1, sn = second - 1;
    hash fr, sr;
    if (first == second)
        return proof->count == 0 && memcmp(first_root, second_root, AUDIT_HASH) == 0;
    bool whole = (first & (first - 1)) == 0;
    if (!whole && proof->count == 0)
        return false;
    while ((fn & 1) != 0) {
        fn >>= 1;
        sn >>= 1;
    }
    memcpy(fr, whole ? first_root : proof->hashes[0], AUDIT_HASH);
    memcpy(sr, fr, AUDIT_HASH);
    for (at = whole ? 0 : 1; at < proof->count; at++) {
        if (sn == 0)
            return false;
        if ((fn & 1) != 0 || fn == sn) {
            audit_node_hash(ctx, proof->hashes[at], fr, fr);
            audit_node_hash(ctx, proof->hashes[at], sr, sr);
            while ((fn & 1) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            audit_node_hash(ctx, sr, proof->hashes[at], sr);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(fr, first_root, AUDIT_HASH) == 0 &&
           memcmp(sr, second_root, AUDIT_HASH) == 0;
}

START_TEST(roots_are_those_of_the_definition_at_every_size)
{
    fill(LEAVES);
    struct audit_checkpoint checkpoint = checkpoint_of();
    ck_assert_uint_eq(checkpoint.count, LEAVES);
    for (size_t size = 1; size <= LEAVES; size += size % 256 < 3 || size % 256 > 253 ? 1 : 17) {
        struct audit_proof proof;
        hash expected, root, whole;
        naive_root(0, size, expected);
        ck_assert_msg(
            audit_prove_consistency(dir, &checkpoint, size, LEAVES, root, whole, &proof, &fault),
            "%s", fault.text);
        ck_assert_mem_eq(root, expected, AUDIT_HASH);
        ck_assert_mem_eq(whole, checkpoint.root, AUDIT_HASH);
        ck_assert(verify_consistency(&proof, size, LEAVES, root, whole));
        root[7] ^= 1;
        ck_assert(!verify_consistency(&proof, size, LEAVES, root, whole));
    }
}
END_TEST

START_TEST(every_record_has_an_inclusion_proof_that_verifies)
{
    fill(700);
    struct audit_checkpoint checkpoint = checkpoint_of();
    static const size_t sizes[] = {700, 1, 2, 3, 255, 256, 257, 511, 512, 513};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        checkpoint.count = sizes[s];
        naive_root(0, sizes[s], checkpoint.root);
        for (uint64_t i = 0; i < sizes[s]; i += 1 + i % 7) {
            struct audit_proof proof;
            hash commitment;
            ck_assert_msg(audit_prove_inclusion(dir, &checkpoint, i, commitment, &proof, &fault),
                          "%s", fault.text);
            ck_assert_mem_eq(commitment, commitments[i], AUDIT_HASH);
            ck_assert(verify_inclusion(&proof, i, sizes[s], commitment, checkpoint.root));
            commitment[0] ^= 1;
            ck_assert(!verify_inclusion(&proof, i, sizes[s], commitment, checkpoint.root));
        }
    }
}
END_TEST

START_TEST(a_proof_holds_at_its_own_place_and_length_alone)
{
    enum { FEW = 7 };
    struct audit_proof proof;
    hash commitment;
    fill(FEW);
    struct audit_checkpoint checkpoint = checkpoint_of();
    for (uint64_t at = 0; at < FEW; at++) {
        ck_assert(audit_prove_inclusion(dir, &checkpoint, at, commitment, &proof, &fault));
        for (uint64_t place = 0; place <= FEW; place++) {
            bool holds = audit_inclusion_holds(&proof, place, FEW, commitment, checkpoint.root);
            ck_assert(holds == (place == at));
        }
        proof.count--;
        ck_assert(!audit_inclusion_holds(&proof, at, FEW, commitment, checkpoint.root));
        proof.count += 2;
        memcpy(proof.hashes[proof.count - 1], proof.hashes[0], AUDIT_HASH);
        ck_assert(!audit_inclusion_holds(&proof, at, FEW, commitment, checkpoint.root));
    }
}
END_TEST

START_TEST(proofs_beyond_the_checkpoint_are_refused)
{
    struct audit_proof proof;
    hash one, two;
    fill(5);
    struct audit_checkpoint checkpoint = checkpoint_of();
    ck_assert(!audit_prove_inclusion(dir, &checkpoint, 5, one, &proof, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "record 5 is not among the 5"));
    ck_assert(!audit_prove_consistency(dir, &checkpoint, 0, 5, one, two, &proof, &fault));
    ck_assert(!audit_prove_consistency(dir, &checkpoint, 4, 3, one, two, &proof, &fault));
    ck_assert(!audit_prove_consistency(dir, &checkpoint, 4, 6, one, two, &proof, &fault));
}
END_TEST

START_TEST(the_empty_log_has_the_root_of_nothing)
{
    hash expected;
    fill(0);
    struct audit_checkpoint checkpoint = checkpoint_of();
    naive_root(0, 0, expected);
    ck_assert_uint_eq(checkpoint.count, 0);
    ck_assert_mem_eq(checkpoint.root, expected, AUDIT_HASH);
}
END_TEST

START_TEST(an_altered_note_does_not_verify_wherever_it_is_altered)
{
    struct audit_signer signer;
    fill(3);
    struct audit_checkpoint checkpoint = checkpoint_of();
    ck_assert(audit_vkey_read(checkpoint.vkey, &signer, &fault));
    for (size_t i = 0; i < strlen(checkpoint.note); i++) {
        uint64_t count;
        hash root;
        char note[AUDIT_NOTE_CAP];
        memcpy(note, checkpoint.note, sizeof(note));
        note[i] ^= 1;
        ck_assert_msg(!audit_note_verify(&signer, note, &count, root, &fault), "byte %zu", i);
        memcpy(note, checkpoint.note, sizeof(note));
        note[i] = '\0';
        ck_assert_msg(!audit_note_verify(&signer, note, &count, root, &fault), "cut at %zu", i);
    }
}
END_TEST

START_TEST(altered_verifier_keys_are_refused)
{
    struct audit_signer signer;
    fill(0);
    struct audit_checkpoint checkpoint = checkpoint_of();
    for (size_t i = 0; i < strlen(checkpoint.vkey); i++) {
        char vkey[AUDIT_VKEY_CAP];
        memcpy(vkey, checkpoint.vkey, sizeof(vkey));
        vkey[i] ^= 1;
        ck_assert_msg(!audit_vkey_read(vkey, &signer, &fault), "byte %zu", i);
        memcpy(vkey, checkpoint.vkey, sizeof(vkey));
        vkey[i] = '\0';
        ck_assert_msg(!audit_vkey_read(vkey, &signer, &fault), "cut at %zu", i);
    }
}
END_TEST

START_TEST(signatures_of_others_beside_ours_are_passed_over)
{
    struct audit_signer signer;
    uint64_t count;
    hash root;
    fill(3);
    struct audit_checkpoint checkpoint = checkpoint_of();
    char note[AUDIT_NOTE_CAP], *blank = strstr(checkpoint.note, "\n\n");
    ck_assert(audit_vkey_read(checkpoint.vkey, &signer, &fault));
    snprintf(
        note, sizeof(note),
        "%.*s\n\xe2\x80\x94 witness.example "
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAA=\n%s",
        (int)(blank + 1 - checkpoint.note), checkpoint.note, blank + 2);
    ck_assert_msg(audit_note_verify(&signer, note, &count, root, &fault), "%s", fault.text);
    ck_assert_uint_eq(count, 3);
}
END_TEST

/* --- Damage ---------------------------------------------------------------------------------- */

/* Overwrites a value of one of the log's databases. */
struct damage {
    MDB_dbi dbi;
    uint64_t key;
    const void *value;
    size_t len;
};

static int put_damage(MDB_txn *txn, void *arg)
{
    struct damage *damage = arg;
    MDB_val key = {.mv_size = sizeof(damage->key), .mv_data = &damage->key};
    MDB_val value = {.mv_size = damage->len, .mv_data = (void *)damage->value};
    return mdb_put(txn, damage->dbi, &key, &value, 0);
}

static void damage(const char *db, uint64_t key, const void *value, size_t len)
{
    struct damage damage = {.key = key, .value = value, .len = len};
    struct whorl_store *store =
        whorl_store_open(dir, WHORL_STORE_WRITE, AUDIT_DBS, AUDIT_KIND, AUDIT_VERSION, &fault);
    ck_assert_ptr_nonnull(store);
    ck_assert(whorl_store_db(store, db, MDB_INTEGERKEY, &damage.dbi, &fault));
    ck_assert_msg(whorl_store_write(store, put_damage, &damage, &fault), "%s", fault.text);
    whorl_store_close(store);
}

static void refuses_to_prove(uint64_t position)
{
    struct audit_proof proof;
    hash commitment;
    struct audit_checkpoint checkpoint = checkpoint_of();
    memset(&fault, 0, sizeof(fault));
    ck_assert(!audit_prove_inclusion(dir, &checkpoint, position, commitment, &proof, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "cannot prove from the audit log"));
}

START_TEST(nothing_is_proved_from_a_damaged_entry)
{
    fill(40);
    damage(AUDIT_ENTRIES, 7, "garbage", 7);
    refuses_to_prove(7); /* the entry itself */
    refuses_to_prove(6); /* its neighbour, whose proof has its hash */
}
END_TEST

static bool count_each(void *arg, uint64_t position, const struct audit_record *record)
{
    (void)position, (void)record;
    ++*(unsigned *)arg;
    return true;
}

START_TEST(a_damaged_entry_is_not_left_out_in_silence)
{
    unsigned listed = 0;
    fill(40);
    damage(AUDIT_ENTRIES, 7, "garbage", 7);
    damage(AUDIT_ENTRIES, 20, "garbage", 7);
    ck_assert(!audit_each(dir, count_each, &listed, &fault));
    ck_assert_uint_eq(listed, 38);
    ck_assert_ptr_nonnull(strstr(fault.text, "record 7 "));
}
END_TEST

START_TEST(nothing_is_proved_from_a_stored_hash_of_another_length)
{
    fill(40);
    damage(AUDIT_TREE, (uint64_t)1 << 56 | 0, "short", 5); /* of the first 16 leaves */
    refuses_to_prove(20);
}
END_TEST

/* An entry and a stored hash that are well-formed, but not those that were signed. */
START_TEST(nothing_is_proved_that_does_not_lead_to_the_checkpoint)
{
    uint8_t entry[AUDIT_ENTRY_FIXED] = {AUDIT_ERASED};
    hash other = {1}, roots[2];
    struct audit_proof proof;
    struct audit_checkpoint checkpoint;
    fill(300);
    checkpoint = checkpoint_of();
    damage(AUDIT_ENTRIES, 7, entry, sizeof(entry));
    refuses_to_prove(7);
    refuses_to_prove(6);
    ck_assert(
        !audit_prove_consistency(dir, &checkpoint, 7, 40, roots[0], roots[1], &proof, &fault));
    ck_assert(
        audit_prove_consistency(dir, &checkpoint, 16, 40, roots[0], roots[1], &proof, &fault));
    damage(AUDIT_TREE, (uint64_t)1 << 56 | 17, other, sizeof(other)); /* of leaves 272 to 287 */
    refuses_to_prove(100);
    ck_assert(
        !audit_prove_consistency(dir, &checkpoint, 16, 40, roots[0], roots[1], &proof, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "not what its checkpoint says"));
}
END_TEST

START_TEST(proofs_of_what_a_tree_does_not_hold_are_not_found)
{
    struct audit_tree tree = {.ctx = ctx}; /* is not looked at */
    struct audit_proof proof;
    ck_assert_int_eq(audit_tree_inclusion(&tree, 5, 5, &proof), MDB_NOTFOUND);
    ck_assert_int_eq(audit_tree_consistency(&tree, 0, 5, &proof), MDB_NOTFOUND);
    ck_assert_int_eq(audit_tree_consistency(&tree, 6, 5, &proof), MDB_NOTFOUND);
    ck_assert_uint_eq(proof.count, 0);
}
END_TEST

static void remove_file(const char *name)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    ck_assert_int_eq(unlink(path), 0);
}

START_TEST(a_checkpoint_is_read_with_its_own_key_or_the_one_that_is_trusted)
{
    struct audit_checkpoint checkpoint, again;
    char other[AUDIT_VKEY_CAP + 1];
    fill(3);
    checkpoint = checkpoint_of();
    remove_file("checkpoint.vkey");
    ck_assert(!audit_checkpoint_read(dir, NULL, &again, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "holds no checkpoint.vkey"));
    ck_assert_msg(audit_checkpoint_read(dir, checkpoint.vkey, &again, &fault), "%s", fault.text);
    ck_assert_uint_eq(again.count, 3);
    snprintf(other, sizeof(other), "x%s", checkpoint.vkey);
    ck_assert(!audit_checkpoint_read(dir, other, &again, &fault));
    remove_file("checkpoint");
    ck_assert(!audit_checkpoint_read(dir, checkpoint.vkey, &again, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "holds no checkpoint"));
}
END_TEST

static off_t size_of(const char *name)
{
    char path[160];
    struct stat st;
    snprintf(path, sizeof(path), "%s/out/%s", dir, name);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

START_TEST(an_export_has_the_tiles_of_the_layout_and_no_record)
{
    char out[96];
    snprintf(out, sizeof(out), "%s/out", dir);
    fill(600);
    struct audit_checkpoint checkpoint = checkpoint_of();
    ck_assert_msg(audit_export(dir, &checkpoint, out, &fault), "%s", fault.text);
    ck_assert_int_eq(size_of("tile/0/000"), 256 * 32);
    ck_assert_int_eq(size_of("tile/0/001"), 256 * 32);
    ck_assert_int_eq(size_of("tile/0/002.p/88"), 88 * 32);
    ck_assert_int_eq(size_of("tile/1/000.p/2"), 2 * 32);
    ck_assert_int_eq(size_of("tile/entries/000"), 256 * 34);
    ck_assert_int_eq(size_of("tile/entries/002.p/88"), 88 * 34);
    ck_assert_int_eq(size_of("tile/2/000.p/0"), -1);
    ck_assert_int_gt(size_of("checkpoint"), 0);
    ck_assert_int_gt(size_of("checkpoint.vkey"), 0);
    char tile[128];
    snprintf(tile, sizeof(tile), "%s/tile/0/000", out);
    ck_assert_int_eq(truncate(tile, 0), 0); /* a power cut may do that */
    ck_assert_msg(audit_export(dir, &checkpoint, out, &fault), "%s", fault.text);
    ck_assert_int_eq(size_of("tile/0/000"), 256 * 32);
}
END_TEST

/* Three digits and an x are a level of folders (C2SP tlog-tiles). */
START_TEST(the_thousandth_tile_has_a_folder_above_it)
{
    char out[96];
    snprintf(out, sizeof(out), "%s/out", dir);
    fill(1000u * AUDIT_TILE + 1);
    struct audit_checkpoint checkpoint = checkpoint_of();
    ck_assert_msg(audit_export(dir, &checkpoint, out, &fault), "%s", fault.text);
    ck_assert_int_eq(size_of("tile/0/999"), AUDIT_TILE * 32);
    ck_assert_int_eq(size_of("tile/0/x001/000.p/1"), 32);
    ck_assert_int_eq(size_of("tile/entries/x001/000.p/1"), 34);
}
END_TEST

/* A file may not grow past its limit: what could be written of it does not count as a tile. */
START_TEST(a_tile_that_is_cut_short_is_no_tile)
{
    char out[96];
    const struct rlimit little = {100, RLIM_INFINITY}, most = {RLIM_INFINITY, RLIM_INFINITY};
    snprintf(out, sizeof(out), "%s/out", dir);
    fill(10);
    struct audit_checkpoint checkpoint = checkpoint_of();
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
    bool done = audit_export(dir, &checkpoint, out, &fault);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &most), 0);
    ck_assert(!done);
    ck_assert_ptr_nonnull(strstr(fault.text, "No space left"));
    ck_assert_int_eq(size_of("tile/entries/000.p/10"), -1);
    ck_assert_int_eq(size_of("checkpoint"), -1);
}
END_TEST

START_TEST(an_export_goes_where_it_is_told_or_nowhere)
{
    static char far[PATH_MAX + 1];
    char file[96];
    fill(3);
    struct audit_checkpoint checkpoint = checkpoint_of();
    memset(far, 'x', sizeof(far) - 1);
    ck_assert(!audit_export(dir, &checkpoint, far, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "too long"));
    snprintf(file, sizeof(file), "%s/checkpoint", dir); /* no folder */
    ck_assert(!audit_export(dir, &checkpoint, file, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "Not a directory"));
    ck_assert(!audit_export("/nowhere", &checkpoint, dir, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "/nowhere"));
}
END_TEST

/* Whole tiles that are there are left alone: so they must be this log's. */
START_TEST(an_export_goes_on_from_none_but_its_own_log_s)
{
    char out[96], command[512];
    snprintf(out, sizeof(out), "%s/out", dir);
    fill(600);
    struct audit_checkpoint checkpoint = checkpoint_of(), less = checkpoint;
    ck_assert_msg(audit_export(dir, &checkpoint, out, &fault), "%s", fault.text);
    less.count = 500;
    ck_assert(!audit_export(dir, &less, out, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "rolled back or cut short"));
    snprintf(command, sizeof(command), "cd '%s/out' && rm checkpoint && mkdir checkpoint", dir);
    ck_assert_int_eq(system(command), 0);
    ck_assert(!audit_export(dir, &checkpoint, out, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "cannot read"));
    snprintf(command, sizeof(command), "cd '%s/out' && rmdir checkpoint && : > checkpoint", dir);
    ck_assert_int_eq(system(command), 0); /* as a power cut leaves it */
    fill(1);
    checkpoint = checkpoint_of();
    ck_assert_msg(audit_export(dir, &checkpoint, out, &fault), "%s", fault.text);
    snprintf(command, sizeof(command),
             "cd '%s' && cp out/checkpoint kept && rm data.mdb checkpoint", dir);
    ck_assert_int_eq(system(command), 0);
    fill(601); /* with the same key */
    checkpoint = checkpoint_of();
    ck_assert(!audit_export(dir, &checkpoint, out, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "601 other records"));
    snprintf(command, sizeof(command),
             "cd '%s' && cmp out/checkpoint kept && rm data.mdb checkpoint checkpoint.key", dir);
    ck_assert_int_eq(system(command), 0);
    fill(700);
    checkpoint = checkpoint_of();
    ck_assert(!audit_export(dir, &checkpoint, out, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "holds another export"));
    snprintf(command, sizeof(command), "cd '%s' && cmp out/checkpoint kept", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* In place of libc's: notes what is synced. */
static char synced[4096];

int fsync(int fd)
{
    char link[32], path[160];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof(path) - 1);
    path[len > 0 ? len : 0] = '\0';
    size_t used = strlen(synced);
    snprintf(synced + used, sizeof(synced) - used, "%s\n", path);
    return (int)syscall(SYS_fsync, fd);
}

static bool was_synced(const char *below)
{
    char line[160];
    snprintf(line, sizeof(line), "%s%s\n", dir, below);
    return strstr(synced, line) != NULL;
}

/* A file is not durable before the name in its folder is. */
START_TEST(the_names_of_a_new_log_its_key_and_a_witness_are_durable)
{
    char log_dir[96], key[96], witness[96], vkey[AUDIT_VKEY_CAP], command[256];
    snprintf(command, sizeof(command), "mkdir '%s/keys' '%s/data' '%s/w'", dir, dir, dir);
    ck_assert_int_eq(system(command), 0);
    snprintf(log_dir, sizeof(log_dir), "%s/data/audit", dir);
    snprintf(key, sizeof(key), "%s/keys/audit.key", dir);
    snprintf(witness, sizeof(witness), "%s/w/witness", dir);
    synced[0] = '\0';
    struct audit_log *log = audit_log_open(log_dir, ORIGIN, key, &fault);
    ck_assert_msg(log != NULL, "%s", fault.text);
    audit_log_close(log);
    ck_assert(was_synced("/data"));
    ck_assert(was_synced("/data/audit"));
    ck_assert(was_synced("/keys"));
    struct audit_checkpoint checkpoint;
    ck_assert(audit_checkpoint_read(log_dir, NULL, &checkpoint, &fault));
    ck_assert(audit_witness_make(witness, "w.example/1", checkpoint.vkey, vkey, &fault));
    ck_assert(was_synced("/w"));
}
END_TEST

/* Another origin or key than the log's is refused: its checkpoints would not follow on. */
START_TEST(a_log_keeps_its_name_and_key)
{
    char key[96];
    fill(3);
    ck_assert_ptr_null(audit_log_open(dir, "other.example/log", NULL, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "not of other.example/log"));
    snprintf(key, sizeof(key), "%s/other.key", dir);
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, key, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "other.key"));
    ck_assert_int_ne(access(key, F_OK), 0);
}
END_TEST

/* What is there to verify the log with is evidence, should somebody have removed the rest. */
START_TEST(a_log_that_is_not_opened_gets_no_new_key)
{
    char command[512], key[96];
    fill(3);
    snprintf(command, sizeof(command),
             "cd '%s' && cp checkpoint.vkey kept && rm checkpoint && mv checkpoint.key moved", dir);
    ck_assert_int_eq(system(command), 0);
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, NULL, &fault));
    snprintf(key, sizeof(key), "%s/checkpoint.key", dir);
    ck_assert_int_ne(access(key, F_OK), 0);
    snprintf(command, sizeof(command), "cd '%s' && cmp checkpoint.vkey kept", dir);
    ck_assert_int_eq(system(command), 0);
    struct audit_signer other;
    snprintf(key, sizeof(key), "%s/other.key", dir);
    ck_assert(audit_signer_open(key, ORIGIN, true, &other, &fault));
    EVP_PKEY_free(other.key);
    ck_assert_ptr_null(audit_log_open(dir, ORIGIN, key, &fault));
    snprintf(command, sizeof(command), "cmp '%s/checkpoint.vkey' '%s/kept'", dir, dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit_tree");
    TCase *tests = tcase_create("tree");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, roots_are_those_of_the_definition_at_every_size);
    tcase_add_test(tests, every_record_has_an_inclusion_proof_that_verifies);
    tcase_add_test(tests, a_proof_holds_at_its_own_place_and_length_alone);
    tcase_add_test(tests, proofs_beyond_the_checkpoint_are_refused);
    tcase_add_test(tests, the_empty_log_has_the_root_of_nothing);
    tcase_add_test(tests, an_altered_note_does_not_verify_wherever_it_is_altered);
    tcase_add_test(tests, altered_verifier_keys_are_refused);
    tcase_add_test(tests, signatures_of_others_beside_ours_are_passed_over);
    tcase_add_test(tests, an_export_has_the_tiles_of_the_layout_and_no_record);
    tcase_add_test(tests, the_thousandth_tile_has_a_folder_above_it);
    tcase_add_test(tests, a_tile_that_is_cut_short_is_no_tile);
    tcase_add_test(tests, an_export_goes_where_it_is_told_or_nowhere);
    tcase_add_test(tests, nothing_is_proved_from_a_damaged_entry);
    tcase_add_test(tests, a_damaged_entry_is_not_left_out_in_silence);
    tcase_add_test(tests, nothing_is_proved_from_a_stored_hash_of_another_length);
    tcase_add_test(tests, nothing_is_proved_that_does_not_lead_to_the_checkpoint);
    tcase_add_test(tests, proofs_of_what_a_tree_does_not_hold_are_not_found);
    tcase_add_test(tests, a_checkpoint_is_read_with_its_own_key_or_the_one_that_is_trusted);
    tcase_add_test(tests, the_names_of_a_new_log_its_key_and_a_witness_are_durable);
    tcase_add_test(tests, an_export_goes_on_from_none_but_its_own_log_s);
    tcase_add_test(tests, a_log_keeps_its_name_and_key);
    tcase_add_test(tests, a_log_that_is_not_opened_gets_no_new_key);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
