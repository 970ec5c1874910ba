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

enum {
    POOL_THREADS = 4,     /* libuv's default */
    OWN_DESCRIPTORS = 200 /* at the most, of stores, plugins and what else is no connection */
};

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

/* As far as the hard limit allows. */
static void raise_limit(struct log *log, __rlimit_resource_t what, const char *complaint)
{
    struct rlimit limit;
    if (getrlimit(what, &limit) == 0 && limit.rlim_cur != limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(what, &limit) != 0) {
            not_had(log, complaint);
        }
    }
}

void process_protect(struct log *log)
{
    const struct rlimit none = {0, 0};
    if (prctl(PR_SET_DUMPABLE, 0) != 0) {
        not_had(log, "the process stays readable by others of its user");
    }
    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        not_had(log, "core dumps stay possible");
    }
    raise_limit(log, RLIMIT_MEMLOCK, "the limit on locked memory stays low");
    raise_limit(log, RLIMIT_NOFILE, "the limit on descriptors stays low");
    tell_lockable(log);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, &ignore, NULL) != 0) {
        not_had(log, "a closed pipe may end the process");
    }
}

void process_compare_descriptors(struct log *log, unsigned max_connections)
{
    struct rlimit limit;
    char connections[16], descriptors[24];
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur >= (rlim_t)max_connections + OWN_DESCRIPTORS) {
        return;
    }
    (void)snprintf(connections, sizeof connections, "%u", max_connections);
    (void)snprintf(descriptors, sizeof descriptors, "%llu", (unsigned long long)limit.rlim_cur);
    log_line(log, WHORL_LOG_WARNING, "descriptors will run out before max_connections is reached",
             "max_connections", connections, "descriptors", descriptors, NULL);
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
