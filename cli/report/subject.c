#include "report/subject.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "report/codes.h"
#include "report/names.h"
#include "report/text.h"
#include "whorl/msg.h"

#define TRANSACTIONS_MAX 10000u
#define PLACES_MAX 64u

struct subject {
    struct subject_query query;
    struct names theirs;  /* transaction ids */
    struct names found;   /* BACKEND/REFERENCE of the sole matches in them ... */
    struct names named;   /* ... and those that a look-up of the claimed name gave: somebody's who
                             may only have the same name */
    struct names by_name; /* TRANSACTION/BACKEND of look-ups by the claimed name that gave the
                             reference asked for */
    struct names places;  /* databases in which that stands ... */
    uint32_t person[PLACES_MAX]; /* ... and whose it is there, as far as transactions tell */
    bool knows_names;            /* the first pass, for by_name, is over */
    uint32_t before;             /* how many transactions there were before the last pass */
};

struct subject *subject_new(const struct subject_query *query)
{
    struct subject *subject = calloc(1, sizeof *subject);
    if (subject == NULL) {
        return NULL;
    }
    subject->query = *query;
    subject->theirs.most = subject->found.most = subject->named.most = TRANSACTIONS_MAX;
    subject->by_name.most = TRANSACTIONS_MAX;
    subject->places.most = PLACES_MAX;
    subject->knows_names = query->ref == NULL;
    if (query->transaction != NULL) {
        names_add(&subject->theirs, query->transaction, strlen(query->transaction));
    }
    return subject;
}

void subject_free(struct subject *subject)
{
    if (subject != NULL) {
        names_release(&subject->theirs);
        names_release(&subject->found);
        names_release(&subject->named);
        names_release(&subject->by_name);
        names_release(&subject->places);
    }
    free(subject);
}

const struct names *subject_transactions(const struct subject *subject)
{
    return &subject->theirs;
}

bool subject_grew(struct subject *subject)
{
    bool grew = subject->theirs.count > subject->before || !subject->knows_names;
    subject->knows_names = true;
    subject->before = subject->theirs.count;
    return grew;
}

/* ------------------------------------------------------------------ which are theirs */

static bool is_theirs(const struct subject *subject, const struct record_text *transaction)
{
    return transaction->at != NULL &&
           names_find(&subject->theirs, transaction->at, transaction->len) != NAMES_NONE;
}

static bool same_name(const struct record_text *text, const char *name)
{
    return name == NULL || (text->at != NULL && text->len == strlen(name) &&
                            strncasecmp(text->at, name, text->len) == 0);
}

static bool claims(const struct subject_query *query, const struct record *record)
{
    return query->family != NULL && record->kind == RECORD_IDENTIFY &&
           same_name(&record->family, query->family) && same_name(&record->given, query->given) &&
           (query->born == NULL || record_text_is(&record->born, query->born));
}

/* Whether an id of a database is the reference that was asked for. */
static bool is_ref(const struct subject_query *query, const struct record_text *store,
                   const msgpack_object *id)
{
    return query->ref != NULL && whorl_str_is(id, query->ref) &&
           (query->backend == NULL || record_text_is(store, query->backend));
}

static bool has_ref(const struct subject_query *query, const struct record_answer *answer)
{
    for (uint32_t i = 0; i < answer->candidates->via.array.size; i++) {
        if (is_ref(query, &answer->backend, &answer->candidates->via.array.ptr[i])) {
            return true;
        }
    }
    return false;
}

static bool is_sole_match(const struct record_answer *answer)
{
    return answer->class == CLASS_MATCH && answer->candidates->via.array.size == 1;
}

/* Whether a look-up asked about anybody by the name claimed. */
static bool asked_by_name(const struct record *record)
{
    bool by_name = false;
    for (uint32_t i = 0; record->kind == RECORD_LOOKUP && i < record->asked->via.array.size; i++) {
        by_name |= whorl_map_get(&record->asked->via.array.ptr[i], "found_for") == NULL;
    }
    return by_name;
}

