#include "core/isolate/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "whorl/msg.h"

/* Above those that the child finds them at, so that no dup2 overwrites another's source. */
enum { SOURCES_FROM = 32, SOURCES = 6 };

enum { SAYINGS_MAX = 16 }; /* of one child; an honest one has fewer */

/* What the child inherits of the environment; the rest may hold what is none of its business. */
static const char *const inherited[] = {"LD_LIBRARY_PATH", "LD_PRELOAD",   "TZ",
                                        "ASAN_OPTIONS",    "LSAN_OPTIONS", "TSAN_OPTIONS",
                                        "UBSAN_OPTIONS"};
enum { INHERITED = sizeof inherited / sizeof inherited[0] };

int isolate_sealed(const void *bytes, size_t len)
{
    int fd = memfd_create("whorl", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const char *at = bytes;
    while (fd >= 0 && len > 0) {
        ssize_t n = write(fd, at, len);
        if (n <= 0) {
            break;
        }
        at += n;
        len -= (size_t)n;
    }
    if (fd >= 0 &&
        (len > 0 ||
         fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

/* Copies of what the child gets, out of the way of where it gets them. */
static bool make_sources(const struct isolate_spec *spec, const int *shared, int control,
                         int sayings, int sources[SOURCES])
{
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    isolate_spec_pack(spec, &packed);
    int sealed = isolate_sealed(packed.data, packed.size);
    msgpack_sbuffer_destroy(&packed);
    const int from[SOURCES] = {control,
                               sayings,
                               sealed,
                               shared ? shared[0] : sealed,
                               shared ? shared[1] : sealed,
                               shared ? shared[2] : sealed};
    bool good = sealed >= 0;
    for (size_t i = 0; i < SOURCES; i++) {
        sources[i] = good ? fcntl(from[i], F_DUPFD_CLOEXEC, SOURCES_FROM) : -1;
        good = good && sources[i] >= 0;
    }
    int reason = errno;
    if (sealed >= 0) {
        close(sealed);
    }
    errno = reason;
    return good;
}

static int add_actions(posix_spawn_file_actions_t *actions, const int sources[SOURCES])
{
    int error = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    /* What a plugin prints is no log line. Only a sanitizer's last words are let through. */
    if (error == 0) {
        error = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
    }
    if (error == 0 && !ISOLATE_SANITIZED) {
        error = posix_spawn_file_actions_addopen(actions, 2, "/dev/null", O_WRONLY, 0);
    }
    for (int i = 0; i < SOURCES && error == 0; i++) {
        error = posix_spawn_file_actions_adddup2(actions, sources[i], ISOLATE_FD_CONTROL + i);
    }
    return error != 0 ? error : posix_spawn_file_actions_addclosefrom_np(actions, ISOLATE_FD_END);
}

/* 0, or an error of errno.h. */
static int make_environment(char *text[INHERITED + 1])
{
    size_t count = 0;
    int error = 0;
    for (size_t i = 0; i < INHERITED && error == 0; i++) {
        const char *value = getenv(inherited[i]);
        if (value && asprintf(&text[count], "%s=%s", inherited[i], value) > 0) {
            count++;
        } else if (value) {
            error = ENOMEM;
        }
    }
    text[count] = NULL;
    return error;
}

static int spawn(const char *name, const int sources[SOURCES], pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    char *environment[INHERITED + 1];
    char program[] = "whorl", argument[] = ISOLATE_ARGUMENT;
    char *const arguments[] = {program, argument, (char *)name, NULL};
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    /* A session of its own: a terminal's ^C is for the server, which then stops its children. */
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    int error = make_environment(environment);
    if (error == 0) {
        error = add_actions(&actions, sources);
    }
    if (error == 0) {
        error = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, arguments, environment);
    }
    for (size_t i = 0; environment[i]; i++) {
        free(environment[i]);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

bool isolate_spawn(const struct isolate_spec *spec, const int *shared, struct isolate_child *child,
                   struct whorl_fault *fault)
{
    int pair[2] = {-1, -1}, sayings[2] = {-1, -1}, sources[SOURCES] = {-1, -1, -1, -1, -1, -1};
    *child = ISOLATE_NO_CHILD;
    int error = 0;
    child->heard = malloc(ISOLATE_HEARD_MAX);
    if (!child->heard || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
        pipe2(sayings, O_CLOEXEC) != 0 || fcntl(sayings[0], F_SETFL, O_NONBLOCK) != 0 ||
        !make_sources(spec, shared, pair[1], sayings[1], sources)) {
        error = errno;
    } else {
        error = spawn(spec->name, sources, &child->pid);
    }
    close_all(sources, SOURCES);
    close_all((int[]){pair[1], sayings[1]}, 2);
    child->control = pair[0];
    child->sayings = sayings[0];
    if (error == 0) {
        child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
        error = child->pidfd < 0 ? errno : 0;
    }
    if (error != 0) {
        char words[8];
        if (child->pid > 0) {
            kill(child->pid, SIGKILL); /* not reaped yet, so the number is still its own */
        }
        isolate_reap(child, words, sizeof words);
        return whorl_fail(fault, "", "its process can't be made: %s", strerror(error));
    }
    return true;
}

int64_t isolate_until(int ms)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + ms;
}

/* What was sent before the first saying, if anything was: after it nothing can come. */
static void take_status(struct isolate_child *child)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr head = {.msg_iov = &part,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = CMSG_LEN(sizeof(int))};
    ssize_t n = recvmsg(child->control, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *rights = n > 0 ? CMSG_FIRSTHDR(&head) : NULL;
    if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS) {
        memcpy(&child->status, CMSG_DATA(rights), sizeof child->status);
    }
}

/* Reads on in a saying: its length when it is whole, 0 when there is no more for now, -1. */
static ssize_t read_on(struct isolate_child *child)
{
    for (;;) {
        uint32_t len = 0;
        size_t whole = sizeof len;
        if (child->heard_len >= sizeof len) {
            memcpy(&len, child->heard, sizeof len);
            whole += len;
        }
        if (len > ISOLATE_SAYING_MAX || (len == 0 && child->heard_len >= sizeof len)) {
            return -1;
        }
        if (len > 0 && child->heard_len == whole) {
            child->heard_len = 0;
            return (ssize_t)len;
        }
        ssize_t n = read(child->sayings, child->heard + child->heard_len, whole - child->heard_len);
        if (n > 0) {
            child->heard_len += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            return n < 0 && errno == EAGAIN ? 0 : -1;
        }
    }
}

ssize_t isolate_hear(struct isolate_child *child, const uint8_t **saying, int64_t until)
{
    *saying = child->heard + sizeof(uint32_t);
    for (;;) {
        ssize_t n = read_on(child);
        if (n > 0) {
            if (child->said++ == 0) {
                take_status(child);
            }
            return child->said <= SAYINGS_MAX ? n : -1;
        }
        if (n < 0) {
            return -1;
        }
        int64_t left = until != 0 ? until - isolate_until(0) : 0;
        if (left <= 0) {
            return 0;
        }
        struct pollfd wait = {child->sayings, POLLIN, 0};
        (void)poll(&wait, 1, (int)left);
    }
}

/* Text that may go into a log, or to whoever asked. */
static void copy_text(char *to, size_t cap, const uint8_t *from, size_t len)
{
    size_t n = len < cap - 1 ? len : cap - 1;
    bool clean = whorl_text_is_clean((const char *)from, n);
    for (size_t i = 0; i < n; i++) {
        bool ascii = from[i] >= ' ' && from[i] < 0x7f;
        to[i] = (char)(clean || ascii ? from[i] : '?');
    }
    to[n] = '\0';
}

void isolate_fault(const uint8_t *saying, size_t len, struct whorl_fault *fault)
{
    size_t where = strnlen((const char *)saying, len);
    size_t start = where < len ? where + 1 : len;
    size_t text = strnlen((const char *)saying + start, len - start);
    copy_text(fault->where, sizeof fault->where, saying, where);
    copy_text(fault->text, sizeof fault->text, saying + start, text);
}

void isolate_kill(const struct isolate_child *child)
{
    if (child->pidfd >= 0) {
        (void)syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
    }
}

void isolate_reap(struct isolate_child *child, char *words, size_t cap)
{
    siginfo_t info = {0};
    int result = -1;
    if (child->pid > 0) {
        do {
            result = waitid(P_PID, (id_t)child->pid, &info, WEXITED);
        } while (result != 0 && errno == EINTR);
    }
    if (result != 0) {
        (void)snprintf(words, cap, "is gone");
    } else if (info.si_code == CLD_EXITED) {
        (void)snprintf(words, cap, "ended with exit status %d", info.si_status);
    } else {
        (void)snprintf(words, cap, "was ended by signal %d (%s)", info.si_status,
                       strsignal(info.si_status));
    }
    close_all((int[]){child->pidfd, child->control, child->sayings, child->status}, 4);
    free(child->heard);
    *child = ISOLATE_NO_CHILD;
}
