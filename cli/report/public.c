#include "report/public.h"

#include <stdlib.h>
#include <string.h>

#include "report/codes.h"
#include "report/group.h"
#include "report/suppress.h"
#include "report/text.h"

#define OTHER "(other)"
#define SEARCHES_MAX 6u /* searches whose answers are published, each with all others */

struct publishing {
    const struct facts *facts;
    const struct public_options *options;
    struct document *doc;
    struct totals totals;
    bool split;          /* identifications may be published */
    bool outcomes_whole; /* nothing of the table of outcomes is withheld */
    struct basis *bases; /* by number; one more at the end: not recorded */
};

struct basis {
    enum suppress_state state; /* of its row in the table of bases */
    bool used, asked;          /* for one database at a time: by any use; and it was searched */
};

/* A table by a property, and how its rows are published. */
struct grouped {
    enum dimension dimension;
    struct group group;
    struct suppress_row *rows;
    bool published; /* otherwise it is withheld whole */
};

static bool safe(const struct publishing *p, int64_t count)
{
    return suppress_safe(count, p->options->threshold);
}

static void set_cell(struct cell *cell, bool shown, int64_t value)
{
    if (shown) {
        cell_count(cell, value);
    } else {
        *cell = (struct cell){.kind = CELL_SUPPRESSED};
    }
}

static void hide_unless(bool shown, struct cell *cell)
{
    if (!shown) {
        *cell = (struct cell){.kind = CELL_SUPPRESSED};
    }
}

/* ------------------------------------------------------------------ totals */

static void figure(const struct publishing *p, struct table *table, const char *code,
                   const char *label, const char *note, bool shown, int64_t value)
{
    struct doc_row *row = document_row(p->doc, table, code, label, note);
    if (row != NULL) {
        set_cell(&row->cells[0], shown, value);
    }
}

/* Each figure with what remains of the uses beside it: both must be safe. */
static void summary(const struct publishing *p)
{
    const struct totals *t = &p->totals;
    bool any = safe(p, t->uses);
    struct table *table = document_table(p->doc, "summary", "The month in figures", "");
    table_column(table, "value", "Value");
    figure(p, table, "uses", "Uses", "Transactions without the refusals", any, t->uses);
    figure(p, table, "persons", "Persons", "Scans of one person in a row count once",
           any && safe(p, t->persons) && safe(p, t->uses - t->persons), t->persons);
    figure(p, table, "identifications", "Identifications", "A fingerprint search answered match",
           p->split, t->identifications);
    figure(p, table, "refusals", "Refusals", "Consent refused, no sample taken",
           safe(p, t->refusals), t->refusals);
    figure(p, table, "contacted_control", "Command and Control contacted",
           "Uses of which an outcome says so",
           any && safe(p, t->contacted_control) && safe(p, t->uses - t->contacted_control),
           t->contacted_control);
    struct doc_row *row = document_row(p->doc, table, "elapsed_mean_s", "Seconds, on average",
                                       "From request to answer, of uses");
    if (row != NULL && any && t->uses > 0) {
        cell_decimal(&row->cells[0], (double)t->elapsed_mean_ms / 1000);
    } else if (row != NULL) {
        set_cell(&row->cells[0], false, 0);
    }
}

/* It can be computed from the table of outcomes; so nothing of that may be withheld. */
static void custody(const struct publishing *p)
{
    const struct custody_rates *rates = &p->options->rates;
    char note[200];
    struct table *table = document_table(
        p->doc, "custody", "Trips to custody avoided",
        "Assumed: an identification with a recorded outcome other than arrest would have been a "
        "trip to custody.");
    table_column(table, "value", "Value");
    figure(p, table, "custody_trips_avoided", "Trips", "", p->outcomes_whole,
           p->totals.custody_avoided);
    snprintf(note, sizeof note, "Hours, at %g for each trip", rates->hours);
    double hours = rates->hours * (double)p->totals.custody_avoided;
    struct doc_row *row = document_row(p->doc, table, "custody_hours_avoided", note, "");
    if (row != NULL) {
        cell_decimal(&row->cells[0], hours);
        hide_unless(p->outcomes_whole, &row->cells[0]);
    }
    snprintf(note, sizeof note, "Pounds, at %g for each hour", rates->pounds);
    row = document_row(p->doc, table, "custody_pounds_avoided", note, "");
    if (row != NULL) {
        cell_decimal(&row->cells[0], hours * rates->pounds);
        hide_unless(p->outcomes_whole, &row->cells[0]);
    }
}

/* ------------------------------------------------------------------ tables by a property */

/* Values that come from records, not from a list, could name somebody: those with few uses are
 * published together. Not recorded stays apart. */
