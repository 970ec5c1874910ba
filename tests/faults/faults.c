/* Preloaded into the real server by tests/e2e/test_endurance.py: makes one allocation fail, the
 * calendar jump, and descriptors run out.
 *
 * - FAULTS_ALLOCATION=N: the Nth malloc, calloc or realloc gives NULL, counted from the moment when
 *   the first store is opened: before, libconfuse reads the configuration, and it ends the process
 *   where it has no memory
 * - FAULTS_CLOCK=FILE: CLOCK_REALTIME is off by the number of seconds that FILE holds now
 * - FAULTS_SHORTAGE=FILE: while FILE is there, no descriptor is to be had, not even one just closed
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);

EXPORT int mdb_env_create(void **env);
EXPORT void *malloc(size_t size);
EXPORT void *calloc(size_t count, size_t size);
EXPORT void *realloc(void *p, size_t size);

static atomic_long left;
static atomic_bool counting;

/* LMDB's, which every store begins with. */
EXPORT int mdb_env_create(void **env)
{
    int (*real)(void **) = (int (*)(void **))dlsym(RTLD_NEXT, "mdb_env_create");
    const char *number = getenv("FAULTS_ALLOCATION");
    if (number != NULL && !atomic_exchange(&counting, true)) {
        left = strtol(number, NULL, 10);
    }
    return real(env);
}

static bool fails(void)
{
    if (!counting || atomic_fetch_sub(&left, 1) != 1) {
        return false;
    }
    static const char said[] = "the allocation has failed\n";
    (void)!write(STDERR_FILENO, said, sizeof said - 1);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    return fails() ? NULL : __libc_realloc(p, size);
}

/* How far the calendar is off now. */
static long offset(void)
{
    const char *path = getenv("FAULTS_CLOCK");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    char text[24] = "";
    if (fd >= 0) {
        (void)!read(fd, text, sizeof text - 1);
        close(fd);
    }
    return strtol(text, NULL, 10);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *at)
{
    int n = (int)syscall(SYS_clock_gettime, clock, at);
    if (n == 0 && clock == CLOCK_REALTIME) {
        at->tv_sec += offset();
    }
    return n;
}

EXPORT time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at != NULL) {
        *at = now.tv_sec;
    }
    return now.tv_sec;
}

static bool is_short(void)
{
    const char *path = getenv("FAULTS_SHORTAGE");
    bool now = path != NULL && access(path, F_OK) == 0;
    errno = now ? EMFILE : errno;
    return now;
}

EXPORT int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    return is_short() ? -1 : (int)syscall(SYS_accept4, fd, from, len, flags);
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
    va_end(more);
    return is_short() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* What libuv's open(2) becomes. */
EXPORT int __open64_2(const char *path, int flags);
int __open64_2(const char *path, int flags)
{
    return open(path, flags);
}
