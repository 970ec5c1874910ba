#include "core/isolate/isolate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/isolate/ahead.h"
#include "core/packed/packed.h"
#include "whorl/msg.h"
#include "whorl/secret.h"

enum {
    HANDLES = 5,
    TAKES_MAX = 1024,     /* reports in one round of the loop, which has others to serve, */
    READ_MAX = 1 << 20,   /* or so many bytes */
    PAUSE_MS = 100,       /* before the first restart; doubles */
    PAUSE_MAX_MS = 30000, /* and no longer than this */
    GOOD_MS = 60000,      /* of service, after which a failure is the first again */
    GRACE_MS = 5000,      /* to complete a call that was given up */
    STOP_MS = 10000,      /* to stop */
    WATCH_MS = 1000,      /* between two looks at what it uses */
    IDLE_MS = 60000,      /* without a call, in which it may work on its own for */
    IDLE_WORK_MS = 6000,  /* so long, in all */
    THREADS_MAX = 256,    /* beside those that work for the host */
    LOGS_MAX = 200,       /* lines between two looks */
    NOISE_MAX = 100000,   /* reports between two looks that are no answers to calls, */
    NOISE_BYTES = 256,    /* of which each counts once more for so many bytes */
    LAST_WHY_MAX = 120,   /* bytes of why a process was lost last */
};

/* A call that the process has. */
struct held {
    uint64_t call; /* the host's id */
    uint64_t id;   /* that the process knows it by; 0: the slot is free */
    size_t len;
    void *mapped;
    uint64_t given_up; /* loop's time; 0: not */
    uint32_t next_free;
};

enum state { DOWN, MAKING, STARTING, UP, STOPPING };

struct isolate {
    uv_loop_t *loop;
    struct log *log;
    const struct whorl_host *abi;
    void (*failed)(const struct whorl_host *abi, uint64_t call);
    void (*lost)(const struct whorl_host *abi);
    struct isolate_spec spec;
    char name[64];
    uint32_t role;
    enum state state;
    struct watched *watched; /* the process; NULL: none */
    uint64_t up_since;
    unsigned failures; /* in a row */
    uint64_t losses[ISOLATE_LOSSES];
    char last[sizeof((struct isolate_stats *)NULL)->last];
    struct watched *last_lost; /* whose end `last` is to tell; NULL: none */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t timer; /* next restart, or the latest time to have started or stopped */
    uv_timer_t watch;
    unsigned open; /* handles, and processes that are not reaped */
    uint64_t last_id;
    uint32_t first_free, held_count;
    unsigned logs, noise;
    uint64_t idle_id, idle_since, idle_used; /* last_id, loop's time, processor time at a look */
    struct held held[];
};

enum { ENDED, BELL, SAYINGS, POLLS };

/* A process with the handles that watch it. */
struct watched {
    struct process *process;
    struct isolate *isolate;
    uv_poll_t polls[POLLS];
    unsigned open; /* so many of them, from the first on */
    bool lost;     /* no longer isolate->watched: only its end is awaited */
    unsigned mute; /* looks since it closed its bell, that one included; 0: it has not */
};

/* A process that a thread of libuv's pool makes: it may have to wait for the disk, and for memory
 * that is locked. The instance may be stopped meanwhile, so that what it needs to know is its own.
 */
struct making {
    uv_work_t work;
    struct isolate *isolate;
    msgpack_sbuffer packed;
    struct whorl_msg msg;
    struct isolate_spec spec; /* in msg */
    struct process *process;
    struct whorl_fault fault;
};

static void on_prepare(uv_prepare_t *prepare);
static void on_timer(uv_timer_t *timer);

static void say(const struct isolate *isolate, enum whorl_log_level level, const char *text,
                const char *why)
{
    log_line(isolate->log, level, text, "plugin", isolate->name, "why", why, NULL);
}

bool isolate_is_up(const void *instance)
{
    const struct isolate *isolate = instance;
    return isolate->state == UP;
}

const char *isolate_loss_name(enum isolate_loss loss)
{
    static const char *const names[ISOLATE_LOSSES] = {"ended", "not_started", "channel", "limits"};
    return names[loss];
}

