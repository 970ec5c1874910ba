/* whorl policy: which rule decides, and how. */
#include <argp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "core/policy/policy.h"
#include "core/registry/registry.h"
#include "whorl/msg.h"

enum { OPT_FORCE = 0x100, OPT_BASIS, OPT_CONDITION, OPT_CONSENT, OPT_OFFICER, OPT_BACKEND };

struct options {
    const char *dir, *force, *basis, *condition, *consent, *officer, *backend;
};

/* What is explained. */
struct explaining {
    const struct conf *conf;
    struct policy_case asked;
    const struct conf_rule *rule;
    const char *officer; /* NULL: nobody in particular */
    struct registry_officer entry;
    const char *entitlements[REGISTRY_ENTITLEMENTS_MAX + 1];
    bool any_allowed;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_FORCE:
        o->force = arg;
        return 0;
    case OPT_BASIS:
        o->basis = arg;
        return 0;
    case OPT_CONDITION:
        o->condition = arg;
        return 0;
    case OPT_CONSENT:
        o->consent = arg;
        return 0;
    case OPT_OFFICER:
        o->officer = arg;
        return 0;
    case OPT_BACKEND:
        o->backend = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->force == NULL || o->basis == NULL) {
            argp_error(state, "%s is missing", o->force == NULL ? "--force CODE" : "--basis WORD");
        }
        break;
    default:
        break;
    }
    return parse_conf_dir(key, arg, state, &o->dir);
}

static bool is_one_of(const char *option, const char *word, conf_list words)
{
    if (conf_list_has(words, word)) {
        return true;
    }
    fprintf(stderr, "whorl policy explain: %s: \"%s\" is none of", option, word);
    for (size_t i = 0; words[i] != NULL; i++) {
        fprintf(stderr, "%s %s", i > 0 ? "," : "", words[i]);
    }
    fputc('\n', stderr);
    return false;
}

/* Fills in the officer's entitlements; false with *fault when this officer may ask nothing. */
static bool use_officer(struct explaining *e, struct whorl_fault *fault)
{
    const struct registry_officer *officer = &e->entry;
    struct registry *registry = registry_open(e->conf->core.data_dir, WHORL_STORE_READ, fault);
    if (registry == NULL) {
        return false;
    }
    enum registry_found found = registry_officer(registry, e->officer, &e->entry, fault);
    registry_close(registry);
    if (found == REGISTRY_FAILED) {
        return false;
    }
    if (found == REGISTRY_ABSENT) {
        return whorl_fail(fault, e->officer, "is no registered officer");
    }
    if (strcmp(officer->force, e->asked.force->code) != 0) {
        return whorl_fail(fault, e->officer, "is an officer of force %s", officer->force);
    }
    for (size_t i = 0; i < officer->entitlement_count; i++) {
        e->entitlements[i] = officer->entitlements[i];
    }
    e->asked.entitlements = e->entitlements;
    return true;
}

/* Why the officer may ask nobody at all today; NULL: there is no such reason. */
static const char *standing(const struct explaining *e)
{
    const struct registry_officer *officer = &e->entry;
    int64_t now = time(NULL);
    if (e->officer == NULL) {
        return NULL;
    }
    if (officer->state != REGISTRY_ACTIVE) {
        return registry_state_name(officer->state);
    }
    return now < officer->valid_from || (officer->valid_until != 0 && now >= officer->valid_until)
               ? "outside the working dates"
               : NULL;
}

static void explain_backend(struct explaining *e, const struct conf_plugin *plugin)
{
    struct policy_decision decision;
    const char *needed = plugin->descriptor != NULL ? plugin->descriptor->entitlement : NULL;
    const char *only[] = {needed, NULL};
    const char *barred = standing(e);
    struct policy_case asked = e->asked;
    if (e->officer == NULL) {
        asked.entitlements = only; /* nobody in particular: one who is entitled */
    }
    policy_decide(&asked, e->rule, plugin, &decision);
    printf("  %-14s ", plugin->name);
    if (!decision.allowed) {
        printf("no: %s\n", decision.reason);
    } else if (barred != NULL) {
        printf("no: officer %s is %s\n", e->officer, barred);
    } else {
        e->any_allowed = true;
        printf("allowed%s%s\n",
               needed != NULL && e->officer == NULL ? ", to officers entitled to " : "",
               needed != NULL && e->officer == NULL ? needed : "");
    }
}

