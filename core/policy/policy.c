#include "core/policy/policy.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* An empty list in a rule fits anything. */
static bool fits(conf_list list, const char *text)
{
    return list == NULL || list[0] == NULL || conf_list_has(list, text);
}

bool policy_knows_basis(const struct conf_policy *policy, const char *basis)
{
    for (size_t i = 0; i < policy->rule_count; i++) {
        if (strcmp(policy->rules[i].basis, basis) == 0) {
            return true;
        }
    }
    return false;
}

const struct conf_rule *policy_rule(const struct conf_policy *policy, const char *basis,
                                    const char *condition, const char *consent)
{
    for (size_t i = 0; i < policy->rule_count; i++) {
        const struct conf_rule *rule = &policy->rules[i];
        if (strcmp(rule->basis, basis) == 0 && fits(rule->subject, condition) &&
            fits(rule->consent, consent)) {
            return rule;
        }
    }
    return NULL;
}

const char *policy_missing(const struct conf_rule *rule,
                           bool (*present)(const void *ctx, const char *field), const void *ctx)
{
    if (rule == NULL || rule->require == NULL) {
        return NULL;
    }
    for (conf_list field = rule->require; *field != NULL; field++) {
        if (!present(ctx, *field)) {
            return *field;
        }
    }
    return NULL;
}

__attribute__((format(printf, 2, 3))) static void deny(struct policy_decision *out,
                                                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    out->allowed = false;
    vsnprintf(out->reason, sizeof out->reason, format, args);
    va_end(args);
}

static bool switched_on(const struct conf_force *force, const struct conf_plugin *plugin,
                        struct policy_decision *out)
{
    if (!plugin->enabled || plugin->descriptor == NULL) {
        deny(out, "disabled by configuration");
        return false;
    }
    if (!conf_list_has(force->backends, plugin->name)) {
        deny(out, "not switched on for force %s", force->code);
        return false;
    }
    return true;
}

static bool entitled(conf_list entitlements, const struct conf_plugin *plugin,
                     struct policy_decision *out)
{
    const char *needed = plugin->descriptor->entitlement;
    if (needed != NULL && !conf_list_has(entitlements, needed)) {
        deny(out, "officer is not entitled to %s", needed);
        return false;
    }
    return true;
}

void policy_standing(const struct conf_force *force, conf_list entitlements,
                     const struct conf_plugin *plugin, struct policy_decision *out)
{
    *out = (struct policy_decision){.allowed = true};
    if (switched_on(force, plugin, out)) {
        entitled(entitlements, plugin, out);
    }
}

void policy_decide(const struct policy_case *asked, const struct conf_rule *rule,
                   const struct conf_plugin *plugin, struct policy_decision *out)
{
    *out = (struct policy_decision){.allowed = true};
    if (!switched_on(asked->force, plugin, out)) {
        return;
    }
    if (rule == NULL || !conf_list_has(rule->backends, plugin->name)) {
        deny(out, "not permitted on basis %s for subject %s with consent %s", asked->basis,
             asked->condition, asked->consent);
        return;
    }
    if (!entitled(asked->entitlements, plugin, out)) {
        return;
    }
    if (asked->checks != NULL && !conf_list_has(asked->checks, plugin->name)) {
        deny(out, "not asked for");
    }
}
