#include "report/subject.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "report/codes.h"
#include "report/names.h"
#include "report/text.h"
#include "whorl/msg.h"

#define TRANSACTIONS_MAX 10000u

struct subject {
    struct subject_query query;
    struct names theirs; /* transaction ids */
    struct names found;  /* BACKEND/REFERENCE of the sole matches in them ... */
    struct names named;  /* ... and those that a look-up of the claimed name gave: somebody's who
                            may only have the same name */
    uint32_t before;     /* how many there were before the last pass */
};

struct subject *subject_new(const struct subject_query *query)
{
    struct subject *subject = calloc(1, sizeof *subject);
    if (subject == NULL) {
        return NULL;
    }
    subject->query = *query;
    subject->theirs.most = subject->found.most = subject->named.most = TRANSACTIONS_MAX;
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
    }
    free(subject);
}

const struct names *subject_transactions(const struct subject *subject)
{
    return &subject->theirs;
}

bool subject_grew(struct subject *subject)
{
    bool grew = subject->theirs.count > subject->before;
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

static bool has_ref(const msgpack_object *candidates, const char *ref)
{
    for (uint32_t i = 0; i < candidates->via.array.size; i++) {
        if (whorl_str_is(&candidates->via.array.ptr[i], ref)) {
            return true;
        }
    }
    return false;
}

static bool found_as(const struct subject_query *query, const struct record *record)
{
    for (size_t i = 0; query->ref != NULL && i < record->answer_count; i++) {
        if (has_ref(record->answers[i].candidates, query->ref)) {
            return true;
        }
    }
    return false;
}

static bool take(struct subject *subject, const struct record_text *transaction)
{
    return transaction->at == NULL ||
           names_add(&subject->theirs, transaction->at, transaction->len) != NAMES_NONE;
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

struct held {
    char name[256]; /* BACKEND/REFERENCE */
    size_t len;
};

static struct held held_as(const struct record_text *backend, const msgpack_object *ref)
{
    struct held held;
    char store[65], id[129] = "";
    record_text_copy(backend, store, sizeof store);
    whorl_str_copy(ref, id, sizeof id);
    held.len = (size_t)snprintf(held.name, sizeof held.name, "%s/%s", store, id);
    return held;
}

/* Remembers under which references databases have the person. */
static bool take_matches(struct subject *subject, const struct record *record)
{
    struct names *names = asked_by_name(record) ? &subject->named : &subject->found;
    for (size_t i = 0; i < record->answer_count; i++) {
        const struct record_answer *answer = &record->answers[i];
        if (answer->class == CLASS_MATCH && answer->candidates->via.array.size == 1) {
            struct held held = held_as(&answer->backend, &answer->candidates->via.array.ptr[0]);
            if (names_add(names, held.name, held.len) == NAMES_NONE) {
                return false;
            }
        }
    }
    return true;
}

static bool is_held(const struct subject *subject, const struct record_text *store,
                    const msgpack_object *id)
{
    struct held held = held_as(store, id);
    return names_find(&subject->found, held.name, held.len) != NAMES_NONE &&
           names_find(&subject->named, held.name, held.len) == NAMES_NONE;
}

bool subject_find(struct subject *subject, const struct record *record)
{
    bool theirs = is_theirs(subject, &record->transaction) ||
                  is_theirs(subject, &record->continues) || claims(&subject->query, record) ||
                  found_as(&subject->query, record);
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
    char subtitle[512];
    snprintf(subtitle, sizeof subtitle,
             "Found by %s%.*s. Nothing biometric is recorded. Officers, devices and "
             "candidates who may be other people are left out.",
             q->transaction != NULL ? "their number "
             : q->ref != NULL       ? "the reference "
                                    : "the claimed family name ",
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
    if (answer->class == CLASS_MATCH && list->size == 1) {
        whorl_str_copy(&list->ptr[0], ref, sizeof ref);
    } else if (query->ref != NULL && has_ref(answer->candidates, query->ref)) {
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
    const char *ref = subject->query.ref;
    for (uint32_t i = 0; i < record->ids->via.array.size; i++) {
        const msgpack_object *id = &record->ids->via.array.ptr[i];
        char text[129];
        if (!(ref != NULL && whorl_str_is(id, ref)) && !is_held(subject, &record->store, id)) {
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
