/* Calls in flight. A call's id holds its place in a table of slots and a number that never comes
 * again, so that a plugin may name calls that are long over. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/internal.h"

static struct slot *slot_at(struct host *host, uint64_t id)
{
    uint32_t index = (uint32_t)(id & ((1u << SLOT_BITS) - 1));
    struct slot *chunk =
        atomic_load_explicit(&host->chunks[index / CHUNK_SLOTS], memory_order_acquire);
    return chunk ? &chunk[index % CHUNK_SLOTS] : NULL;
}

/* Loop thread. The call that a plugin still has to complete. */
static struct call *find_call(struct host *host, uint64_t id)
{
    struct slot *slot = slot_at(host, id);
    return slot && slot->call && slot->call->id == id ? slot->call : NULL;
}

static bool grow_table(struct host *host)
{
    uint32_t chunk = host->slot_count / CHUNK_SLOTS;
    struct slot *slots = chunk < CHUNKS ? calloc(CHUNK_SLOTS, sizeof *slots) : NULL;
    if (!slots) {
        return false;
    }
    for (uint32_t i = 0; i < CHUNK_SLOTS; i++) {
        slots[i].next_free = host->slot_count + i + 1;
    }
    atomic_store_explicit(&host->chunks[chunk], slots, memory_order_release);
    host->slot_count += CHUNK_SLOTS;
    return true;
}

void call_free_table(struct host *host)
{
    for (size_t i = 0; i < CHUNKS; i++) {
        free(atomic_load(&host->chunks[i]));
    }
}

static uint64_t next_id(struct host *host, uint32_t index)
{
    return ++host->last_number << SLOT_BITS | index;
}

/* Takes the call out of the list of those with something to report. Under the lock. */
static void unlist(struct call *call)
{
    if (call->previous_reporting) {
        *call->previous_reporting = call->next_reporting;
        if (call->next_reporting) {
            call->next_reporting->previous_reporting = call->previous_reporting;
        }
        call->previous_reporting = NULL;
    }
}

static void list(struct host *host, struct call *call)
{
    if (!call->previous_reporting) {
        call->next_reporting = host->reporting;
        call->previous_reporting = &host->reporting;
        if (host->reporting) {
            host->reporting->previous_reporting = &call->next_reporting;
        }
        host->reporting = call;
    }
}

/* From here on nobody waits for the call. */
static void give_up(struct call *call)
{
    struct host *host = call->backend->host;
    pthread_mutex_lock(&host->lock);
    atomic_store(&slot_at(host, call->id)->live, 0);
    unlist(call);
    pthread_mutex_unlock(&host->lock);
    uv_timer_stop(&call->deadline);
    call->ended = true;
}

static void end_call(struct call *call, enum backend_end end, const uint8_t *answer, size_t len)
{
    const struct whorl_plugin *descriptor = call->backend->plugin->descriptor;
    give_up(call);
    backend_count(call->backend, &call->mark, end);
    if ((end == BACKEND_TIMED_OUT || end == BACKEND_CANCELLED) && descriptor->cancel) {
        descriptor->cancel(call->backend->instance, call->id);
    }
    call->listener.ended(call->listener.ctx, end, answer, len);
}

static void free_call(uv_handle_t *handle)
{
    free(handle->data);
}

/* The plugin has completed the call: forgets it. */
static void retire(struct host *host, struct call *call)
{
    struct backend *backend = call->backend;
    struct slot *slot = slot_at(host, call->id);
    uint32_t index = (uint32_t)(call->id & ((1u << SLOT_BITS) - 1));
    pthread_mutex_lock(&host->lock);
    slot->call = NULL;
    pthread_mutex_unlock(&host->lock);
    slot->next_free = host->first_free;
    host->first_free = index;
    host_give_back(host, &call->message);
    uv_close((uv_handle_t *)&call->deadline, free_call);
    backend->in_flight--;
    backend_stop_if_idle(backend);
}

static void on_deadline(uv_timer_t *timer)
{
    end_call(timer->data, BACKEND_TIMED_OUT, NULL, 0);
}