struct key {
    char text[256]; /* TRANSACTION/BACKEND or BACKEND/REFERENCE */
    size_t len;
};

static struct key answer_key(const struct record *record, const struct record_answer *answer)
{
    struct key key;
    char id[64], backend[65];
    record_text_copy(&record->transaction, id, sizeof id);
    record_text_copy(&answer->backend, backend, sizeof backend);
    key.len = (size_t)snprintf(key.text, sizeof key.text, "%s/%s", id, backend);
    return key;
}

/* Whether an answer says for sure that it was the person with the reference asked for. An identify
 * record does not tell by what a look-up asked: its own record does. */
static bool is_them(const struct subject *subject, const struct record *record,
                    const struct record_answer *answer)
{
    if (!is_sole_match(answer) || !has_ref(&subject->query, answer) || asked_by_name(record)) {
        return false;
    }
    struct key key = answer_key(record, answer);
    return names_find(&subject->by_name, key.text, key.len) == NAMES_NONE;
}

static bool found_as(const struct subject *subject, const struct record *record)
{
    bool found = false;
    for (size_t i = 0; subject->knows_names && i < record->answer_count; i++) {
        found |= is_them(subject, record, &record->answers[i]);
    }
    return found;
}

/* Remembers a look-up by the claimed name that gave the reference: somebody's who may only have
 * the same name. */
static bool note_by_name(struct subject *subject, const struct record *record)
{
    if (!asked_by_name(record) || !has_ref(&subject->query, &record->answers[0])) {
        return true;
    }
    struct key key = answer_key(record, &record->answers[0]);
    return names_add(&subject->by_name, key.text, key.len) != NAMES_NONE;
}

/* ------------------------------------------------------------------ where a reference stands */

/* Its number; NAMES_NONE without room. */
static uint32_t note_place(struct subject *subject, const struct record_text *store)
{
    uint32_t before = subject->places.count;
    uint32_t place = names_add(&subject->places, store->at, store->len);
    if (place == before && place != NAMES_NONE) {
        subject->person[place] = place;
    }
    return place;
}

/* One transaction found the person in both. */
static void join(struct subject *subject, uint32_t place, uint32_t with)
{
    uint32_t from = subject->person[place], to = subject->person[with];
    for (uint32_t i = 0; i < subject->places.count; i++) {
        if (subject->person[i] == from) {
            subject->person[i] = to;
        }
    }
}

static bool note_places(struct subject *subject, const struct record *record)
{
    uint32_t first = NAMES_NONE;
    for (uint32_t i = 0; record->ids != NULL && i < record->ids->via.array.size; i++) {
        if (is_ref(&subject->query, &record->store, &record->ids->via.array.ptr[i]) &&
            note_place(subject, &record->store) == NAMES_NONE) {
            return false;
        }
    }
    for (size_t i = 0; i < record->answer_count; i++) {
        const struct record_answer *answer = &record->answers[i];
        if (!has_ref(&subject->query, answer)) {
            continue;
        }
        uint32_t place = note_place(subject, &answer->backend);
        if (place == NAMES_NONE) {
            return false;
        }
        if (is_them(subject, record, answer)) {
            first = first == NAMES_NONE ? place : first;
            join(subject, place, first);
        }
    }
    return true;
}

bool subject_is_ambiguous(const struct subject *subject, char *text, size_t cap)
{
    bool ambiguous = false;
    size_t len = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < subject->places.count; i++) {
        ambiguous |= subject->person[i] != subject->person[0];
        if (len < cap) {
            len += (size_t)snprintf(text + len, cap - len, "%s%s", i > 0 ? ", " : "",
                                    subject->places.texts[i]);
        }
    }
    return ambiguous;
}

/* ------------------------------------------------------------------ whom databases have */

static bool take(struct subject *subject, const struct record_text *transaction)
{
    return transaction->at == NULL ||
           names_add(&subject->theirs, transaction->at, transaction->len) != NAMES_NONE;
}

