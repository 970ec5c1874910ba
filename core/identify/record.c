/* Audit records, in the form of docs/plugins.md. Every field is always there, nil where there is
 * nothing to say. Nothing biometric: of a sample its kind and size, of a candidate its id. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/identify/internal.h"
#include "core/packed/packed.h"

static const char *or_nil(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static void put_int_or_nil(msgpack_packer *pk, const char *key, int64_t value)
{
    if (value == DECODE_ABSENT) {
        whorl_put_str(pk, key, NULL);
    } else {
        whorl_put_int(pk, key, value);
    }
}

static void put_hex(msgpack_packer *pk, const char *key, const uint8_t bytes[32])
{
    static const char digits[] = "0123456789abcdef";
    char hex[65] = "";
    for (size_t i = 0; i < 32; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    whorl_put_str(pk, key, hex);
}

/* Four fields. */
static void put_head(msgpack_packer *pk, const char *kind, const char *transaction)
{
    char time[STAMP_TIME_LEN + 1];
    stamp_time(stamp_now(), time);
    whorl_put_int(pk, "v", 1);
    whorl_put_str(pk, "kind", kind);
    whorl_put_str(pk, "time", time);
    whorl_put_str(pk, "transaction", transaction);
}

static void put_subject(msgpack_packer *pk, const struct decoded_subject *subject)
{
    whorl_put_key(pk, "subject");
    msgpack_pack_map(pk, 8);
    whorl_put_str(pk, "condition", subject->condition);
    whorl_put_str(pk, "family", or_nil(subject->family));
    whorl_put_str(pk, "given", or_nil(subject->given));
    whorl_put_str(pk, "born", or_nil(subject->born));
    whorl_put_str(pk, "gender", or_nil(subject->gender));
    whorl_put_str(pk, "age_band", or_nil(subject->age_band));
    whorl_put_str(pk, "ethnicity_officer", or_nil(subject->ethnicity_officer));
    whorl_put_str(pk, "ethnicity_self", or_nil(subject->ethnicity_self));
}

static void put_samples(msgpack_packer *pk, const struct decoded_identify *request)
{
    whorl_put_key(pk, "samples");
    msgpack_pack_array(pk, request->sample_count);
    for (size_t i = 0; i < request->sample_count; i++) {
        const struct decoded_sample *sample = &request->samples[i];
        msgpack_pack_map(pk, 4);
        whorl_put_str(pk, "modality", sample->modality);
        whorl_put_str(pk, "format", sample->format);
        put_int_or_nil(pk, "position", sample->position);
        whorl_put_int(pk, "bytes", sample->len);
    }
}

static void put_refs(msgpack_packer *pk, const struct answer *answer)
{
    const msgpack_object *list = answer->candidates;
    uint32_t count = list == NULL ? 0 : list->via.array.size;
    whorl_put_key(pk, "candidates");
    msgpack_pack_array(pk, count);
    for (uint32_t i = 0; i < count; i++) {
        msgpack_pack_object(pk, *whorl_map_get(&list->via.array.ptr[i], "ref"));
    }
}

/* Whom a backend passed the call on to, and what each said. */
static void put_levels(msgpack_packer *pk, const msgpack_object *list)
{
    static const char *const kept[] = {"gateway", "backend", "class"};
    whorl_put_key(pk, "levels");
    if (list == NULL) {
        msgpack_pack_nil(pk);
        return;
    }
    msgpack_pack_array(pk, list->via.array.size);
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        msgpack_pack_map(pk, 3);
        for (size_t j = 0; j < 3; j++) {
            whorl_put_object(pk, kept[j], whorl_map_get(&list->via.array.ptr[i], kept[j]));
        }
    }
}

/* How old the copy was that was searched or looked up in: what the answer rests on. */
static void put_age(msgpack_packer *pk, const struct answer *answer)
{
    static const msgpack_object nil = {.type = MSGPACK_OBJECT_NIL};
    whorl_put_object(pk, "age", answer->age != NULL ? answer->age : &nil);
}

static void put_answers(msgpack_packer *pk, const struct flow *flow)
{
    whorl_put_key(pk, "answers");
    msgpack_pack_array(pk, flow->check_count);
    for (size_t i = 0; i < flow->check_count; i++) {
        const struct check *check = &flow->checks[i];
        msgpack_pack_map(pk, 8);
        whorl_put_str(pk, "backend", check->plugin->conf->name);
        whorl_put_bool(pk, "permitted", check->decision.allowed);
        whorl_put_str(pk, "class", answer_class_name(check->answer.class));
        whorl_put_str(pk, "reason", or_nil(check->answer.reason));
        put_refs(pk, &check->answer);
        put_levels(pk, check->answer.levels);
        put_age(pk, &check->answer);
        whorl_put_int(pk, "elapsed_ms", (int64_t)check->elapsed_ms);
    }
}

static void put_route(msgpack_packer *pk, const struct decoded_identify *request)
{
    whorl_put_key(pk, "route");
    msgpack_pack_array(pk, request->route_count);
    for (size_t i = 0; i < request->route_count; i++) {
        msgpack_pack_str_with_body(pk, request->route[i], strlen(request->route[i]));
    }
}

