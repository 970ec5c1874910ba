#include "core/identify/sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "core/packed/packed.h"
#include "whorl/msg.h"

#define LATE "timed out while the sink was busy"
#define SINK_WAITING_MAX 16384u /* messages that may wait for one busy sink */

struct recording;

/* A recording's errand to one sink. */
struct errand {
    struct recording *recording;
    const struct setup_plugin *plugin;
    struct sink_receipt *receipt;
    struct errand *next; /* in the sink's queue */
    bool again;          /* comes from the queue's head and goes back there if still busy */
};

struct sink_queue {
    unsigned refs;
    size_t flying, waiting;
    struct errand *head, *tail;
    bool failing;
    struct sink_queue *next, **link; /* in a list, if link isn't NULL */
};

struct recording {
    struct setup *setup;
    struct log *log;
    char transaction[64];
    msgpack_sbuffer message;
    uint64_t deadline; /* on uv_hrtime's clock, ms */
    size_t pending, sinks;
    struct errand *errands;
    struct sink_receipt *receipts;
    sink_done *done;
    void *ctx;
};

struct sink_queue *sink_queue_new(void)
{
    struct sink_queue *queue = calloc(1, sizeof *queue);
    if (queue != NULL) {
        queue->refs = 1;
    }
    return queue;
}

struct sink_queue *sink_queue_ref(struct sink_queue *queue)
{
    queue->refs++;
    return queue;
}

static void take_out(struct sink_queue *queue)
{
    if (queue->link == NULL) {
        return;
    }
    *queue->link = queue->next;
    if (queue->next != NULL) {
        queue->next->link = queue->link;
    }
    queue->next = NULL;
    queue->link = NULL;
}

void sink_queue_unref(struct sink_queue *queue)
{
    if (--queue->refs == 0) {
        take_out(queue);
        free(queue);
    }
}

void sink_queues_add(struct sink_queues *queues, struct sink_queue *queue)
{
    if (queue->link != NULL) {
        return;
    }
    queue->next = queues->first;
    queue->link = &queues->first;
    if (queue->next != NULL) {
        queue->next->link = &queue->next;
    }
    queues->first = queue;
}

void sink_queues_leave(struct sink_queues *queues)
{
    while (queues->first != NULL) {
        take_out(queues->first);
    }
}

bool sink_failing(const struct sink_queue *queue)
{
    return queue->failing;
}

size_t sink_queue_waiting(const struct sink_queue *queue)
{
    return queue->waiting;
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000u;
}

static void recording_free(struct recording *recording)
{
    setup_unref(recording->setup);
    packed_wipe(&recording->message);
    free(recording->errands);
    free(recording->receipts);
    free(recording);
}

static void recording_end(struct recording *recording)
{
    bool stored = recording->sinks > 0;
    for (size_t i = 0; i < recording->sinks; i++) {
        stored = stored && recording->receipts[i].stored;
    }
    recording->done(recording->ctx, stored, recording->receipts, recording->sinks);
    recording_free(recording);
}

static void one_ended(struct recording *recording)
{
    if (--recording->pending == 0) {
        recording_end(recording);
    }
}

static void errand_failed(struct errand *errand, const char *why)
{
    struct recording *recording = errand->recording;
    errand->plugin->queue->failing = true;
    log_line(recording->log, WHORL_LOG_ERROR, "audit records not stored", "sink",
             errand->plugin->conf->name, "why", why, "transaction",
             recording->transaction[0] == '\0' ? NULL : recording->transaction, NULL);
    one_ended(recording);
}

