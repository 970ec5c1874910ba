/* Overwriting what a store no longer uses.
 *
 * LMDB never overwrites a page that a snapshot may still need: what was deleted stays in the file,
 * in pages on its free list and in the unused middle of pages in use. Both are overwritten here, in
 * place, while the writer's lock is held, so that the file's layout stands still; readers never
 * look there. What processes still hold of it in memory they forget before they write again (see
 * store.c). The layout is that of LMDB's data format 1. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store_parts.h"
#include "whorl/msg.h"

#define FREE_DBI 0u     /* LMDB's list of free pages, as mdb_stat reads it */
#define META_PAGES 2u   /* at the beginning of the file */
#define PAGE_HEADER 16u /* number (8), pad (2), flags (2), lower (2), upper (2) */
#define AT_FLAGS 10u    /* in a page */
#define AT_LOWER 12u    /* likewise; of an overflow page: how many pages it spans (4) */
#define AT_UPPER 14u
#define BRANCH 0x01u
#define LEAF 0x02u
#define OVERFLOW 0x04u
#define WAIT_MS 10000u /* for readers of old snapshots */
#define LOOK_MS 20u

/* What a page is. One that was freed after the oldest snapshot is left alone: somebody may read it,
 * and what was deleted before the call is not in it. */
enum { IN_USE, FREE, FREED_LATER };

struct erasing {
    MDB_env *env;
    int fd;
    size_t page, pages;      /* bytes of one, how many */
    size_t known;            /* pages that LMDB knows of; what follows was left by a failed write */
    uint8_t *state;          /* what each is */
    uint8_t *buffer, *zeros; /* a page each */
    size_t oldest;           /* snapshot that somebody may read */
    size_t target;           /* the snapshot that was current when the call began */
    struct whorl_store_erased *done;
};

/* A line of LMDB's table of readers: process, thread (hexadecimal), snapshot or "-". */
static int oldest_reader(const char *line, void *arg)
{
    struct erasing *erasing = arg;
    char *at, *end;
    strtoul(line, &at, 10);
    strtoul(at, &at, 16);
    size_t txn = strtoul(at, &end, 10);
    if (end != at && txn < erasing->oldest) {
        erasing->oldest = txn;
    }
    return 0;
}

/* Marks the pages that are free. Those that transaction n freed are in no snapshot from n on. */
static int read_free_list(struct erasing *erasing, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, FREE_DBI, &cursor);
    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        size_t freed_in, count = 0;
        memcpy(&freed_in, key.mv_data, sizeof(freed_in));
        memcpy(&count, value.mv_data, sizeof(count));
        if (key.mv_size != sizeof(freed_in) || count > value.mv_size / sizeof(count) - 1) {
            rc = MDB_CORRUPTED;
        }
        for (size_t i = 1; rc == 0 && i <= count; i++) {
            size_t number;
            memcpy(&number, (const uint8_t *)value.mv_data + i * sizeof(number), sizeof(number));
            if (number < META_PAGES || number >= erasing->known) {
                rc = MDB_CORRUPTED;
            } else {
                erasing->state[number] = freed_in <= erasing->oldest ? FREE : FREED_LATER;
            }
        }
        if (rc != 0) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Overwrites [from, to) of a page that is in the buffer, unless it is zero already. */
static int wipe(struct erasing *erasing, size_t number, size_t from, size_t to)
{
    size_t len = to - from;
    if (memcmp(erasing->buffer + from, erasing->zeros, len) == 0) {
        return 0;
    }
    ssize_t wrote =
        pwrite(erasing->fd, erasing->zeros, len, (off_t)(number * erasing->page + from));
    erasing->done->bytes += len;
    return wrote == (ssize_t)len ? 0 : wrote < 0 ? errno : EIO;
}

/* Wipes the unused part of one page in use; *span: how many pages it takes. */
static int wipe_gap(struct erasing *erasing, size_t number, size_t *span)
{
    const uint8_t *page = erasing->buffer;
    uint64_t own;
    uint16_t flags, lower, upper;
    uint32_t overflow;
    memcpy(&own, page, sizeof(own));
    memcpy(&flags, page + AT_FLAGS, sizeof(flags));
    memcpy(&lower, page + AT_LOWER, sizeof(lower));
    memcpy(&upper, page + AT_UPPER, sizeof(upper));
    memcpy(&overflow, page + AT_LOWER, sizeof(overflow));
    *span = 1;
    if (own != number) {
        return MDB_CORRUPTED;
    }
    if ((flags & OVERFLOW) != 0) {
        *span = overflow;
        return overflow > 0 && overflow <= erasing->known - number ? 0 : MDB_CORRUPTED;
    }
    if ((flags & (BRANCH | LEAF)) == 0 || lower < PAGE_HEADER || lower > upper ||
        upper > erasing->page) {
        return MDB_CORRUPTED;
    }
    return wipe(erasing, number, lower, upper);
}

