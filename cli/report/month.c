#include "report/month.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "report/codes.h"
#include "report/group.h"
#include "report/text.h"

#define SHOWN 40 /* officers and devices that HTML lists */

static const struct {
    const char *term, *meaning;
} definitions[] = {
    {"Transaction", "One request that was answered: an identify record of the audit log. It counts "
                    "for the officer's force, whoever owns the device."},
    {"Refusal", "A transaction in which the person refused consent and no sample was taken. It is "
                "not a use."},
    {"Use", "Any other transaction. Scanning the same person again under a new transaction is "
            "another use."},
    {"Person", "Uses that continue one another are scans of one person and count once, where the "
               "first of them stands. A chain that began before the period was counted then. No "
               "probe is kept, so nothing links two chains: the same person met twice counts "
               "twice."},
    {"Identification", "A use in which at least one fingerprint search answered match. A candidate "
                       "that a person must judge (possible) is none, nor is a look-up by name."},
    {"Outcome", "What the officer recorded afterwards, whenever that was; of several, the last."},
    {"Time", "Days and hours are United Kingdom local time (GMT or BST); the log itself is in "
             "UTC."},
};

void month_definitions(struct document *doc)
{
    struct table *table = document_table(doc, "definitions", "How things are counted", "");
    table_column(table, "meaning", "Meaning");
    for (size_t i = 0; i < sizeof definitions / sizeof *definitions; i++) {
        struct doc_row *row = document_row(doc, table, "", definitions[i].term, "");
        if (row != NULL) {
            document_text(doc, &row->cells[0], definitions[i].meaning);
        }
    }
    if (table != NULL) {
        table->long_form = true;
    }
}

static void source_row(struct document *doc, struct table *table, const char *code,
                       const char *label, const char *text)
{
    struct doc_row *row = document_row(doc, table, code, label, "");
    if (row != NULL) {
        document_text(doc, &row->cells[0], text);
    }
}

void month_source(struct document *doc, const struct scan *scan)
{
    char text[256];
    struct table *table = document_table(
        doc, "source", "Where this comes from",
        "Made from the audit log in one pass. `whorl audit verify` proves that log unchanged.");
    table_column(table, "value", "Value");
    snprintf(text, sizeof text, "%" PRIu64, scan->records);
    source_row(doc, table, "records", "Records read", text);
    source_row(doc, table, "last_record", "Time of the last record (UTC)", scan->last_time);
    snprintf(text, sizeof text, "%" PRIu64, scan->erased);
    source_row(doc, table, "erased", "Erased at the end of their retention, and in no count", text);
    if (scan->malformed == 0) {
        snprintf(text, sizeof text, "0");
    } else {
        snprintf(text, sizeof text, "%" PRIu64 "; the first is record %" PRIu64 ": %s",
                 scan->malformed, scan->first_malformed, scan->why);
    }
    source_row(doc, table, "malformed", "Not of the form that they should have, and in no count",
               text);
    if (table != NULL) {
        table->long_form = true;
    }
}

/* ------------------------------------------------------------------ totals */

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void add_use(const struct transaction *row, struct totals *totals)
{
    totals->uses++;
    totals->persons += row->person;
    totals->identifications += row->identified;
    totals->contacted_control += row->contacted_control;
    totals->without_outcome += row->outcome == codes_outcome.count;
    totals->custody_avoided += row->identified && row->outcome < codes_outcome.count &&
                               row->outcome != OUTCOME_ARRESTED_CRIME &&
                               row->outcome != OUTCOME_ARRESTED_IMMIGRATION;
}

bool month_totals(const struct facts *facts, struct totals *totals)
{
    uint32_t *times = calloc(facts->count + 1u, sizeof *times);
    bool *devices = calloc(facts->devices.count + 1u, sizeof *devices);
    bool ok = times != NULL && devices != NULL;
    uint64_t sum = 0;
    *totals = (struct totals){.transactions = facts->count};
    for (uint32_t i = 0; ok && i < facts->count; i++) {
        const struct transaction *row = &facts->rows[i];
        if (row->refusal) {
            totals->refusals++;
            continue;
        }
        times[totals->uses] = row->elapsed_ms;
        sum += row->elapsed_ms;
        if (row->device != NAMES_NONE && !devices[row->device]) {
            devices[row->device] = true;
            totals->devices_used++;
        }
        add_use(row, totals);
    }
    if (ok && totals->uses > 0) {
        size_t uses = (size_t)totals->uses;
        qsort(times, uses, sizeof *times, ascending);
        totals->elapsed_mean_ms = (int64_t)((sum + uses / 2) / uses);
        totals->elapsed_p95_ms = times[(95 * uses + 99) / 100 - 1];
    }
    free(times);
    free(devices);
    return ok;
}

/* ------------------------------------------------------------------ the report's tables */

