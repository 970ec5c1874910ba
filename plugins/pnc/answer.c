/* PNC answers. */
#include "plugins/pnc/answer.h"

#include <string.h>
#include <time.h>

#define VALUE_CAP 640u /* the longest detail: texts of a record joined */
#define CODE_MAX 16u
#define DETAILS_MAX 256u

/* ------------------------------------------------------------------ who was found */

struct pnc_candidate *pnc_found_add(struct pnc_found *found, const char *pncid, const char *by,
                                    const msgpack_object *found_for)
{
    for (size_t i = 0; i < found->count; i++) {
        struct pnc_candidate *known = &found->people[i];
        if (strcmp(known->pncid, pncid) != 0) {
            continue;
        }
        if (strcmp(known->by, "name") == 0 && strcmp(by, "name") != 0) {
            known->by = by;
            known->found_for = found_for;
        }
        return NULL;
    }
    if (found->count == PNC_CANDIDATES_MAX) {
        found->more = true;
        return NULL;
    }
    struct pnc_candidate *person = &found->people[found->count++];
    *person = (struct pnc_candidate){.by = by, .found_for = found_for};
    memcpy(person->pncid, pncid, strlen(pncid) + 1);
    return person;
}

void pnc_found_release(struct pnc_found *found)
{
    for (size_t i = 0; i < found->count; i++) {
        pnc_record_release(&found->people[i].record);
    }
    found->count = 0;
    found->more = false;
}

/* ------------------------------------------------------------------ warning signals */

bool pnc_signals_check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    const char *entry, *before;
    for (size_t i = 0; (entry = settings->item(settings, NULL, "warning_signals", i)) != NULL;
         i++) {
        size_t len = strcspn(entry, "=");
        if (len == 0 || len > CODE_MAX || entry[len] == '\0' || strlen(entry + len + 1) == 0 ||
            strlen(entry + len + 1) > 100 ||
            strspn(entry, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != len) {
            return whorl_fail(fault, "warning_signals",
                              "entry %zu must be \"CODE=TEXT\" with a code of 1 to %u capital "
                              "letters, digits, - and _ and a text of 1 to 100 bytes",
                              i + 1, CODE_MAX);
        }
        for (size_t k = 0; k < i; k++) {
            before = settings->item(settings, NULL, "warning_signals", k);
            if (before != NULL && strncmp(before, entry, len + 1) == 0) {
                return whorl_fail(fault, "warning_signals",
                                  "entry %zu gives a code of entry %zu again", i + 1, k + 1);
            }
        }
    }
    return true;
}

/* The text of a code; the code itself when the table has none. */
static const char *signal_text(const struct whorl_settings *settings, const char *code)
{
    const char *entry;
    size_t len = strlen(code);
    for (size_t i = 0; (entry = settings->item(settings, NULL, "warning_signals", i)) != NULL;
         i++) {
        if (strncmp(entry, code, len) == 0 && entry[len] == '=') {
            return entry + len + 1;
        }
    }
    return code;
}

/* ------------------------------------------------------------------ details */

/* Details on their way into an answer: packed beside, because msgpack wants their number first. */
struct details {
    struct whorl_answer part;
    uint32_t count;
    const struct whorl_settings *settings;
    char today[16];
};

static void put_detail(struct details *details, const char *label, const char *value,
                       const char *level)
{
    if (value[0] == '\0' || details->count == DETAILS_MAX) {
        return;
    }
    msgpack_pack_map(&details->part.pk, 3);
    whorl_put_str(&details->part.pk, "label", label);
    whorl_put_str(&details->part.pk, "value", value);
    whorl_put_str(&details->part.pk, "level", level);
    details->count++;
}

/* Appends "before" and the text under key, if the object has it. */
static void join(char *value, const msgpack_object *object, const char *key, const char *before)
{
    char text[512];
    size_t used = strlen(value);
    if (whorl_str_copy(whorl_map_get(object, key), text, sizeof(text))) {
        snprintf(value + used, VALUE_CAP - used, "%s%s", before, text);
    }
}

