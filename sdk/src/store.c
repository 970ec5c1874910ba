/* LMDB behind whorl/store.h. See there for the rules.
 *
 * The hard part is the size of the map. LMDB unmaps and maps anew to change it, so that must not
 * happen while any transaction of this process is open: every transaction therefore passes the
 * gate below, which counts them. The map grows in passing whenever it is half full and nobody is
 * inside; only if that chance never came does a writer (MDB_MAP_FULL), or a reader that finds
 * the file grown by another process (MDB_MAP_RESIZED), have to wait for the others to leave.
 *
 * The same gate lets a writer open the whole environment anew. LMDB uses the memory of the pages
 * that it wrote again as it is, so what was in them comes back into the file, between the entries
 * of other pages: pieces of what store_erase.c has overwritten. So the store counts its erasures,
 * and who wrote before the last one gives up that memory, which goes with the environment, before
 * he writes again. */
#include "whorl/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store_parts.h"
#include "whorl/msg.h"

#define MAP_START ((size_t)64 << 20)
#define MAX_READERS 512u
#define OWN_DBS 1u         /* META beside the caller's */
#define META "whorl-store" /* the named database that says what this store is */
#define ERASED "erased"    /* in it: how often the store was erased (8 bytes); missing: never */
#define YIELD_MS 100       /* how long a new transaction waits for one that wants the map to grow */
#define GROW_WAIT_MS 10000 /* how long that one waits for the others to end */
#define MAX_ATTEMPTS 24    /* doublings of the map for one write */
#define SHORT_MAX 65536    /* bytes that may be missing at the end of a file that is whole */

struct named {
    char *name;
    MDB_dbi dbi; /* 0: it is being opened */
};

struct whorl_store {
    struct whorl_store *next; /* in the registry */
    unsigned refs;            /* guarded by the registry's mutex */
    char *path;               /* resolved: the key in the registry */
    enum whorl_store_mode mode;
    MDB_env *env; /* guarded by the gate: who is inside may use it */

    pthread_mutex_t gate; /* guards what follows up to db_count, and the map's size */
    pthread_cond_t moved;
    unsigned users;   /* open transactions */
    unsigned growers; /* waiting for users to become 0 */
    bool lost;        /* the map is gone: every call fails */
    MDB_dbi meta;     /* 0: not open yet */
    uint64_t erased;  /* how often it had been when the environment was opened */
    struct named *dbs;
    unsigned db_count;

    pthread_mutex_t writing; /* one writer of this process at a time */
    pthread_mutex_t naming;  /* one thread opens handles; taken before `writing` */
    unsigned max_dbs;
};

/* The stores that are open in this process: LMDB forbids opening one twice, so they have to be
 * known process-wide, whoever opens them. */
static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct whorl_store *registry;

static bool fail(const struct whorl_store *store, const char *doing, int rc,
                 struct whorl_fault *fault)
{
    const char *why = mdb_strerror(rc);
    if (rc == ENOSPC || rc == EDQUOT || rc == EFBIG) {
        why = "the disk is full";
    } else if (rc == EIO) { /* what LMDB also calls a write that was cut short by a full disk */
        why = "the disk failed, or is full";
    } else if (rc == MDB_PANIC) {
        why = "an earlier disk error left it unusable until the process starts anew";
    } else if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND) {
        why = "the file is damaged or was cut short";
    } else if (rc == ETIMEDOUT) {
        why = "a transaction that is open does not end, and the map can't change before";
    }
    return whorl_fail(fault, "", "cannot %s %s: %s", doing, store->path, why);
}

static struct timespec after(unsigned ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(ms / 1000);
    at.tv_nsec += (long)(ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec++;
    }
    return at;
}

/* ------------------------------------------------------------------ the environment */