static void merge_small(struct group *group, int64_t threshold)
{
    struct group_row other = {.code = OTHER, .label = "Other, with few uses each"};
    uint32_t kept = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        const struct group_row *row = &group->rows[i];
        if (row->uses < threshold && row->code[0] != '\0') {
            other.uses += row->uses;
            other.persons += row->persons;
            other.identifications += row->identifications;
        } else {
            group->rows[kept++] = *row;
        }
    }
    if (other.uses > 0) {
        group->rows[kept++] = other;
    }
    group->count = kept;
}

static void publish_group(const struct publishing *p, const struct grouped *grouped)
{
    enum dimension dimension = grouped->dimension;
    const struct group *group = &grouped->group;
    const struct suppress_row *states = grouped->rows;
    struct table *table = document_table(p->doc, group_id(dimension), group_title(dimension),
                                         p->split ? ""
                                                  : "Identifications are too few, or too many, "
                                                    "to be published apart.");
    table_column(table, "uses", "Uses");
    if (p->split) {
        table_column(table, "identifications", "Identifications");
    }
    if (table != NULL) {
        table->chart = dimension == BY_HOUR ? CHART_HOURS : CHART_BARS;
    }
    for (uint32_t i = 0; i < group->count; i++) {
        const struct group_row *from = &group->rows[i];
        struct doc_row *row = document_row(p->doc, table, from->code, from->label, "");
        if (row != NULL) {
            set_cell(&row->cells[0], states[i].state != SUPPRESS_HIDDEN, from->uses);
        }
        if (row != NULL && p->split) {
            set_cell(&row->cells[1], states[i].state == SUPPRESS_SHOWN, from->identifications);
        }
    }
}

static void withheld_table(const struct publishing *p, const char *id, const char *title)
{
    document_table(p->doc, id, title,
                   "Withheld: the numbers are too small to be published in any form.");
}

/* Counts and chooses what of it is published. false: out of memory. */
static bool choose(const struct publishing *p, enum dimension dimension, struct grouped *grouped)
{
    int64_t threshold = p->options->threshold;
    *grouped = (struct grouped){.dimension = dimension};
    bool open = !group_is_closed(dimension);
    if (!group_by(p->facts, dimension, &grouped->group)) {
        return false;
    }
    if (open) {
        merge_small(&grouped->group, threshold);
    }
    uint32_t count = grouped->group.count;
    grouped->rows = calloc(count + 1u, sizeof *grouped->rows);
    if (grouped->rows == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct group_row *row = &grouped->group.rows[i];
        bool named = open && row->code[0] != '\0' && strcmp(row->code, OTHER) != 0;
        grouped->rows[i] = (struct suppress_row){
            .uses = row->uses, .identified = row->identifications, .least = named ? threshold : 1};
    }
    grouped->published = suppress_table(grouped->rows, count, p->split, threshold);
    return true;
}

static void grouped_release(struct grouped *grouped)
{
    free(grouped->rows);
    group_release(&grouped->group);
}

/* Returns whether nothing of it is withheld. */
static bool publish(const struct publishing *p, const struct grouped *grouped)
{
    bool whole = grouped->published && p->split;
    if (!grouped->published) {
        withheld_table(p, group_id(grouped->dimension), group_title(grouped->dimension));
        return false;
    }
    publish_group(p, grouped);
    for (uint32_t i = 0; i < grouped->group.count; i++) {
        whole = whole && grouped->rows[i].state == SUPPRESS_SHOWN;
    }
    return whole;
}

/* Both. */
static bool by(const struct publishing *p, enum dimension dimension)
{
    struct grouped grouped;
    bool whole = false;
    if (choose(p, dimension, &grouped)) {
        whole = publish(p, &grouped);
    } else {
        p->doc->failed = true;
    }
    grouped_release(&grouped);
    return whole;
}

/* ------------------------------------------------------------------ answers */

/* With how often each of these searches matched, and how many uses identified somebody, a reader
 * can compute how many matched here and not there. Each such number must be safe. */
static bool searches_safe(const struct publishing *p, const uint32_t *searches, uint32_t count)
{
    int64_t atoms[2u << SEARCHES_MAX] = {0};
    for (uint32_t i = 0; i < p->facts->count; i++) {
        const struct transaction *row = &p->facts->rows[i];
        uint32_t atom = row->identified;
        for (uint32_t s = 0; s < count; s++) {
            atom |= (uint32_t)(facts_class(row, searches[s]) == CLASS_MATCH) << (s + 1);
        }
        atoms[atom] += !row->refusal;
    }
    for (uint32_t a = 0; a < 2u << count; a++) {
        if (!safe(p, atoms[a])) {
            return false;
        }
    }
    return true;
}

