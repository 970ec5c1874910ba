#include "cli/audit/case.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/identify/stamp.h"
#include "core/packed/packed.h"
#include "whorl/msg.h"

#define FIELDS 10u /* of the kind, beside those that every such record has */

const struct case_finding case_findings[] = {
    {"false_alert", "Nothing unusual happened: data or the method were wrong"},
    {"explained", "It happened, with a lawful explanation"},
    {"learning", "Practice falls short: reflective practice or training"},
    {"misconduct", "Referred as misconduct"},
    {"gross_misconduct", "Referred as gross misconduct"},
    {"criminal", "Referred as a possible criminal offence"},
    {NULL, NULL}};

/* ------------------------------------------------------------------ reading */

/* One record taken apart; pointers into it, NULL where it says nothing. */
struct case_record {
    const msgpack_object *event, *user, *number, *force, *officer, *flag, *why, *records,
        *transactions, *assignee, *finding, *note;
};

static bool take_apart(const msgpack_object *root, struct case_record *out)
{
    struct whorl_fault fault;
    struct whorl_field f[] = {
        {.name = "event", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
        {.name = "user", .type = WHORL_FIELD_STR, .max = 256},
        {.name = "case", .type = WHORL_FIELD_INT, .min = 0, .max = 9e15},
        {.name = "force", .type = WHORL_FIELD_STR, .max = 32},
        {.name = "officer", .type = WHORL_FIELD_STR, .max = 32},
        {.name = "flag", .type = WHORL_FIELD_STR, .max = 32},
        {.name = "why", .type = WHORL_FIELD_STR, .max = CASE_WHY_MAX},
        {.name = "records", .type = WHORL_FIELD_ARRAY, .max = CASE_TRANSACTIONS_MAX},
        {.name = "transactions", .type = WHORL_FIELD_ARRAY, .max = CASE_TRANSACTIONS_MAX},
        {.name = "assignee", .type = WHORL_FIELD_STR, .max = CASE_ASSIGNEE_MAX},
        {.name = "finding", .type = WHORL_FIELD_STR, .max = 32},
        {.name = "note", .type = WHORL_FIELD_STR, .max = CASE_NOTE_MAX},
    };
    if (!whorl_fields_read_lenient(root, "", f, sizeof f / sizeof *f, &fault)) {
        return false;
    }
    *out = (struct case_record){f[0].value, f[1].value, f[2].value,  f[3].value,
                                f[4].value, f[5].value, f[6].value,  f[7].value,
                                f[8].value, f[9].value, f[10].value, f[11].value};
    bool opened = whorl_str_is(out->event, "opened");
    return opened ? out->officer != NULL && out->force != NULL && out->flag != NULL &&
                        out->records != NULL && out->transactions != NULL
                  : out->number != NULL;
}

static void copy(const msgpack_object *from, char *out, size_t cap)
{
    if (from == NULL || !whorl_str_copy(from, out, cap)) {
        out[0] = '\0';
    }
}

static struct case_state *find(const struct cases *cases, uint64_t number)
{
    size_t low = 0, high = cases->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cases->cases[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < cases->count && cases->cases[low].number == number ? &cases->cases[low] : NULL;
}

const struct case_state *cases_find(const struct cases *cases, uint64_t number)
{
    return find(cases, number);
}

static struct case_state *add_case(struct cases *cases)
{
    if (cases->count == cases->cap) {
        size_t cap = cases->cap == 0 ? 64 : 2 * cases->cap;
        struct case_state *grown = reallocarray(cases->cases, cap, sizeof *grown);
        if (grown == NULL) {
            cases->failed = true;
            return NULL;
        }
        cases->cases = grown;
        cases->cap = cap;
    }
    cases->cases[cases->count] = (struct case_state){0};
    return &cases->cases[cases->count++];
}

static bool is_case(const msgpack_object *root)
{
    return whorl_str_is(whorl_map_get(root, "kind"), "case");
}

static bool take(void *ctx, uint64_t position, const struct record *record,
                 const msgpack_object *root)
{
    struct cases *cases = ctx;
    struct case_record r;
    if (record->kind != RECORD_OTHER || !is_case(root)) {
        return true;
    }
    if (!take_apart(root, &r)) {
        cases->malformed++;
        return true;
    }
    bool opened = whorl_str_is(r.event, "opened");
    struct case_state *state = opened ? add_case(cases) : find(cases, r.number->via.u64);
    if (state == NULL) { /* or the record that opened it is erased */
        return !cases->failed;
    }
    if (opened) {
        state->number = position;
        record_text_copy(&record->time, state->opened, sizeof state->opened);
        copy(r.force, state->force, sizeof state->force);
        copy(r.officer, state->officer, sizeof state->officer);
        copy(r.flag, state->flag, sizeof state->flag);
    } else if (state->closed[0] != '\0') {
        return true; /* what two did at the same time: the first closed it */
    } else if (whorl_str_is(r.event, "assigned")) {
        copy(r.assignee, state->assignee, sizeof state->assignee);
    } else if (whorl_str_is(r.event, "closed")) {
        copy(r.finding, state->finding, sizeof state->finding);
        record_text_copy(&record->time, state->closed, sizeof state->closed);
    }
    return true;
}

bool cases_read(const char *dir, struct cases *cases, struct scan *scan, struct whorl_fault *fault)
{
    *cases = (struct cases){0};
    return scan_log(dir, take, cases, scan, fault) &&
           (!cases->failed || whorl_fail(fault, "", "out of memory"));
}

void cases_release(struct cases *cases)
{
    free(cases->cases);
    *cases = (struct cases){0};
}

/* ------------------------------------------------------------------ writing */

static bool write_record(struct audit_writer *writer, const char *event,
                         const struct case_state *state, const struct case_opening *opening,
                         const char *const texts[3], uint64_t *position, struct whorl_fault *fault)
{
    msgpack_sbuffer packed;
    msgpack_packer pk;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pk, &packed, packed_write);
    audit_writer_begin(writer, &pk, "case", event, FIELDS);
    whorl_put_key(&pk, "case");
    if (state != NULL) {
        msgpack_pack_uint64(&pk, state->number);
    } else {
        msgpack_pack_nil(&pk);
    }
    whorl_put_str(&pk, "force", opening != NULL ? opening->force : state->force);
    whorl_put_str(&pk, "officer", opening != NULL ? opening->officer : state->officer);
    whorl_put_str(&pk, "flag", opening != NULL ? opening->flag : state->flag);
    whorl_put_str(&pk, "why", opening != NULL ? opening->why : NULL);
    size_t count = opening != NULL ? opening->count : 0;
    whorl_put_key(&pk, "records");
    msgpack_pack_array(&pk, count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_uint64(&pk, opening->records[i]);
    }
    whorl_put_key(&pk, "transactions");
    msgpack_pack_array(&pk, count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_str_with_body(&pk, opening->transactions[i], STAMP_UUID_LEN);
    }
    whorl_put_str(&pk, "assignee", texts[0]);
    whorl_put_str(&pk, "finding", texts[1]);
    whorl_put_str(&pk, "note", texts[2]);
    bool ok = audit_writer_append(writer, &packed, 1, position, fault);
    msgpack_sbuffer_destroy(&packed);
    return ok;
}

bool case_open(struct audit_writer *writer, const struct case_opening *opening, uint64_t *number,
               struct whorl_fault *fault)
{
    return write_record(writer, "opened", NULL, opening, (const char *const[3]){NULL, NULL, NULL},
                        number, fault);
}

bool case_assign(struct audit_writer *writer, const struct case_state *state, const char *assignee,
                 struct whorl_fault *fault)
{
    return write_record(writer, "assigned", state, NULL,
                        (const char *const[3]){assignee, NULL, NULL}, NULL, fault);
}

bool case_view(struct audit_writer *writer, const struct case_state *state,
               struct whorl_fault *fault)
{
    return write_record(writer, "viewed", state, NULL, (const char *const[3]){NULL, NULL, NULL},
                        NULL, fault);
}

bool case_close(struct audit_writer *writer, const struct case_state *state, const char *finding,
                const char *note, struct whorl_fault *fault)
{
    return write_record(writer, "closed", state, NULL, (const char *const[3]){NULL, finding, note},
                        NULL, fault);
}

/* ------------------------------------------------------------------ evidence */

struct wanted {
    char transaction[40];
    size_t at;
};

struct locating {
    struct case_opening *opening;
    struct wanted *wanted; /* by transaction */
    size_t found;
    struct whorl_fault *fault;
    bool failed;
};

static int by_transaction(const void *a, const void *b)
{
    return strcmp(((const struct wanted *)a)->transaction, ((const struct wanted *)b)->transaction);
}

static bool locate(void *ctx, uint64_t position, const struct record *record,
                   const msgpack_object *root)
{
    struct locating *l = ctx;
    struct wanted key;
    (void)root;
    if (record->kind != RECORD_IDENTIFY) {
        return true;
    }
    record_text_copy(&record->transaction, key.transaction, sizeof key.transaction);
    const struct wanted *wanted =
        bsearch(&key, l->wanted, l->opening->count, sizeof key, by_transaction);
    if (wanted == NULL) {
        return true;
    }
    if (!record_text_is(&record->officer, l->opening->officer) ||
        !record_text_is(&record->force, l->opening->force)) {
        l->failed = true;
        whorl_fail(l->fault, key.transaction, "is no transaction of officer %s of %s",
                   l->opening->officer, l->opening->force);
        return false;
    }
    l->opening->records[wanted->at] = position;
    l->found++;
    return true;
}

bool case_locate(const char *dir, struct case_opening *opening, struct whorl_fault *fault)
{
    struct scan scan;
    struct locating l = {.opening = opening, .fault = fault};
    l.wanted = calloc(opening->count + 1, sizeof *l.wanted);
    if (l.wanted == NULL) {
        return whorl_fail(fault, "", "out of memory");
    }
    for (size_t i = 0; i < opening->count; i++) {
        snprintf(l.wanted[i].transaction, sizeof l.wanted[i].transaction, "%s",
                 opening->transactions[i]);
        l.wanted[i].at = i;
    }
    qsort(l.wanted, opening->count, sizeof *l.wanted, by_transaction);
    bool ok = true;
    for (size_t i = 1; ok && i < opening->count; i++) {
        ok = by_transaction(&l.wanted[i - 1], &l.wanted[i]) != 0 ||
             whorl_fail(fault, l.wanted[i].transaction, "is named twice");
    }
    ok = ok && scan_log(dir, locate, &l, &scan, fault) && !l.failed &&
         (l.found == opening->count ||
          whorl_fail(fault, "", "%zu of %zu transactions are not in the audit log, or erased",
                     opening->count - l.found, opening->count));
    free(l.wanted);
    return ok;
}

/* ------------------------------------------------------------------ showing */

void cases_list(const struct cases *cases, struct document *doc)
{
    char number[32];
    document_begin(doc, "cases", "Cases",
                   "All cases of the audit log. Whom a case is about, `whorl "
                   "case show` says.");
    document_scope(doc, "all", "", "");
    struct table *table = document_table(doc, "cases", "Cases", "");
    static const char *const ids[][2] = {{"state", "State"},          {"flag", "Flag"},
                                         {"force", "Force"},          {"opened", "Opened"},
                                         {"assignee", "Assigned to"}, {"closed", "Closed"},
                                         {"finding", "Finding"}};
    for (size_t c = 0; c < sizeof ids / sizeof *ids; c++) {
        table_column(table, ids[c][0], ids[c][1]);
    }
    for (size_t i = 0; i < cases->count; i++) {
        const struct case_state *s = &cases->cases[i];
        const char *const texts[] = {s->closed[0] != '\0'     ? "closed"
                                     : s->assignee[0] != '\0' ? "assigned"
                                                              : "open",
                                     s->flag,
                                     s->force,
                                     s->opened,
                                     s->assignee,
                                     s->closed,
                                     s->finding};
        snprintf(number, sizeof number, "%" PRIu64, s->number);
        struct doc_row *row = document_row(doc, table, number, number, "");
        for (size_t c = 0; row != NULL && c < sizeof texts / sizeof *texts; c++) {
            if (texts[c][0] != '\0') {
                document_text(doc, &row->cells[c], texts[c]);
            }
        }
    }
}

struct showing {
    uint64_t number;
    struct document *doc;
};

/* The records that the case rests on. */
static void show_evidence(struct document *doc, const struct case_record *r)
{
    struct table *table = document_table(
        doc, "evidence", "Records", "`whorl audit list --transaction ID` shows what they say.");
    const msgpack_object_array *records = &r->records->via.array;
    const msgpack_object_array *transactions = &r->transactions->via.array;
    char number[32], id[40];
    table_column(table, "transaction", "Transaction");
    for (uint32_t i = 0; i < records->size && i < transactions->size; i++) {
        if (records->ptr[i].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
            !whorl_str_copy(&transactions->ptr[i], id, sizeof id)) {
            continue;
        }
        snprintf(number, sizeof number, "%" PRIu64, records->ptr[i].via.u64);
        struct doc_row *row = document_row(doc, table, number, number, "");
        if (row != NULL) {
            document_text(doc, &row->cells[0], id);
        }
    }
}

static void show_head(struct document *doc, const struct case_record *r)
{
    char text[CASE_WHY_MAX + 1];
    const struct {
        const char *code, *label;
        const msgpack_object *value;
    } rows[] = {{"officer", "Officer", r->officer},
                {"force", "Force", r->force},
                {"flag", "Flag", r->flag},
                {"why", "Why", r->why}};
    struct table *table = document_table(doc, "case", "What it is about", "");
    table_column(table, "value", "Value");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct doc_row *row = document_row(doc, table, rows[i].code, rows[i].label, "");
        copy(rows[i].value, text, sizeof text);
        if (row != NULL) {
            document_text(doc, &row->cells[0], text);
        }
    }
    if (table != NULL) {
        table->long_form = true;
    }
}