/* Who only reads has no descriptor that may. */
static int lengthen(const struct whorl_store *store, off_t size, off_t needed)
{
    char path[PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/data.mdb", store->path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int rc = posix_fallocate(fd, size, needed - size);
    (void)close(fd);
    return rc;
}

/* A file that was cut short would end the process by a signal when a page beyond its end is
 * touched. LMDB itself leaves a few pages unwritten at the end that it freed in the transaction in
 * which it took them: so few may be missing, and are filled with zeros, which LMDB takes for the
 * damage that they are if they were not free. */
static int check_length(struct whorl_store *store)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    int fd;
    int rc = mdb_env_get_fd(store->env, &fd);
    if (rc != 0) {
        return rc;
    }
    mdb_env_info(store->env, &info);
    mdb_env_stat(store->env, &stat);
    if (fstat(fd, &file) != 0) {
        return errno;
    }
    off_t needed = (off_t)((info.me_last_pgno + 1) * stat.ms_psize);
    if (file.st_size >= needed) {
        return 0;
    }
    if (needed - file.st_size > SHORT_MAX) {
        return MDB_CORRUPTED;
    }
    return lengthen(store, file.st_size, needed);
}

static int open_env(struct whorl_store *store)
{
    unsigned flags = MDB_NOTLS | (store->mode == WHORL_STORE_READ ? MDB_RDONLY : 0u);
    int dead = 0;
    int rc = mdb_env_create(&store->env);
    if (rc == 0) {
        rc = mdb_env_set_maxdbs(store->env, store->max_dbs + OWN_DBS);
    }
    if (rc == 0) {
        rc = mdb_env_set_maxreaders(store->env, MAX_READERS);
    }
    if (rc == 0) {
        rc = mdb_env_set_mapsize(store->env, MAP_START);
    }
    if (rc == 0) {
        rc = mdb_env_open(store->env, store->path, flags, 0600);
    }
    if (rc == 0) {
        rc = check_length(store);
    }
    if (rc == 0) {
        rc = mdb_reader_check(store->env, &dead);
    }
    return rc;
}

