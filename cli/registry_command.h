/* What `whorl device` and `whorl officer` share: opening the registry, listing, changing a state.
 */
#ifndef CLI_REGISTRY_COMMAND_H
#define CLI_REGISTRY_COMMAND_H

#include "common.h"
#include "core/registry/registry.h"
#include "whorl/msg.h"

/* One of the registry's two kinds of entry. */
struct registry_kind {
    const char *noun; /* "device" */
    const char *list_doc;
    bool (*set_state)(struct registry *registry, const char *id, enum registry_state state,
                      struct whorl_fault *fault);
    bool (*print_all)(struct registry *registry, struct whorl_fault *fault);
};

/* Opens the configuration in conf_dir and its registry for writing, hands both to work with
 * options, and closes them. Returns what work returned, an exit code; EXIT_FAILED where one could
 * not be opened, which has been printed. */
int with_registry(const char *conf_dir,
                  int (*work)(struct registry *registry, const struct conf *conf,
                              const void *options),
                  const void *options);

/* A parser's part for the one argument ID: takes it into *id, complains at the end if it is
 * missing; -c DIR goes into *dir. Returns what the parser has to. */
error_t parse_registry_id(const struct registry_kind *kind, int key, char *arg,
                          struct argp_state *state, const char **id, const char **dir);

/* `whorl KIND list`. Returns an exit code. */
int registry_list(const struct registry_kind *kind, int argc, char **argv);

/* `whorl KIND revoke|suspend|restore ID`: sets the state and says so; doc is the command's help.
 * Returns an exit code. */
int registry_set(const struct registry_kind *kind, int argc, char **argv, enum registry_state state,
                 const char *doc);

#endif
