/* The methods, by name. */
#include <openssl/rand.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/identify/internal.h"
#include "core/packed/packed.h"

#define TICK_MS 1000u
#define ZONE_CHUNK 8192u /* bytes; the tree of any usual request fits */

/* A record that no transaction waits for, and the call that is answered after it. */
struct errand {
    struct identify *identify;
    uint64_t call;
    uint64_t began;                       /* the request, in uv_hrtime's nanoseconds */
    struct refusal refusal;               /* of a refused request */
    char transaction[STAMP_UUID_LEN + 1]; /* of an outcome */
    void (*done)(void *ctx, bool stored); /* of a server's event */
    void *ctx;
};

static void expire(struct identify *identify)
{
    uint64_t keep_ms = (uint64_t)identify->setup->conf->core.repeat_s * 1000u;
    repeats_expire(identify->repeats, flow_now(), keep_ms);
}

static void tick(uv_timer_t *timer)
{
    struct identify *identify = timer->data;
    expire(identify);
    repeats_trim(identify->repeats);
    access_forget(identify);
    sink_queues_tick(&identify->queues);
    for (struct flow *flow = identify->flows; flow != NULL; flow = flow->next) {
        flow_tick(flow);
    }
}

static void find_account(struct identify *identify)
{
    const struct passwd *account = getpwuid(getuid());
    if (account != NULL) {
        (void)snprintf(identify->user, sizeof identify->user, "%s", account->pw_name);
    }
}

/* A queue is ticked for as long as it lives: calls keep the setup that they began under. */
static void use(struct identify *identify, struct setup *setup)
{
    identify->setup = setup_ref(setup);
    for (size_t i = 0; i < setup->count; i++) {
        if (setup->plugins[i].queue != NULL) {
            sink_queues_add(&identify->queues, setup->plugins[i].queue);
        }
    }
}

