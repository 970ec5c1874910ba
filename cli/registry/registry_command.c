#include "cli/registry/registry_command.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/audit/change.h"
#include "cli/commands.h"
#include "core/packed/packed.h"

/* Nobody was ever added: to a list there is nothing to open, and looking makes nothing. */
static bool is_new(const struct conf *conf)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/registry/data.mdb", conf->core.data_dir);
    return n > 0 && (size_t)n < sizeof path && access(path, F_OK) != 0 && errno == ENOENT;
}

int with_registry(const char *conf_dir, bool changes,
                  int (*work)(const struct registry_use *use, const void *options),
                  const void *options)
{
    struct whorl_fault fault = {0};
    struct registry_use use = {0};
    struct conf *conf = read_conf(conf_dir);
    if (conf == NULL) {
        return EXIT_FAILED;
    }
    use.conf = conf;
    use.log = changes ? audit_writer_open(conf, &fault) : NULL;
    bool empty = !changes && is_new(conf);
    if ((use.log != NULL || !changes) && !empty) {
        use.registry = registry_open(conf->core.data_dir,
                                     changes ? WHORL_STORE_WRITE : WHORL_STORE_READ, &fault);
    }
    int code = use.registry != NULL || empty ? work(&use, options) : print_fault(&fault);
    registry_close(use.registry);
    audit_writer_close(use.log);
    conf_unref(conf);
    return code;
}

static bool record(const struct registry_use *use, const struct registry_change *change,
                   const char *event, const msgpack_sbuffer *entry, struct whorl_fault *fault)
{
    const struct change record = {.kind = CHANGE_ALTERATION,
                                  .event = event,
                                  .store = change->kind->store,
                                  .ids = &change->id,
                                  .id_count = 1,
                                  .count = 1,
                                  .entry = entry};
    return change_record(use->log, &record, 1, fault);
}

bool registry_change(const struct registry_use *use, const struct registry_change *change,
                     struct whorl_fault *fault)
{
    msgpack_sbuffer entry;
    msgpack_packer pk;
    msgpack_sbuffer_init(&entry);
    msgpack_packer_init(&pk, &entry, packed_write);
    bool ok = change->pack(use->registry, change->arg, &pk, fault) &&
              record(use, change, change->doing, &entry, fault) &&
              change->apply(use->registry, change->arg, fault) &&
              record(use, change, change->done, &entry, fault);
    msgpack_sbuffer_destroy(&entry);
    return ok;
}

enum registry_state registry_state_after(enum registry_found found, enum registry_state was)
{
    return found == REGISTRY_ABSENT    ? REGISTRY_ACTIVE
           : found == REGISTRY_PRESENT ? was
                                       : REGISTRY_SUSPENDED;
}

void registry_tell_kept(const struct registry_kind *kind, const char *id, enum registry_found found,
                        enum registry_state state)
{
    if (state != REGISTRY_ACTIVE) {
        printf("it is %s%s: `whorl %s restore %s` accepts it again\n", registry_state_name(state),
               found == REGISTRY_FAILED ? ", for the damaged entry did not say if it was"
                                        : " as before",
               kind->noun, id);
    }
}

error_t parse_registry_id(const struct registry_kind *kind, int key, char *arg,
                          struct argp_state *state, const char **id, const char **dir)
{
    if (key == ARGP_KEY_ARG && *id == NULL) {
        *id = arg;
        return 0;
    }
    if (key == ARGP_KEY_END && *id == NULL) {
        argp_error(state, "the %s's ID is missing", kind->noun);
    }
    return parse_conf_dir(key, arg, state, dir);
}

static int list(const struct registry_use *use, const void *kind)
{
    struct whorl_fault fault = {0};
    return ((const struct registry_kind *)kind)->print_all(use->registry, &fault)
               ? EXIT_DONE
               : print_fault(&fault);
}

int registry_list(const struct registry_kind *kind, int argc, char **argv)
{
    return with_registry(parse_only_conf_dir(argc, argv, kind->list_doc), false, list, kind);
}

struct set_options {
    const struct registry_kind *kind;
    const char *dir, *id;
    enum registry_state state;
};

static error_t parse_set(int key, char *arg, struct argp_state *state)
{
    struct set_options *o = state->input;
    return parse_registry_id(o->kind, key, arg, state, &o->id, &o->dir);
}

static bool pack_set(struct registry *registry, const void *arg, msgpack_packer *pk,
                     struct whorl_fault *fault)
{
    const struct set_options *o = arg;
    return o->kind->describe(registry, o->id, o->state, pk, fault);
}

static bool apply_set(struct registry *registry, const void *arg, struct whorl_fault *fault)
{
    const struct set_options *o = arg;
    return o->kind->set_state(registry, o->id, o->state, fault);
}

static const struct {
    const char *doing, *done;
} events[REGISTRY_REVOKED + 1] = {
    [REGISTRY_REVOKED] = {"revoking", "revoked"},
    [REGISTRY_SUSPENDED] = {"suspending", "suspended"},
    [REGISTRY_ACTIVE] = {"restoring", "restored"},
};

static int set(const struct registry_use *use, const void *options)
{
    const struct set_options *o = options;
    struct whorl_fault fault = {0};
    const struct registry_change change = {.kind = o->kind,
                                           .doing = events[o->state].doing,
                                           .done = events[o->state].done,
                                           .id = o->id,
                                           .pack = pack_set,
                                           .apply = apply_set,
                                           .arg = o};
    if (!registry_change(use, &change, &fault)) {
        return print_fault(&fault);
    }
    printf("%s %s is %s\n", o->kind->noun, o->id, registry_state_name(o->state));
    return EXIT_DONE;
}

int registry_set(const struct registry_kind *kind, enum registry_state state, int argc, char **argv)
{
    static const struct argp_option options[] = {CONF_DIR_OPTION, {0}};
    const struct argp argp = {
        .options = options, .parser = parse_set, .args_doc = "ID", .doc = kind->set_docs[state]};
    struct set_options o = {.kind = kind, .state = state};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return with_registry(o.dir, true, set, &o);
}