static struct key held_as(const struct record_text *backend, const msgpack_object *ref)
{
    struct key held;
    char store[65], id[129] = "";
    record_text_copy(backend, store, sizeof store);
    whorl_str_copy(ref, id, sizeof id);
    held.len = (size_t)snprintf(held.text, sizeof held.text, "%s/%s", store, id);
    return held;
}

/* Remembers under which references databases have the person. */
static bool take_matches(struct subject *subject, const struct record *record)
{
    struct names *names = asked_by_name(record) ? &subject->named : &subject->found;
    for (size_t i = 0; i < record->answer_count; i++) {
        const struct record_answer *answer = &record->answers[i];
        if (is_sole_match(answer)) {
            struct key held = held_as(&answer->backend, &answer->candidates->via.array.ptr[0]);
            if (names_add(names, held.text, held.len) == NAMES_NONE) {
                return false;
            }
        }
    }
    return true;
}

static bool is_held(const struct subject *subject, const struct record_text *store,
                    const msgpack_object *id)
{
    struct key held = held_as(store, id);
    return names_find(&subject->found, held.text, held.len) != NAMES_NONE &&
           names_find(&subject->named, held.text, held.len) == NAMES_NONE;
}

bool subject_find(struct subject *subject, const struct record *record)
{
    if (subject->query.ref != NULL &&
        !(subject->knows_names ? note_places(subject, record) : note_by_name(subject, record))) {
        return false;
    }
    bool theirs = is_theirs(subject, &record->transaction) ||
                  is_theirs(subject, &record->continues) || claims(&subject->query, record) ||
                  found_as(subject, record);
    return !theirs || (take(subject, &record->transaction) && take(subject, &record->continues) &&
                       take_matches(subject, record));
}

/* ------------------------------------------------------------------ the report */

static const struct column columns[] = {
    {"what", "What"},
    {"time", "When (UTC)"},
    {"force", "Force"},
    {"basis", "Legal basis"},
    {"stop_power", "Power to stop"},
    {"reason", "Reason"},
    {"reason_code", "PNC reason code"},
    {"consent", "Consent"},
    {"claimed", "Name and birth date as claimed"},
    {"subject", "Recorded of the person"},
    {"samples", "Samples taken, none of them kept"},
    {"databases", "Databases and their answers"},
    {"continues", "Continues the transaction"},
    {"outcome", "Outcome"},
    {"contacted_control", "Command and Control contacted"},
    {"note", "Note"},
    {"store", "Held in"},
    {"event", "What was done to it"},
    {"source", "Lawful source"},
};

enum {
    WHAT,
    TIME,
    FORCE,
    BASIS,
    STOP_POWER,
    REASON,
    REASON_CODE,
    CONSENT,
    CLAIMED,
    SUBJECT,
    SAMPLES,
    DATABASES,
    CONTINUES,
    OUTCOME,
    CONTROL,
    NOTE,
    STORE,
    EVENT,
    SOURCE
};

void subject_begin(struct subject *subject, struct document *doc)
{
    const struct subject_query *q = &subject->query;
    const char *by = q->transaction != NULL ? q->transaction : q->ref != NULL ? q->ref : q->family;
    char subtitle[600];
    snprintf(subtitle, sizeof subtitle,
             "Found by %s%s%s%.*s. Nothing biometric is recorded. Officers, devices and "
             "candidates who may be other people are left out.",
             q->transaction != NULL ? "their number "
             : q->ref != NULL       ? "the reference "
                                    : "the claimed family name ",
             q->backend != NULL ? q->backend : "", q->backend != NULL ? "/" : "",
             text_most(by, 200), by);
    document_begin(doc, "subject-access", "What is recorded of a person", subtitle);
    document_scope(doc, "all", "", "");
    struct table *table = document_table(doc, "records", "Records", "");
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
        table_column(table, columns[c].id, columns[c].title);
    }
    if (table != NULL) {
        table->long_form = true;
    }
}

