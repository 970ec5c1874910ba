/* Writes the cache. */
#include "plugins/pnc/keeper.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "whorl/msg.h"

#define WAITING_MAX 8192u /* news */
#define BATCH_MAX 1024u   /* in one transaction */
#define SAME_AGAIN_S 60   /* until a line of the log is repeated */

struct pnc_keeper {
    const struct whorl_host *host;
    struct pnc_cache *cache;
    uint64_t max_bytes;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t moved;
    struct pnc_news *first, **end;
    size_t waiting;
    bool stopping;
};

/* Waits for news and takes a batch of them. NULL: the thread is to end. */
static struct pnc_news *take_batch(struct pnc_keeper *keeper)
{
    pthread_mutex_lock(&keeper->mutex);
    while (keeper->first == NULL && !keeper->stopping) {
        pthread_cond_wait(&keeper->moved, &keeper->mutex);
    }
    struct pnc_news *batch = keeper->first, **end = &batch;
    for (size_t i = 0; i < BATCH_MAX && *end != NULL; i++) {
        end = &(*end)->next;
        keeper->waiting--;
    }
    keeper->first = *end;
    if (keeper->first == NULL) {
        keeper->end = &keeper->first;
    }
    *end = NULL;
    pthread_mutex_unlock(&keeper->mutex);
    return batch;
}

static void *run(void *arg)
{
    struct pnc_keeper *keeper = arg;
    struct pnc_news *batch;
    time_t said = 0;
    while ((batch = take_batch(keeper)) != NULL) {
        struct whorl_fault fault;
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (!pnc_cache_write(keeper->cache, batch, keeper->max_bytes, &fault) &&
            (said == 0 || now.tv_sec - said >= SAME_AGAIN_S)) {
            keeper->host->log(keeper->host, WHORL_LOG_WARNING, fault.text);
            said = now.tv_sec;
        }
        while (batch != NULL) {
            struct pnc_news *next = batch->next;
            pnc_news_free(batch);
            batch = next;
        }
    }
    return NULL;
}

struct pnc_keeper *pnc_keeper_open(const struct whorl_host *host, struct pnc_cache *cache,
                                   uint64_t max_bytes, struct whorl_fault *fault)
{
    sigset_t all, before;
    struct pnc_keeper *keeper = calloc(1, sizeof(*keeper));
    if (keeper == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    keeper->host = host;
    keeper->cache = cache;
    keeper->max_bytes = max_bytes;
    keeper->end = &keeper->first;
    pthread_mutex_init(&keeper->mutex, NULL);
    pthread_cond_init(&keeper->moved, NULL);
    sigfillset(&all); /* signals are the host's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&keeper->thread, NULL, run, keeper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        return keeper;
    }
    whorl_fail(fault, "", "cannot start a thread: %s", strerror(rc));
    free(keeper);
    return NULL;
}

void pnc_keeper_close(struct pnc_keeper *keeper)
{
    if (keeper == NULL) {
        return;
    }
    pthread_mutex_lock(&keeper->mutex);
    keeper->stopping = true;
    pthread_cond_signal(&keeper->moved);
    pthread_mutex_unlock(&keeper->mutex);
    pthread_join(keeper->thread, NULL);
    pthread_cond_destroy(&keeper->moved);
    pthread_mutex_destroy(&keeper->mutex);
    free(keeper);
}

void pnc_keeper_give(struct pnc_keeper *keeper, struct pnc_news *news)
{
    pthread_mutex_lock(&keeper->mutex);
    bool fits = keeper->waiting < WAITING_MAX;
    if (fits) {
        news->next = NULL;
        *keeper->end = news;
        keeper->end = &news->next;
        if (keeper->waiting++ == 0) {
            pthread_cond_signal(&keeper->moved);
        }
    }
    pthread_mutex_unlock(&keeper->mutex);
    if (!fits) {
        pnc_news_free(news);
    }
}
