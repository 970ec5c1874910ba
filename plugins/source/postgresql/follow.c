#include "plugins/source/postgresql/follow.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "plugins/source/postgresql/copy.h"
#include "whorl/msg.h"

#define TICK_MS 1000    /* between two looks for changes that nobody has notified of */
#define BREATH_MS 50    /* after a look, so that many notifications don't make as many looks */
#define JOIN_S 1        /* how long an ending copy waits for a host's name to be looked up */
#define RETRY_MS 1000   /* after something failed that was not the connection */
#define NEVER INT64_MIN /* ... has the copy agreed with the database */

/* What the searching threads want to know. */
struct standing {
    bool whole, overflow, connected;
    int64_t agreed; /* CLOCK_BOOTTIME, milliseconds */
    uint64_t done, of, missing;
};

struct pg_follow {
    const struct whorl_host *host;
    int64_t stale_limit;
    uint64_t unreadable_limit;
    struct pg_target *target;
    struct pg_mapping *mapping;
    struct pg_link *link;
    struct pg_copy *copy;
    char *dir;
    int wake;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the three below */
    struct standing standing;
    bool resolving; /* the thread may be looking a host's name up, which can take long */
    bool left;      /* nobody waits for the thread: it frees everything itself */
    char told[sizeof(((struct whorl_fault *)0)->text)]; /* the last failure, said once */
};

static int64_t ms_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void say(void *ctx, enum whorl_log_level level, const char *text)
{
    const struct pg_follow *follow = ctx;
    follow->host->log(follow->host, level, text);
}

/* ------------------------------------------------------------------ how it stands */

/* When the mark says that they agreed, by a clock that nobody sets. The mark's second is taken from
 * its beginning: a restart makes a copy no younger. A time in the future proves that the other
 * clock was set: then it says nothing. */
static int64_t agreed_at(int64_t unix_seconds)
{
    int64_t ago = ms_of(CLOCK_REALTIME) - unix_seconds * 1000;
    return unix_seconds == 0 || ago < 0 ? NEVER : ms_of(CLOCK_BOOTTIME) - ago;
}

/* Tells the searching threads. agreed: since when, by CLOCK_BOOTTIME; NEVER: no news of that. */
static void publish(struct pg_follow *follow, int64_t agreed)
{
    const struct pg_mark *mark = pg_copy_mark(follow->copy);
    pthread_mutex_lock(&follow->mutex);
    struct standing *standing = &follow->standing;
    standing->whole = pg_copy_whole(follow->copy);
    standing->overflow = mark->overflow != PG_OVERFLOW_NONE;
    standing->connected = pg_link_conn(follow->link) != NULL;
    standing->done = mark->done;
    standing->of = mark->of;
    standing->missing = pg_mark_missing(mark);
    if (!standing->whole) {
        standing->agreed = NEVER;
    } else if (agreed != NEVER && agreed > standing->agreed) {
        standing->agreed = agreed;
    }
    pthread_mutex_unlock(&follow->mutex);
}

