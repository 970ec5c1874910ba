/* A transaction's way: searches side by side, then look-ups, then the audit, then the answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/identify/internal.h"
#include "core/packed/packed.h"

#define NOT_DURABLE "the audit record could not be made durable"
#define GIVEN_UP "the gateway that asked gave it up"

static void stage_begin(struct flow *flow, enum flow_stage stage);

uint64_t flow_now(void)
{
    return uv_hrtime() / 1000000u;
}

struct flow *flow_new(struct identify *identify)
{
    const struct setup *setup = identify->setup;
    struct flow *flow = calloc(1, sizeof *flow + setup->count * sizeof *flow->checks);
    if (flow == NULL) {
        return NULL;
    }
    flow->identify = identify;
    flow->began = uv_hrtime();
    flow->setup = setup_ref(identify->setup);
    for (size_t i = 0; i < setup->count; i++) {
        if (service_lists(setup, &setup->plugins[i])) {
            struct check *check = &flow->checks[flow->check_count++];
            check->flow = flow;
            check->plugin = &setup->plugins[i];
        }
    }
    return flow;
}

void flow_free(struct flow *flow)
{
    for (size_t i = 0; i < flow->check_count; i++) {
        struct check *check = &flow->checks[i];
        free(check->people);
        answer_release(&check->answer);
    }
    if (flow->link != NULL) {
        *flow->link = flow->next;
        if (flow->next != NULL) {
            flow->next->link = flow->link;
        }
    }
    free(flow->receipts);
    decode_release(&flow->request);
    setup_unref(flow->setup);
    explicit_bzero(flow, sizeof *flow);
    free(flow);
}

void flow_join(struct flow *flow, uint64_t connection, uint64_t call)
{
    flow->waiters[flow->waiter_count].connection = connection;
    flow->waiters[flow->waiter_count].call = call;
    flow->waiter_count++;
}

/* Time is kept back for the audit, so that a late backend costs its own answer and not all. */
static uint64_t audit_reserve(const struct flow *flow)
{
    uint64_t tenth = (flow->deadline - flow->started) / 10;
    if (tenth < 200) {
        return 200;
    }
    return tenth > RECORD_DEADLINE_MS ? RECORD_DEADLINE_MS : tenth;
}

/* Replies to everybody who waits, and keeps the reply for repeats. The transaction's record is of
 * the answer to the first; those who joined get it as any repeat does. */
static void flow_reply(struct flow *flow, struct repeat_reply *reply)
{
    struct identify *identify = flow->identify;
    const struct identify_replies *replies = &identify->replies;
    flow->replied = true;
    for (size_t i = 0; i < flow->waiter_count; i++) {
        uint64_t call = flow->waiters[i].call;
        if (reply->result != NULL && i > 0) {
            disclose(identify, flow->setup, &flow->who, flow->request.request_id, flow->transaction,
                     call, reply->result, reply->len);
        } else if (reply->result != NULL) {
            replies->result(replies->ctx, call, reply->result, reply->len);
        } else {
            replies->error(replies->ctx, call, reply->code, reply->where, reply->message, 0);
        }
    }
    histogram_add(&identify->stats.identify, uv_hrtime() - flow->began);
    repeat_keep(identify->repeats, flow->repeat, reply, flow_now());
}

static void flow_fail(struct flow *flow, const char *code, const char *message)
{
    struct repeat_reply reply = {0};
    snprintf(reply.code, sizeof reply.code, "%s", code);
    snprintf(reply.message, sizeof reply.message, "%s", message);
    service_count_error(flow->identify, code);
    log_line(flow->identify->log, WHORL_LOG_ERROR, "no answer", "code", code, "why", message,
             "transaction", flow->transaction, NULL);
    flow_reply(flow, &reply);
}

