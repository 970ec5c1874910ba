/* Calls in flight. A call's id holds its place in a table of slots and a number that never comes
 * again, so that a plugin may name calls that are long over. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/internal.h"

/* The place that an id names; NULL: there is no such place yet. Any thread. */
static struct call *place_of(struct host *host, uint64_t id)
{
    uint32_t index = (uint32_t)(id & ((1u << PLACE_BITS) - 1));
    struct call *chunk =
        atomic_load_explicit(&host->chunks[index / CHUNK_CALLS], memory_order_acquire);
    return chunk ? &chunk[index % CHUNK_CALLS] : NULL;
}

/* Loop thread. The call that a plugin still has to complete. */
static struct call *find_call(struct host *host, uint64_t id)
{
    struct call *call = id != 0 ? place_of(host, id) : NULL;
    return call && call->id == id ? call : NULL;
}

static struct backend *backend_of(struct call *call)
{
    return atomic_load_explicit(&call->backend, memory_order_relaxed);
}

static bool grow_table(struct host *host)
{
    uint32_t chunk = host->call_count / CHUNK_CALLS;
    struct call *calls = chunk < CHUNKS ? calloc(CHUNK_CALLS, sizeof *calls) : NULL;
    if (!calls) {
        return false;
    }
    for (uint32_t i = 0; i < CHUNK_CALLS; i++) {
        calls[i].next_free = host->call_count + i + 1;
    }
    atomic_store_explicit(&host->chunks[chunk], calls, memory_order_release);
    host->call_count += CHUNK_CALLS;
    return true;
}

unsigned call_close_timers(struct host *host, uv_close_cb closed)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < host->call_count; i++) {
        struct call *call = place_of(host, i);
        if (call->has_timer) {
            call->deadline.data = host;
            uv_close((uv_handle_t *)&call->deadline, closed);
            count++;
        }
    }
    return count;
}

void call_free_table(struct host *host)
{
    for (size_t i = 0; i < CHUNKS; i++) {
        free(atomic_load(&host->chunks[i]));
    }
}

static uint64_t next_id(struct host *host, uint32_t index)
{
    return ++host->last_number << PLACE_BITS | index;
}

/* From here on nobody waits for the call. */
static void give_up(struct call *call)
{
    atomic_store_explicit(&call->live, 0, memory_order_release);
    if (call->timed) {
        uv_timer_stop(&call->deadline);
        call->timed = false;
    }
    call->ended = true;
}

static void end_call(struct call *call, enum backend_end end, const uint8_t *answer, size_t len)
{
    struct backend *backend = backend_of(call);
    const struct whorl_plugin *descriptor = backend->plugin->descriptor;
    give_up(call);
    backend_count(backend, &call->mark, end);
    if ((end == BACKEND_TIMED_OUT || end == BACKEND_CANCELLED) && descriptor->cancel) {
        descriptor->cancel(backend->instance, call->id);
    }
    call->listener.ended(call->listener.ctx, end, answer, len);
}

/* The plugin has completed the call: its place is free. A report of it that is still on its way is
 * known by its id. */
static void retire(struct host *host, struct call *call)
{
    struct backend *backend = backend_of(call);
    uint32_t index = (uint32_t)(call->id & ((1u << PLACE_BITS) - 1));
    call->id = 0;
    call->next_free = host->first_free;
    host->first_free = index;
    host_give_back(host, &call->message);
    backend->in_flight--;
    backend_stop_if_idle(backend);
}

static void on_deadline(uv_timer_t *timer)
{
    struct call *call = timer->data;
    call->timed = false;
    end_call(call, BACKEND_TIMED_OUT, NULL, 0);
}

/* NULL: out of places or memory. */
static struct call *make_call(struct backend *backend, const struct backend_listener *listener)
{
    struct host *host = backend->host;
    if (host->first_free == host->call_count && !grow_table(host)) {
        return NULL;
    }
    struct call *call = place_of(host, host->first_free);
    call->id = next_id(host, host->first_free);
    host->first_free = call->next_free;
    call->ended = call->answered = call->failed = false;
    call->listener = *listener;
    atomic_store_explicit(&call->backend, backend, memory_order_relaxed);
    /* Whoever finds it alive finds its backend. */
    atomic_store_explicit(&call->live, call->id, memory_order_release);
    return call;
}