static void say_stale(const struct pg_follow *follow, const struct standing *now,
                      struct finger_search_standing *standing)
{
    char since[32] = "its beginning";
    if (now->agreed != NEVER) {
        time_t when = (time_t)(ms_of(CLOCK_REALTIME) / 1000 - standing->age);
        struct tm tm;
        gmtime_r(&when, &tm);
        strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    snprintf(standing->reason, sizeof standing->reason,
             "the copy of the database has had no agreement with it since %s, and may be used for "
             "%" PRId64 " s%s",
             since, follow->stale_limit, now->connected ? "" : "; the database can't be reached");
}

void pg_follow_standing(void *arg, struct finger_search_standing *standing)
{
    struct pg_follow *follow = arg;
    pthread_mutex_lock(&follow->mutex);
    struct standing now = follow->standing;
    pthread_mutex_unlock(&follow->mutex);
    *standing = (struct finger_search_standing){
        .missing = now.missing, .tolerated = now.missing <= follow->unreadable_limit};
    int64_t age = now.agreed == NEVER ? INT64_MAX : ms_of(CLOCK_BOOTTIME) - now.agreed;
    standing->age = now.agreed == NEVER ? INT64_MAX : age / 1000;
    if (!now.whole) {
        snprintf(standing->reason, sizeof standing->reason,
                 "the copy of the database is not complete yet: %" PRIu64 " of %" PRIu64
                 " people%s",
                 now.done, now.of, now.connected ? "" : "; the database can't be reached");
    } else if (age > follow->stale_limit * 1000) {
        say_stale(follow, &now, standing);
    } else if (now.overflow) {
        snprintf(standing->reason, sizeof standing->reason,
                 "more than %u people of the database can't be read", PG_UNREADABLE_MAX);
    } else {
        standing->usable = true;
    }
}

/* ------------------------------------------------------------------ the thread */

static bool woken(const struct pg_follow *follow)
{
    struct pollfd fd = {.fd = follow->wake, .events = POLLIN};
    return poll(&fd, 1, 0) != 0;
}

static void nap(const struct pg_follow *follow, int ms)
{
    struct pollfd fd = {.fd = follow->wake, .events = POLLIN};
    (void)poll(&fd, 1, ms);
}

/* Says what failed, unless it is what failed last time. */
static void complain(struct pg_follow *follow, const struct whorl_fault *fault)
{
    if (fault->text[0] && strcmp(fault->text, follow->told) != 0) {
        snprintf(follow->told, sizeof follow->told, "%s", fault->text);
        say(follow, WHORL_LOG_WARNING, fault->text);
    }
}

/* Goes on with connecting. false: the thread is to end, and must touch nothing but the link. */
static bool step(struct pg_follow *follow, enum pg_news *news, struct whorl_fault *fault)
{
    pthread_mutex_lock(&follow->mutex);
    follow->resolving = true;
    pthread_mutex_unlock(&follow->mutex);
    *news = pg_link_step(follow->link, fault);
    pthread_mutex_lock(&follow->mutex);
    follow->resolving = false;
    bool left = follow->left;
    pthread_mutex_unlock(&follow->mutex);
    return !left;
}

static bool connect_to(struct pg_follow *follow, struct whorl_fault *fault)
{
    while (!pg_link_conn(follow->link)) {
        struct pollfd fds[2] = {{.fd = follow->wake, .events = POLLIN}};
        int ms = pg_link_wants(follow->link, &fds[1]);
        (void)poll(fds, 2, ms);
        if (fds[0].revents != 0) {
            *fault = (struct whorl_fault){{0}, {0}};
            return false;
        }
        enum pg_news news;
        if (!step(follow, &news, fault)) {
            return false;
        }
        if (news == PG_FAILED) {
            complain(follow, fault);
        }
    }
    if (!pg_copy_connected(follow->copy, fault)) {
        return false;
    }
    char text[256];
    snprintf(text, sizeof text, "following the database %.160s", pg_target_name(follow->target));
    say(follow, WHORL_LOG_INFO, text);
    follow->told[0] = '\0';
    return true;
}

static bool pass_is_due(const struct pg_follow *follow)
{
    const struct pg_mark *mark = pg_copy_mark(follow->copy);
    int64_t every = 3600 * (int64_t)follow->mapping->compare_every;
    int64_t ago = ms_of(CLOCK_REALTIME) / 1000 - mark->passed;
    /* One in the future ended while the clock was wrong. */
    return every > 0 && !mark->pass && (ago >= every || ago < 0);
}

/* Takes in what has changed, until the connection is lost. */
static bool serve(struct pg_follow *follow, const struct pg_ask *ask, struct whorl_fault *fault)
{
    bool busy = true, told = true, agreed;
    int64_t looked = 0;
    for (;;) {
        int64_t now = ms_of(CLOCK_BOOTTIME);
        if (told || now / 1000 != looked) {
            if (!pg_copy_refresh(follow->copy, fault) ||
                !pg_copy_changes(follow->copy, &agreed, fault)) {
                return false;
            }
            looked = now / 1000;
            publish(follow, agreed ? now : NEVER);
        }
        bool passing = pg_copy_mark(follow->copy)->pass;
        if ((pass_is_due(follow) && !pg_copy_begin_pass(follow->copy, fault)) ||
            !pg_copy_page(follow->copy, &busy, fault)) {
            return false;
        }
        publish(follow, NEVER);
        if (!busy) {
            nap(follow, BREATH_MS);
        }
        if (woken(follow)) {
            return pg_copy_keep(follow->copy, fault);
        }
        /* A pass that has ended is worth little without the changes since it began. */
        told = passing && !busy;
        if (!busy && !told && !pg_ask_idle(ask, TICK_MS - BREATH_MS, &told, fault)) {
            return false;
        }
    }
}

static void follow_on(struct pg_follow *follow)
{
    const struct pg_ask ask = {.link = follow->link, .wake = follow->wake};
    struct whorl_fault fault;
    while (!woken(follow)) {
        fault = (struct whorl_fault){{0}, {0}};
        if (!connect_to(follow, &fault) || !serve(follow, &ask, &fault)) {
            if (woken(follow)) {
                return;
            }
            complain(follow, &fault);
            bool was_up = pg_link_conn(follow->link) != NULL;
            if (was_up) {
                pg_link_lost(follow->link);
            }
            publish(follow, NEVER);
            if (was_up || pg_copy_taken(follow->copy)) {
                nap(follow, pg_copy_taken(follow->copy) ? -1 : RETRY_MS);
            }
        }
    }
}

/* ------------------------------------------------------------------ beginning and end */

int pg_follow_check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    struct pg_target *target = pg_target_read(settings, fault);
    struct pg_mapping *mapping = target ? pg_mapping_read(settings, fault) : NULL;
    int rc = target && mapping ? 0 : -1;
    pg_mapping_free(mapping);
    pg_target_free(target);
    return rc;
}

