/* whorl check: is this configuration good, and what does it allow? */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/common.h"

int cmd_check(int argc, char **argv)
{
    const char *dir = parse_only_conf_dir(
        argc, argv,
        "Validates everything that `whorl serve` would read, settings of plugins included, "
        "names every mistake as FILE:LINE, and prints the effective configuration and who "
        "may ask what.\v"
        "Exit status: 0 no mistakes, 1 mistakes, 2 wrong usage.");
    struct conf *conf = read_conf(dir);
    if (conf == NULL) {
        return EXIT_NEGATIVE;
    }
    conf_print(conf, stdout);
    conf_unref(conf);
    return EXIT_DONE;
}
