/* Volume: uses in each rostered hour and each shift of an officer, against what this officer
 * usually does there. Being busy all month is no flag: the monthly report names the busiest.
 *
 * What is expected of an hour of duty is a product: of the hour of the day, the day of the week and
 * the posting, each as all officers have it, and of the officer. Officers differ by a gamma
 * distribution, fitted to their months; one officer's factor is its posterior mean from all of the
 * officer's other hours (the gamma-Poisson model: Greenwood and Yule, J. R. Stat. Soc. 83 (1920)
 * 255; as used for shrinking, Robbins 1956). What hours and shifts scatter beyond that is negative
 * binomial. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/text.h"
#include "report/unusual.h"

#define HOUR_MS INT64_C(3600000)
#define BEYOND 1e-5 /* of counts, which are left out of a fit */
#define NOT_TESTED 2.0

/* Months are only for what officers differ by. */
enum level { HOURS, SHIFTS, LEVELS, MONTHS = LEVELS };

/* As many take no misuse: a road check has one every ten minutes. */
static const uint32_t least_uses[LEVELS] = {7, 12};

/* One officer's hour of duty, shift or month. */
struct span {
    uint32_t officer, count, first; /* its encounters begin here, of the officer's */
    uint32_t label;                 /* of an hour or a shift */
    int64_t from;
    double expected; /* before the officer's factor */
};

struct tally {
    double count, expected;
};

struct worst {
    double p, mean;
    struct span span;
    enum level level;
};

struct volume {
    struct unusual *unusual;
    double hour[24], weekday[7], *labels; /* factors */
    struct tally by_hour[24], by_weekday[7], *by_label;
    struct stats_count *totals; /* of each officer's hours on duty */
    struct stats_nb
        fits[LEVELS + 1]; /* of months: the rate, and the shape of what officers differ by */
    struct stats_count *counts[LEVELS + 1];
    size_t count[LEVELS + 1], cap[LEVELS + 1];
    uint32_t *tests[LEVELS]; /* of each officer */
    struct worst *worst[LEVELS];
    double *p;
};

typedef void visit_span(struct volume *v, enum level level, const struct span *span);

/* ------------------------------------------------------------------ spans */

static double share_of_hour(int64_t from, int64_t until)
{
    return (double)(until - from) / (double)HOUR_MS;
}

/* The encounters of an officer in [from, until), from *at on. */
static uint32_t take_until(const struct volume *v, uint32_t officer, uint32_t *at, int64_t from,
                           int64_t until, uint32_t *first)
{
    uint32_t count, taken = 0;
    const struct encounter *encounters = unusual_of(v->unusual, officer, &count);
    while (*at < count && activity_row(v->unusual->activity, &encounters[*at])->time_ms < from) {
        ++*at;
    }
    *first = *at;
    while (*at < count && activity_row(v->unusual->activity, &encounters[*at])->time_ms < until) {
        ++*at;
        taken++;
    }
    return taken;
}

/* Visits an officer's hours of duty in order, then what they add up to. A duty that begins before
 * the last has ended begins at its end. */
static void each_span(struct volume *v, uint32_t officer, visit_span *visit)
{
    const struct others *others = v->unusual->others;
    const struct period *period = &v->unusual->activity->facts.period;
    uint32_t at = 0, last = others_duties_of(others, officer + 1);
    int64_t done = period->from;
    struct span month = {.officer = officer, .from = period->from};
    for (uint32_t i = others_duties_of(others, officer); i < last; i++) {
        const struct duty *duty = &others->duties[i];
        int64_t from = duty->from > done ? duty->from : done;
        int64_t until = duty->until < period->until ? duty->until : period->until;
        struct span shift = {.officer = officer, .from = from, .label = duty->label};
        for (int64_t to; from < until; from = to) {
            struct local_time local = period_local(from);
            to = from - from % HOUR_MS + HOUR_MS;
            to = to < until ? to : until;
            struct span hour = {.officer = officer, .from = from, .label = duty->label};
            hour.expected = v->hour[local.hour] * v->weekday[local.weekday] *
                            v->labels[duty->label] * share_of_hour(from, to);
            hour.count = take_until(v, officer, &at, from, to, &hour.first);
            shift.first = shift.count == 0 ? hour.first : shift.first;
            shift.count += hour.count;
            shift.expected += hour.expected;
            visit(v, HOURS, &hour);
        }
        if (shift.expected > 0) {
            month.first = month.count == 0 ? shift.first : month.first;
            month.count += shift.count;
            month.expected += shift.expected;
            visit(v, SHIFTS, &shift);
        }
        done = until > done ? until : done;
    }
    if (month.expected > 0) {
        visit(v, MONTHS, &month);
    }
}

