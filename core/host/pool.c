#include "core/host/pool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "whorl/secret.h"

/* Workers compute for long, the loop for microseconds: when both want a processor, the loop is
 * to have it. */
enum { WORKER_NICENESS = 5 };

struct pool_job {
    void (*run)(void *arg);
    void *arg;
    struct pool_job *next;
};

static void make_ready(struct pool *pool, struct pool_queue *queue)
{
    queue->next_ready = NULL;
    *pool->ready_last = queue;
    pool->ready_last = &queue->next_ready;
}

/* The next job of the queue whose turn it is; that queue goes to the end of the line. */
static struct pool_job *take(struct pool *pool, struct pool_queue **from)
{
    struct pool_queue *queue = pool->ready;
    struct pool_job *job = queue->first;
    pool->ready = queue->next_ready;
    if (!pool->ready) {
        pool->ready_last = &pool->ready;
    }
    queue->first = job->next;
    if (queue->first) {
        make_ready(pool, queue);
    }
    *from = queue;
    return job;
}

static void *work(void *arg)
{
    struct pool *pool = arg;
    (void)setpriority(PRIO_PROCESS, 0, WORKER_NICENESS); /* on Linux: of this thread */
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->ready && !pool->ending) {
            pool->asleep++; /* whoever wakes one counts it out */
            pthread_cond_wait(&pool->work, &pool->lock);
        }
        if (pool->ending) {
            break;
        }
        struct pool_queue *queue;
        struct pool_job *job = take(pool, &queue);
        pthread_mutex_unlock(&pool->lock);
        job->run(job->arg);
        whorl_secret_forget();
        free(job);
        pthread_mutex_lock(&pool->lock);
        if (--queue->jobs == 0 && queue->closed) {
            pool->idle(pool->ctx);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Signals are for the loop's thread. */
static int start_threads(struct pool *pool, unsigned threads)
{
    sigset_t all, before;
    int error = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->thread_count < threads && error == 0) {
        error = pthread_create(&pool->threads[pool->thread_count], NULL, work, pool);
        if (error == 0) {
            (void)pthread_setname_np(pool->threads[pool->thread_count++], "whorl-worker");
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

int pool_init(struct pool *pool, unsigned threads, void (*idle)(void *ctx), void *ctx)
{
    *pool = (struct pool){.idle = idle, .ctx = ctx};
    pool->ready_last = &pool->ready;
    pool->threads = calloc(threads, sizeof *pool->threads);
    if (!pool->threads) {
        return ENOMEM;
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    int error = start_threads(pool, threads);
    if (error != 0) {
        pool_end(pool);
    }
    return error;
}

void pool_end(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    while (pool->ready) {
        struct pool_queue *queue;
        free(take(pool, &queue));
    }
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
}

/* Counts out those who are to be woken for the jobs that nobody was told of; with the lock. */
static unsigned count_out(struct pool *pool)
{
    unsigned count = pool->untold < pool->asleep ? pool->untold : pool->asleep;
    pool->untold = 0;
    pool->asleep -= count;
    return count;
}

/* Without the lock, which they would else find taken, and sleep once more. */
static void wake(struct pool *pool, unsigned count)
{
    while (count-- > 0) {
        pthread_cond_signal(&pool->work);
    }
}

void pool_wake(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    unsigned count = count_out(pool);
    pthread_mutex_unlock(&pool->lock);
    wake(pool, count);
}

bool pool_submit(struct pool *pool, struct pool_queue *queue, void (*run)(void *arg), void *arg,
                 unsigned gather)
{
    struct pool_job *job = malloc(sizeof *job);
    unsigned woken = 0;
    if (!job) {
        return false;
    }
    *job = (struct pool_job){run, arg, NULL};
    pthread_mutex_lock(&pool->lock);
    bool open = !queue->closed && !pool->ending;
    if (open) {
        bool was_empty = !queue->first;
        *(was_empty ? &queue->first : queue->last) = job;
        queue->last = &job->next;
        queue->jobs++;
        if (was_empty) {
            make_ready(pool, queue);
        }
        woken = ++pool->untold >= gather ? count_out(pool) : 0;
    }
    pthread_mutex_unlock(&pool->lock);
    wake(pool, woken);
    if (!open) {
        free(job);
    }
    return open;
}

size_t pool_jobs(struct pool *pool, struct pool_queue *queue)
{
    pthread_mutex_lock(&pool->lock);
    size_t jobs = queue->jobs;
    pthread_mutex_unlock(&pool->lock);
    return jobs;
}

bool pool_close(struct pool *pool, struct pool_queue *queue)
{
    pthread_mutex_lock(&pool->lock);
    queue->closed = true;
    bool empty = queue->jobs == 0;
    pthread_mutex_unlock(&pool->lock);
    return empty;
}