bool sink_receipt_read(const uint8_t *bytes, size_t len, struct sink_receipt *receipt,
                       struct whorl_fault *fault)
{
    struct whorl_msg msg;
    if (!whorl_msg_parse(bytes, len, &msg, fault)) {
        return false;
    }
    struct whorl_field fields[] = {
        {.name = "stored", .type = WHORL_FIELD_BOOL, .required = true},
        {.name = "position", .type = WHORL_FIELD_INT, .min = 0, .max = 9e15},
        {.name = "hash", .type = WHORL_FIELD_BIN, .min = 1, .max = 64},
        {.name = "reason", .type = WHORL_FIELD_STR, .min = 1, .max = 250},
    };
    bool good = whorl_fields_read(&msg.root, "", fields, 4, fault);
    if (good && !fields[0].value->via.boolean) {
        char reason[251];
        whorl_str_copy(fields[3].value, reason, sizeof reason);
        receipt->stored = false;
        whorl_fail(fault, "", "%s", reason[0] == '\0' ? "no reason given" : reason);
    } else if (good && fields[1].value == NULL) {
        good = whorl_fail(fault, "position", "is missing");
    } else if (good) {
        receipt->stored = true;
        receipt->position = fields[1].value->via.i64;
    }
    whorl_msg_release(&msg);
    return good;
}

static bool errand_send(struct errand *errand);

static void put_last(struct sink_queue *queue, struct errand *errand)
{
    errand->next = NULL;
    if (queue->tail == NULL) {
        queue->head = errand;
    } else {
        queue->tail->next = errand;
    }
    queue->tail = errand;
    queue->waiting++;
}

static struct errand *take_first(struct sink_queue *queue)
{
    struct errand *errand = queue->head;
    queue->head = errand->next;
    queue->tail = queue->head == NULL ? NULL : queue->tail;
    queue->waiting--;
    return errand;
}

/* A call has ended, so that one that waited can go. Those that are too late fail on the way, and
 * all do whom no further end would wake: a sink may be full of calls that were given up on. */
static void wake(struct sink_queue *queue)
{
    bool gone = false;
    while (queue->head != NULL && (!gone || queue->flying == 0)) {
        struct errand *errand = take_first(queue);
        errand->again = true;
        gone = errand_send(errand);
    }
}

static void fail_late(struct sink_queue *queue)
{
    uint64_t now = now_ms();
    size_t count = queue->waiting;
    for (size_t i = 0; i < count && queue->head != NULL; i++) {
        struct errand *errand = take_first(queue);
        if (now >= errand->recording->deadline) {
            errand_failed(errand, LATE);
        } else {
            put_last(queue, errand);
        }
    }
}

void sink_queues_tick(struct sink_queues *queues)
{
    struct sink_queue *queue = queues->first, *next;
    if (queue != NULL) {
        sink_queue_ref(queue);
    }
    /* The next one is looked for last: what fails may be the last that needs it. */
    for (; queue != NULL; queue = next) {
        fail_late(queue);
        next = queue->next != NULL ? sink_queue_ref(queue->next) : NULL;
        sink_queue_unref(queue);
    }
}

/* false: no room to wait, or nothing in flight whose end would wake it. */
static bool wait_for(struct errand *errand)
{
    struct sink_queue *queue = errand->plugin->queue;
    if (queue->flying == 0 || queue->waiting >= SINK_WAITING_MAX) {
        return false;
    }
    if (!errand->again) {
        put_last(queue, errand);
        return true;
    }
    queue->waiting++;
    errand->next = queue->head;
    queue->head = errand;
    queue->tail = queue->tail == NULL ? errand : queue->tail;
    return true;
}

static const char *end_text(enum backend_end end)
{
    switch (end) {
    case BACKEND_TIMED_OUT:
        return "timed out";
    case BACKEND_CANCELLED:
        return "cancelled";
    case BACKEND_BUSY:
        return "too many records wait already";
    default:
        return "the sink's answer is malformed";
    }
}

static void errand_ended(void *ctx, enum backend_end end, const uint8_t *answer, size_t len)
{
    struct errand *errand = ctx;
    struct sink_queue *queue = sink_queue_ref(errand->plugin->queue);
    queue->flying--;
    if (end == BACKEND_BUSY) {
        if (!wait_for(errand)) {
            errand_failed(errand, end_text(end));
        }
        sink_queue_unref(queue);
        return;
    }
    struct whorl_fault fault = {0};
    if (end != BACKEND_ANSWERED && end != BACKEND_FAILED) {
        errand_failed(errand, end_text(end));
    } else if (!sink_receipt_read(answer, len, errand->receipt, &fault) ||
               !errand->receipt->stored) {
        errand_failed(errand, fault.text);
    } else {
        queue->failing = false;
        one_ended(errand->recording);
    }
    wake(queue);
    sink_queue_unref(queue);
}

