#include "report/unusual.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Four fifths of the budget are for what chance does to the tests; the rest is for the rules,
 * and for where the models are wrong. */
#define TESTS_SHARE 0.8

const char *const unusual_ids[UNUSUAL_KINDS] = {
    "self", "colleague", "travel", "hours", "volume", "repeat", "outcome", "hit-rate", "reason"};
const char *const unusual_titles[UNUSUAL_KINDS] = {"Search of oneself",
                                                   "Search of a colleague",
                                                   "Impossible travel",
                                                   "Out of rostered hours",
                                                   "Volume",
                                                   "The same person again and again",
                                                   "No follow-up",
                                                   "Hit rate",
                                                   "One reason typed always"};

void unusual_time(int64_t time_ms, char text[32])
{
    struct local_time t = period_local(time_ms);
    snprintf(text, 32, "%04d-%02d-%02d %02d:%02d", t.year, t.month, t.day, t.hour,
             (int)(time_ms / 60000 % 60));
}

/* ------------------------------------------------------------------ flags */

struct flag *unusual_flag(struct unusual *unusual, enum unusual_kind kind, uint32_t officer,
                          double p, double q)
{
    if (unusual->flag_count == unusual->flag_cap) {
        uint32_t cap = unusual->flag_cap == 0 ? 64 : 2 * unusual->flag_cap;
        struct flag *flags = reallocarray(unusual->flags, cap, sizeof *flags);
        if (flags == NULL) {
            unusual->failed = true;
            return NULL;
        }
        unusual->flags = flags;
        unusual->flag_cap = cap;
    }
    struct flag *flag = &unusual->flags[unusual->flag_count++];
    *flag = (struct flag){
        .kind = kind, .officer = officer, .p = p, .q = q, .first = unusual->evidence_count};
    unusual->families[kind].flagged++;
    return flag;
}

void unusual_evidence(struct unusual *unusual, uint32_t row)
{
    if (unusual->evidence_count == unusual->evidence_cap) {
        uint32_t cap = unusual->evidence_cap == 0 ? 256 : 2 * unusual->evidence_cap;
        uint32_t *evidence = reallocarray(unusual->evidence, cap, sizeof *evidence);
        if (evidence == NULL) {
            unusual->failed = true;
            return;
        }
        unusual->evidence = evidence;
        unusual->evidence_cap = cap;
    }
    unusual->evidence[unusual->evidence_count++] = row;
    unusual->flags[unusual->flag_count - 1].count++;
}

void unusual_conclude(struct unusual *unusual, enum unusual_kind kind, const double *p,
                      unusual_explain *explain, void *ctx)
{
    uint32_t officers = unusual_officers(unusual), n = 0;
    double *tested = calloc(officers + 1u, sizeof *tested), *q = calloc(officers + 1u, sizeof *q);
    if (tested == NULL || q == NULL) {
        unusual->failed = true;
    } else {
        for (uint32_t i = 0; i < officers; i++) {
            if (p[i] <= 1) {
                tested[n++] = p[i];
            }
        }
        unusual->failed |= !stats_bh(tested, n, q);
        unusual->families[kind].tested = n;
        for (uint32_t i = 0, at = 0; i < officers && !unusual->failed; i++) {
            if (p[i] > 1) {
                continue;
            }
            double adjusted = q[at++];
            struct flag *flag =
                p[i] <= unusual->limit ? unusual_flag(unusual, kind, i, p[i], adjusted) : NULL;
            if (flag != NULL) {
                explain(unusual, ctx, i, flag);
            }
        }
    }
    free(tested);
    free(q);
}

/* Rules first, then by what part of the flags down to here would be false, then by p. */
static int by_weight(const void *a, const void *b)
{
    const struct flag *x = a, *y = b;
    bool x_rule = x->kind < UNUSUAL_HOURS, y_rule = y->kind < UNUSUAL_HOURS;
    if (x_rule != y_rule) {
        return x_rule ? -1 : 1;
    }
    if (x_rule && x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    if (x->q < y->q || x->q > y->q) {
        return x->q < y->q ? -1 : 1;
    }
    if (x->p < y->p || x->p > y->p) {
        return x->p < y->p ? -1 : 1;
    }
    return (x->officer > y->officer) - (x->officer < y->officer);
}

/* ------------------------------------------------------------------ the sample */

struct drawn {
    uint8_t hash[32];
    uint32_t row;
};

static int by_hash(const void *a, const void *b)
{
    return memcmp(((const struct drawn *)a)->hash, ((const struct drawn *)b)->hash, 32);
}

/* The uses with the smallest SHA-256(seed, 0, transaction): whoever has the seed and the
 * transactions draws the same, and whoever has not chosen the seed can't steer it, because the
 * server makes the transactions' numbers. */
static void draw_sample(struct unusual *unusual)
{
    const struct facts *facts = &unusual->activity->facts;
    size_t seed_len = strlen(unusual->options->seed);
    uint8_t *bytes = malloc(seed_len + 17);
    struct drawn *drawn = calloc(facts->count + 1u, sizeof *drawn);
    uint32_t uses = 0;
    bool ok = bytes != NULL && drawn != NULL;
    if (ok) {
        memcpy(bytes, unusual->options->seed, seed_len + 1);
    }
    for (uint32_t i = 0; ok && i < facts->count; i++) {
        if (!facts->rows[i].refusal) {
            memcpy(bytes + seed_len + 1, facts->rows[i].id, 16);
            drawn[uses].row = i;
            ok = EVP_Q_digest(NULL, "SHA256", NULL, bytes, seed_len + 17, drawn[uses++].hash,
                              NULL) == 1;
        }
    }
    uint32_t wanted = (uint32_t)ceil(uses * unusual->options->percent / 100);
    unusual->sample = calloc(wanted + 1u, sizeof *unusual->sample);
    if (ok && unusual->sample != NULL) {
        qsort(drawn, uses, sizeof *drawn, by_hash);
        for (uint32_t i = 0; i < wanted && i < uses; i++) {
            unusual->sample[unusual->sample_count++] = drawn[i].row;
        }
    } else {
        unusual->failed = true;
    }
    free(bytes);
    free(drawn);
}

bool unusual_find(const struct activity *activity, const struct others *others,
                  const struct unusual_options *options, struct unusual *unusual)
{
    *unusual = (struct unusual){.activity = activity,
                                .others = others,
                                .options = options,
                                .limit = options->budget / 1000 * TESTS_SHARE /
                                         (UNUSUAL_KINDS - UNUSUAL_HOURS)};
    unusual_people(unusual);
    unusual_travel(unusual);
    unusual_hours(unusual);
    unusual_volume(unusual);
    unusual_repeat(unusual);
    unusual_shares(unusual);
    draw_sample(unusual);
    if (unusual->flag_count > 0) {
        qsort(unusual->flags, unusual->flag_count, sizeof *unusual->flags, by_weight);
    }
    return !unusual->failed;
}

void unusual_release(struct unusual *unusual)
{
    free(unusual->flags);
    free(unusual->evidence);
    free(unusual->sample);
    *unusual = (struct unusual){0};
}
