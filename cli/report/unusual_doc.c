/* Unusual activity as a report. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/identify/stamp.h"
#include "report/codes.h"
#include "report/month.h"
#include "report/text.h"
#include "report/unusual.h"

#define SHOWN 8u         /* records of a flag, in its list */
#define SAMPLE_SHOWN 60u /* uses of the sample that HTML lists */

static const struct {
    const char *term, *meaning;
} methods[] = {
    {"A flag is a question", "It says that something is unusual and why. It is no finding: whoever "
                             "follows it looks at the records, asks, and closes a case with what "
                             "was found."},
    {"The budget", "The tests are set so that chance alone flags no more officers than the budget "
                   "says, counting all tests together (the mean number of false discoveries is "
                   "controlled: Gordon et al., Ann. Appl. Stat. 1 (2007) 179). Four fifths "
                   "of the budget are spent so; the rest is left to the rules, and to where the "
                   "models are wrong."},
    {"p and q", "p: how often an officer like the others would be so far out, with everything that "
                "was tried of this officer counted. q: if all flags of this kind down to this one "
                "are taken, no more than this part of them is false on average (Benjamini and "
                "Hochberg 1995)."},
    {"Uses",
     "A use and those that scan again for it are one: the same officer, on the same device, "
     "within ten minutes of the first, as long as no other person is found. Whatever else "
     "continues a transaction is a use of its own. Refusals are in none."},
    {"Searches of oneself and of colleagues",
     "By the reference that a search returned, never by prints: the reference of a sole match is "
     "one that the vetting unit lists as a member of staff's."},
    {"Impossible travel", "Two uses one after the other, on two devices that were further apart "
                          "than one travels at 160 km/h in a straight line, 3 km left for where "
                          "in its place a device was."},
    {"Out of rostered hours", "More than 15 minutes from any duty of the roster. Uses within six "
                              "hours are one occasion; occasions within four hours of a duty "
                              "(overtime that nobody entered) and those further away are tested "
                              "apart and taken together, at least two."},
    {"Volume", "Uses in an hour of duty (at least seven) and in a shift (at least twelve), against "
               "what all officers do at that hour, weekday and posting, and this officer "
               "otherwise. Negative binomial limits."},
    {"The same person", "Met at least four times by one officer, by the reference found, or else "
                        "by name and birth date as claimed; compared with people whom as many "
                        "other officers met. Somebody without both can't be recognised: no probe "
                        "is kept."},
    {"No follow-up, hit rate, one reason",
     "The officer's share, of at least eight uses, against a funnel with over-dispersion "
     "(Spiegelhalter 2005). Capitals and blanks make no other reason of one. An outcome may "
     "take three days."},
    {"The random sample", "The uses with the smallest SHA-256 of seed, a zero byte, and the 16 "
                          "bytes of the transaction's number. Draw the seed in public after the "
                          "period's end, a lottery's numbers for one: then nobody can steer "
                          "it, and anybody can draw it again."},
};

static void text_cell(struct document *doc, struct cell *cell, const char *text)
{
    document_text(doc, cell, text);
}

static void card(struct document *doc, struct table *table, const char *code, const char *label,
                 const char *note, double value)
{
    struct doc_row *row = document_row(doc, table, code, label, note);
    if (row != NULL && value == (double)(int64_t)value) {
        cell_count(&row->cells[0], (int64_t)value);
    } else if (row != NULL) {
        cell_decimal(&row->cells[0], value);
    }
}

static uint32_t tested_officers(const struct unusual *unusual)
{
    uint32_t count = 0, uses;
    for (uint32_t i = 0; i < unusual_officers(unusual); i++) {
        unusual_of(unusual, i, &uses);
        count += uses > 0;
    }
    return count;
}

static void summary(struct document *doc, const struct unusual *unusual)
{
    double chance = 0;
    struct table *table = document_table(doc, "summary", "In figures", "");
    table_column(table, "value", "Value");
    for (unsigned k = UNUSUAL_HOURS; k < UNUSUAL_KINDS; k++) {
        chance += unusual->limit * unusual->families[k].tested;
    }
    card(doc, table, "officers", "Officers", "With at least one use", tested_officers(unusual));
    card(doc, table, "uses", "Uses", "Scans again not counted", unusual->activity->count);
    card(doc, table, "flags", "Flags", "One for each officer and kind", unusual->flag_count);
    card(doc, table, "by_chance", "Flags by chance",
         "No more than that on average if nobody did anything unusual", chance);
    card(doc, table, "sample", "In the random sample", "Uses to look at", unusual->sample_count);
    if (unusual->options->has_roster) {
        card(doc, table, "unrostered", "Officers not in the roster",
             "Their hours and volume were not looked at: why are they missing?",
             unusual->unrostered);
    }
}

