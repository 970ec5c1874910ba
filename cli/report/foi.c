#include "report/foi.h"

#include "report/codes.h"
#include "report/group.h"
#include "report/month.h"
#include "report/text.h"

/* One row of counts, in the order of the columns below. */
struct counts {
    int64_t uses, persons, identifications, refusals, contacted_control;
    int64_t outcomes[16]; /* codes_outcome, then: none recorded */
};

static void add(struct counts *counts, const struct transaction *row)
{
    counts->refusals += row->refusal;
    if (row->refusal) {
        return;
    }
    counts->uses++;
    counts->persons += row->person;
    counts->identifications += row->identified;
    counts->contacted_control += row->contacted_control;
    counts->outcomes[row->outcome]++;
}

static void columns(struct table *table)
{
    table_column(table, "uses", "Uses");
    table_column(table, "persons", "Persons");
    table_column(table, "identifications", "Identifications");
    table_column(table, "refusals", "Refusals");
    table_column(table, "contacted_control", "Command and Control contacted");
    for (uint8_t o = 0; o < codes_outcome.count; o++) {
        table_column(table, codes_outcome.codes[o].code, codes_outcome.codes[o].label);
    }
    table_column(table, "no_outcome", "No outcome recorded");
}

static void put(struct document *doc, struct table *table, const char *code, const char *label,
                const struct counts *counts)
{
    struct doc_row *row = document_row(doc, table, code, label, "");
    if (row == NULL) {
        return;
    }
    cell_count(&row->cells[0], counts->uses);
    cell_count(&row->cells[1], counts->persons);
    cell_count(&row->cells[2], counts->identifications);
    cell_count(&row->cells[3], counts->refusals);
    cell_count(&row->cells[4], counts->contacted_control);
    for (unsigned o = 0; o <= codes_outcome.count; o++) {
        cell_count(&row->cells[5 + o], counts->outcomes[o]);
    }
}

static void totals(struct document *doc, const struct facts *facts)
{
    struct counts counts = {0};
    for (uint32_t i = 0; i < facts->count; i++) {
        add(&counts, &facts->rows[i]);
    }
    struct table *table =
        document_table(doc, "period", "How often was it used, and what happened next?",
                       "Outcomes are those of uses. Of several outcomes, the last counts.");
    columns(table);
    put(doc, table, "period", "The whole period", &counts);
}

/* Months of UK local time, each counted by itself: a year has twelve of them. */
static void by_month(struct document *doc, const struct facts *facts)
{
    struct local_time first = period_local(facts->period.from);
    struct table *table = document_table(doc, "month", "When?", "Months of UK local time.");
    columns(table);
    for (unsigned m = 0;; m++) {
        int month = first.month - 1 + (int)m, year = first.year + month / 12;
        int64_t from = period_day_start(year, month % 12 + 1, 1);
        int64_t until = period_day_start(year, month % 12 + 2, 1);
        struct counts counts = {0};
        char name[32];
        if (from >= facts->period.until) {
            break;
        }
        for (uint32_t i = 0; i < facts->count; i++) {
            if (facts->rows[i].time_ms >= from && facts->rows[i].time_ms < until) {
                add(&counts, &facts->rows[i]);
            }
        }
        snprintf(name, sizeof name, "%04d-%02d", year, month % 12 + 1);
        put(doc, table, name, name, &counts);
    }
}

/* By a closed list, whose codes the rows hold at `value_of`. */
static void by_code(struct document *doc, const struct facts *facts, const char *id,
                    const char *title, const struct code_list *codes,
                    uint8_t (*value_of)(const struct transaction *row))
{
    struct counts counts[32] = {0};
    for (uint32_t i = 0; i < facts->count; i++) {
        add(&counts[value_of(&facts->rows[i])], &facts->rows[i]);
    }
    struct table *table = document_table(doc, id, title, "");
    columns(table);
    for (unsigned c = 0; c < codes->count; c++) {
        put(doc, table, codes->codes[c].code, codes->codes[c].label, &counts[c]);
    }
    put(doc, table, "", "Not recorded", &counts[codes->count]);
}

static uint8_t seen(const struct transaction *row)
{
    return row->ethnicity_officer;
}

static uint8_t said(const struct transaction *row)
{
    return row->ethnicity_self;
}

static uint8_t gender(const struct transaction *row)
{
    return row->gender;
}

static uint8_t age(const struct transaction *row)
{
    return row->age_band;
}

bool foi_build(const struct facts *facts, const struct scan *scan, const char *force,
               const char *force_title, struct document *doc)
{
    char title[256], subtitle[256];
    snprintf(title, sizeof title, "Questions asked by law: %.*s", text_most(force_title, 128),
             force_title);
    snprintf(subtitle, sizeof subtitle,
             "%s to %s. Exact counts, small ones too: consider exemptions before disclosure.",
             facts->period.first, facts->period.last);
    document_begin(doc, "foi", title, subtitle);
    document_scope(doc, force, facts->period.first, facts->period.last);
    totals(doc, facts);
    by_month(doc, facts);
    month_answers(doc, facts);
    month_group(doc, facts, BY_BASIS);
    month_group(doc, facts, BY_STOP_POWER);
    month_group(doc, facts, BY_REASON_CODE);
    month_group(doc, facts, BY_CONSENT);
    by_code(doc, facts, "ethnicity_officer", "Ethnicity as the officer saw it",
            &codes_ethnicity_officer, seen);
    by_code(doc, facts, "ethnicity_self", "Ethnicity as the person defined it",
            &codes_ethnicity_self, said);
    by_code(doc, facts, "gender", "Gender", &codes_gender, gender);
    by_code(doc, facts, "age_band", "Age band", &codes_age_band, age);
    month_refused(doc, facts);
    month_definitions(doc);
    month_source(doc, scan);
    return !doc->failed;
}
