/* Measures the audit log. First the plugin itself with 256 calls always waiting, beside bare LMDB
 * that puts the same records in durable groups of 256 on the same disk: short rounds by turns, so
 * that a slow moment of disk or machine falls on both, and the median of the rounds' ratios. Then
 * the log is filled up to the size wanted, all of it is verified, and inclusion proofs are made. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "plugins/audit/proof.h"
#include "whorl/msg.h"

#define GROUP 256u       /* calls that wait; records in a group of bare LMDB */
#define ROUND_GROUPS 16u /* before the other one's turn */
#define ROUNDS 120u
#define RECORD 400u      /* bytes; an identify record has about as many */
#define FILL_GROUP 8192u /* records in a transaction when no time is taken */
#define PROOFS 1000u
#define ORIGIN "bench.invalid/audit"

extern const struct whorl_plugin whorl_plugin;

static uint8_t record[RECORD] = {0x81, 0xa1, 'r', 0xc5, (RECORD - 6) >> 8, (RECORD - 6) & 0xff};

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

/* CPU time of this process so far, of all its threads. */
static double cpu(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void need(bool ok, const struct whorl_fault *fault)
{
    if (ok)
        return;
    fprintf(stderr, "bench/audit: %s\n", fault->text);
    exit(3);
}

/* ------------------------------------------------------------------ bare LMDB */

/* The record alone, in the order of its position. */
struct bare {
    struct whorl_store *store;
    MDB_dbi dbi;
    uint64_t next;
};

static int put_bare(MDB_txn *txn, void *arg)
{
    struct bare *bare = arg;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, bare->dbi, &cursor);
    if (rc != 0)
        return rc;
    for (uint64_t i = 0; rc == 0 && i < GROUP; i++) {
        uint64_t position = bare->next + i;
        MDB_val key = {.mv_size = sizeof(position), .mv_data = &position};
        MDB_val value = {.mv_size = RECORD, .mv_data = record};
        rc = mdb_cursor_put(cursor, &key, &value, MDB_APPEND);
    }
    mdb_cursor_close(cursor);
    return rc;
}

static void append_bare(void *arg)
{
    struct bare *bare = arg;
    struct whorl_fault fault;
    for (unsigned i = 0; i < ROUND_GROUPS; i++) {
        need(whorl_store_write(bare->store, put_bare, bare, &fault), &fault);
        bare->next += GROUP;
    }
}

/* ------------------------------------------------------------------ the plugin */

/* A host that sends a call again as soon as it is answered, as long as calls are left to send. */
struct caller {
    struct whorl_host host;
    struct whorl_settings settings;
    void *instance;
    msgpack_sbuffer message; /* of one record */
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    unsigned to_send, open;
    bool refused;
};

static const char *setting(const struct whorl_settings *settings, const char *force,
                           const char *name)
{
    (void)settings;
    (void)force;
    return strcmp(name, "origin") == 0 ? ORIGIN : "";
}

static void log_text(const struct whorl_host *host, enum whorl_log_level level, const char *text)
{
    (void)host;
    (void)level;
    fprintf(stderr, "%s\n", text);
}

static void complete(const struct whorl_host *host, uint64_t call, const uint8_t *answer,
                     size_t len)
{
    static const char stored[] = "\xa6stored\xc3"; /* true */
    struct caller *caller = host->ctx;
    pthread_mutex_lock(&caller->mutex);
    if (memmem(answer, len, stored, sizeof(stored) - 1) == NULL)
        caller->refused = true;
    bool again = caller->to_send > 0;
    caller->to_send -= again;
    caller->open -= !again;
    if (caller->open == 0)
        pthread_cond_signal(&caller->moved);
    pthread_mutex_unlock(&caller->mutex);
    if (again)
        whorl_plugin.call(caller->instance, call, (const uint8_t *)caller->message.data,
                          caller->message.size);
}

