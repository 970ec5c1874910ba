/* whorl plugin-host: what the server runs a plugin in. For nobody else. */
#include <stdio.h>
#include <unistd.h>

#include "cli/commands.h"
#include "core/guest/guest.h"

int cmd_plugin_host(int argc, char **argv)
{
    (void)argc, (void)argv;
    int code = guest_main();
    if (code == EXIT_USAGE) {
        fputs("whorl plugin-host: the server runs this for a plugin with isolation = process\n",
              stderr);
        return code;
    }
    _exit(code); /* a plugin's threads and exit handlers have had their chance */
}
