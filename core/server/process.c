#include "core/server/process.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "whorl/msg.h"

enum { POOL_THREADS = 4 }; /* libuv's default */

static void not_had(struct log *log, const char *what)
{
    log_line(log, WHORL_LOG_WARNING, what, "why", strerror(errno), NULL);
}

static void tell_lockable(struct log *log)
{
    struct rlimit limit;
    char kilobytes[24] = "unlimited";
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        (void)snprintf(kilobytes, sizeof kilobytes, "%llu",
                       (unsigned long long)limit.rlim_cur / 1000);
    }
    log_line(log, WHORL_LOG_INFO, "memory that may be locked", "kilobytes", kilobytes, NULL);
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
    tell_lockable(log);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, &ignore, NULL) != 0) {
        not_had(log, "a closed pipe may end the process");
    }
}

static void *wait_for_all(void *arg)
{
    pthread_mutex_t *door = arg;
    pthread_mutex_lock(door);
    pthread_mutex_unlock(door);
    return NULL;
}

bool process_try_threads(struct whorl_fault *fault)
{
    pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[POOL_THREADS];
    size_t count = 0;
    int error = 0;
    pthread_mutex_lock(&door);
    while (count < POOL_THREADS && error == 0) {
        error = pthread_create(&threads[count], NULL, wait_for_all, &door);
        count += error == 0;
    }
    pthread_mutex_unlock(&door);
    for (size_t i = 0; i < count; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    return error == 0 || whorl_fail(fault, "", "threads can't be made: %s", strerror(error));
}

/* Memory by /proc/self/status, in kB there. */
static void read_memory(struct process_figures *figures)
{
    char line[256];
    FILE *in = fopen("/proc/self/status", "re");
    while (in != NULL && fgets(line, sizeof line, in) != NULL) {
        uint64_t *value = strncmp(line, "VmRSS:", 6) == 0   ? &figures->resident
                          : strncmp(line, "VmLck:", 6) == 0 ? &figures->locked
                                                            : NULL;
        if (value != NULL) {
            *value = strtoull(line + 6, NULL, 10) * 1024;
        }
    }
    if (in != NULL) {
        (void)fclose(in);
    }
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(dir);
    return count - 1; /* the directory's own */
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void process_figures(struct process_figures *figures)
{
    struct rusage usage;
    struct rlimit limit;
    *figures = (struct process_figures){0};
    read_memory(figures);
    figures->descriptors = count_descriptors();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        figures->max_descriptors = (unsigned)limit.rlim_cur;
    }
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        figures->cpu_s = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    }
}