static int walk(struct erasing *erasing)
{
    int rc = 0;
    for (size_t number = META_PAGES; rc == 0 && number < erasing->pages;) {
        size_t span = 1;
        ssize_t got =
            pread(erasing->fd, erasing->buffer, erasing->page, (off_t)(number * erasing->page));
        if (got == 0) {
            break; /* pages that were never written */
        }
        if (got < 0 || (got != (ssize_t)erasing->page && erasing->state[number] != FREE)) {
            return got < 0 ? errno : EIO;
        }
        if (erasing->state[number] == FREE) { /* the last one may be a piece */
            rc = wipe(erasing, number, 0, (size_t)got);
        } else if (erasing->state[number] == IN_USE) {
            rc = wipe_gap(erasing, number, &span);
        }
        number += span;
    }
    if (rc == 0 && fdatasync(erasing->fd) != 0) {
        rc = errno;
    }
    return rc;
}

static int erase_at(struct erasing *erasing, MDB_txn *snapshot)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    mdb_env_info(erasing->env, &info);
    mdb_env_stat(erasing->env, &stat);
    if (fstat(erasing->fd, &file) != 0) {
        return errno;
    }
    erasing->page = stat.ms_psize;
    erasing->known = info.me_last_pgno + 1;
    size_t there = ((size_t)file.st_size + erasing->page - 1) / erasing->page;
    erasing->pages = there > erasing->known ? there : erasing->known;
    erasing->state = calloc(erasing->pages, 1);
    erasing->buffer = malloc(erasing->page);
    erasing->zeros = calloc(1, erasing->page);
    int rc = ENOMEM;
    if (erasing->state != NULL && erasing->buffer != NULL && erasing->zeros != NULL) {
        memset(erasing->state + erasing->known, FREE, erasing->pages - erasing->known);
        rc = read_free_list(erasing, snapshot);
    }
    if (rc == 0) {
        rc = walk(erasing);
    }
    free(erasing->state);
    free(erasing->buffer);
    free(erasing->zeros);
    return rc;
}

/* Holds the writer's lock, and changes nothing in its own transaction. */
static int erase(MDB_txn *txn, void *arg)
{
    struct erasing *erasing = arg;
    MDB_txn *snapshot;
    int dead = 0;
    erasing->env = mdb_txn_env(txn);
    int rc = mdb_env_get_fd(erasing->env, &erasing->fd);
    if (rc == 0) {
        rc = mdb_reader_check(erasing->env, &dead);
    }
    if (rc == 0) {
        rc = mdb_txn_begin(erasing->env, NULL, MDB_RDONLY, &snapshot);
    }
    if (rc != 0) {
        return rc;
    }
    mdb_reader_list(erasing->env, oldest_reader, erasing); /* this snapshot among them */
    rc = erasing->oldest < erasing->target ? EBUSY : erase_at(erasing, snapshot);
    mdb_txn_abort(snapshot);
    return rc;
}

static bool read_target(struct whorl_store *store, size_t *target, struct whorl_fault *fault)
{
    MDB_txn *txn = whorl_store_read(store, fault);
    if (txn != NULL) {
        *target = mdb_txn_id(txn);
        whorl_store_done(store, txn);
    }
    return txn != NULL;
}

bool whorl_store_erase(struct whorl_store *store, struct whorl_store_erased *done,
                       struct whorl_fault *fault)
{
    struct erasing erasing = {.done = done};
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    *done = (struct whorl_store_erased){0};
    if (!read_target(store, &erasing.target, fault) || !store_forget(store, fault)) {
        return false;
    }
    for (unsigned waited = 0; waited < WAIT_MS; waited += LOOK_MS) {
        erasing.oldest = SIZE_MAX;
        if (whorl_store_write(store, erase, &erasing, fault)) {
            return true;
        }
        if (erasing.oldest >= erasing.target) {
            return false;
        }
        nanosleep(&pause, NULL);
    }
    return whorl_fail(fault, "", "somebody still reads an older state of the store: run it again");
}
