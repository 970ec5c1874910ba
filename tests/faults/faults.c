/* Preloaded into the real server by tests/e2e/test_endurance.py: makes one allocation fail, and the
 * calendar jump.
 *
 *     FAULTS_ALLOCATION=N   the Nth malloc, calloc or realloc gives NULL
 *     FAULTS_CLOCK=FILE     CLOCK_REALTIME is off by the number of seconds that FILE holds now */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);

EXPORT void *malloc(size_t size);
EXPORT void *calloc(size_t count, size_t size);
EXPORT void *realloc(void *p, size_t size);

static atomic_long left = -1;
static bool counting;

__attribute__((constructor)) static void begin(void)
{
    const char *number = getenv("FAULTS_ALLOCATION");
    if (number != NULL) {
        left = strtol(number, NULL, 10);
        counting = true;
    }
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
