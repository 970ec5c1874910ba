/* whorl report month. */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "common.h"
#include "core/registry/registry.h"
#include "report/disclosure.h"
#include "report/month.h"
#include "report/report.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
    return report_parse_month(key, arg, state, state->input);
}

struct counting {
    const char *force;
    int64_t count;
};

static void count_device(void *ctx, const struct registry_device *device)
{
    struct counting *counting = ctx;
    counting->count += device->state == REGISTRY_ACTIVE && !device->gateway &&
                       strcmp(device->force, counting->force) == 0;
}

/* Whether a data directory has no registry: nothing was ever registered there. */
static bool has_none(const char *data_dir)
{
    char dir[PATH_MAX];
    struct stat status;
    return snprintf(dir, sizeof dir, "%s/registry", data_dir) < (int)sizeof dir &&
           stat(dir, &status) != 0 && errno == ENOENT;
}

/* Active devices of the force, without gateways, whose own devices are registered with them. false
 * with *fault. */
static bool registered_devices(const struct report_source *source, int64_t *count,
                               struct whorl_fault *fault)
{
    const char *data_dir = source->conf->core.data_dir;
    struct counting counting = {.force = source->force->code};
    *count = 0;
    if (has_none(data_dir)) {
        return true;
    }
    struct registry *registry = registry_open(data_dir, WHORL_STORE_READ, fault);
    bool ok = registry != NULL && registry_each_device(registry, count_device, &counting, fault);
    registry_close(registry);
    *count = counting.count;
    return ok;
}

static int make(const struct report_source *source, void *options)
{
    const struct month_args *o = options;
    struct facts facts;
    struct scan scan;
    struct document doc = {0};
    struct whorl_fault fault = {0};
    int64_t devices;
    int code = report_read_facts(source, &o->period, &facts, &scan);
    if (code == EXIT_DONE && !registered_devices(source, &devices, &fault)) {
        code = print_fault(&fault);
    }
    if (code == EXIT_DONE) {
        struct month_options month = {.force = source->force->code,
                                      .force_title = source->force->title,
                                      .rates = o->rates,
                                      .devices = devices};
        const struct disclosure shown = {.report = "month",
                                         .period = &o->period,
                                         .flags = DISCLOSURE_NONE,
                                         .sample = DISCLOSURE_NONE,
                                         .officers = &facts.officers};
        if (!month_build(&facts, &scan, &month, &doc)) {
            fputs("whorl report: out of memory\n", stderr);
            code = EXIT_FAILED;
        } else if (!report_disclose(source, &shown, &fault)) {
            code = print_fault(&fault);
        } else {
            code = report_warn(&scan, report_write_files(&doc, o->out, true));
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
        MONTH_ARGS_FORCE("The officers' force"),
        MONTH_ARGS_HOURS,
        MONTH_ARGS_POUNDS,
        MONTH_ARGS_OUT("Writes OUT.html, OUT.csv and OUT.json"),
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "YYYY-MM",
        .doc = "Reports a force's month from the audit log, for the PNC Bureau, Professional "
               "Standards and Information Management. It names officers and devices, which is "
               "recorded first: not for publication. The month is that of United Kingdom local "
               "time.\v" MONTH_ARGS_STATUS,
    };
    struct month_args o = {.rates = {.hours = 14, .pounds = 30}, .needs_force = true};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return report_with_source(o.dir, o.force, make, &o);
}
