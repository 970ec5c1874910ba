/* The store under real LMDB: sharing, growing beside readers and other processes, full disks. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run_suite.h"
#include "whorl/store.h"

#define KIND "whorl-test"
#define CHUNK ((size_t)1 << 20)
#define PER_WRITE 8u
#define WRITES 14u /* 112 chunks: the map of 64 MiB has to grow */

static char dir[64];
static struct whorl_fault fault;

static void make_folder(void)
{
    snprintf(dir, sizeof(dir), "/tmp/whorl-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    memset(&fault, 0, sizeof(fault));
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static struct whorl_store *open_or_fail(enum whorl_store_mode mode)
{
    struct whorl_store *store = whorl_store_open(dir, mode, 4, KIND, 1, &fault);
    ck_assert_msg(store != NULL, "%s", fault.text);
    return store;
}

static MDB_dbi db_of(struct whorl_store *store)
{
    MDB_dbi dbi;
    ck_assert_msg(whorl_store_db(store, "things", MDB_INTEGERKEY, &dbi, &fault), "%s", fault.text);
    return dbi;
}

struct put {
    MDB_dbi dbi;
    unsigned first, count;
    size_t size;
    int fail_with; /* returned after the puts */
    uint8_t *chunk;
};

static int put_some(MDB_txn *txn, void *arg)
{
    struct put *put = arg;
    for (unsigned i = 0; i < put->count; i++) {
        unsigned id = put->first + i;
        MDB_val key = {.mv_size = sizeof(id), .mv_data = &id};
        MDB_val value = {.mv_size = put->size, .mv_data = put->chunk};
        memset(put->chunk, (int)(id & 0xff), put->size);
        int rc = mdb_put(txn, put->dbi, &key, &value, 0);
        if (rc != 0) {
            return rc;
        }
    }
    return put->fail_with;
}

static bool write_some(struct whorl_store *store, unsigned first, unsigned count, size_t size,
                       int fail_with)
{
    struct put put = {.dbi = db_of(store),
                      .first = first,
                      .count = count,
                      .size = size,
                      .fail_with = fail_with,
                      .chunk = malloc(size)};
    bool ok = whorl_store_write(store, put_some, &put, &fault);
    free(put.chunk);
    return ok;
}

/* How many things there are; each must be whole. */
static unsigned count_things(struct whorl_store *store)
{
    unsigned count = 0;
    MDB_dbi dbi = db_of(store);
    MDB_txn *txn = whorl_store_read(store, &fault);
    ck_assert_msg(txn != NULL, "%s", fault.text);
    MDB_cursor *cursor;
    MDB_val key, value;
    ck_assert_int_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        unsigned id;
        memcpy(&id, key.mv_data, sizeof(id));
        const uint8_t *bytes = value.mv_data;
        ck_assert_uint_eq(id, count);
        ck_assert_uint_eq(bytes[0], id & 0xff);
        ck_assert_uint_eq(bytes[value.mv_size - 1], id & 0xff);
        count++;
    }
    mdb_cursor_close(cursor);
    whorl_store_done(store, txn);
    return count;
}

START_TEST(what_is_written_is_there_after_reopening)
{
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    ck_assert(write_some(store, 0, 5, 100, 0));
    whorl_store_close(store);
    store = open_or_fail(WHORL_STORE_READ);
    ck_assert_uint_eq(count_things(store), 5);
    ck_assert(!write_some(store, 5, 1, 100, 0));
    ck_assert_ptr_nonnull(strstr(fault.text, "reading only"));
    whorl_store_close(store);
}
END_TEST

START_TEST(missing_folders_are_made_private)
{
    char deep[96];
    struct stat st;
    snprintf(deep, sizeof(deep), "%s/a/b", dir);
    struct whorl_store *store = whorl_store_open(deep, WHORL_STORE_READ, 1, KIND, 1, &fault);
    ck_assert_ptr_null(store);
    ck_assert_ptr_nonnull(strstr(fault.text, deep));
    store = whorl_store_open(deep, WHORL_STORE_WRITE, 1, KIND, 1, &fault);
    ck_assert_msg(store != NULL, "%s", fault.text);
    whorl_store_close(store);
    ck_assert_int_eq(stat(deep, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0700);
    strcat(deep, "/data.mdb");
    ck_assert_int_eq(stat(deep, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(reading_an_empty_folder_says_that_there_is_no_store)
{
    ck_assert_ptr_null(whorl_store_open(dir, WHORL_STORE_READ, 1, KIND, 1, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "holds no store yet"));
}
END_TEST

START_TEST(another_kind_or_version_is_refused_and_both_are_named)
{
    whorl_store_close(open_or_fail(WHORL_STORE_WRITE));
    ck_assert_ptr_null(whorl_store_open(dir, WHORL_STORE_WRITE, 4, "whorl-other", 1, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "\"whorl-other 1\""));
    ck_assert_ptr_nonnull(strstr(fault.text, "\"whorl-test 1\""));
    ck_assert_ptr_nonnull(strstr(fault.text, dir));
    ck_assert_ptr_null(whorl_store_open(dir, WHORL_STORE_READ, 4, KIND, 2, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "\"whorl-test 2\""));
    whorl_store_close(open_or_fail(WHORL_STORE_READ)); /* and it is unharmed */
}
END_TEST

START_TEST(a_file_that_is_no_store_is_refused)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 20000; i++) {
        fputs("rubbish ", file);
    }
    fclose(file);
    ck_assert_ptr_null(whorl_store_open(dir, WHORL_STORE_WRITE, 1, KIND, 1, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "expected an LMDB file"));
}
END_TEST

static off_t cut_file(off_t by)
{
    char path[96];
    struct stat st;
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(truncate(path, st.st_size - by), 0);
    return st.st_size;
}

START_TEST(a_file_that_was_cut_short_is_refused_and_ends_nobody)
{
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    ck_assert(write_some(store, 0, 4, CHUNK, 0));
    whorl_store_close(store);
    off_t whole = cut_file(2 * CHUNK);
    for (int mode = WHORL_STORE_READ; mode <= WHORL_STORE_WRITE; mode++) {
        ck_assert_ptr_null(whorl_store_open(dir, (enum whorl_store_mode)mode, 4, KIND, 1, &fault));
        ck_assert_ptr_nonnull(strstr(fault.text, "was cut short"));
    }
    ck_assert_int_eq(cut_file(0), whole - (off_t)(2 * CHUNK)); /* left as it was found */
}
END_TEST

/* All that was written since the file was this short reads as zeros, which are no pages. */
START_TEST(pages_missing_at_the_end_are_damage_and_no_crash)
{
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    ck_assert(write_some(store, 0, 40, 100, 0));
    whorl_store_close(store);
    for (int mode = WHORL_STORE_READ; mode <= WHORL_STORE_WRITE; mode++) {
        off_t whole = cut_file(4 * 4096);
        fault = (struct whorl_fault){{0}, {0}};
        store = whorl_store_open(dir, (enum whorl_store_mode)mode, 4, KIND, 1, &fault);
        if (store != NULL) {
            MDB_dbi dbi;
            ck_assert(!whorl_store_db(store, "things", MDB_INTEGERKEY, &dbi, &fault));
            whorl_store_close(store);
        }
        ck_assert_str_ne(fault.text, "");
        ck_assert_int_eq(cut_file(0), whole);
    }
}
END_TEST

START_TEST(another_programs_data_is_refused)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    ck_assert_int_eq(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 2);
    ck_assert_int_eq(mdb_env_open(env, dir, 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, "theirs", MDB_CREATE, &dbi), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    ck_assert_ptr_null(whorl_store_open(dir, WHORL_STORE_WRITE, 1, KIND, 1, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "another program"));
}
END_TEST

START_TEST(one_path_opened_twice_is_one_store)
{
    char link[96];
    snprintf(link, sizeof(link), "%s.link", dir);
    ck_assert_int_eq(symlink(dir, link), 0);
    struct whorl_store *first = open_or_fail(WHORL_STORE_WRITE);
    struct whorl_store *second = whorl_store_open(link, WHORL_STORE_WRITE, 4, KIND, 1, &fault);
    unlink(link);
    ck_assert_ptr_eq(first, second);
    ck_assert_ptr_null(whorl_store_open(dir, WHORL_STORE_WRITE, 5, KIND, 1, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "for 4 databases, not 5"));
    whorl_store_close(first);
    ck_assert(write_some(second, 0, 1, 10, 0));
    ck_assert_uint_eq(count_things(second), 1);
    whorl_store_close(second);
    first = open_or_fail(WHORL_STORE_READ);
    ck_assert_ptr_null(whorl_store_open(dir, WHORL_STORE_WRITE, 4, KIND, 1, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "reading only"));
    whorl_store_close(first);
}
END_TEST

START_TEST(database_handles_are_cached_counted_and_of_one_form)
{
    MDB_dbi first, again, other;
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    ck_assert(whorl_store_db(store, "a", MDB_INTEGERKEY, &first, &fault));
    ck_assert(whorl_store_db(store, "a", MDB_INTEGERKEY, &again, &fault));
    ck_assert_uint_eq(first, again);
    ck_assert(whorl_store_db(store, "b", 0, &other, &fault));
    ck_assert_uint_ne(first, other);
    ck_assert(whorl_store_db(store, "c", 0, &other, &fault));
    ck_assert(whorl_store_db(store, "d", 0, &other, &fault));
    ck_assert(!whorl_store_db(store, "e", 0, &other, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "for 4 databases"));
    whorl_store_close(store);
    store = open_or_fail(WHORL_STORE_READ);
    ck_assert(!whorl_store_db(store, "a", MDB_DUPSORT, &first, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "another form"));
    ck_assert(!whorl_store_db(store, "none", 0, &first, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "no database \"none\""));
    whorl_store_close(store);
}
END_TEST

START_TEST(a_write_that_fails_leaves_nothing)
{
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    ck_assert(write_some(store, 0, 3, 100, 0));
    ck_assert(!write_some(store, 3, 3, 100, EINVAL));
    ck_assert_ptr_nonnull(strstr(fault.text, strerror(EINVAL)));
    ck_assert_uint_eq(count_things(store), 3);
    whorl_store_close(store);
}
END_TEST

struct reading {
    struct whorl_store *store;
    atomic_bool stop;
    atomic_uint rounds;
};

static void *read_on(void *arg)
{
    struct reading *reading = arg;
    unsigned last = 0;
    while (!atomic_load(&reading->stop)) {
        unsigned now = count_things(reading->store);
        ck_assert_uint_ge(now, last);
        last = now;
        atomic_fetch_add(&reading->rounds, 1);
    }
    return NULL;
}

START_TEST(the_map_grows_under_concurrent_readers_and_writers)
{
    struct reading reading = {.store = open_or_fail(WHORL_STORE_WRITE)};
    pthread_t threads[4];
    db_of(reading.store);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, &reading), 0);
    }
    for (unsigned i = 0; i < WRITES; i++) {
        ck_assert_msg(write_some(reading.store, i * PER_WRITE, PER_WRITE, CHUNK, 0), "%s",
                      fault.text);
    }
    atomic_store(&reading.stop, true);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(count_things(reading.store), WRITES * PER_WRITE);
    ck_assert_uint_gt(atomic_load(&reading.rounds), 0);
    whorl_store_close(reading.store);
}
END_TEST