void isolate_stats(const void *instance, struct isolate_stats *stats)
{
    const struct isolate *isolate = instance;
    *stats = (struct isolate_stats){.up = isolate->state == UP};
    memcpy(stats->losses, isolate->losses, sizeof stats->losses);
    memcpy(stats->last, isolate->last, sizeof stats->last);
}

/* Bytes of a text of which there is room for so many: no half of a letter. */
static int most_of(const char *text, size_t room)
{
    size_t len = strnlen(text, room + 1);
    if (len > room) {
        for (len = room; len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80; len--) {
        }
    }
    return (int)len;
}

/* Counts a loss, and tells the host once. */
static void count_loss(struct isolate *isolate, enum isolate_loss loss, const char *what,
                       const char *why)
{
    isolate->losses[loss]++;
    (void)snprintf(isolate->last, sizeof isolate->last, "%.64s%s%.*s", what, why ? ": " : "",
                   most_of(why ? why : "", LAST_WHY_MAX), why ? why : "");
    if (isolate->abi) {
        isolate->lost(isolate->abi);
    }
}

/* Calls */

/* An answer that says that there is none. */
static void complete_without(struct isolate *isolate, uint64_t call, const char *reason)
{
    msgpack_sbuffer answer;
    msgpack_packer pk;
    msgpack_sbuffer_init(&answer);
    msgpack_packer_init(&pk, &answer, packed_write);
    msgpack_pack_map(&pk, 2);
    if (isolate->role == WHORL_ROLE_SINK) {
        whorl_put_bool(&pk, "stored", false);
    } else {
        whorl_put_str(&pk, "class", "unavailable");
    }
    whorl_put_str(&pk, "reason", reason);
    isolate->failed(isolate->abi, call);
    isolate->abi->complete(isolate->abi, call, (const uint8_t *)answer.data, answer.size);
    msgpack_sbuffer_destroy(&answer);
}

static struct held *find_held(struct isolate *isolate, uint64_t id)
{
    uint32_t slot = channel_slot_of(id);
    struct held *held = slot < isolate->spec.calls ? &isolate->held[slot] : NULL;
    return held && held->id == id && id != 0 ? held : NULL;
}

/* Frees the slot; returns the host's id of the call. */
static uint64_t let_go(struct isolate *isolate, struct process *process, struct held *held)
{
    uint64_t call = held->call;
    process_release(process, held->id, held->len, held->mapped);
    *held = (struct held){.next_free = isolate->first_free};
    isolate->first_free = (uint32_t)(held - isolate->held);
    isolate->held_count--;
    return call;
}

static void free_slots(struct isolate *isolate)
{
    for (uint32_t i = 0; i < isolate->spec.calls; i++) {
        isolate->held[i] = (struct held){.next_free = i + 1};
    }
    isolate->first_free = 0;
}

static void take_call(void *instance, uint64_t call, const uint8_t *message, size_t len)
{
    struct isolate *isolate = instance;
    if (isolate->state != UP) {
        complete_without(isolate, call, "this backend's process is being restarted");
        return;
    }
    if (isolate->first_free == isolate->spec.calls) {
        complete_without(isolate, call, "this backend's process is busy");
        return;
    }
    uint32_t slot = isolate->first_free;
    struct held *held = &isolate->held[slot];
    uint64_t id = ++isolate->last_id << CHANNEL_CALL_BITS | slot;
    void *mapped;
    if (!process_call(isolate->watched->process, id, message, len, &mapped)) {
        complete_without(isolate, call, "this backend's process could not be asked");
        return;
    }
    isolate->first_free = held->next_free;
    isolate->held_count++;
    *held = (struct held){call, id, len, mapped, 0, 0};
}

static void take_cancel(void *instance, uint64_t call)
{
    struct isolate *isolate = instance;
    for (uint32_t i = 0; i < isolate->spec.calls; i++) {
        struct held *held = &isolate->held[i];
        if (held->id != 0 && held->call == call && held->given_up == 0) {
            held->given_up = uv_now(isolate->loop) + 1; /* never 0 */
            (void)process_cancel(isolate->watched->process, held->id);
            return;
        }
    }
}

/* The end of a process */

