/* One call: reading what it asks for, and answering it. */
#include "plugins/pnc/lookup.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------ one person */

/* The fields of one of the people asked for, all optional. */
enum { FOUND_FOR, IDENTIFIERS, FAMILY, GIVEN, BORN, PERSON_FIELDS };

static void add(struct pnc_lookup *lookup, enum pnc_key by, const char *key,
                const msgpack_object *found_for)
{
    struct pnc_search *search = &lookup->searches[lookup->count++];
    search->by = by;
    search->found_for = found_for;
    snprintf(search->key, sizeof(search->key), "%s", key);
}

static void cannot_use(struct pnc_lookup *lookup, const char *what, const char *why)
{
    if (lookup->unreadable++ == 0) {
        snprintf(lookup->why, sizeof(lookup->why), "%.40s: %.110s", what, why);
    }
}

/* Looks up by one identifier. One that is malformed is noted, never searched for. Returns whether
 * there was one. */
static bool by_identifier(struct pnc_lookup *lookup, enum pnc_key by,
                          const msgpack_object *person_ids, const msgpack_object *found_for)
{
    char text[64], canonical[PNC_ID_CAP];
    struct whorl_fault bad = {{0}, {0}};
    const char *name = by == PNC_BY_PNCID ? "pncid" : "cro";
    const msgpack_object *value = whorl_map_get(person_ids, name);
    if (value == NULL || value->type == MSGPACK_OBJECT_NIL) {
        return false;
    }
    time_t now = time(NULL);
    struct tm today;
    gmtime_r(&now, &today);
    bool ok = whorl_str_copy(value, text, sizeof(text)) ||
              whorl_fail(&bad, "", "must be a string of at most 63 bytes");
    if (ok) {
        ok = by == PNC_BY_PNCID ? pnc_pncid_read(text, today.tm_year + 1900, canonical, &bad)
                                : pnc_cro_read(text, canonical, &bad);
    }
    if (ok) {
        add(lookup, by, canonical, found_for);
    } else {
        cannot_use(lookup, name, bad.text);
    }
    return true;
}

static void by_name(struct pnc_lookup *lookup, const struct whorl_field *fields)
{
    char family[101], given[101], born[16], key[PNC_KEY_CAP];
    if (!whorl_str_copy(fields[FAMILY].value, family, sizeof(family)) ||
        !whorl_str_copy(fields[GIVEN].value, given, sizeof(given)) ||
        !whorl_str_copy(fields[BORN].value, born, sizeof(born))) {
        cannot_use(lookup, "a person", "has no PNCID, no CRO number, no name with date of birth");
        return;
    }
    if (!pnc_date_valid(born)) {
        cannot_use(lookup, "born", "must be a date YYYY-MM-DD");
        return;
    }
    pnc_name_key(family, given, born, key);
    if (key[0] == '\0') {
        cannot_use(lookup, "name", "has no letters");
    } else {
        add(lookup, PNC_BY_NAME, key, fields[FOUND_FOR].value);
    }
}

/* A person with identifiers is looked up by these; by name only who has none. */
static void read_person(struct pnc_lookup *lookup, const msgpack_object *person)
{
    struct whorl_field fields[PERSON_FIELDS] = {
        [FOUND_FOR] = {"found_for", WHORL_FIELD_MAP, false, 0, 16, NULL},
        [IDENTIFIERS] = {"identifiers", WHORL_FIELD_MAP, false, 0, 64, NULL},
        [FAMILY] = {"family", WHORL_FIELD_STR, false, 1, 100, NULL},
        [GIVEN] = {"given", WHORL_FIELD_STR, false, 1, 100, NULL},
        [BORN] = {"born", WHORL_FIELD_STR, false, 1, 15, NULL},
    };
    struct whorl_fault bad;
    if (!whorl_fields_read_lenient(person, "people", fields, PERSON_FIELDS, &bad)) {
        cannot_use(lookup, bad.where, bad.text);
        return;
    }
    const msgpack_object *ids = fields[IDENTIFIERS].value, *found_for = fields[FOUND_FOR].value;
    bool had = by_identifier(lookup, PNC_BY_PNCID, ids, found_for);
    had = by_identifier(lookup, PNC_BY_CRO, ids, found_for) || had;
    if (!had) {
        by_name(lookup, fields);
    }
}