/* How often the store was erased, as txn sees it. */
static int read_erased(MDB_txn *txn, MDB_dbi meta, uint64_t *count)
{
    MDB_val key = {.mv_size = sizeof ERASED - 1, .mv_data = ERASED}, value;
    int rc = mdb_get(txn, meta, &key, &value);
    *count = 0;
    if (rc == 0 && value.mv_size == sizeof *count) {
        memcpy(count, value.mv_data, sizeof *count);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Opens the handles of a new environment. LMDB numbers them in the order in which they are opened,
 * which is that of the list: so they are those that callers know. */
static int open_handles(struct whorl_store *store, MDB_txn *txn)
{
    int rc = mdb_dbi_open(txn, META, 0, &store->meta);
    if (rc == 0) {
        rc = read_erased(txn, store->meta, &store->erased);
    }
    for (unsigned i = 0; rc == 0 && i < store->db_count; i++) {
        MDB_dbi dbi;
        rc = mdb_dbi_open(txn, store->dbs[i].name, 0, &dbi);
        if (store->dbs[i].dbi == 0) {
            rc = rc == MDB_NOTFOUND ? 0 : rc; /* who is opening it will make it */
        } else if (rc == 0 && dbi != store->dbs[i].dbi) {
            rc = MDB_BAD_DBI;
        }
    }
    return rc;
}

/* A read transaction in which handles were opened is committed, because that makes them last. */
static int end_opening(MDB_txn *txn, int rc)
{
    if (rc == 0) {
        return mdb_txn_commit(txn);
    }
    mdb_txn_abort(txn);
    return rc;
}

static void close_env(struct whorl_store *store)
{
    if (store->env != NULL) {
        mdb_env_close(store->env);
        store->env = NULL;
    }
}

/* Opens the environment anew; the gate is held and nobody is inside. Where that fails there is
 * none, and whoever comes next tries again. */
static int reopen(struct whorl_store *store)
{
    close_env(store);
    store->lost = false;
    MDB_txn *txn;
    int rc = open_env(store);
    if (rc == 0) {
        rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    }
    if (rc == 0) {
        rc = end_opening(txn, open_handles(store, txn));
    }
    if (rc != 0) {
        close_env(store);
    }
    return rc;
}

/* ------------------------------------------------------------------ the gate and the map */

/* Makes the map `size` large; the gate is held and nobody is inside. A failed attempt leaves LMDB
 * without any map, so the old size is put back. */
static int resize(struct whorl_store *store, size_t size)
{
    MDB_envinfo info;
    mdb_env_info(store->env, &info);
    int rc = mdb_env_set_mapsize(store->env, size);
    if (rc != 0 && mdb_env_set_mapsize(store->env, info.me_mapsize) != 0) {
        store->lost = true;
    }
    return rc;
}

/* The size with room ahead, in doublings of what there is: at least twice what is used, and if that
 * is to be had by growing, four times. LMDB opens a file with a map of just its size; were that
 * only doubled, the next page would have it grow again, and all that is mapped by then be mapped
 * anew. */
static size_t roomy(const struct whorl_store *store, size_t *now)
{
    MDB_envinfo info;
    MDB_stat stat;
    mdb_env_info(store->env, &info);
    mdb_env_stat(store->env, &stat);
    size_t used = (info.me_last_pgno + 1) * stat.ms_psize;
    size_t size = info.me_mapsize;
    *now = size;
    if (size / 2 >= used) {
        return size;
    }
    while (size / 4 < used && size <= SIZE_MAX / 4) {
        size *= 2;
    }
    return size;
}

static void leave(struct whorl_store *store)
{
    pthread_mutex_lock(&store->gate);
    if (--store->users == 0 && store->growers > 0) {
        pthread_cond_broadcast(&store->moved);
    }
    pthread_mutex_unlock(&store->gate);
}

/* Counts the caller in. Someone who waits for an empty house goes first, but only for a moment:
 * the transaction that blocks him may need this one to go on (two searches that share workers). */
static int enter(struct whorl_store *store)
{
    pthread_mutex_lock(&store->gate);
    if (store->growers > 0) {
        struct timespec limit = after(YIELD_MS);
        while (store->growers > 0 &&
               pthread_cond_timedwait(&store->moved, &store->gate, &limit) == 0) {
        }
    }
    int rc = store->lost ? MDB_PANIC : 0;
    if (store->env == NULL) {
        rc = reopen(store);
    }
    if (store->users == 0 && rc == 0) {
        size_t now, size = roomy(store, &now);
        if (size > now) {
            resize(store, size); /* no harm if it fails: MDB_MAP_FULL asks again */
            rc = store->lost ? MDB_PANIC : 0;
        }
    }
    store->users += rc == 0;
    pthread_mutex_unlock(&store->gate);
    return rc;
}

/* Waits until nobody is inside; the gate is held. ETIMEDOUT: they stay. */
static int wait_for_others(struct whorl_store *store)
{
    int rc = 0;
    struct timespec limit = after(GROW_WAIT_MS);
    store->growers++;
    while (store->users > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&store->moved, &store->gate, &limit);
    }
    if (--store->growers == 0) {
        pthread_cond_broadcast(&store->moved);
    }
    return store->users == 0 ? 0 : rc;
}

/* Grows the map once nobody is inside. beyond: the size that proved too small; nothing is done if
 * somebody else has grown the map past it meanwhile. */
static int grow(struct whorl_store *store, size_t beyond)
{
    pthread_mutex_lock(&store->gate);
    int rc = wait_for_others(store);
    if (rc == 0 && store->env != NULL) {
        size_t now, size = roomy(store, &now);
        if (now <= beyond && size <= beyond) {
            size = beyond <= SIZE_MAX / 4 ? beyond * 2 : beyond;
        }
        rc = size > now ? resize(store, size) : 0;
    }
    pthread_mutex_unlock(&store->gate);
    return rc;
}

/* Opens the environment anew once nobody is inside. */
static int renew(struct whorl_store *store)
{
    pthread_mutex_lock(&store->gate);
    int rc = wait_for_others(store);
    if (rc == 0) {
        rc = reopen(store);
    }
    pthread_mutex_unlock(&store->gate);
    return rc;
}

static size_t map_size(struct whorl_store *store)
{
    MDB_envinfo info;
    pthread_mutex_lock(&store->gate);
    mdb_env_info(store->env, &info);
    pthread_mutex_unlock(&store->gate);
    return info.me_mapsize;
}

/* ------------------------------------------------------------------ transactions */

/* Begins a transaction inside the gate, whatever other processes have done to file and readers. */
static int begin(struct whorl_store *store, unsigned flags, MDB_txn **txn)
{
    bool checked = false;
    for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        int rc = enter(store);
        if (rc != 0) {
            return rc;
        }
        size_t size = map_size(store);
        rc = mdb_txn_begin(store->env, NULL, flags, txn);
        if (rc == 0) {
            return 0;
        }
        bool full = rc == MDB_READERS_FULL && !checked;
        if (full) {
            int dead = 0;
            checked = true;
            rc = mdb_reader_check(store->env, &dead);
        }
        leave(store);
        if (!full && rc == MDB_MAP_RESIZED) {
            rc = grow(store, size);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return MDB_MAP_RESIZED;
}

MDB_txn *whorl_store_read(struct whorl_store *store, struct whorl_fault *fault)
{
    MDB_txn *txn = NULL;
    int rc = begin(store, MDB_RDONLY, &txn);
    if (rc == 0) {
        return txn;
    }
    fail(store, "read", rc, fault);
    return NULL;
}

void whorl_store_done(struct whorl_store *store, MDB_txn *txn)
{
    if (txn == NULL) {
        return;
    }
    mdb_txn_abort(txn);
    leave(store);
}

/* Whether the store was erased since the environment was opened: what is in its memory may not get
 * into the file again. */
static int is_stale(const struct whorl_store *store, MDB_txn *txn, bool *stale)
{
    uint64_t erased;
    *stale = false;
    if (store->meta == 0) { /* what the store is is being found out */
        return 0;
    }
    int rc = read_erased(txn, store->meta, &erased);
    *stale = erased != store->erased;
    return rc;
}

static int begin_write(struct whorl_store *store, MDB_txn **txn)
{
    bool stale = true;
    int rc = 0;
    while (rc == 0 && stale) {
        rc = begin(store, 0, txn);
        if (rc != 0) {
            return rc;
        }
        rc = is_stale(store, *txn, &stale);
        if (rc != 0 || stale) {
            mdb_txn_abort(*txn);
            leave(store);
        }
        if (rc == 0 && stale) {
            rc = renew(store);
        }
    }
    return rc;
}

/* One attempt. *size: the map that it ran in. */
static int write_once(struct whorl_store *store, int (*write)(MDB_txn *txn, void *arg), void *arg,
                      size_t *size)
{
    MDB_txn *txn = NULL;
    int rc = begin_write(store, &txn);
    if (rc != 0) {
        return rc;
    }
    *size = map_size(store);
    rc = write(txn, arg);
    if (rc == 0) {
        rc = mdb_txn_commit(txn);
    } else {
        mdb_txn_abort(txn);
    }
    leave(store);
    return rc;
}

bool whorl_store_write(struct whorl_store *store, int (*write)(MDB_txn *txn, void *arg), void *arg,
                       struct whorl_fault *fault)
{
    if (store->mode != WHORL_STORE_WRITE) {
        return whorl_fail(fault, "", "%s is open for reading only", store->path);
    }
    int rc = MDB_MAP_FULL;
    pthread_mutex_lock(&store->writing);
    for (int attempt = 0; rc == MDB_MAP_FULL && attempt < MAX_ATTEMPTS; attempt++) {
        size_t size = 0;
        rc = write_once(store, write, arg, &size);
        if (rc == MDB_MAP_FULL) {
            int grown = grow(store, size);
            if (grown != 0) {
                rc = grown;
            }
        }
    }
    pthread_mutex_unlock(&store->writing);
    return rc == 0 || fail(store, "write to", rc, fault);
}

static int count_erasure(MDB_txn *txn, void *arg)
{
    const struct whorl_store *store = arg;
    uint64_t count;
    MDB_val key = {.mv_size = sizeof ERASED - 1, .mv_data = ERASED};
    MDB_val value = {.mv_size = sizeof count, .mv_data = &count};
    int rc = read_erased(txn, store->meta, &count);
    count++;
    return rc != 0 ? rc : mdb_put(txn, store->meta, &key, &value, 0);
}

bool store_forget(struct whorl_store *store, struct whorl_fault *fault)
{
    return whorl_store_write(store, count_erasure, store, fault);
}

/* ------------------------------------------------------------------ named databases */

struct naming {
    const char *name;
    unsigned flags;
    MDB_dbi dbi;
};

static int create_db(MDB_txn *txn, void *arg)
{
    struct naming *naming = arg;
    return mdb_dbi_open(txn, naming->name, naming->flags | MDB_CREATE, &naming->dbi);
}

/* Opens a handle that exists already. */
static int find_db(struct whorl_store *store, struct naming *naming)
{
    MDB_txn *txn = NULL;
    int rc = begin(store, MDB_RDONLY, &txn);
    if (rc != 0) {
        return rc;
    }
    unsigned found = 0;
    rc = mdb_dbi_open(txn, naming->name, naming->flags, &naming->dbi);
    if (rc == 0) {
        rc = mdb_dbi_flags(txn, naming->dbi, &found);
    }
    if (rc == 0 && found != (naming->flags & ~(unsigned)MDB_CREATE)) {
        rc = MDB_INCOMPATIBLE;
    }
    rc = end_opening(txn, rc);
    leave(store);
    return rc;
}

static bool open_db(struct whorl_store *store, struct naming *naming, struct whorl_fault *fault)
{
    int rc = find_db(store, naming);
    if (rc == 0) {
        return true;
    }
    if (rc == MDB_NOTFOUND && store->mode == WHORL_STORE_WRITE) {
        return whorl_store_write(store, create_db, naming, fault);
    }
    if (rc == MDB_NOTFOUND) {
        return whorl_fail(fault, "", "%s holds no database \"%s\"", store->path, naming->name);
    }
    if (rc == MDB_INCOMPATIBLE) {
        return whorl_fail(fault, "", "the database \"%s\" in %s is of another form", naming->name,
                          store->path);
    }
    return fail(store, "open a database in", rc, fault);
}

/* The last of the list becomes one more. */
static void push_name(struct whorl_store *store, char *name)
{
    pthread_mutex_lock(&store->gate);
    store->dbs[store->db_count++] = (struct named){.name = name};
    pthread_mutex_unlock(&store->gate);
}

/* It gets its handle; dbi 0: it goes. */
static void settle_name(struct whorl_store *store, MDB_dbi dbi)
{
    pthread_mutex_lock(&store->gate);
    store->dbs[store->db_count - 1].dbi = dbi;
    store->db_count -= dbi == 0;
    pthread_mutex_unlock(&store->gate);
}

/* It is in the list before it is open, so that an environment that is opened anew meanwhile has it
 * too. */
static bool add_db(struct whorl_store *store, struct naming *naming, struct whorl_fault *fault)
{
    char *copy = strdup(naming->name);
    if (copy == NULL) {
        return whorl_fail(fault, "", "out of memory");
    }
    push_name(store, copy);
    bool ok = open_db(store, naming, fault);
    settle_name(store, ok ? naming->dbi : 0);
    if (!ok) {
        free(copy);
    }
    return ok;
}

bool whorl_store_db(struct whorl_store *store, const char *name, unsigned flags, MDB_dbi *dbi,
                    struct whorl_fault *fault)
{
    struct naming naming = {.name = name, .flags = flags & ~(unsigned)MDB_CREATE};
    bool ok = false;
    pthread_mutex_lock(&store->naming);
    for (unsigned i = 0; i < store->db_count && !ok; i++) {
        if (strcmp(store->dbs[i].name, name) == 0) {
            *dbi = store->dbs[i].dbi;
            ok = true;
        }
    }
    if (!ok && store->db_count == store->max_dbs) {
        whorl_fail(fault, "", "%s was opened for %u databases, \"%s\" is one more", store->path,
                   store->max_dbs, name);
    } else if (!ok) {
        ok = add_db(store, &naming, fault);
        *dbi = naming.dbi;
    }
    pthread_mutex_unlock(&store->naming);
    return ok;
}

/* ------------------------------------------------------------------ opening and closing */

/* mkdir -p with mode 0700. */
static int make_dir(const char *dir)
{
    char path[PATH_MAX];
    size_t len = strlen(dir);
    if (len == 0 || len >= sizeof(path)) {
        return ENAMETOOLONG;
    }
    memcpy(path, dir, len + 1);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            return errno;
        }
        *slash = '/';
    }
    return mkdir(path, 0700) != 0 && errno != EEXIST ? errno : 0;
}

