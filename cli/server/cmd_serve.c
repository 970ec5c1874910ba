/* whorl serve: the server in the foreground. */
#include "cli/commands.h"
#include "cli/common.h"
#include "core/server/server.h"

int cmd_serve(int argc, char **argv)
{
    const char *dir = parse_only_conf_dir(
        argc, argv,
        "Runs the server in the foreground, logging to standard error. SIGHUP reloads the "
        "configuration; SIGTERM and SIGINT finish what is in flight and stop.\v"
        "Exit status: 0 after an orderly stop, 2 wrong usage, 3 it could not start.");
    return server_run(dir);
}
