#include "resolve.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "whorl/secret.h"

struct resolve {
    atomic_uint refs; /* the owner's and the thread's */
    int done;         /* an eventfd */
    int code;
    struct addrinfo *list;
    char *port;  /* behind host */
    char host[]; /* ends with a NUL */
};

void resolve_drop(struct resolve *resolve)
{
    if (!resolve || atomic_fetch_sub(&resolve->refs, 1) > 1) {
        return;
    }
    if (resolve->list) {
        freeaddrinfo(resolve->list);
    }
    (void)close(resolve->done);
    free(resolve);
}

static void *run(void *arg)
{
    struct resolve *resolve = arg;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    resolve->code = getaddrinfo(resolve->host, resolve->port, &hints, &resolve->list);
    (void)eventfd_write(resolve->done, 1);
    resolve_drop(resolve);
    return NULL;
}

/* The process's signals are not its own, and nobody waits for it. */
static bool start_thread(struct resolve *resolve)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    if (pthread_attr_init(&attr) != 0) {
        return false;
    }
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    whorl_secret_forget(); /* a new thread begins with a copy of this one's vector registers */
    int rc = pthread_create(&thread, &attr, run, resolve);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    return rc == 0;
}

struct resolve *resolve_begin(const char *host, const char *port)
{
    const size_t host_size = strlen(host) + 1, port_size = strlen(port) + 1;
    struct resolve *resolve = calloc(1, sizeof *resolve + host_size + port_size);
    if (!resolve) {
        return NULL;
    }
    atomic_init(&resolve->refs, 2);
    resolve->port = resolve->host + host_size;
    memcpy(resolve->host, host, host_size);
    memcpy(resolve->port, port, port_size);
    resolve->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (resolve->done < 0) {
        free(resolve);
        return NULL;
    }
    if (!start_thread(resolve)) {
        (void)close(resolve->done);
        free(resolve);
        return NULL;
    }
    return resolve;
}

int resolve_fd(const struct resolve *resolve)
{
    return resolve->done;
}

bool resolve_take(struct resolve *resolve, int *code, struct addrinfo **list)
{
    eventfd_t count;
    if (eventfd_read(resolve->done, &count) != 0) {
        return false;
    }
    *code = resolve->code;
    *list = resolve->list;
    resolve->list = NULL;
    return true;
}
