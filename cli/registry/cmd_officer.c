/* whorl officer: the registry's officers. */
#include <argp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/day.h"
#include "cli/registry/registry_command.h"

enum { OPT_FORCE = 0x100, OPT_NAME, OPT_ENTITLE, OPT_FROM, OPT_UNTIL, OPT_REPLACE };

static void print_officer(void *ctx, const struct registry_officer *officer)
{
    (void)ctx;
    char from[16];
    char until[16];
    print_day(officer->valid_from, from);
    print_day(officer->valid_until, until);
    printf("%-24s %-8s %-10s %-11s %-11s ", officer->id, officer->force,
           registry_state_name(officer->state), from, until);
    for (size_t i = 0; i < officer->entitlement_count; i++) {
        printf("%s%s", i == 0 ? "" : ",", officer->entitlements[i]);
    }
    printf("%s%s%s\n", officer->entitlement_count == 0 ? "-" : "",
           officer->name[0] == '\0' ? "" : "  ", officer->name);
}

static bool print_all(struct registry *registry, struct whorl_fault *fault)
{
    printf("%-24s %-8s %-10s %-11s %-11s %s\n", "ID", "FORCE", "STATE", "FROM", "UNTIL",
           "ENTITLEMENTS");
    return registry == NULL || registry_each_officer(registry, print_officer, NULL, fault);
}

static void put_day(msgpack_packer *pk, const char *key, int64_t seconds)
{
    char day[16];
    print_day(seconds, day);
    whorl_put_str(pk, key, seconds != 0 ? day : NULL);
}

/* All that decides what the officer may ask; no name. */
static void pack_officer(msgpack_packer *pk, const struct registry_officer *officer)
{
    msgpack_pack_map(pk, 5);
    whorl_put_str(pk, "force", officer->force);
    whorl_put_str(pk, "state", registry_state_name(officer->state));
    whorl_put_key(pk, "entitlements");
    msgpack_pack_array(pk, officer->entitlement_count);
    for (size_t i = 0; i < officer->entitlement_count; i++) {
        msgpack_pack_str_with_body(pk, officer->entitlements[i], strlen(officer->entitlements[i]));
    }
    put_day(pk, "from", officer->valid_from);
    put_day(pk, "until", officer->valid_until);
}

static bool describe(struct registry *registry, const char *id, enum registry_state state,
                     msgpack_packer *pk, struct whorl_fault *fault)
{
    struct registry_officer officer;
    enum registry_found found = registry_officer(registry, id, &officer, fault);
    if (found != REGISTRY_PRESENT) {
        return found == REGISTRY_ABSENT && whorl_fail(fault, "id", "there is no officer %s", id);
    }
    officer.state = state;
    pack_officer(pk, &officer);
    return true;
}

static const struct registry_kind officers = {
    .noun = "officer",
    .store = "registry/officers",
    .describe = describe,
    .list_doc = "Lists the registered officers.",
    .set_docs =
        {
            [REGISTRY_REVOKED] = "Revokes an officer: a running server refuses the next call.",
            [REGISTRY_SUSPENDED] = "Suspends an officer for the time being.",
            [REGISTRY_ACTIVE] = "Makes an officer active again.",
        },
    .set_state = registry_set_officer_state,
    .print_all = print_all,
};

struct options {
    const char *dir, *id, *force, *name, *entitle;
    int64_t from, until;
    bool replace;
};

static error_t parse_day(const char *arg, struct argp_state *state, int64_t *seconds)
{
    if (!read_day(arg, seconds)) {
        argp_error(state, "expected a date as YYYY-MM-DD, found \"%s\"", arg);
    }
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_FORCE:
        o->force = arg;
        return 0;
    case OPT_NAME:
        o->name = arg;
        return 0;
    case OPT_ENTITLE:
        o->entitle = arg;
        return 0;
    case OPT_FROM:
        return parse_day(arg, state, &o->from);
    case OPT_UNTIL:
        return parse_day(arg, state, &o->until);
    case OPT_REPLACE:
        o->replace = true;
        return 0;
    default:
        return parse_registry_id(&officers, key, arg, state, &o->id, &o->dir);
    }
}

/* "pnc,immigration" into the officer's list. */
static bool read_entitlements(const char *text, struct registry_officer *officer,
                              struct whorl_fault *fault)
{
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        char *entitlement = officer->entitlements[officer->entitlement_count];
        if (officer->entitlement_count == REGISTRY_ENTITLEMENTS_MAX) {
            return whorl_fail(fault, "--entitle", "an officer has at most %d entitlements",
                              REGISTRY_ENTITLEMENTS_MAX);
        }
        if (len <= REGISTRY_ENTITLEMENT_MAX) {
            memcpy(entitlement, text, len);
            entitlement[len] = '\0';
        }
        if (len > REGISTRY_ENTITLEMENT_MAX ||
            !registry_id_valid(entitlement, REGISTRY_ENTITLEMENT_MAX)) {
            return whorl_fail(fault, "--entitle", "\"%.*s\" is no entitlement",
                              (int)(len < 64 ? len : 64), text);
        }
        officer->entitlement_count++;
        text += len + (text[len] == ',' ? 1 : 0);
    }
    return true;
}

