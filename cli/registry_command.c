#include "registry_command.h"

#include <argp.h>
#include <stdio.h>

#include "commands.h"

int with_registry(const char *conf_dir,
                  int (*work)(struct registry *registry, const struct conf *conf,
                              const void *options),
                  const void *options)
{
    struct conf *conf;
    struct registry *registry = open_registry(conf_dir, &conf);
    if (registry == NULL) {
        return EXIT_FAILED;
    }
    int code = work(registry, conf, options);
    registry_close(registry);
    conf_unref(conf);
    return code;
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

struct list_options {
    const struct registry_kind *kind;
    const char *dir;
};

static error_t parse_list(int key, char *arg, struct argp_state *state)
{
    struct list_options *o = state->input;
    return parse_conf_dir(key, arg, state, &o->dir);
}

static int list(struct registry *registry, const struct conf *conf, const void *options)
{
    (void)conf;
    const struct list_options *o = options;
    struct whorl_fault fault = {0};
    return o->kind->print_all(registry, &fault) ? EXIT_DONE : print_fault(&fault);
}

int registry_list(const struct registry_kind *kind, int argc, char **argv)
{
    static const struct argp_option options[] = {CONF_DIR_OPTION, {0}};
    const struct argp argp = {.options = options, .parser = parse_list, .doc = kind->list_doc};
    struct list_options o = {.kind = kind};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return with_registry(o.dir, list, &o);
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

static int set(struct registry *registry, const struct conf *conf, const void *options)
{
    (void)conf;
    const struct set_options *o = options;
    struct whorl_fault fault = {0};
    if (!o->kind->set_state(registry, o->id, o->state, &fault)) {
        return print_fault(&fault);
    }
    printf("%s %s is %s\n", o->kind->noun, o->id, registry_state_name(o->state));
    return EXIT_DONE;
}

int registry_set(const struct registry_kind *kind, int argc, char **argv, enum registry_state state,
                 const char *doc)
{
    static const struct argp_option options[] = {CONF_DIR_OPTION, {0}};
    const struct argp argp = {
        .options = options, .parser = parse_set, .args_doc = "ID", .doc = doc};
    struct set_options o = {.kind = kind, .state = state};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return with_registry(o.dir, set, &o);
}