static void kinds(struct document *doc, const struct unusual *unusual)
{
    char note[160];
    snprintf(note, sizeof note,
             "A test flags an officer at p = %.2g or below. What is usual was fitted to this "
             "period.",
             unusual->limit);
    struct table *table = document_table(doc, "kinds", "What was looked for", note);
    table_column(table, "tested", "Officers");
    table_column(table, "flags", "Flags");
    table_column(table, "p", "p");
    table_column(table, "usual", "What is usual");
    if (table != NULL) {
        table->hidden = 1u << 2;
    }
    for (unsigned k = 0; k < UNUSUAL_KINDS; k++) {
        const struct family *family = &unusual->families[k];
        struct doc_row *row = document_row(doc, table, unusual_ids[k], unusual_titles[k], "");
        char p[32];
        if (row == NULL) {
            return;
        }
        cell_count(&row->cells[0], family->tested);
        cell_count(&row->cells[1], family->flagged);
        snprintf(p, sizeof p, "%.2g", unusual->limit);
        text_cell(doc, &row->cells[2], k < UNUSUAL_HOURS ? "a rule" : p);
        if (family->skipped != NULL) {
            snprintf(p, sizeof p, "not looked for: %s", family->skipped);
        }
        text_cell(doc, &row->cells[3], family->skipped != NULL ? p : family->usual);
    }
}

static void uuid_text(const uint8_t id[16], char text[40])
{
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        at += (size_t)snprintf(text + at, 40 - at, "%s%02x",
                               i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", id[i]);
    }
}

/* "7 records, p = …, q = …: 17 (transaction), 23 (…), …". */
static void list_records(const struct unusual *unusual, const struct flag *flag, char *out,
                         size_t cap)
{
    char id[40];
    size_t at = (size_t)snprintf(out, cap, "%u record%s", flag->count, flag->count == 1 ? "" : "s");
    if (flag->kind >= UNUSUAL_HOURS) {
        at += (size_t)snprintf(out + at, cap - at, ", p = %.2g, q = %.2g", flag->p, flag->q);
    }
    at += (size_t)snprintf(out + at, cap - at, ": ");
    for (uint32_t i = 0; i < flag->count && i < SHOWN; i++) {
        uint32_t row = unusual->evidence[flag->first + i];
        uuid_text(unusual->activity->facts.rows[row].id, id);
        at += (size_t)snprintf(out + at, cap - at, "%s%" PRIu64 " (%s)", i > 0 ? ", " : "",
                               unusual->activity->positions[row], id);
    }
    if (flag->count > SHOWN) {
        snprintf(out + at, cap - at, " and %u more, in the data files", flag->count - SHOWN);
    }
}

static void flag_code(size_t number, char code[16])
{
    snprintf(code, 16, "F%04zu", number + 1);
}

static void flags(struct document *doc, const struct unusual *unusual)
{
    static const char *const ids[][2] = {
        {"kind", "Kind"}, {"officer", "Officer"}, {"why", "Why"},         {"p", "p"},
        {"q", "q"},       {"count", "Records"},   {"records", "Rests on"}};
    struct table *table = document_table(
        doc, "flags", "Flags",
        "In the order in which to look at them: rules, then the tests by q. Open a case with "
        "`whorl case open --report FILE FLAG`; `whorl audit list` shows the records.");
    for (size_t c = 0; c < sizeof ids / sizeof *ids; c++) {
        table_column(table, ids[c][0], ids[c][1]);
    }
    if (table != NULL) {
        table->long_form = true;
        table->hidden = ~(1u << 2 | 1u << 6); /* a reader has the others in heading and list */
    }
    for (uint32_t i = 0; i < unusual->flag_count; i++) {
        const struct flag *flag = &unusual->flags[i];
        const char *officer = unusual->activity->facts.officers.texts[flag->officer];
        char code[16], title[128], text[1024] = "";
        flag_code(i, code);
        snprintf(title, sizeof title, "%s  %s: officer %s", code, unusual_titles[flag->kind],
                 officer);
        struct doc_row *row = document_row(doc, table, code, title, "");
        if (row == NULL) {
            return;
        }
        text_cell(doc, &row->cells[0], unusual_ids[flag->kind]);
        text_cell(doc, &row->cells[1], officer);
        text_cell(doc, &row->cells[2], flag->why);
        if (flag->kind >= UNUSUAL_HOURS) {
            snprintf(text, sizeof text, "%.2g", flag->p);
            text_cell(doc, &row->cells[3], text);
            snprintf(text, sizeof text, "%.2g", flag->q);
            text_cell(doc, &row->cells[4], text);
        }
        cell_count(&row->cells[5], flag->count);
        list_records(unusual, flag, text, sizeof text);
        text_cell(doc, &row->cells[6], text);
    }
}

