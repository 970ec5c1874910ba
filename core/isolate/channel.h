/* The two rings between the server and a plugin's process, in memory that both have mapped.
 *
 * Orders go to the child: calls, cancellations, the end. The server alone writes that memory, the
 * child's mapping of it is read-only (F_SEAL_FUTURE_WRITE): messages with probes lie in it, each
 * in its call's slot, and are wiped there when the call has ended. Reports come back: answers,
 * progress, log lines. The child alone decides what stands there, so the server copies each record
 * out before it looks at it. Neither can change the size of either (F_SEAL_SHRINK, F_SEAL_GROW).
 *
 * Both are rings for one writer and one reader, whose positions only grow. A side that sleeps says
 * so first; only then does the other spend a system call on waking it. */
#ifndef CORE_ISOLATE_CHANNEL_H
#define CORE_ISOLATE_CHANNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHANNEL_RING (1u << 20)              /* bytes of the ring of reports */
#define CHANNEL_PAYLOAD_MAX (64u << 10)      /* bytes of one report behind its head */
#define CHANNEL_ANSWER_MAX ((16u << 20) + 1) /* one more than the host takes */
#define CHANNEL_STAGE_MAX 31u                /* bytes of a stage in a report of progress */
#define CHANNEL_LINE_MAX 999u                /* of a line for the log */
#define CHANNEL_CALL_BITS 16u                /* of a call's id are its slot */
#define CHANNEL_CALLS_MAX 4096u

enum channel_order_kind {
    ORDER_CALL = 1,    /* the message stands in the slot */
    ORDER_CALL_MAPPED, /* the message is a sealed memfd, which the control socket delivers */
    ORDER_CANCEL,
    ORDER_STOP,
};

struct channel_order {
    uint32_t kind, reserved;
    uint64_t call, len;
};

/* What the server writes. Behind it: the ring of orders, then the slots' live ids, then the slots'
 * messages (struct channel_shape). */
struct channel_orders {
    _Alignas(64) _Atomic uint32_t head;     /* orders written */
    _Alignas(64) _Atomic uint32_t doorbell; /* futex on which the child sleeps */
    _Alignas(64) _Atomic uint32_t sleep;    /* odd: the server sleeps; changes with every sleep */
    _Alignas(64) _Atomic uint32_t taken;    /* bytes of the ring of reports that were read */
};

/* What the child writes; the server only wipes in it what it has read. */
struct channel_reports {
    _Alignas(64) _Atomic uint32_t head;      /* bytes written */
    _Alignas(64) _Atomic uint32_t taken;     /* orders that were read */
    _Alignas(64) _Atomic uint32_t asleep;    /* the child sleeps */
    _Alignas(64) _Atomic uint32_t want_room; /* reports wait until some are read */
    _Alignas(64) uint8_t ring[CHANNEL_RING];
};

enum channel_report_kind {
    REPORT_ANSWER = 1,  /* the rest of an answer */
    REPORT_ANSWER_PART, /* its beginning; parts of two answers don't mix */
    REPORT_PROGRESS,    /* a double, then the stage */
    REPORT_LOG,         /* level; the text */
};

/* In the ring: a head, `len` bytes, then up to 7 bytes so that the next begins at a multiple of 8.
 */
struct channel_report {
    uint16_t kind, level;
    uint32_t len;
    uint64_t call;
};

/* Where things stand in the memory of orders, for so many calls at once. */
struct channel_shape {
    uint32_t calls, orders; /* places in the ring of orders, a power of two */
    size_t room;            /* bytes of a message that fit into its slot */
    size_t stride;          /* from one slot to the next */
    size_t live_at, slots_at, size;
};

/* calls: 1 to CHANNEL_CALLS_MAX. */
struct channel_shape channel_shape(uint32_t calls);

/* One side's view. */
struct channel {
    struct channel_shape shape;
    struct channel_orders *orders;
    struct channel_reports *reports;
};

struct channel_order *channel_order_at(const struct channel *channel, uint32_t position);
_Atomic uint64_t *channel_live(const struct channel *channel, uint32_t slot);
uint8_t *channel_slot(const struct channel *channel, uint32_t slot);

static inline uint32_t channel_slot_of(uint64_t call)
{
    return (uint32_t)(call & ((1u << CHANNEL_CALL_BITS) - 1));
}

/* Server: an order more. false: the child has not read as many as the ring holds, or claims to
 * have read what was not written. */
bool channel_order(const struct channel *channel, enum channel_order_kind kind, uint64_t call,
                   uint64_t len);

/* Child: a report more, in two pieces. false: no room (then nothing was written). */
bool channel_report(const struct channel *channel, const struct channel_report *head,
                    const void *first, size_t first_len, const void *rest, size_t rest_len);

enum channel_take { CHANNEL_EMPTY, CHANNEL_TAKEN, CHANNEL_GARBAGE };

/* Server: copies the next report out of memory that a hostile child may be changing meanwhile:
 * nothing of it is read twice. payload has CHANNEL_PAYLOAD_MAX bytes. What was read is wiped, and
 * its room given back. GARBAGE: *why says what is wrong; the channel is of no more use. */
enum channel_take channel_take(const struct channel *channel, struct channel_report *head,
                               uint8_t *payload, const char **why);
/* Whether channel_take would find something. */
bool channel_waiting(const struct channel *channel);

#endif
