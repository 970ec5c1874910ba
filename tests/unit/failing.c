#include "failing.h"

#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <link.h>
#include <lmdb.h>
#include <msgpack.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#define EXPORT __attribute__((visibility("default")))

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum { SITES = 4096 };

/* A place in the code that calls. */
struct site {
    uintptr_t at;          /* 0: none */
    unsigned failed, seen; /* rounds in which it failed; its calls in this round */
};

/* Shared with the processes that this one makes. */
struct table {
    atomic_bool in_guests; /* calls of plugins' processes are counted */
    char last[40];         /* "": nothing has failed */
    struct site sites[SITES];
};

#define TABLE "FAILING_TABLE" /* the variable that tells a plugin's process where it is */

static atomic_bool counting, one_thread, all_but_one;
static bool guest; /* a plugin's process of a test */
static _Atomic pthread_t chosen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct table *table;
static char table_path[64];
static unsigned often = 4; /* a place is made to fail, each time a call later */
static _Atomic(const char *)
    every; /* the function all of whose calls fail; NULL: one call in turn does */

/* Whorl's own code: of the program, and of libwhorl-*. */
static struct {
    uintptr_t begin, size;
} ours[8];
static size_t our_count;

static int add_object(struct dl_phdr_info *info, size_t size, void *first)
{
    bool *program = first; /* dl_iterate_phdr(3): the first object is the program */
    bool own = *program || strstr(info->dlpi_name, "libwhorl-") != NULL;
    (void)size;
    *program = false;
    for (size_t i = 0; own && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0 &&
            our_count < sizeof ours / sizeof *ours) {
            ours[our_count].begin = info->dlpi_addr + part->p_vaddr;
            ours[our_count++].size = part->p_memsz;
        }
    }
    return 0;
}

static void find_own_code(void)
{
    bool program = true;
    if (our_count == 0) {
        dl_iterate_phdr(add_object, &program);
    }
}

static void make_table(void)
{
    if (table == NULL) {
        int fd = memfd_create("failing", MFD_CLOEXEC);
        ck_assert_int_eq(ftruncate(fd, sizeof *table), 0);
        table = mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(table, MAP_FAILED);
        snprintf(table_path, sizeof table_path, TABLE "=/proc/%d/fd/%d", (int)getpid(), fd);
    }
}

/* Before the one that serves a plugin. */
__attribute__((constructor(101))) static void join_table(void)
{
    const char *path = getenv(TABLE);
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        table = mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        find_own_code();
        guest = table != MAP_FAILED;
        close(fd);
    }
}

bool failing_again(bool first)
{
    make_table();
    bool more = first || table->last[0] != '\0';
    if (first) {
        memset(table->sites, 0, sizeof table->sites);
    }
    return more;
}

void failing_often(unsigned times)
{
    often = times;
}

void failing_every(const char *name)
{
    every = name;
    failing_on();
}

void failing_on_in(pthread_t thread)
{
    chosen = thread;
    one_thread = true;
    failing_on();
}

void failing_every_in(pthread_t thread, const char *name)
{
    every = name;
    failing_on_in(thread);
}

void failing_on_but(pthread_t thread)
{
    chosen = thread;
    all_but_one = true;
    failing_on();
}

static void begin_round(void)
{
    make_table();
    find_own_code();
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < SITES; i++) {
        table->sites[i].seen = 0;
    }
    table->last[0] = '\0';
    pthread_mutex_unlock(&lock);
}

void failing_on(void)
{
    begin_round();
    counting = true;
}

void failing_on_in_guests(void)
{
    begin_round();
    table->in_guests = true;
}

const char *failing_off(void)
{
    counting = one_thread = all_but_one = table->in_guests = false;
    every = NULL;
    static char name[sizeof table->last]; /* a call that has begun may name itself later */
    pthread_mutex_lock(&lock);
    memcpy(name, table->last, sizeof name);
    pthread_mutex_unlock(&lock);
    return name[0] != '\0' ? name : NULL;
}

void failing_try(const struct failing_deed *deed, struct whorl_fault *fault)
{
    unsigned rounds = 0;
    for (; failing_again(rounds == 0); rounds++) {
        deed->before();
        *fault = (struct whorl_fault){"", ""};
        failing_on();
        bool done = deed->act();
        const char *failed = failing_off();
        ck_assert_msg(done || fault->text[0] != '\0', "%s: %s (%u) failed in silence", deed->name,
                      failed, rounds);
        ck_assert_msg(failed != NULL || done, "%s: nothing failed: %s", deed->name, fault->text);
        /* Of a file that was only read, nothing is lost. */
        ck_assert_msg(failed == NULL || !done || strcmp(failed, "close") == 0 ||
                          (deed->shrugged != NULL && strstr(deed->shrugged, failed) != NULL),
                      "%s: %s (%u) was passed over", deed->name, failed, rounds);
        deed->after(done);
    }
    ck_assert_uint_gt(rounds, 1);
}

