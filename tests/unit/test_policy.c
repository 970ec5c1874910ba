/* The policy decision: the whole table of what may be asked, and default deny. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy/policy.h"
#include "run_suite.h"

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
static const char *const nothing[] = {NULL};

static const struct whorl_plugin open_backend = {.role = WHORL_ROLE_SEARCH};
static const struct whorl_plugin entitled_backend = {.role = WHORL_ROLE_LOOKUP,
                                                     .entitlement = "pnc"};
static const struct conf_plugin ident1 = {
    .name = "ident1", .enabled = true, .descriptor = &open_backend};
static const struct conf_plugin pnc = {
    .name = "pnc", .enabled = true, .descriptor = &entitled_backend};
static const struct conf_plugin immigration = {.name = "immigration", .enabled = false};
static const struct conf_plugin faces = {
    .name = "faces", .enabled = true, .descriptor = &open_backend};

static const struct conf_plugin unloaded = {.name = "ident1", .enabled = true};

static const struct conf_rule rules[] = {
    {.name = "adults who consent",
     .basis = "consent",
     .subject = LIST("adult"),
     .consent = LIST("given"),
     .backends = LIST("ident1", "pnc", "immigration"),
     .require = LIST("reason", "subject.family")},
    {.name = "children whose guardian consents",
     .basis = "consent",
     .subject = LIST("child"),
     .consent = LIST("given_by_guardian"),
     .backends = LIST("ident1"),
     .require = nothing},
    {.name = "legal cause",
     .basis = "pace-61-6a",
     .subject = nothing,
     .consent = nothing,
     .backends = LIST("ident1", "pnc", "faces"),
     .require = nothing},
    {.name = "never reached for adults who consent",
     .basis = "consent",
     .subject = nothing,
     .consent = nothing,
     .backends = nothing,
     .require = nothing},
};
static const struct conf_policy policy = {
    .name = "p", .rules = rules, .rule_count = sizeof rules / sizeof *rules};
static const struct conf_force force = {
    .code = "WMP", .policy = &policy, .backends = LIST("ident1", "pnc", "immigration")};

struct expectation {
    const char *basis, *condition, *consent;
    const struct conf_plugin *plugin;
    bool entitled;
    const char *check;  /* the one that is asked for; NULL: everything */
    const char *reason; /* NULL: allowed */
};

#define NOT_ON(basis, condition, consent)                                                          \
    "not permitted on basis " basis " for subject " condition " with consent " consent

static const struct expectation table[] = {
    {"consent", "adult", "given", &ident1, false, NULL, NULL},
    {"consent", "adult", "given", &ident1, false, "ident1", NULL},
    {"consent", "adult", "given", &ident1, true, "pnc", "not asked for"},
    {"consent", "adult", "given", &pnc, true, NULL, NULL},
    {"consent", "adult", "given", &pnc, false, NULL, "officer is not entitled to pnc"},
    {"consent", "adult", "given", &pnc, false, "ident1", "officer is not entitled to pnc"},
    {"consent", "adult", "given", &immigration, true, NULL, "disabled by configuration"},
    {"consent", "adult", "given", &immigration, true, "ident1", "disabled by configuration"},
    {"consent", "adult", "given", &faces, true, NULL, "not switched on for force WMP"},
    {"pace-61-6a", "adult", "not_asked", &faces, true, NULL, "not switched on for force WMP"},
    {"pace-61-6a", "adult", "not_asked", &ident1, true, NULL, NULL},
    {"pace-61-6a", "adult", "refused", &ident1, true, NULL, NULL},
    {"pace-61-6a", "deceased", "unable", &pnc, true, NULL, NULL},
    {"pace-61-6a", "child", "not_asked", &pnc, false, NULL, "officer is not entitled to pnc"},
    {"consent", "child", "given_by_guardian", &ident1, true, NULL, NULL},
    {"consent", "child", "given_by_guardian", &pnc, true, NULL,
     NOT_ON("consent", "child", "given_by_guardian")},
    {"consent", "child", "given", &ident1, true, NULL, NOT_ON("consent", "child", "given")},
    {"consent", "adult", "refused", &ident1, true, NULL, NOT_ON("consent", "adult", "refused")},
    {"consent", "adult", "not_asked", &pnc, true, NULL, NOT_ON("consent", "adult", "not_asked")},
    {"consent", "unconscious", "unable", &ident1, true, NULL,
     NOT_ON("consent", "unconscious", "unable")},
    {"deceased", "deceased", "unable", &ident1, true, NULL,
     NOT_ON("deceased", "deceased", "unable")},
    {"", "adult", "given", &ident1, true, NULL, NOT_ON("", "adult", "given")},
};

START_TEST(every_row_of_the_table_is_decided_as_written)
{
    const struct expectation *row = &table[_i];
    const char *const checks[] = {row->check, NULL};
    struct policy_case asked = {.force = &force,
                                .basis = row->basis,
                                .condition = row->condition,
                                .consent = row->consent,
                                .entitlements = row->entitled ? LIST("pnc", "other") : nothing,
                                .checks = row->check != NULL ? checks : NULL};
    const struct conf_rule *rule = policy_rule(&policy, row->basis, row->condition, row->consent);
    struct policy_decision decision;
    memset(&decision, 0xff, sizeof decision);
    policy_decide(&asked, rule, row->plugin, &decision);
    ck_assert_str_eq(decision.reason, row->reason == NULL ? "" : row->reason);
    ck_assert_int_eq(decision.allowed, row->reason == NULL);
}
END_TEST