static void print_rule(const struct explaining *e)
{
    const struct conf_rule *rule = e->rule;
    const struct conf_policy *policy = e->asked.force->policy;
    printf("Force %s, basis %s, subject %s, consent %s%s%s\n", e->asked.force->code, e->asked.basis,
           e->asked.condition, e->asked.consent, e->officer != NULL ? ", officer " : "",
           e->officer != NULL ? e->officer : "");
    if (rule == NULL) {
        printf("  %s:%d: policy %s has no rule for this, so nothing may be asked\n",
               policy->place.file, policy->place.line, policy->name);
        return;
    }
    printf("  %s:%d: rule %s of policy %s decides\n", rule->place.file, rule->place.line,
           rule->name, policy->name);
    for (size_t i = 0; rule->require[i] != NULL; i++) {
        printf("%s%s", i == 0 ? "  needs " : ", ", rule->require[i]);
    }
    fputs(rule->require[0] != NULL ? "\n" : "", stdout);
    if (rule->show[0] != '\0') {
        printf("  show: %s\n", rule->show);
    }
}

static bool is_backend(const struct conf_plugin *plugin)
{
    return plugin->descriptor == NULL || plugin->descriptor->role != WHORL_ROLE_SINK;
}

static int explain(struct explaining *e, const struct options *o)
{
    struct whorl_fault fault = {0};
    const struct conf_plugin *only =
        o->backend != NULL ? conf_find_plugin(e->conf, o->backend) : NULL;
    e->asked.force = conf_find_force(e->conf, o->force);
    if (e->asked.force == NULL) {
        whorl_fail(&fault, "--force", "force %s is not configured in %s", o->force, e->conf->dir);
        return print_fault(&fault);
    }
    if (o->backend != NULL && (only == NULL || !is_backend(only))) {
        whorl_fail(&fault, "--backend", "%s is no backend of %s", o->backend, e->conf->dir);
        return print_fault(&fault);
    }
    if (e->officer != NULL && !use_officer(e, &fault)) {
        return print_fault(&fault);
    }
    e->rule = policy_rule(e->asked.force->policy, o->basis, o->condition, o->consent);
    print_rule(e);
    for (size_t i = 0; i < e->conf->plugin_count; i++) {
        const struct conf_plugin *plugin = &e->conf->plugins[i];
        if (is_backend(plugin) && (only == NULL || plugin == only)) {
            explain_backend(e, plugin);
        }
    }
    if (fflush(stdout) != 0) {
        return EXIT_FAILED;
    }
    return e->any_allowed ? EXIT_DONE : EXIT_NEGATIVE;
}

static int run_explain(int argc, char **argv)
{
    static const char *const conditions[] = {"adult", "child", "unconscious", "deceased", NULL};
    static const char *const consents[] = {
        "given", "given_by_guardian", "refused", "not_asked", "unable", NULL};
    static const struct argp_option list[] = {
        CONF_DIR_OPTION,
        {"force", OPT_FORCE, "CODE", 0, "The officer's force", 2},
        {"basis", OPT_BASIS, "WORD", 0, "The legal basis", 2},
        {"condition", OPT_CONDITION, "WORD", 0, "adult (default), child, unconscious or deceased",
         2},
        {"consent", OPT_CONSENT, "WORD", 0,
         "given, given_by_guardian, refused, not_asked (default) or unable", 2},
        {"officer", OPT_OFFICER, "ID", 0,
         "This officer, with entitlements, state and working dates as registered", 2},
        {"backend", OPT_BACKEND, "NAME", 0, "Only this one", 2},
        {0}};
    static const struct argp argp = {
        .options = list,
        .parser = parse,
        .doc = "Says for each backend whether it may be asked or why not, and which rule (file and "
               "line) decides. It is the same decision that the server makes.\v"
               "Exit status: 0 something may be asked, 1 nothing, 2 wrong usage, 3 failure."};
    struct options o = {.condition = "adult", .consent = "not_asked"};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (!is_one_of("--condition", o.condition, conditions) ||
        !is_one_of("--consent", o.consent, consents)) {
        return EXIT_USAGE;
    }
    struct conf *conf = read_conf(o.dir);
    if (conf == NULL) {
        return EXIT_FAILED;
    }
    struct explaining e = {
        .conf = conf,
        .asked = {.basis = o.basis, .condition = o.condition, .consent = o.consent},
        .officer = o.officer};
    int code = explain(&e, &o);
    conf_unref(conf);
    return code;
}

int cmd_policy(int argc, char **argv)
{
    static const struct subcommand commands[] = {
        {"explain", run_explain, "say who may ask what, and by which rule"},
        {NULL, NULL, NULL},
    };
    return subcommand_run("policy", commands, argc, argv);
}
