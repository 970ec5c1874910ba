/* Shares of an officer's uses, against the funnel of all officers': without an outcome, identified,
 * and with one and the same reason. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/codes.h"
#include "report/text.h"
#include "report/unusual.h"

#define LEAST_USES 8u                      /* fewer tell nothing */
#define LEAST_OPEN 5u                      /* uses without an outcome */
#define SETTLED_MS (3 * INT64_C(86400000)) /* an outcome may take so long */

struct shares {
    enum unusual_kind kind;
    struct stats_share *of; /* each officer's */
    uint32_t *reason;       /* the one typed most, of each officer */
    struct stats_funnel funnel;
};

static bool is_settled(const struct unusual *unusual, const struct encounter *encounter)
{
    return activity_row(unusual->activity, encounter)->time_ms + SETTLED_MS <=
           unusual->activity->last_ms;
}

static void count_shares(const struct unusual *unusual, struct shares *s)
{
    uint32_t *times = calloc(unusual->activity->texts.count + 1u, sizeof *times);
    if (times == NULL) {
        s->funnel.mean = -1;
        return;
    }
    for (uint32_t officer = 0; officer < unusual_officers(unusual); officer++) {
        uint32_t count;
        const struct encounter *encounters = unusual_of(unusual, officer, &count);
        struct stats_share *share = &s->of[officer];
        for (uint32_t i = 0; i < count; i++) {
            const struct encounter *e = &encounters[i];
            if (s->kind == UNUSUAL_HITS) {
                share->of++;
                share->hits += e->found;
            } else if (s->kind == UNUSUAL_OUTCOME && is_settled(unusual, e)) {
                share->of++;
                share->hits += !e->outcome;
            } else if (s->kind == UNUSUAL_REASON && e->reason != NAMES_NONE) {
                share->of++;
                if (++times[e->reason] > share->hits) {
                    share->hits = times[e->reason];
                    s->reason[officer] = e->reason;
                }
            }
        }
        for (uint32_t i = 0; i < count; i++) {
            if (encounters[i].reason != NAMES_NONE) {
                times[encounters[i].reason] = 0;
            }
        }
    }
    free(times);
}

static bool is_evidence(const struct unusual *unusual, const struct shares *s, uint32_t officer,
                        const struct encounter *e)
{
    switch (s->kind) {
    case UNUSUAL_OUTCOME:
        return is_settled(unusual, e) && !e->outcome;
    case UNUSUAL_REASON:
        return e->reason == s->reason[officer];
    default: /* a hit rate rests on all of them */
        return true;
    }
}

static void explain(struct unusual *unusual, void *ctx, uint32_t officer, struct flag *flag)
{
    const struct shares *s = ctx;
    const struct stats_share *share = &s->of[officer];
    double here = 100.0 * share->hits / share->of, usual = 100 * s->funnel.mean, below, above;
    uint32_t count;
    const struct encounter *encounters = unusual_of(unusual, officer, &count);
    const char *reason = unusual->activity->texts.texts[s->reason[officer]];
    bool high = here > usual;
    stats_share_limits(share->of, &s->funnel,
                       s->kind == UNUSUAL_HITS ? unusual->limit / 2 : unusual->limit, &below,
                       &above);
    if (s->kind == UNUSUAL_OUTCOME) {
        snprintf(
            flag->why, sizeof flag->why,
            "%u of %u uses (%.0f %%) have no outcome three days later; on average %.1f %% have "
            "none, and the limit for so many uses is %.0f %%.",
            share->hits, share->of, here, usual, 100 * above);
    } else if (s->kind == UNUSUAL_HITS) {
        snprintf(flag->why, sizeof flag->why,
                 "%u of %u uses (%.0f %%) identified somebody, far %s than usual: on average "
                 "%.0f %% do, and the limit for so many uses is %.0f %%. %s",
                 share->hits, share->of, here, high ? "more" : "fewer", usual,
                 100 * (high ? above : below),
                 high ? "Are people searched who are known already?"
                      : "Are people searched without need?");
    } else {
        snprintf(flag->why, sizeof flag->why,
                 "%u of %u uses (%.0f %%) have the same reason, \"%.*s\"; an officer's most "
                 "frequent reason has %.0f %% on average, and the limit for so many uses is %.0f "
                 "%%.",
                 share->hits, share->of, here, text_most(reason, 120), reason, usual, 100 * above);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (is_evidence(unusual, s, officer, &encounters[i])) {
            unusual_evidence(unusual, encounters[i].row);
        }
    }
}

static double p_of(const struct shares *s, const struct stats_share *share)
{
    if (share->of < LEAST_USES) {
        return 2;
    }
    double high = stats_share_tail(share, &s->funnel, true);
    if (s->kind == UNUSUAL_HITS) {
        return fmin(1, 2 * fmin(high, stats_share_tail(share, &s->funnel, false)));
    }
    return s->kind == UNUSUAL_OUTCOME && share->hits < LEAST_OPEN ? 1 : high;
}

static void find_kind(struct unusual *unusual, enum unusual_kind kind, const char *what)
{
    uint32_t officers = unusual_officers(unusual);
    struct shares s = {.kind = kind,
                       .of = calloc(officers + 1u, sizeof *s.of),
                       .reason = calloc(officers + 1u, sizeof *s.reason)};
    double *p = calloc(officers + 1u, sizeof *p);
    if (s.of != NULL && s.reason != NULL && p != NULL) {
        count_shares(unusual, &s);
        unusual->failed |=
            s.funnel.mean < 0 || !stats_funnel_fit(s.of, officers, LEAST_USES, &s.funnel);
        for (uint32_t i = 0; i < officers; i++) {
            p[i] = p_of(&s, &s.of[i]);
        }
        double spread = s.funnel.mean * (1 - s.funnel.mean);
        snprintf(unusual->families[kind].usual, sizeof unusual->families[kind].usual,
                 "%.1f %% %s; officers differ beyond chance by %.1f points below it and %.1f above "
                 "(standard deviations)",
                 100 * s.funnel.mean, what, 100 * sqrt(s.funnel.below * spread),
                 100 * sqrt(s.funnel.above * spread));
        unusual_conclude(unusual, kind, p, explain, &s);
    } else {
        unusual->failed = true;
    }
    free(s.of);
    free(s.reason);
    free(p);
}

void unusual_shares(struct unusual *unusual)
{
    find_kind(unusual, UNUSUAL_OUTCOME, "of uses have no outcome after three days");
    find_kind(unusual, UNUSUAL_HITS, "of uses identify somebody");
    find_kind(unusual, UNUSUAL_REASON, "of uses have the officer's most frequent reason");
}