START_TEST(the_first_rule_that_fits_decides)
{
    ck_assert_ptr_eq(policy_rule(&policy, "consent", "adult", "given"), &rules[0]);
    ck_assert_ptr_eq(policy_rule(&policy, "consent", "child", "given_by_guardian"), &rules[1]);
    ck_assert_ptr_eq(policy_rule(&policy, "consent", "child", "given"), &rules[3]);
    ck_assert_ptr_eq(policy_rule(&policy, "pace-61-6a", "child", "refused"), &rules[2]);
    ck_assert_ptr_null(policy_rule(&policy, "deceased", "deceased", "unable"));
    ck_assert_ptr_null(policy_rule(&policy, "Consent", "adult", "given"));
}
END_TEST

static bool has(const void *ctx, const char *field)
{
    return strstr(ctx, field) != NULL;
}

/* What a rule doesn't list at all is as an empty list: any subject, any consent, nothing required;
 * but no backend. */
START_TEST(a_rule_without_lists_fits_anything_and_permits_nothing)
{
    static const struct conf_rule bare = {.name = "bare", .basis = "deceased", .backends = nothing};
    const struct conf_policy one = {.name = "p", .rules = &bare, .rule_count = 1};
    const struct policy_case asked = {
        .force = &force, .basis = "deceased", .condition = "deceased", .consent = "unable"};
    struct policy_decision decision;
    ck_assert_ptr_eq(policy_rule(&one, "deceased", "deceased", "unable"), &bare);
    ck_assert_ptr_null(policy_missing(&bare, has, ""));
    policy_decide(&asked, &bare, &ident1, &decision);
    ck_assert(!decision.allowed);
    ck_assert_str_eq(decision.reason, NOT_ON("deceased", "deceased", "unable"));
}
END_TEST

START_TEST(a_backend_whose_module_is_not_loaded_is_disabled)
{
    const struct policy_case asked = {.force = &force,
                                      .basis = "consent",
                                      .condition = "adult",
                                      .consent = "given",
                                      .entitlements = nothing};
    struct policy_decision decision;
    policy_decide(&asked, &rules[0], &unloaded, &decision);
    ck_assert(!decision.allowed);
    ck_assert_str_eq(decision.reason, "disabled by configuration");
}
END_TEST

START_TEST(a_basis_that_no_rule_names_is_unknown)
{
    ck_assert(policy_knows_basis(&policy, "consent"));
    ck_assert(policy_knows_basis(&policy, "pace-61-6a"));
    ck_assert(!policy_knows_basis(&policy, "consen"));
    ck_assert(!policy_knows_basis(&policy, ""));
}
END_TEST

START_TEST(the_first_required_field_that_is_missing_is_named)
{
    ck_assert_str_eq(policy_missing(&rules[0], has, ""), "reason");
    ck_assert_str_eq(policy_missing(&rules[0], has, "reason"), "subject.family");
    ck_assert_str_eq(policy_missing(&rules[0], has, "subject.family"), "reason");
    ck_assert_ptr_null(policy_missing(&rules[0], has, "reason subject.family"));
    ck_assert_ptr_null(policy_missing(&rules[2], has, ""));
    ck_assert_ptr_null(policy_missing(NULL, has, ""));
}
END_TEST

START_TEST(standing_says_what_could_be_asked_on_some_basis)
{
    struct policy_decision decision;
    policy_standing(&force, nothing, &ident1, &decision);
    ck_assert(decision.allowed);
    policy_standing(&force, nothing, &pnc, &decision);
    ck_assert_str_eq(decision.reason, "officer is not entitled to pnc");
    policy_standing(&force, LIST("pnc"), &pnc, &decision);
    ck_assert(decision.allowed);
    policy_standing(&force, LIST("pnc"), &immigration, &decision);
    ck_assert_str_eq(decision.reason, "disabled by configuration");
    policy_standing(&force, LIST("pnc"), &faces, &decision);
    ck_assert_str_eq(decision.reason, "not switched on for force WMP");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy");
    TCase *decisions = tcase_create("decisions");
    tcase_add_loop_test(decisions, every_row_of_the_table_is_decided_as_written, 0,
                        sizeof table / sizeof *table);
    tcase_add_test(decisions, the_first_rule_that_fits_decides);
    tcase_add_test(decisions, a_rule_without_lists_fits_anything_and_permits_nothing);
    tcase_add_test(decisions, a_backend_whose_module_is_not_loaded_is_disabled);
    tcase_add_test(decisions, a_basis_that_no_rule_names_is_unknown);
    tcase_add_test(decisions, the_first_required_field_that_is_missing_is_named);
    tcase_add_test(decisions, standing_says_what_could_be_asked_on_some_basis);
    suite_add_tcase(suite, decisions);
    return run_suite(suite);
}
