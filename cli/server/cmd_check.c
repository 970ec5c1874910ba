/* whorl check: is this configuration good, and what does it allow? */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/server/ends_soon.h"
#include "core/net/listener.h"

/* Reads what a server would read of its listeners' files, as a server would: a revocation list that
 * is out of date, say, is good text, and yet no server starts with it. */
static bool check_listeners(const struct conf *conf)
{
    bool good = true;
    for (size_t i = 0; i < conf->listener_count; i++) {
        struct conf one = *conf;
        struct whorl_fault fault = {0};
        one.listeners = &conf->listeners[i];
        one.listener_count = 1;
        struct listeners_ahead *ahead = listeners_ahead(&one, &fault);
        if (ahead == NULL) {
            const struct conf_place *place = &conf->listeners[i].place;
            fprintf(stderr, "%s:%d: %s%s%s\n", place->file, place->line, fault.where,
                    fault.where[0] == '\0' ? "" : ": ", fault.text);
            good = false;
            continue;
        }
        tell_what_ends_soon(&conf->listeners[i], ahead);
        listeners_forgo(ahead);
    }
    return good;
}

int cmd_check(int argc, char **argv)
{
    const char *dir = parse_only_conf_dir(
        argc, argv,
        "Validates everything that `whorl serve` would read, settings of plugins included, "
        "names every mistake as FILE:LINE, and prints the effective configuration and who "
        "may ask what. Warns of certificates and revocation lists that end within two weeks.\v"
        "Exit status: 0 no mistakes, 1 mistakes, 2 wrong usage.");
    struct conf *conf = read_conf(dir);
    if (conf == NULL) {
        return EXIT_NEGATIVE;
    }
    bool good = check_listeners(conf);
    if (good) {
        conf_print(conf, stdout);
    }
    conf_unref(conf);
    return good ? EXIT_DONE : EXIT_NEGATIVE;
}
