/* Counts against negative binomial limits: occasions out of rostered hours, and meeting one person
 * again and again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/unusual.h"

#define HOUR_MS INT64_C(3600000)
#define GRACE_MS (15 * INT64_C(60000)) /* nobody's shift ends to the minute */
#define FAR_MS (4 * HOUR_MS)           /* further from a duty than overtime goes */
#define OCCASION_MS (6 * HOUR_MS)      /* uses so close are one occasion */
#define LEAST_OCCASIONS 2u
#define LEAST_MEETINGS 4u
#define BEYOND 0.001 /* of counts, which are left out of a fit */
#define NOT_TESTED 2.0

/* ------------------------------------------------------------------ hours */

enum { NEAR, FAR, DISTANCES };

struct hours {
    struct stats_count *counts[DISTANCES]; /* by officer; those who are rostered */
    uint32_t *officers, rostered;
    struct stats_nb fits[DISTANCES];
};

/* How far a use is from the officer's duties: 0, NEAR + 1 or FAR + 1. */
static unsigned distance_of(const struct unusual *unusual, const struct encounter *encounter,
                            uint32_t first, uint32_t last)
{
    int64_t away = 0;
    const struct transaction *row = activity_row(unusual->activity, encounter);
    if (others_nearest(unusual->others, first, last, row->time_ms, &away) == NULL) {
        return FAR + 1;
    }
    return away <= GRACE_MS ? 0 : away <= FAR_MS ? NEAR + 1 : FAR + 1;
}

/* The officer's occasions by their distance; an occasion is as far as its furthest use. */
static void count_occasions(const struct unusual *unusual, uint32_t officer, uint32_t first,
                            uint32_t last, uint32_t occasions[DISTANCES])
{
    uint32_t count;
    const struct encounter *encounters = unusual_of(unusual, officer, &count);
    int64_t before = INT64_MIN / 2;
    unsigned open = 0;
    occasions[NEAR] = occasions[FAR] = 0;
    for (uint32_t i = 0; i < count; i++) {
        unsigned distance = distance_of(unusual, &encounters[i], first, last);
        int64_t time = activity_row(unusual->activity, &encounters[i])->time_ms;
        if (distance == 0) {
            continue;
        }
        if (open == 0 || time - before > OCCASION_MS) {
            occasions[distance - 1]++;
            open = distance;
        } else if (distance > open) {
            occasions[open - 1]--;
            occasions[distance - 1]++;
            open = distance;
        }
        before = time;
    }
}

/* Both distances together, as Fisher combines p values (Statistical Methods for Research Workers,
 * 4th edition, 1932). */
static double hours_p(const struct hours *h, uint32_t at)
{
    double product = 1;
    if (h->counts[NEAR][at].count + h->counts[FAR][at].count < LEAST_OCCASIONS) {
        return 1;
    }
    for (unsigned d = NEAR; d < DISTANCES; d++) {
        const struct stats_count *count = &h->counts[d][at];
        product *= stats_nb_tail(count->count, h->fits[d].rate * count->expected, h->fits[d].size);
    }
    return product > 0 ? fmin(1, product * (1 - log(product))) : 0;
}

static void explain_hours(struct unusual *unusual, void *ctx, uint32_t officer, struct flag *flag)
{
    const struct hours *h = ctx;
    uint32_t count, outside = 0, at = 0;
    const struct encounter *encounters = unusual_of(unusual, officer, &count);
    uint32_t first = others_duties_of(unusual->others, officer);
    uint32_t last = others_duties_of(unusual->others, officer + 1);
    int64_t furthest = 0, when = 0;
    char text[32];
    for (uint32_t i = 0; i < count; i++) {
        int64_t away = 0, time = activity_row(unusual->activity, &encounters[i])->time_ms;
        if (distance_of(unusual, &encounters[i], first, last) > 0) {
            others_nearest(unusual->others, first, last, time, &away);
            unusual_evidence(unusual, encounters[i].row);
            outside++;
            when = away > furthest ? time : when;
            furthest = away > furthest ? away : furthest;
        }
    }
    while (h->officers[at] != officer) {
        at++;
    }
    unusual_time(when, text);
    snprintf(flag->why, sizeof flag->why,
             "%u of %u uses are outside of the officer's rostered hours, on %u occasions, %u of "
             "them more than four hours from any duty; on average there are %.2f and %.2f. The "
             "furthest was %s, %.1f hours from the nearest duty.",
             outside, count, h->counts[NEAR][at].count + h->counts[FAR][at].count,
             h->counts[FAR][at].count,
             h->fits[NEAR].rate * h->counts[NEAR][at].expected +
                 h->fits[FAR].rate * h->counts[FAR][at].expected,
             h->fits[FAR].rate * h->counts[FAR][at].expected, text,
             (double)furthest / (double)HOUR_MS);
}

