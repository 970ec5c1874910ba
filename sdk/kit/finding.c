/* What a trial's process says. The state is static because a signal handler needs it, and because
 * the process does nothing but this one trial. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

enum { FINDINGS_MAX = 8 };

static struct {
    int fd;
    pthread_mutex_t lock;
    char doing[128];
    char said[FINDINGS_MAX][KIT_FINDING_MAX];
    size_t count;
} state = {.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

void kit_doing(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(state.doing, sizeof state.doing, format, args);
    va_end(args);
}

static void say(const char *text)
{
    char line[KIT_FINDING_MAX] = {0};
    snprintf(line, sizeof line, "%s", text);
    /* One write below PIPE_BUF is whole or not at all. */
    if (write(state.fd, line, sizeof line) < 0) {
        _exit(EXIT_FAILURE);
    }
}

void kit_found(const char *format, ...)
{
    char text[KIT_FINDING_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t len = strlen(text);
    snprintf(text + len, sizeof text - len, "%s%s", state.doing[0] != '\0' ? ", while " : "",
             state.doing);
    pthread_mutex_lock(&state.lock);
    bool again = state.count == FINDINGS_MAX;
    for (size_t i = 0; i < state.count && !again; i++) {
        again = strcmp(state.said[i], text) == 0;
    }
    if (!again) {
        memcpy(state.said[state.count++], text, sizeof text);
        say(text);
    }
    pthread_mutex_unlock(&state.lock);
}

void kit_finding_end(void)
{
    say("");
}

/* The process is lost; what it says has to do without locks. */
static void crashed(int signal, siginfo_t *info, void *context)
{
    (void)context;
    char text[KIT_FINDING_MAX];
    const char *what = NULL;
    const struct kit_host *host;
    for (size_t i = 0; what == NULL && (host = kit_host_at(i)) != NULL; i++) {
        if (signal == SIGSEGV || signal == SIGBUS) {
            (void)kit_host_explains(host, info->si_addr, &what);
        }
    }
    snprintf(text, sizeof text, "%s%s%s%s", what ? what : "crashed with ",
             what ? "" : strsignal(signal), state.doing[0] != '\0' ? ", while " : "", state.doing);
    say(text);
    _exit(EXIT_SUCCESS);
}

void kit_finding_begin(int fd)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP};
    struct sigaction action = {.sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    static char stack[65536];
    const stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
    state.fd = fd;
    (void)sigaltstack(&alternative, NULL);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
        (void)sigaction(fatal[i], &action, NULL);
    }
}