struct identity {
    char text[64];  /* as stored: "kind version" */
    char found[64]; /* what the store said, "" = nothing */
    bool foreign;   /* it holds data but does not say of what */
};

/* Reads what the store says that it is, into identity->found. */
static int read_identity(MDB_txn *txn, struct identity *identity)
{
    MDB_dbi main, meta;
    MDB_stat stat;
    MDB_val key = {.mv_size = 4, .mv_data = "kind"}, value;
    identity->found[0] = '\0';
    identity->foreign = false;
    int rc = mdb_dbi_open(txn, META, 0, &meta);
    if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE) {
        rc = mdb_dbi_open(txn, NULL, 0, &main);
        if (rc == 0) {
            rc = mdb_stat(txn, main, &stat);
        }
        identity->foreign = rc == 0 && stat.ms_entries > 0;
        return rc;
    }
    if (rc == 0) {
        rc = mdb_get(txn, meta, &key, &value);
    }
    if (rc == MDB_NOTFOUND || (rc == 0 && value.mv_size >= sizeof(identity->found))) {
        identity->foreign = true;
        return 0;
    }
    if (rc == 0) {
        memcpy(identity->found, value.mv_data, value.mv_size);
        identity->found[value.mv_size] = '\0';
    }
    return rc;
}

/* A new store learns what it is; an old one is left alone, right or wrong. */
static int write_identity(MDB_txn *txn, void *arg)
{
    struct identity *identity = arg;
    int rc = read_identity(txn, identity);
    if (rc != 0 || identity->foreign || identity->found[0] != '\0') {
        return rc;
    }
    MDB_dbi meta;
    MDB_val key = {.mv_size = 4, .mv_data = "kind"};
    MDB_val value = {.mv_size = strlen(identity->text), .mv_data = identity->text};
    rc = mdb_dbi_open(txn, META, MDB_CREATE, &meta);
    if (rc == 0) {
        rc = mdb_put(txn, meta, &key, &value, 0);
    }
    memcpy(identity->found, identity->text, sizeof(identity->found));
    return rc;
}

