/* whorl report month. */
#include <argp.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "core/registry/registry.h"
#include "report/month.h"
#include "report/report.h"

enum { OPT_FORCE = 0x100, OPT_HOURS, OPT_POUNDS };

struct options {
    const char *dir, *force, *month, *out;
    struct period period;
    struct custody_rates rates;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_FORCE:
        o->force = arg;
        return 0;
    case OPT_HOURS:
        o->rates.hours = report_parse_number(state, "custody-hours", arg, 0, 1000);
        return 0;
    case OPT_POUNDS:
        o->rates.pounds = report_parse_number(state, "custody-pounds", arg, 0, 100000);
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
        if (o->month == NULL || o->force == NULL || o->out == NULL) {
            argp_error(state, "%s is missing",
                       o->month == NULL   ? "YYYY-MM"
                       : o->force == NULL ? "--force"
                                          : "-o OUT");
        }
        break;
    default:
        break;
    }
    return parse_conf_dir(key, arg, state, &o->dir);
}

struct counting {
    const char *force;
    int64_t count;
};

static void count_device(void *ctx, const struct registry_device *device)
{
    struct counting *counting = ctx;
    counting->count +=
        device->state == REGISTRY_ACTIVE && strcmp(device->force, counting->force) == 0;
}

/* Active devices of the force; 0 where there is no registry. */
static int64_t registered_devices(const struct report_source *source)
{
    struct counting counting = {.force = source->force->code};
    struct whorl_fault fault;
    struct registry *registry =
        registry_open(source->conf->core.data_dir, WHORL_STORE_READ, &fault);
    if (registry == NULL) {
        return 0;
    }
    bool ok = registry_each_device(registry, count_device, &counting, &fault);
    registry_close(registry);
    return ok ? counting.count : 0;
}

static int make(const struct report_source *source, const struct options *o)
{
    struct facts facts;
    struct scan scan;
    struct document doc = {0};
    int code = report_read_facts(source, &o->period, &facts, &scan);
    if (code == EXIT_DONE) {
        struct month_options options = {.force = source->force->code,
                                        .force_title = source->force->title,
                                        .rates = o->rates,
                                        .devices = registered_devices(source)};
        if (month_build(&facts, &scan, &options, &doc)) {
            code = report_warn(&scan, report_write_files(&doc, o->out, true));
        } else {
            fputs("whorl report: out of memory\n", stderr);
            code = EXIT_FAILED;
        }
    }
    document_release(&doc);
    facts_release(&facts);
    return code;
}

int report_month(int argc, char **argv)
{
    static const struct argp_option options[] = {
        CONF_DIR_OPTION,
        {"force", OPT_FORCE, "CODE", 0, "The officers' force", 2},
        {"custody-hours", OPT_HOURS, "N", 0,
         "Hours in custody that a trip there takes on average (default 14)", 3},
        {"custody-pounds", OPT_POUNDS, "N", 0, "What each of them costs (default 30)", 3},
        {NULL, 'o', "OUT", 0, "Writes OUT.html, OUT.csv and OUT.json", 2},
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "YYYY-MM",
        .doc = "Reports a force's month from the audit log, for the PNC Bureau, Professional "
               "Standards and Information Management. It names officers and devices: not for "
               "publication. The month is that of United Kingdom local time.\v"
               "Exit status: 0 done, 1 done, but some records of the log are malformed and not "
               "counted, 2 wrong usage, 3 failure.",
    };
    struct options o = {.rates = {.hours = 14, .pounds = 30}};
    struct report_source source = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int code = report_open_source(o.dir, o.force, &source);
    if (code == EXIT_DONE) {
        code = make(&source, &o);
    }
    report_close_source(&source);
    return code;
}