static void put_use(struct document *doc, struct cell cells[3], const struct unusual *unusual,
                    uint32_t use)
{
    const struct facts *facts = &unusual->activity->facts;
    const struct transaction *from = &facts->rows[use];
    char time[32];
    unusual_time(from->time_ms, time);
    text_cell(doc, &cells[0], time);
    text_cell(doc, &cells[1], facts->officers.texts[from->officer]);
    text_cell(doc, &cells[2], facts->devices.texts[from->device]);
}

static void use_columns(struct table *table)
{
    table_column(table, "time", "Time");
    table_column(table, "officer", "Officer");
    table_column(table, "device", "Device");
}

/* All records of all flags, for machines. */
static void evidence(struct document *doc, const struct unusual *unusual)
{
    struct table *table =
        document_table(doc, "evidence", "Records that the flags rest on",
                       "code: the flag and a running number; label: the transaction");
    table_column(table, "record", "Record");
    use_columns(table);
    if (table != NULL) {
        table->data_only = true;
    }
    for (uint32_t i = 0; i < unusual->flag_count; i++) {
        const struct flag *flag = &unusual->flags[i];
        for (uint32_t e = 0; e < flag->count; e++) {
            char code[16], name[40], id[40];
            uint32_t use = unusual->evidence[flag->first + e];
            flag_code(i, code);
            snprintf(name, sizeof name, "%s-%u", code, e + 1);
            uuid_text(unusual->activity->facts.rows[use].id, id);
            struct doc_row *row = document_row(doc, table, name, id, "");
            if (row == NULL) {
                return;
            }
            cell_count(&row->cells[0], (int64_t)unusual->activity->positions[use]);
            put_use(doc, &row->cells[1], unusual, use);
        }
    }
}

static void sample(struct document *doc, const struct unusual *unusual)
{
    char note[400];
    snprintf(note, sizeof note,
             "%g %% of all uses, scans again too, whatever else is known of them; in the order of "
             "the draw; code: the record. Seed: %.*s",
             unusual->options->percent, text_most(unusual->options->seed, 200),
             unusual->options->seed);
    struct table *table = document_table(doc, "sample", "Random sample", note);
    use_columns(table);
    if (table != NULL) {
        table->shown = SAMPLE_SHOWN;
    }
    for (uint32_t i = 0; i < unusual->sample_count; i++) {
        char id[40], number[32];
        uuid_text(unusual->activity->facts.rows[unusual->sample[i]].id, id);
        snprintf(number, sizeof number, "%" PRIu64,
                 unusual->activity->positions[unusual->sample[i]]);
        struct doc_row *row = document_row(doc, table, number, id, "");
        if (row == NULL) {
            return;
        }
        put_use(doc, row->cells, unusual, unusual->sample[i]);
    }
}

static void method(struct document *doc)
{
    struct table *table = document_table(doc, "methods", "How this is made", "");
    table_column(table, "meaning", "Meaning");
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct doc_row *row = document_row(doc, table, "", methods[i].term, "");
        if (row != NULL) {
            text_cell(doc, &row->cells[0], methods[i].meaning);
        }
    }
    if (table != NULL) {
        table->long_form = true;
    }
}

bool unusual_build(const struct unusual *unusual, const struct scan *scan, const char *checkpoint,
                   struct document *doc)
{
    const struct period *period = &unusual->activity->facts.period;
    char title[256], subtitle[512];
    snprintf(title, sizeof title, "Unusual activity: %.*s",
             text_most(unusual->options->force_title, 128), unusual->options->force_title);
    snprintf(subtitle, sizeof subtitle,
             "%s to %s. For Professional Standards only. At most %g false alerts for 1,000 "
             "officers are aimed at. Audit log: %s.",
             period->first, period->last, unusual->options->budget, checkpoint);
    document_begin(doc, "unusual", title, subtitle);
    document_scope(doc, unusual->options->force, period->first, period->last);
    summary(doc, unusual);
    kinds(doc, unusual);
    flags(doc, unusual);
    evidence(doc, unusual);
    sample(doc, unusual);
    method(doc);
    month_source(doc, scan);
    return !doc->failed;
}
