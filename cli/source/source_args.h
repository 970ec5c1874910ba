/* What the commands of `whorl source` share. */
#ifndef CLI_SOURCE_ARGS_H
#define CLI_SOURCE_ARGS_H

#include "core/conf/conf.h"
#include "plugins/source/postgresql/ask.h"

/* A database for the operator: given on the command line, or in a plugin's settings. */
struct source_place {
    struct pg_target *target;
    struct pg_link *link;
};

/* Connects once. use and *place must stay where they are. false, having written why to standard
 * error; nothing is left then. End with source_leave. */
bool source_connect(struct source_place *place, const struct whorl_settings *settings,
                    const struct pg_use *use);
void source_leave(struct source_place *place);

/* Prints which server it is, over what, and as whom. */
void source_print_connection(const struct source_place *place);

/* The plugin of a configuration, if it is one that takes a database. NULL, having written why. */
const struct conf_plugin *source_plugin(const struct conf *conf, const char *name);

/* What `whorl source check` says of PNC records. Returns an exit code. */
int source_check_pnc(const struct conf_plugin *plugin);

/* Each takes arguments from its own name on, and returns an exit code. */
int cmd_source_init(int argc, char **argv);
int cmd_source_fill(int argc, char **argv);
int cmd_source_check(int argc, char **argv);
int cmd_source_status(int argc, char **argv);
int cmd_source_resync(int argc, char **argv);

#endif