/* A handle is made once for each place, and kept. */
static void start_deadline(struct host *host, struct call *call, uint64_t deadline_ms)
{
    if (!call->has_timer) {
        uv_timer_init(host->loop, &call->deadline);
        call->deadline.data = call;
        call->has_timer = true;
    }
    uv_timer_start(&call->deadline, on_deadline, deadline_ms, 0);
    call->timed = true;
}

uint64_t backend_call(struct backend *backend, struct whorl_secret *message, uint64_t deadline_ms,
                      const struct backend_listener *listener)
{
    struct host *host = backend->host;
    LOOP_ONLY(host);
    uint64_t limit = backend->plugin->deadline_ms;
    struct call_mark mark = {.started = host_moment(host), .whole = deadline_ms >= limit};
    enum backend_end end = backend_admit(backend, &mark);
    struct call *call = end == BACKEND_ANSWERED ? make_call(backend, listener) : NULL;
    if (!call) {
        end = end == BACKEND_ANSWERED ? BACKEND_BUSY : end;
        whorl_secret_release(message);
        backend_count(backend, &mark, end);
        listener->ended(listener->ctx, end, NULL, 0);
        return next_id(host, 0);
    }
    uint64_t id = call->id;
    call->mark = mark;
    call->message = *message;
    *message = (struct whorl_secret){NULL, 0, 0};
    backend->in_flight++;
    backend->plugin->descriptor->call(backend->instance, id, call->message.bytes,
                                      call->message.len);
    if (!call->answered) {
        start_deadline(host, call, deadline_ms < limit ? deadline_ms : limit);
        host->moment = 0; /* there was work to do, or will be: the next call begins later */
    }
    return id;
}

void backend_cancel(struct backend *backend, uint64_t call)
{
    LOOP_ONLY(backend->host);
    struct call *found = find_call(backend->host, call);
    if (found && backend_of(found) == backend && !found->ended) {
        end_call(found, BACKEND_CANCELLED, NULL, 0);
    }
}

static bool is_answer(const uint8_t *answer, size_t len)
{
    struct whorl_fault fault;
    size_t used = 0;
    bool map = len > 0 && len <= ANSWER_MAX && answer &&
               ((answer[0] & 0xf0) == 0x80 || answer[0] == 0xde || answer[0] == 0xdf);
    return map && whorl_msg_walk(answer, len, ANSWER_MAX, &used, &fault) == WHORL_MSG_WHOLE &&
           used == len;
}

/* Loop thread. Room for an answer that is reported soon; NULL: there is none. */
static struct completion *gather(struct host *host, size_t len)
{
    struct gathered *gathered = host->gathered;
    const size_t step = _Alignof(struct completion);
    size_t needed = (sizeof(struct completion) + len + step - 1) / step * step;
    if (len > GATHERED_BYTES / 2 || needed > GATHERED_BYTES - gathered->used) {
        return NULL;
    }
    if (gathered->used == 0 && !host->gathering) {
        uv_async_send(&host->wake);
    }
    struct completion *completion = (void *)(gathered->bytes + gathered->used);
    gathered->used += needed;
    return completion;
}

/* Any thread. One wake for all that come until the loop looks. */
static void hand_over(struct host *host, struct completion *completion)
{
    pthread_mutex_lock(&host->lock);
    bool first = !host->completions;
    *host->completions_last = completion;
    host->completions_last = &completion->next;
    if (first && !host->closed) {
        uv_async_send(&host->wake);
    }
    pthread_mutex_unlock(&host->lock);
}

static void lose_answer(struct host *host, uint64_t id)
{
    struct call *place = place_of(host, id);
    if (place) {
        atomic_store(&place->lost, id);
        atomic_store(&host->answers_lost, true);
        host_wake(host);
    }
}