/* Leaves in identity->found what the store says, having told a new one first. */
static bool settle_identity(struct whorl_store *store, struct identity *identity,
                            struct whorl_fault *fault)
{
    bool ok = false;
    pthread_mutex_lock(&store->naming); /* LMDB: one thread at a time opens handles */
    MDB_txn *txn = whorl_store_read(store, fault);
    if (txn != NULL) {
        int rc = read_identity(txn, identity);
        whorl_store_done(store, txn);
        ok = rc == 0 || fail(store, "read", rc, fault);
    }
    if (ok && identity->found[0] == '\0' && !identity->foreign &&
        store->mode == WHORL_STORE_WRITE) {
        ok = whorl_store_write(store, write_identity, identity, fault);
    }
    pthread_mutex_unlock(&store->naming);
    return ok;
}

/* The first handle of all, and what was erased so far. */
static bool keep_meta(struct whorl_store *store, struct whorl_fault *fault)
{
    MDB_txn *txn = NULL;
    int rc = 0;
    pthread_mutex_lock(&store->naming);
    if (store->meta == 0) {
        rc = begin(store, MDB_RDONLY, &txn);
    }
    if (txn != NULL) {
        rc = end_opening(txn, open_handles(store, txn));
        leave(store);
    }
    pthread_mutex_unlock(&store->naming);
    return rc == 0 || fail(store, "read", rc, fault);
}

