/* whorl report public. */
#include <argp.h>
#include <limits.h>

#include "commands.h"
#include "common.h"
#include "report/public.h"
#include "report/report.h"

enum { OPT_FORCE = 0x100, OPT_THRESHOLD, OPT_HOURS, OPT_POUNDS };

struct options {
    const char *dir, *force, *month, *out;
    struct period period;
    struct public_options report;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_FORCE:
        o->force = arg;
        return 0;
    case OPT_THRESHOLD:
        o->report.threshold = (int64_t)report_parse_number(state, "threshold", arg, 2, 1000);
        return 0;
    case OPT_HOURS:
        o->report.rates.hours = report_parse_number(state, "custody-hours", arg, 0, 1000);
        return 0;
    case OPT_POUNDS:
        o->report.rates.pounds = report_parse_number(state, "custody-pounds", arg, 0, 100000);
        return 0;
    case 'o':
        o->out = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->month == NULL) {
            o->month = arg;
            if (!period_of_month(arg, &o->period)) {
                argp_error(state, "expected a month as YYYY-MM, found \"%s\"", arg);
            }
            return 0;
        }
        break;
    case ARGP_KEY_END:
        if (o->month == NULL || o->out == NULL) {
            argp_error(state, "%s is missing", o->month == NULL ? "YYYY-MM" : "-o OUT");
        }
        break;
    default:
        break;
    }
    return parse_conf_dir(key, arg, state, &o->dir);
}

static int make(const struct report_source *source, struct options *o)
{
    struct facts facts;
    struct scan scan;
    struct document doc = {0}, dictionary = {0};
    char name[PATH_MAX];
    int code = report_read_facts(source, &o->period, &facts, &scan);
    o->report.force = source->force != NULL ? source->force->code : "all";
    o->report.force_title = source->force != NULL ? source->force->title : "all forces";
    snprintf(name, sizeof name, "%.4000s-dictionary", o->out);
    if (code == EXIT_DONE) {
        if (public_build(&facts, &o->report, &doc) &&
            public_dictionary(&doc, &o->report, &dictionary)) {
            code = report_write_files(&doc, o->out, true);
            if (code == EXIT_DONE) {
                code = report_write_files(&dictionary, name, false);
            }
            code = report_warn(&scan, code);
        } else {
            fputs("whorl report: out of memory\n", stderr);
            code = EXIT_FAILED;
        }
    }
    document_release(&doc);
    document_release(&dictionary);
    facts_release(&facts);
    return code;
}

int report_public(int argc, char **argv)
{
    static const struct argp_option options[] = {
        CONF_DIR_OPTION,
        {"force", OPT_FORCE, "CODE", 0, "The officers' force; left out: all together", 2},
        {NULL, 'o', "OUT", 0,
         "Writes OUT.html, OUT.csv, OUT.json, and OUT-dictionary.csv and .json", 2},
        {"threshold", OPT_THRESHOLD, "N", 0, "The smallest number that is published (default 5)",
         3},
        {"custody-hours", OPT_HOURS, "N", 0,
         "Hours in custody that a trip there takes on average (default 14)", 3},
        {"custody-pounds", OPT_POUNDS, "N", 0, "What each of them costs (default 30)", 3},
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "YYYY-MM",
        .doc = "Reports a month for publication: no officers, no devices, no reasons, and no "
               "number so small that somebody could be recognised, nor one from which such a "
               "number could be computed.\n\nPublish each force apart or all together, never "
               "both, and never a month twice with different options: what is withheld in one "
               "could be computed from the other.\v"
               "Exit status: 0 done, 1 done, but some records of the log are malformed and not "
               "counted, 2 wrong usage, 3 failure.",
    };
    struct options o = {.report = {.threshold = 5, .rates = {.hours = 14, .pounds = 30}}};
    struct report_source source = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int code = report_open_source(o.dir, o.force, &source);
    if (code == EXIT_DONE) {
        code = make(&source, &o);
    }
    report_close_source(&source);
    return code;
}