/* NULL: out of places or memory. */
static struct call *make_call(struct backend *backend, const struct backend_listener *listener)
{
    struct host *host = backend->host;
    if (host->first_free == host->slot_count && !grow_table(host)) {
        return NULL;
    }
    struct call *call = calloc(1, sizeof *call);
    if (!call || uv_timer_init(host->loop, &call->deadline) != 0) {
        free(call);
        return NULL;
    }
    call->id = next_id(host, host->first_free);
    call->backend = backend;
    call->listener = *listener;
    call->deadline.data = call;
    struct slot *slot = slot_at(host, call->id);
    host->first_free = slot->next_free;
    pthread_mutex_lock(&host->lock);
    slot->call = call;
    atomic_store(&slot->live, call->id);
    pthread_mutex_unlock(&host->lock);
    return call;
}

uint64_t backend_call(struct backend *backend, struct whorl_secret *message, uint64_t deadline_ms,
                      const struct backend_listener *listener)
{
    struct host *host = backend->host;
    LOOP_ONLY(host);
    struct call_mark mark = {.started = uv_hrtime(),
                             .whole = deadline_ms >= backend->plugin->deadline_ms};
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
    uint64_t limit = backend->plugin->deadline_ms;
    uv_timer_start(&call->deadline, on_deadline, deadline_ms < limit ? deadline_ms : limit, 0);
    backend->plugin->descriptor->call(backend->instance, id, call->message.bytes,
                                      call->message.len);
    return id;
}

void backend_cancel(struct backend *backend, uint64_t call)
{
    LOOP_ONLY(backend->host);
    struct call *found = find_call(backend->host, call);
    if (found && found->backend == backend && !found->ended) {
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

/* Any thread: the answer is judged and copied here, so that the loop only hands it on. */
void call_complete(const struct whorl_host *abi, uint64_t id, const uint8_t *answer, size_t len)
{
    struct backend *backend = abi->ctx;
    struct host *host = backend->host;
    bool good = is_answer(answer, len);
    size_t kept = good ? len : 0;
    struct completion *completion = malloc(sizeof *completion + kept);
    if (!completion) {
        struct slot *slot = slot_at(host, id);
        if (slot) {
            atomic_store(&slot->lost, id);
            atomic_store(&host->answers_lost, true);
            host_wake(host);
        }
        return;
    }
    *completion = (struct completion){NULL, backend, id, good, kept};
    if (kept > 0) {
        memcpy(completion->answer, answer, kept);
    }
    pthread_mutex_lock(&host->lock);
    *host->completions_last = completion;
    host->completions_last = &completion->next;
    pthread_mutex_unlock(&host->lock);
    host_wake(host);
}

bool call_cancelled(const struct whorl_host *abi, uint64_t id)
{
    struct backend *backend = abi->ctx;
    struct slot *slot = slot_at(backend->host, id);
    return !slot || atomic_load_explicit(&slot->live, memory_order_relaxed) != id;
}

static void take_completion(struct host *host, const struct completion *completion)
{
    struct backend *backend = completion->backend;
    bool report = false;
    struct call *call = find_call(host, completion->call);
    if (!call || call->backend != backend) {
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
    retire(host, call);
    /* Only now, so that the listener finds room for the call that waited for this one. */
    if (report && completion->good) {
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
    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct slot *slot = slot_at(host, i);
        uint64_t id = atomic_exchange(&slot->lost, 0);
        struct call *call = id != 0 ? find_call(host, id) : NULL;
        if (call) {
            backend_log(call->backend, WHORL_LOG_ERROR, "an answer was lost: out of memory");
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
    struct slot *slot = slot_at(host, id);
    if (!slot || !is_stage(stage)) {
        return;
    }
    bool wake = false;
    pthread_mutex_lock(&host->lock);
    struct call *call = atomic_load(&slot->live) == id ? slot->call : NULL;
    struct report *report = call && call->backend == backend ? find_report(call, stage) : NULL;
    if (report) {
        wake = !call->previous_reporting;
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
    if (round) {
        round->previous_reporting = &round;
    }
    while (round) {
        struct call *call = round;
        bool left;
        size_t count = take_due(call, now, due, &left);
        unlist(call);
        if (left) {
            list(host, call);
            any_left = true;
        }
        pthread_mutex_unlock(&host->lock);
        for (size_t i = 0; i < count && !call->ended; i++) {
            call->listener.progress(call->listener.ctx, due[i].stage, due[i].fraction);
        }
        pthread_mutex_lock(&host->lock);
    }
    pthread_mutex_unlock(&host->lock);
    if (any_left && !uv_is_active((uv_handle_t *)&host->progress_due)) {
        uv_timer_start(&host->progress_due, on_progress_due, PROGRESS_MS, 0);
    }
}
