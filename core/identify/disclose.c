/* An answer that goes out once more. The transaction's record covers its first disclosure; each
 * later one, to a repeat of the request, has a record of its own (DPA 2018, s.62), and doesn't
 * happen without it. */
#include <stdlib.h>
#include <string.h>

#include "core/identify/internal.h"
#include "core/packed/packed.h"

/* A copy of the answer, for the original may be evicted or wiped meanwhile. */
struct disclosure {
    struct identify *identify;
    uint64_t call;
    char transaction[STAMP_UUID_LEN + 1];
    size_t len;
    uint8_t result[];
};

static void fail(struct identify *identify, uint64_t call, const char *transaction,
                 const char *code, const char *why)
{
    log_line(identify->log, WHORL_LOG_ERROR, "no answer", "code", code, "why", why, "transaction",
             transaction, NULL);
    service_count_error(identify, code);
    identify->replies.error(identify->replies.ctx, call, code, "", why, 0);
}

static void written(void *ctx, bool stored, const struct sink_receipt *receipts, size_t count)
{
    struct disclosure *disclosure = ctx;
    struct identify *identify = disclosure->identify;
    (void)receipts;
    (void)count;
    if (stored) {
        identify->replies.result(identify->replies.ctx, disclosure->call, disclosure->result,
                                 disclosure->len);
    } else {
        fail(identify, disclosure->call, disclosure->transaction, "audit_unavailable",
             "the record of the repeated answer could not be made durable");
    }
    identify->open--;
    explicit_bzero(disclosure, sizeof *disclosure + disclosure->len);
    free(disclosure);
}

void disclose(struct identify *identify, struct setup *setup, const struct identity *who,
              const char *request_id, const char *transaction, uint64_t call, const uint8_t *result,
              size_t len)
{
    struct disclosure *disclosure = malloc(sizeof *disclosure + len);
    if (disclosure == NULL) {
        fail(identify, call, transaction, "internal", "out of memory");
        return;
    }
    *disclosure = (struct disclosure){.identify = identify, .call = call, .len = len};
    memcpy(disclosure->transaction, transaction, sizeof disclosure->transaction);
    memcpy(disclosure->result, result, len);
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    record_disclosure(who, request_id, transaction, setup->conf, &packed);
    const struct sink_record record = {(const uint8_t *)packed.data, packed.size};
    identify->open++;
    sink_write(setup, identify->log, transaction, who->officer.force, &record, 1,
               RECORD_DEADLINE_MS, written, disclosure);
    packed_wipe(&packed);
}
