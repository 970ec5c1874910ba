/* Who the process is: a user of its own where the server is root, and in no case with any of
 * root's capabilities. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/guest/sandbox.h"
#include "whorl/msg.h"

/* nftw takes no context. */
static uid_t new_owner;
static gid_t new_group;

/* Nothing that is linked from elsewhere: it might be somebody else's. (The plugin itself can make
 * no links at all, symbolic ones neither.) A process of its that still runs, after a reload, may
 * take away what is just being looked at, and may have shut itself out of the directory. */
static int give(const char *path, const struct stat *st, int type, struct FTW *place)
{
    if (type == FTW_NS) {
        return 0;
    }
    bool foreign = !S_ISDIR(st->st_mode) && (!S_ISREG(st->st_mode) || st->st_nlink > 1);
    if (!foreign && (st->st_uid != new_owner || st->st_gid != new_group) &&
        lchown(path, new_owner, new_group) != 0 && errno != ENOENT) {
        return -1;
    }
    return place->level == 0 && (st->st_mode & 07777) != 0700 ? chmod(path, 0700) : 0;
}

static bool give_data(const char *data_dir, uid_t uid, gid_t gid)
{
    new_owner = uid;
    new_group = gid;
    return nftw(data_dir, give, 16, FTW_PHYS | FTW_MOUNT) == 0;
}

/* Others may pass through the server's data directory to what is theirs; they still can't list it.
 */
static bool let_through(const char *data_dir)
{
    char path[PATH_MAX];
    struct stat st;
    int len = snprintf(path, sizeof path, "%s/..", data_dir);
    return len > 0 && (size_t)len < sizeof path && stat(path, &st) == 0 &&
           ((st.st_mode & S_IXOTH) != 0 || chmod(path, (st.st_mode & 07777) | S_IXOTH) == 0);
}

static bool can_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

/* Whether that user can get at the module, and to the data directory. Nothing of the answer may be
 * for the plugin to decide, since root is what it would become: not what modes there are in its
 * directory, nor the directory's own, which stat doesn't look at. */
static bool can_reach(const struct sandbox *sandbox, uid_t uid, gid_t gid)
{
    const char *data_dir = sandbox->spec->data_dir;
    struct stat st;
    if (setgroups(0, NULL) != 0 || setegid(gid) != 0 || seteuid(uid) != 0) {
        return false;
    }
    bool both =
        can_read(sandbox->spec->module) && (data_dir[0] == '\0' || stat(data_dir, &st) == 0);
    return seteuid(0) == 0 && both;
}

/* Root without capabilities is a user like others, who owns much. */
static bool drop_capabilities(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++) {
        (void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    }
    return syscall(SYS_capset, &head, none) == 0;
}

static bool become_other(uid_t uid, gid_t gid, const char *data_dir, struct whorl_fault *fault)
{
    if ((data_dir[0] == '\0' || give_data(data_dir, uid, gid)) && setresgid(gid, gid, gid) == 0 &&
        setresuid(uid, uid, uid) == 0) {
        return true;
    }
    return whorl_fail(fault, "",
                      "it can't run as a user of its own (%u), nor does it as root instead: %s",
                      (unsigned)uid, strerror(errno));
}

static bool stay_root(const char *data_dir, struct whorl_fault *fault)
{
    if (setegid(0) == 0 && (data_dir[0] == '\0' || give_data(data_dir, 0, 0)) &&
        drop_capabilities()) {
        return true;
    }
    return whorl_fail(fault, "",
                      "it can neither run as a user of its own nor as root without "
                      "capabilities: %s",
                      strerror(errno));
}

bool sandbox_become(const struct sandbox *sandbox, struct whorl_fault *fault)
{
    const char *data_dir = sandbox->spec->data_dir;
    uid_t uid = sandbox->spec->limits.uid;
    gid_t gid = sandbox->spec->limits.gid;
    if (geteuid() != 0) {
        (void)drop_capabilities(); /* there are none, unless somebody gave the server some */
        return true;
    }
    if (uid != 0 && (data_dir[0] == '\0' || let_through(data_dir)) &&
        can_reach(sandbox, uid, gid)) {
        return become_other(uid, gid, data_dir, fault);
    }
    if (!stay_root(data_dir, fault)) {
        return false;
    }
    sandbox->note(sandbox->ctx, "its process runs as root, without capabilities: a user of its own "
                                "can't be had, or can't reach its module or its data");
    return true;
}