START_TEST(one_write_larger_than_the_map_grows_it)
{
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    ck_assert_msg(write_some(store, 0, 150, CHUNK, 0), "%s", fault.text);
    ck_assert_uint_eq(count_things(store), 150);
    whorl_store_close(store);
}
END_TEST

static void *write_large(void *arg)
{
    ck_assert_msg(write_some(arg, 0, 100, CHUNK, 0), "%s", fault.text);
    return NULL;
}

START_TEST(growth_waits_for_a_reader_that_is_inside)
{
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    pthread_t writer;
    db_of(store);
    MDB_txn *txn = whorl_store_read(store, &fault);
    ck_assert_ptr_nonnull(txn);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_large, store), 0);
    usleep(300000); /* by now it waits; other readers still get in */
    MDB_txn *second = whorl_store_read(store, &fault);
    ck_assert_ptr_nonnull(second);
    MDB_stat stat;
    ck_assert_int_eq(mdb_stat(txn, db_of(store), &stat), 0);
    ck_assert_uint_eq(stat.ms_entries, 0);
    whorl_store_done(store, second);
    whorl_store_done(store, txn);
    pthread_join(writer, NULL);
    ck_assert_uint_eq(count_things(store), 100);
    whorl_store_close(store);
}
END_TEST

/* Runs run() in a child that starts when the parent has written to its pipe. */
static pid_t child_of(void (*run)(void), int *go)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char byte;
        close(ends[1]);
        if (read(ends[0], &byte, 1) == 1) {
            run();
        }
        _exit(9);
    }
    close(ends[0]);
    *go = ends[1];
    return pid;
}

