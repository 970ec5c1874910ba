/* whorl check: is this configuration good, and what does it allow? */
#include <argp.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/common.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
    return parse_conf_dir(key, arg, state, state->input);
}

int cmd_check(int argc, char **argv)
{
    static const struct argp_option options[] = {CONF_DIR_OPTION, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Validates everything that `whorl serve` would read, settings of plugins included, "
               "names every mistake as FILE:LINE, and prints the effective configuration and who "
               "may ask what.\v"
               "Exit status: 0 no mistakes, 1 mistakes, 2 wrong usage.",
    };
    const char *dir = NULL;
    argp_parse(&argp, argc, argv, 0, NULL, &dir);
    struct conf *conf = read_conf(dir);
    if (conf == NULL) {
        return EXIT_NEGATIVE;
    }
    conf_print(conf, stdout);
    conf_unref(conf);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}
