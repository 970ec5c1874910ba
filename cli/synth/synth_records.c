/* The records of simulated transactions, field for field as the server writes them. */
#include <stdio.h>
#include <string.h>

#include "cli/synth/synth_draw.h"
#include "cli/synth/synth_month.h"
#include "core/identify/stamp.h"
#include "report/codes.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

static const char *const stop_powers[] = {"rta-163", "pace-1", "cjpoa-60", "mda-23", "none"};
static const uint16_t stop_weights[] = {62, 18, 3, 12, 5};
static const char *const reasons[] = {"No documents at a road check",
                                      "Name given does not match the vehicle's keeper",
                                      "Name doubted, no document",
                                      "Fail to stop, driver gave no name",
                                      "Suspected of shoplifting, refuses to give a name",
                                      "Found on enclosed premises",
                                      "Suspected of false particulars",
                                      "Wanted on warrant, says to be somebody else"};
static const uint16_t reason_code_weights[] = {0, 66, 8, 1, 4, 17, 1, 1, 1, 1};
static const uint16_t gender_weights[] = {815, 170, 5, 10};
static const uint16_t adult_ages[] = {0, 0, 29, 34, 26, 9, 2};
static const uint16_t child_ages[] = {1, 99, 0, 0, 0, 0, 0};
static const uint16_t officer_saw[] = {46, 9, 17, 17, 2, 5, 4};
static const uint16_t said[] = {38, 1, 1, 11, 2, 1, 1, 2, 4, 8, 2, 1, 3, 4, 6, 3, 1, 4, 26};
static const char *const families[] = {"Fox",   "Ahmed", "Novak", "Reid",  "Okoro", "Lewis",
                                       "Brown", "Popa",  "Khan",  "Evans", "Silva", "Doyle"};
static const char *const givens[] = {"Adam", "Leah", "Omar",  "Ivan",  "Chidi", "Sara",
                                     "Jack", "Ioan", "Aamir", "Megan", "Rui",   "Sean"};

/* All that is drawn for one use. */
struct scene {
    const struct synth_month *month;
    const struct synth_use *use;
    const struct synth_officer *officer;
    const struct conf_force *force;
    const struct conf_rule *rule;
    struct draw draw;
    char transaction[40];
    char device[65];
    const char *condition, *consent, *stop_power, *reason;
    int reason_code;
    bool refused, poor;   /* poor: no search can use the prints */
    unsigned known[2];    /* in 1000: the chance that a search of the first, or another, finds */
    bool matched_search;  /* set by the answers */
    const char *found_by; /* the search that found */
    char found[24];       /* whom */
};

uint8_t synth_reason_count(void)
{
    return COUNT(reasons);
}

/* UUID of version 7: the time, then what follows from the seed. */
void synth_name_transaction(const struct synth_use *use, char text[40])
{
    struct draw draw = {use->seed ^ 0x75756964};
    uint64_t low = draw_bits(&draw), high = draw_bits(&draw), time = (uint64_t)use->time_ms;
    snprintf(text, STAMP_UUID_LEN + 1, "%08x-%04x-7%03x-%04x-%012llx", (uint32_t)(time >> 16),
             (uint32_t)(time & 0xffff), (uint32_t)(low & 0xfff),
             (uint32_t)(0x8000 | (low >> 16 & 0x3fff)),
             (unsigned long long)(high & 0xffffffffffff));
}

/* A station's pool has a device for every third officer; who takes which changes by the day. */
void synth_name_device(const struct synth_month *month, const struct synth_use *use,
                       char device[65])
{
    const struct synth_officer *officer = &month->officers[use->officer];
    struct local_time day = period_local(use->time_ms - 7 * INT64_C(3600000));
    struct draw draw = {((uint64_t)use->officer << 16) + (uint64_t)day.day};
    snprintf(device, 65, "%.20s-b%02u-%02u", month->conf->forces[officer->force].code, use->base,
             1 + draw_below(&draw, SYNTH_POOL));
}

void synth_reference(const char *backend, uint32_t person, char text[24])
{
    snprintf(text, 24, "%.3s-%07u", backend, person);
}

