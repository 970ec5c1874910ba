/* Who does what when in a simulated month. */
#include "synth_month.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "synth_draw.h"

#define USES_PER_OFFICER 220u
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

/* ------------------------------------------------------------------ when */

/* How busy the hours of the day are, in 1000 of the busiest. */
static const uint16_t busy_hours[24] = {620, 500, 380, 250, 160, 130,  170, 280,
                                        420, 500, 560, 600, 640, 660,  700, 760,
                                        820, 870, 900, 940, 980, 1000, 960, 820};

/* A moment on shift: two earlies (07-15), two lates (15-23), two nights (23-07), two days off. One
 * in fifty is overtime. Evenings, Fridays and Saturdays are busier. */
static int64_t pick_time(const struct synth_month *month, const struct synth_officer *officer,
                         struct draw *draw)
{
    static const unsigned starts[] = {7, 7, 15, 15, 23, 23};
    uint32_t days = (uint32_t)((month->period.until - month->period.from + 2 * HOUR_MS) / DAY_MS);
    for (unsigned tries = 0; tries < 1000; tries++) {
        uint32_t day = draw_below(draw, days), turn = (day + officer->rota) % 8;
        if (turn >= 6) {
            continue;
        }
        int64_t start = month->period.from + day * DAY_MS + starts[turn] * HOUR_MS;
        int64_t length = draw_chance(draw, 20) ? 11 * HOUR_MS : 8 * HOUR_MS;
        int64_t time =
            start + (int64_t)((double)length * (double)(draw_bits(draw) >> 11) * 0x1p-53);
        unsigned weekday = (unsigned)period_local(start).weekday;
        bool busy = weekday == 4 || weekday == 5;
        if (time < month->period.until && (busy || draw_chance(draw, 750)) &&
            draw_chance(draw, busy_hours[period_local(time).hour])) {
            return time;
        }
    }
    return month->period.from;
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

static void make_use(struct synth_month *month, uint32_t i, struct draw *draw)
{
    struct synth_use *use = &month->uses[i];
    struct draw before = {0};
    *use = (struct synth_use){.seed = draw_bits(draw), .continues = -1};
    /* Every twenty-fifth scans again for the one before, a minute or so later. */
    if (i > 0 && month->uses[i - 1].continues < 0 && draw_chance(draw, 40)) {
        before.state = use->seed;
        int64_t time = month->uses[i - 1].time_ms + 20000 + draw_skewed(&before, 40000, 1.8);
        const struct synth_use *last = &month->uses[i - 1];
        if (time < month->period.until) {
            *use = (struct synth_use){time,       use->seed,      last->officer,
                                      last->rule, (int32_t)i - 1, last->person};
            return;
        }
    }
    use->officer = pick_officer(month, draw);
    const struct synth_officer *officer = &month->officers[use->officer];
    use->rule = pick_rule(month->conf->forces[officer->force].policy, draw);
    use->time_ms = pick_time(month, officer, draw);
    /* Some people are met often. */
    use->person = draw_chance(draw, 30) ? draw_below(draw, 200) : 200 + draw_below(draw, 9000000);
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

/* Most have an outcome within the hour; some are forgotten, more by some officers than by others.
 */
static void make_events(struct synth_month *month)
{
    for (uint32_t i = 0; i < month->use_count; i++) {
        const struct synth_use *use = &month->uses[i];
        struct draw draw = {use->seed ^ 0x65766e74};
        unsigned forgets = 30 + 150 * (use->officer % 16 == 7);
        add_event(month, SYNTH_IDENTIFY, i, use->time_ms);
        if (draw_chance(&draw, 12)) {
            add_event(month, SYNTH_REFUSED, i, use->time_ms - 5000 - draw_below(&draw, 60000));
        }
        if (!draw_chance(&draw, forgets)) {
            int64_t delay = 120000 + (int64_t)draw_skewed(&draw, 1500000, 2.4);
            add_event(month, SYNTH_OUTCOME, i, use->time_ms + delay);
        }
    }
    qsort(month->events, month->event_count, sizeof *month->events, by_time);
}

bool synth_month_make(const struct conf *conf, const struct period *period, uint32_t transactions,
                      uint64_t seed, struct synth_month *month, struct whorl_fault *fault)
{
    *month = (struct synth_month){.conf = conf, .period = *period, .seed = seed};
    bool rules = conf->force_count > 0;
    for (size_t i = 0; i < conf->force_count; i++) {
        rules = rules && conf->forces[i].policy->rule_count > 0;
    }
    if (!rules) {
        return whorl_fail(fault, conf->dir, "needs forces, each with a policy that has rules");
    }
    month->uses = calloc(transactions, sizeof *month->uses);
    month->events = calloc(3 * (size_t)transactions, sizeof *month->events);
    if (month->uses == NULL || month->events == NULL || !make_officers(month, transactions)) {
        synth_month_release(month);
        return whorl_fail(fault, "", "out of memory");
    }
    struct draw draw = {seed};
    while (month->use_count < transactions) {
        make_use(month, month->use_count++, &draw);
    }
    make_events(month);
    return true;
}

void synth_month_release(struct synth_month *month)
{
    free(month->officers);
    free(month->uses);
    free(month->events);
    *month = (struct synth_month){0};
}