static void append_calls(void *arg)
{
    struct caller *caller = arg;
    caller->to_send = (ROUND_GROUPS - 1) * GROUP;
    caller->open = GROUP;
    for (unsigned i = 0; i < GROUP; i++)
        whorl_plugin.call(caller->instance, i, (const uint8_t *)caller->message.data,
                          caller->message.size);
    pthread_mutex_lock(&caller->mutex);
    while (caller->open > 0)
        pthread_cond_wait(&caller->moved, &caller->mutex);
    pthread_mutex_unlock(&caller->mutex);
}

static void pack_message(msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_sbuffer_init(out);
    msgpack_packer_init(&pk, out, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 2);
    whorl_put_str(&pk, "op", "record");
    whorl_put_key(&pk, "records");
    msgpack_pack_array(&pk, 1);
    msgpack_pack_bin_with_body(&pk, record, RECORD);
}

static void start_caller(struct caller *caller, const char *dir)
{
    struct whorl_fault fault;
    pthread_mutex_init(&caller->mutex, NULL);
    pthread_cond_init(&caller->moved, NULL);
    pack_message(&caller->message);
    caller->settings = (struct whorl_settings){.size = sizeof(caller->settings), .string = setting};
    caller->host = (struct whorl_host){.size = sizeof(caller->host),
                                       .abi_major = WHORL_ABI_MAJOR,
                                       .abi_minor = WHORL_ABI_MINOR,
                                       .ctx = caller,
                                       .settings = &caller->settings,
                                       .data_dir = dir,
                                       .workers = 1,
                                       .log = log_text,
                                       .complete = complete};
    need(whorl_plugin.start(&caller->host, &caller->instance, &fault) == 0, &fault);
}

static void stop_caller(struct caller *caller)
{
    whorl_plugin.stop(caller->instance);
    msgpack_sbuffer_destroy(&caller->message);
    pthread_cond_destroy(&caller->moved);
    pthread_mutex_destroy(&caller->mutex);
}

/* ------------------------------------------------------------------ appending */

struct side {
    void (*append)(void *arg);
    void *arg;
    double seconds, cpu;
};