static const char *first_of(conf_list list, const char *otherwise)
{
    return list[0] != NULL ? list[0] : otherwise;
}

static void set_scene(const struct synth_month *month, uint32_t index, struct scene *s)
{
    const struct synth_use *use = &month->uses[index];
    *s = (struct scene){.month = month, .use = use, .draw = {use->seed}};
    s->officer = &month->officers[use->officer];
    s->force = &month->conf->forces[s->officer->force];
    s->rule = &s->force->policy->rules[use->rule];
    synth_name_transaction(use, s->transaction);
    synth_name_device(month, use, s->device);
    s->condition = first_of(s->rule->subject, "adult");
    s->consent = first_of(s->rule->consent, "not_asked");
    s->refused = s->rule->backends[0] == NULL;
    s->stop_power = stop_powers[draw_weighted(&s->draw, stop_weights, COUNT(stop_weights))];
    s->reason = reasons[use->reason];
    s->reason_code = (int)draw_weighted(&s->draw, reason_code_weights, COUNT(reason_code_weights));
    s->poor = use->continues < 0 && draw_chance(&s->draw, 45);
    /* The person decides what is known of them; chance decides only whether it is found. */
    s->known[0] = synth_known(month, use->person, 0) ? 965 : 1;
    s->known[1] = synth_known(month, use->person, 1) ? 960 : 1;
}

static void put_head(msgpack_packer *pk, const char *kind, int64_t time_ms, const char *transaction)
{
    char time[STAMP_TIME_LEN + 1];
    stamp_time(time_ms, time);
    whorl_put_int(pk, "v", 1);
    whorl_put_str(pk, "kind", kind);
    whorl_put_str(pk, "time", time);
    whorl_put_str(pk, "transaction", transaction);
}

static void put_who(msgpack_packer *pk, const struct scene *s)
{
    whorl_put_str(pk, "device", s->device);
    whorl_put_str(pk, "officer", s->officer->id);
    whorl_put_str(pk, "force", s->force->code);
}

static void put_subject(msgpack_packer *pk, const struct scene *s)
{
    struct draw person = {s->use->person ^ (uint64_t)0x73756274};
    bool child = strcmp(s->condition, "child") == 0;
    size_t age = draw_weighted(&person, child ? child_ages : adult_ages, COUNT(adult_ages));
    size_t gender = draw_weighted(&person, gender_weights, COUNT(gender_weights));
    size_t saw = draw_weighted(&person, officer_saw, COUNT(officer_saw));
    size_t own = draw_weighted(&person, said, COUNT(said));
    bool named = !s->refused && draw_below(&person, 100) < 90;
    const char *family = families[draw_below(&person, COUNT(families))];
    const char *given = givens[draw_below(&person, COUNT(givens))];
    char born[32];
    static const int youngest[] = {0, 10, 18, 25, 35, 50, 65};
    snprintf(born, sizeof born, "%04d-%02u-%02u",
             period_local(s->use->time_ms).year - youngest[age] - 2, 1 + draw_below(&person, 12),
             1 + draw_below(&person, 28));
    whorl_put_key(pk, "subject");
    msgpack_pack_map(pk, 8);
    whorl_put_str(pk, "condition", s->condition);
    whorl_put_str(pk, "family", named ? family : NULL);
    whorl_put_str(pk, "given", named ? given : NULL);
    whorl_put_str(pk, "born", named ? born : NULL);
    whorl_put_str(pk, "gender", codes_gender.codes[gender].code);
    whorl_put_str(pk, "age_band", codes_age_band.codes[age].code);
    whorl_put_str(pk, "ethnicity_officer", codes_ethnicity_officer.codes[saw].code);
    whorl_put_str(pk, "ethnicity_self",
                  draw_chance(&person, 985) ? codes_ethnicity_self.codes[own].code : NULL);
}

