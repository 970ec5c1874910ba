/* What the device gets back (docs/protocol.md). */
#include <string.h>

#include "core/identify/internal.h"
#include "core/packed/packed.h"

/* Two or three fields: a disabled plugin's role isn't known. */
static size_t plugin_fields(const struct setup_plugin *plugin)
{
    return plugin->descriptor != NULL ? 3 : 2;
}

static void put_plugin(msgpack_packer *pk, const char *name_key, const struct setup_plugin *plugin)
{
    const struct whorl_plugin *descriptor = plugin->descriptor;
    whorl_put_str(pk, name_key, plugin->conf->name);
    whorl_put_str(pk, "title", descriptor != NULL ? descriptor->title : plugin->conf->name);
    if (descriptor != NULL) {
        whorl_put_str(pk, "role", descriptor->role == WHORL_ROLE_SEARCH ? "search" : "lookup");
    }
}

static void put_check(msgpack_packer *pk, const struct check *check)
{
    const struct answer *answer = &check->answer;
    msgpack_pack_map(pk, plugin_fields(check->plugin) + 2 + (answer->reason[0] != '\0' ? 1u : 0u) +
                             (answer->candidates != NULL ? 1u : 0u) +
                             (answer->searched != NULL ? 1u : 0u) +
                             (answer->samples != NULL ? 1u : 0u) +
                             (answer->levels != NULL ? 1u : 0u) + (answer->age != NULL ? 1u : 0u));
    put_plugin(pk, "backend", check->plugin);
    whorl_put_str(pk, "class", answer_class_name(answer->class));
    if (answer->reason[0] != '\0') {
        whorl_put_str(pk, "reason", answer->reason);
    }
    if (answer->candidates != NULL) {
        whorl_put_object(pk, "candidates", answer->candidates);
    }
    if (answer->searched != NULL) {
        whorl_put_object(pk, "searched", answer->searched);
    }
    if (answer->samples != NULL) {
        whorl_put_object(pk, "samples", answer->samples);
    }
    if (answer->levels != NULL) {
        whorl_put_object(pk, "levels", answer->levels);
    }
    if (answer->age != NULL) {
        whorl_put_object(pk, "age", answer->age);
    }
    whorl_put_int(pk, "elapsed_ms", (int64_t)check->elapsed_ms);
}

static void put_verdict(msgpack_packer *pk, const char *key, enum claimed_verdict verdict)
{
    whorl_put_key(pk, key);
    if (verdict == CLAIMED_UNKNOWN) {
        msgpack_pack_nil(pk);
    } else if (verdict == CLAIMED_DIFFERS) {
        msgpack_pack_true(pk);
    } else {
        msgpack_pack_false(pk);
    }
}

static uint32_t found_count(const struct flow *flow)
{
    uint32_t count = 0;
    for (size_t i = 0; i < flow->check_count; i++) {
        const msgpack_object *list = flow->checks[i].answer.candidates;
        count += list == NULL ? 0 : list->via.array.size;
    }
    return count;
}

static void put_found(msgpack_packer *pk, const struct flow *flow, const struct check *check)
{
    const msgpack_object *list = check->answer.candidates;
    for (uint32_t i = 0; list != NULL && i < list->via.array.size; i++) {
        const msgpack_object *candidate = &list->via.array.ptr[i];
        msgpack_pack_map(pk, 4);
        whorl_put_str(pk, "backend", check->plugin->conf->name);
        whorl_put_object(pk, "ref", whorl_map_get(candidate, "ref"));
        put_verdict(pk, "name_differs", claimed_name(&flow->request.subject, candidate));
        put_verdict(pk, "born_differs", claimed_born(&flow->request.subject, candidate));
    }
}

static const char *or_nil(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static void put_claimed(msgpack_packer *pk, const struct flow *flow)
{
    const struct decoded_subject *subject = &flow->request.subject;
    whorl_put_key(pk, "claimed");
    msgpack_pack_map(pk, 4);
    whorl_put_str(pk, "family", or_nil(subject->family));
    whorl_put_str(pk, "given", or_nil(subject->given));
    whorl_put_str(pk, "born", or_nil(subject->born));
    whorl_put_key(pk, "found");
    msgpack_pack_array(pk, found_count(flow));
    for (size_t i = 0; i < flow->check_count; i++) {
        put_found(pk, flow, &flow->checks[i]);
    }
}

static void put_audit(msgpack_packer *pk, const struct sink_receipt *receipts, size_t count)
{
    whorl_put_key(pk, "audit");
    msgpack_pack_array(pk, count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_map(pk, 2);
        whorl_put_str(pk, "sink", receipts[i].sink);
        whorl_put_int(pk, "position", receipts[i].position);
    }
}

void result_identify(const struct flow *flow, msgpack_sbuffer *out)
{
    const struct decoded_subject *subject = &flow->request.subject;
    bool claims =
        subject->family[0] != '\0' || subject->given[0] != '\0' || subject->born[0] != '\0';
    bool claimed = claims && found_count(flow) > 0;
    bool show = flow->rule != NULL && flow->rule->show != NULL && flow->rule->show[0] != '\0';
    const char *gateway = flow->setup->conf->core.gateway;
    char time[STAMP_TIME_LEN + 1];
    stamp_time(flow->accepted, time);
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk,
                     6 + (gateway[0] != '\0' ? 1u : 0u) + (show ? 1u : 0u) + (claimed ? 1u : 0u));
    if (gateway[0] != '\0') {
        whorl_put_str(&pk, "gateway", gateway);
    }
    whorl_put_str(&pk, "transaction", flow->transaction);
    whorl_put_str(&pk, "request_id", flow->request.request_id);
    whorl_put_str(&pk, "time", time);
    if (show) {
        whorl_put_str(&pk, "show", flow->rule->show);
    }
    whorl_put_key(&pk, "answers");
    msgpack_pack_array(&pk, flow->check_count);
    for (size_t i = 0; i < flow->check_count; i++) {
        put_check(&pk, &flow->checks[i]);
    }
    if (claimed) {
        put_claimed(&pk, flow);
    }
    put_audit(&pk, flow->receipts, flow->receipt_count);
    whorl_put_int(&pk, "elapsed_ms", (int64_t)(flow_now() - flow->started));
}