static void figure(struct document *doc, struct table *table, const char *code, const char *label,
                   const char *note, int64_t value)
{
    struct doc_row *row = document_row(doc, table, code, label, note);
    if (row != NULL) {
        cell_count(&row->cells[0], value);
    }
}

static void decimal(struct document *doc, struct table *table, const char *code, const char *label,
                    const char *note, double value)
{
    struct doc_row *row = document_row(doc, table, code, label, note);
    if (row != NULL) {
        cell_decimal(&row->cells[0], value);
    }
}

static void summary_counts(struct document *doc, struct table *table, const struct totals *t)
{
    figure(doc, table, "uses", "Uses", "Transactions without the refusals", t->uses);
    figure(doc, table, "persons", "Persons", "Scans of one person in a row count once", t->persons);
    figure(doc, table, "identifications", "Identifications", "A fingerprint search answered match",
           t->identifications);
    figure(doc, table, "refusals", "Refusals", "Consent refused, no sample taken", t->refusals);
    figure(doc, table, "transactions", "Transactions", "Uses and refusals", t->transactions);
    figure(doc, table, "without_outcome", "Uses without an outcome",
           "Nobody has recorded what happened next", t->without_outcome);
    figure(doc, table, "contacted_control", "Command and Control contacted",
           "Uses of which an outcome says so", t->contacted_control);
    decimal(doc, table, "elapsed_mean_s", "Seconds, on average", "From request to answer, of uses",
            (double)t->elapsed_mean_ms / 1000);
    decimal(doc, table, "elapsed_p95_s", "Seconds, 95th percentile",
            "19 of 20 uses were answered in this time (nearest rank)",
            (double)t->elapsed_p95_ms / 1000);
}

static void summary_devices(struct document *doc, struct table *table, const struct totals *t,
                            const struct month_options *options)
{
    /* Devices that were removed since, or lent by others, were used all the same. */
    bool registered = options->devices >= t->devices_used;
    int64_t devices = registered ? options->devices : t->devices_used;
    figure(doc, table, "devices_used", "Devices used", "By at least one use", t->devices_used);
    figure(doc, table, "devices", "Devices",
           registered ? "Registered to this force, and active, when the report was made"
                      : "Those that were used: fewer are registered to this force now",
           devices);
    decimal(doc, table, "uses_per_100_devices", "Uses per 100 devices", "Uses / devices x 100",
            devices > 0 ? 100.0 * (double)t->uses / (double)devices : 0);
}

static void summary_custody(struct document *doc, struct table *table, const struct totals *t,
                            const struct custody_rates *rates)
{
    char note[200];
    double hours = rates->hours * (double)t->custody_avoided;
    figure(doc, table, "custody_trips_avoided", "Trips to custody avoided",
           "Assumed: an identification with a recorded outcome other than arrest would have been "
           "a trip to custody",
           t->custody_avoided);
    snprintf(note, sizeof note, "Assumed: %g hours in custody for each trip", rates->hours);
    decimal(doc, table, "custody_hours_avoided", "Hours in custody avoided", note, hours);
    snprintf(note, sizeof note, "Assumed: %g pounds for each hour", rates->pounds);
    decimal(doc, table, "custody_pounds_avoided", "Pounds saved", note, hours * rates->pounds);
}

void month_class_counts(const struct facts *facts, uint32_t backend, int64_t counts[7])
{
    memset(counts, 0, 7 * sizeof *counts);
    for (uint32_t i = 0; i < facts->count; i++) {
        const struct transaction *row = &facts->rows[i];
        if (!row->refusal) {
            uint8_t class = facts_class(row, backend);
            counts[class < codes_class.count ? class : codes_class.count]++;
        }
    }
}

static const char *backend_kind(const struct facts *facts, uint32_t backend,
                                const int64_t counts[7])
{
    bool asked = false;
    for (unsigned c = 0; c < CLASS_NOT_ASKED; c++) {
        asked |= counts[c] > 0;
    }
    return !facts_is_search(facts, backend) ? "Look-up" : asked ? "Search" : "Never asked";
}

void month_answers(struct document *doc, const struct facts *facts)
{
    struct table *table = document_table(
        doc, "answers", "Answers of each database",
        "Uses by what the database answered. Unavailable and not searched are never no match.");
    for (uint8_t c = 0; c < codes_class.count; c++) {
        table_column(table, codes_class.codes[c].code, codes_class.codes[c].label);
    }
    table_column(table, "not_configured", "Not configured");
    for (uint32_t b = 0; b < facts->backends.count; b++) {
        int64_t counts[7];
        month_class_counts(facts, b, counts);
        struct doc_row *row =
            document_row(doc, table, facts->backends.texts[b], backend_kind(facts, b, counts), "");
        for (unsigned c = 0; row != NULL && c < 7; c++) {
            cell_count(&row->cells[c], counts[c]);
        }
    }
}