static void put_text(struct details *details, const msgpack_object *record, const char *key,
                     const char *label)
{
    char value[VALUE_CAP] = "";
    join(value, record, key, "");
    put_detail(details, label, value, "info");
}

/* Calls put for every element of a list that the record may have. */
static void each(struct details *details, const msgpack_object *record, const char *key,
                 void (*put)(struct details *details, const msgpack_object *element))
{
    const msgpack_object *list = whorl_map_get(record, key);
    for (uint32_t i = 0; list != NULL && i < list->via.array.size; i++) {
        put(details, &list->via.array.ptr[i]);
    }
}

static void put_circulation(struct details *details, const msgpack_object *circulation)
{
    char value[VALUE_CAP] = "";
    const msgpack_object *kind = whorl_map_get(circulation, "kind");
    join(value, circulation, "force", "");
    join(value, circulation, "reference", ", reference ");
    join(value, circulation, "date", ", circulated ");
    join(value, circulation, "reason", ": ");
    put_detail(details,
               whorl_str_is(kind, "wanted")    ? "Wanted"
               : whorl_str_is(kind, "missing") ? "Missing"
                                               : "Locate",
               value, "alert");
}

/* An order that has run out is history. */
static void put_disqualified(struct details *details, const msgpack_object *order)
{
    char value[VALUE_CAP] = "", expires[16];
    if (order == NULL) {
        return;
    }
    whorl_str_copy(whorl_map_get(order, "expires"), expires, sizeof(expires));
    bool over = strcmp(expires, details->today) < 0;
    join(value, order, "court", "");
    join(value, order, "order", ", ");
    join(value, order, "expires", over ? ", expired " : ", until ");
    put_detail(details, over ? "Former disqualification" : "Disqualified driver", value,
               over ? "info" : "warning");
}

static void put_bail(struct details *details, const msgpack_object *bail)
{
    char value[VALUE_CAP] = "", until[16];
    bool over = whorl_str_copy(whorl_map_get(bail, "until"), until, sizeof(until)) &&
                strcmp(until, details->today) < 0;
    join(value, bail, "condition", "");
    join(value, bail, "until", over ? ", ended " : ", until ");
    join(value, bail, "force", ", ");
    put_detail(details, over ? "Former bail condition" : "Bail condition", value,
               over ? "info" : "warning");
}

static void put_warning(struct details *details, const msgpack_object *code)
{
    char text[CODE_MAX + 1];
    if (whorl_str_copy(code, text, sizeof(text))) {
        put_detail(details, "Warning signal", signal_text(details->settings, text), "warning");
    }
}

static void put_element(struct details *details, const msgpack_object *element, const char *label)
{
    char text[VALUE_CAP];
    if (whorl_str_copy(element, text, sizeof(text))) {
        put_detail(details, label, text, "info");
    }
}

static void put_marker(struct details *details, const msgpack_object *marker)
{
    put_element(details, marker, "Information marker");
}

static void put_address(struct details *details, const msgpack_object *address)
{
    put_element(details, address, "Address");
}

/* Everything that an officer should see, in the order in which it matters. */
static void put_details(struct details *details, const msgpack_object *record)
{
    each(details, record, "circulations", put_circulation);
    put_disqualified(details, whorl_map_get(record, "disqualified"));
    each(details, record, "bail", put_bail);
    each(details, record, "warnings", put_warning);
    each(details, record, "markers", put_marker);
    put_text(details, record, "description", "Description");
    put_text(details, record, "sex", "Sex");
    put_text(details, record, "nationality", "Nationality");
    put_text(details, record, "birth_place", "Place of birth");
    each(details, record, "addresses", put_address);
    put_text(details, record, "driver_number", "Driver number");
}

/* ------------------------------------------------------------------ candidates */

static void put_name(msgpack_packer *pk, const msgpack_object *name)
{
    msgpack_pack_map(pk, 2);
    whorl_put_object(pk, "family", whorl_map_get(name, "family"));
    whorl_put_object(pk, "given", whorl_map_get(name, "given"));
}

