/* whorl report: what the audit log says, for those who have to know. */
#include "cli/report/report.h"
#include "commands.h"
#include "common.h"

int cmd_report(int argc, char **argv)
{
    static const struct subcommand commands[] = {
        {"month", report_month, "a force's month, for those who supervise it"},
        {"public", report_public, "the same for publication, small numbers suppressed"},
        {"foi", report_foi, "what forces are asked by law, answered for a period"},
        {"subject-access", report_subject_access, "what is recorded of one person"},
        {"open", report_open, "uses whose outcome nobody has recorded"},
        {"unusual", report_unusual, "unusual activity, and a random sample of all"},
        {NULL, NULL, NULL},
    };
    period_use_uk_time();
    return subcommand_run("report", commands, argc, argv);
}