static const char *finding_meaning(const char *code)
{
    size_t i = 0;
    while (case_findings[i].code != NULL && strcmp(case_findings[i].code, code) != 0) {
        i++;
    }
    return case_findings[i].code != NULL ? case_findings[i].meaning : code;
}

static void show_event(struct document *doc, const struct record *record, uint64_t position,
                       const struct case_record *r)
{
    /* The history is the first table: pointers move as tables are added. */
    char number[32], text[CASE_NOTE_MAX + 200], value[CASE_NOTE_MAX + 1];
    snprintf(number, sizeof number, "%" PRIu64, position);
    struct doc_row *row = document_row(doc, &doc->tables[0], number, number, "");
    if (row == NULL) {
        return;
    }
    record_text_copy(&record->time, text, sizeof text);
    document_text(doc, &row->cells[0], text);
    copy(r->event, text, sizeof text);
    document_text(doc, &row->cells[1], text);
    copy(r->user, text, sizeof text);
    document_text(doc, &row->cells[2], text);
    if (r->assignee != NULL) {
        copy(r->assignee, value, sizeof value);
        snprintf(text, sizeof text, "to %s", value);
        document_text(doc, &row->cells[3], text);
    } else if (r->finding != NULL) {
        char code[33];
        copy(r->finding, code, sizeof code);
        copy(r->note, value, sizeof value);
        snprintf(text, sizeof text, "%s. %s", finding_meaning(code), value);
        document_text(doc, &row->cells[3], text);
    }
}