static int run_child(pid_t pid, int go)
{
    int status = 0;
    ck_assert_int_eq(write(go, "g", 1), 1);
    close(go);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void write_much(void)
{
    struct whorl_store *store = whorl_store_open(dir, WHORL_STORE_WRITE, 4, KIND, 1, &fault);
    bool ok = store != NULL && write_some(store, 1, 150, CHUNK, 0);
    whorl_store_close(store);
    _exit(ok ? 0 : 1);
}

START_TEST(a_map_grown_by_another_process_is_followed)
{
    int go;
    pid_t pid = child_of(write_much, &go);
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    ck_assert(write_some(store, 0, 1, 10, 0));
    MDB_txn *txn = whorl_store_read(store, &fault); /* keeps the map from growing in passing */
    ck_assert_int_eq(run_child(pid, go), 0);
    whorl_store_done(store, txn);
    ck_assert_uint_eq(count_things(store), 151);
    ck_assert_msg(write_some(store, 151, 60, CHUNK, 0), "%s", fault.text);
    ck_assert_uint_eq(count_things(store), 211);
    whorl_store_close(store);
}
END_TEST

static void hold_readers(void)
{
    struct whorl_store *store = whorl_store_open(dir, WHORL_STORE_WRITE, 4, KIND, 1, &fault);
    int held = 0;
    while (store != NULL && whorl_store_read(store, &fault) != NULL) {
        held++;
    }
    _exit(held >= 500 && strstr(fault.text, "READERS_FULL") != NULL ? 0 : 1); /* closes nothing */
}

START_TEST(readers_that_died_are_cleared_away)
{
    int go;
    pid_t pid = child_of(hold_readers, &go);
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    ck_assert(write_some(store, 0, 1, 10, 0));
    ck_assert_int_eq(run_child(pid, go), 0);
    ck_assert_uint_eq(count_things(store), 1);
    whorl_store_close(store);
}
END_TEST

/* RLIMIT_FSIZE stands in for a full disk: the same write calls fail, with EFBIG for ENOSPC. */
START_TEST(a_full_disk_loses_nothing_and_is_survived)
{
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    struct rlimit limit = {.rlim_cur = 4 * CHUNK, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    ck_assert(write_some(store, 0, 2, CHUNK / 2, 0));
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 4 * CHUNK;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert(!write_some(store, 2, 8, CHUNK, 0));
    ck_assert_msg(strstr(fault.text, "is full") != NULL, "%s", fault.text);
    ck_assert_uint_eq(count_things(store), 2);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_msg(write_some(store, 2, 8, CHUNK, 0), "%s", fault.text);
    ck_assert_uint_eq(count_things(store), 10);
    whorl_store_close(store);
    store = open_or_fail(WHORL_STORE_READ);
    ck_assert_uint_eq(count_things(store), 10);
    whorl_store_close(store);
}
END_TEST

static int delete_some(MDB_txn *txn, void *arg)
{
    const struct put *put = arg;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < put->count; i++) {
        unsigned id = put->first + i;
        MDB_val key = {.mv_size = sizeof(id), .mv_data = &id};
        rc = mdb_del(txn, put->dbi, &key, NULL);
    }
    return rc;
}

/* Whether the data file has 32 bytes in a row of the thing whose bytes are all `byte`. */
static bool in_file(uint8_t byte)
{
    char path[128];
    uint8_t run[32];
    struct stat st;
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    FILE *file = fopen(path, "rb");
    ck_assert(file != NULL && fstat(fileno(file), &st) == 0);
    uint8_t *bytes = malloc((size_t)st.st_size);
    ck_assert_uint_eq(fread(bytes, 1, (size_t)st.st_size, file), (size_t)st.st_size);
    fclose(file);
    memset(run, byte, sizeof(run));
    bool found = memmem(bytes, (size_t)st.st_size, run, sizeof(run)) != NULL;
    free(bytes);
    return found;
}

/* Small things share pages, which split and leave copies behind; large ones have pages of their
 * own. */
START_TEST(what_was_deleted_is_in_the_file_until_it_is_erased)
{
    static const size_t sizes[] = {300, 1500, 5000, 40000};
    struct whorl_store_erased erased;
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    size_t size = sizes[_i];
    for (unsigned id = 0; id < 250; id += 25) {
        ck_assert_msg(write_some(store, id, 25, size, 0), "%s", fault.text);
    }
    struct put gone = {.dbi = db_of(store), .first = 100, .count = 150};
    ck_assert_msg(whorl_store_write(store, delete_some, &gone, &fault), "%s", fault.text);
    ck_assert(in_file(100));
    ck_assert_msg(whorl_store_erase(store, &erased, &fault), "%s", fault.text);
    ck_assert_uint_ge(erased.bytes, 150 * size);
    for (unsigned id = 1; id < 250; id++) {
        ck_assert_msg(in_file((uint8_t)id) == (id < 100), "thing %u", id);
    }
    ck_assert_uint_eq(count_things(store), 100);
    ck_assert_msg(write_some(store, 100, 100, size, 0), "%s", fault.text);
    ck_assert_uint_eq(count_things(store), 200);
    for (unsigned id = 200; id < 250; id++) {
        ck_assert_msg(!in_file((uint8_t)id), "thing %u is there again", id);
    }
    whorl_store_close(store);
    store = open_or_fail(WHORL_STORE_READ);
    ck_assert(!whorl_store_erase(store, &erased, &fault));
    ck_assert_uint_eq(count_things(store), 200);
    whorl_store_close(store);
}
END_TEST

static void delete_and_erase(void)
{
    struct whorl_store_erased erased;
    struct whorl_store *store = whorl_store_open(dir, WHORL_STORE_WRITE, 4, KIND, 1, &fault);
    struct put gone = {.first = 100, .count = 100};
    bool ok = store != NULL && whorl_store_db(store, "things", MDB_INTEGERKEY, &gone.dbi, &fault) &&
              whorl_store_write(store, delete_some, &gone, &fault) &&
              whorl_store_erase(store, &erased, &fault);
    whorl_store_close(store);
    _exit(ok ? 0 : 1);
}

static int put_word(MDB_txn *txn, void *arg)
{
    MDB_val word = {4, "word"};
    return mdb_put(txn, *(MDB_dbi *)arg, &word, &word, 0);
}

/* Things, and another database, in the process that stays when the other has erased. */
struct staying {
    struct whorl_store *store;
    MDB_dbi other;
};

static void stay_while_another_erases(struct staying *staying)
{
    int go;
    pid_t pid = child_of(delete_and_erase, &go);
    staying->store = open_or_fail(WHORL_STORE_WRITE);
    ck_assert(whorl_store_db(staying->store, "other", 0, &staying->other, &fault));
    ck_assert_msg(write_some(staying->store, 0, 200, 300, 0), "%s", fault.text);
    ck_assert(in_file(150));
    ck_assert_int_eq(run_child(pid, go), 0);
    ck_assert(!in_file(150));
}

static void expect_no_piece(const struct staying *staying, unsigned things)
{
    MDB_dbi other;
    for (unsigned id = 100; id < 200; id++) {
        ck_assert_msg(!in_file((uint8_t)id), "thing %u is there again", id);
    }
    ck_assert_uint_eq(count_things(staying->store), things);
    ck_assert(whorl_store_db(staying->store, "other", 0, &other, &fault));
    ck_assert_uint_eq(other, staying->other);
    ck_assert_msg(whorl_store_write(staying->store, put_word, &other, &fault), "%s", fault.text);
    ck_assert_uint_eq(count_things(staying->store), things);
}

START_TEST(what_another_process_erased_does_not_come_back_beside_readers)
{
    struct staying staying;
    pthread_t threads[4];
    stay_while_another_erases(&staying);
    struct reading reading = {.store = staying.store};
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, &reading), 0);
    }
    ck_assert_msg(write_some(staying.store, 0, 90, 300, 0), "%s", fault.text);
    atomic_store(&reading.stop, true);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    expect_no_piece(&staying, 100);
    whorl_store_close(staying.store);
}
END_TEST