const char *failing_folder(void)
{
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

/* The place that such a call returns to, wherever the program was loaded; 0: it isn't Whorl's own
 * code. dladdr would say that too, but takes a hundred times as long. */
static uintptr_t place_of(const void *from)
{
    for (size_t i = 0; i < our_count; i++) {
        uintptr_t at = (uintptr_t)from - ours[i].begin;
        if (at < ours[i].size) {
            return (uintptr_t)(i + 1) << 40 | at;
        }
    }
    return 0;
}

static struct site *site_of(uintptr_t at)
{
    size_t i = (at >> 2) % SITES;
    while (table->sites[i].at != 0 && table->sites[i].at != at) {
        i = (i + 1) % SITES;
    }
    table->sites[i].at = at;
    return &table->sites[i];
}

static bool fails_in_turn(const char *name, uintptr_t at)
{
    pthread_mutex_lock(&lock);
    struct site *site = site_of(at);
    bool now = table->last[0] == '\0' && site->failed < often && site->seen++ == site->failed;
    if (now) {
        site->failed++;
        snprintf(table->last, sizeof table->last, "%s", name);
    }
    pthread_mutex_unlock(&lock);
    return now;
}

static bool is_counted(void)
{
    bool now = counting || (guest && table->in_guests);
    if (now && (one_thread || all_but_one)) {
        now = (pthread_equal(chosen, pthread_self()) != 0) == one_thread;
    }
    return now;
}

static bool fails(const char *name, const void *from)
{
    uintptr_t at;
    if (!is_counted() || (at = place_of(from)) == 0) {
        return false;
    }
    const char *always = every;
    bool now = always == NULL ? fails_in_turn(name, at) : strcmp(name, always) == 0;
    if (now && always != NULL) {
        pthread_mutex_lock(&lock);
        snprintf(table->last, sizeof table->last, "%s", name);
        pthread_mutex_unlock(&lock);
    }
    if (now) {
        errno = ENOMEM;
    }
    return now;
}

#define FROM __builtin_return_address(0)

/* A function that gives `failure` where it fails, and else what the real one gives. */
#define FAILS(type, name, params, args, failure)                                                   \
    EXPORT type name params;                                                                       \
    type name params                                                                               \
    {                                                                                              \
        if (fails(#name, FROM)) {                                                                  \
            return failure;                                                                        \
        }                                                                                          \
        type(*real) params = (type(*) params)dlsym(RTLD_NEXT, #name);                              \
        return real args;                                                                          \
    }

/* --- Memory --------------------------------------------------------------------------------- */

#if !SANITIZED
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);
EXPORT void *malloc(size_t size);
EXPORT void *calloc(size_t count, size_t size);
EXPORT void *realloc(void *p, size_t size);

void *malloc(size_t size)
{
    return fails("malloc", FROM) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails("calloc", FROM) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    return fails("realloc", FROM) ? NULL : __libc_realloc(p, size);
}
#endif

FAILS(void *, mmap, (void *at, size_t len, int prot, int flags, int fd, off_t off),
      (at, len, prot, flags, fd, off), MAP_FAILED)
EXPORT void *mremap(void *at, size_t old_len, size_t len, int flags, ...);
void *mremap(void *at, size_t old_len, size_t len, int flags, ...)
{
    if (fails("mremap", FROM)) {
        return MAP_FAILED;
    }
    void *(*real)(void *, size_t, size_t, int, ...) =
        (void *(*)(void *, size_t, size_t, int, ...))dlsym(RTLD_NEXT, "mremap");
    return real(at, old_len, len, flags); /* none of ours says where to */
}

FAILS(int, mlock2, (const void *at, size_t len, unsigned flags), (at, len, flags), -1)

FAILS(char *, strdup, (const char *text), (text), NULL)

EXPORT int asprintf(char **text, const char *format, ...);
int asprintf(char **text, const char *format, ...)
{
    va_list args;
    if (fails("asprintf", FROM)) {
        *text = NULL; /* which it need not be */
        return -1;
    }
    va_start(args, format);
    int len = vasprintf(text, format, args);
    va_end(args);
    return len;
}

/* --- Files and sockets ---------------------------------------------------------------------- */

EXPORT int open(const char *path, int flags, ...);
EXPORT int openat(int dir, const char *path, int flags, ...);

#define MODE(flags)                                                                                \
    va_list more;                                                                                  \
    va_start(more, flags);                                                                         \
    mode_t mode = ((flags) & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;               \
    va_end(more)

int open(const char *path, int flags, ...)
{
    MODE(flags);
    if (fails("open", FROM)) {
        return -1;
    }
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    return real(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    MODE(flags);
    if (fails("openat", FROM)) {
        return -1;
    }
    int (*real)(int, const char *, int, ...) =
        (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat");
    return real(dir, path, flags, mode);
}

FAILS(FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL)
FAILS(FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL)
FAILS(FILE *, open_memstream, (char **text, size_t *len), (text, len), NULL)
FAILS(ssize_t, write, (int fd, const void *bytes, size_t len), (fd, bytes, len), -1)
FAILS(ssize_t, read, (int fd, void *bytes, size_t len), (fd, bytes, len), -1)
FAILS(ssize_t, pread, (int fd, void *bytes, size_t len, off_t at), (fd, bytes, len, at), -1)
FAILS(ssize_t, pwrite, (int fd, const void *bytes, size_t len, off_t at), (fd, bytes, len, at), -1)
FAILS(ssize_t, getrandom, (void *bytes, size_t len, unsigned flags), (bytes, len, flags), -1)
FAILS(int, fsync, (int fd), (fd), -1)

/* It is closed all the same, as with close(2) itself. */
EXPORT int close(int fd);
int close(int fd)
{
    bool failed = fails("close", FROM);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
    int rc = real(fd);
    errno = failed ? EIO : errno;
    return failed ? -1 : rc;
}

/* Of text in memory: of a file that was read or synchronized before, nothing is lost. */
EXPORT int fclose(FILE *file);
int fclose(FILE *file)
{
    bool failed = fileno(file) < 0 && fails("fclose", FROM);
    int (*real)(FILE *) = (int (*)(FILE *))dlsym(RTLD_NEXT, "fclose");
    int rc = real(file);
    errno = failed ? EIO : errno;
    return failed ? EOF : rc;
}

FAILS(int, fdatasync, (int fd), (fd), -1)
FAILS(int, ftruncate, (int fd, off_t len), (fd, len), -1)
FAILS(int, posix_fallocate, (int fd, off_t at, off_t len), (fd, at, len), ENOSPC)
FAILS(int, fstat, (int fd, struct stat *st), (fd, st), -1)
FAILS(int, stat, (const char *path, struct stat *st), (path, st), -1)
FAILS(int, rename, (const char *from, const char *to), (from, to), -1)
FAILS(int, renameat, (int dir, const char *from, int other, const char *to), (dir, from, other, to),
      -1)
FAILS(int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
FAILS(int, flock, (int fd, int what), (fd, what), -1)
FAILS(char *, realpath, (const char *path, char *real_path), (path, real_path), NULL)
FAILS(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
FAILS(int, socketpair, (int domain, int type, int protocol, int ends[2]),
      (domain, type, protocol, ends), -1)
FAILS(int, bind, (int fd, const struct sockaddr *at, socklen_t len), (fd, at, len), -1)
FAILS(int, listen, (int fd, int backlog), (fd, backlog), -1)
FAILS(int, accept4, (int fd, struct sockaddr *from, socklen_t *len, int flags),
      (fd, from, len, flags), -1)
FAILS(int, connect, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len), -1)
FAILS(ssize_t, recv, (int fd, void *bytes, size_t len, int flags), (fd, bytes, len, flags), -1)
FAILS(ssize_t, send, (int fd, const void *bytes, size_t len, int flags), (fd, bytes, len, flags),
      -1)
FAILS(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
      (fd, level, name, value, len), -1)
FAILS(int, getaddrinfo,
      (const char *host, const char *service, const struct addrinfo *hints,
       struct addrinfo **found),
      (host, service, hints, found), EAI_AGAIN)
FAILS(int, eventfd, (unsigned value, int flags), (value, flags), -1)
FAILS(int, pipe2, (int ends[2], int flags), (ends, flags), -1)
FAILS(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1)
FAILS(int, pthread_create,
      (pthread_t * thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg),
      (thread, attr, start, arg), EAGAIN)

/* --- What a process may do, and what it is ------------------------------------------------- */

FAILS(int, getrlimit, (__rlimit_resource_t what, struct rlimit *limit), (what, limit), -1)
FAILS(int, setrlimit, (__rlimit_resource_t what, const struct rlimit *limit), (what, limit), -1)
FAILS(int, sched_getaffinity, (pid_t pid, size_t size, cpu_set_t *set), (pid, size, set), -1)
FAILS(int, sched_setaffinity, (pid_t pid, size_t size, const cpu_set_t *set), (pid, size, set), -1)
FAILS(int, setgroups, (size_t count, const gid_t *groups), (count, groups), -1)
FAILS(int, setegid, (gid_t gid), (gid), -1)
FAILS(int, seteuid, (uid_t uid), (uid), -1)
FAILS(int, setresgid, (gid_t real_gid, gid_t gid, gid_t saved), (real_gid, gid, saved), -1)
FAILS(int, setresuid, (uid_t real_uid, uid_t uid, uid_t saved), (real_uid, uid, saved), -1)
FAILS(int, lchown, (const char *path, uid_t uid, gid_t gid), (path, uid, gid), -1)
FAILS(int, chmod, (const char *path, mode_t mode), (path, mode), -1)
FAILS(int, poll, (struct pollfd * fds, nfds_t count, int ms), (fds, count, ms), -1)
FAILS(scmp_filter_ctx, seccomp_init, (uint32_t otherwise), (otherwise), NULL)
FAILS(int, seccomp_rule_add_array,
      (scmp_filter_ctx filter, uint32_t action, int number, unsigned count,
       const struct scmp_arg_cmp *comparisons),
      (filter, action, number, count, comparisons), -ENOMEM)
FAILS(int, seccomp_load, (const scmp_filter_ctx filter), (filter), -EPERM)

EXPORT int prctl(int option, ...);
int prctl(int option, ...)
{
    unsigned long values[4];
    va_list more;
    va_start(more, option);
    for (int i = 0; i < 4; i++) {
        values[i] = va_arg(more, unsigned long);
    }
    va_end(more);
    if (fails("prctl", FROM)) {
        return -1;
    }
    int (*real)(int, ...) = (int (*)(int, ...))dlsym(RTLD_NEXT, "prctl");
    return real(option, values[0], values[1], values[2], values[3]);
}

/* Not futex and the like, which can't fail so that it is an error. */
static const char *system_call(long number)
{
    switch (number) {
    case SYS_landlock_create_ruleset:
        return "landlock_create_ruleset";
    case SYS_landlock_add_rule:
        return "landlock_add_rule";
    case SYS_landlock_restrict_self:
        return "landlock_restrict_self";
    case SYS_capset:
        return "capset";
    case SYS_pidfd_open:
        return "pidfd_open";
    default:
        return NULL;
    }
}

EXPORT long syscall(long number, ...);
long syscall(long number, ...)
{
    long values[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++) {
        values[i] = va_arg(more, long);
    }
    va_end(more);
    const char *name = system_call(number);
    if (name != NULL && fails(name, FROM)) {
        return -1;
    }
    long (*real)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return real(number, values[0], values[1], values[2], values[3], values[4], values[5]);
}

/* A plugin's process is told where the table is; nothing of the environment else reaches it. */
EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[],
                       char *const environment[]);
int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const arguments[],
                char *const environment[])
{
    char *more[16];
    size_t count = 0;
    if (fails("posix_spawn", FROM)) {
        return EAGAIN;
    }
    while (environment[count] != NULL && count + 2 < sizeof more / sizeof *more) {
        more[count] = environment[count];
        count++;
    }
    if (table != NULL) {
        more[count++] = table_path;
    }
    more[count] = NULL;
    int (*real)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                const posix_spawnattr_t *, char *const[], char *const[]) =
        (int (*)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                 const posix_spawnattr_t *, char *const[], char *const[]))dlsym(RTLD_NEXT,
                                                                                "posix_spawn");
    return real(pid, path, actions, attributes, arguments, more);
}

/* --- LMDB and msgpack-c --------------------------------------------------------------------- */

/* Not those that fail only for arguments that can't be: mdb_env_info, mdb_env_stat, … */
#define STORE(name, params, args) FAILS(int, name, params, args, EIO)

STORE(mdb_env_create, (MDB_env * *env), (env))
STORE(mdb_env_open, (MDB_env * env, const char *path, unsigned flags, mdb_mode_t mode),
      (env, path, flags, mode))
STORE(mdb_env_set_mapsize, (MDB_env * env, size_t size), (env, size))
STORE(mdb_reader_check, (MDB_env * env, int *dead), (env, dead))
STORE(mdb_txn_begin, (MDB_env * env, MDB_txn *parent, unsigned flags, MDB_txn **txn),
      (env, parent, flags, txn))
STORE(mdb_dbi_open, (MDB_txn * txn, const char *name, unsigned flags, MDB_dbi *dbi),
      (txn, name, flags, dbi))
STORE(mdb_stat, (MDB_txn * txn, MDB_dbi dbi, MDB_stat *stat), (txn, dbi, stat))
STORE(mdb_get, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data), (txn, dbi, key, data))
STORE(mdb_put, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags),
      (txn, dbi, key, data, flags))