struct identify *identify_new(uv_loop_t *loop, struct setup *setup, struct registry *registry,
                              struct log *log, const struct identify_replies *replies,
                              struct whorl_fault *fault)
{
    struct identify *identify = calloc(1, sizeof *identify);
    if (identify == NULL || !msgpack_zone_init(&identify->zone, ZONE_CHUNK)) {
        free(identify);
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    if (RAND_priv_bytes(identify->key, sizeof identify->key) != 1) {
        msgpack_zone_destroy(&identify->zone);
        free(identify);
        whorl_fail(fault, "", "out of randomness");
        return NULL;
    }
    identify->loop = loop;
    identify->registry = registry;
    identify->log = log;
    identify->replies = *replies;
    identify->repeats = repeats_new(identify->key);
    identify->ledger = ledger_open(loop, setup->conf->core.data_dir, fault);
    if (identify->repeats == NULL) {
        whorl_fail(fault, "", "out of memory");
    }
    if (identify->repeats == NULL || identify->ledger == NULL) {
        repeats_free(identify->repeats);
        ledger_close(identify->ledger);
        msgpack_zone_destroy(&identify->zone);
        explicit_bzero(identify, sizeof *identify);
        free(identify);
        return NULL;
    }
    use(identify, setup);
    find_account(identify);
    uv_timer_init(loop, &identify->tick);
    identify->tick.data = identify;
    uv_timer_start(&identify->tick, tick, TICK_MS, TICK_MS);
    return identify;
}

void identify_use(struct identify *identify, struct setup *setup)
{
    struct setup *old = identify->setup;
    use(identify, setup);
    setup_unref(old);
}

void identify_drain(struct identify *identify)
{
    identify->draining = true;
}

size_t identify_open(const struct identify *identify)
{
    return identify->open;
}

uint64_t identify_longest(const struct identify *identify)
{
    uint64_t now = flow_now(), most = 0;
    for (const struct flow *flow = identify->flows; flow != NULL; flow = flow->next) {
        most = flow->deadline > now + most ? flow->deadline - now : most;
    }
    return most;
}

static void closed(uv_handle_t *handle)
{
    struct identify *identify = handle->data;
    msgpack_zone_destroy(&identify->zone);
    explicit_bzero(identify, sizeof *identify);
    free(identify);
}

void identify_close(struct identify *identify)
{
    repeats_free(identify->repeats);
    quotas_release(&identify->officers);
    ledger_close(identify->ledger);
    sink_queues_leave(&identify->queues);
    setup_unref(identify->setup);
    uv_close((uv_handle_t *)&identify->tick, closed);
}

bool service_lists(const struct setup *setup, const struct setup_plugin *plugin)
{
    if (plugin->descriptor != NULL) {
        return plugin->descriptor->role != WHORL_ROLE_SINK;
    }
    for (size_t i = 0; i < setup->conf->force_count; i++) {
        if (conf_list_has(setup->conf->forces[i].backends, plugin->conf->name)) {
            return true;
        }
    }
    return false;
}

/* What has happened */

const char *identify_method_name(enum identify_method method)
{
    static const char *const names[IDENTIFY_METHODS] = {
        "ping", "capabilities", "identify", "record_outcome", "cancel", "unknown"};
    return names[method];
}

const char *identify_code_name(size_t index)
{
    static const char *const names[IDENTIFY_CODES] = {"unknown_method",
                                                      "invalid",
                                                      "device_unknown",
                                                      "device_revoked",
                                                      "officer_unknown",
                                                      "officer_revoked",
                                                      "officer_not_of_force",
                                                      "busy",
                                                      "draining",
                                                      "audit_unavailable",
                                                      "conflict",
                                                      "loop",
                                                      "internal"};
    return index < IDENTIFY_CODES ? names[index] : NULL;
}

static enum identify_method method_of(const char *name)
{
    enum identify_method method = IDENTIFY_PING;
    while (method < IDENTIFY_UNKNOWN && strcmp(name, identify_method_name(method)) != 0) {
        method++;
    }
    return method;
}

void service_count_error(struct identify *identify, const char *code)
{
    size_t i = 0;
    while (i < IDENTIFY_CODES && strcmp(identify_code_name(i), code) != 0) {
        i++;
    }
    if (i < IDENTIFY_CODES) {
        identify->stats.errors[i]++;
    }
}

void identify_stats(const struct identify *identify, struct identify_stats *stats)
{
    *stats = identify->stats;
    stats->open = identify->open;
    stats->officers = identify->officers.count;
    repeats_count(identify->repeats, &stats->kept, &stats->kept_bytes);
}

static void reply_error(struct identify *identify, uint64_t call, const struct refusal *refusal)
{
    service_count_error(identify, refusal->code);
    identify->replies.error(identify->replies.ctx, call, refusal->code, refusal->where,
                            refusal->message, refusal->retry_ms);
}

/* Refusing. A request that is turned away is recorded first; if that fails the device still learns
 * why it was refused, for nothing was searched. */

static void refused_written(void *ctx, bool stored, const struct sink_receipt *receipts,
                            size_t count)
{
    (void)receipts;
    (void)count;
    struct errand *errand = ctx;
    errand->identify->stats.audited = stored;
    reply_error(errand->identify, errand->call, &errand->refusal);
    errand->identify->open--;
    /* Its texts were copied whole, with what the stack held behind them. */
    explicit_bzero(errand, sizeof *errand);
    free(errand);
}

static void send_record(struct errand *errand, const char *transaction, const char *force,
                        msgpack_sbuffer *packed, sink_done *done)
{
    const struct sink_record record = {(const uint8_t *)packed->data, packed->size};
    struct identify *identify = errand->identify;
    identify->open++;
    sink_write(identify->setup, identify->log, transaction, force, &record, 1, RECORD_DEADLINE_MS,
               done, errand);
    packed_wipe(packed);
}

/* An unregistered device is recorded by its certificate. */
static void name_device(struct identity *who, const struct identify_caller *caller)
{
    for (size_t i = 0; who->device.id[0] == '\0' && caller->certificate != NULL && i < 32; i++) {
        snprintf(who->device.note + 2 * i, 3, "%02x", caller->certificate[i]);
    }
    if (who->device.id[0] == '\0') {
        snprintf(who->device.id, sizeof who->device.id, "%.64s", who->device.note);
    }
}

const char *service_loggable(const char *where, const char *message)
{
    bool theirs = strcmp(message, "is not a known field") == 0;
    return theirs || where[0] == '\0' ? NULL : where;
}

static void turn_away(struct identify *identify, const struct identify_caller *caller,
                      struct identity *who, const char *request_id, const char *officer,
                      const struct refusal *refusal)
{
    if (strcmp(refusal->code, "busy") == 0) {
        /* Neither logged nor recorded: what is turned away for its number must cost nothing. */
        reply_error(identify, caller->call, refusal);
        return;
    }
    log_line(identify->log, WHORL_LOG_INFO, "refused", "code", refusal->code, "field",
             service_loggable(refusal->where, refusal->message), NULL);
    struct errand *errand = calloc(1, sizeof *errand);
    if (errand == NULL) {
        reply_error(identify, caller->call, refusal);
        return;
    }
    errand->identify = identify;
    errand->call = caller->call;
    errand->refusal = *refusal;
    name_device(who, caller);
    if (who->officer.id[0] == '\0' && registry_id_valid(officer, REGISTRY_OFFICER_MAX)) {
        snprintf(who->officer.id, sizeof who->officer.id, "%s", officer);
    }
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    record_refused(who, request_id, refusal, identify->setup->conf, &packed);
    const char *force = who->officer.force[0] != '\0' ? who->officer.force : who->device.force;
    send_record(errand, NULL, force, &packed, refused_written);
}

/* The method's one argument. */
static const msgpack_object *argument_of(const msgpack_object *params, struct refusal *refusal)
{
    if (params->type != MSGPACK_OBJECT_ARRAY || params->via.array.size != 1 ||
        params->via.array.ptr[0].type != MSGPACK_OBJECT_MAP) {
        refuse(refusal, "invalid", "", "the method takes one argument, a map");
        return NULL;
    }
    return &params->via.array.ptr[0];
}

static bool invalid(struct refusal *refusal, const struct whorl_fault *fault)
{
    return refuse(refusal, "invalid", fault->where, "%s", fault->text);
}

/* capabilities */

static bool capabilities(struct identify *identify, const struct identify_caller *caller,
                         const msgpack_object *params, struct identity *who, char *officer,
                         struct refusal *refusal)
{
    struct whorl_fault fault = {0};
    const msgpack_object *argument = argument_of(params, refusal);
    if (argument == NULL || !access_device(identify, caller, who, refusal)) {
        return false;
    }
    if (!decode_capabilities(argument, officer, &fault)) {
        return invalid(refusal, &fault);
    }
    if (!access_officer(identify, officer, who, refusal)) {
        return false;
    }
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    result_capabilities(identify->setup, who, &packed);
    identify->replies.result(identify->replies.ctx, caller->call, (const uint8_t *)packed.data,
                             packed.size);
    msgpack_sbuffer_destroy(&packed);
    return true;
}

/* record_outcome */

static void outcome_written(void *ctx, bool stored, const struct sink_receipt *receipts,
                            size_t count)
{
    struct errand *errand = ctx;
    struct identify *identify = errand->identify;
    identify->stats.audited = stored;
    histogram_add(&identify->stats.outcome, uv_hrtime() - errand->began);
    if (stored) {
        msgpack_sbuffer packed;
        msgpack_sbuffer_init(&packed);
        result_outcome(errand->transaction, receipts, count, &packed);
        identify->replies.result(identify->replies.ctx, errand->call, (const uint8_t *)packed.data,
                                 packed.size);
        msgpack_sbuffer_destroy(&packed);
    } else {
        struct refusal refusal;
        refuse(&refusal, "audit_unavailable", "", "the audit record could not be made durable");
        reply_error(identify, errand->call, &refusal);
    }
    identify->open--;
    free(errand);
}

/* A transaction may be referred to by officers of the force whose it is. */
static bool own_transaction(struct identify *identify, const struct identity *who,
                            const char *transaction, const char *where, struct refusal *refusal)
{
    struct whorl_fault fault = {0};
    struct ledger_entry entry;
    enum registry_found found =
        ledger_by_transaction(identify->ledger, transaction, &entry, &fault);
    if (found == REGISTRY_FAILED) {
        log_line(identify->log, WHORL_LOG_ERROR, "the register of requests cannot be read", "why",
                 fault.text, NULL);
        return refuse(refusal, "internal", "", "the register of requests cannot be read");
    }
    if (found == REGISTRY_ABSENT || strcmp(entry.force, who->officer.force) != 0) {
        return refuse(refusal, "invalid", where, "is no known transaction of force %s",
                      who->officer.force);
    }
    return true;
}

static bool outcome(struct identify *identify, const struct identify_caller *caller,
                    const msgpack_object *params, struct identity *who, char *officer,
                    struct refusal *refusal)
{
    struct whorl_fault fault = {0};
    struct decoded_outcome decoded;
    const msgpack_object *argument = argument_of(params, refusal);
    if (argument == NULL || !access_device(identify, caller, who, refusal)) {
        return false;
    }
    bool good = decode_outcome(argument, &decoded, &fault);
    snprintf(officer, REGISTRY_OFFICER_MAX + 1, "%s", decoded.officer);
    if (!good) {
        return invalid(refusal, &fault);
    }
    if (!access_officer(identify, officer, who, refusal) ||
        !own_transaction(identify, who, decoded.transaction, "transaction", refusal)) {
        return false;
    }
    struct errand *errand = calloc(1, sizeof *errand);
    if (errand == NULL) {
        return refuse(refusal, "internal", "", "out of memory");
    }
    errand->identify = identify;
    errand->call = caller->call;
    errand->began = uv_hrtime();
    memcpy(errand->transaction, decoded.transaction, sizeof errand->transaction);
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    record_outcome(who, &decoded, identify->setup->conf, &packed);
    send_record(errand, errand->transaction, who->force->code, &packed, outcome_written);
    return true;
}

/* identify */

/* Whether the request's id was used before, of which no more is known than the transaction. */
static bool never_used(const struct flow *flow, struct refusal *refusal)
{
    struct identify *identify = flow->identify;
    struct whorl_fault fault = {0};
    struct ledger_entry old;
    switch (ledger_by_request(identify->ledger, flow->who.device.id, flow->request.request_id, &old,
                              &fault)) {
    case REGISTRY_ABSENT:
        return true;
    case REGISTRY_PRESENT:
        return refuse(refusal, "conflict", "request_id",
                      "was used for transaction %s, whose answer is no longer held",
                      old.transaction);
    default:
        log_line(identify->log, WHORL_LOG_ERROR, "the register of requests cannot be read", "why",
                 fault.text, NULL);
        return refuse(refusal, "internal", "", "the register of requests cannot be read");
    }
}

/* Every check has to be a backend that there is. */
static bool checks_exist(const struct flow *flow, struct refusal *refusal)
{
    for (size_t i = 0; i < flow->request.check_count; i++) {
        bool found = false;
        for (size_t j = 0; j < flow->check_count && !found; j++) {
            found = strcmp(flow->checks[j].plugin->conf->name, flow->request.checks[i]) == 0;
        }
        if (!found) {
            char where[32];
            snprintf(where, sizeof where, "checks[%zu]", i);
            return refuse(refusal, "invalid", where, "is no backend of this server");
        }
    }
    return true;
}

static bool decide(struct flow *flow, struct refusal *refusal)
{
    const struct decoded_identify *request = &flow->request;
    const struct conf_policy *policy = flow->who.force->policy;
    const struct policy_case asked = {
        .force = flow->who.force,
        .basis = request->basis,
        .condition = request->subject.condition,
        .consent = request->consent,
        .entitlements = flow->who.entitlements,
        .checks = request->check_count > 0 ? request->checks : NULL,
    };
    if (!policy_knows_basis(policy, request->basis)) {
        return refuse(refusal, "invalid", "basis", "is no legal basis in force %s's policy",
                      flow->who.force->code);
    }
    flow->rule = policy_rule(policy, asked.basis, asked.condition, asked.consent);
    const char *missing = policy_missing(flow->rule, decode_present, request);
    if (missing != NULL) {
        return refuse(refusal, "invalid", missing, "is missing; the policy requires it here");
    }
    bool nothing =
        flow->rule == NULL || flow->rule->backends == NULL || flow->rule->backends[0] == NULL;
    if (nothing && request->sample_count > 0 && strcmp(request->consent, "refused") == 0) {
        return refuse(refusal, "invalid", "samples",
                      "must be empty: consent was refused, and nothing is permitted without it");
    }
    for (size_t i = 0; i < flow->check_count; i++) {
        policy_decide(&asked, flow->rule, flow->checks[i].plugin->conf, &flow->checks[i].decision);
    }
    return true;
}

/* The request is a repeat of this one: answers it, or joins the call to its transaction. */
static bool answer_repeat(struct flow *flow, const struct identify_caller *caller,
                          const struct repeat *entry, const uint8_t digest[32],
                          struct refusal *refusal)
{
    struct identify *identify = flow->identify;
    const struct identify_replies *replies = &identify->replies;
    if (CRYPTO_memcmp(entry->digest, digest, sizeof entry->digest) != 0) {
        return refuse(refusal, "conflict", "request_id",
                      "was used for transaction %s with other content", entry->transaction);
    }
    if (!decide(flow, refusal) || !rights_held(flow, entry->rights)) {
        return refuse(refusal, "conflict", "request_id",
                      "was used for transaction %s, to which something was permitted that is not "
                      "any more",
                      entry->transaction);
    }
    if (entry->flow != NULL) {
        struct flow *running = entry->flow;
        if (running->waiter_count == FLOW_WAITERS_MAX) {
            return refuse(refusal, "busy", "", "too many calls wait for this transaction already");
        }
        flow_join(running, caller->connection, caller->call);
    } else if (entry->reply.result != NULL) {
        disclose(identify, flow->setup, &flow->who, flow->request.request_id, entry->transaction,
                 caller->call, entry->reply.result, entry->reply.len);
    } else {
        replies->error(replies->ctx, caller->call, entry->reply.code, entry->reply.where,
                       entry->reply.message, 0);
    }
    return true;
}

/* Everything up to the first search. *answered: it was a repeat. */
static bool prepare(struct flow *flow, const struct identify_caller *caller,
                    const msgpack_object *params, bool *answered, struct refusal *refusal)
{
    struct identify *identify = flow->identify;
    struct whorl_fault fault = {0};
    uint8_t digest[32];
    const msgpack_object *argument = argument_of(params, refusal);
    if (argument == NULL || !access_device(identify, caller, &flow->who, refusal)) {
        return false;
    }
    if (!decode_identify(argument, &flow->request, &fault)) {
        return invalid(refusal, &fault);
    }
    if (!access_officer(identify, flow->request.officer, &flow->who, refusal) ||
        !access_route(identify, &flow->who, &flow->request, refusal)) {
        return false;
    }
    expire(identify);
    const struct repeat *entry =
        repeat_find(identify->repeats, flow->who.device.id, flow->request.request_id);
    *answered = entry != NULL;
    /* Whether there is room comes before what takes time: a flood must not cost those their answer
     * who are in. */
    if (entry == NULL &&
        (!checks_exist(flow, refusal) || !decide(flow, refusal) || !room_for(flow, refusal) ||
         !never_used(flow, refusal) ||
         (flow->request.continues[0] != '\0' &&
          !own_transaction(identify, &flow->who, flow->request.continues, "continues", refusal)))) {
        return false;
    }
    if (!decode_digest(&flow->request, identify->key, digest)) {
        return refuse(refusal, "internal", "", "out of memory");
    }
    if (entry != NULL) {
        return answer_repeat(flow, caller, entry, digest, refusal);
    }
    flow->accepted = stamp_now();
    flow->started = flow_now();
    uint64_t most = flow->setup->conf->core.deadline_ms;
    uint64_t wanted =
        flow->request.deadline_ms != DECODE_ABSENT ? (uint64_t)flow->request.deadline_ms : most;
    flow->deadline = flow->started + (wanted < most ? wanted : most);
    if (stamp_uuid(flow->accepted, flow->transaction)) {
        flow->repeat = repeat_add(identify->repeats, flow->who.device.id, flow->request.request_id,
                                  digest, flow->transaction, rights_of(flow), flow);
    }
    return flow->repeat != NULL || refuse(refusal, "internal", "", "out of memory");
}

/* cancel */

static bool cancel(struct identify *identify, const struct identify_caller *caller,
                   const msgpack_object *params, struct identity *who, struct refusal *refusal)
{
    struct whorl_fault fault = {0};
    char request_id[DECODE_REQUEST_MAX + 1] = "";
    const msgpack_object *argument = argument_of(params, refusal);
    if (argument == NULL || !access_device(identify, caller, who, refusal)) {
        return false;
    }
    if (!who->device.gateway) {
        return refuse(refusal, "invalid", "", "only a gateway may give a request up");
    }
    if (!decode_cancel(argument, request_id, &fault)) {
        return invalid(refusal, &fault);
    }
    struct repeat *entry = repeat_find(identify->repeats, who->device.id, request_id);
    bool running = entry != NULL && entry->flow != NULL && flow_give_up(entry->flow);
    msgpack_sbuffer packed;
    msgpack_packer pk;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pk, &packed, packed_write);
    msgpack_pack_map(&pk, 1);
    whorl_put_bool(&pk, "cancelled", running);
    identify->replies.result(identify->replies.ctx, caller->call, (const uint8_t *)packed.data,
                             packed.size);
    msgpack_sbuffer_destroy(&packed);
    return true;
}

