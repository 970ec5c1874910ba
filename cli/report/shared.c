/* What the sub-commands of `whorl report` share. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "plugin_dir.h"
#include "report/report.h"

int report_open_source(const char *conf_dir, const char *force, struct report_source *source)
{
    *source = (struct report_source){.conf = read_conf(conf_dir)};
    if (source->conf == NULL || plugin_dir_find(source->conf, "whorl-audit.so", source->log_dir,
                                                sizeof source->log_dir) == NULL) {
        return EXIT_FAILED;
    }
    if (force != NULL) {
        source->force = conf_find_force(source->conf, force);
        if (source->force == NULL) {
            fprintf(stderr, "whorl report: the configuration has no force \"%s\"\n", force);
            return EXIT_USAGE;
        }
    }
    return EXIT_DONE;
}

void report_close_source(struct report_source *source)
{
    conf_unref(source->conf);
    source->conf = NULL;
}

int report_with_source(const char *conf_dir, const char *force,
                       int (*make)(const struct report_source *source, void *options),
                       void *options)
{
    struct report_source source;
    int code = report_open_source(conf_dir, force, &source);
    if (code == EXIT_DONE) {
        code = make(&source, options);
    }
    report_close_source(&source);
    return code;
}

static bool add_fact(void *ctx, uint64_t position, const struct record *record,
                     const msgpack_object *root)
{
    (void)position;
    (void)root;
    return facts_add(ctx, record);
}

int report_read_facts(const struct report_source *source, const struct period *period,
                      struct facts *facts, struct scan *scan)
{
    struct whorl_fault fault = {0};
    facts_begin(facts, period, source->force != NULL ? source->force->code : NULL);
    if (!scan_log(source->log_dir, add_fact, facts, scan, &fault)) {
        return print_fault(&fault);
    }
    if (facts->trouble[0] != '\0') {
        fprintf(stderr, "whorl report: %s\n", facts->trouble);
        return EXIT_FAILED;
    }
    facts_finish(facts);
    return EXIT_DONE;
}

static const struct {
    const char *name;
    bool (*write)(const struct document *doc, FILE *out);
} forms[] = {{"csv", document_csv},
             {"json", document_json},
             {"html", document_html},
             {"text", document_plain}};

#define FORMS (sizeof forms / sizeof *forms)

const char *report_parse_format(struct argp_state *state, const char *arg)
{
    size_t i = 0;
    while (i < FORMS && strcmp(forms[i].name, arg) != 0) {
        i++;
    }
    if (i == FORMS) {
        argp_error(state, "--format is text, csv, json or html");
    }
    return arg;
}

int report_print(const struct document *doc, const char *format)
{
    size_t i = 0;
    while (i + 1 < FORMS && strcmp(forms[i].name, format) != 0) {
        i++;
    }
    if (doc->failed) {
        fputs("whorl report: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    if (!forms[i].write(doc, stdout)) {
        fprintf(stderr,
                "whorl report: the report cannot be written as %s: the output fails, memory is "
                "short, or a text is no UTF-8\n",
                format);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

int report_write_files(const struct document *doc, const char *out, bool html)
{
    for (size_t i = 0; i < (html ? 3u : 2u); i++) {
        char path[PATH_MAX];
        struct whorl_fault fault = {0};
        if ((size_t)snprintf(path, sizeof path, "%s.%s", out, forms[i].name) >= sizeof path) {
            fprintf(stderr, "whorl report: %s is too long\n", out);
            return EXIT_FAILED;
        }
        if (!document_file(doc, path, forms[i].write, &fault)) {
            return print_fault(&fault);
        }
        puts(path);
    }
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int report_warn(const struct scan *scan, int code)
{
    if (scan->malformed == 0) {
        return code;
    }
    fprintf(stderr,
            "whorl report: %" PRIu64 " records have not the form that they should have and are in "
            "no count; the first is record %" PRIu64 ": %s\n",
            scan->malformed, scan->first_malformed, scan->why);
    return code == EXIT_DONE ? EXIT_NEGATIVE : code;
}

double report_parse_number(struct argp_state *state, const char *name, const char *text,
                           double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || !isfinite(value) || value < least ||
        value > most) {
        argp_error(state, "--%s: %s is not a number from %g to %g", name, text, least, most);
    }
    return value;
}

int report_parse_month(int key, char *arg, struct argp_state *state, struct month_args *args)
{
    switch (key) {
    case MONTH_FORCE:
        args->force = arg;
        return 0;
    case MONTH_HOURS:
        args->rates.hours = report_parse_number(state, "custody-hours", arg, 0, 1000);
        return 0;
    case MONTH_POUNDS:
        args->rates.pounds = report_parse_number(state, "custody-pounds", arg, 0, 100000);
        return 0;
    case 'o':
        args->out = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (args->month == NULL) {
            args->month = arg;
            if (!period_of_month(arg, &args->period)) {
                argp_error(state, "expected a month as YYYY-MM, found \"%s\"", arg);
            }
            return 0;
        }
        break;
    case ARGP_KEY_END:
        if (args->month == NULL || args->out == NULL ||
            (args->needs_force && args->force == NULL)) {
            argp_error(state, "%s is missing",
                       args->month == NULL ? "YYYY-MM"
                       : args->out == NULL ? "-o OUT"
                                           : "--force");
        }
        break;
    default:
        break;
    }
    return parse_conf_dir(key, arg, state, &args->dir);
}