static void flow_answer(struct flow *flow)
{
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    result_identify(flow, &packed);
    struct repeat_reply reply = {.result = malloc(packed.size), .len = packed.size};
    if (reply.result == NULL || packed.size == 0) {
        free(reply.result);
        packed_wipe(&packed);
        flow_fail(flow, "internal", "out of memory");
        return;
    }
    memcpy(reply.result, packed.data, packed.size);
    packed_wipe(&packed);
    for (size_t i = 0; i < flow->check_count; i++) {
        flow->identify->stats.answers[flow->checks[i].answer.class]++;
    }
    char elapsed[24];
    snprintf(elapsed, sizeof elapsed, "%llu", (unsigned long long)(flow_now() - flow->started));
    log_line(flow->identify->log, WHORL_LOG_INFO, "answered", "transaction", flow->transaction,
             "force", flow->who.officer.force, "elapsed_ms", elapsed, NULL);
    flow_reply(flow, &reply);
}

static void flow_end(struct flow *flow)
{
    if (flow->replied) {
        /* The ledger was given up on. */
    } else if (!flow->ledger_stored) {
        flow_fail(flow, "audit_unavailable", "the register of requests could not be written");
    } else if (!flow->sinks_stored) {
        flow_fail(flow, "audit_unavailable", NOT_DURABLE);
    } else {
        flow_answer(flow);
    }
    flow->identify->open--;
    flow_free(flow);
}

/* One of the things that the stage waits for has happened. */
static void stage_step(struct flow *flow)
{
    if (--flow->pending > 0) {
        return;
    }
    if (flow->stage == FLOW_RECORD) {
        flow_end(flow);
        return;
    }
    stage_begin(flow, flow->stage + 1);
}

static void check_malformed(struct check *check, const char *where, const char *why)
{
    log_line(check->flow->identify->log, WHORL_LOG_WARNING, "a backend's answer is malformed",
             "backend", check->plugin->conf->name, "field", service_loggable(where, why), "why",
             why, "transaction", check->flow->transaction, NULL);
    answer_set(&check->answer, ANSWER_UNAVAILABLE, "the backend's answer was malformed");
}

static void check_cut_off(struct check *check)
{
    uint64_t wait_ms = 0;
    backend_is_cut_off(check->plugin->backend, &wait_ms);
    answer_set(&check->answer, ANSWER_UNAVAILABLE,
               "the backend failed repeatedly and is cut off; it is tried again in %llu ms",
               (unsigned long long)wait_ms);
}

static void check_answered(struct check *check, const uint8_t *bytes, size_t len)
{
    const struct answer_question question = {.role = check->plugin->descriptor->role,
                                             .samples = check->samples,
                                             .people = check->people,
                                             .people_count = check->people_count,
                                             .people_left = check->people_left};
    struct whorl_fault fault = {0};
    if (!answer_read(bytes, len, &question, &check->answer, &fault)) {
        check_malformed(check, fault.where, fault.text);
        backend_distrust(check->plugin->backend);
    }
}

static void check_ended(void *ctx, enum backend_end end, const uint8_t *answer, size_t len)
{
    struct check *check = ctx;
    check->waiting = false;
    check->elapsed_ms = flow_now() - check->started;
    switch (end) {
    case BACKEND_ANSWERED:
    case BACKEND_FAILED:
        check_answered(check, answer, len);
        break;
    case BACKEND_TIMED_OUT:
        answer_set(&check->answer, ANSWER_UNAVAILABLE, "no answer within %llu ms",
                   (unsigned long long)check->elapsed_ms);
        break;
    case BACKEND_CANCELLED:
        answer_set(&check->answer, ANSWER_UNAVAILABLE, "%s",
                   check->flow->given_up ? GIVEN_UP : "the backend was stopped");
        break;
    case BACKEND_MALFORMED:
        check_malformed(check, "", "it is no msgpack map of bounded size");
        break;
    case BACKEND_BUSY:
        answer_set(&check->answer, ANSWER_UNAVAILABLE, "too many calls at once, try again");
        break;
    case BACKEND_CUT_OFF:
        check_cut_off(check);
        break;
    }
    stage_step(check->flow);
}

static void check_progress(void *ctx, const char *stage, double fraction)
{
    const struct check *check = ctx;
    const struct flow *flow = check->flow;
    if (check->plugin->descriptor->role == WHORL_ROLE_LOOKUP && !message_asks_anyway(check)) {
        return; /* that somebody is looked up would tell that somebody was found */
    }
    const struct identify_replies *replies = &flow->identify->replies;
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    result_progress(check, stage, fraction, &packed);
    for (size_t i = 0; i < flow->waiter_count; i++) {
        replies->notify(replies->ctx, flow->waiters[i].connection, "progress",
                        (const uint8_t *)packed.data, packed.size);
    }
    msgpack_sbuffer_destroy(&packed);
}