static bool check_identity(struct whorl_store *store, const char *kind, uint32_t version,
                           struct whorl_fault *fault)
{
    struct identity identity = {0};
    snprintf(identity.text, sizeof(identity.text), "%s %u", kind, version);
    if (!settle_identity(store, &identity, fault)) {
        return false;
    }
    if (strcmp(identity.found, identity.text) == 0) {
        return true;
    }
    return whorl_fail(fault, "", "%s: expected a store of kind and version \"%s\", found %s%s%s",
                      store->path, identity.text, identity.found[0] != '\0' ? "\"" : "",
                      identity.found[0] != '\0' ? identity.found
                      : identity.foreign        ? "data of another program"
                                                : "an empty one",
                      identity.found[0] != '\0' ? "\"" : "");
}

static void destroy(struct whorl_store *store)
{
    close_env(store);
    for (unsigned i = 0; i < store->db_count; i++) {
        free(store->dbs[i].name);
    }
    pthread_mutex_destroy(&store->gate);
    pthread_mutex_destroy(&store->writing);
    pthread_mutex_destroy(&store->naming);
    pthread_cond_destroy(&store->moved);
    free(store->dbs);
    free(store->path);
    free(store);
}

/* Takes over path. */
static struct whorl_store *create(char *path, enum whorl_store_mode mode, unsigned max_dbs)
{
    struct whorl_store *store = calloc(1, sizeof(*store));
    struct named *dbs = calloc(max_dbs + 1, sizeof(*dbs));
    if (store == NULL || dbs == NULL) {
        free(store);
        free(dbs);
        free(path);
        return NULL;
    }
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&store->moved, &clock);
    pthread_condattr_destroy(&clock);
    pthread_mutex_init(&store->gate, NULL);
    pthread_mutex_init(&store->writing, NULL);
    pthread_mutex_init(&store->naming, NULL);
    store->path = path;
    store->mode = mode;
    store->max_dbs = max_dbs;
    store->dbs = dbs;
    store->refs = 1;
    return store;
}