struct adding {
    const struct registry_officer *officer;
    bool replace;
};

static bool pack_add(struct registry *registry, const void *arg, msgpack_packer *pk,
                     struct whorl_fault *fault)
{
    (void)registry;
    (void)fault;
    pack_officer(pk, ((const struct adding *)arg)->officer);
    return true;
}

static bool apply_add(struct registry *registry, const void *arg, struct whorl_fault *fault)
{
    const struct adding *adding = arg;
    return registry_put_officer(registry, adding->officer, adding->replace, fault);
}

/* Stores it in the state of the one that it replaces, recorded before and after. */
static bool put(const struct registry_use *use, struct registry_officer *officer, bool replace,
                struct whorl_fault *fault)
{
    struct registry_officer old = {0};
    const struct adding adding = {officer, replace};
    if (!registry_check_officer(use->registry, officer, replace, fault)) {
        return false;
    }
    /* One that is damaged is there as well. */
    enum registry_found found = registry_officer(use->registry, officer->id, &old, fault);
    bool there = found != REGISTRY_ABSENT;
    officer->state = registry_state_after(found, old.state);
    const struct registry_change change = {.kind = &officers,
                                           .doing = there ? "replacing" : "adding",
                                           .done = there ? "replaced" : "added",
                                           .id = officer->id,
                                           .pack = pack_add,
                                           .apply = apply_add,
                                           .arg = &adding};
    if (!registry_change(use, &change, fault)) {
        return false;
    }
    printf("officer %s of force %s is registered\n", officer->id, officer->force);
    registry_tell_kept(&officers, officer->id, found, officer->state);
    return true;
}

static int add_to(const struct registry_use *use, const void *options)
{
    const struct options *o = options;
    struct whorl_fault fault = {0};
    struct registry_officer officer = {
        .added = time(NULL), .valid_from = o->from, .valid_until = o->until};
    if (conf_find_force(use->conf, o->force) == NULL) {
        whorl_fail(&fault, "--force", "force %s is not configured in %s", o->force, use->conf->dir);
        return print_fault(&fault);
    }
    if (strlen(o->id) > REGISTRY_OFFICER_MAX || strlen(o->name) > REGISTRY_NAME_MAX) {
        whorl_fail(&fault, "", "an ID has at most %d bytes, a name %d", REGISTRY_OFFICER_MAX,
                   REGISTRY_NAME_MAX);
        return print_fault(&fault);
    }
    if (!whorl_text_is_clean(o->name, strlen(o->name))) {
        whorl_fail(&fault, "--name",
                   "must be UTF-8 without control characters (a line's end or a tab "
                   "among them)");
        return print_fault(&fault);
    }
    snprintf(officer.id, sizeof officer.id, "%s", o->id);
    snprintf(officer.force, sizeof officer.force, "%s", o->force);
    snprintf(officer.name, sizeof officer.name, "%s", o->name);
    if (!read_entitlements(o->entitle, &officer, &fault) ||
        !put(use, &officer, o->replace, &fault)) {
        return print_fault(&fault);
    }
    return EXIT_DONE;
}

static int add(int argc, char **argv)
{
    static const struct argp_option list[] = {
        CONF_DIR_OPTION,
        {"force", OPT_FORCE, "CODE", 0, "The officer's force", 2},
        {"entitle", OPT_ENTITLE, "LIST", 0, "What the officer is entitled to, e.g. pnc,immigration",
         2},
        {"name", OPT_NAME, "TEXT", 0, "For lists", 2},
        {"from", OPT_FROM, "DATE", 0, "Not before this day (UTC)", 2},
        {"until", OPT_UNTIL, "DATE", 0, "Not from this day on (UTC)", 2},
        {"replace", OPT_REPLACE, 0, 0, "Replace the entry, e.g. for other entitlements", 2},
        {0}};
    static const struct argp argp = {.options = list,
                                     .parser = parse,
                                     .args_doc = "ID",
                                     .doc = "Registers an officer of a force."};
    struct options o = {.name = "", .entitle = ""};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.force == NULL) {
        fputs("whorl officer add: --force CODE is needed\n", stderr);
        return EXIT_USAGE;
    }
    return with_registry(o.dir, true, add_to, &o);
}

static int list(int argc, char **argv)
{
    return registry_list(&officers, argc, argv);
}

static int revoke(int argc, char **argv)
{
    return registry_set(&officers, REGISTRY_REVOKED, argc, argv);
}

static int suspend(int argc, char **argv)
{
    return registry_set(&officers, REGISTRY_SUSPENDED, argc, argv);
}

static int restore(int argc, char **argv)
{
    return registry_set(&officers, REGISTRY_ACTIVE, argc, argv);
}

int cmd_officer(int argc, char **argv)
{
    static const struct subcommand commands[] = {
        {"add", add, "register an officer"},
        {"list", list, "list the officers"},
        {"revoke", revoke, "refuse an officer from now on"},
        {"suspend", suspend, "refuse an officer for the time being"},
        {"restore", restore, "accept the officer again"},
        {NULL, NULL, NULL},
    };
    return subcommand_run("officer", commands, argc, argv);
}
