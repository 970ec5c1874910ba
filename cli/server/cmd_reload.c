/* whorl reload: makes the running server read its configuration again. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/server/server_ask.h"

static void print_list(FILE *out, const char *prefix, const json_t *list)
{
    size_t index;
    const json_t *text;
    json_array_foreach(list, index, text)
    {
        fprintf(out, "%s%s\n", prefix, json_string_value(text));
    }
}

int cmd_reload(int argc, char **argv)
{
    const char *dir = parse_only_conf_dir(
        argc, argv,
        "Makes the running server read its configuration, certificates and modules again, "
        "and prints what has changed. With a mistake in them nothing changes.\v"
        "Exit status: 0 done, 1 refused, 2 wrong usage, 3 no server can be reached.");
    json_t *reply = server_ask(dir, "reload");
    if (reply == NULL) {
        return EXIT_FAILED;
    }
    bool done = json_is_true(json_object_get(reply, "ok"));
    if (done) {
        const json_t *changes = json_object_get(reply, "changes");
        print_list(stdout, "", changes);
        print_list(stderr, "whorl: ", json_object_get(reply, "warnings"));
        if (json_array_size(changes) == 0) {
            puts("nothing has changed");
        }
    } else {
        print_list(stderr, "", json_object_get(reply, "mistakes"));
        fputs("whorl: reload refused: the configuration that was read before stays in force\n",
              stderr);
    }
    json_decref(reply);
    return done ? EXIT_DONE : EXIT_NEGATIVE;
}
