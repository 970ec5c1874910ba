/* whorl report public. */
#include <argp.h>
#include <limits.h>

#include "commands.h"
#include "common.h"
#include "report/public.h"
#include "report/report.h"

enum { OPT_THRESHOLD = 0x100 };

struct options {
    struct month_args args;
    struct public_options report;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    if (key == OPT_THRESHOLD) {
        o->report.threshold = (int64_t)report_parse_number(state, "threshold", arg, 2, 1000);
        return 0;
    }
    return report_parse_month(key, arg, state, &o->args);
}

static int make(const struct report_source *source, void *options)
{
    struct options *o = options;
    struct facts facts;
    struct scan scan;
    struct document doc = {0}, dictionary = {0};
    char name[PATH_MAX];
    int code = report_read_facts(source, &o->args.period, &facts, &scan);
    o->report.rates = o->args.rates;
    o->report.force = source->force != NULL ? source->force->code : "all";
    o->report.force_title = source->force != NULL ? source->force->title : "all forces";
    snprintf(name, sizeof name, "%.4000s-dictionary", o->args.out);
    if (code == EXIT_DONE) {
        if (public_build(&facts, &o->report, &doc) &&
            public_dictionary(&doc, &o->report, &dictionary)) {
            code = report_write_files(&doc, o->args.out, true);
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
        MONTH_ARGS_FORCE("The officers' force; left out: all together"),
        MONTH_ARGS_OUT("Writes OUT.html, OUT.csv, OUT.json, and OUT-dictionary.csv and .json"),
        {"threshold", OPT_THRESHOLD, "N", 0, "The smallest number that is published (default 5)",
         3},
        MONTH_ARGS_HOURS,
        MONTH_ARGS_POUNDS,
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "YYYY-MM",
        .doc = "Reports a month for publication: no officers, no devices, no reasons, and no "
               "number so small that somebody could be recognised, nor one from which such a "
               "number could be computed.\n\nPublish each force apart or all together, never "
               "both, and never a month twice with different options: what is withheld in one "
               "could be computed from the other.\v" MONTH_ARGS_STATUS,
    };
    struct options o = {.args = {.rates = {.hours = 14, .pounds = 30}}, .report = {.threshold = 5}};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return report_with_source(o.args.dir, o.args.force, make, &o);
}
