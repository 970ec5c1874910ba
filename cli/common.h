/* What the operator's sub-commands share. */
#ifndef CLI_COMMON_H
#define CLI_COMMON_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/conf/conf.h"
#include "whorl/plugin.h"

/* A sub-command of a sub-command, e.g. `whorl device add`. */
struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
};

/* Runs the one that argv[1] names; its argv[0] becomes "whorl GROUP NAME" for messages. Without
 * one, or with --help, prints the list. commands ends with a NULL name. Returns an exit code. */
int subcommand_run(const char *group, const struct subcommand *commands, int argc, char **argv);

/* The option that they all have: -c DIR. */
#define CONF_DIR_OPTION                                                                            \
    {                                                                                              \
        "conf", 'c', "DIR", 0, "The folder of *.conf files", 1                                     \
    }

/* A parser's part for it: sets *dir, complains at the end if it is missing, and about arguments
 * that nobody took. Returns what the parser has to. */
error_t parse_conf_dir(int key, char *arg, struct argp_state *state, const char **dir);

/* The whole command line of a command that takes -c DIR and nothing else; doc is its help. Returns
 * DIR. */
const char *parse_only_conf_dir(int argc, char **argv, const char *doc);

/* Reads the configuration; mistakes go to standard error as "FILE:LINE: text". NULL if there are
 * any. To be called on the main thread: what root makes from then on belongs to the owner of
 * data_dir, where that is somebody else. A server that runs as that owner could not open it
 * otherwise, and even those who only read make a store's file of locks. */
struct conf *read_conf(const char *dir);

/* Prints "whorl: WHERE: TEXT" to standard error; returns EXIT_FAILED. */
int print_fault(const struct whorl_fault *fault);

#endif
