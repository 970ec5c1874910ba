/* whorl report unusual. */
#include <argp.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "plugins/audit/proof.h"
#include "report/disclosure.h"
#include "report/report.h"
#include "report/unusual.h"
#include "whorl/msg.h"

enum { OPT_ROSTER = 0x100, OPT_IDENTITIES, OPT_POSITIONS, OPT_BUDGET, OPT_SAMPLE, OPT_SEED };

struct options {
    struct month_args args;
    struct unusual_options report;
    const char *roster, *identities, *positions;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_ROSTER:
        o->roster = arg;
        return 0;
    case OPT_IDENTITIES:
        o->identities = arg;
        return 0;
    case OPT_POSITIONS:
        o->positions = arg;
        return 0;
    case OPT_BUDGET:
        o->report.budget = report_parse_number(state, "budget", arg, 0.001, 1000);
        return 0;
    case OPT_SAMPLE:
        o->report.percent = report_parse_number(state, "sample", arg, 0, 100);
        return 0;
    case OPT_SEED:
        o->report.seed = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->report.seed == NULL) {
            argp_error(state, "--seed is missing");
        }
        break;
    default:
        break;
    }
    return report_parse_month(key, arg, state, &o->args);
}

static bool add(void *ctx, uint64_t position, const struct record *record,
                const msgpack_object *root)
{
    (void)root;
    return activity_add(ctx, position, record);
}

static int read_log(const struct report_source *source, const struct options *o,
                    struct activity *activity, struct scan *scan)
{
    struct whorl_fault fault = {0};
    activity_begin(activity, &o->args.period, source->force->code);
    if (!scan_log(source->log_dir, add, activity, scan, &fault)) {
        return print_fault(&fault);
    }
    if (activity->facts.trouble[0] != '\0' || !activity_finish(activity)) {
        fprintf(stderr, "whorl report: %s\n", activity->facts.trouble);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static int read_others(struct options *o, const struct activity *activity, struct others *others)
{
    struct whorl_fault fault = {0};
    o->report.has_roster = o->roster != NULL;
    o->report.has_identities = o->identities != NULL;
    o->report.has_positions = o->positions != NULL;
    bool ok = (o->roster == NULL ||
               others_roster(others, o->roster, &activity->facts.officers, &fault)) &&
              (o->identities == NULL ||
               others_identities(others, o->identities, &activity->references, &fault)) &&
              (o->positions == NULL ||
               others_positions(others, o->positions, &activity->facts.devices, &fault));
    return ok ? EXIT_DONE : print_fault(&fault);
}

/* The state of the log that this is made from, for whoever checks it. */
static int read_checkpoint(const struct report_source *source, char *text, size_t cap)
{
    struct audit_checkpoint checkpoint;
    struct whorl_fault fault = {0};
    uint8_t root[48];
    if (!audit_checkpoint_read(source->log_dir, NULL, &checkpoint, &fault)) {
        return print_fault(&fault);
    }
    EVP_EncodeBlock(root, checkpoint.root, AUDIT_HASH);
    snprintf(text, cap, "%" PRIu64 " records, root %s", checkpoint.count, (const char *)root);
    return EXIT_DONE;
}

/* Whom the report flags, in its order; flags of an officer need not follow one another. */
static bool flagged(const struct unusual *unusual, struct names *out)
{
    const struct names *officers = &unusual->activity->facts.officers;
    bool ok = true;
    out->most = officers->count;
    for (uint32_t i = 0; ok && i < unusual->flag_count; i++) {
        const char *officer = officers->texts[unusual->flags[i].officer];
        ok = names_add(out, officer, strlen(officer)) != NAMES_NONE;
    }
    return ok;
}

static bool record(const struct report_source *source, const struct options *o,
                   const struct unusual *unusual, struct whorl_fault *fault)
{
    struct names officers = {0};
    const struct disclosure shown = {.report = "unusual",
                                     .period = &o->args.period,
                                     .flags = unusual->flag_count,
                                     .sample = unusual->sample_count,
                                     .officers = &officers};
    bool ok = (flagged(unusual, &officers) || whorl_fail(fault, "", "out of memory")) &&
              report_disclose(source, &shown, fault);
    names_release(&officers);
    return ok;
}

/* Builds it, records it, and only then writes it. */
static int disclose(const struct report_source *source, const struct options *o,
                    const struct unusual *unusual, const struct scan *scan, const char *checkpoint)
{
    struct document doc = {0};
    struct whorl_fault fault = {0};
    int code = EXIT_FAILED;
    if (!unusual_build(unusual, scan, checkpoint, &doc)) {
        fputs("whorl report: out of memory\n", stderr);
    } else if (!record(source, o, unusual, &fault)) {
        code = print_fault(&fault);
    } else {
        code = report_warn(scan, report_write_files(&doc, o->args.out, true));
    }
    document_release(&doc);
    return code;
}

static int make(const struct report_source *source, void *options)
{
    struct options *o = options;
    struct activity activity;
    struct others others = {0};
    struct unusual unusual = {0};
    struct scan scan;
    char checkpoint[128];
    int code = read_log(source, o, &activity, &scan);
    o->report.force = source->force->code;
    o->report.force_title = source->force->title;
    if (code == EXIT_DONE) {
        code = read_others(o, &activity, &others);
    }
    if (code == EXIT_DONE) {
        code = read_checkpoint(source, checkpoint, sizeof checkpoint);
    }
    if (code == EXIT_DONE) {
        if (unusual_find(&activity, &others, &o->report, &unusual)) {
            code = disclose(source, o, &unusual, &scan, checkpoint);
        } else {
            fputs("whorl report: out of memory\n", stderr);
            code = EXIT_FAILED;
        }
    }
    unusual_release(&unusual);
    others_release(&others);
    activity_release(&activity);
    return code;
}

int report_unusual(int argc, char **argv)
{
    static const struct argp_option options[] = {
        CONF_DIR_OPTION,
        MONTH_ARGS_FORCE("The officers' force"),
        MONTH_ARGS_OUT("Writes OUT.html, OUT.csv and OUT.json"),
        {"roster", OPT_ROSTER, "FILE", 0,
         "CSV officer,from,until,duty: hours worked, from the duty system", 3},
        {"identities", OPT_IDENTITIES, "FILE", 0,
         "CSV officer,backend,reference: references that are staff's own, from the vetting unit",
         3},
        {"positions", OPT_POSITIONS, "FILE", 0,
         "CSV device,from,latitude,longitude: where devices are from then on", 3},
        {"budget", OPT_BUDGET, "N", 0, "False alerts for 1000 officers (default 10)", 4},
        {"sample", OPT_SAMPLE, "N", 0, "Per cent of uses in the random sample (default 1)", 4},
        {"seed", OPT_SEED, "TEXT", 0,
         "What the sample is drawn from: drawn in public after the month's end", 4},
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "YYYY-MM",
        .doc = "Flags unusual activity of a month for Professional Standards, each flag with the "
               "records it rests on and why: out of rostered hours, volume, the same person again "
               "and again, searches of oneself and of colleagues, no follow-up, impossible "
               "travel, hit rate, one reason typed always; and draws a random sample. A flag is a "
               "question, no finding.\v" MONTH_ARGS_STATUS,
    };
    struct options o = {.args = {.needs_force = true}, .report = {.budget = 10, .percent = 1}};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return report_with_source(o.args.dir, o.args.force, make, &o);
}