static void free_isolate(struct isolate *isolate)
{
    if (--isolate->open == 0) {
        free(isolate);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    free_isolate(handle->data);
}

static void close_handles(struct isolate *isolate)
{
    uv_close((uv_handle_t *)&isolate->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&isolate->check, on_handle_closed);
    uv_close((uv_handle_t *)&isolate->idle, on_handle_closed);
    uv_close((uv_handle_t *)&isolate->timer, on_handle_closed);
    uv_close((uv_handle_t *)&isolate->watch, on_handle_closed);
}

static void on_watched_closed(uv_handle_t *handle)
{
    struct watched *watched = handle->data;
    if (--watched->open == 0) {
        struct isolate *isolate = watched->isolate;
        char words[96];
        bool lost = watched->lost;
        process_free(watched->process, words, sizeof words);
        if (isolate->last_lost == watched) {
            size_t len = strlen(isolate->last);
            (void)snprintf(isolate->last + len, sizeof isolate->last - len, " (it %.60s)", words);
            isolate->last_lost = NULL;
        }
        log_line(isolate->log, lost ? WHORL_LOG_WARNING : WHORL_LOG_DEBUG, "its process has ended",
                 "plugin", isolate->name, "why", words, NULL);
        free(watched);
        free_isolate(isolate);
    }
}

/* Closes what watches a process; with the last of it the process goes. */
static void unwatch(struct watched *watched)
{
    for (unsigned i = 0; i < watched->open; i++) {
        uv_close((uv_handle_t *)&watched->polls[i], on_watched_closed);
    }
}

/* Everything that the process had is answered for. From here on state isn't UP, so that whoever
 * hears of it and calls again is told so. */
static void abandon_calls(struct isolate *isolate, struct process *process)
{
    for (uint32_t i = 0; i < isolate->spec.calls && isolate->held_count > 0; i++) {
        if (isolate->held[i].id != 0) {
            complete_without(isolate, let_go(isolate, process, &isolate->held[i]),
                             "this backend's process failed");
        }
    }
    free_slots(isolate);
}

static void restart_later(struct isolate *isolate)
{
    if (isolate->up_since != 0 && uv_now(isolate->loop) - isolate->up_since >= GOOD_MS) {
        isolate->failures = 0;
    }
    uint64_t pause = PAUSE_MS;
    for (unsigned i = 0; i < isolate->failures && pause < PAUSE_MAX_MS; i++) {
        pause *= 2;
    }
    pause = pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
    isolate->failures++;
    isolate->up_since = 0;
    char text[32];
    (void)snprintf(text, sizeof text, "%u.%03u", (unsigned)pause / 1000, (unsigned)pause % 1000);
    log_line(isolate->log, WHORL_LOG_WARNING, "its process will be made anew", "plugin",
             isolate->name, "seconds", text, NULL);
    uv_timer_start(&isolate->timer, on_timer, pause, 0);
}

/* Parts with the process, which is of no more use. */
static void lose(struct isolate *isolate, enum isolate_loss loss, const char *what, const char *why)
{
    struct watched *watched = isolate->watched;
    bool stopping = isolate->state == STOPPING;
    say(isolate, WHORL_LOG_ERROR, what, why);
    isolate->watched = NULL;
    isolate->state = stopping ? STOPPING : DOWN;
    watched->lost = true;
    count_loss(isolate, loss, what, why);
    isolate->last_lost = watched;
    isolate_kill(&watched->process->child);
    uv_poll_stop(&watched->polls[BELL]);
    uv_poll_stop(&watched->polls[SAYINGS]);
    uv_idle_stop(&isolate->idle); /* until there is another, nothing is left to take */
    uv_ref((uv_handle_t *)&watched->polls[ENDED]);
    abandon_calls(isolate, watched->process);
    if (stopping) {
        close_handles(isolate);
    } else {
        restart_later(isolate);
    }
}

/* Reports */

static void log_of(struct isolate *isolate, const struct process_report *report)
{
    char line[ISOLATE_LINE_MAX];
    if (++isolate->logs > LOGS_MAX) {
        return;
    }
    log_line(isolate->log, report->level, isolate_line(line, report->text), "plugin", isolate->name,
             NULL);
}

/* What the loop had to read, and nobody asked for. */
static void count_noise(struct isolate *isolate, const struct process_report *report)
{
    isolate->noise += 1 + (unsigned)report->read / NOISE_BYTES;
}

static void take_answer(struct isolate *isolate, const struct process_report *report)
{
    struct held *held = find_held(isolate, report->call);
    if (!held) {
        count_noise(isolate, report);
        if (++isolate->logs <= LOGS_MAX) {
            say(isolate, WHORL_LOG_WARNING,
                "completed a call that it doesn't have, or a second time: ignored", NULL);
        }
        return;
    }
    uint64_t call = let_go(isolate, isolate->watched->process, held);
    isolate->abi->complete(isolate->abi, call, report->bytes, report->len);
}

static void take_report(struct isolate *isolate, const struct process_report *report)
{
    if (report->kind == REPORT_ANSWER) {
        take_answer(isolate, report);
        return;
    }
    if (report->kind == REPORT_ANSWER_PART && find_held(isolate, report->call)) {
        isolate->noise++; /* its call bounds its bytes */
        return;
    }
    count_noise(isolate, report);
    if (report->kind == REPORT_LOG) {
        log_of(isolate, report);
    } else if (report->kind == REPORT_PROGRESS) {
        struct held *held = find_held(isolate, report->call);
        if (held) {
            isolate->abi->progress(isolate->abi, held->call, report->text, report->fraction);
        }
    }
}

/* Takes what has come; true: that was all. The process may be lost in the course of it, or the
 * instance stopped. */
static bool drain(struct isolate *isolate)
{
    struct watched *watched = isolate->watched;
    size_t read = 0;
    for (unsigned i = 0; i < TAKES_MAX && read < READ_MAX && watched == isolate->watched; i++) {
        struct process_report report;
        const char *why = NULL;
        if (isolate->noise > NOISE_MAX) {
            lose(isolate, ISOLATE_CHANNEL, "floods its channel", NULL);
            return true;
        }
        switch (process_take(watched->process, &report, &why)) {
        case CHANNEL_EMPTY:
            return true;
        case CHANNEL_TAKEN:
            read += report.read;
            take_report(isolate, &report);
            break;
        default:
            lose(isolate, ISOLATE_CHANNEL, "wrote garbage on its channel", why);
            return true;
        }
    }
    return watched != isolate->watched;
}

/* Where the loop comes by */

static void do_nothing(uv_idle_t *idle)
{
    (void)idle; /* there so that the loop doesn't wait */
}

/* Before the loop sleeps. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct isolate *isolate = prepare->data;
    if (!isolate->watched) {
        return;
    }
    bool all = drain(isolate);
    if (!isolate->watched) {
        return;
    }
    process_ring(isolate->watched->process);
    if (all && process_sleep(isolate->watched->process)) {
        uv_idle_stop(&isolate->idle);
    } else {
        process_awake(isolate->watched->process);
        uv_idle_start(&isolate->idle, do_nothing);
    }
}

/* After it slept, and others may have made calls. */
static void on_check(uv_check_t *check)
{
    struct isolate *isolate = check->data;
    if (isolate->watched) {
        process_awake(isolate->watched->process);
        (void)drain(isolate);
    }
    if (isolate->watched) {
        process_ring(isolate->watched->process);
    }
}

static void on_bell(uv_poll_t *poll, int status, int events)
{
    struct watched *watched = poll->data;
    char bytes[64];
    (void)status, (void)events;
    if (!channel_waiting(&watched->process->channel)) {
        watched->isolate->noise++; /* one that rings for nothing is a flood, too */
    }
    if (read(watched->process->bell, bytes, sizeof bytes) == 0) { /* else on_check takes it */
        uv_poll_stop(poll); /* the end of a pipe is there for ever */
        watched->mute = 1;
    }
}

static void on_ended(uv_poll_t *poll, int status, int events)
{
    struct watched *watched = poll->data;
    struct isolate *isolate = watched->isolate;
    (void)status, (void)events;
    while (watched == isolate->watched && !drain(isolate)) {
        /* what it answered while it could, at most one ring full */
    }
    if (watched == isolate->watched && isolate->state == STOPPING) {
        isolate->watched = NULL;
        close_handles(isolate);
    } else if (watched == isolate->watched) {
        bool up = isolate->state == UP;
        lose(isolate, up ? ISOLATE_ENDED : ISOLATE_NOT_STARTED,
             up ? "its process failed" : "its process did not start", NULL);
    }
    unwatch(watched);
}

static void on_saying(uv_poll_t *poll, int status, int events)
{
    struct watched *watched = poll->data;
    struct isolate *isolate = watched->isolate;
    struct whorl_fault fault = {"", ""};
    (void)status, (void)events;
    switch (process_hear(watched->process, &isolate->spec, 0, &fault)) {
    case PROCESS_NOTE:
        say(isolate, WHORL_LOG_WARNING, fault.text, NULL);
        break;
    case PROCESS_STARTED:
        uv_poll_stop(poll);
        uv_timer_stop(&isolate->timer);
        isolate->state = UP;
        isolate->up_since = uv_now(isolate->loop);
        say(isolate, WHORL_LOG_INFO, "its process is up again", NULL);
        break;
    case PROCESS_FAILED:
        (void)drain(isolate);
        if (watched == isolate->watched) {
            lose(isolate, ISOLATE_NOT_STARTED, "its process did not start", fault.text);
        }
        break;
    default:
        break;
    }
}

/* What it uses */

/* Whether it has worked too much in a minute in which it had no call. */
static bool works_unasked(struct isolate *isolate)
{
    uint64_t now = uv_now(isolate->loop);
    uint64_t used = process_time(isolate->watched->process);
    bool asked = isolate->held_count > 0 || isolate->last_id != isolate->idle_id;
    bool over = now - isolate->idle_since >= IDLE_MS;
    bool too_much = !asked && over && used > isolate->idle_used &&
                    used - isolate->idle_used > (uint64_t)IDLE_WORK_MS * 1000000;
    if (asked || over) {
        isolate->idle_id = isolate->last_id;
        isolate->idle_since = now;
        isolate->idle_used = used;
    }
    return too_much;
}

static const char *overuse(struct isolate *isolate)
{
    if (works_unasked(isolate)) {
        return "works without having been asked";
    }
    uint64_t limit = ISOLATE_SANITIZED ? 0 : isolate_memory(&isolate->spec);
    struct process_use use = process_use(isolate->watched->process);
    if (limit > 0 && use.memory > limit - limit / 20) {
        return "has used up its memory";
    }
    if (use.threads > isolate->spec.workers + THREADS_MAX) {
        return "has too many threads";
    }
    for (uint32_t i = 0; i < isolate->spec.calls && isolate->held_count > 0; i++) {
        uint64_t given_up = isolate->held[i].given_up;
        if (given_up != 0 && uv_now(isolate->loop) > given_up + GRACE_MS) {
            return "does not end a call that was given up";
        }
    }
    return NULL;
}

/* Whether it has closed its bell, and lives: with one that ends, the end is seen by the next look.
 */
static bool is_mute(struct isolate *isolate)
{
    struct watched *watched = isolate->watched;
    return watched && watched->mute > 0 && ++watched->mute > 2;
}

static void on_watch(uv_timer_t *timer)
{
    struct isolate *isolate = timer->data;
    if (isolate->logs > LOGS_MAX) {
        char text[64];
        (void)snprintf(text, sizeof text, "%u lines more than may be logged were left out",
                       isolate->logs - LOGS_MAX);
        say(isolate, WHORL_LOG_WARNING, text, NULL);
    }
    isolate->logs = isolate->noise = 0;
    const char *why = isolate->state == UP ? overuse(isolate) : NULL;
    if (why) {
        lose(isolate, ISOLATE_LIMITS, why, NULL);
    } else if (is_mute(isolate)) {
        lose(isolate, ISOLATE_CHANNEL, "has closed its channel", NULL);
    }
}

/* Its beginning */

/* Begins to watch its descriptors. libuv asks the kernel whether they can be watched, and the
 * kernel may have no room for it. Those that were begun are counted in `open`. */
static int begin_watching(struct isolate *isolate, struct watched *watched)
{
    const struct process *process = watched->process;
    const int descriptors[POLLS] = {process->child.pidfd, process->bell, process->child.sayings};
    for (; watched->open < POLLS; watched->open++) {
        uv_poll_t *poll = &watched->polls[watched->open];
        int error = uv_poll_init(isolate->loop, poll, descriptors[watched->open]);
        if (error != 0) {
            return error;
        }
        poll->data = watched;
        uv_unref((uv_handle_t *)poll);
    }
    return 0;
}

/* Ends a process of which not all can be watched. */
static void abandon_watch(struct isolate *isolate, struct watched *watched)
{
    if (watched->open == 0) {
        isolate_forgo(watched->process);
        free(watched);
        return;
    }
    watched->lost = true;
    isolate->open++;
    unwatch(watched);
}

/* Watches a process from now on. Takes it over, also where that fails. */
static bool watch(struct isolate *isolate, struct process *process, struct whorl_fault *fault)
{
    struct watched *watched = calloc(1, sizeof *watched);
    if (!watched) {
        isolate_forgo(process);
        return whorl_fail(fault, "", "out of memory");
    }
    *watched = (struct watched){.process = process, .isolate = isolate};
    int error = begin_watching(isolate, watched);
    if (error != 0) {
        abandon_watch(isolate, watched);
        return whorl_fail(fault, "", "its process can't be watched: %s", uv_strerror(error));
    }
    uv_poll_start(&watched->polls[ENDED], UV_READABLE, on_ended);
    uv_poll_start(&watched->polls[BELL], UV_READABLE, on_bell);
    isolate->watched = watched;
    isolate->open++;
    isolate->idle_since = uv_now(isolate->loop);
    isolate->idle_used = 0;
    return true;
}

static void not_made(struct isolate *isolate, const char *why)
{
    isolate->state = DOWN;
    say(isolate, WHORL_LOG_ERROR, "its process did not start", why);
    count_loss(isolate, ISOLATE_NOT_STARTED, "its process did not start", why);
    restart_later(isolate);
}

static void free_making(struct making *making)
{
    whorl_msg_release(&making->msg);
    msgpack_sbuffer_destroy(&making->packed);
    free(making);
}

/* The pool's thread, which lasts as long as the server. */
static void make(uv_work_t *work)
{
    struct making *making = work->data;
    making->process = process_new(&making->spec, &making->fault);
}

static void on_made(uv_work_t *work, int status)
{
    struct making *making = work->data;
    struct isolate *isolate = making->isolate;
    (void)status; /* nobody cancels it */
    if (isolate->state == STOPPING) {
        isolate_forgo(making->process);
    } else if (!making->process || !watch(isolate, making->process, &making->fault)) {
        not_made(isolate, making->fault.text);
    } else {
        isolate->state = STARTING;
        uv_poll_start(&isolate->watched->polls[SAYINGS], UV_READABLE, on_saying);
        uv_timer_start(&isolate->timer, on_timer, ISOLATE_WAIT_MS, 0);
    }
    free_making(making);
    free_isolate(isolate);
}

/* A copy of the specification, by way of what the process is given. */
static struct making *new_making(struct isolate *isolate)
{
    struct making *making = calloc(1, sizeof *making);
    if (!making) {
        return NULL;
    }
    making->isolate = isolate;
    making->work.data = making;
    msgpack_sbuffer_init(&making->packed);
    isolate_spec_pack(&isolate->spec, &making->packed);
    if (!whorl_msg_parse((const uint8_t *)making->packed.data, making->packed.size, &making->msg,
                         &making->fault)) {
        msgpack_sbuffer_destroy(&making->packed);
        free(making);
        return NULL;
    }
    if (!isolate_spec_read(&making->msg.root, &making->spec, &making->fault)) {
        free_making(making);
        return NULL;
    }
    return making;
}

static void restart(struct isolate *isolate)
{
    struct making *making = new_making(isolate);
    if (!making) {
        not_made(isolate, "out of memory");
        return;
    }
    isolate->state = MAKING;
    isolate->open++;
    whorl_secret_forget(); /* a thread that starts has a copy of this one's registers */
    (void)uv_queue_work(isolate->loop, &making->work, make, on_made); /* fails never */
}

static void on_timer(uv_timer_t *timer)
{
    struct isolate *isolate = timer->data;
    if (isolate->state == DOWN) {
        restart(isolate);
    } else {
        bool starting = isolate->state == STARTING;
        lose(isolate, starting ? ISOLATE_NOT_STARTED : ISOLATE_LIMITS,
             starting ? "its process did not start" : "does not stop", "not in time");
    }
}

static void open_handles(struct isolate *isolate)
{
    uv_prepare_init(isolate->loop, &isolate->prepare);
    uv_check_init(isolate->loop, &isolate->check);
    uv_idle_init(isolate->loop, &isolate->idle);
    uv_timer_init(isolate->loop, &isolate->timer);
    uv_timer_init(isolate->loop, &isolate->watch);
    isolate->prepare.data = isolate->check.data = isolate->idle.data = isolate;
    isolate->timer.data = isolate->watch.data = isolate;
    uv_prepare_start(&isolate->prepare, on_prepare);
    uv_check_start(&isolate->check, on_check);
    uv_timer_start(&isolate->watch, on_watch, WATCH_MS, WATCH_MS);
    /* The host keeps the loop alive as long as the instance runs. */
    uv_unref((uv_handle_t *)&isolate->prepare);
    uv_unref((uv_handle_t *)&isolate->check);
    uv_unref((uv_handle_t *)&isolate->idle);
    uv_unref((uv_handle_t *)&isolate->timer);
    uv_unref((uv_handle_t *)&isolate->watch);
    isolate->open += HANDLES;
}

int isolate_start(const struct isolate_given *given, void **instance, struct whorl_fault *fault)
{
    uint32_t calls =
        given->spec->calls < CHANNEL_CALLS_MAX ? given->spec->calls : CHANNEL_CALLS_MAX;
    struct isolate *isolate = calloc(1, sizeof *isolate + calls * sizeof isolate->held[0]);
    if (!isolate) {
        isolate_forgo(given->started);
        whorl_fail(fault, "", "out of memory");
        return -1;
    }
    isolate->loop = given->loop;
    isolate->log = given->log;
    isolate->abi = given->abi;
    isolate->failed = given->failed;
    isolate->lost = given->lost;
    isolate->spec = *given->spec;
    isolate->spec.calls = calls;
    isolate->role = given->role;
    (void)snprintf(isolate->name, sizeof isolate->name, "%s", given->spec->name);
    free_slots(isolate);
    struct process *process =
        given->started ? given->started : isolate_ahead(&isolate->spec, isolate->log, fault);
    isolate->open = 1; /* until there is an instance */
    if (!process || !watch(isolate, process, fault)) {
        free_isolate(isolate);
        return -1;
    }
    open_handles(isolate);
    isolate->open--;
    isolate->state = UP;
    isolate->up_since = uv_now(isolate->loop);
    *instance = isolate;
    return 0;
}

static void take_stop(void *instance)
{
    struct isolate *isolate = instance;
    struct watched *watched = isolate->watched;
    enum state before = isolate->state;
    isolate->state = STOPPING;
    isolate->abi = NULL;
    uv_timer_stop(&isolate->timer);
    uv_timer_stop(&isolate->watch);
    if (!watched) {
        close_handles(isolate);
        return;
    }
    uv_ref((uv_handle_t *)&watched->polls[ENDED]);
    if (before != UP || !process_stop(watched->process)) {
        lose(isolate, ISOLATE_NOT_STARTED, "was stopped before it had started", NULL);
        return;
    }
    uv_ref((uv_handle_t *)&isolate->timer);
    uv_timer_start(&isolate->timer, on_timer, STOP_MS, 0);
    process_ring(watched->process);
}

/* There so that a descriptor says that there is a check; isolate_check lets the module make it. */
static int take_check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    (void)settings;
    whorl_fail(fault, "", "its settings can be checked in its process only");
    return -1;
}

const struct whorl_plugin isolate_functions = {
    .check = take_check,
    .call = take_call,
    .cancel = take_cancel,
    .stop = take_stop,
};
