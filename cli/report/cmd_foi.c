/* whorl report foi, and whorl report open: lists for a period. */
#include <argp.h>
#include <stdlib.h>

#include "commands.h"
#include "common.h"
#include "core/identify/stamp.h"
#include "report/codes.h"
#include "report/disclosure.h"
#include "report/foi.h"
#include "report/report.h"

#define DAY_MS INT64_C(86400000)

enum { OPT_FORCE = 0x100, OPT_FROM, OPT_TO, OPT_DAYS };

struct options {
    const char *dir, *force, *from, *to, *format;
    double days;
    struct period period;
};

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_FORCE:
        o->force = arg;
        return 0;
    case REPORT_FORMAT:
        o->format = report_parse_format(state, arg);
        return 0;
    default:
        return parse_conf_dir(key, arg, state, &o->dir);
    }
}

#define FORCE_OPTION                                                                               \
    {                                                                                              \
        "force", OPT_FORCE, "CODE", 0, "The officers' force; left out: all together", 2            \
    }

/* ------------------------------------------------------------------ foi */

static error_t parse_foi(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_FROM:
        o->from = arg;
        return 0;
    case OPT_TO:
        o->to = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->from == NULL || o->to == NULL) {
            argp_error(state, "%s is missing", o->from == NULL ? "--from" : "--to");
        } else if (!period_of_days(o->from, o->to, &o->period)) {
            argp_error(state, "expected two dates as YYYY-MM-DD, the earlier one first");
        }
        break;
    default:
        break;
    }
    return parse_common(key, arg, state);
}

static int make_foi(const struct report_source *source, void *options)
{
    const struct options *o = options;
    struct facts facts;
    struct scan scan;
    struct document doc = {0};
    int code = report_read_facts(source, &o->period, &facts, &scan);
    if (code == EXIT_DONE) {
        foi_build(&facts, &scan, source->force != NULL ? source->force->code : "all",
                  source->force != NULL ? source->force->title : "all forces", &doc);
        code = report_warn(&scan, report_print(&doc, o->format));
    }
    document_release(&doc);
    facts_release(&facts);
    return code;
}

int report_foi(int argc, char **argv)
{
    static const struct argp_option options[] = {
        CONF_DIR_OPTION,
        {"from", OPT_FROM, "DATE", 0, "First day, YYYY-MM-DD, UK local time", 2},
        {"to", OPT_TO, "DATE", 0, "Last day", 2},
        FORCE_OPTION,
        REPORT_FORMAT_OPTION(3),
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_foi,
        .doc = "Answers what forces are asked under the Freedom of Information Act, for a period: "
               "how often the service was used and for how many persons, which databases were "
               "searched and what they answered, on which basis and for which reason, ethnicity, "
               "gender and age, refusals, whether Command and Control was contacted, and what "
               "happened next. Counts are exact, small ones too: consider exemptions before "
               "disclosure.\v"
               "Exit status: 0 done, 1 done, but some records of the log are malformed and not "
               "counted, 2 wrong usage, 3 failure.",
    };
    struct options o = {.format = "text"};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return report_with_source(o.dir, o.force, make_foi, &o);
}

/* ------------------------------------------------------------------ open */

static error_t parse_open(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    if (key == OPT_DAYS) {
        o->days = report_parse_number(state, "days", arg, 0, 36500);
        return 0;
    }
    return parse_common(key, arg, state);
}

static void name_uuid(const uint8_t id[16], char text[STAMP_UUID_LEN + 1])
{
    char *at = text;
    for (int i = 0; i < 16; i++) {
        at += sprintf(at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", id[i]);
    }
}

static void list_use(struct document *doc, struct table *table, const struct facts *facts,
                     const struct transaction *row)
{
    char id[STAMP_UUID_LEN + 1], time[STAMP_TIME_LEN + 1];
    name_uuid(row->id, id);
    stamp_time(row->time_ms, time);
    struct doc_row *line = document_row(doc, table, id, id, "");
    if (line != NULL) {
        document_text(doc, &line->cells[0], time);
        document_text(doc, &line->cells[1], facts->officers.texts[row->officer]);
        document_text(doc, &line->cells[2], facts->devices.texts[row->device]);
        document_text(doc, &line->cells[3], facts->bases.texts[row->basis]);
        document_text(doc, &line->cells[4], row->identified ? "yes" : "no");
    }
}

/* *named: the officers of those that are open. */
static void list_open(const struct facts *facts, int64_t before, struct document *doc,
                      struct names *named)
{
    bool *open = calloc(facts->count + 1u, sizeof *open);
    struct table *table = document_table(doc, "open", "Uses without an outcome", "");
    table_column(table, "time", "Time (UTC)");
    table_column(table, "officer", "Officer");
    table_column(table, "device", "Device");
    table_column(table, "basis", "Basis");
    table_column(table, "identified", "Identified");
    bool ok = open != NULL && facts_open(facts, open);
    doc->failed |= !ok;
    for (uint32_t i = 0; ok && i < facts->count; i++) {
        const struct transaction *row = &facts->rows[i];
        if (open[i] && row->time_ms <= before) {
            const char *officer = facts->officers.texts[row->officer];
            list_use(doc, table, facts, row);
            doc->failed |= names_add(named, officer, strlen(officer)) == NAMES_NONE;
        }
    }
    free(open);
}

static int make_open(const struct report_source *source, void *options)
{
    const struct options *o = options;
    struct period always = {.from = INT64_MIN, .until = INT64_MAX};
    struct facts facts;
    struct scan scan;
    struct document doc = {0};
    char subtitle[128];
    struct names named = {0};
    const struct disclosure shown = {
        .report = "open", .flags = DISCLOSURE_NONE, .sample = DISCLOSURE_NONE, .officers = &named};
    struct whorl_fault fault = {0};
    int code = report_read_facts(source, &always, &facts, &scan);
    if (code == EXIT_DONE) {
        snprintf(subtitle, sizeof subtitle, "Older than %g days, as of the last record at %s.",
                 o->days, scan.last_time);
        document_begin(&doc, "open", "Uses whose outcome nobody has recorded", subtitle);
        document_scope(&doc, source->force != NULL ? source->force->code : "all", "", "");
        named.most = facts.officers.count;
        list_open(&facts, stamp_now() - (int64_t)(o->days * (double)DAY_MS), &doc, &named);
        code = report_disclose(source, &shown, &fault)
                   ? report_warn(&scan, report_print(&doc, o->format))
                   : print_fault(&fault);
        code = code == EXIT_DONE && named.count > 0 ? EXIT_NEGATIVE : code;
    }
    names_release(&named);
    document_release(&doc);
    facts_release(&facts);
    return code;
}

int report_open(int argc, char **argv)
{
    static const struct argp_option options[] = {
        CONF_DIR_OPTION,
        {"days", OPT_DAYS, "N", 0, "Only those at least so many days old (default 7)", 2},
        FORCE_OPTION,
        REPORT_FORMAT_OPTION(3),
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_open,
        .doc = "Lists uses after which nobody has recorded an outcome (whorl outcome). Of scans "
               "that continue one another within minutes, on one device, one outcome is enough. "
               "Refusals need none. Whom it names "
               "is recorded first.\v"
               "Exit status: 0 none is open, 1 some are, or some records of the log are "
               "malformed, 2 wrong usage, 3 failure.",
    };
    struct options o = {.format = "text", .days = 7};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return report_with_source(o.dir, o.force, make_open, &o);
}