static void put(struct document *doc, struct doc_row *row, unsigned column,
                const struct record_text *text)
{
    char copy[512];
    if (row != NULL && text->at != NULL && text->len > 0) {
        record_text_copy(text, copy, sizeof copy);
        document_text(doc, &row->cells[column], copy);
    }
}

static void put_text(struct document *doc, struct doc_row *row, unsigned column, const char *text)
{
    if (row != NULL && text[0] != '\0') {
        document_text(doc, &row->cells[column], text);
    }
}

static void put_code(struct document *doc, struct doc_row *row, unsigned column,
                     const struct code_list *codes, uint8_t code)
{
    if (code < codes->count) {
        put_text(doc, row, column, codes->codes[code].label);
    }
}

/* Appends to a text; what doesn't fit is left out. */
static void append(char *text, size_t cap, const char *separator, const char *more)
{
    size_t len = strlen(text);
    const char *between = len > 0 ? separator : "";
    size_t used = len + strlen(between);
    if (more[0] != '\0' && used + 1 < cap) {
        snprintf(text + len, cap - len, "%s%.*s", between, text_most(more, cap - used - 1), more);
    }
}

/* A matched candidate is the person; one that somebody must judge may be another. */
static void describe_answer(const struct subject_query *query, const struct record_answer *answer,
                            char *text, size_t cap)
{
    char one[640], backend[65], reason[257], ref[129] = "";
    record_text_copy(&answer->backend, backend, sizeof backend);
    record_text_copy(&answer->reason, reason, sizeof reason);
    const msgpack_object_array *list = &answer->candidates->via.array;
    if (is_sole_match(answer)) {
        whorl_str_copy(&list->ptr[0], ref, sizeof ref);
    } else if (has_ref(query, answer)) {
        snprintf(ref, sizeof ref, "%.*s", text_most(query->ref, sizeof ref - 1), query->ref);
    }
    snprintf(one, sizeof one, "%s: %s%s%s%s%s", backend, codes_class.codes[answer->class].label,
             ref[0] != '\0' ? ", reference " : "", ref, reason[0] != '\0' ? ", " : "", reason);
    append(text, cap, "; ", one);
}