/* Any thread: the answer is judged and copied here, so that the loop only hands it on. */
void call_complete(const struct whorl_host *abi, uint64_t id, const uint8_t *answer, size_t len)
{
    struct backend *backend = abi->ctx;
    struct host *host = backend->host;
    bool here = pthread_equal(pthread_self(), host->loop_thread);
    bool good = is_answer(answer, len);
    size_t kept = good ? len : 0;
    struct completion *gathered = here ? gather(host, kept) : NULL;
    struct completion *completion = gathered ? gathered : malloc(sizeof *completion + kept);
    if (!completion) {
        lose_answer(host, id);
        return;
    }
    *completion = (struct completion){NULL, backend, id, good, kept};
    if (kept > 0) {
        memcpy(completion->answer, answer, kept);
    }
    struct call *call = here ? find_call(host, id) : NULL;
    if (call && backend_of(call) == backend) {
        call->answered = true;
    }
    if (!gathered) {
        hand_over(host, completion);
    }
}

void call_failed(const struct whorl_host *abi, uint64_t id)
{
    struct backend *backend = abi->ctx;
    struct call *call = find_call(backend->host, id);
    if (call && backend_of(call) == backend) {
        call->failed = true;
    }
}

bool call_cancelled(const struct whorl_host *abi, uint64_t id)
{
    struct backend *backend = abi->ctx;
    struct call *place = place_of(backend->host, id);
    return !place || atomic_load_explicit(&place->live, memory_order_relaxed) != id;
}

static void take_completion(struct host *host, const struct completion *completion)
{
    struct backend *backend = completion->backend;
    bool report = false;
    struct call *call = find_call(host, completion->call);
    if (!call || backend_of(call) != backend) {
        backend_log(backend, WHORL_LOG_WARNING,
                    "completed a call that it doesn't have, or a second time: ignored");
        return;
    }
    if (call->ended) {
        backend_log(backend, WHORL_LOG_INFO, "completed a call that had been given up: ignored");
    } else {
        give_up(call);
        report = true;
    }
    struct backend_listener listener = call->listener;
    struct call_mark mark = call->mark;
    bool failed = call->failed;
    retire(host, call);
    /* Only now, so that the listener finds room for the call that waited for this one. */
    if (report && failed) {
        backend_count(backend, &mark, BACKEND_FAILED);
        listener.ended(listener.ctx, BACKEND_FAILED, completion->answer, completion->len);
    } else if (report && completion->good) {
        backend->distrusted = false;
        listener.ended(listener.ctx, BACKEND_ANSWERED, completion->answer, completion->len);
        backend_count(backend, &mark, backend->distrusted ? BACKEND_MALFORMED : BACKEND_ANSWERED);
    } else if (report) {
        backend_count(backend, &mark, BACKEND_MALFORMED);
        listener.ended(listener.ctx, BACKEND_MALFORMED, NULL, 0);
    }
}

static void take_lost_answers(struct host *host)
{
    for (uint32_t i = 0; i < host->call_count; i++) {
        uint64_t id = atomic_exchange(&place_of(host, i)->lost, 0);
        struct call *call = find_call(host, id);
        if (call) {
            backend_log(backend_of(call), WHORL_LOG_ERROR, "an answer was lost: out of memory");
            if (!call->ended) {
                end_call(call, BACKEND_MALFORMED, NULL, 0);
            }
            retire(host, call);
        }
    }
}

void call_drain(struct host *host)
{
    pthread_mutex_lock(&host->lock);
    struct completion *completion = host->completions;
    host->completions = NULL;
    host->completions_last = &host->completions;
    pthread_mutex_unlock(&host->lock);
    while (completion) {
        struct completion *next = completion->next;
        take_completion(host, completion);
        /* a candidate's name is no probe, but it is personal */
        explicit_bzero(completion->answer, completion->len);
        free(completion);
        completion = next;
    }
    if (atomic_exchange(&host->answers_lost, false)) {
        take_lost_answers(host);
    }
}

/* Reports one bufferful. */
static void settle_round(struct host *host)
{
    const size_t step = _Alignof(struct completion);
    struct gathered *round = host->gathered;
    host->gathered = host->settling;
    host->settling = round;
    host->moment = 0;
    for (size_t at = 0; at < round->used;) {
        const struct completion *completion = (const void *)(round->bytes + at);
        at += (sizeof *completion + completion->len + step - 1) / step * step;
        take_completion(host, completion);
    }
    explicit_bzero(round->bytes, round->used);
    round->used = 0;
}

