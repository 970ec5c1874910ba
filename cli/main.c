/* One binary: `whorl COMMAND …`. */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "core/isolate/spawn.h"

/* `whorl synth month` and `whorl synth templates` are commands of their own in all but name. */
static int run_synth(int argc, char **argv)
{
    static char month[] = "whorl synth month", templates[] = "whorl synth templates";
    if (argc >= 2 && strcmp(argv[1], "month") == 0) {
        argv[1] = month;
        return cmd_synth_month(argc - 1, argv + 1);
    }
    if (argc >= 2 && strcmp(argv[1], "templates") == 0) {
        argv[1] = templates;
        return cmd_synth_templates(argc - 1, argv + 1);
    }
    return cmd_synth(argc, argv);
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} commands[] = {
    {"serve", cmd_serve, "run the server in the foreground"},
    {"reload", cmd_reload, "make the running server read its configuration again"},
    {"status", cmd_status, "what the running server is doing"},
    {"check", cmd_check, "validate a configuration, print it and who may ask what"},
    {"keys", cmd_keys, "make a certificate authority, server and device certificates"},
    {"device", cmd_device, "add, list and revoke devices"},
    {"officer", cmd_officer, "add, list and revoke officers"},
    {"enrol", cmd_enrol, "load people and their prints into a gallery"},
    {"gallery", cmd_gallery, "check, list, show, withdraw and purge what is in a gallery"},
    {"plugin", cmd_plugin, "start, describe and test a backend of your own"},
    {"source", cmd_source, "people and records from a PostgreSQL database: set up, check, compare"},
    {"pnc", cmd_pnc, "load and show PNC records"},
    {"policy", cmd_policy, "explain what a policy allows, and by which rule"},
    {"audit", cmd_audit, "list, verify, prove, witness and erase the audit log"},
    {"identify", cmd_identify, "a complete device: send samples, print the answer"},
    {"capabilities", cmd_capabilities, "what a device and its officer may ask"},
    {"outcome", cmd_outcome, "record what happened after an identification"},
    {"report", cmd_report,
     "reports from the audit log: month, public, subject access, FOI, unusual"},
    {"case", cmd_case, "follow flags of unusual activity to a finding"},
    {"extract", cmd_extract, "images in, minutiae records out"},
    {"compare", cmd_compare, "compare two fingerprints, or a list of pairs"},
    {"convert", cmd_convert, "fingerprints from one format into another"},
    {"synth", run_synth,
     "make artificial fingerprints, a gallery (templates) or transactions (month)"},
};

static void print_help(FILE *out)
{
    fputs("Usage: whorl COMMAND [OPTION...]\n\n"
          "Whorl, a mobile identification gateway.\n\n",
          out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        fprintf(out, "  %-13s %s\n", commands[i].name, commands[i].about);
    }
    fputs("\n`whorl COMMAND --help` says more. `whorl --version` prints the version.\n"
          "Exit status: 0 done, 1 a negative answer, 2 wrong usage, 3 failure.\n",
          out);
}

/* What a command has printed may still be in the buffer, or have been lost on a full disk. */
static int finish(int code)
{
    bool whole = fflush(stdout) == 0 && !ferror(stdout);
    if (whole || code != EXIT_DONE) {
        return code;
    }
    fputs("whorl: standard output could not be written: what is there is not all\n", stderr);
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    argp_err_exit_status = EXIT_USAGE;
    if (argc > 1 && strcmp(argv[1], ISOLATE_ARGUMENT) == 0) {
        return cmd_plugin_host(argc - 1, argv + 1);
    }
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0) {
        print_help(stdout);
        return finish(EXIT_DONE);
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("whorl " WHORL_VERSION);
        return finish(EXIT_DONE);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            char name[32];
            snprintf(name, sizeof name, "whorl %s", commands[i].name);
            argv[1] = name;
            return finish(commands[i].run(argc - 1, argv + 1));
        }
    }
    fprintf(stderr, "whorl: there is no command \"%s\"; `whorl --help` lists them\n", argv[1]);
    return EXIT_USAGE;
}