static void put_samples(msgpack_packer *pk, const struct scene *s)
{
    struct draw draw = {s->use->seed ^ 0x73616d70};
    uint32_t count = s->refused ? 0 : draw_chance(&draw, 900) ? 2 : 1;
    whorl_put_key(pk, "samples");
    msgpack_pack_array(pk, count);
    for (uint32_t i = 0; i < count; i++) {
        msgpack_pack_map(pk, 4);
        whorl_put_str(pk, "modality", "finger");
        whorl_put_str(pk, "format", "png");
        whorl_put_int(pk, "position", i == 0 ? 2 : 7);
        whorl_put_int(pk, "bytes", 30000 + draw_below(&draw, 50000));
    }
}

/* One backend's answer. */
struct reply {
    const struct conf_plugin *plugin;
    bool permitted;
    unsigned class; /* codes_class */
    char reason[200];
    char ref[24];
    uint32_t elapsed_ms;
};

static bool permit(const struct scene *s, struct reply *reply)
{
    const char *name = reply->plugin->name;
    bool lookup = reply->plugin->enabled && reply->plugin->descriptor->role == WHORL_ROLE_LOOKUP;
    reply->class = CLASS_NOT_ASKED;
    if (!reply->plugin->enabled) {
        snprintf(reply->reason, sizeof reply->reason, "disabled by configuration");
    } else if (!conf_list_has(s->force->backends, name)) {
        snprintf(reply->reason, sizeof reply->reason, "not switched on for force %s",
                 s->force->code);
    } else if (!conf_list_has(s->rule->backends, name)) {
        snprintf(reply->reason, sizeof reply->reason,
                 "not permitted on basis %.64s for subject %s with consent %s", s->rule->basis,
                 s->condition, s->consent);
    } else if (lookup && !s->officer->entitled) {
        snprintf(reply->reason, sizeof reply->reason, "officer is not entitled to %s", name);
    } else {
        reply->permitted = true;
    }
    return reply->permitted;
}

static void reply_search(struct scene *s, struct reply *reply, unsigned known)
{
    reply->elapsed_ms = draw_skewed(&s->draw, 900, 1.7);
    if (draw_chance(&s->draw, 4)) {
        reply->class = CLASS_UNAVAILABLE;
        snprintf(reply->reason, sizeof reply->reason, "did not answer in time");
    } else if (s->poor) {
        reply->class = CLASS_POOR;
        snprintf(reply->reason, sizeof reply->reason, "no print can be searched: scan again");
    } else if (draw_chance(&s->draw, known)) {
        reply->class = draw_chance(&s->draw, 40) ? CLASS_POSSIBLE : CLASS_MATCH;
        synth_reference(reply->plugin->name, s->use->person, reply->ref);
        s->matched_search |= reply->class == CLASS_MATCH;
        s->found_by = reply->plugin->name;
        memcpy(s->found, reply->ref, sizeof s->found);
    } else {
        reply->class = CLASS_NO_MATCH;
    }
}

static void reply_lookup(struct scene *s, struct reply *reply)
{
    reply->elapsed_ms = draw_skewed(&s->draw, 180, 1.8);
    if (s->found[0] == '\0') {
        reply->class = CLASS_NOT_ASKED;
        snprintf(reply->reason, sizeof reply->reason, "nobody to look up: no candidate was found");
    } else if (draw_chance(&s->draw, 950)) {
        reply->class = CLASS_MATCH;
        snprintf(reply->ref, sizeof reply->ref, "R%07u", s->use->person);
    } else {
        reply->class = CLASS_NO_MATCH;
    }
}