static void no_progress(void *ctx, const char *stage, double fraction)
{
    (void)ctx;
    (void)stage;
    (void)fraction;
}

/* false: it failed at once. After the return the errand may be gone. */
static bool errand_send(struct errand *errand)
{
    struct recording *recording = errand->recording;
    struct whorl_secret message = backend_buffer(errand->plugin->backend);
    uint64_t now = now_ms();
    bool late = now >= recording->deadline;
    bool whole = recording->message.size > 0;
    if (late || !whole ||
        whorl_secret_write(&message, recording->message.data, recording->message.size)) {
        whorl_secret_release(&message);
        errand_failed(errand, late ? LATE : "out of memory");
        return false;
    }
    errand->plugin->queue->flying++;
    const struct backend_listener listener = {no_progress, errand_ended, errand};
    backend_call(errand->plugin->backend, &message, recording->deadline - now, &listener);
    return true;
}

/* Leaves the message empty if it, or a record, could not be packed whole. */
static void message_pack(struct recording *recording, const char *force,
                         const struct sink_record *records, size_t count, uint64_t deadline_ms)
{
    msgpack_packer pk;
    bool whole = true;
    msgpack_packer_init(&pk, &recording->message, packed_write);
    msgpack_pack_map(&pk, 5);
    whorl_put_str(&pk, "op", "record");
    whorl_put_str(&pk, "transaction",
                  recording->transaction[0] == '\0' ? NULL : recording->transaction);
    whorl_put_str(&pk, "force", force);
    whorl_put_int(&pk, "deadline_ms", (int64_t)deadline_ms);
    whorl_put_key(&pk, "records");
    msgpack_pack_array(&pk, count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_bin_with_body(&pk, records[i].bytes, records[i].len);
        whole = whole && records[i].len > 0;
    }
    if (!whole) {
        packed_wipe(&recording->message);
    }
}

/* Sends the recording to every sink there is. */
static void errands_send(struct recording *recording)
{
    const struct setup *setup = recording->setup;
    struct errand *errands = recording->errands;
    size_t sinks = 0;
    for (size_t i = 0; i < setup->count; i++) {
        if (setup->plugins[i].queue != NULL) {
            recording->receipts[sinks].sink = setup->plugins[i].conf->name;
            errands[sinks] = (struct errand){.recording = recording,
                                             .plugin = &setup->plugins[i],
                                             .receipt = &recording->receipts[sinks]};
            sinks++;
        }
    }
    recording->sinks = sinks;
    recording->pending = sinks;
    if (sinks == 0) {
        recording_end(recording);
    }
    /* An errand may fail at once, and with the last one the recording ends. */
    for (size_t i = 0; i < sinks; i++) {
        errand_send(&errands[i]);
    }
}

void sink_write(struct setup *setup, struct log *log, const char *transaction, const char *force,
                const struct sink_record *records, size_t count, uint64_t deadline_ms,
                sink_done *done, void *ctx)
{
    struct recording *recording = calloc(1, sizeof *recording);
    struct errand *errands = calloc(setup->count + 1, sizeof *errands);
    struct sink_receipt *receipts = calloc(setup->count + 1, sizeof *receipts);
    if (recording == NULL || errands == NULL || receipts == NULL) {
        free(recording);
        free(errands);
        free(receipts);
        done(ctx, false, NULL, 0);
        return;
    }
    *recording = (struct recording){.setup = setup_ref(setup),
                                    .log = log,
                                    .deadline = now_ms() + deadline_ms,
                                    .errands = errands,
                                    .receipts = receipts,
                                    .done = done,
                                    .ctx = ctx};
    if (transaction != NULL) {
        snprintf(recording->transaction, sizeof recording->transaction, "%s", transaction);
    }
    msgpack_sbuffer_init(&recording->message);
    message_pack(recording, force, records, count, deadline_ms);
    errands_send(recording);
}