static void identify_call(struct identify *identify, const struct identify_caller *caller,
                          const msgpack_object *params)
{
    struct refusal refusal;
    bool answered = false;
    refusal.retry_ms = 0;
    struct flow *flow = flow_new(identify);
    if (flow == NULL) {
        refuse(&refusal, "internal", "", "out of memory");
        reply_error(identify, caller->call, &refusal);
        return;
    }
    if (!prepare(flow, caller, params, &answered, &refusal)) {
        turn_away(identify, caller, &flow->who, flow->request.request_id, flow->request.officer,
                  &refusal);
        flow_free(flow);
        return;
    }
    if (answered) {
        flow_free(flow);
        return;
    }
    flow_join(flow, caller->connection, caller->call);
    flow_start(flow);
}

/* A method that is for registered devices. */
static void serve(struct identify *identify, const struct identify_caller *caller,
                  enum identify_method method, const msgpack_object *params)
{
    struct refusal refusal = {0};
    struct identity who = {0};
    char officer[REGISTRY_OFFICER_MAX + 1] = "";
    if (method == IDENTIFY_IDENTIFY) {
        identify_call(identify, caller, params);
        return;
    }
    bool good = method == IDENTIFY_CAPABILITIES
                    ? capabilities(identify, caller, params, &who, officer, &refusal)
                : method == IDENTIFY_CANCEL
                    ? cancel(identify, caller, params, &who, &refusal)
                    : outcome(identify, caller, params, &who, officer, &refusal);
    if (!good) {
        turn_away(identify, caller, &who, "", officer, &refusal);
    }
}

