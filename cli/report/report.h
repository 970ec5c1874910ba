/* The sub-commands of `whorl report`, and what they share. Each takes the arguments from its own
 * name on, and returns an exit code: 0 done, 1 done, but records of the log had not the form that
 * they should have, 2 wrong usage, 3 failure. */
#ifndef CLI_REPORT_REPORT_H
#define CLI_REPORT_REPORT_H

#include "core/conf/conf.h"
#include "report/document.h"
#include "report/facts.h"
#include "report/scan.h"

int report_month(int argc, char **argv);
int report_public(int argc, char **argv);
int report_foi(int argc, char **argv);
int report_subject_access(int argc, char **argv);
int report_open(int argc, char **argv);

/* What every sub-command begins with. */
struct report_source {
    struct conf *conf;
    char log_dir[4096];
    const struct conf_force *force; /* NULL: all forces */
};

/* Reads the configuration, finds the audit log and the force (NULL: none is asked for). 0, or the
 * exit code; what is wrong has been printed. End with report_close. */
int report_open_source(const char *conf_dir, const char *force, struct report_source *source);
void report_close_source(struct report_source *source);

/* Reads the log into facts, which are finished; release them in any case. 0 or the exit code. */
int report_read_facts(const struct report_source *source, const struct period *period,
                      struct facts *facts, struct scan *scan);

/* Writes OUT.csv, OUT.json and, if html, OUT.html; prints their names. The exit code. */
int report_write_files(const struct document *doc, const char *out, bool html);

/* Prints it as "text", "csv", "json" or "html". The exit code. */
int report_print(const struct document *doc, const char *format);
bool report_format_known(const char *format);

/* Says on standard error what the scan could not read; code, or 1 in its place of 0. */
int report_warn(const struct scan *scan, int code);

/* A number of at least `least`; argp_error otherwise. */
struct argp_state;
double report_parse_number(struct argp_state *state, const char *name, const char *text,
                           double least, double most);

#endif
