#include "core/server/process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void not_had(struct log *log, const char *what)
{
    log_line(log, WHORL_LOG_WARNING, what, "why", strerror(errno), NULL);
}

void process_protect(struct log *log)
{
    struct rlimit limit = {0, 0};
    if (prctl(PR_SET_DUMPABLE, 0) != 0) {
        not_had(log, "the process stays readable by others of its user");
    }
    if (setrlimit(RLIMIT_CORE, &limit) != 0) {
        not_had(log, "core dumps stay possible");
    }
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
            not_had(log, "the limit on locked memory stays low");
        }
    }
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, &ignore, NULL) != 0) {
        not_had(log, "a closed pipe may end the process");
    }
}