/* Sends a check's message; the stage waits for its end. */
static void check_call(struct check *check,
                       bool (*pack)(const struct check *check, uint64_t deadline_ms,
                                    struct whorl_secret *message))
{
    struct flow *flow = check->flow;
    check->started = flow_now();
    uint64_t until = flow->deadline - audit_reserve(flow);
    uint64_t left = until > check->started ? until - check->started : 0;
    uint64_t deadline_ms =
        left < check->plugin->conf->deadline_ms ? left : check->plugin->conf->deadline_ms;
    if (flow->given_up || deadline_ms == 0) {
        answer_set(&check->answer, ANSWER_UNAVAILABLE, "%s",
                   flow->given_up ? GIVEN_UP : "no time was left");
        return;
    }
    struct whorl_secret message = backend_buffer(check->plugin->backend);
    if (!pack(check, deadline_ms, &message)) {
        whorl_secret_release(&message);
        answer_set(&check->answer, ANSWER_UNAVAILABLE, "the server is short of protected memory");
        return;
    }
    check->asked = check->waiting = true;
    flow->pending++;
    const struct backend_listener listener = {check_progress, check_ended, check};
    check->call = backend_call(check->plugin->backend, &message, deadline_ms, &listener);
}

static void search_begin(struct check *check)
{
    const struct decoded_identify *request = &check->flow->request;
    check->samples = message_samples(request, check->plugin->descriptor);
    if (request->sample_count == 0) {
        answer_set(&check->answer, ANSWER_NOT_SEARCHED, "no sample was given");
    } else if (check->samples == 0) {
        answer_set(&check->answer, ANSWER_NOT_SEARCHED, "takes no sample of %s as %s",
                   request->samples[0].modality, request->samples[0].format);
    } else {
        check_call(check, message_search);
    }
}

static void lookup_begin(struct check *check)
{
    check->people = calloc(ANSWER_PEOPLE_MAX, sizeof *check->people);
    if (check->people == NULL) {
        answer_set(&check->answer, ANSWER_UNAVAILABLE, "the server is short of memory");
        return;
    }
    message_people(check);
    if (check->people_count == 0) {
        answer_set(&check->answer, ANSWER_NOT_SEARCHED,
                   "nobody to look up: no search found an identifier, and no name was claimed");
        return;
    }
    check_call(check, message_lookup);
}

static void checks_begin(struct flow *flow, uint32_t role, void (*begin)(struct check *check))
{
    for (size_t i = 0; i < flow->check_count; i++) {
        struct check *check = &flow->checks[i];
        if (check->decision.allowed && check->plugin->descriptor->role == role) {
            begin(check);
        }
    }
}

static void sinks_written(void *ctx, bool stored, const struct sink_receipt *receipts, size_t count)
{
    struct flow *flow = ctx;
    flow->sinks_stored = stored;
    flow->identify->stats.audited = stored;
    flow->receipts = calloc(count + 1, sizeof *flow->receipts);
    if (flow->receipts != NULL) {
        memcpy(flow->receipts, receipts, count * sizeof *receipts);
        flow->receipt_count = count;
    } else {
        flow->sinks_stored = false;
    }
    /* Whatever becomes of the ledger. */
    if (!flow->sinks_stored && !flow->ledger_done && !flow->replied) {
        flow_fail(flow, "audit_unavailable", NOT_DURABLE);
    }
    stage_step(flow);
}

static void ledger_written(void *ctx, bool stored, const struct whorl_fault *fault)
{
    struct flow *flow = ctx;
    flow->ledger_done = true;
    flow->ledger_stored = stored;
    if (!stored) {
        log_line(flow->identify->log, WHORL_LOG_ERROR, "the register of requests cannot be written",
                 "why", fault->text, "transaction", flow->transaction, NULL);
    }
    if (flow->stage == FLOW_RECORD) {
        stage_step(flow);
    }
}

