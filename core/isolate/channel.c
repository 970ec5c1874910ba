#include "core/isolate/channel.h"

#include <string.h>

#define ROOM_MIN 512u
#define ROOM_MAX 4096u
#define ROOM_ALL (2u << 20) /* that the slots of one child have together, roughly */
#define ORDERS_MIN 64u

static uint32_t power_of_two(uint32_t least)
{
    uint32_t power = 1;
    while (power < least) {
        power *= 2;
    }
    return power;
}

struct channel_shape channel_shape(uint32_t calls)
{
    struct channel_shape shape = {.calls = calls};
    /* A call has an order to begin it and one to cancel it; both may be unread of the call that a
     * slot had before, too. */
    uint32_t orders = power_of_two(4 * calls);
    shape.orders = orders < ORDERS_MIN ? ORDERS_MIN : orders;
    shape.room = ROOM_MAX;
    while (shape.room > ROOM_MIN && shape.room * calls > ROOM_ALL) {
        shape.room /= 2;
    }
    /* A line more, lest all slots fall on the same few lines of a processor's cache. */
    shape.stride = shape.room + 64;
    shape.live_at = sizeof(struct channel_orders) + shape.orders * sizeof(struct channel_order);
    shape.slots_at = (shape.live_at + calls * sizeof(uint64_t) + 63) / 64 * 64;
    shape.size = (shape.slots_at + calls * shape.stride + 4095) / 4096 * 4096;
    return shape;
}

static uint8_t *orders_at(const struct channel *channel, size_t offset)
{
    return (uint8_t *)channel->orders + offset;
}

struct channel_order *channel_order_at(const struct channel *channel, uint32_t position)
{
    size_t index = position & (channel->shape.orders - 1);
    return (void *)orders_at(channel,
                             sizeof(struct channel_orders) + index * sizeof(struct channel_order));
}

_Atomic uint64_t *channel_live(const struct channel *channel, uint32_t slot)
{
    return (void *)orders_at(channel, channel->shape.live_at + slot * sizeof(uint64_t));
}

uint8_t *channel_slot(const struct channel *channel, uint32_t slot)
{
    return orders_at(channel, channel->shape.slots_at + slot * channel->shape.stride);
}

bool channel_order(const struct channel *channel, enum channel_order_kind kind, uint64_t call,
                   uint64_t len)
{
    struct channel_orders *orders = channel->orders;
    uint32_t head = atomic_load_explicit(&orders->head, memory_order_relaxed);
    uint32_t taken = atomic_load_explicit(&channel->reports->taken, memory_order_acquire);
    if (head - taken >= channel->shape.orders) {
        return false;
    }
    *channel_order_at(channel, head) = (struct channel_order){kind, 0, call, len};
    atomic_store_explicit(&orders->head, head + 1, memory_order_release);
    return true;
}

static size_t padded(size_t len)
{
    return (len + 7) & ~(size_t)7;
}

static void ring_write(struct channel_reports *reports, uint32_t at, const void *bytes, size_t len)
{
    uint32_t start = at & (CHANNEL_RING - 1);
    size_t before_end = CHANNEL_RING - start;
    size_t first = len < before_end ? len : before_end;
    if (first > 0) {
        memcpy(reports->ring + start, bytes, first);
    }
    if (len > first) {
        memcpy(reports->ring, (const uint8_t *)bytes + first, len - first);
    }
}

bool channel_report(const struct channel *channel, const struct channel_report *head,
                    const void *first, size_t first_len, const void *rest, size_t rest_len)
{
    struct channel_reports *reports = channel->reports;
    uint32_t at = atomic_load_explicit(&reports->head, memory_order_relaxed);
    uint32_t taken = atomic_load_explicit(&channel->orders->taken, memory_order_acquire);
    size_t size = sizeof *head + padded(first_len + rest_len);
    if (size > CHANNEL_RING - (at - taken)) {
        return false;
    }
    struct channel_report whole = *head;
    whole.len = (uint32_t)(first_len + rest_len);
    ring_write(reports, at, &whole, sizeof whole);
    ring_write(reports, at + (uint32_t)sizeof whole, first, first_len);
    ring_write(reports, at + (uint32_t)(sizeof whole + first_len), rest, rest_len);
    atomic_store_explicit(&reports->head, at + (uint32_t)size, memory_order_release);
    return true;
}

/* Copies out and wipes. */
static void ring_read(struct channel_reports *reports, uint32_t at, void *bytes, size_t len)
{
    uint32_t start = at & (CHANNEL_RING - 1);
    size_t before_end = CHANNEL_RING - start;
    size_t first = len < before_end ? len : before_end;
    if (first > 0) {
        memcpy(bytes, reports->ring + start, first);
        explicit_bzero(reports->ring + start, first);
    }
    if (len > first) {
        memcpy((uint8_t *)bytes + first, reports->ring, len - first);
        explicit_bzero(reports->ring, len - first);
    }
}

static const char *fault_of(const struct channel_report *head, uint32_t written)
{
    if (head->kind < REPORT_ANSWER || head->kind > REPORT_LOG) {
        return "a report of an unknown kind";
    }
    if (head->len > CHANNEL_PAYLOAD_MAX) {
        return "a report that is too long";
    }
    if (sizeof *head + padded(head->len) > written) {
        return "a report that goes on past what was written";
    }
    if (head->kind == REPORT_ANSWER_PART && head->len == 0) {
        return "a part of an answer without content";
    }
    if (head->kind == REPORT_PROGRESS && head->len < sizeof(double)) {
        return "progress without a fraction";
    }
    if (head->kind == REPORT_PROGRESS && head->len > sizeof(double) + CHANNEL_STAGE_MAX) {
        return "progress with a stage that is too long";
    }
    if (head->kind == REPORT_LOG && head->len > CHANNEL_LINE_MAX) {
        return "a line for the log that is too long";
    }
    return NULL;
}

enum channel_take channel_take(const struct channel *channel, struct channel_report *head,
                               uint8_t *payload, const char **why)
{
    struct channel_reports *reports = channel->reports;
    uint32_t taken = atomic_load_explicit(&channel->orders->taken, memory_order_relaxed);
    uint32_t written = atomic_load_explicit(&reports->head, memory_order_acquire) - taken;
    if (written == 0) {
        return CHANNEL_EMPTY;
    }
    if (written > CHANNEL_RING || written % 8 != 0 || written < sizeof *head) {
        *why = "a position outside its ring";
        return CHANNEL_GARBAGE;
    }
    ring_read(reports, taken, head, sizeof *head);
    *why = fault_of(head, written);
    if (*why) {
        return CHANNEL_GARBAGE;
    }
    ring_read(reports, taken + (uint32_t)sizeof *head, payload, head->len);
    taken += (uint32_t)(sizeof *head + padded(head->len));
    atomic_store_explicit(&channel->orders->taken, taken, memory_order_release);
    return CHANNEL_TAKEN;
}

bool channel_waiting(const struct channel *channel)
{
    return atomic_load_explicit(&channel->reports->head, memory_order_acquire) !=
           atomic_load_explicit(&channel->orders->taken, memory_order_relaxed);
}
