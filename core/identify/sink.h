/* Audit records on their way to every sink. Loop thread only. */
#ifndef CORE_SINK_H
#define CORE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/identify/setup.h"
#include "core/log/log.h"

struct sink_queue *sink_queue_new(void);
struct sink_queue *sink_queue_ref(struct sink_queue *queue);
void sink_queue_unref(struct sink_queue *queue);
/* Messages that wait. */
size_t sink_queue_waiting(const struct sink_queue *queue);

/* A list of queues, each of which leaves it when it goes. */
struct sink_queues {
    struct sink_queue *first;
};

/* No more than once: a queue that is in the list stays where it is. */
void sink_queues_add(struct sink_queues *queues, struct sink_queue *queue);
/* Fails those in any of them whose deadline is past. To be called now and then. */
void sink_queues_tick(struct sink_queues *queues);
/* Empties the list, whose queues may live on. */
void sink_queues_leave(struct sink_queues *queues);

/* Whether the sink could not store the last records that it was given. */
bool sink_failing(const struct sink_queue *queue);

/* One audit record: a packed map. */
struct sink_record {
    const uint8_t *bytes;
    size_t len;
};

/* One sink's receipt. */
struct sink_receipt {
    const char *sink; /* its name */
    bool stored;
    int64_t position; /* log index of the last record, if stored */
};

/* Reads what a sink answers: {stored: true, position, hash}, or {stored: false, reason}, whose
 * reason goes to fault->text. Leaves receipt->sink alone. false with *fault if it is neither.
 * Pure function. */
bool sink_receipt_read(const uint8_t *bytes, size_t len, struct sink_receipt *receipt,
                       struct whorl_fault *fault);

/* stored: there is at least one sink and every one of them has stored all the records. The
 * receipts live until the return. */
typedef void sink_done(void *ctx, bool stored, const struct sink_receipt *receipts, size_t count);

/* Sends the records, in one call, to every sink of the setup; they are copied. transaction may be
 * NULL where there is none. A sink that is busy is waited for until the deadline, in order. done is
 * called once, possibly before the return. */
void sink_write(struct setup *setup, struct log *log, const char *transaction, const char *force,
                const struct sink_record *records, size_t count, uint64_t deadline_ms,
                sink_done *done, void *ctx);

#endif