/* The file is closed when it can't be opened again: whoever comes later tries that. */
START_TEST(a_store_that_can_t_be_opened_anew_is_when_it_can)
{
    struct staying staying;
    struct rlimit usual, none;
    stay_while_another_erases(&staying);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = (struct rlimit){0, usual.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    bool wrote = write_some(staying.store, 0, 90, 300, 0);
    MDB_txn *txn = whorl_store_read(staying.store, &fault);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &usual), 0);
    ck_assert(!wrote && txn == NULL);
    ck_assert_ptr_nonnull(strstr(fault.text, "Too many open files"));
    ck_assert_uint_eq(count_things(staying.store), 100);
    ck_assert_msg(write_some(staying.store, 0, 90, 300, 0), "%s", fault.text);
    expect_no_piece(&staying, 100);
    whorl_store_close(staying.store);
}
END_TEST

/* LMDB knows nothing of the pages that such a write has put beyond the end. */
START_TEST(what_a_failed_write_left_in_the_file_is_erased_too)
{
    struct whorl_store_erased erased;
    struct whorl_store *store = open_or_fail(WHORL_STORE_WRITE);
    ck_assert(write_some(store, 0, 10, 300, 0));
    const struct rlimit little = {300000, RLIM_INFINITY}, most = {RLIM_INFINITY, RLIM_INFINITY};
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
    bool stored = write_some(store, 50, 100, 5000, 0);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &most), 0);
    ck_assert(!stored);
    ck_assert(in_file(51));
    ck_assert_msg(whorl_store_erase(store, &erased, &fault), "%s", fault.text);
    for (unsigned id = 1; id < 150; id++) {
        ck_assert_msg(in_file((uint8_t)id) == (id < 10), "thing %u", id);
    }
    ck_assert_uint_eq(count_things(store), 10);
    ck_assert(write_some(store, 10, 20, 5000, 0));
    whorl_store_close(store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *tests = tcase_create("store");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, what_is_written_is_there_after_reopening);
    tcase_add_test(tests, missing_folders_are_made_private);
    tcase_add_test(tests, reading_an_empty_folder_says_that_there_is_no_store);
    tcase_add_test(tests, another_kind_or_version_is_refused_and_both_are_named);
    tcase_add_test(tests, a_file_that_is_no_store_is_refused);
    tcase_add_test(tests, a_file_that_was_cut_short_is_refused_and_ends_nobody);
    tcase_add_test(tests, pages_missing_at_the_end_are_damage_and_no_crash);
    tcase_add_test(tests, another_programs_data_is_refused);
    tcase_add_test(tests, one_path_opened_twice_is_one_store);
    tcase_add_test(tests, database_handles_are_cached_counted_and_of_one_form);
    tcase_add_test(tests, a_write_that_fails_leaves_nothing);
    tcase_add_test(tests, the_map_grows_under_concurrent_readers_and_writers);
    tcase_add_test(tests, one_write_larger_than_the_map_grows_it);
    tcase_add_test(tests, growth_waits_for_a_reader_that_is_inside);
    tcase_add_test(tests, a_map_grown_by_another_process_is_followed);
    tcase_add_test(tests, readers_that_died_are_cleared_away);
    tcase_add_test(tests, a_full_disk_loses_nothing_and_is_survived);
    tcase_add_loop_test(tests, what_was_deleted_is_in_the_file_until_it_is_erased, 0, 4);
    tcase_add_test(tests, what_another_process_erased_does_not_come_back_beside_readers);
    tcase_add_test(tests, a_store_that_can_t_be_opened_anew_is_when_it_can);
    tcase_add_test(tests, what_a_failed_write_left_in_the_file_is_erased_too);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
