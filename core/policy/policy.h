/* The decision: may this backend be asked about this person, by this officer, on this basis?
 *
 * Pure functions over the configuration: no clock, no store, no log. Default deny: what no rule
 * permits is refused. Every refusal has its reason in words, which the officer, the audit and the
 * reports all show. Any thread. */
#ifndef CORE_POLICY_H
#define CORE_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "core/conf/conf.h"

#define POLICY_REASON_MAX 240

/* What is asked. */
struct policy_case {
    const struct conf_force *force; /* the officer's */
    const char *basis, *condition, *consent;
    conf_list entitlements; /* the officer's */
    conf_list checks;       /* backends wanted; NULL: whatever is allowed */
};

struct policy_decision {
    bool allowed;
    char reason[POLICY_REASON_MAX + 1]; /* why not; "" if allowed */
};

/* Whether any rule names this basis at all. */
bool policy_knows_basis(const struct conf_policy *policy, const char *basis);

/* The first rule that fits basis, condition and consent: the one that decides. NULL: none, so
 * nothing is permitted. */
const struct conf_rule *policy_rule(const struct conf_policy *policy, const char *basis,
                                    const char *condition, const char *consent);

/* The first field that the rule requires and that present() does not have; NULL if none. rule may
 * be NULL. */
const char *policy_missing(const struct conf_rule *rule,
                           bool (*present)(const void *ctx, const char *field), const void *ctx);

/* Decides on one backend; rule is what policy_rule gave. Reasons, the first that holds:
 *   disabled by configuration
 *   not switched on for force WMP
 *   not permitted on basis B for subject S with consent C
 *   officer is not entitled to E
 *   not asked for */
void policy_decide(const struct policy_case *asked, const struct conf_rule *rule,
                   const struct conf_plugin *plugin, struct policy_decision *out);

/* The same without a basis, for `capabilities`: whether it could be allowed on some basis. */
void policy_standing(const struct conf_force *force, conf_list entitlements,
                     const struct conf_plugin *plugin, struct policy_decision *out);

#endif
