/* whorl serve: the server in the foreground. */
#include <argp.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "core/server/server.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
    return parse_conf_dir(key, arg, state, state->input);
}

int cmd_serve(int argc, char **argv)
{
    static const struct argp_option options[] = {CONF_DIR_OPTION, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Runs the server in the foreground, logging to standard error. SIGHUP reloads the "
               "configuration; SIGTERM and SIGINT finish what is in flight and stop.\v"
               "Exit status: 0 after an orderly stop, 2 wrong usage, 3 it could not start.",
    };
    const char *dir = NULL;
    argp_parse(&argp, argc, argv, 0, NULL, &dir);
    return server_run(dir);
}