static void describe_person(const struct record *record, char *text, size_t cap)
{
    const struct {
        const struct code_list *codes;
        uint8_t code;
        const char *name;
    } parts[] = {
        {&codes_condition, record->condition, "condition"},
        {&codes_gender, record->gender, "gender"},
        {&codes_age_band, record->age_band, "age"},
        {&codes_ethnicity_officer, record->ethnicity_officer, "ethnicity as the officer saw it"},
        {&codes_ethnicity_self, record->ethnicity_self, "ethnicity as self-defined"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char one[200];
        if (parts[i].code < parts[i].codes->count) {
            snprintf(one, sizeof one, "%s: %s", parts[i].name,
                     parts[i].codes->codes[parts[i].code].label);
            append(text, cap, "; ", one);
        }
    }
}

static void add_identify(const struct subject_query *query, const struct record *record,
                         struct document *doc, struct doc_row *row)
{
    char text[10240] = "", claimed[256] = "", part[128];
    const struct record_text *const names[] = {&record->given, &record->family, &record->born};
    for (size_t i = 0; i < 3; i++) {
        record_text_copy(names[i], part, sizeof part);
        append(claimed, sizeof claimed, i == 2 ? ", born " : " ", part);
    }
    put_text(doc, row, CLAIMED, claimed);
    put(doc, row, STOP_POWER, &record->stop_power);
    put_code(doc, row, CONSENT, &codes_consent, record->consent);
    put(doc, row, CONTINUES, &record->continues);
    describe_person(record, text, sizeof text);
    put_text(doc, row, SUBJECT, text);
    snprintf(text, sizeof text, "%u", record->samples);
    put_text(doc, row, SAMPLES, text);
    text[0] = '\0';
    for (size_t i = 0; i < record->answer_count; i++) {
        describe_answer(query, &record->answers[i], text, sizeof text);
    }
    put_text(doc, row, DATABASES, text);
}

/* What was done to data that is the person's. Who else a record names stays out. */
static void add_change(const struct subject *subject, const struct record *record,
                       struct document *doc, const char *what)
{
    for (uint32_t i = 0; i < record->ids->via.array.size; i++) {
        const msgpack_object *id = &record->ids->via.array.ptr[i];
        char text[129];
        if (!is_ref(&subject->query, &record->store, id) && !is_held(subject, &record->store, id)) {
            continue;
        }
        whorl_str_copy(id, text, sizeof text);
        struct doc_row *row = document_row(doc, &doc->tables[0], text, text, "");
        put_text(doc, row, WHAT, what);
        put(doc, row, TIME, &record->time);
        put(doc, row, STORE, &record->store);
        put(doc, row, EVENT, &record->event);
        put(doc, row, SOURCE, &record->source);
    }
}

/* Of a transaction that may be somebody else's: that the reference was a candidate, and no more. */
static void add_candidate(const struct subject_query *query, const struct record *record,
                          struct document *doc)
{
    for (size_t i = 0; record->kind == RECORD_IDENTIFY && i < record->answer_count; i++) {
        const struct record_answer *answer = &record->answers[i];
        char text[256], backend[65];
        if (!has_ref(query, answer)) {
            continue;
        }
        record_text_copy(&answer->backend, backend, sizeof backend);
        snprintf(text, sizeof text, "%s: %s, reference %.*s", backend,
                 codes_class.codes[answer->class].label, text_most(query->ref, 128), query->ref);
        struct doc_row *row = document_row(doc, &doc->tables[0], "", query->ref, "");
        put_text(doc, row, WHAT, "The reference was a candidate, perhaps for somebody else");
        put(doc, row, TIME, &record->time);
        put(doc, row, FORCE, &record->force);
        put_text(doc, row, DATABASES, text);
    }
}

void subject_add(struct subject *subject, const struct record *record, struct document *doc)
{
    static const char *const kinds[] = {
        [RECORD_IDENTIFY] = "Identification", [RECORD_LOOKUP] = "Look-up",
        [RECORD_OUTCOME] = "Outcome",         [RECORD_DISCLOSURE] = "The answer went out again",
        [RECORD_COLLECTION] = "Collection",   [RECORD_ALTERATION] = "Alteration",
        [RECORD_ERASURE] = "Erasure",         [RECORD_OTHER] = NULL};
    char id[64], text[640] = "";
    if (kinds[record->kind] == NULL || doc->table_count == 0) {
        return;
    }
    if (record->ids != NULL) {
        add_change(subject, record, doc, kinds[record->kind]);
        return;
    }
    if (!is_theirs(subject, &record->transaction)) {
        add_candidate(&subject->query, record, doc);
        return;
    }
    record_text_copy(&record->transaction, id, sizeof id);
    struct doc_row *row = document_row(doc, &doc->tables[0], id, id, "");
    put_text(doc, row, WHAT, kinds[record->kind]);
    put(doc, row, TIME, &record->time);
    put(doc, row, FORCE, &record->force);
    if (record->kind == RECORD_DISCLOSURE) {
        return;
    }
    put(doc, row, BASIS, &record->basis);
    put(doc, row, REASON, &record->reason);
    if (record->kind == RECORD_OUTCOME) {
        put_code(doc, row, OUTCOME, &codes_outcome, record->outcome);
        put_text(doc, row, CONTROL, record->contacted_control ? "yes" : "no");
        put(doc, row, NOTE, &record->note);
        return;
    }
    put_code(doc, row, REASON_CODE, &codes_reason_code, record->reason_code);
    if (record->kind == RECORD_IDENTIFY) {
        add_identify(&subject->query, record, doc, row);
    } else {
        describe_answer(&subject->query, &record->answers[0], text, sizeof text);
        put_text(doc, row, DATABASES, text);
    }
}