void result_outcome(const char *transaction, const struct sink_receipt *receipts, size_t count,
                    msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk, 2);
    whorl_put_str(&pk, "transaction", transaction);
    put_audit(&pk, receipts, count);
}

void result_progress(const struct check *check, const char *stage, double fraction,
                     msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk, 5);
    whorl_put_str(&pk, "request_id", check->flow->request.request_id);
    whorl_put_str(&pk, "transaction", check->flow->transaction);
    whorl_put_str(&pk, "backend", check->plugin->conf->name);
    whorl_put_str(&pk, "stage", stage);
    if (fraction < 0) {
        whorl_put_str(&pk, "fraction", NULL);
    } else {
        whorl_put_real(&pk, "fraction", fraction);
    }
}

static void put_list(msgpack_packer *pk, const char *key, const char *const *list)
{
    size_t count = 0;
    while (list != NULL && list[count] != NULL) {
        count++;
    }
    whorl_put_key(pk, key);
    msgpack_pack_array(pk, count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_str_with_body(pk, list[i], strlen(list[i]));
    }
}

static void put_backends(msgpack_packer *pk, const struct setup *setup, const struct identity *who)
{
    size_t count = 0;
    for (size_t i = 0; i < setup->count; i++) {
        count += service_lists(setup, &setup->plugins[i]) ? 1 : 0;
    }
    whorl_put_key(pk, "backends");
    msgpack_pack_array(pk, count);
    for (size_t i = 0; i < setup->count; i++) {
        const struct setup_plugin *plugin = &setup->plugins[i];
        const struct whorl_plugin *descriptor = plugin->descriptor;
        if (!service_lists(setup, plugin)) {
            continue;
        }
        struct policy_decision decision;
        uint64_t wait_ms = 0;
        bool cut_off = plugin->backend != NULL && backend_is_cut_off(plugin->backend, &wait_ms);
        policy_standing(who->force, who->entitlements, plugin->conf, &decision);
        msgpack_pack_map(pk, plugin_fields(plugin) + 6 + (cut_off ? 1u : 0u));
        put_plugin(pk, "name", plugin);
        whorl_put_bool(pk, "allowed", decision.allowed);
        whorl_put_str(pk, "reason", or_nil(decision.reason));
        whorl_put_bool(pk, "available",
                       plugin->backend != NULL && !cut_off && backend_is_up(plugin->backend));
        if (cut_off) {
            whorl_put_int(pk, "retry_ms", (int64_t)wait_ms);
        }
        put_list(pk, "modalities", descriptor != NULL ? descriptor->modalities : NULL);
        put_list(pk, "formats", descriptor != NULL ? descriptor->formats : NULL);
        put_list(pk, "keys", descriptor != NULL ? descriptor->keys : NULL);
    }
}

static void put_bases(msgpack_packer *pk, const struct conf_policy *policy)
{
    whorl_put_key(pk, "bases");
    msgpack_pack_array(pk, policy->rule_count);
    for (size_t i = 0; i < policy->rule_count; i++) {
        const struct conf_rule *rule = &policy->rules[i];
        msgpack_pack_map(pk, 6);
        whorl_put_str(pk, "basis", rule->basis);
        put_list(pk, "subject", rule->subject);
        put_list(pk, "consent", rule->consent);
        put_list(pk, "backends", rule->backends);
        put_list(pk, "require", rule->require);
        whorl_put_str(pk, "show", rule->show == NULL ? NULL : or_nil(rule->show));
    }
}

/* Where the records go, and whether they could last time: without that there are no answers. Why
 * not is in the server's log, and no device's business. */
static void put_sinks(msgpack_packer *pk, const struct setup *setup)
{
    size_t count = 0;
    for (size_t i = 0; i < setup->count; i++) {
        count += setup->plugins[i].queue != NULL;
    }
    whorl_put_key(pk, "audit");
    msgpack_pack_array(pk, count);
    for (size_t i = 0; i < setup->count; i++) {
        if (setup->plugins[i].queue == NULL) {
            continue;
        }
        msgpack_pack_map(pk, 2);
        whorl_put_str(pk, "sink", setup->plugins[i].conf->name);
        whorl_put_bool(pk, "ok", !sink_failing(setup->plugins[i].queue));
    }
}

void result_capabilities(const struct setup *setup, const struct identity *who,
                         msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk, 9);
    whorl_put_str(&pk, "server", "Whorl " WHORL_VERSION);
    whorl_put_str(&pk, "device", who->device.id);
    whorl_put_str(&pk, "force", who->device.force);
    whorl_put_key(&pk, "officer");
    msgpack_pack_map(&pk, 3);
    whorl_put_str(&pk, "id", who->officer.id);
    whorl_put_str(&pk, "force", who->officer.force);
    put_list(&pk, "entitlements", who->entitlements);
    put_backends(&pk, setup, who);
    put_bases(&pk, who->force->policy);
    put_sinks(&pk, setup);
    whorl_put_int(&pk, "max_frame", (int64_t)setup->conf->core.max_frame);
    whorl_put_int(&pk, "deadline_ms", setup->conf->core.deadline_ms);
}