static void each(struct volume *v, visit_span *visit)
{
    for (uint32_t i = 0; i < unusual_officers(v->unusual); i++) {
        each_span(v, i, visit);
    }
}

/* ------------------------------------------------------------------ factors */

static void add_tally(struct tally *tally, const struct span *span)
{
    tally->count += span->count;
    tally->expected += span->expected;
}

static void tally_span(struct volume *v, enum level level, const struct span *span)
{
    struct local_time local = period_local(span->from);
    if (level == HOURS) {
        add_tally(&v->by_hour[local.hour], span);
        add_tally(&v->by_weekday[local.weekday], span);
        add_tally(&v->by_label[span->label], span);
    }
}

/* Moves factors to what was seen; few uses move them little. */
static void move(double *factors, struct tally *tallies, size_t count)
{
    static const double inertia = 10; /* uses */
    for (size_t i = 0; i < count; i++) {
        factors[i] *= (tallies[i].count + inertia) / (tallies[i].expected + inertia);
        tallies[i] = (struct tally){0};
    }
}

static void fit_factors(struct volume *v)
{
    size_t labels = v->unusual->others->labels.count;
    double count = 0, expected = 0;
    for (size_t i = 0; i < labels; i++) {
        v->labels[i] = 1;
    }
    for (size_t i = 0; i < 24; i++) {
        v->hour[i] = 1;
        v->weekday[i % 7] = 1;
    }
    each(v, tally_span);
    for (size_t i = 0; i < 24; i++) {
        count += v->by_hour[i].count;
        expected += v->by_hour[i].expected;
        v->by_hour[i] = (struct tally){0};
    }
    memset(v->by_weekday, 0, sizeof v->by_weekday);
    memset(v->by_label, 0, labels * sizeof *v->by_label);
    for (size_t i = 0; i < 24; i++) {
        v->hour[i] = (count + 0.5) / (expected + 1);
    }
    /* One after the other, until they agree with one another. */
    for (unsigned round = 0; round < 2; round++) {
        each(v, tally_span);
        move(v->hour, v->by_hour, 24);
        memset(v->by_weekday, 0, sizeof v->by_weekday);
        memset(v->by_label, 0, labels * sizeof *v->by_label);
        each(v, tally_span);
        move(v->labels, v->by_label, labels);
        memset(v->by_hour, 0, sizeof v->by_hour);
        memset(v->by_weekday, 0, sizeof v->by_weekday);
        each(v, tally_span);
        move(v->weekday, v->by_weekday, 7);
        memset(v->by_hour, 0, sizeof v->by_hour);
        memset(v->by_label, 0, labels * sizeof *v->by_label);
    }
}

/* ------------------------------------------------------------------ limits */

static void add_count(struct volume *v, enum level level, double expected, uint32_t count)
{
    if (v->count[level] == v->cap[level]) {
        size_t cap = v->cap[level] == 0 ? 4096 : 2 * v->cap[level];
        struct stats_count *counts = reallocarray(v->counts[level], cap, sizeof *counts);
        if (counts == NULL) {
            v->unusual->failed = true;
            return;
        }
        v->counts[level] = counts;
        v->cap[level] = cap;
    }
    v->counts[level][v->count[level]++] =
        (struct stats_count){.expected = expected, .count = count};
}

static void total_span(struct volume *v, enum level level, const struct span *span)
{
    if (level == MONTHS) {
        v->totals[span->officer] =
            (struct stats_count){.expected = span->expected, .count = span->count};
        add_count(v, level, span->expected, span->count);
    }
}

/* What is expected of this officer here, from all of the officer's other hours. */
static double mean_of(const struct volume *v, const struct span *span)
{
    const struct stats_nb *officers = &v->fits[MONTHS];
    const struct stats_count *total = &v->totals[span->officer];
    double here = officers->rate * span->expected, all = officers->rate * total->expected;
    double factor = (officers->size + total->count - span->count) / (officers->size + all - here);
    return here * factor;
}

static void collect_span(struct volume *v, enum level level, const struct span *span)
{
    if (level != MONTHS) {
        add_count(v, level, mean_of(v, span), span->count);
        v->tests[level][span->officer]++;
    }
}

static void judge_span(struct volume *v, enum level level, const struct span *span)
{
    const struct stats_nb *fit = &v->fits[level];
    if (level == MONTHS || span->count < least_uses[level]) {
        return;
    }
    double mean = fit->rate * mean_of(v, span);
    double p = stats_nb_tail(span->count, mean, fit->size);
    struct worst *worst = &v->worst[level][span->officer];
    if (p < worst->p) {
        *worst = (struct worst){.p = p, .mean = mean, .span = *span, .level = level};
    }
}

