/* Who does what when in a simulated month. */
#include "cli/synth/synth_month.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/synth/synth_draw.h"

#define USES_PER_OFFICER 40u
#define MISUSE_ROOM 48u /* uses that seeding one officer's misuse may add */
#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)

uint32_t draw_skewed(struct draw *draw, double median, double spread)
{
    /* Box and Muller's normal deviate; the first uniform is never 0. */
    double u = ((double)(draw_bits(draw) >> 11) + 1) * 0x1p-53;
    double v = (double)(draw_bits(draw) >> 11) * 0x1p-53;
    double normal = sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
    return (uint32_t)fmin(median * pow(spread, normal), 4e9);
}

/* ------------------------------------------------------------------ officers */

/* Most are alike; some stop traffic all day and write the same of it, some execute warrants and
 * find whom they look for, some forget outcomes. */
static void give_habits(struct synth_officer *officer, struct draw *draw)
{
    uint32_t trade = draw_below(draw, 100);
    officer->hits = (uint16_t)(330 + draw_below(draw, 200));
    officer->habit = (uint16_t)draw_below(draw, 500);
    officer->favourite = (uint8_t)draw_below(draw, synth_reason_count());
    officer->forgets = (uint16_t)(20 + draw_below(draw, 40));
    if (trade < 10) {
        officer->habit = (uint16_t)(550 + draw_below(draw, 250));
        officer->hits = (uint16_t)(250 + draw_below(draw, 150));
    } else if (trade < 14) {
        officer->hits = (uint16_t)(650 + draw_below(draw, 150));
    } else if (trade < 20) {
        officer->forgets = (uint16_t)(150 + draw_below(draw, 100));
    }
    officer->on_record = draw_chance(draw, 125);
}

static bool make_officers(struct synth_month *month, uint32_t transactions)
{
    const struct conf *conf = month->conf;
    uint32_t busy = 0;
    month->officer_count = transactions / USES_PER_OFFICER + 8 * (uint32_t)conf->force_count;
    month->officers = calloc(month->officer_count, sizeof *month->officers);
    if (month->officers == NULL) {
        return false;
    }
    struct draw draw = {month->seed ^ 0x6f666669};
    for (uint32_t i = 0; i < month->officer_count; i++) {
        struct synth_officer *officer = &month->officers[i];
        /* The first forces are the large ones; each has somebody. */
        officer->force =
            i < conf->force_count
                ? i
                : draw_below(&draw, 1 + draw_below(&draw, (uint32_t)conf->force_count));
        snprintf(officer->id, sizeof officer->id, "%.20s%05u", conf->forces[officer->force].code,
                 10000 + i);
        officer->base = draw_below(&draw, 1 + month->officer_count / 40);
        officer->rota = draw_below(&draw, 8);
        officer->entitled = draw_chance(&draw, 800);
        busy += 1 + draw_skewed(&draw, 100, 2.2) % 5000;
        officer->activity = busy;
        give_habits(officer, &draw);
    }
    return true;
}