/* ------------------------------------------------------------------ the call */

struct pnc_lookup *pnc_lookup_new(const struct whorl_host *host, uint64_t call,
                                  const uint8_t *bytes, size_t len)
{
    struct pnc_lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup != NULL) {
        lookup->host = host;
        lookup->call = call;
        lookup->bytes = bytes;
        lookup->len = len;
    }
    return lookup;
}

static void drop(struct pnc_lookup *lookup)
{
    pnc_found_release(&lookup->found);
    whorl_msg_release(&lookup->message);
    free(lookup->searches);
    free(lookup);
}

bool pnc_lookup_read(struct pnc_lookup *lookup, struct whorl_fault *fault)
{
    struct whorl_field fields[] = {
        {"op", WHORL_FIELD_STR, true, 1, 16, NULL},
        {"people", WHORL_FIELD_ARRAY, true, 1, PNC_PEOPLE_MAX, NULL},
        {"deadline_ms", WHORL_FIELD_INT, false, 0, UINT32_MAX, NULL},
    };
    if (!whorl_msg_parse(lookup->bytes, lookup->len, &lookup->message, fault) ||
        !whorl_fields_read_lenient(&lookup->message.root, "", fields, 3, fault)) {
        return false;
    }
    if (!whorl_str_is(fields[0].value, "lookup")) {
        return whorl_fail(fault, "op", "a look-up takes \"lookup\" only");
    }
    if (fields[2].value != NULL) {
        lookup->deadline_ms = (uint32_t)fields[2].value->via.u64;
    }
    const msgpack_object_array *people = &fields[1].value->via.array;
    lookup->searches = calloc(2u * people->size, sizeof(*lookup->searches));
    if (lookup->searches == NULL) {
        return whorl_fail(fault, "", "out of memory");
    }
    for (uint32_t i = 0; i < people->size; i++) {
        read_person(lookup, &people->ptr[i]);
    }
    return true;
}

struct pnc_candidate *pnc_lookup_take(struct pnc_lookup *lookup, const struct pnc_search *search,
                                      const char *pncid)
{
    static const char *const names[] = {"pncid", "cro", "name"};
    return pnc_found_add(&lookup->found, pncid, names[search->by], search->found_for);
}

/* What was found, or why nothing can be said. no_match only if all that was asked was searched. */
static void pack(struct pnc_lookup *lookup, struct whorl_answer *out, int64_t age)
{
    char reason[240] = "";
    if (lookup->found.count > 0) {
        if (lookup->unreadable > 0) {
            snprintf(reason, sizeof(reason), "%u of the look-ups could not be made (%s)",
                     lookup->unreadable, lookup->why);
        }
        pnc_answer_found(out, lookup->host->settings, &lookup->found, reason, age);
    } else if (lookup->unreadable > 0) {
        snprintf(reason, sizeof(reason), "%s (%s)",
                 lookup->count > 0 ? "only a part could be looked up" : "nothing to look up by",
                 lookup->why);
        pnc_answer_without(&out->pk, lookup->count > 0 ? "unavailable" : "not_searched", reason,
                           PNC_NO_AGE);
    } else {
        pnc_answer_without(&out->pk, "no_match", NULL, age);
    }
}

void pnc_lookup_answer(struct pnc_lookup *lookup, int64_t age)
{
    struct whorl_answer out;
    whorl_answer_begin(&out);
    pack(lookup, &out, age);
    whorl_answer_give(&out, lookup->host, lookup->call, WHORL_ROLE_LOOKUP);
    whorl_answer_drop(&out);
    drop(lookup);
}

void pnc_lookup_fail(struct pnc_lookup *lookup, const struct whorl_fault *fault)
{
    char reason[400];
    snprintf(reason, sizeof(reason), "%s%s%s", fault->where, fault->where[0] != '\0' ? ": " : "",
             fault->text);
    whorl_answer_refuse(lookup->host, lookup->call, WHORL_ROLE_LOOKUP, reason);
    drop(lookup);
}