static void put_names(msgpack_packer *pk, const msgpack_object *record)
{
    const msgpack_object *aliases = whorl_map_get(record, "aliases");
    uint32_t others = aliases != NULL ? aliases->via.array.size : 0;
    whorl_put_key(pk, "names");
    msgpack_pack_array(pk, 1 + (size_t)others);
    put_name(pk, whorl_map_get(record, "name"));
    for (uint32_t i = 0; i < others; i++) {
        put_name(pk, &aliases->via.array.ptr[i]);
    }
}

static void put_candidate(struct whorl_answer *answer, const struct pnc_candidate *candidate,
                          struct details *details)
{
    const struct pnc_record *record = &candidate->record;
    const msgpack_object *root = &record->msg.root, *born = whorl_map_get(root, "born");
    msgpack_packer *pk = &answer->pk;
    put_details(details, root);
    msgpack_pack_map(pk, 5u + (born != NULL) + (candidate->found_for != NULL));
    whorl_put_str(pk, "ref", record->pncid);
    whorl_put_key(pk, "identifiers");
    msgpack_pack_map(pk, record->cro[0] != '\0' ? 2 : 1);
    whorl_put_str(pk, "pncid", record->pncid);
    if (record->cro[0] != '\0') {
        whorl_put_str(pk, "cro", record->cro);
    }
    put_names(pk, root);
    if (born != NULL) {
        whorl_put_object(pk, "born", born);
    }
    whorl_put_key(pk, "details");
    msgpack_pack_array(pk, details->count);
    whorl_answer_append(answer, &details->part);
    whorl_put_str(pk, "found_by", candidate->by);
    if (candidate->found_for != NULL) {
        whorl_put_object(pk, "found_for", candidate->found_for);
    }
}

static void begin_and_put(struct whorl_answer *answer, const struct whorl_settings *settings,
                          const struct pnc_candidate *candidate)
{
    struct details details = {.settings = settings};
    time_t now = time(NULL);
    struct tm today;
    gmtime_r(&now, &today);
    strftime(details.today, sizeof(details.today), "%Y-%m-%d", &today);
    whorl_answer_begin(&details.part);
    put_candidate(answer, candidate, &details);
}

/* The fields that every answer has. */
static void put_head(msgpack_packer *pk, uint32_t others, const char *class, const char *reason,
                     int64_t age)
{
    bool has_reason = reason != NULL && reason[0] != '\0';
    msgpack_pack_map(pk, 1u + others + has_reason + (age != PNC_NO_AGE));
    whorl_put_str(pk, "class", class);
    if (has_reason) {
        whorl_put_str(pk, "reason", reason);
    }
    if (age != PNC_NO_AGE) {
        whorl_put_int(pk, "age", age);
    }
}

void pnc_answer_found(struct whorl_answer *answer, const struct whorl_settings *settings,
                      const struct pnc_found *found, const char *reason, int64_t age)
{
    const char *more = found->more ? "more records were found than can be shown" : "";
    if (reason[0] == '\0') {
        reason = more;
    }
    bool sure = found->count == 1 && strcmp(found->people[0].by, "name") != 0;
    put_head(&answer->pk, 1, sure && reason[0] == '\0' ? "match" : "possible", reason, age);
    whorl_put_key(&answer->pk, "candidates");
    msgpack_pack_array(&answer->pk, found->count);
    for (int by_name = 0; by_name < 2; by_name++) {
        for (size_t i = 0; i < found->count; i++) {
            const struct pnc_candidate *candidate = &found->people[i];
            if ((strcmp(candidate->by, "name") == 0) == (by_name == 1)) {
                begin_and_put(answer, settings, candidate);
            }
        }
    }
}

void pnc_answer_without(msgpack_packer *pk, const char *class, const char *reason, int64_t age)
{
    put_head(pk, 0, class, reason, age);
}
