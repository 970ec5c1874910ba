/* Landlock: which files the process may touch, and that it may reach nobody (landlock(7)). */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/guest/sandbox.h"

/* Newer than the headers of Debian 12; the kernel may know them. */
#define ACCESS_REFER (1ULL << 13)       /* ABI 2 */
#define ACCESS_TRUNCATE (1ULL << 14)    /* ABI 3 */
#define ACCESS_IOCTL_DEV (1ULL << 15)   /* ABI 5 */
#define NET_BIND (1ULL << 0)            /* ABI 4 */
#define NET_CONNECT (1ULL << 1)         /* ABI 4 */
#define SCOPE_ABSTRACT_UNIX (1ULL << 0) /* ABI 6 */
#define SCOPE_SIGNAL (1ULL << 1)        /* ABI 6 */

struct ruleset {
    __u64 files, net, scoped;
};

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define KEEP                                                                                       \
    (READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                        \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |  \
     ACCESS_REFER | ACCESS_TRUNCATE)
#define OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE)

/* What the loader and the C library need. */
static const char *const readable[] = {
    "/lib",           "/lib64",           "/usr/lib",       "/usr/lib64",
    "/usr/local/lib", "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo",
    "/dev/urandom",   "/dev/null",
};
/* And to find others by name, and check who they are. */
static const char *const network_readable[] = {
    "/etc/resolv.conf",     "/etc/hosts",    "/etc/nsswitch.conf", "/etc/host.conf",
    "/etc/gai.conf",        "/etc/services", "/etc/ssl",           "/usr/share/ca-certificates",
    "/run/systemd/resolve",
};
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static __u64 known_to(long abi)
{
    __u64 files = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* all of ABI 1 */
    return files | (abi >= 2 ? ACCESS_REFER : 0) | (abi >= 3 ? ACCESS_TRUNCATE : 0) |
           (abi >= 5 ? ACCESS_IOCTL_DEV : 0);
}

/* Allows `access` to what is at a path, if anything is. */
static bool allow(int ruleset, const char *path, __u64 access)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;
    if (fd < 0) {
        return true; /* nothing there: nothing to allow */
    }
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode)) {
        access &= OF_FILES;
    }
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    bool done = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    close(fd);
    return done;
}

static bool allow_all(const struct sandbox *sandbox, int ruleset, __u64 known)
{
    const struct isolate_spec *spec = sandbox->spec;
    bool good = allow(ruleset, spec->module, READ & known);
    for (size_t i = 0; good && i < COUNT(readable); i++) {
        good = allow(ruleset, readable[i], READ & known);
    }
    for (size_t i = 0; good && spec->limits.network && i < COUNT(network_readable); i++) {
        good = allow(ruleset, network_readable[i], READ & known);
    }
    for (size_t i = 0; good && sandbox->paths[i]; i++) {
        good = allow(ruleset, sandbox->paths[i], KEEP & known);
    }
    return good && (spec->data_dir[0] == '\0' || allow(ruleset, spec->data_dir, KEEP & known));
}

bool sandbox_landlock(const struct sandbox *sandbox)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) {
        sandbox_note_errno(sandbox, "this kernel has no Landlock: it can read what its user can",
                           errno);
        return false;
    }
    __u64 known = known_to(abi);
    struct ruleset attributes = {.files = known};
    size_t size = sizeof attributes.files;
    if (abi >= 4) {
        attributes.net = NET_BIND | (sandbox->spec->limits.network ? 0 : NET_CONNECT);
        size = offsetof(struct ruleset, scoped);
    }
    if (abi >= 6) {
        attributes.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
        size = sizeof attributes;
    }
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
    bool done = ruleset >= 0 && allow_all(sandbox, ruleset, known) &&
                syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    if (!done) {
        sandbox_note_errno(sandbox, "Landlock can't be had: it can read what its user can", errno);
    }
    if (ruleset >= 0) {
        close(ruleset);
    }
    return done;
}