STORE(mdb_del, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data), (txn, dbi, key, data))
STORE(mdb_cursor_open, (MDB_txn * txn, MDB_dbi dbi, MDB_cursor **cursor), (txn, dbi, cursor))
STORE(mdb_cursor_get, (MDB_cursor * cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op),
      (cursor, key, data, op))
STORE(mdb_cursor_put, (MDB_cursor * cursor, MDB_val *key, MDB_val *data, unsigned flags),
      (cursor, key, data, flags))
STORE(mdb_cursor_del, (MDB_cursor * cursor, unsigned flags), (cursor, flags))

/* A transaction that does not commit is freed all the same. */
EXPORT int mdb_txn_commit(MDB_txn *txn);
int mdb_txn_commit(MDB_txn *txn)
{
    if (fails("mdb_txn_commit", FROM)) {
        mdb_txn_abort(txn);
        return EIO;
    }
    int (*real)(MDB_txn *) = (int (*)(MDB_txn *))dlsym(RTLD_NEXT, "mdb_txn_commit");
    return real(txn);
}

FAILS(msgpack_zone *, msgpack_zone_new, (size_t chunk), (chunk), NULL)
FAILS(bool, msgpack_zone_init, (msgpack_zone * zone, size_t chunk), (zone, chunk), false)
FAILS(msgpack_unpack_return, msgpack_unpack,
      (const char *bytes, size_t len, size_t *off, msgpack_zone *zone, msgpack_object *object),
      (bytes, len, off, zone, object), MSGPACK_UNPACK_NOMEM_ERROR)

