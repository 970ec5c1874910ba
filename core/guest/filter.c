/* seccomp: the system calls that the process may make. What isn't listed fails with EPERM. */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "core/guest/sandbox.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* Names, since not every architecture has all. Nothing among them makes a process, reaches another
 * one, or changes who may do what; and nothing that only the newest Landlock would refuse: not
 * truncate(2), which it doesn't see before ABI 3. */
static const char *const allowed[] = {
    /* memory; mmap is below */
    "brk",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "mlock",
    "mlock2",
    "munlock",
    "msync",
    "mincore",
    "membarrier",
    /* threads and time */
    "futex",
    "futex_waitv",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "set_tid_address",
    "sched_yield",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "getpriority",
    "exit",
    "exit_group",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "sigaltstack",
    "pause",
    "restart_syscall",
    "nanosleep",
    "clock_nanosleep",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    "times",
    "getitimer",
    "alarm",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    /* files: Landlock says which; openat and open are below */
    "close",
    "close_range",
    "read",
    "readv",
    "pread64",
    "preadv",
    "preadv2",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "lseek",
    "fstat",
    "newfstatat",
    "stat",
    "lstat",
    "statx",
    "statfs",
    "fstatfs",
    "access",
    "faccessat",
    "faccessat2",
    "getdents64",
    "readlink",
    "readlinkat",
    "getcwd",
    "umask",
    "mkdir",
    "mkdirat",
    "rmdir",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "ftruncate",
    "fallocate",
    "fadvise64",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "flock",
    "copy_file_range",
    "sendfile",
    "dup",
    "dup2",
    "dup3",
    "pipe",
    "pipe2",
    "eventfd2",
    /* waiting */
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    /* who and where am I */
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "getgroups",
    "uname",
    "sysinfo",
    "getrusage",
    "getrlimit",
    "getrandom",
    "getcpu",
    /* large calls come as descriptors, on the one socket that there is */
    "recvmsg",
};

static const char *const allowed_network[] = {
    "connect", "getsockopt", "setsockopt", "getsockname", "getpeername", "sendto",
    "sendmsg", "sendmmsg",   "recvfrom",   "recvmmsg",    "shutdown",
};

struct building {
    scmp_filter_ctx filter;
    bool good;
};

static void add(struct building *building, uint32_t action, const char *name, unsigned count,
                const struct scmp_arg_cmp *comparisons)
{
    int number = seccomp_syscall_resolve_name(name);
    if (number != __NR_SCMP_ERROR && building->good) {
        building->good =
            seccomp_rule_add_array(building->filter, action, number, count, comparisons) == 0;
    }
}

static void add_list(struct building *building, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        add(building, SCMP_ACT_ALLOW, names[i], 0, NULL);
    }
}

static void add_if(struct building *building, const char *name, struct scmp_arg_cmp comparison)
{
    add(building, SCMP_ACT_ALLOW, name, 1, &comparison);
}

/* A file may be emptied, and looked at by Landlock for that, only where it is opened for writing:
 * before ABI 3 O_TRUNC isn't seen, and with O_ACCMODE, which is neither for reading nor for
 * writing, no ABI refuses anything. And none is made that gives its user's rights to who runs it,
 * outside of this sandbox: the mode is the argument behind the flags, 0 where none is made. */
static void add_opening(struct building *building, const char *name, unsigned flags)
{
    const struct {
        scmp_datum_t mask, value;
    } kinds[] = {{O_ACCMODE | O_TRUNC, O_RDONLY}, {O_ACCMODE, O_WRONLY}, {O_ACCMODE, O_RDWR}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct scmp_arg_cmp both[] = {
            SCMP_CMP(flags, SCMP_CMP_MASKED_EQ, kinds[i].mask, kinds[i].value),
            SCMP_CMP(flags + 1, SCMP_CMP_MASKED_EQ, S_ISUID | S_ISGID, 0)};
        add(building, SCMP_ACT_ALLOW, name, 2, both);
    }
}

/* Flags and locks. Not F_SETOWN, F_SETSIG and the like: a descriptor's owner is sent any signal
 * when the descriptor is ready, and before ABI 6 Landlock lets that be the server. */
