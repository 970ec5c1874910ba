/* policy "name" { rule "name" { } } and force "CODE" { }. */
#include <stdint.h>
#include <string.h>

#include "core/conf/sections.h"
#include "core/conf/terms.h"

enum {
    RULE_BASIS,
    RULE_SUBJECT,
    RULE_CONSENT,
    RULE_BACKENDS,
    RULE_REQUIRE,
    RULE_SHOW,
    RULE_COUNT,
};

static const struct whorl_setting rule_settings[RULE_COUNT] = {
    [RULE_BASIS] = {"basis", WHORL_SETTING_STRING, WHORL_SETTING_REQUIRED, NULL, 1, 64,
                    "the legal basis that the rule is for"},
    [RULE_SUBJECT] = {"subject", WHORL_SETTING_LIST, 0, NULL, 0, 0,
                      "conditions of the subject that it is for; none: any"},
    [RULE_CONSENT] = {"consent", WHORL_SETTING_LIST, 0, NULL, 0, 0,
                      "what became of consent; none: anything"},
    [RULE_BACKENDS] = {"backends", WHORL_SETTING_LIST, 0, NULL, 0, 0,
                       "what may be asked; none: nothing"},
    [RULE_REQUIRE] = {"require", WHORL_SETTING_LIST, 0, NULL, 0, 0,
                      "fields of identify that must be there"},
    [RULE_SHOW] = {"show", WHORL_SETTING_STRING, 0, NULL, 0, 1000,
                   "what the officer must say or know"},
};

const char *const conf_conditions[] = {"adult", "child", "unconscious", "deceased", NULL};
const char *const conf_consents[] = {"given", "given_by_guardian", "refused", "not_asked", "unable",
                                     NULL};
const char *const conf_requirable[] = {"reason",
                                       "reason_code",
                                       "stop_power",
                                       "consent",
                                       "subject.family",
                                       "subject.given",
                                       "subject.born",
                                       "subject.gender",
                                       "subject.age_band",
                                       "subject.ethnicity_officer",
                                       "subject.ethnicity_self",
                                       NULL};

enum { CONDITIONS = 4, CONSENTS = 5 };

/* Each entry must be one of the terms and stand there once. Returns them as bits; none = all. */
static uint32_t read_terms(struct reading *reading, const struct field *field,
                           struct conf_place section, const char *option, conf_list terms)
{
    uint32_t bits = 0;
    size_t count = 0;
    struct conf_place place = field_place(field, section);
    while (terms[count]) {
        count++;
    }
    for (size_t i = 0; i < field->list_count; i++) {
        size_t term = 0;
        while (term < count && strcmp(terms[term], field->list[i]) != 0) {
            term++;
        }
        if (term == count) {
            mistake_at(reading->mistakes, place, "%s can't hold \"%.60s\"", option, field->list[i]);
        } else if ((bits & 1u << term) != 0) {
            mistake_at(reading->mistakes, place, "%s holds \"%s\" twice", option, field->list[i]);
        } else {
            bits |= 1u << term;
        }
    }
    return field->list_count == 0 ? (1u << count) - 1 : bits;
}

/* The cases that a rule decides: one bit for each pair of condition and consent. */
static uint32_t cases_of(uint32_t subjects, uint32_t consents)
{
    uint32_t cases = 0;
    for (unsigned i = 0; i < CONDITIONS; i++) {
        cases |= (subjects & 1u << i) != 0 ? consents << (i * CONSENTS) : 0;
    }
    return cases;
}