/* --- OpenSSL -------------------------------------------------------------------------------- */

/* Which leaves a word about what has failed. */
#define CRYPTO(type, name, params, args, failure)                                                  \
    EXPORT type name params;                                                                       \
    type name params                                                                               \
    {                                                                                              \
        if (fails(#name, FROM)) {                                                                  \
            ERR_raise(ERR_LIB_EVP, ERR_R_MALLOC_FAILURE);                                          \
            return failure;                                                                        \
        }                                                                                          \
        type(*real) params = (type(*) params)dlsym(RTLD_NEXT, #name);                              \
        return real args;                                                                          \
    }

CRYPTO(EVP_MD_CTX *, EVP_MD_CTX_new, (void), (), NULL)
CRYPTO(int, EVP_DigestInit_ex, (EVP_MD_CTX * ctx, const EVP_MD *type, ENGINE *engine),
       (ctx, type, engine), 0)
CRYPTO(int, EVP_DigestUpdate, (EVP_MD_CTX * ctx, const void *bytes, size_t len), (ctx, bytes, len),
       0)
CRYPTO(int, EVP_DigestFinal_ex, (EVP_MD_CTX * ctx, unsigned char *hash, unsigned *len),
       (ctx, hash, len), 0)
CRYPTO(int, EVP_Digest,
       (const void *bytes, size_t count, unsigned char *hash, unsigned *len, const EVP_MD *type,
        ENGINE *engine),
       (bytes, count, hash, len, type, engine), 0)
CRYPTO(int, EVP_DigestSignInit,
       (EVP_MD_CTX * ctx, EVP_PKEY_CTX **key_ctx, const EVP_MD *type, ENGINE *engine,
        EVP_PKEY *key),
       (ctx, key_ctx, type, engine, key), 0)
CRYPTO(int, EVP_DigestSign,
       (EVP_MD_CTX * ctx, unsigned char *to, size_t *to_len, const unsigned char *bytes,
        size_t len),
       (ctx, to, to_len, bytes, len), 0)
CRYPTO(int, EVP_DigestVerifyInit,
       (EVP_MD_CTX * ctx, EVP_PKEY_CTX **key_ctx, const EVP_MD *type, ENGINE *engine,
        EVP_PKEY *key),
       (ctx, key_ctx, type, engine, key), 0)
CRYPTO(int, EVP_DigestVerify,
       (EVP_MD_CTX * ctx, const unsigned char *signature, size_t signature_len,
        const unsigned char *bytes, size_t len),
       (ctx, signature, signature_len, bytes, len), -1)
CRYPTO(EVP_PKEY *, EVP_PKEY_new_raw_public_key,
       (int type, ENGINE *engine, const unsigned char *key, size_t len), (type, engine, key, len),
       NULL)
CRYPTO(int, EVP_PKEY_get_raw_public_key, (const EVP_PKEY *key, unsigned char *to, size_t *len),
       (key, to, len), 0)
CRYPTO(EVP_PKEY *, PEM_read_PrivateKey,
       (FILE * in, EVP_PKEY **key, pem_password_cb *password, void *arg), (in, key, password, arg),
       NULL)
CRYPTO(int, PEM_write_PrivateKey,
       (FILE * out, const EVP_PKEY *key, const EVP_CIPHER *cipher, const unsigned char *word,
        int word_len, pem_password_cb *password, void *arg),
       (out, key, cipher, word, word_len, password, arg), 0)
CRYPTO(int, RAND_bytes, (unsigned char *to, int len), (to, len), 0)
CRYPTO(int, RAND_priv_bytes, (unsigned char *to, int len), (to, len), 0)
CRYPTO(SSL_CTX *, SSL_CTX_new, (const SSL_METHOD *method), (method), NULL)
CRYPTO(SSL *, SSL_new, (SSL_CTX * ctx), (ctx), NULL)
CRYPTO(BIO *, BIO_new, (const BIO_METHOD *method), (method), NULL)
CRYPTO(BIO_METHOD *, BIO_meth_new, (int type, const char *name), (type, name), NULL)
CRYPTO(int, SSL_CTX_load_verify_locations, (SSL_CTX * ctx, const char *file, const char *dir),
       (ctx, file, dir), 0)
CRYPTO(int, SSL_CTX_use_certificate_chain_file, (SSL_CTX * ctx, const char *file), (ctx, file), 0)
CRYPTO(int, SSL_CTX_use_PrivateKey_file, (SSL_CTX * ctx, const char *file, int type),
       (ctx, file, type), 0)
CRYPTO(int, SSL_set1_host, (SSL * ssl, const char *host), (ssl, host), 0)
CRYPTO(int, X509_digest,
       (const X509 *certificate, const EVP_MD *type, unsigned char *hash, unsigned *len),
       (certificate, type, hash, len), 0)

/* --- libuv ---------------------------------------------------------------------------------- */

/* Not uv_pipe_init, uv_poll_start and uv_queue_work, which can't fail. */
#define LOOP(name, params, args) FAILS(int, name, params, args, UV_ENOMEM)

LOOP(uv_loop_init, (uv_loop_t * loop), (loop))
LOOP(uv_async_init, (uv_loop_t * loop, uv_async_t *async, uv_async_cb cb), (loop, async, cb))
LOOP(uv_signal_init, (uv_loop_t * loop, uv_signal_t *signal), (loop, signal))
LOOP(uv_signal_start, (uv_signal_t * signal, uv_signal_cb cb, int what), (signal, cb, what))
LOOP(uv_poll_init, (uv_loop_t * loop, uv_poll_t *poll, int fd), (loop, poll, fd))
LOOP(uv_pipe_open, (uv_pipe_t * pipe, uv_file fd), (pipe, fd))
LOOP(uv_tcp_init, (uv_loop_t * loop, uv_tcp_t *tcp), (loop, tcp))
LOOP(uv_tcp_open, (uv_tcp_t * tcp, uv_os_sock_t fd), (tcp, fd))
LOOP(uv_tcp_getpeername, (const uv_tcp_t *tcp, struct sockaddr *name, int *len), (tcp, name, len))
LOOP(uv_read_start, (uv_stream_t * stream, uv_alloc_cb alloc, uv_read_cb cb), (stream, alloc, cb))
LOOP(uv_write,
     (uv_write_t * write, uv_stream_t *stream, const uv_buf_t *bufs, unsigned count,
      uv_write_cb cb),
     (write, stream, bufs, count, cb))
LOOP(uv_shutdown, (uv_shutdown_t * shutdown, uv_stream_t *stream, uv_shutdown_cb cb),
     (shutdown, stream, cb))
