/* Preloaded by `./test --coverage`: keeps what gcov counted in processes that would lose it.
 *
 * A plugin's process ends with _exit, and its sandbox lets it open no file of the build. So _exit
 * writes the counters down first, and in a plugin's process (and in the test of the sandbox) the
 * files are opened by a helper that was forked before the sandbox closed, and handed over as
 * descriptors. A process that gives up is killed as soon as it has said so: it writes them down
 * before that. Nothing of this is in a build without -Db_coverage=true. */
#undef _FILE_OFFSET_BITS /* the name that libgcov calls is open, not open64 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define HIDDEN __attribute__((visibility("hidden")))

enum { LINE = 200, PATH_CAP = 4096 }; /* a descriptor that the sandbox leaves alone */

/* Of libgcov (gcc/libgcc/libgcov.h): what is loaded and counts, in a list of one element for each
 * object file that was linked. */
struct gcov_root {
    void *list;
    unsigned dumped : 1, run_counted : 1;
    struct gcov_root *next, *prev;
};
extern struct gcov_master {
    unsigned version;
    struct gcov_root *root;
} __gcov_master;
HIDDEN extern void __gcov_dump_one(struct gcov_root *root);

EXPORT int open(const char *path, int flags, ...);
EXPORT _Noreturn void _exit(int code);
EXPORT ssize_t writev(int fd, const struct iovec *parts, int count);

static int line = -1; /* to the helper; -1: there is none */

union rights {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

static void hand_over(int socket, int fd)
{
    union rights control = {{0}};
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        head.msg_control = control.bytes;
        head.msg_controllen = sizeof control.bytes;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&head);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    (void)!sendmsg(socket, &head, MSG_NOSIGNAL);
}

static _Noreturn void help(int socket)
{
    char path[PATH_CAP + 1];
    ssize_t len;
    while ((len = recv(socket, path, PATH_CAP, 0)) > 0) {
        path[len] = '\0';
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        hand_over(socket, fd);
        if (fd >= 0) {
            close(fd);
        }
    }
    syscall(SYS_exit_group, 0);
    __builtin_unreachable();
}

static bool is_sandboxed(int argc, char **argv)
{
    return (argc > 1 && strcmp(argv[1], "plugin-host") == 0) ||
           strstr(program_invocation_short_name, "sandbox") != NULL;
}

__attribute__((constructor)) static void begin(int argc, char **argv)
{
    int pair[2];
    if (!is_sandboxed(argc, argv) ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return;
    }
    pid_t helper = (pid_t)syscall(SYS_fork);
    if (helper == 0) {
        int only = dup2(pair[1], LINE);
        syscall(SYS_close_range, 3, LINE - 1, 0);
        syscall(SYS_close_range, LINE + 1, ~0u, 0);
        help(only);
    }
    line = helper > 0 ? fcntl(pair[0], F_DUPFD_CLOEXEC, LINE) : -1;
    close(pair[0]);
    close(pair[1]);
}

static int ask(const char *path)
{
    union rights control = {{0}};
    char byte;
    int fd = -1;
    struct iovec part = {&byte, 1};
    struct msghdr head = {.msg_iov = &part,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes};
    if (write(line, path, strlen(path)) > 0 && recvmsg(line, &head, MSG_CMSG_CLOEXEC) == 1 &&
        CMSG_FIRSTHDR(&head) != NULL) {
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&head)), sizeof fd);
    }
    return fd;
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    unsigned mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, unsigned) : 0;
    va_end(more);
    size_t len = strlen(path);
    if (line >= 0 && len > 5 && len <= PATH_CAP && strcmp(path + len - 5, ".gcda") == 0) {
        return ask(path);
    }
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    return real(path, flags, mode);
}

static void dump(void)
{
    for (struct gcov_root *root = __gcov_master.root; root != NULL; root = root->next) {
        __gcov_dump_one(root);
    }
}

/* What a plugin's process says: "F" and why it gives up. */
ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (line >= 0 && count == 2 && parts[0].iov_len == 1 &&
        *(const char *)parts[0].iov_base == 'F') {
        dump();
    }
    ssize_t (*real)(int, const struct iovec *, int) =
        (ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
    return real(fd, parts, count);
}

void _exit(int code)
{
    dump();
    syscall(SYS_exit_group, code);
    __builtin_unreachable();
}
