#include "report/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/codes.h"

#define ROWS_MAX 20000000u
#define PEOPLE_MAX 1000000u /* officers, devices */
#define WORDS_MAX 10000u    /* bases, stop powers */

static bool give_up(struct facts *facts, const char *what)
{
    snprintf(facts->trouble, sizeof facts->trouble, "%s", what);
    return false;
}

void facts_begin(struct facts *facts, const struct period *period, const char *force)
{
    *facts = (struct facts){.period = *period, .force = force};
    facts->officers.most = facts->devices.most = PEOPLE_MAX;
    facts->bases.most = facts->stop_powers.most = WORDS_MAX;
    facts->backends.most = FACTS_BACKENDS_MAX;
    facts->refused_codes.most = sizeof facts->refused / sizeof *facts->refused;
}

void facts_release(struct facts *facts)
{
    names_release(&facts->officers);
    names_release(&facts->devices);
    names_release(&facts->bases);
    names_release(&facts->stop_powers);
    names_release(&facts->backends);
    names_release(&facts->refused_codes);
    free(facts->rows);
    free(facts->buckets);
    *facts = (struct facts){0};
}

/* ------------------------------------------------------------------ rows by id */

static uint32_t bucket_of(const struct facts *facts, const uint8_t id[16])
{
    uint64_t low, high;
    memcpy(&low, id, 8);
    memcpy(&high, id + 8, 8);
    uint64_t mixed = (low ^ high) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(mixed >> 32) & (facts->bucket_count - 1);
}

static struct transaction *find(const struct facts *facts, const uint8_t id[16])
{
    if (facts->bucket_count == 0) {
        return NULL;
    }
    for (uint32_t at = facts->buckets[bucket_of(facts, id)]; at != 0;
         at = facts->rows[at - 1].next) {
        if (memcmp(facts->rows[at - 1].id, id, 16) == 0) {
            return &facts->rows[at - 1];
        }
    }
    return NULL;
}

static void link_row(struct facts *facts, uint32_t row)
{
    uint32_t *bucket = &facts->buckets[bucket_of(facts, facts->rows[row].id)];
    facts->rows[row].next = *bucket;
    *bucket = row + 1;
}

static bool grow(struct facts *facts)
{
    uint32_t cap = facts->cap == 0 ? 1024 : 2 * facts->cap;
    struct transaction *rows = realloc(facts->rows, cap * sizeof *rows);
    if (rows == NULL) {
        return false;
    }
    facts->rows = rows;
    uint32_t *buckets = calloc(cap, sizeof *buckets);
    if (buckets == NULL) {
        return false;
    }
    free(facts->buckets);
    facts->buckets = buckets;
    facts->bucket_count = facts->cap = cap;
    for (uint32_t i = 0; i < facts->count; i++) {
        link_row(facts, i);
    }
    return true;
}

/* ------------------------------------------------------------------ records */

static bool in_scope(const struct facts *facts, const struct record *record)
{
    return record->time_ms >= facts->period.from && record->time_ms < facts->period.until &&
           (facts->force == NULL || record_text_is(&record->force, facts->force));
}

/* The number of a text that may be missing. *full is set if there is no room for it. */
static uint32_t number_of(struct names *names, const struct record_text *text, bool *full)
{
    if (text->at == NULL || text->len == 0) {
        return NAMES_NONE;
    }
    uint32_t number = names_add(names, text->at, text->len);
    *full |= number == NAMES_NONE;
    return number;
}

static void take_answers(struct facts *facts, const struct record *record, struct transaction *row,
                         bool *full)
{
    row->classes = UINT64_MAX;
    for (size_t i = 0; i < record->answer_count; i++) {
        const struct record_answer *answer = &record->answers[i];
        uint32_t backend = number_of(&facts->backends, &answer->backend, full);
        if (backend != NAMES_NONE) {
            row->classes &= ~(UINT64_C(15) << (4 * backend));
            row->classes |= (uint64_t)answer->class << (4 * backend);
        }
    }
}

static void take_chain(const struct facts *facts, const struct record *record,
                       struct transaction *row)
{
    uint8_t id[16];
    row->chain = facts->count;
    row->continued = record->continues.at != NULL;
    if (row->continued && record_uuid(&record->continues, id)) {
        const struct transaction *before = find(facts, id);
        if (before != NULL) {
            row->chain = before->chain;
        }
    }
}

static void take_codes(const struct record *record, struct transaction *row)
{
    struct local_time local = period_local(record->time_ms);
    row->time_ms = record->time_ms;
    row->hour = (uint8_t)local.hour;
    row->weekday = (uint8_t)local.weekday;
    row->elapsed_ms = record->elapsed_ms;
    row->reason_code = record->reason_code;
    row->consent = record->consent;
    row->condition = record->condition;
    row->gender = record->gender;
    row->age_band = record->age_band;
    row->ethnicity_officer = record->ethnicity_officer;
    row->ethnicity_self = record->ethnicity_self;
    row->outcome = codes_outcome.count;
    row->refusal =
        record->samples == 0 && strcmp(codes_consent.codes[record->consent].code, "refused") == 0;
}

