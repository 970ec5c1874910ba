#include "core/guest/sandbox.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "whorl/msg.h"

enum { FILES_MAX = 256, FILES_MAX_NETWORK = 1024, STACK_MAX = 8 << 20 };

void sandbox_note_errno(const struct sandbox *sandbox, const char *what, int reason)
{
    char text[200];
    (void)snprintf(text, sizeof text, "%s: %s", what, strerror(reason));
    sandbox->note(sandbox->ctx, text);
}

static void limit(const struct sandbox *sandbox, int resource, rlim_t value, const char *what)
{
    struct rlimit limits = {value, value}, now;
    /* The hard limit may be lower already, which is as good. */
    if (getrlimit(resource, &now) == 0 && now.rlim_max < value) {
        limits.rlim_cur = limits.rlim_max = now.rlim_max;
    }
    if (setrlimit(resource, &limits) != 0) {
        sandbox_note_errno(sandbox, what, errno);
    }
}

/* Built in, or put in front of a module that was built with one. */
static bool has_sanitizer(void)
{
    return ISOLATE_SANITIZED || dlsym(RTLD_DEFAULT, "__asan_init") ||
           dlsym(RTLD_DEFAULT, "__tsan_init");
}

static void limit_all(const struct sandbox *sandbox)
{
    const struct isolate_limits *limits = &sandbox->spec->limits;
    limit(sandbox, RLIMIT_CORE, 0, "core dumps stay possible");
    limit(sandbox, RLIMIT_NOFILE, limits->network ? FILES_MAX_NETWORK : FILES_MAX,
          "open files are not limited");
    /* Private writable memory; not RLIMIT_AS, since what LMDB maps is a shared file many times the
     * size of what is in memory. A sanitizer's shadow memory would count, too. */
    if (limits->memory > 0 && !has_sanitizer()) {
        limit(sandbox, RLIMIT_DATA, isolate_memory(sandbox->spec), "memory is not limited");
        limit(sandbox, RLIMIT_STACK, STACK_MAX, "the stack is not limited");
    }
    if (limits->memory > 0) {
        struct rlimit locked = {limits->memory, limits->memory};
        if (setrlimit(RLIMIT_MEMLOCK, &locked) != 0) { /* without privilege: as much as there is */
            limit(sandbox, RLIMIT_MEMLOCK, limits->memory, "locked memory is not limited");
        }
    }
}

/* Takes away all processors but so many; which ones depends on the name, so that not all plugins
 * share the same. */
static void limit_processors(const struct sandbox *sandbox)
{
    static const char unlimited[] = "processors are not limited";
    uint32_t wanted = sandbox->spec->limits.processors;
    cpu_set_t may, keep;
    CPU_ZERO(&keep);
    if (wanted == 0) {
        return;
    }
    if (sched_getaffinity(0, sizeof may, &may) != 0) {
        sandbox_note_errno(sandbox, unlimited, errno);
        return;
    }
    if ((uint32_t)CPU_COUNT(&may) <= wanted) {
        return;
    }
    unsigned start = 0;
    for (const char *at = sandbox->spec->name; *at != '\0'; at++) {
        start = start * 31 + (unsigned char)*at;
    }
    for (unsigned i = 0; i < CPU_SETSIZE && wanted > 0; i++) {
        unsigned cpu = (start + i) % CPU_SETSIZE;
        if (CPU_ISSET(cpu, &may)) {
            CPU_SET(cpu, &keep);
            wanted--;
        }
    }
    if (sched_setaffinity(0, sizeof keep, &keep) != 0) {
        sandbox_note_errno(sandbox, unlimited, errno);
    }
}

/* Whether the server is still there, now that its end would end us, too. */
static bool server_is_there(void)
{
    struct pollfd control = {ISOLATE_FD_CONTROL, POLLIN, 0};
    return poll(&control, 1, 0) >= 0 && (control.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0;
}

bool sandbox_enter(const struct sandbox *sandbox, struct whorl_fault *fault)
{
    limit_all(sandbox);
    limit_processors(sandbox);
    if (!sandbox_become(sandbox, fault)) {
        return false;
    }
    /* After the change of user, which undoes both. */
    if (prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        return whorl_fail(fault, "", "its process can't be protected: %s", strerror(errno));
    }
    if (!server_is_there()) {
        return whorl_fail(fault, "", "the server has gone");
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return whorl_fail(fault, "", "its process can't give up new privileges: %s",
                          strerror(errno));
    }
    (void)sandbox_landlock(sandbox); /* has said why */
    return sandbox_filter(sandbox) ||
           whorl_fail(fault, "", "its process's system calls can't be filtered (seccomp)");
}