/* One call to every sink, with the transaction's record and one for each look-up. */
static void record_begin(struct flow *flow)
{
    msgpack_sbuffer *packed = calloc(flow->check_count + 1, sizeof *packed);
    struct sink_record *records = calloc(flow->check_count + 1, sizeof *records);
    size_t count = 0;
    flow->pending++;
    if (packed == NULL || records == NULL) {
        sinks_written(flow, false, NULL, 0);
    } else {
        record_identify(flow, &packed[count++]);
        for (size_t i = 0; i < flow->check_count; i++) {
            const struct check *check = &flow->checks[i];
            if (check->asked && check->plugin->descriptor->role == WHORL_ROLE_LOOKUP) {
                record_lookup(check, &packed[count++]);
            }
        }
        for (size_t i = 0; i < count; i++) {
            records[i] = (struct sink_record){(const uint8_t *)packed[i].data, packed[i].size};
        }
        uint64_t now = flow_now();
        uint64_t left = flow->deadline > now ? flow->deadline - now : 0;
        uint64_t reserve = audit_reserve(flow);
        sink_write(flow->setup, flow->identify->log, flow->transaction, flow->who.force->code,
                   records, count, left > reserve ? left : reserve, sinks_written, flow);
    }
    for (size_t i = 0; i < count; i++) {
        packed_wipe(&packed[i]);
    }
    free(packed);
    free(records);
}

/* Every search has its own copy by now, in memory that will be wiped. */
static void samples_forget(struct decoded_identify *request)
{
    for (size_t i = 0; i < request->sample_count; i++) {
        request->samples[i].data = NULL;
    }
}

static void stage_begin(struct flow *flow, enum flow_stage stage)
{
    flow->stage = stage;
    flow->pending = 1; /* this function's own, so that an early end doesn't end the stage */
    switch (stage) {
    case FLOW_SEARCH:
        checks_begin(flow, WHORL_ROLE_SEARCH, search_begin);
        samples_forget(&flow->request);
        break;
    case FLOW_LOOKUP:
        checks_begin(flow, WHORL_ROLE_LOOKUP, lookup_begin);
        break;
    case FLOW_RECORD:
        flow->pending += flow->ledger_done ? 0 : 1;
        record_begin(flow);
        break;
    }
    stage_step(flow);
}

void flow_start(struct flow *flow)
{
    struct identify *identify = flow->identify;
    identify->open++;
    flow->next = identify->flows;
    flow->link = &identify->flows;
    if (flow->next != NULL) {
        flow->next->link = &flow->next;
    }
    identify->flows = flow;
    struct ledger_entry entry = {0};
    memcpy(entry.transaction, flow->transaction, sizeof entry.transaction);
    memcpy(entry.request_id, flow->request.request_id, sizeof entry.request_id);
    memcpy(entry.device, flow->who.device.id, sizeof entry.device);
    memcpy(entry.officer, flow->who.officer.id, sizeof entry.officer);
    memcpy(entry.force, flow->who.officer.force, sizeof entry.force);
    for (size_t i = 0; i < flow->check_count; i++) {
        struct check *check = &flow->checks[i];
        if (!check->decision.allowed) {
            answer_set(&check->answer, ANSWER_NOT_SEARCHED, "%s", check->decision.reason);
        }
    }
    ledger_add(identify->ledger, &entry, ledger_written, flow);
    stage_begin(flow, FLOW_SEARCH);
}

bool flow_give_up(struct flow *flow)
{
    if (flow->stage == FLOW_RECORD || flow->given_up) {
        return false;
    }
    flow->given_up = true;
    flow->pending++; /* this function's own: the stage doesn't end before all calls have */
    for (size_t i = 0; i < flow->check_count; i++) {
        if (flow->checks[i].waiting) {
            backend_cancel(flow->checks[i].plugin->backend, flow->checks[i].call);
        }
    }
    stage_step(flow);
    return true;
}

void flow_tick(struct flow *flow)
{
    if (!flow->replied && flow->stage == FLOW_RECORD && !flow->ledger_done &&
        flow_now() > flow->deadline) {
        flow_fail(flow, "audit_unavailable", "the register of requests could not be written");
    }
}
