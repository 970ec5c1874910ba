/* The sub-commands of `whorl report`, and what they share. Each takes the arguments from its own
 * name on, and returns an exit code: 0 done, 1 done, but records of the log had not the form that
 * they should have, 2 wrong usage, 3 failure. */
#ifndef CLI_REPORT_REPORT_H
#define CLI_REPORT_REPORT_H

#include <argp.h>

#include "core/conf/conf.h"
#include "report/document.h"
#include "report/facts.h"
#include "report/month.h"
#include "report/scan.h"

int report_month(int argc, char **argv);
int report_public(int argc, char **argv);
int report_foi(int argc, char **argv);
int report_subject_access(int argc, char **argv);
int report_open(int argc, char **argv);
int report_unusual(int argc, char **argv);

/* What every sub-command begins with. */
struct report_source {
    struct conf *conf;
    char log_dir[4096];
    const struct conf_force *force; /* NULL: all forces */
};

/* Reads the configuration, finds the audit log and the force (NULL: none is asked for). 0, or the
 * exit code; what is wrong has been printed. End with report_close_source. */
int report_open_source(const char *conf_dir, const char *force, struct report_source *source);
void report_close_source(struct report_source *source);

/* Opens them, hands them to make with options, and closes them. Returns what make returned; where
 * they could not be opened, that exit code. */
int report_with_source(const char *conf_dir, const char *force,
                       int (*make)(const struct report_source *source, void *options),
                       void *options);

/* Reads the log into facts, which are finished; release them in any case. 0 or the exit code. */
int report_read_facts(const struct report_source *source, const struct period *period,
                      struct facts *facts, struct scan *scan);

/* Writes OUT.csv, OUT.json and, if html, OUT.html; prints their names. The exit code. */
int report_write_files(const struct document *doc, const char *out, bool html);

/* Prints it as "text", "csv", "json" or "html". The exit code. */
int report_print(const struct document *doc, const char *format);

/* The option that chooses one of them, in a group of the command's help. */
#define REPORT_FORMAT_OPTION(group)                                                                \
    {                                                                                              \
        "format", REPORT_FORMAT, "FORM", 0, "text (default), csv, json or html", group             \
    }
enum { REPORT_FORMAT = 0x300 };

/* Its value, for report_print; argp_error if it is none of them. */
const char *report_parse_format(struct argp_state *state, const char *arg);

/* Says on standard error what the scan could not read; code, or 1 in its place of 0. */
int report_warn(const struct scan *scan, int code);

/* A number of at least `least`; argp_error otherwise. */
double report_parse_number(struct argp_state *state, const char *name, const char *text,
                           double least, double most);

/* What reports of a month are asked with: -c DIR [--force CODE] YYYY-MM -o OUT, and rates. */
struct month_args {
    const char *dir, *force, *month, *out;
    struct period period;
    struct custody_rates rates;
    bool needs_force;
};

enum { MONTH_FORCE = 0x200, MONTH_HOURS, MONTH_POUNDS };

#define MONTH_ARGS_FORCE(about)                                                                    \
    {                                                                                              \
        "force", MONTH_FORCE, "CODE", 0, about, 2                                                  \
    }
#define MONTH_ARGS_OUT(about)                                                                      \
    {                                                                                              \
        NULL, 'o', "OUT", 0, about, 2                                                              \
    }
#define MONTH_ARGS_HOURS                                                                           \
    {                                                                                              \
        "custody-hours", MONTH_HOURS, "N", 0,                                                      \
            "Hours in custody that a trip there takes on average (default 14)", 3                  \
    }
#define MONTH_ARGS_POUNDS                                                                          \
    {                                                                                              \
        "custody-pounds", MONTH_POUNDS, "N", 0, "What each of them costs (default 30)", 3          \
    }
#define MONTH_ARGS_STATUS                                                                          \
    "Exit status: 0 done, 1 done, but some records of the log are malformed and not counted, 2 "   \
    "wrong usage, 3 failure."

/* A parser's part for them, -c included, where the parser has no use for a key. */
int report_parse_month(int key, char *arg, struct argp_state *state, struct month_args *args);

#endif