static bool is_basis(const char *text)
{
    return text[0] != '\0' && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

static void check_contradiction(struct reading *reading, const struct conf_rule *rule,
                                uint32_t subjects, uint32_t consents)
{
    enum { GIVEN = 1, REFUSED = 4, UNCONSCIOUS = 4, DECEASED = 8 };
    if (subjects != 0 && (subjects & ~(uint32_t)(UNCONSCIOUS | DECEASED)) == 0 && consents != 0 &&
        (consents & ~(uint32_t)(GIVEN | REFUSED)) == 0) {
        mistake_at(reading->mistakes, rule->place,
                   "rule %s contradicts itself: an unconscious or deceased subject can neither "
                   "give nor refuse consent",
                   rule->name);
    }
}

/* Returns the cases that the rule decides, 0 when its terms are wrong. */
static uint32_t rule_read(struct reading *reading, const struct conf *conf,
                          const struct tree_section *section, struct conf_rule *rule)
{
    const char *what = arena_printf(reading->arena, "rule %s", section->title);
    size_t before = reading->mistakes->count;
    sections_refuse_inner(reading, section, NULL);
    struct field *fields =
        fields_read(reading, SCHEMA(rule_settings), section, section->place, what);
    *rule = (struct conf_rule){
        .place = section->place,
        .name = section->title,
        .basis = fields[RULE_BASIS].string,
        .subject = fields[RULE_SUBJECT].list,
        .consent = fields[RULE_CONSENT].list,
        .backends = fields[RULE_BACKENDS].list,
        .require = fields[RULE_REQUIRE].list,
        .show = fields[RULE_SHOW].string,
    };
    if (fields[RULE_BASIS].line > 0 && !is_basis(rule->basis)) {
        mistake_at(reading->mistakes, field_place(&fields[RULE_BASIS], section->place),
                   "basis must be of small letters, digits and hyphens, not \"%.60s\"",
                   rule->basis);
    }
    uint32_t subjects =
        read_terms(reading, &fields[RULE_SUBJECT], section->place, "subject", conf_conditions);
    uint32_t consents =
        read_terms(reading, &fields[RULE_CONSENT], section->place, "consent", conf_consents);
    read_terms(reading, &fields[RULE_REQUIRE], section->place, "require", conf_requirable);
    plugins_check_list(reading, conf, field_place(&fields[RULE_BACKENDS], section->place),
                       rule->backends, "backends");
    check_contradiction(reading, rule, subjects, consents);
    return reading->mistakes->count == before ? cases_of(subjects, consents) : 0;
}

/* A rule whose every case an earlier one of the same basis decides can never apply. */
static void check_reachable(struct reading *reading, const struct conf_policy *policy,
                            const uint32_t *cases, size_t last)
{
    const struct conf_rule *rule = &policy->rules[last];
    uint32_t left = cases[last];
    for (size_t i = 0; i < last && left != 0; i++) {
        const struct conf_rule *earlier = &policy->rules[i];
        if (strcmp(earlier->basis, rule->basis) != 0) {
            continue;
        }
        left &= ~cases[i];
        if (left == 0 && (cases[last] & ~cases[i]) == 0) {
            mistake_at(reading->mistakes, rule->place,
                       "rule %s is never reached: rule %s (line %d) decides all its cases first",
                       rule->name, earlier->name, earlier->place.line);
        } else if (left == 0) {
            mistake_at(reading->mistakes, rule->place,
                       "rule %s is never reached: the rules before it, up to %s (line %d), decide "
                       "all its cases",
                       rule->name, earlier->name, earlier->place.line);
        }
    }
}

static void policy_read(struct reading *reading, const struct conf *conf,
                        const struct tree_section *section, struct conf_policy *policy)
{
    const char *what = arena_printf(reading->arena, "policy %s", section->title);
    struct schema none = {NULL, 0, 0};
    sections_refuse_inner(reading, section, "rule");
    fields_read(reading, none, section, section->place, what);
    struct sources rules = sections_of(reading->arena, section, "rule");
    sections_check_titles(reading, &rules, false);
    struct conf_rule *list = arena_alloc(reading->arena, (rules.count + 1) * sizeof *list);
    uint32_t *cases = arena_alloc(reading->arena, (rules.count + 1) * sizeof *cases);
    *policy = (struct conf_policy){section->place, section->title, list, rules.count};
    for (size_t i = 0; i < rules.count; i++) {
        cases[i] = rule_read(reading, conf, rules.sections[i], &list[i]);
        if (cases[i] != 0) {
            check_reachable(reading, policy, cases, i);
        }
    }
}

void policies_read(struct reading *reading, struct conf *conf, const struct sources *sources)
{
    struct conf_policy *list = arena_alloc(reading->arena, (sources->count + 1) * sizeof *list);
    sections_check_titles(reading, sources, false);
    for (size_t i = 0; i < sources->count; i++) {
        policy_read(reading, conf, sources->sections[i], &list[i]);
    }
    conf->policies = list;
    conf->policy_count = sources->count;
}

enum { FORCE_TITLE, FORCE_POLICY, FORCE_BACKENDS, FORCE_LENDS_TO, FORCE_COUNT };

static const struct whorl_setting force_settings[FORCE_COUNT] = {
    [FORCE_TITLE] = {"title", WHORL_SETTING_STRING, 0, NULL, 0, 100, "its name, for people"},
    [FORCE_POLICY] = {"policy", WHORL_SETTING_STRING, WHORL_SETTING_REQUIRED, NULL, 1,
                      CONF_NAME_MAX, "the policy that its officers are under"},
    [FORCE_BACKENDS] = {"backends", WHORL_SETTING_LIST, 0, NULL, 0, 0,
                        "the plugins that are on for its officers"},
    [FORCE_LENDS_TO] = {"lends_to", WHORL_SETTING_LIST, 0, NULL, 0, 0,
                        "the forces whose officers may use its devices"},
};

static const struct conf_policy *find_policy(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->policy_count; i++) {
        if (strcmp(conf->policies[i].name, name) == 0) {
            return &conf->policies[i];
        }
    }
    return NULL;
}

