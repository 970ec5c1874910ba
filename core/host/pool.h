/* Worker threads for the plugins' jobs. Each backend has a queue of its own, served in order of
 * submission; the workers take turns between the queues, so that a long search of one backend
 * holds up no other. */
#ifndef CORE_HOST_POOL_H
#define CORE_HOST_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct pool_job;

/* One backend's jobs. All zero is an empty queue. Guarded by the pool. */
struct pool_queue {
    struct pool_job *first, **last;
    struct pool_queue *next_ready;
    size_t jobs; /* waiting and running */
    bool closed; /* takes no more */
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct pool_queue *ready, **ready_last; /* queues with waiting jobs, in turn */
    unsigned asleep; /* workers that wait and that nobody has woken; after a wake for no reason one
                      * too many, which costs a signal */
    unsigned untold; /* jobs submitted since a worker was last woken for some */
    bool ending;
    pthread_t *threads;
    unsigned thread_count;
    void (*idle)(void *ctx); /* worker thread: a closed queue has run its last job */
    void *ctx;
};

/* 0 or an errno. */
int pool_init(struct pool *pool, unsigned threads, void (*idle)(void *ctx), void *ctx);
/* Waits for the running jobs; those that wait are dropped. */
void pool_end(struct pool *pool);

/* Any thread. false: the queue is closed, or memory is short. Workers that sleep are woken when so
 * many jobs have come as `gather` says, or by pool_wake: waking one for each job costs more than a
 * short job does. */
bool pool_submit(struct pool *pool, struct pool_queue *queue, void (*job)(void *arg), void *arg,
                 unsigned gather);
void pool_wake(struct pool *pool);
/* Jobs of the queue that wait or run. */
size_t pool_jobs(struct pool *pool, struct pool_queue *queue);
/* From now on the queue takes no more; true when it is empty already. */
bool pool_close(struct pool *pool, struct pool_queue *queue);

#endif