static void release(struct pg_follow *follow)
{
    pg_copy_close(follow->copy);
    pg_link_free(follow->link);
    pg_mapping_free(follow->mapping);
    pg_target_free(follow->target);
    if (follow->wake >= 0) {
        close(follow->wake);
    }
    pthread_mutex_destroy(&follow->mutex);
    free(follow->dir);
    free(follow);
}

static void *run(void *arg)
{
    struct pg_follow *follow = arg;
    follow_on(follow);
    pthread_mutex_lock(&follow->mutex);
    bool left = follow->left;
    pthread_mutex_unlock(&follow->mutex);
    if (left) {
        release(follow);
    }
    return NULL;
}

/* Everything but the thread. */
static bool prepare(struct pg_follow *follow, struct whorl_fault *fault)
{
    const struct whorl_settings *settings = follow->host->settings;
    follow->target = pg_target_read(settings, fault);
    follow->mapping = follow->target ? pg_mapping_read(settings, fault) : NULL;
    if (!follow->mapping) {
        return false;
    }
    const struct pg_use use = {.application = "whorl people",
                               .statement_ms = 600000,
                               .tables = (const char *const *)follow->mapping->tables};
    follow->link = pg_link_new(follow->target, &use);
    follow->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!follow->link || follow->wake < 0 ||
        asprintf(&follow->dir, "%s/" PG_COPY_DIR, follow->host->data_dir) < 0) {
        follow->dir = NULL;
        return whorl_fail(fault, "", "out of memory or descriptors");
    }
    if (mkdir(follow->dir, 0700) != 0 && errno != EEXIST) {
        return whorl_fail(fault, "", "cannot make %s: %s", follow->dir, strerror(errno));
    }
    const struct pg_ask ask = {.link = follow->link, .wake = follow->wake};
    const struct pg_copy_log log = {say, follow};
    follow->copy = pg_copy_open(follow->dir, follow->target, follow->mapping, &ask, &log, fault);
    return follow->copy != NULL;
}

struct pg_follow *pg_follow_start(const struct whorl_host *host, struct whorl_fault *fault)
{
    struct pg_follow *follow = calloc(1, sizeof *follow);
    if (!follow) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    *follow = (struct pg_follow){
        .host = host,
        .stale_limit = host->settings->integer(host->settings, NULL, "stale_limit"),
        .unreadable_limit =
            (uint64_t)host->settings->integer(host->settings, NULL, "unreadable_limit"),
        .wake = -1,
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .standing = {.agreed = NEVER},
    };
    if (!prepare(follow, fault)) {
        release(follow);
        return NULL;
    }
    publish(follow, agreed_at(pg_copy_mark(follow->copy)->agreed));
    sigset_t all, before;
    sigfillset(&all); /* signals are the server's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&follow->thread, NULL, run, follow);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        whorl_fail(fault, "", "no thread can be started: %s", strerror(rc));
        release(follow);
        return NULL;
    }
    return follow;
}

const char *pg_follow_dir(const struct pg_follow *follow)
{
    return follow->dir;
}

void pg_follow_stop(struct pg_follow *follow)
{
    const uint64_t one = 1;
    struct timespec limit;
    pthread_t thread = follow->thread;
    (void)!write(follow->wake, &one, sizeof one);
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += JOIN_S;
    if (pthread_timedjoin_np(thread, NULL, &limit) != 0) {
        pthread_mutex_lock(&follow->mutex);
        bool leave = follow->left = follow->resolving;
        if (leave) { /* the copy may be wanted by a successor */
            pg_copy_close(follow->copy);
            follow->copy = NULL;
        }
        pthread_mutex_unlock(&follow->mutex);
        if (leave) {
            pthread_detach(thread);
            return;
        }
        pthread_join(thread, NULL);
    }
    release(follow);
}