static void count_hours(struct unusual *unusual, struct hours *h)
{
    for (uint32_t officer = 0; officer < unusual_officers(unusual); officer++) {
        uint32_t first = others_duties_of(unusual->others, officer), occasions[DISTANCES];
        uint32_t last = others_duties_of(unusual->others, officer + 1), count;
        unusual_of(unusual, officer, &count);
        if (first == last) {
            unusual->unrostered += count > 0;
            continue;
        }
        count_occasions(unusual, officer, first, last, occasions);
        h->counts[NEAR][h->rostered] =
            (struct stats_count){.expected = last - first, .count = occasions[NEAR]};
        h->counts[FAR][h->rostered] = (struct stats_count){.expected = 1, .count = occasions[FAR]};
        h->officers[h->rostered++] = officer;
    }
}

void unusual_hours(struct unusual *unusual)
{
    struct family *family = &unusual->families[UNUSUAL_HOURS];
    uint32_t officers = unusual_officers(unusual);
    if (!unusual->options->has_roster) {
        family->skipped = "no --roster is given";
        return;
    }
    struct hours h = {.counts = {calloc(officers + 1u, sizeof **h.counts),
                                 calloc(officers + 1u, sizeof **h.counts)},
                      .officers = calloc(officers + 1u, sizeof *h.officers)};
    double *p = calloc(officers + 1u, sizeof *p);
    if (h.counts[NEAR] != NULL && h.counts[FAR] != NULL && h.officers != NULL && p != NULL) {
        count_hours(unusual, &h);
        for (unsigned d = NEAR; d < DISTANCES; d++) {
            unusual->failed |= !stats_nb_fit(h.counts[d], h.rostered, BEYOND, &h.fits[d]);
        }
        for (uint32_t i = 0; i < officers; i++) {
            p[i] = NOT_TESTED;
        }
        for (uint32_t i = 0; i < h.rostered; i++) {
            p[h.officers[i]] = hours_p(&h, i);
        }
        snprintf(family->usual, sizeof family->usual,
                 "within four hours of a duty once in %.0f duties; further away once in %.0f "
                 "officers' months",
                 1 / h.fits[NEAR].rate, 1 / h.fits[FAR].rate);
        unusual_conclude(unusual, UNUSUAL_HOURS, p, explain_hours, &h);
    } else {
        unusual->failed = true;
    }
    free(h.counts[NEAR]);
    free(h.counts[FAR]);
    free(h.officers);
    free(p);
}

/* ------------------------------------------------------------------ one person again and again */

/* People are compared with those whom as many others met: somebody whom half the station knows is
 * met again with reason. */
enum { STRATA = 4 };

struct pair {
    uint32_t officer, person, meetings, others, people; /* people: of this officer */
};

struct repeats {
    struct pair *pairs;
    size_t count;
    struct stats_nb fits[STRATA];
    double *p;                 /* by officer */
    const struct pair **worst; /* by officer */
};

