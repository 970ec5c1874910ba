/* missing-persons: a look-up backend for Whorl. Whoever a search has found, or who somebody claims
 * to be, is looked for among a force's records of missing persons (records.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "records.h"
#include "whorl/answer.h"
#include "whorl/msg.h"

enum { PEOPLE_MAX = 20, CANDIDATES_MAX = 20 };

struct instance {
    const struct whorl_host *host;
    struct records *records; /* never changes: another file is another instance */
};

/* One call on its way. The message is the host's until the call is completed. */
struct lookup {
    struct instance *instance;
    uint64_t call;
    const uint8_t *message;
    size_t len;
};

struct candidate {
    const struct record *record;
    const char *by;                  /* the key that it was found by */
    const msgpack_object *found_for; /* NULL: by what was claimed */
};

struct found {
    struct candidate list[CANDIDATES_MAX];
    size_t count;
    bool more;                       /* than fit */
    unsigned asked, blank;           /* people with something to look for, and without */
    const char *by;                  /* of what is being looked for just now */
    const msgpack_object *found_for; /* likewise */
};

static int check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    struct records *records = records_read(settings->string(settings, NULL, "records"), fault);
    records_free(records);
    return records ? 0 : -1;
}

static int start(const struct whorl_host *host, void **out, struct whorl_fault *fault)
{
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance) {
        whorl_fail(fault, "", "out of memory");
        return -1;
    }
    instance->host = host;
    instance->records =
        records_read(host->settings->string(host->settings, NULL, "records"), fault);
    if (!instance->records) {
        free(instance);
        return -1;
    }
    *out = instance;
    return 0;
}

static void stop(void *arg)
{
    struct instance *instance = arg;
    records_free(instance->records);
    free(instance);
}

/* --- answering --- */

static void finish(struct lookup *lookup, struct whorl_answer *answer)
{
    whorl_answer_give(answer, lookup->instance->host, lookup->call, WHORL_ROLE_LOOKUP);
    whorl_answer_drop(answer);
    free(lookup);
}

static void finish_without(struct lookup *lookup, const char *class, const char *reason)
{
    struct whorl_answer answer;
    whorl_answer_begin(&answer);
    msgpack_pack_map(&answer.pk, reason ? 2 : 1);
    whorl_put_str(&answer.pk, "class", class);
    if (reason) {
        whorl_put_str(&answer.pk, "reason", reason);
    }
    finish(lookup, &answer);
}

static void put_detail(msgpack_packer *pk, const char *label, const char *value, const char *level)
{
    msgpack_pack_map(pk, 3);
    whorl_put_str(pk, "label", label);
    whorl_put_str(pk, "value", value);
    whorl_put_str(pk, "level", level);
}

/* How loudly the officer is told depends on the risk that the force has assessed. */
static const char *level_of(const struct record *record)
{
    return strcmp(record->risk, "high") == 0     ? "alert"
           : strcmp(record->risk, "medium") == 0 ? "warning"
                                                 : "info";
}

static void put_details(msgpack_packer *pk, const struct record *record)
{
    char missing[700];
    snprintf(missing, sizeof missing, "since %s, %s, reference %s", record->since, record->force,
             record->reference);
    whorl_put_key(pk, "details");
    msgpack_pack_array(pk, record->if_found[0] != '\0' ? 3 : 2);
    put_detail(pk, "Missing", missing, level_of(record));
    put_detail(pk, "Risk", record->risk, level_of(record));
    if (record->if_found[0] != '\0') {
        put_detail(pk, "If found", record->if_found, "warning");
    }
}

static void put_candidate(msgpack_packer *pk, const struct candidate *candidate)
{
    const struct record *record = candidate->record;
    bool born = record->born[0] != '\0';
    msgpack_pack_map(pk, 5u + born + (candidate->found_for != NULL));
    whorl_put_str(pk, "ref", record->reference);
    whorl_put_key(pk, "identifiers");
    msgpack_pack_map(pk, record->pncid[0] != '\0' ? 1 : 0);
    if (record->pncid[0] != '\0') {
        whorl_put_str(pk, "pncid", record->pncid);
    }
    whorl_put_key(pk, "names");
    msgpack_pack_array(pk, 1);
    msgpack_pack_map(pk, 2);
    whorl_put_str(pk, "family", record->family);
    whorl_put_str(pk, "given", record->given);
    if (born) {
        whorl_put_str(pk, "born", record->born);
    }
    put_details(pk, record);
    whorl_put_str(pk, "found_by", candidate->by);
    if (candidate->found_for) {
        whorl_put_object(pk, "found_for", candidate->found_for);
    }
}

/* One person by an identifier that a search has established is a match; by a name, which others
 * may have too, or one of several: possible. */
static void finish_found(struct lookup *lookup, const struct found *found)
{
    struct whorl_answer answer;
    const char *reason = found->more    ? "more records were found than can be shown"
                         : found->blank ? "not everybody could be looked up"
                                        : NULL;
    bool sure = found->count == 1 && !reason && strcmp(found->list[0].by, "name") != 0;
    if (found->count == 0) {
        finish_without(lookup, found->blank ? "unavailable" : "no_match", reason);
        return;
    }
    whorl_answer_begin(&answer);
    msgpack_pack_map(&answer.pk, reason ? 3 : 2);
    whorl_put_str(&answer.pk, "class", sure ? "match" : "possible");
    if (reason) {
        whorl_put_str(&answer.pk, "reason", reason);
    }
    whorl_put_key(&answer.pk, "candidates");
    msgpack_pack_array(&answer.pk, found->count);
    for (size_t i = 0; i < found->count; i++) {
        put_candidate(&answer.pk, &found->list[i]);
    }
    finish(lookup, &answer);
}