/* ------------------------------------------------------------------ flags */

/* The level at which an officer is furthest from what is usual, with p for all that was tried. */
static const struct worst *worst_of(const struct volume *v, uint32_t officer, double *p)
{
    const struct worst *worst = NULL;
    *p = 1;
    for (unsigned level = HOURS; level < LEVELS; level++) {
        const struct worst *here = &v->worst[level][officer];
        double tried = LEVELS * (double)v->tests[level][officer] * here->p;
        if (here->p < 1 && tried < *p) {
            *p = tried;
            worst = here;
        }
    }
    return worst;
}

static void explain(struct unusual *unusual, void *ctx, uint32_t officer, struct flag *flag)
{
    static const char *const words[LEVELS] = {"the hour of duty from", "the shift from"};
    const struct volume *v = ctx;
    double p;
    char from[32];
    uint32_t count;
    const struct encounter *encounters = unusual_of(unusual, officer, &count);
    const struct worst *worst = worst_of(v, officer, &p);
    const struct span *span = &worst->span;
    const char *label = unusual->others->labels.texts[span->label];
    uint32_t limit = stats_nb_limit(worst->mean, v->fits[worst->level].size,
                                    unusual->limit / LEVELS / v->tests[worst->level][officer]);
    unusual_time(span->from, from);
    snprintf(flag->why, sizeof flag->why,
             "%u uses in %s %s, on duty as \"%.*s\". At this hour, weekday and posting, %.1f are "
             "expected of this officer, and the limit is %u.",
             span->count, words[worst->level], from, text_most(label, 60), label, worst->mean,
             limit > least_uses[worst->level] ? limit : least_uses[worst->level]);
    for (uint32_t i = span->first, seen = 0; i < count && seen < span->count; i++, seen++) {
        unusual_evidence(unusual, encounters[i].row);
    }
}

static bool prepare(struct volume *v)
{
    uint32_t officers = unusual_officers(v->unusual);
    v->labels = calloc(v->unusual->others->labels.count + 1u, sizeof *v->labels);
    v->by_label = calloc(v->unusual->others->labels.count + 1u, sizeof *v->by_label);
    v->totals = calloc(officers + 1u, sizeof *v->totals);
    v->p = calloc(officers + 1u, sizeof *v->p);
    bool ok = v->labels != NULL && v->by_label != NULL && v->totals != NULL && v->p != NULL;
    for (unsigned level = HOURS; level < LEVELS; level++) {
        v->tests[level] = calloc(officers + 1u, sizeof *v->tests[level]);
        v->worst[level] = calloc(officers + 1u, sizeof *v->worst[level]);
        ok = ok && v->tests[level] != NULL && v->worst[level] != NULL;
        for (uint32_t i = 0; ok && i < officers; i++) {
            v->worst[level][i].p = 1;
        }
    }
    return ok;
}

static void release(struct volume *v)
{
    free(v->labels);
    free(v->by_label);
    free(v->totals);
    free(v->p);
    for (unsigned level = HOURS; level < LEVELS; level++) {
        free(v->tests[level]);
        free(v->worst[level]);
        free(v->counts[level]);
    }
    free(v->counts[MONTHS]);
}

static bool fit(struct volume *v)
{
    fit_factors(v);
    each(v, total_span);
    bool ok = stats_nb_fit(v->counts[MONTHS], v->count[MONTHS], BEYOND, &v->fits[MONTHS]);
    each(v, collect_span);
    for (unsigned level = HOURS; ok && level < LEVELS; level++) {
        ok = stats_nb_fit(v->counts[level], v->count[level], BEYOND, &v->fits[level]);
    }
    return ok && !v->unusual->failed;
}

void unusual_volume(struct unusual *unusual)
{
    struct family *family = &unusual->families[UNUSUAL_VOLUME];
    struct volume v = {.unusual = unusual};
    if (!unusual->options->has_roster) {
        family->skipped = "no --roster is given";
        return;
    }
    if (prepare(&v) && fit(&v)) {
        each(&v, judge_span);
        for (uint32_t i = 0; i < unusual_officers(unusual); i++) {
            worst_of(&v, i, &v.p[i]);
            v.p[i] = v.tests[SHIFTS][i] > 0 ? v.p[i] : NOT_TESTED;
        }
        snprintf(family->usual, sizeof family->usual,
                 "dispersion (size) %.2f of officers' months, %.2f of shifts, %.2f of hours; a "
                 "Poisson's is infinite",
                 v.fits[MONTHS].size, v.fits[SHIFTS].size, v.fits[HOURS].size);
        unusual_conclude(unusual, UNUSUAL_VOLUME, v.p, explain, &v);
    } else {
        unusual->failed = true;
    }
    release(&v);
}