/* A basis with few uses has no row of its own, so its number is withheld. */
static enum suppress_state state_of(const struct grouped *bases, const char *code)
{
    for (uint32_t i = 0; bases->published && i < bases->group.count; i++) {
        if (strcmp(bases->group.rows[i].code, code) == 0) {
            return bases->rows[i].state;
        }
    }
    return SUPPRESS_HIDDEN;
}

/* Remembers how every basis is published. */
static void note_bases(struct publishing *p, const struct grouped *grouped)
{
    const struct names *names = &p->facts->bases;
    p->bases = calloc(names->count + 1u, sizeof *p->bases);
    p->doc->failed |= p->bases == NULL;
    for (uint32_t i = 0; p->bases != NULL && i <= names->count; i++) {
        p->bases[i].state = state_of(grouped, i < names->count ? names->texts[i] : "");
    }
}

static void note_asked(const struct publishing *p, uint32_t backend)
{
    uint32_t none = p->facts->bases.count;
    for (uint32_t i = 0; i <= none; i++) {
        p->bases[i].used = p->bases[i].asked = false;
    }
    for (uint32_t i = 0; i < p->facts->count; i++) {
        const struct transaction *row = &p->facts->rows[i];
        struct basis *basis = &p->bases[row->basis < none ? row->basis : none];
        basis->used |= !row->refusal;
        basis->asked |= !row->refusal && facts_class(row, backend) < CLASS_NOT_ASKED;
    }
}

/* By the policy, which is no secret, a database is searched on some bases. So how often it was
 * searched is the sum of those, and how often it matched bounds what they identified. That tells
 * nothing of the bases that are withheld if it is searched on all of these, or on none. */
static bool tells_bases_apart(const struct publishing *p, uint32_t backend)
{
    bool asked = false, spared = false, search = facts_is_search(p->facts, backend);
    note_asked(p, backend);
    for (uint32_t i = 0; i <= p->facts->bases.count; i++) {
        const struct basis *basis = &p->bases[i];
        if (basis->used &&
            (basis->state == SUPPRESS_HIDDEN || (search && basis->state == SUPPRESS_SPLIT))) {
            asked |= basis->asked;
            spared |= !basis->asked;
        }
    }
    return asked && spared;
}

static void publish_classes(const struct publishing *p, uint32_t backend)
{
    char id[96], title[160];
    int64_t counts[7];
    struct suppress_row rows[7] = {0};
    month_class_counts(p->facts, backend, counts);
    for (unsigned c = 0; c < 7; c++) {
        rows[c].uses = counts[c];
    }
    rows[CLASS_MATCH].fixed = facts_is_search(p->facts, backend);
    /* The sum of what some bases have: who knows the policy has it from their table. */
    rows[CLASS_NOT_ASKED].fixed = safe(p, counts[CLASS_NOT_ASKED]);
    snprintf(id, sizeof id, "answers_%.64s", p->facts->backends.texts[backend]);
    snprintf(title, sizeof title, "Answers of %.64s", p->facts->backends.texts[backend]);
    if (!suppress_table(rows, 7, false, p->options->threshold)) {
        withheld_table(p, id, title);
        return;
    }
    struct table *table =
        document_table(p->doc, id, title,
                       "Uses by what this database answered. Unavailable and not searched are "
                       "never no match.");
    table_column(table, "uses", "Uses");
    if (table != NULL) {
        table->chart = CHART_BARS;
    }
    for (unsigned c = 0; c < 7; c++) {
        const struct code none = {"not_configured", "Not configured"};
        const struct code *code = c < codes_class.count ? &codes_class.codes[c] : &none;
        struct doc_row *row = document_row(p->doc, table, code->code, code->label, "");
        if (row != NULL) {
            set_cell(&row->cells[0], rows[c].state != SUPPRESS_HIDDEN, counts[c]);
        }
    }
}

static void answers(const struct publishing *p)
{
    uint32_t searches[SEARCHES_MAX], count = 0;
    for (uint32_t b = 0; b < p->facts->backends.count; b++) {
        bool shown = !tells_bases_apart(p, b);
        if (shown && facts_is_search(p->facts, b)) {
            shown = p->split && count < SEARCHES_MAX;
            if (shown) {
                searches[count] = b;
                shown = searches_safe(p, searches, count + 1);
                count += shown;
            }
        }
        if (shown) {
            publish_classes(p, b);
        } else {
            char id[96], title[160];
            snprintf(id, sizeof id, "answers_%.64s", p->facts->backends.texts[b]);
            snprintf(title, sizeof title, "Answers of %.64s", p->facts->backends.texts[b]);
            withheld_table(p, id, title);
        }
    }
}

/* ------------------------------------------------------------------ the report */

