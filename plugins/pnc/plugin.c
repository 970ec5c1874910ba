/* The PNC backend: looks people up on a worker thread, by identifiers that a search found or by the
 * name and birth date that a person claims. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/pnc/answer.h"
#include "plugins/pnc/people.h"
#include "whorl/msg.h"

#define PEOPLE_MAX 20u

struct instance {
    const struct whorl_host *host;
    struct pnc_people *people;
};

/* A call on its way. */
struct lookup {
    struct instance *instance;
    uint64_t call;
    const uint8_t *message; /* the host's, until the call is completed */
    size_t len;
    MDB_txn *txn;
    struct pnc_found found;
    unsigned searched;   /* keys that were searched for */
    unsigned unreadable; /* people whose identifiers could not be used */
    char why[160];       /* the first of these */
};

/* ------------------------------------------------------------------ one person */

/* The fields of one of the people asked for, all optional. */
enum { FOUND_FOR, IDENTIFIERS, FAMILY, GIVEN, BORN, PERSON_FIELDS };

static bool take(struct lookup *lookup, enum pnc_key by, const char *key,
                 const msgpack_object *found_for, struct whorl_fault *fault)
{
    static const char *const names[] = {"pncid", "cro", "name"};
    char found[PNC_CANDIDATES_MAX + 1][PNC_ID_CAP];
    size_t count;
    if (!pnc_people_find(lookup->instance->people, lookup->txn, by, key, found,
                         PNC_CANDIDATES_MAX + 1, &count, fault))
        return false;
    lookup->searched++;
    for (size_t i = 0; i < count; i++)
        pnc_found_add(&lookup->found, found[i], names[by], found_for);
    return true;
}

static void cannot_use(struct lookup *lookup, const char *what, const char *why)
{
    if (lookup->unreadable++ == 0)
        snprintf(lookup->why, sizeof(lookup->why), "%.40s: %.110s", what, why);
}

/* Looks up by one identifier. One that is malformed is noted, never searched for. */
static bool by_identifier(struct lookup *lookup, enum pnc_key by, const msgpack_object *person_ids,
                          const msgpack_object *found_for, bool *had, struct whorl_fault *fault)
{
    char text[64], canonical[PNC_ID_CAP];
    struct whorl_fault bad = {{0}, {0}};
    const char *name = by == PNC_BY_PNCID ? "pncid" : "cro";
    const msgpack_object *value = whorl_map_get(person_ids, name);
    if (value == NULL || value->type == MSGPACK_OBJECT_NIL)
        return true;
    *had = true;
    time_t now = time(NULL);
    struct tm today;
    gmtime_r(&now, &today);
    bool ok = whorl_str_copy(value, text, sizeof(text)) ||
              whorl_fail(&bad, "", "must be a string of at most 63 bytes");
    if (ok)
        ok = by == PNC_BY_PNCID ? pnc_pncid_read(text, today.tm_year + 1900, canonical, &bad)
                                : pnc_cro_read(text, canonical, &bad);
    if (!ok) {
        cannot_use(lookup, name, bad.text);
        return true;
    }
    return take(lookup, by, canonical, found_for, fault);
}

static bool by_name(struct lookup *lookup, const struct whorl_field *fields,
                    struct whorl_fault *fault)
{
    char family[101], given[101], born[16], key[PNC_KEY_CAP];
    if (!whorl_str_copy(fields[FAMILY].value, family, sizeof(family)) ||
        !whorl_str_copy(fields[GIVEN].value, given, sizeof(given)) ||
        !whorl_str_copy(fields[BORN].value, born, sizeof(born)))
        return true;
    if (!pnc_date_valid(born)) {
        cannot_use(lookup, "born", "must be a date YYYY-MM-DD");
        return true;
    }
    pnc_name_key(family, given, born, key);
    if (key[0] == '\0') {
        cannot_use(lookup, "name", "has no letters");
        return true;
    }
    return take(lookup, PNC_BY_NAME, key, fields[FOUND_FOR].value, fault);
}

/* A person with identifiers is looked up by these; by name only who has none. */
static bool look_up_person(struct lookup *lookup, const msgpack_object *person,
                           struct whorl_fault *fault)
{
    struct whorl_field fields[PERSON_FIELDS] = {
        [FOUND_FOR] = {"found_for", WHORL_FIELD_MAP, false, 0, 16, NULL},
        [IDENTIFIERS] = {"identifiers", WHORL_FIELD_MAP, false, 0, 64, NULL},
        [FAMILY] = {"family", WHORL_FIELD_STR, false, 1, 100, NULL},
        [GIVEN] = {"given", WHORL_FIELD_STR, false, 1, 100, NULL},
        [BORN] = {"born", WHORL_FIELD_STR, false, 1, 15, NULL},
    };
    bool had = false;
    struct whorl_fault bad;
    if (!whorl_fields_read_lenient(person, "people", fields, PERSON_FIELDS, &bad)) {
        cannot_use(lookup, bad.where, bad.text);
        return true;
    }
    const msgpack_object *ids = fields[IDENTIFIERS].value, *found_for = fields[FOUND_FOR].value;
    if (!by_identifier(lookup, PNC_BY_PNCID, ids, found_for, &had, fault) ||
        !by_identifier(lookup, PNC_BY_CRO, ids, found_for, &had, fault))
        return false;
    return had || by_name(lookup, fields, fault);
}

/* ------------------------------------------------------------------ one call */

