/* What `whorl device` and `whorl officer` share: opening the registry and the audit log, listing,
 * and changing an entry between the two records that say so. */
#ifndef CLI_REGISTRY_COMMAND_H
#define CLI_REGISTRY_COMMAND_H

#include "cli/audit/audit_writer.h"
#include "cli/common.h"
#include "core/registry/registry.h"
#include "whorl/msg.h"

/* One of the registry's two kinds of entry. */
struct registry_kind {
    const char *noun;  /* "device" */
    const char *store; /* as audit records name it */
    const char *list_doc;
    const char *set_docs[REGISTRY_REVOKED + 1]; /* the help of the command that sets the state */
    bool (*set_state)(struct registry *registry, const char *id, enum registry_state state,
                      struct whorl_fault *fault);
    /* Packs what a record says of an entry, as it is but in that state. An unknown id is a fault.
     */
    bool (*describe)(struct registry *registry, const char *id, enum registry_state state,
                     msgpack_packer *pk, struct whorl_fault *fault);
    /* registry NULL: there are none yet. */
    bool (*print_all)(struct registry *registry, struct whorl_fault *fault);
};

struct registry_use {
    const struct conf *conf;
    struct audit_writer *log;  /* NULL: nothing may be changed */
    struct registry *registry; /* NULL: nothing is to be changed, and there is none yet */
};

/* Opens the configuration in conf_dir, its audit log if something is to be changed, and its
 * registry, for reading only if nothing is; hands them to work with options, and closes them.
 * Returns what work returned, an exit code; EXIT_FAILED where one could not be opened, which has
 * been printed. */
int with_registry(const char *conf_dir, bool changes,
                  int (*work)(const struct registry_use *use, const void *options),
                  const void *options);

/* One change of an entry. */
struct registry_change {
    const struct registry_kind *kind;
    const char *doing, *done; /* events: "adding" and "added" */
    const char *id;
    /* Packs one map: what the records say it becomes. */
    bool (*pack)(struct registry *registry, const void *arg, msgpack_packer *pk,
                 struct whorl_fault *fault);
    bool (*apply)(struct registry *registry, const void *arg, struct whorl_fault *fault);
    const void *arg; /* of both */
};

/* Records what is about to be done, does it only if that record is durable, and records that it is
 * done. */
bool registry_change(const struct registry_use *use, const struct registry_change *change,
                     struct whorl_fault *fault);

/* The state of an entry that is put in the place of another, as registry_put_* sets it. was: of the
 * other, if it was found. */
enum registry_state registry_state_after(enum registry_found found, enum registry_state was);

/* Says of it that it is still refused, if it is. */
void registry_tell_kept(const struct registry_kind *kind, const char *id, enum registry_found found,
                        enum registry_state state);

/* A parser's part for the one argument ID: takes it into *id, complains at the end if it is
 * missing; -c DIR goes into *dir. Returns what the parser has to. */
error_t parse_registry_id(const struct registry_kind *kind, int key, char *arg,
                          struct argp_state *state, const char **id, const char **dir);

/* `whorl KIND list`. Returns an exit code. */
int registry_list(const struct registry_kind *kind, int argc, char **argv);

/* `whorl KIND revoke|suspend|restore ID`: sets the state and says so. Returns an exit code. */
int registry_set(const struct registry_kind *kind, enum registry_state state, int argc,
                 char **argv);

#endif
