/* Measures the audit log: durable appending in groups beside bare LMDB with the same groups on the
 * same disk, in alternation, so that a slow moment of the disk is shared; then verifying, and
 * inclusion proofs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/audit/proof.h"
#include "whorl/msg.h"

#define GROUP 256u
#define ROUND 64u   /* groups before the other one's turn */
#define RECORD 400u /* bytes; an identify record has about as many */
#define PROOFS 1000u

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

static void need(bool ok, const struct whorl_fault *fault)
{
    if (ok)
        return;
    fprintf(stderr, "bench/audit: %s\n", fault->text);
    exit(3);
}

/* Bare LMDB: the record alone, in the order of its position. */
struct bare {
    struct whorl_store *store;
    MDB_dbi dbi;
    uint64_t next;
    const uint8_t *record;
};

static int put_bare(MDB_txn *txn, void *arg)
{
    struct bare *bare = arg;
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < GROUP; i++) {
        uint64_t position = bare->next + i;
        MDB_val key = {.mv_size = sizeof(position), .mv_data = &position};
        MDB_val value = {.mv_size = RECORD, .mv_data = (void *)(uintptr_t)bare->record};
        rc = mdb_put(txn, bare->dbi, &key, &value, MDB_APPEND);
    }
    return rc;
}

static double append_bare(struct bare *bare)
{
    struct whorl_fault fault;
    double start = now();
    for (unsigned i = 0; i < ROUND; i++) {
        need(whorl_store_write(bare->store, put_bare, bare, &fault), &fault);
        bare->next += GROUP;
    }
    return now() - start;
}

static double append_log(struct audit_log *log, const uint8_t *record)
{
    struct audit_record records[GROUP];
    struct audit_head heads[GROUP];
    struct whorl_fault fault;
    for (unsigned i = 0; i < GROUP; i++)
        records[i] = (struct audit_record){.bytes = record, .len = RECORD};
    double start = now();
    for (unsigned i = 0; i < ROUND; i++)
        need(audit_log_append(log, records, GROUP, heads, &fault), &fault);
    need(audit_log_checkpoint(log, &fault), &fault);
    return now() - start;
}

static void measure_appending(uint64_t count, const char *log_dir, const char *bare_dir)
{
    static uint8_t record[RECORD] = {0x81, 0xa1, 'r', 0xc5, (RECORD - 6) >> 8, (RECORD - 6) & 0xff};
    struct whorl_fault fault;
    struct bare bare = {.record = record};
    double log_s = 0, bare_s = 0;
    uint64_t done = 0;
    struct audit_log *log = audit_log_open(log_dir, "bench.invalid/audit", NULL, &fault);
    need(log != NULL, &fault);
    bare.store = whorl_store_open(bare_dir, WHORL_STORE_WRITE, 1, "bench-bare", 1, &fault);
    need(bare.store != NULL &&
             whorl_store_db(bare.store, "records", MDB_INTEGERKEY, &bare.dbi, &fault),
         &fault);
    for (; done < count; done += ROUND * GROUP) {
        bare_s += append_bare(&bare);
        log_s += append_log(log, record);
    }
    whorl_store_close(bare.store);
    audit_log_close(log);
    printf("appended %" PRIu64 " records of %u bytes in durable groups of %u: %.0f records/s; bare "
           "LMDB %.0f records/s; ratio %.2f\n",
           done, RECORD, GROUP, (double)done / log_s, (double)done / bare_s, bare_s / log_s);
}

static void measure_verifying(const char *dir)
{
    struct audit_report report;
    struct whorl_fault fault;
    double start = now();
    enum audit_verdict verdict = audit_verify(dir, NULL, NULL, NULL, &report, &fault);
    double took = now() - start;
    need(verdict != AUDIT_FAILED, &fault);
    printf("verified %" PRIu64 " records in %.2f s: %s, %.0f records/s, 10 million in %.0f s\n",
           report.head.count, took, verdict == AUDIT_INTACT ? "intact" : "NOT INTACT",
           (double)report.head.count / took, 1e7 * took / (double)report.head.count);
}

/* Opening the log is part of each proof, as it is of each command. */
static void measure_proofs(const char *dir)
{
    struct audit_checkpoint checkpoint;
    struct audit_proof proof;
    struct whorl_fault fault;
    uint8_t commitment[AUDIT_HASH];
    need(audit_checkpoint_read(dir, NULL, &checkpoint, &fault), &fault);
    uint64_t position = 12345 % checkpoint.count;
    double start = now();
    for (unsigned i = 0; i < PROOFS; i++) {
        need(audit_prove_inclusion(dir, &checkpoint, position, commitment, &proof, &fault), &fault);
        position = (position * 2862933555777941757ULL + 3037000493ULL) % checkpoint.count;
    }
    printf("inclusion proofs of %zu hashes: %.3f ms each\n", proof.count,
           1e3 * (now() - start) / PROOFS);
}

int main(int argc, char **argv)
{
    char log_dir[512], bare_dir[512];
    uint64_t count = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
    if (count == 0) {
        fputs("usage: bench/audit [RECORDS [DIR]]\n", stderr);
        return 2;
    }
    snprintf(log_dir, sizeof(log_dir), "%s/log", argv[2]);
    snprintf(bare_dir, sizeof(bare_dir), "%s/bare", argv[2]);
    measure_appending(count, log_dir, bare_dir);
    measure_verifying(log_dir);
    measure_proofs(log_dir);
    return 0;
}
