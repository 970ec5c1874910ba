/* What a plugin's process may write on its channel, which is anything: the server's reading of it.
 * The first eight bytes are the position that was read up to and how much the child claims to have
 * written behind it; the rest stands in the ring from there on. */
#include <string.h>

#include "core/isolate/process.h"
#include "fuzz.h"

#define CALLS 4u

static void fill_ring(struct channel_reports *reports, uint32_t at, const uint8_t *bytes,
                      size_t len)
{
    for (size_t i = 0; i < len && i < CHANNEL_RING; i++) {
        reports->ring[(at + i) % CHANNEL_RING] = bytes[i];
    }
}

static void check_report(const struct process *process, const struct process_report *report)
{
    const char *payload = (const char *)process->payload;
    if (report->kind == REPORT_LOG || report->kind == REPORT_PROGRESS) {
        FUZZ_CHECK(report->text >= payload);
        FUZZ_CHECK(memchr(report->text, '\0',
                          sizeof process->payload - (size_t)(report->text - payload)) != NULL);
        FUZZ_CHECK(report->level <= WHORL_LOG_ERROR);
    } else if (report->kind == REPORT_ANSWER) {
        FUZZ_CHECK(report->len <= CHANNEL_ANSWER_MAX);
        FUZZ_CHECK((report->len == 0) == (report->bytes == NULL));
        uint8_t sum = 0;
        for (size_t i = 0; i < report->len; i++) {
            sum ^= report->bytes[i]; /* all of it can be read */
        }
        FUZZ_CHECK(sum == 0 || report->len > 0);
    } else {
        FUZZ_CHECK(report->kind == REPORT_ANSWER_PART);
    }
}

/* Everything is taken, or garbage is found; never more than was written. */
static void take_all(struct process *process, uint32_t start, uint32_t written)
{
    struct process_report report;
    const char *why = NULL;
    enum channel_take took;
    uint32_t before = start;
    while ((took = process_take(process, &report, &why)) == CHANNEL_TAKEN) {
        uint32_t taken = process->channel.orders->taken;
        check_report(process, &report);
        FUZZ_CHECK(taken - before >= sizeof(struct channel_report));
        FUZZ_CHECK(taken - start <= written);
        before = taken;
    }
    FUZZ_CHECK(took == CHANNEL_GARBAGE ? why != NULL : before - start == written);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    uint32_t start, written;
    if (len < 8) {
        return 0;
    }
    memcpy(&start, bytes, 4);
    memcpy(&written, bytes + 4, 4);
    start &= ~7u; /* the server's own, so always whole */
    struct process *process = calloc(1, sizeof *process);
    struct channel *channel = &process->channel;
    channel->shape = channel_shape(CALLS);
    channel->orders = aligned_alloc(64, channel->shape.size);
    channel->reports = aligned_alloc(64, sizeof *channel->reports);
    memset(channel->orders, 0, channel->shape.size);
    memset(channel->reports, 0, sizeof *channel->reports);
    fill_ring(channel->reports, start, bytes + 8, len - 8);
    channel->orders->taken = start;
    channel->reports->head = start + written;
    take_all(process, start, written);
    free(process->parts);
    free(channel->orders);
    free(channel->reports);
    free(process);
    return 0;
}