static double run(struct side *side)
{
    double start = now(), cpu_start = cpu();
    side->append(side->arg);
    double took = now() - start;
    side->seconds += took;
    side->cpu += cpu() - cpu_start;
    return took;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Each ratio is of two rounds that follow one another; who goes first changes every time. */
static void compare(struct side *log, struct side *bare, uint64_t *count)
{
    double ratios[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++) {
        double first = run(i % 2 == 0 ? bare : log), second = run(i % 2 == 0 ? log : bare);
        ratios[i] = i % 2 == 0 ? first / second : second / first;
    }
    qsort(ratios, ROUNDS, sizeof(ratios[0]), by_value);
    double each = (double)ROUNDS * ROUND_GROUPS * GROUP;
    *count = (uint64_t)each;
    printf("appended %.0f records of %u bytes, %u calls waiting: %.0f records/s, %.2f us of CPU "
           "each\nbare LMDB in groups of %u: %.0f records/s, %.2f us of CPU each\n",
           each, RECORD, GROUP, each / log->seconds, 1e6 * log->cpu / each, GROUP,
           each / bare->seconds, 1e6 * bare->cpu / each);
    printf("ratio of %u alternating rounds: median %.2f, quartiles %.2f and %.2f\n", ROUNDS,
           ratios[ROUNDS / 2], ratios[ROUNDS / 4], ratios[ROUNDS * 3 / 4]);
}

static uint64_t measure_appending(const char *log_dir, const char *bare_dir)
{
    struct whorl_fault fault;
    struct bare bare = {0};
    struct caller caller = {0};
    uint64_t count;
    bare.store = whorl_store_open(bare_dir, WHORL_STORE_WRITE, 1, "bench-bare", 1, &fault);
    need(bare.store != NULL &&
             whorl_store_db(bare.store, "records", MDB_INTEGERKEY, &bare.dbi, &fault),
         &fault);
    start_caller(&caller, log_dir);
    struct side log_side = {.append = append_calls, .arg = &caller};
    struct side bare_side = {.append = append_bare, .arg = &bare};
    compare(&log_side, &bare_side, &count);
    stop_caller(&caller);
    whorl_store_close(bare.store);
    whorl_fail(&fault, "", "a call was refused");
    need(!caller.refused, &fault);
    return count;
}

/* The rest, in large transactions: only its size matters. */
static void fill(const char *dir, uint64_t from, uint64_t count)
{
    static struct audit_record records[FILL_GROUP];
    static struct audit_head heads[FILL_GROUP];
    struct whorl_fault fault;
    struct audit_log *log = audit_log_open(dir, ORIGIN, NULL, &fault);
    need(log != NULL, &fault);
    for (size_t i = 0; i < FILL_GROUP; i++)
        records[i] = (struct audit_record){.bytes = record, .len = RECORD};
    while (from < count) {
        size_t n = count - from < FILL_GROUP ? (size_t)(count - from) : FILL_GROUP;
        need(audit_log_append(log, records, n, heads, &fault), &fault);
        from += n;
    }
    need(audit_log_checkpoint(log, &fault), &fault);
    audit_log_close(log);
}

/* ------------------------------------------------------------------ verifying and proving */

static void measure_verifying(const char *dir)
{
    struct audit_report report;
    struct whorl_fault fault;
    double start = now(), cpu_start = cpu();
    enum audit_verdict verdict = audit_verify(dir, NULL, NULL, NULL, &report, &fault);
    double took = now() - start;
    need(verdict != AUDIT_FAILED, &fault);
    printf("verified %" PRIu64 " records in %.1f s (%.1f s of CPU): %s, %.0f records/s\n",
           report.head.count, took, cpu() - cpu_start,
           verdict == AUDIT_INTACT ? "intact" : "NOT INTACT", (double)report.head.count / took);
}

/* Opening the log is part of each proof, as it is of each command. */
static void measure_proofs(const char *dir)
{
    static double each[PROOFS];
    struct audit_checkpoint checkpoint;
    struct audit_proof proof;
    struct whorl_fault fault;
    uint8_t commitment[AUDIT_HASH];
    need(audit_checkpoint_read(dir, NULL, &checkpoint, &fault), &fault);
    uint64_t position = 12345 % checkpoint.count;
    double cpu_start = cpu();
    for (unsigned i = 0; i < PROOFS; i++) {
        double start = now();
        need(audit_prove_inclusion(dir, &checkpoint, position, commitment, &proof, &fault), &fault);
        each[i] = now() - start;
        position = (position * 2862933555777941757ULL + 3037000493ULL) % checkpoint.count;
    }
    double used = cpu() - cpu_start;
    qsort(each, PROOFS, sizeof(each[0]), by_value);
    printf("inclusion proofs in a log of %" PRIu64 ": median %.3f ms, 99th percentile %.3f ms, "
           "%.3f ms of CPU each\n",
           checkpoint.count, 1e3 * each[PROOFS / 2], 1e3 * each[PROOFS * 99 / 100],
           1e3 * used / PROOFS);
}

int main(int argc, char **argv)
{
    char log_dir[512], bare_dir[512];
    uint64_t count = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
    if (count == 0) {
        fputs("usage: audit_bench RECORDS DIR\n", stderr);
        return 2;
    }
    snprintf(log_dir, sizeof(log_dir), "%s/log", argv[2]);
    snprintf(bare_dir, sizeof(bare_dir), "%s/bare", argv[2]);
    uint64_t done = measure_appending(log_dir, bare_dir);
    fflush(stdout);
    fill(log_dir, done, count);
    measure_verifying(log_dir);
    measure_proofs(log_dir);
    return 0;
}