static void add_fcntl(struct building *building)
{
    static const int commands[] = {F_DUPFD,     F_DUPFD_CLOEXEC, F_GETFD,      F_SETFD,
                                   F_GETFL,     F_GETLK,         F_SETLK,      F_SETLKW,
                                   F_OFD_GETLK, F_OFD_SETLK,     F_OFD_SETLKW, F_GET_SEALS};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        add_if(building, "fcntl", SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)commands[i]));
    }
    const struct scmp_arg_cmp unsignalled[] = {SCMP_A1(SCMP_CMP_EQ, F_SETFL),
                                               SCMP_A2(SCMP_CMP_MASKED_EQ, O_ASYNC, 0)};
    add(building, SCMP_ACT_ALLOW, "fcntl", 2, unsignalled);
}

/* Those whose arguments decide. */
static void add_conditional(struct building *building)
{
    static const unsigned long prctls[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA};
    static const unsigned long ioctls[] = {TCGETS, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX};
    const scmp_datum_t growing = MAP_GROWSDOWN;
    const scmp_datum_t shared_nowhere = MAP_SHARED | MAP_ANONYMOUS;
    const scmp_datum_t self = (scmp_datum_t)getpid();
    /* Shared memory of no file escapes RLIMIT_DATA, and so does another stack.
     * MAP_SHARED_VALIDATE has MAP_SHARED's bit, and MAP_PRIVATE's. */
    add_if(building, "mmap", SCMP_A3(SCMP_CMP_MASKED_EQ, growing | MAP_ANONYMOUS, 0));
    add_if(building, "mmap", SCMP_A3(SCMP_CMP_MASKED_EQ, growing | shared_nowhere, MAP_ANONYMOUS));
    /* Threads, no processes. clone3 hides its flags in memory; the C library then uses clone. */
    add_if(building, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    add(building, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
    add_if(building, "tgkill", SCMP_A0(SCMP_CMP_EQ, self));
    /* Of oneself only. */
    const struct scmp_arg_cmp nice[] = {SCMP_A0(SCMP_CMP_EQ, PRIO_PROCESS),
                                        SCMP_A1(SCMP_CMP_EQ, 0)};
    add(building, SCMP_ACT_ALLOW, "setpriority", 2, nice);
    add_if(building, "prlimit64", SCMP_A0(SCMP_CMP_EQ, 0));
    add_if(building, "fchmod", SCMP_A1(SCMP_CMP_MASKED_EQ, S_ISUID | S_ISGID, 0));
    add_opening(building, "open", 1);
    add_opening(building, "openat", 2);
    add_fcntl(building);
    for (size_t i = 0; i < sizeof prctls / sizeof prctls[0]; i++) {
        add_if(building, "prctl", SCMP_A0(SCMP_CMP_EQ, prctls[i]));
    }
    for (size_t i = 0; i < sizeof ioctls / sizeof ioctls[0]; i++) {
        add_if(building, "ioctl", SCMP_A1(SCMP_CMP_EQ, ioctls[i]));
    }
}

/* To others on the Internet; no local sockets, whose other ends trust who is on this machine. */
static void add_network(struct building *building)
{
    add_list(building, allowed_network, sizeof allowed_network / sizeof allowed_network[0]);
    add_if(building, "socket", SCMP_A0(SCMP_CMP_EQ, AF_INET));
    add_if(building, "socket", SCMP_A0(SCMP_CMP_EQ, AF_INET6));
    const struct scmp_arg_cmp routes[] = {SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
                                          SCMP_A2(SCMP_CMP_EQ, 0)}; /* getaddrinfo asks for them */
    add(building, SCMP_ACT_ALLOW, "socket", 2, routes);
}

bool sandbox_filter(const struct sandbox *sandbox)
{
    struct building building = {seccomp_init(SCMP_ACT_ERRNO(EPERM)), true};
    if (!building.filter) {
        return false;
    }
    add_list(&building, allowed, sizeof allowed / sizeof allowed[0]);
    add_conditional(&building);
    if (sandbox->spec->limits.network) {
        add_network(&building);
    }
    bool loaded = building.good && seccomp_load(building.filter) == 0;
    seccomp_release(building.filter);
    return loaded;
}