static bool add_identify(struct facts *facts, const struct record *record)
{
    struct transaction row = {0};
    bool full = false;
    record_uuid(&record->transaction, row.id);
    if (find(facts, row.id) != NULL) {
        return give_up(facts, "a transaction stands in the log twice");
    }
    if (facts->count == ROWS_MAX) {
        return give_up(facts, "more than 20,000,000 transactions: take a shorter period");
    }
    if (facts->count == facts->cap && !grow(facts)) {
        return give_up(facts, "out of memory");
    }
    take_codes(record, &row);
    row.officer = number_of(&facts->officers, &record->officer, &full);
    row.device = number_of(&facts->devices, &record->device, &full);
    row.basis = number_of(&facts->bases, &record->basis, &full);
    row.stop_power = number_of(&facts->stop_powers, &record->stop_power, &full);
    take_answers(facts, record, &row, &full);
    if (full) {
        return give_up(facts, "too many different officers, devices, bases, stop powers or "
                              "backends, or out of memory");
    }
    take_chain(facts, record, &row);
    facts->rows[facts->count] = row;
    link_row(facts, facts->count++);
    return true;
}

static bool add_lookup(struct facts *facts, const struct record *record)
{
    const struct record_text *name = &record->answers[0].backend;
    uint32_t backend = names_add(&facts->backends, name->at, name->len);
    if (backend >= FACTS_BACKENDS_MAX) {
        return give_up(facts, "more than 16 backends");
    }
    facts->lookup_backends |= (uint16_t)(1u << backend);
    return true;
}

static void add_outcome(const struct facts *facts, const struct record *record)
{
    uint8_t id[16];
    record_uuid(&record->transaction, id);
    struct transaction *row = find(facts, id);
    if (row != NULL) {
        row->outcome = record->outcome;
        row->contacted_control |= record->contacted_control;
    }
}

static bool add_refused(struct facts *facts, const struct record *record)
{
    bool full = false;
    uint32_t code = number_of(&facts->refused_codes, &record->code, &full);
    if (full) {
        return give_up(facts, "more than 64 kinds of refused requests");
    }
    facts->refused[code]++;
    return true;
}

bool facts_add(struct facts *facts, const struct record *record)
{
    switch (record->kind) {
    case RECORD_IDENTIFY:
        return !in_scope(facts, record) || add_identify(facts, record);
    case RECORD_LOOKUP: /* whatever its time: it says what kind of backend that is */
        return add_lookup(facts, record);
    case RECORD_OUTCOME: /* whenever it came */
        add_outcome(facts, record);
        return true;
    case RECORD_REFUSED:
        return !in_scope(facts, record) || add_refused(facts, record);
    case RECORD_DISCLOSURE: /* nothing was searched for it */
    case RECORD_COLLECTION:
    case RECORD_ALTERATION:
    case RECORD_ERASURE:
    case RECORD_OTHER:
    default:
        return true;
    }
}

void facts_finish(struct facts *facts)
{
    for (uint32_t i = 0; i < facts->count; i++) {
        struct transaction *row = &facts->rows[i], *first = &facts->rows[row->chain];
        for (uint32_t b = 0; b < facts->backends.count; b++) {
            row->identified |=
                facts_is_search(facts, b) && facts_class(row, b) == CLASS_MATCH && !row->refusal;
        }
        /* A chain that began before the period was counted then. */
        if (!row->refusal && !first->continued && !first->counted) {
            first->counted = row->person = true;
        }
    }
}

bool facts_open(const struct facts *facts, bool *open)
{
    uint32_t *latest = calloc(facts->count + 1u, sizeof *latest); /* of a chain: where its last
                                                                     encounter begins, + 1 */
    uint32_t *first = calloc(facts->count + 1u, sizeof *first);
    bool *closed = calloc(facts->count + 1u, sizeof *closed);
    bool ok = latest != NULL && first != NULL && closed != NULL;
    for (uint32_t i = 0; ok && i < facts->count; i++) {
        const struct transaction *row = &facts->rows[i];
        uint32_t *begin = &latest[row->chain];
        if (*begin == 0 || !facts_scans_again(&facts->rows[*begin - 1], row)) {
            *begin = i + 1;
        }
        first[i] = *begin - 1;
        closed[first[i]] |= row->outcome < codes_outcome.count;
    }
    for (uint32_t i = 0; ok && i < facts->count; i++) {
        open[i] = !facts->rows[i].refusal && !closed[first[i]];
    }
    free(latest);
    free(first);
    free(closed);
    return ok;
}