/* Returns where its lends_to stands. */
static struct conf_place force_read(struct reading *reading, const struct conf *conf,
                                    const struct tree_section *section, struct conf_force *force)
{
    const char *what = arena_printf(reading->arena, "force %s", section->title);
    sections_refuse_inner(reading, section, NULL);
    struct field *fields =
        fields_read(reading, SCHEMA(force_settings), section, section->place, what);
    const char *title = fields[FORCE_TITLE].string;
    const char *policy = fields[FORCE_POLICY].string;
    *force = (struct conf_force){
        .place = section->place,
        .code = section->title,
        .title = title[0] != '\0' ? title : section->title,
        .policy = find_policy(conf, policy),
        .backends = fields[FORCE_BACKENDS].list,
        .lends_to = fields[FORCE_LENDS_TO].list,
    };
    if (!force->policy && policy[0] != '\0' && reading->whole) {
        mistake_at(reading->mistakes, field_place(&fields[FORCE_POLICY], section->place),
                   "policy: there is no policy \"%.60s\"", policy);
    }
    plugins_check_list(reading, conf, field_place(&fields[FORCE_BACKENDS], section->place),
                       force->backends, "backends");
    return field_place(&fields[FORCE_LENDS_TO], section->place);
}

/* lends_to may name forces that come later. */
static void check_lending(struct reading *reading, const struct conf *conf,
                          const struct conf_force *force, struct conf_place place)
{
    for (size_t i = 0; force->lends_to[i]; i++) {
        const char *other = force->lends_to[i];
        if (strcmp(other, force->code) == 0) {
            mistake_at(reading->mistakes, place, "force %s can't lend to itself", force->code);
        } else if (reading->whole && !conf_find_force(conf, other)) {
            mistake_at(reading->mistakes, place, "lends_to: there is no force \"%.60s\"", other);
        }
    }
}

void forces_read(struct reading *reading, struct conf *conf, const struct sources *sources)
{
    struct conf_force *list = arena_alloc(reading->arena, (sources->count + 1) * sizeof *list);
    struct conf_place *lending =
        arena_alloc(reading->arena, (sources->count + 1) * sizeof *lending);
    sections_check_titles(reading, sources, true);
    for (size_t i = 0; i < sources->count; i++) {
        lending[i] = force_read(reading, conf, sources->sections[i], &list[i]);
    }
    conf->forces = list;
    conf->force_count = sources->count;
    for (size_t i = 0; i < sources->count; i++) {
        check_lending(reading, conf, &list[i], lending[i]);
    }
}