/* Looks everybody up. false: the store could not be read, or the message is unusable. */
static bool look_up_all(struct lookup *lookup, const msgpack_object *message,
                        struct whorl_fault *fault)
{
    struct whorl_field fields[] = {
        {"op", WHORL_FIELD_STR, true, 1, 16, NULL},
        {"people", WHORL_FIELD_ARRAY, true, 1, PEOPLE_MAX, NULL},
    };
    uint64_t records;
    if (!whorl_fields_read_lenient(message, "", fields, 2, fault))
        return false;
    if (!whorl_str_is(fields[0].value, "lookup"))
        return whorl_fail(fault, "op", "a look-up takes \"lookup\" only");
    if (!pnc_people_count(lookup->instance->people, lookup->txn, &records, fault))
        return false;
    if (records == 0)
        return whorl_fail(fault, "", "no PNC records are loaded");
    const msgpack_object_array *people = &fields[1].value->via.array;
    for (uint32_t i = 0; i < people->size; i++) {
        if (!look_up_person(lookup, &people->ptr[i], fault))
            return false;
    }
    return true;
}

static bool answer_found(struct lookup *lookup, struct whorl_answer *out, struct whorl_fault *fault)
{
    char reason[240] = "";
    if (lookup->unreadable > 0)
        snprintf(reason, sizeof(reason), "%u of the look-ups could not be made (%s)",
                 lookup->unreadable, lookup->why);
    return pnc_answer_found(out, lookup->instance->people, lookup->txn,
                            lookup->instance->host->settings, &lookup->found, reason, fault);
}

/* What was found, or why nothing can be said. no_match only if all that was asked was searched. */
static bool answer(struct lookup *lookup, struct whorl_answer *out, struct whorl_fault *fault)
{
    msgpack_packer *pk = &out->pk;
    char reason[240];
    if (lookup->found.count > 0)
        return answer_found(lookup, out, fault);
    if (lookup->unreadable > 0) {
        snprintf(reason, sizeof(reason), "%s (%s)",
                 lookup->searched > 0 ? "only a part could be looked up" : "nothing to look up by",
                 lookup->why);
        pnc_answer_without(pk, lookup->searched > 0 ? "unavailable" : "not_searched", reason);
    } else if (lookup->searched == 0) {
        pnc_answer_without(pk, "not_searched",
                           "nothing to look up by: no PNCID, no CRO number, no name with date of "
                           "birth");
    } else {
        pnc_answer_without(pk, "no_match", NULL);
    }
    return true;
}

static void look_up(struct lookup *lookup, struct whorl_answer *out)
{
    struct whorl_fault fault = {{0}, {0}};
    struct whorl_msg message;
    struct pnc_people *people = lookup->instance->people;
    bool ok = whorl_msg_parse(lookup->message, lookup->len, &message, &fault);
    if (ok) {
        lookup->txn = pnc_people_read(people, &fault);
        ok = lookup->txn != NULL && look_up_all(lookup, &message.root, &fault) &&
             answer(lookup, out, &fault);
        pnc_people_done(people, lookup->txn);
        whorl_msg_release(&message);
    }
    if (ok)
        return;
    char reason[400];
    whorl_answer_again(out); /* of an answer that was begun */
    snprintf(reason, sizeof(reason), "%s%s%s", fault.where, fault.where[0] != '\0' ? ": " : "",
             fault.text);
    pnc_answer_without(&out->pk, "unavailable", reason);
}

/* Worker thread. */
static void work(void *arg)
{
    struct lookup *lookup = arg;
    const struct whorl_host *host = lookup->instance->host;
    struct whorl_answer out;
    whorl_answer_begin(&out);
    host->progress(host, lookup->call, "looking_up", -1);
    if (host->cancelled(host, lookup->call))
        pnc_answer_without(&out.pk, "unavailable", "the look-up was given up");
    else
        look_up(lookup, &out);
    whorl_answer_give(&out, host, lookup->call, WHORL_ROLE_LOOKUP);
    whorl_answer_drop(&out);
    free(lookup);
}

/* ------------------------------------------------------------------ the instance */

static int check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    return pnc_signals_check(settings, fault) ? 0 : -1;
}

static int start(const struct whorl_host *host, void **out, struct whorl_fault *fault)
{
    struct instance *instance = calloc(1, sizeof(*instance));
    if (instance == NULL) {
        whorl_fail(fault, "", "out of memory");
        return -1;
    }
    instance->host = host;
    instance->people = pnc_people_open(host->data_dir, WHORL_STORE_WRITE, fault);
    if (instance->people == NULL) {
        free(instance);
        return -1;
    }
    *out = instance;
    return 0;
}

static void call(void *arg, uint64_t id, const uint8_t *message, size_t len)
{
    struct instance *instance = arg;
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup != NULL) {
        lookup->instance = instance;
        lookup->call = id;
        lookup->message = message;
        lookup->len = len;
    }
    if (lookup == NULL || !instance->host->submit(instance->host, work, lookup)) {
        free(lookup);
        whorl_answer_refuse(instance->host, id, WHORL_ROLE_LOOKUP, "no memory or stopping");
    }
}

static void stop(void *arg)
{
    struct instance *instance = arg;
    pnc_people_close(instance->people);
    free(instance);
}

static const char *const keys[] = {"pncid", "cro", "name", NULL};

static const struct whorl_setting settings[] = {
    {"warning_signals", WHORL_SETTING_LIST, 0, NULL, 0, 0,
     "what the officer reads for a warning signal's code, each as \"CODE=TEXT\""},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1.0",
    .title = "Police National Computer (PNC)",
    .role = WHORL_ROLE_LOOKUP,
    .keys = keys,
    .entitlement = "pnc",
    .settings = settings,
    .setting_count = sizeof(settings) / sizeof(settings[0]),
    .check = check,
    .start = start,
    .call = call,
    .stop = stop,
};