static void put_rule(msgpack_packer *pk, const struct conf_rule *rule)
{
    char place[4160];
    if (rule == NULL) {
        whorl_put_str(pk, "rule", "none fits: denied by default");
        return;
    }
    snprintf(place, sizeof place, "%s:%d", rule->place.file, rule->place.line);
    whorl_put_str(pk, "rule", place);
}

void record_identify(const struct flow *flow, msgpack_sbuffer *out)
{
    const struct decoded_identify *request = &flow->request;
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk, 22);
    put_head(&pk, "identify", flow->transaction);
    whorl_put_str(&pk, "request_id", request->request_id);
    whorl_put_str(&pk, "device", flow->who.device.id);
    whorl_put_str(&pk, "device_force", flow->who.device.force);
    whorl_put_str(&pk, "officer", flow->who.officer.id);
    whorl_put_str(&pk, "force", flow->who.officer.force);
    whorl_put_str(&pk, "basis", request->basis);
    whorl_put_str(&pk, "stop_power", or_nil(request->stop_power));
    whorl_put_str(&pk, "reason", or_nil(request->reason));
    put_int_or_nil(&pk, "reason_code", request->reason_code);
    whorl_put_str(&pk, "consent", request->consent);
    put_subject(&pk, &request->subject);
    whorl_put_str(&pk, "continues", or_nil(request->continues));
    put_hex(&pk, "policy", flow->setup->conf->digest);
    put_rule(&pk, flow->rule);
    put_route(&pk, request);
    put_samples(&pk, request);
    put_answers(&pk, flow);
    whorl_put_int(&pk, "elapsed_ms", (int64_t)(flow_now() - flow->started));
}

void record_lookup(const struct check *check, msgpack_sbuffer *out)
{
    const struct flow *flow = check->flow;
    const struct decoded_identify *request = &flow->request;
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk, 16);
    put_head(&pk, "lookup", flow->transaction);
    whorl_put_str(&pk, "device", flow->who.device.id);
    whorl_put_str(&pk, "officer", flow->who.officer.id);
    whorl_put_str(&pk, "force", flow->who.officer.force);
    whorl_put_str(&pk, "basis", request->basis);
    whorl_put_str(&pk, "reason", or_nil(request->reason));
    put_int_or_nil(&pk, "reason_code", request->reason_code);
    put_hex(&pk, "policy", flow->setup->conf->digest);
    whorl_put_str(&pk, "backend", check->plugin->conf->name);
    whorl_put_key(&pk, "asked");
    msgpack_pack_array(&pk, check->people_count);
    for (size_t i = 0; i < check->people_count; i++) {
        message_person(&pk, &check->people[i], check->plugin->descriptor->keys);
    }
    whorl_put_str(&pk, "class", answer_class_name(check->answer.class));
    put_refs(&pk, &check->answer);
    put_age(&pk, &check->answer);
}

void record_refused(const struct identity *who, const char *request_id,
                    const struct refusal *refusal, const struct conf *conf, msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk, 11);
    put_head(&pk, "refused", NULL);
    whorl_put_str(&pk, "device", or_nil(who->device.id));
    whorl_put_str(&pk, "officer", or_nil(who->officer.id));
    whorl_put_str(&pk, "force", or_nil(who->officer.force));
    whorl_put_str(&pk, "request_id", or_nil(request_id));
    put_hex(&pk, "policy", conf->digest);
    whorl_put_str(&pk, "code", refusal->code);
    whorl_put_str(&pk, "message", refusal->message);
}

void record_outcome(const struct identity *who, const struct decoded_outcome *outcome,
                    const struct conf *conf, msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk, 11);
    put_head(&pk, "outcome", outcome->transaction);
    whorl_put_str(&pk, "device", who->device.id);
    whorl_put_str(&pk, "officer", who->officer.id);
    whorl_put_str(&pk, "force", who->officer.force);
    put_hex(&pk, "policy", conf->digest);
    whorl_put_str(&pk, "outcome", outcome->outcome);
    if (outcome->contacted_control == DECODE_ABSENT) {
        whorl_put_str(&pk, "contacted_control", NULL);
    } else {
        whorl_put_bool(&pk, "contacted_control", outcome->contacted_control != 0);
    }
    whorl_put_str(&pk, "note", or_nil(outcome->note));
}

void record_disclosure(const struct identity *who, const char *request_id, const char *transaction,
                       const struct conf *conf, msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk, 9);
    put_head(&pk, "disclosure", transaction);
    whorl_put_str(&pk, "request_id", request_id);
    whorl_put_str(&pk, "device", who->device.id);
    whorl_put_str(&pk, "officer", who->officer.id);
    whorl_put_str(&pk, "force", who->officer.force);
    put_hex(&pk, "policy", conf->digest);
}

void record_server(const struct identify *identify, const char *event, const uint8_t *before,
                   msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk, 9);
    put_head(&pk, "server", NULL);
    whorl_put_str(&pk, "event", event);
    whorl_put_int(&pk, "uid", (int64_t)getuid());
    whorl_put_str(&pk, "user", or_nil(identify->user));
    put_hex(&pk, "policy", identify->setup->conf->digest);
    if (before != NULL) {
        put_hex(&pk, "policy_before", before);
    } else {
        whorl_put_str(&pk, "policy_before", NULL);
    }
}