static void tables(struct publishing *p)
{
    /* Basis, consent and condition depend on one another by the force's policy, so that one table's
     * withheld rows could be seen in another: only the basis is published. */
    static const enum dimension order[] = {BY_STOP_POWER,     BY_REASON_CODE, BY_ETHNICITY_OFFICER,
                                           BY_ETHNICITY_SELF, BY_GENDER,      BY_AGE_BAND,
                                           BY_HOUR,           BY_WEEKDAY};
    struct grouped bases;
    p->outcomes_whole = by(p, BY_OUTCOME);
    custody(p);
    if (choose(p, BY_BASIS, &bases)) {
        note_bases(p, &bases);
    } else {
        p->doc->failed = true;
    }
    if (p->bases != NULL) {
        answers(p);
        publish(p, &bases);
    }
    grouped_release(&bases);
    free(p->bases);
    p->bases = NULL;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        by(p, order[i]);
    }
}

bool public_build(const struct facts *facts, const struct public_options *options,
                  struct document *doc)
{
    struct publishing p = {.facts = facts, .options = options, .doc = doc};
    char title[256], subtitle[400];
    snprintf(title, sizeof title, "Mobile identification: %.*s",
             text_most(options->force_title, 128), options->force_title);
    snprintf(subtitle, sizeof subtitle,
             "%s to %s. Numbers from 1 to %d are not published, nor what they could be computed "
             "from: [c] stands in their place.",
             facts->period.first, facts->period.last, (int)options->threshold - 1);
    document_begin(doc, "public", title, subtitle);
    doc->for_publication = true;
    document_scope(doc, options->force, facts->period.first, facts->period.last);
    if (!month_totals(facts, &p.totals)) {
        return false;
    }
    p.split = safe(&p, p.totals.uses) && safe(&p, p.totals.identifications) &&
              safe(&p, p.totals.uses - p.totals.identifications);
    summary(&p);
    if (safe(&p, p.totals.uses) && p.totals.uses > 0) {
        tables(&p);
    }
    month_definitions(doc);
    return !doc->failed;
}

/* ------------------------------------------------------------------ the dictionary */

static void entry(struct document *doc, struct table *table, const char *code, const char *meaning)
{
    struct doc_row *row = document_row(doc, table, code, code, "");
    if (row != NULL) {
        document_text(doc, &row->cells[0], meaning);
    }
}

static void dictionary_tables(struct document *doc, const struct document *report)
{
    struct table *table = document_table(doc, "tables", "Tables", "");
    table_column(table, "meaning", "Meaning");
    for (size_t t = 0; t < report->table_count; t++) {
        entry(doc, table, report->tables[t].id, report->tables[t].title);
    }
    table = document_table(doc, "summary_codes", "Codes of the table summary", "");
    table_column(table, "meaning", "Meaning");
    for (size_t r = 0; report->table_count > 0 && r < report->tables[0].row_count; r++) {
        const struct doc_row *row = &report->tables[0].rows[r];
        char meaning[256];
        snprintf(meaning, sizeof meaning, "%s: %s", row->label, row->note);
        entry(doc, table, row->code, meaning);
    }
}

bool public_dictionary(const struct document *report, const struct public_options *options,
                       struct document *doc)
{
    char mark[400];
    document_begin(doc, "dictionary", "Data dictionary",
                   "What stands in the data files of the report for publication.");
    doc->for_publication = true;
    document_scope(doc, report->force, report->first, report->last);
    struct table *table = document_table(doc, "columns", "Columns of the CSV file", "");
    table_column(table, "meaning", "Meaning");
    entry(doc, table, "force", "Code of the officers' force; all: every force of the service");
    entry(doc, table, "from", "First day of the period, UK local time");
    entry(doc, table, "to", "Last day of the period");
    entry(doc, table, "table", "What the uses are counted by; see tables");
    entry(doc, table, "code", "The value counted, as the service records it; empty: not recorded");
    entry(doc, table, "label", "The same for a reader");
    entry(doc, table, "measure", "What is counted; see measures");
    entry(doc, table, "value", "A whole number, a decimal number, a text, or [c]");
    table = document_table(doc, "measures", "Measures", "");
    table_column(table, "meaning", "Meaning");
    entry(doc, table, "uses", "Uses with this value; over a table they add up to all uses");
    entry(doc, table, "identifications",
          "Those of them in which a fingerprint search answered match");
    entry(doc, table, "value", "The figure that the code names");
    entry(doc, table, "meaning", "The definition of the term in the label");
    table = document_table(doc, "marks", "Marks", "");
    table_column(table, "meaning", "Meaning");
    snprintf(mark, sizeof mark,
             "Confidential: a number from 1 to %d, or one that such a number could be computed "
             "from. It is never zero in the measure uses; in identifications it may be.",
             (int)options->threshold - 1);
    entry(doc, table, "[c]", mark);
    dictionary_tables(doc, report);
    return !doc->failed;
}