/* --- looking --- */

static void add(void *arg, const struct record *record)
{
    struct found *found = arg;
    for (size_t i = 0; i < found->count; i++) {
        if (found->list[i].record == record) {
            return;
        }
    }
    if (found->count == CANDIDATES_MAX) {
        found->more = true;
        return;
    }
    found->list[found->count++] = (struct candidate){record, found->by, found->found_for};
}

/* Looks for one person. false: it can't be read. */
static bool look_for(const struct records *records, const msgpack_object *person,
                     struct found *found, struct whorl_fault *fault)
{
    struct whorl_field fields[] = {
        {"found_for", WHORL_FIELD_MAP, false, 0, 8, NULL},
        {"identifiers", WHORL_FIELD_MAP, false, 0, 16, NULL},
        {"family", WHORL_FIELD_STR, false, 0, 100, NULL},
        {"given", WHORL_FIELD_STR, false, 0, 100, NULL},
        {"born", WHORL_FIELD_STR, false, 10, 10, NULL},
    };
    struct whorl_field identifier = {"pncid", WHORL_FIELD_STR, false, 1, 64, NULL};
    char pncid[65], family[101], given[101], born[11];
    if (!whorl_fields_read_lenient(person, "people", fields, 5, fault) ||
        (fields[1].value && !whorl_fields_read_lenient(fields[1].value, "people.identifiers",
                                                       &identifier, 1, fault))) {
        return false;
    }
    found->found_for = fields[0].value;
    bool asked = false;
    if (whorl_str_copy(identifier.value, pncid, sizeof pncid)) {
        found->by = "pncid";
        asked = true;
        records_by_pncid(records, pncid, add, found);
    }
    whorl_str_copy(fields[3].value, given, sizeof given);
    if (whorl_str_copy(fields[2].value, family, sizeof family) &&
        whorl_str_copy(fields[4].value, born, sizeof born)) {
        found->by = "name";
        asked = true;
        records_by_name(records, family, given, born, add, found);
    }
    found->asked += asked;
    found->blank += !asked;
    return true;
}

/* Everybody who is asked about, those whom a search has found first: a record that is found by its
 * PNCID as well as by its name counts as found by the PNCID. */
static bool look(const struct lookup *lookup, const msgpack_object *message, struct found *found,
                 struct whorl_fault *fault)
{
    struct whorl_field people = {"people", WHORL_FIELD_ARRAY, true, 1, PEOPLE_MAX, NULL};
    if (!whorl_fields_read_lenient(message, "", &people, 1, fault)) {
        return false;
    }
    const msgpack_object_array *list = &people.value->via.array;
    for (unsigned claimed = 0; claimed < 2; claimed++) {
        for (uint32_t i = 0; i < list->size; i++) {
            bool is_claimed = whorl_map_get(&list->ptr[i], "found_for") == NULL;
            if (is_claimed == (claimed == 1) &&
                !look_for(lookup->instance->records, &list->ptr[i], found, fault)) {
                return false;
            }
        }
    }
    return true;
}

/* A worker's thread. */
static void work(void *arg)
{
    struct lookup *lookup = arg;
    const struct whorl_host *host = lookup->instance->host;
    struct whorl_fault fault = {"", ""};
    struct whorl_msg message;
    struct found found = {.count = 0};
    if (host->cancelled(host, lookup->call)) {
        finish_without(lookup, "unavailable", "the look-up was given up");
        return;
    }
    if (!whorl_msg_parse(lookup->message, lookup->len, &message, &fault)) {
        finish_without(lookup, "unavailable", "the call's message could not be read");
        return;
    }
    if (!look(lookup, &message.root, &found, &fault)) {
        finish_without(lookup, "unavailable", "the call's people could not be read");
    } else if (found.asked == 0) {
        finish_without(lookup, "not_searched", "nobody to look up: no PNCID, no name with a birth");
    } else {
        finish_found(lookup, &found); /* what it found points into the message */
    }
    whorl_msg_release(&message);
}

/* The loop's thread: must not wait. */
static void call(void *arg, uint64_t id, const uint8_t *message, size_t len)
{
    struct instance *instance = arg;
    struct lookup *lookup = malloc(sizeof *lookup);
    if (!lookup) {
        whorl_answer_refuse(instance->host, id, WHORL_ROLE_LOOKUP, "out of memory");
        return;
    }
    *lookup = (struct lookup){instance, id, message, len};
    if (!instance->host->submit(instance->host, work, lookup)) {
        finish_without(lookup, "unavailable", "the server is stopping");
    }
}

static const char *const keys[] = {"pncid", "name", NULL};

static const struct whorl_setting settings[] = {
    {"records", WHORL_SETTING_STRING, WHORL_SETTING_REQUIRED | WHORL_SETTING_PATH, NULL, 0, 0,
     "the CSV file of missing persons, read once: give a new one a new name, and reload"},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1.0",
    .title = "Missing persons",
    .role = WHORL_ROLE_LOOKUP,
    .keys = keys,
    .settings = settings,
    .setting_count = sizeof settings / sizeof settings[0],
    .check = check,
    .start = start,
    .call = call,
    .stop = stop,
};