/* What needs an answer that is looked for. Apart, since the room for a refusal is made anew for
 * each request, and is more than all that a ping takes. */
static void serve_or_refuse(struct identify *identify, const struct identify_caller *caller,
                            enum identify_method method, const uint8_t *params, size_t len)
{
    struct refusal refusal;
    msgpack_object tree;
    refusal.retry_ms = 0;
    if (identify->draining) {
        refuse(&refusal, "draining", "", "the server is stopping");
    } else if (method == IDENTIFY_UNKNOWN) {
        refuse(&refusal, "unknown_method", "", "there is no such method");
    } else if (method == IDENTIFY_IDENTIFY && room_is_out(identify, params, len)) {
        room_refuse(&refusal);
    } else {
        msgpack_zone_clear(&identify->zone);
        if (whorl_msg_build(params, len, &identify->zone, &tree, NULL)) {
            serve(identify, caller, method, &tree);
            return;
        }
        refuse(&refusal, "busy", "", "out of memory");
    }
    reply_error(identify, caller->call, &refusal);
}

void identify_request(struct identify *identify, const struct identify_caller *caller,
                      const char *method, const uint8_t *params, size_t len)
{
    static const uint8_t pong[] = {0xa4, 'p', 'o', 'n', 'g'};
    enum identify_method known = method_of(method);
    identify->stats.requests[known]++;
    if (known == IDENTIFY_PING && !identify->draining) {
        identify->replies.result(identify->replies.ctx, caller->call, pong, sizeof pong);
    } else {
        serve_or_refuse(identify, caller, known, params, len);
    }
}

/* Events of the server itself. */

static void event_written(void *ctx, bool stored, const struct sink_receipt *receipts, size_t count)
{
    (void)receipts;
    (void)count;
    struct errand *errand = ctx;
    errand->identify->stats.audited = stored;
    errand->identify->open--;
    if (errand->done != NULL) {
        errand->done(errand->ctx, stored);
    }
    free(errand);
}

void identify_record_event(struct identify *identify, const char *event, const uint8_t *before,
                           void (*done)(void *ctx, bool stored), void *ctx)
{
    struct errand *errand = calloc(1, sizeof *errand);
    if (errand == NULL) {
        if (done != NULL) {
            done(ctx, false);
        }
        return;
    }
    *errand = (struct errand){.identify = identify, .done = done, .ctx = ctx};
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    record_server(identify, event, before, &packed);
    send_record(errand, NULL, NULL, &packed, event_written);
}