/* The registry is locked. Takes over path. */
static struct whorl_store *open_new(char *path, enum whorl_store_mode mode, unsigned max_dbs,
                                    struct whorl_fault *fault)
{
    struct whorl_store *store = create(path, mode, max_dbs);
    if (store == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    int rc = open_env(store);
    if (rc == 0) {
        store->next = registry;
        registry = store;
        return store;
    }
    if (rc == ENOENT) {
        whorl_fail(fault, "", "%s holds no store yet", store->path);
    } else if (rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH) {
        whorl_fail(fault, "", "%s/data.mdb: expected an LMDB file, found something else",
                   store->path);
    } else {
        fail(store, "open", rc, fault);
    }
    destroy(store);
    return NULL;
}

/* The registry is locked. An open one that also serves this caller, or NULL with *fault. */
static struct whorl_store *share(struct whorl_store *store, enum whorl_store_mode mode,
                                 unsigned max_dbs, struct whorl_fault *fault)
{
    if (mode == WHORL_STORE_WRITE && store->mode != WHORL_STORE_WRITE) {
        whorl_fail(fault, "", "%s is open in this process for reading only", store->path);
        return NULL;
    }
    if (max_dbs > store->max_dbs) {
        whorl_fail(fault, "", "%s is open in this process for %u databases, not %u", store->path,
                   store->max_dbs, max_dbs);
        return NULL;
    }
    store->refs++;
    return store;
}

struct whorl_store *whorl_store_open(const char *dir, enum whorl_store_mode mode, unsigned max_dbs,
                                     const char *kind, uint32_t version, struct whorl_fault *fault)
{
    int rc = mode == WHORL_STORE_WRITE ? make_dir(dir) : 0;
    char *path = rc == 0 ? realpath(dir, NULL) : NULL;
    if (path == NULL) {
        whorl_fail(fault, "", "cannot open %s: %s", dir, strerror(rc != 0 ? rc : errno));
        return NULL;
    }
    pthread_mutex_lock(&registry_mutex);
    struct whorl_store *store = registry;
    while (store != NULL && strcmp(store->path, path) != 0) {
        store = store->next;
    }
    if (store != NULL) {
        free(path);
        store = share(store, mode, max_dbs, fault);
    } else {
        store = open_new(path, mode, max_dbs, fault);
    }
    pthread_mutex_unlock(&registry_mutex);
    if (store != NULL &&
        !(check_identity(store, kind, version, fault) && keep_meta(store, fault))) {
        whorl_store_close(store);
        return NULL;
    }
    return store;
}

void whorl_store_close(struct whorl_store *store)
{
    if (store == NULL) {
        return;
    }
    pthread_mutex_lock(&registry_mutex);
    if (--store->refs == 0) {
        struct whorl_store **link = &registry;
        while (*link != store) {
            link = &(*link)->next;
        }
        *link = store->next;
        destroy(store); /* under the lock: the same path must not be opened before it is closed */
    }
    pthread_mutex_unlock(&registry_mutex);
}