void call_settle(struct host *host)
{
    bool gathering = host->gathering;
    host->gathering = true; /* what is answered at once in a round is reported in the next */
    for (int i = 0; i < SETTLE_ROUNDS && host->gathered->used > 0; i++) {
        settle_round(host);
    }
    host->gathering = gathering;
    if (host->gathered->used > 0) {
        uv_async_send(&host->wake); /* others have waited long enough */
    }
}

/* A short word of printable ASCII. */
static bool is_stage(const char *stage)
{
    size_t len = stage ? strnlen(stage, STAGE_MAX) : 0;
    for (size_t i = 0; i < len; i++) {
        if (stage[i] < ' ' || stage[i] > '~') {
            return false;
        }
    }
    return len > 0 && len < STAGE_MAX;
}

/* Under the lock. */
static void list(struct host *host, struct call *call)
{
    if (!call->reporting) {
        call->next_reporting = host->reporting;
        host->reporting = call;
        call->reporting = true;
    }
}

/* The call's report of a stage, or the first unused one, or NULL. */
static struct report *find_report(struct call *call, const char *stage)
{
    for (size_t i = 0; i < CALL_STAGES; i++) {
        struct report *report = &call->reports[i];
        if (report->stage[0] == '\0' || strcmp(report->stage, stage) == 0) {
            return report;
        }
    }
    return NULL;
}

void call_progress(const struct whorl_host *abi, uint64_t id, const char *stage, double fraction)
{
    struct backend *backend = abi->ctx;
    struct host *host = backend->host;
    struct call *call = place_of(host, id);
    if (!call || !is_stage(stage)) {
        return;
    }
    bool wake = false;
    pthread_mutex_lock(&host->lock);
    bool live = atomic_load_explicit(&call->live, memory_order_acquire) == id;
    if (live && call->reported != id) {
        /* What is left there is of an earlier call. The next one to come alive has to wait for the
         * lock with its first report, so that nothing of this one can come after that. */
        memset(call->reports, 0, sizeof call->reports);
        call->reported = id;
    }
    struct report *report = live && backend_of(call) == backend ? find_report(call, stage) : NULL;
    if (report) {
        wake = !call->reporting;
        memcpy(report->stage, stage, strlen(stage) + 1);
        report->fraction = isnan(fraction) || fraction < 0 ? -1 : fmin(fraction, 1);
        report->fresh = true;
        list(host, call);
    }
    pthread_mutex_unlock(&host->lock);
    if (wake) {
        host_wake(host);
    }
}

/* Takes from a call what may be reported by now. Under the lock. */
static size_t take_due(struct call *call, uint64_t now, struct report *due, bool *left)
{
    size_t count = 0;
    *left = false;
    for (size_t i = 0; i < CALL_STAGES; i++) {
        struct report *report = &call->reports[i];
        if (!report->fresh) {
            continue;
        }
        if (report->sent && now - report->sent_at < PROGRESS_MS) {
            *left = true;
            continue;
        }
        report->sent = true;
        report->sent_at = now;
        report->fresh = false;
        due[count++] = *report;
    }
    return count;
}

static void on_progress_due(uv_timer_t *timer)
{
    call_flush_progress(timer->data);
}

void call_flush_progress(struct host *host)
{
    struct report due[CALL_STAGES];
    uint64_t now = uv_now(host->loop);
    bool any_left = false;
    /* What is fresh again after this round, or not yet due, waits for the timer. */
    pthread_mutex_lock(&host->lock);
    struct call *round = host->reporting;
    host->reporting = NULL;
    while (round) {
        struct call *call = round;
        round = call->next_reporting;
        call->reporting = false;
        bool left = false;
        uint64_t id = call->id;
        bool current = id != 0 && id == call->reported && !call->ended;
        size_t count = current ? take_due(call, now, due, &left) : 0;
        if (left) {
            list(host, call);
            any_left = true;
        }
        pthread_mutex_unlock(&host->lock);
        for (size_t i = 0; i < count && call->id == id && !call->ended; i++) {
            call->listener.progress(call->listener.ctx, due[i].stage, due[i].fraction);
        }
        pthread_mutex_lock(&host->lock);
    }
    pthread_mutex_unlock(&host->lock);
    if (any_left && !uv_is_active((uv_handle_t *)&host->progress_due)) {
        uv_timer_start(&host->progress_due, on_progress_due, PROGRESS_MS, 0);
    }
}