static uint32_t pick_officer(const struct synth_month *month, struct draw *draw)
{
    uint32_t at = draw_below(draw, month->officers[month->officer_count - 1].activity);
    uint32_t low = 0, high = month->officer_count - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (month->officers[middle].activity > at) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* ------------------------------------------------------------------ what */

static unsigned rule_weight(const struct conf_rule *rule)
{
    if (rule->consent[0] != NULL && strcmp(rule->consent[0], "refused") == 0) {
        return 45;
    }
    const char *subject = rule->subject[0] != NULL ? rule->subject[0] : "adult";
    if (strcmp(subject, "adult") == 0) {
        return 900;
    }
    return strcmp(subject, "child") == 0 ? 45 : 6;
}

static uint32_t pick_rule(const struct conf_policy *policy, struct draw *draw)
{
    uint32_t total = 0, i = 0;
    for (size_t r = 0; r < policy->rule_count; r++) {
        total += rule_weight(&policy->rules[r]);
    }
    uint32_t at = draw_below(draw, total);
    while (i + 1 < policy->rule_count && at >= rule_weight(&policy->rules[i])) {
        at -= rule_weight(&policy->rules[i++]);
    }
    return i;
}

bool synth_known(const struct synth_month *month, uint32_t person, unsigned which)
{
    if (person >= SYNTH_OFFICER_PERSON) {
        return which == 0 && month->officers[person - SYNTH_OFFICER_PERSON].on_record;
    }
    struct draw draw = {person ^ (uint64_t)0x70657273};
    bool first = draw_chance(&draw, 430), second = draw_chance(&draw, 130);
    return which == 0 ? first : second;
}

uint32_t synth_stranger(const struct synth_month *month, struct draw *draw, bool known)
{
    uint32_t person = 0;
    for (unsigned tries = 0; tries < 60; tries++) {
        person = 1000000 + draw_below(draw, 8000000);
        if ((synth_known(month, person, 0) || synth_known(month, person, 1)) == known) {
            break;
        }
    }
    return person;
}

/* Each base has people whom its officers meet again and again, some more than others. */
static uint32_t pick_person(const struct synth_month *month, const struct synth_officer *officer,
                            struct draw *draw)
{
    if (draw_chance(draw, 60)) {
        return 200 + 40 * officer->base + draw_below(draw, 1 + draw_below(draw, 40));
    }
    return synth_stranger(month, draw, draw_chance(draw, officer->hits));
}

struct synth_use *synth_add_use(struct synth_month *month, struct draw *draw, uint32_t officer,
                                int64_t time_ms, uint32_t base)
{
    const struct synth_officer *who = &month->officers[officer];
    if (month->use_count == month->use_cap) {
        return NULL;
    }
    struct synth_use *use = &month->uses[month->use_count++];
    *use = (struct synth_use){.seed = draw_bits(draw),
                              .time_ms = time_ms,
                              .officer = officer,
                              .base = base,
                              .continues = -1};
    use->rule = pick_rule(month->conf->forces[who->force].policy, draw);
    use->person = pick_person(month, who, draw);
    use->reason = draw_chance(draw, who->habit) ? who->favourite
                                                : (uint8_t)draw_below(draw, synth_reason_count());
    use->silent = draw_chance(draw, who->forgets);
    /* A device of another base that nobody entered as moved. */
    if (draw_below(draw, 20000) == 0) {
        use->base = draw_below(draw, 1 + month->officer_count / 40);
    }
    return use;
}

/* Every twenty-fifth scans again for the one before, a minute or so later. */
static bool scan_again(struct synth_month *month, struct draw *draw)
{
    uint32_t i = month->use_count;
    if (i == 0 || month->uses[i - 1].continues >= 0 || !draw_chance(draw, 40)) {
        return false;
    }
    struct synth_use use = month->uses[i - 1];
    use.seed = draw_bits(draw);
    struct draw pause = {use.seed};
    use.time_ms += 20000 + draw_skewed(&pause, 40000, 1.8);
    use.continues = (int32_t)i - 1;
    if (use.time_ms >= month->period.until) {
        return false;
    }
    month->uses[month->use_count++] = use;
    return true;
}

/* One of an operation's uses; false: nobody was found for it. */
static bool use_of_op(struct synth_month *month, struct draw *draw)
{
    uint32_t op = draw_below(draw, month->op_count);
    struct synth_duty duty;
    for (unsigned tries = 0; tries < 400; tries++) {
        uint32_t officer = pick_officer(month, draw);
        if (synth_posted(month, officer, op) &&
            synth_duty(month, officer, month->ops[op].day, &duty) && duty.op == (int)op) {
            int64_t time = duty.start + (int64_t)draw_below(draw, 8 * 3600 * 1000);
            return time < month->period.until &&
                   synth_add_use(month, draw, officer, time, duty.base) != NULL;
        }
    }
    return false;
}

/* One in a thousand begins a road check that nobody posted: some more in the same hour. */
static void make_use(struct synth_month *month, uint32_t limit, struct draw *draw)
{
    int64_t time;
    uint32_t base, officer = pick_officer(month, draw);
    if (scan_again(month, draw) ||
        (month->op_count > 0 && draw_chance(draw, 40) && use_of_op(month, draw)) ||
        !synth_pick_time(month, officer, draw, &time, &base)) {
        return;
    }
    uint32_t more = draw_chance(draw, 1) ? 2 + draw_below(draw, 4) : 0;
    for (uint32_t i = 0; i <= more && month->use_count < limit && time < month->period.until; i++) {
        synth_add_use(month, draw, officer, time, base);
        time += 240000 + (int64_t)draw_below(draw, 500000);
    }
}

static int by_time(const void *a, const void *b)
{
    const struct synth_event *x = a, *y = b;
    if (x->time_ms != y->time_ms) {
        return x->time_ms < y->time_ms ? -1 : 1;
    }
    return x->use != y->use ? (x->use < y->use ? -1 : 1) : (int)x->kind - (int)y->kind;
}

static void add_event(struct synth_month *month, enum synth_kind kind, uint32_t use, int64_t time)
{
    month->events[month->event_count++] = (struct synth_event){time, use, kind};
}

/* Outcomes mostly come within the hour. */
static void make_events(struct synth_month *month)
{
    for (uint32_t i = 0; i < month->use_count; i++) {
        const struct synth_use *use = &month->uses[i];
        struct draw draw = {use->seed ^ 0x65766e74};
        add_event(month, SYNTH_IDENTIFY, i, use->time_ms);
        if (draw_chance(&draw, 12)) {
            add_event(month, SYNTH_REFUSED, i, use->time_ms - 5000 - draw_below(&draw, 60000));
        }
        if (!use->silent) {
            int64_t delay = 120000 + (int64_t)draw_skewed(&draw, 1500000, 2.4);
            add_event(month, SYNTH_OUTCOME, i, use->time_ms + delay);
        }
    }
    qsort(month->events, month->event_count, sizeof *month->events, by_time);
}

bool synth_month_make(const struct conf *conf, const struct period *period, uint32_t transactions,
                      const uint32_t misuse[MISUSES], uint64_t seed, struct synth_month *month,
                      struct whorl_fault *fault)
{
    *month = (struct synth_month){.conf = conf, .period = *period, .seed = seed};
    month->days = (uint32_t)((period->until - period->from + 2 * HOUR_MS) / DAY_MS);
    bool rules = conf->force_count > 0;
    for (size_t i = 0; i < conf->force_count; i++) {
        rules = rules && conf->forces[i].policy->rule_count > 0;
    }
    if (!rules) {
        return whorl_fail(fault, conf->dir, "needs forces, each with a policy that has rules");
    }
    month->use_cap = transactions;
    for (unsigned kind = 0; kind < MISUSES; kind++) {
        month->use_cap += MISUSE_ROOM * misuse[kind];
    }
    month->uses = calloc(month->use_cap, sizeof *month->uses);
    month->events = calloc(3 * (size_t)month->use_cap, sizeof *month->events);
    if (month->uses == NULL || month->events == NULL || !make_officers(month, transactions)) {
        synth_month_release(month);
        return whorl_fail(fault, "", "out of memory");
    }
    struct draw draw = {seed};
    synth_make_ops(month);
    while (month->use_count < transactions) {
        make_use(month, transactions, &draw);
    }
    if (!synth_make_misuse(month, misuse)) {
        synth_month_release(month);
        return whorl_fail(fault, "", "out of memory");
    }
    make_events(month);
    return true;
}

void synth_month_release(struct synth_month *month)
{
    free(month->officers);
    free(month->uses);
    free(month->events);
    free(month->labels);
    *month = (struct synth_month){0};
}