void month_group(struct document *doc, const struct facts *facts, enum dimension dimension)
{
    struct group group;
    if (!group_by(facts, dimension, &group)) {
        doc->failed = true;
        return;
    }
    struct table *table = document_table(
        doc, group_id(dimension), group_title(dimension),
        dimension == BY_OUTCOME ? "Of several outcomes of a use, the last that was recorded counts."
                                : "");
    table_column(table, "uses", "Uses");
    table_column(table, "persons", "Persons");
    table_column(table, "identifications", "Identifications");
    if (table != NULL) {
        table->chart = dimension == BY_HOUR ? CHART_HOURS : CHART_BARS;
        table->shown = dimension == BY_OFFICER || dimension == BY_DEVICE ? SHOWN : 0;
    }
    for (uint32_t i = 0; i < group.count; i++) {
        const struct group_row *from = &group.rows[i];
        struct doc_row *row = document_row(doc, table, from->code, from->label, "");
        if (row != NULL) {
            cell_count(&row->cells[0], from->uses);
            cell_count(&row->cells[1], from->persons);
            cell_count(&row->cells[2], from->identifications);
        }
    }
    group_release(&group);
}

static void weekday_by_hour(struct document *doc, const struct facts *facts)
{
    static const char *const ids[24] = {
        "hour_00", "hour_01", "hour_02", "hour_03", "hour_04", "hour_05", "hour_06", "hour_07",
        "hour_08", "hour_09", "hour_10", "hour_11", "hour_12", "hour_13", "hour_14", "hour_15",
        "hour_16", "hour_17", "hour_18", "hour_19", "hour_20", "hour_21", "hour_22", "hour_23"};
    int64_t counts[7][24] = {0};
    for (uint32_t i = 0; i < facts->count; i++) {
        if (!facts->rows[i].refusal) {
            counts[facts->rows[i].weekday][facts->rows[i].hour]++;
        }
    }
    struct table *table =
        document_table(doc, "weekday_hour", "Uses by day of the week and hour", "");
    for (unsigned h = 0; h < 24; h++) {
        table_column(table, ids[h], ids[h] + 5);
    }
    if (table != NULL) {
        table->chart = CHART_HEAT;
    }
    for (unsigned d = 0; d < 7; d++) {
        struct doc_row *row =
            document_row(doc, table, codes_weekday.codes[d].code, codes_weekday.codes[d].label, "");
        for (unsigned h = 0; row != NULL && h < 24; h++) {
            cell_count(&row->cells[h], counts[d][h]);
        }
    }
}

void month_refused(struct document *doc, const struct facts *facts)
{
    struct table *table = document_table(
        doc, "refused", "Requests turned away",
        "Requests that ended in an error before any search, by its code (docs/protocol.md). They "
        "are no transactions. Those whose officer's force is unknown are not here.");
    table_column(table, "requests", "Requests");
    for (uint32_t i = 0; i < facts->refused_codes.count; i++) {
        figure(doc, table, facts->refused_codes.texts[i], facts->refused_codes.texts[i], "",
               facts->refused[i]);
    }
}

bool month_build(const struct facts *facts, const struct scan *scan,
                 const struct month_options *options, struct document *doc)
{
    static const enum dimension order[] = {BY_BASIS,
                                           BY_STOP_POWER,
                                           BY_REASON_CODE,
                                           BY_CONSENT,
                                           BY_CONDITION,
                                           BY_OUTCOME,
                                           BY_ETHNICITY_OFFICER,
                                           BY_ETHNICITY_SELF,
                                           BY_GENDER,
                                           BY_AGE_BAND,
                                           BY_HOUR,
                                           BY_WEEKDAY};
    struct totals totals;
    char title[256], subtitle[256];
    snprintf(title, sizeof title, "Mobile identification: %.*s",
             text_most(options->force_title, 128), options->force_title);
    snprintf(subtitle, sizeof subtitle,
             "%s to %s. For the PNC Bureau, Professional Standards and Information Management; not "
             "for publication.",
             facts->period.first, facts->period.last);
    document_begin(doc, "month", title, subtitle);
    document_scope(doc, options->force, facts->period.first, facts->period.last);
    if (!month_totals(facts, &totals)) {
        return false;
    }
    struct table *summary = document_table(doc, "summary", "The month in figures", "");
    table_column(summary, "value", "Value");
    summary_counts(doc, summary, &totals);
    summary_devices(doc, summary, &totals, options);
    summary_custody(doc, summary, &totals, &options->rates);
    month_answers(doc, facts);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        month_group(doc, facts, order[i]);
    }
    weekday_by_hour(doc, facts);
    month_group(doc, facts, BY_OFFICER);
    month_group(doc, facts, BY_DEVICE);
    month_refused(doc, facts);
    month_definitions(doc);
    month_source(doc, scan);
    return !doc->failed;
}