/* Searches come before look-ups, as in the server. Returns how many backends there are. */
static size_t reply_all(struct scene *s, struct reply replies[SYNTH_RECORDS_MAX - 1])
{
    const struct conf *conf = s->month->conf;
    size_t count = 0, searches = 0;
    for (size_t i = 0; i < conf->plugin_count && count < SYNTH_RECORDS_MAX - 1; i++) {
        const struct conf_plugin *plugin = &conf->plugins[i];
        if (plugin->enabled && plugin->descriptor->role == WHORL_ROLE_SINK) {
            continue;
        }
        struct reply *reply = &replies[count++];
        *reply = (struct reply){.plugin = plugin};
        if (permit(s, reply) && plugin->descriptor->role == WHORL_ROLE_SEARCH) {
            reply_search(s, reply, s->known[searches > 0]);
            searches++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (replies[i].permitted && replies[i].plugin->descriptor->role == WHORL_ROLE_LOOKUP) {
            reply_lookup(s, &replies[i]);
        }
    }
    return count;
}

bool synth_matches(const struct synth_month *month, uint32_t use)
{
    struct scene scene;
    struct reply replies[SYNTH_RECORDS_MAX - 1];
    set_scene(month, use, &scene);
    reply_all(&scene, replies);
    return scene.matched_search;
}

static void put_ref(msgpack_packer *pk, const char *ref)
{
    whorl_put_key(pk, "candidates");
    msgpack_pack_array(pk, ref[0] != '\0');
    if (ref[0] != '\0') {
        msgpack_pack_str_with_body(pk, ref, strlen(ref));
    }
}

static void put_replies(msgpack_packer *pk, const struct reply *replies, size_t count)
{
    uint32_t elapsed = 90;
    whorl_put_key(pk, "answers");
    msgpack_pack_array(pk, count);
    for (size_t i = 0; i < count; i++) {
        const struct reply *reply = &replies[i];
        msgpack_pack_map(pk, 8);
        whorl_put_str(pk, "backend", reply->plugin->name);
        whorl_put_bool(pk, "permitted", reply->permitted);
        whorl_put_str(pk, "class", codes_class.codes[reply->class].code);
        whorl_put_str(pk, "reason", reply->reason[0] != '\0' ? reply->reason : NULL);
        put_ref(pk, reply->ref);
        whorl_put_str(pk, "levels", NULL);
        whorl_put_str(pk, "age", NULL);
        whorl_put_int(pk, "elapsed_ms", reply->elapsed_ms);
        elapsed += reply->elapsed_ms;
    }
    whorl_put_int(pk, "elapsed_ms", elapsed);
}

static void put_policy(msgpack_packer *pk, const struct scene *s)
{
    char hex[65];
    for (size_t i = 0; i < 32; i++) {
        snprintf(hex + 2 * i, 3, "%02x", s->month->conf->digest[i]);
    }
    whorl_put_str(pk, "policy", hex);
}

static void put_rule(msgpack_packer *pk, const struct scene *s)
{
    char place[4160];
    snprintf(place, sizeof place, "%s:%d", s->rule->place.file, s->rule->place.line);
    whorl_put_str(pk, "rule", place);
}

static void pack_identify(const struct scene *s, const struct reply *replies, size_t count,
                          msgpack_packer *pk)
{
    char request_id[40], before[40];
    snprintf(request_id, sizeof request_id, "r-%016llx", (unsigned long long)s->use->seed);
    msgpack_pack_map(pk, 22);
    put_head(pk, "identify", s->use->time_ms, s->transaction);
    whorl_put_str(pk, "request_id", request_id);
    put_who(pk, s);
    whorl_put_str(pk, "device_force", s->force->code);
    whorl_put_str(pk, "basis", s->rule->basis);
    whorl_put_str(pk, "stop_power", s->stop_power);
    whorl_put_str(pk, "reason", s->refused ? NULL : s->reason);
    whorl_put_int(pk, "reason_code", s->reason_code);
    whorl_put_str(pk, "consent", s->consent);
    put_subject(pk, s);
    if (s->use->continues >= 0) {
        synth_name_transaction(&s->month->uses[s->use->continues], before);
    }
    whorl_put_str(pk, "continues", s->use->continues >= 0 ? before : NULL);
    put_policy(pk, s);
    put_rule(pk, s);
    whorl_put_key(pk, "route");
    msgpack_pack_array(pk, 0);
    put_samples(pk, s);
    put_replies(pk, replies, count);
}

static void pack_lookup(const struct scene *s, const struct reply *reply, msgpack_packer *pk)
{
    msgpack_pack_map(pk, 16);
    put_head(pk, "lookup", s->use->time_ms, s->transaction);
    put_who(pk, s);
    put_policy(pk, s);
    whorl_put_str(pk, "basis", s->rule->basis);
    whorl_put_str(pk, "reason", s->reason);
    whorl_put_int(pk, "reason_code", s->reason_code);
    whorl_put_str(pk, "backend", reply->plugin->name);
    whorl_put_key(pk, "asked");
    msgpack_pack_array(pk, 1);
    msgpack_pack_map(pk, 2);
    whorl_put_key(pk, "found_for");
    msgpack_pack_map(pk, 2);
    whorl_put_str(pk, "backend", s->found_by);
    whorl_put_str(pk, "ref", s->found);
    whorl_put_key(pk, "identifiers");
    msgpack_pack_map(pk, 1);
    whorl_put_str(pk, "ref", s->found);
    whorl_put_str(pk, "class", codes_class.codes[reply->class].code);
    put_ref(pk, reply->ref);
    whorl_put_str(pk, "age", NULL);
}

static void pack_outcome(const struct scene *s, int64_t time_ms, msgpack_packer *pk)
{
    static const uint16_t found[] = {26, 4, 25, 33, 1, 1, 1, 9};
    static const uint16_t unknown[] = {6, 1, 30, 48, 1, 0, 0, 14};
    struct draw draw = {s->use->seed ^ 0x6f757463};
    size_t outcome = draw_weighted(&draw, s->matched_search ? found : unknown, COUNT(found));
    msgpack_pack_map(pk, 11);
    put_head(pk, "outcome", time_ms, s->transaction);
    put_who(pk, s);
    put_policy(pk, s);
    whorl_put_str(pk, "outcome", codes_outcome.codes[s->refused ? 3 : outcome].code);
    whorl_put_bool(pk, "contacted_control",
                   outcome == OUTCOME_ARRESTED_IMMIGRATION || draw_chance(&draw, 60));
    whorl_put_str(pk, "note", draw_chance(&draw, 100) ? "Details in the pocket notebook" : NULL);
}

static void pack_refused(const struct scene *s, int64_t time_ms, msgpack_packer *pk)
{
    static const char *const codes[][2] = {
        {"invalid", "is missing: stop_power"},
        {"officer_revoked", "this officer may not use the service at this date"},
        {"officer_not_of_force", "this device is not lent to the officer's force"},
        {"busy", "too many calls at once"}};
    static const uint16_t weights[] = {70, 8, 10, 12};
    struct draw draw = {s->use->seed ^ 0x72656675};
    const char *const *code = codes[draw_weighted(&draw, weights, COUNT(weights))];
    msgpack_pack_map(pk, 11);
    put_head(pk, "refused", time_ms, NULL);
    put_who(pk, s);
    put_policy(pk, s);
    whorl_put_str(pk, "request_id", NULL);
    whorl_put_str(pk, "code", code[0]);
    whorl_put_str(pk, "message", code[1]);
}

size_t synth_month_records(const struct synth_month *month, const struct synth_event *event,
                           msgpack_sbuffer records[SYNTH_RECORDS_MAX])
{
    struct scene scene;
    struct reply replies[SYNTH_RECORDS_MAX - 1];
    msgpack_packer pk;
    size_t count = 0;
    for (size_t i = 0; i < SYNTH_RECORDS_MAX; i++) {
        msgpack_sbuffer_clear(&records[i]);
    }
    set_scene(month, event->use, &scene);
    size_t backends = reply_all(&scene, replies);
    msgpack_packer_init(&pk, &records[count++], msgpack_sbuffer_write);
    if (event->kind == SYNTH_REFUSED) {
        pack_refused(&scene, event->time_ms, &pk);
        return count;
    }
    if (event->kind == SYNTH_OUTCOME) {
        pack_outcome(&scene, event->time_ms, &pk);
        return count;
    }
    pack_identify(&scene, replies, backends, &pk);
    for (size_t i = 0; i < backends; i++) {
        const struct reply *reply = &replies[i];
        if (reply->permitted && reply->plugin->descriptor->role == WHORL_ROLE_LOOKUP &&
            reply->class != CLASS_NOT_ASKED) {
            msgpack_packer_init(&pk, &records[count++], msgpack_sbuffer_write);
            pack_lookup(&scene, reply, &pk);
        }
    }
    return count;
}