static unsigned stratum_of(const struct pair *pair)
{
    return pair->others == 0 ? 0 : pair->others < 3 ? 1 : pair->others < 10 ? 2 : 3;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t uses_of(const struct unusual *unusual, uint32_t officer)
{
    uint32_t count;
    unusual_of(unusual, officer, &count);
    return count;
}

static bool pair_up(struct unusual *unusual, struct repeats *r)
{
    const struct activity *activity = unusual->activity;
    uint32_t *all = calloc(activity->references.count + 1u, sizeof *all);
    uint32_t *people = calloc(activity->count + 1u, sizeof *people);
    r->pairs = calloc(activity->count + 1u, sizeof *r->pairs);
    bool ok = all != NULL && people != NULL && r->pairs != NULL;
    for (uint32_t i = 0; ok && i < activity->count; i++) {
        if (activity->encounters[i].person != NAMES_NONE) {
            all[activity->encounters[i].person]++;
        }
    }
    for (uint32_t officer = 0; ok && officer < unusual_officers(unusual); officer++) {
        uint32_t count, known = 0;
        const struct encounter *encounters = unusual_of(unusual, officer, &count);
        size_t first = r->count;
        for (uint32_t i = 0; i < count; i++) {
            if (encounters[i].person != NAMES_NONE) {
                people[known++] = encounters[i].person;
            }
        }
        qsort(people, known, sizeof *people, by_number);
        for (uint32_t i = 0, to; i < known; i = to) {
            for (to = i; to < known && people[to] == people[i]; to++) {
            }
            r->pairs[r->count++] =
                (struct pair){officer, people[i], to - i, all[people[i]] - (to - i), 0};
        }
        for (size_t i = first; i < r->count; i++) {
            r->pairs[i].people = (uint32_t)(r->count - first);
        }
    }
    free(all);
    free(people);
    return ok;
}

/* Meetings after the first, of those that the officer's other uses could have been. */
static struct stats_count again(const struct unusual *unusual, const struct pair *pair)
{
    uint32_t uses = uses_of(unusual, pair->officer);
    return (struct stats_count){.expected = uses > 1 ? uses - 1 : 1e-3,
                                .count = pair->meetings - 1};
}

static bool fit_strata(struct unusual *unusual, struct repeats *r)
{
    struct stats_count *counts = calloc(r->count + 1, sizeof *counts);
    bool ok = counts != NULL;
    for (unsigned s = 0; ok && s < STRATA; s++) {
        size_t n = 0;
        for (size_t i = 0; i < r->count; i++) {
            if (stratum_of(&r->pairs[i]) == s) {
                counts[n++] = again(unusual, &r->pairs[i]);
            }
        }
        ok = stats_nb_fit(counts, n, BEYOND, &r->fits[s]);
    }
    free(counts);
    return ok;
}

static void find_worst(struct unusual *unusual, struct repeats *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct pair *pair = &r->pairs[i];
        struct stats_count count = again(unusual, pair);
        const struct stats_nb *fit = &r->fits[stratum_of(pair)];
        double p =
            pair->meetings < LEAST_MEETINGS
                ? 1
                : pair->people * stats_nb_tail(count.count, fit->rate * count.expected, fit->size);
        if (p < r->p[pair->officer] || r->worst[pair->officer] == NULL) {
            r->p[pair->officer] = fmin(p, 1);
            r->worst[pair->officer] = pair;
        }
    }
}

static void explain_repeat(struct unusual *unusual, void *ctx, uint32_t officer, struct flag *flag)
{
    const struct repeats *r = ctx;
    const struct pair *pair = r->worst[officer];
    const char *name = unusual->activity->references.texts[pair->person];
    struct stats_count count = again(unusual, pair);
    const struct stats_nb *fit = &r->fits[stratum_of(pair)];
    uint32_t uses;
    const struct encounter *encounters = unusual_of(unusual, officer, &uses);
    snprintf(flag->why, sizeof flag->why,
             "%u of the officer's %u uses are of the same person, by %s; all others together met "
             "that person %u times. After a first meeting with such a person %.1g more are usual, "
             "and the limit is %u.",
             pair->meetings, uses,
             strchr(name, '|') != NULL ? "the name and birth date claimed"
                                       : "the reference that was found",
             pair->others, fit->rate * count.expected,
             stats_nb_limit(fit->rate * count.expected, fit->size, unusual->limit / pair->people));
    for (uint32_t i = 0; i < uses; i++) {
        if (encounters[i].person == pair->person) {
            unusual_evidence(unusual, encounters[i].row);
        }
    }
}

void unusual_repeat(struct unusual *unusual)
{
    uint32_t officers = unusual_officers(unusual);
    struct repeats r = {.p = calloc(officers + 1u, sizeof *r.p),
                        .worst = calloc(officers + 1u, sizeof *r.worst)};
    if (r.p != NULL && r.worst != NULL && pair_up(unusual, &r) && fit_strata(unusual, &r)) {
        for (uint32_t i = 0; i < officers; i++) {
            r.p[i] = uses_of(unusual, i) > 0 ? 1 : NOT_TESTED;
        }
        find_worst(unusual, &r);
        snprintf(unusual->families[UNUSUAL_REPEAT].usual,
                 sizeof unusual->families[UNUSUAL_REPEAT].usual,
                 "somebody whom no other officer met is met again in one of %.0f later uses",
                 1 / r.fits[0].rate);
        unusual_conclude(unusual, UNUSUAL_REPEAT, r.p, explain_repeat, &r);
    } else {
        unusual->failed = true;
    }
    free(r.pairs);
    free(r.p);
    free(r.worst);
}