static bool show(void *ctx, uint64_t position, const struct record *record,
                 const msgpack_object *root)
{
    struct showing *s = ctx;
    struct case_record r;
    if (record->kind != RECORD_OTHER || !is_case(root) || !take_apart(root, &r)) {
        return true;
    }
    bool opened = whorl_str_is(r.event, "opened") && position == s->number;
    if (opened || (!whorl_str_is(r.event, "opened") && r.number->via.u64 == s->number)) {
        show_event(s->doc, record, position, &r);
        if (opened) {
            show_head(s->doc, &r);
            show_evidence(s->doc, &r);
        }
    }
    return !s->doc->failed;
}

bool case_show(const char *dir, const struct case_state *state, struct document *doc,
               struct whorl_fault *fault)
{
    struct scan scan;
    struct showing s = {.number = state->number, .doc = doc};
    char title[64];
    snprintf(title, sizeof title, "Case %" PRIu64, state->number);
    document_begin(doc, "case", title,
                   state->closed[0] != '\0' ? "Closed. Confidential." : "Open. Confidential.");
    document_scope(doc, state->force, "", "");
    struct table *table = document_table(doc, "history", "What was done, by record", "");
    table_column(table, "time", "Time (UTC)");
    table_column(table, "event", "Event");
    table_column(table, "user", "By");
    table_column(table, "note", "Note");
    return scan_log(dir, show, &s, &scan, fault) &&
           (!doc->failed || whorl_fail(fault, "", "out of memory"));
}
